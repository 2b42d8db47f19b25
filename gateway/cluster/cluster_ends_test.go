package cluster_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/gateway/cluster"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// The clocks of the store's nodes are set at times, and a lease ends before its owner's clock says so. If that owner is told of nothing just then,
// nobody else begins until it has stopped.
func TestALeaseThatEndsTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first := newWorld(t), &storetest.Memory{}
		a, b := w.join(first.Join("a"), "a"), w.join(first.Join("b"), "b")
		a.act(rand.New(rand.NewPCG(9, 1)))
		b.act(rand.New(rand.NewPCG(9, 2)))
		time.Sleep(12 * time.Second)
		for range 5 {
			on := a.pause()
			if err := first.Delete(t.Context(), "nodes", "a"); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(life + renew); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				for p, names := range owners([]*node{a, b}) {
					if len(names) > 1 {
						t.Fatalf("part %d is owned by %v", p, names)
					}
				}
			}
			if got := settled(t, []*node{a, b}); got["b"] != store.Parts {
				t.Errorf("%v later: %v", life+renew, got)
			}
			on()
			time.Sleep(5 * time.Second)
			if got := settled(t, []*node{a, b}); got["a"] == 0 || got["b"] == 0 {
				t.Errorf("%v", got)
			}
		}
		a.leave()
		b.leave()
	})
}

// deaf is a node that is told nothing any more, as one whose watch died with another node and cannot be begun anew.
type deaf struct {
	*node
	not atomic.Bool
}

func (d *deaf) Watch(ctx context.Context, bucket string, f func(store.Change)) error {
	return d.node.Watch(ctx, bucket, func(c store.Change) {
		if !d.not.Load() {
			f(c)
		}
	})
}

// A node that is not told of the end of a lease asks, and takes what it is to take.
func TestTheEndOfALeaseIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first := newWorld(t), &storetest.Memory{}
		d := &deaf{node: &node{Memory: first.Join("a"), world: w, name: "a", loaded: map[int]bool{}}}
		a := d.node
		var err error
		if a.cluster, err = cluster.New(cluster.Config{Facts: d, Node: "a", Work: a, Logger: zerolog.Nop()}); err != nil {
			t.Fatal(err)
		}
		if err := a.cluster.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := w.join(first.Join("b"), "b")
		a.act(rand.New(rand.NewPCG(11, 1)))
		b.act(rand.New(rand.NewPCG(11, 2)))
		time.Sleep(12 * time.Second)
		if got := settled(t, []*node{a, b}); got["a"] == 0 || got["b"] == 0 {
			t.Fatal(got)
		}
		d.not.Store(true)
		// What lives is left alone.
		time.Sleep(3 * life)
		if got := settled(t, []*node{a, b}); got["a"] == 0 || got["b"] == 0 {
			t.Errorf("%v", got)
		}
		b.kill()
		time.Sleep(2*life + renew)
		if got := settled(t, []*node{a}); got["a"] != store.Parts {
			t.Errorf("%v after b was killed: %v", 2*life+renew, got)
		}
		a.leave()
	})
}

// What is under way for a part for longer than that is waited for does not happen once more at another node.
func TestABusyPartIsNotHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first := newWorld(t), &storetest.Memory{}
		a := w.join(first.Join("a"), "a")
		a.stop = func() {}
		time.Sleep(3 * time.Second)
		for p := range store.Parts {
			if _, ok := a.cluster.Enter(p); !ok {
				t.Fatalf("a does not own part %d", p)
			}
		}
		b := w.join(first.Join("b"), "b")
		b.stop = func() {}
		for range 80 {
			time.Sleep(time.Second)
			for p, names := range owners([]*node{b}) {
				if len(names) > 0 {
					t.Fatalf("b has part %d, for which a is at work", p)
				}
			}
		}
		for p := range store.Parts {
			a.cluster.Exit(p)
		}
		time.Sleep(5 * time.Second)
		if got := settled(t, []*node{a, b}); got["a"] == 0 || got["b"] == 0 {
			t.Errorf("%v", got)
		}
		a.leave()
		b.leave()
	})
}
