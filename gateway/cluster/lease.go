package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// bucketNodes holds the leases by the names of the nodes.
const bucketNodes = "nodes"

// lease is a node's sign of life.
type lease struct {
	// Incarnation tells a node that was fenced, or started again, from what it was before.
	Incarnation string `json:"i"`
	// Leaving tells that it hands all its parts on.
	Leaving bool `json:"leaving,omitempty"`
	// Age is how old the process was when this was written, in milliseconds from 1, by its own clock; 0: it does not say.
	Age int64 `json:"age,omitempty"`
	// Home is the directory that the node has locked, "" for none.
	Home string `json:"home,omitempty"`
}

// age is how old this process is, by the clock of its two that has counted more: one stands still while a machine sleeps, and the other may be set.
func (c *Cluster) age(now time.Time) int64 {
	return max(now.Sub(c.born), now.Round(0).Sub(c.born.Round(0))).Milliseconds() + 1
}

// sign is the lease of a node as it was told now, with the latest that it can have been written by this node's clock. It may be told long after that: what
// a leader had under way when it died is there when another one is elected. By its age it is known how long after the ones that were told before,
// and one of those was told soon. was is what was known of the node.
func (was seen) sign(l lease, revision uint64, now time.Time, life time.Duration) seen {
	s := seen{lease: l, revision: revision, told: now, at: now}
	if l.Age <= 0 {
		return s
	}
	age := time.Duration(l.Age) * time.Millisecond
	s.born = now.Add(-age)
	if was.Incarnation == l.Incarnation && was.Age > 0 {
		// Clocks go at different speeds, by far less than a thousandth. What differs by more than the life of a lease is a clock that was set.
		born := was.born.Add(now.Sub(was.told) / 1000)
		if late := s.born.Sub(born); late > 0 && late < life {
			s.born, s.at = born, now.Add(-late)
		}
	}
	return s
}

// fresh tells whether this node's lease lives for certain. The time is looked at by both clocks: the one that never goes back stands still while
// a machine sleeps, and the other one may be set.
func (c *Cluster) fresh() bool {
	at := c.renewed.Load()
	if at == nil {
		return false
	}
	now := time.Now()
	return now.Sub(*at) < c.times.Fence && now.Round(0).Sub(at.Round(0)) < c.times.Fence
}

// join writes a lease where there is none.
func (c *Cluster) join(ctx context.Context) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.times.Renew)
	defer cancel()
	c.mu.Lock()
	before, draining := c.incarnation, c.draining
	next := newIncarnation()
	c.mu.Unlock()
	octets, err := json.Marshal(lease{next, draining, c.age(time.Now()), c.home})
	if err != nil {
		return err
	}
	began := time.Now()
	err = c.facts.Create(ctx, bucketNodes, c.node, octets, c.times.Life)
	if errors.Is(err, store.ErrExists) {
		have, revision, rerr := c.facts.Get(ctx, bucketNodes, c.node)
		var l lease
		switch {
		case rerr != nil:
			return rerr
		case json.Unmarshal(have, &l) != nil:
			return errTwin
		case before == "" && c.home != "" && l.Home == c.home:
			// Of a process that has ended, because this one has the lock of its directory: it does nothing any more, whatever its lease says.
		case before == "" || l.Incarnation != before:
			return errTwin
		}
		// Else it is this process's own, from before the fence fell.
		err = c.facts.Replace(ctx, bucketNodes, c.node, octets, revision, c.times.Life)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.incarnation = next
	c.owned, c.disown = context.WithCancel(c.ctx)
	c.renewed.Store(&began)
	c.mu.Unlock()
	c.poke()
	return nil
}

// renew renews the lease. Whether it lives is what fresh says, whatever happens here.
func (c *Cluster) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.times.Renew)
	defer cancel()
	c.mu.Lock()
	mine := lease{c.incarnation, c.draining, c.age(time.Now()), c.home}
	c.mu.Unlock()
	octets, err := json.Marshal(mine)
	if err != nil {
		return
	}
	began := time.Now()
	if at := c.renewed.Load(); at != nil {
		var end context.CancelFunc
		ctx, end = context.WithDeadline(ctx, at.Add(c.times.Fence))
		defer end()
	}
	have, revision, err := c.facts.Get(ctx, bucketNodes, c.node)
	var l lease
	if err == nil && (json.Unmarshal(have, &l) != nil || l.Incarnation != mine.Incarnation) {
		err = errTwin
	}
	if errors.Is(err, errTwin) || errors.Is(err, store.ErrNotFound) {
		c.mu.Lock()
		c.fall() // whatever the clocks say
		c.mu.Unlock()
		c.poke()
	}
	if err == nil {
		err = c.facts.Replace(ctx, bucketNodes, c.node, octets, revision, c.times.Life)
	}
	if err != nil {
		if c.ctx.Err() == nil {
			c.log.Warn().Err(err).Msg("cluster: the lease could not be renewed")
		}
		return
	}
	c.mu.Lock()
	// Not if the fence fell meanwhile: what was fenced stays so until it joins again.
	if at := c.renewed.Load(); at != nil && c.fresh() {
		c.renewed.Store(&began)
	}
	c.mu.Unlock()
}

// keep renews the lease until the end, has the fence fall when that does not succeed, and joins again.
func (c *Cluster) keep() {
	next := c.times.Renew
	for {
		wait := next
		if at := c.renewed.Load(); at != nil {
			wait = min(wait, max(0, time.Until(at.Add(c.times.Fence))))
		}
		timer := time.NewTimer(wait)
		select {
		case <-c.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if c.renewed.Load() != nil && !c.fresh() {
			c.mu.Lock()
			c.fall()
			c.mu.Unlock()
			c.metrics.fallen()
			c.log.Error().Msg("cluster: the lease was not renewed in time: this node does nothing for its parts until it has another one")
			c.poke()
		}
		began := time.Now()
		if c.renewed.Load() == nil {
			next = c.times.Renew / 8
			if err := c.join(c.ctx); err == nil {
				next = c.times.Renew
				c.log.Info().Msg("cluster: this node is a member again")
			}
			continue
		}
		c.renew(c.ctx)
		next = c.times.Renew
		if at := c.renewed.Load(); at == nil || at.Before(began) { // it failed
			next = c.times.Renew / 8
		}
	}
}

// fall has this node own nothing. The caller holds the lock.
func (c *Cluster) fall() {
	c.renewed.Store(nil)
	c.disown()
	for n := range c.parts {
		if c.parts[n].state.Swap(idle) != idle {
			c.lost = append(c.lost, n)
		}
	}
}

// resign ends the lease of a node that has left.
func (c *Cluster) resign() {
	ctx, cancel := context.WithTimeout(context.Background(), c.times.Renew)
	defer cancel()
	have, _, err := c.facts.Get(ctx, bucketNodes, c.node)
	var l lease
	if err == nil && json.Unmarshal(have, &l) == nil && l.Incarnation == c.incarnation {
		err = c.facts.Delete(ctx, bucketNodes, c.node)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		c.log.Warn().Err(err).Msg("cluster: the lease is left to end by itself")
	}
}
