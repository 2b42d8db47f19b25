package resolver

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Limits of the exchange with a server.
const (
	ednsSize     = 1232 // octets over UDP that no path fragments
	maxJunk      = 32   // wrong datagrams on one socket, after which TCP is used instead (RFC 5452 §9.3)
	dotPadding   = 128  // octets; RFC 7858 leaves the policy open, blocks of 128 are the usual one
	idleConns    = 4    // connections kept open to one server over TCP or TLS
	idleConnTime = 8 * time.Second
)

var (
	errJunk     = errors.New("too many answers that match no question")
	errMismatch = errors.New("answer does not match the question")
)

// exchanger sends one question to one server and returns the answer that matches it.
type exchanger interface {
	exchange(ctx context.Context, s *Server, q question) (*dns.Msg, error)
	close()
}

// netExchanger speaks UDP with EDNS0, TCP when the answer is truncated, and TLS to servers that have a name for it.
type netExchanger struct {
	caseRandom bool
	mu         sync.Mutex
	idle       map[string][]idleConn // by Server.String
	closed     bool
}

type idleConn struct {
	conn  *dns.Conn
	since time.Time
}

// form is how a question is written.
type form uint8

const (
	formEDNS   form = iota
	formPadded      // EDNS0 with padding, for TLS
	formPlain       // without EDNS0, for servers that do not know it
)

// newQuery makes the message for q: random id (all 16 bits), RD, and AD to say that the AD bit of the answer is understood
// without asking for signatures.
func (x *netExchanger) newQuery(q question, f form) *dns.Msg {
	name := q.name + "."
	if x.caseRandom {
		name = randomCase(name)
	}
	m := &dns.Msg{Question: []dns.Question{{Name: name, Qtype: uint16(q.qtype), Qclass: dns.ClassINET}}}
	var id [2]byte
	rand.Read(id[:])
	m.Id = binary.BigEndian.Uint16(id[:])
	m.RecursionDesired, m.AuthenticatedData = true, true
	if f == formPlain {
		return m
	}
	m.SetEdns0(ednsSize, false)
	if f == formPadded {
		if n := m.Len() + 4; n%dotPadding != 0 {
			opt := m.IsEdns0()
			opt.Option = append(opt.Option, &dns.EDNS0_PADDING{Padding: make([]byte, dotPadding-n%dotPadding)})
		}
	}
	return m
}

