package sip

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// document is a presence document of who, with this basic status.
func document(t *testing.T, who, basic string) *pidf.Presence {
	t.Helper()
	p, err := pidf.Parse([]byte(documentText(who, basic)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func documentText(who, basic string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:` + who +
		`"><tuple id="ID-balcony"><status><basic>` + basic + `</basic></status></tuple></presence>`
}

// The notifier's role.

// subscribeText is a SUBSCRIBE of Romeo to Juliet outside of a dialog.
const subscribeText = `
SUBSCRIBE sip:juliet@example.com SIP/2.0
Max-Forwards: 70
To: <sip:juliet@example.com>
From: <sip:romeo@example.net>;tag=romeo
Call-ID: watch-1
CSeq: 7 SUBSCRIBE
Event: presence
Contact: <sip:romeo@HOST>
Accept: application/pidf+xml
Expires: 600

`

// within is the SUBSCRIBE with this sequence number and duration within the dialog that r established.
func within(r *wire.Message, cseq, expires string) string {
	return strings.NewReplacer("To: <sip:juliet@example.com>", "To: "+r.To().String(), "CSeq: 7", "CSeq: "+cseq, "Expires: 600", "Expires: "+expires).Replace(subscribeText)
}

// establish subscribes, and takes the NOTIFY that follows.
func establish(t *testing.T, g *agent, c *core, seen map[string]bool) (*wire.Message, adapters.WatchID) {
	t.Helper()
	r := g.ask(subscribeText)
	if r.StatusCode() != 200 {
		t.Fatalf("%d %s", r.StatusCode(), r.ReasonPhrase())
	}
	op := next(t, c.watches, "watch")
	g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
	return r, op.Watch
}

// notify runs Adapter.Notify beside the test.
func notify(a *Adapter, g *agent, op adapters.NotifyOp) <-chan adapters.Status {
	done := make(chan adapters.Status, 1)
	go func() { done <- a.Notify(context.Background(), []resolver.Target{g.hop()}, &op) }()
	return done
}

func TestNotifier(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	r := g.ask(subscribeText)
	if r.StatusCode() != 200 || r.To().Tag() == "" {
		t.Fatalf("%s", r.Raw())
	}
	fields(t, r, map[string]string{"Expires": "600", "Contact": "<sip:juliet@" + a.Addrs()[0].Address.String() + ">"})
	op := next(t, c.watches, "watch")
	if op.Verb != adapters.WatchOpen || op.Duration != 10*time.Minute || op.Watch.Watcher != pres("romeo@example.net") ||
		op.Watch.Presentity != pres("juliet@example.com") || op.Watch.Session == "" || op.Peer.Name != "trunk" {
		t.Errorf("%+v", op)
	}
	// "Upon successfully accepting or refreshing a subscription, notifiers MUST send a NOTIFY request immediately" (RFC 6665
	// §4.2.1.2): also when the core is silent.
	m := g.request("NOTIFY", seen)
	if m.RequestURIText() != "sip:romeo@"+g.addr().String() || len(m.Body()) > 0 {
		t.Errorf("%s", m.Raw())
	}
	fields(t, m, map[string]string{
		"From": "<sip:juliet@example.com>;tag=" + r.To().Tag(), "To": "<sip:romeo@example.net>;tag=romeo", "Call-ID": "watch-1",
		"CSeq": "1 NOTIFY", "Event": "presence", "Subscription-State": "pending;expires=600",
	})
	g.answer(m, wire.Response{Code: 200})

	// The approval, with presence.
	done := notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Change: adapters.AuthorizationGranted, Presence: document(t, "juliet@example.com", "open")})
	m = g.request("NOTIFY", seen)
	fields(t, m, map[string]string{"CSeq": "2 NOTIFY", "Content-Type": "application/pidf+xml"})
	if v, _ := m.Header("Subscription-State"); !strings.HasPrefix(v, "active;expires=") {
		t.Errorf("Subscription-State: %s", v)
	}
	if p, err := pidf.Parse(m.Body()); err != nil || len(p.Tuples) != 1 {
		t.Errorf("%v %s", err, m.Body())
	}
	g.answer(m, wire.Response{Code: 200})
	if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}

	// A refresh, and what is no refresh.
	for _, x := range []struct {
		name, text string
		code       int
	}{
		{"in order", within(r, "8", "300"), 200},
		{"the same number again", within(r, "8", "300"), 500},
		{"a lower number", within(r, "3", "300"), 500},
		{"an unknown tag", strings.Replace(within(r, "9", "300"), r.To().Tag(), "nobody", 1), 481},
		{"another Call-ID", strings.Replace(within(r, "9", "300"), "watch-1", "watch-2", 1), 481},
		{"another tag of theirs", strings.Replace(within(r, "9", "300"), "tag=romeo", "tag=tybalt", 1), 481},
		{"another event id", strings.Replace(within(r, "9", "300"), "Event: presence", "Event: presence;id=2", 1), 481},
		{"another user", strings.Replace(within(r, "9", "300"), "sip:romeo@example.net", "sip:tybalt@example.net", 1), 403},
		{"too short", within(r, "10", "5"), 423},
	} {
		got := g.ask(x.text)
		if got.StatusCode() != x.code {
			t.Errorf("%s: %d %s, want %d", x.name, got.StatusCode(), got.ReasonPhrase(), x.code)
		}
		if x.code == 200 {
			if op := next(t, c.watches, "watch"); op.Verb != adapters.WatchOpen || op.Duration != 5*time.Minute {
				t.Errorf("%+v", op)
			}
			m = g.request("NOTIFY", seen)
			fields(t, m, map[string]string{"CSeq": "3 NOTIFY", "Content-Type": "-"})
			state, _ := m.Header("Subscription-State") // of 300 s, what a busy machine took until then is gone
			left, active := strings.CutPrefix(state, "active;expires=")
			if n, err := strconv.Atoi(left); !active || err != nil || n > 300 || n < 240 {
				t.Errorf("Subscription-State: %s", state)
			}
			g.answer(m, wire.Response{Code: 200})
		}
	}
	c.quiet(t)

	// The end (T-PR-16): "Expires" 0, and "terminated" with "reason=timeout" (RFC 6665 §4.2.1.4), from the core.
	if got := g.ask(within(r, "11", "0")); got.StatusCode() != 200 {
		t.Errorf("%d %s", got.StatusCode(), got.ReasonPhrase())
	}
	if op := next(t, c.watches, "watch"); op.Verb != adapters.WatchClose {
		t.Errorf("%+v", op)
	}
	done = notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchTerminated, End: adapters.EndTimeout, Presence: document(t, "juliet@example.com", "closed")})
	m = g.request("NOTIFY", seen)
	fields(t, m, map[string]string{"CSeq": "4 NOTIFY", "Subscription-State": "terminated;reason=timeout"})
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
	if n := a.notifiers.count(); n != 0 {
		t.Errorf("%d dialogs are left", n)
	}
	if s := a.Notify(t.Context(), nil, &adapters.NotifyOp{Watch: op.Watch}); s.Reason != adapters.ReasonNotFound {
		t.Errorf("%+v", s)
	}
	if got := g.ask(within(r, "12", "600")); got.StatusCode() != 481 {
		t.Errorf("%d %s", got.StatusCode(), got.ReasonPhrase())
	}
}

