package stanza

import (
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// ToWatch makes the operation of a presence stanza in which a user asks for another's presence: "subscribe", "unsubscribe" and
// "probe" (RFC 8048 §5.2, §7.1). It returns nil, nil for other types.
//
// A probe from a bare address is what a server sends "whenever the user starts a new presence session" (RFC 6121 §4.3.1), so it
// opens a watch (RFC 8048 §5.2.2); one from a full address is a client's own question and is answered once (RFC 8048 §7.1).
func ToWatch(s *Stanza) (*adapters.WatchOp, *Error) {
	op := &adapters.WatchOp{TransID: s.ID, Hops: adapters.DefaultHops}
	switch s.Type {
	case "subscribe":
		op.Verb = adapters.WatchAsk
		if len(s.Statuses) > 0 {
			op.Note, op.NoteLang = s.Statuses[0].Text, s.Statuses[0].Lang
		}
		op.WatcherName = s.Nick // XEP-0172 §4.1: "only in presence subscription requests"
	case "unsubscribe":
		op.Verb = adapters.WatchCancel
	case "probe":
		op.Verb = adapters.WatchOpen
		if s.From.IsFull() {
			op.Verb = adapters.WatchFetch
		}
	default:
		return nil, nil
	}
	if s.Fault != nil {
		return nil, s.Fault
	}
	from, e := party(s.From, cpim.Pres, "from")
	if e != nil {
		return nil, e
	}
	to, e := party(s.To, cpim.Pres, "to")
	if e != nil {
		return nil, e
	}
	op.Watch = adapters.WatchID{Watcher: from.Address, Presentity: to.Address}
	op.Instance = from.Instance
	return op, nil
}

// ToNotify makes the operation of a presence stanza that tells of an authorization ("subscribed", "unsubscribed") or of presence
// (no type, "unavailable"; RFC 8048 §6.2 Table 1). It returns nil, nil for other types. Now is when it came.
func ToNotify(s *Stanza, now time.Time) (*adapters.NotifyOp, *Error) {
	op := &adapters.NotifyOp{}
	basic := pidf.BasicAbsent
	switch s.Type {
	case "subscribed":
		op.Change, op.State = adapters.AuthorizationGranted, adapters.WatchActive
	case "unsubscribed":
		op.Change, op.State, op.End = adapters.AuthorizationRefused, adapters.WatchTerminated, adapters.EndRejected
	case "":
		basic = pidf.BasicOpen
	case "unavailable":
		basic = pidf.BasicClosed
	default:
		return nil, nil
	}
	if s.Fault != nil {
		return nil, s.Fault
	}
	from, e := party(s.From, cpim.Pres, "from")
	if e != nil {
		return nil, e
	}
	to, e := party(s.To, cpim.Pres, "to")
	if e != nil {
		return nil, e
	}
	op.Watch = adapters.WatchID{Watcher: to.Address, Presentity: from.Address}
	if basic == pidf.BasicAbsent {
		return op, nil
	}
	op.Instance = from.Instance
	// Presence of the bare address speaks of all devices: there is none (RFC 6121 §4.3.2 rule 3).
	op.Whole = from.Instance == ""
	p, err := document(s, from, basic, now)
	if err != nil {
		return nil, fault(JIDMalformed, "The 'from' address cannot be carried to the other network")
	}
	op.Presence, op.Language = p, s.Lang
	if s.E2E != nil {
		if e := unsealPresence(op, s); e != nil {
			return nil, e
		}
	}
	return op, nil
}

// document makes the one-tuple document of RFC 8048 §6.2, Table 1: resourcepart to tuple id (note 2), type to basic (note 4),
// priority to the contact's (note 6), show in its own namespace (note 7), status to note.
func document(s *Stanza, from adapters.Party, basic pidf.Basic, now time.Time) (*pidf.Presence, error) {
	entity, err := pidf.ParseURI(from.Address.String())
	if err != nil {
		return nil, err
	}
	t := pidf.Tuple{ID: pidf.TupleID(from.Instance), Status: pidf.Status{Basic: basic}}
	if basic == pidf.BasicOpen {
		t.Status.Show = s.Show
		if s.HasPriority {
			// A negative value "MUST NOT" be mapped (RFC 8048 §6.2 note 6).
			if p, ok := pidf.PriorityFromXMPP(s.Priority); ok {
				uri, err := pidf.ParseURI(from.Address.WithScheme(cpim.IM).String())
				if err != nil {
					return nil, err
				}
				t.Contact = &pidf.Contact{URI: uri, Priority: p}
			}
		}
	}
	for _, n := range s.Statuses {
		t.Notes = append(t.Notes, pidf.Note{Text: n.Text, Lang: n.Lang})
	}
	at := now
	if !s.Delay.IsZero() {
		at = s.Delay
	}
	if !at.IsZero() {
		t.Timestamp = datetime.FromTime(at)
	}
	return &pidf.Presence{Entity: entity, Tuples: []pidf.Tuple{t}}, nil
}
