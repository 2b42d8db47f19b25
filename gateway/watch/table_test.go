package watch

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/pidf"
)

var update = flag.Bool("update", false, "rewrite testdata/transitions.txt; read what has changed in it")

// machine is one of the two ways of a watch, with every state and every event that there may be in it.
type machine struct {
	title, watcher, presentity string
	states                     []*State
	events                     []namedEvent
}

// ways are the two ways, with the rules that the gateway gives them.
func ways() []machine {
	rules := func() *Rules {
		return &Rules{
			Sessions: 3, Devices: 2, Duration: time.Hour, FetchWait: 2 * time.Second, RetryFirst: 30 * time.Second, RetryMost: 30 * time.Minute,
			Doubt: time.Minute, AskAgain: 24 * time.Hour, DebtLife: 7 * 24 * time.Hour,
			Grace: 30 * time.Second, Recheck: time.Hour,
		}
	}
	toSIP, toXMPP := rules(), rules()
	toSIP.OneByOne, toSIP.Attends = true, true
	toXMPP.AsksExplicitly = true
	d1, d2, poll := Session{ID: "d1", Until: noon.Add(time.Hour), told: 5}, Session{ID: "d2", Until: noon.Add(time.Minute), told: 6}, Session{ID: "poll", Fetch: true, Until: noon.Add(2 * time.Second)}
	return []machine{
		{"an XMPP user watches a SIP user", "her server", "his side", statesOf(toSIP, [][]Session{nil, {{told: 5}}, {{Fetch: true, Until: poll.Until}}}), eventsOfSIP()},
		{"a SIP user watches an XMPP user", "his user agent", "her server", statesOf(toXMPP, [][]Session{nil, {d1}, {d1, d2}, {poll}, {d1, poll}}), eventsOfXMPP()},
	}
}

// statesOf is every state that may be: authorization, presentity's side, watches, what was told, and each of the flags.
func statesOf(rules *Rules, watches [][]Session) []*State {
	var all []*State
	for _, auth := range []Authorization{None, Asked, Granted} {
		for _, line := range []string{"closed", "waiting", "opening", "open"} {
			for _, sessions := range watches {
				for _, told := range []bool{false, true} {
					for _, flag := range []string{"", "owes granted", "owes refused", "revoking", "in doubt", "restored", "restored, asking", "attends", "attends, stale", "severed", "owes gone"} {
						s := New(watcherAddress, presentityAddress, rules)
						s.auth, s.sessions, s.asking, s.telling = auth, slices.Clone(sessions), 7, 6
						switch line {
						case "waiting":
							s.retryAt = noon.Add(30 * time.Second)
						case "opening":
							s.upstream, s.openedAt = Opening, noon.Add(-time.Second)
						case "open":
							s.upstream, s.openedAt, s.lasts = Open, noon.Add(-time.Hour), time.Hour
							s.askTaken = auth == Asked
						}
						if auth == Asked && rules.AsksExplicitly {
							s.askedAt = noon.Add(-time.Hour)
						}
						if told {
							s.shown, s.toldSome = []pidf.ID{pidf.TupleID("a")}, true
							if rules.AsksExplicitly {
								s.devices = []Device{{Instance: "a", Tuple: tuple("a", pidf.BasicOpen)}}
							} else {
								s.document = tuples(tuple("a", pidf.BasicOpen))
							}
						}
						if s.flag(flag, line, told) && s.fault(noon) == "" {
							all = append(all, s)
						}
					}
				}
			}
		}
	}
	return all
}

