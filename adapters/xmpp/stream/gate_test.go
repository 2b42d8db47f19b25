package stream_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// TestGateTOV05: so many strangers in all, and so many from one address; of IPv6 from one network of 64 bits.
func TestGateTOV05(t *testing.T) {
	g := stream.NewGate(stream.GateLimits{Connections: 5, PerAddress: 2})
	enter := func(addr string, want bool) *stream.Pass {
		t.Helper()
		p, ok := g.Enter(netip.MustParseAddr(addr), nil)
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

// TestGateEvictsTOV05: a gate that is full lets the next one in at the cost of the one that has been there longest, not of its neighbours;
// but no address gets more than its share so.
func TestGateEvictsTOV05(t *testing.T) {
	g := stream.NewGate(stream.GateLimits{Connections: 3, PerAddress: 2})
	var gone []string
	enter := func(addr string, want bool) *stream.Pass {
		t.Helper()
		p, ok := g.Enter(netip.MustParseAddr(addr), func() { gone = append(gone, addr) })
		if ok != want {
			t.Fatalf("%s: entered %v, want %v", addr, ok, want)
		}
		return p
	}
	a := enter("192.0.2.1", true)
	b := enter("192.0.2.2", true)
	enter("192.0.2.3", true)
	b.Leave() // authenticated: its stream is not touched any more
	enter("192.0.2.3", true)
	enter("192.0.2.3", false)
	if len(gone) != 0 {
		t.Fatalf("%v had to go without need", gone)
	}
	enter("192.0.2.4", true)
	a.Leave() // it has gone already, and counts once
	enter("192.0.2.5", true)
	if want := []string{"192.0.2.1", "192.0.2.3"}; !slices.Equal(gone, want) || g.Inside() != 3 {
		t.Fatalf("%v had to go, want %v; %d are inside", gone, want, g.Inside())
	}
}
