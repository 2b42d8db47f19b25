package sip

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// responseOf is a final response to a MESSAGE of ours.
func responseOf(t *testing.T, code int, fields string) *wire.Message {
	t.Helper()
	m, err := wire.Parse([]byte("SIP/2.0 "+strconv.Itoa(code)+" What\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bK1\r\nFrom: <sip:a@b.example>;tag=1\r\nTo: <sip:c@d.example>;tag=2\r\n"+
		"Call-ID: c\r\nCSeq: 1 MESSAGE\r\n"+fields+"Content-Length: 0\r\n\r\n"), wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// T-FI-11: every code that a peer may answer with has one outcome, and none but 503 lets the message go to another next hop: each of
// them means that somebody had it.
func TestEveryAnswer(t *testing.T) {
	for code := 200; code <= 699; code++ {
		s, another := outcome(&transaction.Result{Response: responseOf(t, code, ""), Sent: true, Heard: true})
		want := adapters.Failure
		switch {
		case code == 202:
			// "the UAC MUST NOT assume the message has been delivered to the final destination" (RFC 3428 §4)
			want = adapters.Indeterminate
		case code < 300:
			want = adapters.Success
		}
		if s.Outcome != want || s.Code != code || another != (code == 503) {
			t.Errorf("%d: %+v, another %v", code, s, another)
		}
		if (want == adapters.Failure) != (s.Reason != adapters.ReasonNone) {
			t.Errorf("%d: reason %v", code, s.Reason)
		}
	}
}

// T-FI-11: what a peer says of when to come back is a number of seconds or nothing.
func TestEveryRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, "1000000000": 1_000_000_000 * time.Second, "99999999999999999999": maxSeconds * time.Second, "-5": 0, "soon": 0, "": 0,
		"120 (I'm in a meeting)": 2 * time.Minute, "18000;duration=3600": 5 * time.Hour, "1.5": 0,
	} {
		s, another := outcome(&transaction.Result{Response: responseOf(t, 503, "Retry-After: "+value+"\r\n")})
		if s.RetryAfter != want || !another || s.Reason != adapters.ReasonInternal {
			t.Errorf("Retry-After %q: %+v", value, s)
		}
	}
}

// T-FI-11: a redirection is told and never followed: a peer does not choose where the gateway sends.
func TestRedirectionIsNotFollowed(t *testing.T) {
	for _, c := range []struct {
		name, contact string
		code          int
		want          string // the new address; HOST stands for the agent's own
	}{
		{"to itself, a loop", "<sip:romeo@HOST>", 302, "sip:romeo@HOST"},
		{"to another user", "<sip:mercutio@example.net>", 302, "im:mercutio@example.net"},
		{"for ever", "<sip:romeo@example.org>", 301, "im:romeo@example.org"},
		{"to several, of which the first is told", "<sip:a@example.org>;q=0.1, <sip:b@example.org>;q=0.9", 300, "im:a@example.org"},
		{"to another protocol", "<mailto:romeo@example.net>", 302, "mailto:romeo@example.net"},
		{"to nowhere", "", 302, ""},
		{"by a proxy", "<sip:proxy.example.org>", 305, "sip:proxy.example.org"},
		{"to another service", "<sip:romeo@example.org>", 380, "im:romeo@example.org"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _ := start(t, nil)
			g := udpAgent(t, a)
			host := g.addr().String()
			done := make(chan adapters.Status, 1)
			go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, outgoing(nil)) }()
			seen := map[string]bool{}
			r := wire.Response{Code: c.code}
			if c.contact != "" {
				r.Headers = []wire.Header{{Name: "Contact", Value: strings.ReplaceAll(c.contact, "HOST", host)}}
			}
			g.answer(g.request("MESSAGE", seen), r)
			s := next(t, done, "outcome")
			if s.Outcome != adapters.Failure || s.NewAddress != strings.ReplaceAll(c.want, "HOST", host) {
				t.Errorf("%+v", s)
			}
			g.nothingWithin(60*time.Millisecond, seen, "it was followed")
		})
	}
}

