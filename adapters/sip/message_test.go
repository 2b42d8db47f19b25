package sip

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/imdn"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// request makes a message from the text of a request as an RFC prints it: lines with "\n", Content-Length added if there is none.
func request(t testing.TB, text string) *wire.Message {
	t.Helper()
	head, body, _ := strings.Cut(strings.TrimPrefix(text, "\n"), "\n\n")
	if !strings.Contains(head, "Content-Length") {
		head += "\nContent-Length: " + itoa(int64(len(body)))
	}
	m, err := wire.Parse([]byte(strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"+body), wire.Limits{})
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

func im(s string) cpim.Address { return cpim.MustParseAddress("im:" + s) }

// read reads a MESSAGE that must be a message.
func read(t testing.TB, text string) *adapters.MessageOp {
	t.Helper()
	got, ref := ReadMessage(request(t, text), ReadOptions{Now: now})
	if ref != nil {
		t.Fatalf("%v for\n%s", ref, text)
	}
	if got.Message == nil {
		t.Fatalf("no message from\n%s", text)
	}
	return got.Message
}

// The examples of RFC 7572, from SIP.

const rfc7572Example4 = `
MESSAGE sip:juliet@example.com SIP/2.0
Via: SIP/2.0/TCP s2x.example.net;branch=z9hG4bKeskdgs677
Max-Forwards: 70
To: sip:juliet@example.com
From: sip:romeo@example.net;tag=vwxyz
Call-ID: 9E97FB43-85F4-4A00-8751-1124FD4C7B2E
CSeq: 1 MESSAGE
Content-Type: text/plain
Content-Length: 44

Neither, fair saint, if either thee dislike.`

func TestRFC7572Example4(t *testing.T) {
	// "The mapping of SIP syntax to XMPP syntax MUST be as shown in the following table." (RFC 7572 §5)
	op := read(t, rfc7572Example4)
	want := adapters.MessageOp{
		From: adapters.Party{Address: im("romeo@example.net")}, To: adapters.Party{Address: im("juliet@example.com")},
		Kind: adapters.KindNormal, Thread: "9E97FB43-85F4-4A00-8751-1124FD4C7B2E", TransID: "z9hG4bKeskdgs677",
		Content: adapters.Content{Type: "text/plain", Octets: []byte("Neither, fair saint, if either thee dislike.")}, Hops: 70,
	}
	compareOps(t, op, &want)
}

func TestRFC7572Example6(t *testing.T) {
	// The RFC prints the characters in XML notation, with code points that are the UTF-8 octets; and Content-Length is that of
	// neither form. "Gateways MUST map these language tagging mechanisms if they are present in the original message." (§8)
	const body = "Nic z obého, má děvo spanilá,\nnenávidíš-li jedno nebo druhé."
	op := read(t, `
MESSAGE sip:juliet@example.com SIP/2.0
Via: SIP/2.0/TCP s2x.example.net;branch=z9hG4bKeskdgs677
Max-Forwards: 70
To: sip:juliet@example.com
From: sip:romeo@example.net;tag=vwxyz
Call-ID: 5A37A65D-304B-470A-B718-3F3E6770ACAF
CSeq: 1 MESSAGE
Content-Type: text/plain
Content-Language: cs

`+body)
	compareOps(t, op, &adapters.MessageOp{
		From: adapters.Party{Address: im("romeo@example.net")}, To: adapters.Party{Address: im("juliet@example.com")},
		Thread: "5A37A65D-304B-470A-B718-3F3E6770ACAF", TransID: "z9hG4bKeskdgs677",
		Content: adapters.Content{Type: "text/plain", Language: "cs", Octets: []byte(body)}, Hops: 70,
	})
}

func compareOps(t *testing.T, got, want *adapters.MessageOp) {
	t.Helper()
	if got.From != want.From || got.To != want.To {
		t.Errorf("from %v to %v, want from %v to %v", got.From, got.To, want.From, want.To)
	}
	if got.Thread != want.Thread || got.TransID != want.TransID || got.Kind != want.Kind {
		t.Errorf("thread %q id %q kind %d, want %q %q %d", got.Thread, got.TransID, got.Kind, want.Thread, want.TransID, want.Kind)
	}
	if got.Content.Type != want.Content.Type || got.Content.Language != want.Content.Language ||
		!bytes.Equal(got.Content.Octets, want.Content.Octets) {
		t.Errorf("content %q, want %q", got.Content, want.Content)
	}
	if len(got.Subjects) != len(want.Subjects) {
		t.Errorf("subjects %v, want %v", got.Subjects, want.Subjects)
	} else if len(want.Subjects) > 0 && got.Subjects[0] != want.Subjects[0] {
		t.Errorf("subject %v, want %v", got.Subjects[0], want.Subjects[0])
	}
	if got.Hops != want.Hops || !got.Sent.Equal(want.Sent) || !got.Expires.Equal(want.Expires) || got.Wants != want.Wants {
		t.Errorf("hops %d sent %v expires %v wants %b, want %d %v %v %b", got.Hops, got.Sent, got.Expires, got.Wants,
			want.Hops, want.Sent, want.Expires, want.Wants)
	}
}

// The examples of RFC 7572, to SIP.

func TestRFC7572Example2(t *testing.T) {
	// "The mapping of XMPP syntax to SIP syntax MUST be as shown in the following table." (RFC 7572 §4)
	op := &adapters.MessageOp{
		From: adapters.Party{Address: im("juliet@example.com"), Instance: "yn0cl4bnw0yr3vym"},
		To:   adapters.Party{Address: im("romeo@example.net")}, Thread: "D9AA95FD-2BD5-46E2-AF0F-6CFAA96BDDFA",
		Content: adapters.Content{Type: "text/plain", Octets: []byte("Art thou not Romeo, and a Montague?")}, Hops: 70,
	}
	got := written(t, op, WriteOptions{FromTag: "12345", CSeq: 1, Now: now})
	want := request(t, `
MESSAGE sip:romeo@example.net SIP/2.0
Via: SIP/2.0/TCP x2s.example.com;branch=z9hG4bK776sgdkse
Max-Forwards: 70
To: sip:romeo@example.net
From: <sip:juliet@example.com;gr=yn0cl4bnw0yr3vym>;tag=12345
Call-ID: D9AA95FD-2BD5-46E2-AF0F-6CFAA96BDDFA
CSeq: 1 MESSAGE
Content-Type: text/plain
Content-Length: 35

Art thou not Romeo, and a Montague?`)
	if got.Method() != "MESSAGE" || got.RequestURIText() != want.RequestURIText() {
		t.Errorf("%s %s", got.Method(), got.RequestURIText())
	}
	if got.From().String() != want.From().String() {
		t.Errorf("From %s, want %s", got.From(), want.From())
	}
	if got.To().URI() != want.To().URI() || got.To().Tag() != "" {
		t.Errorf("To %s, want %s", got.To(), want.To())
	}
	if got.CallID() != want.CallID() {
		t.Errorf("Call-ID %s, want the thread", got.CallID())
	}
	if n, m := got.CSeq(); n != 1 || m != "MESSAGE" {
		t.Errorf("CSeq %d %s", n, m)
	}
	if n, _ := got.MaxForwards(); n != 70 {
		t.Errorf("Max-Forwards %d", n)
	}
	if got.ContentType() != plainText || !bytes.Equal(got.Body(), want.Body()) {
		t.Errorf("%s %q", got.ContentType(), got.Body())
	}
	// "User Agents MUST NOT insert Contact header fields into MESSAGE requests." (RFC 3428 §4)
	if _, has := got.Header("Contact"); has {
		t.Error("there is a Contact")
	}
}

// written is the request as the far side reads it.
func written(t testing.TB, op *adapters.MessageOp, o WriteOptions) *wire.Message {
	t.Helper()
	if o.CallID == "" {
		o.CallID = "fresh-call-id"
	}
	if o.FromTag == "" {
		o.FromTag = "tag-1"
	}
	req, err := WriteMessage(op, o)
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, req)
}

func parsed(t testing.TB, req *wire.Request) *wire.Message {
	t.Helper()
	b, err := wire.AppendRequest(nil, req, wire.ViaSpec{Transport: "TCP", SentBy: "x2s.example.com", Branch: "z9hG4bK776sgdkse"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.Parse(b, wire.Limits{})
	if err != nil {
		t.Fatalf("%v in what we wrote:\n%s", err, b)
	}
	return m
}

func TestMessageThereAndBack(t *testing.T) {
	for _, c := range []struct {
		name string
		op   adapters.MessageOp
	}{
		{"beyond the BMP", adapters.MessageOp{Content: adapters.Content{Type: plainText, Octets: []byte("😀 \U0001F1E8\U0001F1FF")}}},
		{"CR LF in the body", adapters.MessageOp{Content: adapters.Content{Type: plainText, Octets: []byte("a\r\n\r\nVia: b\n\rc\x00")}}},
		{"markup", adapters.MessageOp{Content: adapters.Content{Type: plainText, Octets: []byte(`<&>"'`)}}},
		{"empty body", adapters.MessageOp{Content: adapters.Content{Type: plainText, Octets: []byte{}}}},
		{"empty subject", adapters.MessageOp{Subjects: []adapters.LangText{{}}, Content: adapters.Content{Type: plainText}}},
		{"subject and language", adapters.MessageOp{Subjects: []adapters.LangText{{Lang: "cs", Text: "Děvo, \"spanilá\""}}, Content: adapters.Content{Type: plainText, Language: "cs", Octets: []byte("x")}}},
		{"a thread that is no Call-ID", adapters.MessageOp{Thread: "a b\r\nc", Content: adapters.Content{Type: plainText}}},
		{"a thread with the prefix of coded ones", adapters.MessageOp{Thread: codedPrefix + "YSBi", Content: adapters.Content{Type: plainText}}},
		{"date and life", adapters.MessageOp{Sent: now.Add(-time.Hour), Expires: now.Add(time.Hour), Content: adapters.Content{Type: plainText}}},
		{"another type", adapters.MessageOp{Content: adapters.Content{Type: "text/plain; charset=us-ascii; format=flowed", Octets: []byte("x")}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := c.op
			op.From = adapters.Party{Address: im("juliet@example.com"), Instance: "balcony"}
			op.To = adapters.Party{Address: im("romeo@example.net"), Instance: "orchard 1"}
			op.Hops = 69
			m := written(t, &op, WriteOptions{Now: now})
			in, ref := ReadMessage(m, ReadOptions{Now: now})
			if ref != nil {
				t.Fatal(ref)
			}
			got := in.Message
			got.TransID = ""
			if op.Thread == "" {
				op.Thread = "fresh-call-id"
			}
			compareOps(t, got, &op)
		})
	}
}

func TestAddressesThereAndBack(t *testing.T) {
	for _, s := range []string{
		"im:o'malley@sip.example", "im:m%26m@xmpp.example", "im:tsch%C3%BCss@xmpp.example", "im:a%23b%25c%5B%5D%5C%5E%60%7B%7C%7D@d.example",
		"im:a%3Bb%3Fc%2Fd@d.example", "im:%2B420123@d.example", "im:a%40b@d.example", "im:a%20b@d.example", "im:1+2=3@d.example",
	} {
		p := adapters.Party{Address: cpim.MustParseAddress(s), Instance: "a b/ü;=?"}
		u, err := URIOf(p)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		parsed, err := wire.ParseURI(u)
		if err != nil {
			t.Errorf("%s is written as %s: %v", s, u, err)
			continue
		}
		back, ref := AddressOf(parsed, cpim.SIPMapping{Scheme: cpim.IM})
		if ref != nil || back != p {
			t.Errorf("%s is written as %s and read as %v (%v)", s, u, back, ref)
		}
		if plain, _ := URIOf(adapters.Party{Address: p.Address}); plain != p.Address.SIPURI().String() {
			t.Errorf("%s and %s are two texts of one URI", plain, p.Address.SIPURI())
		}
	}
}

func TestReadMessageRefuses(t *testing.T) {
	good := strings.TrimPrefix(rfc7572Example4, "\n")
	change := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("nothing to change: %q", old)
		}
		s := strings.Replace(good, old, with, 1)
		head, body, _ := strings.Cut(s, "\n\n")
		var lines []string
		for l := range strings.SplitSeq(head, "\n") {
			if !strings.HasPrefix(l, "Content-Length") {
				lines = append(lines, l)
			}
		}
		return strings.Join(lines, "\n") + "\n\n" + body
	}
	for _, c := range []struct {
		name, text string
		code       int
		why        Why
		header     string
	}{
		// "if the To header or Request-URI of a SIP message is a SIPS URI then the SIP-to-XMPP gateway MUST NOT translate the SIP
		// message" (RFC 7247 §8)
		{"T-TL-11 SIPS Request-URI", change("MESSAGE sip:", "MESSAGE sips:"), 480, WhySIPS, `Warning: 380 isthmus "SIPS Not Allowed"`},
		{"T-TL-11 SIPS To", change("To: sip:", "To: sips:"), 480, WhySIPS, `Warning: 380 isthmus "SIPS Not Allowed"`},
		{"T-TL-11 SIPS From", change("From: sip:", "From: sips:"), 480, WhySIPS, ""},
		{"unknown scheme", change("MESSAGE sip:juliet@example.com", "MESSAGE tel:+420123"), 416, WhyScheme, ""},
		{"no user", change("MESSAGE sip:juliet@", "MESSAGE sip:"), 404, WhyAddress, ""},
		{"an address literal", change("MESSAGE sip:juliet@example.com", "MESSAGE sip:juliet@192.0.2.1"), 404, WhyAddress, ""},
		{"capitals", change("MESSAGE sip:juliet@", "MESSAGE sip:Juliet@"), 404, WhyAddress, ""},
		{"an encoded reserved character", change("MESSAGE sip:juliet@", "MESSAGE sip:a%2Bb@"), 404, WhyAddress, ""},
		{"a From that cannot be carried", change("From: sip:romeo@", "From: sip:Romeo@"), 400, WhyAddress, ""},
		{"within a dialog", change("To: sip:juliet@example.com", "To: <sip:juliet@example.com>;tag=x"), 481, WhyNoDialog, ""},
		{"a type not carried", change("text/plain", "application/sdp"), 415, WhyContent, "Accept: " + acceptedContent},
		{"a charset not known", change("text/plain", "text/plain;charset=x-klingon"), 415, WhyCharset, ""},
		{"not UTF-8", change("Neither", "\xff"), 400, WhyCharset, ""},
		{"not US-ASCII", change("text/plain", "text/plain;charset=us-ascii") + "é", 400, WhyCharset, ""},
		{"an encoding", change("Content-Type: text/plain", "Content-Type: text/plain\nContent-Encoding: gzip"), 415, WhyContent, "Accept-Encoding: identity"},
		{"a disposition", change("Content-Type: text/plain", "Content-Type: text/plain\nContent-Disposition: icon"), 415, WhyContent, ""},
		{"malformed message/cpim", change("text/plain", "message/cpim"), 400, WhySyntax, ""},
		{"Expires is no number", change("Content-Type", "Expires: soon\nContent-Type"), 400, WhySyntax, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, ref := ReadMessage(request(t, c.text), ReadOptions{Now: now})
			if ref == nil {
				t.Fatalf("it was taken:\n%s", c.text)
			}
			if ref.Code != c.code || ref.Why != c.why {
				t.Errorf("%d %s (%v), want %d (%v)", ref.Code, ref.Phrase, ref.Why, c.code, c.why)
			}
			found := c.header == ""
			for _, h := range ref.Headers {
				found = found || h.Name+": "+h.Value == c.header
			}
			if !found {
				t.Errorf("headers %v, want %s", ref.Headers, c.header)
			}
		})
	}
}

func TestReadMessageTakes(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		check          func(*adapters.MessageOp) bool
	}{
		{"the Request-URI, not To, is the recipient", "MESSAGE sip:juliet@", "MESSAGE sip:nurse@", func(op *adapters.MessageOp) bool { return op.To.Address == im("nurse@example.com") }},
		{"an im: Request-URI", "MESSAGE sip:juliet@", "MESSAGE im:juliet@", func(op *adapters.MessageOp) bool { return op.To.Address == im("juliet@example.com") }},
		{"a port in the Request-URI is routing", "MESSAGE sip:juliet@example.com", "MESSAGE sip:juliet@example.com:5070;transport=tcp", func(op *adapters.MessageOp) bool { return op.To.Address == im("juliet@example.com") }},
		{"gr inside", "From: sip:romeo@example.net;tag=vwxyz", "From: <sip:romeo@example.net;gr=dr4hcr0st3lup4c>;tag=vwxyz", func(op *adapters.MessageOp) bool { return op.From.Instance == "dr4hcr0st3lup4c" }},
		{"gr outside (PEERS trap 8)", "From: sip:romeo@example.net;tag=vwxyz", "From: <sip:romeo@example.net>;gr=dr4hcr0st3lup4c;tag=vwxyz", func(op *adapters.MessageOp) bool { return op.From.Instance == "dr4hcr0st3lup4c" }},
		{"a temporary GRUU is not mapped", "From: sip:romeo@example.net;tag=vwxyz", "From: <sip:romeo@example.net;gr>;tag=vwxyz", func(op *adapters.MessageOp) bool { return op.From.Instance == "" }},
		{"no Max-Forwards", "Max-Forwards: 70\n", "", func(op *adapters.MessageOp) bool { return op.Hops == adapters.DefaultHops }},
		{"Contact is nothing to us", "Content-Type", "Contact: <sip:x@192.0.2.1>\nContent-Type", func(op *adapters.MessageOp) bool { return op.From.Address == im("romeo@example.net") }},
		{"P-Asserted-Identity is not believed", "Content-Type", "P-Asserted-Identity: <sip:boss@example.net>\nContent-Type", func(op *adapters.MessageOp) bool { return op.From.Address == im("romeo@example.net") }},
		{"Latin-1 is converted", "Content-Type: text/plain\nContent-Length: 44\n\nNeither, fair saint, if either thee dislike.", "Content-Type: text/plain;charset=iso-8859-1\n\n\xe9", func(op *adapters.MessageOp) bool {
			return string(op.Content.Octets) == "é" && isPlainUTF8(strings.ReplaceAll(op.Content.Type, "; ", ";"))
		}},
		{"Expires counts from Date", "Content-Type", "Date: Sat, 13 Nov 2010 23:29:00 GMT\nExpires: 60\nContent-Type", func(op *adapters.MessageOp) bool {
			return op.Expires.Equal(time.Date(2010, 11, 13, 23, 30, 0, 0, time.UTC))
		}},
		{"Expires counts from now", "Content-Type", "Expires: 60\nContent-Type", func(op *adapters.MessageOp) bool { return op.Expires.Equal(now.Add(time.Minute)) }},
		{"a Date that is none", "Content-Type", "Date: yesterday\nContent-Type", func(op *adapters.MessageOp) bool { return op.Sent.IsZero() }},
		{"an empty Subject is one", "Content-Type", "Subject:\nContent-Type", func(op *adapters.MessageOp) bool { return len(op.Subjects) == 1 && op.Subjects[0].Text == "" }},
		{"no body at all", "Content-Type: text/plain\nContent-Length: 44\n\nNeither, fair saint, if either thee dislike.", "Subject: x\n\n", func(op *adapters.MessageOp) bool { return op.Content.Type == plainText && len(op.Content.Octets) == 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			good := strings.TrimPrefix(rfc7572Example4, "\n")
			text := strings.Replace(good, c.from, c.to, 1)
			if text == good {
				t.Fatal("nothing was changed")
			}
			if op := read(t, text); !c.check(op) {
				t.Errorf("%+v", op)
			}
		})
	}
}

