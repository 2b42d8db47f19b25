package wire

import "unsafe"

// Request is a request to write. AppendRequest adds Via and Content-Length.
type Request struct {
	Method      string
	URI         string // Request-URI, as AppendURI writes it
	From        string // complete value, as AppendAddr writes it
	To          string // complete value, as AppendAddr writes it
	CallID      string
	CSeq        uint32   // below 2**31
	MaxForwards int      // hops left, 1 to 255; 0 means 70 (RFC 3261 §8.1.1.6)
	Headers     []Header // any but those that have a field of their own here, and but Via and Content-Length
	ContentType string   // required with a body
	Body        []byte
	// BranchHint is appended to the random branch where it is a token, so that the far side's log names what ours does (RFC 7572
	// §4: the stanza's id). It is cut at 64 octets, and left out where it is no token. Optional.
	BranchHint string

	// addressed is URI, From and To as SetAddresses wrote them: what is still that needs no second look.
	addressed [3]string
	tag       string // of From, as SetAddresses wrote it
	used      []byte // what they are in
	room      []byte // for what SetAddresses writes next; see Reset
}

// maxKept is how many header fields a Request keeps the room of, and maxRoom of how many octets of addresses.
const maxKept, maxRoom = 8, 1 << 10

// Reset makes r empty, to be used again by who made it. What URI, From and To were until then is written over by the next SetAddresses: nobody may
// have them any more, nor a part of them.
func (r *Request) Reset() {
	headers, room := r.Headers, r.room
	clear(headers)
	if cap(headers) > maxKept {
		headers = nil
	}
	if r.used != nil {
		room = r.used[:0]
	}
	if cap(room) > maxRoom {
		room = nil
	}
	*r = Request{Headers: headers[:0], room: room}
}

// FromTag is the tag of From, "" if it has none. ok is false if From is none that can be written.
func (r *Request) FromTag() (tag string, ok bool) {
	if same(r.From, r.addressed[1]) {
		return r.tag, true
	}
	a, err := ParseAddr(r.From)
	return a.Tag(), err == nil
}

// SetAddresses writes URI, From and To at once, which costs less than each by itself: URIs as AppendURI writes them, From with a display name
// and a tag, either of which may be "". It fails with a *SyntaxError as AppendURI and AppendAddr do, and then changes nothing.
func (r *Request) SetAddresses(uri, from, to URISpec, display, tag string) error {
	b := r.room
	if r.used != nil || cap(b) == 0 { // what was written before stays
		b = make([]byte, 0, 256)
	}
	b, err := AppendURI(b, uri)
	if err != nil {
		return err
	}
	fromAt := len(b)
	if display != "" {
		if b, err = appendQuoted(b, display); err != nil {
			return err
		}
		b = append(b, ' ')
	}
	if b, err = AppendURI(append(b, '<'), from); err != nil {
		return err
	}
	b = append(b, '>')
	if tag != "" {
		if !isToken(tag) {
			return faultTag.at(0)
		}
		b = append(append(b, ";tag="...), tag...)
	}
	toAt := len(b)
	b = append(b, '<')
	if to.Scheme == uri.Scheme && to.User == uri.User && to.Host == uri.Host && to.Port == uri.Port && len(to.Params)+len(uri.Params) == 0 {
		b = append(b, b[:fromAt]...) // the same, which was looked at
	} else if b, err = AppendURI(b, to); err != nil {
		return err
	}
	b = append(b, '>')
	r.used = b
	all := text(b)
	r.URI, r.From, r.To = all[:fromAt], all[fromAt:toAt], all[toAt:]
	r.addressed, r.tag = [3]string{r.URI, r.From, r.To}, tag
	return nil
}

// same reports whether two strings are the same octets in memory, and not others that are alike. No octets are not: what was never written
// is looked at.
func same(a, b string) bool {
	return a != "" && len(a) == len(b) && unsafe.StringData(a) == unsafe.StringData(b)
}

