package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/internal/leaktest"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// open starts a port and returns a client that speaks to it.
func open(t *testing.T, cfg Config) (*Server, *http.Client) {
	t.Helper()
	if cfg.Links == nil {
		cfg.Links = func() []Link { return nil }
	}
	if cfg.Gatherer == nil {
		cfg.Gatherer = prometheus.NewRegistry()
	}
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, s.Addr().Network(), address(s, cfg))
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return s, &http.Client{Transport: transport}
}

func address(s *Server, cfg Config) string {
	if cfg.Network == "unix" {
		return cfg.Address
	}
	return s.Addr().String()
}

func get(t *testing.T, c *http.Client, method, path, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func tcp() Config { return Config{Network: "tcp", Address: "127.0.0.1:0"} }

func TestEndpoints(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "isthmus_test_total", Help: "x"})
	registry.MustRegister(counter)
	counter.Inc()
	up := true
	cfg := tcp()
	cfg.Gatherer = registry
	cfg.Links = func() []Link {
		return []Link{{Adapter: "xmpp", Name: "prosody", Up: up}, {Adapter: "sip", Name: "udp", Up: true}}
	}
	_, client := open(t, cfg)

	if code, body := get(t, client, "GET", "/healthz", ""); code != 200 || body != "{\"alive\":true}\n" {
		t.Errorf("/healthz: %d %s", code, body)
	}
	if code, body := get(t, client, "GET", "/readyz", ""); code != 200 || !json.Valid([]byte(body)) || !strings.Contains(body, `"ready":true`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
	up = false
	code, body := get(t, client, "GET", "/readyz", "")
	if want := `{"ready":false,"links":[{"adapter":"xmpp","name":"prosody","up":false},{"adapter":"sip","name":"udp","up":true}]}` + "\n"; code != 503 || body != want {
		t.Errorf("/readyz with a link down: %d %s", code, body)
	}
	if code, body := get(t, client, "GET", "/metrics", ""); code != 200 || !strings.Contains(body, "isthmus_test_total 1") {
		t.Errorf("/metrics: %d %s", code, body)
	}
}

// T-AD-01: the port gives three things to read, and nothing else.
func TestExposure_T_AD_01(t *testing.T) {
	_, client := open(t, tcp())
	for _, c := range []struct {
		method, path, host string
		code               int
	}{
		{"GET", "/healthz", "", 200},
		{"HEAD", "/healthz", "", 200},
		{"GET", "/readyz", "127.0.0.1:9090", 200},
		{"GET", "/readyz", "[::1]:9090", 200},
		{"GET", "/readyz", "[::1]", 200},
		{"GET", "/", "", 404},
		{"GET", "/debug/pprof/", "", 404},
		{"GET", "/debug/vars", "", 404},
		{"GET", "/healthz/", "", 404},
		{"GET", "/config", "", 404},
		{"POST", "/healthz", "", 405},
		{"PUT", "/readyz", "", 405},
		{"DELETE", "/metrics", "", 405},
		// DNS rebinding: a page that a browser on this machine shows must not read.
		{"GET", "/metrics", "evil.example", 421},
		{"GET", "/metrics", "evil.example:9090", 421},
		{"GET", "/metrics", "192.0.2.1", 421},
		{"GET", "/metrics", "127.0.0.1.evil.example", 421},
	} {
		t.Run(c.method+" "+c.path+" "+c.host, func(t *testing.T) {
			if code, body := get(t, client, c.method, c.path, c.host); code != c.code {
				t.Errorf("%d, want %d: %s", code, c.code, body)
			}
		})
	}
}

// T-AD-01: nothing but loopback and unix sockets is opened, whoever asks.
func TestStartRefuses_T_AD_01(t *testing.T) {
	for _, c := range []struct{ network, address string }{
		{"tcp", "0.0.0.0:0"},
		{"tcp", "[::]:0"},
		{"tcp", ":0"},
		{"tcp", "192.0.2.1:0"},
		{"tcp", "localhost:0"},
		{"udp", "127.0.0.1:0"},
		{"unix", "relative.sock"},
		{"unix", "/" + strings.Repeat("x", maxSocketPath)},
		{"", ""},
	} {
		t.Run(c.network+" "+c.address, func(t *testing.T) {
			s, err := Start(t.Context(), Config{Network: c.network, Address: c.address, Links: func() []Link { return nil }, Gatherer: prometheus.NewRegistry()})
			if err == nil {
				_ = s.Shutdown(context.Background())
				t.Error("was opened")
			}
		})
	}
}

func TestUnixSocket_T_AD_01(t *testing.T) {
	folder, err := os.MkdirTemp("", "a") // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	path := filepath.Join(folder, "admin.sock")
	cfg := Config{Network: "unix", Address: path, Links: func() []Link { return nil }, Gatherer: prometheus.NewRegistry()}
	s, client := open(t, cfg)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket: %v, %v", info.Mode(), err)
	}
	if code, _ := get(t, client, "GET", "/healthz", "anything"); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one at the same path: %v", err)
	}
	client.CloseIdleConnections()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestUnixSocketLeftBehind(t *testing.T) {
	folder, err := os.MkdirTemp("", "a")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	path := filepath.Join(folder, "admin.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	_, client := open(t, Config{Network: "unix", Address: path})
	if code, _ := get(t, client, "GET", "/healthz", ""); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{Network: "unix", Address: file}); err == nil {
		t.Error("a file was replaced")
	}
}

// T-AD-05: after the end nothing listens.
func TestNothingListensAfterwards_T_AD_05(t *testing.T) {
	s, client := open(t, Config{Network: "tcp", Address: porttest.Address(t)}) // nobody else's afterwards
	if code, _ := get(t, client, "GET", "/healthz", ""); code != 200 {
		t.Fatalf("/healthz: %d", code)
	}
	client.CloseIdleConnections()
	at := s.Addr().String()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", at); err == nil {
		c.Close()
		t.Error("something still listens")
	}
}

// T-AD-06: what a client sends cannot make a second log line, or an escape sequence in one.
func TestLogIsOneLine_T_AD_06(t *testing.T) {
	var out bytes.Buffer
	w := logWriter{zerolog.New(&out)}
	hostile := "bad \x1b[31m\r\n\u202e {\"level\":\"info\"}" + strings.Repeat("x", 1<<20)
	if n, err := w.Write([]byte(hostile)); n != len(hostile) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	line := out.Bytes()
	if !json.Valid(line) || bytes.Count(line, []byte("\n")) != 1 || bytes.ContainsAny(line, "\x1b\r\u202e") || len(line) > 2000 {
		t.Errorf("log: %.300q", line)
	}
}

// A request that never ends is cut off by its size.
func TestHeaderLimit(t *testing.T) {
	s, _ := open(t, tcp())
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// The server may close before all is written; its answer is what counts.
	go fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}
