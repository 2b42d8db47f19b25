package adapters

import (
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// Party is one end of an operation: whose, and which of its devices.
type Party struct {
	// Address is the im: or pres: address, the canonical identity.
	Address cpim.Address
	// Instance is the device: an XMPP resourcepart, a SIP GRUU ("gr"), unescaped (RFC 7247 §6.3). "" when not given.
	Instance string
}

// Peer is the proven identity of the link over which an operation came. It is never taken from a header.
type Peer struct {
	// Adapter is the name of the adapter it came through.
	Adapter string
	// Name is the configured name of the peer: a component, a trunk. From a fixed set, so it may label a metric.
	Name string
}

// LangText is a text with the language it is tagged with (RFC 5646); Lang "" means none was given.
type LangText struct {
	Lang string
	Text string
}

// MessageKind is the XMPP message type where one was given; SIP pager mode has none (RFC 7572 §5).
type MessageKind uint8

// The message kinds (RFC 6121 §5.2.2). An error is never a MessageOp.
const (
	KindNormal MessageKind = iota // a single message; also what SIP MESSAGE is
	KindChat
	KindHeadline
)

// Dispositions is the set of notices that the sender asked for (RFC 5438 §6.2, XEP-0184, XEP-0333).
type Dispositions uint8

// The notices.
const (
	WantDelivered Dispositions = 1 << iota // positive-delivery
	WantFailed                             // negative-delivery
	WantDisplayed                          // display
)

// Activity is what a message without content says of its sender in the conversation (RFC 3994, XEP-0085). The zero value is a
// message of the usual kind.
type Activity uint8

// The activities. RFC 3994 knows two, active and idle: Composing is active; Active, Paused, Inactive and Gone are idle.
const (
	ActivityNone      Activity = iota
	ActivityActive             // takes part, and is not composing: also what a sent message says
	ActivityComposing          // is composing
	ActivityPaused             // was composing and stopped
	ActivityInactive           // has not taken part for a while
	ActivityGone               // has left the conversation
)

// String returns the name as in XEP-0085, "none" for the zero value.
func (a Activity) String() string {
	switch a {
	case ActivityActive:
		return "active"
	case ActivityComposing:
		return "composing"
	case ActivityPaused:
		return "paused"
	case ActivityInactive:
		return "inactive"
	case ActivityGone:
		return "gone"
	default:
		return "none"
	}
}

// Link is a file or page that a message points to (XEP-0066, message/external-body, RCS file transfer over HTTP).
type Link struct {
	URL string // absolute; http or https
	// Name is the file's name, Description a sentence about it, Type its media type; "" when not given.
	Name, Description, Type string
	// Size is its length in octets, 0 when not given.
	Size int64
	// Expires is when it can no longer be fetched; zero when not given.
	Expires time.Time
}

// Content is what a message carries: a MIME type and octets.
type Content struct {
	// Type is the media type as it came, with parameters: "text/plain;charset=UTF-8". Never empty.
	Type string
	// Language is the RFC 5646 tag of the content, "" when not given (SIP Content-Language, xml:lang).
	Language string
	// Octets is the content itself, never changed on its way: "CPIM gateways MUST be capable of relaying the content
	// ... without needing to modify or inspect the content" (RFC 3860 §3.3).
	Octets []byte
}

// MessageOp is the message operation of RFC 3860 §3.4 with its envelope.
//
// An adapter fills it, the gateway routes it, another adapter writes it out; nobody changes it on the way but the gateway
// the fields that say so.
type MessageOp struct {
	// ID names this operation in logs. The gateway sets it.
	ID string
	// Peer is the link it came over.
	Peer Peer
	// From is the authenticated sender, To the recipient that it was routed by (the Request-URI, the stanza's 'to').
	From, To Party
	// Known is another address by which the sender may know the recipient, with a signed content that an adapter cannot look into: what is signed may be
	// for that one. Zero if there is none.
	Known cpim.Address
	Kind  MessageKind
	// Thread is the conversation: SIP Call-ID, XMPP <thread/> (RFC 7572 §4, §5). "" when none was given.
	Thread string
	// ParentThread is the XMPP thread's parent attribute; no counterpart in SIP.
	ParentThread string
	// TransID identifies the message to its sender: the SIP transaction identifier, the XMPP stanza id (RFC 7572
	// §4, §5), the TransID of RFC 3860 §3.4.1. "" when the sender gave none.
	TransID string
	// Subjects by language, in the order given; the first is the default.
	Subjects []LangText
	// Alternatives are further bodies in other languages, in the order given, beside Content.
	Alternatives []LangText
	Content      Content
	// Activity is set on a message that has no content and only tells of its sender (Content is zero then). Its loss is nobody's
	// loss: it is never stored, a newer one replaces it while it waits, and nobody is told of its failure.
	Activity Activity
	// ActivityRefresh is for how long ActivityComposing holds unless it is said again (RFC 3994 §3.3); 0: the protocol's default.
	ActivityRefresh time.Duration
	// SenderName is what the sender calls itself: SIP display name, XMPP nick (XEP-0172). Never an identity.
	SenderName string
	// Links are the files and pages that the content names, in their order. Content still says the same in words.
	Links []Link
	// OriginID is the identifier that the sender's device gave it and that copies share (XEP-0359 origin-id); "" when none.
	OriginID string
	// Copy is what a message keeps when it is sent again, where its protocol has such a thing beside OriginID: SIP's Call-ID, tag of From
	// and CSeq. The core compares it together with OriginID, sender, recipient and content, and reads nothing in it. The adapter knows
	// copies by itself while it runs; the core knows those of what it stored, after a restart too. "" when there is none: XMPP has the
	// OriginID alone, because clients use plain ids again.
	Copy string
	// NoStore tells that the sender wants it in no archive (XEP-0334 no-permanent-store, no-store).
	NoStore bool
	// Object holds the octets of a relayed message/cpim when that is what came, else nil. It is immutable: RFC 3862 §6.
	Object []byte
	// Fallback tells that the content is only what stands beside an encrypted one, for programs that cannot decrypt (XMPP OMEMO and
	// OpenPGP). The encrypted one is not carried.
	Fallback bool
	// Signature is what the gateway found of the content's signature, where its policy asks for a mark. An adapter writes it out beside the
	// content, and never reads it in: nobody else's word for it counts.
	Signature Signature
	// Sent is when the sender wrote it, as far as it said (SIP Date, CPIM DateTime, XEP-0203 delay); zero if not.
	Sent time.Time
	// Hops is MaxForwards (RFC 3860 §3.4.2). The source adapter sets what it received, or DefaultHops where its protocol
	// carries none; the gateway decrements it.
	Hops int
	// Trace names the gateways that the message has passed, the first one first: what an adapter read, at most MaxTrace entries for
	// which IsTraceEntry holds. The gateway adds its own; an adapter writes all of it where its protocol has room. Nobody changes the
	// slice itself.
	Trace []string
	// Wants is what the sender asked to be told later.
	Wants Dispositions
	// Expires is the end of its useful life (SIP Expires); zero means the configured life.
	Expires time.Time
	// Deadline is when the sender's side stops waiting for an answer. The gateway sets it on the way out.
	Deadline time.Time
}

// Signature is what was found of a message's signature.
type Signature uint8

// The findings. SignatureUnchecked is the zero value: nobody asked, or there is none.
const (
	SignatureUnchecked Signature = iota
	SignatureValid               // it is the sender's, of this content
	SignatureInvalid             // it is not, or nobody can tell
)

// String is the finding's name on the wire, "" for SignatureUnchecked.
func (s Signature) String() string {
	switch s {
	case SignatureValid:
		return "valid"
	case SignatureInvalid:
		return "invalid"
	default:
		return ""
	}
}

// DefaultHops is the hop count of a message whose protocol carries none: SIP's own initial value (RFC 3261 §8.1.1.6). RFC
// 3860 §3.4.2 recommends one that is "reasonably large (over one hundred)", but SIP proxies expect theirs.
const DefaultHops = 70

// MaxTrace is how many gateways a message may have passed. The next one takes it for one that goes in a circle.
const MaxTrace = 16

// maxTraceEntry bounds an entry of a trace in octets.
const maxTraceEntry = 32

// IsTraceEntry tells whether s may stand in MessageOp.Trace: 1 to 32 letters, digits and dots.
func IsTraceEntry(s string) bool {
	if s == "" || len(s) > maxTraceEntry {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c-'0' >= 10 && (c|0x20)-'a' >= 26 && c != '.' {
			return false
		}
	}
	return true
}

// AppendTrace appends a trace as both sides write it: its entries with a space between each two.
func AppendTrace(dst []byte, trace []string) []byte {
	for i, entry := range trace {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, entry...)
	}
	return dst
}

