package wire

import (
	"bytes"
	"net/netip"
	"strings"
)

// glanceVias is how many lines of Via a Glance holds; a request with more is read in full.
const glanceVias = 8

// Glance is what a request says at first sight: enough to know whether it is a copy or belongs to a dialog, and to refuse it, at a tenth of what Parse
// costs. It is for a server that cannot do more. What it does not find simple it leaves to Parse. Its strings are parts of what was read.
type Glance struct {
	method   string
	via      Via
	vias     [glanceVias]string
	lines    int
	from, to string
	callID   string
	cseq     string
	inDialog bool
}

// Read looks at a request and tells whether it can be refused by what was seen. It keeps b, and writes nothing to it.
func (g *Glance) Read(b []byte, lim Limits) bool {
	*g = Glance{}
	s := text(b)
	end := strings.IndexByte(s, '\n')
	if end < 1 || s[end-1] != '\r' || !strings.HasSuffix(s[:end-1], " SIP/2.0") {
		return false
	}
	space := strings.IndexByte(s, ' ')
	if g.method = s[:max(space, 0)]; !isToken(g.method) || g.method == "ACK" || g.method == "CANCEL" {
		return false
	}
	for n, rest := 0, s[end+1:]; ; n++ {
		end = strings.IndexByte(rest, '\n')
		if end < 1 || rest[end-1] != '\r' || end > lim.HeaderLine || n > lim.Headers {
			return false
		}
		if end == 1 {
			break
		}
		line := rest[:end-1]
		if rest = rest[end+1:]; line[0] == ' ' || line[0] == '\t' {
			return false
		}
		if !g.line(line) {
			return false
		}
	}
	if g.lines == 0 || g.from == "" || g.to == "" || g.callID == "" || g.cseq == "" {
		return false
	}
	next, f := parseVia(&g.via, g.vias[0])
	if f != nil || next < len(g.vias[0]) && g.vias[0][next] != ',' || g.via.branch == "" {
		return false
	}
	g.inDialog = hasTag(g.to)
	return true
}

// line takes one header field line.
func (g *Glance) line(line string) bool {
	colon := strings.IndexByte(line, ':')
	if colon < 1 {
		return false
	}
	var at *string
	switch name := line[:colon]; headerNamed(name) {
	case hVia:
		if g.lines == glanceVias {
			return false
		}
		at = &g.vias[g.lines]
		g.lines++
	case hFrom:
		at = &g.from
	case hTo:
		at = &g.to
	case hCallID:
		at = &g.callID
	case hCSeq:
		at = &g.cseq
	default:
		return name[len(name)-1] > ' ' // white space before the colon is left to Parse
	}
	if *at != "" {
		return false
	}
	*at = trimSpace(line[colon+1:])
	control, high := scanText(octets(*at))
	return *at != "" && control < 0 && !high
}

// hasTag tells whether a From or To value has the parameter tag.
func hasTag(s string) bool {
	if gt := strings.LastIndexByte(s, '>'); gt >= 0 {
		s = s[gt+1:]
	}
	for {
		semi := strings.IndexByte(s, ';')
		if semi < 0 {
			return false
		}
		s = s[skipSpace(s, semi+1):]
		if len(s) > 3 && equalFold(s[:3], "tag") && (s[3] == '=' || s[3] == ' ' || s[3] == '\t') {
			return true
		}
	}
}

// Method is the request's method.
func (g *Glance) Method() string { return g.method }

// TopVia is the first value of Via.
func (g *Glance) TopVia() Via { return g.via }

// InDialog tells whether To has a tag.
func (g *Glance) InDialog() bool { return g.inDialog }

// CallID and To are the values of those header fields as they came.
func (g *Glance) CallID() string { return g.callID }

// To is the value of To.
func (g *Glance) To() string { return g.to }

// AppendRefusal writes a response without a body, as AppendResponse does, to a request that Read has taken. source is where the request came from,
// toTag is added to a To that has no tag. With compact the short header field names are written, and no Content-Length: for UDP alone. Nothing is
// allocated if dst has room.
func (g *Glance) AppendRefusal(dst []byte, code int, reason, toTag string, source netip.AddrPort, hop HopAnswer, compact bool) []byte {
	names := &longNames
	if compact {
		names = &shortNames
	}
	dst = append(dst, "SIP/2.0 "...)
	dst = append(dst, byte('0'+code/100), byte('0'+code/10%10), byte('0'+code%10), ' ')
	dst = append(append(dst, reason...), "\r\n"...)
	dst = g.via.appendTop(append(dst, names.via...), source, hop)
	dst = append(append(dst, strings.TrimPrefix(g.vias[0], g.via.text)...), "\r\n"...)
	for _, v := range g.vias[1:g.lines] {
		dst = appendLine(dst, names.via, v)
	}
	dst = appendLine(dst, names.from, g.from)
	dst = append(append(dst, names.to...), g.to...)
	if !g.inDialog {
		dst = append(append(dst, ";tag="...), toTag...)
	}
	dst = append(dst, "\r\n"...)
	dst = appendLine(dst, names.callID, g.callID)
	dst = appendLine(dst, "CSeq: ", g.cseq)
	if !compact {
		dst = append(dst, "Content-Length: 0\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// IsRequest tells at first sight whether octets begin a request, and no response.
func IsRequest(b []byte) bool { return len(b) > 0 && !bytes.HasPrefix(b, []byte("SIP/")) }
