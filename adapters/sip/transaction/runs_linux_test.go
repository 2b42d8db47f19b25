package transaction

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// slackMessage is a response of which nothing but its length counts, with n octets in all.
func slackMessage(t testing.TB, i, n int) []byte {
	t.Helper()
	const rest = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nCSeq: 1 MESSAGE\r\n"
	head := rest + fmt.Sprintf("Call-ID: %d-", i)
	const tail = "\r\nContent-Length: 0\r\n\r\n"
	if n < len(head)+len(tail)+1 {
		t.Fatalf("no message of %d octets", n)
	}
	return []byte(head + strings.Repeat("c", n-len(head)-len(tail)) + tail)
}

// The place is that before the number, and only where there is one.
func TestSlackOf(t *testing.T) {
	message := string(slackMessage(t, 1, 300))
	body := strings.Replace(message, "Content-Length: 0", "Content-Type: text/plain\r\nContent-Length: 12", 1) + "twelve octet"
	for _, v := range []struct {
		name        string
		octets      string
		body, limit int
		before      string
		most        int
	}{
		{"no body", message, 0, 1000, "0\r\n\r\n", slackMost},
		{"a body", body, 12, 1000, "12\r\n\r\ntwelve octet", slackMost},
		{"little room", message, 0, 303, "0\r\n\r\n", 3},
		{"no room", message, 0, 100, "0\r\n\r\n", 0},
		{"another length than the body's", body, 11, 1000, "", 0},
		{"no Content-Length", strings.Replace(message, "Content-Length: 0\r\n", "", 1), 0, 1000, "", 0},
		{"nothing", "", 0, 1000, "", 0},
		{"too long for others", string(slackMessage(t, 1, segmentMost+1)), 0, 2000, "", 0},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := slackOf([]byte(v.octets), v.body, v.limit)
			if v.before == "" {
				if s != (slack{}) {
					t.Errorf("%+v", s)
				}
				return
			}
			if got := v.octets[s.at:]; got != v.before || int(s.most) != v.most {
				t.Errorf("before %q, %d more", got, s.most)
			}
		})
	}
}

// Whatever comes, each datagram is in one run, those to one address stay in order, but for messages and responses beside each other, all of a run can
// be as long as it says, and no run is more than the system takes.
func TestRuns(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var r runs
	for range 2000 {
		r.clear()
		var list [writeBatch]outDatagram
		var octets [writeBatch]int
		var how [writeBatch]order
		n := 1 + random.IntN(writeBatch)
		spread, far := 1+random.IntN(400), 1+random.IntN(2*writeBatch)
		for i := range n {
			d := &list[i]
			d.to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(random.IntN(2))}), uint16(1+random.IntN(far)))
			if random.IntN(8) > 0 {
				d.pad = slack{at: 1, most: uint16(random.IntN(slackMost + 1))}
			}
			octets[i] = 300 + random.IntN(spread) + random.IntN(2)*700
			how[i] = order(random.IntN(int(orderAll) + 1))
			b := make([]byte, octets[i])
			copy(b, []string{orderMessage: "MESSAGE ", orderResponse: "SIP/2.0 ", orderAll: "NOTIFY "}[how[i]])
			r.add(uint8(i), b, d, segmentMost)
		}
		seen := make(map[netip.AddrPort][orderAll + 1]int) // 1 + the last of each order
		count := 0
		for i := range r.count {
			one := &r.list[i]
			k := one.first
			for j := range one.count {
				d := &list[k]
				last := j == one.count-1
				if d.to != one.to || octets[k] > one.size || !last && one.size > octets[k]+int(d.pad.most) || one.count > 1 && d.pad.at == 0 {
					t.Fatalf("datagram %d of %d octets, %+v, in %+v", k, octets[k], d.pad, one)
				}
				before := seen[d.to]
				for other, last := range before {
					if last > int(k)+1 && (order(other) == how[k] || order(other) == orderAll || how[k] == orderAll) {
						t.Fatalf("datagram %d to %s goes after %d", k, d.to, last-1)
					}
				}
				before[how[k]] = max(before[how[k]], int(k)+1)
				seen[d.to] = before
				count++
				k = r.next[k]
			}
			if one.count > runMost || one.count > 1 && (one.count*one.size > runOctets || one.size > segmentMost) {
				t.Fatalf("%+v", one)
			}
		}
		if count != n {
			t.Fatalf("%d of %d datagrams", count, n)
		}
	}
}

