package adapters

import (
	"time"

	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// WatchVerb is what a watcher wants. The subscribe operation of RFC 3859 §3.4.1 has only a duration; both protocols say
// more, so the core tells five wishes apart.
type WatchVerb uint8

// The verbs. A *watch* is short-lived (a SIP dialog, an XMPP presence session); an *authorization* may last for years.
const (
	// WatchAsk asks the presentity for an authorization, and for notifications once it is given: XMPP "subscribe".
	WatchAsk WatchVerb = iota + 1
	// WatchOpen starts or refreshes a watch: a SIP SUBSCRIBE with Expires above 0, an XMPP probe by a server whose user
	// came online. Whether an authorization must be asked for first is the core's to know.
	WatchOpen
	// WatchClose ends the watch and leaves the authorization: SIP Expires 0 in a dialog, the XMPP watcher gone offline.
	WatchClose
	// WatchCancel gives the authorization back, and ends the watch: XMPP "unsubscribe".
	WatchCancel
	// WatchFetch asks for the present state once (RFC 8048 §7): SIP Expires 0 outside of a dialog, an XMPP probe.
	WatchFetch
)

// String returns the verb's name for logs and metrics.
func (v WatchVerb) String() string {
	switch v {
	case WatchAsk:
		return "ask"
	case WatchOpen:
		return "open"
	case WatchClose:
		return "close"
	case WatchCancel:
		return "cancel"
	case WatchFetch:
		return "fetch"
	default:
		return "none"
	}
}

// WatchID names one watch. Comparable.
type WatchID struct {
	// Watcher is told of Presentity; both are pres: addresses.
	Watcher, Presentity cpim.Address
	// Session tells watches of the same pair apart where the watcher's protocol has several (a SIP dialog's identity,
	// opaque to the core); "" where it has one for the pair (XMPP).
	Session string
}

// WatchOp is the subscribe operation of RFC 3859 §3.4.1.
type WatchOp struct {
	// ID names this operation in logs. The gateway sets it.
	ID string
	// Peer is the link it came over.
	Peer  Peer
	Verb  WatchVerb
	Watch WatchID
	// Instance is the watcher's device, "" when not given.
	Instance string
	// TransID identifies the request to its sender (XMPP stanza id); "" when it gave none.
	TransID string
	// Duration is how long the watch is wanted for; 0 for Close, Cancel and Fetch.
	Duration time.Duration
	// Note is what the asking user wrote along, for the presentity to read (XMPP <status/> in "subscribe"); NoteLang its language.
	Note, NoteLang string
	// WatcherName is what the watcher calls itself: SIP display name, XMPP nick (XEP-0172). Never an identity.
	WatcherName string
	// Hops as in MessageOp.
	Hops int
	// Deadline is when the operation must have been answered. The gateway sets it on the way out.
	Deadline time.Time
}

// WatchStatus answers a WatchOp.
type WatchStatus struct {
	Status
	// State is the watch's state as far as the answer tells: only a NOTIFY says more than neutral on SIP (RFC 6665 §8.3.1).
	State WatchState
	// End is EndRejected when the failure ends the authorization: "permanently cancelled" by SIP 403, 489 and 603
	// (RFC 8048 §5.2.2). The reason alone does not tell, because RFC 7247 §7.2 maps these codes to three reasons.
	End EndReason
	// Duration is the granted duration; 0 when there is none.
	Duration time.Duration
}

// WatchState is the state of a watch as its presentity's side tells it (RFC 6665 §4.1.3).
type WatchState uint8

// The states. WatchNeutral is the zero value: nothing is known (RFC 8048 §5.2.1 calls it "neutral").
const (
	WatchNeutral WatchState = iota
	WatchPending
	WatchActive
	WatchTerminated
)

// String returns the state's name as in the SIP Subscription-State header.
func (s WatchState) String() string {
	switch s {
	case WatchPending:
		return "pending"
	case WatchActive:
		return "active"
	case WatchTerminated:
		return "terminated"
	default:
		return "neutral"
	}
}

// EndReason is why a watch was terminated (RFC 6665 §4.1.3).
type EndReason uint8

// The end reasons. Only EndRejected and EndNoResource speak of the authorization; the rest are of the watch alone.
const (
	EndNone EndReason = iota
	EndDeactivated
	EndProbation
	EndRejected
	EndTimeout
	EndGiveUp
	EndNoResource
	EndInvariant
)

// String returns the reason as written in the SIP Subscription-State header; "" for EndNone.
func (r EndReason) String() string {
	switch r {
	case EndDeactivated:
		return "deactivated"
	case EndProbation:
		return "probation"
	case EndRejected:
		return "rejected"
	case EndTimeout:
		return "timeout"
	case EndGiveUp:
		return "giveup"
	case EndNoResource:
		return "noresource"
	case EndInvariant:
		return "invariant"
	default:
		return ""
	}
}

// AuthorizationChange is what happened to an authorization along with a notification.
type AuthorizationChange uint8

// The changes. The zero value is no change.
const (
	AuthorizationUnchanged AuthorizationChange = iota
	// AuthorizationGranted: XMPP "subscribed"; the first SIP NOTIFY that is active.
	AuthorizationGranted
	// AuthorizationRefused: refused, or taken back: XMPP "unsubscribed"; SIP "rejected", 403, 489, 603 (RFC 8048 §5.2.2).
	AuthorizationRefused
)

// NotifyOp is the notify operation of RFC 3859 §3.4.2, in both directions.
type NotifyOp struct {
	// ID names this operation in logs. The gateway sets it.
	ID string
	// Peer is the link it came over.
	Peer Peer
	// Watch names the watch. On the way in from XMPP the Session is "": presence is for the pair.
	Watch WatchID
	// State, with End and Duration (what is left) when it is known. WatchNeutral: this op tells of presence only.
	State    WatchState
	End      EndReason
	Duration time.Duration
	// RetryAfter is how long to wait before the watch may be opened again, as the far side asked; 0 if it did not say.
	RetryAfter time.Duration
	// Change tells of the authorization. On the way out the core decides it; an adapter writes it out.
	Change AuthorizationChange
	// Instance is the presentity's device that this op speaks of, when the op carries one device's state and not the
	// whole (XMPP presence on the way in). Whole is true when Presence is everything known (SIP; always on the way out): on the way in,
	// an active watch with Whole and without Presence is one of whose presentity nothing is known any more.
	Instance string
	Whole    bool
	// Presence is the document; nil when the op carries none. On the way in with Whole false it has one tuple, or none and one
	// person: what the user says of herself, apart from her devices (XMPP mood and activity); a person without Rich takes that back.
	Presence *pidf.Presence
	// Sealed is Presence as the presentity's own device signed or encrypted it by S/MIME (RFC 3859 §4): an object of a type that
	// mimebody.SMIME knows, whose octets cross untouched, without a transfer encoding. Presence is never nil beside it, and is for those
	// who cannot open it: what was signed in clear, or what else was said. nil when there is none. It stands for the whole of the
	// presentity until its side says something else.
	Sealed *Content
	// Withdrawn lists the tuples that an earlier Presence of this watch had and this one has not, on the way out.
	Withdrawn []pidf.ID
	// Language is the language of the presence as a whole where it says one (XMPP xml:lang of the stanza, SIP Content-Language;
	// RFC 8048 §6): that of texts in Presence without a language of their own. "" when not given.
	Language string
	// Failure is set on the way out when the watch cannot be opened for a reason that will not pass and that says nothing
	// of the authorization (no such user, an address that cannot be carried): XMPP presence of type "error". Its Outcome
	// is 0 otherwise.
	Failure Status
	// Kept, unless it is nil, is called by the gateway once, from any goroutine, when what the operation changed survives a crash (or
	// at once, where it changed nothing that must). On the way in, where the protocol has an acknowledgement that the far side relies
	// on (XEP-0198; a SIP 2xx), it is given after that: else an approval that was acknowledged could be lost. nil on the way out.
	Kept func()
	// Deadline as in WatchOp.
	Deadline time.Time
}
