package resolver

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// wireExchanger answers every question with the fuzzer's octets, in turn, as if a server had sent them.
type wireExchanger struct {
	wire  [][]byte
	n     int
	asked int
}

func (w *wireExchanger) exchange(_ context.Context, _ *Server, _ question) (*dns.Msg, error) {
	w.asked++
	m := new(dns.Msg)
	if err := m.Unpack(w.wire[w.n%len(w.wire)]); err != nil {
		w.n++
		return nil, err
	}
	w.n++
	return m, nil
}

func (w *wireExchanger) close() {}

func pack(f interface{ Add(...any) }, records ...string) {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, RecursionAvailable: true, AuthenticatedData: true}}
	m.Question = []dns.Question{{Name: "example.net.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	f.Add(b, byte(1))
}

// T-FZ-15: whatever a DNS server says, the number of targets and of questions is bounded, no forbidden address comes out, every
// target is well-formed, and the identity to check is the domain that was asked for.
func FuzzAnswers(f *testing.F) {
	pack(f, "_im._sip.example.net. 60 SRV 0 0 5060 a.example.net.", "a.example.net. 60 A 192.0.2.1")
	pack(f, "_xmpp-server._tcp.example.net. 60 SRV 0 0 5269 example.net.", "example.net. 60 AAAA 2600::1", "example.net. 1 A 1.1.1.1")
	pack(f, `example.net. 60 NAPTR 1 1 "s" "SIPS+D2T" "" _sips._tcp.example.net.`, "_sips._tcp.example.net. 1 SRV 0 0 5061 example.net.")
	pack(f, "_im._sip.example.net. 60 CNAME _im._sip.example.net.", "example.net. 60 CNAME example.net.")
	pack(f, "_5269._tcp.example.net. 60 TLSA 3 1 1 0011", "_xmpp-server._tcp.example.net. 60 SRV 0 0 0 .")
	pack(f, "_xmpp-server._tcp.example.net. 60 SRV 0 0 22 localhost.", "example.net. 60 A 127.0.0.1", "example.net. 60 AAAA ::ffff:10.0.0.1")
	f.Add([]byte{0, 1, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0}, byte(0))
	f.Fuzz(func(t *testing.T, wire []byte, cut byte) {
		x := &wireExchanger{wire: [][]byte{wire}}
		if n := int(cut); n > 0 && n < len(wire) {
			x.wire = [][]byte{wire[:n], wire[n:], wire}
		}
		guard := NewGuard(GuardConfig{})
		r, err := newResolver(Config{Guard: guard, TTLs: TTLs{Stale: -1}, Policy: Policy{Families: OnlyIPv4}, MaxInFlight: 1},
			[]Server{{Addr: netip.MustParseAddrPort("127.0.0.1:53")}}, x, func(netip.Addr) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for _, q := range []question{{"example.net", typeA}, {"_im._sip.example.net", typeSRV}, {"example.net", typeNAPTR}} {
			m := new(dns.Msg)
			if m.Unpack(wire) != nil {
				break
			}
			a := readAnswer(m, q)
			if len(a.addrs) > maxAddrs || len(a.srvs) > maxRecords || len(a.naptrs) > maxNAPTR || len(a.tlsas) > maxTLSA || len(a.aliases) > maxAliases {
				t.Fatalf("%v: unbounded answer", q)
			}
		}
		for _, s := range []Service{IM, XMPPServer, SIPService} {
			before := x.asked
			tr, err := r.Explain(t.Context(), Query{Service: s, Domain: "example.net"})
			if n := x.asked - before; n > 200 {
				t.Fatalf("%v: %d questions", s, n)
			}
			if err != nil {
				var e *Error
				if !errors.As(err, &e) || tr.Failure == nil {
					t.Fatalf("%v: %v", s, err)
				}
				continue
			}
			if len(tr.Targets) == 0 || len(tr.Targets) > maxTargets {
				t.Fatalf("%v: %d targets", s, len(tr.Targets))
			}
			for _, c := range tr.Targets {
				g := c.Target
				if guard.AllowAddr(g.addr.Addr()) != nil || g.addr.Port() == 0 || !g.transport.validFor(g.protocol) || g.serverName != "example.net" {
					t.Fatalf("%v: target %v", s, g)
				}
				if checkDomain(g.host, true) != nil {
					t.Fatalf("%v: host %q", s, g.host)
				}
			}
			if strings.ContainsAny(tr.String(), "\x00\x1b\r") {
				t.Fatalf("control characters in the trace: %q", tr)
			}
		}
	})
}

// What is read from resolv.conf is bounded, and each server prints to what ParseServer reads.
func FuzzParseResolvConf(f *testing.F) {
	for _, s := range []string{
		"nameserver 192.0.2.53\noptions timeout:2 attempts:3\n", "nameserver fe80::1%eth0\n", "# x\nsearch a b\nnameserver\n", "options timeout:99999999999999999999",
		strings.Repeat("nameserver ::1\n", 20), "\x00\n\xff nameserver", "nameserver 1.1.1.1 2.2.2.2\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseResolvConf(strings.NewReader(s))
		if err != nil {
			return
		}
		if len(c.Servers) == 0 || len(c.Servers) > maxResolvServers || c.Timeout < 0 || c.Timeout > 30 || c.Attempts < 0 || c.Attempts > 5 {
			t.Fatalf("%+v", c)
		}
		for _, srv := range c.Servers {
			again, err := ParseServer(srv.String())
			if err != nil || again.Addr != srv.Addr {
				t.Fatalf("%q: %v, %v", srv.String(), again, err)
			}
		}
	})
}

// What ParseQuery takes is canonical, and asks for nothing but SIP by address.
func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{
		"im:romeo@example.net", "pres:example.net", "sip:example.net:5060;transport=tcp", "sips:[::1]", "xmpp:a@b.example/c", "im:@", "sip:@@:;", "im:xn--a@xn--b",
		"sips:b.example;transport=wss", "IM:A@EXAMPLE.NET.",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := ParseQuery(s)
		if err != nil {
			var se *SyntaxError
			if !errors.As(err, &se) || se.Offset < 0 || se.Offset > len(s) {
				t.Fatalf("ParseQuery(%q): %#v", s, err)
			}
			return
		}
		c, _, err := q.canonical()
		if err != nil || c.Domain != q.Domain {
			t.Fatalf("ParseQuery(%q) = %+v, canonical %+v, %v", s, q, c, err)
		}
		if again, err := ParseQuery(q.String()); err != nil || again != q {
			t.Fatalf("ParseQuery(%q) = %+v prints %q, reads %+v, %v", s, q, q, again, err)
		}
	})
}

func FuzzParseServer(f *testing.F) {
	for _, s := range []string{"192.0.2.53", "[2001:db8::53]:5353", "tls://192.0.2.53:853#dns.example.net", "tls://[::1]#a.b", "tls://1.1.1.1", "::1", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseServer(s)
		if err != nil {
			return
		}
		again, err := ParseServer(v.String())
		if err != nil || again != v {
			t.Fatalf("ParseServer(%q) = %v, reads %v, %v", s, v, again, err)
		}
	})
}

func BenchmarkParseStatic(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseStatic("sip:proxy.example.net:5060;transport=tcp"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadAnswer(b *testing.B) {
	q := question{"_xmpp-server._tcp.example.net", typeSRV}
	m := reply(q, dns.RcodeSuccess, "_xmpp-server._tcp.example.net. 300 SRV 0 0 5269 a.example.net.", "_xmpp-server._tcp.example.net. 300 SRV 0 0 5269 b.example.net.")
	b.ReportAllocs()
	for b.Loop() {
		if a := readAnswer(m, q); len(a.srvs) != 2 {
			b.Fatal(a)
		}
	}
}
