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

// publishes opens example.net for publications that everyone may watch.
func publishes(cfg *Config) { cfg.Published = []Published{{Domain: "example.net", Everyone: true}} }

// publishText is a PUBLISH of Romeo for himself.
const publishText = `
PUBLISH sip:romeo@example.net SIP/2.0
Max-Forwards: 70
To: <sip:romeo@example.net>
From: <sip:romeo@example.net>;tag=romeo
Call-ID: publish-1
CSeq: 1 PUBLISH
Event: presence
Expires: 600
Content-Type: application/pidf+xml

BODY`

// publishAs is a PUBLISH with these values: "" for Expires or etag leaves the field out, "" for the body too.
func publishAs(n int, expires, etag, body string) string {
	text := strings.Replace(publishText, "CSeq: 1 ", fmt.Sprintf("CSeq: %d ", n), 1)
	text = strings.Replace(text, "publish-1", fmt.Sprintf("publish-%d", n), 1)
	if expires == "" {
		text = strings.Replace(text, "Expires: 600\n", "", 1)
	}
	text = strings.Replace(text, "Expires: 600", "Expires: "+expires, 1)
	if etag != "" {
		text = strings.Replace(text, "Event:", "SIP-If-Match: "+etag+"\nEvent:", 1)
	}
	if body == "" {
		text = strings.Replace(text, "Content-Type: application/pidf+xml\n", "", 1)
	}
	return strings.Replace(text, "BODY", body, 1)
}

func etagOf(t *testing.T, r *wire.Message) string {
	t.Helper()
	v, _ := r.Header("SIP-ETag")
	if r.StatusCode() != 200 || v == "" {
		t.Fatalf("no entity-tag: %s", r.Raw())
	}
	return v
}

// watchPublished opens Juliet's watch of Romeo, which needs no next hop, and takes what she is told.
func watchPublished(t *testing.T, a *Adapter, c *core, verb adapters.WatchVerb) *adapters.NotifyOp {
	t.Helper()
	s := a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: verb, Watch: julietsWatch, Duration: time.Hour, Hops: 70})
	if s.Outcome != adapters.Success {
		t.Fatalf("%+v", s)
	}
	return next(t, c.notices, "notification")
}

// basics is what a document says, by tuple: "id=open".
func basics(p *pidf.Presence) string {
	var list []string
	for i := range p.Tuples {
		list = append(list, p.Tuples[i].ID.String()+"="+p.Tuples[i].Status.Basic.String())
	}
	return strings.Join(list, " ")
}

