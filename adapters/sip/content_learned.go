package sip

import (
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// feature is something that a user agent may or may not take in a MESSAGE.
type feature uint8

const (
	featureCPIM      feature = iota + 1 // message/cpim
	featureComposing                    // application/im-iscomposing+xml
)

// userAgent is what is known of: a user behind a peer, or behind a next hop that is no peer's. Behind one proxy there are many user
// agents, so what one of them refused says nothing of the others.
type userAgent struct {
	via  string // the peer's name, or the address of the next hop
	user cpim.Address
	what feature
}

// userAgentAt names the user agent that a MESSAGE to user over hop reaches.
func userAgentAt(peer *Peer, hop resolver.Target, user cpim.Address, what feature) userAgent {
	if peer != nil {
		return userAgent{peer.Name, user, what}
	}
	return userAgent{hop.Addr().String(), user, what}
}

// learned is what user agents have shown of themselves: one that refused something with 415 is not sent it again for a while, and one
// that sent something takes it, whatever the configuration says of its peer. It is bounded; when it is full of what still holds, it forgets
// all, which costs one refused request each. Safe for use from many goroutines.
type learned struct {
	mu    sync.Mutex
	facts map[userAgent]fact
}

type fact struct {
	takes bool
	until time.Time
}

const (
	// learnedLimit is how many facts are kept; 16,384 of them are some 3 MiB.
	learnedLimit = 16384
	// learnedLife is for how long a fact holds: user agents are replaced and configured anew.
	learnedLife = 24 * time.Hour
)

func newLearned() *learned { return &learned{facts: make(map[userAgent]fact)} }

// note keeps that a user agent takes something, or refused it. A refusal holds for its time, also of one who sends what it refuses.
func (l *learned) note(a userAgent, takes bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	old, known := l.facts[a]
	if known && takes && !old.takes && now.Before(old.until) {
		return
	}
	if !known && len(l.facts) >= learnedLimit {
		for k, f := range l.facts {
			if !now.Before(f.until) {
				delete(l.facts, k)
			}
		}
		if len(l.facts) >= learnedLimit {
			clear(l.facts)
		}
	}
	if !known {
		a.user = a.user.Clone() // which is a part of a request
	}
	l.facts[a] = fact{takes, now.Add(learnedLife)}
}

// takes tells whether a user agent takes something: what it has shown, else what is configured of its peer.
func (l *learned) takes(a userAgent, configured bool) bool {
	l.mu.Lock()
	f, known := l.facts[a]
	l.mu.Unlock()
	if !known || !time.Now().Before(f.until) {
		return configured
	}
	return f.takes
}

// learnFrom notes what a sender takes, since it sent one.
func (a *Adapter) learnFrom(peer *Peer, op *adapters.MessageOp) {
	switch {
	case op.Activity != adapters.ActivityNone:
		a.learned.note(userAgent{peer.Name, op.From.Address, featureComposing}, true)
	case op.Object != nil:
		a.learned.note(userAgent{peer.Name, op.From.Address, featureCPIM}, true)
	}
}
