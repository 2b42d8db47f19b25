package xmpp

import (
	"context"
	"io"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// managedPair is a pair of an adapter that was not started, and a stream of ours without a connection that carries it and counts.
func managedPair(t *testing.T) (*pair, *session, *ledger) {
	t.Helper()
	dir := t.TempDir()
	store, err := certs.Open(certs.Config{RootsFile: certstest.NewCA(t).WriteRoot(dir), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{Logger: zerolog.Nop(), Servers: &Servers{
		Domains: []string{"example.net"}, Certificates: store,
		Resolve: func(context.Context, string) ([]resolver.Target, error) { return nil, errNoTarget },
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.cancel)
	v := a.servers
	remote, err := newHost("example.com")
	if err != nil {
		t.Fatal(err)
	}
	local := v.side().hosts["example.net"]
	p := v.pairOf(local, remote)
	s := newSession(v, nil, nil)
	s.writing = true // by nobody: an acknowledgement that is due on a slow machine has nowhere to go
	s.local, s.remote, s.policy, s.initiated = local, remote, v.side().other, true
	g := newLedger(s)
	g.id, s.ledger = "sm-1", g
	p.out, s.pairs[p] = s, &load{}
	return p, s, g
}

// TestBrokenAtTheEnd: a stream that breaks while the adapter has all but stopped is not resumed any more, and who waits for what it
// carried is told at once that nobody knows, not at the deadline.
func TestBrokenAtTheEnd(t *testing.T) {
	p, s, g := managedPair(t)
	it := &item{octets: []byte("<message/>"), stanzas: 1, done: make(chan adapters.Status, 1)}
	p.building = true // nobody is to dial
	if st, ok := p.box.add(it); !ok {
		t.Fatalf("%+v", st)
	}
	_, taken, n := p.box.takeCounted(nil, 1000, time.Now())
	g.leaving(nil, []batch{{p, taken, n}}, time.Now())
	s.v.finished = true
	g.leave(s, s.pairs, s.inbound, io.ErrUnexpectedEOF)
	select {
	case st := <-it.done:
		if st.Outcome != adapters.Failure || st.Reason != adapters.ReasonOutcomeUnknown {
			t.Fatalf("%+v", st)
		}
	default:
		t.Fatal("nobody was told")
	}
	if p.parked != nil || g.pairs != nil {
		t.Error("it still waits to be resumed")
	}
}

// TestUnansweredAreBounded: a peer that goes on while the core has not answered one of its stanzas is stopped before what must be
// remembered of it has no bound.
func TestUnansweredAreBounded(t *testing.T) {
	p, s, g := managedPair(t)
	s.inbound[pairKey{"example.net", "example.com"}] = p
	st := &stanza.Stanza{Kind: stanza.IQ, Type: "result", From: jid.MustParse("example.com"), To: jid.MustParse("example.net")}
	if first, ok := s.arrived(); !ok || first.seq != 1 { // has no answer
		t.Fatal("the first stanza was not counted")
	}
	var err error
	came := 1
	for ; err == nil && came < 2*maxUnanswered; came++ {
		err = s.receive(st)
	}
	if stream.ConditionOf(err) != stream.ResourceConstraint || came < maxUnanswered || len(g.answered) > maxUnanswered {
		t.Fatalf("%v after %d, %d remembered", err, came, len(g.answered))
	}
}

// TestOutboxUnwritten: what was taken and is not written yet is neither counted as taken by the other side, however old it is, nor lost
// when it turns out that nothing of it left.
func TestOutboxUnwritten(t *testing.T) {
	b := newOutbox(Limits{}.orDefault(), func() {})
	it := &item{octets: []byte("<message/>"), stanzas: 1, done: make(chan adapters.Status, 1)}
	if st, ok := b.add(it); !ok {
		t.Fatalf("%+v", st)
	}
	began := time.Now()
	b.take(nil, 1000, false, began)
	b.settleBefore(began.Add(time.Hour)) // a write that has not begun on a busy machine
	select {
	case st := <-it.done:
		t.Fatalf("%+v was said of what nobody wrote", st)
	default:
	}
	b.unsend()
	_, taken, _ := b.take(nil, 1000, false, began)
	if len(taken) != 1 || taken[0] != it {
		t.Fatal("it is not there any more")
	}
	b.written(taken)
	b.settleBefore(began.Add(time.Hour))
	if st := <-it.done; st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
}

// TestQueueOfAllServers: what waits for all servers together is bounded, and answers that strangers ask for take no more than half of it,
// from however many domains they ask.
func TestQueueOfAllServers(t *testing.T) {
	var all budget
	all.most.Store(1000)
	box := func() *outbox {
		b := newOutbox(Limits{}.orDefault(), func() {})
		b.all = &all
		return b
	}
	answer := func() *item { return &item{octets: make([]byte, 100), stanzas: 1} }
	message := func() *item {
		return &item{octets: make([]byte, 100), stanzas: 1, done: make(chan adapters.Status, 1)}
	}
	var boxes []*outbox
	fill := func(f func() *item) (n int) {
		for ; ; n++ {
			b := box()
			if st, ok := b.add(f()); !ok {
				if st.Reason != adapters.ReasonOverloaded {
					t.Fatalf("%+v", st)
				}
				return n
			}
			boxes = append(boxes, b)
		}
	}
	if n := fill(answer); n != 5 {
		t.Errorf("%d answers", n)
	}
	if n := fill(message); n != 5 {
		t.Errorf("%d messages beside them", n)
	}
	for i, b := range boxes {
		switch i % 4 { // every way out gives the room back
		case 0:
			b.take(nil, 1000, false, time.Now())
		case 1:
			b.takeCounted(nil, 1000, time.Now())
		case 2:
			b.refuse(adapters.Failed(adapters.ReasonDomainTimeout, ""))
		case 3:
			b.drop()
		}
	}
	if n := all.used.Load(); n != 0 {
		t.Errorf("%d octets are still counted", n)
	}
	boxes[0].lost() // what goes back is counted again
	boxes[1].resend()
	if n := all.used.Load(); n != 100 {
		t.Errorf("%d octets are counted", n)
	}
}

// TestForgottenWhileUsed: a pair that is forgotten between the moment an operation found it and the one in which it is used is known again,
// or gives way to the one that is known; while it is used it is not forgotten.
func TestForgottenWhileUsed(t *testing.T) {
	p, s, _ := managedPair(t)
	v, k := s.v, pairKey{"example.net", "example.com"}
	p.out = nil
	if !v.forgetOne() || len(v.pairs) != 0 {
		t.Fatal("an idle pair was not forgotten")
	}
	if v.use(p) != p || v.pairs[k] != p {
		t.Fatal("it is not known again")
	}
	if v.forgetOne() {
		t.Fatal("it was forgotten while it was used")
	}
	p.pins.Add(-1)
	v.forgetOne()
	other := v.pairOf(p.local, p.remote)
	if other == p || v.use(p) != other {
		t.Fatal("two pairs of the same domains are used")
	}
}

// TestAForgottenPairIsGone: nothing keeps a pair that was forgotten, also while the context goes on with which something was sent to it.
func TestAForgottenPairIsGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := func() weak.Pointer[pair] {
		p, s, _ := managedPair(t)
		p.out, s.pairs = nil, nil
		for range 2 {
			st := p.send(ctx, p.a.newItem([]byte("<message/>"), cpim.Address{}, cpim.Address{}), time.Now().Add(10*time.Millisecond))
			if st.Outcome != adapters.Failure {
				t.Fatalf("%+v", st)
			}
		}
		if p.callers.watched.Load() == nil {
			t.Fatal("the end of the context is not watched")
		}
		for end := time.Now().Add(10 * time.Second); !p.v.forgetIdle(); runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatal("it is not forgotten")
			}
		}
		return weak.Make(p)
	}()
	for end := time.Now().Add(10 * time.Second); gone.Value() != nil; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("the pair is still there")
		}
	}
}

// forgetIdle is forgetOne under the lock.
func (v *servers) forgetIdle() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.forgetOne()
}
