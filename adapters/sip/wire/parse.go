package wire

// Parse reads one message: a datagram, or one message that a StreamReader framed. The error is a *SyntaxError.
//
// Parse takes b over: it turns folds into spaces in place, and the Message aliases b. The caller must neither read b with other
// expectations nor write it from then on.
//
// With an error the *Message is non-nil exactly when it is a request with at least one Via that can be copied: then AppendResponse
// can answer it with the Code and Reason of the error, and its other methods return what was understood before the fault. A faulty
// response is never answered.
//
// What is stricter than the letter of the ABNF, and on purpose: quoted-pairs of control characters are refused (a NUL in a display
// name helps nobody but an attacker), header fields must be UTF-8 as a whole, and a continuation line must not be blank.
func Parse(b []byte, lim Limits) (*Message, error) {
	m := new(Message)
	answerable, err := ParseInto(m, b, lim)
	if err != nil && !answerable {
		return nil, err
	}
	return m, err
}

// ParseInto is Parse into a Message that nobody has, or that nobody has any more: what its methods returned before may change. answerable
// tells, with an error, whether m can be answered.
func ParseInto(m *Message, b []byte, lim Limits) (answerable bool, err error) {
	*m = Message{hops: -1, length: -1, more: m.more[:0]}
	p := parser{m: m, lim: lim.orDefault()}
	p.read(b)
	if p.err == nil {
		return true, nil
	}
	return m.request && m.known(hVia) != nil, p.err
}

func (p *parser) read(b []byte) {
	if len(b) > p.lim.Message {
		p.fault(faultMessageLength, "", p.lim.Message)
	}
	p.index(b)
	p.body()
	p.via()
	p.cseq()
	p.callID()
	p.party(hFrom, &p.m.from)
	p.party(hTo, &p.m.to)
	p.maxForwards()
	p.contentType()
	p.addresses(hContact)
	p.addresses(hRoute)
	p.addresses(hRecordRoute)
}

// body finds where the body ends. RFC 3261 §18.3: "If there are additional bytes in the transport packet beyond the end of the body,
// they MUST be discarded. If the transport packet ends before the end of the message body, this is considered an error."
func (p *parser) body() {
	m := p.m
	have := len(m.raw) - int(m.bodyAt)
	if f := m.known(hContentLength); f != nil {
		n, ok := parseUint(m.value(f), 1<<31-1)
		switch {
		case !ok:
			p.fault(faultContentLength, "", int(f.at))
		case int(n) > have:
			p.fault(faultShortBody, "", int(f.at))
		default:
			m.length = int32(n)
			have = int(n)
			m.raw = m.raw[:int(m.bodyAt)+have]
			m.text = m.text[:len(m.raw)]
		}
	}
	if have > p.lim.Body {
		p.fault(faultBodyLength, "", int(m.bodyAt))
	}
}

// via reads all values of all lines. The first must be of SIP/2.0; the others belong to hops before.
func (p *parser) via() {
	m := p.m
	if m.first[hVia] == 0 {
		p.missing(hVia)
		return
	}
	for i := int(m.first[hVia]) - 1; i < int(m.fields); i++ {
		f := m.field(i)
		if f.id != hVia {
			continue
		}
		s := m.value(f)
		for at := 0; at <= len(s); {
			var other Via
			v := &other
			if m.vias == 0 {
				v = &m.via
			}
			n, bad := parseVia(v, s[at:])
			if bad != nil {
				p.fault(bad, "", int(f.at)+at+n)
				return
			}
			if m.vias++; int(m.vias) > p.lim.Vias {
				p.fault(faultViaCount, "", int(f.at)+at)
				return
			}
			at += n + 1
		}
	}
	if m.via.protocol != "SIP/2.0" {
		p.fault(faultVia, "", int(m.known(hVia).at))
	}
}

