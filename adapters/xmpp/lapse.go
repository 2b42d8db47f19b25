package xmpp

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim/iscomposing"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// XMPP has no end for a chat state: a client shows "composing" until it hears otherwise. RFC 3994 §3.3 has one: the state of the receiver, which
// here is the gateway, goes from "active" to "idle" when "The refresh interval expires", since a user agent that crashed says nothing more.

const (
	// maxComposing is how many composing users are waited for. When it is full, no others' composing is told: nobody could end it.
	maxComposing = 8192
	// longestComposing bounds how long "composing" stands without being said again, whatever refresh interval the user agent promised: a
	// place in the table is not had for a day.
	longestComposing = 10 * time.Minute
	// lapseDeadline is for how long it is tried to tell that one has lapsed.
	lapseDeadline = 5 * time.Second
)

// lapses are the "composing" that clients were told and that nothing has ended yet. Safe for use from many goroutines.
type lapses struct {
	mu      sync.Mutex
	pending map[talkers]*lapse
	ended   bool
}

// lapse is one of them.
type lapse struct {
	timer *time.Timer
	op    adapters.MessageOp // what is told then
	hops  []resolver.Target
}

// follow takes note of what our user does: composing begins a wait, or begins it anew, and anything else ends it. It is false for a composing
// that there is no room for.
func (w *lapses) follow(op *adapters.MessageOp, hops []resolver.Target, tell func(*lapse)) bool {
	p := talkers{ours: op.From.Address, theirs: op.To.Address}
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.pending[p]
	if op.Activity != adapters.ActivityComposing {
		if last != nil {
			last.timer.Stop()
			delete(w.pending, p)
		}
		return true
	}
	if w.ended || last == nil && len(w.pending) >= maxComposing {
		return false
	}
	if last != nil {
		last.timer.Stop()
	}
	wait := op.ActivityRefresh
	if wait <= 0 {
		wait = iscomposing.DefaultRefresh // "otherwise, it is 120 seconds" (RFC 3994 §3.3)
	}
	p = talkers{ours: p.ours.Clone(), theirs: p.theirs.Clone()}
	l := &lapse{hops: slices.Clone(hops), op: adapters.MessageOp{
		From: adapters.Party{Address: p.ours, Instance: strings.Clone(op.From.Instance)},
		To:   adapters.Party{Address: p.theirs, Instance: strings.Clone(op.To.Instance)},
		// "idle -> active" (RFC 7573 §6, Table 3)
		Thread: strings.Clone(op.Thread), ParentThread: strings.Clone(op.ParentThread), Activity: adapters.ActivityActive,
	}}
	l.timer = time.AfterFunc(min(wait, longestComposing), func() {
		w.mu.Lock()
		due := w.pending[p] == l
		if due {
			delete(w.pending, p)
		}
		w.mu.Unlock()
		if due {
			tell(l)
		}
	})
	if w.pending == nil {
		w.pending = map[talkers]*lapse{}
	}
	w.pending[p] = l
	return true
}

// end stops all waits.
func (w *lapses) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.pending {
		l.timer.Stop()
	}
	w.pending, w.ended = nil, true
}

// lapsed tells a client that our user composes no more. Nobody hears of its failure.
func (a *Adapter) lapsed(l *lapse) {
	ctx, cancel := context.WithTimeout(a.base, lapseDeadline)
	defer cancel()
	l.op.Deadline = time.Now().Add(lapseDeadline)
	if envelope, wanted := a.talks.tell(&l.op); wanted {
		a.carry(ctx, l.hops, &l.op, envelope)
	}
}
