package main

import (
	"bytes"
	"errors"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/imdn"
	"github.com/isthmus-gateway/isthmus/cpim/iscomposing"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// read makes the canonical operation of the input.
func (t *translation) read(input []byte) (operation, error) {
	switch t.From {
	case "sip":
		return t.readSIP(input)
	case "xmpp":
		return t.readStanza(input)
	}
	return t.readCPIM(input)
}

func (t *translation) readOptions() sip.ReadOptions {
	return sip.ReadOptions{FoldCase: t.FoldCase, Now: t.now}
}

func (t *translation) readSIP(input []byte) (operation, error) {
	m, err := wire.Parse(input, wire.Limits{})
	if err != nil {
		return operation{}, err
	}
	if !m.IsRequest() {
		return t.readResponse(m)
	}
	switch m.Method() {
	case "MESSAGE":
		in, refused := sip.ReadMessage(m, t.readOptions())
		switch {
		case refused != nil:
			return operation{}, withPlace(refused, m)
		case in.Message != nil:
			return operation{message: in.Message}, nil
		case len(in.Reports) > 0:
			return operation{reports: in.Reports}, nil
		}
		return operation{nothing: "the notice says nothing that the gateway has a word for"}, nil
	case "SUBSCRIBE":
		op, refused := sip.ReadSubscribe(m, t.readOptions(), sip.Limits{})
		if refused != nil {
			return operation{}, refused
		}
		if op.Verb == adapters.WatchOpen && !t.Granted {
			op.Verb = adapters.WatchAsk // the gateway knows whether the watcher may; here it must be asked (RFC 8048 §5.3.1)
		}
		return operation{watch: op}, nil
	case "NOTIFY":
		return t.readNotify(m)
	}
	return operation{}, &sip.Refusal{Code: 501, Phrase: "translate takes MESSAGE, SUBSCRIBE and NOTIFY, and responses to MESSAGE", Why: sip.WhyMethod}
}

// readNotify reads a NOTIFY for the watch that it names itself, as its dialog would: its From is watched by its To.
func (t *translation) readNotify(m *wire.Message) (operation, error) {
	how := cpim.SIPMapping{Scheme: cpim.Pres, FoldCase: t.FoldCase}
	presentity, refused := sip.AddressOf(m.From().URI(), how)
	if refused != nil {
		return operation{}, refused
	}
	watcher, refused := sip.AddressOf(m.To().URI(), how)
	if refused != nil {
		return operation{}, refused
	}
	op, refused := sip.ReadNotify(m, adapters.WatchID{Watcher: watcher.Address, Presentity: presentity.Address}, t.readOptions())
	if refused != nil {
		return operation{}, withPlace(refused, m)
	}
	switch {
	case op.State == adapters.WatchTerminated && op.End == adapters.EndRejected:
		op.Change = adapters.AuthorizationRefused // RFC 8048 §5.2.2
	case op.State == adapters.WatchActive && t.Granted:
		op.Change = adapters.AuthorizationGranted // RFC 8048 §5.2.1
	}
	return operation{notify: op}, nil
}

// readResponse reads the answer to a MESSAGE: a failure is what its sender is told (RFC 7247 §7.2).
func (t *translation) readResponse(m *wire.Message) (operation, error) {
	status, final := sip.ReadResponse(m)
	_, method := m.CSeq()
	switch {
	case !final:
		return operation{nothing: "a provisional response says nothing yet"}, nil
	case method != "MESSAGE":
		return operation{nothing: "what a response to " + method + " means depends on its dialog"}, nil
	case status.Outcome != adapters.Failure:
		return operation{nothing: "a success has no form of its own (RFC 7572 §4)"}, nil
	}
	how := cpim.SIPMapping{Scheme: cpim.IM, FoldCase: t.FoldCase}
	sender, refused := sip.AddressOf(m.From().URI(), how)
	if refused != nil {
		return operation{}, refused
	}
	recipient, refused := sip.AddressOf(m.To().URI(), how)
	if refused != nil {
		return operation{}, refused
	}
	return operation{reports: []*adapters.Report{{
		Kind: adapters.ReportFailed, Sender: sender, Recipient: recipient, TransID: m.TopVia().Branch(), Thread: m.CallID(), Status: status, Time: t.now,
	}}}, nil
}

// withPlace finds the octet of a fault in a body, which the answer to the peer does not name.
func withPlace(refused *sip.Refusal, m *wire.Message) error {
	if refused.Why != sip.WhySyntax || len(m.Body()) == 0 {
		return refused
	}
	base := len(m.Raw()) - len(m.Body())
	kind, err := cpim.ParseContentType(m.ContentType())
	if err != nil {
		return refused
	}
	err = bodyFault(kind, m.Body())
	var format *syntax.Error
	var doc *pidf.SyntaxError
	switch {
	case errors.As(err, &format):
		return format.Shift(base)
	case errors.As(err, &doc):
		d := diagnose(doc)
		return &syntax.Error{Offset: base + int(max(d.offset, 0)), Rule: d.rule, Section: d.section, Expected: d.expected}
	}
	return refused
}

// bodyFault reads a body by the parser of its type.
func bodyFault(kind cpim.ContentType, body []byte) error {
	switch kind.Media() {
	case "message/cpim":
		m, err := cpim.ParseMessage(body, cpim.Limits{})
		if err != nil || !imdn.IsNotification(m) {
			return err
		}
		return within(m.Content(), func(b []byte) error { _, err := imdn.Parse(b); return err }, len(body))
	case "application/pidf+xml":
		_, err := pidf.Parse(body)
		return err
	case iscomposing.MediaType:
		_, err := iscomposing.Parse(body)
		return err
	}
	if kind.Type() == "multipart" {
		_, err := mimebody.Render(adapters.Content{Type: kind.String(), Octets: body}, mimebody.Limits{})
		return err
	}
	return nil
}

// within is the fault of an entity's body, which ends an input of this length.
func within(e *cpim.Entity, parse func([]byte) error, length int) error {
	err := parse(e.Body())
	var format *syntax.Error
	if errors.As(err, &format) {
		return format.Shift(length - len(e.Body()))
	}
	return err
}

func (t *translation) readStanza(input []byte) (operation, error) {
	if err := t.wellFormed(input); err != nil {
		return operation{}, err
	}
	s, err := stanza.ReadAlone(t.addressed(input), strictxml.Limits{Bytes: maxInspect})
	if err != nil {
		return operation{}, err
	}
	switch s.Kind {
	case stanza.Message:
		if r := stanza.ToReport(s, t.now); r != nil {
			return operation{reports: []*adapters.Report{r}}, nil
		}
		op, refused := stanza.ToMessage(s)
		switch {
		case refused != nil:
			return operation{}, refused
		case op != nil:
			return operation{message: op}, nil
		}
		return operation{nothing: "the stanza holds no message to a person"}, nil
	case stanza.Presence:
		watch, refused := stanza.ToWatch(s)
		if refused != nil {
			return operation{}, refused
		}
		if watch != nil {
			return operation{watch: watch}, nil
		}
		notify, refused := stanza.ToNotify(s, t.now)
		switch {
		case refused != nil:
			return operation{}, refused
		case notify != nil:
			return operation{notify: notify}, nil
		}
		return operation{nothing: "presence of this type tells nothing"}, nil
	}
	return operation{nothing: "an iq is for the gateway itself"}, nil
}

// wellFormed finds what is wrong with a stanza's shape, as inspect does.
func (t *translation) wellFormed(input []byte) error {
	e, err := strictxml.ParseDocument(input, strictxml.Limits{Bytes: maxInspect})
	if err != nil {
		return err
	}
	return checkStanza(input, e)
}

// addressed is presence that a client broadcasts, which names no recipient, to the one that --watcher names (RFC 8048 §6.2, Example 18).
func (t *translation) addressed(input []byte) []byte {
	if t.watcher.IsZero() {
		return input
	}
	e, err := strictxml.ParseDocument(input, strictxml.Limits{Bytes: maxInspect})
	if err != nil || e.Name.Local != "presence" {
		return input
	}
	if _, named := e.Attr("", "to"); named {
		return input
	}
	at := e.Offset + bytes.IndexAny(input[e.Offset:], " \t\r\n/>") // behind its name, which may have a prefix
	to := strictxml.AppendAttrValue(nil, strings.TrimPrefix(t.watcher.String(), "pres:"))
	return bytes.Join([][]byte{input[:at], []byte(" to='"), to, []byte("'"), input[at:]}, nil)
}

// readCPIM reads a message/cpim object by the SIP adapter's code, in a request from whom and to whom it says it is; or a PIDF document.
func (t *translation) readCPIM(input []byte) (operation, error) {
	if kindOf(input) == "pidf" {
		return t.readPresence(input)
	}
	object, err := cpim.ParseMessage(input, cpim.Limits{})
	if err != nil {
		return operation{}, err
	}
	from, ok := object.From()
	if !ok {
		return operation{}, &syntax.Error{Rule: "from", Section: "RFC 3860 §3.4.1", Expected: "a From header: an operation has a source"}
	}
	var to cpim.Mailbox
	for b := range object.To() {
		to = b
		break
	}
	if to.IsZero() {
		return operation{}, &syntax.Error{Rule: "to", Section: "RFC 3860 §3.4.1", Expected: "a To header: an operation has a destination"}
	}
	if object.Content().ContentType().Is("application/pidf+xml") {
		return t.readBorne(object, from, to)
	}
	m, err := t.wrapped(from, to, input)
	if err != nil {
		return operation{}, err
	}
	in, refused := sip.ReadMessage(m, t.readOptions())
	if refused != nil {
		if fault := bodyFault(cpim.MustParseContentType("message/cpim"), input); fault != nil {
			return operation{}, fault
		}
		return operation{}, refused
	}
	// What only the request around it had is nobody's.
	for _, r := range in.Reports {
		r.Thread = ""
	}
	if op := in.Message; op != nil {
		op.Thread, op.Hops = "", adapters.DefaultHops
		if op.TransID == m.TopVia().Branch() {
			op.TransID = ""
		}
		return operation{message: op}, nil
	}
	if len(in.Reports) == 0 {
		return operation{nothing: "the notice says nothing that the gateway has a word for"}, nil
	}
	return operation{reports: in.Reports}, nil
}

// readBorne reads presence in a message/cpim object, "the bearer of an encapsulated [PIDF] object" (RFC 3922 §5).
func (t *translation) readBorne(object *cpim.Message, from, to cpim.Mailbox) (operation, error) {
	var parties [2]cpim.Address
	for i, b := range []cpim.Mailbox{from, to} {
		uri, err := sipURIOf(b)
		if err != nil {
			return operation{}, err
		}
		u, err := wire.ParseURI(uri)
		if err != nil {
			return operation{}, err
		}
		p, refused := sip.AddressOf(u, cpim.SIPMapping{Scheme: cpim.Pres, FoldCase: t.FoldCase})
		if refused != nil {
			return operation{}, refused
		}
		parties[i] = p.Address
	}
	t.watcher = parties[1]
	op, err := t.readPresence(object.Content().Body())
	if err == nil && op.notify.Watch.Presentity != parties[0] {
		return operation{}, &sip.Refusal{Code: 403, Phrase: "Forbidden: the document is about somebody else", Why: sip.WhyEntity}
	}
	return op, err
}

// wrapped is the request that a SIP user agent would send the object in.
func (t *translation) wrapped(from, to cpim.Mailbox, object []byte) (*wire.Message, error) {
	source, err := sipURIOf(from)
	if err != nil {
		return nil, err
	}
	destination, err := sipURIOf(to)
	if err != nil {
		return nil, err
	}
	sender, err := wire.FormatAddr(wire.AddrSpec{URI: source, Tag: t.derived("tag")})
	if err != nil {
		return nil, err
	}
	recipient, err := wire.FormatAddr(wire.AddrSpec{URI: destination})
	if err != nil {
		return nil, err
	}
	b, err := wire.AppendRequest(nil, &wire.Request{
		Method: "MESSAGE", URI: destination, From: sender, To: recipient, CallID: t.derived("call"), CSeq: 1, ContentType: "message/cpim", Body: object,
	}, t.via(""))
	if err != nil {
		return nil, err
	}
	return wire.Parse(b, wire.Limits{Body: maxInspect})
}

// sipURIOf is a mailbox's URI as SIP has it.
func sipURIOf(m cpim.Mailbox) (string, error) {
	if a, err := m.Address(); err == nil {
		return sip.URIOf(adapters.Party{Address: a})
	}
	u, err := cpim.ParseSIPURI(m.URI())
	if err != nil {
		return "", &syntax.Error{Rule: "mailbox", Section: "RFC 3862 §4.1", Expected: "an im:, pres: or sip: URI", Cause: err}
	}
	return u.String(), nil
}

// readPresence reads a PIDF document (RFC 3863), which names the presentity but no watcher.
func (t *translation) readPresence(input []byte) (operation, error) {
	if t.watcher.IsZero() {
		return operation{}, &usageError{"a PIDF document does not say who watches: give --watcher pres:user@domain"}
	}
	doc, err := pidf.Parse(input)
	if err != nil {
		return operation{}, err
	}
	u, err := wire.ParseURI(doc.Entity.String())
	if err != nil {
		return operation{}, err
	}
	presentity, refused := sip.AddressOf(u, cpim.SIPMapping{Scheme: cpim.Pres, FoldCase: t.FoldCase})
	if refused != nil {
		return operation{}, refused
	}
	op := &adapters.NotifyOp{
		Watch: adapters.WatchID{Watcher: t.watcher, Presentity: presentity.Address}, State: adapters.WatchActive, Whole: true, Presence: doc,
	}
	if t.Granted {
		op.Change = adapters.AuthorizationGranted
	}
	return operation{notify: op}, nil
}
