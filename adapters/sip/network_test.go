package sip

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

const hello = `
MESSAGE sip:juliet@example.com SIP/2.0
Max-Forwards: 70
To: <sip:juliet@example.com>
From: <sip:romeo@example.net>;tag=TAG
Call-ID: 9E97FB43-85F4-4A00-8751-1124FD4C7B2E
CSeq: 1 MESSAGE
Content-Type: text/plain

Neither, fair saint, if either thee dislike.`

// tagged gives the request a tag of its own, so that it is no copy of another.
func tagged(text, tag string) string { return strings.Replace(text, "tag=TAG", "tag="+tag, 1) }

// T-ID-01, THREATS S1: nobody who is not known may send anything.
func TestStrangersAreRefused(t *testing.T) {
	// The packet of CVE-2021-37624: a MESSAGE from whoever likes to be the emergency services.
	const advisory = `
MESSAGE sip:juliet@example.com SIP/2.0
To: <sip:juliet@example.com>
From: "911 Department" <sip:911@example.net>;tag=TAG
Call-ID: call-1
CSeq: 1 MESSAGE
Content-Type: text/plain

This is a fake text message that appears to come from the 911 Department.`
	t.Run("an address that is no peer's", func(t *testing.T) {
		a, c := start(t, func(cfg *Config) {
			cfg.Peers = []Peer{{Name: "far", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Domains: []string{"example.net"}}}
		})
		for _, g := range []*agent{udpAgent(t, a), tcpAgent(t, a)} {
			for _, method := range []string{"MESSAGE", "SUBSCRIBE", "NOTIFY", "OPTIONS", "INVITE", "PUBLISH", "X"} {
				m := g.ask(strings.ReplaceAll(tagged(advisory, method), "MESSAGE", method))
				if m.StatusCode() != 403 {
					t.Errorf("%s from a stranger: %d %s", method, m.StatusCode(), m.ReasonPhrase())
				}
				if len(m.Raw())*5 > g.sent*6 {
					t.Errorf("%s: %d octets in, %d out: the refusal of a forged source may be 1.2 times as large", method, g.sent, len(m.Raw()))
				}
			}
		}
		c.quiet(t)
	})
	t.Run("no peers at all", func(t *testing.T) {
		a, c := start(t, func(cfg *Config) { cfg.Peers = nil })
		if m := udpAgent(t, a).ask(tagged(advisory, "a")); m.StatusCode() != 403 {
			t.Errorf("%d %s", m.StatusCode(), m.ReasonPhrase())
		}
		c.quiet(t)
	})
	t.Run("a domain that is not the peer's", func(t *testing.T) {
		a, c := start(t, nil)
		g := udpAgent(t, a)
		for i, from := range []string{"911@example.com", "911@sub.example.net", "911@example.net.evil.example", "911@127.0.0.1", "911@xexample.net"} {
			m := g.ask(strings.Replace(tagged(advisory, "t"+itoa(int64(i))), "911@example.net", from, 1))
			if m.StatusCode() != 403 {
				t.Errorf("From %s: %d %s", from, m.StatusCode(), m.ReasonPhrase())
			}
		}
		// What the sender says of itself elsewhere changes nothing (T-ID-03).
		m := g.ask(strings.NewReplacer("911@example.net", "911@example.com", "CSeq:", "P-Asserted-Identity: <sip:romeo@example.net>\nCSeq:").Replace(tagged(advisory, "pai")))
		if m.StatusCode() != 403 {
			t.Errorf("P-Asserted-Identity was believed: %d", m.StatusCode())
		}
		c.quiet(t)
	})
	t.Run("the peer's own domain, in capitals", func(t *testing.T) {
		a, c := start(t, nil)
		m := udpAgent(t, a).ask(strings.Replace(tagged(advisory, "a"), "911@example.net", "911@EXAMPLE.net", 1))
		if m.StatusCode() != 202 {
			t.Errorf("%d %s", m.StatusCode(), m.ReasonPhrase())
		}
		if op := next(t, c.messages, "message"); op.Peer != (adapters.Peer{Adapter: "sip", Name: "trunk"}) || op.From.Address != im("911@example.net") {
			t.Errorf("%+v", op)
		}
	})
}

