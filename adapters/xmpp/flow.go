package xmpp

import (
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/admission"
)

// flows are the shares of the other sides, by their names.
type flows struct {
	admission *admission.Controller // nil: nothing is divided
	mu        sync.RWMutex
	by        map[string]*admission.Flow
}

// of is the share of one name, which is of a closed set.
func (f *flows) of(name string) *admission.Flow {
	if f.admission == nil {
		return nil
	}
	f.mu.RLock()
	one := f.by[name]
	f.mu.RUnlock()
	if one == nil {
		one = f.admission.Flow(Name + " " + name)
		f.mu.Lock()
		if f.by == nil {
			f.by = map[string]*admission.Flow{}
		}
		f.by[name] = one
		f.mu.Unlock()
	}
	return one
}

// pace holds up the reading of a stream while its share of what can be done is used up, at most 250 ms for each stanza: the other side's queue
// grows then instead of ours, and it slows down who sends. It is called by the stream's reader, and what it answers is written meanwhile. Answers
// to requests, which free what waits, are not held up by it; those that stand behind other stanzas are, so it ends when one has been due for long: a
// server whose answer nobody reads is not silent, and its stream would be ended with all that waits in it.
func (l *path) pace() {
	f := l.a.flows.of(l.name())
	if f == nil {
		return
	}
	now := time.Now()
	if d := f.Wait(now); d > 0 && !l.due(now) {
		time.Sleep(d)
	}
}

// due tells whether something was written so long ago that its acknowledgement must be looked for.
func (l *path) due(now time.Time) bool {
	at := l.box.oldest()
	return !at.IsZero() && now.Sub(at) >= l.a.lim().PingTimeout/4
}
