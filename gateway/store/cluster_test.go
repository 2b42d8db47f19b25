package store_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
)

// cluster is three nodes in this process.
type cluster struct {
	t     testing.TB
	peers []store.Peer
	dirs  map[string]string
	nodes map[string]*store.Store
	log   zerolog.Logger
	tls   *tls.Config
}

// newCluster makes three nodes and starts them.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	return newClusterOver(t, nil)
}

// newClusterOver makes three nodes that speak TLS, unless it is nil, and starts them.
func newClusterOver(t testing.TB, over *tls.Config) *cluster {
	t.Helper()
	c := &cluster{t: t, tls: over, dirs: map[string]string{}, nodes: map[string]*store.Store{}, log: zerolog.New(zerolog.NewTestWriter(t))}
	for _, name := range []string{"a", "b", "c"} {
		c.peers = append(c.peers, store.Peer{Name: name, Address: porttest.Address(t)})
		c.dirs[name] = t.TempDir()
	}
	c.start("a", "b", "c")
	t.Cleanup(func() {
		for _, s := range c.nodes {
			s.Close()
		}
	})
	return c
}

func (c *cluster) config(name string) store.Config {
	return store.Config{
		Directory: c.dirs[name], Logger: c.log.With().Str("on", name).Logger(),
		Cluster: &store.Cluster{Node: name, Nodes: c.peers, TLS: c.tls, Wait: time.Minute},
	}
}

// start opens nodes at once.
func (c *cluster) start(names ...string) {
	c.t.Helper()
	type opened struct {
		name string
		s    *store.Store
		err  error
	}
	all := make(chan opened)
	for _, name := range names {
		go func() {
			s, err := store.Open(context.Background(), c.config(name))
			all <- opened{name, s, err}
		}()
	}
	for range names {
		if o := <-all; o.err != nil {
			c.t.Errorf("node %s: %v", o.name, o.err)
		} else {
			c.nodes[o.name] = o.s
		}
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// stop ends a node.
func (c *cluster) stop(name string) {
	c.nodes[name].Close()
	delete(c.nodes, name)
}

func TestClusterContract(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	storetest.Contract(t, func() store.Durable { return c.nodes["a"] })
	storetest.ClusterContract(t, c.nodes["b"], c.nodes["c"])
}

// appended are the texts of what has been acknowledged.
type appended struct {
	mu   sync.Mutex
	list map[string]bool
}

func (a *appended) add(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list[text] = true
}

func (a *appended) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.list)
}

// callers append to nodes until end is closed.
func (c *cluster) callers(n int, a *appended, nodes []string, end <-chan struct{}) *sync.WaitGroup {
	var wait sync.WaitGroup
	for i := range n {
		s := c.nodes[nodes[i%len(nodes)]]
		wait.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				e := store.Entry{
					ID: s.NewID(), Kind: store.KindMessage, Part: i, Order: fmt.Sprint(i), Accepted: time.Now(), Expires: time.Now().Add(time.Hour),
				}
				e.Octets = []byte(e.ID)
				ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
				err := s.Append(ctx, e)
				cancel()
				if err == nil {
					a.add(string(e.Octets))
				} else {
					// As a sender that comes again later.
					select {
					case <-end:
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
			}
		})
	}
	return &wait
}

