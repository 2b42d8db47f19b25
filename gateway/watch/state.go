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
	// It doubles from the first to the most. So does the wait before the watcher's side is told again what it did not take.
	RetryFirst, RetryMost time.Duration
	// Spread has these waits differ from pair to pair by up to a quarter, so that many that failed together do not come back
	// together.
	Spread bool
	// OneByOne is the watcher's side's adapters.Capabilities.OneByOne: she is told which tuples are gone, and of authorizations in words
	// of their own, which are said again until her side has taken them.
	OneByOne bool
	// Attends tells that the watcher's side can be asked whether she is online (adapters.Attendant).
	Attends bool
	// Doubt is how long watchers keep what they were told while the presentity's side is asked again, after an end that can be mended
	// at once or after a restart. Then it is unknown. Zero: not at all.
	Doubt time.Duration
	// Grace is how long watchers keep what they were told after the way to the presentity's side broke: if it is not back by then, it is
	// unknown. When it is back, her side has as long to answer. Zero: not at all.
	Grace time.Duration
	// Recheck is how old the last question to the presentity's side may be when a watcher refreshes, where that side has no refresh of
	// its own (AsksExplicitly): an older one is put again, so that a side which is dead is found out. Zero: never.
	Recheck time.Duration
	// AskAgain is when the presentity's user, who has not decided, is asked again: "the user's server SHOULD resend the subscription
	// request ... after a certain amount of time" (RFC 6121 §3.1.2). Her server shows no second request (RFC 6121 §A.3.1), but
	// answers one that was decided while nobody could be told. Zero: never.
	AskAgain time.Duration
	// DebtLife is how long what the watcher's side did not take is said again, zero for once, and how long a question is kept whose watcher is away.
	DebtLife time.Duration
	// Late: there are several gateways, so what a user decides may come late (Event.Again), also after the one that keeps the pair was restarted.
	Late bool
}

// Session is one open watch on the watcher's side.
type Session struct {
	// ID is the WatchID.Session: opaque, "" where the watcher's protocol has one watch for the pair.
	ID string
	// Until is when it expires unless it is refreshed; zero where the watcher's protocol has no expiry.
	Until time.Time
	// Fetch is true for a watch that ends with its first notification.
	Fetch bool
	// told is the serial of the last Tell effect for it.
	told uint64
	// missed: something was told to it that it did not take, and nothing since that it took.
	missed bool
}

// Device is what is known of one device of a presentity whose side tells of devices one by one.
type Device struct {
	// Instance is the device's name, Tuple its state.
	Instance string
	Tuple    pidf.Tuple
	// Doubted: it was told before the way to the presentity's side broke, and not again since.
	Doubted bool
}

// State is everything about one pair. Made by New or Restore, changed by Step only; owned by one goroutine.
type State struct {
	watcher, presentity cpim.Address
	rules               *Rules

	auth     Authorization
	upstream Upstream
	askTaken bool // the presentity's side has taken the request that asks its user
	revoking bool // the presentity's side has not taken yet that the authorization was given back
	unsaid   bool // a session was told something that it did not take, and was not told again
	attends  bool // the watcher's side is being asked whether she is online
	// attendsStale: she has asked for something since that question was put, so the answer may be older than that.
	attendsStale bool
	toldSome     bool // a document was told to a watch that is open
	restored     bool // nothing was asked of the presentity's side since the restart
	severed      bool // the way to the presentity's side broke, and is not back
	owed         adapters.AuthorizationChange
	attempt      uint8 // failed attempts to open since the presentity's side last said anything
	debts        uint8 // failed attempts to tell or to give back
	seed         uint32

	sessions []Session
	asking   uint64 // the serial of the last request to ask, open or cancel
	revoked  uint64 // that of the last cancel
	telling  uint64 // the serial of the last Tell
	toldBare uint64 // that of the last Tell for Session ""
	toldOwed uint64 // that of the Tell that says what is owed; 0: none does, as after a restart, or when it was not taken

	lasts     time.Duration // of the watch on the presentity's side; zero: not said
	since     time.Time     // when the authorization became what it is: when it was asked for, or granted, by the clock of who took that; zero: not known
	wanted    time.Time     // when the watcher last asked for it in so many words
	openedAt  time.Time     // when it was last asked to open
	retryAt   time.Time     // when to open again; zero: not by itself
	askedAt   time.Time     // when the presentity's user was last asked
	probeAt   time.Time     // when to ask for presence that should have come with an approval; zero: not
	attendAt  time.Time     // when to ask whether the watcher is online; zero: not
	doubtAt   time.Time     // when what was told is unknown unless the presentity's side says something; zero: it is not in doubt
	debtAt    time.Time     // when to tell or to give back again; zero: not
	debtSince time.Time

	ending []ending // the watches whose end was told and not taken

	devices  []Device          // told one by one (XMPP)
	document *pidf.Presence    // told as a whole (SIP); nil if nothing was
	sealed   *adapters.Content // what is known, as the presentity's device signed or encrypted it; nil if the last that was said was neither
	person   *pidf.Person      // of one whose devices are told one by one; nil if nothing was told of her
	stamp    time.Time         // of the last document composed here
	shown    []pidf.ID         // the tuples that the watches were told of and that were not closed
	gone     []pidf.ID         // those that she was told are gone, and has not taken yet; only where OneByOne
}

