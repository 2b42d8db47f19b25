package stream

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Host is a domain that streams may be opened to.
type Host struct {
	// Name is its canonical form.
	Name string
	// TLS is the configuration for STARTTLS, nil if it cannot be used. It asks for a certificate of the peer (tls.RequestClientCert), and
	// leaves the judgement of it to Incoming.Authorize. It must not be changed while it is used.
	TLS *tls.Config
}

// Incoming says how to accept a stream as the receiving entity (RFC 6120 §4.2). The functions may be called by any goroutine.
type Incoming struct {
	// Host returns the host of a 'to' in canonical form; false: it is not served here, and the peer is told host-unknown.
	Host func(to string) (Host, bool)
	// DefaultTo is the 'from' of our header where no host is known, and the host of a header without 'to'. If it is "", such a header is
	// answered with host-unknown: 'to' must be there, though old implementations leave it out (RFC 6120 §4.7.2).
	DefaultTo string
	// Direct is the configuration for direct TLS, which comes before anything else (XEP-0368); nil for STARTTLS. Its NextProtos should
	// be xmpp-server.
	Direct *tls.Config
	// Cleartext allows authentication by dialback without TLS (THREATS.md X8, X10).
	Cleartext bool
	// Authorize tells whether the peer's certificate proves domain; nil is yes. It decides whether EXTERNAL is offered and taken. It is
	// asked once, and never for a peer without a certificate.
	Authorize func(domain string, cs *tls.ConnectionState) error
	// Dialback allows dialback (XEP-0220).
	Dialback bool
	// Bidi offers bidirectional streams (XEP-0288).
	Bidi bool
	// Management offers stream management (XEP-0198).
	Management bool
	// MaxBytes and Idle are announced if they are positive (XEP-0478): the largest element that is taken, in octets, and how long the
	// peer may be silent, in whole seconds.
	MaxBytes int
	Idle     time.Duration
	// Pass is the connection's place at the gate, nil if there is none. The stream leaves it.
	Pass *Pass
	// Limits apply after authentication, Strangers before.
	Limits    strictxml.Limits
	Strangers Strangers
}

// Claim is who opened a stream, and how much of it is proven.
type Claim struct {
	// From is the domain that the peer's header claims, "" if none; To the host it wants, ID our id of the stream, for dialback keys.
	From, To, ID string
	// Lang is the language of the peer's header, for stanzas that say none (RFC 6120 §4.7.4).
	Lang string
	// Secured is whether TLS is in use; TLS is its state then, else nil. It holds certificates: an open stream need not keep it.
	Secured bool
	TLS     *tls.ConnectionState
	// Authenticated is whether EXTERNAL has proven From. If not, nothing is proven, and the first element is a dialback element.
	Authenticated bool
	// Refused is what Authorize found against the certificate, nil if it was not asked.
	Refused error
	// Dialback is whether the peer declares the namespace of dialback.
	Dialback bool
	// Bidi is whether the peer has made the stream bidirectional.
	Bidi bool
	// Version is whether the peer is of XMPP 1.0 or later.
	Version bool
}

// Accept answers a stream on conn as the receiving entity. It returns when EXTERNAL has succeeded, and the features that follow are
// written; or when the first dialback element has come, which Next then returns first. It closes conn on failure, after the stream error
// that the failure asks for. ctx bounds it, and Strangers.Time. The errors are those of Open.
//
// Where EXTERNAL has not succeeded, all bounds of Strangers hold on, the time too, until Established is called.
func Accept(ctx context.Context, conn net.Conn, in Incoming) (s *Conn, claim *Claim, err error) {
	n := begin(ctx, conn, in.Limits, in.Strangers)
	n.s.pass = in.Pass
	r := &receiver{negotiation: n, in: &in}
	defer func() {
		switch err = n.end(err, r.answer); {
		case err != nil:
			s, claim = nil, nil
		case r.claim.Authenticated:
			in.Pass.Leave()
		default:
			conn.SetReadDeadline(n.until)
		}
	}()
	if in.Direct != nil {
		if err := r.handshake(false, in.Direct); err != nil {
			return nil, nil, err
		}
		if p := r.secure.NegotiatedProtocol; p != "" && p != alpnServer {
			return nil, nil, &TLSError{Err: errProtocol}
		}
	}
	for done := false; !done; {
		if done, err = r.stage(); err != nil {
			return nil, nil, err
		}
	}
	found := r.claim // its own memory: who keeps it must not keep the negotiation
	return n.s, &found, nil
}

// receiver is the negotiation from the side of Accept.
type receiver struct {
	*negotiation
	in    *Incoming
	host  Host
	claim Claim
	met   bool // a header has been read: 'to' and 'from' are fixed (THREATS.md X11)
	tries int  // failed attempts to authenticate
	asked bool // we have sent an empty <challenge/>
	offer Features
}

