package sip

import (
	"errors"
	"fmt"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// Role is which end of a watch's dialog this adapter is.
type Role uint8

// The roles (RFC 6665 §2).
const (
	// Notifier: a SIP watcher asked us, and we send NOTIFY.
	Notifier Role = iota + 1
	// Subscriber: we asked a SIP presentity, and it sends NOTIFY.
	Subscriber
)

// Dialog is the state of one event dialog (RFC 3261 §12), with what a watch needs beside it: everything that must survive a
// restart so that neither the watch is lost nor a sequence number goes back (see storedDialog). It is pure: no clock, no socket; who owns
// one must lock around it.
type Dialog struct {
	Role Role
	// CallID, LocalTag and RemoteTag identify the dialog (RFC 3261 §12). RemoteTag is "" until the far side has answered.
	CallID, LocalTag, RemoteTag string
	// LocalURI and RemoteURI go into From and To of our requests, without tags.
	LocalURI, RemoteURI string
	// LocalCSeq is that of our last request; RemoteCSeq that of theirs, if HasRemoteCSeq.
	LocalCSeq, RemoteCSeq uint32
	HasRemoteCSeq         bool
	// RouteSet are the complete Route values of our requests, in order.
	RouteSet []string
	// RemoteTarget is the URI of their Contact, and goes into our Request-URI. Contact is the URI of ours.
	RemoteTarget, Contact string
	// Event is the value of the Event header field of all requests.
	Event string
	// Expires is the end of the watch unless it is refreshed.
	Expires time.Time
	// Confirmed tells, for a Subscriber, that a NOTIFY has made the dialog: its tag, route set and target are final
	// (RFC 6665 §4.4.1). Until then RemoteTag is what the SUBSCRIBE's response said.
	Confirmed bool
	// State is what the last NOTIFY said. Granted tells that one said "active".
	State   adapters.WatchState
	Granted bool
	// End is why State is terminated, in a record of a dialog whose end was not told when it was written.
	End adapters.EndReason
	// Partial tells that presence goes as partial documents where that is shorter (RFC 5263): for a Notifier that the watcher prefers
	// them, for a Subscriber that we say that we take them. PartialVersion is that of the last one that a Notifier sent.
	Partial        bool
	PartialVersion uint32
	// Sealing is which S/MIME objects the watcher takes: for a Notifier as it says, for a Subscriber that we say that we take them.
	Sealing Sealing
	// Said names what the watcher was told last, in the record of a Notifier's dialog that was handed on in order; "" if it is not known.
	Said string
	// Peer is the name of the peer on the other side, Source the "IP:port" a Notifier's SUBSCRIBE came from and Transport how.
	Peer, Source, Transport string
	// Connection is that of the SUBSCRIBE (see transaction.Source): a WebSocket client is behind it and no other one.
	Connection uint64
	// Watcher, Presentity and Session are the core's name of the watch.
	Watcher, Presentity cpim.Address
	Session             string
}

// watchID is the core's name of the watch.
func (d *Dialog) watchID() adapters.WatchID {
	return adapters.WatchID{Watcher: d.Watcher, Presentity: d.Presentity, Session: d.Session}
}

// check tells what is missing in a dialog that was restored.
func (d *Dialog) check() error {
	switch {
	case d.Role != Notifier && d.Role != Subscriber:
		return errors.New("sip: restored dialog: no role")
	case d.CallID == "" || d.LocalTag == "" || d.RemoteTag == "":
		return errors.New("sip: restored dialog: no identity")
	case d.LocalURI == "" || d.RemoteURI == "" || d.RemoteTarget == "" || d.Contact == "":
		return errors.New("sip: restored dialog: an address is missing")
	case d.Watcher.IsZero() || d.Presentity.IsZero():
		return errors.New("sip: restored dialog: watcher or presentity is missing")
	case d.LocalCSeq >= maxCSeq || d.RemoteCSeq >= maxCSeq:
		return errors.New("sip: restored dialog: a sequence number is out of range")
	}
	for _, u := range []string{d.LocalURI, d.RemoteURI, d.RemoteTarget, d.Contact} {
		if _, err := wire.ParseURI(u); err != nil {
			return fmt.Errorf("sip: restored dialog: %w", err)
		}
	}
	if d.Said != "" && (!isToken(d.Said) || len(d.Said) > 64) {
		return errors.New("sip: restored dialog: what was said is no digest")
	}
	if !isToken(d.LocalTag) || !isToken(d.RemoteTag) {
		return errors.New("sip: restored dialog: a tag is no token")
	}
	if e, ok := parseEvent(d.Event); !ok || e.kind != eventPresence || e.String() != d.Event {
		return errors.New("sip: restored dialog: no event of the presence package")
	}
	if d.State > adapters.WatchTerminated || d.End > adapters.EndInvariant || len(d.RouteSet) > maxRoutes {
		return errors.New("sip: restored dialog: a state or a route set that there is not")
	}
	for _, r := range d.RouteSet {
		if a, err := wire.ParseAddr(r); err != nil || a.URI().Scheme() != "sip" {
			return errors.New("sip: restored dialog: a route is none")
		}
	}
	return nil
}

// maxCSeq is the bound of sequence numbers: "MUST be less than 2**31" (RFC 3261 §8.1.1.5).
const maxCSeq = 1 << 31

var errSequenceEnd = errors.New("sip: the dialog's sequence numbers are used up")

// request makes the next request within the dialog (RFC 3261 §12.2.1.1), or, for a Subscriber without RemoteTag, the one that asks
// for it. It takes the next sequence number, whatever becomes of the request.
func (d *Dialog) request(method string) (*wire.Request, error) {
	if d.LocalCSeq+1 >= maxCSeq {
		return nil, errSequenceEnd
	}
	from, err := wire.FormatAddr(wire.AddrSpec{URI: d.LocalURI, Tag: d.LocalTag})
	if err != nil {
		return nil, err
	}
	to, err := wire.FormatAddr(wire.AddrSpec{URI: d.RemoteURI, Tag: d.RemoteTag})
	if err != nil {
		return nil, err
	}
	contact, err := wire.FormatAddr(wire.AddrSpec{URI: d.Contact})
	if err != nil {
		return nil, err
	}
	target, routes, err := d.route()
	if err != nil {
		return nil, err
	}
	d.LocalCSeq++
	req := &wire.Request{
		Method: method, URI: target, From: from, To: to, CallID: d.CallID, CSeq: d.LocalCSeq,
		Headers: make([]wire.Header, 0, len(routes)+6),
	}
	for _, r := range routes {
		req.Headers = append(req.Headers, wire.Header{Name: "Route", Value: r})
	}
	req.Headers = append(req.Headers, wire.Header{Name: "Contact", Value: contact}, wire.Header{Name: "Event", Value: d.Event})
	return req, nil
}

// used takes the sequence number that a request had in the end in: a challenged one was sent again with the next.
func (d *Dialog) used(cseq uint32) { d.LocalCSeq = max(d.LocalCSeq, cseq) }

// route gives the Request-URI and the Route values of the next request: RFC 3261 §12.2.1.1 with its two cases, loose and strict.
func (d *Dialog) route() (target string, routes []string, err error) {
	if len(d.RouteSet) == 0 {
		return d.RemoteTarget, nil, nil
	}
	first, err := wire.ParseAddr(d.RouteSet[0])
	if err != nil {
		return "", nil, err
	}
	if _, loose := first.URI().Param("lr"); loose {
		return d.RemoteTarget, d.RouteSet, nil
	}
	last, err := wire.FormatAddr(wire.AddrSpec{URI: d.RemoteTarget})
	if err != nil {
		return "", nil, err
	}
	routes = make([]string, 0, len(d.RouteSet))
	routes = append(append(routes, d.RouteSet[1:]...), last)
	return first.URI().String(), routes, nil
}

// received takes the sequence number of a request within the dialog, and tells whether it is in order. "If the remote sequence
// number was not empty, but the sequence number of the request is lower than the remote sequence number, the request is out of
// order and MUST be rejected with a 500" (RFC 3261 §12.2.2). One that is equal but belongs to another transaction (a
// retransmission never comes this far) breaks "strictly monotonically increasing" and is rejected alike.
func (d *Dialog) received(cseq uint32) bool {
	if d.HasRemoteCSeq && cseq <= d.RemoteCSeq {
		return false
	}
	d.RemoteCSeq, d.HasRemoteCSeq = cseq, true
	return true
}

// retarget follows a target refresh: SUBSCRIBE, NOTIFY and their 2xx (RFC 6665 §3.1, RFC 3261 §12.2.2), and tells whether the target is another one
// now. The route set never changes.
func (d *Dialog) retarget(m *wire.Message) (moved bool) {
	u, ok := contactOf(m)
	if !ok {
		return false
	}
	moved, d.RemoteTarget = u != d.RemoteTarget, u
	return moved
}

// contactOf returns the URI of the one Contact of m, if there is one and it can be sent to.
func contactOf(m *wire.Message) (string, bool) {
	for v := range m.Headers("Contact") {
		a, err := wire.ParseAddr(v)
		if err != nil || a.URI().Scheme() != "sip" {
			return "", false
		}
		return requestURI(a.URI()), true
	}
	return "", false
}

// requestURI is u without what a Request-URI may not have: URI headers and the "method" parameter (RFC 3261 §19.1.1, Table 1).
func requestURI(u wire.URI) string {
	s := u.String()
	if h := u.HeaderFields(); h != "" {
		s = s[:len(s)-len(h)-1]
	}
	if _, has := u.Param("method"); has {
		if plain, err := wire.AppendURI(nil, wire.URISpec{Scheme: u.Scheme(), User: unescaped(u.User()), Host: u.Host(), Port: u.Port()}); err == nil {
			s = string(plain)
		}
	}
	return s
}

func unescaped(user string) string {
	s, err := wire.Unescape(user)
	if err != nil {
		return ""
	}
	return s
}

// recordRoutes returns the route set that m's Record-Route gives: in order for the side that takes it from a request (RFC 3261
// §12.1.1), reversed for the side that takes it from a response (RFC 3261 §12.1.2). At most maxRoutes.
func recordRoutes(m *wire.Message) ([]string, bool) {
	var set []string
	for v := range m.Headers("Record-Route") {
		a, err := wire.ParseAddr(v)
		if err != nil || a.URI().Scheme() != "sip" || len(set) == maxRoutes {
			return nil, false
		}
		set = append(set, v)
	}
	if !m.IsRequest() {
		for i, j := 0, len(set)-1; i < j; i, j = i+1, j-1 {
			set[i], set[j] = set[j], set[i]
		}
	}
	return set, true
}

// maxRoutes bounds a route set, in values.
const maxRoutes = 16