// flag sets one flag, and tells whether it may be in a state that is otherwise like s.
func (s *State) flag(name, line string, told bool) bool {
	toXMPP := s.rules.OneByOne
	if toXMPP && s.watching() && line == "open" {
		s.attendAt = noon.Add(36 * time.Minute)
	}
	owe := func() {
		s.debtAt, s.debtSince, s.debts, s.toldBare, s.toldOwed = noon.Add(30*time.Second), noon, 1, 5, 5
	}
	switch name {
	case "owes granted":
		s.owed = adapters.AuthorizationGranted
		owe()
		return toXMPP && s.auth == Granted && s.watching()
	case "owes gone":
		s.gone = []pidf.ID{pidf.TupleID("gone")}
		owe()
		return toXMPP && s.watching() && s.auth != None && (!told || s.auth == Granted)
	case "owes refused":
		s.owed = adapters.AuthorizationRefused
		owe()
		return toXMPP && s.auth == None && len(s.sessions) == 0
	case "revoking":
		s.revoking, s.revoked = true, 7
		owe()
		return s.rules.AsksExplicitly && s.auth == None
	case "in doubt": // told, known no more, and to be asked again
		s.devices, s.document = nil, nil
		s.doubtAt = noon.Add(time.Minute)
		return told && s.auth == Granted && s.watching() && line != "open" && line != "closed"
	case "restored":
		s.devices, s.document, s.restored = nil, nil, true
		s.doubtAt = noon.Add(time.Minute)
		return told && s.auth == Granted && s.watching() && line == "waiting"
	case "restored, asking":
		s.document, s.restored, s.attends = nil, true, true
		s.doubtAt = noon.Add(time.Minute)
		return toXMPP && told && s.auth == Granted && s.watching() && line == "closed"
	case "severed":
		s.severed = true
		s.doubtAt = noon.Add(30 * time.Second)
		for i := range s.devices {
			s.devices[i].Doubted = true
		}
		return s.watching() && line == "open" && (s.auth == Granted || !told)
	case "attends", "attends, stale":
		s.attends, s.attendsStale = true, name != "attends"
		return toXMPP && s.watching() && line == "open"
	}
	return !told || s.auth == Granted && s.watching()
}

func (s *State) line() string {
	switch {
	case s.upstream == Closed && !s.retryAt.IsZero():
		return "waiting"
	default:
		return [...]string{"closed", "opening", "open"}[s.upstream]
	}
}

func (s *State) watches() string {
	var ids []string
	for _, w := range s.sessions {
		switch {
		case w.ID != "":
			ids = append(ids, w.ID)
		case w.Fetch:
			ids = append(ids, "a-question")
		default:
			ids = append(ids, "watching")
		}
	}
	if len(ids) == 0 {
		return "nobody"
	}
	return strings.Join(ids, "+")
}

func (s *State) knows() string {
	switch {
	case s.document != nil || len(s.devices) > 0:
		return "knows"
	case len(s.shown) > 0 || len(s.gone) > 0:
		return "told"
	}
	return ""
}

func (s *State) flags() string {
	var all []string
	add := func(is bool, what string) {
		if is {
			all = append(all, what)
		}
	}
	add(s.owed == adapters.AuthorizationGranted, "owes-granted")
	add(s.owed == adapters.AuthorizationRefused, "owes-refused")
	add(len(s.gone) > 0, "owes-gone")
	add(s.revoking, "revoking")
	add(s.unsaid, "unsaid")
	add(!s.doubtAt.IsZero(), "in-doubt")
	add(s.restored, "restored")
	add(s.attends, "attends")
	add(s.attendsStale, "stale")
	add(s.severed, "severed")
	return strings.Join(all, " ")
}

// name is a state in words: authorization, presentity's side, watches, what is known, flags.
func (s *State) name() string {
	return strings.Join(strings.Fields(strings.Join([]string{s.auth.String(), s.line(), s.watches(), s.knows(), s.flags()}, " ")), " ")
}

// became is what is different in after.
func became(before, after *State, now time.Time) string {
	var all []string
	differ := func(what, a, b string) {
		if a != b {
			if b == "" {
				b = "none"
			}
			all = append(all, what+" "+b)
		}
	}
	differ("authorization", before.auth.String(), after.auth.String())
	differ("presentity's side", before.line(), after.line())
	if !after.retryAt.Equal(before.retryAt) && !after.retryAt.IsZero() {
		all = append(all, fmt.Sprint("again in ", after.retryAt.Sub(now)))
	}
	differ("watches", before.watches(), after.watches())
	differ("presence", before.knows(), after.knows())
	differ("flags", before.flags(), after.flags())
	return strings.Join(all, "; ")
}

