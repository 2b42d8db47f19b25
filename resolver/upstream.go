package resolver

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// suspectAfter is the number of attempts in a row without any answer after which a server is probed, and taken out of use if the
// probe fails too. probeEvery is how often a server that is out of use is probed, and only while somebody asks.
const (
	suspectAfter = 8
	probeEvery   = time.Second
)

// upstream asks the configured servers. Names of strangers may be slow on purpose, so a server is never declared dead by them:
// only a question that every recursive server answers from its cache (the root's SOA) decides.
type upstream struct {
	ex       exchanger
	servers  []*serverState
	attempts int           // rounds over the servers
	timeout  time.Duration // of one attempt
	trust    ADTrust
	slots    chan struct{} // one per question under way
	asked    atomic.Uint64 // messages sent, probes and all
	wg       sync.WaitGroup
	done     context.Context // ends with the Resolver
}

type serverState struct {
	Server
	mute      atomic.Int32 // attempts in a row without an answer
	down      atomic.Bool
	lastProbe atomic.Int64 // when the last probe began or, if it has ended, ended; unix nanoseconds

	mu      sync.Mutex
	probing chan struct{} // closed when the probe under way has ended; nil if there is none
}

func newServerState(s Server) *serverState { return &serverState{Server: s} }

// resolve asks q of the servers in turn, and follows aliases that leave the answer. It never returns nil.
func (u *upstream) resolve(ctx context.Context, q question) *answer {
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return &answer{outcome: Failed, reason: "too many lookups under way", local: true}
	}
	a := u.once(ctx, q)
	total := a
	for a.outcome == Found && a.records() == 0 && len(a.aliases) > 0 && a.dropped == 0 {
		// The chain of CNAMEs left the message; go on at its end.
		next := u.once(ctx, question{total.final, q.qtype})
		merged := *next
		merged.aliases, merged.final = total.aliases, total.final
		for _, hop := range append(next.aliases[:len(next.aliases):len(next.aliases)], next.final) {
			if hop != merged.final && !merged.addAlias(hop) {
				return failure(merged.reason)
			}
		}
		merged.secure = total.secure && next.secure
		merged.ttlWire = min(total.ttlWire, next.ttlWire)
		if len(merged.aliases) == len(total.aliases) && next.outcome == Found && next.records() == 0 {
			return failure("alias to nothing")
		}
		a, total = next, &merged
	}
	return total
}

func failure(reason string) *answer { return &answer{outcome: Failed, reason: reason} }

// once asks each server that is in use until one gives an answer about the name. A server that answered badly (SERVFAIL, lame) is
// not asked again; one that kept silent is, in the next round, so that no question goes to one server twice in a second.
func (u *upstream) once(ctx context.Context, q question) *answer {
	worst := &answer{outcome: Failed, reason: "all DNS servers are down", local: true}
	skip := make([]bool, len(u.servers))
	for range u.attempts {
		for i, s := range u.servers {
			if skip[i] || !u.inUse(ctx, s) {
				continue
			}
			if ctx.Err() != nil {
				return worst
			}
			start := time.Now()
			msg, err := u.attempt(ctx, s, q)
			if err != nil {
				worst = failure(errText(err) + " from " + s.String())
				skip[i] = time.Since(start) < time.Second
				continue
			}
			a := readAnswer(msg, q)
			a.server = s.String()
			a.secure = msg.AuthenticatedData && s.trusted(u.trust) && (a.outcome == Found || a.outcome == NoData || a.outcome == NXDomain)
			if lame(msg) {
				a = failure("no answer and no recursion (lame) from " + s.String())
			}
			if a.outcome != Failed {
				return a
			}
			worst, skip[i] = a, true
		}
	}
	return worst
}

// lame is an answer that refers elsewhere instead of answering: neither recursive nor authoritative, and empty.
func lame(m *dns.Msg) bool {
	return m.Rcode == dns.RcodeSuccess && !m.RecursionAvailable && !m.Authoritative && len(m.Answer) == 0
}

func (u *upstream) attempt(ctx context.Context, s *serverState, q question) (*dns.Msg, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	u.asked.Add(1)
	msg, err := u.ex.exchange(ctx, &s.Server, q)
	switch {
	case err == nil:
		s.mute.Store(0)
		s.down.Store(false)
	case parent.Err() != nil && time.Until(deadlineOf(parent)) > 0:
		// The caller gave up; that says nothing about the server.
	default:
		if s.mute.Add(1) == suspectAfter {
			u.wg.Go(func() { u.probe(u.done, s) })
		}
	}
	return msg, err
}

func deadlineOf(ctx context.Context) time.Time {
	d, _ := ctx.Deadline()
	return d
}

// inUse reports whether s may be asked. If s is down, a probe finds out whether it still is, at most once a second; who asks while
// it is under way waits for its end, so that the first to ask after a recovery do not fail beside the one whose question revealed it.
func (u *upstream) inUse(ctx context.Context, s *serverState) bool {
	if !s.down.Load() {
		return true
	}
	s.mu.Lock()
	ended := s.probing
	if ended == nil {
		if time.Now().UnixNano()-s.lastProbe.Load() < int64(probeEvery) {
			s.mu.Unlock()
			return !s.down.Load()
		}
		ended = make(chan struct{})
		s.probing = ended
		u.wg.Go(func() {
			u.probe(u.done, s)
			s.mu.Lock()
			s.probing = nil
			s.mu.Unlock()
			close(ended)
		})
	}
	s.mu.Unlock()
	select {
	case <-ended:
		return !s.down.Load()
	case <-ctx.Done():
		return false
	}
}

// probe asks for the root's SOA. Any answer at all, also a refusal, is a sign of life.
func (u *upstream) probe(ctx context.Context, s *serverState) {
	s.lastProbe.Store(time.Now().UnixNano())
	defer func() { s.lastProbe.Store(time.Now().UnixNano()) }()
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	u.asked.Add(1)
	_, err := u.ex.exchange(ctx, &s.Server, question{"", qtype(dns.TypeSOA)})
	if err == nil {
		s.mute.Store(0)
	}
	s.down.Store(err != nil)
}

// errText is what went wrong with one server, without the addresses that net's errors repeat.
func errText(err error) string {
	var ne net.Error
	var oe *net.OpError
	var se *os.SyscallError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return "no answer in time"
	case errors.As(err, &se):
		return se.Err.Error()
	case errors.As(err, &oe):
		return strings.TrimSpace(oe.Op + ": " + oe.Err.Error())
	}
	return err.Error()
}
