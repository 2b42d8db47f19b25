package store_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// cluster is three nodes in this process.
type cluster struct {
	t     testing.TB
	peers []store.Peer
	dirs  map[string]string
	nodes map[string]*store.Store
	log   zerolog.Logger
}

// newCluster makes three nodes and starts them.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t, dirs: map[string]string{}, nodes: map[string]*store.Store{}, log: zerolog.New(zerolog.NewTestWriter(t))}
	for _, name := range []string{"a", "b", "c"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.peers = append(c.peers, store.Peer{Name: name, Address: l.Addr().String()})
		l.Close()
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
		Cluster: &store.Cluster{Node: name, Nodes: c.peers, Wait: time.Minute},
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
	c := newCluster(t)
	storetest.Contract(t, func() store.Durable { return c.nodes["a"] })
	storetest.ClusterContract(t, c.nodes["b"], c.nodes["c"])
}
