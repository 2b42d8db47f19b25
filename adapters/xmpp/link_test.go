package xmpp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/xmpptest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// script is a server whose every word the test writes.
type script struct {
	l net.Listener
}

// peer is one accepted connection.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *strictxml.Stream
}

// head is what a server says first.
const head = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' from='example.net' id='3BF96D32'>"

// TestWrongSecret: a clear fault, and one attempt only.
func TestWrongSecret(t *testing.T) {
	srv, err := xmpptest.Start(serverConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	var lines logged
	cfg := quick()
	cfg.Logger = zerolog.New(&lines)
	k := component(srv.ComponentAddr())
	k.Secret = xmpp.NewSecret("canary-secret-2")
	cfg.Components = []xmpp.Component{k}
	a, err := xmpp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context(), newRecorder()); !errors.Is(err, xmpp.ErrNotAuthorized) {
		t.Fatalf("Start: %v", err)
	}
	if err := a.Wait(); !errors.Is(err, xmpp.ErrNotAuthorized) || !strings.Contains(err.Error(), `"main"`) {
		t.Fatalf("Wait: %v", err)
	}
	if st := a.Links()[0]; st.Phase != xmpp.LinkStopped || st.Fault == "" {
		t.Fatalf("link %+v", st)
	}
	if st := a.Message(t.Context(), nil, textOp("1", "x")); st.Outcome != adapters.Failure {
		t.Fatalf("message after the fault: %+v", st)
	}
	if strings.Contains(lines.String(), "canary") {
		t.Fatalf("the log has the secret: %s", lines.String())
	}
}

// TestServerDownAtStart: Start succeeds, a message waits in the queue and leaves when the server comes.
func TestServerDownAtStart(t *testing.T) {
	addr := porttest.Address(t)
	cfg := quick()
	cfg.Components = []xmpp.Component{component(addr)}
	a := start(t, cfg, newRecorder())
	if st := a.Links()[0]; st.Phase == xmpp.LinkUp || st.Fault == "" {
		t.Fatalf("link %+v", st)
	}
	done := send(t, a, textOp("1", "x"))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := (&script{l: l}).welcome(t)
	if e := p.hear(); attr(e, "id") != "1" {
		t.Fatalf("heard %s", e.Raw)
	}
	p.pong(p.hear())
	if st := next(t, done, "the outcome"); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
}

// TestDeadlineInQueue: what could not be sent in time is told so, and does not leave later.
func TestDeadlineInQueue(t *testing.T) {
	addr := porttest.Address(t)
	cfg := quick()
	cfg.Components = []xmpp.Component{component(addr)}
	a := start(t, cfg, newRecorder())
	op := textOp("1", "x")
	op.Deadline = time.Now().Add(20 * time.Millisecond)
	if st := a.Message(t.Context(), nil, op); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonDomainTimeout {
		t.Fatalf("%+v", st)
	}
	if n := a.Links()[0].Queued; n != 0 {
		t.Fatalf("%d still queued", n)
	}
}

