package sip

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// BenchmarkNotifyOut is NotifyOp to the octets of a NOTIFY, whole and as a diff.
func BenchmarkNotifyOut(b *testing.B) {
	doc, err := pidf.Parse([]byte(documentText("juliet@example.com", "open")))
	if err != nil {
		b.Fatal(err)
	}
	via := wire.ViaSpec{Transport: "UDP", SentBy: "gw.example.com:5060", Branch: "z9hG4bK776sgdkse"}
	buf := make([]byte, 0, 4096)
	b.Run("whole", func(b *testing.B) {
		d := romeoWatchesJuliet()
		op := &adapters.NotifyOp{State: adapters.WatchActive, Presence: doc}
		b.ReportAllocs()
		for b.Loop() {
			d.LocalCSeq = 1
			req, err := WriteNotify(d, op, now)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := wire.AppendRequest(buf, req, via); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("diff", func(b *testing.B) {
		d := romeoWatchesJuliet()
		d.Partial = true
		n := &notifying{d: *d}
		b.ReportAllocs()
		for b.Loop() {
			n.d.LocalCSeq = 1
			whole, err := bodyOf(doc)
			if err != nil {
				b.Fatal(err)
			}
			part, err := n.form(whole)
			if err != nil {
				b.Fatal(err)
			}
			req, err := writeNotify(&n.d, watchState{state: adapters.WatchActive, expires: time.Minute}, part)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := wire.AppendRequest(buf, req, via); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkNotifyIn is the octets of a NOTIFY to NotifyOp.
func BenchmarkNotifyIn(b *testing.B) {
	raw := request(b, rfc8048Example20).Raw()
	id := adapters.WatchID{Watcher: pres("juliet@example.com"), Presentity: pres("romeo@example.net")}
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		m, err := wire.Parse(raw, wire.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		if _, ref := ReadNotify(m, id, ReadOptions{Now: now}); ref != nil {
			b.Fatal(ref)
		}
	}
}

// publishOctets is a PUBLISH of Romeo for itself.
func publishOctets(tb testing.TB) []byte {
	tb.Helper()
	text := publishAs(1, "600", "", documentText("romeo@example.net", "open"))
	text = strings.Replace(text, "\nMax-Forwards", "\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK776sgdkse\nMax-Forwards", 1)
	return request(tb, text).Raw()
}

// BenchmarkPublishIn is the octets of a PUBLISH to a publication that one watcher is told of.
func BenchmarkPublishIn(b *testing.B) {
	raw := publishOctets(b)
	a, err := New(Config{
		Listeners: []transaction.Listener{{Transport: resolver.UDP, Address: "127.0.0.1:0"}}, Peers: []Peer{loopback}, Logger: zerolog.Nop(),
		Published: []Published{{Domain: "example.net", Everyone: true}},
	})
	if err != nil {
		b.Fatal(err)
	}
	a.handler = echo{}
	a.compositor.watch(&adapters.WatchOp{Verb: adapters.WatchOpen, Watch: julietsWatch})
	etag := ""
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		m, err := wire.Parse(raw, wire.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		x, ref := readPublish(m, ReadOptions{Now: now}, a.limits(), a.compositor.serves)
		if ref != nil {
			b.Fatal(ref)
		}
		x.etag = etag // each but the first modifies the one before
		done, ref := a.compositor.apply(x)
		if ref != nil {
			b.Fatal(ref)
		}
		etag = done.etag
		a.compositor.tell()
	}
	a.compositor.stop()
}

// FuzzReadPublish: what is taken is for a user of a published domain by that user, about that user, and within the bounds.
func FuzzReadPublish(f *testing.F) {
	f.Add(publishOctets(f))
	f.Add([]byte(strings.Replace(string(publishOctets(f)), "Event:", "SIP-If-Match: x\r\nEvent:", 1)))
	f.Add([]byte(strings.Replace(string(publishOctets(f)), "Expires: 600", "Expires: 0", 1)))
	f.Add([]byte(strings.ReplaceAll(string(publishOctets(f)), "romeo@", "tybalt@")))
	lim := Limits{}
	if err := lim.setDefaults(); err != nil {
		f.Fatal(err)
	}
	serves := func(domain string) bool { return domain == "example.net" }
	f.Fuzz(func(t *testing.T, octets []byte) {
		m, err := wire.Parse(octets, wire.Limits{})
		if err != nil || !m.IsRequest() {
			return
		}
		x, ref := readPublish(m, ReadOptions{Now: now}, &lim, serves)
		if ref != nil {
			if ref.Code < 400 || ref.Code > 699 {
				t.Errorf("refused with %d", ref.Code)
			}
			return
		}
		if x.presentity.Domain() != "example.net" || x.expires > lim.MaxExpires || x.expires > 0 && x.expires < lim.MinExpires || x.etag != "" && !isToken(x.etag) {
			t.Errorf("%+v", x)
		}
		if x.doc == nil {
			return
		}
		if len(m.Body()) > maxPublished {
			t.Errorf("%d octets were taken", len(m.Body()))
		}
		if ref := checkEntity(x.doc, x.presentity, ReadOptions{}); ref != nil {
			t.Errorf("a document about somebody else was taken: %s", m.Body())
		}
	})
}
