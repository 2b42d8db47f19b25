package wire

import "strconv"

// SyntaxError says what is wrong with a message, URI, address or Via, and how a server answers it.
type SyntaxError struct {
	Offset   int    // octets before the fault, in what was given to the parse function
	Rule     string // short name of the rule that was broken, from a fixed set: it may label a metric
	Section  string // where the rule stands: "RFC 3261 §7.3.1"
	Expected string // what should have been there
	Code     int    // the SIP status to answer a request with: 400, 414, 505 or 513
	Reason   string // the reason phrase to answer with, which names the fault: "Bad Request: two Call-ID headers"
	// Framing tells that the end of the message is not known: a stream must be closed, there is no resynchronisation.
	Framing bool
}

// Error returns the fault with its place and section.
func (e *SyntaxError) Error() string {
	return "sip: " + e.Rule + " at octet " + strconv.Itoa(e.Offset) + ": expected " + e.Expected + " (" + e.Section + ")"
}

// fault is a rule that can be broken. Each is written once, below; none has anything of the message in it.
type fault struct {
	rule, section, expected string
	phrase                  string // behind "Bad Request: "; or the whole phrase if code is not 400
	code                    int    // 0 means 400
}

// at makes the error for a place.
func (f *fault) at(offset int) *SyntaxError { return f.in("", offset) }

// in makes the error for a place within a named header field.
func (f *fault) in(header string, offset int) *SyntaxError {
	e := &SyntaxError{Offset: offset, Rule: f.rule, Section: f.section, Expected: f.expected, Code: f.code, Reason: f.phrase}
	if e.Code == 0 {
		e.Code = 400
		e.Reason = "Bad Request: " + f.phrase
		if header != "" {
			e.Reason += " in " + header
		}
	}
	return e
}

