package watch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// done is one row of the table.
type done struct {
	machine       string
	before, after *State
	event         namedEvent
	effects       []Effect
}

func (d *done) String() string {
	var all []string
	for _, f := range d.effects {
		all = append(all, words(f))
	}
	return fmt.Sprintf("%s\n  in %s\n  on %s\n  %s\n  -> %s", d.machine, d.before.name(), d.event.name, strings.Join(all, " | "), d.after.name())
}

func (d *done) requests(verbs ...adapters.WatchVerb) bool {
	for _, f := range d.effects {
		for _, v := range verbs {
			if f.Request != nil && f.Request.Verb == v {
				return true
			}
		}
	}
	return false
}

func (d *done) told() (all []*adapters.NotifyOp) {
	for _, f := range d.effects {
		if f.Tell != nil {
			all = append(all, f.Tell)
		}
	}
	return all
}

func (d *done) tells(is func(*adapters.NotifyOp) bool) bool {
	for _, n := range d.told() {
		if is(n) {
			return true
		}
	}
	return false
}

func refusal(n *adapters.NotifyOp) bool { return n.Change == adapters.AuthorizationRefused }

// watchers are the sessions that are no polls.
func (s *State) watchers() (all []string) {
	for _, w := range s.sessions {
		if !w.Fetch {
			all = append(all, w.ID)
		}
	}
	return all
}