// words is an effect for a reader.
func words(f Effect) string {
	switch {
	case f.Respond != nil:
		return strings.TrimSpace(fmt.Sprintf("answer %v, %v %s", f.Respond.Outcome, f.Respond.State, reasonOf(f.Respond.Reason)))
	case f.Request != nil:
		return "request " + f.Request.Verb.String()
	case f.Attend:
		return "ask whether she is online"
	case f.Dropped != "":
		return "dropped: " + string(f.Dropped)
	}
	n := f.Tell
	line := "tell " + strings.ReplaceAll(n.Watch.Session+" ", "  ", " ") + n.State.String()
	if n.Watch.Session == "" {
		line = "tell " + n.State.String()
	}
	if n.End != adapters.EndNone {
		line += ";" + n.End.String()
	}
	switch n.Change {
	case adapters.AuthorizationGranted:
		line += ", SUBSCRIBED"
	case adapters.AuthorizationRefused:
		line += ", UNSUBSCRIBED"
	}
	if n.Failure.Outcome != 0 {
		line += ", error " + n.Failure.Reason.String()
	}
	if n.Presence != nil {
		line += ", presence " + documentOf(n.Presence)
	}
	if len(n.Withdrawn) > 0 {
		line += fmt.Sprintf(", %d withdrawn", len(n.Withdrawn))
	}
	return line
}

func reasonOf(r adapters.Reason) string {
	if r == adapters.ReasonNone {
		return ""
	}
	return r.String()
}

func documentOf(p *pidf.Presence) string {
	if len(p.Tuples) == 0 {
		return "without a tuple"
	}
	var all []string
	for i := range p.Tuples {
		id, _ := p.Tuples[i].ID.Resource()
		all = append(all, fmt.Sprintf("%q=%v", id, p.Tuples[i].Status.Basic))
	}
	return strings.Join(all, ",")
}