func TestNotifierRefusal(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	c.mu.Lock()
	c.watch = func(*adapters.WatchOp) adapters.WatchStatus {
		return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonForbidden, "")}
	}
	c.mu.Unlock()
	if r := g.ask(subscribeText); r.StatusCode() != 603 {
		t.Errorf("%d %s", r.StatusCode(), r.ReasonPhrase())
	}
	if n := a.notifiers.count(); n != 0 {
		t.Errorf("%d dialogs are left", n)
	}
}

func TestNotifierKeepsTheNewest(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	_, id := establish(t, g, c, seen)
	send := func(basic string) <-chan adapters.Status {
		return notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", basic)})
	}
	first := send("open")
	m := g.request("NOTIFY", seen)
	second := send("closed")
	waitFor(t, func() bool { n := a.notifiers.find(id.Session); n.mu.Lock(); defer n.mu.Unlock(); return n.next != nil })
	third := notify(a, g, adapters.NotifyOp{Watch: id}) // has no document of its own
	if s := next(t, second, "outcome"); s.Outcome != adapters.Indeterminate {
		t.Errorf("%+v for one that a newer replaced", s)
	}
	g.answer(m, wire.Response{Code: 200})
	if s := next(t, first, "outcome"); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}
	m = g.request("NOTIFY", seen)
	if !strings.Contains(string(m.Body()), "closed") {
		t.Errorf("what only the replaced one carried is lost:\n%s", m.Raw())
	}
	g.answer(m, wire.Response{Code: 200})
	next(t, third, "outcome")
}

// waitFor waits until a state that nothing announces is reached.
func waitFor(t *testing.T, reached func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.After(wait)
	for !reached() {
		select {
		case <-look.C:
		case <-late:
			t.Fatal("the state was never reached")
		}
	}
}

func TestNotifierGoneWatcher(t *testing.T) {
	// "If the NOTIFY transaction fails due to the receipt of a 404, 405, 410, 416, 480-485, 489, 501, or 604 response to the NOTIFY
	// request, the notifier MUST remove the corresponding subscription." (RFC 6665 §4.2.2)
	for _, x := range []struct {
		code int
		gone bool
	}{{481, true}, {489, true}, {604, true}, {500, false}, {403, false}} {
		a, c := start(t, nil)
		g := udpAgent(t, a)
		seen := map[string]bool{}
		_, id := establish(t, g, c, seen)
		done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive})
		g.answer(g.request("NOTIFY", seen), wire.Response{Code: x.code})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Failure || s.Code != x.code {
			t.Errorf("%d: %+v", x.code, s)
		}
		if gone := a.notifiers.count() == 0; gone != x.gone {
			t.Errorf("%d: removed %v, want %v", x.code, gone, x.gone)
		}
	}
	// Timer F, to the NOTIFY that the adapter sends by itself: the core is told.
	a, c := start(t, func(cfg *Config) { cfg.T1 = 2 * time.Millisecond })
	g := udpAgent(t, a)
	g.ask(subscribeText)
	next(t, c.watches, "watch")
	if op := next(t, c.watches, "end of the watch"); op.Verb != adapters.WatchClose {
		t.Errorf("%+v", op)
	}
}

