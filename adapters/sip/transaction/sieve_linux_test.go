package transaction

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// T-OV-02: the kernel drops exactly those requests of a loud address whose lot is not below the bound, and nothing else: no answer, no request that may
// belong to a dialog, nothing that is too short, nothing of anybody else. A copy, which is octet for octet the same (RFC 3261 §17.1.2.2), has the request's fate.
func TestT_OV_02_TheKernelDropsByLot(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			l, err := New(Config{Logger: zerolog.Nop(), SentBy: "gateway.test"})
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.listenUDP(t.Context(), netip.AddrPortFrom(netip.MustParseAddr(address), 0))
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			from, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.local))
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			v := newSieve(s)
			defer v.end()
			const bound = 1 << 31
			others := map[netip.Addr]uint32{netip.MustParseAddr(address): bound}
			for i := range byte(10) { // the one that counts stands somewhere among them
				a := netip.AddrFrom4([4]byte{192, 0, 2, i})
				if !s.local.Addr().Is4() {
					a = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: i})
				}
				others[a] = 0
			}
			if err := v.replace(others, true); err != nil {
				t.Fatal(err)
			}
			v.timer.Stop() // it stays, however slow the test is
			read := func() map[string]int {
				t.Helper()
				got := map[string]int{}
				room := make([]byte, 2000)
				for {
					s.pc.SetReadDeadline(time.Now().Add(40 * time.Second)) //nolint:errcheck // the read fails then
					n, err := s.pc.Read(room)
					if err != nil {
						t.Fatalf("after %d: %v", len(got), err)
					}
					if string(room[:n]) == "end" {
						return got
					}
					got[string(room[:n])]++
				}
			}
			r := rand.New(rand.NewPCG(1, 2))
			dropped := 0
			for range 16 { // in parts that fit into the socket's buffer
				var sent []string
				for i := range 50 {
					method := []string{"MESSAGE", "MESSAGE", "PUBLISH", "OPTIONS", "SIP/2.0 200", "NOTIFY", "SUBSCRIBE"}[i%7]
					sent = append(sent, fmt.Sprintf("%s %080x %s", method, r.Uint64(), strings.Repeat(".", r.IntN(600))))
				}
				for _, one := range slices.Concat(sent, sent, []string{"end"}) {
					if _, err := from.Write([]byte(one)); err != nil {
						t.Fatal(err)
					}
				}
				got := read()
				for _, one := range sent {
					drop := sifted([]byte(one)) && l.lots.of([]byte(one)) >= bound
					if drop {
						dropped++
					}
					if want := map[bool]int{false: 2}[drop]; got[one] != want {
						t.Errorf("%d octets, %.7s: received %d times, lot %x", len(one), one, got[one], l.lots.of([]byte(one)))
					}
				}
			}
			if dropped < 100 {
				t.Errorf("%d of 800 were to be dropped", dropped)
			}
			// Nobody is loud any more.
			if err := v.replace(nil, false); err != nil {
				t.Fatal(err)
			}
			for i := range 50 {
				fmt.Fprintf(from, "MESSAGE %d %s", i, strings.Repeat(".", 300)) //nolint:errcheck // it is missed below
			}
			from.Write([]byte("end")) //nolint:errcheck // the read ends
			if got := read(); len(got) != 50 {
				t.Errorf("%d of 50 without a filter", len(got))
			}
		})
	}
}

// Lots are spread evenly, so that a share of them is that share of the requests; and all copies of a request have the same.
func TestLotsAreEven(t *testing.T) {
	l := newLots()
	var slots [16]int
	const n = 16_000
	for i := range n {
		b := inRequest("MESSAGE", fmt.Sprintf("z9hG4bK%08x", i), fmt.Sprintf("%08x", i), "")
		if l.of(b) != l.of([]byte(string(b))) {
			t.Fatal("a copy has another lot")
		}
		slots[l.of(b)>>28]++
	}
	for i, k := range slots {
		if k < n/16*8/10 || k > n/16*12/10 {
			t.Errorf("%d of %d in slot %d of 16", k, n, i)
		}
	}
}

// A request's mark is that of its copies alone, also where the octets that its lot is made from are those of others: the Request-URI may be long.
func TestMarksTellRequestsApart(t *testing.T) {
	l := newLots()
	seen := map[uint32]int{}
	lots := map[uint32]bool{}
	for i := range 5000 {
		b := []byte(fmt.Sprintf("MESSAGE sip:u@example.com;x=%s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%d\r\nCall-ID: %d\r\n\r\n", strings.Repeat("x", 200), i, i))
		if l.mark(b) != l.mark([]byte(string(b))) {
			t.Fatal("a copy has another mark")
		}
		if l.mark(b) == 0 {
			t.Fatal("a request has no mark")
		}
		lots[l.of(b)] = true
		seen[l.mark(b)]++
	}
	if len(lots) != 1 {
		t.Errorf("%d lots: the test does not show what it wants to", len(lots))
	}
	if len(seen) < 4990 {
		t.Errorf("5000 requests have %d marks", len(seen))
	}
}

func BenchmarkMark(b *testing.B) {
	l, request := newLots(), inRequest("MESSAGE", "z9hG4bK1", "1", "")
	b.ReportAllocs()
	for b.Loop() {
		l.mark(request)
	}
}

func BenchmarkLot(b *testing.B) {
	l, request := newLots(), inRequest("MESSAGE", "z9hG4bK1", "1", "")
	b.ReportAllocs()
	for b.Loop() {
		l.of(request)
	}
}
