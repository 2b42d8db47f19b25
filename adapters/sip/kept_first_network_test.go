package sip

import (
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// writes lets all writes that wait for the disk be done.
func (l *ledger) writes() {
	l.mu.Lock()
	held := l.held
	l.held = nil
	l.mu.Unlock()
	for _, done := range held {
		done(nil)
	}
}

// holds has writes wait from now on.
func (l *ledger) holds() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = true
}

func (l *ledger) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

// T-FI-01: "A dialog" begins with the first NOTIFY (RFC 6665 §4.4.1), and ends with one: neither is acknowledged before it is on the disk. A notifier
// that has had its answer says nothing again, so a gateway that was killed then would have lost the dialog, or go on with one that is over.
func TestT_FI_01_DialogIsKeptBeforeNOTIFYIsAnswered(t *testing.T) {
	for _, c := range []struct{ name, state string }{
		{"it begins, pending", "pending;expires=600"},
		{"it begins, active", "active;expires=600"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _, l := startKept(t, nil, nil)
			g := udpAgent(t, a)
			done := watchRomeo(a, g, adapters.WatchOpen)
			seen := map[string]bool{}
			sub := g.request("SUBSCRIBE", seen)
			g.answer(sub, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}, {Name: "Contact", Value: "<sip:romeo@" + g.addr().String() + ">"}}})
			next(t, done, "outcome")
			l.holds()
			g.send(notifyText(sub, "agent", "1", c.state, ""))
			answeredWhenWritten(t, g, l, seen)
		})
	}
	for _, c := range []struct{ name, state string }{
		{"it ends, refused", "terminated;reason=rejected"},
		{"it ends", "terminated;reason=deactivated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, core, l := startKept(t, nil, nil)
			g := udpAgent(t, a)
			seen := map[string]bool{}
			sub := open(t, a, core, g, seen, "600")
			if len(l.all()) != 1 {
				t.Fatal("no dialog is kept")
			}
			l.holds()
			g.send(notifyText(sub, "agent", "9", c.state, ""))
			answeredWhenWritten(t, g, l, seen)
			if len(l.all()) != 0 {
				t.Errorf("kept: %s", l.all()[0].Octets)
			}
		})
	}
}

// answeredWhenWritten expects that a NOTIFY is answered with 200 when what it changed is on the disk, and not before.
func answeredWhenWritten(t *testing.T, g *agent, l *ledger, seen map[string]bool) {
	t.Helper()
	until(t, "something waits for the disk", func() bool { return l.waiting() > 0 })
	g.nothingWithin(20*time.Millisecond, seen, "before it was kept")
	l.writes()
	if m := g.response(seen); m.StatusCode() != 200 {
		t.Errorf("%s", m.Raw())
	}
}

// A dialog of an earlier process of which the gateway knows no watch is ended: its watch was over when the process was killed. The far side of one
// that we asked for is told by Expires 0; a watcher, so that it asks anew ("deactivated", RFC 6665 §4.1.3).
func TestDialogsOfNobodyAreEnded(t *testing.T) {
	t.Run("of a SIP presentity", func(t *testing.T) {
		g := lonelyAgent(t)
		d := romeosDialog(g, time.Hour)
		r := recordOf(t, &d)
		r.Sessions = nil
		a, c, l := startNobodys(t, r)
		m := g.readRequest(map[string]bool{})
		fields(t, m, map[string]string{"CSeq": "1501 SUBSCRIBE", "Expires": "0", "Call-ID": "sub-1"})
		g.to = a.Addrs()[0].Address
		g.answer(m, wire.Response{Code: 481})
		until(t, "the record is forgotten", func() bool { return len(l.all()) == 0 })
		c.quiet(t)
	})
	t.Run("of a SIP watcher", func(t *testing.T) {
		a, c, l := startKept(t, nil, nil)
		g := udpAgent(t, a)
		seen := map[string]bool{}
		establish(t, g, c, seen)
		r := l.all()[0]
		r.Sessions = []string{"another"}
		a, c, l = startNobodys(t, r)
		g.to = a.Addrs()[0].Address
		m := g.request("NOTIFY", seen)
		fields(t, m, map[string]string{"Subscription-State": "terminated;reason=deactivated"})
		g.answer(m, wire.Response{Code: 200})
		until(t, "the record is forgotten", func() bool { return len(l.all()) == 0 })
		c.quiet(t)
	})
}

func startNobodys(t *testing.T, r adapters.Record) (*Adapter, *core, *ledger) {
	t.Helper()
	l := newLedger()
	a, c := startWith(t, nil, func(a *Adapter) {
		a.Keep(l)
		l.Save(r.Of, r.Name, r.Octets, nil)
		a.Resume([]adapters.Record{r})
	})
	return a, c, l
}

// "Requests within a dialog MUST contain strictly monotonically increasing and contiguous CSeq sequence numbers" (RFC 3261 §12.2.1.1), over two crashes
// one soon after the other, too: a dialog of an earlier process sends nothing before its next numbers are on the disk.
func TestNumbersAreReservedBeforeTheyAreUsed(t *testing.T) {
	g := lonelyAgent(t)
	d := romeosDialog(g, time.Hour)
	r := recordOf(t, &d)
	l := newLedger()
	l.holds()
	a, _ := startWith(t, nil, func(a *Adapter) {
		a.Keep(l)
		a.Resume([]adapters.Record{r})
	})
	watchRomeo(a, g, adapters.WatchOpen)
	until(t, "the numbers wait for the disk", func() bool { return l.waiting() > 0 })
	if m := g.readWithin(20 * time.Millisecond); m != nil {
		t.Errorf("before its number was reserved:\n%s", m.Raw())
	}
	l.writes()
	m := g.readRequest(map[string]bool{})
	fields(t, m, map[string]string{"CSeq": "1501 SUBSCRIBE"})
	if kept, err := parseDialog(l.all()[0].Octets); err != nil || kept.LocalCSeq < 1501 {
		t.Errorf("kept: %+v, %v", kept, err)
	}
	g.answer(m, wire.Response{Code: 481})
}
