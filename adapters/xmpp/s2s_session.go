package xmpp

import (
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// session is one open stream between servers. One goroutine reads it; another writes while there is something to write.
type session struct {
	v         *servers
	conn      *stream.Conn
	raw       net.Conn // below TLS
	initiated bool     // by us
	secured   bool     // TLS
	bidi      bool     // XEP-0288: stanzas go both ways
	external  bool     // the side that opened it is authenticated by SASL EXTERNAL
	id        string   // of the receiving side's header: what dialback keys are made for
	patience  patience
	// local and remote are the domains of the stream's header. remote may be nil on a stream that was opened to us for dialback.
	local, remote *host
	policy        *remotePolicy
	addr          netip.AddrPort
	resumable     string          // the id by which it may be resumed; the servers' lock guards it
	network       netip.Prefix    // of addr, and
	opened        pairKey         // what EXTERNAL proved: as a stream that was opened to us is counted
	target        resolver.Target // of a stream that we opened
	errorsToo     bool            // the peer supports dialback with errors (XEP-0220 §2.3.2)
	maxBytes      int             // the largest stanza that the peer takes; 0: it has not said
	idle          time.Duration   // after which it is closed
	until         time.Time       // when the certificate ends that proves the other side; zero: never, or nothing has proven it
	// proof judges again what the other side's certificate proves, and until when; nil: it has proven nothing. roots are the authorities
	// that it was judged by last. Both are for tick, which alone changes until and roots.
	proof func() (until time.Time, err error)
	roots *x509.CertPool
	log   zerolog.Logger

	seen, carried atomic.Int64 // when anything came or was written last, and when a stanza did; in nanoseconds since 1970
	unproven      atomic.Bool  // opened to us, and no domain is proven yet

	mu       sync.Mutex
	control  []byte // elements that go before stanzas
	acks     []byte // elements that go after them
	queue    []*pair
	writing  bool
	broken   error // a write failed; the reader may still learn why
	over     bool
	pairs    map[*pair]*load   // whose stanzas we may write
	inbound  map[pairKey]*pair // whose stanzas may come
	results  map[pairKey]chan dialbackAnswer
	asking   map[pairKey]*pair // of each of results
	verifies map[verifyKey]chan dialbackAnswer
	late     map[verifyKey]bool // questions that nobody waits for any more
	// verifying are the pairs whose keys are being verified for the peer.
	verifying map[pairKey]bool
	ledger    *ledger // nil while XEP-0198 is not enabled
	// sure takes the peer's answer to what asks for management, next is what counts if it is no refusal.
	sure chan managed
	next *ledger

	rest sync.Cond // of writing: whoever ends the stream waits for the write that is under way

	done chan struct{} // closed when it is over
	read chan struct{} // closed when nothing that came is being handled any more
}

// load is what a stream knows of a pair that it carries.
type load struct {
	ready bool // it is in the list of those with something to write
	probe bool // a ping is wanted without a stanza
}

// maxControl bounds the elements that wait to be written, in octets: a peer that asks and does not read is closed.
const maxControl = 64 << 10

func (s *session) direction() string {
	if s.initiated {
		return "out"
	}
	return "in"
}

func newSession(v *servers, conn *stream.Conn, raw net.Conn) *session {
	s := &session{
		v: v, conn: conn, raw: raw, idle: v.lim().Idle, done: make(chan struct{}), read: make(chan struct{}),
		pairs: map[*pair]*load{}, inbound: map[pairKey]*pair{},
	}
	s.rest.L = &s.mu
	now := time.Now().UnixNano()
	s.seen.Store(now)
	s.carried.Store(now)
	return s
}

// run reads until the stream ends.
func (s *session) run() {
	err := s.hear()
	close(s.read)
	s.end(err)
}

// carry adds a pair whose stanzas are written here.
func (s *session) carry(p *pair) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	if s.pairs[p] == nil {
		s.pairs[p] = &load{}
	}
	return true
}

// accept adds a pair whose stanzas may come.
func (s *session) accept(k pairKey, p *pair) bool {
	s.mu.Lock()
	ok := s.acceptLocked(k, p)
	s.mu.Unlock()
	if ok {
		p.regain()
	}
	return ok
}

// acceptLocked is accept for a caller that holds the lock.
func (s *session) acceptLocked(k pairKey, p *pair) bool {
	if s.over || s.inbound[k] == nil && len(s.inbound) >= s.v.lim().PairsPerStream {
		return false
	}
	if s.inbound[k] == nil {
		p.pins.Add(1)
		s.inbound[k] = p
	}
	return true
}

