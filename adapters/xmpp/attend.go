package xmpp

import (
	"context"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// attendPatience is how long an answer to a probe is waited for after the server has taken the probe: a server that answers at all answers at once,
// and some answer strangers with silence.
const attendPatience = 2 * time.Second

// attending is the questions for users' attendance that wait for an answer. It is for any goroutine; it is as large as the core's questions are many.
type attending struct {
	mu    sync.Mutex
	asked map[inquired]*inquiry
}

// inquired is who was asked for, and by which of our hosts.
type inquired struct{ by, who jid.JID }

// inquiry is one question, which several may wait for.
type inquiry struct {
	answered chan struct{} // closed with the answer
	answer   adapters.Attendance
}

var _ adapters.Attendant = (*Adapter)(nil)

// Attends implements adapters.Attendant: it sends "an XMPP <presence/> stanza of type "probe" from the address of the XMPP-to-SIP gateway to the "bare Jabber
// Identifier (JID)" (user@domain.tld) of the XMPP user" (RFC 8048 §8.1). The answer is unknown where her server tells strangers nothing, which is what
// RFC 6121 §4.3.2 asks of it unless she, or it, has let the gateway's host see her presence.
func (a *Adapter) Attends(ctx context.Context, hops []resolver.Target, op *adapters.AttendOp) adapters.Attendance {
	told, err := a.hosting(op.Watch.Presentity, op.Watch.Watcher).telling(&adapters.NotifyOp{Watch: op.Watch})
	if err != nil {
		return adapters.AttendanceUnknown
	}
	who, err := jid.FromAddress(op.Watch.Watcher, "")
	if err != nil {
		return adapters.AttendanceUnknown
	}
	by, _ := a.route(told.Watch.Presentity.Domain(), op.Watch.Watcher.Domain(), hops)
	if by == nil {
		return adapters.AttendanceUnknown
	}
	q, mine := a.attending.ask(inquired{by.address(), who})
	if mine {
		defer a.attending.forget(inquired{by.address(), who}, q)
		id := randomID()
		st := by.send(ctx, &item{
			octets: stanza.AppendProbe(nil, by.address(), who, id), stanzas: 1, kind: stanza.Presence, id: id, from: by.address(), to: who,
			done: make(chan adapters.Status, 1),
		}, op.Deadline)
		if st.Outcome == adapters.Failure {
			return adapters.AttendanceUnknown
		}
	}
	wait := attendPatience
	if !mine {
		wait += a.lim().Deadline // its asker's
	}
	if left := time.Until(op.Deadline); !op.Deadline.IsZero() {
		wait = min(wait, left)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-q.answered:
		return q.answer
	case <-t.C:
	case <-ctx.Done():
	}
	return adapters.AttendanceUnknown
}

// ask finds the question for who, new if nobody has asked; mine tells that the caller is to send it.
func (c *attending) ask(who inquired) (q *inquiry, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.asked[who]; q != nil {
		return q, false
	}
	if c.asked == nil {
		c.asked = map[inquired]*inquiry{}
	}
	q = &inquiry{answered: make(chan struct{})}
	c.asked[who] = q
	return q, true
}

// forget ends a question, answered or not: who asks from now on asks anew.
func (c *attending) forget(who inquired, q *inquiry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked[who] != q {
		return
	}
	delete(c.asked, who)
	close(q.answered)
}

// answered takes presence that came to one of our hosts. The first stanza decides but for "unavailable" of one device, which says nothing of the others.
func (c *attending) answered(s *stanza.Stanza) {
	c.mu.Lock()
	defer c.mu.Unlock()
	who := inquired{s.To.Bare(), s.From.Bare()}
	q := c.asked[who]
	switch {
	case q == nil:
		return
	case s.Type == "":
		q.answer = adapters.AttendancePresent
	case s.Type == "unavailable" && !s.From.IsFull():
		q.answer = adapters.AttendanceAbsent // RFC 6121 §4.3.2 rule 3
	case s.Type == "unsubscribed":
		q.answer = adapters.AttendanceUnknown
	default:
		return
	}
	delete(c.asked, who)
	close(q.answered)
}

// attendance takes presence for one of our hosts, which has none of its own and asks for users' in the name of all: never for the core.
func (l *path) attendance(s *stanza.Stanza) (taken bool) {
	if s.To.Local() != "" || s.Fault != nil {
		return false
	}
	switch s.Type {
	case "", "unavailable", "unsubscribed":
		l.a.attending.answered(s)
		return true
	}
	return false
}

// address is who this path is to its other side.
func (l *path) address() jid.JID { return l.self }
