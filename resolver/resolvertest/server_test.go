package resolvertest

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func ask(t *testing.T, s *Server, network, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	r, _, err := (&dns.Client{Net: network, Timeout: 5 * time.Second, UDPSize: 4096}).Exchange(m, s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestServer(t *testing.T) {
	s, err := Start(`
$ORIGIN example.net.
$TTL 60
@      SOA ns hostmaster 1 3600 600 86400 30
a      A 192.0.2.1
al     CNAME a
loop   CNAME loop
*.wild A 192.0.2.9
b.deep A 192.0.2.3
`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		name   string
		asked  string
		rcode  int
		answer int
		soa    bool
	}{
		{"record", "a.example.net.", dns.RcodeSuccess, 1, false},
		{"case", "A.Example.NET.", dns.RcodeSuccess, 1, false},
		{"alias", "al.example.net.", dns.RcodeSuccess, 2, false},
		{"alias loop ends", "loop.example.net.", dns.RcodeSuccess, maxChain, false},
		{"wildcard", "x.y.wild.example.net.", dns.RcodeSuccess, 1, false},
		{"empty non-terminal", "deep.example.net.", dns.RcodeSuccess, 0, true},
		{"no such name", "none.example.net.", dns.RcodeNameError, 0, true},
		{"no such zone", "example.org.", dns.RcodeNameError, 0, false},
	} {
		for _, network := range []string{"udp", "tcp"} {
			r := ask(t, s, network, c.asked, dns.TypeA)
			if r.Rcode != c.rcode || len(r.Answer) != c.answer || (len(r.Ns) > 0) != c.soa {
				t.Errorf("%s over %s: %v", c.name, network, r)
			}
		}
	}
	if n := s.Queries(); n != 16 || len(s.Log()) != 16 {
		t.Errorf("%d questions counted, %d logged", n, len(s.Log()))
	}
	if err := s.SetZone("b.example. 5 A 192.0.2.2"); err != nil {
		t.Fatal(err)
	}
	if r := ask(t, s, "udp", "b.example.", dns.TypeA); len(r.Answer) != 1 {
		t.Errorf("new zone: %v", r)
	}
	if err := s.SetZone("this is no zone"); err == nil {
		t.Error("a zone that is none was taken")
	}
	s.SetFault("b.example", Fault{Truncate: true, TTL: 7})
	if r := ask(t, s, "udp", "b.example.", dns.TypeA); !r.Truncated || len(r.Answer) != 0 {
		t.Errorf("truncated: %v", r)
	}
	if r := ask(t, s, "tcp", "b.example.", dns.TypeA); r.Truncated || len(r.Answer) != 1 || r.Answer[0].Header().Ttl != 7 {
		t.Errorf("over TCP: %v", r)
	}
	s.ClearFaults()
	s.SetDown(true)
	m := new(dns.Msg).SetQuestion("b.example.", dns.TypeA)
	if r, _, err := (&dns.Client{Timeout: 50 * time.Millisecond}).Exchange(m, s.Addr().String()); err == nil {
		t.Errorf("a server that is down answered %v", r)
	}
	if _, err := Start("@ A", Options{}); err == nil || !strings.HasPrefix(err.Error(), "resolvertest: ") {
		t.Errorf("Start: %v", err)
	}
}
