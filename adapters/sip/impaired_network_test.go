package sip

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// impairment is what a network does to datagrams, each way. Shares are of 1.
type impairment struct {
	loss, duplicate, reorder float64
	delay, jitter            time.Duration
	mtu                      int // larger datagrams would be fragments, of which one is lost; 0 for none
}

// impaired is a network between a client and a server: UDP as the impairment says, TCP as it comes.
type impaired struct {
	impairment
	in     *net.UDPConn
	server netip.AddrPort
	mu     sync.Mutex
	rand   *rand.Rand
	flows  map[netip.AddrPort]*net.UDPConn
	dials  int
}

// between starts a network in front of server's UDP and TCP, which have to be on one port. The seed decides what happens to which datagram.
func between(t *testing.T, server netip.AddrPort, how impairment, seed uint64) *impaired {
	t.Helper()
	n := &impaired{impairment: how, server: server, rand: rand.New(rand.NewPCG(seed, seed)), flows: map[netip.AddrPort]*net.UDPConn{}}
	var ln net.Listener
	for range 20 { // the same port for both
		var err error
		if n.in, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			t.Fatal(err)
		}
		if ln, err = net.Listen("tcp4", n.in.LocalAddr().String()); err == nil {
			break
		}
		n.in.Close() //nolint:errcheck // another try
	}
	if ln == nil {
		t.Fatal("no port that is free for both")
	}
	t.Cleanup(func() {
		ln.Close()   //nolint:errcheck // a test
		n.in.Close() //nolint:errcheck // a test
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, u := range n.flows {
			u.Close() //nolint:errcheck // a test
		}
	})
	go func() {
		b := make([]byte, 65535)
		for {
			size, from, err := n.in.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			out := n.flow(from)
			if out == nil {
				return
			}
			n.carry(append([]byte(nil), b[:size]...), func(b []byte) { out.WriteToUDPAddrPort(b, n.server) }) //nolint:errcheck // lost
		}
	}()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			n.mu.Lock()
			n.dials++
			n.mu.Unlock()
			go func() {
				out, err := net.Dial("tcp", n.server.String())
				if err != nil {
					nc.Close() //nolint:errcheck // a test
					return
				}
				go func() {
					io.Copy(nc, out) //nolint:errcheck // it ends with the connection
					nc.Close()       //nolint:errcheck // a test
				}()
				io.Copy(out, nc) //nolint:errcheck // it ends with the connection
				out.Close()      //nolint:errcheck // a test
			}()
		}
	}()
	return n
}

func (n *impaired) addr() netip.AddrPort { return netip.MustParseAddrPort(n.in.LocalAddr().String()) }

// flow is the socket that stands for a client before the server.
func (n *impaired) flow(client netip.AddrPort) *net.UDPConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if u := n.flows[client]; u != nil {
		return u
	}
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil
	}
	n.flows[client] = u
	go func() {
		b := make([]byte, 65535)
		for {
			size, _, err := u.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			n.carry(append([]byte(nil), b[:size]...), func(b []byte) { n.in.WriteToUDPAddrPort(b, client) }) //nolint:errcheck // lost
		}
	}()
	return u
}

// carry does to one datagram what the network does.
func (n *impaired) carry(b []byte, deliver func([]byte)) {
	n.mu.Lock()
	copies := 1
	if n.rand.Float64() < n.duplicate {
		copies = 2
	}
	var after []time.Duration
	for range copies {
		if n.rand.Float64() < n.loss {
			continue
		}
		d := n.delay + time.Duration(float64(n.jitter)*(2*n.rand.Float64()-1))
		if n.rand.Float64() < n.reorder {
			d += 30 * time.Millisecond
		}
		after = append(after, d)
	}
	n.mu.Unlock()
	if n.mtu > 0 && len(b)+28 > n.mtu {
		return
	}
	for _, d := range after {
		if d <= 0 {
			deliver(b)
			continue
		}
		time.AfterFunc(d, func() { deliver(b) })
	}
}

// counting is a core that takes every message and counts it by its body.
type counting struct {
	echo
	mu  sync.Mutex
	got map[string]int
}

func (c *counting) Message(_ context.Context, op *adapters.MessageOp, respond func(adapters.Status)) {
	c.mu.Lock()
	c.got[string(op.Content.Octets)]++
	c.mu.Unlock()
	respond(adapters.Succeeded())
}

