package sip

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// The presence rules of RFC 2779 §5 as far as the SIP side answers for them.

// T-PR-02: a watcher and a presentity are who they are in each form of their addresses.
func TestT_PR_02_FormsOfAddresses(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	n := 0
	for _, from := range []string{"sip:romeo@example.net", "pres:romeo@example.net", "sip:%72omeo@EXAMPLE.NET"} {
		for _, to := range []string{"sip:juliet@example.com", "pres:juliet@example.com", "sip:juliet@Example.com:5070", "sip:%6Auliet@example.com;gr=balcony"} {
			n++
			text := strings.Replace(subscribeText, "SUBSCRIBE sip:juliet@example.com", "SUBSCRIBE "+to, 1)
			text = strings.Replace(text, "From: <sip:romeo@example.net>", "From: <"+from+">", 1)
			text = strings.Replace(text, "watch-1", fmt.Sprintf("watch-%d", n), 1)
			if r := g.ask(text); r.StatusCode() != 200 {
				t.Errorf("%s of %s: %d %s", from, to, r.StatusCode(), r.ReasonPhrase())
				continue
			}
			if op := next(t, c.watches, "watch"); op.Watch.Watcher != pres("romeo@example.net") || op.Watch.Presentity != pres("juliet@example.com") {
				t.Errorf("%s of %s: %+v", from, to, op.Watch)
			}
		}
	}
}

// T-PR-04, T-PR-06: a publication is told to each of 1,000 watchers once, for its own watch.
func TestT_PR_04_FanOut(t *testing.T) {
	const watchers = 1000
	a, c := start(t, publishes)
	g := udpAgent(t, a)
	told := make(map[adapters.WatchID]int)
	hear := func() {
		t.Helper()
		for range watchers {
			told[next(t, c.notices, "notification").Watch]++
		}
	}
	go func() {
		for i := range watchers {
			w := julietsWatch
			w.Watcher = pres(fmt.Sprintf("juliet%d@example.com", i))
			a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: adapters.WatchOpen, Watch: w})
		}
	}()
	hear()
	g.send(publishAs(1, "600", "", documentText("romeo@example.net", "open")))
	hear()
	if len(told) != watchers {
		t.Errorf("%d watches", len(told))
	}
	for w, n := range told {
		if n != 2 || w.Presentity != julietsWatch.Presentity {
			t.Errorf("%v was told %d times", w, n)
		}
	}
	c.quiet(t)
}

// T-PR-10: whatever the order in which the network brings them, the last that is told is the last that was said.
func TestT_PR_10_Reordered(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	sub := open(t, a, c, g, map[string]bool{}, "600")
	rng := rand.New(rand.NewPCG(10, 10))
	const most = 24
	highest := 1
	for _, i := range append(rng.Perm(most), most) {
		cseq := i + 2
		body := strings.Replace(documentText("romeo@example.net", "open"), "</tuple>", fmt.Sprintf("<note>%d</note></tuple>", cseq), 1)
		r := g.ask(notifyText(sub, "agent", fmt.Sprint(cseq), "active;expires=600", body))
		if cseq < highest {
			// "MUST be rejected with a 500" (RFC 3261 §12.2.2)
			if r.StatusCode() != 500 {
				t.Errorf("%d after %d: %d", cseq, highest, r.StatusCode())
			}
			continue
		}
		highest = cseq
		if op := next(t, c.notices, "notification"); r.StatusCode() != 200 || op.Presence.Tuples[0].Notes[0].Text != fmt.Sprint(cseq) {
			t.Errorf("%d: %d, %+v", cseq, r.StatusCode(), op.Presence.Tuples)
		}
	}
	if highest != most+2 {
		t.Errorf("the last is %d", highest)
	}
	c.quiet(t)
}

// T-PR-12: once the authorization is taken back nothing is told any more: not in the dialog of a SIP watcher, and not of what a SIP user
// publishes.
func TestT_PR_12_NothingAfterTheEnd(t *testing.T) {
	a, c := start(t, publishes)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	_, watch := establish(t, g, c, seen)
	done := notify(a, g, adapters.NotifyOp{Watch: watch, State: adapters.WatchTerminated, End: adapters.EndRejected, Presence: nil})
	m := g.request("NOTIFY", seen)
	fields(t, m, map[string]string{"Subscription-State": "terminated;reason=rejected", "Content-Type": "-"})
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
	late := adapters.NotifyOp{Watch: watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")}
	if s := a.Notify(t.Context(), nil, &late); s.Reason != adapters.ReasonNotFound {
		t.Errorf("%+v", s)
	}

	watchPublished(t, a, c, adapters.WatchOpen)
	a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: adapters.WatchClose, Watch: julietsWatch})
	if r := g.ask(publishAs(1, "600", "", documentText("romeo@example.net", "open"))); r.StatusCode() != 200 {
		t.Errorf("%d", r.StatusCode())
	}
	c.quiet(t)
	for m := g.readWithin(50 * time.Millisecond); m != nil; m = g.readWithin(50 * time.Millisecond) {
		if m.IsRequest() && !seen[m.TopVia().Branch()] {
			t.Errorf("told after the end:\n%s", m.Raw())
		}
	}
}

