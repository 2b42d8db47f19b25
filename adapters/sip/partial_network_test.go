package sip

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/pidf"
)

func TestAcceptedForm(t *testing.T) {
	const whole, diff = "application/pidf+xml", "application/pidf-diff+xml"
	for _, x := range []struct {
		name, accept string
		want         form
	}{
		{"none", "-", formWhole},
		{"empty", "", formNone},
		{"whole", whole, formWhole},
		{"both alike", whole + ", " + diff, formPartial},
		// "the presence agent SHOULD base the decision on those preferences" (RFC 5263 §4.3)
		{"the example of RFC 5263", whole + ";q=0.3, " + diff + ";q=1", formPartial},
		{"whole rather", whole + ", " + diff + ";q=0.3", formWhole},
		{"diff not at all", whole + ";q=0.1, " + diff + ";q=0", formWhole},
		{"diff alone", diff, formPartial},
		{"diff by no name", "application/*", formWhole},
		{"anything but whole", "*/*, " + whole + ";q=0", formNone},
		{"the more a range says the more it counts", "*/*;q=0, application/*;q=0.2", formWhole},
		{"capitals", "Application/PIDF+XML;Q=0.9", formWhole},
		{"q is no number", whole + ";q=high", formWhole},
		{"q out of range", whole + ";q=-1", formWhole},
		{"another", "text/plain, application/xpidf+xml", formNone},
	} {
		text := strings.Replace(subscribeText, "Accept: "+whole+"\n", "Accept: "+x.accept+"\n", 1)
		if x.accept == "-" {
			text = strings.Replace(subscribeText, "Accept: "+whole+"\n", "", 1)
		}
		text = strings.Replace(strings.Replace(text, "HOST", "127.0.0.1", 1), "\nSUBSCRIBE sip:juliet@example.com SIP/2.0\n",
			"SUBSCRIBE sip:juliet@example.com SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\n", 1)
		if got := acceptedForm(request(t, text)); got != x.want {
			t.Errorf("%s: form %d, want %d", x.name, got, x.want)
		}
	}
}

// RFC 5263 §4.4, as notifier.
func TestNotifierPartial(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	text := strings.Replace(subscribeText, "Accept: application/pidf+xml", "Accept: application/pidf+xml;q=0.3, application/pidf-diff+xml;q=1", 1)
	r := g.ask(text)
	id := next(t, c.watches, "watch").Watch
	g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
	var copied pidf.PartialCopy
	three := func(basic string) *pidf.Presence {
		p := document(t, "juliet@example.com", basic)
		for _, id := range []string{"one", "two", "three"} {
			p.Tuples = append(p.Tuples, pidf.Tuple{ID: pidf.MustParseID(id), Status: pidf.Status{Basic: pidf.BasicOpen}})
		}
		return p
	}
	tell := func(p *pidf.Presence, code int) *pidf.Partial {
		t.Helper()
		done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: p})
		m := g.request("NOTIFY", seen)
		fields(t, m, map[string]string{"Content-Type": "application/pidf-diff+xml"})
		g.answer(m, wire.Response{Code: code})
		next(t, done, "outcome")
		d, err := pidf.ParsePartial(m.Body())
		if err != nil {
			t.Fatal(err)
		}
		if code == 200 {
			if got, err := copied.Apply(d); err != nil || !got.Equal(p) {
				t.Fatalf("%v\n%s", err, m.Body())
			}
		}
		return d
	}
	for i, x := range []struct {
		name  string
		basic string
		code  int
		diff  bool
	}{
		{"the first is whole", "open", 200, false},
		{"then what changed", "closed", 200, true},
		{"a diff that fails", "open", 500, true},
		{"is followed by a whole one", "open", 200, false},
		{"and that by a diff", "closed", 200, true},
	} {
		if d := tell(three(x.basic), x.code); d.IsDiff() != x.diff || d.Version != uint32(i+1) {
			t.Errorf("%s: diff %v, version %d", x.name, d.IsDiff(), d.Version)
		}
	}
	// "When the PA receives a SUBSCRIBE request (refresh or termination) within the associated subscription, it SHOULD send a NOTIFY
	// request containing the full presence document."
	again := func(cseq, accept string) {
		t.Helper()
		if got := g.ask(strings.Replace(within(r, cseq, "600"), "Accept: application/pidf+xml", "Accept: "+accept, 1)); got.StatusCode() != 200 {
			t.Fatal(got.StatusCode())
		}
		next(t, c.watches, "refresh")
	}
	again("8", "application/pidf-diff+xml, application/pidf+xml")
	g.early = nil
	if d := tell(three("closed"), 200); d.IsDiff() || d.Version != 6 {
		t.Errorf("after a refresh: diff %v, version %d", d.IsDiff(), d.Version)
	}
	// The state outlives a restart: version numbers never go back.
	for _, n := range a.notifiers.all() {
		n.mu.Lock()
		d := n.d.reserved()
		n.mu.Unlock()
		if !d.Partial || d.PartialVersion != 6+reserve {
			t.Errorf("kept: %+v", d)
		}
	}
	// RFC 3856 §6.7: "one of the types listed in the Accept header field in the most recent SUBSCRIBE request".
	again("9", "application/pidf+xml")
	done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: three("open")})
	m := g.request("NOTIFY", seen)
	fields(t, m, map[string]string{"Content-Type": "application/pidf+xml"})
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
}

