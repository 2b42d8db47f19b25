package xmpp

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// Bounds of what is kept of capabilities (XEP-0115).
const (
	maxKnownCaps = 1024             // hashes whose meaning is kept; beyond it any is forgotten
	maxAskedCaps = 128              // questions that wait for an answer; beyond it none is asked
	maxCapsAsked = 16               // of one domain; beyond it none of its devices is asked
	capsPatience = 30 * time.Second // for an answer; then another device that says the same hash is asked
	capsTries    = 3                // how many devices are asked for one hash before it is left alone
	capsRest     = time.Hour        // for how long it is
)

// hash names capabilities whoever says it (XEP-0115 §5.4: "globally cache the result for all JabberIDs").
type capsHash struct{ function, value string }

// saying is a hash that devices of one domain say. What they fail to prove is held against them alone: whoever says the hash of a client that
// many have must not keep it from being known.
type saying struct {
	capsHash
	domain string
}

// question is a disco#info request of ours that may still be answered.
type question struct {
	id       string
	from, to jid.JID
	caps     stanza.Caps
	at       time.Time
}

// capability is what a hash stands for.
type capability struct {
	service *pidf.ServiceCaps
	wants   wants
}

// capsCache knows what the hashes of capabilities stand for, as far as an answer proved it. It is for any goroutine.
//
// A device is asked when it says a hash that is not known, once per hash and domain at a time and at most capsTries times if what comes back is not
// what the hash stands for. What was not proven is never used.
type capsCache struct {
	mu    sync.Mutex
	known map[capsHash]capability
	asked map[saying]question
	tries map[saying]int
	rests map[saying]time.Time
	open  map[string]int // how many of asked are of a domain
}

func newCapsCache() *capsCache {
	return &capsCache{
		known: map[capsHash]capability{}, asked: map[saying]question{}, tries: map[saying]int{}, rests: map[saying]time.Time{}, open: map[string]int{},
	}
}

// tell puts what is known of s's sender into op, the operation that s became. It returns a request to be sent if nothing is known.
func (c *capsCache) tell(s *stanza.Stanza, op *adapters.NotifyOp, now time.Time) []byte {
	if s.Type != "" || !s.From.IsFull() || !s.Caps.Checkable() || op.Presence == nil {
		return nil
	}
	h := capsHash{s.Caps.Hash, s.Caps.Ver}
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.known[h]; ok {
		for i := range op.Presence.Tuples {
			op.Presence.Tuples[i].Rich = &pidf.Rich{ServiceCaps: found.service}
		}
		return nil
	}
	one := saying{h, s.From.Domain()}
	if q, ok := c.asked[one]; ok {
		if now.Sub(q.at) < capsPatience {
			return nil
		}
		c.failed(one, now)
	}
	if until, ok := c.rests[one]; ok {
		if now.Before(until) {
			return nil
		}
		delete(c.rests, one)
	}
	full := func() bool { return len(c.asked) >= maxAskedCaps || c.open[one.domain] >= maxCapsAsked }
	if full() {
		c.expire(now)
		if full() {
			return nil
		}
	}
	q := question{id: randomID(), from: s.To, to: s.From, caps: s.Caps, at: now}
	one.domain = strings.Clone(one.domain) // a part of the stanza
	c.asked[one] = q
	c.open[one.domain]++
	return stanza.AppendInfoRequest(nil, q.from, q.to, q.id, q.caps)
}

// expire drops the questions that were not answered in time. The caller holds the lock.
func (c *capsCache) expire(now time.Time) {
	for one, q := range c.asked {
		if now.Sub(q.at) >= capsPatience {
			c.failed(one, now)
		}
	}
}

// over takes a question away. The caller holds the lock.
func (c *capsCache) over(one saying) {
	delete(c.asked, one)
	if c.open[one.domain]--; c.open[one.domain] <= 0 {
		delete(c.open, one.domain)
	}
}

// failed ends a question without an answer that could be used. The caller holds the lock.
func (c *capsCache) failed(one saying, now time.Time) {
	c.over(one)
	if c.tries[one]++; c.tries[one] < capsTries {
		bound(c.tries)
		return
	}
	delete(c.tries, one)
	c.rests[one] = now.Add(capsRest)
	bound(c.rests)
}

// bound forgets any entry of a table that has too many.
func bound[K comparable, V any](m map[K]V) {
	for h := range m {
		if len(m) <= maxKnownCaps {
			return
		}
		delete(m, h)
	}
}

// answered takes an answer to one of our questions: its id, who it is from and who it is for must all be those of the question
// (THREATS.md X13). It returns false for any other stanza, and the hash that is known now, if one is.
func (c *capsCache) answered(s *stanza.Stanza, now time.Time) (learnt capsHash, ours bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for one, q := range c.asked {
		if q.id != s.ID || q.to != s.From || q.from != s.To {
			continue
		}
		info := s.Info()
		if info == nil || !info.Verify(q.caps) {
			c.failed(one, now)
			return capsHash{}, true
		}
		c.over(one)
		delete(c.tries, one)
		c.known[one.capsHash] = capability{serviceCaps(info), wantsOf(info)}
		bound(c.known)
		return one.capsHash, true
	}
	return capsHash{}, false
}

// wanted returns the events that a device with these capabilities wants; ok is false while that is not known.
func (c *capsCache) wanted(h capsHash) (w wants, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.known[h]
	return found.wants, ok
}

// serviceCaps says in terms of RFC 5196 what a device can do that is reached through this gateway, which carries messages and no media.
func serviceCaps(info *stanza.Info) *pidf.ServiceCaps {
	c := &pidf.ServiceCaps{Message: pidf.FlagTrue, Text: pidf.FlagTrue, Audio: pidf.FlagFalse, Video: pidf.FlagFalse, Types: []string{"text/plain"}}
	if info.Has(stanza.SpaceStates) {
		c.Types = append(c.Types, "application/im-iscomposing+xml")
	}
	if info.Has(stanza.SpaceReceipts) {
		c.Types = append(c.Types, "message/imdn+xml")
	}
	bot := func(i stanza.Identity) bool {
		return i.Category == "automation" || i.Category == "client" && i.Type == "bot"
	}
	if slices.ContainsFunc(info.Identities, bot) {
		c.Automata = pidf.FlagTrue
	}
	return c
}
