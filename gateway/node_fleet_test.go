package gateway_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// server is what is behind all nodes' component links: it has one link for each component, and takes a message over the open one alone.
type server struct {
	mu   sync.Mutex
	open map[string]*linked // by place
	got  []string           // contents, in their order
	ids  map[string][]string
	by   map[string]string // which node delivered a content
	down bool
	// asked is what was asked for about presence, and by which node; said answers it, if it is set.
	asked []string
	said  func() *adapters.NotifyOp
}

// linked is one node's XMPP side.
type linked struct {
	*adaptertest.Fake
	name   string
	server *server
	dead   bool
	before func(op *adapters.MessageOp) // is called first with what is handed over; nil: nothing
}

// place is the link of a recipient: those whose names end in a digit are behind the second one.
func place(a cpim.Address) string {
	if l := a.Local(); l[len(l)-1]-'0' < 10 {
		return places[1]
	}
	return places[0]
}

func (l *linked) Place(from, to cpim.Address) string {
	if to.Domain() == "example.com" {
		return place(to)
	}
	return place(from)
}

func (l *linked) Share() {}

func (l *linked) Places() []string { return places }

func (l *linked) Open(place string) {
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	if other := l.server.open[place]; other != nil && other != l && !other.dead {
		l.server.got = append(l.server.got, "CONFLICT")
	}
	if !l.dead {
		l.server.open[place] = l
	}
}

func (l *linked) Close(_ context.Context, place string) {
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	if l.server.open[place] == l {
		delete(l.server.open, place)
	}
}

func (l *linked) Message(_ context.Context, _ []resolver.Target, op *adapters.MessageOp) adapters.Status {
	s := l.server
	if l.before != nil {
		l.before(op)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[l.Place(op.From.Address, op.To.Address)] != l || s.down || l.dead {
		return unreachable
	}
	s.got = append(s.got, string(op.Content.Octets))
	s.ids[string(op.Content.Octets)] = append(s.ids[string(op.Content.Octets)], op.TransID)
	s.by[string(op.Content.Octets)] = l.name
	return adapters.Accepted()
}

func (s *server) contents() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// fleet is several gateways on one memory.
type fleet struct {
	t      *testing.T
	server *server
	memory *storetest.Memory
	nodes  map[string]*member
	limits gateway.Limits // of those that are started from now on
	housed bool           // the SIP side of those is
	// report is what the SIP side of those does with reports, from before they start: the journal may hold some.
	report func(context.Context, *adapters.Report) adapters.Status
}

type member struct {
	*strait
	xmpp   *linked
	memory *storetest.Memory
	reads  atomic.Int64 // how long it takes to read the facts of some parts, in nanoseconds
}

// slowly is the member's store.
type slowly struct {
	*storetest.Memory
	member *member
}

func (s slowly) EachOf(ctx context.Context, buckets []string, f func(string, string, []byte, uint64) error) error {
	err := s.Memory.EachOf(ctx, buckets, f)
	if d := time.Duration(s.member.reads.Load()); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	return err
}

func (f *fleet) start(name string) *member {
	f.t.Helper()
	return f.startOn(name, f.memory.Join(name))
}

func (f *fleet) startOn(name string, memory *storetest.Memory) *member {
	f.t.Helper()
	m := &member{memory: memory}
	m.strait = newStrait(f.t, func(c *gateway.Config) {
		c.Adapters[0].(*adaptertest.Fake).OnReport = f.report
		fake := c.Adapters[1].(*adaptertest.Fake)
		m.xmpp = &linked{Fake: fake, name: name, server: f.server}
		c.Adapters[1] = m.xmpp
		if f.housed {
			c.Adapters[0] = housed{c.Adapters[0].(*adaptertest.Fake)}
		}
		c.Cluster, c.Limits = true, f.limits
		c.OpenStore = func(context.Context) (store.Durable, error) { return slowly{m.memory, m}, nil }
	})
	f.nodes[name] = m
	return m
}

// kill ends a node as kill -9 does: nothing of it reaches anybody any more.
func (f *fleet) kill(name string) {
	m := f.nodes[name]
	delete(f.nodes, name)
	f.server.mu.Lock()
	m.xmpp.dead = true
	f.server.mu.Unlock()
	m.memory.Kill()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = m.gateway.Shutdown(ctx) // the dead say nothing
}

func (f *fleet) shutdown() {
	for _, m := range f.nodes {
		m.shutdown()
	}
}

// holder is who has the link of a place.
func (f *fleet) holder(place string) string {
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	if l := f.server.open[place]; l != nil {
		return l.name
	}
	return ""
}

// stranger is a node that does not have the link of a place.
func (f *fleet) stranger(place string) *member {
	for name, m := range f.nodes {
		if name != f.holder(place) {
			return m
		}
	}
	return nil
}
