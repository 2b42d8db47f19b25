package wire

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// parser is one run of Parse or of a StreamReader's framing.
type parser struct {
	m   *Message
	lim Limits
	err *SyntaxError // the first fault; later ones are not reported
}

// fault records the first fault.
func (p *parser) fault(f *fault, header string, offset int) {
	if p.err == nil {
		p.err = f.in(header, offset)
	}
}

// lineFault records a fault of the line structure, after which the end of a message on a stream is not known: peers that read lines
// in another way would see another message.
func (p *parser) lineFault(f *fault, offset int) {
	if p.err == nil {
		p.err = f.at(offset)
	}
	p.err.Framing = true
}

// duplicate records the second line of a header field that stands once.
func (p *parser) duplicate(id headerID, offset int) {
	if p.err == nil {
		p.err = faultDuplicate.at(offset)
		p.err.Reason = "Bad Request: two " + headerSpecs[id].name + " headers"
	}
	if id == hContentLength {
		p.err.Framing = true
	}
}

// missing records the absence of a mandatory header field.
func (p *parser) missing(id headerID) {
	if p.err == nil {
		p.err = faultMissing.at(int(p.m.bodyAt))
		p.err.Reason = "Bad Request: no " + headerSpecs[id].name + " header"
	}
}

// index finds the start line, the header field lines and the body of b in one pass, checks every octet of them, turns folds into
// spaces, and notes the first line of each known header field. Lines with a fault are reported and left out, so that whatever is in
// the index can be copied into a response.
func (p *parser) index(b []byte) {
	m := p.m
	m.raw, m.text, m.bodyAt = b, text(b), uint32(len(b))
	high := false
	i := 0
	for line := 0; ; line++ {
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' && line > 0 {
			m.bodyAt = uint32(i + 2)
			break
		}
		if int(m.fields) >= p.lim.Headers && line > 0 {
			p.lineFault(faultHeaderCount, i)
			break
		}
		end, next := p.line(b, i, line)
		if next < 0 {
			p.lineFault(faultHeadEnd, len(b))
			break
		}
		switch {
		case end < 0: // reported
		case end-i > p.lim.HeaderLine || end-i > math.MaxUint16:
			p.lineFault(faultLineLength, i)
		default:
			control, h := scanText(b[i:end])
			high = high || h
			switch {
			case control >= 0 && b[i+control] == '\r':
				p.lineFault(faultLineEnd, i+control)
			case control >= 0:
				p.lineFault(faultControl, i+control)
			case line == 0:
				p.startLine(i, end)
			default:
				p.header(i, end)
			}
		}
		i = next
	}
	if high && !utf8.Valid(b[:m.bodyAt]) {
		p.fault(faultUTF8, "", 0)
	}
}

// line finds the end of the line at i with all its continuations and the begin of the next one. end is -1 if the line has a fault,
// next is -1 if there is no end.
func (p *parser) line(b []byte, i, number int) (end, next int) {
	faulty := false
	if number == 1 && i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		p.lineFault(faultFold, i) // nothing stands before it that it could continue
		faulty = true
	}
	for from := i; ; {
		n := bytes.IndexByte(b[from:], '\n')
		if n < 0 {
			return -1, -1
		}
		lf := from + n
		if lf == i || b[lf-1] != '\r' {
			p.lineFault(faultLineEnd, lf)
			faulty = true
		}
		if number > 0 && lf+1 < len(b) && (b[lf+1] == ' ' || b[lf+1] == '\t') {
			// RFC 3261 §7.3.1: "The line break and the whitespace at the beginning of the next line are treated as a single SP
			// character." A continuation of white space alone is refused: some take it for the end of the header fields.
			if bytes.IndexByte(b[i:lf], ':') < 0 {
				p.lineFault(faultHeaderName, lf) // HCOLON = *( SP / HTAB ) ":" SWS: no line break in front of it
				faulty = true
			}
			j := lf + 1
			for j < len(b) && (b[j] == ' ' || b[j] == '\t') {
				j++
			}
			if j < len(b) && (b[j] == '\r' || b[j] == '\n') {
				p.lineFault(faultFold, lf+1)
				faulty = true
			}
			if !faulty {
				b[lf-1], b[lf] = ' ', ' '
			}
			from = lf + 1
			continue
		}
		if faulty {
			return -1, lf + 1
		}
		return lf - 1, lf + 1
	}
}

