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
// to requests, which free what waits, are not held up by it.
func (l *path) pace() {
	f := l.a.flows.of(l.name())
	if f == nil {
		return
	}
	if d := f.Wait(time.Now()); d > 0 {
		time.Sleep(d)
	}
}
