package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Cluster is what makes a node one of several. The nodes keep copies of everything that is stored on several of them, and a write has
// returned when most of those copies have been synced.
type Cluster struct {
	// Name is the cluster's, the same on all nodes; letters, digits and "-", at most 32. Default "isthmus".
	Name string
	// Node is this node's name, which no other node has; letters, digits, "-" and "_", at most 64.
	Node string
	// Nodes are all nodes that keep copies, this one included, the same list on each. Three or more: of two none may go away.
	Nodes []Peer
	// Listen is where this node listens for the others, host:port. Default: its address in Nodes.
	Listen string
	// Replicas is of how many copies everything is, 1 to 5. Default 3.
	Replicas int
	// TLS is for the connections between the nodes, both to dial and to accept: it must have a certificate, and verify the other's. Nil is
	// taken only where all addresses are loopback addresses.
	TLS *tls.Config

	// URLs are the servers of a NATS cluster that is there already, instead of Nodes, Listen and TLS: nothing is kept on this node.
	// "nats://host:port" is for loopback addresses alone, "tls://host:port" for all. The servers must sync always (sync_interval: always).
	URLs []string
	// Credentials is the file with the credentials for it, "" for none. Roots are its authorities; nil: those of the system.
	Credentials string
	Roots       *tls.Config

	// Wait bounds how long Open waits for so many nodes that they can store something. Default 10 min.
	Wait time.Duration
}

// Peer is a node that keeps copies.
type Peer struct {
	Name    string
	Address string // host:port
}

// Errors of Open on a cluster.
var (
	// ErrSameName says that there is another node of this name in the cluster.
	ErrSameName = errors.New("store: another node of the cluster has this name")
	// ErrFormer says that the directory holds messages of a node that was alone. They are not moved to a cluster by themselves.
	ErrFormer = errors.New("store: the directory holds messages that were stored without the cluster")
)

// clustered tells whether there are other nodes.
func (s *Store) clustered() bool { return s.cfg.Cluster != nil }

// idSuffix is what makes the IDs of a node its own.
func idSuffix(node string) string {
	sum := sha256.Sum256([]byte(node))
	return fmt.Sprintf("-%x", sum[:4])
}

// CheckName tells what is wrong with the name of a node or, with a smaller bound, of a cluster.
func CheckName(name string, most int) error {
	if name == "" || len(name) > most {
		return fmt.Errorf("store: a name of 1 to %d octets is needed", most)
	}
	for i := range len(name) {
		if c := name[i]; c-'0' >= 10 && (c|0x20)-'a' >= 26 && c != '-' && c != '_' {
			return errors.New("store: a name is letters, digits, - and _")
		}
	}
	return nil
}

// Loopback tells whether an address, host:port, is one that only this machine reaches.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// complete sets the defaults and tells what is wrong.
func (c *Cluster) complete() error {
	if c.Name == "" {
		c.Name = "isthmus"
	}
	if c.Replicas == 0 {
		c.Replicas = 3
	}
	if c.Wait <= 0 {
		c.Wait = 10 * time.Minute
	}
	if err := errors.Join(CheckName(c.Name, 32), CheckName(c.Node, 64)); err != nil {
		return err
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		return fmt.Errorf("store: %d replicas: 1 to 5 are possible", c.Replicas)
	}
	if len(c.URLs) > 0 {
		for _, u := range c.URLs {
			p, err := url.Parse(u)
			if err != nil || p.Scheme != "tls" && (p.Scheme != "nats" || !Loopback(p.Host)) {
				return fmt.Errorf("store: %q is no tls://host:port, and no nats:// at a loopback address", clip(u))
			}
		}
		return nil
	}
	if len(c.Nodes) < 3 || c.Replicas > len(c.Nodes) {
		return fmt.Errorf("store: %d nodes: three are needed, and as many as replicas", len(c.Nodes))
	}
	names, own, open := map[string]bool{}, "", ""
	for _, n := range c.Nodes {
		if err := CheckName(n.Name, 64); err != nil {
			return err
		}
		if names[n.Name] {
			return fmt.Errorf("store: two nodes %q", n.Name)
		}
		names[n.Name] = true
		if _, _, err := split(n.Address); err != nil {
			return fmt.Errorf("store: node %s: %w", n.Name, err)
		}
		if n.Name == c.Node {
			own = n.Address
		}
		if !Loopback(n.Address) {
			open = n.Address
		}
	}
	if own == "" {
		return fmt.Errorf("store: node %q is not among the nodes", c.Node)
	}
	if c.Listen == "" {
		c.Listen = own
	}
	if _, _, err := split(c.Listen); err != nil {
		return err
	}
	if !Loopback(c.Listen) {
		open = c.Listen
	}
	if c.TLS == nil && open != "" {
		return fmt.Errorf("store: %s is reached from elsewhere: TLS is needed", open)
	}
	return nil
}

// split is the host and the port of an address.
func split(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || host == "" || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("store: %q is no host:port", clip(address))
	}
	return host, port, nil
}

// How soon a connection between nodes is given up that says nothing: pingEvery times pingsOut.
const (
	pingEvery = time.Second
	pingsOut  = 3
)

// clusterFolder is where a node of a cluster has its files: what a node without one has stored stays apart.
const clusterFolder = "cluster"

// noPort keeps the engine from listening for clients. Told not to listen (DontListen), it would not begin with the routes either: that waits
// until the port for clients is open or cannot be opened. This one cannot, anywhere.
const noPort = 1 << 16

