package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Outgoing says how to open a stream as the initiating entity (RFC 6120 §4.2).
type Outgoing struct {
	// From and To are the domains, as JIDs write them.
	From, To string
	// TLS is the configuration of TLS, nil if it cannot be used. Whether the peer's certificate proves To is for its VerifyConnection,
	// which records what it finds instead of failing where dialback may do. Open sets ServerName, the A-labels of To (RFC 7590 §3.5),
	// and for direct TLS the protocol name xmpp-server.
	TLS *tls.Config
	// Direct is for a target of _xmpps-server: the TLS handshake comes first (XEP-0368).
	Direct bool
	// Cleartext allows a stream without TLS where the peer offers none. Without it nothing is sent in the clear but the header and
	// STARTTLS (THREATS.md X8). EXTERNAL is never used in the clear.
	Cleartext bool
	// External is whether SASL EXTERNAL is used if it is offered (XEP-0178).
	External bool
	// Dialback declares the namespace of dialback in the header, which AppendDialback needs (XEP-0220 §2.3.1).
	Dialback bool
	// Bidi asks for a bidirectional stream if the peer offers it (XEP-0288).
	Bidi bool
	// Limits apply after authentication, Strangers before.
	Limits    strictxml.Limits
	Strangers Strangers
}

// Offer is what a stream was opened with.
type Offer struct {
	// ID is the peer's id of the stream, for dialback keys. Lang is the language of its header.
	ID, Lang string
	// Secured is whether TLS is in use; TLS is its state then, else nil. It holds certificates: an open stream need not keep it.
	Secured bool
	TLS     *tls.ConnectionState
	// Authenticated is whether EXTERNAL has succeeded: the peer takes stanzas from Outgoing.From to Outgoing.To. If it was tried and
	// refused, ExternalRefused says why; the peer may have closed the stream then, which Next tells.
	Authenticated   bool
	ExternalRefused *SASLFailure
	// Dialback is whether the peer declares the namespace of dialback or offers it, DialbackErrors whether it knows its errors, so that
	// more than one of its domains may be tried on this stream (XEP-0220 §2.6.2).
	Dialback, DialbackErrors bool
	// Bidi is whether the stream has been made bidirectional: stanzas come in on it too, once dialback or EXTERNAL has succeeded.
	Bidi bool
	// Management is whether <enable/> may be sent once the peer takes stanzas (XEP-0198).
	Management bool
	// MaxBytes is the largest element that the peer takes, in octets; IdleAfter how long it lets the stream be silent. Zero: it does not
	// say (XEP-0478).
	MaxBytes  int
	IdleAfter time.Duration
	// Features is all that the peer offered last.
	Features Features
	// Version is whether the peer is of XMPP 1.0 or later. One that is not has offered nothing (RFC 6120 §4.7.5).
	Version bool
}

// errOutgoing is the caller's fault.
var errOutgoing = errors.New("xmpp/stream: From and To are domains, and a stream without TLS needs Cleartext")

// Open opens a stream on conn as the initiating entity, up to and with authentication by EXTERNAL if that is possible. It closes conn on
// failure, after the stream error that the failure asks for. ctx bounds it, and Strangers.Time. The error is an *Error if the peer
// ended the stream, a *Fault or a *strictxml.SyntaxError if it did something wrong, a *TLSError, or the connection's.
//
// Where EXTERNAL has not succeeded, the peer's elements are bounded by Strangers until Established is called.
func Open(ctx context.Context, conn net.Conn, o Outgoing) (s *Conn, offer *Offer, err error) {
	n := begin(ctx, conn, o.Limits, o.Strangers)
	defer func() {
		if err = n.end(err, nil); err != nil {
			s, offer = nil, nil
		}
	}()
	from, ok := domain(o.From)
	to, ok2 := domain(o.To)
	if !ok || !ok2 || o.TLS == nil && (!o.Cleartext || o.Direct) {
		return nil, nil, errOutgoing
	}
	i := &initiator{negotiation: n, o: &o, from: from, to: to}
	if o.Direct {
		if err := i.handshake(true, i.config()); err != nil {
			return nil, nil, err
		}
	}
	for done := false; !done; {
		if done, err = i.stage(); err != nil {
			return nil, nil, err
		}
	}
	if m := n.s.meter; m != nil {
		m.left = -1 // the peer whom we asked for verdicts may give many
	}
	found := i.offer // its own memory: who keeps it must not keep the negotiation
	return n.s, &found, nil
}

// initiator is the negotiation from the side of Open.
type initiator struct {
	*negotiation
	o        *Outgoing
	from, to string
	offer    Offer
}

// config returns the configuration of TLS for this peer.
func (i *initiator) config() *tls.Config {
	cfg := i.o.TLS.Clone()
	cfg.ServerName = hostName(i.to)
	cfg.NextProtos = nil
	if i.o.Direct {
		cfg.NextProtos = []string{alpnServer}
	}
	return cfg
}

