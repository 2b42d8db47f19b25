package integration

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	siplib "github.com/emiago/sipgo/sip"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/internal/expattest"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// The oracles of promise P8: no octets on one side become two messages, or another header field or element, on the other. What one side
// took is written for the other by the adapters' own code, and read again by three parsers, of which one is ours.

// instant is the time of the fuzz targets.
var instant = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// stanzaSeen is what a parser found in a stream: its children, of the first one the addresses, its children's names and its bodies.
type stanzaSeen struct {
	children int
	name     string // with its namespace
	from, to string
	inside   []string
	bodies   []string
}

func (s stanzaSeen) String() string {
	return fmt.Sprintf("%d children; %s from %q to %q with %q, bodies %q", s.children, s.name, s.from, s.to, s.inside, s.bodies)
}

// seenStrict reads with our own parser.
func seenStrict(stream []byte) (s stanzaSeen, err error) {
	root, err := strictxml.ParseDocument(stream, strictxml.Limits{Bytes: 4 << 20, Children: 4096})
	if err != nil {
		return s, err
	}
	for e := range root.Children() {
		if s.children++; s.children > 1 {
			continue
		}
		s.name = e.Name.Space + " " + e.Name.Local
		s.from, _ = e.Attr("", "from")
		s.to, _ = e.Attr("", "to")
		for c := range e.Children() {
			s.inside = append(s.inside, c.Name.Space+" "+c.Name.Local)
			if c.Name.Local == "body" {
				s.bodies = append(s.bodies, c.Text())
			}
		}
	}
	return s, nil
}

// seenStandard reads with encoding/xml.
func seenStandard(stream []byte) (s stanzaSeen, err error) {
	d := xml.NewDecoder(bytes.NewReader(stream))
	depth := 0
	inBody := false
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			depth++
			switch {
			case depth == 2:
				if s.children++; s.children > 1 {
					continue
				}
				s.name = t.Name.Space + " " + t.Name.Local
				for _, a := range t.Attr {
					switch (xml.Name{Space: a.Name.Space, Local: a.Name.Local}) {
					case xml.Name{Local: "from"}:
						s.from = a.Value
					case xml.Name{Local: "to"}:
						s.to = a.Value
					}
				}
			case depth == 3 && s.children == 1:
				s.inside = append(s.inside, t.Name.Space+" "+t.Name.Local)
				if inBody = t.Name.Local == "body"; inBody {
					s.bodies = append(s.bodies, "")
				}
			}
		case xml.EndElement:
			if depth == 3 {
				inBody = false
			}
			depth--
		case xml.CharData:
			if inBody && depth == 3 {
				s.bodies[len(s.bodies)-1] += string(t)
			}
		}
	}
}

// seenExpat reads what expat found.
func seenExpat(tree, refusal string) (s stanzaSeen, err error) {
	if refusal != "" {
		return s, fmt.Errorf("expat: %s", refusal)
	}
	at := 0
	number := func(end byte) int {
		n := strings.IndexByte(tree[at:], end)
		v, bad := strconv.Atoi(tree[at : at+n])
		if bad != nil {
			panic(bad)
		}
		at += n + 1
		return v
	}
	text := func() string {
		n := number(':')
		at += n
		return tree[at-n : at]
	}
	depth := 0
	inBody := false
	for at < len(tree) {
		kind := tree[at]
		at++
		switch kind {
		case 'S':
			depth++
			name := strings.Replace(text(), "\x01", " ", 1)
			attrs := map[string]string{}
			for n := number(';'); n > 0; n-- {
				k := text()
				attrs[k] = text()
			}
			switch {
			case depth == 2:
				if s.children++; s.children == 1 {
					s.name, s.from, s.to = name, attrs["from"], attrs["to"]
				}
			case depth == 3 && s.children == 1:
				s.inside = append(s.inside, name)
				if inBody = strings.HasSuffix(name, " body"); inBody {
					s.bodies = append(s.bodies, "")
				}
			}
		case 'E':
			if depth == 3 {
				inBody = false
			}
			depth--
		case 'T':
			if v := text(); inBody && depth == 3 {
				s.bodies[len(s.bodies)-1] += v
			}
		}
	}
	return s, nil
}