// The faults. They are written once, before main.
var (
	faultMessageLength = &fault{"message length", "RFC 3261 §21.5.7", "a message within the limit", "Message Too Large", 513}
	faultBodyLength    = &fault{"body length", "RFC 3261 §21.5.7", "a body within the limit", "Message Too Large", 513}
	faultLineLength    = &fault{"line length", "RFC 3261 §7.3.1", "a header field within the limit", "header field too long", 0}
	faultHeaderCount   = &fault{"header count", "RFC 3261 §7.3.1", "header fields within the limit", "too many header fields", 0}
	faultViaCount      = &fault{"via count", "RFC 3261 §20.42", "Via values within the limit", "too many Via values", 0}

	faultRequestLine   = &fault{"request line", "RFC 3261 §7.1", "Method SP Request-URI SP SIP-Version CRLF", "malformed Request-Line", 0}
	faultMethod        = &fault{"method", "RFC 3261 §7.1", "a token", "malformed method", 0}
	faultVersion       = &fault{"version", "RFC 3261 §21.5.6", "SIP/2.0", "Version Not Supported", 505}
	faultStatusLine    = &fault{"status line", "RFC 3261 §7.2", "SIP-Version SP Status-Code SP Reason-Phrase CRLF", "malformed Status-Line", 0}
	faultStatusCode    = &fault{"status code", "RFC 3261 §7.2", "three digits from 100 to 699", "malformed Status-Code", 0}
	faultLineEnd       = &fault{"line end", "RFC 3261 §7.3.1", "CRLF", "CR or LF alone", 0}
	faultControl       = &fault{"control", "RFC 3261 §25.1", "no control characters", "control character", 0}
	faultUTF8          = &fault{"utf-8", "RFC 3261 §25.1", "UTF-8", "header is not UTF-8", 0}
	faultHeadEnd       = &fault{"header end", "RFC 3261 §7", "an empty line behind the header fields", "no end of the header fields", 0}
	faultFold          = &fault{"fold", "RFC 3261 §7.3.1", "a continuation of a header field that is not blank", "misplaced or blank continuation line", 0}
	faultHeaderName    = &fault{"header name", "RFC 3261 §25.1", `a token and ":"`, "malformed header name", 0}
	faultDuplicate     = &fault{"duplicate", "RFC 3261 §7.3.1", "one header field of this name", "more than one", 0}
	faultMissing       = &fault{"missing", "RFC 3261 §8.1.1", "the mandatory header field", "no", 0}
	faultContentLength = &fault{"content-length", "RFC 3261 §20.14", "1*DIGIT", "malformed Content-Length", 0}
	faultNoLength      = &fault{"no content-length", "RFC 3261 §18.3", "Content-Length on a stream", "no Content-Length", 0}
	faultShortBody     = &fault{"short body", "RFC 3261 §18.3", "as many octets as Content-Length says", "Content-Length larger than the datagram", 0}
	faultCSeq          = &fault{"cseq", "RFC 3261 §8.1.1.5", "1*DIGIT below 2**31, LWS, Method", "malformed CSeq", 0}
	faultCSeqMethod    = &fault{"cseq method", "RFC 3261 §8.1.1.5", "the method of the request line", "CSeq method differs", 0}
	faultCallID        = &fault{"call-id", "RFC 3261 §25.1", `word [ "@" word ]`, "malformed Call-ID", 0}
	faultMaxForwards   = &fault{"max-forwards", "RFC 3261 §20.22", "a number from 0 to 255", "malformed Max-Forwards", 0}
	faultContentType   = &fault{"content-type", "RFC 3261 §25.1", "m-type SLASH m-subtype *( SEMI m-parameter )", "malformed Content-Type", 0}
	faultNoContentType = &fault{"no content-type", "RFC 3261 §20.15", "Content-Type where there is a body", "body without Content-Type", 0}

	faultURILength      = &fault{"uri length", "RFC 3261 §21.4.12", "a URI within the limit", "URI too long", 0}
	faultURIScheme      = &fault{"uri scheme", "RFC 3261 §25.1", `scheme ":"`, "malformed URI scheme", 0}
	faultURIChar        = &fault{"uri character", "RFC 3261 §25.1", "characters that a URI may have", "malformed URI", 0}
	faultURIEscape      = &fault{"uri escape", "RFC 3261 §25.1", `"%" HEXDIG HEXDIG`, "malformed escape in URI", 0}
	faultEscapedControl = &fault{"escaped control", "RFC 3261 §25.1", "no control characters", "escaped control character", 0}
	faultURIUser        = &fault{"uri user", "RFC 3261 §25.1", "user [ \":\" password ] \"@\"", "malformed user in URI", 0}
	faultURIHost        = &fault{"uri host", "RFC 3261 §25.1", "a host name, an IPv4 address or an IPv6 address in brackets", "malformed host in URI", 0}
	faultURIPort        = &fault{"uri port", "RFC 3261 §25.1", "a port from 1 to 65535", "malformed port in URI", 0}
	faultURIParam       = &fault{"uri parameter", "RFC 3261 §19.1.1", `";" pname [ "=" pvalue ], each name once`, "malformed parameter in URI", 0}
	faultURIHeader      = &fault{"uri header", "RFC 3261 §19.1.1", `"?" hname "=" hvalue`, "malformed header in URI", 0}
	faultURIHeaders     = &fault{"uri headers", "RFC 3261 §19.1.1", "no headers in this URI", "URI with headers", 0}

	faultAddress   = &fault{"address", "RFC 3261 §25.1", "name-addr or addr-spec", "malformed address", 0}
	faultDisplay   = &fault{"display name", "RFC 3261 §25.1", "tokens or a quoted-string", "malformed display name", 0}
	faultParameter = &fault{"parameter", "RFC 3261 §25.1", "token [ EQUAL gen-value ], each name once", "malformed parameter", 0}
	faultTag       = &fault{"tag", "RFC 3261 §25.1", "tag EQUAL token", "malformed tag", 0}
	faultVia       = &fault{"via", "RFC 3261 §25.1", "sent-protocol LWS sent-by *( SEMI via-params )", "malformed Via", 0}
	faultTrailing  = &fault{"trailing text", "RFC 3261 §25.1", "the end of the value", "text behind the value", 0}

	faultWriteName   = &fault{"written name", "RFC 3261 §25.1", "a token that is not written by the library itself", "malformed header name", 0}
	faultWriteValue  = &fault{"written value", "RFC 3261 §25.1", "UTF-8 text without controls", "malformed header value", 0}
	faultWriteReason = &fault{"written reason", "RFC 3261 §25.1", "a Reason-Phrase", "malformed reason phrase", 0}
)
