package stream_test

import (
	"net/netip"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// TestGateTOV05: so many strangers in all, and so many from one address; of IPv6 from one network of 64 bits.
func TestGateTOV05(t *testing.T) {
	g := stream.NewGate(stream.GateLimits{Connections: 5, PerAddress: 2})
	enter := func(addr string, want bool) *stream.Pass {
		t.Helper()
		p, ok := g.Enter(netip.MustParseAddr(addr))
		if ok != want {
			t.Fatalf("%s: entered %v, want %v", addr, ok, want)
		}
		return p
	}
	a := enter("192.0.2.1", true)
	enter("::ffff:192.0.2.1", true) // the same address
	enter("192.0.2.1", false)
	enter("192.0.2.2", true)
	enter("2001:db8::1", true)
	enter("2001:db8::2%eth0", true)
	enter("2001:db8::3", false) // the same network
	enter("2001:db8:0:1::3", false)
	if g.Inside() != 5 {
		t.Fatalf("%d inside", g.Inside())
	}
	a.Leave()
	a.Leave()
	if g.Inside() != 4 {
		t.Fatalf("%d inside after one has left twice", g.Inside())
	}
	enter("192.0.2.1", true)
	var none *stream.Pass
	none.Leave()
}