// cpimMessage wraps a Message/CPIM object into the MESSAGE of RFC 7572 Example 4.
func cpimMessage(object string) string {
	head, _, _ := strings.Cut(strings.TrimPrefix(rfc7572Example4, "\n"), "\n\n")
	head = strings.Replace(head, "text/plain\nContent-Length: 44", "message/cpim", 1)
	return head + "\n\n" + strings.ReplaceAll(strings.TrimPrefix(object, "\n"), "\n", "\r\n")
}

func TestInnerIdentity(t *testing.T) { // T-ID-02
	for _, c := range []struct {
		name, from, to string
		code           int
	}{
		{"im: as outside", "<im:romeo@example.net>", "<im:juliet@example.com>", 0},
		{"sip: as outside, with a name", "Romeo <sip:romeo@example.net>", "<sip:juliet@example.com>", 0},
		{"another user of the same domain", "<im:tybalt@example.net>", "<im:juliet@example.com>", 403},
		{"another domain", "<im:romeo@example.com>", "<im:juliet@example.com>", 403},
		{"another recipient", "<im:romeo@example.net>", "<im:nurse@example.com>", 403},
		{"a sips: sender", "<sips:romeo@example.net>", "<im:juliet@example.com>", 403},
		{"a telephone", "<tel:+420123>", "<im:juliet@example.com>", 403},
		{"anonymous", "<sip:anonymous@anonymous.invalid>", "<im:juliet@example.com>", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			object := "From: " + c.from + "\nTo: " + c.to + "\n\nContent-Type: text/plain; charset=utf-8\n\nHello"
			got, ref := ReadMessage(request(t, cpimMessage(object)), ReadOptions{Now: now})
			switch {
			case c.code == 0 && ref != nil:
				t.Fatal(ref)
			case c.code != 0 && (ref == nil || ref.Code != c.code || ref.Why != WhyIdentity):
				t.Fatalf("%v, want %d", ref, c.code)
			case c.code == 0:
				op := got.Message
				if string(op.Object) != strings.ReplaceAll(object, "\n", "\r\n") {
					t.Errorf("the object was changed: %q", op.Object)
				}
				if string(op.Content.Octets) != "Hello" || op.From.Address != im("romeo@example.net") {
					t.Errorf("%+v", op)
				}
			}
		})
	}
}

