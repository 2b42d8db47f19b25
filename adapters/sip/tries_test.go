package sip

import (
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Who may write any source address, and gets what is sent to his own, has a challenge of ours and may answer it from the address of another: that
// must not use up the tries of the user who lives there.
func TestTriesOfAnotherAddress(t *testing.T) {
	a, c := start(t, provenPeer(nil))
	const target = "sip:juliet@example.com"
	victim := udpAgent(t, a)
	u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.7:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	elsewhere := &agent{t: t, udp: u, to: a.Addrs()[0].Address}
	his := challenges(t, elsewhere.ask(tagged(hello, "his")))[0]
	for n := range maxTries + 2 { // as from the victim's address
		victim.ask(authorized(t, tagged(hello, "w"+itoa(int64(n))), his, "romeo", "guess", target, uint32(n+1), "MESSAGE"))
	}
	if m := victim.ask(authorized(t, tagged(hello, "last"), his, "romeo", "guess", target, 99, "MESSAGE")); m.StatusCode() != 403 {
		t.Errorf("guesses with a challenge of another address are not counted: %d", m.StatusCode())
	}
	own := challenges(t, victim.ask(tagged(hello, "own")))[0]
	if m := victim.ask(authorized(t, tagged(hello, "right"), own, "romeo", "rosaline", target, 1, "MESSAGE")); m.StatusCode() != 202 {
		t.Errorf("the user himself: %d %s", m.StatusCode(), m.ReasonPhrase())
	} else {
		next(t, c.messages, "message")
	}
	c.quiet(t)
}

// An IPv6 site has a whole network of 2**64 addresses at least, and from all of them together as many tries as from one.
func TestTriesOfANetwork(t *testing.T) {
	x := newTries()
	now := time.Now()
	from := func(s string) string { return placeOf(netip.MustParseAddr(s)) }
	for n := range maxTries {
		x.fail("romeo", from("2001:db8:1:2::"+itoa(int64(n+1))), now)
	}
	if x.may("romeo", from("2001:db8:1:2:ffff::1"), now) {
		t.Error("each address of one IPv6 network has tries of its own")
	}
	for _, other := range []string{"2001:db8:1:3::1", "192.0.2.1"} {
		if !x.may("romeo", from(other), now) {
			t.Errorf("%s has no tries", other)
		}
	}
	for n := range maxTries {
		x.fail("romeo", from("192.0.2.1"), now.Add(time.Duration(n)))
	}
	if x.may("romeo", from("::ffff:192.0.2.1"), now) || !x.may("romeo", from("192.0.2.2"), now) {
		t.Error("an IPv4 address is itself")
	}
	if !strings.Contains(from("fe80::1%eth0"), "fe80::") {
		t.Error("a zone")
	}
}

// A stranger chooses the names that he tries: their length costs nothing, and more of them than fit into a table do not give anybody new tries soon.
func TestTriesOfManyNames(t *testing.T) {
	x := newTries()
	now := time.Now()
	for range maxTries {
		x.fail("romeo", "192.0.2.1", now)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range 59_000 {
		x.fail(strings.Repeat("x", 4096)+itoa(int64(n)), "192.0.2.2", now)
	}
	if after := heap(); after > before+16<<20 {
		t.Errorf("59,000 names take %d KiB", (after-before)>>10)
	}
	if x.may("romeo", "192.0.2.1", now) {
		t.Error("another's names gave new tries")
	}
	if !x.may("romeo", "192.0.2.1", now.Add(triesWindow)) {
		t.Error("the window does not end")
	}
}
