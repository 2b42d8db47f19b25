package faults

import (
	"net"
	"sync/atomic"

	"github.com/miekg/dns"
)

// names is a DNS server that knows one name, that of the SIP side. It can be dead: then it answers nothing.
type names struct {
	server *dns.Server
	port   int
	dead   atomic.Bool
}

// sipName is the SIP side's name.
const sipName = "user.faults.test."

func newNames() (*names, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	n := &names{port: conn.LocalAddr().(*net.UDPAddr).Port}
	n.server = &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(n.answer)}
	go n.server.ActivateAndServe() //nolint:errcheck // it ends with its socket
	return n, nil
}

func (n *names) close() { n.server.PacketConn.Close() }

func (n *names) answer(w dns.ResponseWriter, q *dns.Msg) {
	if n.dead.Load() || len(q.Question) != 1 {
		return
	}
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	switch asked := q.Question[0]; {
	case !dns.IsSubDomain("faults.test.", asked.Name):
		m.Rcode = dns.RcodeNameError
	case asked.Name == sipName && asked.Qtype == dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: asked.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1)})
	}
	_ = w.WriteMsg(m) // lost: it is asked again
}
