package integration_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// openSSL is OpenSSL's cms command with the keys of two users: the programs at both ends, none of ours.
type openSSL struct {
	t   testing.TB
	dir string
}

// newOpenSSL makes a key and a certificate for each user, "romeo" and "juliet".
func newOpenSSL(t testing.TB) openSSL {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	o := openSSL{t, t.TempDir()}
	for user, address := range map[string]string{"romeo": "romeo@example.net", "juliet": "juliet@example.com"} {
		// RFC 3923 §6.3: "each of these URIs SHOULD be specified in a separate GeneralName entry of type uniformResourceIdentifier".
		if _, err := o.run(nil, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN="+user,
			"-addext", "subjectAltName=URI:im:"+address+",URI:pres:"+address, "-keyout", o.file(user+".key"), "-out", o.file(user+".pem")); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func (o openSSL) file(name string) string { return filepath.Join(o.dir, name) }

func (o openSSL) run(in []byte, args ...string) ([]byte, error) {
	var out, says bytes.Buffer
	c := exec.CommandContext(o.t.Context(), "openssl", args...)
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(in), &out, &says
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("openssl %s: %w: %s", args[1], err, says.String())
	}
	return out.Bytes(), nil
}

func (o openSSL) must(in []byte, args ...string) []byte {
	o.t.Helper()
	out, err := o.run(in, args...)
	if err != nil {
		o.t.Fatal(err)
	}
	return out
}

// signed is a multipart/signed around entity, by user, in canonical form; written leaves it as OpenSSL writes it, with LF in the base64 of the
// signature. opaque is SignedData, in DER.
func (o openSSL) signed(user, entity string) (kind, body string) {
	kind, body = o.written(user, entity)
	return kind, strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\n", "\r\n")
}

func (o openSSL) written(user, entity string) (kind, body string) {
	o.t.Helper()
	out := o.must([]byte(entity), "cms", "-sign", "-binary", "-crlfeol", "-md", "sha256", "-signer", o.file(user+".pem"), "-inkey", o.file(user+".key"))
	head, rest, ok := strings.Cut(string(out), "\r\n\r\n")
	_, kind, found := strings.Cut(strings.ReplaceAll(head, "\r\n ", " "), "Content-Type: ")
	if !ok || !found {
		o.t.Fatalf("openssl wrote\n%q", out)
	}
	kind, _, _ = strings.Cut(kind, "\r\n")
	return kind, rest
}

func (o openSSL) opaque(user, entity string) []byte {
	o.t.Helper()
	return o.must([]byte(entity), "cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-md", "sha256", "-signer", o.file(user+".pem"), "-inkey", o.file(user+".key"))
}

// encrypted is EnvelopedData for user, in DER.
func (o openSSL) encrypted(user, entity string) []byte {
	o.t.Helper()
	return o.must([]byte(entity), "cms", "-encrypt", "-binary", "-aes-128-cbc", "-outform", "DER", o.file(user+".pem"))
}

// verify is what openssl says was signed by user, in an S/MIME file.
func (o openSSL) verify(user string, object []byte) (string, error) {
	out, err := o.run(object, "cms", "-verify", "-CAfile", o.file(user+".pem"), "-purpose", "any")
	return string(out), err
}

func (o openSSL) decrypt(user, form string, object []byte) (string, error) {
	out, err := o.run(object, "cms", "-decrypt", "-inform", form, "-recip", o.file(user+".pem"), "-inkey", o.file(user+".key"))
	return string(out), err
}

// cpimEntity is what is signed and encrypted: a Message/CPIM with its content type.
func cpimEntity(from, to string, when time.Time) string {
	return "Content-Type: Message/CPIM\r\n\r\nFrom: <im:" + from + ">\r\nTo: <im:" + to + ">\r\nDateTime: " + when.UTC().Format("2006-01-02T15:04:05Z") +
		"\r\nSubject: Imploring\r\n\r\nContent-Type: text/plain; charset=utf-8\r\nContent-ID: <1234567890@example.com>\r\n\r\nWherefore art thou, Žofie? ]]> <b>&amp; \r\n"
}

// requestOf is a MESSAGE of Romeo to Juliet.
func requestOf(kind, body string, more ...string) []byte {
	return []byte("MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/TCP s2x.example.net;branch=z9hG4bK776sgdkse\r\nMax-Forwards: 70\r\n" +
		"From: <sip:romeo@example.net>;tag=49583\r\nTo: sip:juliet@example.com\r\nCall-ID: c1\r\nCSeq: 1 MESSAGE\r\n" + strings.Join(more, "") +
		"Content-Type: " + kind + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// toXMPP crosses a request as the adapters do. The error is a *sip.Refusal or a *stanza.Refusal.
func toXMPP(t testing.TB, request []byte, o sip.ReadOptions) (string, error) {
	t.Helper()
	m, err := wire.Parse(request, wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	in, ref := sip.ReadMessage(m, o)
	if ref != nil {
		return "", ref
	}
	out, err := stanza.AppendMessage(nil, in.Message, stanza.Envelope{ID: "i", Now: o.Now})
	return string(out), err
}

// toSIP crosses a stanza as the adapters do.
func toSIP(t testing.TB, text string, now time.Time) (kind string, body []byte, _ error) {
	t.Helper()
	s, err := stanza.ReadAlone([]byte(text), strictxml.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	op, e := stanza.ToMessage(s)
	if e != nil {
		return "", nil, e
	}
	req, err := sip.WriteMessage(op, sip.WriteOptions{CPIM: true, CallID: "generated", FromTag: "t1", CSeq: 7, Now: now})
	if err != nil {
		return "", nil, err
	}
	out, err := wire.AppendRequest(nil, req, wire.ViaSpec{Transport: "TCP", SentBy: "gw.example.com:5060", Branch: wire.NewBranch(""), RPort: true})
	if err != nil {
		return "", nil, err
	}
	m, err := wire.Parse(out, wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m.ContentType(), m.Body(), nil
}

// e2eOf is the character data of <e2e/>, and the body, as another XML parser sees them.
func e2eOf(t testing.TB, text string) (object, body string) {
	t.Helper()
	var m struct {
		E2E  *string `xml:"urn:ietf:params:xml:ns:xmpp-e2e e2e"`
		Body string  `xml:"body"`
	}
	if err := xml.Unmarshal([]byte(text), &m); err != nil || m.E2E == nil {
		t.Fatalf("no <e2e/> (%v) in\n%s", err, text)
	}
	return *m.E2E, m.Body
}

// from Juliet to Romeo, with an object as character data of a CDATA section, as RFC 3923 §3.1 has it.
func stanzaOf(object string) string {
	return "<message from='juliet@example.com/balcony' to='romeo@example.net' type='chat'><e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'><![CDATA[" +
		strings.ReplaceAll(object, "]]>", "]]]]><![CDATA[>") + "]]></e2e></message>"
}

// The gateway relays "the body without needing to modify or inspect it" (RFC 3860 §3.3), and "MUST NOT change the Message/CPIM content in any
// way" (RFC 3862 §6): the signature of one end verifies at the other, in both directions, and what was tampered with does not.
func TestSignedCrosses_TCP01(t *testing.T) {
	o, now := newOpenSSL(t), time.Now().Truncate(time.Second)
	entity := cpimEntity("romeo@example.net", "juliet@example.com", now)
	kind, body := o.signed("romeo", entity)
	out, err := toXMPP(t, requestOf(kind, body), sip.ReadOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	object, shown := e2eOf(t, out)
	if got, err := o.verify("romeo", []byte(object)); err != nil || got != entity {
		t.Errorf("Juliet verifies %q, %v; was %q\n%s", got, err, entity, out)
	}
	// In canonical form it is the octets that Romeo sent.
	if got := strings.ReplaceAll(object, "\n", "\r\n"); got != "Content-Type: "+kind+"\r\n\r\n"+body {
		t.Errorf("%q, was %q", got, body)
	}
	if want := "Wherefore art thou, Žofie? ]]> <b>&amp; \r\n"; shown != want {
		t.Errorf("who does not know of <e2e/> sees %q, want %q", shown, want)
	}
	tampered := strings.Replace(object, "Wherefore", "Therefore", 1)
	if got, err := o.verify("romeo", []byte(tampered)); err == nil {
		t.Errorf("tampered with, it is still valid: %q", got)
	}

	// What OpenSSL writes has line ends of two kinds.
	mixedKind, mixed := o.written("romeo", entity)
	if out, err = toXMPP(t, requestOf(mixedKind, mixed), sip.ReadOptions{Now: now}); err != nil {
		t.Fatal(err)
	}
	if object, _ = e2eOf(t, out); object != "Content-Type: "+mixedKind+"\r\n\r\n"+mixed {
		t.Errorf("%q, was %q", object, mixed)
	}
	// An XMPP server does not keep the references: the signature holds all the same.
	if got, err := o.verify("romeo", []byte(strings.ReplaceAll(object, "\r\n", "\n"))); err != nil || got != entity {
		t.Errorf("Juliet verifies %q, %v", got, err)
	}

	entity = cpimEntity("juliet@example.com", "romeo@example.net", now)
	kind, body = o.signed("juliet", entity)
	object = "Content-Type: " + kind + "\r\n\r\n" + body
	for name, text := range map[string]string{
		"LF, as a CDATA section has it": stanzaOf(strings.ReplaceAll(object, "\r\n", "\n")),
		"CR as references":              strings.NewReplacer("<![CDATA[", "", "]]>", "", "\r", "&#13;").Replace(stanzaOf(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(object, "&", "&amp;"), "<", "&lt;"), "]]>", "]]&gt;"))),
		"CR LF as itself":               stanzaOf(object),
		"white space around it":         strings.NewReplacer("<![CDATA[C", "\n  <![CDATA[\nC", "]]></e2e>", "]]>\n  </e2e>").Replace(stanzaOf(object)),
		"a folded header field":         stanzaOf(strings.Replace(strings.ReplaceAll(object, "\r\n", "\n"), "; ", ";\n  ", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			gotKind, got, err := toSIP(t, text, now)
			if err != nil {
				t.Fatal(err)
			}
			if name != "white space around it" && string(got) != body {
				t.Errorf("%q, was %q", got, body)
			}
			whole := append([]byte("Content-Type: "+gotKind+"\r\n\r\n"), got...)
			if v, err := o.verify("juliet", whole); err != nil || v != entity {
				t.Errorf("Romeo verifies %q, %v; was %q", v, err, entity)
			}
			if v, err := o.verify("juliet", bytes.Replace(whole, []byte("Imploring"), []byte("Deploring"), 1)); err == nil {
				t.Errorf("tampered with, it is still valid: %q", v)
			}
			// One more crossing changes nothing either.
			again, err := toXMPP(t, bytes.ReplaceAll(bytes.ReplaceAll(bytes.ReplaceAll(requestOf(gotKind, string(got)), []byte("sip:juliet@example.com"), []byte("SIP:X")), []byte("sip:romeo@example.net"), []byte("sip:juliet@example.com")), []byte("SIP:X"), []byte("sip:romeo@example.net")), sip.ReadOptions{Now: now})
			if err != nil {
				t.Fatal(err)
			}
			if object, _ := e2eOf(t, again); name != "white space around it" && !strings.HasSuffix(strings.ReplaceAll(object, "\n", "\r\n"), "\r\n\r\n"+body) {
				t.Errorf("%q, was %q", object, body)
			}
		})
	}
}

// What is encrypted says nothing to the gateway, and is opened by its recipient alone.
func TestEncryptedCrosses_TCP03(t *testing.T) {
	o, now := newOpenSSL(t), time.Now().Truncate(time.Second)
	entity := cpimEntity("romeo@example.net", "juliet@example.com", now)
	der := o.encrypted("juliet", entity)
	const kind = "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"
	for name, request := range map[string][]byte{
		"in binary": requestOf(kind, string(der)),
		"in base64": requestOf(kind, string(o.must(der, "base64")), "Content-Transfer-Encoding: base64\r\n"),
	} {
		out, err := toXMPP(t, request, sip.ReadOptions{Now: now})
		if err != nil {
			t.Fatal(name, err)
		}
		object, shown := e2eOf(t, out)
		if got, err := o.decrypt("juliet", "SMIME", []byte(object)); err != nil || got != entity {
			t.Errorf("%s: Juliet reads %q, %v\n%s", name, got, err, out)
		}
		if !strings.Contains(shown, "encrypted") || strings.Contains(out, "Wherefore") {
			t.Errorf("%s: who cannot open it sees %q", name, shown)
		}
		if _, err := o.decrypt("romeo", "SMIME", []byte(object)); err == nil {
			t.Errorf("%s: somebody else can read it", name)
		}
	}

	entity = cpimEntity("juliet@example.com", "romeo@example.net", now)
	der = o.encrypted("romeo", entity)
	for name, object := range map[string]string{
		"as openssl writes it": string(o.must(der, "cms", "-cmsout", "-inform", "DER", "-outform", "SMIME")),
		"RFC 3923 §3.3's form": "\n" + string(o.must(der, "base64")),
	} {
		gotKind, got, err := toSIP(t, stanzaOf(object), now)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, object)
			continue
		}
		if !bytes.Equal(got, der) || !strings.HasPrefix(gotKind, "application/pkcs7-mime") || !strings.Contains(gotKind, "enveloped-data") {
			t.Errorf("%s: %s %x, was %x", name, gotKind, got, der)
		}
		if v, err := o.decrypt("romeo", "DER", got); err != nil || v != entity {
			t.Errorf("%s: Romeo reads %q, %v", name, v, err)
		}
	}
}

// "If a stanza is both signed and encrypted, it SHOULD be signed first, then encrypted" (RFC 3923 §6.5); the other order, SignedData that hides
// its content, and a Message/CPIM around what is encrypted cross as well.
func TestSignedAndEncryptedCross_TCP04(t *testing.T) {
	o, now := newOpenSSL(t), time.Now().Truncate(time.Second)
	date := "Date: " + now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") + "\r\n"
	entity := cpimEntity("romeo@example.net", "juliet@example.com", now)
	cross := func(request []byte) string {
		t.Helper()
		out, err := toXMPP(t, request, sip.ReadOptions{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		object, _ := e2eOf(t, out)
		return object
	}
	kind, body := o.signed("romeo", entity)
	first := cross(requestOf("application/pkcs7-mime; smime-type=enveloped-data", string(o.encrypted("juliet", "Content-Type: "+kind+"\r\n\r\n"+body))))
	inner, err := o.decrypt("juliet", "SMIME", []byte(first))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := o.verify("romeo", []byte(inner)); err != nil || got != entity {
		t.Errorf("signed, then encrypted: %q, %v", got, err)
	}
	der := o.encrypted("juliet", entity)
	kind, body = o.signed("romeo", "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"+
		strings.ReplaceAll(string(o.must(der, "base64")), "\n", "\r\n"))
	if inner, err = o.verify("romeo", []byte(cross(requestOf(kind, body, date)))); err != nil {
		t.Fatal(err)
	}
	if got, err := o.decrypt("juliet", "SMIME", []byte(inner)); err != nil || got != entity {
		t.Errorf("encrypted, then signed: %q, %v", got, err)
	}
	opaque := cross(requestOf("application/pkcs7-mime; smime-type=signed-data", string(o.opaque("romeo", entity)), date))
	if got, err := o.verify("romeo", []byte(opaque)); err != nil || got != entity {
		t.Errorf("SignedData: %q, %v", got, err)
	}
	envelope := "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\n\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		strings.ReplaceAll(string(o.must(der, "base64")), "\n", "\r\n")
	if got := strings.ReplaceAll(cross(requestOf("message/cpim", envelope)), "\n", "\r\n"); got != "Content-Type: Message/CPIM\r\n\r\n"+envelope {
		t.Errorf("an object around it became %q, was %q", got, envelope)
	}
}

// "all signed MESSAGE requests and responses MUST contain a Date header field covered by the message signature. Any message with a date older
// than several minutes in the past, or which is more than several minutes in the future, SHOULD be answered with a 400 (Incorrect Date or
// Time) message" (RFC 3428 §11.4)
func TestStaleSigned_TCP02(t *testing.T) {
	o, now := newOpenSSL(t), time.Now().Truncate(time.Second)
	const opaque = "application/pkcs7-mime; smime-type=signed-data"
	date := func(d time.Duration) string {
		return "Date: " + now.Add(d).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") + "\r\n"
	}
	signed := func(d time.Duration, more ...string) []byte {
		kind, body := o.signed("romeo", cpimEntity("romeo@example.net", "juliet@example.com", now.Add(d)))
		return requestOf(kind, body, more...)
	}
	note, noted := o.signed("romeo", "Content-Type: text/plain\r\n\r\nx\r\n")
	for _, c := range []struct {
		name    string
		request []byte
		policy  sip.SMIMEPolicy
		code    int // 0: it crosses
	}{
		{"fresh inside", signed(-4 * time.Minute), sip.SMIMEPass, 0},
		{"stale inside", signed(-6 * time.Minute), sip.SMIMEPass, 400},
		{"stale inside, with a fresh Date outside", signed(-6*time.Minute, date(0)), sip.SMIMEPass, 400},
		{"fresh inside, with a stale Date outside", signed(0, date(-6*time.Minute)), sip.SMIMEPass, 400},
		{"from the future", signed(6 * time.Minute), sip.SMIMEPass, 400},
		{"no date at all", requestOf(note, noted), sip.SMIMEPass, 400},
		{"a Date outside alone", requestOf(note, noted, date(time.Minute)), sip.SMIMEPass, 0},
		{"a Date that is none", requestOf(note, noted, "Date: yesterday\r\n"), sip.SMIMEPass, 400},
		{"SignedData without Date", requestOf(opaque, "0"), sip.SMIMEPass, 400},
		{"SignedData with a stale Date", requestOf(opaque, "0", date(-time.Hour)), sip.SMIMEPass, 400},
		{"SignedData with a Date", requestOf(opaque, "0", date(0)), sip.SMIMEPass, 0},
		// "from a known store and forward server ..., it makes sense for it to accept the message normally."
		{"stale, from who stores and forwards", signed(-24 * time.Hour), sip.SMIMELate, 0},
		{"fresh, where none is carried", signed(0), sip.SMIMERefuse, 415},
		{"encrypted, where none is carried", requestOf("application/pkcs7-mime", "0"), sip.SMIMERefuse, 415},
	} {
		out, err := toXMPP(t, c.request, sip.ReadOptions{Now: now, SMIME: c.policy})
		ref, _ := err.(*sip.Refusal)
		switch {
		case c.code == 0 && err != nil, c.code != 0 && (ref == nil || ref.Code != c.code):
			t.Errorf("%s: %v\n%s", c.name, err, out)
		case c.code == 400 && ref.Phrase != "Incorrect Date or Time":
			t.Errorf("%s: %s", c.name, ref.Phrase)
		}
	}
}

// Who a signed object says that it is from and to must be who the message is from and to, else one user could speak as another inside of it. What
// has octets that XML cannot give back is refused, and so is what is malformed.
func TestSignedIdentity_TID02(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	const kind = `multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary=b`
	wrap := func(part string) string {
		return "--b\r\n" + part + "\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n--b--\r\n"
	}
	cpim := func(from, to string) string { return wrap(cpimEntity(from, to, now)) }
	pidf := func(entity string) string {
		return wrap("Content-Type: application/pidf+xml\r\n\r\n<?xml version=\"1.0\" encoding=\"UTF-8\"?><presence xmlns='urn:ietf:params:xml:ns:pidf' entity='" + entity + "'/>")
	}
	nested := "Content-Type: " + strings.Replace(kind, "boundary=b", "boundary=c", 1) + "\r\n\r\n" + strings.ReplaceAll(cpim("tybalt@example.net", "juliet@example.com"), "--b", "--c")
	late := sip.ReadOptions{Now: now, SMIME: sip.SMIMELate}
	for _, c := range []struct {
		name, body string
		code       int // 0: it crosses; -1: the XMPP side refuses it
	}{
		{"the same", cpim("romeo@example.net", "juliet@example.com"), 0},
		{"another From", cpim("tybalt@example.net", "juliet@example.com"), 403},
		{"another To", cpim("romeo@example.net", "nurse@example.com"), 403},
		{"another From, deeper", wrap(nested), 403},
		{"presence of the sender", pidf("pres:romeo@example.net"), 0},
		{"presence of another", pidf("pres:tybalt@example.net"), 403},
		{"a SIP message of another", wrap("Content-Type: message/sip\r\n\r\nMESSAGE sip:juliet@example.com SIP/2.0\r\nFrom: <sip:tybalt@example.net>;tag=a\r\n\r\nx"), 403},
		{"a part of one", wrap("Content-Type: message/sipfrag\r\n\r\nFrom: <sip:tybalt@example.net>\r\n"), 403},
		{"a mail of another", wrap("Content-Type: message/rfc822\r\n\r\nFrom: tybalt@example.net\r\n\r\nx"), 403},
		{"a stanza of another", wrap("Content-Type: application/xmpp+xml\r\n\r\n<xmpp xmlns='jabber:client'><message from='tybalt@example.net'><body>x</body></message></xmpp>"), 403},
		{"a stanza of another, in base64", wrap("Content-Type: APPLICATION/XMPP+XML\r\nContent-Transfer-Encoding: base64\r\n\r\nPHhtcHAvPg=="), 403},
		{"a mail of another, in a digest, where it needs no name", wrap("Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nFrom: tybalt@example.net\r\n\r\nx\r\n--d--\r\n"), 403},
		{"a letter of another, forwarded", wrap("Content-Type: message/cpim\r\n\r\nFrom: <im:romeo@example.net>\r\n\r\n" + cpimEntity("tybalt@example.net", "juliet@example.com", now)), 403},
		{"a mail of another, forwarded", wrap("Content-Type: message/cpim\r\n\r\nFrom: <im:romeo@example.net>\r\n\r\nContent-Type: message/rfc822\r\n\r\nFrom: tybalt@example.net\r\n\r\nx"), 403},
		{"two From", wrap(strings.Replace(cpimEntity("romeo@example.net", "juliet@example.com", now), "To: ", "From: <im:tybalt@example.net>\r\nTo: ", 1)), 400},
		{"a malformed object", wrap("Content-Type: message/cpim\r\n\r\nFrom: x\r\n\r\n\r\n"), 400},
		{"no end", "--b\r\n\r\nx", 400},
		{"three parts", strings.Replace(cpim("romeo@example.net", "juliet@example.com"), "--b\r\nContent-Type: app", "--b\r\n\r\nx\r\n--b\r\nContent-Type: app", 1), 400},
		{"LF alone in it", wrap("Content-Type: text/plain\r\n\r\na\nb"), -1},
		{"CR alone in it", wrap("Content-Type: text/plain\r\n\r\na\rb"), -1},
		{"octets that are no characters", wrap("Content-Type: text/plain\r\n\r\n\x00"), -1},
		{"octets that are no UTF-8", wrap("Content-Type: text/plain;charset=iso-8859-1\r\n\r\n\xe9"), -1},
	} {
		out, err := toXMPP(t, requestOf(kind, c.body), late)
		code := 0
		switch e := err.(type) {
		case *sip.Refusal:
			code = e.Code
		case *stanza.Refusal:
			code = -1
		}
		if code != c.code || (err == nil) != (c.code == 0) {
			t.Errorf("%s: %v, want %d\n%s", c.name, err, c.code, out)
		}
	}
	for _, c := range []struct{ name, object, condition string }{
		{"the same", cpim("juliet@example.com", "romeo@example.net"), ""},
		{"another From", cpim("nurse@example.com", "romeo@example.net"), "not-acceptable"},
		{"another To", cpim("juliet@example.com", "tybalt@example.net"), "not-acceptable"},
		{"presence of another", pidf("pres:nurse@example.com"), "not-acceptable"},
		{"a stanza of another", wrap("Content-Type: application/xmpp+xml\r\n\r\n<xmpp xmlns='jabber:client'><message from='nurse@example.com'><body>x</body></message></xmpp>"), "not-acceptable"},
		{"a SIP message of another", wrap("Content-Type: message/sip\r\n\r\nMESSAGE sip:romeo@example.net SIP/2.0\r\nFrom: <sip:nurse@example.com>;tag=a\r\n\r\nx"), "not-acceptable"},
		{"two From", wrap(strings.Replace(cpimEntity("juliet@example.com", "romeo@example.net", now), "To: ", "From: <im:nurse@example.com>\r\nTo: ", 1)), "bad-request"},
		{"no end", "--b\r\n\r\nx", "bad-request"},
		{"line ends of two kinds", strings.Replace(cpim("juliet@example.com", "romeo@example.net"), "\r\n", "\n", 1), "bad-request"},
	} {
		// With references, so that XML leaves the line ends alone.
		text := "<message from='juliet@example.com' to='romeo@example.net'><e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>" +
			strings.NewReplacer("&", "&amp;", "<", "&lt;", "]]>", "]]&gt;", "\r", "&#13;").Replace("Content-Type: "+kind+"\r\n\r\n"+c.object) + "</e2e></message>"
		_, _, err := toSIP(t, text, now)
		condition := ""
		if e, ok := err.(*stanza.Error); ok {
			condition = e.Condition.String()
		}
		if condition != c.condition || (err == nil) != (c.condition == "") {
			t.Errorf("%s: %v, want %q", c.name, err, c.condition)
		}
	}
}