// eventsOfSIP are those of an XMPP watcher and a SIP presentity.
func eventsOfSIP() []namedEvent {
	var all []namedEvent
	add := func(name string, e Event) { all = append(all, namedEvent{name, e}) }
	for _, verb := range []adapters.WatchVerb{adapters.WatchAsk, adapters.WatchOpen, adapters.WatchFetch, adapters.WatchCancel, adapters.WatchClose} {
		stanza := map[adapters.WatchVerb]string{
			adapters.WatchAsk: "<presence type='subscribe'/>", adapters.WatchOpen: "<presence type='probe'/> of a bare address",
			adapters.WatchFetch: "<presence type='probe'/> of a full address", adapters.WatchCancel: "<presence type='unsubscribe'/>",
		}[verb]
		if stanza == "" {
			stanza = "no stanza"
		}
		add("her server: "+stanza+" ("+verb.String()+")", Event{Asked: &adapters.WatchOp{Verb: verb}})
	}
	add("her server: a device of hers went offline", Event{Leaving: true})
	for _, a := range []adapters.Attendance{adapters.AttendancePresent, adapters.AttendanceAbsent, adapters.AttendanceUnknown} {
		add("her server: asked whether she is online: "+a.String(), Event{Attended: &a})
	}
	a, b, closed := tuples(tuple("a", pidf.BasicOpen)), tuples(tuple("b", pidf.BasicOpen)), tuples(tuple("a", pidf.BasicClosed))
	notify := func(what string, op adapters.NotifyOp) {
		op.Whole = true
		add("his side: "+what, Event{Told: &op})
	}
	notify("the first NOTIFY active, a document", adapters.NotifyOp{State: adapters.WatchActive, Change: adapters.AuthorizationGranted, Presence: a})
	notify("the first NOTIFY active, no body", adapters.NotifyOp{State: adapters.WatchActive, Change: adapters.AuthorizationGranted})
	notify("NOTIFY active, a document", adapters.NotifyOp{State: adapters.WatchActive, Presence: a})
	notify("NOTIFY active, a document with another tuple", adapters.NotifyOp{State: adapters.WatchActive, Presence: b})
	notify("NOTIFY active, a document that is closed", adapters.NotifyOp{State: adapters.WatchActive, Presence: closed})
	notify("NOTIFY active, a document without a tuple", adapters.NotifyOp{State: adapters.WatchActive, Presence: tuples()})
	notify("NOTIFY active, no body", adapters.NotifyOp{State: adapters.WatchActive})
	notify("NOTIFY pending", adapters.NotifyOp{State: adapters.WatchPending})
	notify("NOTIFY pending, a document", adapters.NotifyOp{State: adapters.WatchPending, Presence: a})
	notify("presence of no watch", adapters.NotifyOp{Presence: a})
	for end := adapters.EndNone; end <= adapters.EndInvariant; end++ {
		change := adapters.AuthorizationUnchanged
		if end == adapters.EndRejected {
			change = adapters.AuthorizationRefused
		}
		name := "NOTIFY terminated"
		if end != adapters.EndNone {
			name += ";reason=" + end.String()
		}
		notify(name, adapters.NotifyOp{State: adapters.WatchTerminated, End: end, Change: change})
		switch end {
		case adapters.EndTimeout, adapters.EndInvariant:
			notify(name+", a document", adapters.NotifyOp{State: adapters.WatchTerminated, End: end, Presence: a})
		case adapters.EndProbation, adapters.EndGiveUp, adapters.EndNone:
			notify(name+";retry-after=300", adapters.NotifyOp{State: adapters.WatchTerminated, End: end, RetryAfter: 5 * time.Minute})
		}
	}
	for _, c := range sipAnswers {
		st := adapters.WatchStatus{Status: adapters.Status{Outcome: adapters.Failure, Reason: c.reason, Code: c.code}, State: adapters.WatchTerminated}
		if c.permanent {
			st.End = adapters.EndRejected
		}
		if c.code == 503 {
			st.RetryAfter = 5 * time.Minute
		}
		add("his side: SUBSCRIBE is answered "+c.name, Event{Answered: &Answer{Verb: adapters.WatchOpen, Serial: 7, Status: st}})
	}
	ok := adapters.WatchStatus{Status: adapters.Succeeded(), Duration: time.Hour}
	add("his side: SUBSCRIBE is answered 200", Event{Answered: &Answer{Verb: adapters.WatchOpen, Serial: 7, Status: ok}})
	late := adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonForbidden, ""), End: adapters.EndRejected}
	add("his side: a SUBSCRIBE before the last is answered 403", Event{Answered: &Answer{Verb: adapters.WatchOpen, Serial: 6, Status: late}})
	alive := adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, ""), State: adapters.WatchActive, Duration: time.Minute}
	add("his side: a refresh is not answered, the dialog has time left", Event{Answered: &Answer{Verb: adapters.WatchOpen, Serial: 7, Status: alive}})
	add("his side: SUBSCRIBE with Expires 0 is answered 200", Event{Answered: &Answer{Verb: adapters.WatchClose, Serial: 7, Status: ok}})
	add("her server took the last stanza", Event{Heard: &Hearing{Serial: 5, Status: adapters.Accepted()}})
	add("her server took an earlier stanza", Event{Heard: &Hearing{Serial: 4, Status: adapters.Accepted()}})
	for _, r := range []adapters.Reason{adapters.ReasonServiceUnavailable, adapters.ReasonDomainTimeout} {
		add("her server refused the last stanza: "+r.String(), Event{Heard: &Hearing{Serial: 5, Status: adapters.Failed(r, "")}})
	}
	return append(all, ticks()...)
}

// sipAnswers are the final failures of a SUBSCRIBE. The adapter's table of codes is its own test; this is what the adapter makes of them.
var sipAnswers = []struct {
	name      string
	code      int
	reason    adapters.Reason
	permanent bool // RFC 8048 §5.2.2
	never     bool // trying again changes nothing, and the authorization is not touched
}{
	{"403", 403, adapters.ReasonForbidden, true, false},
	{"489", 489, adapters.ReasonPolicyViolation, true, false},
	{"603", 603, adapters.ReasonRecipientUnavailable, true, false},
	{"400", 400, adapters.ReasonBadRequest, false, true},
	{"404", 404, adapters.ReasonNotFound, false, true},
	{"405", 405, adapters.ReasonNotImplemented, false, true},
	{"410", 410, adapters.ReasonGone, false, true},
	{"482", 482, adapters.ReasonLoop, false, true},
	{"604", 604, adapters.ReasonNotFound, false, true},
	{"401", 401, adapters.ReasonNotAuthenticated, false, false},
	{"408", 408, adapters.ReasonDomainTimeout, false, false},
	{"423", 423, adapters.ReasonOverloaded, false, false},
	{"480", 480, adapters.ReasonRecipientUnavailable, false, false},
	{"481", 481, adapters.ReasonNotFound, false, false},
	{"500", 500, adapters.ReasonInternal, false, false},
	{"501", 501, adapters.ReasonNotImplemented, false, false},
	{"503, Retry-After 300", 503, adapters.ReasonInternal, false, false},
	{"504", 504, adapters.ReasonDomainTimeout, false, false},
	{"600", 600, adapters.ReasonRecipientUnavailable, false, false},
	{"nothing", 0, adapters.ReasonDomainTimeout, false, false},
	{"nothing: no such domain", 0, adapters.ReasonDomainNotFound, false, false},
	{"nothing: the gateway is overloaded", 0, adapters.ReasonOverloaded, false, false},
}

