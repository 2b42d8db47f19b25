package xmpp

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// pair is one of our domains and a remote one: a path whose stream comes and goes. Several pairs may share a stream.
type pair struct {
	path
	v             *servers
	local, remote *host

	// pins is how many streams may bring stanzas for the pair, and how many operations are under way.
	pins atomic.Int32

	mu        sync.Mutex
	out       *session // what carries our stanzas; nil while nothing does
	building  bool     // a goroutine is at work to get one, or to resume the one that was
	turn      int      // counts who builds: whose turn it is not any more touches nothing
	parked    *ledger  // what resumes the stream that was; no other stream may carry the pair meanwhile
	hops      []resolver.Target
	hopsAt    time.Time
	failures  int             // attempts in a row that failed
	notBefore time.Time       // no attempt before
	why       adapters.Status // of the last attempt that failed
	used      time.Time
	deaf      bool // it has never answered a ping: see session.unanswering
	broken    bool // a stream that carried it broke, or none ever did, and none came in its place
}

func newPair(v *servers, local, remote *host) *pair {
	p := &pair{v: v, local: local, remote: remote, used: time.Now(), broken: true}
	p.path = path{
		a: v.a, name: func() string { return p.policy().label }, self: local.self, pinged: remote.self, box: newOutbox(*v.a.lim(), p.poke),
		log: v.log.With().Str("domain", local.domain).Str("remote", remote.domain).Logger(),
	}
	p.box.all = &v.waiting
	return p
}

// policy is what is allowed with the remote domain now. A pair outlives reloads, so it keeps none.
func (p *pair) policy() *remotePolicy { return p.v.side().policyOf(p.remote.domain) }

func (p *pair) touch() {
	p.mu.Lock()
	p.used = time.Now()
	p.mu.Unlock()
}

// lead tells where the remote domain's servers are, as the core found them.
func (p *pair) lead(hops []resolver.Target) {
	p.mu.Lock()
	p.hops, p.hopsAt, p.used = hops, time.Now(), time.Now()
	p.mu.Unlock()
}

// forgotten is how long a pair is kept after its last use, so that its failures count.
const forgotten = 5 * time.Minute

// forgettable tells whether nothing needs the pair at now; zero: whether it could be done without if room is needed.
func (p *pair) forgettable(now time.Time) bool {
	if p.pins.Load() > 0 || p.unanswered.Load() > 0 || !p.box.idle() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out == nil && !p.building && (now.IsZero() || now.Sub(p.used) > forgotten && now.After(p.notBefore))
}

// reachable tells whether a stream carries the pair, or will soon.
func (p *pair) reachable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out != nil || p.building
}

// poke is called when there may be something to write; the outbox is locked.
func (p *pair) poke() {
	p.mu.Lock()
	s := p.out
	build := s == nil && !p.building
	if build {
		p.building = true
		p.turn++
	}
	turn := p.turn
	p.used = time.Now()
	p.mu.Unlock()
	switch {
	case s != nil:
		s.kick(p)
	case build:
		p.v.spawn(func() { p.build(turn) })
	}
}

// nudge is poke if anything waits.
func (p *pair) nudge() {
	if n, _ := p.box.depth(); n > 0 && p.a.base.Err() == nil {
		p.poke()
	}
}

// spawn runs f on a goroutine that stop waits for. It returns false, and does nothing, when stop does already.
func (v *servers) spawn(f func()) bool {
	v.spawning.Lock()
	defer v.spawning.Unlock()
	if !v.finished {
		v.running.Go(f)
	}
	return !v.finished
}

// attach makes s what carries our stanzas. It returns false if another stream does already, or is being resumed for it; g is what resumes
// it, if s is that one.
func (p *pair) attach(s *session, g *ledger) bool {
	p.mu.Lock()
	if p.out != nil && p.out != s || p.parked != g {
		p.mu.Unlock()
		return false
	}
	turn := p.turn
	p.out, p.failures, p.why, p.notBefore = s, 0, adapters.Status{}, time.Time{}
	p.mu.Unlock()
	p.box.bound(s.maxBytes)
	carried := s.carry(p)
	p.mu.Lock()
	switch {
	case !carried && p.out == s:
		p.out = nil
	case carried && p.turn == turn: // whoever was building need not any more
		p.building, p.parked = false, nil
		p.turn++
	}
	p.mu.Unlock()
	if carried {
		p.regain()
		s.kick(p)
		p.nudge() // it may be over already
	}
	return carried
}