// T-PR-18: the request of a watcher reaches the presentity's side with who asks, both ways.
func TestT_PR_18_RequestReachesThePresentity(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	g.ask(subscribeText)
	if op := next(t, c.watches, "watch"); op.Verb != adapters.WatchOpen || op.Watch.Watcher != pres("romeo@example.net") ||
		op.Watch.Presentity != pres("juliet@example.com") || op.Hops != 70 {
		t.Errorf("%+v", op)
	}
	g = udpAgent(t, a)
	watchRomeo(a, g, adapters.WatchAsk)
	m := g.request("SUBSCRIBE", map[string]bool{})
	if m.RequestURIText() != "sip:romeo@example.net" || m.From().URI().String() != "sip:juliet@example.com" || m.To().URI().String() != "sip:romeo@example.net" {
		t.Errorf("%s", m.Raw())
	}
	g.answer(m, wire.Response{Code: 403})
}

// T-PR-19: who is blocked politely is told what a watcher of somebody who is away is told, octet for octet but for the dialog.
func TestT_PR_19_PoliteBlocking(t *testing.T) {
	a, c := start(t, nil)
	tell := func(who string) string {
		t.Helper()
		g := udpAgent(t, a)
		seen := map[string]bool{}
		r := g.ask(strings.NewReplacer("romeo", who, "watch-1", "watch-of-"+who).Replace(subscribeText))
		watch := next(t, c.watches, "watch").Watch
		g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
		done := notify(a, g, adapters.NotifyOp{
			Watch: watch, State: adapters.WatchActive, Change: adapters.AuthorizationGranted, Presence: document(t, "juliet@example.com", "closed"),
		})
		m := g.request("NOTIFY", seen)
		g.answer(m, wire.Response{Code: 200})
		next(t, done, "outcome")
		state, _ := m.Header("Subscription-State")
		via, _ := m.Header("Via")
		return strings.NewReplacer(via, "VIA", state, strings.TrimRight(state, "0123456789"), r.To().Tag(), "TAG", g.addr().String(), "HOST", who, "WHO").Replace(string(m.Raw()))
	}
	if blocked, away := tell("romeo"), tell("paris"); blocked != away {
		t.Errorf("they differ:\n%s\n%s", blocked, away)
	}
}

// T-PR-20: neither side is told a network address of the other, nor the gateway's where it has a name.
func TestT_PR_20_NoAddresses(t *testing.T) {
	a, c := start(t, func(cfg *Config) { cfg.SentBy = "gateway.example.com" })
	g := udpAgent(t, a)
	check := func(m *wire.Message) {
		t.Helper()
		if s := strings.NewReplacer(g.addr().String(), "HOST", "received=127.0.0.1", "").Replace(string(m.Raw())); strings.Contains(s, "127.0.0.1") {
			t.Errorf("an address is told:\n%s", s)
		}
	}
	seen := map[string]bool{}
	check(g.ask(subscribeText))
	watch := next(t, c.watches, "watch").Watch
	m := g.request("NOTIFY", seen)
	check(m)
	g.answer(m, wire.Response{Code: 200})
	done := notify(a, g, adapters.NotifyOp{Watch: watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")})
	m = g.request("NOTIFY", seen)
	check(m)
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")

	// What the SIP side's requests are found by is not in what the core is told.
	other := udpAgent(t, a)
	watchRomeo(a, other, adapters.WatchOpen)
	sub := other.request("SUBSCRIBE", map[string]bool{})
	other.answer(sub, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	other.ask(strings.Replace(notifyText(sub, "agent", "1", "active;expires=600", documentText("romeo@example.net", "open")), contactText(sub), "sip:juliet@"+other.to.String(), 1))
	op := next(t, c.notices, "notification")
	b, err := op.Presence.Append(nil)
	if err != nil || strings.Contains(string(b), "127.0.0.1") {
		t.Errorf("%v %s", err, b)
	}
	if p, err := pidf.Parse(b); err != nil || p.Tuples[0].Contact != nil {
		t.Errorf("%v %s", err, b)
	}
}