// ViaSpec is the Via of this hop.
type ViaSpec struct {
	Transport string // token: "UDP"
	SentBy    string // host [ ":" port ]
	Branch    string // token, from NewBranch
	RPort     bool   // ask for RFC 3581
	Hop       HopParams
}

// AppendRequest writes r. It fails with a *SyntaxError, and leaves dst as it was, if any value is not what its place demands, so that
// what comes out is one message which Parse accepts. Nothing is allocated if dst has room.
func AppendRequest(dst []byte, r *Request, via ViaSpec) ([]byte, error) {
	start := len(dst)
	dst, f := appendRequestHead(dst, r, via)
	if f != nil {
		return dst[:start], f.at(0)
	}
	dst, err := appendHeaders(dst, r.Headers)
	if err == nil {
		dst, err = appendBody(dst, r.ContentType, r.Body)
	}
	if err != nil {
		return dst[:start], err
	}
	return dst, nil
}

func appendRequestHead(dst []byte, r *Request, via ViaSpec) ([]byte, *fault) {
	if !isToken(r.Method) {
		return dst, faultMethod
	}
	if !same(r.URI, r.addressed[0]) {
		u, _, f := parseURI(r.URI, DefaultLimits().URI)
		if f != nil {
			return dst, f
		}
		if u.HeaderFields() != "" {
			return dst, faultURIHeaders
		}
	}
	dst = append(append(append(dst, r.Method...), ' '), r.URI...)
	dst = append(append(dst, " SIP/2.0\r\nVia: SIP/2.0/"...), via.Transport...)
	dst = append(append(dst, ' '), via.SentBy...)
	if !isToken(via.Transport) || !isSentBy(via.SentBy) || !isToken(via.Branch) {
		return dst, faultVia
	}
	dst = via.Hop.append(append(append(dst, ";branch="...), via.Branch...))
	if via.RPort {
		dst = append(dst, ";rport"...)
	}
	hops := r.MaxForwards
	if hops == 0 {
		hops = 70
	}
	if hops < 0 || hops > 255 {
		return dst, faultMaxForwards
	}
	dst = appendUint(append(dst, "\r\nMax-Forwards: "...), uint64(hops))
	if f := checkAddress(r.From, r.addressed[1]); f != nil {
		return dst, f
	}
	dst = append(append(dst, "\r\nFrom: "...), r.From...)
	if f := checkAddress(r.To, r.addressed[2]); f != nil {
		return dst, f
	}
	dst = append(append(dst, "\r\nTo: "...), r.To...)
	if !isCallID(r.CallID) {
		return dst, faultCallID
	}
	if r.CSeq >= 1<<31 {
		return dst, faultCSeq
	}
	dst = append(append(dst, "\r\nCall-ID: "...), r.CallID...)
	dst = appendUint(append(dst, "\r\nCSeq: "...), uint64(r.CSeq))
	dst = append(append(append(dst, ' '), r.Method...), "\r\n"...)
	return dst, nil
}

// checkAddress checks a value of From or To that is not the one which SetAddresses wrote.
func checkAddress(value, written string) *fault {
	if same(value, written) {
		return nil
	}
	if checkText(value) != nil {
		return faultWriteValue
	}
	var a Addr
	_, f := parseAddr(&a, value, DefaultLimits().URI)
	return f
}

// isSentBy checks host [ ":" port ].
func isSentBy(s string) bool {
	i := len(s)
	for i > 0 && isDigit(s[i-1]) {
		i--
	}
	if i > 0 && s[i-1] == ':' && (s[0] != '[' || s[i-2] == ']') {
		if _, ok := parsePort(s[i:]); !ok {
			return false
		}
		s = s[:i-1]
	}
	return isHost(s)
}

// isCallID checks callid = word [ "@" word ].
func isCallID(s string) bool {
	n := outside(s, inWord)
	if n > 0 && n < len(s) && s[n] == '@' {
		rest := outside(s[n+1:], inWord)
		return rest > 0 && n+1+rest == len(s)
	}
	return n > 0 && n == len(s)
}
