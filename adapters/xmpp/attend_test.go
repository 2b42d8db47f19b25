package xmpp_test

import (
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// TestAttends: "it first sends an XMPP <presence/> stanza of type "probe" from the address of the XMPP-to-SIP gateway to the "bare Jabber Identifier
// (JID)" (user@domain.tld) of the XMPP user, to which the user's XMPP server responds in accordance with [RFC6121]" (RFC 8048 §8.1).
func TestAttends(t *testing.T) {
	core, s := newRecorder(), listen(t)
	a, p := started(t, s, core, nil)
	op := &adapters.AttendOp{Watch: adapters.WatchID{Watcher: cpim.MustParseAddress("pres:juliet@example.com"), Presentity: cpim.MustParseAddress("pres:romeo@example.net")}}
	for _, c := range []struct {
		name, answer string
		want         adapters.Attendance
	}{
		{"a device is there", "<presence from='juliet@example.com/balcony' to='example.net'><show>dnd</show></presence>", adapters.AttendancePresent},
		{"none is (rule 3)", "<presence from='juliet@example.com' to='example.net' type='unavailable'/>", adapters.AttendanceAbsent},
		{"one has gone, another is there", "<presence from='juliet@example.com/a' to='example.net' type='unavailable'/><presence from='juliet@example.com/b' to='example.net'/>", adapters.AttendancePresent},
		{"strangers are told nothing (rule 1)", "<presence from='juliet@example.com' to='example.net' type='unsubscribed'/>", adapters.AttendanceUnknown},
		{"somebody else answers first", "<presence from='nurse@example.com/x' to='example.net'/><presence from='juliet@example.com' to='example.net' type='unavailable'/>", adapters.AttendanceAbsent},
	} {
		t.Run(c.name, func(t *testing.T) {
			op.Deadline = time.Now().Add(patience)
			answers := make(chan adapters.Attendance, 2)
			ask := func() { answers <- a.Attends(t.Context(), nil, op) }
			go ask()
			e := p.hear()
			if e.Name.Local != "presence" || attr(e, "type") != "probe" || attr(e, "from") != "example.net" || attr(e, "to") != "juliet@example.com" {
				t.Fatalf("%s", e.Raw)
			}
			ping := p.hear()
			p.say(c.answer)
			p.pong(ping)
			if got := next(t, answers, "the answer"); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	t.Run("silence", func(t *testing.T) {
		op.Deadline = time.Now().Add(patience)
		answers := make(chan adapters.Attendance, 1)
		go func() { answers <- a.Attends(t.Context(), nil, op) }()
		p.hear()
		p.pong(p.hear())
		if got := next(t, answers, "the answer"); got != adapters.AttendanceUnknown {
			t.Errorf("%v", got)
		}
	})
	// What comes late, or unasked, is for nobody, and is not answered.
	p.say("<presence from='juliet@example.com' to='example.net' type='unsubscribed'/>")
	p.say("<iq from='juliet@example.com/x' to='example.net' id='after' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
	if e := p.stanza(); attr(e, "id") != "after" {
		t.Errorf("heard %s", e.Raw)
	}
	none(t, core.notifies, "an answer as presence")
}
