package xmpp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// TestChatStatesCross: composing goes to a client that tells chat states itself, once; to one that does not it does not; and the failure of
// one that comes in is nobody's concern (T-LP-06: nothing answers it).
func TestChatStatesCrossTLP06(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	a, p := started(t, s, core, nil)
	composing := func() {
		op := textOp("a1", "")
		op.Activity, op.Content = adapters.ActivityComposing, adapters.Content{}
		go a.Message(t.Context(), nil, op)
	}
	say := func(id, children string) {
		p.say("<message from='juliet@example.com/x' to='romeo@example.net' id='" + id + "' type='chat'>" + children + "</message>")
		next(t, core.messages, "what was said")
	}
	if st := a.Message(t.Context(), nil, &adapters.MessageOp{From: textOp("", "").From, To: textOp("", "").To, Activity: adapters.ActivityComposing}); st.Outcome != adapters.Indeterminate {
		t.Errorf("%+v", st)
	}
	say("m1", "<body>x</body><active xmlns='http://jabber.org/protocol/chatstates'/>")
	composing()
	if e := p.stanza(); e.Child("http://jabber.org/protocol/chatstates", "composing") == nil || strings.Contains(e.Raw, "<body>") {
		t.Fatalf("%s", e.Raw)
	}
	// What its sender does not say again ends by itself (RFC 3994 §3.3).
	briefly := textOp("a2", "")
	briefly.Activity, briefly.Content, briefly.ActivityRefresh = adapters.ActivityComposing, adapters.Content{}, 20*time.Millisecond
	if st := a.Message(t.Context(), nil, briefly); st.Outcome != adapters.Indeterminate {
		t.Errorf("%+v", st)
	}
	if e := p.stanza(); e.Child("http://jabber.org/protocol/chatstates", "active") == nil || strings.Contains(e.Raw, "<body>") {
		t.Fatalf("%s", e.Raw)
	}
	core.say(adapters.Failed(adapters.ReasonNotFound, ""))
	say("m2", "<paused xmlns='http://jabber.org/protocol/chatstates'/>")
	p.say("<iq from='juliet@example.com/x' to='example.net' id='after' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
	if e := p.stanza(); attr(e, "id") != "after" {
		t.Fatalf("heard %s", e.Raw)
	}
	go a.Message(t.Context(), nil, textOp("m3", "y"))
	if e := p.stanza(); e.Child("http://jabber.org/protocol/chatstates", "active") == nil {
		t.Errorf("%s", e.Raw)
	}
}
