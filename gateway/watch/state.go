// Package watch is the rules of presence between two networks, as a pure state machine: Step takes what happened and
// returns what to do. It knows no clock, no socket and no adapter.
//
// One State is for one pair of watcher and presentity. It keeps three things with three lifetimes apart (RFC 8048 §5.1):
// the authorization, which may last for years; the watches that are open on the watcher's side, each as long as a SIP
// dialog or an XMPP presence session; and what the presentity's side last said.
package watch

import (
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// Authorization is what the presentity's side has decided about the watcher, as far as it is known.
type Authorization uint8

// The authorizations.
const (
	// None: not asked for, refused, or given back.
	None Authorization = iota
	// Asked: the presentity's side has been asked and has not decided. Nothing of the presentity may be told.
	Asked
	// Granted: the watcher may be told.
	Granted
)

// String returns the authorization's name.
func (a Authorization) String() string {
	switch a {
	case Asked:
		return "asked"
	case Granted:
		return "granted"
	default:
		return "none"
	}
}

// Upstream is whether the presentity's side is being watched.
type Upstream uint8

// The states of the presentity's side.
const (
	// Closed: nothing is open there.
	Closed Upstream = iota
	// Opening: a request to open is under way.
	Opening
	// Open: the request was taken; the adapter keeps the watch alive until it says that it ended.
	Open
)

// Rules are what the two sides' protocols and the configuration make of the same machine. They do not change during the
// life of a State.
type Rules struct {
	// AsksExplicitly is the presentity's side's adapters.Capabilities.AsksExplicitly.
	AsksExplicitly bool
	// Sessions bounds the open watches of the pair, Devices the presentity's devices that are told of.
	Sessions, Devices int
	// Duration is asked for where the watcher's protocol has no duration of its own.
	Duration time.Duration
	// FetchWait is how long a fetch waits for an answer.
	FetchWait time.Duration
	// RetryFirst and RetryMost bound the wait before a watch that ended or failed for a passing reason is opened again.
	// It doubles from the first to the most.
	RetryFirst, RetryMost time.Duration
}

// Session is one open watch on the watcher's side.
type Session struct {
	// ID is the WatchID.Session: opaque, "" where the watcher's protocol has one watch for the pair.
	ID string
	// Until is when it expires unless it is refreshed; zero where the watcher's protocol has no expiry.
	Until time.Time
	// Fetch is true for a watch that ends with its first notification.
	Fetch bool
}

// Device is what is known of one device of a presentity whose side tells of devices one by one.
type Device struct {
	// Instance is the device's name, Tuple its state.
	Instance string
	Tuple    pidf.Tuple
}

// State is everything about one pair. Made by New, changed by Step only; owned by one goroutine.
type State struct {
	watcher, presentity cpim.Address
	rules               Rules

	auth     Authorization
	sessions []Session
	upstream Upstream
	asking   uint64    // the serial of the last request to ask or open
	openedAt time.Time // when it was last asked to open
	attempt  int       // failed attempts to open since the presentity's side last said anything
	retryAt  time.Time // when to open again; zero: not by itself

	devices  []Device       // told one by one (XMPP)
	document *pidf.Presence // told as a whole (SIP); nil if nothing was
	person   *pidf.Person   // of one whose devices are told one by one; nil if nothing was told of her
	stamp    time.Time      // of the last document composed here
}

// New returns the state of a pair that nothing is known of.
func New(watcher, presentity cpim.Address, rules Rules) *State {
	return &State{watcher: watcher, presentity: presentity, rules: rules}
}

// Authorization returns what the presentity's side decided.
func (s *State) Authorization() Authorization { return s.auth }

// Upstream returns whether the presentity's side is being watched.
func (s *State) Upstream() Upstream { return s.upstream }

// Sessions returns the open watches, for reading only.
func (s *State) Sessions() []Session { return s.sessions }

// Idle tells that the state holds nothing that a new one would not: it can be forgotten.
func (s *State) Idle() bool {
	return s.auth == None && s.Resting()
}

// Resting tells that nobody watches and nothing is under way: at most an authorization is kept. It can be forgotten when room is
// needed, because the presentity's side keeps it too, and says so when it is asked again (RFC 6121 §3.1.3 rule 2).
func (s *State) Resting() bool {
	return len(s.sessions) == 0 && s.upstream == Closed && s.retryAt.IsZero()
}

// watching tells whether a watch is open: a fetch is none.
func (s *State) watching() bool {
	return slices.ContainsFunc(s.sessions, func(w Session) bool { return !w.Fetch })
}

// Wake returns when Step must be called with a Tick at the latest; zero if time changes nothing.
func (s *State) Wake() time.Time {
	wake := s.retryAt
	for _, w := range s.sessions {
		if !w.Until.IsZero() && (wake.IsZero() || w.Until.Before(wake)) {
			wake = w.Until
		}
	}
	return wake
}

func (s *State) session(id string) int {
	return slices.IndexFunc(s.sessions, func(w Session) bool { return w.ID == id })
}

// Event is something that happened; exactly one of its fields is set.
type Event struct {
	// Asked: the watcher's side wants something.
	Asked *adapters.WatchOp
	// Told: the presentity's side said something.
	Told *adapters.NotifyOp
	// Answered: the presentity's side answered a Request effect.
	Answered *Answer
	// Heard: the watcher's side answered a Tell effect.
	Heard *Hearing
	// Tick: time has passed.
	Tick bool
}

// Answer is the outcome of a Request, with the Verb and the Serial of that Request.
type Answer struct {
	Verb   adapters.WatchVerb
	Serial uint64
	Status adapters.WatchStatus
}

// Hearing is the outcome of a Tell.
type Hearing struct {
	Session string
	Status  adapters.Status
}

// Effect is something to do; exactly one of its fields is set. Effects are done in order; a Request and a Tell may wait
// for the network, and their outcome comes back as an event.
type Effect struct {
	// Respond answers the WatchOp of this Step's event. A Step on an Asked event has exactly one.
	Respond *adapters.WatchStatus
	// Request asks the presentity's side.
	Request *Request
	// Tell tells the watcher's side.
	Tell *adapters.NotifyOp
	// Dropped says why presence was told to nobody, for counting.
	Dropped Drop
}

// Request is a wish for the presentity's side.
type Request struct {
	Verb adapters.WatchVerb
	// Serial tells a request to ask or open from earlier ones of the same State, whose answers may come after it was made.
	Serial   uint64
	Duration time.Duration
	// Note, in NoteLang, is what the watcher wrote along, and Name what it calls itself; both only where the user is asked.
	Note, NoteLang string
	Name           string
	Instance       string
}

// Drop is why presence was told to nobody: a fixed set, it labels a metric.
type Drop string

// The drops.
const (
	// DropUnasked: nobody on the watcher's side watches, or may (T-PR-21).
	DropUnasked Drop = "unasked"
	// DropPending: the authorization has not been given yet (RFC 8048 §5.2.1).
	DropPending Drop = "pending"
	// DropDevices: the presentity has more devices than are told of.
	DropDevices Drop = "devices"
	// DropOutdated: a newer document was told before (RFC 3863 §6).
	DropOutdated Drop = "outdated"
)
