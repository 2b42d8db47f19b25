package sip

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// ledger is an adapters.Keeper in memory. What it holds at one moment is what a crash at that moment leaves.
type ledger struct {
	mu      sync.Mutex
	records map[string]adapters.Record
	saves   int
	held    []func(error) // with hold: those who wait for the disk
	hold    bool
}

func newLedger() *ledger { return &ledger{records: make(map[string]adapters.Record)} }

func (l *ledger) Save(of adapters.WatchID, name string, octets []byte, done func(error)) {
	l.mu.Lock()
	session := of.Session // as if the core knew every watch that it had
	of.Session = ""
	l.records[of.Watcher.String()+of.Presentity.String()+name] = adapters.Record{Of: of, Name: name, Octets: octets, Sessions: []string{session}}
	l.saves++
	hold := l.hold
	if hold && done != nil {
		l.held = append(l.held, done)
	}
	l.mu.Unlock()
	if !hold && done != nil {
		done(nil)
	}
}

func (l *ledger) Forget(of adapters.WatchID, name string, done func(error)) {
	l.mu.Lock()
	delete(l.records, of.Watcher.String()+of.Presentity.String()+name)
	hold := l.hold
	if hold && done != nil {
		l.held = append(l.held, done)
	}
	l.mu.Unlock()
	if !hold && done != nil {
		done(nil)
	}
}

func (l *ledger) all() (list []adapters.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		list = append(list, r)
	}
	return list
}

func (l *ledger) written() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.saves
}

// startKept is start with a store that holds records.
func startKept(t *testing.T, records []adapters.Record, change func(*Config)) (*Adapter, *core, *ledger) {
	t.Helper()
	l := newLedger()
	a, c := startWith(t, change, func(a *Adapter) {
		a.Keep(l)
		for _, r := range records {
			of := r.Of
			if len(r.Sessions) > 0 {
				of.Session = r.Sessions[0]
			}
			l.Save(of, r.Name, r.Octets, nil)
			a.Resume([]adapters.Record{r})
		}
	})
	return a, c, l
}

// recordOf is the record of a dialog.
func recordOf(tb testing.TB, d *Dialog) adapters.Record {
	tb.Helper()
	b, err := appendDialog(d)
	if err != nil {
		tb.Fatal(err)
	}
	name := storedNotifier + d.LocalTag
	if d.Role == Subscriber {
		name = storedSubscriber + d.LocalTag
	}
	return adapters.Record{Of: adapters.WatchID{Watcher: d.Watcher, Presentity: d.Presentity}, Name: name, Octets: b, Sessions: []string{d.Session}}
}

func number(t *testing.T, m *wire.Message) uint32 {
	t.Helper()
	n, _ := m.CSeq()
	return n
}

// "Requests within a dialog MUST contain strictly monotonically increasing and contiguous CSeq sequence numbers" (RFC 3261 §12.2.1.1): over
// kill -9 they go on, both dialogs are known, and neither user has done anything.
func TestDialogsGoOnAfterACrash(t *testing.T) {
	a, c, l := startKept(t, nil, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	r, id := establish(t, g, c, seen)
	for range 3 {
		done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", "open")})
		g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
		next(t, done, "outcome")
	}
	sub := open(t, a, c, g, seen, "600")
	records := l.all() // kill -9
	if len(records) != 2 {
		t.Fatalf("kept: %+v", records)
	}

	a, c, l = startKept(t, records, nil)
	g.to = a.Addrs()[0].Address
	done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive})
	m := g.request("NOTIFY", seen)
	fields(t, m, map[string]string{"Call-ID": "watch-1", "From": "<sip:juliet@example.com>;tag=" + r.To().Tag(), "To": "<sip:romeo@example.net>;tag=romeo"})
	if n := number(t, m); n <= 4 || n > 4+2*reserve {
		t.Errorf("CSeq %d", n)
	}
	g.answer(m, wire.Response{Code: 200})
	if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}
	if got := g.ask(within(r, "7", "600")); got.StatusCode() != 500 {
		t.Errorf("an old sequence number after the restart: %d", got.StatusCode())
	}
	if got := g.ask(within(r, "8", "600")); got.StatusCode() != 200 {
		t.Errorf("a refresh after the restart: %d %s", got.StatusCode(), got.ReasonPhrase())
	}
	if op := next(t, c.watches, "refresh"); op.Watch != id {
		t.Errorf("%+v", op)
	}
	g.early = nil
	if got := g.ask(notifyText(sub, "agent", "1", "active", "")); got.StatusCode() != 500 {
		t.Errorf("an old sequence number after the restart: %d", got.StatusCode())
	}
	if got := g.ask(notifyText(sub, "agent", "2", "active", "")); got.StatusCode() != 200 {
		t.Errorf("%d %s", got.StatusCode(), got.ReasonPhrase())
	}
	if op := next(t, c.notices, "notification"); op.Change != adapters.AuthorizationUnchanged {
		t.Errorf("an approval was told twice: %+v", op)
	}
	// The core asks for what it knows of, and the watch is refreshed in the same dialog.
	asked := watchRomeo(a, g, adapters.WatchOpen)
	for {
		m = g.readRequest(seen)
		if m.Method() == "SUBSCRIBE" {
			break
		}
		g.answer(m, wire.Response{Code: 200})
	}
	if m.CallID() != sub.CallID() || m.From().Tag() != sub.From().Tag() || m.To().Tag() != "agent" || number(t, m) <= number(t, sub) {
		t.Errorf("the refresh after the restart:\n%s", m.Raw())
	}
	g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
	next(t, asked, "outcome")
	if n := len(l.all()); n != 2 {
		t.Errorf("%d records", n)
	}
}

