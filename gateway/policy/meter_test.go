package policy

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/isthmus-gateway/isthmus/cpim"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// send is one message of an allowed Ask that stays under way.
func send(t testing.TB, p *Policy, m *Meter, now time.Time, from, to string, octets int) (func(), Cause) {
	t.Helper()
	a := Ask{Operation: Messages, From: cpim.MustParseAddress("im:" + from), To: cpim.MustParseAddress("im:" + to)}
	v := p.Decide(a)
	if !v.Allowed {
		t.Fatalf("%+v", v)
	}
	release, cause, why := m.Message(now, a, v, octets)
	if (cause == "") != (release != nil) || (cause == "") != (why == "") {
		t.Fatalf("cause %q, why %q, release %v", cause, why, release != nil)
	}
	return release, cause
}

func TestSenderRate(t *testing.T) {
	p := mustNew(t, Config{Rules: []Rule{{Name: "r", Bounds: Bounds{SenderRate: 60, SenderBurst: 3, MaxContent: 100}}}})
	m := NewMeter(p, nil)
	if _, cause := send(t, p, m, noon, "a@x.example", "b@y.example", 101); cause != CauseSize {
		t.Errorf("101 octets: %q", cause)
	}
	for i := range 3 {
		if _, cause := send(t, p, m, noon, "a@x.example", fmt.Sprintf("b%d@y.example", i), 100); cause != "" {
			t.Errorf("message %d: %q", i, cause)
		}
	}
	if _, cause := send(t, p, m, noon, "a@x.example", "b@y.example", 1); cause != CauseSenderRate {
		t.Errorf("the fourth at once: %q", cause)
	}
	if _, cause := send(t, p, m, noon, "c@x.example", "b@y.example", 1); cause != "" {
		t.Errorf("another sender: %q", cause)
	}
	if _, cause := send(t, p, m, noon.Add(time.Second), "a@x.example", "b@y.example", 1); cause != "" {
		t.Errorf("a second later: %q", cause)
	}
	if _, cause := send(t, p, m, noon.Add(time.Second), "a@x.example", "b@y.example", 1); cause != CauseSenderRate {
		t.Errorf("and one more: %q", cause)
	}
	// The same rule in a new policy goes on where it was.
	m = NewMeter(mustNew(t, Config{Rules: []Rule{{Name: "r", Bounds: Bounds{SenderRate: 60, SenderBurst: 3}}}}), m)
	if _, cause := send(t, p, m, noon.Add(time.Second), "a@x.example", "b@y.example", 1); cause != CauseSenderRate {
		t.Errorf("after a reload: %q", cause)
	}
}

// Whoever was written to or heard from is no new contact, in either direction.
func TestNewContacts(t *testing.T) {
	p := mustNew(t, Config{Rules: []Rule{{Name: "r", Bounds: Bounds{NewContacts: 2}}}})
	m := NewMeter(p, nil)
	for _, to := range []string{"b1", "b2", "b1", "b2"} {
		if _, cause := send(t, p, m, noon, "a@x.example", to+"@y.example", 1); cause != "" {
			t.Errorf("to %s: %q", to, cause)
		}
	}
	for range 2 { // what was refused is not remembered as a contact
		if _, cause := send(t, p, m, noon, "a@x.example", "b3@y.example", 1); cause != CauseNewContacts {
			t.Errorf("a third: %q", cause)
		}
	}
	if _, cause := send(t, p, m, noon, "b3@y.example", "a@x.example", 1); cause != "" {
		t.Errorf("b3 writes: %q", cause)
	}
	if _, cause := send(t, p, m, noon, "a@x.example", "b3@y.example", 1); cause != "" {
		t.Errorf("the answer to b3: %q", cause)
	}
	if _, cause := send(t, p, m, noon.Add(30*time.Minute), "a@x.example", "b4@y.example", 1); cause != "" {
		t.Errorf("half an hour later: %q", cause)
	}
	if _, cause := send(t, p, m, noon.Add(6*24*time.Hour), "a@x.example", "b1@y.example", 1); cause != "" {
		t.Errorf("b1 six days later: %q", cause)
	}
}

