package sip

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// What outlives the process: the dialogs of both roles, what user agents have published here, and whose presence is published to presence
// servers. Each is a record of its own, written when something in it changes that the far side would notice (see reserve for what changes
// with each request), and forgotten when it is over. Polls are not kept.

var _ adapters.Keeping = (*Adapter)(nil)

// Keep implements adapters.Keeping.
func (a *Adapter) Keep(k adapters.Keeper) { a.keeper = k }

// keptWait is how long an answer waits for the store. One that takes longer is not waited for: what is answered then lives on as far as the
// process does.
const keptWait = 2 * time.Second

// decidedWait is keptWait for the answer to a decision that the gateway cannot write down while the store of a cluster has no leader. Until then the far
// side does not take it for heard, and sends it again; it has no longer than Timer F (32 s) for that.
const decidedWait = 20 * time.Second

// afterKept saves a record and then calls f, once, from any goroutine; at once without a store. No lock of f's may be held.
func (a *Adapter) afterKept(of adapters.WatchID, name string, octets []byte, f func()) {
	if a.keeper == nil || octets == nil {
		f()
		return
	}
	kept := onceOrLate(f, keptWait)
	a.keeper.Save(of, name, octets, func(error) { kept() }) // an error is the gateway's to log; it tries again by itself
}

// onceOrLate is f, called once: by whoever says that something is kept, or else so long from now.
func onceOrLate(f func(), wait time.Duration) func() {
	var once sync.Once
	late := time.AfterFunc(wait, func() { once.Do(f) })
	return func() {
		late.Stop()
		once.Do(f)
	}
}

// joined calls a function, once, when all that it waits for has come, or else keptWait after it is known what that is.
type joined struct {
	left atomic.Int32
	once sync.Once
	f    func()
}

// afterAll begins one, which calls f in no case before begun.
func afterAll(f func()) *joined {
	j := &joined{f: f}
	j.left.Store(1)
	return j
}

// one is one more thing to wait for, before begun: it has come when the func is called, once.
func (j *joined) one() func() {
	j.left.Add(1)
	return j.came
}

func (j *joined) came() {
	if j.left.Add(-1) == 0 {
		j.once.Do(j.f)
	}
}

// begun tells that there is nothing else to wait for, and for how long at most.
func (j *joined) begun(most time.Duration) {
	if j.came(); j.left.Load() > 0 {
		time.AfterFunc(most, func() { j.once.Do(j.f) })
	}
}

// unwritten logs that a record could not be made, which only a defect or a document without a printed form can cause.
func (a *Adapter) unwritten(err error) {
	a.log.Warn().Str("fault", clip(err.Error())).Msg("what should be kept over a restart cannot be written")
}

// record is n's record, nil if it cannot be made. n.mu is held.
func (n *notifying) record() []byte {
	r := n.d.reserved()
	b, err := appendDialog(&r)
	if err != nil {
		n.table.a.unwritten(err)
		return nil
	}
	n.bound = r.LocalCSeq
	return b
}

func (n *notifying) name() string { return storedNotifier + n.d.LocalTag }

// keepFirst saves a new dialog that lasts until then, and goes on with f when it is safe.
func (n *notifying) keepFirst(until time.Time, f func()) {
	a := n.table.a
	if a.keeper == nil {
		f()
		return
	}
	n.mu.Lock()
	n.d.Expires, n.kept = until, true
	b := n.record()
	n.mu.Unlock()
	a.afterKept(n.d.watchID(), n.name(), b, f)
}

// reservation is closed when the numbers that a dialog of an earlier process goes on with are its own on the disk, or reservedWait has passed:
// before, one more crash would have the next process begin with the same.
type reservation chan struct{}

// reservedWait is how long that may take: presence is worth more than its memory.
const reservedWait = 15 * time.Second

// await waits for it; false if ctx ends first. A nil one is there.
func (r reservation) await(ctx context.Context) bool {
	if r == nil {
		return true
	}
	select {
	case <-r:
		return true
	case <-ctx.Done():
		return false
	}
}

// save brings what is kept of n up to date. n.mu is held.
func (n *notifying) save() { n.saveThen(nil) }

// saveThen is save, which calls done, unless it is nil, when the record is on the disk.
func (n *notifying) saveThen(done func(error)) {
	k := n.table.a.keeper
	switch {
	case k == nil || !n.kept:
	case n.gone || n.last:
		// Over, or the watcher's own wish or its silence: nothing would be told after a restart that it does not expect.
		n.kept = false
		k.Forget(n.d.watchID(), n.name(), nil)
	default:
		if b := n.record(); b != nil {
			k.Save(n.d.watchID(), n.name(), b, done)
		}
	}
}

// spend reserves sequence numbers anew when half of them are used. n.mu is held.
func (n *notifying) spend() {
	if n.kept && runsOut(n.d.LocalCSeq, n.bound) {
		n.save()
	}
}

// save brings what is kept of s up to date. A dialog that is to end is kept until the far side has been told. s.mu is held.
func (s *subscribing) save() { s.saveThen(nil) }

// saveThen is save, which calls done, unless it is nil, when that survives a crash: at once where there is nothing to write. s.mu is held; done
// must not take it.
func (s *subscribing) saveThen(done func(error)) {
	k := s.table.a.keeper
	nothing := k == nil || s.fetch || s.ended && !s.kept || !s.ended && s.d.RemoteTag == ""
	switch {
	case nothing:
		if done != nil {
			done(nil)
		}
	case s.ended:
		s.kept = false
		k.Forget(s.watch, s.record, done)
	default:
		r := s.d.reserved()
		if s.closing {
			r.State = adapters.WatchTerminated
		}
		b, err := appendDialog(&r)
		if err != nil {
			s.table.a.unwritten(err)
			if done != nil {
				done(err)
			}
			return
		}
		s.kept, s.bound = true, r.LocalCSeq
		k.Save(s.watch, s.record, b, done)
	}
}

// spend is that of notifying. s.mu is held.
func (s *subscribing) spend() {
	if s.kept && runsOut(s.d.LocalCSeq, s.bound) {
		s.save()
	}
}

// errRecordName is of a record whose name says that it is something else than it is.
var errRecordName = errors.New("sip: a record of another kind than its name says")