// more waits until so many more were acknowledged.
func (a *appended) more(t testing.TB, n int, what string) {
	t.Helper()
	began, from := time.Now(), a.count()
	for a.count() < from+n {
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("%s: not %d were stored in two minutes", what, n)
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Logf("%s: %d more after %v", what, n, time.Since(began).Round(time.Millisecond))
}

// check tells whether a node replays everything that was acknowledged.
func (a *appended) check(t testing.TB, s *store.Store) {
	t.Helper()
	a.mu.Lock()
	want := maps.Clone(a.list)
	a.mu.Unlock()
	got := 0
	err := s.Replay(t.Context(), nil, func(e store.Entry, _ store.Progress) error {
		got++
		delete(want, string(e.Octets))
		return nil
	}, func(id store.ID, err error) { t.Errorf("%s: %v", id, err) })
	if err != nil {
		t.Error(err)
	}
	for text := range want {
		t.Errorf("%s was acknowledged and is lost (%d of %d)", text, len(want), len(a.list))
		break
	}
	t.Logf("%d entries of %d that were acknowledged", got, len(a.list))
}

// A node that is killed takes nothing with it that was acknowledged, and the others go on without it. It comes back with what was stored
// meanwhile, with its disk or without.
func TestANodeOfTheClusterDies(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := &appended{list: map[string]bool{}}
	end := make(chan struct{})
	wait := c.callers(64, a, []string{"a", "b"}, end)
	a.more(t, 500, "three nodes")
	store.Kill(c.nodes["c"])
	c.stop("c")
	a.more(t, 500, "two nodes")
	// It comes back without its disk.
	if err := os.RemoveAll(c.dirs["c"]); err != nil {
		t.Fatal(err)
	}
	c.start("c")
	a.more(t, 500, "a node came back without its disk")
	close(end)
	wait.Wait()
	a.check(t, c.nodes["c"])
	// What it copied is on its own disk: with it the others' quorum is one again.
	c.caughtUp("c")
	store.Kill(c.nodes["a"])
	c.stop("a")
	a.check(t, c.nodes["c"])

	// Too few nodes: refused at once, and nothing of it is there later.
	store.Kill(c.nodes["b"])
	c.stop("b")
	s := c.nodes["c"]
	for began := time.Now(); s.Up(); <-time.After(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("a node alone takes itself for a quorum")
		}
	}
	began := time.Now()
	err := s.Append(t.Context(), store.Entry{ID: s.NewID(), Kind: store.KindMessage, Octets: []byte("refused")})
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnknown) {
		t.Errorf("append without a quorum: %v", err)
	}
	if err := s.Put(t.Context(), "b", "k", nil, 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("put without a quorum: %v", err)
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %v to be refused", d)
	}
	// It comes back with the others.
	c.start("a", "b")
	end = make(chan struct{})
	wait = c.callers(8, a, []string{"a", "b", "c"}, end)
	a.more(t, 100, "three nodes again")
	close(end)
	wait.Wait()
	a.check(t, c.nodes["a"])
}

// A node after the other is restarted while the others are written to.
func TestTheClusterIsRestarted(t *testing.T) {
	t.Parallel()
	c, a := newCluster(t), &appended{list: map[string]bool{}}
	for _, name := range []string{"a", "b"} {
		others := slices.DeleteFunc([]string{"a", "b", "c"}, func(n string) bool { return n == name })
		end := make(chan struct{})
		wait := c.callers(8, a, others, end)
		c.stop(name)
		a.more(c.t, 50, name+" stopped")
		c.start(name)
		a.more(c.t, 50, name+" started")
		close(end)
		wait.Wait()
		c.caughtUp(name)
	}
	a.check(t, c.nodes["a"])
}

// sure does what a cluster without a leader, as on a machine that stood still, would refuse for a while.
func sure(t testing.TB, do func() error) {
	t.Helper()
	err := do()
	for end := time.Now().Add(time.Minute); errors.Is(err, store.ErrUnavailable) && time.Now().Before(end); err = do() {
		<-time.After(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// caughtUp waits until a node's copies are those of the others.
func (c *cluster) caughtUp(name string) {
	c.t.Helper()
	for began := time.Now(); !store.CaughtUp(c.nodes[name]); <-time.After(20 * time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			c.t.Fatalf("%s is behind after two minutes", name)
		}
	}
}

// Two nodes of one name: the second does not start, and finds the first before it has begun anything: two of one name would vote twice.
func TestTwoNodesOfOneName(t *testing.T) {
	t.Parallel()
	ca := certstest.NewCA(t)
	mutual := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(certstest.Spec{IP: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}).TLS()},
		RootCAs: ca.Pool(), ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	}
	for _, x := range []struct {
		name string
		over *tls.Config
	}{{"without TLS", nil}, {"over TLS", mutual}} {
		t.Run(x.name, func(t *testing.T) {
			c := newClusterOver(t, x.over)
			cfg := c.config("b")
			cfg.Directory = t.TempDir()
			cfg.Cluster.Listen = porttest.Address(t)
			s, err := store.Open(t.Context(), cfg)
			if !errors.Is(err, store.ErrSameName) {
				t.Errorf("%v", err)
			}
			if err == nil {
				s.Close()
			}
			if _, err := os.Stat(filepath.Join(cfg.Directory, "cluster")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("its engine was started: %v", err)
			}
			if err := c.nodes["b"].Put(t.Context(), "b", "k", nil, 0); err != nil {
				t.Errorf("the first one: %v", err)
			}
		})
	}
}

