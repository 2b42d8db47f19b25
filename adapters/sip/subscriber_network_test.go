package sip

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

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
		"CSeq": "1 SUBSCRIBE", "Expires": "600", "Event": "presence", "Accept": "application/pidf+xml, " + acceptedSealed, "To": "<sip:romeo@example.net>",
		"Contact": "<sip:juliet@" + a.Addrs()[0].Address.String() + ">",
	})
	for _, x := range []struct {
		name, text string
		code       int
		unread     bool
	}{
		{"out of order", notifyText(sub, "agent", "1", "active", ""), 500, false},
		{"another fork", notifyText(sub, "fork", "9", "active", ""), 481, false},
		{"T-ID-07 about somebody else", notifyText(sub, "agent", "2", "active", documentText("tybalt@example.net", "open")), 403, true},
		{"T-PR-21 unasked", strings.Replace(notifyText(sub, "agent", "3", "active", ""), sub.From().Tag(), "nobody", 1), 481, false},
		{"T-PR-21 of another Call-ID", strings.Replace(notifyText(sub, "agent", "3", "active", ""), sub.CallID(), "another", 1), 481, false},
		{"from somebody else", strings.Replace(notifyText(sub, "agent", "3", "active", ""), "romeo@example.net", "tybalt@example.net", 1), 403, false},
		{"another event", strings.Replace(notifyText(sub, "agent", "4", "active", ""), "Event: presence", "Event: dialog", 1), 489, false},
		{"malformed", notifyText(sub, "agent", "5", "active", "<presence"), 400, true},
		{"another type", strings.Replace(notifyText(sub, "agent", "6", "active", "x"), "application/pidf+xml", "text/plain", 1), 415, true},
	} {
		if r := g.ask(x.text); r.StatusCode() != x.code {
			t.Errorf("%s: %d %s, want %d", x.name, r.StatusCode(), r.ReasonPhrase(), x.code)
		}
		if x.unread {
			// What was told before is not believed for ever, and nothing of what was refused is told.
			if op := next(t, c.notices, x.name); op.Presence != nil || !op.Whole || op.Change != adapters.AuthorizationUnchanged || op.State != adapters.WatchActive {
				t.Errorf("%s: %+v", x.name, op)
			}
		}
		c.quiet(t)
	}
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

// A watch is refreshed "by sending another SUBSCRIBE request on the same dialog as the existing subscription" (RFC 6665 §4.1.2.2), which goes where the dialog says (RFC 3261 §12.2.1.1): a refresh and an end need no next hop
// of the domain.
func TestDialogKnowsItsWay(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	op := func(verb adapters.WatchVerb) <-chan adapters.WatchStatus {
		done := make(chan adapters.WatchStatus, 1)
		go func() {
			done <- a.Watch(context.Background(), nil, &adapters.WatchOp{Verb: verb, Watch: julietsWatch, Duration: 10 * time.Minute, Hops: 70})
		}()
		return done
	}
	if s := next(t, op(adapters.WatchOpen), "outcome"); s.Outcome != adapters.Failure || s.Reason != adapters.ReasonDomainNotFound {
		t.Errorf("without a dialog: %+v", s)
	}
	open(t, a, c, g, seen, "600")
	for verb, expires := range map[adapters.WatchVerb]string{adapters.WatchOpen: "600", adapters.WatchFetch: ""} {
		done := op(verb)
		if expires == "" {
			if s := next(t, done, "outcome"); s.Outcome != adapters.Failure || s.Reason != adapters.ReasonDomainNotFound {
				t.Errorf("a poll has a dialog of its own: %+v", s)
			}
			continue
		}
		m := g.request("SUBSCRIBE", seen)
		fields(t, m, map[string]string{"Expires": expires, "To": "<sip:romeo@example.net>;tag=agent"})
		g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: expires}}})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Success || s.State != adapters.WatchActive {
			t.Errorf("%+v", s)
		}
	}
	done := op(adapters.WatchClose)
	m := g.request("SUBSCRIBE", seen)
	fields(t, m, map[string]string{"Expires": "0", "To": "<sip:romeo@example.net>;tag=agent"})
	g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "0"}}})
	if s := next(t, done, "outcome"); s.Outcome != adapters.Success || s.State != adapters.WatchTerminated {
		t.Errorf("%+v", s)
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

// "if the SIP-to-XMPP gateway does not have meaningful information about the availability state of the XMPP user, then the NOTIFY MUST be empty" (RFC
// 8048 §5.3.2). One that moves the dialog to another Contact, or whose body is not understood and need not be, says nothing of the presentity.
func TestEmptyNotification(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	sub := open(t, a, c, g, map[string]bool{}, "600")
	moved := func(text string) string {
		return strings.Replace(text, "Contact: <sip:romeo@", "Contact: <sip:other@", 1)
	}
	for _, x := range []struct {
		name, text string
		whole      bool
	}{
		{"nothing is known", notifyText(sub, "agent", "20", "active;expires=500", ""), true},
		{"the dialog has moved", moved(notifyText(sub, "agent", "21", "active;expires=500", "")), false},
		{"and nothing is known there", moved(notifyText(sub, "agent", "22", "active;expires=500", "")), true},
		{"an optional body", strings.NewReplacer("application/pidf+xml", "text/plain\nContent-Disposition: render;handling=optional").Replace(
			moved(notifyText(sub, "agent", "23", "active;expires=500", "x"))), false},
	} {
		if r := g.ask(x.text); r.StatusCode() != 200 {
			t.Fatalf("%s: %d %s", x.name, r.StatusCode(), r.ReasonPhrase())
		}
		if op := next(t, c.notices, x.name); op.Presence != nil || op.Whole != x.whole || op.State != adapters.WatchActive {
			t.Errorf("%s: %+v", x.name, op)
		}
	}
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
		a, c := start(t, func(cfg *Config) { cfg.T1 = 60 * time.Millisecond })
		g := udpAgent(t, a)
		done := watchRomeo(a, g, adapters.WatchOpen)
		g.answer(g.request("SUBSCRIBE", map[string]bool{}), wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
		next(t, done, "outcome")
		if op := next(t, c.notices, "end of the watch"); op.State != adapters.WatchTerminated || op.End != adapters.EndTimeout {
			t.Errorf("%+v", op)
		}
		waitFor(t, func() bool { return a.subscribers.count() == 0 })
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
