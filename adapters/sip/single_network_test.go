package sip

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// devices is Juliet's document with a tuple for each "resource basic show note".
func devices(stamp int, of ...string) *pidf.Presence {
	p := &pidf.Presence{Entity: pidf.MustParseURI("pres:juliet@example.com")}
	for _, line := range of {
		f := strings.Fields(line)
		u := pidf.Tuple{ID: pidf.TupleID(f[0]), Status: pidf.Status{Basic: pidf.BasicOpen}, Notes: []pidf.Note{{Text: f[3]}}}
		if f[1] == "closed" {
			u.Status.Basic = pidf.BasicClosed
		}
		u.Status.Show, _ = pidf.ParseShow(f[2])
		u.Timestamp = datetime.FromTime(time.Unix(int64(stamp), 0).UTC())
		p.Tuples = append(p.Tuples, u)
	}
	return p
}

// onlyTuple says that the document in m has one tuple, under the id of the bare address, and returns its note.
func onlyTuple(t *testing.T, octets []byte) string {
	t.Helper()
	p, err := pidf.Parse(octets)
	if err != nil {
		t.Fatalf("%v\n%s", err, octets)
	}
	if len(p.Tuples) != 1 || p.Tuples[0].ID != pidf.TupleID("") {
		t.Fatalf("want one tuple, that of the bare address:\n%s", octets)
	}
	if p.Tuples[0].Status.Basic == pidf.BasicClosed {
		return "closed " + p.Tuples[0].Notes[0].Text
	}
	return p.Tuples[0].Notes[0].Text
}

func singleTuple(peer Peer, single bool) func(*Config) {
	peer.SingleTuple = single
	return func(c *Config) { c.Peers = []Peer{peer} }
}

// T-CP-06: a watcher of a peer for one tuple is told the best of the user's devices as they come and go, always under the same id, and hears
// nothing where what changed is not in it. T-FI-22: a reload changes the form of the next document, both ways.
func TestSingleTuple(t *testing.T) {
	a, c := start(t, singleTuple(loopback, true))
	g := udpAgent(t, a)
	seen := map[string]bool{}
	r, id := establish(t, g, c, seen)
	stamp := 0
	say := func(of ...string) <-chan adapters.Status {
		stamp++
		return notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: devices(stamp, of...)})
	}
	tell := func(want string, code int, of ...string) {
		t.Helper()
		done := say(of...)
		m := g.request("NOTIFY", seen)
		fields(t, m, map[string]string{"Content-Type": "application/pidf+xml"})
		if got := onlyTuple(t, m.Body()); got != want {
			t.Errorf("%v: told %q, want %q", of, got, want)
		}
		g.answer(m, wire.Response{Code: code})
		next(t, done, "outcome")
	}
	silent := func(of ...string) {
		t.Helper()
		// What was not sent has succeeded: there is nothing that the watcher does not know.
		if s := next(t, say(of...), "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%v: %+v", of, s)
		}
	}
	tell("a1", 200, "a open away a1")
	silent("a open away a1", "b open dnd b1")
	silent("a open away a1", "b open xa b2")
	tell("b3", 200, "a open away a1", "b open chat b3")
	silent("a open dnd a2", "b open chat b3")
	tell("a2", 200, "a open dnd a2", "b closed - b4")
	silent("a open dnd a2")
	tell("closed a3", 200, "a closed - a3")
	// What failed is told again, whatever is the same in it.
	tell("a4", 500, "a open - a4")
	tell("a4", 200, "a open - a4", "b open away b5")
	// So is what the watcher asks for.
	g.ask(within(r, "8", "600"))
	next(t, c.watches, "refresh")
	g.early = nil
	tell("a4", 200, "a open - a4", "b open away b5")

	reload := func(single bool) {
		t.Helper()
		change, err := a.Prepare(t.Context(), reloaded(singleTuple(loopback, single)))
		if err != nil {
			t.Fatal(err)
		}
		change.Commit()
	}
	reload(false)
	for range 2 { // every one is told, also where it says what was said
		done := say("a open - a4", "b open away b5")
		m := g.request("NOTIFY", seen)
		if p, err := pidf.Parse(m.Body()); err != nil || basics(p) != "ID-a=open ID-b=open" {
			t.Errorf("%v: %s", err, m.Body())
		}
		g.answer(m, wire.Response{Code: 200})
		next(t, done, "outcome")
	}
	reload(true)
	tell("a4", 200, "a open - a4", "b open away b5")
	silent("a open - a4", "b open away b6")
	// Nothing known is closed to who reads one tuple: it would go on showing what was there.
	done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: devices(stamp)})
	m := g.request("NOTIFY", seen)
	if p, err := pidf.Parse(m.Body()); err != nil || basics(p) != "ID-=closed" {
		t.Errorf("%v: %s", err, m.Body())
	}
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
	if m := g.readWithin(50 * time.Millisecond); m != nil && !seen[m.TopVia().Branch()] {
		t.Errorf("told besides:\n%s", m.Raw())
	}
}

