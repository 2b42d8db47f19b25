package sip

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/pidf"
)

const (
	signedType = `multipart/signed;protocol="application/pkcs7-signature";micalg=sha-256;boundary=b`
	cmsType    = "application/pkcs7-mime;smime-type=enveloped-data"
)

// signedPart is a multipart/signed of a part of this type.
func signedPart(kind, body string) string {
	return crlf("--b\nContent-Type: " + kind + "\n\n" + body + "\n--b\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\nMIIB\n--b--\n")
}

func crlf(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
}

func signedPresence(who string) string {
	return signedPart("application/pidf+xml", documentText(who, "open"))
}

// withBody is a request whose body is this, of this type.
func withBody(text, kind, body string) string {
	head, _, _ := strings.Cut(text, "\n\n")
	return strings.Replace(head, "Content-Type: application/pidf+xml", "Content-Type: "+kind, 1) + "\n\n" + body
}

// The object is kept as it is, and a document that is signed in clear must be about the presentity: else whoever is watched could show another's
// signature (G8).
func TestT_ID_07_SealedPresence(t *testing.T) {
	id := adapters.WatchID{Watcher: pres("juliet@example.com"), Presentity: pres("romeo@example.net")}
	for _, c := range []struct {
		name, kind, body string
		policy           SMIMEPolicy
		code             int
		told             string
	}{
		{"signed", signedType, signedPresence("romeo@example.net"), SMIMEPass, 0, "ID-balcony=open"},
		{"signed, whatever its date", signedType, signedPresence("romeo@example.net"), SMIMELate, 0, "ID-balcony=open"},
		{"encrypted", cmsType, "\x300\x01", SMIMEPass, 0, pidf.TupleID("").String() + "=open"},
		{"signed, of somebody else", signedType, signedPresence("tybalt@example.net"), SMIMEPass, 403, ""},
		{"signed, of another domain", signedType, signedPresence("romeo@example.com"), SMIMEPass, 403, ""},
		{"signed, and no document", signedType, signedPart("application/pidf+xml", "<presence/>"), SMIMEPass, 400, ""},
		{"signed, and something else", signedType, signedPart("text/plain", "I am here"), SMIMEPass, 415, ""},
		{"two of them", signedType, signedPart("multipart/mixed;boundary=c", "--c\nContent-Type: application/pidf+xml\n\n"+documentText("romeo@example.net", "open")+
			"\n--c\nContent-Type: application/pidf+xml\n\n"+documentText("romeo@example.net", "closed")+"\n--c--"), SMIMEPass, 400, ""},
		{"cut off", signedType, crlf("--b\nContent-Type: application/pidf+xml\n\n"), SMIMEPass, 400, ""},
		{"where none is carried", signedType, signedPresence("romeo@example.net"), SMIMERefuse, 415, ""},
		{"signed by other means", strings.Replace(signedType, "pkcs7", "pgp", 1), signedPresence("romeo@example.net"), SMIMEPass, 415, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := request(t, withBody(rfc8048Example20, c.kind, c.body))
			op, ref := ReadNotify(req, id, ReadOptions{Now: now, SMIME: c.policy})
			if c.code != 0 {
				if ref == nil || ref.Code != c.code {
					t.Fatalf("%v, want %d", ref, c.code)
				}
				return
			}
			if ref != nil {
				t.Fatal(ref)
			}
			if op.Sealed == nil || op.Sealed.Type != c.kind || !bytes.Equal(op.Sealed.Octets, req.Body()) || basics(op.Presence) != c.told || !op.Whole {
				t.Errorf("%+v, %s", op.Sealed, basics(op.Presence))
			}
		})
	}
	// "it MUST respond to them on the SIP side but refrain from sending any presence stanzas" (RFC 8048 §5.2.1)
	op, ref := ReadNotify(request(t, strings.Replace(withBody(rfc8048Example20, signedType, signedPresence("romeo@example.net")), "active", "pending", 1)), id, ReadOptions{Now: now})
	if ref != nil || op.Sealed != nil || op.Presence != nil {
		t.Errorf("pending: %+v, %v", op, ref)
	}
}

