package sip

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// What a message has passed stands in a header field of our own, which is read as it was written; without a trace there is none.
func TestTheTraceCrossesAndComesBack(t *testing.T) {
	op := read(t, rfc7572Example4)
	if op.Trace != nil {
		t.Errorf("a trace %q in the example of an RFC", op.Trace)
	}
	if m := written(t, op, WriteOptions{Now: now}); m != nil {
		if v, ok := m.Header(traceField); ok {
			t.Errorf("%s: %s", traceField, v)
		}
	}
	op.Trace = []string{"a1.b2", "c3.d4"}
	m := written(t, op, WriteOptions{Now: now})
	back, ref := ReadMessage(m, ReadOptions{Now: now})
	if ref != nil || fmt.Sprint(back.Message.Trace) != "[a1.b2 c3.d4]" {
		t.Errorf("%+v, %v", back.Message, ref)
	}
	if m = written(t, op, WriteOptions{Now: now, OmitTrace: true}); m != nil {
		if v, ok := m.Header(traceField); ok {
			t.Errorf("%s: %s, which was not wanted", traceField, v)
		}
	}
}

// T-FI-24: a request that is sent again has the Call-ID, the tag of From and the CSeq of the first; one of them alone makes another message.
func TestWhatACopyShares(t *testing.T) {
	first := read(t, rfc7572Example4).Copy
	for _, c := range []struct {
		name, old, with string
		same            bool
	}{
		{"a new branch", "z9hG4bKeskdgs677", "z9hG4bKother", true},
		{"another Call-ID", "9E97FB43", "AE97FB43", false},
		{"another tag", "tag=vwxyz", "tag=vwxya", false},
		{"another CSeq", "CSeq: 1 ", "CSeq: 2 ", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := read(t, strings.Replace(rfc7572Example4, c.old, c.with, 1)).Copy; (got == first) != c.same || got == "" {
				t.Errorf("%q, of the first %q", got, first)
			}
		})
	}
}

// A message that fits into a packet without the trace goes without it (RFC 3428 §8: 1300 octets).
func TestTheMessageIsWorthMoreThanItsTrace(t *testing.T) {
	op := read(t, rfc7572Example4)
	op.Trace = strings.Fields(strings.Repeat("abcdefghijklm.1234567 ", adapters.MaxTrace))
	a := &Adapter{}
	op.Content.Octets = []byte(strings.Repeat("x", 800))
	o := WriteOptions{Now: now, FromTag: "tag", CallID: "call"}
	with, err := WriteMessage(op, o)
	o.OmitTrace = true
	without, err2 := WriteMessage(op, o)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if !a.overPager(with) || a.overPager(without) {
		t.Errorf("over 1300 octets: %v with the trace, %v without", a.overPager(with), a.overPager(without))
	}
}