// transitionRules are what holds in each row of the table, whatever its file says. Each returns what is wrong.
var transitionRules = []struct {
	name string
	rule func(d *done) string
}{
	{"RFC 8048 §5.2.1: nothing while pending", func(d *done) string {
		// "it MUST respond to them on the SIP side but refrain from sending any presence stanzas"
		if d.before.auth == Granted || d.after.auth != Asked {
			return ""
		}
		for _, n := range d.told() {
			i := d.before.session(n.Watch.Session)
			poll := i >= 0 && d.before.sessions[i].Fetch
			if n.Presence != nil && !poll || n.State == adapters.WatchActive || n.Change == adapters.AuthorizationGranted {
				return "something is told before the decision"
			}
		}
		return ""
	}},
	{"an end is told once, and to each watch that ends", func(d *done) string {
		ended := map[string]int{}
		for _, n := range d.told() {
			if n.State == adapters.WatchTerminated {
				ended[n.Watch.Session]++
			}
		}
		for _, w := range d.before.sessions {
			if d.after.session(w.ID) < 0 && ended[w.ID] != 1 && d.event.Heard == nil {
				return fmt.Sprintf("%q is told its end %d times", w.ID, ended[w.ID])
			}
			if d.after.session(w.ID) >= 0 && ended[w.ID] > 0 {
				return fmt.Sprintf("%q is told its end and goes on", w.ID)
			}
		}
		if d.event.Told == nil && d.event.Answered == nil && d.event.Attended == nil {
			return ""
		}
		// The same once more: a NOTIFY that is sent again, a stanza that is repeated.
		again := d.after.clone()
		for _, f := range again.Step(d.event.at(), d.event.Event) {
			if f.Tell != nil && f.Tell.State == adapters.WatchTerminated && ended[f.Tell.Watch.Session] > 0 {
				return "the end is told again when the event is repeated"
			}
		}
		return ""
	}},
	{"no request to a user whose answer is known", func(d *done) string {
		switch {
		case !d.requests(adapters.WatchAsk):
		case d.after.auth != Asked:
			return "a user is asked for what is decided"
		case d.event.Told != nil || d.event.Heard != nil || d.event.Answered != nil:
			return "a user is asked although nobody asks"
		case d.before.askTaken && d.before.upstream == Open && d.event.Asked != nil && d.event.Asked.Verb != adapters.WatchAsk:
			return "her server has the question" // RFC 6121 §3.1.3 shows it once
		case d.before.askTaken && d.before.upstream == Open && d.event.Tick && d.event.at().Sub(d.before.askedAt) < d.before.rules.AskAgain:
			return "it is repeated too early"
		}
		return ""
	}},
	{"RFC 8048 §5.2.2: 403, 489, 603 and rejected are permanent", func(d *done) string {
		// "MUST consider the XMPP presence authorization to be permanently cancelled ... if it receives a SIP response of 403, 489, or 603"
		rejected := d.event.Told != nil && d.event.Told.End == adapters.EndRejected
		if a := d.event.Answered; a != nil && a.Status.End == adapters.EndRejected && a.Serial == d.before.asking {
			rejected = d.before.auth != None
		}
		if !rejected {
			return ""
		}
		if d.after.auth != None || d.after.upstream != Closed || len(d.after.sessions) > 0 || !d.after.retryAt.IsZero() {
			return "something is left of it"
		}
		if d.before.auth != None && !d.tells(refusal) {
			return "nobody is told"
		}
		if d.requests(adapters.WatchAsk, adapters.WatchOpen, adapters.WatchFetch) {
			return "it is asked again"
		}
		return ""
	}},
	{"RFC 8048 §5.2.2: everything else is not", func(d *done) string {
		// "By contrast, ... 423 or 481 ... a transient error"
		passing := d.event.Told != nil && d.event.Told.State == adapters.WatchTerminated && d.event.Told.End != adapters.EndRejected ||
			d.event.Answered != nil && d.event.Answered.Status.Outcome == adapters.Failure && d.event.Answered.Status.End != adapters.EndRejected ||
			d.event.Tick || d.event.Heard != nil || d.event.Attended != nil || d.event.Leaving
		if !passing {
			return ""
		}
		if d.before.auth == Granted && d.after.auth != Granted {
			return "an authorization is lost"
		}
		if d.before.owed != adapters.AuthorizationRefused && d.tells(refusal) {
			return "a refusal is told that nobody gave"
		}
		return ""
	}},
	{"RFC 8048 §5.2.2: a transient error is tried again, and ends no watch", func(d *done) string {
		for _, c := range sipAnswers {
			if d.event.name != "his side: SUBSCRIBE is answered "+c.name || c.permanent || c.never || d.before.upstream == Closed || !d.before.watching() {
				continue
			}
			if d.after.line() != "waiting" || len(d.after.sessions) != len(d.before.sessions) || d.after.auth != d.before.auth {
				return "it is given up"
			}
			if d.after.knows() == "knows" {
				return "what is known no more is kept"
			}
		}
		return ""
	}},
	{"a watch that is over on the presentity's side is not taken for open", func(d *done) string {
		a := d.event.Answered
		if a != nil && (a.Verb == adapters.WatchOpen || a.Verb == adapters.WatchAsk) && a.Serial == d.before.asking &&
			a.Status.Outcome == adapters.Failure && a.Status.State == adapters.WatchTerminated && d.after.upstream != Closed {
			return "it is"
		}
		return ""
	}},
	{"RFC 6665 §4.1.3: when to subscribe again", func(d *done) string {
		n := d.event.Told
		if n == nil || n.State != adapters.WatchTerminated || n.End == adapters.EndRejected || len(d.after.watchers()) == 0 {
			return ""
		}
		again := d.after.retryAt.Sub(d.event.at())
		switch n.End {
		case adapters.EndNoResource, adapters.EndInvariant:
			if !d.after.retryAt.IsZero() {
				return "\"Clients SHOULD NOT attempt to re-subscribe\""
			}
		case adapters.EndProbation, adapters.EndGiveUp, adapters.EndNone:
			if d.after.retryAt.IsZero() || again < n.RetryAfter {
				return "\"Clients SHOULD NOT attempt to re-subscribe until after the number of seconds specified\""
			}
		default:
			if d.after.retryAt.IsZero() || again > d.before.rules.RetryFirst {
				return "it should be soon"
			}
		}
		return ""
	}},
	{"who does not watch is not watched for, and what is open is closed", func(d *done) string {
		if len(d.after.watchers()) > 0 {
			return ""
		}
		if d.after.upstream != Closed || !d.after.retryAt.IsZero() || d.after.document != nil || len(d.after.devices) > 0 {
			return "something goes on"
		}
		// Who ended it from the presentity's side needs not be told.
		if d.before.upstream != Closed && d.event.Told == nil && d.event.Answered == nil && !d.requests(adapters.WatchClose, adapters.WatchCancel) {
			return "the presentity's side is not told"
		}
		return ""
	}},
	{"RFC 8048 §5.3.2: a watch that was told nothing is told nothing, in an empty NOTIFY", func(d *done) string {
		for _, n := range d.told() {
			i := d.before.session(n.Watch.Session)
			if n.State == adapters.WatchActive && n.Presence != nil && len(n.Presence.Tuples) == 0 && i < 0 && !d.before.rules.OneByOne {
				return "a new watch is told that there is nothing"
			}
		}
		return ""
	}},
	{"nobody is told a device to be there that is known no more", func(d *done) string {
		if n := d.event.Told; n == nil || n.State != adapters.WatchTerminated || n.Presence != nil || d.after.document != nil || len(d.after.devices) > 0 {
			return ""
		}
		for _, n := range d.told() {
			if n.Presence == nil {
				continue
			}
			for i := range n.Presence.Tuples {
				if n.Presence.Tuples[i].Status.Basic == pidf.BasicOpen {
					return "a stale open"
				}
			}
		}
		return ""
	}},
	{"an approval is owed only while it stands", func(d *done) string {
		if d.after.owed == adapters.AuthorizationGranted && d.after.auth != Granted || d.after.owed == adapters.AuthorizationRefused && d.after.auth != None {
			return "something will be told that is not so"
		}
		return ""
	}},
	{"what is to be taken back is said in a form that crosses", func(d *done) string {
		// The XMPP side writes nothing of a watch that is pending (RFC 8048 §5.2.1), and takes it all the same.
		if d.before.rules.OneByOne && d.tells(func(n *adapters.NotifyOp) bool { return n.State == adapters.WatchPending && len(n.Withdrawn) > 0 }) {
			return "it is not"
		}
		return ""
	}},
	{"a refresh revives what nobody watches any more", func(d *done) string {
		if op := d.event.Asked; op != nil && op.Verb == adapters.WatchOpen && d.after.watching() && d.after.upstream == Closed && d.after.retryAt.IsZero() {
			return "it watches, and nothing will ever come"
		}
		return ""
	}},
	{"an answer that is older than her wish ends nothing", func(d *done) string {
		if d.event.Attended != nil && d.before.attendsStale && len(d.after.sessions) < len(d.before.sessions) {
			return "it does"
		}
		return ""
	}},
	{"no event but the watcher's own makes an authorization to be asked for", func(d *done) string {
		if d.before.auth == None && d.after.auth != None && d.event.Asked == nil {
			return "it does"
		}
		if d.before.auth != Granted && d.after.auth == Granted && d.event.Asked == nil {
			if n := d.event.Told; n == nil || n.Change != adapters.AuthorizationGranted && n.State != adapters.WatchActive {
				return "it is granted by nobody"
			}
		}
		return ""
	}},
	{"states that may be, and effects that may be", func(d *done) string {
		if why := stepFault(d.before, d.after, d.event.Event, d.effects); why != "" {
			return why
		}
		return d.after.fault(d.event.at())
	}},
}