// "one of the types listed in the Accept header field in the most recent SUBSCRIBE request" (RFC 3856 §6.7): the object goes to who names its
// type, whole; others are told what is open.
func TestSealedGoesToWhoTakesIt(t *testing.T) {
	sealed := &adapters.Content{Type: signedType, Octets: []byte(signedPresence("juliet@example.com"))}
	cms := &adapters.Content{Type: cmsType, Octets: []byte("\x30\x00\x01\r\n\xff")}
	for _, c := range []struct {
		name, accept string
		policy       SMIMEPolicy
		sealed       *adapters.Content
		whole        bool
	}{
		{"signed", "application/pidf+xml, multipart/signed;q=0.5", SMIMEPass, sealed, true},
		{"encrypted", "application/pidf+xml, application/pkcs7-mime", SMIMEPass, cms, true},
		{"encrypted, for who takes signed ones", "application/pidf+xml, multipart/signed", SMIMEPass, cms, false},
		{"not wanted", "application/pidf+xml, multipart/signed;q=0", SMIMEPass, sealed, false},
		{"not named", "*/*", SMIMEPass, sealed, false},
		{"not named either", "application/pidf+xml", SMIMEPass, sealed, false},
		{"to a network that carries none", "application/pidf+xml, multipart/signed", SMIMERefuse, sealed, false},
		{"to who wants partial documents", "application/pidf-diff+xml, application/pidf+xml;q=0.5, multipart/signed", SMIMEPass, sealed, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, core := start(t, func(cfg *Config) {
				p := loopback
				p.SMIME = c.policy
				cfg.Peers = []Peer{p}
			})
			g := udpAgent(t, a)
			seen := map[string]bool{}
			if r := g.ask(strings.Replace(subscribeText, "Accept: application/pidf+xml", "Accept: "+c.accept, 1)); r.StatusCode() != 200 {
				t.Fatalf("%s", r.Raw())
			}
			id := next(t, core.watches, "watch").Watch
			g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
			done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open"), Sealed: c.sealed})
			m := g.request("NOTIFY", seen)
			g.answer(m, wire.Response{Code: 200})
			next(t, done, "outcome")
			if whole := m.ContentType() == c.sealed.Type && bytes.Equal(m.Body(), c.sealed.Octets); whole != c.whole || !whole && !strings.Contains(string(m.Body()), "<basic>open</basic>") {
				t.Errorf("%s", m.Raw())
			}
		})
	}
}

// What a user agent publishes signed is told signed, while it is all there is, and after a restart.
func TestSealedPublication(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		publishes(cfg)
		cfg.Limits.NotifyInterval = time.Hour // what the first watch would be told of later must not be taken for the answer of another
	})
	g := udpAgent(t, a)
	watchPublished(t, a, c, adapters.WatchOpen)
	body := signedPresence("romeo@example.net")
	phone := etagOf(t, g.ask(withBody(publishAs(1, "600", "", "x"), signedType, body)))
	op := next(t, c.notices, "notification")
	if op.Sealed == nil || string(op.Sealed.Octets) != body || basics(op.Presence) != "ID-balcony=open" {
		t.Errorf("%+v", op)
	}
	if op = watchPublished(t, a, c, adapters.WatchFetch); op.Sealed == nil {
		t.Errorf("who asks is told %+v", op)
	}
	// Two cannot be made one.
	desk := etagOf(t, g.ask(publishAs(2, "600", "", strings.Replace(documentText("romeo@example.net", "open"), "ID-balcony", "desk", 1))))
	if op = watchPublished(t, a, c, adapters.WatchFetch); op.Sealed != nil || basics(op.Presence) != "ID-balcony=open desk=open" {
		t.Errorf("two publications: %+v", op)
	}
	if r := g.ask(publishAs(3, "0", desk, "")); r.StatusCode() != 200 {
		t.Fatalf("%s", r.Raw())
	}
	// A modification without a signature has none.
	etagOf(t, g.ask(publishAs(4, "600", phone, documentText("romeo@example.net", "closed"))))
	if op = watchPublished(t, a, c, adapters.WatchFetch); op.Sealed != nil {
		t.Errorf("not signed any more: %+v", op)
	}
	for name, s := range map[string]struct {
		body string
		code int
	}{
		"somebody else": {signedPresence("tybalt@example.net"), 403},
		"no presence":   {signedPart("text/plain", "x"), 415},
		"too large":     {signedPart("application/pidf+xml", documentText("romeo@example.net", "open")+strings.Repeat(" ", maxPublished)), 413},
	} {
		if r := tcpAgent(t, a).ask(withBody(publishAs(5, "600", "", "x"), signedType, s.body)); r.StatusCode() != s.code {
			t.Errorf("%s: %d, want %d", name, r.StatusCode(), s.code)
		}
	}
	u := uploaded{presentity: pres("romeo@example.net"), etag: "x", until: now, made: now, doc: document(t, "romeo@example.net", "open"), sealed: &adapters.Content{Type: cmsType, Octets: []byte{0x30, 0, 0xff}}}
	b, err := appendUploaded(&u)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := parseUploaded(b); err != nil || !reflect.DeepEqual(back.sealed, u.sealed) {
		t.Errorf("%+v, %v", back, err)
	}
}

// A presence server that takes no S/MIME gets what is open.
func TestSealedIsPublished(t *testing.T) {
	a, _, g, op := presenceServerOf(t, "juliet@example.com")
	seen := map[string]bool{}
	sealed := &adapters.Content{Type: cmsType, Octets: []byte("\x30\x00\xff")}
	tell := func() <-chan adapters.Status {
		return notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open"), Sealed: sealed})
	}
	done := tell()
	m := g.request("PUBLISH", seen)
	if m.ContentType() != cmsType || !bytes.Equal(m.Body(), sealed.Octets) {
		t.Errorf("%s", m.Raw())
	}
	g.answer(m, etagged("one", "1800"))
	next(t, done, "outcome")
	done = tell()
	g.answer(g.request("PUBLISH", seen), wire.Response{Code: 415})
	m = g.request("PUBLISH", seen)
	if m.ContentType() != "application/pidf+xml" || !strings.Contains(string(m.Body()), "open") {
		t.Errorf("%s", m.Raw())
	}
	fields(t, m, map[string]string{"SIP-If-Match": "one"})
	g.answer(m, etagged("two", "1800"))
	if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}
}
