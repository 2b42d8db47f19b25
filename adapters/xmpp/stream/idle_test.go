package stream_test

import (
	"runtime"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

// BenchmarkIdle reports what an open stream costs on which nobody says anything: both of its ends, which are in this process, each with
// the goroutine that waits in Next; half of it is one end. Sockets' buffers are the kernel's and not counted.
func BenchmarkIdle(b *testing.B) {
	for _, c := range []struct {
		name string
		set  func(*stream.Outgoing, *stream.Incoming)
	}{
		{"plain", func(o *stream.Outgoing, in *stream.Incoming) {
			o.TLS, o.Cleartext, o.Dialback, in.Cleartext, in.Dialback = nil, true, true, true, true
		}},
		{"tls", func(*stream.Outgoing, *stream.Incoming) {}},
	} {
		b.Run(c.name, func(b *testing.B) {
			const streams = 200
			o, in := outgoing(b), incoming(b)
			c.set(&o, &in)
			before := heap()
			kept := make([][2]*stream.Conn, 0, streams)
			for range streams {
				r := join(b, o, in)
				if r.outErr != nil || r.inErr != nil {
					b.Fatal(r.outErr, r.inErr)
				}
				if !r.claim.Authenticated {
					r.in.Next()
					r.in.Established()
				}
				for _, s := range []*stream.Conn{r.out, r.in} {
					go s.Next()
				}
				kept = append(kept, [2]*stream.Conn{r.out, r.in})
			}
			runtime.GC() // and crypto/tls's pools
			held := heap() - before
			for b.Loop() {
			}
			b.ReportMetric(float64(held)/(2*streams), "B/stream")
			for _, p := range kept {
				p[0].Close(0)
				p[1].Close(0)
			}
		})
	}
}
