package wire

import (
	"iter"
	"net/netip"
	"unsafe"
)

// inlineFields is how many header field lines a Message indexes without another allocation.
const inlineFields = 24

// field is one header field line: octets [start, start+nameLen) are its name, [at, end) its value without the white space around.
type field struct {
	start, at, end uint32
	nameLen        uint16
	id             headerID
}

// Message is a request or a response. It is made by Parse, indexes the octets that were given to Parse, and is read-only but for
// SetSource. Strings and slices that its methods return alias those octets: whoever keeps one for long should clone it.
type Message struct {
	raw      []byte // all octets of the message, without what stood behind the body
	text     string // the same octets
	source   netip.AddrPort
	uri      URI
	from, to Addr
	via      Via
	method   string // of the request line, or of CSeq in a response
	uriText  string
	reason   string
	callID   string
	cseqBy   string // the method in CSeq
	status   int
	cseq     uint32
	bodyAt   uint32
	length   int32 // Content-Length, -1 for none
	vias     uint16
	fields   uint16
	hops     int16 // Max-Forwards, -1 for none
	request  bool
	first    [hCount]uint16 // 1 + the index of the first line of each known header field
	inline   [inlineFields]field
	more     []field
}

// octets is s as bytes, which must not be written.
func octets(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// text is b as a string. Nobody may write b from then on: Parse takes its octets over from the caller for that.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (m *Message) field(i int) *field {
	if i < inlineFields {
		return &m.inline[i]
	}
	return &m.more[i-inlineFields]
}

func (m *Message) name(f *field) string { return m.text[f.start : f.start+uint32(f.nameLen)] }

func (m *Message) value(f *field) string { return m.text[f.at:f.end] }

// known returns the first line of a known header field, or nil.
func (m *Message) known(id headerID) *field {
	if n := m.first[id]; n != 0 {
		return m.field(int(n) - 1)
	}
	return nil
}

// knownValue is the value of the first line of a known header field, or "".
func (m *Message) knownValue(id headerID) string {
	if f := m.known(id); f != nil {
		return m.value(f)
	}
	return ""
}

// IsRequest reports whether m is a request; else it is a response.
func (m *Message) IsRequest() bool { return m.request }

// Method is the method of a request, and the method in CSeq of a response. Methods have case (RFC 3261 §7.1).
func (m *Message) Method() string { return m.method }

// RequestURI is the Request-URI, the zero URI for a response.
func (m *Message) RequestURI() URI { return m.uri }

// RequestURIText is the Request-URI as it came.
func (m *Message) RequestURIText() string { return m.uriText }

// StatusCode is the status of a response, from 100 to 699, and 0 for a request.
func (m *Message) StatusCode() int { return m.status }

// ReasonPhrase is the reason phrase of a response as it came: text of a stranger.
func (m *Message) ReasonPhrase() string { return m.reason }

// CallID is the value of Call-ID.
func (m *Message) CallID() string { return m.callID }

// CSeq returns the sequence number and the method.
func (m *Message) CSeq() (n uint32, method string) { return m.cseq, m.cseqBy }

// From is the value of From. Its tag is missing only where a sender follows RFC 2543.
func (m *Message) From() Addr { return m.from }

// To is the value of To.
func (m *Message) To() Addr { return m.to }

// TopVia is the first value of Via, as the sender wrote it.
func (m *Message) TopVia() Via { return m.via }

// ViaCount is the number of Via values, one for each hop.
func (m *Message) ViaCount() int { return int(m.vias) }

// MaxForwards returns the hops left, from 0 to 255, and whether the header field is there: RFC 3261 §8.1.1.6 demands it, RFC 2543
// did not have it.
func (m *Message) MaxForwards() (n int, ok bool) {
	if m.hops < 0 {
		return 0, false
	}
	return int(m.hops), true
}

// Header returns the first value of the named header field, with folds as spaces, and whether it is there. The name may have any
// case and be the long or the compact one (RFC 3261 §7.3.3). For a header field that is a list it is the first line, not split.
func (m *Message) Header(name string) (string, bool) {
	if id := headerNamed(name); id != hOther {
		f := m.known(id)
		if f == nil {
			return "", false
		}
		return m.value(f), true
	}
	for i := range int(m.fields) {
		if f := m.field(i); f.id == hOther && sameFold(m.name(f), name) {
			return m.value(f), true
		}
	}
	return "", false
}

// Headers returns every value of the named header field in order, lines with comma-separated lists split where the header field's
// grammar is a list (RFC 3261 §7.3.1). Empty elements of a list are left out.
func (m *Message) Headers(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		id := headerNamed(name)
		for i := range int(m.fields) {
			f := m.field(i)
			if f.id != id || id == hOther && !sameFold(m.name(f), name) {
				continue
			}
			v := m.value(f)
			if !headerSpecs[id].list {
				if !yield(v) {
					return
				}
				continue
			}
			for v != "" {
				n := listEnd(v, id != hInReplyTo)
				if part := trimSpace(v[:n]); part != "" && !yield(part) {
					return
				}
				v = v[min(n+1, len(v)):]
			}
		}
	}
}

// listEnd returns the index of the first comma of s outside quoted-strings and angle brackets, or len(s). In-Reply-To has neither:
// there a quote is a character of a word.
func listEnd(s string, quotes bool) int {
	angle := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ',' && !angle:
			return i
		case !quotes:
		case c == '"' && !angle:
			end := quotedEnd(s, i)
			if end < 0 {
				return len(s)
			}
			i = end - 1
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		}
	}
	return len(s)
}

// Names returns the name of every header field line in order, as written.
func (m *Message) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range int(m.fields) {
			if !yield(m.name(m.field(i))) {
				return
			}
		}
	}
}

// ContentType is the value of Content-Type, "" if there is none.
func (m *Message) ContentType() string { return m.knownValue(hContentType) }

// Body is the body, of zero length if there is none. It must not be changed.
func (m *Message) Body() []byte { return m.raw[m.bodyAt:] }

// Raw is the whole message with folds as spaces. It must not be changed.
func (m *Message) Raw() []byte { return m.raw }

// SetSource tells where the message came from. Only a transport calls it, before anybody else has the message: it decides what
// AppendResponse writes into the topmost Via (RFC 3261 §18.2.1, RFC 3581 §4).
func (m *Message) SetSource(source netip.AddrPort) { m.source = source }

// Source is what SetSource was told.
func (m *Message) Source() netip.AddrPort { return m.source }
