package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// spread tells the other nodes that a way broke or is back: their watches need it too. One that does not hear of it is dead, or asks again by itself
// in an hour.
func (n *node) spread(way adapters.Way, back bool) {
	for _, name := range n.others() {
		n.herald(name, way, back)
	}
}

// heralds are those who are telling other nodes of ways, one for each node and way: what is told last there must be what happened last. Each exists
// while it has something to tell, and no longer than presencePatience after it was given the last.
type heralds struct {
	mu   sync.Mutex
	busy map[heraldKey]*herald
}

type heraldKey struct {
	node string
	way  adapters.Way
}

// herald is what is to be told, the newest alone: that a way is back tells that it was lost, too (see wayHere).
type herald struct {
	back  bool
	newer bool // it came after what is being told
	until time.Time
}

// herald tells one of them.
func (n *node) herald(name string, way adapters.Way, back bool) {
	h, key := &n.heralds, heraldKey{name, way}
	h.mu.Lock()
	defer h.mu.Unlock()
	x, until := h.busy[key], time.Now().Add(presencePatience)
	if x != nil {
		x.back, x.newer, x.until = back, true, until
		return
	}
	if h.busy == nil {
		h.busy = make(map[heraldKey]*herald)
	}
	x = &herald{back: back, until: until}
	h.busy[key] = x
	go n.tellOfWay(key, x)
}

// tellOfWay tells what x says until it was heard, and nothing newer has come.
func (n *node) tellOfWay(key heraldKey, x *herald) {
	h := &n.heralds
	for {
		h.mu.Lock()
		back, until := x.back, x.until
		x.newer = false
		h.mu.Unlock()
		heard := n.tellOfWayOnce(key, back)
		h.mu.Lock()
		if !x.newer && (heard || !time.Now().Before(until)) {
			delete(h.busy, key)
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		if !heard {
			time.Sleep(time.Second)
		}
	}
}

// tellOfWayOnce tells whether the other node has heard it, or is not there to hear anything.
func (n *node) tellOfWayOnce(key heraldKey, back bool) bool {
	octets, err := encodeCall(&call{Version: forwardVersion, Way: &carriedWay{key.way.Ours, key.way.Theirs, back}})
	if err != nil {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), ownerWait)
	defer cancel()
	_, err = n.bus.Call(ctx, key.node, octets)
	return err == nil || errors.Is(err, store.ErrNoNode)
}