// stage goes from our header to the answer to the peer's features. done tells that the negotiation has come to its end; otherwise a
// new stream begins.
func (i *initiator) stage() (done bool, err error) {
	mine := header{from: i.from, to: i.to, version: true, dialback: i.o.Dialback}
	if err := i.write(mine.appendTo(nil)); err != nil {
		return false, err
	}
	i.opened = true
	h, err := i.header()
	if err != nil {
		return false, err
	}
	if err := i.check(&h); err != nil {
		return false, err
	}
	o := &i.offer
	o.ID, o.Lang, o.Dialback, o.Version = h.id, h.lang, h.dialback, h.version
	o.Secured, o.TLS = i.secure != nil, i.secure
	if !h.version {
		// No features will come. It is a peer for dialback alone, in the clear if that is allowed at all.
		if i.secure != nil || !i.o.Cleartext || !h.dialback {
			return false, ErrVersion
		}
		return true, nil
	}
	_, e, err := i.next()
	if err != nil {
		return false, err
	}
	if e.Name != (strictxml.Name{Space: SpaceStreams, Local: "features"}) {
		return false, ErrFeatures
	}
	f := readFeatures(e)
	o.Features, o.Management, o.MaxBytes, o.IdleAfter = f, f.Management, f.MaxBytes, f.IdleAfter
	o.Dialback, o.DialbackErrors = o.Dialback || f.Dialback, o.DialbackErrors || f.DialbackErrors
	switch {
	case i.secure == nil && i.o.TLS != nil && f.StartTLS:
		o.DialbackErrors = false // nothing that was said in the clear is believed (RFC 6120 §5.4.3.3)
		return false, i.startTLS()
	case i.secure == nil && !i.o.Cleartext:
		return false, ErrNoTLS
	case i.secure == nil && f.StartTLSRequired:
		return false, ErrNoSuchNeed
	}
	if !o.Authenticated {
		bidi := i.bidi()
		if i.secure != nil && i.o.External && f.External {
			if err := i.external(bidi); err != nil {
				return false, err
			}
			// The peer that has refused may take dialback on the same stream (XEP-0178 §3).
			return !o.Authenticated, nil
		}
		if len(bidi) > 0 {
			if err := i.write(bidi); err != nil {
				return false, err
			}
		}
	}
	// A need that is not known was no obstacle while something that is known could be negotiated (RFC 6120 §4.9.3.23).
	if f.Need {
		return false, ErrNoSuchNeed
	}
	return true, nil
}

// check compares the peer's header with what was asked for. A peer that ends the stream at once may say another name (RFC 6120
// §4.9.1.3), and what it says matters more than its name.
func (i *initiator) check(h *header) (err error) {
	switch {
	case h.from != "" && h.from != i.to:
		err = ErrFromChanged
	case h.to != "" && h.to != i.from:
		err = ErrToChanged
	case h.id == "" || len(h.id) > maxID:
		err = &Fault{BadFormat, "a header that answers without an id, or with one of more than 1024 octets", "RFC 6120 §4.7.3", ""}
	default:
		return nil
	}
	if _, _, next := i.next(); next != nil {
		if se, ok := errors.AsType[*Error](next); ok {
			return se
		}
	}
	return err
}

// startTLS negotiates STARTTLS (RFC 6120 §5.4). Whatever else than <proceed/> comes, the stream does not go on.
func (i *initiator) startTLS() error {
	if err := i.write([]byte("<starttls xmlns='" + SpaceTLS + "'/>")); err != nil {
		return err
	}
	_, e, err := i.next()
	if err != nil {
		return err
	}
	switch e.Name {
	case strictxml.Name{Space: SpaceTLS, Local: "proceed"}:
	case strictxml.Name{Space: SpaceTLS, Local: "failure"}:
		return ErrTLSRefused
	default:
		return &Fault{BadFormat, "no answer to STARTTLS", "RFC 6120 §5.4.2.1", ""}
	}
	i.mute = true // the TLS negotiation has begun
	if err := i.nothingLeft(ErrInjected); err != nil {
		return err
	}
	return i.handshake(true, i.config())
}

// bidi returns the element that makes the stream bidirectional, if it can be; before SASL and dialback, after TLS (XEP-0288 §2.2).
func (i *initiator) bidi() []byte {
	if !i.o.Bidi || !i.offer.Features.Bidi || i.offer.Bidi {
		return nil
	}
	i.offer.Bidi = true
	return []byte("<bidi xmlns='" + SpaceBidi + "'/>")
}

// external negotiates SASL EXTERNAL, once (RFC 6120 §6.4, XEP-0178 §3). The authorization identity is sent though it is that of the
// header: "the connecting server SHOULD include the authorization identity for backward compability" (XEP-0178 §3), and a certificate of
// several domains does not say which of them is meant.
func (i *initiator) external(before []byte) error {
	auth := append(before, "<auth xmlns='"+SpaceSASL+"' mechanism='"+externalMechanism+"'>"...)
	if err := i.write(append(appendResponse(auth, i.from), "</auth>"...)); err != nil {
		return err
	}
	for challenged := false; ; challenged = true {
		_, e, err := i.next()
		if err != nil {
			return err
		}
		if e.Name.Space != SpaceSASL {
			return ErrSASLSequence
		}
		switch {
		case e.Name.Local == "success":
			// There is no security layer, but what comes before our new header cannot be the answer to it.
			if err := i.nothingLeft(&Fault{BadFormat, "octets between <success/> and our new header", "RFC 6120 §6.4.6", ""}); err != nil {
				return err
			}
			i.offer.Authenticated = true
			i.authenticated()
			return nil
		case e.Name.Local == "failure":
			i.offer.ExternalRefused = readFailure(e)
			return nil
		case e.Name.Local == "challenge" && !challenged:
			// A peer that does not look at initial responses (RFC 6120 §6.3.10).
			r := append([]byte(nil), "<response xmlns='"+SpaceSASL+"'>"...)
			if err := i.write(append(appendResponse(r, i.from), "</response>"...)); err != nil {
				return err
			}
		default:
			return ErrSASLSequence
		}
	}
}