func TestNotifierExpiry(t *testing.T) {
	a, c := start(t, func(cfg *Config) { cfg.Limits.MinExpires = time.Second })
	g := udpAgent(t, a)
	seen := map[string]bool{}
	r := g.ask(strings.Replace(subscribeText, "Expires: 600", "Expires: 1", 1))
	if r.StatusCode() != 200 {
		t.Fatal(r.StatusCode())
	}
	next(t, c.watches, "watch")
	g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
	if op := next(t, c.watches, "end of the watch"); op.Verb != adapters.WatchClose {
		t.Errorf("%+v", op)
	}
	m := g.request("NOTIFY", seen)
	fields(t, m, map[string]string{"Subscription-State": "terminated;reason=timeout"})
	g.answer(m, wire.Response{Code: 200})
	waitFor(t, func() bool { return a.notifiers.count() == 0 })
}

// T-PR-17: a status query.
func TestNotifierFetch(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	r := g.ask(strings.Replace(subscribeText, "Expires: 600", "Expires: 0", 1))
	fields(t, r, map[string]string{"Expires": "0"})
	op := next(t, c.watches, "watch")
	if op.Verb != adapters.WatchFetch || op.Duration != 0 {
		t.Errorf("%+v", op)
	}
	done := notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")})
	m := g.request("NOTIFY", map[string]bool{})
	// "Note that the NOTIFY requests triggered by SUBSCRIBE requests with "Expires" header fields of 0 will contain a
	// "Subscription-State" value of "terminated" and a "reason" parameter of "timeout"." (RFC 6665 §4.4.3)
	fields(t, m, map[string]string{"Subscription-State": "terminated;reason=timeout", "Content-Type": "application/pidf+xml"})
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
	if n := a.notifiers.count(); n != 0 {
		t.Errorf("%d dialogs are left", n)
	}
}

// A bound is a passing fault: by 403 a gateway on the other side takes the authorization to be cancelled for good (RFC 8048 §5.2.2), by 503 a proxy
// sends us nothing of anybody for a while, which is right only where there is room for nobody.
func TestNotifierLimits(t *testing.T) {
	a, c := start(t, func(cfg *Config) { cfg.Limits.WatchesPerWatcher, cfg.Limits.Watches = 1, 2 })
	g := udpAgent(t, a)
	again := func(user, n string) *wire.Message {
		return g.ask(strings.NewReplacer("romeo@example.net", user+"@example.net", "watch-1", "watch-"+n, "tag=romeo", "tag="+n).Replace(subscribeText))
	}
	for _, x := range []struct {
		user, n string
		code    int
	}{{"romeo", "1", 200}, {"romeo", "2", 480}, {"benvolio", "3", 200}, {"tybalt", "4", 503}} {
		g.drain()
		if r := again(x.user, x.n); r.StatusCode() != x.code {
			t.Errorf("%s: %d %s, want %d", x.user, r.StatusCode(), r.ReasonPhrase(), x.code)
		}
	}
	_ = c
}

// drain forgets what has come; the agent of such a test never answers.
func (g *agent) drain() {
	for g.readWithin(time.Millisecond) != nil {
		continue
	}
}

func TestNotifyGoesToThePeerOnly(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	// RFC 6665 §6.3 and SSRF: a Contact cannot make us send to an address of its owner's choice.
	r := g.ask(strings.Replace(subscribeText, "Contact: <sip:romeo@HOST>", "Contact: <sip:romeo@192.0.2.66:5070>", 1))
	if r.StatusCode() != 200 {
		t.Fatal(r.StatusCode())
	}
	op := next(t, c.watches, "watch")
	done := notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive})
	m := g.request("NOTIFY", map[string]bool{})
	if m.RequestURIText() != "sip:romeo@192.0.2.66:5070" {
		t.Errorf("Request-URI %s", m.RequestURIText())
	}
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
}

// "If the From tag, Call-ID, and CSeq exactly match those associated with an ongoing transaction, but the request does not match that transaction ..., the
// UAS core SHOULD generate a 482 (Loop Detected) response" (RFC 3261 §8.2.2.2): one SUBSCRIBE that a fork brings by two paths makes one dialog.
func TestMergedSubscribe(t *testing.T) {
	a, c := start(t, nil)
	g, h := udpAgent(t, a), udpAgent(t, a)
	establish(t, g, c, map[string]bool{})
	if r := h.ask(strings.Replace(subscribeText, "HOST", g.addr().String(), 1)); r.StatusCode() != 482 {
		t.Errorf("by another path: %s", r.Raw())
	}
	if r := h.ask(strings.Replace(subscribeText, "CSeq: 7", "CSeq: 8", 1)); r.StatusCode() != 200 {
		t.Errorf("another request: %s", r.Raw())
	}
	if n := a.notifiers.count(); n != 2 {
		t.Errorf("%d dialogs", n)
	}
}
