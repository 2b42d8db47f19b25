package sip

import (
	"context"
	"encoding/json"
	"net/netip"
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
			fields(t, m, map[string]string{"CSeq": "3 NOTIFY", "Subscription-State": "active;expires=300", "Content-Type": "-"})
			g.answer(m, wire.Response{Code: 200})
		}
	}
	c.quiet(t)

	// The end: "Expires" 0, and "terminated" with "reason=timeout" (RFC 6665 §4.2.1.4), from the core.
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
	for end := time.Now().Add(wait); !reached(); {
		if time.Now().After(end) {
			t.Fatal("the state was never reached")
		}
		time.Sleep(time.Millisecond)
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

func TestNotifierLimits(t *testing.T) {
	a, c := start(t, func(cfg *Config) { cfg.Limits.WatchesPerWatcher, cfg.Limits.Watches = 1, 2 })
	g := udpAgent(t, a)
	again := func(user, n string) *wire.Message {
		return g.ask(strings.NewReplacer("romeo@example.net", user+"@example.net", "watch-1", "watch-"+n, "tag=romeo", "tag="+n).Replace(subscribeText))
	}
	for _, x := range []struct {
		user, n string
		code    int
	}{{"romeo", "1", 200}, {"romeo", "2", 403}, {"benvolio", "3", 200}, {"tybalt", "4", 503}} {
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

// The subscriber's role.

var julietsWatch = adapters.WatchID{Watcher: pres("juliet@example.com"), Presentity: pres("romeo@example.net")}

func watchRomeo(a *Adapter, g *agent, verb adapters.WatchVerb) <-chan adapters.WatchStatus {
	done := make(chan adapters.WatchStatus, 1)
	go func() {
		done <- a.Watch(context.Background(), []resolver.Target{g.hop()}, &adapters.WatchOp{
			Verb: verb, Watch: julietsWatch, Duration: 10 * time.Minute, Hops: 70,
		})
	}()
	return done
}

// notifyText is a NOTIFY in answer to the SUBSCRIBE sub, from the notifier with this tag.
func notifyText(sub *wire.Message, tag, cseq, state, body string) string {
	text := "NOTIFY " + contactText(sub) + " SIP/2.0\nMax-Forwards: 70\nFrom: <sip:romeo@example.net>;tag=" + tag +
		"\nTo: " + sub.From().String() + "\nCall-ID: " + sub.CallID() + "\nCSeq: " + cseq + " NOTIFY\nContact: <sip:romeo@HOST>\n" +
		"Event: presence\nSubscription-State: " + state
	if body != "" {
		text += "\nContent-Type: application/pidf+xml"
	}
	return text + "\n\n" + body
}

func contactText(m *wire.Message) string {
	v, _ := m.Header("Contact")
	return wire.MustParseAddr(v).URI().String()
}

// open opens the watch: it answers the SUBSCRIBE with 200, sends a NOTIFY that is active, and takes what the core is told.
func open(t *testing.T, a *Adapter, c *core, g *agent, seen map[string]bool, expires string) *wire.Message {
	t.Helper()
	done := watchRomeo(a, g, adapters.WatchOpen)
	sub := g.request("SUBSCRIBE", seen)
	g.answer(sub, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: expires}, {Name: "Contact", Value: "<sip:romeo@" + g.addr().String() + ">"}}})
	if s := next(t, done, "outcome"); s.Outcome != adapters.Success || s.State != adapters.WatchNeutral {
		t.Errorf("%+v", s)
	}
	if r := g.ask(notifyText(sub, "agent", "1", "active;expires="+expires, documentText("romeo@example.net", "open"))); r.StatusCode() != 200 {
		t.Fatalf("%d %s", r.StatusCode(), r.ReasonPhrase())
	}
	if op := next(t, c.notices, "notification"); op.State != adapters.WatchActive || op.Change != adapters.AuthorizationGranted || op.Presence == nil || !op.Whole || op.Watch != julietsWatch {
		t.Errorf("%+v", op)
	}
	return sub
}

