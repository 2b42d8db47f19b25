package porttest

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// What is handed out is outside of what the kernel gives away, is handed out once, and can be listened on.
func TestFree(t *testing.T) {
	low, high := localRange()
	seen := map[int]bool{}
	for _, port := range append(Free(t, 200), Free(t, 200)...) {
		if seen[port] || port >= low && port <= high && high-low < 50000 {
			t.Errorf("port %d", port)
		}
		seen[port] = true
		if _, err := lock(port); !errors.Is(err, errTaken) {
			t.Errorf("another process would get %d too: %v", port, err)
		}
	}
	l, err := net.Listen("tcp4", Address(t))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// A port is handed out again when the test has ended, and not while somebody who did not ask has it.
func TestFreeAgain(t *testing.T) {
	var port int
	t.Run("one", func(t *testing.T) { port = Free(t, 1)[0] })
	held, err := lock(port)
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
	p, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if bindable(port) {
		t.Error("it is taken")
	}
}

func TestPlaces(t *testing.T) {
	for name, x := range map[string]struct{ low, high, first, count int }{
		"Linux":              {32768, 60999, 12000, 6922},
		"a larger range":     {14000, 65535, 12000, 6922},
		"a range of low":     {1024, 50000, 50001, 5178},
		"nearly all of them": {1024, 65535, 12000, 6922},
	} {
		first, count := places(x.low, x.high)
		if first != x.first || count != x.count || first+step*count > 1<<16 {
			t.Errorf("%s: %d %d", name, first, count)
		}
	}
}

// Nobody gets the port of an address that refuses, and who sends there or connects is told.
func TestRefused(t *testing.T) {
	at := Refused(t)
	if l, err := net.Listen("tcp4", at.String()); err == nil {
		l.Close()
		t.Error("somebody listens")
	}
	if p, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at)); err == nil {
		p.Close()
		t.Error("somebody takes datagrams")
	}
	for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
		local := netip.AddrPortFrom(netip.MustParseAddr(from), 0)
		c, err := net.DialTCP("tcp4", net.TCPAddrFromAddrPort(local), net.TCPAddrFromAddrPort(at))
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("from %s: connected: %v", from, err)
		}
		if err == nil {
			c.Close()
		}
		p, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(at))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := p.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		p.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("from %s: %v", from, err)
		}
	}
}

// What is remembered of a server's connections is in nobody's way.
func TestRefusedAfterAServer(t *testing.T) {
	port := Free(t, 1)[0]
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near.Close() // first, so that it is this side that remembers it
	far.Close()
	l.Close()
	if err := refuse(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v, after which no other port would be tried", err)
	}
	Refused(t)
}