// readRequest is the next request that was not seen yet.
func (g *agent) readRequest(seen map[string]bool) *wire.Message {
	g.t.Helper()
	for {
		m := g.read()
		if m.IsRequest() && !seen[m.TopVia().Branch()] {
			seen[m.TopVia().Branch()] = true
			return m
		}
	}
}

// A notification costs no write.
func TestNotifyCostsNoWrite(t *testing.T) {
	a, c, l := startKept(t, nil, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	_, id := establish(t, g, c, seen)
	tell := func() uint32 {
		done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive})
		m := g.request("NOTIFY", seen)
		g.answer(m, wire.Response{Code: 200})
		next(t, done, "outcome")
		return number(t, m)
	}
	tell() // the approval, which is kept
	before := l.written()
	var last uint32
	for range 2 * reserve {
		last = tell()
	}
	if n := l.written() - before; n < 2 || n > 5 {
		t.Errorf("%d writes for %d notifications", n, 2*reserve)
	}
	d, err := parseDialog(l.all()[0].Octets)
	if err != nil || d.LocalCSeq <= last {
		t.Errorf("%v: the record has %d, %d was used", err, d.LocalCSeq, last)
	}
}

// What has to end after a restart ends with the right reason, and is forgotten.
func TestResumedEnds(t *testing.T) {
	for _, x := range []struct {
		name   string
		change func(*Dialog)
		state  string
		closes bool // the core is told
	}{
		{"T-PR-16 an end that was not told", func(d *Dialog) { d.State, d.End = adapters.WatchTerminated, adapters.EndRejected }, "terminated;reason=rejected", false},
		{"expired meanwhile", func(d *Dialog) { d.Expires = time.Now().Add(-time.Minute) }, "terminated;reason=timeout", true},
		{"both", func(d *Dialog) {
			d.State, d.End, d.Expires = adapters.WatchTerminated, adapters.EndNoResource, time.Now().Add(-time.Minute)
		}, "terminated;reason=noresource", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := lonelyAgent(t)
			d := *romeoWatchesJuliet()
			d.Peer, d.Source, d.Transport, d.Expires, d.State = "trunk", g.addr().String(), "udp", time.Now().Add(time.Hour), adapters.WatchActive
			d.RemoteTarget = "sip:romeo@" + g.addr().String()
			x.change(&d)
			_, c, l := startKept(t, []adapters.Record{recordOf(t, &d)}, nil)
			m := g.readRequest(map[string]bool{})
			fields(t, m, map[string]string{"Subscription-State": x.state, "CSeq": "2 NOTIFY", "Call-ID": d.CallID})
			g.answer(m, wire.Response{Code: 200})
			if x.closes {
				if op := next(t, c.watches, "end"); op.Verb != adapters.WatchClose || op.Watch != d.watchID() {
					t.Errorf("%+v", op)
				}
			}
			until(t, "the record is forgotten", func() bool { return len(l.all()) == 0 })
			c.quiet(t)
		})
	}
}

// lonelyAgent is an agent that knows no adapter yet.
func lonelyAgent(t *testing.T) *agent {
	t.Helper()
	a, _ := start(t, nil)
	return udpAgent(t, a)
}