func TestSubscriber(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	sub := open(t, a, c, g, seen, "600")
	fields(t, sub, map[string]string{
		"CSeq": "1 SUBSCRIBE", "Expires": "600", "Event": "presence", "Accept": "application/pidf+xml", "To": "<sip:romeo@example.net>",
		"Contact": "<sip:juliet@" + a.Addrs()[0].Address.String() + ">",
	})
	for _, x := range []struct {
		name, text string
		code       int
	}{
		{"out of order", notifyText(sub, "agent", "1", "active", ""), 500},
		{"another fork", notifyText(sub, "fork", "9", "active", ""), 481},
		{"T-ID-07 about somebody else", notifyText(sub, "agent", "2", "active", documentText("tybalt@example.net", "open")), 403},
		{"T-PR-21 unasked", strings.Replace(notifyText(sub, "agent", "3", "active", ""), sub.From().Tag(), "nobody", 1), 481},
		{"T-PR-21 of another Call-ID", strings.Replace(notifyText(sub, "agent", "3", "active", ""), sub.CallID(), "another", 1), 481},
		{"from somebody else", strings.Replace(notifyText(sub, "agent", "3", "active", ""), "romeo@example.net", "tybalt@example.net", 1), 403},
		{"another event", strings.Replace(notifyText(sub, "agent", "4", "active", ""), "Event: presence", "Event: dialog", 1), 489},
		{"malformed", notifyText(sub, "agent", "5", "active", "<presence"), 400},
		{"another type", strings.Replace(notifyText(sub, "agent", "6", "active", "x"), "application/pidf+xml", "text/plain", 1), 415},
	} {
		if r := g.ask(x.text); r.StatusCode() != x.code {
			t.Errorf("%s: %d %s, want %d", x.name, r.StatusCode(), r.ReasonPhrase(), x.code)
		}
	}
	c.quiet(t)
	if r := g.ask(notifyText(sub, "agent", "20", "active;expires=500", documentText("romeo@example.net", "closed"))); r.StatusCode() != 200 {
		t.Fatal(r.StatusCode())
	}
	if op := next(t, c.notices, "notification"); op.Change != adapters.AuthorizationUnchanged || op.Presence == nil {
		t.Errorf("%+v", op)
	}

	// Opened again, it is refreshed in its dialog.
	done := watchRomeo(a, g, adapters.WatchOpen)
	m := g.request("SUBSCRIBE", seen)
	fields(t, m, map[string]string{"CSeq": "2 SUBSCRIBE", "To": "<sip:romeo@example.net>;tag=agent", "Call-ID": sub.CallID()})
	if m.RequestURIText() != "sip:romeo@"+g.addr().String() {
		t.Errorf("Request-URI %s, want their Contact", m.RequestURIText())
	}
	g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	if s := next(t, done, "outcome"); s.State != adapters.WatchActive || s.Duration != 10*time.Minute {
		t.Errorf("%+v", s)
	}

	// Closed: Expires 0; the NOTIFY that ends it is answered, and nobody is told. None is sent by us (PEERS trap 5).
	done = watchRomeo(a, g, adapters.WatchCancel)
	m = g.request("SUBSCRIBE", seen)
	fields(t, m, map[string]string{"CSeq": "3 SUBSCRIBE", "Expires": "0"})
	g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "0"}}})
	if s := next(t, done, "outcome"); s.Outcome != adapters.Success || s.State != adapters.WatchTerminated {
		t.Errorf("%+v", s)
	}
	if r := g.ask(notifyText(sub, "agent", "21", "terminated;reason=timeout", "")); r.StatusCode() != 200 {
		t.Errorf("%d %s", r.StatusCode(), r.ReasonPhrase())
	}
	c.quiet(t)
	if n := a.subscribers.count(); n != 0 {
		t.Errorf("%d dialogs are left", n)
	}
	if s := a.Watch(t.Context(), []resolver.Target{g.hop()}, &adapters.WatchOp{Verb: adapters.WatchClose, Watch: julietsWatch}); s.Outcome != adapters.Success {
		t.Errorf("closing what is closed: %+v", s)
	}
}

