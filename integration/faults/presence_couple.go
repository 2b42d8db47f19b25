package faults

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// consent is what one user has decided of the other's wish to see her.
type consent uint8

const (
	unasked consent = iota
	asked           // and not decided
	allowed
	refused
)

func (c consent) String() string { return [...]string{"not asked", "asked", "allowed", "refused"}[c] }

// couple is two users who watch each other through the gateway: juliet on the XMPP side, with what her server keeps of her, and romeo with
// his user agent on the SIP side. What one of them last said is a word, "" for gone; what the other shows of it is the same word, or "".
type couple struct {
	number        int
	juliet, romeo string // addresses

	// mu guards all below.
	mu sync.Mutex
	// asks is juliet's wish to see romeo, as her roster has it: unasked, asked, allowed. wishes counts how often she made it; asksAt is when
	// it last changed, lastWish what her server said last of it, and wishAt when.
	asks     consent
	wishes   int
	asksAt   time.Time
	lastWish string
	wishAt   time.Time
	// online is whether she is there, status what she last said, shown what her client shows of each of romeo's devices, decided what
	// she has decided of romeo.
	online  bool
	status  string
	spokeAt time.Time // when her server last said anything of her
	shown   map[string]string
	decided consent

	// rule is what romeo has decided of juliet, for which of her wishes, and whether the gateway has acknowledged a refusal; says is what he
	// last said; served are the dialogs in which he is watched.
	rule         consent
	ruleFor      int
	acknowledged bool
	says         string
	served       map[string]*served
	// wants is whether he wants to see juliet, since when; watch is the dialog in which he does, nil while there is none; seen is what
	// he shows of her. asking tells that a SUBSCRIBE for it is under way, which nobody can take back (RFC 3261 §9.1), and which the gateway may have begun to
	// follow before it was killed: wantsAt is no earlier than its end.
	wants   bool
	wantsAt time.Time
	asking  bool
	watch   *watchOf
	seen    string

	events []line
	bad    []string
	counts Counts
	lag    *lag
	faults []time.Time // when a gateway of several was ended, or came back
	unique bool        // P5 holds: a gateway that is started again asks and tells anew, one that takes over from another need not
}

func newCouple(i int, l *lag) *couple {
	return &couple{
		number: i, juliet: fmt.Sprintf("juliet%d@xmpp.test", i), romeo: fmt.Sprintf("romeo%d@sip.test", i),
		shown: map[string]string{}, served: map[string]*served{}, online: true, status: "j0", says: "r0", lag: l,
	}
}

// settleTime is how long something of before may still be under way when it is no violation any more, on a machine that has nothing else to do.
const settleTime = 3 * time.Second

// settled tells whether nothing of what was said until then can still be under way. Where a gateway of several went or came since then, or shortly before, it
// may have been said while nobody owned the pair, or no leader could write it down, and is done when somebody does.
//
// Judgement of the 15 s (P2): they are needed, because what was wished is kept by whoever took it until it can be written (9 s for an election, 10 s for
// a lease at most, not one after the other), and a watcher may wish otherwise meanwhile. They hide no request that comes later or twice: those of P2 are
// shown for a wish that was withdrawn before the fault, or 18 s ago. Away from a fault it is 3 s, as with one gateway.
func (c *couple) settled(since time.Time) bool {
	wait := settleTime
	if slices.ContainsFunc(c.faults, func(at time.Time) bool { return at.After(since.Add(-takeoverBound)) }) {
		wait += takeoverBound
	}
	return time.Since(since) > wait+20*c.lag.worst()
}

// abstains tells whether romeo does not ask to see juliet, and nothing with which he did so can still be under way. c.mu is held.
func (c *couple) abstains() bool {
	return !c.wants && !c.asking && c.watch == nil && c.settled(c.wantsAt)
}

// answered tells whether nothing of what was asked and answered until then can still be under way: whoever answered was there to do it.
func (c *couple) answered(since time.Time) bool {
	return time.Since(since) > settleTime+20*c.lag.worst()
}

// note notes what happens. c.mu is held.
func (c *couple) note(format string, args ...any) {
	c.events = append(c.events, line{time.Now(), fmt.Sprintf(format, args...)})
}

// broke notes a violation. c.mu is held.
func (c *couple) broke(format string, args ...any) {
	c.note("VIOLATION: "+format, args...)
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

// wrong is why the two do not agree with each other: P1, each shows what the other last said, and knows what the other decided. "" if they do.
func (c *couple) wrong() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrongLocked()
}

func (c *couple) wrongLocked() string {
	shows := func() string {
		for _, word := range c.shown { // romeo has one device
			return word
		}
		return ""
	}()
	says := c.status
	if !c.online {
		says = ""
	}
	switch {
	case !c.online: // her client shows nothing, and she is told when she comes
	case len(c.shown) > 1:
		return fmt.Sprintf("P1: %s shows devices of %s that he has not: %v", c.juliet, c.romeo, c.shown)
	case c.asks == asked && c.rule != asked:
		return fmt.Sprintf("P1: %s waits for the decision of %s, who has decided: %s", c.juliet, c.romeo, c.rule)
	case c.asks == allowed && c.rule == refused:
		return fmt.Sprintf("P1: %s does not know that %s refused her", c.juliet, c.romeo)
	case c.asks == allowed && c.rule == allowed && shows != c.says:
		return fmt.Sprintf("P1: %s shows %q of %s, who said %q", c.juliet, shows, c.romeo, c.says)
	case c.rule != allowed && shows != "":
		return fmt.Sprintf("P1: %s shows %q of %s, which he has not allowed", c.juliet, shows, c.romeo)
	}
	switch {
	case !c.wants:
	case c.watch == nil:
		return fmt.Sprintf("P1: %s wants to see %s, and has no watch", c.romeo, c.juliet)
	case c.decided == allowed && c.seen != says:
		return fmt.Sprintf("P1: %s shows %q of %s, who said %q", c.romeo, c.seen, c.juliet, says)
	case c.decided != allowed && c.seen != "":
		return fmt.Sprintf("P1: %s shows %q of %s, who has not allowed it", c.romeo, c.seen, c.juliet)
	case c.decided == unasked:
		return fmt.Sprintf("P1: %s waits for the decision of %s, who was not asked", c.romeo, c.juliet)
	}
	return ""
}

// story is what happened to the couple, the last of it, with what happened to the round.
func (c *couple) story(round []line) string {
	const most = 100
	all := slices.Concat(c.events, round)
	slices.SortStableFunc(all, func(a, b line) int { return a.at.Compare(b.at) })
	all = all[max(0, len(all)-most):]
	var w strings.Builder
	for _, e := range all {
		fmt.Fprintf(&w, "\n    %s  %s", e.at.Format("05.000"), e.what)
	}
	return w.String()
}