// until waits for a state that a goroutine of the adapter brings.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(wait); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// romeosDialog is a dialog in which Juliet watches Romeo at g.
func romeosDialog(g *agent, left time.Duration) Dialog {
	return Dialog{
		Role: Subscriber, CallID: "sub-1", LocalTag: "sub1", RemoteTag: "agent", LocalURI: "sip:juliet@example.com", RemoteURI: "sip:romeo@example.net",
		LocalCSeq: 1500, RemoteCSeq: 3, HasRemoteCSeq: true, RemoteTarget: "sip:romeo@" + g.addr().String(), Contact: "sip:juliet@192.0.2.1", Event: "presence",
		Expires: time.Now().Add(left), Confirmed: true, State: adapters.WatchActive, Granted: true, Peer: "trunk",
		Watcher: julietsWatch.Watcher, Presentity: julietsWatch.Presentity, Session: julietsWatch.Session,
	}
}

// A watch that its presentity's side has given up meanwhile is opened anew (RFC 6665 §4.1.2.2); one that has expired is the core's to open.
func TestResumedWatchIsRefreshed(t *testing.T) {
	g := lonelyAgent(t)
	d := romeosDialog(g, 8*time.Second)
	_, c, l := startKept(t, []adapters.Record{recordOf(t, &d)}, func(cfg *Config) {
		cfg.NextHops = func(context.Context, cpim.Address) ([]resolver.Target, error) { return []resolver.Target{g.hop()}, nil }
	})
	seen := map[string]bool{}
	m := g.readRequest(seen)
	fields(t, m, map[string]string{"CSeq": "1501 SUBSCRIBE", "Expires": "3600", "Call-ID": "sub-1"})
	g.answer(m, wire.Response{Code: 481})
	m = g.readRequest(seen)
	if m.Method() != "SUBSCRIBE" || m.CallID() == "sub-1" || m.From().Tag() == "sub1" || m.To().Tag() != "" {
		t.Fatalf("a new dialog:\n%s", m.Raw())
	}
	g.answer(m, wire.Response{Code: 200, ToTag: "anew", Headers: []wire.Header{{Name: "Expires", Value: "3600"}, {Name: "Contact", Value: "<sip:romeo@" + g.addr().String() + ">"}}})
	until(t, "the new dialog is kept in place of the old", func() bool {
		list := l.all()
		if len(list) != 1 {
			return false
		}
		d, err := parseDialog(list[0].Octets)
		return err == nil && d.RemoteTag == "anew"
	})
	c.quiet(t)

	d = romeosDialog(g, -time.Minute)
	_, c, l = startKept(t, []adapters.Record{recordOf(t, &d)}, nil)
	if op := next(t, c.notices, "end"); op.State != adapters.WatchTerminated || op.End != adapters.EndTimeout || op.Change != adapters.AuthorizationUnchanged {
		t.Errorf("%+v", op)
	}
	until(t, "the record is forgotten", func() bool { return len(l.all()) == 0 })
}

// T-PR-16: a watch that was to end is ended after the restart, although nobody asks for it any more.
func TestResumedCloseIsSaid(t *testing.T) {
	g := lonelyAgent(t)
	d := romeosDialog(g, time.Hour)
	d.State = adapters.WatchTerminated
	a, c, l := startKept(t, []adapters.Record{recordOf(t, &d)}, nil)
	m := g.readRequest(map[string]bool{})
	fields(t, m, map[string]string{"CSeq": "1501 SUBSCRIBE", "Expires": "0", "Call-ID": "sub-1"})
	g.answer(m, wire.Response{Code: 200, ToTag: "agent", Headers: []wire.Header{{Name: "Expires", Value: "0"}, {Name: "Contact", Value: "<sip:romeo@" + g.addr().String() + ">"}}})
	g.to = a.Addrs()[0].Address
	if r := g.ask(notifyText(m, "agent", "4", "terminated;reason=timeout", "")); r.StatusCode() != 200 {
		t.Errorf("%d", r.StatusCode())
	}
	until(t, "the record is forgotten", func() bool { return len(l.all()) == 0 })
	c.quiet(t)
}

// Records that cannot be gone on with make no trouble: what is damaged is left alone, what no peer is for is forgotten.
func TestResumeLeavesOut(t *testing.T) {
	g := lonelyAgent(t)
	good, stranger, other := romeosDialog(g, time.Hour), romeosDialog(g, time.Hour), romeosDialog(g, time.Hour)
	stranger.Peer, stranger.LocalTag = "nobody", "sub2"
	damaged := recordOf(t, &good)
	damaged.Name, damaged.Octets = storedSubscriber+"sub3", []byte(`{"v":1}`)
	wrong := recordOf(t, &good)
	wrong.Name = storedNotifier + "sub1"
	other.LocalTag = "sub4" // a second dialog of the same watch
	unknown := adapters.Record{Of: damaged.Of, Name: "x-y", Octets: []byte("?")}
	a, c, l := startKept(t, []adapters.Record{damaged, recordOf(t, &stranger), wrong, unknown, recordOf(t, &good), recordOf(t, &other)}, nil)
	if n := a.subscribers.count() + a.notifiers.count(); n != 1 {
		t.Errorf("%d dialogs", n)
	}
	names := map[string]bool{}
	for _, r := range l.all() {
		names[r.Name] = true
	}
	if len(names) != 4 || names[storedSubscriber+"sub2"] || names[storedSubscriber+"sub4"] {
		t.Errorf("kept: %v", names)
	}
	c.quiet(t)
}

