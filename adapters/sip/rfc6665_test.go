package sip

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// RFC 6665, clause by clause: each row is a MUST that binds a gateway as notifier or subscriber and that no test beside this one quotes.
func TestRFC6665(t *testing.T) {
	for _, row := range []struct {
		section, sentence string
		test              func(*testing.T)
	}{
		{"§4.1.2.2", `If a SUBSCRIBE request to refresh a subscription receives a 404, 405, 410, 416, 480-485, 489, 501, or 604 response, the subscriber MUST consider the subscription terminated.`, func(t *testing.T) {
			for _, code := range []int{404, 405, 410, 416, 480, 482, 483, 484, 485, 489, 501, 604} {
				a, c := start(t, nil)
				g := udpAgent(t, a)
				seen := map[string]bool{}
				open(t, a, c, g, seen, "600")
				done := watchRomeo(a, g, adapters.WatchOpen)
				g.answer(g.request("SUBSCRIBE", seen), wire.Response{Code: code})
				if s := next(t, done, "outcome"); s.State != adapters.WatchTerminated || a.subscribers.count() != 0 {
					t.Errorf("%d: %+v, %d dialogs", code, s, a.subscribers.count())
				}
			}
		}},
		{"§4.1.4", `The subscriber MUST therefore be prepared to receive NOTIFY requests with "From:" tags that differ from the "To:" tag received in the SUBSCRIBE 200-class response.`, func(t *testing.T) {
			a, c := start(t, nil)
			g := udpAgent(t, a)
			seen := map[string]bool{}
			done := watchRomeo(a, g, adapters.WatchOpen)
			sub := g.request("SUBSCRIBE", seen)
			g.answer(sub, wire.Response{Code: 200, ToTag: "one", Headers: []wire.Header{{Name: "Expires", Value: "600"}, {Name: "Contact", Value: "<sip:one@" + g.addr().String() + ">"}}})
			next(t, done, "outcome")
			if r := g.ask(notifyText(sub, "two", "1", "active;expires=600", "")); r.StatusCode() != 200 {
				t.Errorf("the first NOTIFY: %d", r.StatusCode())
			}
			next(t, c.notices, "notification")
			// "the first potential dialog-establishing message will create a dialog. All subsequent NOTIFY requests that correspond to
			// the SUBSCRIBE request ... but which do not match the dialog would be rejected with a 481 response" (RFC 6665 §5.4.9).
			if r := g.ask(notifyText(sub, "one", "1", "active;expires=600", "")); r.StatusCode() != 481 {
				t.Errorf("that of the other fork: %d", r.StatusCode())
			}
			watchRomeo(a, g, adapters.WatchOpen)
			fields(t, g.request("SUBSCRIBE", seen), map[string]string{"To": "<sip:romeo@example.net>;tag=two"})
		}},
		{"§4.1.3", `subscribers MUST ignore any such parameter, if present.`, func(t *testing.T) {
			s, ok := parseWatchState("terminated;reason=timeout;expires=600")
			if !ok || s.hasExpires || s.expires != 0 {
				t.Errorf("%+v", s)
			}
		}},
		{"§4.1.3", `If the "Subscription-State" value is "terminated", the subscriber MUST consider the subscription terminated.`, func(t *testing.T) {
			for _, x := range []struct {
				value string
				end   adapters.EndReason
				retry time.Duration
			}{
				{"terminated", adapters.EndNone, 0},
				{"terminated;retry-after=60", adapters.EndNone, time.Minute},
				{"terminated;reason=deactivated;retry-after=60", adapters.EndDeactivated, 0},
				{"terminated;reason=probation;retry-after=60", adapters.EndProbation, time.Minute},
				{"terminated;reason=rejected;retry-after=60", adapters.EndRejected, 0},
				{"terminated;reason=timeout;retry-after=60", adapters.EndTimeout, 0},
				{"terminated;reason=giveup;retry-after=60", adapters.EndGiveUp, time.Minute},
				{"terminated;reason=noresource;retry-after=60", adapters.EndNoResource, 0},
				{"terminated;reason=invariant;retry-after=31536000", adapters.EndInvariant, 8760 * time.Hour},
				{"terminated;reason=new-one;retry-after=60", adapters.EndNone, time.Minute},
			} {
				a, c := start(t, nil)
				g := udpAgent(t, a)
				sub := open(t, a, c, g, map[string]bool{}, "600")
				if r := g.ask(notifyText(sub, "agent", "2", x.value, "")); r.StatusCode() != 200 {
					t.Errorf("%s: %d", x.value, r.StatusCode())
				}
				if op := next(t, c.notices, "notification"); op.State != adapters.WatchTerminated || op.End != x.end || op.RetryAfter != x.retry || a.subscribers.count() != 0 {
					t.Errorf("%s: %+v, %d dialogs", x.value, op, a.subscribers.count())
				}
			}
		}},
		{"§4.2.1.1", `the server MAY shorten the interval but MUST NOT lengthen it.`, func(t *testing.T) {
			a, c := start(t, func(cfg *Config) { cfg.Limits.MaxExpires = time.Hour })
			c.mu.Lock()
			c.watch = func(op *adapters.WatchOp) adapters.WatchStatus {
				return adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchActive, Duration: 2 * op.Duration}
			}
			c.mu.Unlock()
			g := udpAgent(t, a)
			fields(t, g.ask(strings.Replace(subscribeText, "Expires: 600", "Expires: 4294967295", 1)), map[string]string{"Expires": "3600"})
			g.drain()
			fields(t, g.ask(strings.NewReplacer("watch-1", "watch-2", "tag=romeo", "tag=r2").Replace(subscribeText)), map[string]string{"Expires": "600"})
		}},
		{"§4.2.2", `the notifier MUST also include in the "Subscription-State" header field an "expires" parameter that indicates the time remaining on the subscription.`, func(t *testing.T) {
			for s, want := range map[watchState]string{
				{state: adapters.WatchActive, expires: 90 * time.Second}:                                           "active;expires=90",
				{state: adapters.WatchPending, expires: 500 * time.Millisecond}:                                    "pending;expires=1",
				{state: adapters.WatchTerminated, end: adapters.EndTimeout, expires: time.Minute}:                  "terminated;reason=timeout",
				{state: adapters.WatchTerminated, end: adapters.EndProbation, retryAfter: 5 * time.Second}:         "terminated;reason=probation;retry-after=5",
				{state: adapters.WatchTerminated, end: adapters.EndNoResource, hasExpires: true, expires: 1 << 40}: "terminated;reason=noresource",
			} {
				if got := s.String(); got != want {
					t.Errorf("%q, want %q", got, want)
				}
			}
		}},
		{"§4.5.2", `If an "id" parameter is present in the SUBSCRIBE request used to establish a subscription, that "id" parameter MUST also be present in all corresponding NOTIFY requests.`, func(t *testing.T) {
			a, c := start(t, nil)
			g := udpAgent(t, a)
			g.ask(strings.Replace(subscribeText, "Event: presence", "Event: presence;id=77", 1))
			next(t, c.watches, "watch")
			fields(t, g.request("NOTIFY", map[string]bool{}), map[string]string{"Event": "presence;id=77"})
		}},
		{"§4.6", `If a User Agent Server (UAS) receives a CANCEL request that matches a known SUBSCRIBE or NOTIFY transaction, it MUST respond to the CANCEL request, but otherwise ignore it.`, func(t *testing.T) {
			a, c := start(t, nil)
			held := make(chan func(adapters.WatchStatus), 1)
			c.mu.Lock()
			c.held = held
			c.mu.Unlock()
			g := udpAgent(t, a)
			const line = "SUBSCRIBE sip:juliet@example.com SIP/2.0"
			via := line + "\nVia: SIP/2.0/UDP " + g.addr().String() + ";branch=z9hG4bKcancelled;rport"
			text := strings.NewReplacer("\n"+line, via, "HOST", g.addr().String()).Replace(subscribeText)
			g.write([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
			respond := next(t, held, "watch")
			cancel := strings.Replace(via, "SUBSCRIBE", "CANCEL", 1) + "\nMax-Forwards: 70\nTo: <sip:juliet@example.com>\nFrom: <sip:romeo@example.net>;tag=romeo\nCall-ID: watch-1\nCSeq: 7 CANCEL\n\n"
			g.write([]byte(strings.ReplaceAll(cancel, "\n", "\r\n")))
			if r := g.read(); r.StatusCode() != 200 || r.Method() != "CANCEL" {
				t.Errorf("CANCEL: %s", r.Raw())
			}
			respond(adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchPending})
			if r := g.read(); r.StatusCode() != 200 || r.Method() != "SUBSCRIBE" || a.notifiers.count() != 1 {
				t.Errorf("SUBSCRIBE: %s", r.Raw())
			}
		}},
		{"§8.3.1", `Implementations conformant with the current specification MUST treat an incoming 202 response as identical to a 200 response and MUST NOT generate 202 response codes to SUBSCRIBE or NOTIFY requests.`, func(t *testing.T) {
			a, c := start(t, nil)
			g := udpAgent(t, a)
			seen := map[string]bool{}
			for _, code := range []int{200, 202} {
				done := watchRomeo(a, g, adapters.WatchOpen)
				g.answer(g.request("SUBSCRIBE", seen), wire.Response{Code: code, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
				if s := next(t, done, "outcome"); s.Outcome != adapters.Success || s.State != adapters.WatchNeutral || s.Duration != 10*time.Minute {
					t.Errorf("%d: %+v", code, s)
				}
				for _, s := range a.subscribers.all() {
					s.mu.Lock()
					s.finish()
					s.mu.Unlock()
				}
			}
			c.mu.Lock()
			c.watch = func(*adapters.WatchOp) adapters.WatchStatus {
				return adapters.WatchStatus{Status: adapters.Accepted(), State: adapters.WatchPending}
			}
			c.mu.Unlock()
			if r := g.ask(subscribeText); r.StatusCode() != 200 {
				t.Errorf("we answer %d", r.StatusCode())
			}
		}},
	} {
		t.Run(row.section+" "+row.sentence[:40], row.test)
	}
}

// T-PR-14, S9: "A presence agent MUST authenticate all subscription requests" (RFC 3856 §6.6.1), and nothing is kept for one that is not.
func TestT_PR_14_Anonymous(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	for i, from := range []string{
		"<sip:anonymous@anonymous.invalid>;tag=x", "<sip:romeo@example.org>;tag=x", "<sip:juliet@example.com>;tag=x", "<sip:example.net>;tag=x",
		"<tel:+15551234>;tag=x", "<sips:romeo@example.net>;tag=x",
	} {
		text := strings.NewReplacer("<sip:romeo@example.net>;tag=romeo", from, "watch-1", "watch-x"+itoa(int64(i))).Replace(subscribeText)
		if r := g.ask(text); r.StatusCode() < 400 || r.StatusCode() >= 500 {
			t.Errorf("%s: %d", from, r.StatusCode())
		}
	}
	c.quiet(t)
	if n := a.notifiers.count(); n != 0 {
		t.Errorf("%d dialogs", n)
	}
}

// T-PR-08, T-PR-09: while nobody decides, a watch stays pending over refreshes, a poll says as much as is known, and the decision is told
// when it comes.
func TestT_PR_09_Undecided(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	r, id := establish(t, g, c, seen)
	for _, cseq := range []string{"8", "9"} {
		g.ask(within(r, cseq, "600"))
		next(t, c.watches, "refresh")
		m := g.request("NOTIFY", seen)
		if v, _ := m.Header("Subscription-State"); !strings.HasPrefix(v, "pending;expires=") || len(m.Body()) > 0 {
			t.Errorf("%s", m.Raw())
		}
		g.answer(m, wire.Response{Code: 200})
	}
	done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Change: adapters.AuthorizationGranted, Presence: document(t, "juliet@example.com", "open")})
	m := g.request("NOTIFY", seen)
	if v, _ := m.Header("Subscription-State"); !strings.HasPrefix(v, "active;expires=") || len(m.Body()) == 0 {
		t.Errorf("the decision: %s", m.Raw())
	}
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
	// A poll that is not answered by the other side: the empty truth, and over (RFC 6665 §4.4.3).
	g.ask(strings.NewReplacer("Expires: 600", "Expires: 0", "watch-1", "poll-1", "tag=romeo", "tag=poll").Replace(subscribeText))
	next(t, c.watches, "poll")
	m = g.request("NOTIFY", seen)
	fields(t, m, map[string]string{"Subscription-State": "terminated;reason=timeout", "Content-Type": "-"})
	g.answer(m, wire.Response{Code: 200})
	waitFor(t, func() bool { return a.notifiers.count() == 1 })
}

