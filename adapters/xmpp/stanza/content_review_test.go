package stanza_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
)

// carried is what a content from SIP is as a stanza, "" if it is refused.
func carried(t *testing.T, kind, body string) (string, error) {
	t.Helper()
	op := &adapters.MessageOp{From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: kind, Octets: []byte(strings.ReplaceAll(body, "\n", "\r\n"))}}
	b, err := stanza.AppendMessage(nil, op, stanza.Envelope{})
	return string(b), err
}

// A message is delivered, or its sender is told: HTML of which nothing is left for a reader is refused, and no empty body delivered.
func TestHTMLThatSaysNothingIsRefused(t *testing.T) {
	for _, in := range []string{
		"<title/>Hello", "<script>Hello</script>", "<!-- Hello", "<template>Hello", "<img src='cid:a'>", "<style>x", "<iframe/>Hello", "<img src='data:image/png;base64,AA'>",
	} {
		b, err := carried(t, "text/html", in)
		if refused, ok := err.(*stanza.Refusal); !ok || refused.Reason != adapters.ReasonUnsupportedContent {
			t.Errorf("%s: %v, became %s", in, err, b)
		}
	}
	for _, in := range []string{"", " \n"} {
		if _, err := carried(t, "text/html", in); err != nil {
			t.Errorf("a message that is empty by itself: %v", err)
		}
	}
}

// What one part of a message leaves open swallows nothing of the next one: parts are documents of their own (RFC 2046 §5.1.3).
func TestPartsOfHTMLStandApart(t *testing.T) {
	for _, open := range []string{"<title>", "<!--", "<script>", "<a href='", "<template>", "<textarea>", "<style>", "<blockquote>"} {
		b, err := carried(t, "multipart/mixed;boundary=b", "--b\nContent-Type: text/html\n\n<b>one</b>"+open+"\n--b\n\ntwo <&\n--b\nContent-Type: text/html\n\n<i>three</i>\n--b--")
		if err != nil {
			t.Errorf("%s: %v", open, err)
			continue
		}
		body, rest, _ := strings.Cut(b, "</body>")
		for _, word := range []string{"one", "two &lt;&amp;", "three"} {
			if !strings.Contains(body, word) || !strings.Contains(rest, word) {
				t.Errorf("%s: %s is lost in %s", open, word, b)
			}
		}
	}
}

// A part that says nothing is no excuse for losing it beside others.
func TestPartOfHTMLThatSaysNothingIsRefused(t *testing.T) {
	if b, err := carried(t, "multipart/mixed;boundary=b", "--b\n\none\n--b\nContent-Type: text/html\n\n<img src='cid:x'>\n--b--"); err == nil {
		t.Errorf("became %s", b)
	}
}

// What has no text that could cross is refused, and not taken in silence: its sender would think it was delivered.
func TestNothingIsTakenInSilence(t *testing.T) {
	const (
		html  = "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p>text</p></body></html>"
		state = "<active xmlns='http://jabber.org/protocol/chatstates'/>"
	)
	for _, in := range []string{
		html, html + state, "<x xmlns='jabber:x:oob'><url>ftp://example.com/a</url></x>", "<x xmlns='jabber:x:oob'><url>aesgcm://example.com/a#k</url></x>" + state,
	} {
		s := read(t, message(in))
		op, e := stanza.ToMessage(s)
		if op != nil || e == nil || e.Condition != stanza.NotAcceptable || s.Quiet() {
			t.Errorf("%s: %+v, %v, quiet %v", in, op, e, s.Quiet())
		}
	}
	for in, want := range map[string]string{
		// "<reactions/>" with a body that is empty is one without.
		"<body/><reactions id='m0' xmlns='urn:xmpp:reactions:0'><reaction>x</reaction></reactions>": "Reacted to an earlier message: x",
		// A link whose beginning the text has is not in the text.
		"<body>see https://example.com/ab</body><x xmlns='jabber:x:oob'><url>https://example.com/a</url></x>":                         "see https://example.com/ab\nhttps://example.com/a",
		"<body>(https://example.com/a), or https://example.com/ab</body><x xmlns='jabber:x:oob'><url>https://example.com/a</url></x>": "(https://example.com/a), or https://example.com/ab",
		// A fallback for something else does not say that this is a correction.
		"<body>new</body><replace xmlns='urn:xmpp:message-correct:0' id='o'/><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reactions:0'/>": "Correction: new",
	} {
		op, e := stanza.ToMessage(read(t, message(in)))
		if e != nil || op == nil || string(op.Content.Octets) != want {
			t.Errorf("%s: %+v, %v", in, op, e)
		}
	}
}

// A receipt in a message takes nothing from what else it says.
func TestReceiptBesideContent(t *testing.T) {
	const receipt = "<received xmlns='urn:xmpp:receipts' id='m0'/>"
	for in, says := range map[string]bool{
		"": false, "<active xmlns='http://jabber.org/protocol/chatstates'/>": false, "<body>x</body>": true, "<subject>x</subject>": true,
		"<reactions id='m0' xmlns='urn:xmpp:reactions:0'><reaction>x</reaction></reactions>": true, "<x xmlns='jabber:x:oob'><url>https://example.com/a</url></x>": true,
	} {
		s := read(t, message(receipt+in))
		if stanza.ToReport(s, time.Time{}) == nil || s.Says() != says {
			t.Errorf("%s: says %v", in, s.Says())
		}
	}
}

// A name cannot turn the direction of what stands behind it: neither of a person nor of a file ("evil\u202egpj.exe").
func TestNamesKeepTheirDirection(t *testing.T) {
	op := &adapters.MessageOp{
		From: party(romeoIM, ""), To: party(julietIM, ""), Content: adapters.Content{Type: "text/plain", Octets: []byte("\u202b is the sender's affair\u202c")},
		SenderName: "Romeo\u202e", Links: []adapters.Link{{URL: "https://example.com/", Name: "evil\u202egpj.exe"}},
	}
	b, err := stanza.AppendMessage(nil, op, stanza.Envelope{Nick: true})
	if err != nil || !strings.Contains(string(b), ">Romeo</nick>") || !strings.Contains(string(b), "<desc>evil gpj.exe</desc>") || !strings.Contains(string(b), "<body>\u202b is") {
		t.Errorf("%v: %s", err, b)
	}
	if s := read(t, message("<body>x</body><nick xmlns='http://jabber.org/protocol/nick'>\u2067Juliet</nick>")); s.Nick != "Juliet" {
		t.Errorf("%q", s.Nick)
	}
}