// New returns the state of a pair that nothing is known of. rules must not change.
func New(watcher, presentity cpim.Address, rules *Rules) *State {
	s := &State{watcher: watcher, presentity: presentity, rules: rules, seed: 2166136261}
	for _, part := range [...]string{watcher.Local(), watcher.Domain(), presentity.Local(), presentity.Domain()} {
		for i := range len(part) {
			s.seed = (s.seed ^ uint32(part[i])) * 16777619 // FNV-1a: nothing is at stake
		}
	}
	return s
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
	return len(s.sessions) == 0 && s.upstream == Closed && s.retryAt.IsZero() && !s.indebted()
}

// indebted tells that something must be said again until it is taken.
func (s *State) indebted() bool {
	return s.owed != adapters.AuthorizationUnchanged || len(s.gone) > 0 || s.revoking || len(s.ending) > 0
}

// ending is the end of a watch that its watcher's side was told of, by the Tell with this serial.
type ending struct {
	id     string
	end    adapters.EndReason
	shown  bool // with a document in which all is closed
	serial uint64
}

// Known are the open watches, fetches aside, and those whose end was not taken yet.
func (s *State) Known() (sessions []string) {
	for _, w := range s.sessions {
		if !w.Fetch {
			sessions = append(sessions, w.ID)
		}
	}
	for _, e := range s.ending {
		sessions = append(sessions, e.id)
	}
	return sessions
}

// Wants tells whether the request to ask or open with this serial still counts: one that waits for its turn may be left out else. That the
// presentity's side has said something meanwhile does not answer it: that may be of a watch before it, whose end is under way.
func (s *State) Wants(serial uint64) bool { return s.upstream != Closed && serial == s.asking }

// watching tells whether a watch is open: a fetch is none.
func (s *State) watching() bool {
	return slices.ContainsFunc(s.sessions, func(w Session) bool { return !w.Fetch })
}

// askAgainAt is when the presentity's user is asked once more; zero: not.
func (s *State) askAgainAt() time.Time {
	if s.auth != Asked || !s.rules.AsksExplicitly || s.upstream != Open || s.rules.AskAgain <= 0 || s.askedAt.IsZero() {
		return time.Time{}
	}
	return s.askedAt.Add(s.rules.AskAgain)
}

// Wake returns when Step must be called with a Tick at the latest; zero if time changes nothing.
func (s *State) Wake() time.Time {
	wake := s.retryAt
	for _, at := range [...]time.Time{s.probeAt, s.attendAt, s.doubtAt, s.debtAt, s.askAgainAt()} {
		if !at.IsZero() && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
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

// Event is something that happened; exactly one of its fields is set, beside Taken and Again.
type Event struct {
	// Asked: the watcher's side wants something.
	Asked *adapters.WatchOp
	// Told: the presentity's side said something.
	Told *adapters.NotifyOp
	// Taken is when a decision in Told, or what is Asked, was taken from its user's server, where it may be said late; zero: now. Again: it may
	// have been said before, or others before it (see obsolete).
	Taken time.Time
	Again bool
	// Answered: the presentity's side answered a Request effect.
	Answered *Answer
	// Heard: the watcher's side answered a Tell effect.
	Heard *Hearing
	// Attended: the watcher's side answered an Attend effect.
	Attended *adapters.Attendance
	// Leaving: the watcher told somebody that a device of hers went away; she may be offline.
	Leaving bool
	// Severed: the way to the presentity's side broke. Mended: it is there again.
	Severed, Mended bool
	// Tried: somebody has to find out whether a way that broke carries again, and it is this pair.
	Tried bool
	// WatcherMended: the way to the watcher's side is there again.
	WatcherMended bool
	// Tick: time has passed.
	Tick bool
}

// Answer is the outcome of a Request, with the Verb and the Serial of that Request.
type Answer struct {
	Verb   adapters.WatchVerb
	Serial uint64
	Status adapters.WatchStatus
}

// Hearing is the outcome of a Tell, with the Session and the Serial of that effect.
type Hearing struct {
	Session string
	Serial  uint64
	Status  adapters.Status
}

// Effect is something to do; exactly one of its fields is set. Effects are done in order; a Request and a Tell may wait
// for the network, and their outcome comes back as an event.
type Effect struct {
	// Respond answers the WatchOp of this Step's event. A Step on an Asked event has exactly one.
	Respond *adapters.WatchStatus
	// Request asks the presentity's side.
	Request *Request
	// Tell tells the watcher's side. Serial tells it from other ones of the same State.
	Tell   *adapters.NotifyOp
	Serial uint64
	// Attend asks the watcher's side whether she is online.
	Attend bool
	// Dropped says why presence was told to nobody, for counting.
	Dropped Drop
}

// Request is a wish for the presentity's side.
type Request struct {
	Verb adapters.WatchVerb
	// Again tells that nobody waits for it: what was asked before is asked once more, and may wait for its turn among many.
	Again bool
	// Serial tells a request to ask, open or cancel from earlier ones of the same State, whose answers may come after it was made.
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