// T-PR-22, S10: who sends SUBSCRIBE requests never causes more than two messages for each: the answer and one NOTIFY (RFC 6665 §6.3).
func TestT_PR_22_Amplification(t *testing.T) {
	a, c := start(t, func(cfg *Config) { cfg.Limits.WatchesPerWatcher = 5 })
	g := udpAgent(t, a)
	in, out, octetsIn, octetsOut := 0, 0, 0, 0
	seen := map[string]bool{}
	take := func(m *wire.Message) {
		key := m.TopVia().Branch() + m.Method()
		if !m.IsRequest() || !seen[key] { // a NOTIFY again is the same message
			seen[key] = true
			out++
			octetsOut += len(m.Raw())
		}
		if m.IsRequest() {
			g.answer(m, wire.Response{Code: 200})
		}
	}
	send := func(text string) *wire.Message {
		in++
		g.send(text)
		octetsIn += g.sent
		for {
			m := g.read()
			take(m)
			if !m.IsRequest() {
				return m
			}
		}
	}
	var last *wire.Message
	for i := range 20 { // dialogs, polls, refusals, and refreshes as fast as they go
		n := itoa(int64(i))
		r := send(strings.NewReplacer("watch-1", "w-"+n, "tag=romeo", "tag=t"+n).Replace(subscribeText))
		if r.StatusCode() == 200 {
			last = r
		}
		send(strings.NewReplacer("watch-1", "p-"+n, "tag=romeo", "tag=p"+n, "Expires: 600", "Expires: 0").Replace(subscribeText))
		send(strings.NewReplacer("watch-1", last.CallID(), "tag=romeo", "tag="+last.From().Tag()).Replace(within(last, itoa(int64(10+i)), "600")))
	}
	for {
		m := g.readWithin(2 * graceOpen)
		if m == nil {
			break
		}
		take(m)
	}
	if out > 2*in {
		t.Errorf("%d messages out for %d in", out, in)
	}
	t.Logf("%d messages (%d octets) in, %d (%d octets) out", in, octetsIn, out, octetsOut)
	_ = c
}
