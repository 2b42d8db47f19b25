package sip

import (
	"strconv"
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
	// LenientPresence is the peer's; see Peer.
	LenientPresence bool
	// Identity is whom the request is from, where somebody better than From says it; zero: From.
	Identity wire.Addr
	// SMIME is the peer's; see Peer.
	SMIME SMIMEPolicy
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

// Incoming is what a MESSAGE says: one of the fields is set, or none for a notice that says nothing that the core has a word for.
type Incoming struct {
	Message *adapters.MessageOp
	// Reports are what disposition notices say (RFC 5438): one, or several in one request (RFC 5438 §8.3).
	Reports []*adapters.Report
}

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
	if v, ok := req.Header(traceField); ok {
		op.Trace = adapters.ParseTrace(v)
	}
	op.TransID = req.TopVia().Branch()
	n, _ := req.CSeq()
	op.Copy = req.CallID() + "\n" + req.From().Tag() + "\n" + strconv.FormatUint(uint64(n), 10)
	if automatic(req) {
		op.TransID = "" // nothing is reported of it
	}
	op.SenderName = displayName(opts.from(req).Display())
	if op.SenderName == "" {
		op.SenderName = displayName(req.From().Display())
	}
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
	return readBody(op, req, opts)
}

// traceField is our own header field, MessageOp.Trace: which gateways a message has passed. Proxies pass it on, whom it says nothing ("If a
// UAS does not understand a header field in a request ..., the server MUST ignore that header field", RFC 3261 §8.2.2).
const traceField = "Isthmus-Trace"

// signatureField is our own header field, MessageOp.Signature, for user agents that believe their gateway. It is never read.
const signatureField = "Isthmus-Signature"

// maxSenderName bounds what a sender calls itself, in octets. A longer name is cut.
const maxSenderName = 256

// displayName is a display name as SenderName, "" if it is none that can be shown on one line.
func displayName(s string) string {
	if s == "" || !utf8.ValidString(s) {
		return ""
	}
	if strings.ContainsFunc(s, turns) {
		s = strings.Map(func(r rune) rune {
			if turns(r) {
				return ' '
			}
			return r
		}, s)
	}
	return cut(oneLine(s), maxSenderName)
}

// turns tells whether a character turns the direction of what stands behind it, beyond the name that it is in: in a text that is its author's
// affair, in a name it lets one user look like another.
func turns(r rune) bool { return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 }

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
		if op.Sent = parseDate(v); !plausible(op.Sent, now) {
			op.Sent = time.Time{}
		}
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
	if life == 0 {
		from, life = now, immediately
	}
	op.Expires = from.Add(life)
	return nil
}

// immediately is the life of a message with "Expires: 0". RFC 3428 knows that value (§4: "an Expires header field with a non-zero
// value ..."), and taken as a time it would make every such message expired before anybody could have it. §7 leaves it to local policy
// what to do with one that cannot be delivered in time: it is delivered if that can be done while its sender waits for the answer, for
// 64*T1 (RFC 3261 §17.1.2.2), and is never kept for later.
const immediately = 32 * time.Second

// plausible tells whether a Date may be believed. A clock that was never set is before this century, or far ahead (RFC
// 3261 §20.17 knows "simple end systems without a battery-backed clock"): a life that counts from its Date would have ended long ago, or
// never end.
func plausible(sent, now time.Time) bool {
	return !sent.Before(earliest) && sent.Before(now.Add(24*time.Hour))
}

var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // never written to
