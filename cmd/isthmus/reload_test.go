package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/configs"
)

// lockedLog is a log that may be read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// T-FI-22, T-AD-03: a gateway that runs is asked to read its configuration again, by the command and by SIGHUP: a broken one is refused with
// every fault at once, a right one is taken on, a key that needs a restart is named, and the metrics say what came of it.
func TestT_FI_22_Reload(t *testing.T) {
	folder, err := os.MkdirTemp("", "r") // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	file, socket := filepath.Join(folder, "isthmus.yaml"), filepath.Join(folder, "s")
	text := strings.ReplaceAll(`
sip:
  listeners: [{transport: udp, address: "127.0.0.1:0"}]
  peers: [{name: p, networks: [192.0.2.0/24], domains: [example.net]}]
xmpp:
  components: [{name: c, server: "127.0.0.1:1", domain: example.net, serves: [example.com], secret_file: secret}]
routes:
  - {domain: example.net, via: sip, next_hops: ["sip:127.0.0.1:5070"]}
  - {domain: example.com, via: xmpp, next_hops: ["component:c"]}
admin: {listen: "unix:SOCKET"}
`, "SOCKET", socket)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	if err := os.WriteFile(filepath.Join(folder, "secret"), []byte("s3cr3t"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := func() (*configs.Config, error) { return configs.Load(file, os.LookupEnv) }
	cfg, err := again()
	if err != nil {
		t.Fatal(err)
	}
	var log lockedLog
	logger, level := newLogger(&log, cfg.Log)
	signals, ended := make(chan os.Signal, 2), make(chan error, 1)
	go func() { ended <- serve(t.Context(), cfg, again, logger, level, signals) }()
	waitFor(t, "it serves", func() bool { return strings.Contains(log.String(), "isthmus serves") })

	metrics := func(want ...string) {
		t.Helper()
		r, err := askSocket(t.Context(), socket, time.Minute, http.MethodGet, "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		octets, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !bytes.Contains(octets, []byte("\n"+w+"\n")) {
				t.Errorf("no %q in the metrics", w)
			}
		}
	}
	for _, c := range []struct {
		name, text string
		code       int
		says       []string
		silent     string
	}{
		{"the same", text, 0, []string{"no key has another value"}, "changed"},
		{
			"two faults", strings.NewReplacer("127.0.0.1:5070", "nowhere:x", "192.0.2.0/24", "192.0.2.0/99").Replace(text), 1,
			[]string{"isthmus.yaml:4:", "isthmus.yaml:8:", "everything stays as it was"},
			"\nreloaded",
		},
		{"a missing secret", strings.Replace(text, "secret_file: secret", "secret_file: nothing", 1), 1, []string{"does not exist"}, "s3cr3t"},
		{"an address in use", strings.Replace(text, "listeners: [", "listeners: [{transport: tcp, address: \"192.0.2.1:5060\"}, ", 1), 1, []string{"192.0.2.1:5060"}, "\nreloaded"},
		{"the last listener", strings.Replace(text, "listeners: [{transport: udp, address: \"127.0.0.1:0\"}]", "listeners: []", 1), 1, nil, "\nreloaded"},
		{"a live key", text + "log: {level: debug}\n", 0, []string{"changed log.level"}, "restart"},
		{"one of each", text + "log: {level: warn}\nstore: {directory: /var/lib/isthmus}\n", 0, []string{"changed log.level", "needs a restart: store.directory"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(c.text)
			got := isthmus(t, "", nil, "reload", "--socket", socket)
			if got.code != c.code {
				t.Errorf("exit code %d", got.code)
			}
			for _, s := range c.says {
				if !strings.Contains(got.out, s) {
					t.Errorf("no %q in %q (%s)", s, got.out, got.err)
				}
			}
			if c.silent != "" && strings.Contains("\n"+got.out, c.silent) {
				t.Errorf("%q in %q", c.silent, got.out)
			}
		})
	}
	metrics(`isthmus_reload_total{outcome="applied"} 2`, `isthmus_reload_total{outcome="refused"} 4`, `isthmus_reload_total{outcome="pending"} 1`, "isthmus_reload_pending_keys 1")
	for _, s := range []string{`"message":"a fault of the new configuration"`, `"message":"not reloaded: everything stays as it was"`, `"pending":["store.directory"]`} {
		if !strings.Contains(log.String(), s) {
			t.Errorf("no %s in the log", s)
		}
	}
	// The log's level is warn now, so that a reload that was taken on says nothing; SIGHUP does the same as the command.
	write(text)
	signals <- syscall.SIGHUP
	waitFor(t, "SIGHUP is dealt with", func() bool {
		got := isthmus(t, "", nil, "reload", "-c", file)
		return strings.Contains(got.out, "no key has another value")
	})
	metrics("isthmus_reload_pending_keys 0")
	signals <- syscall.SIGTERM
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "s3cr3t") {
		t.Error("the log has a secret")
	}
}

// waitFor waits for a state that has no event of its own.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, end := time.NewTicker(10*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("a minute, and not: %s", what)
		}
	}
}
