package faults

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// message is what the ledger knows of one.
type message struct {
	id, pair string
	offered  time.Time
	code     int // the first final answer; 0: none
	acked    int // its place among the acknowledged of its pair, from 1
	copies   []arrival
	failed   []time.Time
	doubted  int  // times that its sender was told that the outcome is not known
	frames   int  // that the gateway sent for it, in either direction
	crossing bool // from XMPP to SIP: nobody acknowledges there
	story    []line
}

// line is one thing that happened.
type line struct {
	at   time.Time
	what string
}

// arrival is one delivery.
type arrival struct {
	id  string // as the other side calls it
	at  time.Time
	seq int // among all arrivals
}

// ledger records one round. Safe for use from many goroutines.
type ledger struct {
	mu       sync.Mutex
	messages map[string]*message
	order    map[string]int // acknowledged, by pair
	arrivals int
	strange  []string
	changed  time.Time
	events   []line // of the round, not of one message
}

func newLedger() *ledger {
	return &ledger{messages: map[string]*message{}, order: map[string]int{}, changed: time.Now()}
}

// note notes what happens to the round.
func (l *ledger) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, line{time.Now(), fmt.Sprintf(format, args...)})
}

// say notes what happens to a message. The caller holds the lock.
func (m *message) say(format string, args ...any) {
	m.story = append(m.story, line{time.Now(), fmt.Sprintf(format, args...)})
}

// frame counts something that the gateway sent: text names the message that it is about, as its identifier or the beginning of one.
func (l *ledger) frame(text, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.messages[text]
	if id, _, ok := strings.Cut(text, "."); m == nil && ok { // a token stands behind the sender's own
		m = l.messages[id]
	}
	if m == nil {
		l.strange = append(l.strange, fmt.Sprintf("I7: the gateway sent %s that belongs to no message, %.80q", what, text))
		return
	}
	m.frames++
	m.say("the gateway sends %s", what)
}

func (l *ledger) offer(id, pair string, crossing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = time.Now()
	m := &message{id: id, pair: pair, offered: l.changed, crossing: crossing}
	m.say("offered")
	if crossing {
		l.order[pair]++
		m.acked = l.order[pair]
	}
	l.messages[id] = m
}

func (l *ledger) answer(id string, code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = time.Now()
	m := l.messages[id]
	if m == nil || m.code != 0 {
		return
	}
	m.say("answered with %d", code)
	if m.code = code; code < 300 {
		l.order[m.pair]++
		m.acked = l.order[m.pair]
	}
}

func (l *ledger) deliver(text, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = time.Now()
	m := l.messages[text]
	if m == nil {
		l.strange = append(l.strange, fmt.Sprintf("I6: %q was delivered and never offered", text))
		return
	}
	l.arrivals++
	m.say("delivered as %s", id)
	m.copies = append(m.copies, arrival{id, l.changed, l.arrivals})
}

// fail notes a notice of failure. A sender that had no answer yet has one thereby.
func (l *ledger) fail(id string) {
	l.notice(id, func(m *message) {
		m.failed = append(m.failed, l.changed)
		m.say("its sender is told that it failed")
	})
}

// doubt notes a notice that the outcome is not known.
func (l *ledger) doubt(id string) {
	l.notice(id, func(m *message) {
		m.doubted++
		m.say("its sender is told that its outcome is not known")
	})
}

func (l *ledger) notice(id string, f func(*message)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = time.Now()
	if m := l.messages[id]; m != nil {
		f(m)
		return
	}
	l.strange = append(l.strange, fmt.Sprintf("I6: a notice of %q, which was never offered", id))
}

// open is how many acknowledged messages have no outcome yet.
func (l *ledger) open() (n int, quiet time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		if !m.crossing && m.acked != 0 && len(m.copies) == 0 && len(m.failed) == 0 && m.doubted == 0 {
			n++
		}
	}
	return n, time.Since(l.changed)
}

