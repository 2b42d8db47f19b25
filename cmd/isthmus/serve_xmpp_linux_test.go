package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/xmpptest"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
)

const twoSides = `sip:
  listeners: [{transport: udp, address: "%s"}]
  peers: [{name: proxy, networks: [127.0.0.1], domains: [example.net]}]
xmpp:
  backoff_first: 10ms
  components: [{name: server, server: "%s", domain: example.net, serves: [example.com], secret_env: SECRET}]
routes:
  - {domain: example.net, via: sip, next_hops: ["sip:127.0.0.1:9;transport=udp"]}
  - {domain: example.com, via: xmpp, next_hops: ["component:server"]}
admin: {listen: "unix:%s"}
log: {level: debug}
`

func xmppServer(t *testing.T, secret string) *xmpptest.Server {
	t.Helper()
	s, err := xmpptest.Start(xmpptest.Config{Domain: "example.com", Components: map[string]string{"example.net": secret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// shortFolder is a folder whose path leaves room for the name of a socket.
func shortFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "i")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// T-AD-02: a secret and a message's body are in no log line, no metric and no answer of the admin port.
func TestServeShowsNoSecret_T_AD_02(t *testing.T) {
	const secret, body = "c4n4ry-of-the-component", "c4n4ry-of-the-body"
	server := xmppServer(t, secret)
	sip, path := porttest.Address(t), filepath.Join(shortFolder(t), "a")
	r := serving(t, fmt.Sprintf(twoSides, sip, server.ComponentAddr(), path), map[string]string{"SECRET": secret})
	client := unixClient(path)
	defer client.CloseIdleConnections()
	eventually(t, "the links are up", func() bool {
		code, _ := fetch(t, client, "/readyz")
		return code == http.StatusOK
	})

	c, err := net.Dial("udp4", sip)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK776sgdkse\r\nMax-Forwards: 70\r\n"+
		"From: <sip:romeo@example.net>;tag=49583\r\nTo: <sip:juliet@example.com>\r\nCall-ID: asd88asd77a@example.net\r\nCSeq: 1 MESSAGE\r\n"+
		"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", c.LocalAddr(), len(body), body)
	answer := make([]byte, 2048)
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "SIP/2.0 ") {
		t.Fatalf("answer %q, %v\n%s", answer[:n], err, r.log)
	}
	_, metrics := fetch(t, client, "/metrics")
	_, ready := fetch(t, client, "/readyz")
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
	for what, text := range map[string]string{"log": r.log.String(), "metrics": metrics, "readiness": ready} {
		for _, canary := range []string{secret, body} {
			if strings.Contains(text, canary) {
				t.Errorf("%s is in the %s:\n%s", canary, what, text)
			}
		}
	}
	if !strings.Contains(r.log.String(), "example.com") {
		t.Errorf("the log has no line of the operation:\n%s", r.log)
	}
	for _, line := range jsonLines(t, r.log.String()) {
		if line["level"] == nil || line["time"] == nil {
			t.Errorf("a log line without a level or a time: %v", line)
		}
	}
}

// A secret that the server refuses ends the gateway with exit code 1 and a line that names the component, not the secret: trying
// again could not help.
func TestServeWrongSecret(t *testing.T) {
	const wrong = "c4n4ry-wrong"
	server := xmppServer(t, "right")
	r := serving(t, fmt.Sprintf(twoSides, "127.0.0.1:0", server.ComponentAddr(), filepath.Join(shortFolder(t), "a")), map[string]string{"SECRET": wrong})
	select {
	case code := <-r.ended:
		log := r.log.String()
		if code != exitFault || !strings.Contains(log, "secret") || !strings.Contains(log, "server") || strings.Contains(log, wrong) {
			t.Errorf("exit code %d\n%s", code, log)
		}
	case <-time.After(time.Minute):
		t.Fatalf("it still runs:\n%s", r.log)
	}
}

// A server that is away does not keep the gateway from serving: it is not ready, says why, and is ready when the server is there.
func TestServeServerAway(t *testing.T) {
	at := porttest.Address(t)
	path := filepath.Join(shortFolder(t), "a")
	r := serving(t, fmt.Sprintf(twoSides, "127.0.0.1:0", at, path), map[string]string{"SECRET": "s"})
	client := unixClient(path)
	defer client.CloseIdleConnections()
	if code, body := fetch(t, client, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `"name":"server","up":false`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if code, _ := fetch(t, client, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	server, err := xmpptest.StartAt(xmpptest.Config{Domain: "example.com", Components: map[string]string{"example.net": "s"}}, at, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	eventually(t, "the link is up", func() bool {
		code, _ := fetch(t, client, "/readyz")
		return code == http.StatusOK
	})
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
}

// T-AD-05: a link to an XMPP server listens nowhere.
func TestLinksDoNotListen_T_AD_05(t *testing.T) {
	server := xmppServer(t, "s")
	before := listening(t)
	config, _, _ := strings.Cut(fmt.Sprintf(twoSides, "127.0.0.1:0", server.ComponentAddr(), "/off"), "admin:")
	r := serving(t, config, map[string]string{"SECRET": "s"})
	more := slices.DeleteFunc(listening(t), func(s string) bool { return slices.Contains(before, s) })
	if len(more) != 1 || !strings.HasPrefix(more[0], "udp ") {
		t.Errorf("listening on %v, want the SIP listener alone", more)
	}
	if code := r.end(t); code != exitDone {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
}
