// Package porttest hands out ports of loopback to tests: ports that stay free until a server which has to be told its number in advance
// takes them, and ports at which nobody answers. A port that the kernel chose (":0") and that was closed again is neither: any socket of
// any process of the machine may get it a moment later, and `go test ./...` runs many processes.
package porttest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
)

// step is from one port that is handed out to the next: the two above each belong to it, because some programs take the next one too
// (baresip, for TLS).
const step = 3

// next counts the ports of this process. It begins anywhere, and each port has its turn before any is handed out again, so that what is
// left of a server's connections is seldom in the way of the next one's.
var next = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(rand.Uint32N(1 << 20))
	return n
}()

// Free returns n ports, each free on 127.0.0.1 for UDP and TCP, which neither the kernel nor Free, in this process or another one of
// this package, gives to somebody else before the test ends.
func Free(t testing.TB, n int) []int {
	t.Helper()
	first, count := places(localRange())
	free := make([]int, 0, n)
	for range 2 * count {
		if len(free) == n {
			break
		}
		port := first + step*int(next.Add(1)%uint32(count))
		if held, err := lock(port); err == nil {
			if bindable(port) {
				t.Cleanup(func() { held.Close() }) //nolint:errcheck // it ends with the process at the latest
				free = append(free, port)
				continue
			}
			held.Close() //nolint:errcheck // as above
		}
	}
	if len(free) < n {
		t.Fatalf("there are no %d free ports of %d", n, count)
	}
	return free
}

// Address is 127.0.0.1 with a port of Free's.
func Address(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", Free(t, 1)[0])
}

// Refused is an address of loopback that refuses connections and datagrams until the test ends: sockets hold the port which take none.
func Refused(t testing.TB) netip.AddrPort {
	t.Helper()
	// A connection of a server that was there may be remembered (TIME-WAIT), which keeps nobody from listening, but from this.
	err := error(syscall.EADDRINUSE)
	for tries := 0; tries < 1000 && errors.Is(err, syscall.EADDRINUSE); tries++ {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(Free(t, 1)[0]))
		if err = refuse(t, at); err == nil {
			return at
		}
	}
	t.Fatal(err)
	return netip.AddrPort{}
}

// refuse holds a port. A socket that is connected to somebody takes nothing of others: the kernel answers these with ICMP's port
// unreachable, or with a reset.
func refuse(t testing.TB, at netip.AddrPort) error {
	held := func(c io.Closer) { t.Cleanup(func() { c.Close() }) } //nolint:errcheck // a test
	somebody, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	held(somebody)
	stream, err := net.DialTCP("tcp4", net.TCPAddrFromAddrPort(at), somebody.Addr().(*net.TCPAddr))
	if err != nil {
		return err
	}
	held(stream)
	packets, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(at), net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	held(packets)
	return nil
}

// localRange are the first and the last port that the kernel gives to sockets which ask for none.
func localRange() (low, high int) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		if _, err = fmt.Sscan(string(text), &low, &high); err == nil {
			return low, high
		}
	}
	return 32768, 60999 // Linux's default; that of others begins higher
}

// places are the first of the ports that are handed out and how many there are, below what the kernel gives away or above it. Where it
// gives nearly all away they are ports that are taken seldom.
func places(low, high int) (first, count int) {
	const lowest, enough = 12000, 3000
	switch {
	case low-lowest >= enough:
		return lowest, (low - lowest) / step
	case 1<<16-1-high >= enough:
		return high + 1, (1<<16 - 1 - high) / step
	}
	return lowest, (32768 - lowest) / step
}

var errTaken = errors.New("somebody else has the port")

// lock keeps a port from others that lock it. It is a name that one socket of the network namespace has at a time, whose process need
// not end well, and which takes no port; only Linux has such names.
func lock(port int) (io.Closer, error) {
	if runtime.GOOS != "linux" {
		return io.NopCloser(nil), nil
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("@isthmus-porttest-%d", port)})
	if err != nil {
		return nil, errTaken
	}
	return l, nil
}

// bindable tells whether nobody has a port.
func bindable(port int) bool {
	at := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp4", at)
	if err != nil {
		return false
	}
	defer l.Close() //nolint:errcheck // nothing came in
	p, err := net.ListenPacket("udp4", at)
	if err != nil {
		return false
	}
	return p.Close() == nil
}