// eventsOfXMPP are those of a SIP watcher and an XMPP presentity.
func eventsOfXMPP() []namedEvent {
	var all []namedEvent
	add := func(name string, e Event) { all = append(all, namedEvent{name, e}) }
	asked := func(name, session string, verb adapters.WatchVerb, d time.Duration) {
		add("his user agent: "+name+" ("+verb.String()+")", Event{Asked: &adapters.WatchOp{Verb: verb, Duration: d, Watch: adapters.WatchID{Session: session}}})
	}
	asked("SUBSCRIBE in a new dialog", "new", adapters.WatchOpen, time.Hour)
	asked("SUBSCRIBE in the dialog d1", "d1", adapters.WatchOpen, time.Hour)
	asked("SUBSCRIBE in the dialog d1, Expires 0", "d1", adapters.WatchClose, 0)
	asked("SUBSCRIBE in a dialog that is over, Expires 0", "over", adapters.WatchClose, 0)
	asked("SUBSCRIBE in a new dialog, Expires 0", "poll2", adapters.WatchFetch, 0)
	asked("his operator takes the authorization back", "", adapters.WatchCancel, 0)
	told := func(name string, op adapters.NotifyOp) { add("her server: "+name, Event{Told: &op}) }
	told("<presence type='subscribed'/>", adapters.NotifyOp{Change: adapters.AuthorizationGranted, State: adapters.WatchActive})
	told("<presence type='unsubscribed'/>", adapters.NotifyOp{Change: adapters.AuthorizationRefused, State: adapters.WatchTerminated, End: adapters.EndRejected})
	told("<presence/> of the device a", adapters.NotifyOp{Instance: "a", Presence: tuples(tuple("a", pidf.BasicOpen))})
	told("<presence/> of the device b", adapters.NotifyOp{Instance: "b", Presence: tuples(tuple("b", pidf.BasicOpen))})
	told("<presence type='unavailable'/> of the device a", adapters.NotifyOp{Instance: "a", Presence: tuples(tuple("a", pidf.BasicClosed))})
	told("<presence type='unavailable'/> of the device b", adapters.NotifyOp{Instance: "b", Presence: tuples(tuple("b", pidf.BasicClosed))})
	told("<presence type='unavailable'/> of the bare address", adapters.NotifyOp{Whole: true, Presence: tuples(tuple("", pidf.BasicClosed))})
	mood := tuples()
	mood.Persons = []pidf.Person{{ID: pidf.TupleID("p"), Rich: &pidf.Rich{}}}
	told("her mood", adapters.NotifyOp{Presence: mood})
	answered := func(verb adapters.WatchVerb, what string, st adapters.WatchStatus) {
		add("her server: "+verb.String()+" "+what, Event{Answered: &Answer{Verb: verb, Serial: 7, Status: st}})
	}
	taken := adapters.WatchStatus{Status: adapters.Accepted()}
	for _, verb := range []adapters.WatchVerb{adapters.WatchAsk, adapters.WatchOpen, adapters.WatchFetch, adapters.WatchCancel, adapters.WatchClose} {
		answered(verb, "is taken", taken)
		answered(verb, "cannot be sent: nobody answers", adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonDomainTimeout, "")})
		answered(verb, "cannot be sent: no address of XMPP", adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonAddressMalformed, "")})
	}
	add("her server: an ask before the last cannot be sent", Event{Answered: &Answer{Verb: adapters.WatchAsk, Serial: 6, Status: adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonNotFound, "")}}})
	// An error in answer to "subscribe" or "probe" comes later (adapters/xmpp).
	told("an error: item-not-found", adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndNoResource})
	told("an error: remote-server-timeout", adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndProbation})
	for _, id := range []string{"d1", "poll"} {
		add("his user agent: NOTIFY in "+id+" is answered 200", Event{Heard: &Hearing{Session: id, Serial: 5, Status: adapters.Succeeded()}})
		for _, r := range []adapters.Reason{adapters.ReasonNotFound, adapters.ReasonDomainTimeout, adapters.ReasonInternal} {
			name := map[adapters.Reason]string{adapters.ReasonNotFound: "481", adapters.ReasonDomainTimeout: "nothing", adapters.ReasonInternal: "500"}[r]
			add("his user agent: NOTIFY in "+id+" is answered "+name, Event{Heard: &Hearing{Session: id, Serial: 5, Status: adapters.Failed(r, "")}})
		}
	}
	return append(all, ticks()...)
}