func TestPublishLife(t *testing.T) {
	a, c := start(t, publishes)
	g := udpAgent(t, a)
	if op := watchPublished(t, a, c, adapters.WatchAsk); op.State != adapters.WatchActive || op.Change != adapters.AuthorizationGranted ||
		!op.Whole || basics(op.Presence) != pidf.TupleID("").String()+"=closed" {
		t.Errorf("before any publication: %+v", op)
	}
	told := func(want string) *pidf.Presence {
		t.Helper()
		op := next(t, c.notices, "notification")
		if got := basics(op.Presence); got != want || op.Watch != julietsWatch || op.State != adapters.WatchActive {
			t.Errorf("told %q in %+v, want %q", got, op, want)
		}
		return op.Presence
	}
	doc := func(id, basic, stamp string) string {
		s := strings.Replace(documentText("romeo@example.net", basic), "ID-balcony", id, 1)
		if stamp != "" {
			s = strings.Replace(s, "</tuple>", "<timestamp>"+stamp+"</timestamp></tuple>", 1)
		}
		return s
	}

	// "The response MUST contain an Expires header field indicating the expiration interval chosen by the ESC. The response MUST also
	// contain a SIP-ETag header field that contains a single entity-tag" (RFC 3903 §6).
	r := g.ask(publishAs(1, "600", "", doc("phone", "open", "2030-01-01T12:00:00Z")))
	fields(t, r, map[string]string{"Expires": "600", "Contact": "-", "Record-Route": "-"})
	phone := etagOf(t, r)
	told("phone=open")

	// A refresh has no body, changes nothing, and gets a new entity-tag: "The ESC MUST generate a new entity-tag for each successful
	// publication, replacing any previous entity-tag" (RFC 3903 §6).
	r = g.ask(publishAs(2, "", phone, ""))
	fields(t, r, map[string]string{"Expires": "3600"})
	if etagOf(t, r) == phone {
		t.Error("the entity-tag is the old one")
	}
	if old := g.ask(publishAs(3, "600", phone, "")); old.StatusCode() != 412 {
		t.Errorf("the old entity-tag: %d", old.StatusCode())
	}
	phone = etagOf(t, r)
	c.quiet(t)

	// A second device, and a modification of the first by a clock that is behind: the newest timestamp never goes back (RFC 3863 §6).
	r = g.ask(publishAs(4, "600", "", doc("desk", "open", "")))
	desk := etagOf(t, r)
	both := told("phone=open desk=open")
	r = g.ask(publishAs(5, "600", phone, doc("phone", "closed", "2001-01-01T12:00:00Z")))
	phone = etagOf(t, r)
	if changed := told("phone=closed desk=open"); changed.Outdated(both) {
		t.Error("watchers would take the document for outdated")
	}

	// "the event state identified by the entity-tag MUST be immediately removed" (RFC 3903 §6).
	fields(t, g.ask(publishAs(6, "0", desk, "")), map[string]string{"Expires": "0"})
	told("phone=closed desk=closed")
	fields(t, g.ask(publishAs(7, "0", phone, "")), map[string]string{"Expires": "0"})
	told(pidf.TupleID("").String() + "=closed")
	if n := a.compositor.count(); n != 0 {
		t.Errorf("%d publications are left", n)
	}
	s := a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: adapters.WatchCancel, Watch: julietsWatch})
	a.compositor.mu.Lock()
	left := len(a.compositor.users)
	a.compositor.mu.Unlock()
	if s.State != adapters.WatchTerminated || left != 0 {
		t.Errorf("%+v, %d users are left", s, left)
	}
	g.ask(publishAs(8, "600", "", doc("phone", "open", "")))
	c.quiet(t)
	// T-PR-17: a poll is answered with what there is.
	if op := watchPublished(t, a, c, adapters.WatchFetch); op.State != adapters.WatchNeutral || basics(op.Presence) != "phone=open" || len(a.compositor.users[julietsWatch.Presentity].watches) != 0 {
		t.Errorf("%+v", op)
	}
}

