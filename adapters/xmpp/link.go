package xmpp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

// ErrNotAuthorized is in the error of Wait when a server did not accept a component's secret. It is for the operator to mend: there is
// no second attempt. At the start it stops the adapter; later, when a secret was changed on one side, the link alone, and the
// adapter when no link is left.
var ErrNotAuthorized = errors.New("xmpp: the server does not accept the component's secret")

var (
	errSilent   = errors.New("xmpp: the server did not answer a ping in time")
	errStopping = errors.New("xmpp: shutting down")
)

// LinkPhase is how far a link is.
type LinkPhase uint8

// The phases.
const (
	LinkDown       LinkPhase = iota // waiting to try again
	LinkConnecting                  // connecting, or in the handshake
	LinkUp                          // stanzas flow
	LinkStopped                     // for good
	LinkElsewhere                   // another gateway has it, or nobody knows which one
)

// String returns the phase's name for logs and the readiness page.
func (p LinkPhase) String() string {
	switch p {
	case LinkConnecting:
		return "connecting"
	case LinkUp:
		return "up"
	case LinkStopped:
		return "stopped"
	case LinkElsewhere:
		return "another gateway's"
	default:
		return "down"
	}
}

// LinkState is a snapshot of one link.
type LinkState struct {
	// Component is its configured name.
	Component string
	Phase     LinkPhase
	// Since is when the phase began.
	Since time.Time
	// Fault is what ended the last stream or attempt, "" if nothing did. It holds no octets of the peer's.
	Fault string
	// Queued is how many stanzas wait to be written.
	Queued int
}

// link is one component link: the goroutine of run owns its stream.
type link struct {
	path
	now  atomic.Pointer[endpoint]
	wake wake

	first     chan struct{} // closed after the first attempt
	firstOnce sync.Once
	done      chan struct{} // closed when run has returned
	ctx       context.Context
	stop      context.CancelFunc
	again     wake       // the next attempt is made at once
	lease     *linkLease // nil for a gateway alone

	mu    sync.Mutex
	phase LinkPhase
	since time.Time
	fault string
}

func newLink(a *Adapter, e *endpoint) *link {
	w := newWake()
	l := &link{
		path: path{
			a: a, name: func() string { return e.Name }, self: e.self, pinged: e.pinged, box: newOutbox(*a.lim(), w.poke), log: a.log.With().Str("component", e.Name).Logger(),
		},
		wake: w, first: make(chan struct{}), done: make(chan struct{}), since: time.Now(), again: newWake(),
	}
	l.now.Store(e)
	l.ctx, l.stop = context.WithCancel(a.base)
	if a.shared.Load() {
		l.lease = newLinkLease()
		l.firstOnce.Do(func() { close(l.first) }) // nobody waits for what may be another's
	}
	return l
}

// end is what the link is as it is configured now: a reload may change whom it serves, and the secret.
func (l *link) end() *endpoint { return l.now.Load() }

// start begins to run it.
func (l *link) start() { go l.run(l.ctx) }

func (l *link) state() LinkState {
	n, _ := l.box.depth()
	l.mu.Lock()
	defer l.mu.Unlock()
	return LinkState{Component: l.end().Name, Phase: l.phase, Since: l.since, Fault: l.fault, Queued: n}
}

func (l *link) enter(p LinkPhase, err error) {
	l.mu.Lock()
	if l.phase != p {
		l.phase, l.since = p, time.Now()
	}
	if err != nil {
		l.fault = err.Error()
	} else if p == LinkUp {
		l.fault = ""
	}
	l.mu.Unlock()
	up := 0.0
	if p == LinkUp {
		up = 1
	}
	l.a.m.up.WithLabelValues(l.end().Name).Set(up)
}

// run connects, serves and connects again until ctx ends, or the server refuses the secret. It owns the stream.
func (l *link) run(ctx context.Context) {
	defer close(l.done)
	defer l.firstOnce.Do(func() { close(l.first) })
	defer l.callers.forget() // a reload may take the link away, and the core's context goes on
	defer func() { l.undelivered(l.box.drop()) }()
	if l.lease == nil {
		l.hold(ctx)
		return
	}
	for {
		l.enter(LinkElsewhere, nil)
		mine, ok := l.lease.wait(ctx)
		if !ok {
			l.enter(LinkStopped, nil)
			return
		}
		again := l.hold(mine)
		l.undelivered(l.box.refuse(adapters.Failed(adapters.ReasonDomainTimeout, "")))
		l.lease.ended()
		if !again || ctx.Err() != nil {
			l.enter(LinkStopped, nil)
			return
		}
	}
}