// What one tenant does leaves the others their room.
func TestTenants(t *testing.T) {
	p := mustNew(t, Config{Tenants: []Tenant{
		{Name: "a", Domains: party(t, "a.example"), MessagesUnderWay: 2},
		{Name: "b", Domains: party(t, "b.example"), MessagesPerSecond: 3},
		{Name: "c", Domains: party(t, "c.example"), MessagesUnderWay: 1, MessagesPerSecond: 1000},
	}})
	m := NewMeter(p, nil)
	var releases []func()
	for range 2 {
		r, cause := send(t, p, m, noon, "x@a.example", "y@else.example", 1)
		if cause != "" {
			t.Fatal(cause)
		}
		releases = append(releases, r)
	}
	if _, cause := send(t, p, m, noon, "y@else.example", "x@a.example", 1); cause != CauseTenantRoom {
		t.Errorf("a third of a: %q", cause)
	}
	if _, cause := send(t, p, m, noon, "x@c.example", "y@else.example", 1); cause != "" {
		t.Errorf("c beside it: %q", cause)
	}
	// A message within a tenant counts once.
	releases[0]()
	r, cause := send(t, p, m, noon, "x@a.example", "z@a.example", 1)
	if cause != "" || m.UnderWay("a") != 2 {
		t.Errorf("%q, %d under way", cause, m.UnderWay("a"))
	}
	r()
	releases[1]()
	if m.UnderWay("a") != 0 || m.UnderWay("nobody") != 0 {
		t.Errorf("%d under way", m.UnderWay("a"))
	}
	for i := range 4 {
		if _, cause := send(t, p, m, noon, "x@b.example", "y@else.example", 1); (cause != "") != (i == 3) || i == 3 && cause != CauseTenantRate {
			t.Errorf("message %d of b: %q", i, cause)
		}
	}
	// A reload keeps what is under way.
	m = NewMeter(mustNew(t, Config{Tenants: []Tenant{{Name: "c", Domains: party(t, "c.example"), MessagesUnderWay: 5}}}), m)
	if m.UnderWay("c") != 1 {
		t.Errorf("%d of c after a reload", m.UnderWay("c"))
	}
}

// What is remembered of very many senders and contacts is bounded (T-SK-02).
func TestT_SK_02_MeterIsBounded(t *testing.T) {
	p := mustNew(t, Config{Rules: []Rule{{Name: "r", Bounds: Bounds{SenderRate: 1, NewContacts: 1}}}})
	m := NewMeter(p, nil)
	for i := range 300_000 {
		a := Ask{Operation: Messages, From: cpim.MustParseAddress(fmt.Sprintf("im:u%d@x.example", i)), To: cpim.MustParseAddress("im:b@y.example")}
		m.Message(noon, a, p.Decide(a), 1)
	}
	held := 0
	for i := range m.senders.shards {
		held += len(m.senders.shards[i].young) + len(m.senders.shards[i].old) + len(m.contact.shards[i].young) + len(m.contact.shards[i].old) +
			len(m.known.shards[i].young) + len(m.known.shards[i].old)
	}
	if held > 3*remembered {
		t.Errorf("%d entries are held", held)
	}
}

// An address may be a part of the message that it came in. What is remembered of a sender and of contacts keeps none in memory, whoever asks.
func TestMeterKeepsNoMessages(t *testing.T) {
	p := mustNew(t, Config{Rules: []Rule{{Name: "r", Bounds: Bounds{SenderRate: 1000, NewContacts: 1000}}}})
	m := NewMeter(p, nil)
	var messages []weak.Pointer[byte]
	for i := range 20 {
		message := fmt.Appendf(nil, "im:u%d@x.example%s", i, strings.Repeat(" ", 64<<10))
		end := bytes.IndexByte(message, ' ')
		from, err := cpim.ParseAddress(unsafe.String(&message[0], end))
		if err != nil {
			t.Fatal(err)
		}
		a := Ask{Operation: Messages, From: from, To: cpim.MustParseAddress("im:b@y.example")}
		if _, cause, _ := m.Message(noon, a, p.Decide(a), 1); cause != "" {
			t.Fatal(cause)
		}
		messages = append(messages, weak.Make(&message[0]))
	}
	runtime.GC()
	kept := 0
	for _, w := range messages {
		if w.Value() != nil {
			kept++
		}
	}
	if kept > 1 { // the last may be in a register yet
		t.Errorf("%d of %d messages are kept", kept, len(messages))
	}
	runtime.KeepAlive(m)
}

