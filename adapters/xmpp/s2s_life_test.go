package xmpp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// TestIdleStreamCloses: a stream that carries nothing is closed in good order, and the next message opens another.
func TestIdleStreamCloses(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Servers.Limits.Idle = 150 * time.Millisecond
	a := start(t, cfg, newRecorder())
	h := f.theatre("example.com", nil)
	for i := range 2 {
		done := post(t, a, f.message("romeo@example.net", "juliet@example.com", strconv.Itoa(i)))
		p, _ := h.accept()
		p.manage(true)
		p.hear("message")
		p.hear("r")
		p.ack(1)
		if st := next(t, done, "the outcome"); st.Outcome != adapters.Indeterminate {
			t.Fatalf("%+v", st)
		}
		var se *stream.Error
		if err := p.end(); errors.As(err, &se) {
			t.Fatalf("the stream ended with %v", err)
		}
	}
	await(t, "no stream is counted as open", func() bool { return counted(t, cfg.Registerer, "isthmus_xmpp_server_streams") == 0 })
}

// TestServersShutdownDrains: what is queued and on its way when the end comes is written and acknowledged first; what comes after is
// refused.
func TestServersShutdownDrains(t *testing.T) {
	f := newFederation(t)
	a := start(t, f.config("example.net"), newRecorder())
	h := f.theatre("example.com", nil)
	const n = 20
	var done []<-chan adapters.Status
	for i := range n {
		done = append(done, post(t, a, f.message("romeo@example.net", "juliet@example.com", strconv.Itoa(i))))
	}
	p, _ := h.accept()
	p.manage(false)
	for range n {
		p.hear("message")
	}
	var end sync.WaitGroup
	end.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	await(t, "new messages are refused", func() bool {
		m := f.message("romeo@example.net", "juliet@example.org", "late")
		return a.Message(t.Context(), m.hops, m.op).Text == "The gateway is shutting down"
	})
	p.ack(n)
	end.Wait()
	for i, d := range done {
		if st := next(t, d, "an outcome"); st.Outcome != adapters.Indeterminate {
			t.Errorf("message %d: %+v", i, st)
		}
	}
	if err := p.end(); err == nil {
		t.Error("the stream is open")
	}
}

// TestServersCross: two servers write to each other at once, with streams that both open, and every message arrives once.
func TestServersCross(t *testing.T) {
	for _, dialback := range []bool{false, true} {
		t.Run(fmt.Sprintf("dialback=%v", dialback), func(t *testing.T) {
			f := newFederation(t)
			netCfg, comCfg := f.config("example.net"), f.config("example.com")
			if dialback {
				netCfg.Servers.Dialback, comCfg.Servers.Dialback = true, true
				netCfg.Servers.Certificates = f.storeOf(certstest.NewCA(t), "example.net")
			}
			netCore, comCore := newRecorder(), newRecorder()
			a, b := start(t, netCfg, netCore), start(t, comCfg, comCore)
			const n = 200
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					m := f.message("romeo@example.net", "juliet@example.com", strconv.Itoa(i))
					if st := a.Message(t.Context(), m.hops, m.op); st.Outcome != adapters.Indeterminate {
						t.Errorf("to example.com: %+v", st)
					}
				})
				all.Go(func() {
					m := f.message("juliet@example.com", "romeo@example.net", strconv.Itoa(i))
					if st := b.Message(t.Context(), m.hops, m.op); st.Outcome != adapters.Indeterminate {
						t.Errorf("to example.net: %+v", st)
					}
				})
			}
			all.Wait()
			for _, core := range []*recorder{netCore, comCore} {
				seen := map[string]bool{}
				for range n {
					op := next(t, core.messages, "a message")
					if seen[op.TransID] {
						t.Errorf("%s came twice", op.TransID)
					}
					seen[op.TransID] = true
				}
				none(t, core.messages, "one too many")
			}
		})
	}
}

