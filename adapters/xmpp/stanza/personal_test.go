package stanza

import (
	"crypto/sha1"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

func readEvent(t testing.TB, items string) PersonalEvent {
	t.Helper()
	s, err := ReadAlone([]byte("<message xmlns='jabber:client' from='juliet@example.com' to='romeo@example.net' type='headline'><event xmlns='"+SpaceEvents+"'>"+items+"</event></message>"), strictxml.Limits{})
	if err != nil || s.Fault != nil {
		t.Fatal(err, s.Fault)
	}
	return s.Event
}

func moodItem(content string) string {
	return "<items node='" + SpaceMood + "'><item id='x'><mood xmlns='" + SpaceMood + "'>" + content + "</mood></item></items>"
}

func activityItem(content string) string {
	return "<items node='" + SpaceActivity + "'><item id='x'><activity xmlns='" + SpaceActivity + "'>" + content + "</activity></item></items>"
}

// TestPersonalEvents: what is read of events, and what is written of it again, as "value(note)".
func TestPersonalEvents(t *testing.T) {
	for _, c := range []struct{ name, in, rpid, out string }{
		{"XEP-0107 example", moodItem("<happy/><text>Yay, the mood spec has been approved!</text>"), "happy(Yay, the mood spec has been approved!)", "<happy/><text>Yay, the mood spec has been approved!</text>"},
		{"no mood", moodItem(""), "", ""},
		{"text alone", moodItem("<text>why</text>"), "", ""},
		{"newer than RPID", moodItem("<grateful/>"), "other:grateful", "<undefined/><text xml:lang='en'>grateful</text>"},
		{"undefined", moodItem("<undefined/><text xml:lang='cs'>hm</text>"), "unknown(hm)", "<undefined/><text xml:lang='cs'>hm</text>"},
		{"a finer mood of another namespace", moodItem("<happy><ecstatic xmlns='https://example.org/'/></happy>"), "happy", "<happy/>"},
		{"two moods", moodItem("<sad/><happy/>"), "sad", "<sad/>"},
		{"another namespace", moodItem("<happy xmlns='urn:x'/>"), "", ""},
		{"retracted", "<items node='" + SpaceMood + "'><retract id='x'/></items>", "", ""},
		{"XEP-0108 example", activityItem("<relaxing><partying/></relaxing><text xml:lang='en'>My nurse&apos;s birthday!</text>"), "other:partying(My nurse's birthday!)", "<undefined><other/></undefined><text xml:lang='en'>My nurse's birthday!</text>"},
		{"in the table of XEP-0108 §4", activityItem("<working><in_a_meeting/></working>"), "meeting", "<working><in_a_meeting/></working>"},
		{"general alone", activityItem("<eating/>"), "meal", "<eating/>"},
		{"RPID has no such", activityItem("<grooming><shaving/></grooming>"), "other:shaving", "<undefined><other/></undefined><text xml:lang='en'>shaving</text>"},
		{"other", activityItem("<drinking><other/></drinking>"), "other:drinking", "<undefined><other/></undefined><text xml:lang='en'>drinking</text>"},
		{"a name as long as a letter", moodItem("<" + strings.Repeat("x", 33) + "/>"), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := readEvent(t, c.in)
			got := ""
			show := func(values []string, others, notes []pidf.Note) {
				got = strings.Join(values, ",")
				for _, o := range others {
					got += "other:" + o.Text
				}
				for _, n := range notes {
					got += "(" + n.Text + ")"
				}
			}
			if e.Mood != nil {
				var v []string
				for _, f := range e.Mood.Values {
					v = append(v, string(f))
				}
				show(v, e.Mood.Others, e.Mood.Notes)
			}
			if e.Activities != nil {
				var v []string
				for _, f := range e.Activities.Values {
					v = append(v, string(f))
				}
				show(v, e.Activities.Others, e.Activities.Notes)
			}
			if got != c.rpid || e.Node == "" {
				t.Errorf("%q: read as %q", e.Node, got)
			}
			if e.IsEmpty() != (c.rpid == "") {
				t.Errorf("empty: %v", e.IsEmpty())
			}
			out := string(e.AppendPayload(nil))
			_, inner, _ := strings.Cut(out, ">")
			inner = strings.TrimSuffix(strings.TrimSuffix(inner, "</mood>"), "</activity>")
			if inner != c.out {
				t.Errorf("written as %s", out)
			}
		})
	}
}

// TestEveryActivity: each activity of RPID that XMPP has a word for comes back as itself, or as one that says less; and so does each mood.
func TestEveryActivity(t *testing.T) {
	less := map[pidf.Activity]pidf.Activity{
		pidf.ActivityPresentation: pidf.ActivityWorking, pidf.ActivityLookingForWork: pidf.ActivityWorking,
		pidf.ActivityAway: "", pidf.ActivityBusy: "", pidf.ActivityPermanentAbsence: "", // show (XEP-0108 §4)
		pidf.ActivityPerformance: "going out", pidf.ActivityPlaying: "relaxing", pidf.ActivitySpectator: "relaxing",
	}
	for _, a := range []pidf.Activity{
		"appointment", "away", "breakfast", "busy", "dinner", "holiday", "in-transit", "looking-for-work", "lunch", "meal", "meeting", "on-the-phone",
		"performance", "permanent-absence", "playing", "presentation", "shopping", "sleeping", "spectator", "steering", "travel", "tv", "unknown", "vacation",
		"working", "worship",
	} {
		e := PersonalEvent{Node: SpaceActivity, Activities: &pidf.Activities{Values: []pidf.Activity{a}}}
		want, ok := less[a]
		if !ok {
			want = a
		}
		back := readEvent(t, "<items node='"+SpaceActivity+"'><item id='x'>"+string(e.AppendPayload(nil))+"</item></items>")
		var got pidf.Activity
		if back.Activities != nil && len(back.Activities.Values) > 0 {
			got = back.Activities.Values[0]
		} else if back.Activities != nil {
			got = pidf.Activity(back.Activities.Others[0].Text)
		}
		if got != want {
			t.Errorf("%s came back as %q", a, got)
		}
	}
	for _, f := range []pidf.Feeling{pidf.FeelingAfraid, pidf.FeelingInAwe, pidf.FeelingWorried, pidf.FeelingUnknown} {
		e := PersonalEvent{Node: SpaceMood, Mood: &pidf.Mood{Values: []pidf.Feeling{f}}}
		back := readEvent(t, "<items node='"+SpaceMood+"'><item id='x'>"+string(e.AppendPayload(nil))+"</item></items>")
		if back.Mood == nil || back.Mood.Values[0] != f {
			t.Errorf("%s came back as %+v", f, back.Mood)
		}
	}
}

