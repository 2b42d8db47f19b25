package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// TestCheckServer: check says who may connect to the gateway as an XMPP server and speak to whom, and which of its domains no certificate
// proves.
func TestCheckServer(t *testing.T) {
	text, err := os.ReadFile("../../configs/federation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"example.net": {"listens on   xmpp server/starttls 0.0.0.0:5269", "listens on   xmpp server/direct 0.0.0.0:5270", "may send     xmpp strangers, from anywhere with a certificate for it: as anyone at *, to anyone at example.net", "is right"},
		"example.org": {"example.net: other XMPP servers will not believe it"},
	} {
		folder := t.TempDir()
		files := certstest.NewCA(t).Issue(certstest.Spec{DNS: []string{name}}).WriteFiles(folder)
		own := bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("/etc/isthmus/example.net.crt"), []byte(files.Chain)), []byte("/etc/isthmus/example.net.key"), []byte(files.Key))
		file := filepath.Join(folder, "isthmus.yaml")
		if err := os.WriteFile(file, own, 0o600); err != nil {
			t.Fatal(err)
		}
		out := isthmus(t, "", nil, "check", "-c", file).out
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q in\n%s", name, w, out)
			}
		}
	}
}
