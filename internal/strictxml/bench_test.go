package strictxml

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

const benchHeader = `<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' ` +
	`xmlns:stream='http://etherx.jabber.org/streams' from='sip.example.org' id='c2s-4711' xml:lang='en'>`

// Stanzas as they come from clients, of the sizes that LIBRARIES.md measured.
const (
	// benchMessage has 309 octets.
	benchMessage = `<message from='juliet@im.example.com/balcony' to='romeo@sip.example.org' id='ktx72v49' type='chat' xml:lang='en'>` +
		`<body>Art thou not Romeo, and a Montague? I &amp; you &lt;3 sorts..</body>` +
		`<thread>e0ffe42b28561960c6b12b944a092794b9683a38</thread>` +
		`<active xmlns='http://jabber.org/protocol/chatstates'/>` +
		`</message>`
	// benchPresence has 437 octets.
	benchPresence = `<presence from='juliet@im.example.com/balcony-8f2c' to='romeo@sip.example.org' xml:lang='en'>` +
		`<show>away</show><status>In a meeting until noon, please leave me a message. Thanks!</status><priority>5</priority>` +
		`<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://code.google.com/p/exodus' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>` +
		`<x xmlns='vcard-temp:x:update'><photo>sha1-hash-of-image-sha1-hash-of-image</photo></x>` +
		`</presence>`
	// benchRich has 719 octets.
	benchRich = `<message from='juliet@im.example.com/balcony' to='romeo@sip.example.org' id='ktx72v49' type='chat' xml:lang='en'>` +
		`<body>Wherefore art thou, Romeo? Deny thy father and refuse thy name; or, if thou wilt not, be but sworn...?</body>` +
		`<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>` +
		`<p style='font-weight:bold'>Wherefore art thou, <em>Romeo</em>?</p></body></html>` +
		`<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>` +
		`<origin-id xmlns='urn:xmpp:sid:0' id='de305d54-75b4-431b-adb2-eb6b9e546013'/>` +
		`<active xmlns='http://jabber.org/protocol/chatstates'/>` +
		`<delay xmlns='urn:xmpp:delay' from='im.example.com' stamp='2026-11-22T12:00:00Z'>Offline</delay>` +
		`</message>`
)

func benchScope(b testing.TB) *Scope {
	_, scope, err := NewStream(strings.NewReader(benchHeader), Limits{}).Header()
	if err != nil {
		b.Fatal(err)
	}
	return scope
}

func eachBenchStanza(b *testing.B, f func(b *testing.B, raw []byte)) {
	for _, s := range []struct{ name, raw string }{
		{"message309", benchMessage}, {"presence437", benchPresence}, {"message719", benchRich},
	} {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(s.raw)))
			f(b, []byte(s.raw))
		})
	}
}

// BenchmarkCursor tokenizes a stanza and looks at its name, one attribute and
// one child's text, as an adapter does.
func BenchmarkCursor(b *testing.B) {
	scope := benchScope(b)
	eachBenchStanza(b, func(b *testing.B, raw []byte) {
		var c Cursor
		for b.Loop() {
			c.Reset(raw, scope, Limits{})
			for {
				kind, err := c.Next()
				if err != nil {
					b.Fatal(err)
				}
				if kind == End {
					break
				}
			}
		}
	})
}

func BenchmarkParseElement(b *testing.B) {
	scope := benchScope(b)
	eachBenchStanza(b, func(b *testing.B, raw []byte) {
		for b.Loop() {
			if _, err := ParseElement(raw, scope, Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCursorElement builds the tree with a Cursor that is used again.
func BenchmarkCursorElement(b *testing.B) {
	scope := benchScope(b)
	eachBenchStanza(b, func(b *testing.B, raw []byte) {
		var c Cursor
		for b.Loop() {
			c.Reset(raw, scope, Limits{})
			if _, err := c.Next(); err != nil {
				b.Fatal(err)
			}
			if _, err := c.Element(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// repeat is a reader without end of one stanza.
type repeat struct {
	raw []byte
	at  int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.raw[r.at:])
	r.at = (r.at + n) % len(r.raw)
	return n, nil
}

func BenchmarkStreamNext(b *testing.B) {
	eachBenchStanza(b, func(b *testing.B, raw []byte) {
		s := NewStream(io.MultiReader(strings.NewReader(benchHeader), &repeat{raw: raw}), Limits{})
		if _, _, err := s.Header(); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			got, err := s.Next()
			if err != nil || len(got) != len(raw) {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkStreamNextByOctet shows that small pieces cost no rescans.
func BenchmarkStreamNextByOctet(b *testing.B) {
	big := []byte("<message><body>" + strings.Repeat("x", 200_000) + "</body></message>")
	b.ReportAllocs()
	b.SetBytes(int64(len(big)))
	for b.Loop() {
		s := NewStream(io.MultiReader(strings.NewReader("<s>"), oneByte{bytes.NewReader(big)}), Limits{})
		if _, _, err := s.Header(); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// oneByte delivers one octet with each Read.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func BenchmarkWriter(b *testing.B) {
	b.ReportAllocs()
	var w Writer
	var dst []byte
	for b.Loop() {
		w.Reset(dst[:0], "jabber:client")
		w.Start(Name{"jabber:client", "message"})
		w.Attr("from", "juliet@im.example.com/balcony")
		w.Attr("to", "romeo@sip.example.org")
		w.Attr("id", "ktx72v49")
		w.Attr("type", "chat")
		w.AttrNS(Name{XMLNamespace, "lang"}, "en")
		w.Start(Name{"jabber:client", "body"})
		w.Text("Art thou not Romeo, and a Montague? I & you <3 sorts..")
		w.End()
		w.Start(Name{"http://jabber.org/protocol/chatstates", "active"})
		dst = w.Bytes()
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkAppendSelfContained(b *testing.B) {
	e, err := ParseElement([]byte(benchRich), benchScope(b), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		dst = e.AppendSelfContained(dst[:0])
	}
}

func TestBenchSizes(t *testing.T) {
	for want, s := range map[int]string{309: benchMessage, 437: benchPresence, 719: benchRich} {
		if len(s) != want {
			t.Errorf("stanza of %d octets has %d", want, len(s))
		}
	}
}