// hold does what run says until ctx ends; false if the link is stopped for good.
func (l *link) hold(ctx context.Context) bool {
	attempt, missed := 0, false
	for {
		l.enter(LinkConnecting, nil)
		conn, err := l.connect(ctx)
		opened := err == nil
		if opened {
			l.a.m.attempts.WithLabelValues(l.end().Name, "ok").Inc()
			l.enter(LinkUp, nil)
			l.log.Info().Msg("xmpp: component link is up")
			if l.lease != nil {
				l.returned()
			}
			l.firstOnce.Do(func() { close(l.first) })
			if missed {
				l.a.tell(l.end().ways(), true)
			}
			began := time.Now()
			err = l.serve(ctx, conn)
			l.undelivered(l.box.lost())
			if time.Since(began) >= l.a.back().Stable {
				attempt = 0
			}
		} else {
			l.a.m.attempts.WithLabelValues(l.end().Name, "failed").Inc()
		}
		if ctx.Err() != nil || errors.Is(err, errStopping) {
			l.enter(LinkStopped, nil)
			return true
		}
		var se *stream.Error
		if errors.As(err, &se) && se.Condition == stream.NotAuthorized && !opened {
			err = fmt.Errorf("%w: component %q", ErrNotAuthorized, l.end().Name)
			l.enter(LinkStopped, err)
			l.a.fail(l, err)
			return false
		}
		l.enter(LinkDown, err)
		missed = true
		if opened {
			l.a.tell(l.end().ways(), false)
		}
		wait := l.a.back().delay(attempt, rand.Float64())
		if se != nil && se.Condition == stream.Conflict {
			// Another component has our host: trying often would only take turns with it (THREATS.md T-FI-26).
			wait = max(wait, l.a.back().Max/2)
		}
		ev := l.log.Warn().Str("fault", err.Error()).Dur("retry_in", wait)
		if se != nil && se.Text != "" {
			ev = ev.Str("remote", se.Text)
		}
		ev.Msg("xmpp: component link is down")
		l.firstOnce.Do(func() { close(l.first) })
		attempt++
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-l.again:
			t.Stop()
			attempt = 0
		case <-ctx.Done():
			t.Stop()
			l.enter(LinkStopped, nil)
			return true
		}
	}
}

// delay is exponential backoff with full jitter; f is random in [0, 1).
func (b Backoff) delay(attempt int, f float64) time.Duration {
	ceiling := b.Max
	if attempt < 30 && b.Base<<attempt < b.Max && b.Base<<attempt > 0 {
		ceiling = b.Base << attempt
	}
	return time.Duration(f * float64(ceiling))
}

func (l *link) connect(ctx context.Context) (*stream.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.a.lim().ConnectTimeout)
	defer cancel()
	conn, err := l.a.dial(ctx, "tcp", l.end().Server)
	if err != nil {
		return nil, err
	}
	return stream.OpenComponent(ctx, conn, stream.Component{
		Domain: l.end().self.String(), Secret: []byte(l.end().Secret.octets), Limits: l.a.lim().XML,
	})
}

// maxBatch is how many octets go into one write, unless one stanza alone has more.
const maxBatch = 64 << 10

// serve writes what the outbox has, one batch and one ping at a time, until the stream ends, and returns why. Beside it run the
// reader and the guard; whichever of the three ends first says why, and closes the stream under the others.
func (l *link) serve(ctx context.Context, conn *stream.Conn) error {
	ctx, end := context.WithCancelCause(ctx)
	why := func() error {
		if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
			return err
		}
		return errStopping
	}
	// Close interrupts a Write that waits for a server that does not read.
	context.AfterFunc(ctx, func() { conn.Close(stream.ConditionOf(why())) })
	var beside sync.WaitGroup
	beside.Go(func() { end(l.read(conn)) })
	beside.Go(func() { l.guard(ctx, end) })
	if err := l.write(ctx, conn); err != nil {
		// A server that closes says why before it does (RFC 6120 §4.9.1.1), which the reader may just be reading.
		t := time.NewTimer(lastWords)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		end(err)
	}
	conn.Close(stream.ConditionOf(why()))
	beside.Wait()
	return why()
}

