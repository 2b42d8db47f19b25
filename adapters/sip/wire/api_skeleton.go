package wire

import (
	"errors"
	"io"
	"iter"
	"net/netip"
)

var errSkeleton = errors.New("wire: skeleton")

// Message is a request or a response. It aliases the octets given to Parse.
type Message struct{ x int }

// Parse reads one message (one datagram, or one frame of a stream). It takes b over: folds are replaced by spaces in place and the
// Message aliases b. On error the *Message is non-nil exactly when it is a request that can be answered (AppendResponse).
func Parse(b []byte, lim Limits) (*Message, error) { return nil, errSkeleton }

func (m *Message) IsRequest() bool        { return m.x == 1 }
func (m *Message) Method() string         { return "" } // of the request line; of CSeq for a response
func (m *Message) RequestURI() URI        { return URI{} }
func (m *Message) RequestURIText() string { return "" }
func (m *Message) StatusCode() int        { return 0 }
func (m *Message) ReasonPhrase() string   { return "" }
func (m *Message) CallID() string         { return "" }
func (m *Message) CSeq() (uint32, string) { return 0, "" }
func (m *Message) From() Addr             { return Addr{} }
func (m *Message) To() Addr               { return Addr{} }
func (m *Message) TopVia() Via            { return Via{} }
func (m *Message) ViaCount() int          { return 0 }

func (m *Message) MaxForwards() (int, bool)             { return 0, false }
func (m *Message) Header(name string) (string, bool)    { return "", false } // first value, compact forms resolved
func (m *Message) Headers(name string) iter.Seq[string] { return nil }       // every value, comma lists split where the ABNF has lists
func (m *Message) ContentType() string                  { return "" }
func (m *Message) Body() []byte                         { return nil }
func (m *Message) Raw() []byte                          { return nil }
func (m *Message) SetSource(netip.AddrPort)             {} // transport only: received and rport of responses (RFC 3261 §18.2.1, RFC 3581 §4)
func (m *Message) Source() netip.AddrPort               { return netip.AddrPort{} }

// URI is a SIP or SIPS URI, or an absolute URI of another scheme kept as it is. Valid when it exists, comparable.
type URI struct{ x string }

func ParseURI(s string) (URI, error)                  { return URI{}, errSkeleton }
func MustParseURI(s string) URI                       { return URI{} }
func (u URI) IsZero() bool                            { return u.x == "" }
func (u URI) IsSIP() bool                             { return false } // sip: or sips:
func (u URI) Scheme() string                          { return "" }    // lower case
func (u URI) User() string                            { return "" }    // as written (escaped), without password
func (u URI) Host() string                            { return "" }    // as written; IPv6 with brackets
func (u URI) Port() uint16                            { return 0 }     // 0: none given
func (u URI) Params() string                          { return "" }    // without the first ';'
func (u URI) Param(name string) (string, bool)        { return "", false }
func (u URI) HeaderFields() string                    { return "" } // without '?'
func (u URI) String() string                          { return u.x }
func Unescape(s string) (string, error)               { return "", errSkeleton } // %HH; refuses controls and bad UTF-8
func EscapeUser(s string) string                      { return "" }
func AppendURI(dst []byte, s URISpec) ([]byte, error) { return dst, errSkeleton }

// URISpec is what AppendURI writes. User and parameter values are plain text and are escaped by it.
type URISpec struct {
	Scheme string // "sip" if empty
	User   string
	Host   string
	Port   uint16
	Params []Param
}

// Param is a parameter; Value "" writes the bare name.
type Param struct{ Name, Value string }

// Addr is a name-addr or addr-spec with its header parameters (From, To, Contact, Route, P-Asserted-Identity).
type Addr struct{ x string }

func ParseAddr(s string) (Addr, error)                  { return Addr{}, errSkeleton }
func MustParseAddr(s string) Addr                       { return Addr{} }
func (a Addr) IsZero() bool                             { return a.x == "" }
func (a Addr) Display() string                          { return "" } // unquoted
func (a Addr) URI() URI                                 { return URI{} }
func (a Addr) Tag() string                              { return "" }
func (a Addr) Param(name string) (string, bool)         { return "", false }
func (a Addr) GR() (string, bool)                       { return "", false } // from the URI, else from the header parameters (PEERS trap 8)
func (a Addr) String() string                           { return a.x }       // as it came
func AppendAddr(dst []byte, s AddrSpec) ([]byte, error) { return dst, errSkeleton }
func FormatAddr(s AddrSpec) (string, error)             { return "", errSkeleton }

// AddrSpec is what AppendAddr writes: always the name-addr form.
type AddrSpec struct {
	Display string // plain text, quoted and escaped by AppendAddr; "" for none
	URI     string
	Tag     string
	Params  []Param
}

// Via is one Via value.
type Via struct{ x string }

func ParseVia(s string) (Via, error)             { return Via{}, errSkeleton }
func (v Via) Transport() string                  { return "" } // upper case as written
func (v Via) Host() string                       { return "" }
func (v Via) Port() uint16                       { return 0 }
func (v Via) SentBy() string                     { return "" }
func (v Via) Branch() string                     { return "" }
func (v Via) Received() netip.Addr               { return netip.Addr{} }
func (v Via) RPort() (port uint16, present bool) { return 0, false }
func (v Via) Param(name string) (string, bool)   { return "", false }

// Header is a header field to write.
type Header struct{ Name, Value string }

// Request is a request to write. Via, branch and Content-Length are added by AppendRequest.
type Request struct {
	Method      string
	URI         string // Request-URI
	From, To    string // complete values, made by AppendAddr/FormatAddr or Addr.String
	CallID      string
	CSeq        uint32
	MaxForwards int      // 0 means 70
	Headers     []Header // anything but the fields of this struct, Via and Content-Length
	ContentType string
	Body        []byte
	BranchHint  string // put into the branch behind the random bits, where it is a token (RFC 7572: stanza id); may be empty
}

// ViaSpec is the Via that AppendRequest writes.
type ViaSpec struct {
	Transport, SentBy, Branch string
	RPort                     bool
}

func AppendRequest(dst []byte, r *Request, via ViaSpec) ([]byte, error) { return dst, errSkeleton }

// Response is a response to write.
type Response struct {
	Code        int
	Reason      string // "" means the default phrase of Code
	ToTag       string // added to To if that has none and Code is not 100
	Headers     []Header
	ContentType string
	Body        []byte
}

func AppendResponse(dst []byte, req *Message, r Response) ([]byte, error) { return dst, errSkeleton }
func ReasonPhrase(code int) string                                        { return "" }

// NewTag and NewCallID have at least 64 random bits of crypto/rand.
func NewTag() string               { return "" }
func NewCallID(host string) string { return "" }
func NewBranch(hint string) string { return "" }

// StreamReader frames messages on a stream (RFC 3261 §18.3).
type StreamReader struct{ r io.Reader }

func NewStreamReader(r io.Reader, lim Limits) *StreamReader { return &StreamReader{r} }

// Next returns the next message in a fresh buffer, or keepAlive for a CRLF CRLF ping (RFC 5626 §3.5.1, §4.4.1).
func (s *StreamReader) Next() (b []byte, keepAlive bool, err error) { return nil, false, errSkeleton }
func (s *StreamReader) Buffered() int                               { return 0 }
