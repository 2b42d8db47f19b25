// Package resolvertest is a DNS server in the same process, loaded from zone text, that answers over real UDP, TCP and (on request)
// TLS on a loopback address, and that can be told to misbehave. The demo and the tests use it; nothing is asked of any other server.
//
//	s, err := resolvertest.Start(`
//	$ORIGIN example.net.
//	@              SOA ns hostmaster 1 3600 600 86400 60
//	_im._sip       SRV 0 0 5060 sip
//	sip            A   192.0.2.1
//	`, resolvertest.Options{})
//	defer s.Close()
//	r, err := resolver.New(resolver.Config{Servers: s.Servers()})
package resolvertest

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// Options are what Start takes besides the zone. The zero value listens on 127.0.0.1 and any port.
type Options struct {
	// Listen is the address to listen on, UDP and TCP at the same port; empty means 127.0.0.1:0.
	Listen string
	// TLS, if not nil, makes the TCP listener one of DNS over TLS; UDP still answers.
	TLS *tls.Config
	// Authentic sets the AD bit in answers, as a validating resolver does for a signed zone. Names under one of Insecure keep it unset.
	Authentic bool
	Insecure  []string
	// Latency delays every answer.
	Latency time.Duration
}

// Server is a running DNS server. Its methods may be used by any goroutine.
type Server struct {
	addr     netip.AddrPort
	opts     Options
	udp, tcp *dns.Server
	wg       sync.WaitGroup

	mu     sync.Mutex
	zone   zone
	faults map[string]Fault // by name in lower case without the last dot; "" is every name
	down   atomic.Bool

	total atomic.Uint64
	log   []Asked
}

// Asked is one question that the server received.
type Asked struct {
	Time     time.Time
	Name     string // lower case, without the last dot
	Type     string // "SRV", "A" ...
	TCP      bool
	Port     uint16 // where the question came from
	ID       uint16
	RawName  string // in the case in which it was asked
	WantsAD  bool
	UDPSize  uint16 // of EDNS0; zero: none
	Recursed bool   // recursion was desired
}

// maxLog bounds the questions that are remembered; the oldest go first.
const maxLog = 65536

// Start parses the zone text (RFC 1035 §5.1, several SOA records make several zones) and starts the server.
func Start(zoneText string, o Options) (*Server, error) {
	z, err := parseZone(zoneText)
	if err != nil {
		return nil, err
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	s := &Server{opts: o, zone: z, faults: make(map[string]Fault)}
	if err := s.listen(o.Listen); err != nil {
		return nil, err
	}
	return s, nil
}

// listen finds a port that is free for both UDP and TCP.
func (s *Server) listen(addr string) error {
	for try := 0; ; try++ {
		pc, err := net.ListenPacket("udp", addr)
		if err != nil {
			return fmt.Errorf("resolvertest: %w", err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil {
			pc.Close()
			if try < 16 && strings.HasSuffix(addr, ":0") {
				continue
			}
			return fmt.Errorf("resolvertest: %w", err)
		}
		if s.opts.TLS != nil {
			l = tls.NewListener(l, s.opts.TLS)
		}
		s.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
		s.addr = netip.AddrPortFrom(s.addr.Addr().Unmap(), s.addr.Port())
		s.udp = &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(s.serve)}
		s.tcp = &dns.Server{Listener: l, Handler: dns.HandlerFunc(s.serve), IdleTimeout: func() time.Duration { return 10 * time.Second }}
		for _, srv := range []*dns.Server{s.udp, s.tcp} {
			started := make(chan struct{})
			srv.NotifyStartedFunc = func() { close(started) }
			s.wg.Go(func() { srv.ActivateAndServe() })
			<-started
		}
		return nil
	}
}

// Close stops the server and waits for the questions under way.
func (s *Server) Close() error {
	s.udp.Shutdown()
	s.tcp.Shutdown()
	s.wg.Wait()
	return nil
}

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Servers is the server as a Resolver's configuration wants it, over UDP and plain TCP.
func (s *Server) Servers() []resolver.Server { return []resolver.Server{{Addr: s.addr}} }

// SetZone replaces all records.
func (s *Server) SetZone(zoneText string) error {
	z, err := parseZone(zoneText)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.zone = z
	s.mu.Unlock()
	return nil
}

// Queries is the number of questions received since Start, over UDP and TCP, those that a fault swallowed included.
func (s *Server) Queries() uint64 { return s.total.Load() }

// Log is a copy of the questions received, the oldest first, at most the last 65,536.
func (s *Server) Log() []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Asked(nil), s.log...)
}

