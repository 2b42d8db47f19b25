package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
)

// The nodes of a cluster show each other certificates of their own authority; whoever has another one is no node.
func TestNodesOfAClusterKnowEachOther(t *testing.T) {
	ca, other := certstest.NewCA(t), certstest.NewCA(t)
	roots := ca.WriteRoot(t.TempDir())
	loopback := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	nodes := ""
	for _, name := range []string{"a", "b", "c"} {
		nodes += fmt.Sprintf("{name: %s, address: %q},", name, porttest.Address(t))
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
	_, address, _ := strings.Cut(nodes[strings.Index(nodes, "{name: c"):], `"`)
	address, _, _ = strings.Cut(address, `"`)
	strangersForwardNothing(t, s, address, map[string]*tls.Config{
		"no TLS": nil, "no certificate": {}, "a certificate of another authority": {Certificates: []tls.Certificate{other.Issue(own).TLS()}},
		"a certificate for another host": {Certificates: []tls.Certificate{ca.Issue(certstest.Spec{DNS: []string{"example.net"}}).TLS()}},
	}, &tls.Config{Certificates: []tls.Certificate{ca.Issue(own).TLS()}})
}

// forgedCall is a forwarded operation as the engine's servers carry it to each other, and as a client of it would send it.
const forgedCall = "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"NSTRANGERSTRANGERSTRANGER\",\"cluster\":\"isthmus\",\"headers\":true}\r\n" +
	"INFO {\"server_id\":\"NSTRANGERSTRANGERSTRANGER\",\"server_name\":\"x\",\"cluster\":\"isthmus\",\"headers\":true,\"host\":\"127.0.0.1\",\"port\":1}\r\n" +
	"RMSG $G isthmus.call.c | _INBOX.x 5\r\nhello\r\nRMSG $G isthmus.call.c _INBOX.x 5\r\nhello\r\nPUB isthmus.call.c _INBOX.x 5\r\nhello\r\nPING\r\n"

// strangersForwardNothing: whoever has the port of a node, and no certificate of one, has none of its operations done, and holds nothing of it for long.
// The same octets from who has one are a call, so that what the strangers say is what would harm.
func strangersForwardNothing(t *testing.T, s *store.Store, address string, strangers map[string]*tls.Config, node *tls.Config) {
	t.Helper()
	called := make(chan string, 100)
	s.Serve(func(_ context.Context, from string, octets []byte) []byte {
		called <- from + " " + string(octets)
		return nil
	})
	say := func(with *tls.Config) error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return err
		}
		to := net.Conn(conn)
		if with != nil {
			with = with.Clone()
			with.InsecureSkipVerify = true // a stranger does not care
			to = tls.Client(conn, with)
		}
		if _, err := io.WriteString(to, forgedCall); err != nil {
			return nil // it was thrown out before
		}
		_, err = io.Copy(io.Discard, to)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("it is not thrown out")
		}
		return nil
	}
	var wait sync.WaitGroup
	for what, with := range strangers {
		for range 8 {
			wait.Go(func() {
				if err := say(with); err != nil {
					t.Errorf("a stranger with %s: %v", what, err)
				}
			})
		}
	}
	// Some say nothing at all.
	for range 32 {
		wait.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Error(err)
			}
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("who says nothing is not thrown out")
			}
		})
	}
	wait.Wait()
	select {
	case what := <-called:
		t.Errorf("a stranger had an operation forwarded: %q", what)
	default:
	}
	go say(node) //nolint:errcheck // it is a node, until the engine finds that it is none
	select {
	case what := <-called:
		if what != " hello" {
			t.Errorf("a node had forwarded %q", what)
		}
	case <-time.After(30 * time.Second):
		t.Error("what the strangers said is no call, also of a node: this test shows nothing")
	}
}
