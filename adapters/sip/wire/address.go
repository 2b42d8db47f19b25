package wire

import (
	"strings"
	"unicode/utf8"
)

// Addr is a name-addr or an addr-spec with header parameters: a value of From, To, Contact, Route, Record-Route or
// P-Asserted-Identity. It is made by ParseAddr only, valid when it exists, and comparable octet by octet. The zero value is none.
type Addr struct {
	text    string
	display string // as written: tokens or a quoted-string
	params  string // from the first ";" on
	tag     string
	uri     URI
}

// ParseAddr reads one value (RFC 3261 §20: a URI without brackets has no parameters of its own, all are the header's). It takes
// "display<uri>" without a space between, too (RFC 4475 §3.1.1.6). It fails with a *SyntaxError.
func ParseAddr(s string) (Addr, error) {
	if control, high := scanText(octets(s)); control >= 0 {
		return Addr{}, faultControl.at(control)
	} else if high && !utf8.ValidString(s) {
		return Addr{}, faultUTF8.at(0)
	}
	var a Addr
	bad, f := parseAddr(&a, s, DefaultLimits().URI)
	if f != nil {
		return Addr{}, f.at(bad)
	}
	return a, nil
}

// MustParseAddr is ParseAddr for tests and constants; it panics where ParseAddr fails.
func MustParseAddr(s string) Addr {
	a, err := ParseAddr(s)
	if err != nil {
		panic(err)
	}
	return a
}

// parseAddr reads all of s, whose octets were checked for controls, into a. On a fault a is the zero value.
func parseAddr(a *Addr, s string, uriLimit int) (bad int, f *fault) {
	if a.readPlain(s, uriLimit) {
		return 0, nil
	}
	*a = Addr{}
	bad, f = a.read(s, uriLimit)
	if f != nil {
		*a = Addr{}
	}
	return bad, f
}

// readPlain is the quick answer for what most values are, <sip:user@host;gr=instance>;tag=token without an escape, the last two or not: what read would make of it. It says no
// when it does not know; then a may have anything in it.
func (a *Addr) readPlain(s string, uriLimit int) bool {
	const begin = "<sip:"
	if len(s) <= len(begin) || s[:len(begin)] != begin {
		return false
	}
	i := len(begin)
	for i < len(s) && classes[s[i]]&inUser != 0 && s[i] != '%' {
		i++
	}
	if i == len(begin) || i == len(s) || s[i] != '@' {
		return false
	}
	user := i
	host := i + 1
	for i = host; i < len(s) && classes[s[i]]&inHost != 0; i++ {
	}
	hostEnd := i
	const instance = ";gr="
	if len(s)-i > len(instance) && s[i:i+len(instance)] == instance {
		value := i + len(instance)
		for i = value; i < len(s) && classes[s[i]]&inParam != 0 && s[i] != '%'; i++ {
		}
		if i == value {
			return false
		}
	}
	if i == len(s) || s[i] != '>' || i-1 > min(uriLimit, 1<<16-1) || !isHost(s[host:hostEnd]) {
		return false
	}
	end := uint16(hostEnd - 1)
	a.uri = URI{
		text: s[1:i], kind: uriSIP, schemeEnd: 3, userEnd: uint16(user - 1), infoEnd: uint16(user - 1), hostEnd: end, portEnd: end, paramsEnd: uint16(i - 1),
	}
	a.text, a.params = s, s[i+1:]
	if a.params == "" {
		return true
	}
	const tag = ";tag="
	if len(a.params) <= len(tag) || a.params[:len(tag)] != tag {
		return false
	}
	a.tag = a.params[len(tag):]
	return outside(a.tag, inToken) == len(a.tag)
}

func (a *Addr) read(s string, uriLimit int) (bad int, f *fault) {
	a.text = s
	i := skipSpace(s, 0)
	switch {
	case i < len(s) && s[i] == '"':
		end := quotedEnd(s, i)
		if end < 0 {
			return i, faultDisplay
		}
		a.display = s[i:end]
		if i = skipSpace(s, end); i >= len(s) || s[i] != '<' {
			return i, faultAddress
		}
	case i < len(s) && s[i] != '<':
		// display-name = *(token LWS), or the addr-spec itself: the first octet that is neither tells which.
		start := i
		for i < len(s) && (classes[s[i]]&inToken != 0 || s[i] == ' ' || s[i] == '\t') {
			i++
		}
		if i < len(s) && s[i] == '<' {
			a.display = trimSpace(s[start:i])
			break
		}
		if i < len(s) && s[i] != ':' {
			return i, faultDisplay
		}
		return a.readBare(s, start, uriLimit)
	}
	if i >= len(s) {
		return i, faultAddress
	}
	end := strings.IndexByte(s[i:], '>')
	if end < 0 {
		return i, faultAddress
	}
	var at int
	if a.uri, at, f = parseURI(s[i+1:i+end], uriLimit); f != nil {
		return i + 1 + at, f
	}
	return a.readParams(s, i+end+1)
}

