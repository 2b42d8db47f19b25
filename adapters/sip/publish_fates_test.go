package sip

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/digest"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// What becomes of a publication of ours when its server, its user, the core or the process fails.

// published publishes Juliet's presence under the entity-tag "one".
func published(t *testing.T, a *Adapter, g *agent, watch adapters.WatchID, seen map[string]bool) {
	t.Helper()
	done := notify(a, g, adapters.NotifyOp{Watch: watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")})
	g.answer(g.request("PUBLISH", seen), etagged("one", "1800"))
	next(t, done, "outcome")
}

// removed takes the removal of "one", or of another entity-tag.
func removed(t *testing.T, g *agent, seen map[string]bool, etag string, r wire.Response) {
	t.Helper()
	m := g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"SIP-If-Match": etag, "Expires": "0", "Content-Type": "-"})
	g.answer(m, r)
}

// T-PR-12: what a user takes back is removed also where the server refuses the removal at first.
func TestT_PR_12_RemovalIsTriedAgain(t *testing.T) {
	a, _, g, op := presenceServerOf(t, "juliet@example.com")
	seen := map[string]bool{}
	published(t, a, g, op.Watch, seen)
	p := a.publishers.find(op.Watch.Session)
	done := notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchTerminated, End: adapters.EndRejected})
	removed(t, g, seen, "one", wire.Response{Code: 503})
	next(t, done, "outcome")
	p.mu.Lock()
	waits := p.again != nil && p.again.Stop() && !p.over
	p.mu.Unlock()
	if !waits {
		t.Fatal("what was published stays at the server, and nobody tries again")
	}
	// Nothing else of the user goes out meanwhile.
	late := adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")}
	if s := a.Notify(t.Context(), nil, &late); s.Reason != adapters.ReasonNotFound {
		t.Errorf("%+v", s)
	}
	go p.publish(context.Background(), true) // what the timer does
	removed(t, g, seen, "one", etagged("two", "0"))
	waitFor(t, func() bool { return a.publishers.count() == 0 })
}

// T-PR-12: presence that was under way when the user took the authorization back is not published after the removal.
func TestT_PR_12_LatePresence(t *testing.T) {
	a, c, g, _ := presenceServerOf(t)
	wish := adapters.WatchOp{Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: pres("juliet@example.com"), Presentity: pres("presence@example.net")}}
	a.Watch(t.Context(), nil, &wish)
	next(t, c.notices, "approval")
	op := next(t, c.watches, "watch")
	seen := map[string]bool{}
	published(t, a, g, op.Watch, seen)
	wish.Verb = adapters.WatchCancel
	a.Watch(t.Context(), nil, &wish)
	next(t, c.watches, "end of the watch")
	m := g.request("PUBLISH", seen)
	late := notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")})
	// Who joins again meanwhile begins anew, and is not forgotten with what was.
	wish.Verb = adapters.WatchAsk
	a.Watch(t.Context(), nil, &wish)
	next(t, c.notices, "approval")
	again := next(t, c.watches, "watch")
	if again.Watch.Session == op.Watch.Session || again.Verb != adapters.WatchOpen {
		t.Errorf("%+v after %+v", again, op)
	}
	g.answer(m, etagged("two", "0"))
	if s := next(t, late, "outcome"); s.Reason != adapters.ReasonNotFound {
		t.Errorf("late presence: %+v", s)
	}
	waitFor(t, func() bool { return a.publishers.count() == 1 })
	for m := g.readWithin(50 * time.Millisecond); m != nil; m = g.readWithin(50 * time.Millisecond) {
		if m.IsRequest() && !seen[m.TopVia().Branch()] {
			t.Errorf("published after the end:\n%s", m.Raw())
		}
	}
	if a.publishers.find(again.Watch.Session) == nil {
		t.Error("who joined again was forgotten")
	}
}