func TestPublishRefusals(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		publishes(cfg)
		cfg.Limits.PublicationsPerUser, cfg.Limits.Publications = 1, 2
	})
	g := tcpAgent(t, a)
	good := documentText("romeo@example.net", "open")
	all := publishAs(1, "600", "", good)
	for i, x := range []struct {
		name, text string
		code       int
		field      [2]string
	}{
		// "If not, the ESC MUST return a 404 (Not Found) response" (RFC 3903 §6 step 1).
		{"a domain that nobody publishes in", strings.Replace(all, "PUBLISH sip:romeo@example.net", "PUBLISH sip:romeo@example.org", 1), 404, [2]string{}},
		{"T-ID-07 for somebody else", strings.Replace(all, "PUBLISH sip:romeo@", "PUBLISH sip:tybalt@", 1), 403, [2]string{}},
		{"T-ID-07 about somebody else", strings.Replace(all, "pres:romeo@", "pres:tybalt@", 1), 403, [2]string{}},
		{"T-PR-14 from another domain", strings.Replace(all, "From: <sip:romeo@example.net>", "From: <sip:romeo@example.org>", 1), 403, [2]string{}},
		{"in a dialog", strings.Replace(all, "To: <sip:romeo@example.net>", "To: <sip:romeo@example.net>;tag=x", 1), 481, [2]string{}},
		// "If the Event header field is missing or contains an event package which the ESC does not support, the ESC MUST
		// respond to the PUBLISH request with a 489 (Bad Event) response" (RFC 3903 §6 step 2).
		{"no event", strings.Replace(all, "Event: presence\n", "", 1), 489, [2]string{"Allow-Events", "presence"}},
		{"another event", strings.Replace(all, "Event: presence", "Event: dialog", 1), 489, [2]string{"Allow-Events", "presence"}},
		// "the ESC checks whether the header field contains a single entity-tag. If not, the request is invalid, and the ESC
		// MUST return with a 400" (RFC 3903 §6 step 3).
		{"two entity-tags", publishAs(1, "600", "a, b", ""), 400, [2]string{}},
		{"two fields", publishAs(1, "600", "a\nSIP-If-Match: b", ""), 400, [2]string{}},
		// "If no match is found, the ESC MUST reject the publication with a response of 412" (RFC 3903 §6 step 3).
		{"an entity-tag of nobody", publishAs(1, "600", "nothing", good), 412, [2]string{}},
		// "This response MUST contain a Min-Expires header field" (RFC 3903 §6 step 4).
		{"too short", publishAs(1, "5", "", good), 423, [2]string{"Min-Expires", "60"}},
		{"Expires is a word", publishAs(1, "soon", "", good), 400, [2]string{}},
		// "the ESC MUST reject the request with an appropriate response, such as 415" (RFC 3903 §6 step 5).
		{"another type", strings.Replace(all, "application/pidf+xml", "application/pidf-diff+xml", 1), 415, [2]string{"Accept", "application/pidf+xml"}},
		{"an encoding", strings.Replace(all, "Content-Type", "Content-Encoding: gzip\nContent-Type", 1), 415, [2]string{"Accept-Encoding", "identity"}},
		{"malformed", publishAs(1, "600", "", "<presence"), 400, [2]string{}},
		{"too large", publishAs(1, "600", "", strings.Replace(good, "<tuple", "<note>"+strings.Repeat("x", maxPublished)+"</note><tuple", 1)), 413, [2]string{}},
		{"nothing", publishAs(1, "600", "", ""), 400, [2]string{}},
		{"nothing for no time", publishAs(1, "0", "", ""), 400, [2]string{}},
		{"for no time", publishAs(1, "0", "", good), 200, [2]string{"Expires", "0"}},
		{"good", all, 200, [2]string{}},
		{"one more of the user", all, 403, [2]string{}},
		{"good, of another", strings.ReplaceAll(all, "romeo@", "mercutio@"), 200, [2]string{}},
		{"one more in all", strings.ReplaceAll(all, "romeo@", "tybalt@"), 503, [2]string{"Retry-After", "-"}},
	} {
		r := g.ask(strings.Replace(x.text, "Call-ID: publish-1", fmt.Sprintf("Call-ID: x%d", i), 1))
		if r.StatusCode() != x.code {
			t.Errorf("%s: %d %s, want %d", x.name, r.StatusCode(), r.ReasonPhrase(), x.code)
		}
		if x.field[0] != "" {
			fields(t, r, map[string]string{x.field[0]: x.field[1]})
		}
	}
	c.quiet(t)
	if n := a.compositor.count(); n != 2 {
		t.Errorf("%d publications", n)
	}
}

// Default closed: without a published domain PUBLISH is not served, and OPTIONS does not promise it.
func TestPublishIsClosed(t *testing.T) {
	a, _ := start(t, nil)
	g := udpAgent(t, a)
	r := g.ask(publishAs(1, "600", "", documentText("romeo@example.net", "open")))
	if r.StatusCode() != 405 {
		t.Errorf("%d", r.StatusCode())
	}
	fields(t, r, map[string]string{"Allow": "MESSAGE, NOTIFY, OPTIONS, SUBSCRIBE"})
}

func TestPublishedForNobody(t *testing.T) {
	a, c := start(t, func(cfg *Config) { cfg.Published = []Published{{Domain: "Example.NET"}} })
	s := a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: julietsWatch})
	if s.Reason != adapters.ReasonForbidden || s.End != adapters.EndRejected {
		t.Errorf("%+v", s)
	}
	c.quiet(t)
	for _, domains := range [][]Published{{{Domain: "not a domain"}}, {{Domain: "example.net"}, {Domain: "EXAMPLE.net"}}} {
		if _, err := New(Config{Peers: []Peer{loopback}, Published: domains}); err == nil {
			t.Errorf("%v was taken", domains)
		}
	}
}