// readBare reads an addr-spec without brackets. RFC 3261 §20: "If the URI contains a comma, question mark or semicolon, the URI
// MUST be enclosed in angle brackets".
func (a *Addr) readBare(s string, start, uriLimit int) (bad int, f *fault) {
	i := start
	for i < len(s) && s[i] != ';' && s[i] != ',' && s[i] != '?' && s[i] != ' ' && s[i] != '\t' {
		i++
	}
	if i < len(s) && s[i] == '?' {
		return i, faultURIHeaders
	}
	var at int
	if a.uri, at, f = parseURI(s[start:i], uriLimit); f != nil {
		return start + at, f
	}
	return a.readParams(s, i)
}

// readParams reads the header parameters to the end of s.
func (a *Addr) readParams(s string, i int) (bad int, f *fault) {
	i = skipSpace(s, i)
	a.params = s[i:]
	p := paramScan{s: a.params}
	for p.next() {
		if equalFold(p.name, "tag") {
			if !isToken(p.value) {
				return i + p.i, faultTag
			}
			a.tag = p.value
		}
	}
	switch {
	case p.bad >= 0:
		return i + p.bad, faultParameter
	case p.i != len(p.s):
		return i + p.i, faultTrailing
	}
	return 0, nil
}

// IsZero reports whether a is no address.
func (a Addr) IsZero() bool { return a.uri.IsZero() }

// Display is the display name without quotes and quoted-pairs, "" if there is none.
func (a Addr) Display() string { return unquote(a.display) }

// URI is the address itself.
func (a Addr) URI() URI { return a.uri }

// Tag is the tag parameter, "" if there is none (RFC 3261 §19.3).
func (a Addr) Tag() string { return a.tag }

// Param returns the value of a header parameter without quotes, and whether it is there. Names have no case.
func (a Addr) Param(name string) (string, bool) { return findParam(a.params, name) }

// GR returns the gr parameter of the URI (RFC 5627), unescaped, or, where the URI has none, the header parameter of that name: the
// examples of RFC 8048 write it outside the brackets. An escape that Unescape refuses makes it absent.
func (a Addr) GR() (string, bool) {
	v, ok := a.uri.Param("gr")
	if !ok {
		if v, ok = a.Param("gr"); !ok {
			return "", false
		}
	}
	v, err := Unescape(v)
	return v, err == nil
}

// String is the value as it came.
func (a Addr) String() string { return a.text }

// AddrSpec is what AppendAddr writes, always in the form with brackets.
type AddrSpec struct {
	Display string // plain text; it is quoted and escaped. "" for none
	URI     string // as AppendURI writes it
	Tag     string // a token; "" for none
	Params  []Param
}

// AppendAddr writes a value of From, To, Contact and the like. It fails with a *SyntaxError, and leaves dst as it was, if the
// result would not be one: for a URI that ParseURI refuses, a tag that is no token, a control or bad UTF-8 in the display name.
func AppendAddr(dst []byte, s AddrSpec) ([]byte, error) {
	start := len(dst)
	if s.Display != "" {
		var err error
		if dst, err = appendQuoted(dst, s.Display); err != nil {
			return dst[:start], err
		}
		dst = append(dst, ' ')
	}
	if _, bad, f := parseURI(s.URI, DefaultLimits().URI); f != nil {
		return dst[:start], f.at(bad)
	}
	dst = append(append(append(dst, '<'), s.URI...), '>')
	if s.Tag != "" {
		if !isToken(s.Tag) {
			return dst[:start], faultTag.at(0)
		}
		dst = append(append(dst, ";tag="...), s.Tag...)
	}
	for _, p := range s.Params {
		if !isToken(p.Name) || equalFold(p.Name, "tag") {
			return dst[:start], faultParameter.at(0)
		}
		dst = append(append(dst, ';'), p.Name...)
		if p.Value == "" {
			continue
		}
		dst = append(dst, '=')
		if isToken(p.Value) {
			dst = append(dst, p.Value...)
			continue
		}
		var err error
		if dst, err = appendQuoted(dst, p.Value); err != nil {
			return dst[:start], err
		}
	}
	return dst, nil
}

// FormatAddr is AppendAddr to a string.
func FormatAddr(s AddrSpec) (string, error) {
	b, err := AppendAddr(make([]byte, 0, 32+len(s.Display)+len(s.URI)+len(s.Tag)), s)
	return string(b), err
}

// appendQuoted writes a quoted-string. Controls but HTAB and bad UTF-8 are refused: nothing that ends a line ever comes out.
func appendQuoted(dst []byte, s string) ([]byte, error) {
	if err := checkText(s); err != nil {
		return dst, err
	}
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"'), nil
}
