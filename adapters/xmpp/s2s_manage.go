package xmpp

import (
	"context"
	"errors"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

// managed is the peer's answer to <enable/> or <resume/>.
type managed stream.ManagementElement

// errManagement ends a stream on which an element of stream management came that nothing asked for.
var errManagement = &stream.Fault{Condition: stream.NotAuthorized, Rule: "an answer of stream management that nothing asked for", Section: "XEP-0198 §3"}

// manage handles an element of stream management. An error ends the stream.
func (s *session) manage(raw []byte) error {
	m, _, err := stream.ReadManagement(raw, s.conn.Scope(), s.v.a.lim().XML)
	if err != nil {
		return err
	}
	g := s.management()
	switch m.Kind {
	case stream.Ask:
		if g == nil {
			return s.unmanaged()
		}
		g.ask()
	case stream.Answer:
		if g == nil {
			return s.unmanaged()
		}
		return g.acknowledged(m.H)
	case stream.Enable:
		return s.enable(&m)
	case stream.Resume:
		return s.resumed(&m)
	default:
		return s.answered(managed(m))
	}
	return nil
}

// unmanaged answers what needs stream management, which is not enabled: "misuse of stream management MAY result in termination of the
// stream" (XEP-0198 §6).
func (s *session) unmanaged() error { return errManagement }

// answered hands the peer's answer to whom waits for it, once.
func (s *session) answered(m managed) error {
	s.mu.Lock()
	c := s.sure
	s.sure = nil
	if c != nil && (m.Kind == stream.Enabled || m.Kind == stream.Resumed) && s.ledger == nil {
		s.ledger = s.next // what comes after it is counted
	}
	s.mu.Unlock()
	if c == nil {
		return errManagement
	}
	c <- m // has room for one
	return nil
}

// mayManage tells whether the peer may enable stream management: it opened the stream and has proven a domain, and it has not yet.
func (s *session) mayManage() bool {
	return !s.initiated && !s.unproven.Load() && s.remote != nil && s.management() == nil
}

// enable answers <enable/> (XEP-0198 §3). Only a stream that EXTERNAL has authenticated can be resumed, because only then the one who
// resumes it can be known to be the one who opened it.
func (s *session) enable(m *stream.ManagementElement) error {
	if !s.mayManage() {
		s.say(stream.AppendManagement(nil, &stream.ManagementElement{Kind: stream.Failed, Condition: "unexpected-request"}))
		return nil
	}
	g := newLedger(s)
	e := stream.ManagementElement{Kind: stream.Enabled}
	if m.Resumable && s.external {
		g.id = randomID()
		e.ID, e.Resumable, e.Max = g.id, true, s.v.lim().Resume
		s.v.resumableAt(g.id, s)
	}
	// Nothing leaves between the element and the count: what is written after it is counted by the peer.
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	s.ledger = g
	s.control = stream.AppendManagement(s.control, &e)
	s.write()
	return nil
}

// resumableAt remembers which open stream an id is of. It must not be called with the lock of s.
func (v *servers) resumableAt(id string, s *session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, open := v.streams[s]; open {
		v.managed[id], s.resumable = s, id
	}
}

// resumableNow remembers a broken stream that was opened to us.
func (v *servers) resumableNow(g *ledger) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.resumable) < v.lim().Resumes && !v.stopped {
		v.resumable[g.id] = g
	}
}

// brokenStream finds the stream to resume, by its id, for whoever has proven to be the one who opened it. It may still be open on our side.
func (v *servers) brokenStream(id, local, remote string) *ledger {
	v.mu.Lock()
	g := v.resumable[id]
	if g != nil && !g.named(id, local, remote) {
		v.mu.Unlock()
		return nil // another's
	}
	delete(v.resumable, id)
	open := v.managed[id]
	v.mu.Unlock()
	if g == nil && open != nil {
		if g = open.management(); g == nil || !g.named(id, local, remote) {
			return nil
		}
		// "the server SHOULD send a 'conflict' stream error and close that stream" (XEP-0198 §5).
		open.surrender()
		v.mu.Lock()
		delete(v.resumable, id) // it may have ended by itself meanwhile
		v.mu.Unlock()
	}
	if g == nil || !g.named(id, local, remote) {
		return nil
	}
	<-g.lastRead() // what came last on the old stream goes before what comes on the new one
	return g
}

