package xmpp

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

func between(from, to string) *adapters.MessageOp {
	return &adapters.MessageOp{From: adapters.Party{Address: cpim.MustParseAddress(from)}, To: adapters.Party{Address: cpim.MustParseAddress(to)}}
}

// TestChatStateRules: "If the Contact replies but does not include a chat state notification extension, the User MUST NOT send subsequent
// chat state notifications to the Contact" (XEP-0085 §5.1); "a client MUST NOT send a second instance of any given standalone
// notification" (§5.3); and "services ... MUST NOT" generate them (§5.8): what our user's device does not tell is not told.
func TestChatStateRules(t *testing.T) {
	const romeo, juliet = "im:romeo@example.net", "im:juliet@example.com"
	c := newConversations()
	out := func(a adapters.Activity) (stanza.Envelope, bool) {
		op := between(romeo, juliet)
		op.Activity = a
		return c.tell(op)
	}
	in := func(a adapters.Activity) { c.heard(between(juliet, romeo), a) }
	expect := func(what string, a adapters.Activity, send bool, state adapters.Activity) {
		t.Helper()
		if env, ok := out(a); ok != send || env.State != state {
			t.Errorf("%s: sent %v with %v", what, ok, env.State)
		}
	}
	expect("a message of a device without states", adapters.ActivityNone, true, adapters.ActivityNone)
	expect("a state for a stranger", adapters.ActivityComposing, false, 0)
	expect("a message asks for states", adapters.ActivityNone, true, adapters.ActivityActive)
	in(adapters.ActivityActive)
	expect("composing", adapters.ActivityComposing, true, 0)
	expect("composing again", adapters.ActivityComposing, false, 0)
	expect("paused", adapters.ActivityPaused, true, 0)
	expect("composing after paused", adapters.ActivityComposing, true, 0)
	expect("the message", adapters.ActivityNone, true, adapters.ActivityActive)
	expect("active is what the message said", adapters.ActivityActive, false, 0)
	expect("composing the next", adapters.ActivityComposing, true, 0)
	in(adapters.ActivityNone)
	expect("they do not want it", adapters.ActivityPaused, false, 0)
	expect("nor in messages", adapters.ActivityNone, true, adapters.ActivityNone)
	in(adapters.ActivityGone)
	expect("they do again", adapters.ActivityComposing, true, 0)
}

// TestNameIsToldOnce: "with the first message sent to the contact" (XEP-0172 §4.2), and when it is another.
func TestNameIsToldOnce(t *testing.T) {
	c := newConversations()
	for i, step := range []struct {
		name string
		want bool
	}{{"", false}, {"Romeo", true}, {"Romeo", false}, {"Romeo M.", true}, {"", false}, {"Romeo M.", false}} {
		op := between("im:romeo@example.net", "im:juliet@example.com")
		op.SenderName = step.name
		if env, _ := c.tell(op); env.Nick != step.want {
			t.Errorf("step %d: %v", i, env.Nick)
		}
	}
}

// TestConversationsAreBounded: strangers cost no memory without end.
func TestConversationsAreBounded(t *testing.T) {
	c := newConversations()
	for i := range 3 * maxConversations {
		c.heard(between("im:u"+strconv.Itoa(i)+"@example.com", "im:romeo@example.net"), adapters.ActivityActive)
	}
	if n := len(c.now) + len(c.old); n > maxConversations {
		t.Errorf("%d are kept", n)
	}
}

// TestBrake: a domain that asks without end is not answered without end, and others are.
func TestBrake(t *testing.T) {
	b, now, n := newBrake(), time.Unix(0, 0), 0
	for range 10 * answersAtOnce {
		if b.allow("evil.example", now) {
			n++
		}
	}
	if n != answersAtOnce || !b.allow("example.com", now) {
		t.Errorf("%d answers at once", n)
	}
	now = now.Add(time.Second)
	for n = 0; b.allow("evil.example", now); n++ {
	}
	if n != answersPerSecond {
		t.Errorf("%d answers after a second", n)
	}
	for i := range 3 * maxBraked {
		b.allow(strconv.Itoa(i)+".example", now)
	}
	if len(b.domains) > maxBraked {
		t.Errorf("%d domains are kept", len(b.domains))
	}
}

