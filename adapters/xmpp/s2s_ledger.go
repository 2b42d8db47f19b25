package xmpp

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

// ledger counts the stanzas of one stream and of those that resume it (XEP-0198).
//
// What comes is counted as handled when the core has answered it, in order: h is the length of the prefix that was answered, so that
// what it acknowledges is what the core has said. What leaves is kept by its pair's outbox until the peer's h covers it.
//
// Its lock is held before a session's, and never while an outbox is called.
type ledger struct {
	v             *servers
	initiated     bool
	local, remote string // of the stream, as JIDs have them: who may resume it
	id            string // "" if it cannot be resumed

	mu       sync.Mutex
	counts   stream.Management
	on       *session            // nil between two streams
	from     *session            // the last of them
	came     uint32              // stanzas of the peer
	prefix   uint32              // of these, those answered without a gap
	answered map[uint32]struct{} // those answered beyond a gap
	told     uint32              // the last h that was sent
	asked    bool                // the peer has asked, and was told less than it had sent
	sent     []sent
	waiting  time.Time // since when an <r/> has no answer; zero if none is open
	moved    time.Time // when the last stanza was acknowledged, or the first one sent
	over     time.Time // between two streams: when it can no longer be resumed
	pairs    []*pair   // between two streams: whose stanzas are on their way
	heard    []*pair   // between two streams: whose stanzas came
	ended    bool
}

// sent is how many stanzas of which pair left in a row.
type sent struct {
	p *pair
	n int
}

func newLedger(s *session) *ledger {
	return &ledger{v: s.v, initiated: s.initiated, local: s.local.self.Domain(), remote: s.remote.self.Domain(), on: s, from: s, answered: map[uint32]struct{}{}}
}

// gap is how many stanzas of the peer came since the first one that has no answer.
func (g *ledger) gap() uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.came - g.prefix
}

// handled counts a stanza of the peer as answered.
func (g *ledger) handled(seq uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch n := seq - g.prefix; {
	case n == 0 || n > 1<<31:
		return // counted already, when the stream was resumed
	case n > 1:
		g.answered[seq] = struct{}{}
		return
	}
	for {
		g.prefix++
		g.counts.Handled()
		if _, ok := g.answered[g.prefix+1]; !ok {
			break
		}
		delete(g.answered, g.prefix+1)
	}
	if g.asked && g.prefix == g.came {
		g.tell()
	}
}

// tell sends h. The caller holds the lock.
func (g *ledger) tell() {
	g.told, g.asked = g.prefix, g.prefix != g.came
	if g.on != nil {
		g.on.acknowledge(stream.AppendManagement(nil, &stream.ManagementElement{Kind: stream.Answer, H: g.counts.H()}))
	}
}

// ask answers the peer's <r/>.
func (g *ledger) ask() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tell()
}

// leaving counts what is about to be written and asks for an acknowledgement, once for each write.
func (g *ledger) leaving(buf []byte, batches []batch, now time.Time) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.counts.Unacked() == 0 {
		g.moved = now
	}
	for _, b := range batches {
		for range b.n {
			g.counts.Sent()
		}
		if last := len(g.sent) - 1; last >= 0 && g.sent[last].p == b.p {
			g.sent[last].n += b.n
		} else {
			g.sent = append(g.sent, sent{b.p, b.n})
		}
	}
	if g.waiting.IsZero() {
		g.waiting = now
	}
	g.v.a.m.acks.WithLabelValues("asked").Inc()
	return stream.AppendManagement(buf, &stream.ManagementElement{Kind: stream.Ask})
}

// stayed takes back what leaving counted: none of it was written.
func (g *ledger) stayed(batches []batch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range slices.Backward(batches) {
		last := len(g.sent) - 1
		if g.sent[last].n -= b.n; g.sent[last].n == 0 {
			g.sent = g.sent[:last]
		}
		g.counts.Unsent(b.n)
	}
}

// probe asks for an acknowledgement to see whether the peer is there.
func (g *ledger) probe(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.on == nil || !g.waiting.IsZero() {
		return
	}
	g.waiting = now
	g.on.say(stream.AppendManagement(nil, &stream.ManagementElement{Kind: stream.Ask}))
}

// acknowledged settles what the peer's h covers. The error, a *stream.Fault, ends the stream: it is more than was sent, or less than
// was acknowledged before.
func (g *ledger) acknowledged(h uint32) error {
	g.mu.Lock()
	n, err := g.counts.AckTo(h)
	if err != nil {
		g.mu.Unlock()
		return err
	}
	g.waiting = time.Time{}
	if n > 0 {
		g.moved = time.Now()
	}
	covered := g.cover(n)
	g.mu.Unlock()
	g.v.a.m.acks.WithLabelValues("got").Inc()
	for _, c := range covered {
		c.p.box.acknowledgeCounted(c.n)
	}
	return nil
}

// cover takes the first n stanzas off what is on its way. The caller holds the lock.
func (g *ledger) cover(n int) (covered []sent) {
	for n > 0 && len(g.sent) > 0 {
		first := &g.sent[0]
		k := min(n, first.n)
		covered = append(covered, sent{first.p, k})
		n -= k
		if first.n -= k; first.n == 0 {
			g.sent = g.sent[1:]
		}
	}
	return covered
}

