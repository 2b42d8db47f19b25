package gateway

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// headOps are messages with odd contents, as the journal has them.
func headOps() []*adapters.MessageOp {
	var list []*adapters.MessageOp
	for _, text := range []string{"", "x", "a \"quoted\" \\ text", "<a href='x'>&amp;</a>", "\u2028\U0001F600 ümläut", "{[,]}:\"", "\x00\xff\r\n", "]}\",\"v\":2"} {
		for _, odd := range []string{"", text} {
			list = append(list, &adapters.MessageOp{
				ID: "op", Peer: adapters.Peer{Adapter: "sip", Name: odd}, From: adapters.Party{Address: cpim.MustParseAddress("im:romeo@example.net"), Instance: odd},
				To:   adapters.Party{Address: cpim.MustParseAddress("im:juliet%20c@example.com"), Instance: text},
				Kind: adapters.KindChat, Thread: odd, TransID: text, Content: adapters.Content{Type: "text/plain;charset=UTF-8", Language: odd, Octets: []byte(text)},
				Subjects: []adapters.LangText{{Text: "hello"}, {Lang: "de", Text: "hallo, [du]"}}, Alternatives: []adapters.LangText{{Lang: "fr", Text: text}},
				OriginID: odd, Copy: text, Hops: 3, Sent: time.Unix(1e9, 5), Trace: []string{text, "b"}, Object: []byte(odd),
				Links: []adapters.Link{{URL: "https://example.com/{}", Name: text, Size: 7}}, Wants: 3,
			})
		}
	}
	return append(list, &adapters.MessageOp{From: list[0].From, To: list[0].To, Content: adapters.Content{Type: "text/plain"}})
}

// sameHead tells whether two readings of a message agree in all that headOf reads.
func sameHead(a, b *adapters.MessageOp) bool {
	return a.Peer.Adapter == b.Peer.Adapter && a.From.Address == b.From.Address && a.To.Address == b.To.Address && a.Content.Type == b.Content.Type &&
		bytes.Equal(a.Content.Octets, b.Content.Octets) && a.OriginID == b.OriginID && a.Copy == b.Copy && slices.Equal(a.Subjects, b.Subjects)
}

func TestHeadOfAStoredMessage(t *testing.T) {
	quick := 0
	for i, op := range headOps() {
		octets, err := encodeMessage(op, "sip", op.TransID)
		if err != nil {
			t.Fatal(err)
		}
		_, whole, err := decodeMessage(octets)
		if err != nil {
			t.Fatal(err)
		}
		side, head, ok := headOf(octets)
		if !ok {
			continue
		}
		quick++
		if side != "sip" || !sameHead(head, whole) {
			t.Errorf("%d: %s\nhead  %+v\nwhole %+v", i, octets, head, whole)
		}
	}
	if quick < 10 {
		t.Errorf("%d messages are read quickly", quick)
	}
	octets, err := encodeMessage(headOps()[0], "sip", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{{`"v":1`, `"v":2`}, {`"v":1`, `"v":11`}, {`"v":1,`, ``}, {`"side"`, `"SIDE"`}, {`"hops":3`, `"hops":3,"new":1`}, {`"to":{`, `"to":{"x":1,`}, {`{"v"`, ` {"v"`}} {
		changed := bytes.Replace(octets, []byte(change[0]), []byte(change[1]), 1)
		if _, _, ok := headOf(changed); ok || bytes.Equal(changed, octets) {
			t.Errorf("with %s it is read as one of this version: %s", change[1], changed)
		}
	}
}

// FuzzHeadOf: whatever both readers take, they read alike.
func FuzzHeadOf(f *testing.F) {
	for _, op := range headOps() {
		octets, err := encodeMessage(op, "sip", op.TransID)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(octets)
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		side, head, ok := headOf(octets)
		m, whole, err := decodeMessage(octets)
		if ok && err == nil && (side != m.Side || !sameHead(head, whole)) {
			t.Errorf("head  %+v\nwhole %+v", head, whole)
		}
	})
}

func BenchmarkHeadOf(b *testing.B) {
	op := headOps()[0]
	op.Content.Octets = bytes.Repeat([]byte("x"), 200)
	octets, err := encodeMessage(op, "sip", "given")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("head", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, ok := headOf(octets); !ok {
				b.Fatal("not read")
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := decodeMessage(octets); err != nil {
				b.Fatal(err)
			}
		}
	})
}
