package xmpp

import (
	"errors"
	"slices"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

// A component's link is meant to be there always: whatever ends it is a loss. A stream between servers comes and goes with what there is to
// say; one that was idle, and that a side closed for it, lost nothing.

// broke tells whether a stream between servers that ended for this reason may have lost what the other side said, or says that she is
// going down with all her users.
func broke(why error) bool {
	if errors.Is(why, errClosed) || errors.Is(why, errQuiet) || errors.Is(why, errStopping) || errors.Is(why, errExpired) {
		return false
	}
	var se *stream.Error
	if !errors.As(why, &se) {
		return true
	}
	switch se.Condition {
	case stream.ConnectionTimeout, stream.Reset, stream.SeeOtherHost:
		// The first is also how servers end what is idle (RFC 6120 §4.9.3.4), and the other two ask for a new stream.
		return false
	default:
		return true
	}
}

// ways are what a link joins: our domain, or the domains that its server knows by it, and those that it serves.
func (e *endpoint) ways() []adapters.Way {
	all := make([]adapters.Way, 0, len(e.serves)*(1+len(e.hosts)))
	for theirs := range e.serves {
		all = append(all, adapters.Way{Ours: e.domain, Theirs: theirs})
		for _, ours := range e.hosts {
			all = append(all, adapters.Way{Ours: ours, Theirs: theirs})
		}
	}
	return all
}

// ways is the same of a pair of servers.
func (p *pair) ways() []adapters.Way {
	side := p.v.side()
	all := []adapters.Way{{Ours: p.local.domain, Theirs: p.remote.domain}}
	if side.gateway != nil && side.gateway.domain == p.local.domain {
		for _, ours := range side.Hosts {
			all = append(all, adapters.Way{Ours: ours, Theirs: p.remote.domain})
		}
	}
	return all
}

// tell says to the core what became of ways, if it wants to know.
func (a *Adapter) tell(ways []adapters.Way, back bool) {
	for _, w := range ways {
		switch {
		case a.outages == nil || a.base.Err() != nil:
		case back:
			a.outages.Back(w)
		default:
			a.outages.Lost(w)
		}
	}
}

// lose takes in that a stream broke which carried the pair, in any direction. While another one carries our stanzas it can be asked at
// once what was lost.
func (p *pair) lose() {
	p.mu.Lock()
	defer p.mu.Unlock() // the core hears of it in the order in which it happens, and takes it at once
	p.broken = p.out == nil
	p.a.tell(p.ways(), false)
	if !p.broken {
		p.a.tell(p.ways(), true)
	}
}

// regain takes in that a stream carries the pair, or may bring its stanzas. The caller does not hold the lock.
func (p *pair) regain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		p.broken = false
		p.a.tell(p.ways(), true)
	}
}

// loseAll is lose of each pair of a stream that nobody resumes: of those that it carried, and of those whose stanzas came on it.
func loseAll(carried, heard []*pair) {
	for _, p := range carried {
		p.lose()
	}
	for i, p := range heard {
		if !slices.Contains(carried, p) && !slices.Contains(heard[:i], p) {
			p.lose()
		}
	}
}

// resumable tells whether a stream that broke may still go on.
func (g *ledger) resumable() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.on == nil && !g.ended
}
