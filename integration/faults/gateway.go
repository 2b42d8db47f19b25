package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// gateway is the command, in a process of its own.
type gateway struct {
	binary, dir string
	host        net.IP
	sip, admin  int
	written     string // its configuration

	cmd  *exec.Cmd
	done chan struct{}
	logs *os.File
}

const configuration = `sip:
  listeners: [{transport: udp, address: "HOST:SIP"}]
  peers: [{name: faults, networks: [HOST/32], domains: [sip.test]}]
xmpp:
  components: [{name: faults, server: "HOST:XMPP", domain: sip.test, serves: [xmpp.test], secret_file: secret}]
  backoff_first: 50ms
  backoff_longest: 500ms
  keep_alive: 2s
  ping_timeout: 2s
routes:
  - {domain: sip.test, via: sip, next_hops: ["sip:user.faults.test:USER;transport=udp"]}
  - {domain: xmpp.test, via: xmpp, next_hops: ["component:faults"]}
dns: {servers: ["HOST:NAMES"], allow: [127.0.0.0/8]}
STOREadmin: {listen: "HOST:ADMIN"}
LIMITS`

const messageLimits = "limits: {drain: 10s, messages: {direct_wait: 1s, pair_rate: 1000000, pair_burst: 10000000}}\n"

// ownHost is an address of loopback for one round. Where there are more than one it is one that nobody else has: ports that are free while a gateway
// is down are taken by the rounds of another run otherwise, and each plays with the other's.
func ownHost() net.IP {
	if runtime.GOOS != "linux" {
		return net.IPv4(127, 0, 0, 1)
	}
	return net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254)))
}

// listen listens on a port that nobody takes for a connection of its own while a gateway is down: outgoing connections have ports from
// 32768 on, where the kernel was not told otherwise.
func listen(host net.IP) (net.Listener, error) {
	var last error
	for range 200 {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, anyPort()))
		if err == nil {
			return l, nil
		}
		last = err
	}
	return nil, last
}

// anyPort is one below those that the kernel gives to sockets which ask for none.
func anyPort() int { return 15000 + rand.IntN(17000) }

// freePorts returns ports of loopback that nobody had a moment ago.
func freePorts(host net.IP, n int) (ports []int, err error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range n {
		l, err := listen(host)
		if err != nil {
			return nil, err
		}
		held, ports = append(held, l), append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func newGateway(binary, dir string, host net.IP) (*gateway, error) {
	ports, err := freePorts(host, 2)
	if err != nil {
		return nil, err
	}
	return &gateway{binary: binary, dir: dir, host: host, sip: ports[0], admin: ports[1]}, nil
}

// configure writes its configuration.
func (g *gateway) configure(xmpp, user, names int) error {
	return g.configureWith(xmpp, user, names, "store: {directory: \"DIR/store\", entries: 100}\n")
}

// configureWith is configure with another store.
func (g *gateway) configureWith(xmpp, user, names int, store string) error {
	return g.configureLimits(xmpp, user, names, store, messageLimits)
}

// configureLimits is configureWith with other limits.
func (g *gateway) configureLimits(xmpp, user, names int, store, limits string) error {
	text := strings.NewReplacer("STORE", store, "LIMITS", limits).Replace(configuration)
	text = strings.NewReplacer("HOST", g.host.String(), "SIP", fmt.Sprint(g.sip), "XMPP", fmt.Sprint(xmpp), "USER", fmt.Sprint(user), "NAMES", fmt.Sprint(names), "ADMIN", fmt.Sprint(g.admin), "DIR", g.dir).Replace(text)
	g.written = text
	return errors.Join(
		os.WriteFile(filepath.Join(g.dir, "isthmus.yaml"), []byte(text), 0o600),
		os.WriteFile(filepath.Join(g.dir, "secret"), []byte("faults\n"), 0o600),
	)
}

// start starts it; failpoint is where it ends itself, "" for nowhere.
func (g *gateway) start(failpoint string) error {
	if g.logs == nil {
		f, err := os.Create(filepath.Join(g.dir, "log"))
		if err != nil {
			return err
		}
		g.logs = f
	}
	g.cmd = exec.Command(g.binary, "serve", "-c", filepath.Join(g.dir, "isthmus.yaml"))
	g.cmd.Stdout, g.cmd.Stderr = g.logs, g.logs
	g.cmd.Env = append(os.Environ(), "ISTHMUS_FAILPOINT="+failpoint)
	g.cmd.SysProcAttr = apart() // Ctrl-C is for the runner alone
	if err := g.cmd.Start(); err != nil {
		return err
	}
	done, cmd := make(chan struct{}), g.cmd
	g.done = done
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	return nil
}

// ready waits until it serves; false if it does not, or ends.
func (g *gateway) ready(patience time.Duration) bool {
	client := http.Client{Timeout: time.Second}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if g.dead() {
			return false
		}
		if r, err := client.Get(fmt.Sprintf("http://%s:%d/healthz", g.host, g.admin)); err == nil {
			r.Body.Close()
			return true
		}
	}
	return false
}

func (g *gateway) dead() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

func (g *gateway) signal(s syscall.Signal) { _ = g.cmd.Process.Signal(s) } // it may have ended

// kill ends it as kill -9 does.
func (g *gateway) kill() {
	g.signal(syscall.SIGKILL)
	<-g.done
}

// stop ends it as an operator does; an error if it does not end.
func (g *gateway) stop() error {
	g.signal(syscall.SIGTERM)
	select {
	case <-g.done:
		return nil
	case <-time.After(30 * time.Second):
		g.kill()
		return errors.New("the gateway did not end within 30 s of SIGTERM")
	}
}