// routed waits until the engine listens for the other nodes.
func (e *engine) routed(c *Config) error {
	for end := time.Now().Add(openWait); time.Now().Before(end); {
		if e.server.ClusterAddr() != nil {
			return nil
		}
		if e.fatal.Load() {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("store: the node cannot listen on %s for the others", c.Cluster.Listen)
}

// route has the engine's servers on the nodes find each other.
func (c *Cluster) route(o *server.Options, directory string) error {
	host, port, err := split(c.Listen)
	if err != nil {
		return err
	}
	o.ServerName, o.StoreDir = c.Node, filepath.Join(directory, clusterFolder)
	o.DontListen, o.Host, o.Port = false, "127.0.0.1", noPort
	o.Cluster = server.ClusterOpts{
		Name: c.Name, Host: host, Port: port, NoAdvertise: true, TLSConfig: c.TLS, TLSTimeout: 5, AuthTimeout: 5,
		PingInterval: pingEvery, MaxPingsOut: pingsOut, Compression: server.CompressionOpts{Mode: server.CompressionOff},
	}
	// All nodes, this one too: their number is how many the engine expects when it is started for the first time.
	for _, n := range c.Nodes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: n.Address})
	}
	return nil
}

// dial connects to servers that are not ours.
func (s *Store) dial(ctx context.Context, e *engine) (err error) {
	c := s.cfg.Cluster
	opts := []nats.Option{
		nats.Name("isthmus " + c.Node), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.RetryOnFailedConnect(true), nats.ReconnectBufSize(-1),
	}
	if c.Roots != nil {
		opts = append(opts, nats.Secure(c.Roots))
	}
	if c.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Credentials))
	}
	if e.conn, err = nats.Connect(strings.Join(c.URLs, ","), opts...); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for said := false; !e.conn.IsConnected(); said = true {
		if !said {
			s.cfg.Logger.Warn().Str("fault", clip(fmt.Sprint(e.conn.LastError()))).Msg("the store waits for its servers")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: no server of the cluster answers: %w", ErrUnavailable, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// clusterCommitWait is how long the nodes may take for one batch. A leader that dies takes what it was doing with it, and another one is
// there within ten seconds at most.
const clusterCommitWait = 5 * time.Second

// nameTaken asks at this node's own address, before it listens there, whether another process has its name: two of one name would vote twice.
func (c *Cluster) nameTaken(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, joinOnce)
	defer cancel()
	for _, n := range c.Nodes {
		if n.Name != c.Node {
			continue
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.Address)
		if err != nil {
			return false
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(joinOnce)) //nolint:errcheck // the read below fails then
		if c.TLS != nil {
			secured := c.TLS.Clone()
			if secured.ServerName == "" {
				secured.ServerName, _, _ = net.SplitHostPort(n.Address)
			}
			conn = tls.Client(conn, secured)
		}
		// The engine's servers say who they are as soon as the connection is there.
		line, err := bufio.NewReader(io.LimitReader(conn, 64<<10)).ReadString('\n')
		var info struct {
			Name string `json:"server_name"`
		}
		text, ok := strings.CutPrefix(line, "INFO ")
		return err == nil && ok && json.Unmarshal([]byte(text), &info) == nil && info.Name == c.Node
	}
	return false
}

// joinOnce is how long one attempt to make the streams may take: the engine gives no answer at all while it has no leader.
// Each attempt may take longer than the one before, up to joinMost: machines that are too busy to answer in time must not be asked again and again.
const (
	joinOnce = 2 * time.Second
	joinMost = 15 * time.Second
)

// join waits until the nodes can store something, and makes or finds the streams.
func (s *Store) join(ctx context.Context, e *engine) error {
	peers := newPeers(s, e)
	s.peers.Store(peers)
	if err := peers.start(ctx); err != nil {
		return err
	}
	began, said, maker := time.Now(), time.Time{}, newMaker(ctx, s.cfg.Cluster)
	for patience := joinOnce; ; patience = min(patience*3/2, joinMost) {
		once, cancel := context.WithTimeout(ctx, patience)
		err := s.openStreams(once, e, maker)
		cancel()
		if err == nil {
			// The streams may be known before the others have been heard: who writes in that moment is refused, and a gateway that starts would end.
			err = peers.quorum()
		}
		if err == nil {
			s.cfg.Logger.Info().Str("node", s.cfg.Cluster.Node).Strs("others", peers.heard()).Float64("s", time.Since(began).Seconds()).
				Msg("the store is one of a cluster")
			return nil
		}
		if e.twice.Load() {
			return fmt.Errorf("%w: %s", ErrSameName, s.cfg.Cluster.Node)
		}
		if time.Since(said) > 10*time.Second && !errors.Is(err, errTurn) {
			said = time.Now()
			s.cfg.Logger.Warn().Str("node", s.cfg.Cluster.Node).Strs("others", peers.heard()).Str("fault", clip(err.Error())).
				Msg("the store waits for other nodes of the cluster")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: not enough nodes of the cluster are there: %w", ErrUnavailable, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ready fails when a write could not be stored now, so that nothing is begun whose end nobody would know.
func (s *Store) ready() error {
	if !s.clustered() {
		return nil
	}
	if p := s.peers.Load(); p != nil {
		return p.quorum()
	}
	return ErrUnavailable
}

// leave tells the other nodes that this one goes.
func (s *Store) leave(e *engine) {
	if p := s.peers.Load(); p != nil && p.engine == e {
		p.stop()
	}
}