func TestMessageIn(t *testing.T) {
	a, c := start(t, nil)
	for name, g := range map[string]*agent{"UDP": udpAgent(t, a), "TCP": tcpAgent(t, a)} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			for _, s := range []struct {
				status adapters.Status
				code   int
			}{
				{adapters.Accepted(), 202},
				{adapters.Succeeded(), 200},
				{adapters.Failed(adapters.ReasonNotFound, ""), 604},
				{adapters.Failed(adapters.ReasonOverloaded, ""), 503},
				{adapters.Failed(adapters.ReasonDomainTimeout, ""), 504},
				{adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonGone, NewAddress: "im:j@example.org"}, 301},
			} {
				c.answer(s.status)
				m := g.ask(tagged(hello, name+itoa(int64(s.code))))
				if m.StatusCode() != s.code {
					t.Errorf("%d %s, want %d", m.StatusCode(), m.ReasonPhrase(), s.code)
				}
				op := next(t, c.messages, "message")
				if op.From.Address != im("romeo@example.net") || op.Thread != "9E97FB43-85F4-4A00-8751-1124FD4C7B2E" ||
					string(op.Content.Octets) != "Neither, fair saint, if either thee dislike." || !strings.HasPrefix(op.TransID, "z9hG4bK") {
					t.Errorf("%+v", op)
				}
				// "A 2xx response to a MESSAGE request MUST NOT contain a body. A UAS MUST NOT insert a Contact header field
				// into a 2xx response." (RFC 3428 §7)
				if _, has := m.Header("Contact"); has && s.code < 300 || len(m.Body()) > 0 {
					t.Errorf("the response has a Contact or a body:\n%s", m.Raw())
				}
				if _, has := m.Header("Retry-After"); has {
					t.Error("a 503 with Retry-After stops all of the peer's traffic")
				}
			}
		})
	}
}

func TestMaxForwards(t *testing.T) { // T-LP-03
	a, c := start(t, nil)
	g := udpAgent(t, a)
	for value, want := range map[string]int{"0": 483, "1": 202, "255": 202, "256": 400} {
		m := g.ask(strings.Replace(tagged(hello, "mf"+value), "Max-Forwards: 70", "Max-Forwards: "+value, 1))
		if m.StatusCode() != want {
			t.Errorf("Max-Forwards %s: %d %s, want %d", value, m.StatusCode(), m.ReasonPhrase(), want)
		}
		if want == 202 {
			if op := next(t, c.messages, "message"); itoa(int64(op.Hops)) != value {
				t.Errorf("Max-Forwards %s gives %d hops", value, op.Hops)
			}
		}
	}
	c.quiet(t)
	s := a.Message(t.Context(), []resolver.Target{g.hop()}, outgoing(func(op *adapters.MessageOp) { op.Hops = 0 }))
	if s.Reason != adapters.ReasonLoop {
		t.Errorf("a message without hops: %+v", s)
	}
	if m := g.readWithin(100 * time.Millisecond); m != nil {
		t.Errorf("it was sent:\n%s", m.Raw())
	}
}

// roomFor makes a request so long that over UDP all of an answer may come back (T-OV-06).
var roomFor = "Subject: " + strings.Repeat("room ", 100) + ".\nCSeq:"

func TestGeneralRules(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	with := func(tag, old, replacement string) string {
		s := strings.Replace(tagged(hello, tag), old, replacement, 1)
		if s == tagged(hello, tag) {
			t.Fatalf("nothing to change: %q", old)
		}
		return s
	}
	for _, c := range []struct {
		name, text string
		code       int
		header     [2]string
	}{
		{"INVITE", strings.ReplaceAll(tagged(hello, "a"), "MESSAGE", "PUBLISH"), 405, [2]string{"Allow", "MESSAGE, NOTIFY, OPTIONS, SUBSCRIBE"}},
		{"an unknown method", strings.ReplaceAll(tagged(hello, "b"), "MESSAGE", "JUGGLE"), 501, [2]string{"Allow", "MESSAGE, NOTIFY, OPTIONS, SUBSCRIBE"}},
		{"Require", with("c", "Max-Forwards: 70", "Require: 100rel, gruu"), 420, [2]string{"Unsupported", "100rel, gruu"}},
		{"an unknown scheme", with("d", "MESSAGE sip:juliet@example.com", "MESSAGE xmpp:juliet@example.com"), 416, [2]string{}},
		{"T-TL-11, S18: SIPS", with("e", "MESSAGE sip:", "MESSAGE sips:"), 480, [2]string{"Warning", `380 isthmus "SIPS Not Allowed"`}},
		{"malformed", with("f", "Max-Forwards: 70", "Max-Forwards: many"), 400, [2]string{}},
		{"two Call-IDs", with("g", "CSeq:", "Call-ID: another\nCSeq:"), 400, [2]string{}},
		{"a type not carried", strings.Replace(with("h", "text/plain", "image/png"), "CSeq:", roomFor, 1), 415, [2]string{"Accept", acceptedContent}},
		{"OPTIONS", strings.Replace(strings.ReplaceAll(tagged(hello, "i"), "MESSAGE", "OPTIONS"), "CSeq:", roomFor, 1), 200, [2]string{"Allow-Events", "presence"}},
		{"OPTIONS with no hops", strings.Replace(strings.ReplaceAll(tagged(hello, "j"), "MESSAGE", "OPTIONS"), "70", "0", 1), 200, [2]string{"Allow", "MESSAGE, NOTIFY, OPTIONS, SUBSCRIBE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := g.ask(c.text)
			if m.StatusCode() != c.code {
				t.Errorf("%d %s, want %d", m.StatusCode(), m.ReasonPhrase(), c.code)
			}
			if v, _ := m.Header(c.header[0]); c.header[0] != "" && v != c.header[1] && !strings.Contains(string(m.Raw()), c.header[0]+": "+c.header[1]) {
				t.Errorf("no %s: %s in\n%s", c.header[0], c.header[1], m.Raw())
			}
		})
	}
	c.quiet(t)
}

