package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// bucketParts holds the owner of each part, as NODE/INCARNATION.
const bucketParts = "parts"

// seen is a node's lease as this one saw it.
type seen struct {
	lease
	at       time.Time // the latest that it can have been written
	revision uint64
	told     time.Time // when it was told
	born     time.Time // when its process began, at the latest; with an Age alone
}

// claim is an entry of the table as this node saw it.
type claim struct {
	owner    string
	revision uint64
	before   time.Time // when the owner before was last seen, and
	died     bool      // whether it died; for the metric
}

func split(owner string) (name, incarnation string) {
	name, incarnation, _ = strings.Cut(owner, "/")
	return name, incarnation
}

// self is this node as the table calls it. The caller need not hold the lock where the incarnation cannot change.
func (c *Cluster) self() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node + "/" + c.incarnation
}

func partKey(n int) string { return fmt.Sprintf("%02d", n) }

// watch keeps this node's view of a bucket: see is told of each change, missed of the keys that were there when a watch began.
func (c *Cluster) watch(bucket string, which int, see func(store.Change), missed func(map[string]bool)) {
	for c.ctx.Err() == nil {
		there := map[string]bool{} // nil once the ones that were there have been told
		err := c.facts.Watch(c.ctx, bucket, func(x store.Change) {
			switch {
			case x.Through:
				if missed != nil {
					missed(there)
				}
				there = nil
				c.mu.Lock()
				c.told[which] = true
				c.mu.Unlock()
			case there != nil:
				there[x.Key] = !x.Gone
				see(x)
			default:
				see(x)
			}
			c.poke()
		})
		if c.ctx.Err() == nil {
			c.log.Warn().Err(err).Str("bucket", bucket).Msg("cluster: the watch of facts ended: it is begun again")
			select {
			case <-c.ctx.Done():
			case <-time.After(c.times.Renew / 8):
			}
		}
	}
}

func (c *Cluster) seeNode(x store.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.Gone {
		c.miss(x.Key)
		return
	}
	var l lease
	if json.Unmarshal(x.Value, &l) == nil {
		c.nodes[x.Key] = c.nodes[x.Key].sign(l, x.Revision, time.Now(), c.times.Life)
	}
}

// missNodes forgets the nodes whose leases ended while nobody watched.
func (c *Cluster) missNodes(there map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.nodes {
		if !there[name] {
			c.miss(name)
		}
	}
	if c.since.IsZero() {
		c.since = time.Now()
	}
}

// miss notes that a node's lease has ended. The caller holds the lock.
func (c *Cluster) miss(name string) {
	for other, s := range c.missed {
		if time.Since(s.at) > c.times.Life {
			delete(c.missed, other) // what is not there is dead
		}
	}
	if s, ok := c.nodes[name]; ok {
		if time.Since(s.at) < c.times.Life-c.times.Renew {
			s.at = time.Now() // it ended too early: it may have been renewed just before, of which a watch need not tell
		}
		c.missed[name] = s
		delete(c.nodes, name)
	}
}

// ask asks the store for the leases of nodes of which nothing was told for longer than a lease lives: what tells of them may have died with one of
// them, and takes a while to be begun anew.
func (c *Cluster) ask() {
	silent := map[string]seen{}
	c.mu.Lock()
	for name, s := range c.nodes {
		if name != c.node && time.Since(s.at) >= c.times.Life {
			silent[name] = s
		}
	}
	c.mu.Unlock()
	for name, was := range silent {
		ctx, cancel := context.WithTimeout(c.ctx, c.times.Renew)
		have, revision, err := c.facts.Get(ctx, bucketNodes, name)
		cancel()
		var l lease
		gone := errors.Is(err, store.ErrNotFound)
		if !gone && (err != nil || revision == was.revision || json.Unmarshal(have, &l) != nil) {
			continue // what is there has been told: it is no sign of life
		}
		c.mu.Lock()
		switch {
		case c.nodes[name] != was: // it was told meanwhile
		case gone:
			c.miss(name)
		default:
			c.nodes[name] = was.sign(l, revision, time.Now(), c.times.Life)
		}
		c.mu.Unlock()
	}
}

// dead tells whether an owner whose lease is not there has stopped for certain. The clocks of the store decide when a lease ends, and they may be
// set: by this node's own, which nobody sets, as much time must have passed since its last sign of life, for an owner that was never seen since this
// node has looked. This process itself was fenced before it took another lease. The caller holds the lock.
func (c *Cluster) dead(name, incarnation string, now time.Time) bool {
	last := c.since
	switch s, seen := c.missed[name]; {
	case name == c.node || name == "":
		return true
	case seen && s.Incarnation != incarnation:
		return true // it had another one since
	case seen:
		last = s.at
	}
	return now.Sub(last) >= c.times.Life
}

func (c *Cluster) seePart(x store.Change) {
	n, err := strconv.Atoi(x.Key)
	if err != nil || n < 0 || n >= store.Parts || x.Key != partKey(n) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := &c.table[n]; !x.Gone && x.Revision > have.revision {
		have.owner, have.revision = string(x.Value), x.Revision
	}
}

// plan is what a step is to do.
type plan struct {
	lost  []int
	claim map[int]string   // parts of dead owners, as the table has them
	take  []int            // parts that the table says are this node's
	hand  map[string][]int // parts for other nodes
}

