package integration_test

import (
	"encoding/asn1"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// A rule can demand that messages are signed by who sends them, with OpenSSL as the signer: others are refused with a clear text, and what is
// signed crosses in the same octets. Another rule has what was found told beside the message.
func TestSignatureByPolicy(t *testing.T) {
	o := newOpenSSL(t)
	ca := certstest.NewCA(t)
	issue := func(user, uri string) {
		leaf := ca.Issue(certstest.Spec{URI: []string{uri}, Usages: []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 4}}})
		for name, octets := range map[string][]byte{user + ".pem": leaf.ChainPEM(), user + ".key": leaf.KeyPEM()} {
			if err := os.WriteFile(filepath.Join(o.dir, name), octets, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	issue("romeo", "im:romeo@example.net")
	issue("juliet", "im:juliet@example.com")
	issue("tybalt", "im:tybalt@example.net")
	roots := ca.WriteRoot(t.TempDir())
	s := crossOn(t, way{software: lab.ProsodyServer}, overTCP, lab.GatewayConfig{Peer: ", large_messages: true", Extra: `policy:
  signature_roots_file: "` + roots + `"
  rules:
    - {name: told, from: [example.net], to: ["im:nurse@example.com"], signature: mark}
    - {name: signed, signature: require, operations: [messages]}
    - {name: presence, operations: [presence]}
`})
	sends := func(t *testing.T, answer, to, kind, body string) *lab.SIPp {
		t.Helper()
		run := lab.StartSIPp(t, lab.SIPpRun{
			Scenario: strings.NewReplacer("ANSWER", answer, "Subject: SUBJECT\n", "", "juliet@example.com", to, "text/plain;charset=UTF-8", kind).Replace(sippSends),
			Body:     []byte(body), Port: lab.FreePorts(t, 1)[0], Target: s.gateway.Port, TCP: true,
		})
		run.Wait(t, patience)
		return run
	}
	now := time.Now().Truncate(time.Second)
	entity := cpimEntity("romeo@example.net", "juliet@example.com", now)
	kind, body := o.signed("romeo", entity)
	isMessage := func(m lab.Stanza) bool { return m.Event == "message" }
	t.Run("signed, from SIP", func(t *testing.T) {
		sends(t, "202", "juliet@example.com", kind, body)
		got := s.juliet.Expect(t, patience, "the message", isMessage)
		object, _ := e2eOf(t, got.XML)
		if v, err := o.run([]byte(object), "cms", "-verify", "-CAfile", roots); err != nil || string(v) != entity {
			t.Errorf("%q, %v", v, err)
		}
		if !strings.Contains(strings.ReplaceAll(got.XML, `"`, "'"), "state='valid'") {
			t.Errorf("no mark in %s", got.XML)
		}
	})
	t.Run("not signed, or by somebody else, from SIP", func(t *testing.T) {
		otherKind, other := o.signed("tybalt", entity)
		for why, c := range map[string][2]string{
			"not signed":              {"text/plain;charset=UTF-8", "x"},
			"not the sender's":        {otherKind, other},
			"not of this message":     {kind, strings.Replace(body, "Wherefore", "Therefore", 1)},
			"leads to no authority":   {"x", ""},
			"nobody on the way can s": {"application/pkcs7-mime; smime-type=enveloped-data", "0\x03\x06\x01\x01"},
		} {
			if c[0] == "x" {
				p := newOpenSSL(t) // his own
				c[0], c[1] = p.signed("romeo", entity)
			}
			run := sends(t, "403", "juliet@example.com", c[0], c[1])
			if got := run.Received()[0]; !strings.Contains(got, "403") {
				t.Errorf("%s: %s", why, got)
			}
		}
		s.quiet(t)
	})
	t.Run("from XMPP", func(t *testing.T) {
		back := cpimEntity("juliet@example.com", "romeo@example.net", now)
		kind, body := o.signed("juliet", back)
		run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: s.agent, TCP: true})
		s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Children: e2eElement("Content-Type: " + kind + "\r\n\r\n" + body)})
		run.Wait(t, patience)
		if m := run.Received()[0]; lab.BodyOf(m) != body || lab.HeaderOf(m, "Isthmus-Signature") != "valid" {
			t.Errorf("%s", m)
		}
		s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), ID: p("u"), Body: p("I am Juliet")})
		refused := s.juliet.Expect(t, patience, "the refusal", isMessage)
		if lab.Text(refused.Type) != "error" || lab.Text(refused.Condition) != "policy-violation" || !strings.Contains(refused.XML, "A signature is required here. The message is not signed") {
			t.Errorf("%s", refused.XML)
		}
	})
	t.Run("marked", func(t *testing.T) {
		nurse := s.server.LogIn(t, "nurse", "kitchen")
		// What the sender says of it himself is not believed.
		sends(t, "202", "nurse@example.com", "text/plain;charset=UTF-8\nIsthmus-Signature: valid", "x")
		if got := nurse.Expect(t, patience, "the message", isMessage); strings.Contains(got.XML, "signature") {
			t.Errorf("not signed: %s", got.XML)
		}
		forged := strings.Replace(cpimEntity("romeo@example.net", "nurse@example.com", now), "Wherefore", "Therefore", 1)
		kind, body := o.signed("tybalt", forged)
		sends(t, "202", "nurse@example.com", kind, body)
		if got := nurse.Expect(t, patience, "the message", isMessage); !strings.Contains(strings.ReplaceAll(got.XML, `"`, "'"), "state='invalid'") {
			t.Errorf("another's signature: %s", got.XML)
		}
	})
}