// hear hands every element of the stream on until it ends, and returns why.
func (s *session) hear() error {
	lim := s.v.a.lim().XML
	r := stanza.NewReader(stream.SpaceServer, lim)
	for {
		raw, err := s.conn.Next()
		now := time.Now().UnixNano()
		s.seen.Store(now)
		unread := err != nil
		var st *stanza.Stanza
		if !unread {
			st, err = r.Read(raw, s.conn.Scope())
		}
		switch {
		case err == io.EOF:
			return errClosed
		case err == nil && st.Kind != 0:
			s.carried.Store(now)
			if st.Kind != stanza.IQ {
				s.v.a.tapped(adapters.Inbound, raw)
			}
			if err := s.receive(st); err != nil {
				return err
			}
		case err == nil:
			if err := s.element(raw); err != nil {
				return err
			}
		case raw == nil || stream.ConditionOf(err) != stream.PolicyViolation || s.unproven.Load():
			return err
		default:
			// One user's stanza exceeds a limit: see path.
			st, headErr := r.ReadHead(raw, s.conn.Scope())
			if headErr == nil && st.Kind == 0 {
				return err
			}
			if headErr == nil {
				if err := s.receive(st); err != nil {
					return err
				}
			} else {
				s.count()
			}
			if unread {
				if err := s.conn.Skip(maxSkip); err != nil {
					return err
				}
			}
		}
	}
}

// The faults of a peer's stanza that end the stream.
var (
	errNoAddress   = &stream.Fault{Condition: stream.ImproperAddressing, Rule: "a stanza between servers without a valid 'from' and 'to'", Section: "RFC 6120 §4.9.3.7"}
	errWrongFrom   = &stream.Fault{Condition: stream.InvalidFrom, Rule: "a stanza from a domain that this stream has not proven", Section: "RFC 6120 §4.9.3.9"}
	errNotProven   = &stream.Fault{Condition: stream.NotAuthorized, Rule: "a stanza on a stream that carries none in this direction", Section: "RFC 6120 §4.9.3.12"}
	errUnknownHere = &stream.Fault{Condition: stream.UnsupportedStanzaType, Rule: "an element that is not supported here", Section: "RFC 6120 §4.9.3.24"}
	errUntrusted   = &stream.Fault{Condition: stream.Reset, Rule: "the certificate that proved the domain is not trusted any more", Section: "RFC 6120 §4.9.3.16"}
	errExpired     = &stream.Fault{Condition: stream.Reset, Rule: "the certificate that proved the domain has ended", Section: "RFC 6120 §4.9.3.16"}
	errNoResources = &stream.Fault{Condition: stream.ResourceConstraint, Rule: "no room for another pair of domains", Section: "RFC 6120 §4.9.3.17"}
)

// receive handles one stanza: first whether this stream may bring it, then what it is. An error ends the stream.
func (s *session) receive(st *stanza.Stanza) (err error) {
	v := s.v
	switch from := st.From.Domain(); {
	case s.nothingProven():
		v.refusedOn(s, "unproven")
		return errNotProven
	case st.From.IsZero() || st.To.IsZero():
		v.refusedOn(s, "no-address")
		return errNoAddress
	case v.a.ours(from):
		// One of our own domains from outside: forged, or a loop (THREATS.md G6, T-ID-08).
		v.refusedOn(s, "reflected")
		return errWrongFrom
	}
	k := pairKey{st.To.Domain(), st.From.Domain()}
	p, foreign := s.pairFor(k)
	if p == nil {
		v.refusedOn(s, "foreign-sender")
		return errWrongFrom
	}
	at, ok := s.arrived()
	if !ok {
		return errClosed // it is resumed elsewhere, where what was not counted comes once more
	}
	defer func() {
		if !at.held {
			at.settle()
		}
	}()
	defer p.survive(st)
	if g := s.management(); g != nil && g.gap() > maxUnanswered {
		return errTooMany
	}
	p.traffic().in.Inc()
	if foreign {
		p.refused("not-our-domain")
		p.fail(st, stanza.ItemNotFound, "")
		return nil
	}
	p.dispatch(st, &at)
	return nil
}

// arrived counts a stanza of the peer. It returns false if the stream is over: what is not counted must not be handled, because the peer
// sends it once more on the stream that resumes this one.
func (s *session) arrived() (at arrival, ok bool) {
	at.patience, at.bidi = &s.patience, s.bidi
	g := s.management()
	if g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.ledger != g {
		return at, false
	}
	if g != nil {
		g.came++
		at.on, at.seq = g, g.came
	}
	return at, true
}

// maxUnanswered bounds the stanzas of a stream that the core has answered while one before them has no answer: 30 s of a very busy one.
const maxUnanswered = 1 << 18

// errTooMany ends a stream on which more came than can be remembered.
var errTooMany = &stream.Fault{Condition: stream.ResourceConstraint, Rule: "more stanzas than can be handled", Section: "RFC 6120 §4.9.3.17"}

// count counts a stanza that could not be read, so that the numbers of XEP-0198 stay right.
func (s *session) count() {
	if at, ok := s.arrived(); ok {
		at.settle()
	}
}

func (s *session) management() *ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger
}