// silent tells whether the peer leaves what it owes: an answer to an <r/>, or any progress (T-FI-25, T-FI-27).
func (g *ledger) silent(now time.Time) bool {
	lim := g.v.a.lim()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked && g.prefix != g.told {
		g.tell() // not all of what was asked for, but more than was told
	}
	return !g.waiting.IsZero() && now.Sub(g.waiting) >= lim.PingTimeout ||
		g.counts.Unacked() > 0 && now.Sub(g.moved) >= lim.KeepAlive+lim.PingTimeout
}

// leave is called when the stream ended. It returns false if the stream cannot be resumed, and what is on its way is lost.
func (g *ledger) leave(s *session, pairs map[*pair]*load, inbound map[pairKey]*pair, why error) bool {
	resumed, kept := g.release(s, pairs, inbound, why)
	switch {
	case kept:
		g.v.resumableNow(g)
	case resumed && !g.v.spawn(func() { g.v.resume(g, s) }):
		g.abandon() // the end has come: whoever waits is told now, not at their deadline
	}
	return resumed
}

// release decides what becomes of the ledger: resumed, if we resume the stream ourselves; kept, if the peer may.
func (g *ledger) release(s *session, pairs map[*pair]*load, inbound map[pairKey]*pair, why error) (resumed, kept bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.on != s || g.ended {
		return false, false
	}
	g.on, g.waiting = nil, time.Time{}
	// What was closed in an orderly way, or for a fault of the stream, is not resumed: "unexpectedly" (XEP-0198 §5).
	var se *stream.Error
	orderly := errors.Is(why, errClosed) || errors.Is(why, errStopping) || errors.Is(why, errQuiet) || stream.ConditionOf(why) != 0 ||
		errors.As(why, &se) && se.Condition != stream.ConnectionTimeout && se.Condition != stream.Reset && se.Condition != stream.SystemShutdown
	if orderly || g.id == "" {
		g.ended = true
		return false, false
	}
	now := time.Now()
	g.over = now.Add(g.v.lim().Resume)
	heard := slices.Collect(maps.Values(inbound))
	if !g.initiated {
		// The one who opened it resumes it, or does not. What is on its way to it is not waited for as long as it may take.
		if len(g.sent) > 0 {
			g.ended = true
			return false, false
		}
		g.heard = heard
		return false, true
	}
	g.heard = heard
	for p := range pairs {
		if p.park(s, g) {
			g.pairs = append(g.pairs, p)
		}
	}
	return true, false
}

// named tells whether the peer may resume the stream by this id.
func (g *ledger) named(id, local, remote string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.initiated && g.id == id && g.local == local && g.remote == remote && !g.ended
}

// lastRead is closed when nothing is being handled any more that came on the last stream.
func (g *ledger) lastRead() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.from.read
}

// expired tells whether it can no longer be resumed.
func (g *ledger) expired(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.on == nil && now.After(g.over)
}

// abandon ends a ledger that nobody resumed: what was on its way may have arrived.
func (g *ledger) abandon() {
	g.mu.Lock()
	pairs, heard := g.pairs, g.heard
	g.pairs, g.heard, g.ended, g.sent = nil, nil, true, nil
	g.mu.Unlock()
	loseAll(pairs, heard)
	for _, p := range pairs {
		p.undelivered(p.box.lost())
		p.unpark(g)
	}
}

// refuse ends a ledger whose resumption the peer refused. hasH: the peer has said how much it had handled, so that the rest surely was
// not, and is written once more on another stream (XEP-0198 §5).
func (g *ledger) refuse(h uint32, hasH bool) {
	if !hasH || g.acknowledged(h) != nil {
		g.abandon()
		return
	}
	g.mu.Lock()
	pairs, heard := g.pairs, g.heard
	g.pairs, g.heard, g.ended, g.sent = nil, nil, true, nil
	g.mu.Unlock()
	loseAll(pairs, heard)
	for _, p := range pairs {
		p.box.resend()
		p.unpark(g)
	}
}

// received counts all that came as handled, and returns h: what is resumed must not be written once more, and the core has taken all of
// it. What it refuses its sender is told by an error.
func (g *ledger) received() uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all()
}

// all is received; the caller holds the lock.
func (g *ledger) all() uint32 {
	for ; g.prefix != g.came; g.prefix++ {
		g.counts.Handled()
	}
	clear(g.answered)
	g.told, g.asked = g.prefix, false
	return g.counts.H()
}

// revive moves the ledger of a stream that was opened to us to one that resumes it. Nothing of ours is on its way: see leave.
func (g *ledger) revive(s *session, peer uint32) (h uint32, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := g.counts.AckTo(peer); err != nil {
		g.ended = true
		return 0, err
	}
	g.counts.Unsent(g.counts.Unacked())
	g.on, g.from, g.over, g.waiting, g.heard = s, s, time.Time{}, time.Time{}, nil
	return g.all(), nil
}

// takeOver moves the ledger to a stream that resumes it. The peer has handled h of ours: the rest is written once more. The pairs it
// returns are to be attached to the stream.
func (g *ledger) takeOver(s *session, h uint32) ([]*pair, error) {
	if err := g.acknowledged(h); err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.counts.Unsent(g.counts.Unacked())
	g.on, g.sent, g.waiting, g.over = s, nil, time.Time{}, time.Time{}
	pairs := g.pairs
	g.pairs, g.heard = nil, nil
	g.mu.Unlock()
	for _, p := range pairs {
		p.box.resend()
	}
	return pairs, nil
}