// T-PR-07, T-PR-12, T-PR-18: what RFC 8048, RFC 6665 and RFC 6121 say of every event in every state. It reads nothing from the table's file, so
// that a table which was rewritten with a fault in it does not pass.
func TestTransitionRules(t *testing.T) {
	met := map[string]bool{}
	for _, m := range ways() {
		for _, e := range m.events {
			for _, s := range m.states {
				d := &done{machine: m.title, before: s, after: s.clone(), event: e}
				d.effects = d.after.Step(e.at(), e.Event)
				for _, r := range transitionRules {
					if why := r.rule(d); why != "" && !met[r.name+e.name] {
						met[r.name+e.name] = true // one of a kind is enough to read
						t.Errorf("%s: %s\n%s", r.name, why, d)
					}
				}
			}
		}
	}
}

// Every state of the table is one that a history leads to, as far as its dimensions go: there is none without an event that leaves it, and
// every authorization, presentity's side and kind of watch is there.
func TestTransitionStates(t *testing.T) {
	for _, m := range ways() {
		seen := map[string]bool{}
		names := map[string]int{}
		for _, s := range m.states {
			seen[s.auth.String()], seen[s.line()], seen[s.watches()] = true, true, true
			names[s.name()]++
		}
		for _, want := range []string{"none", "asked", "granted", "closed", "waiting", "opening", "open", "nobody"} {
			if !seen[want] {
				t.Errorf("%s: no state is %s", m.title, want)
			}
		}
		for name, n := range names {
			if n > 1 {
				t.Errorf("%s: %d states are named %s", m.title, n, name)
			}
		}
		for _, s := range m.states {
			leaves := false
			for _, e := range m.events {
				after := s.clone()
				leaves = leaves || len(after.Step(e.at(), e.Event)) > 0 || after.name() != s.name()
			}
			if !leaves {
				t.Errorf("%s: nothing happens in %s", m.title, s.name())
			}
		}
	}
	if testing.Verbose() {
		for _, m := range ways() {
			t.Logf("%s: %d states x %d events", m.title, len(m.states), len(m.events))
		}
	}
}
