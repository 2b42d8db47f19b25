package integration_test

import (
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// What crosses in the benchmarks: RFC 7572 examples 4 and 1 with the headers that user agents add.
const (
	benchSIP = "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/TCP s2x.example.net;branch=z9hG4bKeskdgs677\r\n" +
		"Max-Forwards: 70\r\nTo: <sip:juliet@example.com>\r\nFrom: \"Romeo\" <sip:romeo@example.net;gr=dr4hcr0st3lup4c>;tag=vwxyz\r\n" +
		"Call-ID: 9E97FB43-85F4-4A00-8751-1124FD4C7B2E\r\nCSeq: 1 MESSAGE\r\nUser-Agent: orchard/1.0\r\n" +
		"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: 44\r\n\r\nNeither, fair saint, if either thee dislike."
	benchXMPP = `<message from='juliet@example.com/yn0cl4bnw0yr3vym' to='romeo@example.net' id='ktx72v49' type='chat' xml:lang='en'>` +
		`<body>Art thou not Romeo, and a Montague?</body><thread>e0ffe42b28561960c6b12b944a092794b9683a38</thread></message>`
	benchPresence = `<presence from='juliet@example.com/balcony' to='romeo@example.net'><show>away</show><status>at the balcony</status>` +
		`<priority>5</priority></presence>`
)

// BenchmarkSIPToXMPP is the whole translation: the octets of a MESSAGE to the octets of a stanza, over the canonical operation.
func BenchmarkSIPToXMPP(b *testing.B) {
	in, out := make([]byte, len(benchSIP)), make([]byte, 0, 2048)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		copy(in, benchSIP) // Parse takes its buffer over
		m, err := wire.Parse(in, wire.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		read, refusal := sip.ReadMessage(m, sip.ReadOptions{Now: now})
		if refusal != nil {
			b.Fatal(refusal)
		}
		if _, err := stanza.AppendMessage(out, read.Message, stanza.Envelope{Now: now}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkXMPPToSIP is the whole translation the other way.
func BenchmarkXMPPToSIP(b *testing.B) {
	reader := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{})
	scope := componentScope(b)
	raw, out := []byte(benchXMPP), make([]byte, 0, 2048)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		s, err := reader.Read(raw, scope)
		if err != nil {
			b.Fatal(err)
		}
		op, fault := stanza.ToMessage(s)
		if fault != nil {
			b.Fatal(fault)
		}
		req, err := sip.WriteMessage(op, sip.WriteOptions{FromTag: "1928301774", CSeq: 1, Now: now})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := wire.AppendRequest(out, req, wire.ViaSpec{
			Transport: "UDP", SentBy: "gw.example.com:5060", Branch: "z9hG4bK776sgdkse", RPort: true,
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPresenceToNotify is a presence stanza to the octets of a NOTIFY with PIDF.
func BenchmarkPresenceToNotify(b *testing.B) {
	reader := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{})
	scope := componentScope(b)
	raw, out := []byte(benchPresence), make([]byte, 0, 4096)
	watch := adapters.WatchID{
		Watcher: cpim.MustParseAddress("pres:romeo@example.net"), Presentity: cpim.MustParseAddress("pres:juliet@example.com"), Session: "d",
	}
	dialog, err := sip.NewWatch(watch, "sip:juliet@gw.example.com")
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		s, err := reader.Read(raw, scope)
		if err != nil {
			b.Fatal(err)
		}
		op, fault := stanza.ToNotify(s, now)
		if fault != nil {
			b.Fatal(fault)
		}
		op.State = adapters.WatchActive
		req, err := sip.WriteNotify(&dialog, op, now)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := wire.AppendRequest(out, req, wire.ViaSpec{Transport: "UDP", SentBy: "gw.example.com:5060", Branch: "z9hG4bK776sgdkse"}); err != nil {
			b.Fatal(err)
		}
	}
}

func componentScope(b *testing.B) *strictxml.Scope {
	b.Helper()
	s, ok := strictxml.NewScope(nil, "", stanza.SpaceComponent)
	if !ok {
		b.Fatal("scope")
	}
	return s
}
