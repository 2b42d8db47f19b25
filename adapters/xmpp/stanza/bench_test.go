package stanza_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

func componentScope(t testing.TB) *strictxml.Scope {
	t.Helper()
	s, ok := strictxml.NewScope(nil, "", stanza.SpaceComponent)
	if !ok {
		t.Fatal("scope")
	}
	return s
}

const benchStanza = `<message from='juliet@example.com/yn0cl4bnw0yr3vym' to='romeo@example.net' id='ktx72v49' type='chat' xml:lang='en'>` +
	`<subject>I implore you!</subject><body>Art thou not Romeo, and a Montague?</body><thread>e0ffe42b28561960c6b12b944a092794b9683a38</thread>` +
	`<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/></message>`

// benchLong is what a client of today sends: 700 octets.
const benchLong = `<message from='juliet@example.com/yn0cl4bnw0yr3vym' to='romeo@example.net' id='de305d54-75b4-431b-adb2-eb6b9e546013' type='chat' xml:lang='en'>` +
	`<body>O Romeo, Romeo! wherefore art thou Romeo? Deny thy father and refuse thy name; or, if thou wilt not, be but sworn my love, and I'll no longer be a Capulet.</body>` +
	`<thread>e0ffe42b28561960c6b12b944a092794b9683a38</thread><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>` +
	`<markable xmlns='urn:xmpp:chat-markers:0'/><origin-id xmlns='urn:xmpp:sid:0' id='de305d54-75b4-431b-adb2-eb6b9e546013'/></message>`

// BenchmarkMessageIn is stanza in -> MessageOp; the mark is 2.5 µs and 8 allocations for each.
func BenchmarkMessageIn(b *testing.B) {
	b.Run("short", func(b *testing.B) { benchmarkIn(b, benchStanza) })
	b.Run("long", func(b *testing.B) { benchmarkIn(b, benchLong) })
}

func benchmarkIn(b *testing.B, stanzaText string) {
	r := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{})
	scope := componentScope(b)
	raw := []byte(stanzaText)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		s, err := r.Read(raw, scope)
		if err != nil {
			b.Fatal(err)
		}
		if op, e := stanza.ToMessage(s); op == nil || e != nil {
			b.Fatal(e)
		}
	}
}

// BenchmarkMessageOut is MessageOp -> stanza; the mark is 2.5 µs and 8 allocations for each but HTML, which is converted.
func BenchmarkMessageOut(b *testing.B) {
	op := adapters.MessageOp{
		From:     adapters.Party{Address: cpim.MustParseAddress("im:romeo@example.net"), Instance: "dr4hcr0st3lup4c"},
		To:       adapters.Party{Address: cpim.MustParseAddress("im:juliet@example.com")},
		Thread:   "9E97FB43-85F4-4A00-8751-1124FD4C7B2E",
		TransID:  "z9hG4bKeskdgs677",
		Subjects: []adapters.LangText{{Text: "O"}},
		Content:  adapters.Content{Type: "text/plain", Language: "en", Octets: []byte("Neither, fair saint, if either thee dislike.")},
		Wants:    adapters.WantDelivered,
	}
	b.Run("short", func(b *testing.B) { benchmarkOut(b, op) })
	op.Content.Octets = []byte("O Romeo, Romeo! wherefore art thou Romeo? Deny thy father and refuse thy name; or, if thou wilt not, be but sworn my love, and I'll no longer be a Capulet.")
	op.Wants, op.OriginID, op.SenderName = adapters.WantDelivered|adapters.WantDisplayed, "de305d54-75b4-431b-adb2-eb6b9e546013", "Romeo"
	b.Run("long", func(b *testing.B) { benchmarkOut(b, op) })
	op.Content = adapters.Content{Type: "text/html", Octets: []byte("<p>Neither, <b>fair saint</b>, if either thee dislike.</p>")}
	b.Run("html", func(b *testing.B) { benchmarkOut(b, op) })
}

func benchmarkOut(b *testing.B, op adapters.MessageOp) {
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = stanza.AppendMessage(buf[:0], &op, stanza.Envelope{State: adapters.ActivityActive, Nick: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(buf)), "octets")
}

// BenchmarkPresenceIn is presence in -> NotifyOp with its document.
func BenchmarkPresenceIn(b *testing.B) {
	r := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{})
	scope := componentScope(b)
	raw := []byte(`<presence from='juliet@example.com/yn0cl4bnw0yr3vym' to='romeo@example.net'><show>away</show><status>on the balcony</status><priority>5</priority></presence>`)
	b.ReportAllocs()
	for b.Loop() {
		s, err := r.Read(raw, scope)
		if err != nil {
			b.Fatal(err)
		}
		if op, e := stanza.ToNotify(s, s.Delay); op == nil || e != nil {
			b.Fatal(e)
		}
	}
}
