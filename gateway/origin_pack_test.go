package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

func TestPackedOriginIsWhatItWas(t *testing.T) {
	east := time.FixedZone("", 5*3600+1800)
	var g originGeneration
	type entry struct {
		f     originFixed
		texts [3]string
	}
	var entries []entry
	for i, sent := range []time.Time{
		time.Date(2026, 11, 22, 21, 0, 0, 123456789, time.UTC), time.Date(2026, 11, 22, 21, 0, 0, 1, east), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Now(),
	} {
		e := entry{
			originFixed{
				side: i, wants: adapters.WantDelivered | adapters.Dispositions(i), sent: sent, copyKey: originKey{uint64(i) << 60, 7}, record: recollected{byte(i), 16: 9},
				epoch: 1<<63 + uint64(i),
			},
			[3]string{strings.Repeat("d", i*i*i), strings.Repeat("ü", 70_000*(i%2)), "thread"},
		}
		entries = append(entries, e)
		g.put(originKey{uint64(i), 1}, e.f, e.texts[:]...)
	}
	for i, e := range entries {
		p := g.get(originKey{uint64(i), 1})
		if p == nil {
			t.Fatalf("entry %d is not there", i)
		}
		for _, what := range []byte{originEnded, originDisplayed, originDoubted} {
			if p.has(what) {
				t.Errorf("entry %d: %d is noted at the beginning", i, what)
			}
			p.note(what)
			if !g.get(originKey{uint64(i), 1}).has(what) {
				t.Errorf("entry %d: %d is not noted", i, what)
			}
		}
		o := p.open()
		if int(p[originAtSide]) != e.f.side || o.wants != e.f.wants || o.copyKey != e.f.copyKey || o.record != e.f.record || o.epoch != e.f.epoch {
			t.Errorf("entry %d: %+v, not %+v", i, o, e.f)
		}
		if o.sender.Instance != e.texts[0] || o.transID != e.texts[1] || o.thread != e.texts[2] {
			t.Errorf("entry %d has other texts", i)
		}
		if !o.sent.Equal(e.f.sent) || o.sent.Format(time.RFC3339Nano) != e.f.sent.Format(time.RFC3339Nano) {
			t.Errorf("entry %d was sent at %v, not %v", i, o.sent, e.f.sent)
		}
	}
	g.clear()
	if g.get(originKey{0, 1}) != nil || g.entries != 0 {
		t.Error("something is there after all was forgotten")
	}
	if g.get(originKey{9, 9}) != nil {
		t.Error("something is there that never was")
	}
}

// originOp is a message of one conversation.
func originOp(i int, id string) *adapters.MessageOp {
	return &adapters.MessageOp{
		From: adapters.Party{Address: cpim.MustParseAddress("im:a@example.net")}, To: adapters.Party{Address: cpim.MustParseAddress(fmt.Sprintf("im:b%d@example.com", i))},
		TransID: id,
	}
}

func TestOriginsAreBoundedInNumberAndOctets(t *testing.T) {
	from, to := &side{name: "sip"}, &side{name: "xmpp", index: 1}
	now := time.Now()
	report := func(op *adapters.MessageOp) *adapters.Report {
		return &adapters.Report{Kind: adapters.ReportFailed, TransID: op.TransID, Sender: op.From, Recipient: op.To}
	}
	for name, c := range map[string]struct{ limit, id int }{"number": {3200, 10}, "octets": {1 << 30, 60_000}} {
		t.Run(name, func(t *testing.T) {
			o := newOrigins([]*side{from, to}, c.limit, time.Hour)
			const n = 10_000
			long := strings.Repeat("i", c.id)
			for i := range n {
				o.remember(now, from, to, originOp(i, "m"), long, originKey{}, recollected{}, 0)
			}
			held, forgotten := o.count()
			if held+int(forgotten) != n || forgotten == 0 || held == 0 {
				t.Fatalf("%d are held and %d forgotten, of %d", held, forgotten, n)
			}
			for i := range o.shards {
				for _, g := range [...]*originGeneration{&o.shards[i].young, &o.shards[i].old} {
					if len(g.octets) > originOctets+c.id+1000 || g.entries > c.limit/2/originShards {
						t.Errorf("a generation of %d entries and %d octets", g.entries, len(g.octets))
					}
				}
			}
			last := originOp(n-1, "m")
			got, known := o.settle(now, to, report(last), 0)
			if got == nil || !known || got.side != from || got.transID != long || got.sender.Address != last.From.Address || got.recipient.Address != last.To.Address {
				t.Errorf("the newest: %v, %v", got, known)
			}
			if _, known := o.settle(now, to, report(originOp(0, "m")), 0); known {
				t.Error("the oldest is still there")
			}
			if again, known := o.settle(now, to, report(last), 0); again != nil || !known {
				t.Errorf("told twice: %v, %v", again, known)
			}
		})
	}
}

func BenchmarkOrigins(b *testing.B) {
	from, to := &side{name: "sip"}, &side{name: "xmpp", index: 1}
	o := newOrigins([]*side{from, to}, 100_000, time.Hour)
	now := time.Now()
	ops := make([]*adapters.MessageOp, 100)
	for i := range ops {
		ops[i] = originOp(i, "9E97FB43-85F4-4A00-8751-1124FD4C7B2E")
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		op := ops[n%len(ops)]
		op.TransID = string(append([]byte(nil), byte(n), byte(n>>8), byte(n>>16), byte(n>>24)))
		o.remember(now, from, to, op, "z9hG4bK776sgdkse", originKey{}, recollected{}, 0)
		n++
	}
}
