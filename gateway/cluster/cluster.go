package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// Work is what the owner of a part does. Its methods may be called at the same time for different parts, never for the same one.
type Work interface {
	// Take reads what is in the journal of these parts. Operations of theirs may begin when it has returned nil; with an error Lost is called, and
	// Take again. ctx ends when the parts are lost meanwhile. Epoch says already what Enter will.
	Take(ctx context.Context, parts []int) error
	// Begun is called when operations of the parts may begin: Enter lets them in.
	Begun(parts []int)
	// Leave is called when nothing more begins for these parts. What can be hurried to its end is to be hurried; the parts are handed on when
	// nothing is under way. ctx ends when that is waited for no longer.
	Leave(ctx context.Context, parts []int)
	// Lost is called when the parts belong to this node no more: what is in memory of them is to be forgotten, and nothing in the journal touched.
	Lost(parts []int)
}

// Config is what New needs.
type Config struct {
	Facts store.Facts
	// Node is the name of this node, unique in the cluster.
	Node string
	// Home is store.Housed's, "" for none: a lease of an earlier process with the same one has nobody any more, and is taken at once.
	Home string
	Work Work
	// Times, where they are not the usual ones.
	Times  Times
	Logger zerolog.Logger
	// Registerer takes the metrics; nil: none are kept.
	Registerer prometheus.Registerer
}

// Times are those of leases. They are the same on all nodes of a cluster. A zero one stands for its default.
type Times struct {
	// Life is how long a lease lives that is not renewed: default 10 s. It is longer than nearly every election of the store's nodes, in which nobody
	// can renew (2.5 to 5 s from the leader's death, and as much again for a second try), and short enough that all is taken over within 15 s.
	Life time.Duration
	// Renew is how often it is renewed: default 2 s.
	Renew time.Duration
	// Fence is how long after the begin of its last good renewal a node owns its parts: default 9 s. It is less than Life, by more than clocks
	// differ in that time.
	Fence time.Duration
	// Hand is how long a node finishes what is under way before it hands a part on: default 30 s, the longest that an operation takes as a rule. A part
	// for which something is under way then is kept, and handed on another time.
	Hand time.Duration
}

func (t Times) orDefault() (Times, error) {
	for _, x := range [...]struct {
		value *time.Duration
		def   time.Duration
	}{{&t.Life, 10 * time.Second}, {&t.Renew, 2 * time.Second}, {&t.Fence, 9 * time.Second}, {&t.Hand, 30 * time.Second}} {
		if *x.value == 0 {
			*x.value = x.def
		}
	}
	if t.Renew <= 0 || t.Renew >= t.Fence || t.Fence >= t.Life || t.Hand < 0 {
		return t, errors.New("cluster: a lease is renewed before the fence falls, and that falls before the lease ends")
	}
	return t, nil
}

// Cluster is this node's view of the others, and its share of the parts. Make it with New, then Start and Leave, each once.
type Cluster struct {
	facts   store.Facts
	node    string
	home    string
	work    Work
	times   Times
	log     zerolog.Logger
	metrics *metrics
	born    time.Time

	// renewed is when the last good renewal of the lease began; nil while there is no lease.
	renewed atomic.Pointer[time.Time]
	parts   [store.Parts]part

	mu          sync.Mutex
	incarnation string
	draining    bool
	nodes       map[string]seen
	missed      map[string]seen // those whose leases ended lately, as they were
	since       time.Time       // when it was first known which nodes there are
	table       [store.Parts]claim
	told        [2]bool // nodes and table have been read
	lost        []int   // not yet told to work
	handing     bool    // a goroutine hands parts on
	owned       context.Context
	disown      context.CancelFunc // ends owned, when the fence falls

	wake   chan struct{} // has room for one: there is something to look at
	ctx    context.Context
	cancel context.CancelFunc
	busy   sync.WaitGroup
}

