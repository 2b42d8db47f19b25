package integration_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// T-AD-02, THREATS O2: secrets of every kind that the gateway is given, and words of its users, stand in no log, metric, answer or argument of the
// real process, while what they are for fails and while it works; nor in what the tools say of the same configuration.
func TestT_AD_02_Canaries(t *testing.T) {
	folder := t.TempDir()
	canaries := map[string]string{lab.ComponentSecret: "the component's secret"}
	plant := func(what string) string {
		word := fmt.Sprintf("c4n4ry%dof%s", len(canaries), strings.ReplaceAll(what, " ", ""))
		canaries[word] = what
		return word
	}
	file := func(what string) string {
		name := filepath.Join(folder, fmt.Sprint(len(canaries)))
		if err := os.WriteFile(name, []byte(plant(what)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	ca := certstest.NewCA(t)
	leaf := ca.Issue(certstest.Spec{DNS: []string{"example.net"}})
	key := leaf.WriteFiles(folder)
	canaries[strings.Split(string(leaf.KeyPEM()), "\n")[1]] = "the private key"
	server := lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: lab.ProsodyServer})
	agent := lab.FreePorts(t, 1)[0]
	gateway := lab.StartGateway(t, lab.GatewayConfig{
		Component: server.Component, NextHop: overUDP(agent), TLSPort: lab.FreePorts(t, 1)[0],
		Peer: `, users: [{name: romeo, address: "sip:romeo@example.net", password_file: "` + file("a user's password") + `"}], credentials: {username: isthmus, realm: example.net, password_file: "` +
			file("the gateway's password") + `"}`,
		Extra: fmt.Sprintf("log: {level: debug}\ntls: {certificates: [{name: own, chain_file: %q, key_file: %q}]}\nstore: {directory: %q}\nlimits: {messages: {direct_wait: 1s}}\n", key.Chain, key.Key, filepath.Join(folder, "store")),
	})
	juliet := server.LogIn(t, "juliet", "balcony")

	// What a SIP user is challenged for, what he proves wrongly, and what he says beside it.
	c, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", gateway.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	proof := plant("a digest")
	for i, credentials := range []string{"", `Authorization: Digest username="romeo", realm="example.net", nonce="` + proof + `", uri="sip:juliet@example.com", response="` + proof + `", algorithm=SHA-256` + "\r\n"} {
		body := plant("a message from SIP")
		fmt.Fprintf(c, "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKcanary%d\r\nMax-Forwards: 70\r\nFrom: <sip:romeo@example.net>;tag=t%d\r\n"+
			"To: <sip:juliet@example.com>\r\nCall-ID: c%d\r\nCSeq: 1 MESSAGE\r\nSubject: %s\r\n%sContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
			c.LocalAddr(), i, i, i, plant("a subject"), credentials, len(body), body)
		answer := make([]byte, 2048)
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "SIP/2.0 401 ") {
			t.Fatalf("%q, %v", answer[:n], err)
		}
	}
	// What an XMPP user says, to somebody who is there, and to nobody, so that it is stored.
	run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: agent})
	said := plant("a message from XMPP")
	juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: &said, Subject: p(plant("its subject"))})
	run.Wait(t, patience)
	later := plant("a message that waits")
	juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: &later})
	status := plant("a status")
	juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Status: &status})
	lab.Eventually(t, patience, "a message is stored", func() bool {
		_, metrics := gateway.Get("/metrics")
		return waiting.MatchString(metrics)
	})

	texts := map[string]string{"its log": gateway.RawLog()}
	for _, path := range []string{"/metrics", "/readyz", "/healthz", "/", "/queue"} {
		_, texts[path] = gateway.Get(path)
	}
	arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", gateway.PID()))
	if err != nil {
		t.Fatal(err)
	}
	texts["its arguments"] = string(arguments)
	for _, args := range [][]string{{"check", "--json", "-c", gateway.Config}, {"check", "-c", gateway.Config}, {"queue", "list", "-c", gateway.Config}, {"config"}} {
		texts["isthmus "+args[0]] += lab.Run(t, args...)
	}
	for where, text := range texts {
		for word, what := range canaries {
			if strings.Contains(text, word) {
				t.Errorf("%s is in %s", what, where)
			}
		}
	}
	if len(canaries) < 12 || !strings.Contains(texts["its log"], `"op"`) && !strings.Contains(texts["its log"], "message") || len(texts["/metrics"]) < 1000 || !strings.Contains(texts["isthmus check"], "romeo") && !strings.Contains(texts["isthmus check"], "lab") {
		t.Errorf("%d canaries; is there anything to look at? %v", len(canaries), texts)
	}
}