// TestServersFailOver: a target that does not answer is passed over for the next, and the adapter tells what it learnt of both.
func TestServersFailOver(t *testing.T) {
	f := newFederation(t)
	var mu sync.Mutex
	learnt := map[string]bool{}
	cfg := f.config("example.net")
	cfg.Servers.Reached = func(t resolver.Target, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		learnt[t.Addr().String()] = ok
	}
	core := newRecorder()
	a := start(t, cfg, newRecorder())
	start(t, f.config("example.com"), core)
	good := f.addrs["example.com"]
	f.at("example.com", resolver.TCP, porttest.Refused(t).String())
	bad := f.addrs["example.com"]
	m := between("romeo@example.net", "juliet@example.com", "1", "hi")
	if st := a.Message(t.Context(), []resolver.Target{bad, good}, m); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	next(t, core.messages, "the message")
	mu.Lock()
	defer mu.Unlock()
	if ok, there := learnt[bad.Addr().String()]; ok || !there || !learnt[good.Addr().String()] {
		t.Errorf("%v", learnt)
	}
}

// TestServersBackoff: a domain that cannot be reached is not dialled for each message; those that would wait in vain are told at once.
func TestServersBackoff(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Backoff.Base, cfg.Backoff.Max = time.Hour, 2*time.Hour
	var mu sync.Mutex
	attempts := 0
	cfg.Servers.Reached = func(resolver.Target, bool) {
		mu.Lock()
		defer mu.Unlock()
		attempts++
	}
	a := start(t, cfg, newRecorder())
	f.at("example.com", resolver.TCP, porttest.Refused(t).String())
	for i := range 50 {
		m := f.message("romeo@example.net", "juliet@example.com", strconv.Itoa(i))
		if st := a.Message(t.Context(), m.hops, m.op); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonDomainTimeout {
			t.Fatalf("%+v", st)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if attempts == 0 || attempts > 3 {
		t.Errorf("%d attempts", attempts)
	}
}

// TestServersLarge: what is larger than the peer takes does not leave, and is told so.
func TestServersLarge(t *testing.T) {
	f := newFederation(t)
	a := start(t, f.config("example.net"), newRecorder())
	h := f.theatre("example.com", func(in *stream.Incoming) { in.MaxBytes = 10_000 })
	m := f.message("romeo@example.net", "juliet@example.com", "1")
	m.op.Content.Octets = make([]byte, 20_000)
	for i := range m.op.Content.Octets {
		m.op.Content.Octets[i] = 'x'
	}
	done := post(t, a, m)
	p, _ := h.accept()
	p.manage(false)
	if st := next(t, done, "the outcome"); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonTooLarge {
		t.Fatalf("%+v", st)
	}
	done = post(t, a, f.message("romeo@example.net", "juliet@example.com", "2"))
	if e := p.hear("message"); attr(e, "id") != "2" {
		t.Fatalf("%s", e.Raw)
	}
	p.ack(1)
	next(t, done, "the outcome")
}

// TestServerCertificateEnds: a stream lives no longer than the certificate that proved the other side: "the keys or certificates used to
// establish a secure context for the stream have expired" (RFC 6120 §4.9.3.16).
func TestServerCertificateEnds(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	impatient(&cfg)
	core := newRecorder()
	start(t, cfg, core)
	dir := t.TempDir()
	files := f.ca.Issue(certstest.Spec{DNS: []string{"example.com"}, NotAfter: time.Now().Add(8 * time.Second)}).WriteFiles(dir)
	store, err := certs.Open(certs.Config{
		Certificates: []certs.Source{{Name: "short", ChainFile: files.Chain, KeyFile: files.Key}}, RootsFile: f.ca.WriteRoot(dir), Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	p := f.mustDial("example.com", "example.net", func(o *stream.Outgoing) {
		o.TLS = store.Client(certs.Client{From: "example.com", ServerName: "example.net"}, func(tls.ConnectionState) error { return nil })
	})
	p.say("<message id='1' from='juliet@example.com' to='romeo@example.net'" + hello)
	next(t, core.messages, "the message while it lasts")
	p.refused(stream.Reset)
}
