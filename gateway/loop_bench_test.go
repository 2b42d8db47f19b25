package gateway

import (
	"strconv"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

func benchOp() *adapters.MessageOp {
	return &adapters.MessageOp{
		From: adapters.Party{Address: cpim.MustParseAddress("im:juliet@example.com")}, To: adapters.Party{Address: cpim.MustParseAddress("im:romeo@example.net")},
		Thread: "e0ffe42b28561960c6b12b944a092794b9683a38", OriginID: "de305d54-75b4-431b-adb2-eb6b9e546013",
		Content: adapters.Content{Type: "text/plain;charset=UTF-8", Octets: []byte("Art thou not Romeo, and a Montague?")},
	}
}

// BenchmarkDuplicates is what a message with an origin-id costs more than one without: to look for it and to note its answer.
func BenchmarkDuplicates(b *testing.B) {
	u := newDuplicates(200_000, 24*time.Hour)
	d := &delivery{from: &side{name: "xmpp"}, op: benchOp()}
	ids := make([]string, 4096)
	for i := range ids {
		ids[i] = "de305d54-75b4-431b-adb2-" + strconv.Itoa(1e11+i)
	}
	now := time.Now()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		d.op.OriginID = ids[n%len(ids)]
		n++
		u.begin(now, d)
		u.settle(now, d, adapters.Succeeded())
	}
}

// BenchmarkTrace is what a trace costs each message.
func BenchmarkTrace(b *testing.B) {
	t, op := tracer{newTraceName()}, benchOp()
	b.ReportAllocs()
	for b.Loop() {
		op.Trace = nil
		if !t.pass(op, new([1]string)) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkOften is what repeats and the brake cost each message.
func BenchmarkOften(b *testing.B) {
	p, k, op := newRepeats(3), newBrake(1e9, 1e9), benchOp()
	ids := make([]string, 1<<18)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	now := time.Now()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		op.OriginID = ids[n%len(ids)]
		n++
		p.allow(now, op)
		k.allow(now, op.From.Address, op.To.Address)
	}
}