// inMessage are the elements that a message which came over SIP may have, by namespace and name.
var inMessage = []string{
	"jabber:server body", "jabber:server subject", "jabber:server thread",
	"http://jabber.org/protocol/xhtml-im html", "jabber:x:oob x", "urn:xmpp:receipts request", "urn:xmpp:chat-markers:0 markable",
	"urn:xmpp:delay delay", "urn:xmpp:hints no-store", "urn:xmpp:hints no-permanent-store", "urn:xmpp:sid:0 origin-id",
	"http://jabber.org/protocol/nick nick", "urn:ietf:params:xml:ns:xmpp-e2e e2e", "urn:xmpp:fallback:0 fallback",
	"http://jabber.org/protocol/chatstates active", "http://jabber.org/protocol/chatstates composing", "http://jabber.org/protocol/chatstates paused",
	"http://jabber.org/protocol/chatstates inactive", "http://jabber.org/protocol/chatstates gone",
}

// FuzzSIPToXMPP_TFZ13: whatever MESSAGE is taken, what leaves is exactly one message stanza, from and to the addresses that were read,
// with no element that a message of SIP cannot have; and ours, encoding/xml and expat agree on all of that and on the bodies.
func FuzzSIPToXMPP_TFZ13(f *testing.F) {
	for _, b := range seedsOfSIP() {
		f.Add(b)
	}
	second := expattest.Start(f)
	f.Fuzz(func(t *testing.T, octets []byte) { crossToXMPP(t, second, octets) })
}

// The seeds all cross, so that the target begins behind the checks of the door.
func TestSeedsCrossToXMPP(t *testing.T) {
	second := expattest.Start(t)
	for _, b := range seedsOfSIP() {
		if !crossToXMPP(t, second, b) {
			t.Errorf("does not cross:\n%s", b)
		}
	}
}