// randomCase is the "0x20" trick: the case of each letter is one more bit that a forger must guess. Servers copy the question.
func randomCase(s string) string {
	b := []byte(s)
	bits := make([]byte, len(b))
	rand.Read(bits)
	for i, c := range b {
		if c >= 'a' && c <= 'z' && bits[i]&1 != 0 {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// matches is RFC 5452 §9.1: same id, one question, the same one; with 0x20, in the same case.
func (x *netExchanger) matches(q, r *dns.Msg) bool {
	if r.Id != q.Id || !r.Response || r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 {
		return false
	}
	a, b := r.Question[0], q.Question[0]
	if a.Qtype != b.Qtype || a.Qclass != b.Qclass {
		return false
	}
	if x.caseRandom {
		return a.Name == b.Name
	}
	return strings.EqualFold(a.Name, b.Name)
}

func (x *netExchanger) exchange(ctx context.Context, s *Server, q question) (*dns.Msg, error) {
	r, err := x.once(ctx, s, q, formEDNS)
	if err == nil && r.Rcode == dns.RcodeFormatError && r.IsEdns0() == nil {
		// RFC 6891 §7: a server that does not know EDNS0 says FORMERR, without an OPT record.
		return x.once(ctx, s, q, formPlain)
	}
	return r, err
}

func (x *netExchanger) once(ctx context.Context, s *Server, q question, f form) (*dns.Msg, error) {
	if s.TLSName == "" {
		r, err := x.udp(ctx, s, q, f)
		if err == nil && !r.Truncated || err != nil && !errors.Is(err, errJunk) {
			return r, err
		}
	} else if f == formEDNS {
		f = formPadded
	}
	return x.stream(ctx, s, q, f)
}

// udp asks from a socket of its own, connected (so that the kernel drops answers from other addresses, RFC 5452 §4.4) and bound
// to a random port (RFC 5452 §9.2).
func (x *netExchanger) udp(ctx context.Context, s *Server, q question, f form) (*dns.Msg, error) {
	conn, err := dialUDP(ctx, s.Addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	m := x.newQuery(q, f)
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for range maxJunk {
		n, err := conn.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return nil, err
		}
		r := new(dns.Msg)
		if err := r.Unpack(buf[:n]); err != nil {
			// A cut datagram may not parse to its end. With the right header it still says that TCP is needed.
			if n >= 12 && binary.BigEndian.Uint16(buf) == m.Id && buf[2]&0x82 == 0x82 {
				return &dns.Msg{MsgHdr: dns.MsgHdr{Truncated: true}}, nil
			}
			continue
		}
		if x.matches(m, r) {
			return r, nil
		}
	}
	return nil, errJunk
}

// dialUDP binds to a random port of 10000 to 65535, so as not to sit on a port that the gateway itself listens on (RFC 5452 §9.2:
// "SHOULD provide means to avoid usage of certain ports"); if four are taken, the kernel chooses.
func dialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	for try := 0; ; try++ {
		d := net.Dialer{}
		if try < 4 {
			var b [2]byte
			rand.Read(b[:])
			port := 10000 + int(binary.BigEndian.Uint16(b[:]))*55536/65536
			d.LocalAddr = &net.UDPAddr{Port: port}
		}
		c, err := d.DialContext(ctx, "udp", to.String())
		if err == nil || try == 4 || ctx.Err() != nil {
			return c, err
		}
	}
}

// stream asks over TCP or TLS (RFC 7766 §6.2.1: connections are reused). A kept connection that turns out dead is replaced once.
func (x *netExchanger) stream(ctx context.Context, s *Server, q question, f form) (*dns.Msg, error) {
	for {
		conn, kept, err := x.dial(ctx, s)
		if err != nil {
			return nil, err
		}
		r, err := x.overStream(ctx, conn, q, f)
		if err == nil {
			x.keep(s, conn)
			return r, nil
		}
		conn.Close()
		if !kept || ctx.Err() != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return nil, err
		}
	}
}

func (x *netExchanger) overStream(ctx context.Context, conn *dns.Conn, q question, f form) (*dns.Msg, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	m := x.newQuery(q, f)
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	r, err := conn.ReadMsg()
	if err != nil {
		return nil, err
	}
	if !x.matches(m, r) {
		return nil, errMismatch
	}
	return r, nil
}

func (x *netExchanger) dial(ctx context.Context, s *Server) (conn *dns.Conn, kept bool, err error) {
	key := s.String()
	x.mu.Lock()
	for list := x.idle[key]; len(list) > 0; {
		last := list[len(list)-1]
		list = list[:len(list)-1]
		x.idle[key] = list
		if time.Since(last.since) < idleConnTime {
			x.mu.Unlock()
			return last.conn, true, nil
		}
		last.conn.Close()
	}
	x.mu.Unlock()
	var c net.Conn
	if s.TLSName != "" {
		d := tls.Dialer{Config: s.tlsConfig()}
		c, err = d.DialContext(ctx, "tcp", s.Addr.String())
	} else {
		var d net.Dialer
		c, err = d.DialContext(ctx, "tcp", s.Addr.String())
	}
	if err != nil {
		return nil, false, err
	}
	return &dns.Conn{Conn: c}, false, nil
}

func (x *netExchanger) keep(s *Server, conn *dns.Conn) {
	conn.SetDeadline(time.Time{})
	key := s.String()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || len(x.idle[key]) >= idleConns {
		conn.Close()
		return
	}
	if x.idle == nil {
		x.idle = make(map[string][]idleConn)
	}
	x.idle[key] = append(x.idle[key], idleConn{conn, time.Now()})
}

func (x *netExchanger) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	for _, list := range x.idle {
		for _, c := range list {
			c.conn.Close()
		}
	}
	x.idle = nil
}