func BenchmarkAppendOnACluster(b *testing.B) {
	c := newCluster(b)
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := c.nodes["a"]
			body := make([]byte, 600)
			var next atomic.Int64
			b.ResetTimer()
			var wait sync.WaitGroup
			for range callers {
				wait.Go(func() {
					for next.Add(1) <= int64(b.N) {
						e := store.Entry{ID: s.NewID(), Kind: store.KindMessage, Order: "x", Accepted: time.Now(), Expires: time.Now(), Octets: body}
						if err := s.Append(b.Context(), e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wait.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// What another node has ended or moved meanwhile is not there again because of an exchange that comes too late.
func TestAnExchangeThatComesTooLate(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	ctx, a, b := t.Context(), c.nodes["a"], c.nodes["b"]
	entry := func() store.Entry {
		e := store.Entry{ID: a.NewID(), Kind: store.KindMessage, Part: 1, Order: "late", Accepted: time.Now(), Expires: time.Now(), Octets: []byte("x")}
		if err := a.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	there := func() (list []string) {
		t.Helper()
		if err := b.Replay(ctx, nil, func(e store.Entry, _ store.Progress) error {
			list = append(list, fmt.Sprint(e.ID, " ", e.Part))
			return nil
		}, func(id store.ID, err error) { t.Errorf("%s: %v", id, err) }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	// Removed by the other: neither moved nor told of.
	gone := entry()
	if err := b.Remove(ctx, gone.ID); err != nil {
		t.Fatal(err)
	}
	moved, told := gone, gone
	moved.Part, told.ID, told.Kind = 2, gone.ID+"n", store.KindNotice
	for _, e := range []store.Entry{moved, told} {
		if err := a.Exchange(ctx, gone.ID, e); err == nil {
			t.Errorf("%s was exchanged for %+v though it was gone", gone.ID, e)
		}
	}
	if list := there(); len(list) != 0 {
		t.Errorf("there again: %q", list)
	}
	// Moved by the other, who goes on with it there.
	e := entry()
	moved = e
	moved.Part = 3
	if err := b.Exchange(ctx, e.ID, moved); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(ctx, e.ID); err != nil {
		t.Fatal(err)
	}
	if err := a.Exchange(ctx, e.ID, moved); err == nil {
		t.Error("an entry was moved that had been moved, and ended, before")
	}
	if list := there(); len(list) != 0 {
		t.Errorf("there again: %q", list)
	}
}

// To read a bucket that is all but empty makes no consumers, which are a matter of all nodes of the engine.
func TestEachOfFewValuesIsCheap(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	ctx, a, b := t.Context(), c.nodes["a"], c.nodes["b"]
	read := func(bucket string) map[string]string {
		t.Helper()
		all := map[string]string{}
		if err := b.Each(ctx, bucket, func(key string, value []byte, revision uint64) error {
			if revision == 0 {
				t.Errorf("%s has no revision", key)
			}
			all[key] = string(value)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if err := a.Put(ctx, "other", "k", []byte("o"), 0); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for i := range 40 {
		key := fmt.Sprintf("x/%d.y", i)
		if err := a.Put(ctx, "some/01", key, []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
		if want[key] = "v"; i == 3 {
			if err := a.Delete(ctx, "some/01", key); err != nil {
				t.Fatal(err)
			}
			delete(want, key)
		}
		if i%13 == 0 || i > 30 {
			if got := read("some/01"); !maps.Equal(got, want) {
				t.Errorf("%d: %v", i, got)
			}
			// With others, which hold nothing, or one.
			all := map[string]string{}
			if err := b.EachOf(ctx, []string{"none/1", "some/01", "other"}, func(bucket, key string, value []byte, _ uint64) error {
				all[bucket+" "+key] = string(value)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			both := map[string]string{"other k": "o"}
			for key, value := range want {
				both["some/01 "+key] = value
			}
			if !maps.Equal(all, both) {
				t.Errorf("%d: %v", i, all)
			}
		}
	}
	began := time.Now()
	for i := range 20 {
		if got := read(fmt.Sprintf("none/%d", i)); len(got) != 0 {
			t.Errorf("%v", got)
		}
	}
	t.Logf("to read an empty bucket takes %v", time.Since(began)/20)
}