// nothingProven tells whether no stanza may come at all.
func (s *session) nothingProven() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.inbound) == 0
}

// pairFor returns the pair of a stanza's two domains, nil if this stream has not proven the sender's. foreign is true if the
// recipient's is none of ours: then it is the pair of another domain of ours, that the sender can be answered from.
//
// What EXTERNAL proved is the sender's domain (RFC 6120 §13.7.2), so that it may write to each domain of ours; what dialback proved is
// the pair (XEP-0220 §1.2). On a stream that we opened and that goes both ways, it is the inverse of what we may write on it (XEP-0288).
func (s *session) pairFor(k pairKey) (p *pair, foreign bool) {
	s.mu.Lock()
	p = s.inbound[k]
	external := !s.initiated && s.external && s.remote != nil && s.remote.self.Domain() == k.remote
	s.mu.Unlock()
	if p != nil {
		if s.v.side().wire[k.local] == nil {
			return nil, false // a reload took the domain from us
		}
		return p, false
	}
	if h := s.v.side().wire[k.local]; h != nil {
		if !external {
			return nil, false
		}
		if p = s.v.pairOf(h, s.remote); p == nil || !s.accept(k, p) {
			return nil, false
		}
		return p, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for have, p := range s.inbound {
		if have.remote == k.remote {
			return p, true
		}
	}
	return nil, false
}

// refusedOn counts a stanza that ended a stream.
func (v *servers) refusedOn(s *session, cause string) {
	s.mu.Lock()
	label := s.policy.label
	s.mu.Unlock()
	v.a.m.refused.WithLabelValues(label, cause).Inc()
}

// element handles what is no stanza. An error ends the stream.
func (s *session) element(raw []byte) error {
	if se, ok := stream.ReadError(raw, s.conn.Scope(), s.v.a.lim().XML); ok {
		return se
	}
	e, err := strictxml.ParseElement(raw, s.conn.Scope(), s.v.a.lim().XML)
	if err != nil {
		return err
	}
	switch e.Name.Space {
	case stream.SpaceDialback:
		return s.dialback(raw)
	case stream.SpaceManagement:
		return s.manage(raw)
	}
	return errUnknownHere
}

// errQuiet ends a stream that carried nothing for long.
var errQuiet = errors.New("xmpp: the stream was idle")

// end closes the stream for a reason, and lets go of all that it carried. It may be called again, and by any goroutine.
func (s *session) end(err error) { s.endIf(err, func() bool { return true }) }

// endIf is end, if may says so; it is called with the lock held. What comes to be written after that gets another stream.
func (s *session) endIf(err error, may func() bool) {
	s.mu.Lock()
	if !s.over && !may() {
		s.mu.Unlock()
		return
	}
	if s.over {
		s.mu.Unlock()
		<-s.done
		return
	}
	s.over = true
	if s.broken != nil {
		var se *stream.Error
		if !errors.As(err, &se) {
			err = s.broken
		}
	}
	g := s.ledger
	pairs, inbound := s.pairs, s.inbound
	results, verifies := s.results, s.verifies
	sure := s.sure
	s.pairs, s.inbound, s.results, s.verifies, s.queue, s.control, s.acks, s.sure = nil, nil, nil, nil, nil, nil, nil, nil
	s.mu.Unlock()
	s.v.ended(s, err)
	s.conn.Close(stream.ConditionOf(err))
	s.mu.Lock()
	for s.writing { // it has taken stanzas that nobody else may count as lost yet
		s.rest.Wait()
	}
	s.mu.Unlock()
	for _, c := range results {
		close(c)
	}
	for _, c := range verifies {
		close(c)
	}
	if sure != nil {
		close(sure)
	}
	s.v.remove(s)
	lost := broke(err)
	if g == nil || !g.leave(s, pairs, inbound, err) {
		for p := range pairs {
			p.undelivered(p.box.lost())
			p.detach(s)
		}
	}
	if lost && (g == nil || !g.resumable()) {
		loseAll(slices.Collect(maps.Keys(pairs)), slices.Collect(maps.Values(inbound)))
	}
	for _, p := range inbound {
		p.pins.Add(-1)
	}
	close(s.done)
}

// ended counts and logs why a stream ended, once.
func (v *servers) ended(s *session, err error) {
	how, by := "none", "us"
	var se *stream.Error
	switch {
	case errors.As(err, &se):
		how, by = se.Condition.String(), "them"
	case stream.ConditionOf(err) != 0:
		how = stream.ConditionOf(err).String()
	}
	if how != "none" {
		v.a.m.streamErrors.WithLabelValues(by, how).Inc()
	}
	ev := s.log.Info()
	if how != "none" {
		ev = s.log.Warn()
	}
	if se != nil && se.Text != "" {
		ev = ev.Str("remote", se.Text)
	}
	ev.Str("fault", clip(err.Error())).Str("direction", s.direction()).Msg("xmpp: server stream is over")
}
