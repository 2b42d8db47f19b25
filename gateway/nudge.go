package gateway

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// nudges are the entries that this node has written and may not try, because their part is another's, who may have read its journal before. The
// owner is told of each, as soon as there is one: of those of a part one after the other.
type nudges struct {
	mu      sync.Mutex
	waiting map[int][]store.ID
	count   int
	full    bool // it has been said
}

// maxNudges bounds how many entries wait for an owner who is to be told. What is more is tried when its part is taken the next time.
const maxNudges = 10_000

// nudge has the owner of a part told of an entry. It does not wait.
func (n *node) nudge(part int, id store.ID) {
	q := &n.nudges
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count >= maxNudges {
		if !q.full {
			n.gateway.log.Error().Int("entries", q.count).Msg("the owners of entries cannot be told of more: those are tried when their parts are taken the next time")
		}
		q.full = true
		return
	}
	q.full = false
	if q.waiting == nil {
		q.waiting = map[int][]store.ID{}
	}
	q.count++
	before, running := q.waiting[part]
	q.waiting[part] = append(before, id)
	if !running {
		go n.nudgeAll(part)
	}
}

// nudgePatience is how long an owner is looked for without a pause, nudgePause the pause behind it.
const (
	nudgePatience = 30 * time.Second
	nudgePause    = 5 * time.Second
)

// nudgeAll tells the owner of a part of what waits, until nothing does or this node stops.
func (n *node) nudgeAll(part int) {
	q := &n.nudges
	for {
		q.mu.Lock()
		ids := q.waiting[part]
		if len(ids) == 0 {
			delete(q.waiting, part)
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		if n.nudgeOne(part, ids[0]) {
			q.mu.Lock()
			q.waiting[part] = q.waiting[part][1:]
			q.count--
			q.mu.Unlock()
			if !n.parts.Mine(part) {
				n.gateway.journal.disk.Release(part) // what was appended for others is counted by them
			}
			continue
		}
		select {
		case <-n.life.Done():
			return // the next owner reads it, or has it when this one comes back
		case <-time.After(nudgePause):
		}
	}
}

// nudgeOne tells the owner of one entry. False if there is none.
func (n *node) nudgeOne(part int, id store.ID) bool {
	ctx, cancel := context.WithTimeout(n.life, nudgePatience)
	defer cancel()
	enter := func() bool {
		_, ok := n.parts.Enter(part)
		return ok
	}
	for ctx.Err() == nil {
		_, how := n.ask(ctx, part, enter, func() ([]byte, error) {
			return json.Marshal(&call{Version: forwardVersion, Entry: &carriedEntry{ID: string(id)}})
		})
		switch how {
		case forwardMine:
			n.gateway.journal.loadOne(ctx, id)
			n.parts.Exit(part)
			return true
		case forwardDone:
			return true // also if it was not found: it has come to its end then
		}
		select { // what cannot be asked now is not asked all the time
		case <-ctx.Done():
		case <-time.After(forwardPause):
		}
	}
	return false
}