// seedsOfSIP are MESSAGE requests of every kind of content.
func seedsOfSIP() (seeds [][]byte) {
	const head = "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/TCP s2x.example.net;branch=z9hG4bK776sgdkse\r\nMax-Forwards: 70\r\n" +
		"From: \"R\" <sip:romeo@example.net;gr=dr4hcr0st3lup4c>;tag=49583\r\nTo: sip:juliet@example.com\r\nCall-ID: c1\r\nCSeq: 1 MESSAGE\r\n"
	seed := func(headers, body string) {
		seeds = append(seeds, []byte(head+headers+"Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body))
	}
	seed("Content-Type: text/plain\r\n", "Neither, fair saint, if either thee dislike.")
	seed("Content-Type: text/plain;charset=ISO-8859-1\r\nSubject: </subject><body>x</body>\r\n", "caf\xe9 </body></message><message to='x@y'><body>")
	seed("Content-Type: text/html\r\n", "<p onclick=x()>hi<script>alert(1)</script><a href='javascript:x'>l</a><img src=data:x></p></body></html>]]>")
	seed("Content-Type: multipart/alternative;boundary=b\r\n", "--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>html</b>\r\n--b--\r\n")
	seed("Content-Type: multipart/mixed;boundary=\"b b\"\r\n", "--b b\r\n\r\none\r\n--b b\r\nContent-Type: message/external-body;access-type=URL;URL=\"https://example.net/x\"\r\n\r\n--b b--")
	seed("Content-Type: message/cpim\r\n", "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\nSubject:;lang=fr x\r\n\r\nContent-Type: text/plain\r\n\r\nhello")
	seed("Content-Type: application/im-iscomposing+xml\r\n", "<?xml version='1.0'?><isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state></isComposing>")
	seed("Content-Type: application/vnd.gsma.rcs-ft-http+xml\r\n", "<?xml version='1.0'?><file xmlns='urn:gsma:params:xml:ns:rcs:rcs:fthttp'><file-info type='file'><file-size>7</file-size><file-name>a&lt;b</file-name><content-type>image/png</content-type><data url='https://example.net/f' until='2027-01-01T00:00:00Z'/></file-info></file>")
	seed("Content-Type: text/plain\r\nContent-Language: en\r\nDate: Thu, 21 Feb 2002 13:02:03 GMT\r\nExpires: 900\r\nPriority: urgent\r\n", "\r\n\t😀 ]]> &amp; \u2028")
	seed("Content-Type: message/cpim\r\n", "From: <im:romeo@example.net>\r\nDateTime: 2026-11-22T07:00:00-05:00\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: a#|1\r\nimdn.Disposition-Notification: display\r\n\r\nContent-Type: text/html\r\n\r\n<ul><li style='color:red;top:0'>a<p>b<blockquote>c<a href='https://example.com/?a&amp;b'>d<em>e</a>f</ul><title>x")
	seed("Content-Type: multipart/mixed;boundary=b\r\n", "--b\r\nContent-Type: text/html\r\n\r\n<b>x<!--\r\n--b\r\nContent-Type: text/uri-list\r\n\r\njavascript:x\r\nhttps://example.com/\r\n--b--")
	kind, body, _ := strings.Cut(strings.ReplaceAll(signedObject("im:romeo@example.net", "im:juliet@example.com"), "]]]]><![CDATA[>", "]]>"), "\n\n")
	body = strings.ReplaceAll(body, "\n", "\r\n")
	seed(kind+"\r\n", body)
	seed(kind+"\r\n", "</e2e>]]>\n\r\n"+body)
	seed("Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n", "\x30\x80\x00\r\n]]>")
	seed("Content-Type: message/cpim\r\n", "From: <im:romeo@example.net>\r\n\r\nContent-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAw==")
	seed("", "")
	return seeds
}

// crossToXMPP tells whether a message crossed, and checks what came of it.
func crossToXMPP(t *testing.T, second *expattest.Oracle, octets []byte) bool {
	t.Helper()
	req, err := wire.Parse(octets, wire.Limits{})
	if err != nil || !req.IsRequest() || req.Method() != "MESSAGE" {
		return false
	}
	in, ref := sip.ReadMessage(req, sip.ReadOptions{Now: instant})
	if ref != nil || in.Message == nil {
		return false
	}
	op := in.Message
	out, err := stanza.AppendMessage(nil, op, stanza.Envelope{ID: "id-1", Now: instant, Nick: true})
	if err != nil {
		return false
	}
	stream := slices.Concat([]byte("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>"), out, []byte("</stream:stream>"))
	ours, err := seenStrict(stream)
	if err != nil {
		t.Fatalf("ours: %v in %s", err, out)
	}
	theirs, err := seenStandard(stream)
	if err != nil {
		t.Fatalf("encoding/xml: %v in %s", err, out)
	}
	thirds, err := seenExpat(second.Parse(t, stream))
	if err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if ours.String() != theirs.String() || ours.String() != thirds.String() {
		t.Fatalf("they differ:\n%v\n%v\n%v\nover %s", ours, theirs, thirds, out)
	}
	if ours.children != 1 || ours.name != "jabber:server message" {
		t.Fatalf("one message in, out came %v:\n%s", ours, out)
	}
	for _, name := range ours.inside {
		if !slices.Contains(inMessage, name) {
			t.Fatalf("a <%s> in %s", name, out)
		}
	}
	root, err := strictxml.ParseDocument(stream, strictxml.Limits{Bytes: 4 << 20, Children: 4096})
	if err != nil {
		t.Fatal(err)
	}
	for message := range root.Children() {
		if fault := unallowed(message); fault != "" {
			t.Fatalf("%s in\n%s", fault, out)
		}
	}
	if op.Activity == adapters.ActivityNone && len(ours.bodies) == 0 || op.Activity != adapters.ActivityNone && len(ours.bodies) > 0 {
		t.Fatalf("activity %v with %d bodies", op.Activity, len(ours.bodies))
	}
	noticed(t, req, op)
	from, err := jid.FromAddress(op.From.Address, op.From.Instance)
	if err != nil {
		t.Fatal(err)
	}
	to, err := jid.FromAddress(op.To.Address, op.To.Instance)
	if err != nil {
		t.Fatal(err)
	}
	if ours.from != from.String() || ours.to != to.String() {
		t.Fatalf("from %q to %q, want %q and %q", ours.from, ours.to, from, to)
	}
	if op.Activity == adapters.ActivityNone && strings.HasPrefix(op.Content.Type, "text/plain") && len(op.Content.Octets) > 0 &&
		(len(ours.bodies) == 0 || ours.bodies[0] != string(op.Content.Octets)) {
		t.Fatalf("bodies %q, want %q", ours.bodies, op.Content.Octets)
	}
	return true
}

// inRequest are the header fields that a MESSAGE of an XMPP message may have.
var inRequest = []string{
	"Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Date", "Expires", "Subject", "Content-Type", "Content-Language", "Content-Length",
	"Content-Disposition", "MIME-Version",
}

// FuzzXMPPToSIP_TFZ14: whatever message stanza is taken, what leaves is exactly one MESSAGE whose header fields are of a fixed list, each
// once, and whose Content-Length is that of its body; ours and sipgo's parser agree on the header fields and the body.
func FuzzXMPPToSIP_TFZ14(f *testing.F) {
	for _, raw := range seedsOfXMPP() {
		f.Add(raw, uint8(0))
		f.Add(raw, uint8(3))
	}
	parser := siplib.NewParser()
	f.Fuzz(func(t *testing.T, raw []byte, how uint8) { crossToSIP(t, parser, raw, how) })
}

// As for SIP.
func TestSeedsCrossToSIP(t *testing.T) {
	parser := siplib.NewParser()
	for _, raw := range seedsOfXMPP() {
		for how := range uint8(4) {
			if !crossToSIP(t, parser, raw, how) {
				t.Errorf("does not cross (%d):\n%s", how, raw)
			}
		}
	}
}

// seedsOfXMPP are message stanzas of every kind that crosses.
func seedsOfXMPP() (seeds [][]byte) {
	seed := func(inside string) {
		seeds = append(seeds, []byte("<message xmlns='jabber:server' from='juliet@example.com/yn0cl4bnw0yr3vym' to='romeo@example.net' id='i-1' type='chat' xml:lang='en'>"+inside+"</message>"))
	}
	seed("<body>Art thou not Romeo, and a Montague?</body><thread>c1</thread>")
	seed("<subject>a&#13;&#10;Route: &lt;sip:evil></subject><body>x&#13;&#10;&#13;&#10;MESSAGE sip:a@b SIP/2.0&#13;&#10;</body><thread>a b</thread>")
	seed("<body xml:lang='cs'>Ahoj</body><body>Hello</body><subject xml:lang='cs'>x</subject><request xmlns='urn:xmpp:receipts'/>")
	seed("<body>new</body><replace xmlns='urn:xmpp:message-correct:0' id='old'/>")
	seed("<body>> quoted\nreply</body><reply xmlns='urn:xmpp:reply:0' to='a@b' id='x'/><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='9'/></fallback>")
	seed("<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>👍</reaction></reactions>")
	seed("<composing xmlns='http://jabber.org/protocol/chatstates'/>")
	seed("<body>https://example.com/f</body><x xmlns='jabber:x:oob'><url>https://example.com/f</url><desc>d&#10;</desc></x>")
	seed("<body>x</body><nick xmlns='http://jabber.org/protocol/nick'>J&quot;&lt;sip:e@v>&#10;</nick><delay xmlns='urn:xmpp:delay' stamp='2026-11-22T11:00:00Z'/>")
	seed("<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p>x</p></body></html><body>x</body>")
	seed("<body>x]]&gt;</body><request xmlns='urn:xmpp:receipts'/><e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'><![CDATA[" + signedObject("im:juliet@example.com", "im:romeo@example.net") + "]]></e2e>")
	seed("<e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'><![CDATA[Content-Type: Message/CPIM\n\nFrom: <im:juliet@example.com>\n\n" + signedObject("im:juliet@example.com", "im:romeo@example.net") + "]]></e2e>")
	seed("<e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>Content-Type: application/pkcs7-mime; smime-type=enveloped-data&#13;\nContent-Transfer-Encoding: base64&#13;\n&#13;\nAAECAw==&#13;\n</e2e>")
	return append(seeds, []byte(`<message from="o\27malley\40x@example.com/gr;x=y" to='a\20b@example.net' id='z9hG4bK"' type='headline'><subject/><body>x</body></message>`))
}

// signedObject is a Message/CPIM that is signed in clear, with LF for each line end, as a CDATA section has it.
func signedObject(from, to string) string {
	return "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=b\n\n--b\nContent-Type: Message/CPIM\n\n" +
		"From: <" + from + ">\nTo: <" + to + ">\nDateTime: 2026-11-22T12:00:00Z\n\nContent-Type: text/plain;charset=utf-8\n\nx ]]]]><![CDATA[>\n" +
		"--b\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\nAAEC\n--b--\n"
}

// crossToSIP tells whether a message crossed, and checks what came of it. how chooses the options of the peer.
func crossToSIP(t *testing.T, parser *siplib.Parser, raw []byte, how uint8) bool {
	t.Helper()
	s, err := stanza.ReadAlone(raw, strictxml.Limits{})
	if err != nil || s.Kind != stanza.Message {
		return false
	}
	op, refused := stanza.ToMessage(s)
	if refused != nil || op == nil {
		return false
	}
	req, err := sip.WriteMessage(op, sip.WriteOptions{
		OmitInstance: how&1 != 0, CPIM: how&2 != 0, CallID: "generated", FromTag: "t1", CSeq: 7, Now: instant,
	})
	if err != nil {
		return false
	}
	out, err := wire.AppendRequest(nil, req, wire.ViaSpec{Transport: "TCP", SentBy: "gw.example.com:5060", Branch: wire.NewBranch(req.BranchHint), RPort: true})
	if err != nil {
		return false // refused by the writer: nothing leaves
	}
	// On a stream: one message, and nothing behind it.
	frames := wire.NewStreamReader(bytes.NewReader(out), wire.Limits{})
	first, _, err := frames.Next()
	if err != nil || !bytes.Equal(first, out) {
		t.Fatalf("the stream's first message is %q, %v of\n%s", first, err, out)
	}
	if more, _, err := frames.Next(); err != io.EOF {
		t.Fatalf("behind it comes %q, %v", more, err)
	}
	ours, err := wire.Parse(out, wire.Limits{})
	if err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	seen := map[string]bool{}
	for name := range ours.Names() {
		if !slices.Contains(inRequest, name) || seen[name] {
			t.Fatalf("%s, or twice, in\n%s", name, out)
		}
		seen[name] = true
	}
	if v, _ := ours.Header("Content-Length"); v != strconv.Itoa(len(ours.Body())) || ours.Method() != "MESSAGE" || !bytes.Equal(ours.Body(), req.Body) {
		t.Fatalf("%s of Content-Length %s in\n%s", ours.Method(), v, out)
	}
	theirs, err := parser.ParseSIP(out)
	if err != nil {
		t.Fatalf("sipgo: %v in\n%s", err, out)
	}
	other, ok := theirs.(*siplib.Request)
	if !ok || other.Method != siplib.MESSAGE || !bytes.Equal(other.Body(), ours.Body()) {
		t.Fatalf("sipgo reads %T of %q", theirs, theirs.Body())
	}
	for _, h := range other.Headers() {
		if !slices.ContainsFunc(inRequest, func(name string) bool { return strings.EqualFold(name, h.Name()) }) {
			t.Fatalf("sipgo finds %s in\n%s", h.Name(), out)
		}
	}
	// What it says of whom is what was read.
	back, ref := sip.ReadMessage(ours, sip.ReadOptions{Now: instant, SMIME: sip.SMIMELate})
	if ref != nil {
		t.Fatalf("we would not take it ourselves: %v\n%s", ref, out)
	}
	m := back.Message
	switch {
	case m == nil:
		t.Fatalf("a message became a notice:\n%s", out)
	case m.From.Address != op.From.Address || m.To.Address != op.To.Address:
		t.Fatalf("from %v to %v, was %v to %v", m.From, m.To, op.From, op.To)
	case !bytes.Equal(m.Content.Octets, op.Content.Octets):
		t.Fatalf("text %q, was %q", m.Content.Octets, op.Content.Octets)
	case (m.Activity == adapters.ActivityComposing) != (op.Activity == adapters.ActivityComposing) || (m.Activity == 0) != (op.Activity == 0):
		t.Fatalf("activity %v, was %v", m.Activity, op.Activity)
	case op.Activity == 0 && how&2 != 0 && !strings.Contains(m.Content.Type, "pkcs7") && (m.Wants&^adapters.WantFailed != op.Wants || (m.Wants != 0) != (op.Wants != 0) || m.Wants != 0 && m.TransID != op.TransID):
		t.Fatalf("%v asked of %q, was %v of %q", m.Wants, m.TransID, op.Wants, op.TransID)
	}
	return true
}