// T-FI-11: one delivery and the right outcome, whatever the peer does.
func TestOddPeers(t *testing.T) {
	send := func(t *testing.T, a *Adapter, hops ...resolver.Target) <-chan adapters.Status {
		t.Helper()
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(context.Background(), hops, outgoing(nil)) }()
		return done
	}
	alone := func(t *testing.T, g *agent, seen map[string]bool) {
		t.Helper()
		g.nothingWithin(60*time.Millisecond, seen, "a second copy")
	}
	t.Run("nobody listens, and an ICMP message says so", func(t *testing.T) {
		a, _ := start(t, nil)
		dead := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: porttest.Refused(t)})
		g := udpAgent(t, a)
		done := send(t, a, dead, g.hop())
		g.answer(g.request("MESSAGE", map[string]bool{}), wire.Response{Code: 200})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%+v", s)
		}
	})
	for _, code := range []int{408, 480, 486, 500, 504, 600, 603, 699} {
		t.Run(strconv.Itoa(code)+" ends it", func(t *testing.T) {
			a, _ := start(t, nil)
			first, second := udpAgent(t, a), udpAgent(t, a)
			done := send(t, a, first.hop(), second.hop())
			first.answer(first.request("MESSAGE", map[string]bool{}), wire.Response{Code: code})
			if s := next(t, done, "outcome"); s.Outcome != adapters.Failure || s.Code != code {
				t.Errorf("%+v", s)
			}
			alone(t, second, nil)
		})
	}
	for _, code := range []int{401, 407} {
		t.Run(strconv.Itoa(code)+" without credentials", func(t *testing.T) {
			a, _ := start(t, nil)
			g := udpAgent(t, a)
			seen := map[string]bool{}
			done := send(t, a, g.hop())
			name := map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[code]
			g.answer(g.request("MESSAGE", seen), wire.Response{Code: code, Headers: []wire.Header{{Name: name, Value: `Digest realm="x", nonce="y"`}}})
			if s := next(t, done, "outcome"); s.Outcome != adapters.Failure || s.Code != code {
				t.Errorf("%+v", s)
			}
			g.nothingWithin(60*time.Millisecond, seen, "it was asked again")
		})
	}
	t.Run("202 and then nothing", func(t *testing.T) {
		a, c := start(t, nil)
		g := udpAgent(t, a)
		done := send(t, a, g.hop())
		g.answer(g.request("MESSAGE", map[string]bool{}), wire.Response{Code: 202})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Indeterminate {
			t.Errorf("%+v", s)
		}
		c.quiet(t)
	})
	t.Run("two finals, of which the first counts", func(t *testing.T) {
		a, c := start(t, nil)
		g := udpAgent(t, a)
		done := send(t, a, g.hop())
		seen := map[string]bool{}
		m := g.request("MESSAGE", seen)
		g.answer(m, wire.Response{Code: 404})
		g.answer(m, wire.Response{Code: 200, ToTag: "fork"})
		if s := next(t, done, "outcome"); s.Code != 404 {
			t.Errorf("%+v", s)
		}
		alone(t, g, seen)
		c.quiet(t)
	})
	t.Run("provisional responses without end", func(t *testing.T) {
		a, _ := start(t, func(cfg *Config) { cfg.T1 = 2 * time.Millisecond })
		g, spare := udpAgent(t, a), udpAgent(t, a)
		done := send(t, a, g.hop(), spare.hop())
		m := g.request("MESSAGE", map[string]bool{})
		for range 20 {
			g.answer(m, wire.Response{Code: 100})
			g.answer(m, wire.Response{Code: 182})
		}
		if s := next(t, done, "outcome"); s.Outcome != adapters.Failure || s.Reason != adapters.ReasonOutcomeUnknown {
			t.Errorf("%+v", s)
		}
		alone(t, spare, nil)
	})
	t.Run("200 after the end is no second message", func(t *testing.T) {
		a, c := start(t, nil)
		g := udpAgent(t, a)
		done := send(t, a, g.hop())
		m := g.request("MESSAGE", map[string]bool{})
		if s := next(t, done, "outcome"); s.Reason != adapters.ReasonOutcomeUnknown {
			t.Errorf("%+v", s)
		}
		g.answer(m, wire.Response{Code: 200})
		again := send(t, a, g.hop())
		other := g.request("MESSAGE", map[string]bool{m.TopVia().Branch(): true})
		g.answer(other, wire.Response{Code: 200})
		if s := next(t, again, "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%+v", s)
		}
		c.quiet(t)
	})
}

// T-FI-11: "late 200 turns "unknown" into delivered, never a second copy".
func TestLateAnswer(t *testing.T) {
	for _, c := range []struct {
		name      string
		transport resolver.Transport
		code      int
		wants     adapters.Dispositions
		told      bool
	}{
		{"200 over UDP", resolver.UDP, 200, adapters.WantDelivered, true},
		{"200 over TCP", resolver.TCP, 200, adapters.WantDelivered, true},
		{"202 says no more", resolver.UDP, 202, adapters.WantDelivered, false},
		{"404 says no more", resolver.UDP, 404, adapters.WantDelivered, false},
		{"nobody asked", resolver.UDP, 200, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, core := start(t, nil)
			g := udpAgent(t, a)
			hop := g.hop()
			var accepted chan net.Conn
			if c.transport == resolver.TCP {
				l, err := net.Listen("tcp4", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				accepted = make(chan net.Conn, 1)
				go func() {
					conn, err := l.Accept()
					if err == nil {
						accepted <- conn
					}
				}()
				hop = resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: l.Addr().(*net.TCPAddr).AddrPort()})
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan adapters.Status, 1)
			op := outgoing(func(op *adapters.MessageOp) { op.Wants = c.wants })
			go func() { done <- a.Message(ctx, []resolver.Target{hop}, op) }()
			if accepted != nil {
				conn := next(t, accepted, "connection")
				defer conn.Close()
				g = &agent{t: t, conn: conn, sr: wire.NewStreamReader(conn, wire.Limits{})}
			}
			seen := map[string]bool{}
			m := g.request("MESSAGE", seen)
			cancel()
			if s := next(t, done, "outcome"); s.Reason != adapters.ReasonOutcomeUnknown {
				t.Fatalf("%+v", s)
			}
			g.answer(m, wire.Response{Code: c.code})
			if c.told {
				r := next(t, core.reports, "report")
				if r.Kind != adapters.ReportDelivered || r.TransID != op.TransID || r.Sender != op.From || r.Recipient != op.To || r.Time.IsZero() {
					t.Errorf("%+v", r)
				}
			}
			g.answer(m, wire.Response{Code: c.code}) // again: nobody hears it
			g.nothingWithin(60*time.Millisecond, seen, "a second copy")
			core.quiet(t)
		})
	}
}
