package stanza_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

const sealedType = `multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary=b`

// sealedObject is a multipart/signed of a presence document of entity, with its header field, in canonical form.
func sealedObject(entity, basic string) string {
	doc := "<?xml version='1.0' encoding='UTF-8'?>\r\n<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='" + entity + "'>\r\n<tuple id='hr0zny'><status><basic>" + basic +
		"</basic></status><note xml:lang='en'><![CDATA[& ]]>retired to the chamber</note></tuple></presence>"
	return signedParts("application/pidf+xml", doc)
}

func signedParts(kind, body string) string {
	return strings.ReplaceAll(strings.ReplaceAll("Content-Type: "+sealedType+"\n\n--b\nContent-Type: "+kind+"\n\n"+body+"\n--b\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\nMIIB\n--b--\n",
		"\r\n", "\n"), "\n", "\r\n")
}

func sealedStanza(attrs, children, object string) string {
	return "<presence from='juliet@example.com/balcony' to='romeo@example.net'" + attrs + ">" + children + "<e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'><![CDATA[" +
		strings.ReplaceAll(strings.ReplaceAll(object, "\r\n", "\n"), "]]>", "]]]]><![CDATA[>") + "]]></e2e></presence>"
}

// "it MUST remove the XMPP "wrapper" ... in order to reveal the multipart S/MIME object" (RFC 3923 §8), and presence that is signed in clear is
// about its sender (T-ID-07).
func TestSealedPresenceIn(t *testing.T) {
	const juliet = "pres:juliet@example.com"
	cms := "\nMIIBBgYJKoZIhvcNAQcDoIH4\n" // ContentInfo, EnvelopedData
	for _, c := range []struct {
		name, text string
		fault      stanza.Condition // 0 for none
		kind       string
		basic      pidf.Basic
		note       string
	}{
		{"signed", sealedStanza("", "<status>unsigned</status>", sealedObject(juliet, "open")), 0, sealedType, pidf.BasicOpen, "& retired to the chamber"},
		{"signed, and gone", sealedStanza("", "", sealedObject(juliet, "closed")), 0, sealedType, pidf.BasicClosed, "& retired to the chamber"},
		{"signed, and unavailable", sealedStanza(" type='unavailable'", "", sealedObject(juliet, "closed")), 0, sealedType, pidf.BasicClosed, "& retired to the chamber"},
		{"encrypted", sealedStanza("", "", cms), 0, "application/pkcs7-mime; smime-type=enveloped-data", pidf.BasicOpen, "This presence is encrypted (S/MIME), and this program cannot open it (RFC 3923)"},
		{"encrypted, with a status beside", sealedStanza("", "<status>busy</status>", cms), 0, "application/pkcs7-mime; smime-type=enveloped-data", pidf.BasicOpen, "busy"},
		{"somebody else's", sealedStanza("", "", sealedObject("pres:nurse@example.com", "open")), stanza.NotAcceptable, "", 0, ""},
		{"no presence", sealedStanza("", "", signedParts("text/plain", "x")), stanza.NotAcceptable, "", 0, ""},
		{"not signed", sealedStanza("", "", "Content-Type: application/pidf+xml\n\n<presence/>"), stanza.NotAcceptable, "", 0, ""},
		{"signed by other means", sealedStanza("", "", strings.ReplaceAll(sealedObject(juliet, "open"), "pkcs7", "pgp")), stanza.NotAcceptable, "", 0, ""},
		{"malformed", sealedStanza("", "", signedParts("application/pidf+xml", "<presence>")), stanza.BadRequest, "", 0, ""},
		{"nothing", sealedStanza("", "", ""), stanza.BadRequest, "", 0, ""},
		{"twice", strings.Replace(sealedStanza("", "", cms), "</presence>", "<e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>x</e2e></presence>", 1), stanza.BadRequest, "", 0, ""},
		{"of another namespace", strings.Replace(sealedStanza("", "<status>here</status>", cms), "ns:xmpp-e2e", "ns:other", 1), 0, "", pidf.BasicOpen, "here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := stanza.ReadAlone([]byte(c.text), strictxml.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			op, e := stanza.ToNotify(s, time.Time{})
			if c.fault != 0 {
				if e == nil || e.Condition != c.fault {
					t.Fatalf("%v, want %s", e, c.fault)
				}
				return
			}
			if e != nil {
				t.Fatal(e)
			}
			told := op.Presence.Tuples[0]
			if told.ID != pidf.TupleID("balcony") || told.Status.Basic != c.basic || len(told.Notes) != 1 || told.Notes[0].Text != c.note {
				t.Errorf("%+v", told)
			}
			switch {
			case c.kind == "" && op.Sealed != nil, c.kind != "" && (op.Sealed == nil || op.Sealed.Type != c.kind):
				t.Fatalf("%+v", op.Sealed)
			case strings.HasPrefix(c.kind, "multipart"):
				if got := "Content-Type: " + op.Sealed.Type + "\r\n\r\n" + string(op.Sealed.Octets); got != sealedObject(juliet, told.Status.Basic.String()) {
					t.Errorf("%q", got)
				}
			}
		})
	}
}