func BenchmarkMeter(b *testing.B) {
	p := mustNew(b, Config{
		Rules:   []Rule{{Name: "r", Bounds: Bounds{SenderRate: 1e9, NewContacts: 10}}},
		Tenants: []Tenant{{Name: "a", Domains: party(b, "a.example"), MessagesUnderWay: 5, MessagesPerSecond: 1e9}},
	})
	m := NewMeter(p, nil)
	a := Ask{Operation: Messages, From: cpim.MustParseAddress("im:x@a.example"), To: cpim.MustParseAddress("im:y@b.example")}
	now := noon
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		release, cause, _ := m.Message(now, a, p.Decide(a), 100)
		if cause != "" {
			b.Fatal(cause)
		}
		release()
	}
}

// Whoever writes to somebody new twice at once, beyond what new_contacts allows, gets neither message through.
func TestNewContactsAtOnce(t *testing.T) {
	p, err := New(Config{Rules: []Rule{{Name: "r", Bounds: Bounds{NewContacts: 1}}}})
	if err != nil {
		t.Fatal(err)
	}
	m, now := NewMeter(p, nil), time.Now()
	from := cpim.MustParseAddress("im:spam@example.net")
	try := func(i int) Cause {
		a := Ask{Operation: Messages, From: from, To: cpim.MustParseAddress(fmt.Sprintf("im:u%d@example.com", i))}
		release, cause, _ := m.Message(now, a, p.Decide(a), 1)
		if cause == "" {
			release()
		}
		return cause
	}
	if c := try(0); c != "" {
		t.Fatal(c)
	}
	var passed atomic.Int64
	for i := 1; i < 3000; i++ {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if try(i) == "" {
					passed.Add(1)
				}
			})
		}
		all.Wait()
	}
	if n := passed.Load(); n != 0 {
		t.Errorf("%d passed", n)
	}
}

// Whom a sender under new_contacts has written to stays known, however many strangers write to each other under rules without it.
func TestContactsAreNotFloodedAway(t *testing.T) {
	p := mustNew(t, Config{Rules: []Rule{
		{Name: "few", From: party(t, "x.example"), Bounds: Bounds{NewContacts: 1}},
		{Name: "many"},
	}})
	m := NewMeter(p, nil)
	if _, cause := send(t, p, m, noon, "a@x.example", "b@y.example", 1); cause != "" {
		t.Fatal(cause)
	}
	for i := range 2 * remembered {
		a := Ask{Operation: Messages, From: cpim.MustParseAddress("im:flood@z.example"), To: cpim.MustParseAddress(fmt.Sprintf("im:u%d@y.example", i))}
		m.Message(noon, a, p.Decide(a), 1)
	}
	if _, cause := send(t, p, m, noon, "a@x.example", "b@y.example", 1); cause != "" {
		t.Errorf("to somebody whom she knows: %q", cause)
	}
}

// What waited at another gateway, and so began before what was counted already, fills no bucket.
func TestBucketCountsNoTimeTwice(t *testing.T) {
	var b bucket
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		after time.Duration
		taken bool
	}{
		{10 * time.Second, true}, {0, true}, {10 * time.Second, false}, {5 * time.Second, false}, {10 * time.Second, false}, {11 * time.Second, true}, {11 * time.Second, false},
	} {
		if b.take(noon.Add(c.after), 1, 2) != c.taken {
			t.Errorf("message %d, of %v: taken should be %v", i, c.after, c.taken)
		}
	}
}

// What one rule's senders do makes no sender of another rule, whose allowance comes back more slowly, forgotten before it is full again.
func TestSlowBucketsBesideFastOnes(t *testing.T) {
	p := mustNew(t, Config{Rules: []Rule{
		{Name: "slow", From: party(t, "slow.example"), Bounds: Bounds{SenderRate: 1, SenderBurst: 600}},
		{Name: "fast", Bounds: Bounds{SenderRate: 60}},
	}})
	m := NewMeter(p, nil)
	burst := func(now time.Time) (n int) {
		for ; n < 1000; n++ {
			if _, cause := send(t, p, m, now, "a@slow.example", "b@y.example", 1); cause != "" {
				return n
			}
		}
		return n
	}
	if n := burst(noon); n != 600 {
		t.Fatalf("%d at once", n)
	}
	now := noon
	for range 3 { // in every part of the table
		now = now.Add(61 * time.Minute)
		for i := range 1000 {
			send(t, p, m, now, fmt.Sprintf("u%d@fast.example", i), "b@y.example", 1)
		}
	}
	if n := burst(now); n != 183 {
		t.Errorf("%d after 183 minutes, at one a minute", n)
	}
}