// TestBarrier: a message is acknowledged by the answer to the ping that followed it, an error too, and by nothing else (T-ID-04).
func TestBarrierTID04(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	a, p := started(t, s, core, nil)

	done := send(t, a, textOp("m1", "x"))
	p.hear()
	ping := p.hear()
	id := attr(ping, "id")
	if ping.Child("urn:xmpp:ping", "ping") == nil || len(id) != 32 || attr(ping, "to") != xmppDomain || attr(ping, "from") != sipDomain {
		t.Fatalf("ping %s", ping.Raw)
	}
	for _, forged := range []string{
		"<iq type='result' from='evil.example' to='" + sipDomain + "' id='" + id + "'/>",
		"<iq type='result' from='juliet@" + xmppDomain + "' to='" + sipDomain + "' id='" + id + "'/>",
		"<iq type='result' from='" + xmppDomain + "/x' to='" + sipDomain + "' id='" + id + "'/>",
		"<iq type='result' from='" + xmppDomain + "' to='romeo@" + sipDomain + "' id='" + id + "'/>",
		"<iq type='result' from='" + xmppDomain + "' to='" + sipDomain + "' id='" + id + "0'/>",
		"<iq type='result' from='" + xmppDomain + "' to='" + sipDomain + "' id=''/>",
		"<iq type='get' from='" + xmppDomain + "' to='" + sipDomain + "' id='" + id + "'><ping xmlns='urn:xmpp:ping'/></iq>",
		// Errors that answer another message, or come from another.
		"<message type='error' from='juliet@" + xmppDomain + "' to='romeo@" + sipDomain + "' id='m2'><error type='cancel'/></message>",
		"<message type='error' from='nurse@" + xmppDomain + "' to='romeo@" + sipDomain + "' id='m1'><error type='cancel'/></message>",
		"<message type='error' from='juliet@" + xmppDomain + "' to='tybalt@" + sipDomain + "' id='m1'><error type='cancel'/></message>",
		"<message type='chat' from='juliet@" + xmppDomain + "' to='romeo@" + sipDomain + "' id='m1'><error type='cancel'/><body>x</body></message>",
	} {
		p.say(forged)
	}
	if e := p.hear(); attr(e, "type") != "result" || attr(e, "id") != id || attr(e, "to") != xmppDomain {
		t.Fatalf("the server's own ping was answered %s", e.Raw)
	}
	own := p.hear() // the ping behind that answer
	next(t, core.messages, "the last of the forgeries, a message")
	none(t, done, "a forged answer was believed")
	p.say("<iq type='error' from='" + xmppDomain + "' to='" + sipDomain + "' id='" + id + "'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	if st := next(t, done, "the outcome"); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	p.pong(own)

	// An error before the answer is the outcome.
	done = send(t, a, textOp("m3", "x"))
	p.hear()
	ping = p.hear()
	p.say("<message type='error' from='juliet@" + xmppDomain + "' to='romeo@" + sipDomain + "' id='m3'><error type='cancel'>" +
		"<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>gone</text></error></message>")
	p.pong(ping)
	if st := next(t, done, "the outcome"); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonNotFound || st.Remote != "item-not-found" {
		t.Fatalf("%+v", st)
	}
	// One after it is a report; the forged ones were reports too, for the core to match.
	for range 3 {
		next(t, core.reports, "the reports of the forged errors")
	}
	p.say("<message type='error' from='juliet@" + xmppDomain + "' to='romeo@" + sipDomain + "' id='m1'><error type='wait'><recipient-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
	if r := next(t, core.reports, "the late error"); r.Kind != adapters.ReportFailed || r.TransID != "m1" || r.Status.Reason != adapters.ReasonRecipientUnavailable {
		t.Fatalf("%+v", r)
	}
}

// TestLinkDies: what left and was not acknowledged has an unknown outcome, and is not sent again; what comes after waits for the
// next stream.
func TestLinkDies(t *testing.T) {
	s := listen(t)
	a, p := started(t, s, newRecorder(), nil)
	done := send(t, a, textOp("m1", "x"))
	p.hear()
	p.hear()
	p.conn.Close()
	if st := next(t, done, "the outcome"); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonOutcomeUnknown {
		t.Fatalf("%+v", st)
	}
	done = send(t, a, textOp("m2", "x"))
	p = s.welcome(t)
	if e := p.hear(); attr(e, "id") != "m2" {
		t.Fatalf("sent again: %s", e.Raw)
	}
	p.pong(p.hear())
	if st := next(t, done, "the outcome"); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
}

// TestHalfOpen is T-FI-27: a server that has stopped answering is noticed by the ping, and the link is made anew.
func TestHalfOpenTFI27(t *testing.T) {
	s := listen(t)
	a, p := started(t, s, newRecorder(), func(c *xmpp.Config) {
		c.Limits.KeepAlive, c.Limits.PingTimeout = 20*time.Millisecond, 3*time.Second // in which a slow machine answers
	})
	if e := p.hear(); e.Child("urn:xmpp:ping", "ping") == nil {
		t.Fatalf("heard %s", e.Raw)
	}
	p2 := s.welcome(t)
	go func() {
		for { // this one lives
			raw, err := p2.in.Next()
			if err != nil {
				return
			}
			if e, err := strictxml.ParseElement(raw, nil, strictxml.Limits{}); err == nil {
				p2.conn.Write([]byte("<iq type='result' from='" + xmppDomain + "' to='" + sipDomain + "' id='" + attr(e, "id") + "'/>"))
			}
		}
	}()
	await(t, "the link is up again", up(a))
}

// TestMalformedFromServer: the stream error of RFC 6120 §4.9.3, and a new stream. T-TT-X in part.
func TestMalformedFromServer(t *testing.T) {
	for _, c := range []struct{ name, say, want string }{
		{"not well-formed", "<message><body></message></body>", "not-well-formed"},
		{"unbound prefix", "<message><x:y/></message>", "not-well-formed"},
		{"duplicate attribute", "<message a='1' a='2'/>", "not-well-formed"},
		{"text between stanzas", "hello", "not-well-formed"},
		{"surrogate", "<message><body>&#xD800;</body></message>", "not-well-formed"},
		{"comment", "<message><!-- x --></message>", "restricted-xml"},
		{"instruction", "<?x y?>", "restricted-xml"},
		{"document type", "<!DOCTYPE x>", "restricted-xml"},
		{"entity", "<message><body>&lol;</body></message>", "restricted-xml"},
		{"broken UTF-8", "<message><body>\xff</body></message>", "unsupported-encoding"},
		{"too deep", strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40), "policy-violation"},
		{"without end", "<message><body>" + strings.Repeat("x", 6<<20), "policy-violation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := listen(t)
			a, p := started(t, s, newRecorder(), nil)
			go p.conn.Write([]byte(c.say)) // it may be cut short
			for {
				e := p.hear()
				if e.Name.Local == "iq" {
					continue
				}
				if e.Name != (strictxml.Name{Space: stream.SpaceStreams, Local: "error"}) || e.Child(stream.SpaceErrors, c.want) == nil {
					t.Fatalf("heard %s, want %s", e.Raw, c.want)
				}
				break
			}
			s.welcome(t)
			await(t, "the link comes up again", up(a))
		})
	}
}

