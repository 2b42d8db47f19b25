package sip

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// ReadOptions says how a request of one peer is read.
type ReadOptions struct {
	// FoldCase and IgnorePort are the peer's; see Peer.
	FoldCase, IgnorePort bool
	// Now is when the request came.
	Now time.Time
	// Identity is whom the request is from, where somebody better than From says it; zero: From.
	Identity wire.Addr
}

// from is whom a request is from.
func (o ReadOptions) from(req *wire.Message) wire.Addr {
	if o.Identity.IsZero() {
		return req.From()
	}
	return o.Identity
}

// sender is how From is mapped.
func (o ReadOptions) sender(s cpim.Scheme) cpim.SIPMapping {
	return cpim.SIPMapping{Scheme: s, FoldCase: o.FoldCase, IgnorePort: o.IgnorePort}
}

// recipient is how a Request-URI and To are mapped: their port is routing.
func (o ReadOptions) recipient(s cpim.Scheme) cpim.SIPMapping {
	return cpim.SIPMapping{Scheme: s, FoldCase: o.FoldCase, IgnorePort: true}
}

// Incoming is what a MESSAGE says: exactly one of the fields is set.
type Incoming struct {
	Message *adapters.MessageOp
	// Report is set for a disposition notice (RFC 5438).
	Report *adapters.Report
}

// acceptedContent is the Accept of a 415 and of OPTIONS: what a MESSAGE may carry.
const acceptedContent = "text/plain, message/cpim"

// ReadMessage translates a MESSAGE request: RFC 7572 §5, Table 2. The recipient is the Request-URI and never the To header field,
// which stays what it was when a request is retargeted. Who may send as whom is not its business; see Adapter.
//
// A thread is the Call-ID, the transaction's name the branch of the topmost Via, or the imdn.Message-ID where the sender asked for
// notices, which must name it (RFC 5438 §7.1.2). The strings and octets of the result are parts of req's.
func ReadMessage(req *wire.Message, opts ReadOptions) (Incoming, *Refusal) {
	if _, in := tagOf(req); in {
		// "If the UAS wishes to reject the request because it does not wish to recreate the dialog, it MUST respond to
		// the request with a 481" (RFC 3261 §12.2.2). We have no dialogs that a MESSAGE could be in.
		return Incoming{}, refuse(WhyNoDialog, 481, phraseOf(481))
	}
	from, to, ref := readParties(req, opts, cpim.IM)
	if ref != nil {
		return Incoming{}, ref
	}
	op := &adapters.MessageOp{From: from, To: to, Kind: adapters.KindNormal}
	op.Hops = hopsOf(req)
	op.Thread = threadOf(req.CallID())
	op.TransID = req.TopVia().Branch()
	op.Content.Language = languageOf(req)
	if s, ok := req.Header("Subject"); ok {
		if !utf8.ValidString(s) {
			return Incoming{}, refuse(WhyCharset, 400, "Bad Request: Subject is not UTF-8")
		}
		op.Subjects = []adapters.LangText{{Lang: op.Content.Language, Text: s}}
	}
	if ref := readTimes(req, op, opts.Now); ref != nil {
		return Incoming{}, ref
	}
	if ref := checkEncoding(req); ref != nil {
		return Incoming{}, ref
	}
	if ct := req.ContentType(); ct != "" || len(req.Body()) > 0 {
		return readContent(op, ct, req.Body(), req, opts)
	}
	op.Content.Type = plainText // a MESSAGE "MAY contain a body" (RFC 3428 §9)
	return Incoming{Message: op}, nil
}

// readParties reads whom a request is from and to. A SIPS URI in any of the three places is refused (RFC 7247 §8).
func readParties(req *wire.Message, opts ReadOptions, scheme cpim.Scheme) (from, to adapters.Party, ref *Refusal) {
	if req.To().URI().Scheme() == "sips" {
		return from, to, refuseSIPS()
	}
	if to, ref = AddressOf(req.RequestURI(), opts.recipient(scheme)); ref != nil {
		return from, to, ref
	}
	from, ref = partyOf(opts.from(req), opts.sender(scheme))
	if ref != nil && ref.Why == WhyAddress {
		ref = refuse(WhyAddress, 400, "Bad Request: the From address cannot be carried")
	}
	return from, to, ref
}

// tagOf is the tag of To, which only a request within a dialog has.
func tagOf(req *wire.Message) (string, bool) {
	tag := req.To().Tag()
	return tag, tag != ""
}

// hopsOf is Max-Forwards; the usual first value if there is none ("If the request does not contain a Max-Forwards header field,
// this check is passed", RFC 3261 §16.3, and a proxy then adds one of 70, §16.6).
func hopsOf(req *wire.Message) int {
	if n, ok := req.MaxForwards(); ok {
		return n
	}
	return adapters.DefaultHops
}

// languageOf is the first language of Content-Language, "" if there is none or it is no language tag.
func languageOf(req *wire.Message) string {
	for v := range req.Headers("Content-Language") {
		if isLanguage(v) {
			return v
		}
		return ""
	}
	return ""
}

// isLanguage takes the shape of a language tag (RFC 5646 §2.1): subtags of 1 to 8 letters and digits, joined by hyphens.
func isLanguage(s string) bool {
	n := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '-' {
			if n == 0 || n > 8 {
				return false
			}
			n = 0
			continue
		}
		if c := s[i]; c-'0' >= 10 && (c|0x20)-'a' >= 26 {
			return false
		}
		n++
	}
	return len(s) <= 64
}

