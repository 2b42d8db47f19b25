package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
)

// What of a watch is on the disk, and when: everything that the other sides have heard, or were answered, is written before they hear it.
// So a crash may make us say something twice, but never makes us forget what somebody relies on: an approval that was acknowledged, a
// refresh that was answered, a request that its user was shown, a tuple that a watcher was told of. A step that changes nothing of
// that, as nearly all notifications, writes nothing. Where there is no store, or while it fails, presence goes on in memory: it is
// worth more than its memory, and what could not be written is written when the disk is back.
//
// What ends leaves the disk before the sides hear it too, or a crash would bring back a request that its user has refused, and she would be
// asked again. What a side must be told of the end is kept instead until it has taken it.

// storedWatch is a watch on the disk.
type storedWatch struct {
	Version    int    `json:"v"`
	Watcher    string `json:"w"`
	Presentity string `json:"p"`
	watch.Record
}

// watchFact is where p is kept.
func watchFact(p pair) factName {
	part, name := pairHash(p)
	return factName{bucketPart(bucketWatches, part), name}
}

// note looks whether a step changed what is kept of x, and has j write it. The shard's lock is held.
func (w *watches) note(x *watched, j *job) {
	if w.gateway.keeper == nil {
		return
	}
	mark := x.state.Mark()
	if mark == x.mark {
		return
	}
	r := x.state.Record()
	if r.Empty() {
		j.erase, x.mark = x.mark != 0, 0
		return
	}
	octets, err := json.Marshal(&storedWatch{
		Version: watchVersion, Watcher: x.pair.watcher.String(), Presentity: x.pair.presentity.String(), Record: r,
	})
	if err != nil {
		return // there is nothing in a Record that JSON cannot say
	}
	x.mark, j.write = mark, octets
}

// sessionsOf are the open watches of p, and those whose end the watcher's side has not taken.
func (w *watches) sessionsOf(p pair) []string {
	s := w.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.states[p]; x != nil {
		return x.state.Known()
	}
	return nil
}

// takeUp takes in the watches of these parts that are on the disk, nil for all, and gives the adapters what they kept for them. It is
// called before anything comes for them.
func (w *watches) takeUp(ctx context.Context, parts []int) error {
	if parts == nil {
		for part := range store.Parts {
			parts = append(parts, part)
		}
	}
	before := w.held.Load()
	if err := w.restore(ctx, parts); err != nil {
		return err
	}
	if err := w.gateway.resumeRecords(ctx, parts, w.sessionsOf); err != nil {
		return err
	}
	if n := w.held.Load() - before; n > 0 {
		w.gateway.log.Info().Int64("watches", n).Msg("watches are taken up again")
	}
	return nil
}

// stay begins something for a pair that is this gateway's; whoever got true calls leave. One that is another's by now, or nobody's while this
// gateway is cut off from the store, is told nothing here: a state that is still here hears that it was not done.
func (g *Gateway) stay(p pair) (leave func(), mine bool) {
	if g.node == nil {
		return func() {}, true
	}
	part, _, ok := g.node.pairHere(p)
	if !ok {
		g.metrics.dropped.WithLabelValues("unowned").Inc()
		return nil, false
	}
	return func() { g.node.parts.Exit(part) }, true
}

// here tells whether something may be begun for a pair.
func (g *Gateway) here(p pair) bool {
	if g.node == nil {
		return true
	}
	part, _, ok := g.node.pairHere(p)
	if ok {
		g.node.parts.Exit(part)
	}
	return ok
}

// giveUp drops the watches of parts that are another gateway's now. Nobody is told anything: they go on there.
func (w *watches) giveUp(parts []int) {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		for p, x := range s.states {
			if part, _ := pairHash(p); slices.Contains(parts, part) {
				w.forget(s, x)
			}
		}
		s.mu.Unlock()
	}
}

// restore takes in some parts, in one reading. A watch that there is already stays as it is.
func (w *watches) restore(ctx context.Context, parts []int) error {
	g, taken := w.gateway, 0
	err := g.keeper.facts.EachOf(ctx, bucketParts(bucketWatches, parts), func(_, key string, value []byte, _ uint64) error {
		p, r, err := decodeWatch(value)
		if err != nil {
			g.log.Warn().Str("key", key).Str("fault", clip(err.Error())).Msg("a stored watch cannot be read and is left alone")
			return nil
		}
		rules := w.rulesOf(p)
		if rules == nil {
			g.log.Warn().Str("key", key).Msg("a stored watch is of a domain without a route and is left alone")
			return nil
		}
		s := w.shard(p)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed || s.states[p] != nil {
			return nil
		}
		// As fast as watches may be opened, one after the other, so that all together are no storm.
		now := time.Now()
		turn := time.Duration(taken) * time.Second / time.Duration(g.limits().WatchRate)
		state := watch.Restore(p.watcher, p.presentity, rules, r, now, w.firstTurn(now)+turn)
		if state.Idle() {
			g.keeper.put(watchFact(p), nil, nil)
			return nil
		}
		taken++
		x := w.open(s, p, state)
		x.mark = state.Mark()
		w.settle(s, x)
		return nil
	})
	if err != nil {
		return fmt.Errorf("gateway: the stored watches: %w", err)
	}
	return nil
}

// When the first of the restored watches is taken up. A gateway that starts gives its links to the other sides a moment. One that takes a part over has
// most of them, and opens the others in this moment; what is asked meanwhile waits for them, and the watchers have waited for a lease to end.
const (
	restoreFirst  = 2 * time.Second
	takeoverFirst = 500 * time.Millisecond
)

// firstTurn is how long the first watch that is taken in now waits.
func (w *watches) firstTurn(now time.Time) time.Duration {
	return max(takeoverFirst, w.born.Add(restoreFirst).Sub(now))
}

// decodeWatch reads a watch from the disk.
func decodeWatch(octets []byte) (pair, *watch.Record, error) {
	var s storedWatch
	if err := json.Unmarshal(octets, &s); err != nil {
		return pair{}, nil, err
	}
	if s.Version != watchVersion {
		return pair{}, nil, errVersion
	}
	watcher, err := cpim.ParseAddress(s.Watcher)
	presentity, err2 := cpim.ParseAddress(s.Presentity)
	if err = errors.Join(err, err2); err != nil {
		return pair{}, nil, err
	}
	return pair{watcher, presentity}, &s.Record, nil
}
