package resolvertest

import (
	"time"

	"github.com/miekg/dns"
)

// Fault is how the server misbehaves for one name, or for all. Fields combine. The zero value is good behaviour.
type Fault struct {
	Silent     bool          // receive the question, never answer
	Delay      time.Duration // answer late
	Rcode      int           // answer with this code and nothing else; see the constants
	NoEDNS     bool          // answer FORMERR to questions with EDNS0, as old servers do
	Lame       bool          // refer to other servers instead of answering
	Truncate   bool          // over UDP, answer with the TC bit and no records
	TTL        uint32        // give every record this TTL, if not zero
	ForceAD    bool          // set the AD bit, whatever the zone
	Spoofs     int           // before the answer, send so many forged ones over UDP, with SpoofAddr in them
	SpoofKind  SpoofKind
	SpoofAddr  string // an IPv4 address; empty means 198.51.100.66
	OnlySpoofs bool   // and over UDP no true answer
}

// The response codes for Fault.Rcode.
const (
	ServFail = dns.RcodeServerFailure
	NXDomain = dns.RcodeNameError
	Refused  = dns.RcodeRefused
	FormErr  = dns.RcodeFormatError
)

// SpoofKind is what is wrong with a forged answer.
type SpoofKind uint8

// The kinds of forged answers. Each is right in everything but one thing.
const (
	WrongID       SpoofKind = iota // another id
	WrongQuestion                  // another name in the question
	WrongCase                      // the name in another case (0x20)
	NotResponse                    // the QR bit is not set
)

// SetFault makes the server misbehave for a name (any type); the empty name stands for all names without a fault of their own.
func (s *Server) SetFault(name string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[key(name)] = f
}

// ClearFaults ends all misbehaviour.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// SetDown makes the whole server silent, or speak again. Questions are still counted.
func (s *Server) SetDown(down bool) { s.down.Store(down) }

func (s *Server) spoof(w dns.ResponseWriter, req *dns.Msg, f Fault) {
	m := new(dns.Msg).SetReply(req)
	m.RecursionAvailable, m.AuthenticatedData = true, true
	addr := f.SpoofAddr
	if addr == "" {
		addr = "198.51.100.66"
	}
	name := req.Question[0].Name
	for _, text := range []string{name + " 3600 IN A " + addr, name + " 3600 IN SRV 0 0 5060 evil.example."} {
		rr, err := dns.NewRR(text)
		if err == nil && rr.Header().Rrtype == req.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	switch f.SpoofKind {
	case WrongID:
		m.Id++
	case WrongQuestion:
		m.Question[0].Name = "x" + name
	case WrongCase:
		b := []byte(name)
		for i, c := range b {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
				b[i] = c ^ 0x20
			}
		}
		m.Question[0].Name = string(b)
	case NotResponse:
		m.Response = false
	}
	w.WriteMsg(m)
}
