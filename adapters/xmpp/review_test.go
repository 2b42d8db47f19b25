package xmpp_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// hearBut returns the next element that is no ping of the adapter's; those it answers.
func (p *peer) hearBut() *strictxml.Element {
	p.t.Helper()
	for {
		e := p.hear()
		if e.Name.Local != "iq" || attr(e, "type") != "get" {
			return e
		}
		p.pong(e)
	}
}

const stanzaErrors = "urn:ietf:params:xml:ns:xmpp-stanzas"

// TestOversizedStanza: no user can cut the stream that carries everybody's stanzas. RFC 6120 §13.12: the receiver "MUST either return a
// <policy-violation/> stanza error (Section 8.3.3.12), thus allowing the sender to recover, or close the stream".
func TestOversizedStanzaX4(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	a, p := started(t, s, core, nil)
	const from = " from='juliet@example.com/x' to='romeo@example.net' id='big' "
	var attributes strings.Builder
	for i := range 70 {
		attributes.WriteString(" a" + strconv.Itoa(i) + "=''")
	}
	for _, c := range []struct{ name, say, want string }{
		{"message", "<message" + from + "><body>" + strings.Repeat("x", 300<<10) + "</body></message>", "big"},
		{"request", "<iq type='get'" + from + "><query xmlns='urn:x'>" + strings.Repeat("<y/>", 90<<10) + "</query></iq>", "big"},
		{"deep", "<message" + from + ">" + strings.Repeat("<a xmlns='urn:x'>", 40) + strings.Repeat("</a>", 40) + "</message>", "big"},
		{"children", "<message" + from + ">" + strings.Repeat("<a/>", 1001) + "</message>", "big"},
		{"attributes of a child", "<message" + from + "><a" + attributes.String() + "/></message>", "big"},
		{"long name", "<message" + from + "><" + strings.Repeat("a", 2000) + "/></message>", "big"},
		{"its own attributes", "<message" + from + attributes.String() + "><body>x</body></message>", ""},
		{"its own start tag", "<message" + from + " a='" + strings.Repeat("x", 300<<10) + "'><body>x</body></message>", ""},
		{"presence", "<presence" + from + "><status>" + strings.Repeat("x", 300<<10) + "</status></presence>", ""},
		{"error", "<message type='error'" + from + "><body>" + strings.Repeat("x", 300<<10) + "</body></message>", ""},
		{"foreign error", "<message type='error' from='eve@evil.example' to='romeo@example.net'><body>" + strings.Repeat("x", 300<<10) + "</body></message>", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			go p.conn.Write([]byte(c.say + "<iq from='juliet@example.com/x' to='example.net' id='after' type='get'><ping xmlns='urn:xmpp:ping'/></iq>"))
			e := p.hearBut()
			if c.want != "" {
				er := e.Child("jabber:component:accept", "error")
				if attr(e, "type") != "error" || attr(e, "id") != c.want || attr(e, "to") != "juliet@example.com/x" || er == nil || er.Child(stanzaErrors, "policy-violation") == nil {
					t.Fatalf("heard %s", e.Raw)
				}
				e = p.hearBut()
			}
			if attr(e, "id") != "after" || attr(e, "type") != "result" {
				t.Fatalf("heard %s", e.Raw)
			}
		})
	}
	p.t = t
	none(t, core.messages, "an oversized message reached the core")

	// An error that holds all of our message is still the answer to it.
	done := send(t, a, textOp("m1", "x"))
	p.hearBut()
	go p.conn.Write([]byte("<message type='error' from='juliet@example.com/x' to='romeo@example.net' id='m1'><body>" + strings.Repeat("x", 300<<10) + "</body><error type='cancel'/></message>"))
	if st := next(t, done, "the outcome"); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonUndefined {
		t.Fatalf("%+v", st)
	}
}

// TestAnswerFromOwnHost: "The domain identifier portion of the JID contained in the 'from' attribute MUST match the hostname of the
// component" (XEP-0114 §3), also in the answer to what was not for us.
func TestAnswerFromOwnHost(t *testing.T) {
	s := listen(t)
	_, p := started(t, s, newRecorder(), nil)
	for _, say := range []string{
		"<message from='juliet@example.com/x' to='romeo@other.example' id='1'><body>x</body></message>",
		"<iq from='juliet@example.com/x' to='romeo@other.example' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
		"<message from='juliet@example.com/x' to='a@b@c' id='1'><body>x</body></message>",
		"<message from='juliet@example.com/x' id='1'><body>x</body></message>",
	} {
		p.say(say)
		if e := p.hearBut(); attr(e, "from") != sipDomain || attr(e, "to") != "juliet@example.com/x" || attr(e, "id") != "1" || attr(e, "type") != "error" {
			t.Errorf("%s\nwas answered %s", say, e.Raw)
		}
	}
}