// New checks cfg. Nothing is begun.
func New(cfg Config) (*Cluster, error) {
	times, err := cfg.Times.orDefault()
	if err != nil {
		return nil, err
	}
	if err := store.CheckFact(bucketNodes, cfg.Node); err != nil {
		return nil, fmt.Errorf("cluster: the node's name %q: %w", cfg.Node, err)
	}
	c := &Cluster{
		facts: cfg.Facts, node: cfg.Node, home: cfg.Home, work: cfg.Work, times: times, log: cfg.Logger, born: time.Now(), nodes: map[string]seen{}, missed: map[string]seen{}, wake: make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.owned, c.disown = context.WithCancel(c.ctx)
	if c.metrics, err = newMetrics(cfg.Registerer, c); err != nil {
		return nil, err
	}
	return c, nil
}

// errTwin says that another process has the name of this node.
var errTwin = errors.New("cluster: another gateway of this name is running")

// Start joins the cluster: it waits for the end of a lease that an earlier process of this name has left, unless that one had the same Home. When it returns nil the node is a
// member, and takes its share of the parts beside. ctx bounds the start only.
func (c *Cluster) Start(ctx context.Context) error {
	for {
		err := c.join(ctx)
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			c.cancel()
			return fmt.Errorf("cluster: node %s cannot join: %w", c.node, err)
		case <-time.After(c.times.Renew / 4):
		}
	}
	c.busy.Go(c.keep)
	c.busy.Go(func() { c.watch(bucketNodes, 0, c.seeNode, c.missNodes) })
	c.busy.Go(func() { c.watch(bucketParts, 1, c.seePart, nil) })
	c.busy.Go(c.run)
	return nil
}

func newIncarnation() string {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails
	return hex.EncodeToString(b[:])
}

// poke has run look again.
func (c *Cluster) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run does what the leases and the table want done, until the end.
func (c *Cluster) run() {
	again := time.NewTicker(c.times.Renew / 2)
	defer again.Stop()
	for {
		select {
		case <-c.ctx.Done():
			c.forget()
			return
		case <-again.C:
		case <-c.wake:
		}
		c.step()
	}
}

// forget tells work of the parts that were lost.
func (c *Cluster) forget() {
	c.mu.Lock()
	lost := c.lost
	c.lost = nil
	c.mu.Unlock()
	if len(lost) > 0 {
		c.log.Warn().Ints("parts", lost).Msg("cluster: parts are not this node's any more")
		c.work.Lost(lost)
	}
}

// step looks at leases and table once.
func (c *Cluster) step() {
	if c.fresh() {
		c.ask()
	}
	c.forget()
	if !c.fresh() {
		return
	}
	c.mu.Lock()
	if !c.told[0] || !c.told[1] {
		c.mu.Unlock()
		return
	}
	if len(c.lost) > 0 {
		// The fence fell and there is another lease, all since forget: work is told first.
		c.mu.Unlock()
		c.poke()
		return
	}
	p := c.plan(time.Now())
	owned := c.owned
	if len(p.hand) > 0 {
		c.handing = true
		c.busy.Go(func() { c.hand(owned, p.hand) })
	}
	c.mu.Unlock()
	if len(p.lost) > 0 {
		c.forget()
	}
	if len(p.claim) > 0 {
		c.claimAll(owned, p.claim)
	}
	if len(p.take) > 0 {
		c.take(owned, p.take)
	}
}

// take has work begin with parts that the table says are this node's.
func (c *Cluster) take(owned context.Context, parts []int) {
	err := c.work.Take(owned, parts)
	now := time.Now()
	c.mu.Lock()
	if err != nil || owned.Err() != nil {
		c.mu.Unlock()
		// Read again from the start, in the next step, if they are still ours.
		c.work.Lost(parts)
		if owned.Err() == nil {
			c.log.Error().Err(err).Msg("cluster: the journal of parts cannot be read: it is tried again")
		}
		c.mu.Lock()
		for _, n := range parts {
			c.parts[n].state.CompareAndSwap(taking, idle)
		}
		c.mu.Unlock()
		return
	}
	slowest := time.Duration(0)
	for _, n := range parts {
		c.parts[n].state.Store(held)
		if x := &c.table[n]; x.died && !x.before.IsZero() {
			slowest = max(slowest, now.Sub(x.before))
			x.died = false
		}
	}
	c.mu.Unlock()
	c.work.Begun(parts)
	e := c.log.Info().Ints("parts", parts)
	if slowest > 0 {
		c.metrics.takeover(slowest)
		e = e.Dur("after", slowest)
	}
	e.Msg("cluster: this node owns parts")
}

