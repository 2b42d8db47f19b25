package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// peers is what a node knows of the others: each tells all, twice a second, that it is there and how much it holds. It is a matter of the
// moment: nothing that must be right depends on it, but that a write is refused while it could not be stored.
type peers struct {
	store   *Store
	engine  *engine
	session string // of this process's node
	subject string // where nodes tell
	hello   string // where a node answers that it has its name
	calls   string // prefix of where nodes are called
	sub     []interface{ Unsubscribe() error }
	end     chan struct{}
	done    sync.WaitGroup
	once    sync.Once

	mu    sync.Mutex
	known map[string]*peer
}

// peer is another node.
type peer struct {
	session string
	last    time.Time
	usage   Usage
	gone    chan struct{} // closed when it is not heard any more
}

const (
	tellEvery = 500 * time.Millisecond
	// silent is how long a node may say nothing until it counts as gone.
	silent = 3 * time.Second
	// maxPeers bounds how many are remembered.
	maxPeers = 256
)

// told is what a node tells.
type told struct {
	Node    string `json:"node"`
	Session string `json:"session"`
	Entries int    `json:"entries,omitempty"`
	Octets  int64  `json:"octets,omitempty"`
	Bye     bool   `json:"bye,omitempty"`
}

func newPeers(s *Store, e *engine) *peers {
	c := s.cfg.Cluster
	return &peers{
		store: s, engine: e, session: rand.Text(), subject: c.Name + ".node", hello: c.Name + ".hello." + c.Node, calls: c.Name + ".call.",
		end: make(chan struct{}), known: map[string]*peer{},
	}
}

// start begins to tell and to hear. It fails with ErrSameName if there is another node of this name.
func (p *peers) start(ctx context.Context) error {
	c := p.engine.conn
	for subject, f := range map[string]nats.MsgHandler{p.subject: p.hear, p.hello: p.greet, p.calls + p.store.cfg.Cluster.Node: p.store.called} {
		sub, err := c.Subscribe(subject, f)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		p.sub = append(p.sub, sub)
	}
	// Whoever has this name answers. Of two that begin at once both may give up: one of them is started by mistake anyhow.
	inbox, err := c.SubscribeSync(c.NewRespInbox())
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer inbox.Unsubscribe() //nolint:errcheck // it was only read from
	if err := c.PublishRequest(p.hello, inbox.Subject, []byte(p.session)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for end := time.Now().Add(tellEvery); ; {
		m, err := inbox.NextMsg(max(time.Until(end), time.Millisecond))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && len(m.Data) > 0 && string(m.Data) != p.session {
			return fmt.Errorf("%w: %s", ErrSameName, p.store.cfg.Cluster.Node)
		}
		if err != nil && time.Now().After(end) || errors.Is(err, nats.ErrNoResponders) {
			break
		}
	}
	p.done.Go(p.run)
	return nil
}

// run tells until stop.
func (p *peers) run() {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		p.tell(false)
		p.forget()
		select {
		case <-p.end:
			p.tell(true)
			return
		case <-tick.C:
		}
	}
}

func (p *peers) tell(bye bool) {
	u := p.store.Usage()
	data, err := json.Marshal(told{p.store.cfg.Cluster.Node, p.session, u.Entries, u.Octets, bye})
	if err == nil {
		err = p.engine.conn.Publish(p.subject, data)
	}
	if err == nil && bye {
		err = p.engine.conn.FlushTimeout(time.Second)
	}
	if err != nil && !bye {
		p.store.cfg.Logger.Debug().Str("fault", clip(err.Error())).Msg("the other nodes cannot be told")
	}
}

// hear notes what another node tells.
func (p *peers) hear(m *nats.Msg) {
	var t told
	if len(m.Data) > 1024 || json.Unmarshal(m.Data, &t) != nil || t.Session == p.session || CheckName(t.Node, 64) != nil {
		return
	}
	if t.Node == p.store.cfg.Cluster.Node {
		p.store.cfg.Logger.Error().Str("node", t.Node).Msg("another node of the cluster has this one's name: stop one of them")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.known[t.Node]
	if n != nil && (t.Bye || n.session != t.Session) {
		close(n.gone)
		delete(p.known, t.Node)
		n = nil
	}
	if t.Bye {
		return
	}
	if n == nil {
		if len(p.known) >= maxPeers {
			return
		}
		n = &peer{session: t.Session, gone: make(chan struct{})}
		p.known[t.Node] = n
	}
	n.last, n.usage = time.Now(), Usage{Entries: max(t.Entries, 0), Octets: max(t.Octets, 0)}
}

// forget drops the nodes that have been silent, and counts what the others hold.
func (p *peers) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum Usage
	for name, n := range p.known {
		if time.Since(n.last) > silent {
			close(n.gone)
			delete(p.known, name)
			p.store.cfg.Logger.Warn().Str("node", name).Msg("a node of the cluster is not heard any more")
			continue
		}
		sum.Entries += n.usage.Entries
		sum.Octets += n.usage.Octets
	}
	p.store.node.held.elsewhere(sum)
}

// greet answers a node that asks whether this one's name is taken.
func (p *peers) greet(m *nats.Msg) {
	if string(m.Data) != p.session && m.Reply != "" {
		m.Respond([]byte(p.session)) //nolint:errcheck // nobody waits for it if it cannot be sent
	}
}

// heard are the names of the nodes that are there.
func (p *peers) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]string, 0, len(p.known))
	for name := range p.known {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// lost is closed when a node is not there any more; nil if it is not there now.
func (p *peers) lost(node string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.known[node]; n != nil {
		return n.gone
	}
	return nil
}

// quorum fails if too few nodes are there for a write to be stored. Of servers that are not ours only the connection is known.
func (p *peers) quorum() error {
	c := p.store.cfg.Cluster
	if len(c.URLs) > 0 {
		if !p.engine.conn.IsConnected() {
			return fmt.Errorf("%w: no connection to the cluster", ErrUnavailable)
		}
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	there := 1
	for _, n := range c.Nodes {
		if p.known[n.Name] != nil && n.Name != c.Node {
			there++
		}
	}
	if there <= len(c.Nodes)/2 {
		return fmt.Errorf("%w: %d of %d nodes of the cluster are there", ErrUnavailable, there, len(c.Nodes))
	}
	return nil
}

// stop says goodbye. Idempotent.
func (p *peers) stop() {
	p.once.Do(func() {
		close(p.end)
		p.done.Wait()
		for _, s := range p.sub {
			s.Unsubscribe() //nolint:errcheck // the connection ends
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for name, n := range p.known {
			close(n.gone)
			delete(p.known, name)
		}
	})
}
