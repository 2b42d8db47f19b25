package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/demo"
)

func runDemoCommand(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"demo"}, args...), process{
		in: strings.NewReader(""), out: &o, err: &e, environment: os.LookupEnv, signals: listen,
	})
	return o.String(), e.String(), code
}

// The demo shows the four crossings and exits 0 only if everything arrived.
func TestDemo(t *testing.T) {
	out, errs, code := runDemoCommand(t)
	if code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	for _, want := range []string{
		"1. A message crosses from SIP to XMPP", "2. A message crosses from XMPP to SIP",
		"3. A presence change crosses from XMPP to SIP", "4. A presence change crosses from SIP to XMPP", "4 of 4 arrived",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if strings.Contains(out, "(nothing)") {
		t.Errorf("a stage was not seen:\n%s", out)
	}
	if strings.ContainsRune(out, '\x1b') {
		t.Error("colour, and this is no terminal")
	}
	if errs != "" {
		t.Errorf("standard error has %q", errs)
	}
}

func TestDemoForMachines(t *testing.T) {
	out, errs, code := runDemoCommand(t, "--json")
	if code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines, want one for each of four crossings and one at the end:\n%s", len(lines), out)
	}
	ways := []string{"SIP", "XMPP", "XMPP", "SIP"}
	for i, line := range lines[:4] {
		var c demo.Crossing
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
		if !c.Arrived || c.From != ways[i] || c.In == "" || c.Middle == "" || c.Out == "" {
			t.Errorf("crossing %d: %+v", i, c)
		}
		// The native text on the SIP side is a whole request, on the XMPP side a whole stanza; the middle is the canonical form.
		sip, xmpp := c.In, c.Out
		if c.From == "XMPP" {
			sip, xmpp = c.Out, c.In
		}
		if !strings.Contains(sip, " SIP/2.0\r\n") || !strings.HasPrefix(xmpp, "<") {
			t.Errorf("crossing %d: SIP %q, XMPP %q", i, sip, xmpp)
		}
		if middle := map[string]string{"Message/CPIM": "From: <im:", "PIDF": "urn:ietf:params:xml:ns:pidf"}[c.Form]; !strings.Contains(c.Middle, middle) || middle == "" {
			t.Errorf("crossing %d: the middle as %s is %q", i, c.Form, c.Middle)
		}
	}
}
