package gateway

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// slowBus is a bus on which the first calls are lost, and notes what arrives.
type slowBus struct {
	store.Bus
	mu      sync.Mutex
	lost    int
	arrived []bool
}

func (b *slowBus) Call(_ context.Context, _ string, octets []byte) ([]byte, error) {
	var c call
	if err := json.Unmarshal(octets, &c); err != nil {
		return nil, err
	}
	b.mu.Lock()
	lost := b.lost > 0
	b.lost--
	b.mu.Unlock()
	if lost {
		time.Sleep(5 * time.Second)
		return nil, store.ErrUnknown
	}
	b.mu.Lock()
	b.arrived = append(b.arrived, c.Way.Back)
	b.mu.Unlock()
	return nil, nil
}

func (b *slowBus) heard() []bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.arrived)
}

// T-PR-11: that a way broke is not told to another node after it was told that it is back: its watchers would see nobody for half an hour.
func TestT_PR_11_NewsOfAWayStayInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &slowBus{lost: 1}
		n := &node{bus: b}
		way, other := adapters.Way{Ours: "example.net", Theirs: "example.com"}, adapters.Way{Ours: "example.net", Theirs: "example.org"}
		n.herald("b", way, false)
		synctest.Wait()
		n.herald("b", way, true)
		n.herald("b", other, false)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := b.heard(); len(got) == 0 || got[0] {
			t.Errorf("%v arrived: another way does not wait", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.heard(); len(got) < 2 || !got[len(got)-1] {
			t.Errorf("%v arrived, and the way is back", got)
		}
		n.herald("b", way, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.heard(); got[len(got)-1] {
			t.Errorf("%v arrived, and the way broke again", got)
		}
	})
}