// One of the stanzas has the object, which comes back as it was; what XMPP cannot carry is left out, and told of by CanSeal.
func TestSealedPresenceOut(t *testing.T) {
	const romeo = "pres:romeo@example.net"
	tuples := func(basic ...pidf.Basic) *pidf.Presence {
		p := &pidf.Presence{Entity: pidf.MustParseURI(romeo)}
		for i, b := range basic {
			p.Tuples = append(p.Tuples, pidf.Tuple{ID: pidf.TupleID(string(rune('a' + i))), Status: pidf.Status{Basic: b}})
		}
		return p
	}
	_, body, _ := strings.Cut(sealedObject(romeo, "open"), "\r\n\r\n")
	for _, c := range []struct {
		name  string
		doc   *pidf.Presence
		octet string
		at    int // the stanza that has it; -1: none
	}{
		{"one device", tuples(pidf.BasicOpen), body, 0},
		{"the second is there", tuples(pidf.BasicClosed, pidf.BasicOpen), body, 1},
		{"nobody is", tuples(pidf.BasicClosed, pidf.BasicClosed), body, 0},
		{"lines that XML changes", tuples(pidf.BasicOpen), strings.ReplaceAll(body, "\r\n<tuple", "\n<tuple"), -1},
		{"octets that XML has not", tuples(pidf.BasicOpen), strings.Replace(body, "retired", "\x01", 1), -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := &adapters.NotifyOp{
				Watch: adapters.WatchID{Watcher: julietP, Presentity: romeoP}, State: adapters.WatchActive, Presence: c.doc,
				Sealed: &adapters.Content{Type: sealedType, Octets: []byte(c.octet)},
			}
			if stanza.CanSeal(op) != (c.at >= 0) {
				t.Errorf("CanSeal is %v", c.at < 0)
			}
			out, n, err := stanza.AppendNotify(nil, op, time.Time{})
			if err != nil || n != len(c.doc.Tuples) {
				t.Fatalf("%d stanzas, %v", n, err)
			}
			const begin = "<presence from="
			for i, rest := range strings.Split(string(out), begin)[1:] {
				s, err := stanza.ReadAlone([]byte(begin+rest), strictxml.Limits{})
				if err != nil {
					t.Fatal(err, rest)
				}
				if has := s.E2E != nil; has != (i == c.at) {
					t.Errorf("stanza %d has it: %v\n%s", i, has, rest)
				}
				if s.E2E != nil && strings.ReplaceAll(string(s.E2E), "\n", "\r\n") != sealedObject(romeo, "open") {
					t.Errorf("%q", s.E2E)
				}
			}
		})
	}
}