// outgoing is a message from XMPP.
func outgoing(change func(*adapters.MessageOp)) *adapters.MessageOp {
	op := &adapters.MessageOp{
		ID: "op-1", From: adapters.Party{Address: im("juliet@example.com"), Instance: "balcony"},
		To: adapters.Party{Address: im("romeo@example.net")}, Thread: "T-1", TransID: "stanza-1", Hops: 69,
		Content: adapters.Content{Type: plainText, Octets: []byte("Art thou not Romeo?")},
	}
	if change != nil {
		change(op)
	}
	return op
}

func TestMessageOut(t *testing.T) {
	for _, c := range []struct {
		name     string
		response wire.Response
		want     adapters.Status
	}{
		{"200", wire.Response{Code: 200}, adapters.Status{Outcome: adapters.Success, Code: 200}},
		{"202", wire.Response{Code: 202}, adapters.Status{Outcome: adapters.Indeterminate, Code: 202}},
		{"404", wire.Response{Code: 404, Reason: "No such user"}, adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonNotFound, Code: 404, Remote: "404 No such user"}},
		{"401", wire.Response{Code: 401}, adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonNotAuthenticated, Code: 401}},
		{"480 with Retry-After", wire.Response{Code: 480, Headers: []wire.Header{{Name: "Retry-After", Value: "60"}}}, adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonRecipientUnavailable, Code: 480, RetryAfter: time.Minute}},
		{"301", wire.Response{Code: 301, Headers: []wire.Header{{Name: "Contact", Value: "<sip:romeo@example.org>"}}}, adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonGone, Code: 301, NewAddress: "im:romeo@example.org"}},
		{"302 is not followed", wire.Response{Code: 302, Headers: []wire.Header{{Name: "Contact", Value: "<sip:romeo@192.0.2.1>"}}}, adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonRedirect, Code: 302, NewAddress: "sip:romeo@192.0.2.1"}},
		{"503", wire.Response{Code: 503}, adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonInternal, Code: 503}},
		{"699", wire.Response{Code: 699, Reason: "What"}, adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonRecipientUnavailable, Code: 699}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _ := start(t, nil)
			g := udpAgent(t, a)
			done := make(chan adapters.Status, 1)
			go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
			m := g.request("MESSAGE", map[string]bool{})
			if m.CallID() != "T-1" || !strings.Contains(m.TopVia().Branch(), "stanza-1") {
				t.Errorf("Call-ID %s branch %s", m.CallID(), m.TopVia().Branch())
			}
			if n, _ := m.MaxForwards(); n != 69 {
				t.Errorf("Max-Forwards %d", n)
			}
			g.answer(m, c.response)
			got := next(t, done, "outcome")
			if got.Outcome != c.want.Outcome || got.Reason != c.want.Reason || got.Code != c.want.Code || got.NewAddress != c.want.NewAddress ||
				got.RetryAfter != c.want.RetryAfter || c.want.Remote != "" && got.Remote != c.want.Remote {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestOneThreadManyMessages(t *testing.T) {
	a, _ := start(t, nil)
	g := udpAgent(t, a)
	seen, tags, last := map[string]bool{}, map[string]bool{}, uint32(0)
	for range 5 {
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
		m := g.request("MESSAGE", seen)
		g.answer(m, wire.Response{Code: 200})
		next(t, done, "outcome")
		n, _ := m.CSeq()
		if m.CallID() != "T-1" || n <= last || tags[m.From().Tag()] || m.From().Tag() == "" {
			t.Errorf("Call-ID %s CSeq %d after %d tag %s: two messages could be taken for one", m.CallID(), n, last, m.From().Tag())
		}
		last, tags[m.From().Tag()] = n, true
	}
}

func TestNoSecondCopy(t *testing.T) {
	t.Run("silence after it was sent", func(t *testing.T) {
		a, _ := start(t, func(cfg *Config) { cfg.T1 = 2 * time.Millisecond })
		silent, spare := udpAgent(t, a), udpAgent(t, a)
		s := a.Message(t.Context(), []resolver.Target{silent.hop(), spare.hop()}, outgoing(nil))
		if s.Outcome != adapters.Failure || s.Reason != adapters.ReasonOutcomeUnknown {
			t.Errorf("%+v, want an unknown outcome, told truthfully", s)
		}
		if m := spare.readWithin(50 * time.Millisecond); m != nil {
			t.Errorf("a second copy was sent:\n%s", m.Raw())
		}
	})
	t.Run("503 says that it was not taken", func(t *testing.T) {
		a, _ := start(t, nil)
		first, second := udpAgent(t, a), udpAgent(t, a)
		done := make(chan adapters.Status, 1)
		go func() {
			done <- a.Message(context.Background(), []resolver.Target{first.hop(), second.hop()}, outgoing(nil))
		}()
		first.answer(first.request("MESSAGE", map[string]bool{}), wire.Response{Code: 503})
		second.answer(second.request("MESSAGE", map[string]bool{}), wire.Response{Code: 200})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a next hop that is not there", func(t *testing.T) {
		a, _ := start(t, nil)
		dead := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: porttest.Refused(t)})
		g := udpAgent(t, a)
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(context.Background(), []resolver.Target{dead, g.hop()}, outgoing(nil)) }()
		g.answer(g.request("MESSAGE", map[string]bool{}), wire.Response{Code: 200})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%+v", s)
		}
	})
	t.Run("no next hop at all", func(t *testing.T) {
		a, _ := start(t, nil)
		if s := a.Message(t.Context(), nil, outgoing(nil)); s.Reason != adapters.ReasonDomainNotFound {
			t.Errorf("%+v", s)
		}
	})
}