// samePort opens an adapter with UDP and TCP on one port.
func samePort(t *testing.T, h adapters.Handler, peer Peer) *Adapter {
	t.Helper()
	for try := 0; ; try++ {
		u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		address := u.LocalAddr().String()
		u.Close() //nolint:errcheck // its port is what counts
		a, err := New(Config{
			Listeners: []transaction.Listener{{Transport: resolver.UDP, Address: address}, {Transport: resolver.TCP, Address: address}},
			Peers:     []Peer{peer}, Logger: zerolog.Nop(), T1: 60 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err = a.Start(t.Context(), h); err != nil {
			if try < 20 {
				continue
			}
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Shutdown(t.Context()) }) //nolint:errcheck // cut off on purpose
		return a
	}
}

// T-FI-13, I2: whatever the network loses, doubles, delays and puts out of order, no message is delivered twice, one that was called
// delivered was, and one of which it was said that it was not was not. The times are 3/25 of real ones,
// as T1 is: with shorter ones a machine that runs nothing for three seconds would be a network that loses everything.
func TestImpairedNetwork_T_FI_13(t *testing.T) {
	for _, v := range []struct {
		name string
		how  impairment
	}{
		{"loss 1 %", impairment{loss: 0.01}},
		{"loss 5 %, duplicates 5 %", impairment{loss: 0.05, duplicate: 0.05}},
		{"loss 20 %", impairment{loss: 0.20}},
		{"loss 5 %, duplicates 5 %, out of order 10 %, delay 200 ms +-100", impairment{
			loss: 0.05, duplicate: 0.05, reorder: 0.10, delay: 24 * time.Millisecond, jitter: 12 * time.Millisecond,
		}},
		{"loss 60 %: not all can get through", impairment{loss: 0.60}},
	} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s, seed %d", v.name, seed), func(t *testing.T) {
				t.Parallel()
				peer := loopback
				peer.Domains = []string{"example.net", "example.com"}
				far := &counting{got: map[string]int{}}
				b := samePort(t, far, peer)
				a := samePort(t, echo{}, peer)
				network := between(t, b.Addrs()[0].Address, v.how, seed)
				hops := []resolver.Target{resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: network.addr()})}
				const lanes, each = 12, 5
				outcomes := map[string]adapters.Status{}
				var mu sync.Mutex
				var calls sync.WaitGroup
				for lane := range lanes {
					calls.Go(func() {
						for i := range each {
							body := fmt.Sprintf("%d of %d", i, lane)
							s := a.Message(context.Background(), hops, outgoing(func(op *adapters.MessageOp) {
								op.To.Address = im(fmt.Sprintf("romeo%d@example.net", lane))
								op.Content.Octets = []byte(body)
							}))
							mu.Lock()
							outcomes[body] = s
							mu.Unlock()
						}
					})
				}
				calls.Wait()
				far.mu.Lock()
				defer far.mu.Unlock()
				succeeded := 0
				for body, s := range outcomes {
					n := far.got[body]
					switch {
					case n > 1:
						t.Errorf("seed %d: %q was delivered %d times", seed, body, n)
					case s.Outcome == adapters.Success:
						if succeeded++; n != 1 {
							t.Errorf("seed %d: %q was called delivered", seed, body)
						}
					case s.Reason != adapters.ReasonOutcomeUnknown && n != 0:
						t.Errorf("seed %d: %q was delivered and called %+v", seed, body, s)
					}
				}
				if len(outcomes) != lanes*each || v.how.loss <= 0.2 && succeeded < lanes*each-1 {
					t.Errorf("seed %d: %d of %d succeeded", seed, succeeded, len(outcomes))
				}
			})
		}
	}
}

// T-FI-14: where large datagrams do not arrive, a message over 1300 octets goes over a stream if the peer takes it, and is refused as too
// large if not; never over UDP (RFC 3428 §8). One that is small enough for UDP and too large for the network has an unknown outcome.
func TestSmallMTU_T_FI_14(t *testing.T) {
	for _, v := range []struct {
		name  string
		large bool
		size  int
		want  adapters.Reason // ReasonNone: delivered
		dials int
	}{
		{"small", false, 20, adapters.ReasonNone, 0},
		{"over 1300, to a peer that takes it", true, 2000, adapters.ReasonNone, 1},
		{"over 1300", false, 2000, adapters.ReasonTooLarge, 0},
		{"under 1300 and over the MTU", false, 700, adapters.ReasonOutcomeUnknown, 0},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			peer := loopback
			peer.Domains, peer.LargeMessages = []string{"example.net", "example.com"}, v.large
			far := &counting{got: map[string]int{}}
			b := samePort(t, far, peer)
			a := samePort(t, echo{}, peer)
			network := between(t, b.Addrs()[0].Address, impairment{mtu: 576}, 1)
			hops := []resolver.Target{resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: network.addr()})}
			body := strings.Repeat("x", v.size)
			s := a.Message(t.Context(), hops, outgoing(func(op *adapters.MessageOp) { op.Content.Octets = []byte(body) }))
			delivered := 0
			if v.want == adapters.ReasonNone {
				delivered = 1
			}
			far.mu.Lock()
			defer far.mu.Unlock()
			network.mu.Lock()
			defer network.mu.Unlock()
			if s.Reason != v.want || far.got[body] != delivered || network.dials != v.dials {
				t.Errorf("%+v, delivered %d times, %d connections", s, far.got[body], network.dials)
			}
		})
	}
}