// startLine reads the first line. RFC 3261 §7: "no LWS" but the single SP of the grammar is allowed in it.
func (p *parser) startLine(start, end int) {
	m := p.m
	line := m.text[start:end]
	if len(line) >= 4 && equalFold(line[:4], "sip/") {
		p.statusLine(line)
		return
	}
	m.request = true
	sp := outside(line, inToken)
	if sp == 0 || sp == len(line) || line[sp] != ' ' {
		p.fault(faultMethod, "", sp)
		return
	}
	m.method = line[:sp]
	rest := line[sp+1:]
	uriEnd := 0
	for uriEnd < len(rest) && rest[uriEnd] > ' ' {
		uriEnd++
	}
	m.uriText = rest[:uriEnd]
	if uriEnd == 0 || uriEnd == len(rest) || rest[uriEnd] != ' ' {
		p.fault(faultRequestLine, "", sp+1+uriEnd)
		return
	}
	if at := sp + 1 + uriEnd + 1; !p.version(rest[uriEnd+1:], at, faultRequestLine) {
		return
	}
	uri, bad, f := parseURI(m.uriText, p.lim.URI)
	switch {
	case f == faultURILength:
		p.fault(f, "", sp+1+bad)
		if p.err.Code == 400 && p.err.Rule == f.rule {
			p.err.Code, p.err.Reason = 414, "Request-URI Too Long"
		}
	case f != nil:
		p.fault(f, "Request-URI", sp+1+bad)
	case uri.HeaderFields() != "":
		p.fault(faultURIHeaders, "Request-URI", sp+1)
	default:
		m.uri = uri
	}
}

// version checks SIP-Version, which has no case (RFC 3261 §7.1).
func (p *parser) version(s string, at int, malformed *fault) bool {
	if len(s) == 7 && equalFold(s[:4], "sip/") && s[4:] == "2.0" {
		return true
	}
	if len(s) > 4 && equalFold(s[:4], "sip/") {
		i := 4
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		if i > 4 && i < len(s)-1 && s[i] == '.' {
			j := i + 1
			for j < len(s) && isDigit(s[j]) {
				j++
			}
			if j == len(s) {
				p.fault(faultVersion, "", at)
				return false
			}
		}
	}
	p.fault(malformed, "", at)
	return false
}

func (p *parser) statusLine(line string) {
	const code = len("SIP/2.0 ")
	if len(line) < code || line[code-1] != ' ' || !p.version(line[:code-1], 0, faultStatusLine) {
		p.fault(faultStatusLine, "", 0)
		return
	}
	// The space behind the code is required even if no phrase follows (RFC 4475 §3.1.1.13).
	if len(line) < code+4 || line[code+3] != ' ' {
		p.fault(faultStatusCode, "", code)
		return
	}
	n, ok := parseUint(line[code:code+3], 699)
	if !ok || n < 100 {
		p.fault(faultStatusCode, "", code)
		return
	}
	p.m.status, p.m.reason = int(n), line[code+4:]
}

// header indexes one line. header-name is a token, HCOLON = *( SP / HTAB ) ":" SWS (RFC 3261 §25.1).
func (p *parser) header(start, end int) {
	m := p.m
	s := m.text[start:end]
	n := outside(s, inToken)
	colon := skipSpace(s, n)
	if n == 0 || colon == len(s) || s[colon] != ':' {
		p.lineFault(faultHeaderName, start+colon)
		return
	}
	at := skipSpace(s, colon+1)
	stop := len(s)
	for stop > at && (s[stop-1] == ' ' || s[stop-1] == '\t') {
		stop--
	}
	id := headerNamed(s[:n])
	f := field{start: uint32(start), at: uint32(start + at), end: uint32(start + stop), nameLen: uint16(n), id: id}
	if m.fields < inlineFields {
		m.inline[m.fields] = f
	} else {
		m.more = append(m.more, f)
	}
	m.fields++
	if id == hOther {
		return
	}
	switch {
	case m.first[id] == 0:
		m.first[id] = m.fields
	case headerSpecs[id].single:
		p.duplicate(id, start)
	}
}