func TestNotifyBeforeTheResponse(t *testing.T) {
	// "the subscriber MUST be prepared to receive NOTIFY requests before the SUBSCRIBE transaction has completed" (RFC 6665
	// §4.1.2.4), and the route set is that of the NOTIFY (§4.4.1).
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	done := watchRomeo(a, g, adapters.WatchOpen)
	sub := g.request("SUBSCRIBE", seen)
	text := strings.Replace(notifyText(sub, "agent", "1", "pending;expires=600", documentText("romeo@example.net", "open")), "Event:", "Record-Route: <sip:HOST;lr>\nEvent:", 1)
	if r := g.ask(text); r.StatusCode() != 200 {
		t.Fatalf("%d %s", r.StatusCode(), r.ReasonPhrase())
	}
	if op := next(t, c.notices, "notification"); op.State != adapters.WatchPending || op.Presence != nil {
		t.Errorf("%+v", op)
	}
	g.answer(sub, wire.Response{Code: 200, ToTag: "another", Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	if s := next(t, done, "outcome"); s.State != adapters.WatchPending {
		t.Errorf("%+v", s)
	}
	done = watchRomeo(a, g, adapters.WatchOpen)
	m := g.request("SUBSCRIBE", seen)
	fields(t, m, map[string]string{"To": "<sip:romeo@example.net>;tag=agent", "Route": "<sip:" + g.addr().String() + ";lr>"})
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
}

func TestSubscriberFailures(t *testing.T) {
	for _, x := range []struct {
		code  int
		end   adapters.EndReason
		cause adapters.Reason
	}{
		// "MUST consider the XMPP presence authorization to be permanently cancelled ... if it receives a SIP response of 403, 489,
		// or 603" (RFC 8048 §5.2.2)
		{403, adapters.EndRejected, adapters.ReasonForbidden},
		{489, adapters.EndRejected, adapters.ReasonPolicyViolation},
		{603, adapters.EndRejected, adapters.ReasonRecipientUnavailable},
		{404, adapters.EndNone, adapters.ReasonNotFound},
		{480, adapters.EndNone, adapters.ReasonRecipientUnavailable},
		{503, adapters.EndNone, adapters.ReasonInternal},
	} {
		a, c := start(t, nil)
		g := udpAgent(t, a)
		done := watchRomeo(a, g, adapters.WatchOpen)
		g.answer(g.request("SUBSCRIBE", map[string]bool{}), wire.Response{Code: x.code})
		s := next(t, done, "outcome")
		if s.Outcome != adapters.Failure || s.Reason != x.cause || s.End != x.end || s.State != adapters.WatchTerminated || s.Code != x.code {
			t.Errorf("%d: %+v", x.code, s)
		}
		if n := a.subscribers.count(); n != 0 {
			t.Errorf("%d: %d dialogs are left", x.code, n)
		}
		c.quiet(t)
	}
	t.Run("423", func(t *testing.T) {
		a, _ := start(t, nil)
		g := udpAgent(t, a)
		seen := map[string]bool{}
		done := watchRomeo(a, g, adapters.WatchOpen)
		g.answer(g.request("SUBSCRIBE", seen), wire.Response{Code: 423, Headers: []wire.Header{{Name: "Min-Expires", Value: "1800"}}})
		m := g.request("SUBSCRIBE", seen)
		fields(t, m, map[string]string{"Expires": "1800", "CSeq": "2 SUBSCRIBE"})
		g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "1800"}}})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Success || s.Duration != 30*time.Minute {
			t.Errorf("%+v", s)
		}
	})
	t.Run("481 to a refresh", func(t *testing.T) {
		a, c := start(t, nil)
		g := udpAgent(t, a)
		seen := map[string]bool{}
		sub := open(t, a, c, g, seen, "600")
		done := watchRomeo(a, g, adapters.WatchOpen)
		g.answer(g.request("SUBSCRIBE", seen), wire.Response{Code: 481})
		m := g.request("SUBSCRIBE", seen)
		if m.CallID() == sub.CallID() || m.From().Tag() == sub.From().Tag() || m.To().Tag() != "" {
			t.Errorf("not a new dialog:\n%s", m.Raw())
		}
		g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%+v", s)
		}
		if r := g.ask(notifyText(m, "agent2", "1", "active;expires=600", "")); r.StatusCode() != 200 {
			t.Errorf("%d %s", r.StatusCode(), r.ReasonPhrase())
		}
		if op := next(t, c.notices, "notification"); op.State != adapters.WatchActive {
			t.Errorf("%+v", op)
		}
	})
	t.Run("500 to a refresh leaves the watch", func(t *testing.T) {
		a, c := start(t, nil)
		g := udpAgent(t, a)
		seen := map[string]bool{}
		open(t, a, c, g, seen, "600")
		done := watchRomeo(a, g, adapters.WatchOpen)
		g.answer(g.request("SUBSCRIBE", seen), wire.Response{Code: 500})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Failure || s.State != adapters.WatchActive {
			t.Errorf("%+v", s)
		}
		if a.subscribers.count() != 1 {
			t.Error("the watch is gone")
		}
	})
	t.Run("Timer N", func(t *testing.T) {
		a, c := start(t, func(cfg *Config) { cfg.T1 = 5 * time.Millisecond })
		g := udpAgent(t, a)
		done := watchRomeo(a, g, adapters.WatchOpen)
		g.answer(g.request("SUBSCRIBE", map[string]bool{}), wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
		next(t, done, "outcome")
		if op := next(t, c.notices, "end of the watch"); op.State != adapters.WatchTerminated || op.End != adapters.EndTimeout {
			t.Errorf("%+v", op)
		}
		if n := a.subscribers.count(); n != 0 {
			t.Errorf("%d dialogs are left", n)
		}
	})
}

