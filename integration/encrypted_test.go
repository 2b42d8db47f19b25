package integration_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/integration/lab"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// encryptions are what XMPP clients put into a message that they encrypt for the recipient's devices.
var encryptions = map[string]string{
	"OMEMO":            "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/><payload>AAAA</payload></encrypted>",
	"OMEMO 1":          "<encrypted xmlns='urn:xmpp:omemo:1'><header sid='1'/><payload>AAAA</payload></encrypted>",
	"OMEMO of 2016":    "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>AAAA</payload></encrypted>",
	"OpenPGP":          "<openpgp xmlns='urn:xmpp:openpgp:0'>AAAA</openpgp>",
	"OpenPGP of 2006":  "<x xmlns='jabber:x:encrypted'>AAAA</x>",
	"a hint of it":     "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:example:another' name='Other'/>",
	"OMEMO and a hint": "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/></encrypted><encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:omemo:2' name='OMEMO'/><store xmlns='urn:xmpp:hints'/>",
}

// What is encrypted by other means than S/MIME never becomes an empty message: its sender is told, or the text beside it crosses, and the core is
// told that it is no more than that.
func TestOtherEncryption(t *testing.T) {
	for name, payload := range encryptions {
		for _, c := range []struct {
			beside string
			text   string // that crosses; "" if the sender is told
		}{
			{"", ""},
			{"<body/>", ""},
			{"<body> \n </body>", ""},
			{"<body>This message is encrypted</body>", "This message is encrypted"},
			{"<body xml:lang='cs'>Zašifrováno</body><body>This message is encrypted</body>", "Zašifrováno"},
			{"<subject>x</subject>", ""},
		} {
			text := "<message from='juliet@example.com/balcony' to='romeo@example.net' type='chat' id='i'>" + c.beside + payload + "</message>"
			s, err := stanza.ReadAlone([]byte(text), strictxml.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			op, e := stanza.ToMessage(s)
			switch {
			case c.text == "" && (e == nil || e.Condition != stanza.NotAcceptable || !strings.Contains(e.Text, "encrypted")):
				t.Errorf("%s with %q: %+v, %v", name, c.beside, op, e)
			case c.text == "":
			case e != nil || string(op.Content.Octets) != c.text || !op.Fallback:
				t.Errorf("%s with %q: %+v, %v", name, c.beside, op, e)
			}
		}
	}
	s, err := stanza.ReadAlone([]byte("<message from='juliet@example.com/balcony' to='romeo@example.net'><body>in clear</body></message>"), strictxml.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if op, e := stanza.ToMessage(s); e != nil || op.Fallback {
		t.Errorf("in clear: %+v, %v", op, e)
	}

	// From SIP: PGP/MIME (RFC 3156), alone, or as one of several forms of the same.
	const pgp = `multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b`
	parts := "--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n--b--\r\n"
	for name, c := range map[string][2]string{
		"alone":               {pgp, parts},
		"signed":              {`multipart/signed; protocol="application/pgp-signature"; boundary=b`, parts},
		"beside a text":       {"multipart/mixed; boundary=a", "--a\r\n\r\nx\r\n--a\r\nContent-Type: " + pgp + "\r\n\r\n" + parts + "\r\n--a--\r\n"},
		"in place of a text":  {"multipart/alternative; boundary=a", "--a\r\n\r\nx\r\n--a\r\nContent-Type: " + pgp + "\r\n\r\n" + parts + "\r\n--a--\r\n"},
		"within Message/CPIM": {"message/cpim", "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\n\r\nContent-Type: " + pgp + "\r\n\r\n" + parts},
	} {
		out, err := toXMPP(t, requestOf(c[0], c[1]), sip.ReadOptions{Now: time.Now(), SMIME: sip.SMIMELate})
		var here *sip.Refusal
		var there *stanza.Refusal
		if !errors.As(err, &here) && !errors.As(err, &there) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// The switch of a rule, through a server: the text beside crosses by default, and with "refuse" the sender is told in words.
func TestOtherEncryptionByPolicy(t *testing.T) {
	s := crossOn(t, way{software: lab.ProsodyServer}, overUDP, lab.GatewayConfig{Extra: `policy:
  rules:
    - {name: strict, from: ["im:juliet@example.com"], encrypted: refuse}
    - {name: rest}
`})
	nurse := s.server.LogIn(t, "nurse", "kitchen")
	omemo := lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: p("This message is encrypted"), Children: encryptions["OMEMO and a hint"]}
	isError := func(m lab.Stanza) bool { return m.Event == "message" && lab.Text(m.Type) == "error" }
	s.juliet.Send(t, omemo)
	if got := s.juliet.Expect(t, patience, "the refusal", isError); !strings.Contains(got.XML, "Send it without encryption") {
		t.Errorf("%s", got.XML)
	}
	run := lab.StartSIPp(t, lab.SIPpRun{Scenario: sippAnswers, Port: s.agent})
	nurse.Send(t, omemo)
	run.Wait(t, patience)
	if m := run.Received()[0]; lab.BodyOf(m) != "This message is encrypted" {
		t.Errorf("%s", m)
	}
	omemo.Body = nil
	nurse.Send(t, omemo)
	if got := nurse.Expect(t, patience, "the refusal", isError); lab.Text(got.Condition) != "not-acceptable" || !strings.Contains(got.XML, "Send it without encryption") {
		t.Errorf("%s", got.XML)
	}
}