// TestErrorFromWhomItWasFor: RFC 6120 §8.3.1: "The error stanza SHOULD simply swap the 'from' and 'to' addresses from the generated stanza".
func TestErrorFromWhomItWasFor(t *testing.T) {
	core := newRecorder()
	core.say(adapters.Failed(adapters.ReasonNotFound, ""))
	s := listen(t)
	_, p := started(t, s, core, nil)
	p.say("<message from='juliet@example.com/x' to='romeo@example.net/phone' id='1'><body>x</body></message>")
	if e := p.hearBut(); attr(e, "from") != "romeo@example.net/phone" || attr(e, "to") != "juliet@example.com/x" || attr(e, "id") != "1" {
		t.Errorf("%s", e.Raw)
	}
}

// TestErrorOfAnotherKindX13: an error settles only what it answers: the kind, the id and both addresses are those, and nothing that
// has no id is answered by an error that has none.
func TestErrorOfAnotherKindX13(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	a, p := started(t, s, core, nil)
	told := make(chan adapters.Status, 1)
	w := adapters.WatchID{Watcher: watcher, Presentity: presentity}
	go func() {
		told <- a.Notify(t.Context(), nil, &adapters.NotifyOp{Watch: w, State: adapters.WatchTerminated, End: adapters.EndTimeout, Deadline: time.Now().Add(patience)})
	}()
	p.hear()
	ping := p.hear()
	p.say("<message type='error' from='juliet@example.com' to='romeo@example.net'><error type='cancel'/></message>")
	p.say("<presence type='error' from='juliet@example.com' to='romeo@example.net'><error type='cancel'/></presence>")
	p.pong(ping)
	if st := next(t, told, "the outcome of the notification"); st.Outcome != adapters.Indeterminate {
		t.Errorf("settled by an error that does not answer it: %+v", st)
	}

	done := send(t, a, textOp("m1", "x"))
	p.hear()
	ping = p.hear()
	p.say("<presence type='error' from='juliet@example.com' to='romeo@example.net' id='m1'><error type='cancel'/></presence>")
	p.pong(ping)
	if st := next(t, done, "the outcome of the message"); st.Outcome != adapters.Indeterminate {
		t.Errorf("settled by a presence error: %+v", st)
	}
	none(t, core.notifies, "an error that answers no request ended a watch")

	// One that answers a request does.
	asked := make(chan adapters.WatchStatus, 1)
	go func() {
		asked <- a.Watch(t.Context(), nil, &adapters.WatchOp{Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: presentity, Presentity: watcher}})
	}()
	id := attr(p.hear(), "id")
	p.pong(p.hear())
	next(t, asked, "the outcome of the request")
	p.say("<presence type='error' from='juliet@example.com' to='romeo@example.net' id='" + id + "'><error type='cancel'><item-not-found xmlns='" + stanzaErrors + "'/></error></presence>")
	if n := next(t, core.notifies, "the end of the watch"); n.State != adapters.WatchTerminated || n.End != adapters.EndNoResource {
		t.Errorf("%+v", n)
	}
}

// TestShutdownAnswers: what came before Shutdown is answered, and what comes after is refused, not lost.
func TestShutdownAnswers(t *testing.T) {
	s := listen(t)
	core := &slow{recorder: newRecorder(), responds: make(chan func(adapters.Status), 4)}
	a, p := started(t, s, core.recorder, func(c *xmpp.Config) {})
	_ = a
	p.conn.Close()
	cfg := quick()
	s2 := listen(t)
	cfg.Components = []xmpp.Component{component(s2.l.Addr().String())}
	b, err := xmpp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	peers := make(chan *peer, 1)
	go func() { peers <- s2.welcome(t) }()
	if err := b.Start(t.Context(), core); err != nil {
		t.Fatal(err)
	}
	p = next(t, peers, "the stream")
	await(t, "the link comes up", up(b))
	p.say("<message from='juliet@example.com/x' to='romeo@example.net' id='before'><body>x</body></message>")
	respond := next(t, core.responds, "the message")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		b.Shutdown(ctx)
	}()
	await(t, "new operations are refused", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return b.Message(ctx, nil, textOp("m2", "x")).Text == "The gateway is shutting down"
	})
	p.say("<message from='juliet@example.com/x' to='romeo@example.net' id='after'><body>x</body></message>")
	if e := p.hearBut(); attr(e, "type") != "error" || attr(e, "id") != "after" {
		t.Fatalf("heard %s", e.Raw)
	}
	respond(adapters.Failed(adapters.ReasonNotFound, ""))
	respond(adapters.Failed(adapters.ReasonNotFound, "")) // a second answer is none
	if e := p.hearBut(); attr(e, "type") != "error" || attr(e, "id") != "before" {
		t.Fatalf("heard %s", e.Raw)
	}
	p.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		raw, err := p.in.Next()
		if err != nil {
			break
		}
		if !strings.Contains(string(raw), "<ping") {
			t.Fatalf("heard %s", raw)
		}
		if e, err := strictxml.ParseElement(raw, nil, strictxml.Limits{}); err == nil {
			p.pong(e)
		}
	}
	next(t, stopped, "the end of Shutdown")
}