// What is signed opaquely is for the recipient also where it names whom a retargeted request was first for, as what is signed in clear: whoever looks into
// it is told of both.
func TestWhomAnOpaqueObjectMayBeFor(t *testing.T) { // T-ID-02
	for _, c := range []struct{ to, known string }{{"<sip:juliet@example.com>", ""}, {"<sip:nurse@example.com>", "im:nurse@example.com"}} {
		text := strings.Replace(cpimMessage("x"), "message/cpim", "application/pkcs7-mime; smime-type=signed-data", 1)
		text = strings.Replace(text, "To: sip:juliet@example.com", "To: "+c.to, 1)
		text = strings.Replace(text, "To: <sip:juliet@example.com>", "To: "+c.to, 1)
		got, ref := ReadMessage(request(t, text), ReadOptions{Now: now, SMIME: SMIMELate})
		if ref != nil {
			t.Fatal(ref)
		}
		if op := got.Message; op.To.Address != im("juliet@example.com") || op.Known.String() != c.known {
			t.Errorf("To %s: for %v, known as %q", c.to, op.To.Address, op.Known)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	for _, s := range []string{
		"", "5BCF940D-793D-43F8-8972-218F7F4EAA8C", "a84b4c76e66710@pc33.atlanta.example", "a@b@c", "@", "a b", "ü", "x-b64u-", "x-b64u-YQ", "x-b64u-YSBi",
		"a\r\nb", strings.Repeat("x", 300), strings.Repeat("ü", 150), "(<>:\\\"/[]?{})",
	} {
		c := callIDOf(s)
		if c != "" && !isCallID(c) {
			t.Errorf("callIDOf(%q) = %q, which is none", s, c)
		}
		if got := threadOf(c); s != "" && got != s {
			t.Errorf("thread %q became %q", s, got)
		}
		if id := messageIDOf(s); s != "" && (!imdn.ValidMessageID(id) || transIDOf(id) != s) {
			t.Errorf("id %q is written as %q and read as %q", s, id, transIDOf(id))
		}
	}
	if callIDOf(strings.Repeat("ü", 1000)) != "" {
		t.Error("a thread of 2000 octets was taken")
	}
	for _, theirs := range []string{"x-b64u-!", "x-b64u-YR", "x-b64u-YWJj", "x-b64u-_w"} {
		if got := callIDOf(threadOf(theirs)); got != theirs {
			t.Errorf("Call-ID %q of theirs comes back as %q", theirs, got)
		}
	}
}