// readTimes reads Date and Expires: "the UAS SHOULD interpret the Expires header field value as delta time from the Date header
// field value. If the request does not contain a Date header field, ... from the time the UAS received the request" (RFC 3428 §7).
func readTimes(req *wire.Message, op *adapters.MessageOp, now time.Time) *Refusal {
	if v, ok := req.Header("Date"); ok {
		op.Sent = parseDate(v)
	}
	v, ok := req.Header("Expires")
	if !ok {
		return nil
	}
	life, ok := parseSeconds(v)
	if !ok {
		return refuse(WhySyntax, 400, "Bad Request: Expires is no number of seconds")
	}
	from := now
	if !op.Sent.IsZero() {
		from = op.Sent
	}
	op.Expires = from.Add(life)
	return nil
}

// checkEncoding refuses what we cannot decode (RFC 3261 §8.2.3), and a disposition that must be understood and is not.
func checkEncoding(req *wire.Message) *Refusal {
	for v := range req.Headers("Content-Encoding") {
		if !strings.EqualFold(v, "identity") {
			return refuse(WhyContent, 415, phraseOf(415), wire.Header{Name: "Accept-Encoding", Value: "identity"},
				wire.Header{Name: "Accept", Value: acceptedContent})
		}
	}
	if v, ok := req.Header("Content-Disposition"); ok {
		kind, params := splitParams(v)
		optional := false
		for name, value := range params {
			optional = optional || name == "handling" && strings.EqualFold(value, "optional")
		}
		switch strings.ToLower(kind) {
		case "render", "session", "notification", "":
		default:
			if !optional {
				return refuseContent()
			}
		}
	}
	return nil
}

func refuseContent() *Refusal {
	return refuse(WhyContent, 415, phraseOf(415), wire.Header{Name: "Accept", Value: acceptedContent})
}

// plainText is the type that we give and prefer. SIP's default charset for text is UTF-8 (RFC 3261 §7.4.1).
const plainText = "text/plain;charset=UTF-8"

// readContent reads the body into op, or into a Report.
func readContent(op *adapters.MessageOp, contentType string, body []byte, req *wire.Message, opts ReadOptions) (Incoming, *Refusal) {
	if contentType == "" {
		// "The Content-Type header field MUST be present if the body is not empty" (RFC 3261 §20.15).
		return Incoming{}, refuse(WhySyntax, 400, "Bad Request: a body without Content-Type")
	}
	if isPlainUTF8(contentType) { // the common case, without allocating
		if !utf8.Valid(body) {
			return Incoming{}, refuse(WhyCharset, 400, "Bad Request: the body is not UTF-8")
		}
		op.Content.Type, op.Content.Octets = contentType, body
		return Incoming{Message: op}, nil
	}
	t, err := cpim.ParseContentType(contentType)
	if err != nil {
		return Incoming{}, refuse(WhySyntax, 400, "Bad Request: malformed Content-Type")
	}
	switch t.Media() {
	case "text/plain":
		octets, kind, ref := readPlainText(t, contentType, body)
		if ref != nil {
			return Incoming{}, ref
		}
		op.Content.Type, op.Content.Octets = kind, octets
		return Incoming{Message: op}, nil
	case "message/cpim":
		return readCPIM(op, body, req, opts)
	}
	return Incoming{}, refuseContent()
}

// isPlainUTF8 tells whether a Content-Type is text/plain in UTF-8 in one of its usual spellings.
func isPlainUTF8(contentType string) bool {
	const media = "text/plain"
	if len(contentType) < len(media) || !strings.EqualFold(contentType[:len(media)], media) {
		return false
	}
	rest := contentType[len(media):]
	if rest == "" {
		return true
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(rest, " "), ";")
	return ok && strings.EqualFold(strings.TrimLeft(rest, " "), "charset=utf-8")
}

// readPlainText checks text of a charset that we know, and converts the one that needs it. contentType is how t was written.
func readPlainText(t cpim.ContentType, contentType string, body []byte) (octets []byte, kind string, ref *Refusal) {
	charset, given := t.Param("charset")
	if !given {
		charset = "utf-8"
	}
	switch strings.ToLower(charset) {
	case "utf-8", "utf8":
		if !utf8.Valid(body) {
			return nil, "", refuse(WhyCharset, 400, "Bad Request: the body is not UTF-8")
		}
		return body, contentType, nil
	case "us-ascii", "ascii":
		for _, c := range body {
			if c >= utf8.RuneSelf {
				return nil, "", refuse(WhyCharset, 400, "Bad Request: the body is not US-ASCII")
			}
		}
		return body, contentType, nil
	case "iso-8859-1", "latin1", "iso_8859-1":
		// Each octet is the character of that number (ISO/IEC 8859-1 is the first block of Unicode).
		out := make([]byte, 0, len(body)+len(body)/4)
		for _, c := range body {
			out = utf8.AppendRune(out, rune(c))
		}
		utf, err := t.WithParam("charset", "UTF-8")
		if err != nil {
			return out, plainText, nil
		}
		return out, utf.String(), nil
	}
	return nil, "", refuse(WhyCharset, 415, "Unsupported Media Type: the charset is not known",
		wire.Header{Name: "Accept", Value: plainText + ", message/cpim"})
}