// hand gives parts to their new owners, when what is under way has been finished.
func (c *Cluster) hand(owned context.Context, to map[string][]int) {
	defer func() {
		c.mu.Lock()
		c.handing = false
		c.mu.Unlock()
		c.poke()
	}()
	ctx, cancel := context.WithTimeout(owned, c.times.Hand)
	defer cancel()
	var all []int
	for owner, parts := range to {
		if !c.takes(ctx, owner) {
			c.keepAll(parts)
			delete(to, owner)
			continue
		}
		all = append(all, parts...)
	}
	if len(all) == 0 {
		select { // until this node has been told, or the store answers
		case <-owned.Done():
		case <-time.After(c.times.Renew / 8):
		}
		return
	}
	var left sync.WaitGroup
	left.Go(func() { c.work.Leave(ctx, all) })
	for _, n := range all {
		c.quiet(ctx, n)
	}
	left.Wait()
	if owned.Err() != nil {
		return // lost meanwhile: run says so
	}
	all = c.keepBusy(to)
	c.work.Lost(all)
	for owner, parts := range to {
		c.each(parts, func(n int) {
			err := c.write(owned, n, c.self(), owner)
			if err == nil || errors.Is(err, store.ErrExists) {
				return
			}
			c.log.Warn().Err(err).Int("part", n).Str("to", owner).Msg("cluster: whether a part was handed on is not known: this node begins anew")
			// As another incarnation it takes only what the table gives it then.
			c.mu.Lock()
			if owned.Err() == nil { // else it is another incarnation already
				c.fall()
			}
			c.mu.Unlock()
		})
		if len(parts) > 0 {
			c.log.Info().Ints("parts", parts).Str("to", owner).Msg("cluster: parts are handed on")
		}
	}
	c.mu.Lock()
	for _, n := range all {
		c.parts[n].state.CompareAndSwap(leaving, idle)
	}
	c.mu.Unlock()
}

// takes asks the store whether a node takes parts. What this one was told may be old: a node that leaves hands its parts on as soon as it has said
// so, and whoever has not heard that yet would give them back to it, where nobody did anything for them until its lease had ended.
func (c *Cluster) takes(ctx context.Context, owner string) bool {
	ctx, cancel := context.WithTimeout(ctx, c.times.Renew)
	defer cancel()
	name, incarnation := split(owner)
	have, _, err := c.facts.Get(ctx, bucketNodes, name)
	var l lease
	return err == nil && json.Unmarshal(have, &l) == nil && l.Incarnation == incarnation && !l.Leaving
}

// keepAll keeps parts that were to be handed on, and for which nothing has been left yet. They are looked at again in the next step.
func (c *Cluster) keepAll(parts []int) {
	for _, n := range parts {
		c.parts[n].state.CompareAndSwap(leaving, held)
	}
}

// keepBusy keeps the parts for which something is still under way: whoever got them now would do the same once more. They are handed on another time.
func (c *Cluster) keepBusy(to map[string][]int) (rest []int) {
	var kept []int
	busy := func(n int) bool {
		p := &c.parts[n]
		if p.busy.Load() == 0 {
			return false
		}
		if p.state.CompareAndSwap(leaving, held) {
			kept = append(kept, n)
		}
		return true
	}
	for owner, parts := range to {
		parts = slices.DeleteFunc(parts, busy)
		to[owner], rest = parts, append(rest, parts...)
	}
	if len(kept) > 0 {
		c.log.Warn().Ints("parts", kept).Msg("cluster: parts are not handed on yet: something has been under way for them for too long")
		c.work.Begun(kept)
	}
	return rest
}

// Leave hands all parts on, ends the lease and the membership. When ctx ends before all is handed on the rest is left as it is: the others
// take it once the lease is gone, and Leave ends it.
func (c *Cluster) Leave(ctx context.Context) {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
	c.renew(ctx)
	c.poke()
	tick := time.NewTicker(c.times.Renew / 100)
	defer tick.Stop()
	for ctx.Err() == nil && c.fresh() && c.owns() && c.others() {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	c.mu.Lock()
	c.cancel()
	c.fall()
	c.mu.Unlock()
	c.busy.Wait()
	c.resign()
}

// others tells whether there is somebody to hand parts to.
func (c *Cluster) others() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, s := range c.nodes {
		if name != c.node && !s.Leaving {
			return true
		}
	}
	return false
}

// owns tells whether any part is this node's.
func (c *Cluster) owns() bool {
	for i := range c.parts {
		if c.parts[i].state.Load() != idle {
			return true
		}
	}
	return false
}

// Nodes returns the names of the nodes that have a lease, this one among them.
func (c *Cluster) Nodes() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.nodes {
		names = append(names, name)
	}
	return names
}
