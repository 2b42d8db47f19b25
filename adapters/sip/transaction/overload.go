package transaction

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/admission"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// overloadKey is one server as RFC 7339 §5 sees it: what RFC 3263 gives for one target.
type overloadKey struct {
	transport resolver.Transport
	addr      netip.AddrPort
}

const (
	// maxThrottled bounds the servers that are remembered. When full, one whose time is over gives way, or any.
	maxThrottled = 4096
	// mixWindow is how long the mix of new and in-dialog requests is counted (RFC 7339 §7.2: "every 5-10 seconds").
	mixWindow = 5 * time.Second
	// tardy is by how much an oc-seq may be under the last one and still be a late packet; further below, the server has begun anew (RFC
	// 7339 §4.4). In units of wire.Overload.Seq: ten minutes if it is a time.
	tardy = 10 * 60 * 100_000
)

// throttle is what one server has asked for.
type throttle struct {
	loss  int
	until time.Time
	seq   uint64
	// How many requests there were of each category in this window, and the share of the first one in the last.
	window          time.Time
	plain, dialogue int
	share           float64 // 0 to 100
}

// overloadTable is the client's side of RFC 7339: it obeys what servers ask for.
type overloadTable struct {
	any atomic.Bool // some server has asked for something: looked at without the mutex
	mu  sync.Mutex
	by  map[overloadKey]*throttle
}

func (t *overloadTable) init() { t.by = map[overloadKey]*throttle{} }

// learn takes what the topmost Via of a response says.
func (t *overloadTable) learn(key overloadKey, o wire.Overload) {
	if o.Loss == 0 && !t.any.Load() {
		return
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.by[key]
	if e == nil {
		if o.Loss == 0 || o.Validity == 0 {
			return
		}
		if len(t.by) >= maxThrottled {
			t.forget(now)
		}
		e = &throttle{share: 80, window: now} // the default of RFC 7339 §7.2
		t.by[key] = e
		t.any.Store(true)
	}
	if o.Seq != 0 && o.Seq < e.seq && e.seq-o.Seq < tardy {
		return
	}
	e.seq, e.loss, e.until = o.Seq, o.Loss, now.Add(o.Validity)
}

// forget makes room.
func (t *overloadTable) forget(now time.Time) {
	var last overloadKey
	for key, e := range t.by {
		if now.After(e.until) {
			delete(t.by, key)
		}
		last = key
	}
	if len(t.by) >= maxThrottled {
		delete(t.by, last)
	}
}

// drop decides by the algorithm of RFC 7339 §7.2 whether a request may not be sent. Requests within a dialog are of the second
// category, which is cut only when nothing is left of the first.
func (t *overloadTable) drop(key overloadKey, inDialog bool) bool {
	if !t.any.Load() {
		return false
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.by[key]
	if e == nil {
		return false
	}
	if !now.Before(e.until) || e.loss == 0 {
		// RFC 7339 §5.7: the validity has expired. It is kept a while for its sequence number.
		if now.After(e.until.Add(time.Minute)) {
			delete(t.by, key)
			t.any.Store(len(t.by) > 0)
		}
		return false
	}
	if total := e.plain + e.dialogue; total > 0 && now.Sub(e.window) >= mixWindow {
		e.share = 100 * float64(e.plain) / float64(total)
		e.plain, e.dialogue, e.window = 0, 0, now
	}
	if inDialog {
		e.dialogue++
	} else {
		e.plain++
	}
	loss, r := float64(e.loss), 100*rand.Float64()
	if loss <= e.share {
		return !inDialog && r < loss/e.share*100
	}
	return !inDialog || r < (loss-e.share)/(100-e.share)*100
}

// overloadServer makes the numbers that clients are told.
type overloadServer struct{ seq atomic.Uint64 }

// next is an oc-seq that is larger than all before: the time, in units of 10 microseconds.
func (s *overloadServer) next() uint64 {
	now := uint64(time.Now().UnixNano() / int64(10*time.Microsecond))
	for {
		last := s.seq.Load()
		n := max(now, last+1)
		if s.seq.CompareAndSwap(last, n) {
			return n
		}
	}
}

// load is how much of what comes in is too much, from 0 to 100 percent.
func (l *Layer) load() int {
	loss := 0
	if l.cfg.Load != nil {
		loss = l.cfg.Load()
	}
	limit := int64(l.bounds().ServerTransactions)
	if from := limit * int64(l.bounds().LoadAt) / 100; limit > from {
		loss = max(loss, int((l.servers.count.Load()-from)*100/(limit-from)))
	}
	return max(0, min(loss, 100))
}

// tell is what a client that offers overload control is told with a response (RFC 7339 §5.1, §5.2).
func (l *Layer) tell(via wire.Via, flow *admission.Flow) wire.Overload {
	if !via.OffersOverload() {
		return wire.Overload{}
	}
	o := wire.Overload{Loss: max(l.load(), flow.Loss()), Seq: l.pace.next()}
	if o.Loss > 0 {
		o.Validity = 500 * time.Millisecond
	}
	return o
}

// turnedAway decides whether a request is refused because of load: those of clients that do not obey RFC 7339, at random and as many as
// the others are asked not to send (§5.10.2), but nothing within a dialog.
func (l *Layer) turnedAway(m *wire.Message, o *origin) bool {
	if o.over && m.To().Tag() == "" {
		return true
	}
	loss := l.load()
	return loss > 0 && m.To().Tag() == "" && rand.IntN(100) < loss && !m.TopVia().OffersOverload()
}
