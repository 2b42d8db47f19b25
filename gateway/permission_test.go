package gateway_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
	"github.com/isthmus-gateway/isthmus/pidf"
)

func ruled(t *testing.T, c policy.Config) *policy.Policy {
	t.Helper()
	p, err := policy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parties(t *testing.T, list ...string) (ps []policy.Party) {
	t.Helper()
	for _, s := range list {
		p, err := policy.ParseParty(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

// T-ID-06: what no rule allows is refused before anything is done for it, and is counted by the rule that decided.
func TestT_ID_06_ThePolicyDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) {
			c.Policy = ruled(t, policy.Config{Rules: []policy.Rule{
				{Name: "no-presence", Operations: policy.Presence, Refuse: true},
				{Name: "trunk", Peers: []string{"trunk"}, From: parties(t, "example.net"), Bounds: policy.Bounds{SenderRate: 1, SenderBurst: 2, MaxContent: 10}},
			}})
		})
		defer s.shutdown()
		by := func(peer, text string) adapters.Status {
			op := message(romeo, juliet, text)
			op.Peer.Name = peer
			answer := s.send(s.sip, op)
			synctest.Wait()
			return <-answer
		}
		for _, c := range []struct {
			peer, text string
			reason     adapters.Reason
		}{
			{"other", "hello", adapters.ReasonPolicyViolation},
			{"trunk", "hello", adapters.ReasonNone},
			{"trunk", "much too long", adapters.ReasonTooLarge},
			{"trunk", "again", adapters.ReasonNone},
			{"trunk", "third", adapters.ReasonOverloaded},
		} {
			if got := by(c.peer, c.text); got.Reason != c.reason {
				t.Errorf("%s %q: %+v, want %v", c.peer, c.text, got, c.reason)
			}
		}
		if got := s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "1", time.Hour)); got.Reason != adapters.ReasonPolicyViolation {
			t.Errorf("a watch: %+v", got)
		}
		if n := len(s.xmpp.Messages()) + len(s.xmpp.Watches()); n != 2 {
			t.Errorf("%d operations crossed", n)
		}
		families, err := s.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counted := make(map[string]float64)
		for _, f := range families {
			if f.GetName() == "isthmus_policy_refused_total" {
				for _, m := range f.GetMetric() {
					counted[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
		for _, want := range []string{"none no-rule", "no-presence rule", "trunk sender-rate", "trunk size"} {
			if counted[want] != 1 || len(counted) != 4 {
				t.Errorf("%s: counted are %v", want, counted)
			}
		}
	})
}

// A policy that changes holds for what comes, and for presence of those who are blocked; what is under way goes on.
func TestThePolicyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		slow := make(chan struct{})
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			<-slow
			return adapters.Accepted()
		}
		s.xmpp.OnWatch = func(context.Context, *adapters.WatchOp) adapters.WatchStatus {
			return adapters.WatchStatus{Status: adapters.Succeeded()}
		}
		before := s.send(s.sip, message(romeo, juliet, "before"))
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "1", time.Hour))
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		synctest.Wait()
		told := len(s.sip.Notifies())

		s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: ruled(t, policy.Config{Blocked: parties(t, "im:juliet@example.com")})})
		if got := <-s.send(s.sip, message(romeo, juliet, "after")); got.Reason != adapters.ReasonPolicyViolation {
			t.Errorf("after the change: %+v", got)
		}
		close(slow)
		if got := <-before; got.Outcome != adapters.Indeterminate {
			t.Errorf("what was under way: %+v", got)
		}
		s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
		synctest.Wait()
		if n := len(s.sip.Notifies()); n != told {
			t.Errorf("%d notifications of somebody who is blocked", n-told)
		}
		// To end what there was is always allowed.
		if got := s.watch(s.sip, romeoWatchesJuliet(adapters.WatchClose, "1", 0)); got.Outcome == adapters.Failure {
			t.Errorf("the end: %+v", got)
		}
		s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: nil})
		if got := <-s.send(s.sip, message(romeo, juliet, "open again")); got.Outcome == adapters.Failure {
			t.Errorf("without a policy: %+v", got)
		}
	})
}