// answer is our header. It is also what comes before a stream error where no header has been written (RFC 6120 §4.9.1.2).
func (r *receiver) answer() []byte {
	r.claim.ID = newID()
	from := r.host.Name
	if from == "" {
		from = r.in.DefaultTo
	}
	h := header{from: from, to: r.claim.From, id: r.claim.ID, version: r.claim.Version || !r.met, dialback: r.in.Dialback}
	return h.appendTo(nil)
}

// stage goes from the peer's header to the end of the stream that it begins. done tells that the negotiation has come to its end.
func (r *receiver) stage() (done bool, err error) {
	h, err := r.header()
	if err != nil {
		return false, err
	}
	if err := r.meet(&h); err != nil {
		return false, err
	}
	if err := r.features(); err != nil {
		return false, err
	}
	if !r.claim.Version {
		// "If either entity receives a stream header with no 'version' attribute, the entity ... SHOULD NOT include a 'version' attribute
		// in the response stream header" (RFC 6120 §4.7.5), and features are for 1.0.
		if r.secure != nil || !r.in.Cleartext || !r.in.Dialback {
			return false, ErrVersion
		}
	}
	out := r.answer()
	if r.claim.Version {
		out = r.offer.appendTo(out)
	}
	if err := r.write(out); err != nil {
		return false, err
	}
	r.opened = true
	if r.claim.Authenticated {
		return true, nil
	}
	for {
		if next, done, err := r.element(); err != nil || next {
			return done, err
		}
	}
}

// meet takes a header, whose addresses are those of the header before.
func (r *receiver) meet(h *header) error {
	c := &r.claim
	r.opened = false
	c.Version, c.Lang, c.Dialback = h.version, h.lang, h.dialback
	c.Secured, c.TLS = r.secure != nil, r.secure
	to := h.to
	if to == "" {
		to = r.in.DefaultTo
	}
	if r.met {
		switch {
		case to != c.To:
			return ErrToChanged
		case h.from != c.From && (c.From != "" || c.Authenticated):
			return ErrFromChanged
		}
		c.From = h.from
		return nil
	}
	r.met = true
	c.From, c.To = h.from, to
	if to == "" {
		return ErrHostUnknown
	}
	host, ok := r.in.Host(to)
	if !ok {
		return ErrHostUnknown
	}
	r.host = host
	return nil
}

// features decides what is offered at this stage (RFC 6120 §4.3.4).
func (r *receiver) features() error {
	r.offer = Features{}
	c, f := &r.claim, &r.offer
	if r.secure == nil && r.host.TLS != nil {
		f.StartTLS, f.StartTLSRequired = true, !r.in.Cleartext
		if f.StartTLSRequired {
			// "the receiving entity SHOULD NOT advertise support for any stream feature except STARTTLS" (RFC 6120 §5.3.1).
			return nil
		}
	}
	if !c.Authenticated && r.secure != nil && c.From != "" && len(r.secure.PeerCertificates) > 0 && r.in.Authorize != nil {
		c.Refused = r.in.Authorize(c.From, r.secure)
		f.SASL = c.Refused == nil
		f.External = f.SASL
	}
	f.Dialback, f.DialbackErrors = r.in.Dialback, r.in.Dialback
	f.Bidi = r.in.Bidi && !c.Authenticated
	// Dialback ends without another list of features, so a peer that has nothing else hears of stream management now.
	f.Management = r.in.Management && (c.Authenticated || !f.External)
	f.MaxBytes, f.IdleAfter = r.in.MaxBytes, r.in.Idle
	switch {
	case c.Authenticated, f.External, f.StartTLS:
		return nil
	case r.secure == nil && !r.in.Cleartext:
		return &Fault{InternalServerError, "TLS is wanted and not configured for the host", "RFC 6120 §4.9.3.8", ""}
	case !r.in.Dialback:
		// "if according to local service policies weak identity verification is insufficient then the receiving entity SHOULD instead
		// close the stream with a <policy-violation/> stream error" (RFC 6120 §6.4.5).
		return ErrUnproven
	}
	return nil
}

