package transaction

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// outSocket is a listener that nobody reads and nobody writes from, so that what is sent waits in its outbox.
func outSocket(t testing.TB, address string) *udpSocket {
	t.Helper()
	l, err := New(Config{Logger: zerolog.Nop(), SentBy: "gw.example.net"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.listenUDP(context.Background(), netip.MustParseAddrPort(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// What waits goes out in order and whole, however much it is for one system call, from the address that is asked for; and closing the
// socket loses nothing of it.
func TestOutbox(t *testing.T) {
	for _, v := range []struct{ name, listen, from, to string }{
		{"IPv4", "127.0.0.1:0", "", "127.0.0.1:0"},
		{"IPv4 wildcard", "0.0.0.0:0", "127.0.0.3", "127.0.0.1:0"},
		{"IPv4 wildcard, any address", "0.0.0.0:0", "", "127.0.0.1:0"},
		{"IPv6", "[::1]:0", "", "[::1]:0"},
		{"IPv6 wildcard", "[::]:0", "::1", "[::1]:0"},
	} {
		t.Run(v.name, func(t *testing.T) {
			far, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(v.to)))
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			s := outSocket(t, v.listen)
			to := far.LocalAddr().(*net.UDPAddr).AddrPort()
			var from netip.Addr
			if v.from != "" {
				from = netip.MustParseAddr(v.from)
			}
			const n = datagrams*2 + 7
			for i := range n {
				if err := s.send(bytes.Repeat([]byte{byte(i)}, i+1), slack{}, to, from, nil); err != nil {
					t.Fatal(err)
				}
			}
			s.close()
			b := make([]byte, 1000)
			for i := range n {
				got, sender, err := far.ReadFromUDPAddrPort(b)
				if err != nil || got != i+1 || b[0] != byte(i) || b[got-1] != byte(i) {
					t.Fatalf("datagram %d: %d octets, %v", i, got, err)
				}
				if sender.Port() != s.local.Port() || v.from != "" && sender.Addr().Unmap() != from {
					t.Fatalf("datagram %d came from %s", i, sender)
				}
			}
		})
	}
}

// One datagram that cannot be written costs those around it nothing, and ends its own transaction.
func TestOutboxFaults(t *testing.T) {
	far, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	s := outSocket(t, "127.0.0.1:0")
	to := far.LocalAddr().(*net.UDPAddr).AddrPort()
	newTx := func(branch string) *clientTx {
		tx := &clientTx{layer: s.layer, branch: branch, result: make(chan ending, 1)}
		s.layer.wheel = newWheel(s.layer.cfg.T1)
		tx.timer.owner, tx.sends = tx, 1
		s.layer.clients.add(tx, 10)
		return tx
	}
	first, large, zoned := newTx("z9hG4bKa"), newTx("z9hG4bKb"), newTx("z9hG4bKc")
	for _, d := range []struct {
		octets string
		to     netip.AddrPort
		tx     *clientTx
	}{
		{"one", to, first},
		{strings.Repeat("x", maxDatagram+1), to, large},
		{"two", to, nil},
		{"zone", netip.MustParseAddrPort("[fe80::1%lo]:5060"), zoned}, // not of this socket's family
		{"three", to, nil},
	} {
		if err := s.send([]byte(d.octets), slack{}, d.to, netip.Addr{}, d.tx); err != nil {
			t.Fatal(err)
		}
	}
	s.flush()
	b := make([]byte, 100)
	for _, want := range []string{"one", "two", "three"} {
		if n, _, err := far.ReadFromUDPAddrPort(b); err != nil || string(b[:n]) != want {
			t.Errorf("%q %v, should be %q", b[:n], err, want)
		}
	}
	for _, tx := range []*clientTx{large, zoned} {
		if r := <-tx.result; !errors.Is(r.err, ErrTransport) || r.sent {
			t.Errorf("%s: %+v", tx.branch, r)
		}
	}
	if len(first.result) != 0 {
		t.Errorf("the first one ended with %+v", <-first.result)
	}
}

// An address where nobody listens is told by the system with the datagram behind it, in the middle of a batch: then errors are looked for, or the
// transaction would find out only when it sends again.
func TestOutboxLooksForErrors(t *testing.T) {
	far, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	s := outSocket(t, "127.0.0.1:0")
	for _, to := range []netip.AddrPort{porttest.Refused(t), far.LocalAddr().(*net.UDPAddr).AddrPort()} {
		if err := s.send([]byte("x"), slack{}, to, netip.Addr{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.flush()
	if _, _, err := far.ReadFromUDPAddrPort(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	select {
	case <-s.errors:
	default:
		t.Error("nobody looks for the error")
	}
}

// Transactions that begin while all are ended by a shutdown that waits no longer: each ends, and what was sent of it is known.
func TestTransactionsBeginAtTheEnd(t *testing.T) {
	s := outSocket(t, "127.0.0.1:0")
	l := s.layer
	l.wheel = newWheel(l.cfg.T1)
	target := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: netip.MustParseAddrPort("127.0.0.1:9")})
	stop := make(chan struct{})
	var ends sync.WaitGroup
	ends.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				l.clients.failAll(ErrClosed)
			}
		}
	})
	defer ends.Wait()
	defer close(stop)
	scratch := getBuffer()
	for range 10_000 {
		r := l.sent(t.Context(), s, target, testRequest("MESSAGE", "x"), scratch)
		if waiting := len(s.out.take(outgoing{}).list); !errors.Is(r.Err, ErrClosed) || r.Sent != (waiting > 0) {
			t.Fatalf("%v, sent %v, and %d datagrams wait", r.Err, r.Sent, waiting)
		}
	}
}

// When the outbox is full, who sends writes by himself.
func TestOutboxFull(t *testing.T) {
	far, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	s := outSocket(t, "127.0.0.1:0")
	s.out.waiting.octets = make([]byte, outboxRoom)
	to := far.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := s.send([]byte("now"), slack{}, to, netip.Addr{}, nil); err != nil || len(s.out.waiting.list) != 0 {
		t.Fatalf("%v, %d wait", err, len(s.out.waiting.list))
	}
	b := make([]byte, 100)
	if n, _, err := far.ReadFromUDPAddrPort(b); err != nil || string(b[:n]) != "now" {
		t.Errorf("%q %v", b[:n], err)
	}
}

// BenchmarkOutbox is one response from the transaction to the system, over the loopback interface.
func BenchmarkOutbox(b *testing.B) {
	far, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		b.Fatal(err)
	}
	defer far.Close()
	l, err := New(Config{Logger: zerolog.Nop(), Listeners: []Listener{{Transport: resolver.UDP, Address: "127.0.0.1:0"}}})
	if err != nil {
		b.Fatal(err)
	}
	s, err := l.listenUDP(context.Background(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	to, octets := far.LocalAddr().(*net.UDPAddr).AddrPort(), make([]byte, 350)
	for _, v := range []struct {
		name  string
		count int
	}{{"alone", 1}, {"64 together", 64}} {
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for range v.count {
					s.send(octets, slack{}, to, netip.Addr{}, nil) //nolint:errcheck // it goes to the outbox
				}
				s.flush()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*v.count), "ns/datagram")
		})
	}
}
