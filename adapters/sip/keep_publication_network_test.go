package sip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// A publication outlives the process with its entity-tag: "the ESC MUST reject the publication with a response of 412 (Conditional Request
// Failed)" (RFC 3903 §6 step 3) only where none is stored.
func TestPublicationsGoOnAfterACrash(t *testing.T) {
	a, _, l := startKept(t, nil, publishes)
	g := udpAgent(t, a)
	phone := strings.ReplaceAll(documentText("romeo@example.net", "open"), "ID-balcony", "phone")
	desk := strings.ReplaceAll(documentText("romeo@example.net", "closed"), "ID-balcony", "desk")
	first := etagOf(t, g.ask(publishAs(1, "600", "", phone)))
	second := etagOf(t, g.ask(publishAs(2, "600", "", desk)))
	gone := etagOf(t, g.ask(publishAs(3, "600", "", phone)))
	g.ask(publishAs(4, "0", gone, ""))
	first = etagOf(t, g.ask(publishAs(5, "600", first, "")))
	records := l.all()
	if len(records) != 2 {
		t.Fatalf("kept: %+v", records)
	}

	a, c, l := startKept(t, records, publishes)
	g.to = a.Addrs()[0].Address
	if op := watchPublished(t, a, c, adapters.WatchOpen); basics(op.Presence) != "phone=open desk=closed" {
		t.Errorf("after the restart: %s", basics(op.Presence))
	}
	r := g.ask(publishAs(6, "600", second, ""))
	fields(t, r, map[string]string{"Expires": "600"})
	if r.StatusCode() != 200 {
		t.Errorf("%d %s", r.StatusCode(), r.ReasonPhrase())
	}
	if r := g.ask(publishAs(7, "0", first, "")); r.StatusCode() != 200 {
		t.Errorf("%d %s", r.StatusCode(), r.ReasonPhrase())
	}
	if op := next(t, c.notices, "notification"); basics(op.Presence) != "desk=closed phone=closed" {
		t.Errorf("%s", basics(op.Presence))
	}
	if n := len(l.all()); n != 1 {
		t.Errorf("%d records", n)
	}
	for i, etag := range []string{gone, first} {
		if r := g.ask(publishAs(8+i, "600", etag, "")); r.StatusCode() != 412 {
			t.Errorf("%d for an entity-tag that is over", r.StatusCode())
		}
	}

	// What expired meanwhile is gone, and so is what is not published here any more.
	u, err := parseUploaded(l.all()[0].Octets)
	if err != nil {
		t.Fatal(err)
	}
	last := l.all()[0]
	u.until = time.Now().Add(-time.Second)
	if last.Octets, err = appendUploaded(&u); err != nil {
		t.Fatal(err)
	}
	a, _, l = startKept(t, []adapters.Record{last}, publishes)
	if n := a.compositor.count() + len(l.all()); n != 0 {
		t.Errorf("%d publications and records", n)
	}
	a, _, l = startKept(t, records, nil)
	if n := a.compositor.count() + len(l.all()); n != 0 {
		t.Errorf("%d publications and records of a domain that is not published here", n)
	}
}

// What was published to a presence server is modified after a restart, not published beside it; who joined by himself is still there.
func TestPublishedToGoesOnAfterACrash(t *testing.T) {
	g := lonelyAgent(t)
	toServer := func(cfg *Config) {
		cfg.PublishTo = []PublishTo{{Peer: "trunk", Hop: g.hop(), Watcher: "presence@example.net"}}
	}
	id := adapters.WatchID{Watcher: pres("presence@example.net"), Presentity: pres("juliet@example.com")}
	a, c, l := startKept(t, nil, toServer)
	if s := a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: id.Presentity, Presentity: id.Watcher}}); s.Outcome != adapters.Success {
		t.Fatalf("%+v", s)
	}
	next(t, c.notices, "approval")
	id = next(t, c.watches, "watch").Watch
	seen := map[string]bool{}
	publish := func(a *Adapter, basic, etag, answer string) {
		t.Helper()
		done := notify(a, g, adapters.NotifyOp{Watch: id, State: adapters.WatchActive, Presence: document(t, "juliet@example.com", basic)})
		m := g.request("PUBLISH", seen)
		fields(t, m, map[string]string{"SIP-If-Match": etag})
		doc, err := pidf.Parse(m.Body())
		if err != nil || doc.Tuples[0].Status.Basic.String() != basic {
			t.Errorf("%v %s", err, m.Body())
		}
		g.answer(m, wire.Response{Code: 200, Headers: []wire.Header{{Name: "SIP-ETag", Value: answer}, {Name: "Expires", Value: "600"}}})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%+v", s)
		}
	}
	publish(a, "open", "-", "one")
	until(t, "the entity-tag is kept", func() bool { return strings.Contains(fmt.Sprintf("%s", l.all()), `"one"`) })
	records := l.all()

	a, c, l = startKept(t, records, toServer)
	if op := next(t, c.watches, "watch"); op.Watch != id || op.Verb != adapters.WatchOpen {
		t.Errorf("%+v", op)
	}
	publish(a, "closed", "one", "two")
	// Who leaves is forgotten, once the server has been told.
	a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: adapters.WatchCancel, Watch: adapters.WatchID{Watcher: id.Presentity, Presentity: id.Watcher}})
	m := g.request("PUBLISH", seen)
	fields(t, m, map[string]string{"SIP-If-Match": "two", "Expires": "0"})
	records = l.all() // in this moment

	a, _, l = startKept(t, records, toServer)
	again := g.readRequest(seen)
	fields(t, again, map[string]string{"SIP-If-Match": "two", "Expires": "0"})
	g.to = a.Addrs()[0].Address
	g.answer(again, wire.Response{Code: 412})
	until(t, "nothing is kept", func() bool { return len(l.all()) == 0 && a.publishers.count() == 0 })
}