// cseq reads 1*DIGIT LWS Method. RFC 3261 §8.1.1.5: "The sequence number value MUST be expressible as a 32-bit unsigned integer and
// MUST be less than 2**31", and "The method MUST match that of the request".
func (p *parser) cseq() {
	m := p.m
	f := m.known(hCSeq)
	if f == nil {
		p.missing(hCSeq)
		return
	}
	s := m.value(f)
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	at := skipSpace(s, i)
	n, ok := parseUint(s[:i], 1<<31-1)
	if !ok || at == i || !isToken(s[at:]) {
		p.fault(faultCSeq, "", int(f.at))
		return
	}
	m.cseq, m.cseqBy = uint32(n), s[at:]
	if !m.request {
		m.method = m.cseqBy
	} else if m.method != m.cseqBy {
		p.fault(faultCSeqMethod, "", int(f.at)+at)
	}
}

// callID reads callid = word [ "@" word ].
func (p *parser) callID() {
	m := p.m
	f := m.known(hCallID)
	if f == nil {
		p.missing(hCallID)
		return
	}
	s := m.value(f)
	n := outside(s, inWord)
	if n > 0 && n < len(s) && s[n] == '@' {
		if rest := outside(s[n+1:], inWord); rest > 0 {
			n += 1 + rest
		}
	}
	if n == 0 || n != len(s) {
		p.fault(faultCallID, "", int(f.at)+n)
		return
	}
	m.callID = s
}

// party reads From or To. RFC 3261 §19.1.1, Table 1: a URI in them has no headers.
func (p *parser) party(id headerID, a *Addr) {
	f := p.m.known(id)
	if f == nil {
		p.missing(id)
		return
	}
	bad, rule := parseAddr(a, p.m.value(f), p.lim.URI)
	if rule == nil && a.uri.HeaderFields() != "" {
		*a, rule = Addr{}, faultURIHeaders
	}
	if rule != nil {
		p.fault(rule, headerSpecs[id].name, int(f.at)+bad)
	}
}

// maxForwards reads a number from 0 to 255 (RFC 3261 §20.22).
func (p *parser) maxForwards() {
	f := p.m.known(hMaxForwards)
	if f == nil {
		return
	}
	n, ok := parseUint(p.m.value(f), 255)
	if !ok {
		p.fault(faultMaxForwards, "", int(f.at))
		return
	}
	p.m.hops = int16(n)
}

// contentType checks media-type. RFC 3261 §20.15: "The Content-Type header field MUST be present if the body is not empty"; a
// response without it is taken, because nobody could be told.
func (p *parser) contentType() {
	m := p.m
	f := m.known(hContentType)
	if f == nil {
		if m.request && p.err == nil && len(m.Body()) > 0 {
			p.fault(faultNoContentType, "", int(m.bodyAt))
		}
		return
	}
	if at, ok := checkMediaType(m.value(f)); !ok {
		p.fault(faultContentType, "", int(f.at)+at)
	}
}

// checkMediaType reads m-type SLASH m-subtype *( SEMI m-attribute EQUAL m-value ), m-value = token / quoted-string.
func checkMediaType(s string) (bad int, ok bool) {
	i := outside(s, inToken)
	slash := skipSpace(s, i)
	if i == 0 || slash == len(s) || s[slash] != '/' {
		return slash, false
	}
	sub := skipSpace(s, slash+1)
	n := outside(s[sub:], inToken)
	if n == 0 {
		return sub, false
	}
	rest := sub + n
	p := paramScan{s: s[rest:]}
	for p.next() {
		if !p.equals || p.value[0] == '[' {
			return rest + p.i, false
		}
	}
	return rest + p.i, p.bad < 0 && p.i == len(p.s)
}

// addresses checks all values of a header field that is a list of addresses.
func (p *parser) addresses(id headerID) {
	m := p.m
	if m.first[id] == 0 {
		return
	}
	for i := int(m.first[id]) - 1; i < int(m.fields); i++ {
		f := m.field(i)
		if f.id != id {
			continue
		}
		s := m.value(f)
		if id == hContact && s == "*" {
			continue
		}
		for at := 0; at <= len(s); {
			n := listEnd(s[at:], true)
			var a Addr
			if bad, rule := parseAddr(&a, trimSpace(s[at:at+n]), p.lim.URI); rule != nil {
				p.fault(rule, headerSpecs[id].name, int(f.at)+at+bad)
				return
			}
			at += n + 1
		}
	}
}