// slow is a core that answers when the test wants.
type slow struct {
	*recorder
	responds chan func(adapters.Status)
}

func (s *slow) Message(_ context.Context, _ *adapters.MessageOp, respond func(adapters.Status)) {
	s.responds <- respond
}

// TestNotAuthorizedLater: only the answer to the handshake tells of the secret.
func TestNotAuthorizedLater(t *testing.T) {
	s := listen(t)
	a, p := started(t, s, newRecorder(), nil)
	p.say("<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
	s.welcome(t)
	await(t, "the link comes up again", up(a))
}

// TestSecretOfOneLink: a secret that was changed on one server stops its link, not the others; messages for it are refused at once.
func TestSecretOfOneLink(t *testing.T) {
	s1, s2 := listen(t), listen(t)
	cfg := quick()
	k := component(s2.l.Addr().String())
	k.Name, k.Domain, k.Serves = "other", "other.example", []string{"example.org"}
	cfg.Components = []xmpp.Component{component(s1.l.Addr().String()), k}
	peers := make(chan *peer, 2)
	go func() { peers <- s1.welcome(t) }()
	go func() { peers <- s2.welcome(t) }()
	a := start(t, cfg, newRecorder())
	p1, p2 := next(t, peers, "a stream"), next(t, peers, "a stream")
	if p1.conn.LocalAddr().String() != s1.l.Addr().String() {
		p1, p2 = p2, p1
	}
	p1.conn.Close()
	p := s1.accept(t)
	p.say(head + "<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
	await(t, "the link is stopped", func() bool { return a.Links()[0].Phase == xmpp.LinkStopped })
	if st := a.Message(t.Context(), nil, textOp("1", "x")); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonDomainTimeout || strings.Contains(st.Text, "shutting") {
		t.Fatalf("%+v", st)
	}
	if a.Links()[1].Phase != xmpp.LinkUp {
		t.Fatalf("%+v", a.Links()[1])
	}
	p2.conn.Close()
	p = s2.accept(t)
	p.say(head + "<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
	if err := a.Wait(); !errors.Is(err, xmpp.ErrNotAuthorized) {
		t.Fatalf("no link is left, and Wait says %v", err)
	}
}

// TestNoticeSurvivesLink: the error that tells a sender of a lost message is written again, once, if the stream died under it.
func TestNoticeSurvivesLink(t *testing.T) {
	core := newRecorder()
	core.say(adapters.Failed(adapters.ReasonNotFound, ""))
	s := listen(t)
	_, p := started(t, s, core, nil)
	p.say("<message from='juliet@example.com/x' to='romeo@example.net' id='1'><body>x</body></message>")
	for range 2 {
		if e := p.hear(); attr(e, "type") != "error" || attr(e, "id") != "1" {
			t.Fatalf("heard %s", e.Raw)
		}
		p.conn.Close()
		p = s.welcome(t)
	}
	p.say("<iq from='juliet@example.com/x' to='example.net' id='after' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
	if e := p.hearBut(); attr(e, "id") != "after" {
		t.Fatalf("a third time: %s", e.Raw)
	}
}

// TestShutdownWhileStarting: a start that waits for a server does not hold Shutdown.
func TestShutdownWhileStarting(t *testing.T) {
	s := listen(t) // accepts nothing
	cfg := quick()
	cfg.Limits.StartWait = patience
	cfg.Components = []xmpp.Component{component(s.l.Addr().String())}
	a, err := xmpp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- a.Start(context.Background(), newRecorder()) }()
	await(t, "it connects", func() bool { return a.Links()[0].Phase == xmpp.LinkConnecting })
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	a.Shutdown(ctx)
	if d := time.Since(began); d > patience/2 {
		t.Fatalf("Shutdown took %v", d)
	}
	next(t, started, "the end of Start")
}

var watcher, presentity = cpim.MustParseAddress("pres:juliet@" + xmppDomain), cpim.MustParseAddress("pres:romeo@" + sipDomain)