func TestSubscriberEnds(t *testing.T) {
	for _, x := range []struct {
		state  string
		end    adapters.EndReason
		change adapters.AuthorizationChange
	}{
		{"terminated;reason=rejected", adapters.EndRejected, adapters.AuthorizationRefused},
		{"terminated;reason=deactivated", adapters.EndDeactivated, adapters.AuthorizationUnchanged},
		{"terminated;reason=noresource", adapters.EndNoResource, adapters.AuthorizationUnchanged},
		{"terminated", adapters.EndNone, adapters.AuthorizationUnchanged},
	} {
		a, c := start(t, nil)
		g := udpAgent(t, a)
		seen := map[string]bool{}
		sub := open(t, a, c, g, seen, "600")
		if r := g.ask(notifyText(sub, "agent", "2", x.state, "")); r.StatusCode() != 200 {
			t.Errorf("%d %s", r.StatusCode(), r.ReasonPhrase())
		}
		if op := next(t, c.notices, "notification"); op.State != adapters.WatchTerminated || op.End != x.end || op.Change != x.change {
			t.Errorf("%s: %+v", x.state, op)
		}
		if r := g.ask(notifyText(sub, "agent", "3", "active", "")); r.StatusCode() != 481 {
			t.Errorf("after the end: %d %s", r.StatusCode(), r.ReasonPhrase())
		}
	}
}

func TestSubscriberRefreshesByItself(t *testing.T) {
	a, c := start(t, func(cfg *Config) { cfg.Limits.MinExpires = time.Second })
	g := udpAgent(t, a)
	seen := map[string]bool{}
	sub := open(t, a, c, g, seen, "1")
	m := g.request("SUBSCRIBE", seen)
	fields(t, m, map[string]string{"CSeq": "2 SUBSCRIBE", "Call-ID": sub.CallID(), "Expires": "600"})
	// And a refusal of a refresh is told without anybody having asked.
	g.answer(m, wire.Response{Code: 403})
	if op := next(t, c.notices, "refusal"); op.State != adapters.WatchTerminated || op.End != adapters.EndRejected || op.Change != adapters.AuthorizationRefused {
		t.Errorf("%+v", op)
	}
}

func TestSubscriberFetch(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	sub := open(t, a, c, g, seen, "600")
	done := watchRomeo(a, g, adapters.WatchFetch)
	poll := g.request("SUBSCRIBE", seen)
	if poll.CallID() == sub.CallID() {
		t.Error("a poll is made in a new dialog (RFC 8048 §7.1)")
	}
	fields(t, poll, map[string]string{"Expires": "0", "CSeq": "1 SUBSCRIBE"})
	g.answer(poll, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "0"}}})
	next(t, done, "outcome")
	if r := g.ask(notifyText(poll, "agent", "1", "terminated;reason=timeout", documentText("romeo@example.net", "open"))); r.StatusCode() != 200 {
		t.Errorf("%d %s", r.StatusCode(), r.ReasonPhrase())
	}
	if op := next(t, c.notices, "notification"); op.State != adapters.WatchNeutral || op.End != adapters.EndNone || op.Presence == nil || op.Change != adapters.AuthorizationUnchanged {
		t.Errorf("%+v: the end of a poll is not the end of the watch", op)
	}
	if n := a.subscribers.count(); n != 1 {
		t.Errorf("%d dialogs, want the watch's", n)
	}
}

