package xmpp

import (
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
)

// Software is what is told of this program to who asks (XEP-0092). OS is told unless it is ""; without a Name nothing is.
type Software struct{ Name, Version, OS string }

// answer makes the answer to a request, nil for none. ok is false if the sender's domain asks too often.
func (a *Adapter) answer(s *stanza.Stanza) (octets []byte, ok bool) {
	now := time.Now()
	if !a.answers.allow(s.From.Domain(), now) {
		return nil, false
	}
	about := stanza.About{Software: a.now.Load().software.Name, Version: a.now.Load().software.Version, OS: a.now.Load().software.OS, Uptime: now.Sub(a.since)}
	return stanza.AppendAnswer(nil, s, about), true
}

// answered takes the answer to a request of ours other than a ping. It returns false for one that nothing asked for.
func (a *Adapter) answered(s *stanza.Stanza) bool {
	learnt, ours := a.caps.answered(s, time.Now())
	if learnt != (capsHash{}) {
		if w, ok := a.caps.wanted(learnt); ok {
			a.personal.learnt(learnt, w)
		}
	}
	return ours
}

// capabilities adds to op what is known of the capabilities of s's sender. It returns the request that asks for them, if nothing is.
func (a *Adapter) capabilities(s *stanza.Stanza, op *adapters.NotifyOp) []byte {
	return a.caps.tell(s, op, time.Now())
}

// Bounds of what is answered. Requests come from strangers, and the room for answers is that of everybody's messages.
const (
	answersPerSecond = 500  // to one domain
	answersAtOnce    = 2000 // to one domain that asked for none for a while
	maxBraked        = 1024
)

// brake bounds how many requests of one domain are answered. It is for any goroutine.
type brake struct {
	mu      sync.Mutex
	domains map[string]allowance
}

// allowance is what is left of the answers for a domain, at a time.
type allowance struct {
	left float64
	at   time.Time
}

func newBrake() *brake { return &brake{domains: map[string]allowance{}} }

// allow tells whether one more request of the domain is answered now.
func (b *brake) allow(domain string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	w, ok := b.domains[domain]
	if !ok {
		if len(b.domains) >= maxBraked {
			b.forget(now)
		}
		w = allowance{left: answersAtOnce, at: now}
	}
	w.left = min(answersAtOnce, w.left+answersPerSecond*max(0, now.Sub(w.at).Seconds()))
	w.at = now
	allowed := w.left >= 1
	if allowed {
		w.left--
	}
	b.domains[domain] = w
	return allowed
}

// forget drops the domains that have all their allowance again, and if there are none any. The caller holds the lock.
func (b *brake) forget(now time.Time) {
	for d, w := range b.domains {
		if w.left+answersPerSecond*now.Sub(w.at).Seconds() >= answersAtOnce {
			delete(b.domains, d)
		}
	}
	for d := range b.domains {
		if len(b.domains) < maxBraked {
			return
		}
		delete(b.domains, d)
	}
}
