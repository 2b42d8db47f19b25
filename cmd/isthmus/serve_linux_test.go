package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/configs"
)

// listening is every socket of this process that others can send to, as "tcp 127.0.0.1:5060" with the address in the kernel's hex.
func listening(t *testing.T) []string {
	t.Helper()
	own := make(map[string]bool)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			if inode, ok := strings.CutPrefix(link, "socket:["); ok {
				own[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	var found []string
	for _, table := range []struct{ name, state string }{{"tcp", "0A"}, {"tcp6", "0A"}, {"udp", "07"}, {"udp6", "07"}} {
		text, err := os.ReadFile("/proc/self/net/" + table.name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == table.state && own[f[9]] {
				found = append(found, table.name+" "+f[1])
			}
		}
	}
	slices.Sort(found)
	return found
}

// lockedBuffer is a log that is written and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is an isthmus serve in this process.
type running struct {
	log     *lockedBuffer
	signals chan os.Signal
	ended   chan int
}

// serving runs isthmus serve with a configuration until the test ends it, and waits until it serves.
func serving(t *testing.T, config string, env map[string]string) *running {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &running{log: new(lockedBuffer), signals: make(chan os.Signal, 2), ended: make(chan int, 1)}
	go func() {
		r.ended <- run(context.Background(), []string{"serve", "-c", file}, process{
			in: strings.NewReader(""), out: io.Discard, err: r.log,
			environment: configs.Environment(func(name string) (string, bool) { v, ok := env[name]; return v, ok }),
			signals:     func() (<-chan os.Signal, func()) { return r.signals, func() {} },
		})
	}()
	eventually(t, "it serves", func() bool { return strings.Contains(r.log.String(), "isthmus serves") || len(r.ended) > 0 })
	return r
}

// end sends SIGTERM and returns the exit code.
func (r *running) end(t *testing.T) int {
	t.Helper()
	r.signals <- syscall.SIGTERM
	select {
	case code := <-r.ended:
		return code
	case <-time.After(time.Minute):
		t.Fatalf("it did not end:\n%s", r.log)
		return 0
	}
}

// eventually asks again and again until what is so. It gives up after a minute.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-tick.C {
		if is() {
			return
		}
	}
	t.Fatalf("not so after a minute: %s", what)
}

const sipSide = `sip:
  listeners: [{transport: %s, address: "127.0.0.1:0"}]
routes: [{domain: example.net, via: sip, next_hops: ["sip:127.0.0.1:9;transport=%[1]s"]}]
`

// T-AD-05: with each listener off, nothing listens; and after the end nothing at all.
func TestListeners_T_AD_05(t *testing.T) {
	before := listening(t)
	for _, c := range []struct {
		name, config string
		tcp, udp     int
	}{
		{"UDP alone", fmt.Sprintf(sipSide, "udp"), 0, 1},
		{"TCP alone", fmt.Sprintf(sipSide, "tcp"), 1, 0},
		{"TCP and admin", fmt.Sprintf(sipSide, "tcp") + "admin: {listen: \"127.0.0.1:0\"}\n", 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serving(t, c.config, nil)
			tcp, udp := 0, 0
			for _, s := range listening(t) {
				switch {
				case slices.Contains(before, s):
				case strings.HasPrefix(s, "tcp"):
					tcp++
				default:
					udp++
				}
			}
			if tcp != c.tcp || udp != c.udp {
				t.Errorf("%d TCP and %d UDP sockets, want %d and %d: %v", tcp, udp, c.tcp, c.udp, listening(t))
			}
			if code := r.end(t); code != 0 {
				t.Errorf("exit code %d\n%s", code, r.log)
			}
			if after := listening(t); !slices.Equal(before, after) {
				t.Errorf("still listening: %v", after)
			}
		})
	}
}

// The admin port tells when the gateway can take traffic, and gives the metrics of all parts.
func TestServeAdmin(t *testing.T) {
	folder, err := os.MkdirTemp("", "i")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	path := filepath.Join(folder, "admin.sock")
	r := serving(t, fmt.Sprintf(sipSide, "udp")+"admin: {listen: \"unix:"+path+"\"}\n", nil)
	client := unixClient(path)
	defer client.CloseIdleConnections()
	code, body := fetch(t, client, "/readyz")
	if code != http.StatusOK || !strings.Contains(body, `{"adapter":"sip","name":"udp 127.0.0.1:0","up":true}`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
	code, body = fetch(t, client, "/metrics")
	for _, name := range []string{"isthmus_build_info{", "go_goroutines", "process_open_fds"} {
		if code != http.StatusOK || !strings.Contains(body, "\n"+name) {
			t.Errorf("/metrics has no %s: %d", name, code)
		}
	}
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}
