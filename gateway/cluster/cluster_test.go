package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/gateway/cluster"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// The times of a lease.
const life, fence, renew = 10 * time.Second, 9 * time.Second, 2 * time.Second

// world knows who acts for which part, on all nodes.
type world struct {
	t      *testing.T
	mu     sync.Mutex
	acting [store.Parts]map[*node]int
}

// node is one gateway's share. Its Facts can hang, as those of a process that the system has stopped.
type node struct {
	*storetest.Memory
	world   *world
	name    string
	cluster *cluster.Cluster
	acts    atomic.Int64

	mu     sync.Mutex
	refuse error // what Take returns
	hangs  chan struct{}
	dead   bool
	loaded map[int]bool
	stop   func()
}

func (n *node) wait() {
	n.mu.Lock()
	c := n.hangs
	n.mu.Unlock()
	if c != nil {
		<-c
	}
}

func (n *node) Get(ctx context.Context, bucket, key string) ([]byte, uint64, error) {
	n.wait()
	return n.Memory.Get(ctx, bucket, key)
}

func (n *node) Replace(ctx context.Context, bucket, key string, value []byte, revision uint64, life time.Duration) error {
	n.wait()
	return n.Memory.Replace(ctx, bucket, key, value, revision, life)
}

// Watch tells nothing while the node hangs.
func (n *node) Watch(ctx context.Context, bucket string, f func(store.Change)) error {
	return n.Memory.Watch(ctx, bucket, func(c store.Change) {
		n.wait()
		f(c)
	})
}

// pause has all that the node reads and writes hang until the func is called.
func (n *node) pause() func() {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := make(chan struct{})
	n.hangs = c
	return func() {
		n.mu.Lock()
		n.hangs = nil
		n.mu.Unlock()
		close(c)
	}
}

// Take implements cluster.Work.
func (n *node) Take(_ context.Context, parts []int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		return n.refuse
	}
	for _, p := range parts {
		if n.loaded[p] {
			n.world.t.Errorf("%s is given part %d twice", n.name, p)
		}
		n.loaded[p] = true
	}
	return nil
}

func (n *node) Begun([]int) {}

func (n *node) Leave(context.Context, []int) {}

// Lost implements cluster.Work.
func (n *node) Lost(parts []int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range parts {
		delete(n.loaded, p)
	}
}

func newWorld(t *testing.T) *world {
	w := &world{t: t}
	for i := range w.acting {
		w.acting[i] = map[*node]int{}
	}
	return w
}

// join starts a node.
func (w *world) join(memory *storetest.Memory, name string) *node {
	w.t.Helper()
	n := &node{Memory: memory, world: w, name: name, loaded: map[int]bool{}}
	var err error
	if n.cluster, err = cluster.New(cluster.Config{Facts: n, Node: name, Home: memory.Home(), Work: n, Logger: zerolog.Nop()}); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	if err := n.cluster.Start(ctx); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// act has the node act for random parts, one after the other, and checks that nobody else does.
func (n *node) act(r *rand.Rand) {
	ctx, cancel := context.WithCancel(n.world.t.Context())
	done := make(chan struct{})
	n.stop = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			n.once(r.IntN(store.Parts), time.Duration(r.IntN(400))*time.Millisecond)
			time.Sleep(time.Duration(1+r.IntN(20)) * time.Millisecond)
		}
	}()
}

func (n *node) once(p int, takes time.Duration) {
	_, ok := n.cluster.Enter(p)
	if !ok {
		return
	}
	defer n.cluster.Exit(p)
	w := n.world
	n.acts.Add(1)
	w.mu.Lock()
	for other, c := range w.acting[p] {
		if other != n && c > 0 {
			w.t.Errorf("%s and %s act for part %d", n.name, other.name, p)
		}
	}
	w.acting[p][n]++
	w.mu.Unlock()
	n.mu.Lock()
	if !n.loaded[p] {
		w.t.Errorf("%s acts for part %d, whose journal it has not read", n.name, p)
	}
	n.mu.Unlock()
	time.Sleep(takes)
	w.mu.Lock()
	w.acting[p][n]--
	w.mu.Unlock()
}

// kill ends a node as kill -9 does.
func (n *node) kill() {
	n.Kill()
	n.stop() // in less time than another one takes to notice
	n.dead = true
	over, cancel := context.WithCancel(context.Background())
	cancel()
	n.cluster.Leave(over) // ends its goroutines; nothing of it reaches the store any more
}

// leave ends a node as an operator does.
func (n *node) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	n.cluster.Leave(ctx)
	n.stop()
	n.Kill()
	n.dead = true
}

// owners is who has each part.
func owners(nodes []*node) (of [store.Parts][]string) {
	for _, n := range nodes {
		for p := range store.Parts {
			if n.dead {
				continue
			}
			if _, ok := n.cluster.Enter(p); ok {
				of[p] = append(of[p], n.name)
				n.cluster.Exit(p)
			}
		}
	}
	return of
}

