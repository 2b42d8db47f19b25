package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// check tries the certificates: what is wrong with a file is a fault of the configuration at the key that names it, and a certificate
// that no peer would take is told.
func TestCheckCertificates(t *testing.T) {
	text, err := os.ReadFile("../../configs/two-domains.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	ca := certstest.NewCA(t)
	file := filepath.Join(folder, "c.yaml")
	now := time.Now()
	for _, c := range []struct {
		name string
		leaf *certstest.Leaf
		lose string // the file to take away
		code int
		out  string
		err  string
	}{
		{"good", ca.Issue(certstest.Spec{DNS: []string{"example.net"}, URI: []string{"sip:example.com"}}), "", 0, "certificate  one for example.net, sip:example.com: until ", ""},
		{"ends soon", ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotAfter: now.Add(time.Hour)}), "", 0, "certificate one expires at", ""},
		{"ended", ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)}), "", 1, "1 certificate proves nothing to a peer", ""},
		{"nameless", ca.Issue(certstest.Spec{CommonName: "example.net"}), "", 1, "has no name in subjectAltName", ""},
		{"no key", ca.Issue(certstest.Spec{DNS: []string{"example.net"}}), "one.key", 2, "", "tls.certificates[0].key_file: the file"},
		{"no chain", ca.Issue(certstest.Spec{DNS: []string{"example.net"}}), "one.crt", 2, "", "tls.certificates[0].chain_file: the file"},
		{"no anchors", ca.Issue(certstest.Spec{DNS: []string{"example.net"}}), "roots.pem", 2, "", "tls.roots_file: the file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.leaf.WriteTo(certstest.Files{Chain: filepath.Join(folder, "one.crt"), Key: filepath.Join(folder, "one.key")})
			if err := os.WriteFile(filepath.Join(folder, "roots.pem"), ca.PEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.lose != "" {
				if err := os.Remove(filepath.Join(folder, c.lose)); err != nil {
					t.Fatal(err)
				}
			}
			// Relative paths start at the folder of the configuration.
			whole := append(bytes.Clone(text), "tls:\n  certificates: [{name: one, chain_file: one.crt, key_file: one.key}]\n  roots_file: roots.pem\n"...)
			if err := os.WriteFile(file, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			got := isthmus(t, "", map[string]string{"ISTHMUS_PROSODY_SECRET": "x"}, "check", "-c", file)
			if got.code != c.code || !strings.Contains(got.out, c.out) || !strings.Contains(got.err, c.err) {
				t.Errorf("exit code %d, want %d\nstandard output: %s\nstandard error: %s", got.code, c.code, got.out, got.err)
			}
			if c.err != "" && !strings.Contains(got.err, "c.yaml:") {
				t.Errorf("the fault has no line: %s", got.err)
			}
		})
	}
}

// A SIP side over TLS and WebSocket alone, with a peer that is known by its certificate, is a whole configuration.
func TestCheckSecureSIP(t *testing.T) {
	b, err := os.ReadFile("../../configs/two-domains.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	ca := certstest.NewCA(t)
	ca.Issue(certstest.Spec{DNS: []string{"example.com"}}).WriteTo(certstest.Files{Chain: filepath.Join(folder, "one.crt"), Key: filepath.Join(folder, "one.key")})
	text := string(b) + "tls:\n  certificates: [{name: one, chain_file: one.crt, key_file: one.key}]\n"
	for _, v := range []struct{ old, with string }{
		{"transport: udp, address", "transport: tls, address"},
		{`transport: tcp, address: "127.0.0.1:5060"`, `transport: wss, address: "[::1]:5443", origins: ["https://chat.example.net"]`},
		{"networks: [127.0.0.1/32]", "certificates: [proxy.example.net]\n      keep_alive: 90s\n      overload_control: true"},
		{"sip:127.0.0.1:5070;transport=udp", "sip:127.0.0.1:5061;transport=tls;name=proxy.example.net"},
	} {
		if !strings.Contains(text, v.old) {
			t.Fatalf("nothing to replace: %q", v.old)
		}
		text = strings.Replace(text, v.old, v.with, 1)
	}
	file := filepath.Join(folder, "c.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := isthmus(t, "", map[string]string{"ISTHMUS_PROSODY_SECRET": "x"}, "check", "-c", file)
	for _, want := range []string{"listens on   sip/tls 127.0.0.1:5060", "listens on   sip/wss [::1]:5443", "from certificate of proxy.example.net", "transport=tls"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("no %q in\n%s", want, got.out)
		}
	}
	if got.code != 0 {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
}

// T-FI-22: SIGHUP ends nothing, before the gateway is ready neither; other signals go on to who ends the gateway.
func TestHangups_T_FI_22(t *testing.T) {
	signals, done, ready := make(chan os.Signal), make(chan struct{}), make(chan struct{})
	defer close(done)
	reloads := make(chan struct{}, 10)
	others := hangups(done, ready, signals, func() { reloads <- struct{}{} })
	for range 3 {
		signals <- syscall.SIGHUP
	}
	signals <- syscall.SIGTERM
	if s := <-others; s != syscall.SIGTERM {
		t.Errorf("%v went on", s)
	}
	if len(reloads) > 0 {
		t.Error("reloaded before it was ready")
	}
	close(ready)
	<-reloads
	signals <- syscall.SIGHUP
	<-reloads
	signals <- os.Interrupt
	if s := <-others; s != os.Interrupt || len(reloads) > 0 {
		t.Errorf("%v went on, %d reloads more", s, len(reloads))
	}
}