// RFC 5263 §4.5, as watcher.
func TestSubscriberPartial(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		peer := loopback
		peer.PartialPresence = true
		cfg.Peers = []Peer{peer}
	})
	g := udpAgent(t, a)
	seen := map[string]bool{}
	sub := open(t, a, c, g, seen, "600")
	fields(t, sub, map[string]string{"Accept": "application/pidf-diff+xml, application/pidf+xml;q=0.9, " + acceptedSealed})
	var maker pidf.PartialMaker
	cseq := 1
	send := func(body string) *adapters.NotifyOp {
		t.Helper()
		cseq++
		text := strings.Replace(notifyText(sub, "agent", fmt.Sprint(cseq), "active;expires=600", body), "pidf+xml", "pidf-diff+xml", 1)
		if r := g.ask(text); r.StatusCode() != 200 {
			t.Fatalf("%d %s", r.StatusCode(), r.ReasonPhrase())
		}
		return next(t, c.notices, "notification")
	}
	make := func(basic string) string {
		p := document(t, "romeo@example.net", basic)
		for _, id := range []string{"one", "two", "three"} {
			p.Tuples = append(p.Tuples, pidf.Tuple{ID: pidf.MustParseID(id), Status: pidf.Status{Basic: pidf.BasicOpen}})
		}
		b, err := maker.Append(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	shows := func(op *adapters.NotifyOp, want string) {
		t.Helper()
		if op.Presence == nil || op.Presence.Tuple(pidf.MustParseID("ID-balcony")).Status.Basic.String() != want || len(op.Presence.Tuples) != 4 || !op.Whole {
			t.Errorf("%+v, want %s", op, want)
		}
	}
	first := make("open")
	shows(send(first), "open")
	shows(send(make("closed")), "closed")
	// "equal or lower than the locally stored version number ... the watcher SHOULD discard the document"
	if op := send(first); op.Presence != nil {
		t.Errorf("an old document was taken: %+v", op)
	}
	// "the watcher assumes that one or more NOTIFYs were lost. The watcher SHOULD either refresh the subscription in order to receive a
	// full presence document".
	make("open")
	if op := send(make("closed")); op.Presence != nil {
		t.Errorf("a document was taken over a gap: %+v", op)
	}
	answer := func(accept string) {
		t.Helper()
		m := g.request("SUBSCRIBE", seen)
		fields(t, m, map[string]string{"Accept": accept, "Call-ID": sub.CallID()})
		g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	}
	answer("application/pidf-diff+xml, application/pidf+xml;q=0.9, " + acceptedSealed)
	maker.Reset()
	shows(send(make("open")), "open")
	// T-ID-07: one about somebody else is refused, and what was told before is not believed for ever.
	maker.Reset()
	cseq++
	other := strings.ReplaceAll(make("open"), "romeo@example.net", "tybalt@example.net")
	if r := g.ask(strings.Replace(notifyText(sub, "agent", fmt.Sprint(cseq), "active;expires=600", other), "pidf+xml", "pidf-diff+xml", 1)); r.StatusCode() != 403 {
		t.Errorf("%d to a document about somebody else", r.StatusCode())
	}
	if op := next(t, c.notices, "that something was said and refused"); op.Presence != nil || !op.Whole || op.State != adapters.WatchActive {
		t.Errorf("%+v", op)
	}
	maker.Reset()
	shows(send(make("open")), "open")
	// What cannot be applied is not asked for again.
	if op := send(strings.Replace(make("closed"), "ID-balcony&quot;]", "nobody&quot;]", 1)); op.Presence != nil {
		t.Errorf("a document that does not fit was taken: %+v", op)
	}
	answer("application/pidf+xml, " + acceptedSealed)
	cseq++
	if r := g.ask(strings.Replace(notifyText(sub, "agent", fmt.Sprint(cseq), "active", make("open")), "pidf+xml", "pidf-diff+xml", 1)); r.StatusCode() != 415 {
		t.Errorf("%d to what was not asked for", r.StatusCode())
	}
	if op := next(t, c.notices, "that something was said and not understood"); op.Presence != nil || !op.Whole || op.State != adapters.WatchActive {
		t.Errorf("%+v", op)
	}
	c.quiet(t)
}

// RFC 3856 §6.10: "A PA SHOULD NOT generate notifications for a single presentity at a rate of more than once every five seconds."
func TestNotifierRate(t *testing.T) {
	const interval = 5 * time.Second // what must go out at once does so in less, on a slow machine too
	a, c := start(t, func(cfg *Config) { cfg.Limits.NotifyInterval = interval })
	g := udpAgent(t, a)
	seen := map[string]bool{}
	r, id := establish(t, g, c, seen)
	send := func(basic string) <-chan adapters.Status {
		return notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", basic)})
	}
	take := func(want string) {
		t.Helper()
		m := g.request("NOTIFY", seen)
		if !strings.Contains(string(m.Body()), want) {
			t.Errorf("%s, want %s", m.Raw(), want)
		}
		g.answer(m, wire.Response{Code: 200})
	}
	first := send("open")
	began := time.Now()
	take("open")
	next(t, first, "outcome")
	second := send("closed")
	n := a.notifiers.find(id.Session)
	waitFor(t, func() bool { n.mu.Lock(); defer n.mu.Unlock(); return n.sending })
	third := send("open")
	if s := next(t, second, "outcome"); s.Outcome != adapters.Indeterminate {
		t.Errorf("%+v for one that a newer replaced", s)
	}
	take("open")
	next(t, third, "outcome")
	if d := time.Since(began); d < interval-interval/6 {
		t.Errorf("the second document went out after %v", d)
	}
	// A caller whose patience is shorter than the interval learns nothing bad of the watcher, and the document goes out.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if s := a.Notify(ctx, nil, &adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "closed")}); s.Outcome != adapters.Indeterminate {
		t.Errorf("%+v", s)
	}
	take("closed")
	waitFor(t, func() bool { n.mu.Lock(); defer n.mu.Unlock(); return !n.sending })
	// A refresh is answered at once, and so is the end.
	began = time.Now()
	fourth := send("closed")
	waitFor(t, func() bool { n.mu.Lock(); defer n.mu.Unlock(); return n.sending })
	fifth := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchTerminated, End: adapters.EndTimeout})
	m := g.request("NOTIFY", seen)
	fields(t, m, map[string]string{"Subscription-State": "terminated;reason=timeout"})
	g.answer(m, wire.Response{Code: 200})
	next(t, fourth, "outcome")
	next(t, fifth, "outcome")
	if d := time.Since(began); d > interval-interval/6 {
		t.Errorf("the end went out after %v", d)
	}
	_ = r
}

