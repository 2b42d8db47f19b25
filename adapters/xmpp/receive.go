package xmpp

import (
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// receive handles one stanza, on the reader's goroutine. First who it is from and for, then what it is.
func (l *link) receive(s *stanza.Stanza) {
	if s.Kind == stanza.IQ && (s.Type == "result" || s.Type == "error") {
		// Only answers to our own pings are expected: the id, the sender and the type must be those (THREATS.md X13, T-ID-04).
		if s.From != l.end.pinged || s.To != l.end.self || !l.box.acknowledge(s.ID) {
			l.refused("stray-answer")
		}
		return
	}
	isError := s.Type == "error"
	switch {
	case s.From.IsZero() || s.To.IsZero():
		// XEP-0114 §3: stanzas have both. Without a sender nobody can be told; without a recipient nobody can tell.
		l.refused("no-address")
		if !s.From.IsZero() && !isError && !l.a.ours(s.From.Domain()) {
			l.reply(s, s.Fault)
		}
		return
	case l.a.ours(s.From.Domain()):
		// One of our own domains from outside: forged, or a loop. Not answered, or it would be one (THREATS.md G6, T-ID-08).
		l.refused("reflected")
		return
	case s.To.Domain() != l.end.self.Domain():
		l.refused("not-our-domain")
		l.fail(s, stanza.ItemNotFound, "")
		return
	case !l.end.wire[s.From.Domain()]:
		l.refused("foreign-sender")
		l.fail(s, stanza.Forbidden, "This gateway does not serve your domain")
		return
	}
	switch s.Kind {
	case stanza.IQ:
		l.answer(stanza.AppendAnswer(nil, s), s)
	case stanza.Message:
		l.message(s)
	case stanza.Presence:
		l.presence(s)
	}
}

func (l *link) refused(cause string) { l.a.m.refused.WithLabelValues(l.end.Name, cause).Inc() }

// fail answers s with an error, unless s is one.
func (l *link) fail(s *stanza.Stanza, c stanza.Condition, text string) {
	l.reply(s, &stanza.Error{Condition: c, Text: text, Lang: "en"})
}

// reply answers s with e. "An entity that receives an error stanza MUST NOT respond to the stanza with a further error stanza" (RFC 6120 §8.3.1), and answers to
// requests are not answered either.
func (l *link) reply(s *stanza.Stanza, e *stanza.Error) {
	if s.Type == "error" || s.Type == "result" {
		return
	}
	if e == nil {
		e = &stanza.Error{Condition: stanza.BadRequest}
	}
	from := s.To
	if from.IsZero() {
		from = l.end.self
	}
	l.enqueueReply(stanza.AppendError(nil, stanza.ErrorReply{Kind: s.Kind, From: from, To: s.From, ID: s.ID, Error: e}))
}

func (l *link) answer(octets []byte, s *stanza.Stanza) {
	if len(octets) > 0 {
		l.enqueueReply(octets)
	}
}

// enqueueReply queues octets whose outcome nobody waits for. When the queue is full they are dropped, and counted.
func (l *link) enqueueReply(octets []byte) {
	if _, ok := l.box.add(&item{octets: octets, stanzas: 1}); !ok {
		l.a.m.dropped.WithLabelValues(l.end.Name).Inc()
		l.log.Warn().Msg("xmpp: the queue is full, a reply was dropped")
	}
}

func (l *link) peer() adapters.Peer { return adapters.Peer{Adapter: Name, Name: l.end.Name} }

func (l *link) message(s *stanza.Stanza) {
	if s.Type == "error" {
		if l.box.reject(s.ID, s.From, s.To, s.Error.Status()) {
			return
		}
	}
	if r := stanza.ToReport(s, time.Now()); r != nil {
		l.a.h.Report(l.a.base, r)
		if s.Type == "error" || !s.HasBody {
			return
		}
	}
	op, e := stanza.ToMessage(s)
	switch {
	case e != nil:
		l.refused("message")
		l.reply(s, e)
		return
	case op == nil:
		return
	}
	op.Peer = l.peer()
	from, to, id := s.From, s.To, s.ID
	l.a.h.Message(l.a.base, op, func(st adapters.Status) {
		if st.Outcome == adapters.Failure {
			l.enqueueReply(stanza.AppendError(nil, stanza.ErrorReply{
				Kind: stanza.Message, From: to.Bare(), To: from, ID: id, Error: stanza.ErrorOf(st),
			}))
		}
	})
}

func (l *link) presence(s *stanza.Stanza) {
	if s.Type == "error" {
		if !l.box.reject(s.ID, s.From, s.To, s.Error.Status()) {
			l.latePresenceError(s)
		}
		return
	}
	if op, e := stanza.ToWatch(s); op != nil || e != nil {
		if e != nil {
			l.refused("presence")
			l.reply(s, e)
			return
		}
		op.Peer = l.peer()
		from, to, id := s.From, s.To, s.ID
		l.a.h.Watch(l.a.base, op, func(st adapters.WatchStatus) {
			if st.Outcome == adapters.Failure {
				l.enqueueReply(stanza.AppendError(nil, stanza.ErrorReply{
					Kind: stanza.Presence, From: to.Bare(), To: from, ID: id, Error: stanza.ErrorOf(st.Status),
				}))
			}
		})
		return
	}
	op, e := stanza.ToNotify(s, time.Now())
	switch {
	case e != nil:
		l.refused("presence")
		if s.Type != "" && s.Type != "unavailable" {
			l.reply(s, e)
		}
	case op != nil:
		op.Peer = l.peer()
		l.a.h.Notify(l.a.base, op)
	default:
		// RFC 6121 §4.7.1: there is no other type.
		l.refused("presence-type")
		l.fail(s, stanza.BadRequest, "There is no such presence type")
	}
}

// latePresenceError tells the core of an error that came after the presence stanza it answers was acknowledged: the watch it was
// for cannot be had now. Only conditions that say that there is no such user are final.
func (l *link) latePresenceError(s *stanza.Stanza) {
	probe := *s
	probe.Type, probe.Fault = "unavailable", nil
	op, e := stanza.ToNotify(&probe, time.Time{})
	if e != nil || op == nil || op.Watch.Presentity.Scheme() != cpim.Pres {
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