// T-AD-03: what a tenant's messages hold does not take the room of another, and is given back however a message ends.
func TestT_AD_03_TenantsHaveTheirOwnRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) {
			c.Policy = ruled(t, policy.Config{Tenants: []policy.Tenant{{Name: "verona", Domains: parties(t, "example.net", "example.com"), MessagesUnderWay: 1}}})
		})
		defer s.shutdown()
		slow := make(chan adapters.Status)
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return <-slow }
		other := adapters.Party{Address: cpim.MustParseAddress("im:nurse@example.com")}
		first := s.send(s.sip, message(romeo, juliet, "one"))
		synctest.Wait()
		if got := <-s.send(s.sip, message(romeo, other, "two")); got.Reason != adapters.ReasonOverloaded {
			t.Errorf("the second: %+v", got)
		}
		if n := s.gateway.TenantMessages("verona"); n != 1 {
			t.Errorf("%d under way", n)
		}
		slow <- adapters.Failed(adapters.ReasonNotFound, "")
		<-first
		if n := s.gateway.TenantMessages("verona"); n != 0 {
			t.Errorf("%d under way at the end", n)
		}
	})
}

// What follows a message that was allowed passes as long as nobody is blocked and the ends are not of different tenants; that it failed is told
// in every case.
func TestT_ID_06_ReportsOfTheBlocked(t *testing.T) {
	for name, c := range map[string]policy.Config{
		"blocked sender":    {Blocked: parties(t, "im:romeo@example.net")},
		"blocked recipient": {Blocked: parties(t, "example.com")},
		"two tenants":       {Tenants: []policy.Tenant{{Name: "a", Domains: parties(t, "example.net")}, {Name: "b", Domains: parties(t, "example.com")}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				for i, k := range []adapters.ReportKind{adapters.ReportDelivered, adapters.ReportDisplayed, adapters.ReportDelayed, adapters.ReportFailed} {
					s.renew(gateway.Settings{Routes: straitRoutes(t)})
					op := message(romeo, juliet, k.String())
					op.Wants = adapters.WantDelivered | adapters.WantDisplayed | adapters.WantFailed
					<-s.send(s.sip, op)
					s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: ruled(t, c)})
					r := report(k, "t-"+k.String())
					s.xmpp.Handler().Report(t.Context(), r)
					synctest.Wait()
					if n := len(s.sip.Reports()); n != i/3 {
						t.Errorf("%v: %d are told", k, n)
					}
				}
			})
		})
	}
}

// What waits in the journal is not handed over once one of its ends is blocked, or they are parted; its sender is told. That says nothing of the place that it is for, where
// nobody was asked.
func TestT_ID_06_WhatTheBlockedHaveStored(t *testing.T) {
	for name, c := range map[string]policy.Config{
		"blocked sender":    {Blocked: parties(t, "im:romeo@example.net")},
		"blocked recipient": {Blocked: parties(t, "im:juliet@example.com")},
		"two tenants":       {Tenants: []policy.Tenant{{Name: "a", Domains: parties(t, "example.net")}, {Name: "b", Domains: parties(t, "example.com")}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := &storetest.Memory{}
				s := durable(t, disk, nil)
				defer s.shutdown()
				s.xmpp.OnMessage = until(1, unreachable)
				op := message(romeo, juliet, "waits")
				op.Wants = adapters.WantFailed
				if st := <-s.send(s.sip, op); st.Outcome != adapters.Indeterminate {
					t.Fatalf("%+v", st)
				}
				s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: ruled(t, c)})
				time.Sleep(time.Hour)
				if n := len(s.xmpp.Messages()); n != 1 {
					t.Errorf("tried %d times", n)
				}
				if r := s.sip.Reports(); len(r) != 1 || r[0].Kind != adapters.ReportFailed || r[0].Status.Reason != adapters.ReasonPolicyViolation {
					t.Errorf("%+v", r)
				}
				empty(t, disk)
			})
		})
	}
}

// Of what waits for a dead place the blocked's turn comes first: it ends, the place is still dead for all others, and theirs comes.
func TestT_ID_06_BehindWhatTheBlockedHaveStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		down := until(6, unreachable)
		var mu sync.Mutex // the lanes call at the same time
		var tried []time.Time
		s.xmpp.OnMessage = func(ctx context.Context, op *adapters.MessageOp) adapters.Status {
			mu.Lock()
			tried = append(tried, time.Now())
			mu.Unlock()
			return down(ctx, op)
		}
		for _, from := range []string{"im:romeo@example.net", "im:tybalt@example.net", "im:paris@example.net"} {
			if st := <-s.send(s.sip, message(user(from), juliet, from)); st.Outcome != adapters.Indeterminate {
				t.Fatalf("%s: %+v", from, st)
			}
		}
		s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: ruled(t, policy.Config{Blocked: parties(t, "im:romeo@example.net")})})
		time.Sleep(4 * time.Hour)
		last := map[string]int{}
		for _, body := range bodies(s.xmpp.Messages()) {
			last[body]++
		}
		if last["im:romeo@example.net"] > 1 {
			t.Errorf("the blocked was tried %d times", last["im:romeo@example.net"])
		}
		// After 5, 15, 45 and 120 s, less a fifth at most: what the blocked's turn ended with is no sign of life, from which it would be counted anew.
		mu.Lock()
		defer mu.Unlock()
		if took := tried[6].Sub(tried[0]); took < 148*time.Second {
			t.Errorf("the dead place was tried four times in %v", took)
		}
		delivered := len(s.xmpp.Messages()) - 6
		if delivered != 2 || last["im:tybalt@example.net"] == 0 || last["im:paris@example.net"] == 0 {
			t.Errorf("%d were delivered to a place that was dead for six attempts: %v", delivered, last)
		}
		empty(t, disk)
	})
}

