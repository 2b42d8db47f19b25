package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/porttest"
)

// T-AD-03: who is blocked in a file that changed is blocked after SIGHUP and not before; a file with a fault leaves everything as it was;
// and a reload for another reason takes nothing of the policy away.
func TestServeReloadsThePolicy_T_AD_03(t *testing.T) {
	folder := shortFolder(t)
	blocked := filepath.Join(folder, "blocked")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(blocked, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# nobody\n")
	away := porttest.Refused(t).String() // no XMPP server is there
	sip := porttest.Address(t)
	r := serving(t, fmt.Sprintf(twoSides, sip, away, filepath.Join(folder, "a"))+
		"limits: {messages: {direct_wait: 1s}}\npolicy: {blocked_files: [\""+blocked+"\"], rules: [{name: home, from: [example.net]}]}\n", map[string]string{"SECRET": "s"})
	c, err := net.Dial("udp4", sip)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	answer := func() string {
		t.Helper()
		n++
		fmt.Fprintf(c, "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK-%d;rport\r\nMax-Forwards: 70\r\n"+
			"From: <sip:romeo@example.net>;tag=%d\r\nTo: <sip:juliet@example.com>\r\nCall-ID: c%d@example.net\r\nCSeq: 1 MESSAGE\r\n"+
			"Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx", c.LocalAddr(), n, n, n)
		b := make([]byte, 2048)
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		k, err := c.Read(b)
		if err != nil {
			t.Fatal(err, r.log)
		}
		code, _, _ := strings.Cut(strings.TrimPrefix(string(b[:k]), "SIP/2.0 "), " ")
		return code
	}
	reload := func(want string) {
		t.Helper()
		before := strings.Count(r.log.String(), want)
		r.signals <- syscall.SIGHUP
		eventually(t, want, func() bool { return strings.Count(r.log.String(), want) > before })
	}
	const taken, refused = `"message":"reloaded"`, "blocked:1: "
	if code := answer(); code == "403" {
		t.Errorf("before anybody is blocked: %s", code)
	}
	write("im:romeo@example.net\n")
	if code := answer(); code == "403" {
		t.Errorf("before the reload: %s", code)
	}
	reload(taken)
	if code := answer(); code != "403" {
		t.Errorf("blocked: %s", code)
	}
	write("not a domain\n")
	reload(refused)
	if code := answer(); code != "403" {
		t.Errorf("after a file with a fault: %s", code)
	}
	write("im:mercutio@example.net\n")
	reload(taken)
	if code := answer(); code == "403" {
		t.Errorf("no longer blocked: %s", code)
	}
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
}