// counts are the sums of a round.
func (l *ledger) counts() (c Counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		c.Offered++
		if !m.crossing && m.acked != 0 {
			c.Acknowledged++
		}
		if len(m.copies) > 0 {
			c.Delivered++
			c.Copies += len(m.copies) - 1
		}
		if n := len(m.failed) + m.doubted; n > 0 {
			c.Notified++
			c.Copies += n - 1
		}
	}
	return c
}

// unknown are the answers that say that the outcome is not known: such a message may have been delivered.
var unknown = []int{408, 500, 504}

// refused are the messages that were not answered well, but for those to somebody whom there is not: nothing that is done to the gateway in such a round is a reason for that.
func (l *ledger) refused() (bad []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		if !m.crossing && (m.code < 200 || m.code >= 300) && !(m.code == 604 && strings.Contains(m.pair, " to gone@")) {
			bad = append(bad, fmt.Sprintf("T-FI-22: %s of %s was answered %d", m.id, m.pair, m.code))
		}
	}
	return bad
}

// maxFrames bounds what the gateway may send for one message without a crash (I7).
const maxFrames = 4

// tell is the story of a message, with what happened to the round meanwhile. The caller holds the lock.
func (l *ledger) tell(m *message) string {
	const most = 60
	all := slices.Concat(m.story, l.events)
	slices.SortStableFunc(all, func(a, b line) int { return a.at.Compare(b.at) })
	var w strings.Builder
	for i, e := range all {
		if i == most {
			fmt.Fprintf(&w, "\n      and %d lines more", len(all)-most)
			break
		}
		fmt.Fprintf(&w, "\n    %+8.3f s  %s", e.at.Sub(m.offered).Seconds(), e.what)
	}
	return w.String()
}

// check returns what breaks the invariants after a round with so many crashes.
func (l *ledger) check(crashes int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	bad := slices.Clone(l.strange)
	say := func(m *message, format string, args ...any) {
		bad = append(bad, fmt.Sprintf(format, args...)+fmt.Sprintf(" (%s, %s, answer %d, %d deliveries, %d notices, %d of doubt)", m.pair, m.id, m.code, len(m.copies), len(m.failed), m.doubted)+l.tell(m))
	}
	pairs := map[string][]*message{}
	for _, m := range l.messages {
		// A notice is one message too: one that was under way in a crash may come again.
		if n := len(m.failed) + m.doubted - 1; n > crashes {
			say(m, "I3: %d notices too many with %d crashes", n, crashes)
		}
		if len(m.copies) > 0 && len(m.failed) > 0 {
			say(m, "I3: delivered, and its sender was told that it was not")
		}
		if len(m.copies) > 0 && m.code >= 300 && !slices.Contains(unknown, m.code) {
			say(m, "I3: delivered, and refused")
		}
		if m.frames > maxFrames+2*crashes {
			say(m, "I7: %d frames with %d crashes", m.frames, crashes)
		}
		if n := len(m.copies) - 1; n > crashes {
			say(m, "I2: %d copies with %d crashes", n, crashes)
		}
		for _, c := range m.copies[min(1, len(m.copies)):] {
			if c.id != m.copies[0].id {
				say(m, "I2: a copy with another id, %q and %q", m.copies[0].id, c.id)
			}
		}
		if m.acked == 0 {
			continue
		}
		if !m.crossing && len(m.copies) == 0 && len(m.failed) == 0 && m.doubted == 0 {
			say(m, "I1: acknowledged and lost")
		}
		if len(m.copies) > 0 {
			pairs[m.pair] = append(pairs[m.pair], m)
		}
	}
	for _, list := range pairs {
		slices.SortFunc(list, func(a, b *message) int { return a.acked - b.acked })
		for i := 1; i < len(list); i++ {
			if list[i].copies[0].seq < list[i-1].copies[0].seq {
				say(list[i], "I4: delivered before %s, which came first", list[i-1].id)
			}
		}
	}
	slices.Sort(bad)
	return bad
}