// RFC 5263 §4.4: a copy that is kept by partial documents has the one tuple too, and a document that is not sent leaves no gap.
func TestSingleTuplePartial(t *testing.T) {
	a, c := start(t, singleTuple(loopback, true))
	g := udpAgent(t, a)
	seen := map[string]bool{}
	g.ask(strings.Replace(subscribeText, "Accept: application/pidf+xml", "Accept: application/pidf+xml;q=0.3, application/pidf-diff+xml;q=1", 1))
	id := next(t, c.watches, "watch").Watch
	g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
	var copied pidf.PartialCopy
	for i, x := range []struct {
		of   []string
		told string // "" for not at all
	}{
		{[]string{"a open away a"}, "open"},
		{[]string{"a open away a", "b open dnd b"}, ""},
		{[]string{"a closed - a"}, "closed"},
		{[]string{"b open dnd b"}, "open"},
	} {
		doc := devices(i, x.of...)
		doc.Notes = []pidf.Note{{Text: strings.Repeat("n", 250)}} // it stays, so that a diff is shorter
		done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: doc})
		if x.told != "" {
			m := g.request("NOTIFY", seen)
			fields(t, m, map[string]string{"Content-Type": "application/pidf-diff+xml"})
			part, err := pidf.ParsePartial(m.Body())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := copied.Apply(part); err != nil || !got.Equal(doc.Single()) || basics(got) != "ID-="+x.told {
				t.Fatalf("%d: %v\n%s", i, err, m.Body())
			}
			if i == 2 && !part.IsDiff() {
				t.Errorf("no diff, though it is shorter:\n%s", m.Body())
			}
			g.answer(m, wire.Response{Code: 200})
		}
		if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%d: %+v", i, s)
		}
	}
}

// What is published to such a peer has one tuple too, and is not published again for what is not in it (RFC 3903 §4.4).
func TestSingleTuplePublished(t *testing.T) {
	first, _ := start(t, nil)
	g := udpAgent(t, first)
	a, c := start(t, func(cfg *Config) {
		singleTuple(loopback, true)(cfg)
		cfg.PublishTo = []PublishTo{{Peer: "trunk", Hop: g.hop(), Watcher: "presence@example.net", Users: []string{"juliet@example.com"}}}
	})
	op := next(t, c.watches, "watch")
	seen := map[string]bool{}
	stamp := 0
	say := func(of ...string) <-chan adapters.Status {
		stamp++
		return notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Presence: devices(stamp, of...)})
	}
	tell := func(want string, answer wire.Response, of ...string) {
		t.Helper()
		done := say(of...)
		m := g.request("PUBLISH", seen)
		if got := onlyTuple(t, m.Body()); got != want {
			t.Errorf("%v: published %q, want %q", of, got, want)
		}
		g.answer(m, answer)
		next(t, done, "outcome")
	}
	tell("a1", etagged("one", "1800"), "a open - a1")
	if s := next(t, say("a open - a1", "b open away b1"), "outcome"); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}
	tell("b2", wire.Response{Code: 500}, "a open - a1", "b open chat b2")
	tell("b2", etagged("two", "1800"), "a open away a2", "b open chat b2") // the first was not taken
	change, err := a.Prepare(t.Context(), reloaded(singleTuple(loopback, false)))
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	done := say("a open away a2", "b open chat b2")
	m := g.request("PUBLISH", seen)
	if p, err := pidf.Parse(m.Body()); err != nil || basics(p) != "ID-a=open ID-b=open" {
		t.Errorf("%v: %s", err, m.Body())
	}
	g.answer(m, etagged("three", "1800"))
	next(t, done, "outcome")
}
