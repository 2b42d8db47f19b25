package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// learnt is what Config.Reached was told.
type learnt struct {
	mu   sync.Mutex
	told []string
}

func (l *learnt) reached(t resolver.Target, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	word := " failed"
	if ok {
		word = " reached"
	}
	l.told = append(l.told, t.Transport().String()+" "+t.Addr().String()+word)
}

func (l *learnt) is(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.told, want) {
		t.Errorf("told %q, want %q", l.told, want)
	}
	l.told = nil
}

// closedTCP is a target where nobody listens.
func closedTCP(t *testing.T) resolver.Target {
	t.Helper()
	return resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: porttest.Refused(t)})
}

// "For SIP requests, failure occurs if the transaction layer reports a 503 error response or a transport failure of some sort ... Failure
// also occurs if the transaction layer times out without ever having received any response, provisional or final" (RFC 3263 §4.3).
func TestReached(t *testing.T) {
	l := new(learnt)
	a, _ := start(t, func(cfg *Config) { cfg.T1, cfg.Reached = 60*time.Millisecond, l.reached })
	dead, busy, silent, fine := closedTCP(t), udpAgent(t, a), udpAgent(t, a), udpAgent(t, a)
	send := func(ctx context.Context, hops ...resolver.Target) <-chan adapters.Status {
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(ctx, hops, outgoing(nil)) }()
		return done
	}
	t.Run("no connection, 503, and a success", func(t *testing.T) {
		done := send(t.Context(), dead, busy.hop(), fine.hop())
		busy.answer(busy.request("MESSAGE", map[string]bool{}), wire.Response{Code: 503})
		fine.answer(fine.request("MESSAGE", map[string]bool{}), wire.Response{Code: 200})
		next(t, done, "outcome")
		l.is(t, "tcp "+dead.Addr().String()+" failed", "udp "+busy.addr().String()+" failed", "udp "+fine.addr().String()+" reached")
	})
	seen := map[string]bool{}
	t.Run("a refusal of the message is no failure of the server", func(t *testing.T) {
		done := send(t.Context(), fine.hop())
		fine.answer(fine.request("MESSAGE", seen), wire.Response{Code: 500})
		next(t, done, "outcome")
		l.is(t, "udp "+fine.addr().String()+" reached")
	})
	t.Run("silence", func(t *testing.T) {
		next(t, send(t.Context(), silent.hop()), "outcome")
		l.is(t, "udp "+silent.addr().String()+" failed")
	})
	t.Run("silence, and a caller that waits less than Timer F", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), a.timerN*3/4)
		defer cancel()
		next(t, send(ctx, silent.hop()), "outcome")
		l.is(t, "udp "+silent.addr().String()+" failed")
	})
	t.Run("a caller that hardly waits learns nothing", func(t *testing.T) {
		// To one that takes half a minute for long, however slow the machine is.
		slow, _ := start(t, func(cfg *Config) { cfg.T1, cfg.Reached = time.Second, l.reached })
		ctx, cancel := context.WithTimeout(t.Context(), slow.timerN/256)
		defer cancel()
		slow.Message(ctx, []resolver.Target{silent.hop()}, outgoing(nil))
		l.is(t)
	})
	t.Run("a provisional response and then nothing", func(t *testing.T) {
		done := send(t.Context(), fine.hop())
		fine.answer(fine.request("MESSAGE", seen), wire.Response{Code: 100})
		next(t, done, "outcome")
		l.is(t)
	})
}

// T-TL-12: an address that the guard refuses gets no datagram, whoever named it.
func TestGuardOfDatagrams_T_TL_12(t *testing.T) {
	guard := resolver.NewGuard(resolver.GuardConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	asked := make(chan netip.Addr, 64)
	a, c := start(t, func(cfg *Config) {
		cfg.AllowAddr = func(addr netip.Addr) error { asked <- addr; return guard.AllowAddr(addr) }
	})
	private, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.2:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer private.Close()
	inside := private.LocalAddr().(*net.UDPAddr).AddrPort()
	untouched := func(t *testing.T) {
		t.Helper()
		private.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		b := make([]byte, 2048)
		if n, _, err := private.ReadFromUDPAddrPort(b); err == nil {
			t.Errorf("sent to where it must not:\n%s", b[:n])
		}
	}
	t.Run("from DNS", func(t *testing.T) {
		hop := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Host: "rebind.example.net", Addr: inside})
		g := udpAgent(t, a)
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Message(context.Background(), []resolver.Target{hop, g.hop()}, outgoing(nil)) }()
		g.answer(g.request("MESSAGE", map[string]bool{}), wire.Response{Code: 200})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%+v: the next target was to be tried", s)
		}
		untouched(t)
		if first := next(t, asked, "question"); first != inside.Addr() {
			t.Errorf("asked about %s", first)
		}
	})
	t.Run("too large for a datagram", func(t *testing.T) {
		hop := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: inside})
		r := a.do(t.Context(), hop, &wire.Request{
			Method: "MESSAGE", URI: "sip:a@example.net", From: "<sip:b@example.com>;tag=x", To: "<sip:a@example.net>", CallID: "c", CSeq: 1,
			ContentType: "text/plain", Body: []byte(strings.Repeat("x", 2000)),
		})
		if !errors.Is(r.Err, resolver.ErrForbidden) || r.Sent {
			t.Errorf("%+v", r)
		}
	})
	t.Run("from a Contact", func(t *testing.T) {
		g := udpAgent(t, a)
		seen := map[string]bool{}
		m := g.ask(strings.ReplaceAll(subscribeText, "HOST", inside.String()))
		if m.StatusCode() != 200 {
			t.Fatal(m.StatusCode())
		}
		op := next(t, c.watches, "watch")
		// It goes where the core says instead.
		done := notify(a, g, adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive})
		g.answer(g.request("NOTIFY", seen), wire.Response{Code: 200})
		if s := next(t, done, "outcome"); s.Outcome != adapters.Success {
			t.Errorf("%+v", s)
		}
		untouched(t)
	})
}
