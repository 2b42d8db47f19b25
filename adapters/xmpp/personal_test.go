package xmpp_test

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// wanting is a client that wants moods and nothing else: what disco#info answers, and the hash of it.
func wanting() (info, ver string) {
	const feature = "http://jabber.org/protocol/mood+notify"
	sum := sha1.Sum([]byte("client/pc//<" + feature + "<"))
	return "<identity category='client' type='pc'/><feature var='" + feature + "'/>", base64.StdEncoding.EncodeToString(sum[:])
}

func feeling(f pidf.Feeling) *adapters.NotifyOp {
	person := pidf.Person{ID: pidf.MustParseID("p"), Rich: &pidf.Rich{Activities: []pidf.Activities{{Values: []pidf.Activity{pidf.ActivityMeal}}}}}
	if f != "" {
		person.Rich.Moods = []pidf.Mood{{Values: []pidf.Feeling{f}}}
	}
	return &adapters.NotifyOp{
		Watch: adapters.WatchID{Watcher: cpim.MustParseAddress("pres:juliet@example.com"), Presentity: cpim.MustParseAddress("pres:romeo@example.net")},
		State: adapters.WatchActive, Whole: true,
		Presence: &pidf.Presence{Entity: pidf.MustParseURI("pres:romeo@example.net"), Persons: []pidf.Person{person}, Tuples: []pidf.Tuple{
			{ID: pidf.TupleID("orchard"), Status: pidf.Status{Basic: pidf.BasicOpen}},
		}},
	}
}