// A reload that makes two tenants of the ends of an open watch ends what passes on it: "nothing passes between their domains".
func TestPresenceBetweenNewTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "1", time.Hour))
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		synctest.Wait()
		told := len(s.sip.Notifies())
		s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: ruled(t, policy.Config{Tenants: []policy.Tenant{
			{Name: "a", Domains: parties(t, "example.net")}, {Name: "b", Domains: parties(t, "example.com")},
		}})})
		s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
		synctest.Wait()
		if n := len(s.sip.Notifies()); n != told {
			t.Errorf("%d notifications from one tenant to another", n-told)
		}
	})
}

// T-FI-22: while a change is taken on, nothing passes that only one of the two configurations allows: the adapters may have the new peers
// already, and the rules that hold them back come last.
func TestT_FI_22_AChangeNarrowsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) {
			c.Policy = ruled(t, policy.Config{Rules: []policy.Rule{{Name: "new-peer", Peers: []string{"later"}, Refuse: true}, {Name: "rest"}}})
		})
		defer s.shutdown()
		other := adapters.Party{Address: cpim.MustParseAddress("im:juliet@example.org")}
		reason := func(peer string, to adapters.Party) adapters.Reason {
			op := message(romeo, to, peer+to.Address.String())
			op.Peer.Name = peer
			return (<-s.send(s.sip, op)).Reason
		}
		expect := func(when string, want ...adapters.Reason) {
			t.Helper()
			got := []adapters.Reason{reason("trunk", juliet), reason("stranger", juliet), reason("later", juliet), reason("trunk", other)}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s: %v, want %v", when, got, want)
					break
				}
			}
		}
		const policyViolation, unknown = adapters.ReasonPolicyViolation, adapters.ReasonDomainNotFound
		routes := append(straitRoutes(t), gateway.Route{Domain: "example.org", Adapter: "xmpp", NextHops: hops(t, "component:127.0.0.1:5347")})
		narrow, change, err := s.gateway.Prepare(gateway.Settings{Routes: routes, Policy: ruled(t, policy.Config{Rules: []policy.Rule{
			{Name: "no-strangers", Peers: []string{"stranger"}, Refuse: true}, {Name: "rest"},
		}})})
		if err != nil {
			t.Fatal(err)
		}
		expect("before", 0, 0, policyViolation, unknown)
		narrow()
		expect("narrowed", 0, policyViolation, policyViolation, unknown)
		if got := s.watch(s.sip, &adapters.WatchOp{
			Peer: adapters.Peer{Name: "stranger"}, Verb: adapters.WatchOpen, Duration: time.Hour, Watch: romeoWatchesJuliet(adapters.WatchOpen, "1", time.Hour).Watch,
		}); got.Reason != policyViolation {
			t.Errorf("a watch: %+v", got)
		}
		change.Commit()
		expect("after", 0, policyViolation, 0, 0)
	})
}

// T-FI-23, T-AD-03: an adapter that panics while it is answered ends neither the process nor the tenant's room.
func TestT_FI_23_APanicWhileAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) {
			c.Policy = ruled(t, policy.Config{Tenants: []policy.Tenant{{Name: "verona", Domains: parties(t, "example.net"), MessagesUnderWay: 1}}})
		})
		defer s.shutdown()
		s.sip.Handler().Message(t.Context(), message(romeo, juliet, "one"), func(adapters.Status) { panic("poison") })
		synctest.Wait()
		if n := s.gateway.TenantMessages("verona"); n != 0 {
			t.Errorf("%d under way", n)
		}
		if got := <-s.send(s.sip, message(romeo, juliet, "two")); got.Outcome == adapters.Failure {
			t.Errorf("the next one: %+v", got)
		}
	})
}

