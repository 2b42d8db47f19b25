package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Gateway is a running isthmus serve, between example.net on SIP and example.com on XMPP.
type Gateway struct {
	// Port is its SIP port, UDP and TCP; Admin the port of its administration listener.
	Port, Admin int
	// Config is the path of its configuration.
	Config string

	dir     string
	process *process
}

// GatewayConfig is what a scenario chooses of the gateway's configuration.
type GatewayConfig struct {
	// Component is the component port of the XMPP server of example.com (0: there is no such link), Secret what it is given
	// (ComponentSecret by default).
	Component int
	// Components are further XMPP servers that have example.net as their component: their component ports by domain.
	Components map[string]int
	Secret     string
	// NextHop is where SIP requests for example.net go.
	NextHop string
	// Peers are the addresses that may send SIP; 127.0.0.1/32 by default.
	Peers string
	// Peer is appended to the entry of the SIP peer, as in ", large_messages: true".
	Peer string
	// Port is its SIP port; 0 takes a free one.
	Port int
	// TLSPort is its SIP port over TLS; 0 for none.
	TLSPort int
	// SIP is appended to the SIP side and XMPP to the XMPP side, indented by two spaces, Routes to the routes, Extra to the whole configuration.
	SIP, XMPP, Routes, Extra string
}

const gatewayConfig = `sip:
  listeners:
    - {transport: udp, address: "127.0.0.1:PORT"}
    - {transport: tcp, address: "127.0.0.1:PORT"}
TLSLISTENER  peers:
    - {name: lab, networks: ["PEERS"], domains: [example.net]MORE}
SIPSIDExmpp:
COMPONENTS  backoff_first: 100ms
  backoff_longest: 1s
XMPPSIDEroutes:
  - {domain: example.net, via: sip, next_hops: ["NEXTHOP"]}
ROUTESadmin: {listen: "127.0.0.1:ADMIN"}
EXTRA`

var build struct {
	once sync.Once
	path string
	err  error
}

// Binary builds the command once for all tests of the process and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	build.once.Do(func() {
		dir, err := os.MkdirTemp("", "isthmus-lab-")
		if err != nil {
			build.err = err
			return
		}
		build.path = filepath.Join(dir, "isthmus")
		cmd := exec.Command("go", "build", "-o", build.path, "./cmd/isthmus")
		cmd.Dir = root()
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

// StartGateway starts isthmus serve and waits until it is ready.
func StartGateway(t testing.TB, c GatewayConfig) *Gateway {
	t.Helper()
	g := newGateway(t, c)
	g.Start(t)
	Eventually(t, time.Minute, "isthmus is ready", g.Ready)
	return g
}

func newGateway(t testing.TB, c GatewayConfig) *Gateway {
	t.Helper()
	ports := FreePorts(t, 2)
	g := &Gateway{Port: ports[0], Admin: ports[1], dir: t.TempDir()}
	if c.Port != 0 {
		g.Port = c.Port
	}
	if c.Secret == "" {
		c.Secret = ComponentSecret
	}
	if c.Peers == "" {
		c.Peers = "127.0.0.1/32"
	}
	write(t, g.dir, "secret", c.Secret+"\n")
	listener := ""
	if c.TLSPort != 0 {
		listener = fmt.Sprintf("    - {transport: tls, address: \"127.0.0.1:%d\"}\n", c.TLSPort)
	}
	components, routes := c.components()
	g.Config = write(t, g.dir, "isthmus.yaml", expand(gatewayConfig, "PORT", strconv.Itoa(g.Port), "ADMIN", strconv.Itoa(g.Admin), "TLSLISTENER", listener,
		"COMPONENTS", components, "SIPSIDE", c.SIP, "XMPPSIDE", c.XMPP, "ROUTES", routes+c.Routes, "NEXTHOP", c.NextHop, "PEERS", c.Peers, "MORE", c.Peer,
		"EXTRA", c.Extra))
	return g
}

// components returns the list of component links and the routes that lead to them.
func (c GatewayConfig) components() (list, routes string) {
	links := map[string]int{}
	maps.Copy(links, c.Components)
	if c.Component != 0 {
		links["example.com"] = c.Component
	}
	var l, r strings.Builder
	for i, domain := range slices.Sorted(maps.Keys(links)) {
		name := "server"
		if i > 0 {
			name += strconv.Itoa(i + 1)
		} else {
			l.WriteString("  components:\n")
		}
		fmt.Fprintf(&l, "    - {name: %s, server: \"127.0.0.1:%d\", domain: example.net, serves: [%s], secret_file: secret}\n", name, links[domain], domain)
		fmt.Fprintf(&r, "  - {domain: %s, via: xmpp, next_hops: [\"component:%s\"]}\n", domain, name)
	}
	return l.String(), r.String()
}

// Start starts it, again with the same configuration after Kill or Stop. It does not wait until it is ready.
func (g *Gateway) Start(t testing.TB) {
	t.Helper()
	g.process = start(t, g.dir, "isthmus", exec.Command(Binary(t), "serve", "-c", g.Config))
}

// Kill ends it as kill -9 does.
func (g *Gateway) Kill() { g.process.kill() }

// Stop ends it as an operator does, with SIGTERM.
func (g *Gateway) Stop(t testing.TB) { g.process.stop(t, time.Minute) }

// ExitCode waits for it to end by itself and returns its exit code.
func (g *Gateway) ExitCode(t testing.TB, patience time.Duration) int {
	t.Helper()
	select {
	case <-g.process.done:
		return g.process.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("isthmus did not end within %v", patience)
		return 0
	}
}

// RunGateway starts isthmus serve without waiting for it to be ready, for faults at the start.
func RunGateway(t testing.TB, c GatewayConfig) *Gateway {
	t.Helper()
	g := newGateway(t, c)
	g.Start(t)
	return g
}

// Get asks the administration listener and returns the code and the answer.
func (g *Gateway) Get(path string) (int, string) {
	client := http.Client{Timeout: 20 * time.Second}
	r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", g.Admin, path))
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(b)
}

// Ready tells whether it says that all its links are up.
func (g *Gateway) Ready() bool {
	code, _ := g.Get("/readyz")
	return code == http.StatusOK
}

// Log returns the lines of its log.
func (g *Gateway) Log(t testing.TB) []map[string]any {
	t.Helper()
	b, err := os.ReadFile(g.process.log)
	if err != nil {
		t.Fatal(err)
	}
	whole := b[:bytes.LastIndexByte(b, '\n')+1] // a line may be on its way
	var lines []map[string]any
	for line := range strings.Lines(string(whole)) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("a line of the log is not JSON: %q: %v", line, err)
			continue
		}
		lines = append(lines, fields)
	}
	return lines
}

// RawLog returns its log as text.
func (g *Gateway) RawLog() string { return tail(g.process.log, 1<<24) }

// Memory returns how much memory it holds now, in octets: its resident set, by the kernel's count.
func (g *Gateway) Memory(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.process.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("the kernel tells no resident set")
	return 0
}

// PID is its process.
func (g *Gateway) PID() int { return g.process.cmd.Process.Pid }

// Run runs the command with arguments to its end and returns what it says on both outputs, whatever its exit code.
func Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), Binary(t), args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}