// T-PR-11: a gateway that stops takes back what it published, because it will tell of no change any more; what it publishes after a
// restart would stand beside that.
func TestT_PR_11_ShutdownRemovesPublications(t *testing.T) {
	a, _, g, op := presenceServerOf(t, "juliet@example.com")
	seen := map[string]bool{}
	published(t, a, g, op.Watch, seen)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		done <- a.Shutdown(ctx)
	}()
	removed(t, g, seen, "one", etagged("two", "0"))
	if err := next(t, done, "end"); err != nil {
		t.Error(err)
	}
}

// A server that answers nothing holds the end up for a moment only.
func TestShutdownWaitsForNoDeadPresenceServer(t *testing.T) {
	a, _, g, op := presenceServerOf(t, "juliet@example.com")
	published(t, a, g, op.Watch, map[string]bool{})
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := a.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > wait*3/4 {
		t.Errorf("it took %s", d)
	}
}

// What comes while a PUBLISH is under way is published after it, also where its caller has gone, and the entity-tag of the one under way is
// kept, also where its caller has gone: else there would be two publications of one user.
func TestPublicationOutlivesItsCaller(t *testing.T) {
	a, _, g, op := presenceServerOf(t, "juliet@example.com")
	seen := map[string]bool{}
	impatient := func(basic string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		n := adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", basic)}
		if s := a.Notify(ctx, nil, &n); s.Outcome != adapters.Indeterminate {
			t.Errorf("%+v", s)
		}
	}
	impatient("open")
	m := g.request("PUBLISH", seen)
	impatient("closed")
	g.answer(m, etagged("one", "1800"))
	m = g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"SIP-If-Match": "one"})
	if !strings.Contains(string(m.Body()), "closed") {
		t.Errorf("%s", m.Raw())
	}
	g.answer(m, etagged("two", "1800"))
}

// "When a UAC resubmits a request with its credentials after receiving a 401 (Unauthorized) ... response, it MUST increment the CSeq header field value as it would normally when sending
// an updated request" (RFC 3261 §22.2), and the one that follows goes on from there.
func TestPublishCountsItsChallenges(t *testing.T) {
	first, _ := start(t, nil)
	g := udpAgent(t, first)
	a, c := start(t, func(cfg *Config) {
		credentialed(nil)(cfg)
		cfg.PublishTo = []PublishTo{{Peer: "trunk", Hop: g.hop(), Watcher: "presence@example.net", Users: []string{"juliet@example.com"}}}
	})
	op := next(t, c.watches, "watch")
	seen := map[string]bool{}
	tell := func(basic string) <-chan adapters.Status {
		return notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", basic)})
	}
	done := tell("open")
	g.answer(g.request("PUBLISH", seen), asking(digest.Challenge{Realm: "example.net", Nonce: "n", Algorithm: digest.SHA256, Auth: true}))
	m := g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"CSeq": "2 PUBLISH"})
	g.answer(m, etagged("one", "1800"))
	next(t, done, "outcome")
	done = tell("closed")
	m = g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"CSeq": "3 PUBLISH"})
	g.answer(m, etagged("two", "1800"))
	next(t, done, "outcome")
}

// A removal that its server never takes ends with the publication.
func TestRemovalEndsWithThePublication(t *testing.T) {
	server := &presenceServer{watcher: pres("presence@example.net")}
	a := &Adapter{}
	table := &publishers{a: a, byTag: map[string]*publishing{}, byPair: map[[2]cpim.Address]*publishing{}}
	p := &publishing{table: table, server: server, busy: make(chan struct{}, 1), etag: "one", leaving: true, until: time.Now().Add(time.Minute)}
	unavailable := adapters.Failed(adapters.ReasonServiceUnavailable, "")
	if !p.settle(transaction.Result{}, unavailable, "one", 0, nil) || p.etag != "one" || p.again == nil || !p.again.Stop() {
		t.Errorf("%+v", p)
	}
	p.until = time.Now().Add(-time.Second)
	if !p.settle(transaction.Result{}, unavailable, "one", 0, nil) || p.etag != "" {
		t.Errorf("%+v", p)
	}
	if p.parted(); !p.over {
		t.Error("it is not over")
	}
}