// TestT_PR_06_MoodsGoToWhoWantsThem: "The entity shares presence with the account owner, ... and advertises an interest in the payload type"
// (XEP-0163 §4): no other device and no other user is told; once each, and again what was said before a device came.
func TestT_PR_06_MoodsGoToWhoWantsThem(t *testing.T) {
	core, s := newRecorder(), listen(t)
	a, p := started(t, s, core, nil)
	info, ver := wanting()
	caps := "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:client' ver='" + ver + "'/>"
	notify := func(op *adapters.NotifyOp) {
		t.Helper()
		done := make(chan adapters.Status, 1)
		op.Deadline = time.Now().Add(patience)
		go func() { done <- a.Notify(context.Background(), nil, op) }() // t's has ended when the outcome is asked for
		t.Cleanup(func() {
			if st := <-done; st.Outcome == adapters.Failure {
				t.Errorf("%+v", st)
			}
		})
	}
	hear := func(kind, to, contains string) *strictxml.Element {
		t.Helper()
		e := p.stanza()
		if e.Name.Local != kind || attr(e, "to") != to || !strings.Contains(e.Raw, contains) {
			t.Fatalf("heard %s, not a %s to %s with %s", e.Raw, kind, to, contains)
		}
		return e
	}
	const juliet = "juliet@example.com"
	// Nobody is known to want anything.
	notify(feeling(pidf.FeelingInLove))
	hear("presence", juliet, "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://github.com/isthmus-gateway'")
	// Two of her devices come, one without capabilities; and the nurse, whom Romeo's document was never for.
	p.say("<presence from='juliet@example.com/mute' to='romeo@example.net'/><presence from='nurse@example.com/x' to='romeo@example.net'>" + caps + "</presence>")
	q := hear("iq", "nurse@example.com/x", "disco#info")
	p.say("<presence from='juliet@example.com/balcony' to='romeo@example.net'>" + caps + "</presence>")
	p.say("<iq type='result' from='nurse@example.com/x' to='romeo@example.net' id='" + attr(q, "id") + "'><query xmlns='http://jabber.org/protocol/disco#info' node='urn:client#" + ver + "'>" + info + "</query></iq>")
	e := hear("message", "juliet@example.com/balcony", "<mood xmlns='http://jabber.org/protocol/mood'><in_love/></mood>")
	if attr(e, "from") != "romeo@example.net" || attr(e, "type") != "headline" {
		t.Errorf("%s", e.Raw)
	}
	for _, f := range []struct {
		f    pidf.Feeling
		want string
	}{
		{pidf.FeelingInLove, ""}, {pidf.FeelingSad, "<sad/>"}, {"", "<mood xmlns='http://jabber.org/protocol/mood'/>"}, {pidf.FeelingSad, "<sad/>"},
	} {
		notify(feeling(f.f))
		hear("presence", juliet, "orchard")
		if f.want != "" {
			hear("message", "juliet@example.com/balcony", f.want)
		}
	}
	// The same presence again tells nothing; a device that left and came back is told again.
	p.say("<presence from='juliet@example.com/balcony' to='romeo@example.net'>" + caps + "</presence>")
	p.say("<presence from='juliet@example.com/balcony' to='romeo@example.net' type='unavailable'/>")
	p.say("<presence from='juliet@example.com/balcony' to='romeo@example.net'>" + caps + "</presence>")
	hear("message", "juliet@example.com/balcony", "<sad/>")
	// The end takes it back.
	notify(&adapters.NotifyOp{
		Watch: feeling("").Watch, State: adapters.WatchTerminated, End: adapters.EndRejected, Change: adapters.AuthorizationRefused, Whole: true,
	})
	hear("presence", juliet, "unsubscribed")
	hear("message", "juliet@example.com/balcony", "<mood xmlns='http://jabber.org/protocol/mood'/>")
	notify(feeling(""))
	hear("presence", juliet, "orchard")
	p.say("<iq from='juliet@example.com/x' to='example.net' id='after' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
	hear("iq", "juliet@example.com/x", "after")
}

// TestMoodsOfTheirs: what a user says of herself is one person, whatever the order it is said in; and not what somebody says in her name.
func TestMoodsOfTheirs(t *testing.T) {
	core, s := newRecorder(), listen(t)
	_, p := started(t, s, core, nil)
	event := func(from, node, payload string) {
		p.say("<message from='" + from + "' to='romeo@example.net/orchard' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='http://jabber.org/protocol/" +
			node + "'><item><" + node + " xmlns='http://jabber.org/protocol/" + node + "'>" + payload + "</" + node + "></item></items></event></message>")
	}
	for _, c := range []struct {
		node, payload    string
		moods, activites int
	}{
		{"mood", "<happy/>", 1, 0}, {"activity", "<working/>", 1, 1}, {"mood", "", 0, 1}, {"activity", "", 0, 0},
	} {
		event("juliet@example.com/balcony", c.node, "<sad/>") // no server says this of its user
		event("example.com", c.node, "<sad/>")
		event("juliet@example.com", c.node, c.payload)
		op := next(t, core.notifies, "what she says")
		rich := op.Presence.Persons[0].Rich
		if op.Whole || len(op.Presence.Tuples) > 0 || op.Watch.Presentity.String() != "pres:juliet@example.com" || op.Watch.Watcher.String() != "pres:romeo@example.net" {
			t.Errorf("%+v", op)
		}
		if rich == nil {
			rich = &pidf.Rich{}
		}
		if len(rich.Moods) != c.moods || len(rich.Activities) != c.activites {
			t.Errorf("%s %s: %+v", c.node, c.payload, rich)
		}
	}
	none(t, core.notifies, "more than she said")
	none(t, core.messages, "an event as a message")
}

// Who "shares presence with the account owner, ... and advertises an interest in the payload type" is told (XEP-0163 §4), also what could not be sent at first:
// it goes along when the presence is told again. And an approval, which comes from the bare address, is no end of anybody's interest.
func TestMoodsAreNotLost(t *testing.T) {
	core, s := newRecorder(), listen(t)
	a, p := started(t, s, core, nil)
	info, ver := wanting()
	notify := func(deadline time.Time) <-chan adapters.Status {
		done := make(chan adapters.Status, 1)
		op := feeling(pidf.FeelingSad)
		op.Deadline = deadline
		go func() { done <- a.Notify(context.Background(), nil, op) }()
		return done
	}
	hear := func(kind, to, contains string) *strictxml.Element {
		t.Helper()
		e := p.stanza()
		if e.Name.Local != kind || attr(e, "to") != to || !strings.Contains(e.Raw, contains) {
			t.Fatalf("heard %s, not a %s to %s with %s", e.Raw, kind, to, contains)
		}
		return e
	}
	p.say("<presence from='juliet@example.com/balcony' to='romeo@example.net'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:client' ver='" + ver + "'/></presence>")
	q := hear("iq", "juliet@example.com/balcony", "disco#info")
	p.say("<iq type='result' from='juliet@example.com/balcony' to='romeo@example.net' id='" + attr(q, "id") + "'><query xmlns='http://jabber.org/protocol/disco#info' node='urn:client#" + ver + "'>" + info + "</query></iq>")
	p.say("<presence from='juliet@example.com' to='romeo@example.net' type='subscribed'/>")
	for next(t, core.notifies, "her approval").Change != adapters.AuthorizationGranted {
	}
	if st := next(t, notify(time.Now().Add(-time.Second)), "outcome"); st.Outcome != adapters.Failure {
		t.Fatalf("%+v", st)
	}
	done := notify(time.Now().Add(patience))
	hear("presence", "juliet@example.com", "orchard")
	p.say("<iq from='juliet@example.com/x' to='example.net' id='after' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
	hear("message", "juliet@example.com/balcony", "<sad/>")
	hear("iq", "juliet@example.com/x", "after")
	if st := next(t, done, "outcome"); st.Outcome == adapters.Failure {
		t.Errorf("%+v", st)
	}
}
