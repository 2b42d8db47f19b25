package transaction

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// nowhere is a socket that takes everything.
type nowhere struct{}

func (nowhere) send([]byte, slack, netip.AddrPort, netip.Addr, *clientTx) error { return nil }
func (nowhere) sentBy() string                                                  { return "192.0.2.1:5060" }

func benchLayer(b *testing.B) *bubbleLayer {
	b.Helper()
	l, err := New(Config{Logger: zerolog.Nop(), SentBy: "192.0.2.1", Bounds: Bounds{ServerTransactions: 1 << 30}})
	if err != nil {
		b.Fatal(err)
	}
	l.started = true
	l.begin(answerOK)
	bl := &bubbleLayer{Layer: l, origin: origin{udp: nowhere{}, remote: theirs, local: ours}}
	b.Cleanup(bl.stop)
	return bl
}

// BenchmarkServer is a request from its octets to the octets of its response, without system calls. B/kept is what one answered
// transaction holds until Timer J.
func BenchmarkServer(b *testing.B) {
	l := benchLayer(b)
	raw := inRequest("MESSAGE", "z9hG4bK000000000000000", "call", "")
	at := bytes.Index(raw, []byte("z9hG4bK")) + len("z9hG4bK")
	call := bytes.Index(raw, []byte("Call-ID: ")) + len("Call-ID: ")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	cpu := cpuTime(b)
	n := 0
	for b.Loop() {
		m := bytes.Clone(raw)
		copy(m[at:], fmt.Appendf(nil, "%015d", n))
		copy(m[call:], fmt.Appendf(nil, "%04x", n&0xFFFF))
		n++
		l.receive(m, l.origin)
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(n), "cpu-ns/op")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(l.servers.count.Load()), "B/kept")
}

// BenchmarkIdleConnections reports the heap and stack of one connection that a peer opened, used once, and left; the peer's own end, a
// bare net.Conn, is counted with it.
func BenchmarkIdleConnections(b *testing.B) {
	server := startLayer(b, answerOK, func(c *Config) { c.Bounds.ConnectionsPerAddress = 1 << 20 })
	address := targetOf(b, server, resolver.TCP).Addr().String()
	const n = 500
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		peers := make([]net.Conn, n)
		for i := range peers {
			nc, err := net.Dial("tcp", address)
			if err != nil {
				b.Fatal(err)
			}
			peers[i] = nc
			if _, err := io.WriteString(nc, tcpRequest(i)); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(nc, make([]byte, 100)); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/n, "B/connection")
		for _, nc := range peers {
			nc.Close() //nolint:errcheck // a benchmark
		}
	}
}

// heapNow is what the heap holds.
func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