// ParseTrace reads what AppendTrace wrote. Nobody is harmed by a trace that is wrong but the message that has it: what is no entry is
// left out, and so is what is beyond MaxTrace.
func ParseTrace(s string) (trace []string) {
	for entry := range strings.FieldsSeq(s) {
		if len(trace) == MaxTrace {
			break
		}
		if IsTraceEntry(entry) {
			trace = append(trace, entry)
		}
	}
	return trace
}

// ReportKind is what a Report says of a message.
type ReportKind uint8

// The report kinds. Delivered and Failed are terminal: a message gets one of them at most.
const (
	ReportDelivered ReportKind = iota + 1
	ReportDisplayed
	ReportFailed
	ReportDelayed
)

// String returns the kind's name for logs and metrics.
func (k ReportKind) String() string {
	switch k {
	case ReportDelivered:
		return "delivered"
	case ReportDisplayed:
		return "displayed"
	case ReportFailed:
		return "failed"
	case ReportDelayed:
		return "delayed"
	default:
		return "none"
	}
}

// Report is the late outcome of a message whose operation was already answered. Nothing ever answers a Report.
type Report struct {
	// ID names the report itself, and is the same each time it is told: who hears it twice, after a crash, can know it by that. 32 hex
	// digits, filled in by the gateway; "" where it has none: the adapter that writes it makes one.
	ID   string
	Kind ReportKind
	// Sender sent the message and is told; Recipient is whom it was for.
	Sender, Recipient Party
	// TransID and Thread are those of the message. An adapter that makes a Report fills in the TransID that it put on
	// the wire; the gateway puts the sender's own in its place before it passes the Report on.
	TransID string
	Thread  string
	// Wants is what the message's Wants was, and Sent when it was sent, or accepted where its sender did not say. The gateway fills
	// both in; an adapter that makes a Report does not know them.
	Wants Dispositions
	Sent  time.Time
	// Status says why, for ReportFailed.
	Status Status
	// Time is when it happened.
	Time time.Time
}