// element takes the next element of a peer that is not authenticated. next tells that it ends the stream in which it came, done that it
// ends the negotiation.
func (r *receiver) element() (next, done bool, err error) {
	raw, e, err := r.next()
	if err != nil {
		return false, false, err
	}
	switch e.Name {
	case strictxml.Name{Space: SpaceTLS, Local: "starttls"}:
		return true, false, r.startTLS(e)
	case strictxml.Name{Space: SpaceSASL, Local: "auth"}:
		return r.auth(e)
	case strictxml.Name{Space: SpaceSASL, Local: "response"}:
		return r.response(e)
	case strictxml.Name{Space: SpaceSASL, Local: "abort"}:
		r.asked = false
		return false, false, r.refuse(SASLAborted)
	case strictxml.Name{Space: SpaceBidi, Local: "bidi"}:
		if !r.offer.Bidi {
			return false, false, &Fault{UnsupportedStanzaType, "a bidirectional stream was not offered", "RFC 6120 §4.9.3.24", ""}
		}
		r.claim.Bidi = true
		return false, false, nil
	case strictxml.Name{Space: SpaceDialback, Local: "result"}, strictxml.Name{Space: SpaceDialback, Local: "verify"}:
		switch {
		case !r.in.Dialback:
			return false, false, &Fault{PolicyViolation, "dialback is not allowed", "RFC 6120 §6.4.5", ""}
		case r.secure == nil && !r.in.Cleartext:
			return false, false, &Fault{PolicyViolation, "dialback in the clear is not allowed", "RFC 6120 §6.4.5", ""}
		}
		r.s.first = raw
		return true, true, nil
	case strictxml.Name{Space: SpaceManagement, Local: "enable"}, strictxml.Name{Space: SpaceManagement, Local: "resume"}:
		// "The server SHALL enforce this order and return a <failed/> element in response if the order is violated" (XEP-0198 §3).
		return false, false, r.write(AppendManagement(nil, &ManagementElement{Kind: Failed, Condition: "unexpected-request"}))
	case strictxml.Name{Space: SpaceServer, Local: "message"}, strictxml.Name{Space: SpaceServer, Local: "presence"},
		strictxml.Name{Space: SpaceServer, Local: "iq"}:
		return false, false, ErrStanza
	}
	if e.Name.Space == SpaceClient {
		return false, false, &Fault{InvalidNamespace, "an element of clients", "RFC 6120 §4.8.3", ""}
	}
	return false, false, &Fault{UnsupportedStanzaType, "an element that is not known before authentication", "RFC 6120 §4.9.3.24", ""}
}

// startTLS answers <starttls/> (RFC 6120 §5.4.2).
func (r *receiver) startTLS(e *strictxml.Element) error {
	if !r.offer.StartTLS || len(e.Nodes) != 0 || len(e.Attrs) != 0 {
		if err := r.write([]byte("<failure xmlns='" + SpaceTLS + "'/>")); err != nil {
			return err
		}
		return errStartTLS
	}
	if err := r.nothingLeft(ErrInjected); err != nil {
		return err
	}
	if err := r.write([]byte("<proceed xmlns='" + SpaceTLS + "'/>")); err != nil {
		return err
	}
	r.claim.Bidi, r.asked = false, false // what was said in the clear does not hold (RFC 6120 §5.4.3.3)
	return r.handshake(false, r.host.TLS)
}

// auth answers <auth/> (RFC 6120 §6.4.2).
func (r *receiver) auth(e *strictxml.Element) (next, done bool, err error) {
	r.asked = false // another <auth/> discards what was under way
	mechanism, _ := e.Attr("", "mechanism")
	switch {
	case mechanism != externalMechanism:
		return false, false, r.refuse(SASLInvalidMechanism)
	case r.secure == nil:
		return false, false, r.refuse(SASLEncryptionRequired)
	case !textOnly(e):
		return false, false, r.refuse(SASLMalformedRequest)
	case len(e.Nodes) == 0 && r.offer.External:
		// No initial response: one is asked for (RFC 6120 §6.3.10, RFC 4422 Appendix A).
		r.asked = true
		return false, false, r.write([]byte("<challenge xmlns='" + SpaceSASL + "'/>"))
	}
	return r.judge(e.Text())
}

// response answers <response/> (RFC 6120 §6.4.3).
func (r *receiver) response(e *strictxml.Element) (next, done bool, err error) {
	if !r.asked || !textOnly(e) {
		r.asked = false
		return false, false, r.refuse(SASLMalformedRequest)
	}
	r.asked = false
	text := e.Text()
	if text == "" {
		text = "="
	}
	return r.judge(text)
}

// textOnly tells whether an element has nothing but text.
func textOnly(e *strictxml.Element) bool {
	for range e.Children() {
		return false
	}
	return true
}

// judge decides on a response of EXTERNAL.
func (r *receiver) judge(response string) (next, done bool, err error) {
	if c := external(response, r.claim.From, r.offer.External); c != 0 {
		return false, false, r.refuse(c)
	}
	if err := r.nothingLeft(ErrEager); err != nil {
		return false, false, err
	}
	if err := r.write([]byte("<success xmlns='" + SpaceSASL + "'/>")); err != nil {
		return false, false, err
	}
	r.claim.Authenticated = true
	r.authenticated()
	return true, false, nil
}

// refuse answers a failed attempt, or ends the stream after too many (RFC 6120 §6.4.5).
func (r *receiver) refuse(c SASLCondition) error {
	if r.tries++; r.tries > r.lim.Tries {
		return ErrTries
	}
	return r.write(appendFailure(nil, c))
}
