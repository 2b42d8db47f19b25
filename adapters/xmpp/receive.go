package xmpp

import (
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// receive handles one stanza, on the reader's goroutine. First who it is from and for, then what it is.
func (l *link) receive(s *stanza.Stanza) {
	defer l.survive(s)
	if l.admit(s) {
		l.dispatch(s, nil)
	}
}

// survive ends a panic over s: one poisoned stanza must not end the process, which carries everybody's (T-FI-23). Its sender is
// told, its octets are not logged, the place is.
func (l *path) survive(s *stanza.Stanza) {
	fault := recover()
	if fault == nil {
		return
	}
	text := []rune(fmt.Sprint(fault))
	l.log.Error().Str("fault", string(text[:min(len(text), 256)])).Bytes("stack", debug.Stack()).Msg("xmpp: a stanza made the adapter panic")
	l.refused("panic")
	if !s.From.IsZero() {
		l.fail(s, stanza.InternalServerError, "")
	}
}

// admit tells whether the addresses of a component's stanza allow it to go on. Who can be told is told.
func (l *link) admit(s *stanza.Stanza) bool {
	if isAnswer(s) {
		return true // dispatch knows which ones are awaited
	}
	isError := s.Type == "error"
	switch {
	case s.From.IsZero() || s.To.IsZero():
		// XEP-0114 §3: stanzas have both. Without a sender nobody can be told; without a recipient nobody can tell.
		l.refused("no-address")
		if !s.From.IsZero() && !isError && !l.a.ours(s.From.Domain()) {
			l.reply(s, s.Fault)
		}
		return false
	case l.a.ours(s.From.Domain()):
		// One of our own domains from outside: forged, or a loop. Not answered, or it would be one (THREATS.md G6, T-ID-08).
		l.refused("reflected")
		return false
	case s.To.Domain() != l.self.Domain():
		// The answer comes from our own domain: "The domain identifier portion of the JID contained in the 'from' attribute MUST match
		// the hostname of the component" (XEP-0114 §3), and a server would end the stream for another.
		l.refused("not-our-domain")
		l.fail(s, stanza.ItemNotFound, "")
		return false
	case !l.end().wire[s.From.Domain()]:
		l.refused("foreign-sender")
		l.fail(s, stanza.Forbidden, "This gateway does not serve your domain")
		return false
	}
	return true
}

// isAnswer tells whether s answers a request.
func isAnswer(s *stanza.Stanza) bool {
	return s.Kind == stanza.IQ && (s.Type == "result" || s.Type == "error")
}

// dispatch hands on a stanza whose addresses are those of this path. via is nil, or set to held when the stanza is not handled before
// somebody answers it.
func (l *path) dispatch(s *stanza.Stanza, via *arrival) {
	if isAnswer(s) {
		// Only answers to our own pings and questions are expected: the id, the sender and the type must be those (THREATS.md X13, T-ID-04).
		if (s.From != l.pinged || s.To != l.self || !l.box.acknowledge(s.ID)) && !l.a.answered(s) {
			l.refused("stray-answer")
		}
		return
	}
	switch s.Kind {
	case stanza.IQ:
		octets, ok := l.a.answer(s)
		if ok {
			l.spam(s)
		} else {
			l.refused("iq-rate")
		}
		l.enqueueReply(&item{octets: octets, stanzas: 1})
	case stanza.Message:
		if !l.pace(via) && l.tooMany(s) {
			return
		}
		if !l.message(s, via) {
			l.flow().Done()
		}
	case stanza.Presence:
		l.pace(via)
		if !l.presence(s, via) {
			l.flow().Done()
		}
	}
}

func (l *path) refused(cause string) { l.a.m.refused.WithLabelValues(l.name(), cause).Inc() }

// fail answers s with an error, unless s is one.
func (l *path) fail(s *stanza.Stanza, c stanza.Condition, text string) {
	l.reply(s, &stanza.Error{Condition: c, Text: text, Lang: "en"})
}

// reply answers s with e. "An entity that receives an error stanza MUST NOT respond to the stanza with a further error stanza" (RFC 6120 §8.3.1), and answers to
// requests are not answered either.
func (l *path) reply(s *stanza.Stanza, e *stanza.Error) {
	if s.Type == "error" || s.Type == "result" {
		return
	}
	if e == nil {
		e = &stanza.Error{Condition: stanza.BadRequest}
	}
	from := s.To
	if from.Domain() != l.self.Domain() { // or there is none
		from = l.self
	}
	l.notify(stanza.ErrorReply{Kind: s.Kind, From: from, To: s.From, ID: s.ID, Error: e})
}

// notify queues an error that tells somebody that what they sent is lost.
func (l *path) notify(r stanza.ErrorReply) {
	l.enqueueReply(&item{octets: stanza.AppendError(nil, r), stanzas: 1, notice: r.Kind != stanza.IQ})
}

// enqueueReply queues a stanza whose outcome nobody waits for. When the queue is full it is dropped, and counted, and so it is when it
// is too large: a server would end the stream for it.
func (l *path) enqueueReply(it *item) {
	if len(it.octets) == 0 {
		return
	}
	if len(it.octets) > l.a.lim().StanzaBytes {
		l.undelivered(1)
		return
	}
	if _, ok := l.box.add(it); !ok {
		l.undelivered(1)
	}
}

// undelivered tells of replies that nobody will get: at once, and while there are more of them once a second.
func (l *path) undelivered(n int) {
	if n == 0 {
		return
	}
	l.a.m.dropped.WithLabelValues(l.name()).Add(float64(n))
	l.unsaid.Add(int64(n))
	now, last := time.Now().UnixNano(), l.told.Load()
	if now-last < int64(time.Second) || !l.told.CompareAndSwap(last, now) {
		return
	}
	l.log.Warn().Int64("replies", l.unsaid.Swap(0)).Msg("xmpp: replies were dropped")
}

// asked is an operation of the server's side that the core was given.
type asked struct {
	l    *path
	via  arrival
	done atomic.Bool
}

// asking counts one as unanswered.
func (l *path) asking(via *arrival) *asked {
	l.unanswered.Add(1)
	q := &asked{l: l}
	if via != nil {
		via.held = true
		q.via = *via
	}
	return q
}

// settle counts it as answered, once, with an error or none. The error is queued first, so that Shutdown sees the one or the other.
func (q *asked) settle(r *stanza.ErrorReply) {
	if q.done.Swap(true) {
		return
	}
	if r != nil {
		q.l.notify(*r)
	}
	q.l.unanswered.Add(-1)
	q.l.flow().Done()
	q.via.settle()
}

// closing refuses a stanza that comes after Shutdown was called, so that the end is reached.
func (l *path) closing(s *stanza.Stanza) bool {
	why := l.box.refusing()
	if why != "" {
		l.refused("shutting-down")
		l.fail(s, stanza.RecipientUnavailable, why)
	}
	return why != ""
}

// failure is the error that answers a stanza with a failure, nil for what is none. RFC 6120 §8.3.1: "The error stanza SHOULD simply
// swap the 'from' and 'to' addresses from the generated stanza".
func failure(kind stanza.Kind, from, to jid.JID, id string, st adapters.Status) *stanza.ErrorReply {
	if st.Outcome != adapters.Failure {
		return nil
	}
	return &stanza.ErrorReply{Kind: kind, From: to, To: from, ID: id, Error: stanza.ErrorOf(st)}
}

func (l *path) peer() adapters.Peer { return adapters.Peer{Adapter: Name, Name: l.name()} }

// message handles a message. It tells whether the core was asked, whose answer ends the work on it; else that has ended.
func (l *path) message(s *stanza.Stanza, via *arrival) (asked bool) {
	if s.Type == "error" {
		if l.box.reject(stanza.Message, s.ID, s.From, s.To, s.Error.Status()) {
			return false
		}
	}
	if r := l.report(s); r != nil && l.a.reached(s, &r.Sender.Address) == nil {
		l.a.h.Report(l.a.base, r)
		if s.Type == "error" || !s.Says() {
			return false
		}
	}
	if s.Event.Node != "" && !s.HasBody {
		l.event(s)
		return false
	}
	l.a.reaches(s)
	op, e := stanza.ToMessage(s)
	if op != nil {
		if !s.Reaches.IsZero() {
			op.Known = op.To.Address // as it is written at our host
		}
		e = l.a.reached(s, &op.To.Address)
	}
	switch {
	case e != nil:
		l.refused("message")
		if !s.Quiet() {
			l.reply(s, e)
		}
		return false
	case op == nil:
		return false
	}
	q := l.asking(via)
	if l.closing(s) {
		q.settle(nil)
		return true
	}
	taken := false
	defer func() {
		if !taken {
			q.settle(nil) // a panic: receive tells the sender
		}
	}()
	op.Peer = l.peer()
	l.a.talks.heard(op, s.State)
	from, to, id, silent := s.From, s.To, s.ID, op.Activity != adapters.ActivityNone // whose loss nobody is told of
	l.a.h.Message(l.a.base, op, func(st adapters.Status) {
		if silent {
			st = adapters.Status{}
		}
		q.settle(failure(stanza.Message, from, to, id, st))
	})
	taken = true
	return true
}

// report is what a message says of an earlier one; nil for the many that say nothing.
func (l *path) report(s *stanza.Stanza) *adapters.Report {
	if s.Type != "error" && s.ReportFor == "" {
		return nil
	}
	return stanza.ToReport(s, time.Now())
}

// presence handles presence, as message does a message.
func (l *path) presence(s *stanza.Stanza, via *arrival) (asked bool) {
	if s.Type == "error" {
		if !l.box.reject(stanza.Presence, s.ID, s.From, s.To, s.Error.Status()) {
			l.latePresenceError(s)
		}
		return false
	}
	if l.attendance(s) {
		return false
	}
	if op, e := stanza.ToWatch(s); op != nil || e != nil {
		if e == nil {
			e = l.a.reached(s, &op.Watch.Presentity)
		}
		if e != nil {
			l.refused("presence")
			l.reply(s, e)
			return false
		}
		q := l.asking(via)
		if l.closing(s) {
			q.settle(nil)
			return true
		}
		taken := false
		defer func() {
			if !taken {
				q.settle(nil) // a panic: receive tells the sender
			}
		}()
		op.Peer = l.peer()
		from, to, id := s.From, s.To, s.ID
		l.a.h.Watch(l.a.base, op, func(st adapters.WatchStatus) { q.settle(failure(stanza.Presence, from, to, id, st.Status)) })
		taken = true
		return true
	}
	op, e := stanza.ToNotify(s, time.Now())
	if op != nil {
		e = l.a.reached(s, &op.Watch.Watcher)
	}
	switch {
	case e != nil:
		l.refused("presence")
		// What is signed or encrypted is for one recipient (RFC 3923 §4.1), and its sender must know that it is lost.
		if s.Type != "" && s.Type != "unavailable" || s.E2E != nil {
			l.reply(s, e)
		}
	case op != nil:
		op.Peer = l.peer()
		l.enqueueReply(&item{octets: l.a.capabilities(s, op), stanzas: 1})
		l.interest(s, op)
		l.a.h.Notify(l.a.base, op)
	default:
		// RFC 6121 §4.7.1: there is no other type.
		l.refused("presence-type")
		l.fail(s, stanza.BadRequest, "There is no such presence type")
	}
	return false
}

// latePresenceError tells the core of an error that came after the presence stanza it answers was acknowledged: the watch it was
// for cannot be had now. Only conditions that say that there is no such user are final. An error that answers what we told of
// somebody's presence speaks of no watch of ours: it has no such id (THREATS.md X13).
func (l *path) latePresenceError(s *stanza.Stanza) {
	if !strings.HasPrefix(s.ID, watchID) {
		l.refused("stray-error")
		return
	}
	probe := *s
	probe.Type, probe.Fault, probe.E2E = "unavailable", nil, nil
	op, e := stanza.ToNotify(&probe, time.Time{})
	if e != nil || op == nil || op.Watch.Presentity.Scheme() != cpim.Pres || l.a.reached(s, &op.Watch.Watcher) != nil {
		return
	}
	op.Peer, op.Presence, op.Instance, op.Whole = l.peer(), nil, "", false
	op.State, op.End = adapters.WatchTerminated, adapters.EndProbation
	switch s.Error.Condition {
	case stanza.ItemNotFound, stanza.Gone, stanza.RemoteServerNotFound, stanza.JIDMalformed:
		op.End = adapters.EndNoResource
	}
	l.a.h.Notify(l.a.base, op)
}