// surrender closes a stream that another one takes the place of.
func (s *session) surrender() {
	g := s.management()
	if g != nil {
		g.mu.Lock()
		if g.on == s {
			g.on = nil // and so nothing is left of it when the stream ends
		}
		g.mu.Unlock()
	}
	// From here on nothing is handled that comes on it, and when it has ended nothing is written any more.
	s.end(&stream.Fault{Condition: stream.Conflict, Rule: "the stream is resumed by another", Section: "XEP-0198 §5"})
	if g != nil {
		g.mu.Lock()
		// What is on its way to the peer on this stream was not to be kept: its outcome is not known.
		g.ended = g.ended || len(g.sent) > 0
		g.mu.Unlock()
	}
}

// resumed answers <resume/> (XEP-0198 §5).
func (s *session) resumed(m *stream.ManagementElement) error {
	failed := func(condition string) error {
		s.v.a.m.resumes.WithLabelValues("in", "refused").Inc()
		s.say(stream.AppendManagement(nil, &stream.ManagementElement{Kind: stream.Failed, Condition: condition}))
		return nil
	}
	if !s.mayManage() || !s.external {
		return failed("unexpected-request")
	}
	g := s.v.brokenStream(m.ID, s.local.self.Domain(), s.remote.self.Domain())
	if g == nil {
		return failed("item-not-found")
	}
	h, err := g.revive(s, m.H)
	if err != nil {
		return err
	}
	s.v.resumableAt(m.ID, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	s.ledger = g
	s.control = stream.AppendManagement(s.control, &stream.ManagementElement{Kind: stream.Resumed, ID: m.ID, H: h})
	s.write()
	s.v.a.m.resumes.WithLabelValues("in", "ok").Inc()
	return nil
}

// manageOutgoing enables stream management on a stream that we opened, and returns when the peer has answered. That it refuses is no
// fault.
func (s *session) manageOutgoing(ctx context.Context, resumable bool) error {
	g := newLedger(s)
	m, err := s.ask(ctx, g, &stream.ManagementElement{Kind: stream.Enable, Resumable: resumable})
	if err != nil || m.Kind != stream.Enabled {
		return err
	}
	if m.Resumable && resumable {
		g.mu.Lock()
		g.id = m.ID
		g.mu.Unlock()
	}
	return nil
}

// ask writes an element of stream management that has an answer, and waits for it. If the answer is no refusal, g counts from then on.
func (s *session) ask(ctx context.Context, g *ledger, e *stream.ManagementElement) (managed, error) {
	c := make(chan managed, 1)
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return managed{}, errClosed
	}
	s.sure, s.next = c, g
	s.control = stream.AppendManagement(s.control, e)
	s.write()
	s.mu.Unlock()
	select {
	case m, ok := <-c:
		if !ok {
			return managed{}, errClosed
		}
		return m, nil
	case <-ctx.Done():
		return managed{}, ctx.Err()
	}
}

// resumeWait is for how long a broken stream of ours is tried to be resumed: what is on its way waits for it, and whoever sent it.
const resumeWait = 15 * time.Second

// resume opens a stream to the server of a broken one and resumes it there, or lets go of what it carried.
func (v *servers) resume(g *ledger, old *session) {
	ctx, cancel := context.WithTimeout(v.a.base, min(resumeWait, v.lim().Resume))
	defer cancel()
	for attempt := 0; ; attempt++ {
		err := v.resumeOnce(ctx, g, old)
		switch {
		case err == nil:
			v.a.m.resumes.WithLabelValues("out", "ok").Inc()
			return
		case errors.Is(err, errNotResumed) || ctx.Err() != nil:
			v.a.m.resumes.WithLabelValues("out", "refused").Inc()
			g.abandon() // nothing is left to do if the peer has told how much it handled
			return
		}
		t := time.NewTimer(v.a.back().delay(attempt, 1) / 4)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// errNotResumed is when the peer refused.
var errNotResumed = errors.New("xmpp: the server does not resume the stream")

func (v *servers) resumeOnce(ctx context.Context, g *ledger, old *session) error {
	s, offer, err := v.open(ctx, old.local, old.remote, old.target, wantAuthenticated)
	if err != nil {
		return err
	}
	if !offer.Management || !offer.Authenticated {
		s.end(errQuiet)
		return errNotResumed
	}
	m, err := s.ask(ctx, g, &stream.ManagementElement{Kind: stream.Resume, ID: g.id, H: g.received()})
	if err != nil {
		s.end(errQuiet)
		return err
	}
	if m.Kind != stream.Resumed || m.ID != g.id {
		g.refuse(m.H, m.HasH && m.Kind == stream.Failed)
		s.end(errQuiet)
		return errNotResumed
	}
	pairs, err := g.takeOver(s, m.H)
	if err != nil {
		s.end(err)
		g.abandon()
		return errNotResumed
	}
	for _, p := range pairs {
		if !p.attach(s, g) {
			p.unpark(g)
		}
	}
	return nil
}