// A peer whose documents may have known faults makes partial ones with the same faults: full ones, and what its diffs make of them. Strictly each is
// refused, so that nobody would ever be told anything of its users.
func TestSubscriberPartialLenient(t *testing.T) {
	const full = `<?xml version="1.0" encoding="UTF-8"?>
<p:pidf-full xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" entity="sip:romeo@example.net" version="1">` +
		`<note>here</note><tuple id="4109"><status><basic>OPEN</basic></status></tuple></p:pidf-full>`
	const diff = `<?xml version="1.0" encoding="UTF-8"?>
<p:pidf-diff xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" entity="sip:romeo@example.net" version="2">` +
		`<p:replace sel="*/tuple[@id='4109']/status/basic/text()">unknown</p:replace></p:pidf-diff>`
	for _, lenient := range []bool{false, true} {
		a, c := start(t, func(cfg *Config) {
			peer := loopback
			peer.PartialPresence, peer.LenientPresence = true, lenient
			cfg.Peers = []Peer{peer}
		})
		g := udpAgent(t, a)
		sub := open(t, a, c, g, map[string]bool{}, "600")
		send := func(cseq, body string) int {
			text := strings.Replace(notifyText(sub, "agent", cseq, "active;expires=600", body), "pidf+xml", "pidf-diff+xml", 1)
			return g.ask(text).StatusCode()
		}
		if !lenient {
			if code := send("2", full); code != 400 {
				t.Errorf("strictly: %d", code)
			}
			continue
		}
		for cseq, x := range []struct{ body, want string }{{full, "ID-4109=open"}, {diff, "ID-4109=closed"}} { // of an unknown status nobody is there
			if code := send(fmt.Sprint(cseq+2), x.body); code != 200 {
				t.Fatalf("document %d: %d", cseq+1, code)
			}
			op := next(t, c.notices, "notification")
			if op.Presence == nil || basics(op.Presence) != x.want {
				t.Fatalf("document %d: %+v", cseq+1, op.Presence)
			}
			if _, err := op.Presence.Append(nil); err != nil {
				t.Errorf("document %d cannot be told: %v", cseq+1, err)
			}
		}
		if code := send("4", strings.NewReplacer("romeo@", "tybalt@", `version="1"`, `version="3"`).Replace(full)); code != 403 {
			t.Errorf("about somebody else: %d", code)
		}
	}
}
