package sip

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

func benchRequest(b *testing.B) []byte {
	b.Helper()
	return request(b, rfc7572Example4).Raw()
}

// BenchmarkReadMessage is octets of a MESSAGE to MessageOp.
func BenchmarkReadMessage(b *testing.B) {
	raw := benchRequest(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		m, err := wire.Parse(raw, wire.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		if _, ref := ReadMessage(m, ReadOptions{Now: now}); ref != nil {
			b.Fatal(ref)
		}
	}
}

// BenchmarkTranslateIn is the same without the parser.
func BenchmarkTranslateIn(b *testing.B) {
	m := request(b, rfc7572Example4)
	b.ReportAllocs()
	for b.Loop() {
		if _, ref := ReadMessage(m, ReadOptions{Now: now}); ref != nil {
			b.Fatal(ref)
		}
	}
}

// BenchmarkWriteMessage is MessageOp to the octets of a MESSAGE.
func BenchmarkWriteMessage(b *testing.B) {
	op := outgoing(nil)
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		req, err := WriteMessage(op, WriteOptions{FromTag: "1928301774", CSeq: 1, Now: now})
		if err != nil {
			b.Fatal(err)
		}
		if _, err = wire.AppendRequest(buf, req, wire.ViaSpec{Transport: "UDP", SentBy: "gw.example.com:5060", Branch: "z9hG4bK776sgdkse"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTranslateOut is the same without the writer.
func BenchmarkTranslateOut(b *testing.B) {
	op := outgoing(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := WriteMessage(op, WriteOptions{FromTag: "1928301774", CSeq: 1, Now: now}); err != nil {
			b.Fatal(err)
		}
	}
}

// echo answers every message with a success.
type echo struct{}

func (echo) Message(_ context.Context, _ *adapters.MessageOp, respond func(adapters.Status)) {
	respond(adapters.Succeeded())
}
func (echo) Watch(context.Context, *adapters.WatchOp, func(adapters.WatchStatus)) {}
func (echo) Notify(context.Context, *adapters.NotifyOp)                           {}
func (echo) Report(context.Context, *adapters.Report)                             {}

// BenchmarkRoundTrip is MessageOp, MESSAGE, MessageOp, 200 and Status between two adapters over loopback: both ends' work, transactions
// included.
func BenchmarkRoundTrip(b *testing.B) {
	for _, transport := range []resolver.Transport{resolver.UDP, resolver.TCP} {
		b.Run(transport.String(), func(b *testing.B) {
			var pair [2]*Adapter
			for i := range pair {
				peer := loopback
				peer.Domains = []string{"example.net", "example.com"}
				a, err := New(Config{
					Listeners: []transaction.Listener{{Transport: transport, Address: "127.0.0.1:0"}},
					Peers:     []Peer{peer}, Logger: zerolog.Nop(),
				})
				if err != nil {
					b.Fatal(err)
				}
				if err := a.Start(context.Background(), echo{}); err != nil {
					b.Fatal(err)
				}
				defer func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					defer cancel()
					a.Shutdown(ctx)
				}()
				pair[i] = a
			}
			hops := []resolver.Target{resolver.MustTarget(resolver.TargetSpec{
				Protocol: resolver.SIP, Transport: transport, Addr: pair[1].Addrs()[0].Address,
			})}
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				op := outgoing(nil)
				for p.Next() {
					if s := pair[0].Message(context.Background(), hops, op); s.Outcome != adapters.Success {
						b.Error(s)
						return
					}
				}
			})
		})
	}
}
