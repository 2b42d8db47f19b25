package xmpp

import (
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
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
// to requests, which free what waits, are not held up by it; those that stand behind other stanzas are. So what we wrote is acknowledged late where
// both directions share a stream, and little of it is under way at a time. Where that goes on for ackPatience the stream is not held up but
// read, and pace returns false: s is one too many, and is refused if it can be. What a stream of ours counts (XEP-0198) that goes one way is
// acknowledged elsewhere, after as long as the other side likes, and says nothing of this stream.
//
// It holds the reading up, too, while the core has hardly any room for more in a lane, and while hardly any room is left for answers; see patience.
func (l *path) pace(via *arrival) (room bool) {
	mine := &l.patience
	if via != nil && via.patience != nil {
		mine = via.patience
	}
	counted := via == nil || via.bidi
	l.hold(mine, counted)
	f := l.flow()
	if f == nil {
		return true
	}
	now := time.Now()
	switch d := f.Wait(now); {
	case d <= 0:
	case l.box.late(now, min(ackPatience, l.a.lim().PingTimeout/4), counted):
		return false
	case !l.due(now):
		time.Sleep(d)
	}
	return true
}

// ackPatience is for how long an acknowledgement may be awaited of a stream that is held up. It holds back all that its pair has behind it: with 250 ms,
// two directions of which each had more than could be done carried half as much as with this.
const ackPatience = 20 * time.Millisecond

// tooMany refuses a message for which pace found no room, so that its sender knows of it now (RFC 6120 §8.3.3.18). False: nobody would be told, and it
// is handled like any other.
func (l *path) tooMany(s *stanza.Stanza) bool {
	if s.Type == "error" || s.Fault != nil || !s.Says() {
		return false
	}
	l.flow().Refused()
	l.refused("too-many")
	l.fail(s, stanza.ResourceConstraint, "The gateway has too much to do")
	return true
}

// due tells whether something was written so long ago that its acknowledgement must be looked for.
func (l *path) due(now time.Time) bool {
	at := l.box.oldest()
	return !at.IsZero() && now.Sub(at) >= l.a.lim().PingTimeout/4
}

// patience is for how long a stream may yet be held up because the core is crowded. A process that was stopped for a moment, or whose memory is given to
// it only now, has more to do at once than its lanes take, and a stream can wait for it. But a lane is also full because of one recipient who does
// not answer, for whom nobody else may wait: so there is little of it, and of all pairs of domains on one stream together. It is given back where
// more comes than can be done, and what waits becomes less: then nobody is to blame, and who sends is slowed down instead of being refused.
type patience struct {
	mu   sync.Mutex
	used time.Duration
	at   time.Time
}

const (
	// patienceMost is for how long a stream is held up at most, where it was not for a while; patienceShare is of how many parts of the time one
	// comes back.
	patienceMost, patienceShare = 500 * time.Millisecond, 20
	// patienceStep is how often it is looked whether there is room.
	patienceStep = time.Millisecond
)

// left is how much there is of it.
func (p *patience) left(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = max(0, p.used-now.Sub(p.at)/patienceShare)
	p.at = now
	return patienceMost - p.used
}

func (p *patience) spend(d time.Duration) {
	p.mu.Lock()
	p.used = max(0, p.used+d)
	p.mu.Unlock()
}

// hold waits while the core is crowded, or too many replies wait for a server that does not read them, as long as there is patience, and until an
// acknowledgement is awaited for ackPatience, which may stand behind what is not read: counted tells whether this stream brings those that count.
func (l *path) hold(mine *patience, counted bool) {
	crowd, _ := l.a.h.(adapters.Crowd)
	crowded := func() bool { return l.box.many.Load() || crowd != nil && crowd.Crowded() }
	if !crowded() {
		return
	}
	waiting, spent := 0, time.Duration(0)
	if crowd != nil && crowd.Overrun() {
		waiting = crowd.Waiting()
	}
	for now := time.Now(); mine.left(now) > 0 && !l.due(now) && !l.box.late(now, ackPatience, counted) && crowded(); {
		time.Sleep(patienceStep)
		then := time.Now()
		mine.spend(then.Sub(now))
		spent += then.Sub(now)
		now = then
		if waiting == 0 {
			continue
		}
		if left := crowd.Waiting(); 4*left <= 3*waiting { // a quarter of it is done
			mine.spend(-spent)
			waiting, spent = left, 0
		}
	}
}