// TestCapsQuestionsAreBounded: a hash that nobody proves is asked for capsTries times, then left alone for a while; and however many hashes
// come, so many questions are open and so many answers kept.
func TestCapsQuestionsAreBounded(t *testing.T) {
	c, now := newCapsCache(), time.Unix(0, 0)
	presence := func(ver string) (*stanza.Stanza, *adapters.NotifyOp) {
		s := &stanza.Stanza{Kind: stanza.Presence, From: jid.MustParse("juliet@example.com/x"), To: jid.MustParse("romeo@example.net"), Caps: stanza.Caps{Hash: "sha-1", Node: "n", Ver: ver}}
		return s, &adapters.NotifyOp{Presence: &pidf.Presence{Tuples: make([]pidf.Tuple, 1)}}
	}
	asked := func(ver string) bool {
		s, op := presence(ver)
		return len(c.tell(s, op, now)) > 0
	}
	n := 0
	for range 100 {
		if asked("v") {
			n++
		}
		now = now.Add(capsPatience)
	}
	if n != capsTries { // 100 times capsPatience is less than capsRest
		t.Errorf("asked %d times", n)
	}
	if now = now.Add(capsRest); !asked("v") {
		t.Error("it is left alone for ever")
	}
	for i := range 10 * maxAskedCaps {
		asked("w" + strconv.Itoa(i))
	}
	if len(c.asked) > maxAskedCaps {
		t.Errorf("%d questions are open", len(c.asked))
	}
	for i := range 3 * maxKnownCaps {
		asked("x" + strconv.Itoa(i))
		now = now.Add(capsPatience)
	}
	if len(c.tries) > maxKnownCaps || len(c.rests) > maxKnownCaps {
		t.Errorf("%d tries, %d rests", len(c.tries), len(c.rests))
	}
	s, op := presence("y")
	s.Type = "unavailable"
	if c.tell(s, op, now) != nil {
		t.Error("who is gone was asked")
	}
	if _, ours := c.answered(&stanza.Stanza{Kind: stanza.IQ, Type: "result", ID: "stray"}, now); ours {
		t.Error("a stray answer was taken")
	}
}

// TestCapsOfOneDomain: what a stranger's devices say, and do not answer or answer falsely, keeps nobody else's capabilities from being asked for: neither
// those of the very hash that they said, nor any by their number.
func TestCapsOfOneDomain(t *testing.T) {
	c, now := newCapsCache(), time.Unix(0, 0)
	asked := func(domain, ver string) bool {
		s := &stanza.Stanza{Kind: stanza.Presence, From: jid.MustParse("juliet@" + domain + "/x"), To: jid.MustParse("romeo@example.net"), Caps: stanza.Caps{Hash: "sha-1", Node: "n", Ver: ver}}
		return len(c.tell(s, &adapters.NotifyOp{Presence: &pidf.Presence{Tuples: make([]pidf.Tuple, 1)}}, now)) > 0
	}
	if !asked("evil.example", "popular") || !asked("example.com", "popular") {
		t.Error("while a stranger does not answer nobody else is asked")
	}
	now = now.Add(capsPatience)
	for range capsTries {
		asked("evil.example", "popular")
		now = now.Add(capsPatience)
	}
	if asked("evil.example", "popular") || !asked("example.org", "popular") {
		t.Error("what a stranger does not prove is asked nobody for")
	}
	for i := range 2 * maxAskedCaps {
		asked("evil.example", "v"+strconv.Itoa(i))
	}
	if !asked("example.com", "another") {
		t.Error("a stranger's hashes leave no room for others")
	}
	for i := range 2 * maxAskedCaps {
		asked("example"+strconv.Itoa(i)+".org", "v")
	}
	if len(c.asked) > maxAskedCaps {
		t.Errorf("%d questions are open", len(c.asked))
	}
	now = now.Add(capsPatience)
	for i := range maxAskedCaps {
		if !asked("example"+strconv.Itoa(i)+".net", "w") {
			t.Fatalf("no room after %d", i)
		}
	}
}

// BenchmarkConversations is what the rules cost each message.
func BenchmarkConversations(b *testing.B) {
	c, op := newConversations(), between("im:romeo@example.net", "im:juliet@example.com")
	op.SenderName = "Romeo"
	b.ReportAllocs()
	for b.Loop() {
		c.tell(op)
	}
}

// TestConversationsKeepNoRequests: what is kept of users keeps nothing of the requests that they came in.
func TestConversationsKeepNoRequests(t *testing.T) {
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	c := newConversations()
	before := heap()
	for i := range 500 {
		request := "Romeo im:u" + strconv.Itoa(i) + "@example.net" + strings.Repeat(" ", 64<<10)
		op := between(strings.TrimSpace(request[6:]), "im:juliet@example.com")
		op.SenderName = request[:5]
		c.tell(op)
	}
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("%d octets for 500 users", grown)
	}
	runtime.KeepAlive(c)
}