// settled fails unless each part has one owner, and none has more than its share of the rest.
func settled(t *testing.T, nodes []*node) map[string]int {
	t.Helper()
	count := map[string]int{}
	for p, names := range owners(nodes) {
		if len(names) != 1 {
			t.Errorf("part %d is owned by %v", p, names)
			continue
		}
		count[names[0]]++
	}
	return count
}

func TestEachPartHasOneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first := newWorld(t), &storetest.Memory{}
		a := w.join(first.Join("a"), "a")
		a.act(rand.New(rand.NewPCG(1, 1)))
		time.Sleep(3 * time.Second)
		if got := settled(t, []*node{a}); got["a"] != store.Parts {
			t.Errorf("alone: %v", got)
		}

		b := w.join(first.Join("b"), "b")
		b.act(rand.New(rand.NewPCG(1, 2)))
		c := w.join(first.Join("c"), "c")
		c.act(rand.New(rand.NewPCG(1, 3)))
		time.Sleep(5 * time.Second)
		nodes := []*node{a, b, c}
		got := settled(t, nodes)
		for _, n := range nodes {
			if got[n.name] < 12 || n.acts.Load() == 0 {
				t.Errorf("%s owns %d of %d, and acted %d times", n.name, got[n.name], store.Parts, n.acts.Load())
			}
		}

		// A node that leaves hands everything on at once.
		before := time.Now()
		b.leave()
		if took := time.Since(before); took > 3*time.Second {
			t.Errorf("to leave took %v", took)
		}
		time.Sleep(2 * time.Second)
		if got = settled(t, []*node{a, c}); got["b"] != 0 {
			t.Errorf("after b left: %v", got)
		}

		// One that is killed owns nothing 15 s later.
		a.kill()
		time.Sleep(life + renew)
		if got = settled(t, []*node{c}); got["c"] != store.Parts {
			t.Errorf("%v after a was killed: %v", life+renew, got)
		}

		// It comes back, and gets the same parts.
		a = w.join(first.Join("a"), "a")
		a.act(rand.New(rand.NewPCG(1, 4)))
		time.Sleep(5 * time.Second)
		if got = settled(t, []*node{a, c}); got["a"] < 16 || got["c"] < 16 {
			t.Errorf("after a came back: %v", got)
		}
		a.leave()
		c.leave()
	})
}

// A process that was stopped for longer than its lease lives must do nothing when it goes on, before it has looked at anything.
func TestFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first := newWorld(t), &storetest.Memory{}
		a, b := w.join(first.Join("a"), "a"), w.join(first.Join("b"), "b")
		a.act(rand.New(rand.NewPCG(2, 1)))
		b.act(rand.New(rand.NewPCG(2, 2)))
		// Leases are renewed again and again from the start, which took no time here: in the middle between two renewals it is known how old the last is.
		time.Sleep(4*renew + renew/2)
		if got := settled(t, []*node{a, b}); got["a"] == 0 || got["b"] == 0 {
			t.Fatal(got)
		}
		var part int
		for p, names := range owners([]*node{a, b}) {
			if names[0] == "a" {
				part = p
			}
		}
		epoch, ok := a.cluster.Enter(part)
		if !ok || !a.cluster.Still(part, epoch) {
			t.Fatal("a does not own its part")
		}
		on := a.pause()
		time.Sleep(fence - renew/2 - time.Millisecond)
		if !a.cluster.Still(part, epoch) {
			t.Error("a does not own its part before the fence falls")
		}
		time.Sleep(2 * time.Millisecond)
		if a.cluster.Still(part, epoch) {
			t.Error("a owns its part after the fence fell")
		}
		time.Sleep(life - fence - 2*time.Millisecond)
		if got := owners([]*node{b}); len(got[part]) != 0 {
			t.Error("b has a part of a, whose lease lives")
		}
		time.Sleep(2 * time.Second)
		if got := settled(t, []*node{b}); got["b"] != store.Parts {
			t.Errorf("2 s after the end of a's lease: %v", got)
		}
		// It goes on: nothing of what it owned is its own, whether it has noticed or not.
		if got := owners([]*node{a}); slices.ContainsFunc(got[:], func(s []string) bool { return len(s) > 0 }) {
			t.Error("a acts for parts when it goes on")
		}
		if a.cluster.Still(part, epoch) {
			t.Error("a takes what it began for its own")
		}
		a.cluster.Exit(part)
		on()
		time.Sleep(5 * time.Second)
		if got := settled(t, []*node{a, b}); got["a"] == 0 || got["b"] == 0 {
			t.Errorf("after a went on: %v", got)
		}
		if a.cluster.Still(part, epoch) {
			t.Error("a takes what it began for its own, as another incarnation")
		}
		a.leave()
		b.leave()
	})
}

func TestPartitionFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first := newWorld(t), &storetest.Memory{}
		a, b, c := w.join(first.Join("a"), "a"), w.join(first.Join("b"), "b"), w.join(first.Join("c"), "c")
		nodes := []*node{a, b, c}
		for i, n := range nodes {
			n.act(rand.New(rand.NewPCG(3, uint64(i))))
		}
		time.Sleep(8 * time.Second)
		settled(t, nodes)

		a.Partition(true)
		time.Sleep(fence + time.Second/2)
		for p, names := range owners([]*node{a}) {
			if len(names) > 0 {
				t.Fatalf("a acts for part %d without the store", p)
			}
		}
		time.Sleep(4 * time.Second)
		if got := settled(t, nodes); got["a"] != 0 {
			t.Errorf("%v", got)
		}
		a.Partition(false)
		time.Sleep(6 * time.Second)
		if got := settled(t, nodes); got["a"] == 0 {
			t.Errorf("a is not back: %v", got)
		}

		// Without a store nobody owns anything; and then everybody again.
		for _, n := range nodes {
			n.Partition(true)
		}
		time.Sleep(time.Minute)
		for p, names := range owners(nodes) {
			if len(names) > 0 {
				t.Fatalf("part %d is owned without a store", p)
			}
		}
		for _, n := range nodes {
			n.Partition(false)
		}
		time.Sleep(6 * time.Second)
		settled(t, nodes)
		for _, n := range nodes {
			n.leave()
		}
	})
}

// T-FI-26: two gateways of one name. The second one does not begin while the first one lives.
func TestT_FI_26_TwoNodesOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first := newWorld(t), &storetest.Memory{}
		a := w.join(first.Join("a"), "a")
		a.act(rand.New(rand.NewPCG(4, 1)))
		twin, err := cluster.New(cluster.Config{Facts: a.Memory, Node: "a", Work: &node{world: w, name: "twin"}, Logger: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := twin.Start(ctx); err == nil {
			t.Error("two nodes of one name run")
		}
		settled(t, []*node{a})
		a.leave()
	})
}

// A journal that cannot be read is no reason to go on without it: the part has no owner until it can be.
func TestTakeIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first := newWorld(t), &storetest.Memory{}
		n := &node{Memory: first.Join("a"), world: w, name: "a", loaded: map[int]bool{}, refuse: errors.New("damaged")}
		var err error
		if n.cluster, err = cluster.New(cluster.Config{Facts: n, Node: "a", Work: n, Logger: zerolog.Nop()}); err != nil {
			t.Fatal(err)
		}
		if err := n.cluster.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.act(rand.New(rand.NewPCG(5, 1)))
		time.Sleep(5 * time.Second)
		if _, ok := n.cluster.Enter(7); ok || n.acts.Load() > 0 {
			t.Error("parts were entered that could not be read")
		}
		n.mu.Lock()
		n.refuse = nil
		n.mu.Unlock()
		time.Sleep(3 * time.Second)
		settled(t, []*node{n})
		n.leave()
	})
}

// Three nodes that are killed, started, stopped, cut off and asked to leave at random: never do two act for one part, and each part has its owner when
// the leases that ended are certain to be over: one that was told of late has to be waited for once more.
func TestRandomWalk(t *testing.T) {
	seed := rand.Uint64()
	for i := range uint64(8) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Logf("seed %d", seed)
			synctest.Test(t, func(t *testing.T) { walk(t, rand.New(rand.NewPCG(seed, i))) })
		})
	}
}

func walk(t *testing.T, r *rand.Rand) {
	w, first := newWorld(t), &storetest.Memory{}
	names := [3]string{"a", "b", "c"}
	var nodes [3]*node
	var resume [3]func() // ends what hangs
	start := func(i int) {
		nodes[i] = w.join(first.Join(names[i]), names[i])
		nodes[i].act(rand.New(rand.NewPCG(r.Uint64(), 1)))
	}
	for i := range nodes {
		start(i)
	}
	heal := func(i int) {
		if resume[i] != nil {
			resume[i]()
			resume[i] = nil
		}
		nodes[i].Partition(false)
	}
	for range 40 {
		i := r.IntN(3)
		switch n := nodes[i]; r.IntN(6) {
		case 0:
			if !n.dead {
				heal(i)
				n.kill()
			}
		case 1:
			if !n.dead {
				heal(i)
				n.leave()
			}
		case 2, 3:
			heal(i)
			if n.dead {
				start(i)
			}
		case 4:
			if !n.dead && resume[i] == nil {
				resume[i] = n.pause()
			}
		case 5:
			n.Partition(true)
		}
		time.Sleep(time.Duration(r.IntN(9000)) * time.Millisecond)
	}
	for i := range nodes {
		heal(i)
		if nodes[i].dead && r.IntN(2) == 0 {
			start(i)
		}
	}
	alive := 0
	for _, n := range nodes {
		if !n.dead {
			alive++
		}
	}
	time.Sleep(2*life + 2*renew)
	if alive > 0 {
		settled(t, nodes[:])
	}
	acts := int64(0)
	for i, n := range nodes {
		acts += n.acts.Load()
		if !n.dead {
			heal(i)
			n.leave()
		}
	}
	if acts == 0 {
		t.Error("nobody did anything")
	}
}
