package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// The nodes of a cluster show each other certificates of their own authority; whoever has another one is no node.
func TestNodesOfAClusterKnowEachOther(t *testing.T) {
	ca, other := certstest.NewCA(t), certstest.NewCA(t)
	roots := ca.WriteRoot(t.TempDir())
	loopback := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	nodes := ""
	for _, name := range []string{"a", "b", "c"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		nodes += fmt.Sprintf("{name: %s, address: %q},", name, l.Addr())
		l.Close()
	}
	open := func(name string, leaf *certstest.Leaf, wait time.Duration) (*store.Store, error) {
		pair := leaf.WriteFiles(t.TempDir())
		cfg, err := configs.Parse("test.yaml", fmt.Appendf(nil, `
sip: {listeners: [{transport: udp, address: "127.0.0.1:0"}], peers: [{name: p, networks: [192.0.2.0/24], domains: [example.net]}]}
routes: [{domain: example.net, via: sip, next_hops: ["sip:127.0.0.1:5070"]}]
store: {directory: %q, cluster: {node: %s, nodes: [%s], chain_file: %q, key_file: %q, roots_file: %q}}
`, filepath.Join(t.TempDir(), name), name, nodes, pair.Chain, pair.Key, roots))
		if err != nil {
			return nil, err
		}
		cluster, err := clusterOf(cfg, zerolog.Nop())
		if err != nil {
			return nil, err
		}
		cluster.Wait = wait
		return store.Open(context.Background(), store.Config{Directory: string(cfg.Store.Directory), Cluster: cluster, Logger: zerolog.Nop()})
	}
	own := certstest.Spec{IP: loopback}
	type opened struct {
		s   *store.Store
		err error
	}
	all := make(chan opened)
	for _, name := range []string{"a", "b"} {
		go func() {
			s, err := open(name, ca.Issue(own), time.Minute)
			all <- opened{s, err}
		}()
	}
	// Of another authority, and of ours but for no node.
	for what, leaf := range map[string]*certstest.Leaf{
		"another authority": other.Issue(own), "another host": ca.Issue(certstest.Spec{DNS: []string{"example.net"}}),
	} {
		s, err := open("c", leaf, 4*time.Second)
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a node with a certificate of %s: %v", what, err)
		}
		if err == nil {
			s.Close()
		}
	}
	s, err := open("c", ca.Issue(own), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		o := <-all
		if o.err != nil {
			t.Fatal(o.err)
		}
		defer o.s.Close()
	}
	if err := s.Put(t.Context(), "b", "k", []byte("v"), 0); err != nil {
		t.Error(err)
	}
}