// RFC 3261 §7.3.1: "The formal grammar for a message-header ... allow an arbitrary amount of whitespace on either side of the colon". Datagrams
// that go together arrive as they went in but for that, each alone and those to one address in order; also where the system does not take them
// together.
func TestOutboxRuns(t *testing.T) {
	for _, v := range []struct {
		name, listen, from string
		refused            error
		segment            int // afterwards
	}{
		{"IPv4", "127.0.0.1:0", "", nil, segmentMost},
		{"IPv4 wildcard", "0.0.0.0:0", "127.0.0.3", nil, segmentMost},
		{"IPv6", "[::1]:0", "", nil, segmentMost},
		{"IPv6 wildcard", "[::]:0", "::1", nil, segmentMost},
		{"larger than a packet", "127.0.0.1:0", "", syscall.EINVAL, 399},
		{"an interface that cannot", "127.0.0.1:0", "", syscall.EIO, 0},
		{"an earlier one's error", "127.0.0.1:0", "", syscall.ECONNREFUSED, segmentMost},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := outSocket(t, v.listen)
			if s.segment == 0 {
				t.Fatal("Linux before 4.18")
			}
			host := "127.0.0.1:0"
			if strings.Contains(v.name, "IPv6") {
				host = "[::1]:0"
			}
			var from netip.Addr
			if v.from != "" {
				from = netip.MustParseAddr(v.from)
			}
			const sockets, each = 3, 70
			var far [sockets]*net.UDPConn
			for i := range far {
				c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(host)))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				far[i] = c
			}
			var list []outDatagram
			var all []byte
			var starts [writeBatch]int
			for i := range sockets * each {
				b := slackMessage(t, i, 400-i%7)
				to := far[i%sockets].LocalAddr().(*net.UDPAddr).AddrPort()
				if v.refused == nil {
					if err := s.send(b, slackOf(b, 0, 1000), to, from, nil); err != nil {
						t.Fatal(err)
					}
				} else if i < each { // to the first only, as one run
					starts[i] = len(all)
					all = append(all, b...)
					list = append(list, outDatagram{end: len(all), to: far[0].LocalAddr().(*net.UDPAddr).AddrPort(), pad: slackOf(b, 0, 1000)})
				}
			}
			arrive := sockets * each
			if v.refused == nil {
				s.flush()
				if s.runs.count >= arrive%writeBatch {
					t.Errorf("%d runs", s.runs.count)
				}
			} else {
				s.runs.clear()
				for i := range runMost {
					s.runs.add(uint8(i), all[starts[i]:list[i].end], &list[i], s.segment)
				}
				if s.runs.count != 1 {
					t.Fatalf("%d runs", s.runs.count)
				}
				s.apart(&s.runs.list[0], list, all, &starts, v.refused)
				arrive = runMost
			}
			if s.segment != v.segment {
				t.Errorf("then up to %d octets go together", s.segment)
			}
			b := make([]byte, 2000)
			for i := range arrive {
				c := far[0]
				if v.refused == nil {
					c = far[i%sockets]
				}
				c.SetReadDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // a test's bound
				n, _, err := c.ReadFromUDPAddrPort(b)
				if err != nil {
					t.Fatal(err)
				}
				head, tail, _ := bytes.Cut(b[:n], []byte(contentLength))
				got := string(head) + contentLength + strings.TrimLeft(string(tail), " ")
				if want := string(slackMessage(t, i, 400-i%7)); got != want {
					t.Fatalf("datagram %d: %q\nshould be %q", i, b[:n], want)
				}
				if n > 400 {
					t.Fatalf("datagram %d has %d octets", i, n)
				}
				if _, err := wire.Parse(bytes.Clone(b[:n]), wire.DefaultLimits()); err != nil {
					t.Fatalf("datagram %d: %v", i, err)
				}
			}
		})
	}
}

// Messages and responses to one address, in turn, are two runs, and what is neither is behind all that came before it.
func TestRunsOfBothDirections(t *testing.T) {
	to := netip.MustParseAddrPort("127.0.0.1:5060")
	var r runs
	add := func(b []byte) {
		d := outDatagram{to: to, pad: slackOf(b, 0, 1000)}
		r.add(uint8(added(&r)), b, &d, segmentMost)
	}
	for i := range 10 {
		add(slackMessage(t, i, 350))
		add(slackRequest("MESSAGE", i, 600))
	}
	if r.count != 2 || r.list[0].count != 10 || r.list[1].count != 10 {
		t.Fatalf("%d runs", r.count)
	}
	add(slackRequest("NOTIFY", 0, 600))
	add(slackMessage(t, 0, 350))
	add(slackRequest("MESSAGE", 0, 600))
	if r.count != 4 || r.list[2].count != 2 || r.list[3].count != 1 {
		t.Fatalf("%d runs with a NOTIFY", r.count)
	}
}

// added is how many datagrams are in the runs.
func added(r *runs) (n int) {
	for i := range r.count {
		n += r.list[i].count
	}
	return n
}

// slackRequest is a request of n octets, like slackMessage.
func slackRequest(method string, i, n int) []byte {
	head := fmt.Sprintf("%s sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCSeq: 1 %s\r\nCall-ID: %d-", method, method, i)
	const tail = "\r\nContent-Length: 0\r\n\r\n"
	return []byte(head + strings.Repeat("c", n-len(head)-len(tail)) + tail)
}

// BenchmarkRuns is 64 datagrams to one address from the transaction to the system, over the loopback interface: responses alone, and in turn with
// messages.
func BenchmarkRuns(b *testing.B) {
	far, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		b.Fatal(err)
	}
	defer far.Close()
	s := outSocket(b, "127.0.0.1:0")
	to := far.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, of := range []string{"responses", "both"} {
		b.Run("of="+of, func(b *testing.B) {
			var octets [64][]byte
			for i := range octets {
				octets[i] = slackMessage(b, i, 350+i%7)
				if of == "both" && i%2 == 1 {
					octets[i] = slackRequest("MESSAGE", i, 600+i%7)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, o := range octets {
					s.send(o, slackOf(o, 0, 1000), to, netip.Addr{}, nil) //nolint:errcheck // it goes to the outbox
				}
				s.flush()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(octets)), "ns/datagram")
		})
	}
}