// "Unless refreshed before this lifetime is exceeded, the publication will expire." (RFC 3903 §4.2)
func TestPublicationExpires(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		publishes(cfg)
		cfg.Limits.MinExpires = time.Second
	})
	g := udpAgent(t, a)
	watchPublished(t, a, c, adapters.WatchOpen)
	etag := etagOf(t, g.ask(publishAs(1, "1", "", documentText("romeo@example.net", "open"))))
	next(t, c.notices, "notification")
	if op := next(t, c.notices, "the end"); basics(op.Presence) != "ID-balcony=closed" {
		t.Errorf("%s", basics(op.Presence))
	}
	if r := g.ask(publishAs(2, "600", etag, "")); r.StatusCode() != 412 {
		t.Errorf("%d after the end", r.StatusCode())
	}
}

// T-PR-06 for what is published: each watcher is told for its own watch, and the many watchers of one user make the bound.
func TestPublishedWatchesAreBounded(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		publishes(cfg)
		cfg.Limits.Watches = 1
	})
	watchPublished(t, a, c, adapters.WatchOpen)
	watchPublished(t, a, c, adapters.WatchOpen) // again, which is not one more
	other := julietsWatch
	other.Watcher = pres("nurse@example.com")
	for _, verb := range []adapters.WatchVerb{adapters.WatchOpen, adapters.WatchFetch} {
		if s := a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: verb, Watch: other}); s.Reason != adapters.ReasonOverloaded {
			t.Errorf("%v: %+v", verb, s)
		}
	}
	c.quiet(t)
}

// "In the response to an OPTIONS request, the ESC SHOULD include "PUBLISH" to the list of allowed methods in the Allow header field."
// (RFC 3903 §7)
func TestOptionsOfACompositor(t *testing.T) {
	a, _ := start(t, publishes)
	g := udpAgent(t, a)
	for _, uri := range []string{"sip:example.com", "sip:juliet@example.com"} {
		r := g.ask("\nOPTIONS " + uri + " SIP/2.0\nMax-Forwards: 70\nTo: <" + uri + ">\nFrom: <sip:romeo@example.net>;tag=r\nCall-ID: " + uri[4:] + "\n" + roomFor + " 1 OPTIONS\n\n")
		fields(t, r, map[string]string{
			"Allow": "MESSAGE, NOTIFY, OPTIONS, PUBLISH, SUBSCRIBE", "Accept": acceptedContent + ", application/pidf+xml",
			"Accept-Encoding": "identity", "Accept-Language": "*", "Allow-Events": "presence", "Supported": "",
		})
	}
	if h := a.capabilities(false); len(h) != 1 || h[0].Name != "Allow" {
		t.Errorf("to one that has proven nothing: %v", h)
	}
}

// What baresip 1.0.0 publishes before its user has said anything: person before tuple, empty activities, a status that RFC 3863 does not
// have. It is refused, or where the peer's entry says so taken as closed.
const baresipDocument = `<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
 xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:romeo@example.net"><dm:person id="p4159"><rpid:activities/></dm:person>
<tuple id="t4109"><status><basic>unknown</basic></status><contact>sip:romeo@example.net</contact></tuple></presence>`

func TestLenientPresence(t *testing.T) {
	for _, lenient := range []bool{false, true} {
		a, c := start(t, func(cfg *Config) {
			publishes(cfg)
			peer := loopback
			peer.LenientPresence = lenient
			cfg.Peers = []Peer{peer}
		})
		g := udpAgent(t, a)
		watchPublished(t, a, c, adapters.WatchOpen)
		r := g.ask(publishAs(1, "600", "", baresipDocument))
		if !lenient {
			if r.StatusCode() != 400 {
				t.Errorf("strictly: %d", r.StatusCode())
			}
			continue
		}
		etagOf(t, r)
		if op := next(t, c.notices, "notification"); basics(op.Presence) != "t4109=closed" {
			t.Errorf("%s", basics(op.Presence))
		}
		if r := g.ask(publishAs(2, "600", "", strings.Replace(baresipDocument, ` entity="sip:romeo@example.net"`, "", 1))); r.StatusCode() != 403 {
			t.Errorf("about nobody: %d", r.StatusCode())
		}
	}
}