// ticks are what happens to both: the ways break and are back, and time passes.
func ticks() []namedEvent {
	all := []namedEvent{
		{"the way to the presentity's side breaks", Event{Severed: true}},
		{"the way to the presentity's side broke, and this pair tries it", Event{Tried: true}},
		{"the way to the presentity's side is back", Event{Mended: true}},
		{"the way to the watcher's side is back", Event{WatcherMended: true}},
	}
	for _, after := range tickAfter {
		all = append(all, namedEvent{fmt.Sprint("time: ", after, " pass"), Event{Tick: true}})
	}
	return all
}

var tickAfter = []time.Duration{0, 30 * time.Second, time.Minute, time.Hour, 24 * time.Hour, 8 * 24 * time.Hour}

// at is when e happens.
func (e *namedEvent) at() time.Time {
	var after time.Duration
	if text, ok := strings.CutPrefix(e.name, "time: "); ok {
		after, _ = time.ParseDuration(strings.TrimSuffix(text, " pass"))
	}
	return noon.Add(after)
}

// listed is the states that have an outcome, as many to a line as fit.
func listed(states []string) string {
	var b strings.Builder
	width := 0
	for i, s := range states {
		switch {
		case i == 0:
			b.WriteString("     in ")
		case width+len(s) > 130:
			b.WriteString(",\n        ")
			width = 0
		default:
			b.WriteString(", ")
		}
		b.WriteString(s)
		width += len(s) + 2
	}
	b.WriteByte('\n')
	return b.String()
}

// The whole machine as a table, one section for each event: what is done about it, what it changes, and in which states. A protocol reader
// can check it against RFC 8048 and RFC 6665; TestTransitions keeps it true, TestTransitionRules knows nothing of it.
func TestTransitions(t *testing.T) {
	var b strings.Builder
	b.WriteString("# What the core does about every event in every state of a watch. Written by: go test ./gateway/watch -run TestTransitions -update\n" +
		"# A state is: authorization, presentity's side (waiting: to be opened again), who watches, what is known (told: only that something was), flags.\n")
	rows := 0
	for _, m := range ways() {
		fmt.Fprintf(&b, "\n# %s: %d states, %d events\n", m.title, len(m.states), len(m.events))
		for _, e := range m.events {
			fmt.Fprintf(&b, "\n## %s\n", e.name)
			var outcomes []string
			states := map[string][]string{}
			for _, s := range m.states {
				after := s.clone()
				var done []string
				for _, f := range after.Step(e.at(), e.Event) {
					done = append(done, words(f))
				}
				out := "  " + strings.Join(done, " | ")
				if len(done) == 0 {
					out = "  nothing"
				}
				if change := became(s, after, e.at()); change != "" {
					out += "\n  -> " + change
				}
				if states[out] == nil {
					outcomes = append(outcomes, out)
				}
				states[out] = append(states[out], s.name())
				rows++
			}
			for _, out := range outcomes {
				b.WriteString(out + "\n")
				b.WriteString(listed(states[out]))
			}
		}
	}
	const file = "testdata/transitions.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if rows < 2000 {
		t.Errorf("only %d pairs of state and event", rows)
	}
	got, kept := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
	section := ""
	for i := range max(len(got), len(kept)) {
		g, k := "", ""
		if i < len(got) {
			g = got[i]
		}
		if i < len(kept) {
			k = kept[i]
		}
		if strings.HasPrefix(g, "## ") {
			section = g
		}
		if g != k {
			t.Fatalf("%s:%d, %s\n got: %s\nwant: %s", file, i+1, section, g, k)
		}
	}
}