// An answer that the far side relies on waits for the disk, but not for a disk that does not answer.
func TestAnswersWaitForTheStore(t *testing.T) {
	a, c, l := startKept(t, nil, publishes)
	g := udpAgent(t, a)
	l.mu.Lock()
	l.hold = true
	l.mu.Unlock()
	seen := map[string]bool{}
	written := func() {
		t.Helper()
		g.nothingWithin(10*time.Millisecond, seen, "before it was kept")
		c.quiet(t)
		until(t, "it is being written", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.held) == 1 })
		l.mu.Lock()
		held := l.held[0]
		l.held = nil
		l.mu.Unlock()
		held(nil)
		held = nil
	}
	g.send(subscribeText)
	written()
	next(t, c.watches, "watch")
	if m := g.response(seen); m.StatusCode() != 200 {
		t.Errorf("%s", m.Raw())
	}
	g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
	g.send(publishAs(1, "600", "", documentText("romeo@example.net", "open")))
	written()
	if m := g.response(seen); m.StatusCode() != 200 {
		t.Errorf("%s", m.Raw())
	}

	synctest.Test(t, func(t *testing.T) {
		a := &Adapter{keeper: &ledger{records: map[string]adapters.Record{}, hold: true}}
		begin := time.Now()
		var answered atomic.Int32 // the timer's goroutine adds, and nothing orders that after the first look
		a.afterKept(julietsWatch, "x", []byte("y"), func() { answered.Add(1) })
		time.Sleep(keptWait - 1)
		synctest.Wait()
		if answered.Load() != 0 {
			t.Errorf("answered after %v", time.Since(begin))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		a.keeper.(*ledger).held[0](nil) // which changes nothing any more
		if n := answered.Load(); n != 1 {
			t.Errorf("answered %d times", n)
		}
	})
}

// T-PR-03, T-OV-09: 300,000 watches of an earlier process are taken up at the rate that is configured, those that end first at first.
func TestResumedAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count, rate = 300_000, 200
		q := newAlarms()
		defer q.stop()
		begin := time.Now()
		list := make([]resuming, count)
		for i := range list {
			list[i] = &resumed{alarms: q, end: begin.Add(time.Duration(i*7919%count) * 12 * time.Millisecond)}
		}
		var r resumption
		defer func() {
			// What is taken over by a gateway that has been running waits for no links: those before have had their turns by then.
			time.Sleep(count / rate * time.Second)
			late := &resumed{alarms: q, end: begin}
			now := time.Now()
			if r.add([]resuming{late}, rate); late.at.Before(now) || late.at.After(now.Add(2*time.Second/rate)) {
				t.Errorf("taken over, it has its turn after %v", late.at.Sub(now))
			}
		}()
		r.add(list[:count/2], rate)
		r.start(rate)
		r.add(list[count/2:], rate) // of a gateway that is gone, a moment later
		seconds := map[int64]int{}
		for _, x := range list {
			at := x.(*resumed).at
			seconds[int64(at.Sub(begin)/time.Second)]++
			if at.Before(begin.Add(resumeDelay)) {
				t.Fatalf("one was taken up after %v", at.Sub(begin))
			}
		}
		for s, n := range seconds {
			if n > rate+1 {
				t.Errorf("%d in second %d", n, s)
			}
		}
		if n := len(seconds); n < count/rate || n > count/rate+2 {
			t.Errorf("it takes %d s", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, x := range list {
			if !x.(*resumed).rang {
				t.Fatal("one was never taken up")
			}
		}
	})
}

// resumed notes when it is taken up.
type resumed struct {
	alarms  *alarms
	alarm   alarm
	end, at time.Time
	rang    bool
}

func (r *resumed) ends() time.Time { return r.end }

func (r *resumed) ring() { r.rang = true }

func (r *resumed) resume(at time.Time) {
	r.at = at
	r.alarms.set(&r.alarm, r, at)
}
