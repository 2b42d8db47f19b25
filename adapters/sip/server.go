package sip

import (
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// server is the Adapter as the transaction layer calls it: from the goroutine that reads a socket, so nothing here waits.
type server Adapter

var _ transaction.Handler = (*server)(nil)

// inbound is one request on its way through the checks.
type inbound struct {
	req  *wire.Message
	src  transaction.Source
	tx   *transaction.ServerTx
	peer *Peer
	opts ReadOptions
	// identity is whom the request is from: From, or what a trusted peer asserts.
	identity wire.Addr
	// answered takes the response to a request that another gateway has taken; nil for one of tx.
	answered func(r answer, toTag string)
	method   string // of req, which may be another's once it was answered
}

// options is how a request is read.
func (in *inbound) options() ReadOptions {
	return ReadOptions{
		FoldCase: in.peer.FoldCase, IgnorePort: in.peer.IgnorePort, LenientPresence: in.peer.LenientPresence, Now: time.Now(), Identity: in.identity,
		SMIME: in.peer.SMIME,
	}
}

// Request implements transaction.Handler: the general rules for user agent servers (RFC 3261 §8.2), in the order of that section, and
// then the method's own.
func (s *server) Request(req *wire.Message, src transaction.Source, tx *transaction.ServerTx) {
	a := (*Adapter)(s)
	in := &inbound{req: req, src: src, tx: tx, method: req.Method()}
	if ref := a.admit(in); ref != nil {
		a.refuse(in, ref)
		return
	}
	if !a.elsewhere(in) {
		a.method(in)
	}
}

// method applies the method's own rules to a request that was admitted.
func (a *Adapter) method(in *inbound) {
	var ref *Refusal
	switch in.req.Method() {
	case "MESSAGE":
		ref = a.takeMessage(in)
	case "SUBSCRIBE":
		ref = a.notifiers.take(in)
	case "NOTIFY":
		ref = a.subscribers.take(in)
	case "PUBLISH":
		ref = a.compositor.take(in)
	case "OPTIONS":
		a.takeOptions(in)
	}
	if ref != nil {
		a.refuse(in, ref)
	}
}

// admit finds the peer and checks what does not depend on the method's own rules.
func (a *Adapter) admit(in *inbound) *Refusal {
	req := in.req
	// Authentication first (RFC 3261 §8.2, S1, S9). Strangers have been refused below (see Adapter.known).
	if in.peer = a.peers().at(in.src); in.peer == nil {
		return refuse(WhyStranger, 403, phraseOf(403))
	}
	method := req.Method()
	switch method {
	case "MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH":
		if method == "PUBLISH" && !a.compositor.any() {
			return refuse(WhyMethod, 405, phraseOf(405), wire.Header{Name: "Allow", Value: a.allow()})
		}
		// Only now may the identity be believed, and only as far as the domain goes (S2).
		peer, identity, ref := a.peers().speaker(in.src, req)
		if ref != nil {
			return ref
		}
		in.peer, in.identity = peer, identity
	case "OPTIONS":
	case "INVITE", "BYE", "CANCEL", "REGISTER", "PRACK", "UPDATE", "INFO", "REFER":
		return refuse(WhyMethod, 405, phraseOf(405), wire.Header{Name: "Allow", Value: a.allow()})
	default:
		return refuse(WhyMethod, 501, phraseOf(501), wire.Header{Name: "Allow", Value: a.allow()})
	}
	in.opts = in.options()
	if ref := a.authenticate(in); ref != nil {
		return ref
	}
	if ref := a.verify(in); ref != nil {
		return ref
	}
	switch req.RequestURI().Scheme() {
	case "sips":
		return refuseSIPS()
	case "sip", "im", "pres":
	default:
		return refuse(WhyScheme, 416, phraseOf(416))
	}
	if unknown, any := requiredExtensions(req); any {
		return refuse(WhyExtension, 420, phraseOf(420), wire.Header{Name: "Unsupported", Value: unknown})
	}
	// "If the request contains a Max-Forwards header field with a field value of zero (0), the element MUST NOT forward the
	// request" (RFC 3261 §16.3 step 3); only OPTIONS is for ourselves.
	if n, ok := req.MaxForwards(); ok && n == 0 && method != "OPTIONS" {
		return refuse(WhyHops, 483, phraseOf(483))
	}
	if a.looped(req) {
		return refuse(WhyLoop, 482, phraseOf(482))
	}
	if a.closing.Load() {
		return refuse(WhyOverload, 503, phraseOf(503))
	}
	return nil
}

// fromDomain is the domain of a From URI in the form of Peer.Domains, "" if it has none.
func fromDomain(u wire.URI) string {
	host := u.Host()
	if s := u.Scheme(); s == "im" || s == "pres" {
		_, host, _ = strings.Cut(u.String(), "@")
	}
	d, err := resolver.ParseDomain(host)
	if err != nil {
		return ""
	}
	return d
}

// requiredExtensions is the value of Unsupported: every option tag of Require, since none is supported (RFC 3261 §8.2.2.3), as far as
// it is a token; any tells that there was one.
func requiredExtensions(req *wire.Message) (tags string, any bool) {
	var list []string
	for v := range req.Headers("Require") {
		any = true
		if isToken(v) && len(list) < 16 {
			list = append(list, v)
		}
	}
	return strings.Join(list, ", "), any
}

// refuse answers with a Refusal, counts and logs it. A request that proved nothing is forgotten (RFC 3261 §26.3.2.4), also because it may
// come again with a proof in another branch: "accept this request as a spiral rather than a loop" (RFC 8224 §6.2.3).
func (a *Adapter) refuse(in *inbound, ref *Refusal) {
	a.respond(in, answer{code: ref.Code, phrase: ref.Phrase, headers: ref.Headers, forget: ref.Why == WhyCredentials || ref.Why == WhySignature}, "")
	name := ""
	if in.peer != nil {
		name = in.peer.Name
	}
	a.refusals.note(ref, in.req.Method(), name, in.src.Remote.String())
}

// respond sends the final response. A failure to do so is not the peer's business: it will retransmit, or has gone.
func (a *Adapter) respond(in *inbound, r answer, toTag string) {
	if in.answered != nil {
		in.answered(r, toTag)
		return
	}
	err := in.tx.Respond(r.code, r.phrase, transaction.RespondOptions{ToTag: toTag, Headers: r.headers, Spare: r.spare, Forget: r.forget})
	if err != nil {
		a.log.Debug().Str("method", in.method).Int("code", r.code).Str("fault", clip(err.Error())).Msg("a response was not sent")
	}
}

// peerOf is the identity that goes with an operation.
func (in *inbound) peerOf() adapters.Peer { return adapters.Peer{Adapter: Name, Name: in.peer.Name} }

// takeMessage hands a MESSAGE to the core and answers when the core does.
func (a *Adapter) takeMessage(in *inbound) *Refusal {
	got, ref := ReadMessage(in.req, in.opts)
	if ref != nil {
		return ref
	}
	if len(got.Reports) > 0 {
		// "an endpoint will send a SIP response to the MESSAGE request regardless of the type of message" (RFC 5438
		// §12.1.2); nothing else ever answers a notice.
		a.respond(in, answer{code: 200, phrase: phraseOf(200)}, "")
		for _, r := range got.Reports {
			a.handler.Report(a.base, r)
		}
		return nil
	}
	if got.Message == nil {
		a.respond(in, answer{code: 200, phrase: phraseOf(200)}, "")
		a.refusals.note(refuse(WhyNotice, 200, phraseOf(200)), "MESSAGE", in.peer.Name, in.src.Remote.String())
		return nil
	}
	op := got.Message
	op.Peer = in.peerOf()
	a.learnFrom(in.peer, op)
	to, activity := op.To, op.Activity != adapters.ActivityNone
	a.handler.Message(a.base, op, func(s adapters.Status) {
		if activity && s.Reason == adapters.ReasonNotImplemented {
			a.respond(in, ceaseComposing(), "")
			return
		}
		a.respond(in, answerFor(s, to, "MESSAGE"), "")
	})
	return nil
}
