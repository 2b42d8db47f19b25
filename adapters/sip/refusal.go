package sip

import (
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// Refusal is why a request is answered without reaching the core: what the peer is told, and under which of a fixed set of
// names it is counted and logged.
type Refusal struct {
	// Code is the response's code, 400 to 699.
	Code int
	// Phrase is its reason phrase. It names the fault and holds nothing that came from outside.
	Phrase string
	// Headers go into the response: Accept, Allow, Unsupported, Min-Expires, Warning.
	Headers []wire.Header
	// Why is the name of the fault.
	Why Why
	// Detail is for the log alone: what more is known, with what came from outside in quotes. "": nothing.
	Detail string
}

// Error gives code and phrase.
func (r *Refusal) Error() string { return "sip: " + strconv.Itoa(r.Code) + " " + r.Phrase }

// Why names a fault, for logs and as a metric's label: a fixed set.
type Why uint8

// The faults.
const (
	WhyStranger    Why = iota // no peer's network covers the source
	WhyFromDomain             // the From domain is not one of the peer's
	WhyIdentity               // an inner identity is not the outer one
	WhyEntity                 // a presence document is about somebody else
	WhySIPS                   // a SIPS URI, which is never translated
	WhyScheme                 // a URI scheme that is not carried
	WhyAddress                // an address that is none
	WhySyntax                 // malformed
	WhyContent                // a content type or encoding that is not carried
	WhyCharset                // octets that are not of the charset they claim
	WhyHops                   // Max-Forwards is 0
	WhyMethod                 // a method that is not served
	WhyExtension              // Require
	WhyEvent                  // an event package that is not served
	WhyAccept                 // nothing in Accept that is produced
	WhyInterval               // Expires too short
	WhyNoDialog               // in no dialog that is known
	WhySequence               // CSeq out of order
	WhyOverload               // a table or queue is full, or shutting down
	WhyNotice                 // a disposition notice that says nothing
	WhyCondition              // SIP-If-Match names no publication
	WhyCredentials            // no or wrong credentials
	WhyPrivacy                // the sender does not want to be known
	WhyLoop                   // it was sent by this gateway itself
	WhySignature              // Identity is missing or proves nothing
	WhyStale                  // a signed message whose Date is missing or wrong
	whyEnd
)

var whyNames = [whyEnd]string{
	WhyStranger: "stranger", WhyFromDomain: "from-domain", WhyIdentity: "identity", WhyEntity: "entity", WhySIPS: "sips",
	WhyScheme: "scheme", WhyAddress: "address", WhySyntax: "syntax", WhyContent: "content", WhyCharset: "charset",
	WhyHops: "hops", WhyMethod: "method", WhyExtension: "extension", WhyEvent: "event", WhyAccept: "accept",
	WhyInterval: "interval", WhyNoDialog: "no-dialog", WhySequence: "sequence", WhyOverload: "overload", WhyNotice: "notice",
	WhyCondition:   "condition",
	WhyCredentials: "credentials", WhyPrivacy: "privacy", WhyLoop: "loop", WhySignature: "signature", WhyStale: "stale",
}

// String is the fault's name: one word.
func (w Why) String() string {
	if w >= whyEnd {
		return "invalid"
	}
	return whyNames[w]
}

// refuse makes a Refusal.
func refuse(why Why, code int, phrase string, headers ...wire.Header) *Refusal {
	return &Refusal{Code: code, Phrase: phrase, Why: why, Headers: headers}
}

// refusals counts refusals by name and writes at most one log line a second for each name, so that a flood of them is neither
// silent nor a flood of lines. Safe for use from many goroutines.
type refusals struct {
	log     zerolog.Logger
	count   [whyEnd]prometheus.Counter
	lastLog [whyEnd]atomic.Int64 // in nanoseconds since 1970
	unsaid  [whyEnd]atomic.Uint64
}

// newRefusals makes the counters; every name exists from the start, so that a dashboard sees zeroes.
func newRefusals(log zerolog.Logger, vec *prometheus.CounterVec) *refusals {
	r := &refusals{log: log}
	for w := range whyEnd {
		r.count[w] = vec.WithLabelValues(w.String())
	}
	return r
}

// note counts one refusal, and logs it if no other of its name was logged within a second. remote is where it came from; what
// the peer wrote is not logged.
func (r *refusals) note(ref *Refusal, method, peer, remote string) {
	r.count[ref.Why].Inc()
	now := time.Now().UnixNano()
	last := r.lastLog[ref.Why].Load()
	if now-last < int64(time.Second) || !r.lastLog[ref.Why].CompareAndSwap(last, now) {
		r.unsaid[ref.Why].Add(1)
		return
	}
	e := r.log.Warn().Str("why", ref.Why.String()).Str("method", clip(method)).Int("code", ref.Code).Str("remote", remote)
	if peer != "" {
		e.Str("peer", peer)
	}
	if ref.Detail != "" {
		e.Str("detail", clip(ref.Detail))
	}
	if n := r.unsaid[ref.Why].Swap(0); n > 0 {
		e.Uint64("unsaid", n)
	}
	e.Msg("request refused")
}

// clip cuts what came from outside to the 256 octets that a log line or Status.Remote may hold; the logger quotes the rest.
func clip(s string) string { return cut(s, 256) }

// cut shortens s to at most n octets, between two characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