func TestRestore(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	r, id := establish(t, g, c, seen)
	sub := open(t, a, c, g, seen, "600")
	b, err := json.Marshal(a.Dialogs())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := a.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}

	var dialogs []Dialog
	if err := json.Unmarshal(b, &dialogs); err != nil || len(dialogs) != 2 {
		t.Fatalf("%v %s", err, b)
	}
	a, c = start(t, nil)
	if err := a.Restore(dialogs); err != nil {
		t.Fatal(err)
	}
	g.to = a.Addrs()[0].Address

	// Neither is lost, and no sequence number goes back.
	done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive})
	m := g.request("NOTIFY", seen)
	fields(t, m, map[string]string{"CSeq": "2 NOTIFY", "Call-ID": "watch-1"})
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
	if got := g.ask(within(r, "7", "600")); got.StatusCode() != 500 {
		t.Errorf("an old sequence number after the restart: %d", got.StatusCode())
	}
	if got := g.ask(notifyText(sub, "agent", "1", "active", "")); got.StatusCode() != 500 {
		t.Errorf("an old sequence number after the restart: %d", got.StatusCode())
	}
	if got := g.ask(notifyText(sub, "agent", "2", "active", "")); got.StatusCode() != 200 {
		t.Errorf("%d %s", got.StatusCode(), got.ReasonPhrase())
	}
	if op := next(t, c.notices, "notification"); op.Change != adapters.AuthorizationUnchanged {
		t.Errorf("%+v: granted twice", op)
	}
	dialogs[0].CallID = ""
	dialogs[1].Peer = "nobody"
	if err := a.Restore(dialogs[:1]); err == nil {
		t.Error("a spoilt dialog was taken")
	}
}

func TestNextHop(t *testing.T) {
	a, _ := start(t, nil)
	far := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:5060")})
	for _, x := range []struct {
		name string
		d    Dialog
		want string
	}{
		{"the remote target", Dialog{RemoteTarget: "sip:r@127.0.0.9:5070"}, "udp 127.0.0.9:5070, tcp 192.0.2.1:5060"},
		{"with a transport", Dialog{RemoteTarget: "sip:r@127.0.0.9;transport=TCP"}, "tcp 127.0.0.9:5060, tcp 192.0.2.1:5060"},
		{"the topmost Route", Dialog{RemoteTarget: "sip:r@127.0.0.9", RouteSet: []string{"<sip:127.0.0.8;lr>"}}, "udp 127.0.0.8:5060, tcp 192.0.2.1:5060"},
		{"a name", Dialog{RemoteTarget: "sip:r@localhost"}, "tcp 192.0.2.1:5060"},
		{"an address that is not the peer's", Dialog{RemoteTarget: "sip:r@10.0.0.1"}, "tcp 192.0.2.1:5060"},
		{"a transport that we do not serve", Dialog{RemoteTarget: "sip:r@127.0.0.1;transport=sctp"}, "tcp 192.0.2.1:5060"},
	} {
		peer := loopback
		var got []string
		for _, h := range a.dialogHops(&x.d, &peer, []resolver.Target{far}) {
			got = append(got, h.Transport().String()+" "+h.Addr().String())
		}
		if s := strings.Join(got, ", "); s != x.want {
			t.Errorf("%s: %s, want %s", x.name, s, x.want)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"a peer without a name":    func(c *Config) { c.Peers[0].Name = "" },
		"a peer without a network": func(c *Config) { c.Peers[0].Networks = nil },
		"a peer without a domain":  func(c *Config) { c.Peers[0].Domains = nil },
		"a domain that is none":    func(c *Config) { c.Peers[0].Domains = []string{"a..b"} },
		"two peers of one name":    func(c *Config) { c.Peers = append(c.Peers, c.Peers[0]) },
		"a negative limit":         func(c *Config) { c.Limits.Watches = -1 },
		"MinExpires over an hour":  func(c *Config) { c.Limits.MinExpires = 2 * time.Hour },
		"MaxExpires too short":     func(c *Config) { c.Limits.MaxExpires = time.Second },
	} {
		cfg := Config{Peers: []Peer{loopback}}
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
