package faults

import (
	"strings"
	"testing"
)

// The ledger finds what it is there to find.
func TestLedger(t *testing.T) {
	for _, c := range []struct {
		name    string
		crashes int
		play    func(*ledger)
		want    string // how the violation begins; "" for none
	}{
		{"delivered", 0, func(l *ledger) { l.answer("a", 202); l.deliver("a", "x") }, ""},
		{"told", 0, func(l *ledger) { l.answer("a", 202); l.fail("a") }, ""},
		{"refused", 0, func(l *ledger) { l.answer("a", 404) }, ""},
		{"no answer", 0, func(*ledger) {}, ""},
		{"lost", 0, func(l *ledger) { l.answer("a", 202) }, "I1"},
		{"twice without a crash", 0, func(l *ledger) { l.answer("a", 202); l.deliver("a", "x"); l.deliver("a", "x") }, "I2"},
		{"twice with a crash", 1, func(l *ledger) { l.answer("a", 202); l.deliver("a", "x"); l.deliver("a", "x") }, ""},
		{"a copy with another id", 1, func(l *ledger) { l.answer("a", 202); l.deliver("a", "x"); l.deliver("a", "y") }, "I2"},
		{"delivered and told", 1, func(l *ledger) { l.answer("a", 202); l.deliver("a", "x"); l.fail("a") }, "I3"},
		{"delivered, and told that it is not known", 0, func(l *ledger) { l.answer("a", 202); l.deliver("a", "x"); l.doubt("a") }, ""},
		{"delivered and told, once as not known", 1, func(l *ledger) { l.answer("a", 202); l.deliver("a", "x"); l.doubt("a"); l.fail("a") }, "I3"},
		{"delivered and refused", 1, func(l *ledger) { l.answer("a", 503); l.deliver("a", "x") }, "I3"},
		{"delivered, and its outcome not known", 1, func(l *ledger) { l.answer("a", 504); l.deliver("a", "x") }, ""},
		{"told twice", 0, func(l *ledger) { l.answer("a", 202); l.fail("a"); l.fail("a") }, "I3"},
		{"out of order", 0, func(l *ledger) { l.answer("a", 202); l.answer("b", 202); l.deliver("b", "y"); l.deliver("a", "x") }, "I4"},
		{"delivered, and its sender in doubt", 0, func(l *ledger) { l.answer("a", 202); l.deliver("a", "x"); l.doubt("a") }, ""},
		{"told, and in doubt", 0, func(l *ledger) { l.answer("a", 202); l.fail("a"); l.doubt("a") }, "I3"},
		{"too many frames", 0, func(l *ledger) {
			for range maxFrames + 1 {
				l.frame("a.token", "a receipt")
			}
		}, "I7"},
		{"a frame for nothing", 0, func(l *ledger) { l.frame("z", "a receipt") }, "I7"},
		{"never offered", 0, func(l *ledger) { l.deliver("z", "x") }, "I6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger()
			l.offer("a", "pair", false)
			l.offer("b", "pair", false)
			c.play(l)
			bad := l.check(c.crashes)
			if c.want == "" && len(bad) != 0 || c.want != "" && (len(bad) != 1 || !strings.HasPrefix(bad[0], c.want)) {
				t.Errorf("%q, want %q", bad, c.want)
			}
		})
	}
}

// A violation tells what happened, in order.
func TestAViolationTellsItsStory(t *testing.T) {
	l := newLedger()
	l.note("before")
	l.offer("a", "pair", false)
	l.answer("a", 202)
	l.note("the gateway is killed")
	bad := l.check(1)
	if len(bad) != 1 {
		t.Fatalf("%q", bad)
	}
	rest := bad[0]
	for _, want := range []string{"I1", "before", "offered", "answered with 202", "killed"} {
		i := strings.Index(rest, want)
		if i < 0 {
			t.Fatalf("%q is missing in %q", want, bad[0])
		}
		rest = rest[i:]
	}
}