// ClearLog forgets the questions received.
func (s *Server) ClearLog() {
	s.mu.Lock()
	s.log = nil
	s.mu.Unlock()
}

func (s *Server) serve(w dns.ResponseWriter, req *dns.Msg) {
	if len(req.Question) != 1 || req.Opcode != dns.OpcodeQuery {
		m := new(dns.Msg).SetRcode(req, dns.RcodeNotImplemented)
		w.WriteMsg(m)
		return
	}
	_, isTCP := w.RemoteAddr().(*net.TCPAddr)
	name := key(req.Question[0].Name)
	fault := s.record(w, req, name, isTCP)
	if s.down.Load() || fault.Silent {
		return
	}
	if d := s.opts.Latency + fault.Delay; d > 0 {
		time.Sleep(d)
	}
	if !isTCP {
		for range fault.Spoofs {
			s.spoof(w, req, fault)
		}
		if fault.OnlySpoofs {
			return
		}
	}
	m := s.answer(req, name, fault)
	if !isTCP {
		size := dns.MinMsgSize
		if opt := req.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		if fault.Truncate {
			m.Truncated, m.Answer, m.Ns = true, nil, nil
		} else {
			m.Truncate(size)
		}
	} else {
		m.Compress = true
	}
	w.WriteMsg(m)
}

func (s *Server) record(w dns.ResponseWriter, req *dns.Msg, name string, isTCP bool) Fault {
	s.total.Add(1)
	a := Asked{
		Time: time.Now(), Name: name, Type: dns.TypeToString[req.Question[0].Qtype], TCP: isTCP, ID: req.Id, RawName: req.Question[0].Name,
		WantsAD: req.AuthenticatedData, Recursed: req.RecursionDesired,
	}
	if ap, err := netip.ParseAddrPort(w.RemoteAddr().String()); err == nil {
		a.Port = ap.Port()
	}
	if opt := req.IsEdns0(); opt != nil {
		a.UDPSize = opt.UDPSize()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.log) >= maxLog {
		s.log = append(s.log[:0], s.log[maxLog/2:]...)
	}
	s.log = append(s.log, a)
	if f, ok := s.faults[name]; ok {
		return f
	}
	return s.faults[""]
}

// answer makes the answer of a recursive server.
func (s *Server) answer(req *dns.Msg, name string, fault Fault) *dns.Msg {
	m := new(dns.Msg).SetReply(req)
	m.RecursionAvailable = true
	if fault.NoEDNS {
		if req.IsEdns0() != nil {
			m.Rcode = dns.RcodeFormatError
			return m
		}
	} else if opt := req.IsEdns0(); opt != nil {
		m.SetEdns0(4096, opt.Do())
	}
	switch {
	case fault.Lame:
		m.RecursionAvailable = false
		m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}, Ns: "a.root-servers.invalid."}}
		return m
	case fault.Rcode != 0:
		m.Rcode = fault.Rcode
		return m
	}
	s.mu.Lock()
	z := s.zone
	s.mu.Unlock()
	z.answer(m, name, req.Question[0].Qtype)
	m.AuthenticatedData = s.opts.Authentic && (req.AuthenticatedData || fault.ForceAD) && !s.insecure(m)
	if fault.ForceAD {
		m.AuthenticatedData = true
	}
	if fault.TTL != 0 {
		for _, rr := range append(m.Answer, m.Ns...) {
			rr.Header().Ttl = fault.TTL
		}
	}
	return m
}

func (s *Server) insecure(m *dns.Msg) bool {
	names := []string{key(m.Question[0].Name)}
	for _, rr := range m.Answer {
		names = append(names, key(rr.Header().Name))
	}
	for _, n := range names {
		for _, under := range s.opts.Insecure {
			if n == under || strings.HasSuffix(n, "."+under) {
				return true
			}
		}
	}
	return false
}
