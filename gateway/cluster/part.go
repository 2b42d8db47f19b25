package cluster

import (
	"context"
	"sync/atomic"
	"time"
)

// part is this node's side of one part.
type part struct {
	state atomic.Uint32
	busy  atomic.Int64  // what is under way
	epoch atomic.Uint64 // how often it was taken
}

// The states of a part. Every other state becomes idle when the fence falls.
const (
	idle    uint32 = iota // another node's, or nobody's
	taking                // the table says that it is this node's; its journal is being read
	held                  // this node's
	leaving               // nothing more begins; it is handed on when nothing is under way
)

// Enter begins something for a part: it returns false, and nothing may be done, unless the part is this node's now. Whoever got true calls
// Exit when it is done. epoch tells when this node took the part: what is written at the end of something long asks Still first.
func (c *Cluster) Enter(n int) (epoch uint64, ok bool) {
	p := &c.parts[n]
	p.busy.Add(1)
	epoch = p.epoch.Load()
	if p.state.Load() == held && c.fresh() {
		return epoch, true
	}
	p.busy.Add(-1)
	return 0, false
}

// Exit ends what Enter began.
func (c *Cluster) Exit(n int) { c.parts[n].busy.Add(-1) }

// Still tells whether the part has been this node's without a break since it was entered in this epoch. It may be one that is left.
func (c *Cluster) Still(n int, epoch uint64) bool {
	p := &c.parts[n]
	s := p.state.Load()
	return p.epoch.Load() == epoch && (s == held || s == leaving) && c.fresh()
}

// Epoch is the number of times that this node has taken the part, and mine whether it is this node's now.
func (c *Cluster) Epoch(n int) (epoch uint64, mine bool) {
	p := &c.parts[n]
	return p.epoch.Load(), p.state.Load() == held && c.fresh()
}

// Owner is the name of the node that owns the part as far as this one knows, "" if none does or it is in doubt. It may be this node, which
// may not have begun yet: Enter says.
func (c *Cluster) Owner(n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, incarnation := split(c.table[n].owner)
	if s, ok := c.nodes[name]; ok && s.Incarnation == incarnation {
		return name
	}
	return ""
}

// quiet waits until nothing is under way for a part that nothing more begins for.
func (c *Cluster) quiet(ctx context.Context, n int) {
	for c.parts[n].busy.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Mine tells whether the part is this node's in any way: it is being taken, or is held, or is left and has not been handed on.
func (c *Cluster) Mine(n int) bool { return c.parts[n].state.Load() != idle && c.fresh() }