// lastWords is how long the reader may go on after a write failed.
const lastWords = time.Second

// guard ends the stream of a server that does not answer pings, also while a write waits for it (T-FI-27).
func (l *link) guard(ctx context.Context, end context.CancelCauseFunc) {
	check := time.NewTicker(min(time.Second, l.a.lim().PingTimeout))
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-check.C:
			if at := l.box.oldest(); !at.IsZero() && now.Sub(at) >= l.a.lim().PingTimeout {
				end(errSilent)
				return
			}
		}
	}
}

// write returns nil when ctx has ended, else why a write failed.
func (l *link) write(ctx context.Context, conn *stream.Conn) error {
	check := time.NewTicker(min(time.Second, l.a.lim().KeepAlive))
	defer check.Stop()
	var buf []byte
	last := time.Now()
	l.wake.poke() // what waited for the link
	for {
		force := false
		select {
		case <-ctx.Done():
			return nil
		case now := <-check.C:
			if force = now.Sub(last) >= l.a.lim().KeepAlive; !force {
				continue
			}
		case <-l.wake:
			if ctx.Err() != nil {
				return nil // both were ready
			}
		}
		// Whoever is ready to run may have something to write too: then it goes with the same ping.
		runtime.Gosched()
		now := time.Now()
		var taken []*item
		var ping string
		buf, taken, ping = l.box.take(buf[:0], maxBatch, force, now)
		if ping == "" {
			continue
		}
		last = now
		buf = stanza.AppendPing(buf, l.end().self, l.end().pinged, ping)
		n, err := conn.Write(buf, now.Add(l.a.lim().WriteTimeout))
		if err != nil {
			if n == 0 {
				l.box.unsend()
			}
			return err
		}
		stanzas := 0
		for _, it := range taken {
			l.a.tapped(adapters.Outbound, it.octets)
			stanzas += it.stanzas
		}
		l.traffic().out.Add(float64(stanzas))
		l.box.written(taken)
		if cap(buf) > 4*maxBatch {
			buf = nil
		}
	}
}

// maxSkip is how much of a stanza that is too large is passed over, in octets; one without end ends the stream. Servers let through
// up to 512 KiB.
const maxSkip = 4 << 20

// read hands every stanza of the stream on until it ends, and returns why. It never waits for anything but the socket.
func (l *link) read(conn *stream.Conn) error {
	r := stanza.NewReader(stanza.SpaceComponent, l.a.lim().XML)
	for {
		raw, err := conn.Next()
		unread := err != nil // the rest of it
		var s *stanza.Stanza
		if !unread {
			s, err = r.Read(raw, conn.Scope())
		}
		if err == io.EOF {
			return errClosed
		}
		if err != nil {
			// A stanza that exceeds a limit is refused by itself: it is one user's, and the stream everybody's. What is not
			// well-formed is the server's own fault, and ends the stream.
			if raw == nil || stream.ConditionOf(err) != stream.PolicyViolation {
				return err
			}
			l.refused("too-large")
			if s, headErr := r.ReadHead(raw, conn.Scope()); headErr == nil && s.Kind == 0 {
				return err
			} else if headErr == nil {
				l.receive(s)
			}
			if unread {
				if err := conn.Skip(maxSkip); err != nil {
					return err
				}
			}
			continue
		}
		if s.Kind == 0 {
			if se, ok := stream.ReadError(raw, conn.Scope(), l.a.lim().XML); ok {
				return se
			}
			return errUnsupported
		}
		l.traffic().in.Inc()
		if s.Kind != stanza.IQ {
			l.a.tapped(adapters.Inbound, raw)
		}
		l.receive(s)
	}
}

var (
	errClosed      = errors.New("xmpp: the server closed the stream")
	errUnsupported = errors.New("xmpp: the server sent an element that is no stanza")
)

// dialer is how a link connects; tests have their own.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)
