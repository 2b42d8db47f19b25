package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
)

// What an operator does with what is stored: see it, read it if that is allowed, try it, drop it; over a restart too.
func TestQueue(t *testing.T) {
	away := porttest.Refused(t).String() // no XMPP server is there
	folder := shortFolder(t)
	sip := porttest.Address(t)
	text := fmt.Sprintf(twoSides, sip, away, filepath.Join(folder, "a")) +
		"store: {directory: \"" + filepath.Join(folder, "s") + "\", readable: true}\nlimits: {messages: {direct_wait: 1s}}\n"
	file := filepath.Join(folder, "c.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SECRET": "s"}
	command := func(args ...string) (code int, out, fault string) {
		t.Helper()
		var o, e bytes.Buffer
		p := process{in: strings.NewReader(""), out: &o, err: &e, environment: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}
		code = run(t.Context(), append(append([]string{"queue"}, args...), "-c", file), p)
		return code, o.String(), e.String()
	}
	list := func(args ...string) (all []gateway.Stored) {
		t.Helper()
		code, out, fault := command(append([]string{"list", "--json"}, args...)...)
		if code != 0 {
			t.Fatalf("%d %s", code, fault)
		}
		for line := range strings.Lines(out) {
			var s gateway.Stored
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		return all
	}
	if code, _, fault := command("list"); code != exitFault || !strings.Contains(fault, "no gateway answers") {
		t.Errorf("without a gateway: %d %s", code, fault)
	}

	r := serving(t, text, env)
	eventually(t, "the queue is shown", func() bool { code, _, _ := command("list"); return code == 0 })
	c, err := net.Dial("udp4", sip)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 2 {
		fmt.Fprintf(c, "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK-%d;rport\r\nMax-Forwards: 70\r\n"+
			"From: <sip:romeo@example.net>;tag=%d\r\nTo: <sip:juliet@example.com>\r\nCall-ID: c%d@example.net\r\nCSeq: 1 MESSAGE\r\n"+
			"Content-Type: text/plain\r\nContent-Length: 6\r\n\r\nbody-%d", c.LocalAddr(), i, i, i, i)
		answer := make([]byte, 2048)
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(answer)
		if err != nil || !strings.HasPrefix(string(answer[:n]), "SIP/2.0 202 ") {
			t.Fatalf("answer %q, %v\n%s", answer[:n], err, r.log)
		}
	}
	all := list()
	if len(all) != 2 || all[0].From != "im:romeo@example.net" || all[0].To != "im:juliet@example.com" || all[0].Kind != "message" || all[0].ID >= all[1].ID {
		t.Fatalf("%+v", all)
	}
	if _, out, _ := command("list"); !strings.Contains(out, all[0].ID) || !strings.Contains(out, "im:juliet@example.com") {
		t.Errorf("%s", out)
	}
	if dead := list("--dead"); len(dead) != 0 {
		t.Errorf("%+v", dead)
	}
	if code, out, fault := command("show", all[1].ID); code != 0 || !strings.Contains(out, "Ym9keS0x") { // base64 of body-1
		t.Errorf("%d %s %s", code, out, fault)
	}
	for _, args := range [][]string{{"show", "nosuch"}, {"retry", "nosuch"}, {"drop", "nosuch"}} {
		if code, _, fault := command(args...); code != exitFault || !strings.Contains(fault, "no such entry") {
			t.Errorf("%v: %d %s", args, code, fault)
		}
	}
	if code, _, fault := command("retry", all[0].ID); code != 0 {
		t.Errorf("retry: %d %s", code, fault)
	}
	// What is stored is there after a restart.
	if code := r.end(t); code != 0 {
		t.Fatalf("exit code %d\n%s", code, r.log)
	}
	if strings.Contains(r.log.String(), "body-1") {
		t.Error("a body is in the log")
	}
	r = serving(t, text, env)
	eventually(t, "the journal is read", func() bool { code, _, _ := command("list"); return code == 0 && len(list()) == 2 })
	if code, _, fault := command("drop", all[1].ID); code != 0 {
		t.Errorf("drop: %d %s", code, fault)
	}
	eventually(t, "the dropped message is told of and gone", func() bool {
		left := list()
		for _, s := range left {
			if s.ID == all[1].ID {
				return false
			}
		}
		return len(left) >= 1
	})
	if code, _, fault := command("resume"); code != 0 {
		t.Errorf("resume: %d %s", code, fault)
	}
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
}