// detach ends what attach began. What waits gets another stream.
func (p *pair) detach(s *session) {
	p.mu.Lock()
	if p.out != s {
		p.mu.Unlock()
		return
	}
	p.out = nil
	p.mu.Unlock()
	p.nudge()
}

// park keeps the pair for g, which resumes the stream s.
func (p *pair) park(s *session, g *ledger) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out != s {
		return false
	}
	p.out, p.building, p.parked = nil, true, g
	p.turn++
	return true
}

// unpark ends that: what waits gets another stream.
func (p *pair) unpark(g *ledger) {
	p.mu.Lock()
	if p.parked == g {
		p.building, p.parked = false, nil
		p.turn++
	}
	p.mu.Unlock()
	p.nudge()
}

// unavailable tells an operation that cannot be served before its deadline why, so that it does not wait in vain.
func (p *pair) unavailable(deadline time.Time) (adapters.Status, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out == nil && p.why.Outcome != 0 && p.notBefore.After(deadline) {
		return p.why, true
	}
	return adapters.Status{}, false
}

// send is path.send for an operation that need not be queued if the next attempt to reach the domain is too late for it.
func (p *pair) send(ctx context.Context, it *item, deadline time.Time) adapters.Status {
	if p = p.v.use(p); p == nil {
		return adapters.Failed(adapters.ReasonOverloaded, "")
	}
	defer p.pins.Add(-1)
	by := deadline
	if by.IsZero() {
		by = time.Now().Add(p.a.lim().Deadline)
	}
	if st, ok := p.unavailable(by); ok {
		return st
	}
	return p.path.send(ctx, it, deadline)
}

// build gets the pair a stream, and waits before that as its failures demand. It ends when there is one, or nothing waits for it.
func (p *pair) build(turn int) {
	for {
		p.mu.Lock()
		mine, wait := p.turn == turn, time.Until(p.notBefore)
		p.mu.Unlock()
		if !mine || wait > 0 && !p.pause(wait) && p.given(turn) {
			return
		}
		s, err := p.v.obtain(p.a.base, p)
		if err == nil && p.attach(s, nil) {
			return
		}
		if err == nil {
			err = errClosed // it ended, or another stream came meanwhile
		}
		if err != errUnwanted { //nolint:errorlint // it is returned as it is
			p.giveUp(turn, err)
		}
		if p.given(turn) {
			return
		}
	}
}

// pause waits, and returns false if the adapter stops meanwhile, or another stream has come.
func (p *pair) pause(wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.a.base.Done():
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out == nil
}

// given ends build, unless something waits that nobody would write otherwise.
func (p *pair) given(turn int) bool {
	n, _ := p.box.depth()
	p.mu.Lock()
	if p.turn != turn {
		p.mu.Unlock()
		return true
	}
	if n > 0 && p.out == nil && p.a.base.Err() == nil {
		p.mu.Unlock()
		return false
	}
	p.building = false
	p.turn++
	p.mu.Unlock()
	p.nudge() // what came just now found somebody at work
	return true
}

// giveUp settles what waits with the reason why no stream could be had. The next attempt is later.
func (p *pair) giveUp(turn int, err error) {
	p.mu.Lock()
	if p.out != nil || p.turn != turn { // one was opened to us, and carries both ways
		p.mu.Unlock()
		return
	}
	st := failedStream(err)
	p.why = st
	p.notBefore = time.Now().Add(p.a.back().delay(p.failures, rand.Float64()))
	p.failures++
	wait := time.Until(p.notBefore)
	p.mu.Unlock()
	if p.a.base.Err() != nil {
		st = adapters.Failed(adapters.ReasonDomainTimeout, "")
	} else {
		p.log.Warn().Str("fault", clip(err.Error())).Str("reason", st.Reason.String()).Dur("retry_in", wait).Msg("xmpp: no stream to this domain")
	}
	p.undelivered(p.box.refuse(st))
}

// wanted tells whether anything waits for a stream.
func (p *pair) wanted() bool {
	n, _ := p.box.depth()
	return n > 0
}

// errUnwanted is when nothing waits any more for the stream that was to be opened.
var errUnwanted = errors.New("xmpp: nothing waits for a stream")

// errNoRoom is in the error when the bounds on streams leave no room for one.
var errNoRoom = errors.New("xmpp: too many streams are open")

// clip cuts a text for the log.
func clip(s string) string { return s[:min(len(s), 256)] }