func TestPagerSize(t *testing.T) {
	// "The size of MESSAGE requests outside of a media session MUST NOT exceed 1300 bytes, unless ..." (RFC 3428 §8)
	for _, large := range []bool{false, true} {
		a, _ := start(t, func(cfg *Config) {
			peer := loopback
			peer.LargeMessages = large
			cfg.Peers = []Peer{peer}
		})
		var g *agent
		var l net.Listener
		for l == nil { // until a port is free for both
			g = udpAgent(t, a)
			l, _ = net.Listen("tcp4", g.addr().String()) // where the 1300-byte rule of RFC 3261 §18.1.1 leads
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b, _, err := wire.NewStreamReader(conn, wire.Limits{}).Next()
			if err != nil {
				return
			}
			if m, err := wire.Parse(b, wire.Limits{}); err == nil {
				r, _ := wire.AppendResponse(nil, m, wire.Response{Code: 200, ToTag: "x"})
				conn.Write(r)
			}
		}()
		s := a.Message(t.Context(), []resolver.Target{g.hop()}, outgoing(func(op *adapters.MessageOp) {
			op.Content.Octets = []byte(strings.Repeat("x", 1290))
		}))
		if large && s.Outcome != adapters.Success || !large && s.Reason != adapters.ReasonTooLarge {
			t.Errorf("large messages %v: %+v", large, s)
		}
	}
}

