package sip

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Among several gateways a dialog is where its pair is. A SUBSCRIBE or NOTIFY that comes to another one (the far side's DNS, or a proxy, chose it; or
// the dialog was there before) is admitted there, carried to the pair's gateway as it is, and answered with what that one says: its response
// and its requests have its own Contact, and so lead the far side there ("NOTIFY requests and responses ... target refresh", RFC 6665 §4.4.1).

var _ adapters.Homed = (*Adapter)(nil)

// House implements adapters.Homed.
func (a *Adapter) House(h adapters.Homes) { a.homes = h }

// mine tells whether something may be sent for a watch of its own accord.
func (a *Adapter) mine(of adapters.WatchID) bool { return a.homes == nil || a.homes.Mine(of) }

// notMine is how soon it is looked again whether a watch is this gateway's, that is only being taken.
const notMine = time.Second

// carried is a request on its way to the gateway that its pair is of, as it came and with what was found out about it.
type carried struct {
	Version   int    `json:"v"`
	Raw       []byte `json:"raw"`
	Transport string `json:"transport"`
	Remote    string `json:"remote"`
	Local     string `json:"local"`
	Peer      string `json:"peer"`
	Identity  string `json:"identity"`
}

// carriedAnswer is the response to it.
type carriedAnswer struct {
	Version int         `json:"v"`
	Code    int         `json:"code"`
	Phrase  string      `json:"phrase"`
	ToTag   string      `json:"tag,omitempty"`
	Headers [][2]string `json:"headers,omitempty"`
}

const carriedVersion = 1

// busyElsewhere is the answer where no gateway could be asked: the far side keeps its dialog (RFC 6665 §4.1.2.2) and may ask again.
func busyElsewhere() answer {
	return answer{code: 500, phrase: phraseOf(500), headers: []wire.Header{{Name: "Retry-After", Value: "5"}}}
}

// elsewhere hands a request of a watch to the gateway whose watch it is; false if it is this one's, or nobody's.
func (a *Adapter) elsewhere(in *inbound) bool {
	if a.homes == nil || in.answered != nil {
		return false
	}
	of, ok := a.pairOf(in)
	if !ok || a.homes.Here(of) {
		return false
	}
	if t := in.src.Transport; t == resolver.WS || t == resolver.WSS {
		// Its client is behind this connection and nowhere else (RFC 7118 §5): no other gateway could notify it.
		a.respond(in, answer{code: 503, phrase: phraseOf(503)}, "")
		return true
	}
	octets, err := json.Marshal(&carried{
		Version: carriedVersion, Raw: in.req.Raw(), Transport: in.src.Transport.String(), Remote: in.src.Remote.String(), Local: in.src.Local.String(),
		Peer: in.peer.Name, Identity: in.identity.String(),
	})
	if err != nil {
		return false
	}
	a.homes.Carry(a.base, of, octets, func(got []byte, err error) {
		var r carriedAnswer
		switch {
		case errors.Is(err, adapters.ErrHome):
			a.method(in)
			return
		case err != nil || json.Unmarshal(got, &r) != nil || r.Version != carriedVersion || r.Code < 200:
			a.respond(in, busyElsewhere(), "")
			return
		}
		out := answer{code: r.Code, phrase: r.Phrase}
		for _, h := range r.Headers {
			out.headers = append(out.headers, wire.Header{Name: h[0], Value: h[1]})
		}
		a.respond(in, out, r.ToTag)
	})
	return true
}

// pairOf is whose watch a SUBSCRIBE or NOTIFY speaks of; false for one that speaks of none. A dialog that is here says it itself.
func (a *Adapter) pairOf(in *inbound) (of adapters.WatchID, ok bool) {
	tag, within := tagOf(in.req)
	to, ref := AddressOf(in.req.To().URI(), in.opts.recipient(cpim.Pres))
	switch in.req.Method() {
	case "SUBSCRIBE":
		if n := a.notifiers.find(tag); within && n != nil {
			return n.d.watchID(), true
		}
		from, fault := partyOf(in.opts.from(in.req), in.opts.sender(cpim.Pres))
		if fault != nil {
			return of, false
		}
		if !within {
			to, ref = AddressOf(in.req.RequestURI(), in.opts.recipient(cpim.Pres))
		}
		return adapters.WatchID{Watcher: from.Address, Presentity: to.Address}, ref == nil
	case "NOTIFY":
		if s := a.subscribers.find(tag); s != nil {
			return s.watch, true
		}
		from, fault := partyOf(in.req.From(), in.opts.sender(cpim.Pres))
		return adapters.WatchID{Watcher: to.Address, Presentity: from.Address}, within && fault == nil && ref == nil
	}
	return of, false
}

// Carried implements adapters.Homed: it serves a request that another gateway has admitted.
func (a *Adapter) Carried(ctx context.Context, octets []byte) []byte {
	answers := make(chan carriedAnswer, 1)
	in, err := a.carriedRequest(octets)
	if err != nil {
		a.log.Warn().Str("fault", clip(err.Error())).Msg("a request that another gateway has taken cannot be served here")
		r := busyElsewhere()
		answers <- carriedAnswer{Version: carriedVersion, Code: r.code, Phrase: r.phrase}
	} else {
		in.answered = func(r answer, toTag string) {
			out := carriedAnswer{Version: carriedVersion, Code: r.code, Phrase: r.phrase, ToTag: toTag}
			for _, h := range r.headers {
				out.Headers = append(out.Headers, [2]string{h.Name, h.Value})
			}
			select {
			case answers <- out:
			default: // the first final response wins
			}
		}
		a.method(in)
	}
	select {
	case r := <-answers:
		b, err := json.Marshal(&r)
		if err != nil {
			return nil
		}
		return b
	case <-ctx.Done():
		return nil
	}
}

func (a *Adapter) carriedRequest(octets []byte) (*inbound, error) {
	var c carried
	if err := json.Unmarshal(octets, &c); err != nil {
		return nil, err
	}
	if c.Version != carriedVersion {
		return nil, errCarriedVersion
	}
	req, err := wire.Parse(c.Raw, a.wire)
	if err != nil {
		return nil, err
	}
	identity, err := wire.ParseAddr(c.Identity)
	if err != nil {
		return nil, err
	}
	remote, err := netip.ParseAddrPort(c.Remote)
	local, err2 := netip.ParseAddrPort(c.Local)
	if err = errors.Join(err, err2); err != nil {
		return nil, err
	}
	peer := a.peers().named(c.Peer)
	if peer == nil {
		return nil, errNoPeer
	}
	req.SetSource(remote)
	in := &inbound{
		req: req, method: req.Method(), peer: peer, identity: identity, src: transaction.Source{Transport: transportNamed(c.Transport), Remote: remote, Local: local},
	}
	in.opts = in.options()
	if m := req.Method(); m != "SUBSCRIBE" && m != "NOTIFY" {
		return nil, errCarriedMethod
	}
	return in, nil
}

var (
	errCarriedVersion = errors.New("sip: another gateway is of another version")
	errCarriedMethod  = errors.New("sip: a request of a method that is not carried")
)

// Release implements adapters.Homed.
func (a *Adapter) Release(gone func(of adapters.WatchID) bool) {
	for _, n := range a.notifiers.all() {
		if gone(n.d.watchID()) {
			n.release()
		}
	}
	for _, s := range a.subscribers.all() {
		if gone(s.watch) {
			s.release()
		}
	}
}

// digestOf names what a document says: two that differ in times of their tuples alone say the same.
func digestOf(doc *pidf.Presence) string {
	same := *doc
	same.Tuples = slices.Clone(doc.Tuples)
	for i := range same.Tuples {
		same.Tuples[i].Timestamp = datetime.Value{}
	}
	octets, err := same.Append(nil)
	if err != nil {
		return ""
	}
	h := sha256.Sum256(octets)
	return hex.EncodeToString(h[:16])
}

// knows tells whether the watcher has acknowledged the same document last, in the same state, and has not asked since. When a pair goes to another
// gateway, or an XMPP link does, its presentity's side is asked again what it said before; the watcher is not told of that. n.mu is held.
func (n *notifying) knows(t *turn) bool {
	return t.body != nil && t.body.digest != "" && t.body.digest == n.said && !t.urgent && t.state.state == adapters.WatchActive
}

// release drops the dialog without a word; its record stays. In that of one which is handed on in order stands what its watcher knows. Whoever
// goes on with it writes it anew before it says anything: so the record of a gateway that was killed never names what was said before
// something else.
func (n *notifying) release() {
	n.mu.Lock()
	if a := n.table.a; n.kept && n.said != "" && !n.sending && !n.over() && a.mine(n.d.watchID()) {
		r := n.d.reserved()
		r.Said = n.said
		if b, err := appendDialog(&r); err == nil {
			a.keeper.Save(n.d.watchID(), n.name(), b, nil)
		}
	}
	n.kept, n.ended, n.gone = false, true, true
	n.schedule()
	n.mu.Unlock()
	n.table.remove(n)
}

// release drops the dialog without a word; its record stays.
func (s *subscribing) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.ended = false, true
	s.schedule()
	s.table.remove(s, s.d.LocalTag)
}

// moved gives a dialog that was another gateway's the Contact of this one, by the same transport, and tells whether it has another one now.
// The far side hears of it by the next request, which refreshes its target.
func (a *Adapter) moved(d *Dialog) bool {
	if a.homes == nil {
		return false
	}
	u, err := wire.ParseURI(d.Contact)
	if err != nil {
		return false
	}
	via := resolver.UDP
	if name, has := u.Param("transport"); has {
		via = transportNamed(name)
	}
	contact, ok := a.contact(unescaped(u.User()), via)
	if !ok || contact == d.Contact {
		return false
	}
	d.Contact = contact
	return true
}

// graceMoved is when the far side of a dialog that has moved here is told so, if the core has not told it anything by then: it asks the presentity's side
// half a second after it has taken a pair over. A watcher that is told of the move alone, and then of the presence, hears two NOTIFYs for one; one that
// waits for longer speaks to nobody meanwhile, and the lease of the gateway that is gone has taken ten of the fifteen seconds that it may wait.
const graceMoved = 1500 * time.Millisecond