// T-ID-06: the end of a blocked party's watch is told, and nothing that came with it.
func TestT_ID_06_TheLastWordOfTheBlocked(t *testing.T) {
	for _, end := range []adapters.EndReason{adapters.EndRejected, adapters.EndInvariant} {
		t.Run(end.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "1", time.Hour))
				s.xmpp.Handler().Notify(t.Context(), subscribed())
				synctest.Wait()
				told := len(s.sip.Notifies())
				s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: ruled(t, policy.Config{Blocked: parties(t, "im:juliet@example.com")})})
				last := presence("balcony", pidf.BasicOpen)
				last.State, last.End = adapters.WatchTerminated, end
				s.xmpp.Handler().Notify(t.Context(), last)
				synctest.Wait()
				got := s.sip.Notifies()[told:]
				if end == adapters.EndRejected && (len(got) == 0 || got[len(got)-1].State != adapters.WatchTerminated) {
					t.Fatalf("the end is not told: %s", notices(got))
				}
				for _, n := range got {
					if n.Presence != nil && len(n.Presence.Tuples) > 0 {
						t.Errorf("told: %s", notices(got))
					}
				}
			})
		})
	}
}

// T-ID-06: who is blocked while somebody watches her, and leaves, does not stay there for ever. That she is gone is told, and nothing else.
func TestT_ID_06_TheBlockedDoNotStayOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.watch(s.sip, romeoWatchesJuliet(adapters.WatchOpen, "1", time.Hour))
		s.xmpp.Handler().Notify(t.Context(), subscribed())
		s.xmpp.Handler().Notify(t.Context(), presence("balcony", pidf.BasicOpen))
		s.watch(s.xmpp, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}})
		document := func(basic pidf.Basic) *adapters.NotifyOp {
			return &adapters.NotifyOp{
				Watch: adapters.WatchID{Watcher: julietSeen, Presentity: romeoSeen}, State: adapters.WatchActive, Whole: true,
				Presence: &pidf.Presence{
					Entity: pidf.MustParseURI(romeoSeen.String()), Notes: []pidf.Note{{Text: "a secret"}},
					Tuples: []pidf.Tuple{{ID: pidf.MustParseID("t1"), Status: pidf.Status{Basic: basic}, Notes: []pidf.Note{{Text: "a secret"}}}},
				},
			}
		}
		s.sip.Handler().Notify(t.Context(), document(pidf.BasicOpen))
		synctest.Wait()
		toRomeo, toJuliet := len(s.sip.Notifies()), len(s.xmpp.Notifies())
		s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: ruled(t, policy.Config{Blocked: parties(t, "im:juliet@example.com")})})
		for _, basic := range []pidf.Basic{pidf.BasicOpen, pidf.BasicClosed} {
			left := presence("balcony", basic)
			left.Presence.Tuples[0].Notes = []pidf.Note{{Text: "a secret"}}
			s.xmpp.Handler().Notify(t.Context(), left)
			s.sip.Handler().Notify(t.Context(), document(basic))
			synctest.Wait()
		}
		for _, told := range [][]*adapters.NotifyOp{s.sip.Notifies()[toRomeo:], s.xmpp.Notifies()[toJuliet:]} {
			if len(told) != 1 || told[0].Presence == nil || len(told[0].Presence.Tuples) != 1 {
				t.Fatalf("told: %s", notices(told))
			}
			p := told[0].Presence
			if u := &p.Tuples[0]; u.Status.Basic != pidf.BasicClosed || len(u.Notes)+len(p.Notes) != 0 {
				t.Errorf("told: %+v", p)
			}
		}
	})
}

// An adapter that tells by itself what was told before asks whether it still may: a block counts from the moment on in which it is taken on.
func TestT_ID_06_WhatWasToldBeforeIsNotSharedWithTheBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		audience := s.xmpp.Handler().(adapters.Audience)
		op := romeoWatchesJuliet(adapters.WatchOpen, "d", time.Hour)
		id := adapters.WatchID{Watcher: op.Watch.Watcher, Presentity: op.Watch.Presentity}
		if audience.Watched(id) {
			t.Error("watched before anybody asked")
		}
		s.watch(s.sip, op)
		if !audience.Watched(id) || audience.Watched(adapters.WatchID{Watcher: id.Presentity, Presentity: id.Watcher}) {
			t.Error("the watch is not known, or one the other way round is")
		}
		if !audience.Shared(id) {
			t.Error("not shared, and nobody is blocked")
		}
		s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: ruled(t, policy.Config{Blocked: parties(t, "im:romeo@example.net")})})
		if audience.Shared(id) {
			t.Error("shared with one who is blocked")
		}
	})
}