func TestContentTypeIsLearnt(t *testing.T) {
	a, _ := start(t, func(cfg *Config) {
		peer := loopback
		peer.Dispositions = true
		cfg.Peers = []Peer{peer}
	})
	g := udpAgent(t, a)
	seen := map[string]bool{}
	op := outgoing(func(op *adapters.MessageOp) { op.Wants = adapters.WantDelivered })
	done := make(chan adapters.Status, 1)
	go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, op) }()
	m := g.request("MESSAGE", seen)
	if m.ContentType() != "message/cpim" {
		t.Fatalf("%s, want message/cpim for a message whose sender asked", m.ContentType())
	}
	g.answer(m, wire.Response{Code: 415})
	m = g.request("MESSAGE", seen)
	if m.ContentType() != plainText || string(m.Body()) != "Art thou not Romeo?" {
		t.Fatalf("%s %s", m.ContentType(), m.Body())
	}
	g.answer(m, wire.Response{Code: 200})
	if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}
	go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, op) }()
	if m = g.request("MESSAGE", seen); m.ContentType() != plainText {
		t.Errorf("%s: nothing was learnt", m.ContentType())
	}
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")
}

func TestReportBothWays(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	notice := strings.Replace(cpimMessage(strings.Replace(cpimNotice, "KIND", "<delivery-notification><status><delivered/></status></delivery-notification>", 1)), "tag=vwxyz", "tag=n1", 1)
	var lines []string
	head, body, _ := strings.Cut(notice, "\n\n")
	for l := range strings.SplitSeq(head, "\n") {
		if !strings.HasPrefix(l, "Via") {
			lines = append(lines, l)
		}
	}
	if m := g.ask(strings.Join(lines, "\n") + "\n\n" + body); m.StatusCode() != 200 {
		t.Fatalf("%d %s", m.StatusCode(), m.ReasonPhrase())
	}
	r := next(t, c.reports, "report")
	if r.Kind != adapters.ReportDelivered || r.TransID != "34jk324j" {
		t.Errorf("%+v", r)
	}
	c.quiet(t)
	done := make(chan adapters.Status, 1)
	go func() {
		done <- a.Report(context.Background(), []resolver.Target{g.hop()}, &adapters.Report{
			Kind: adapters.ReportFailed, Sender: adapters.Party{Address: im("romeo@example.net")}, Recipient: adapters.Party{Address: im("juliet@example.com")},
			TransID: "msg-77", Thread: "T", Wants: adapters.WantFailed, Status: adapters.Failed(adapters.ReasonNotFound, ""), Time: now,
		})
	}()
	m := g.request("MESSAGE", map[string]bool{})
	if m.ContentType() != "message/cpim" || !strings.Contains(string(m.Body()), "<message-id>msg-77</message-id>") || !strings.Contains(string(m.Body()), "<failed/>") {
		t.Errorf("%s\n%s", m.ContentType(), m.Body())
	}
	g.answer(m, wire.Response{Code: 200})
	if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}
}

func TestOnePendingMessage(t *testing.T) {
	// "A UAC MUST NOT initiate a new out-of-dialog MESSAGE transaction to a given URI if there is a previous out-of-dialog
	// transaction pending for the same URI." (RFC 3428 §8)
	a, _ := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	hops := []resolver.Target{g.hop()}
	done := make(chan adapters.Status, 2)
	go func() { done <- a.Message(context.Background(), hops, outgoing(nil)) }()
	first := g.request("MESSAGE", seen)
	go func() {
		done <- a.Report(context.Background(), hops, &adapters.Report{
			Kind: adapters.ReportFailed, Sender: adapters.Party{Address: im("romeo@example.net")}, Recipient: adapters.Party{Address: im("juliet@example.com")},
			TransID: "msg-1", Status: adapters.Failed(adapters.ReasonNotFound, ""), Time: now,
		})
	}()
	waitFor(t, func() bool {
		a.pending.mu.Lock()
		defer a.pending.mu.Unlock()
		return len(a.pending.busy[a.pending.hash(im("romeo@example.net"))]) == 1
	})
	for end := time.Now().Add(60 * time.Millisecond); time.Now().Before(end); {
		if m := g.readWithin(time.Until(end)); m != nil && m.TopVia().Branch() != first.TopVia().Branch() {
			t.Fatalf("a second MESSAGE while one is pending:\n%s", m.Raw())
		}
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if s := a.Message(short, hops, outgoing(nil)); s.Outcome != adapters.Failure {
		t.Errorf("%+v", s)
	}
	g.answer(first, wire.Response{Code: 200})
	next(t, done, "outcome")
	g.answer(g.request("MESSAGE", seen), wire.Response{Code: 200})
	next(t, done, "outcome")
	if n := len(a.pending.busy); n != 0 {
		t.Errorf("%d addresses are left", n)
	}
}