// "the node MUST send a single notification to each subscriber, containing an empty <purge/> child element" (XEP-0060 §8.5.2), and likewise when it is deleted
// (§8.4.2): what was said is taken back by it.
func TestPersonalEventsTakenBackByTheNode(t *testing.T) {
	for _, in := range []string{
		"<purge node='" + SpaceMood + "'/>", "<delete node='" + SpaceMood + "'/>",
		"<delete node='" + SpaceMood + "'><redirect uri='xmpp:romeo@example.net?;node=other'/></delete>",
	} {
		if e := readEvent(t, in); e.Node != SpaceMood || e.Mood != nil || e.Activities != nil {
			t.Errorf("%s: %+v", in, e)
		}
	}
	if e := readEvent(t, "<purge node='urn:other'/><delete/>"); e.Node != "" {
		t.Errorf("another node: %+v", e)
	}
}

// TestPersonalEventsOfDocument: "the absolute time until which this element is expected to be valid" (RFC 4480 §3.1).
func TestPersonalEventsOfDocument(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	past := pidf.Span{Until: datetime.FromTime(now.Add(-time.Minute))}
	p := &pidf.Presence{Persons: []pidf.Person{{}, {Rich: &pidf.Rich{
		Moods:      []pidf.Mood{{Span: past, Values: []pidf.Feeling{pidf.FeelingSad}}, {Values: []pidf.Feeling{pidf.FeelingHappy}}},
		Activities: []pidf.Activities{{Span: pidf.Span{From: datetime.FromTime(now.Add(time.Hour))}, Values: []pidf.Activity{pidf.ActivityMeal}}},
	}}}}
	mood, activity := PersonalEvents(p, now)
	if mood.Mood == nil || mood.Mood.Values[0] != pidf.FeelingHappy || activity.Activities != nil {
		t.Errorf("%+v, %+v", mood, activity)
	}
	if mood, activity = PersonalEvents(nil, now); !mood.IsEmpty() || !activity.IsEmpty() {
		t.Error("no document says something")
	}
}

// TestDeviceCaps: the hash of each set is that of what disco#info answers for it, by the reader of other people's answers (XEP-0115 §5.4).
func TestDeviceCaps(t *testing.T) {
	seen := map[string]bool{}
	for c := range deviceCapsEnd {
		s, ok := c.info().verification()
		if !ok {
			t.Fatal("ill-formed")
		}
		sum := sha1.Sum(s)
		want := base64.StdEncoding.EncodeToString(sum[:])
		if c.hash() != want || seen[want] {
			t.Errorf("set %d: %q, want %q", c, c.hash(), want)
		}
		seen[want] = true
		if back, ok := capsOfNode(capsNode + "#" + want); !ok || back != c {
			t.Errorf("set %d: found as %d, %v", c, back, ok)
		}
		ask := &Stanza{Kind: IQ, Type: "get", ID: "q", From: jid.MustParse("juliet@example.com/x"), To: jid.MustParse("romeo@example.net/a")}
		ask.Payload, ask.Node = strictxml.Name{Space: SpaceInfo, Local: "query"}, capsNode+"#"+want
		answer, err := ReadAlone(AppendAnswer(nil, ask, About{Software: "x"}), strictxml.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if info := answer.Info(); info == nil || !info.Verify(Caps{Hash: "sha-1", Node: capsNode, Ver: want}) || !info.Wants(SpaceMood) {
			t.Errorf("set %d: the answer is %+v", c, info)
		}
	}
	if _, ok := capsOfNode(capsNode + "#x"); ok {
		t.Error("an unknown hash was found")
	}
	service := func(types ...string) *pidf.Tuple {
		return &pidf.Tuple{Rich: &pidf.Rich{ServiceCaps: &pidf.ServiceCaps{Types: types, Automata: pidf.FlagTrue}}}
	}
	for _, d := range []struct {
		tuple *pidf.Tuple
		want  deviceCaps
	}{
		{&pidf.Tuple{}, 0},
		{service(), isAutomaton},
		{service("text/plain"), isAutomaton | withoutStates | withoutReceipts},
		{service("message/imdn+xml"), isAutomaton | withoutStates},
		{service("message/imdn+xml", "application/im-iscomposing+xml"), isAutomaton},
	} {
		if got := deviceCapsOf(d.tuple); got != d.want {
			t.Errorf("%+v: %d, want %d", d.tuple.Rich, got, d.want)
		}
	}
}