// plan compares the table with what it should be. The caller holds the lock.
func (c *Cluster) plan(now time.Time) (p plan) {
	me := c.node + "/" + c.incarnation
	p.claim, p.hand = map[int]string{}, map[string][]int{}
	var able []string // as the table calls them
	for name, s := range c.nodes {
		if !s.Leaving && name != c.node {
			able = append(able, name+"/"+s.Incarnation)
		}
	}
	if !c.draining {
		able = append(able, me)
	}
	for n := range c.parts {
		x, state := &c.table[n], c.parts[n].state.Load()
		target := choose(able, n)
		name, incarnation := split(x.owner)
		alive, known := c.nodes[name]
		switch {
		case x.owner == me && state == idle:
			if !c.handing && !c.draining {
				c.parts[n].epoch.Add(1)
				c.parts[n].state.Store(taking)
				p.take = append(p.take, n)
			}
		case x.owner == me && state == held && target != me && target != "" && !c.handing:
			c.parts[n].state.Store(leaving)
			p.hand[target] = append(p.hand[target], n)
		case x.owner == me:
		case state != idle && state != leaving:
			// Nobody may take what is this node's; it goes by the table all the same.
			c.parts[n].state.Store(idle)
			c.lost = append(c.lost, n)
			p.lost = append(p.lost, n)
		case target != me || known && alive.Incarnation == incarnation:
		case !known && !c.dead(name, incarnation, now):
		case !known || alive.Incarnation != incarnation:
			x.died = name != c.node // else it was fenced, or has been started again
			p.claim[n] = x.owner
		}
		if known && alive.Incarnation == incarnation && x.owner != me {
			x.before, x.died = alive.at, false // the last sign of life of an owner that may die
		}
	}
	return p
}

// claimAll takes parts whose owners are dead.
func (c *Cluster) claimAll(ctx context.Context, parts map[int]string) {
	dead := map[string]bool{}
	var list []int
	for n, owner := range parts {
		name, incarnation := split(owner)
		if _, asked := dead[owner]; !asked {
			// The store is asked once more: what this node was told may be old.
			dead[owner] = owner == "" || c.gone(ctx, name, incarnation)
		}
		if dead[owner] {
			list = append(list, n)
		}
	}
	me := c.self()
	c.each(list, func(n int) {
		if err := c.write(ctx, n, parts[n], me); err != nil && !errors.Is(err, store.ErrExists) && ctx.Err() == nil {
			c.log.Warn().Err(err).Int("part", n).Msg("cluster: a part could not be taken")
		}
	})
}

// gone tells whether the lease of a node's incarnation has ended for certain.
func (c *Cluster) gone(ctx context.Context, name, incarnation string) bool {
	ctx, cancel := context.WithTimeout(ctx, c.times.Renew)
	defer cancel()
	have, _, err := c.facts.Get(ctx, bucketNodes, name)
	if errors.Is(err, store.ErrNotFound) {
		return true
	}
	var l lease
	return err == nil && json.Unmarshal(have, &l) == nil && l.Incarnation != incarnation
}

// write changes the owner of a part from what the table has.
func (c *Cluster) write(ctx context.Context, n int, from, to string) error {
	ctx, cancel := context.WithTimeout(ctx, c.times.Renew)
	defer cancel()
	if !c.fresh() {
		return context.Canceled
	}
	have, revision, err := c.facts.Get(ctx, bucketParts, partKey(n))
	switch {
	case errors.Is(err, store.ErrNotFound) && from == "":
		return c.facts.Create(ctx, bucketParts, partKey(n), []byte(to), 0)
	case err != nil:
		return err
	case string(have) != from:
		c.seePart(store.Change{Key: partKey(n), Value: have, Revision: revision})
		return store.ErrExists
	}
	err = c.facts.Replace(ctx, bucketParts, partKey(n), []byte(to), revision, 0)
	if err == nil {
		// Known before the watch tells: what was handed on is not taken for this node's own once more, and what was taken need not wait for a watch
		// that is being begun anew.
		c.mu.Lock()
		if x := &c.table[n]; x.revision <= revision {
			x.owner, x.revision = to, revision
		}
		c.mu.Unlock()
		c.poke()
	}
	return err
}

// maxWrites bounds how many entries of the table are written at once.
const maxWrites = 8

// each calls f for each part, several at a time.
func (c *Cluster) each(parts []int, f func(n int)) {
	var wait sync.WaitGroup
	slots := make(chan struct{}, maxWrites)
	for _, n := range parts {
		slots <- struct{}{}
		wait.Go(func() {
			f(n)
			<-slots
		})
	}
	wait.Wait()
}

// choose is the node that a part belongs to among those that are able to have it (rendezvous hashing: when one comes or goes, no part moves
// but those that it gets or had).
func choose(able []string, n int) (best string) {
	var most uint64
	for _, owner := range able {
		name, _ := split(owner)
		if w := weigh(name, n); best == "" || w > most || w == most && owner < best {
			best, most = owner, w
		}
	}
	return best
}

// weigh is a hash of a node's name and a part: FNV-1a, and what SplitMix64 ends with, because FNV alone does not spread what differs in the last octet.
func weigh(name string, n int) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h = (h ^ uint64(n)) * 1099511628211
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