// TestConflict: another component has our host. It is tried again, and seldom.
func TestConflictTFI26(t *testing.T) {
	s := listen(t)
	cfg := quick()
	cfg.Components = []xmpp.Component{component(s.l.Addr().String())}
	cfg.Backoff = xmpp.Backoff{Base: time.Millisecond, Max: 60 * time.Millisecond}
	begun := make(chan time.Time, 1)
	go func() {
		p := s.accept(t)
		begun <- time.Now()
		p.say(head + "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
	}()
	start(t, cfg, newRecorder())
	at := next(t, begun, "the first attempt")
	s.welcome(t)
	if d := time.Since(at); d < 20*time.Millisecond {
		t.Fatalf("tried again after %v", d)
	}
}

// TestRefusedAtBoundary: who may speak, and to whom (T-ID-08 and XEP-0114 §3).
func TestRefusedAtBoundaryTID08(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	_, p := started(t, s, core, nil)
	for _, c := range []struct{ name, say, want string }{
		{"reflected user", "<message from='tybalt@example.net' to='romeo@example.net' id='1'><body>x</body></message>", ""},
		{"reflected domain", "<presence from='example.net' to='romeo@example.net' type='subscribe' id='2'/>", ""},
		{"foreign sender", "<message from='eve@evil.example' to='romeo@example.net' id='3'><body>x</body></message>", "forbidden"},
		{"foreign presence", "<presence from='eve@evil.example' to='romeo@example.net' id='4' type='probe'/>", "forbidden"},
		{"subdomain is foreign", "<message from='eve@x.example.com' to='romeo@example.net' id='5'><body>x</body></message>", "forbidden"},
		{"not our domain", "<message from='juliet@example.com' to='romeo@other.example' id='6'><body>x</body></message>", "item-not-found"},
		{"no from", "<message to='romeo@example.net' id='7'><body>x</body></message>", ""},
		{"no to", "<message from='juliet@example.com' id='8'><body>x</body></message>", "bad-request"},
		{"malformed to", "<message from='juliet@example.com' to='a@b@c' id='9'><body>x</body></message>", "jid-malformed"},
		{"groupchat", "<message from='juliet@example.com/x' to='romeo@example.net' id='10' type='groupchat'><body>x</body></message>", "service-unavailable"},
		{"two bodies", "<message from='juliet@example.com/x' to='romeo@example.net' id='11'><body>x</body><body>y</body></message>", "bad-request"},
		{"markup in body", "<message from='juliet@example.com/x' to='romeo@example.net' id='12'><body>x<b/></body></message>", "bad-request"},
		{"to a domain", "<message from='juliet@example.com/x' to='example.net' id='13'><body>x</body></message>", "item-not-found"},
		{"from a domain", "<message from='example.com' to='romeo@example.net' id='14'><body>x</body></message>", "jid-malformed"},
		{"unknown presence", "<presence from='juliet@example.com' to='romeo@example.net' id='15' type='invisible'/>", "bad-request"},
		{"signed presence that is none", "<presence from='juliet@example.com/x' to='romeo@example.net' id='21'><e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>x</e2e></presence>", "bad-request"},
		{"signed presence of another", "<presence from='juliet@example.com/x' to='romeo@example.net' id='22'><e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=b\n\n--b\nContent-Type: application/pidf+xml\n\n&lt;?xml version='1.0' encoding='UTF-8'?>&lt;presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:nurse@example.com'/&gt;\n--b\nContent-Type: application/pkcs7-signature\n\nx\n--b--\n</e2e></presence>", "not-acceptable"},
		{"plain presence of a fault", "<presence from='juliet@example.com/x' to='romeo@example.net' id='23'><priority>1<x/></priority></presence>", ""},
		{"unknown request", "<iq from='juliet@example.com/x' to='romeo@example.net' id='16' type='set'><query xmlns='jabber:iq:roster'/></iq>", "service-unavailable"},
		{"iq without id", "<iq from='juliet@example.com/x' to='romeo@example.net' type='get'><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"},
		{"iq with two children", "<iq from='juliet@example.com/x' to='romeo@example.net' id='17' type='get'><ping xmlns='urn:xmpp:ping'/><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"},
		{"error is not answered", "<message from='eve@evil.example' to='romeo@example.net' id='18' type='error'><body>x</body></message>", ""},
		{"result is not answered", "<iq from='eve@evil.example' to='romeo@example.net' id='19' type='result'/>", ""},
		{"nothing for a person", "<message from='juliet@example.com/x' to='romeo@example.net' id='20' type='chat'><composing xmlns='urn:x'/></message>", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			p.say(c.say)
			// A ping of the test's own shows that there is no answer: it would come before.
			p.say("<iq from='juliet@example.com/x' to='example.net' id='after' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
			var got *strictxml.Element
			for {
				e := p.hear()
				if attr(e, "type") == "get" {
					p.pong(e)
					continue
				}
				if attr(e, "id") == "after" {
					break
				}
				got = e
			}
			if c.want == "" {
				if got != nil {
					t.Fatalf("answered with %s", got.Raw)
				}
				return
			}
			if got == nil || attr(got, "type") != "error" {
				t.Fatalf("answered with %+v, want %s", got, c.want)
			}
			for e := range got.Children() {
				if attr(e, "type") == "" || e.Child("urn:ietf:params:xml:ns:xmpp-stanzas", c.want) == nil {
					t.Fatalf("answered with %s, want %s", got.Raw, c.want)
				}
			}
		})
	}
	none(t, core.messages, "a refused message reached the core")
	none(t, core.watches, "a refused presence reached the core")
}

// TestQueueFull: messages are refused with a reason, presence keeps the newest.
func TestQueueFull(t *testing.T) {
	addr := porttest.Address(t)
	cfg := quick()
	cfg.Components = []xmpp.Component{component(addr)}
	cfg.Limits.QueueStanzas = 3
	a := start(t, cfg, newRecorder())
	var waiting []<-chan adapters.Status
	for i := range 3 {
		waiting = append(waiting, send(t, a, textOp(strconv.Itoa(i), "x")))
	}
	await(t, "three messages wait", func() bool { return a.Links()[0].Queued == 3 })
	if st := a.Message(t.Context(), nil, textOp("4", "x")); st.Reason != adapters.ReasonOverloaded {
		t.Fatalf("%+v", st)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	a.Shutdown(ctx)
	for _, w := range waiting {
		if st := next(t, w, "an outcome at shutdown"); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonDomainTimeout {
			t.Fatalf("%+v", st)
		}
	}
}

// TestShutdownFlushes: what was taken leaves, is acknowledged, and the stream is closed in order.
func TestShutdownFlushes(t *testing.T) {
	s := listen(t)
	a, p := started(t, s, newRecorder(), nil)
	done := send(t, a, textOp("m1", "x"))
	p.hear()
	ping := p.hear()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		a.Shutdown(ctx)
	}()
	await(t, "new messages are refused", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return a.Message(ctx, nil, textOp("m2", "x")).Text == "The gateway is shutting down"
	})
	p.pong(ping)
	if st := next(t, done, "the outcome"); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	for {
		raw, err := p.in.Next()
		if err == io.EOF {
			break // </stream:stream>
		}
		if err != nil {
			t.Fatalf("the stream was not closed in order: %v", err)
		}
		scope, _ := strictxml.NewScope(nil, "", stream.SpaceComponent)
		if e, err := strictxml.ParseElement(raw, scope, strictxml.Limits{}); err == nil && e.Name.Local == "iq" {
			p.pong(e) // of what was tried above
		}
	}
	next(t, stopped, "the end of Shutdown")
	if err := a.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestNoSecondCopy: many at once, each exactly once.
func TestNoSecondCopy(t *testing.T) {
	s := listen(t)
	a, p := started(t, s, newRecorder(), nil)
	const n = 500
	go func() {
		for i := range n {
			go a.Message(t.Context(), nil, textOp(strconv.Itoa(i), "x"))
		}
	}()
	seen := map[string]bool{}
	for len(seen) < n {
		e := p.hear()
		if e.Name.Local == "iq" {
			p.pong(e)
			continue
		}
		if id := attr(e, "id"); seen[id] {
			t.Fatalf("%s came twice", id)
		}
		seen[attr(e, "id")] = true
	}
}

// TestHostileEchoTLP06: a peer that answers each message by an error, a receipt, a marker and a chat state provokes no stanza of ours.
func TestHostileEchoTLP06(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	a, p := started(t, s, core, nil)
	done := send(t, a, textOp("m1", "x"))
	p.hear()
	p.pong(p.hear())
	next(t, done, "the outcome")
	const to = "' to='romeo@example.net' "
	for _, echo := range []string{
		"<message from='juliet@example.com/x" + to + "id='m1' type='error'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
		"<message from='juliet@example.com/x" + to + "id='m1' type='error'><body>x</body><error type='cancel'/></message>",
		"<message from='juliet@example.com/x" + to + "id='e' type='error'/>",
		"<message from='juliet@example.com/x" + to + "id='r'><received xmlns='urn:xmpp:receipts' id='m1'/></message>",
		"<message from='juliet@example.com/x" + to + "id='d'><displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/></message>",
		"<message from='juliet@example.com/x" + to + "type='chat'><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
		"<presence from='juliet@example.com/x" + to + "type='error'><error type='cancel'/></presence>",
		"<iq from='juliet@example.com/x" + to + "id='m1' type='error'><error type='cancel'/></iq>",
		"<iq from='juliet@example.com/x" + to + "id='m1' type='result'/>",
	} {
		p.say(echo)
	}
	p.say("<iq from='juliet@example.com/x' to='example.net' id='after' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
	if e := p.hear(); attr(e, "id") != "after" {
		t.Fatalf("an echo provoked %s", e.Raw)
	}
}

// TestDisco: what is asked of our domain and users is answered truly, and the rest is refused (XEP-0030).
func TestDisco(t *testing.T) {
	s := listen(t)
	_, p := started(t, s, newRecorder(), nil)
	ask := func(to, payload string) *strictxml.Element {
		p.say("<iq from='juliet@example.com/x' to='" + to + "' id='q' type='get'>" + payload + "</iq>")
		for {
			e := p.hear()
			if attr(e, "type") == "get" {
				p.pong(e)
				continue
			}
			return e
		}
	}
	const info, items = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
	for _, to := range []string{"example.net", "romeo@example.net"} {
		q := ask(to, "<query xmlns='"+info+"'/>").Child(info, "query")
		if q == nil || attr(q.Child(info, "identity"), "category") != "gateway" {
			t.Fatalf("%s: %+v", to, q)
		}
		if q = ask(to, "<query xmlns='"+items+"'/>").Child(items, "query"); q == nil || len(q.Nodes) != 0 {
			t.Fatalf("%s: %+v", to, q)
		}
	}
	if e := ask("example.net", "<query xmlns='"+info+"' node='x'/>"); attr(e, "type") != "error" {
		t.Fatalf("%s", e.Raw)
	}
}

// TestInternationalDomains: A-labels in the core, U-labels on the wire (RFC 7622 §3.2.1).
func TestInternationalDomains(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	a, p := started(t, s, core, func(c *xmpp.Config) { c.Components[0].Serves = []string{xmppDomain, "xn--bcher-kva.example"} })
	op := textOp("m1", "x")
	op.To.Address = cpim.MustParseAddress("im:j%C3%BClia@xn--bcher-kva.example")
	done := send(t, a, op)
	if e := p.hear(); attr(e, "to") != "j\u00fclia@b\u00fccher.example" {
		t.Fatalf("heard %s", e.Raw)
	}
	p.pong(p.hear())
	next(t, done, "the outcome")
	p.say("<message from='j\u00fclia@b\u00fccher.example/x' to='romeo@example.net'><body>x</body></message>")
	if in := next(t, core.messages, "her answer"); in.From.Address != op.To.Address {
		t.Fatalf("%+v", in.From)
	}
}

// TestSlowPeerTFI09: a server that does not read is left, by the write timeout or the ping's, whichever the socket's buffers allow;
// what is in memory stays within its bounds.
func TestSlowPeerTFI09(t *testing.T) {
	s := listen(t)
	a, _ := started(t, s, newRecorder(), func(c *xmpp.Config) {
		c.Limits.WriteTimeout, c.Limits.PingTimeout, c.Limits.QueueBytes = 100*time.Millisecond, 200*time.Millisecond, 1<<20
	})
	big := strings.Repeat("x", 200<<10)
	outcomes := make(chan adapters.Status, 64)
	for i := range 64 { // 13 MB, more than loopback's buffers hold
		go func() { outcomes <- a.Message(t.Context(), nil, textOp(strconv.Itoa(i), big)) }()
	}
	refused := 0
	for range 40 {
		if st := next(t, outcomes, "an outcome"); st.Outcome != adapters.Failure {
			t.Fatalf("%+v", st)
		} else if st.Reason == adapters.ReasonOverloaded {
			refused++
		}
	}
	if refused == 0 {
		t.Fatal("the queue has no bound")
	}
	s.welcome(t) // the link is made anew
}
