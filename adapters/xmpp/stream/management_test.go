package stream_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// TestManagementCounts: the basic and the efficient acking scenario (XEP-0198 §8), and the end of the numbers.
func TestManagementCounts(t *testing.T) {
	var m stream.Management
	for i := range 3 {
		m.Sent()
		m.Handled()
		if n, err := m.AckTo(uint32(i + 1)); n != 1 || err != nil || m.H() != uint32(i+1) || m.Unacked() != 0 {
			t.Fatalf("%d, %v, h=%d, %d not acknowledged", n, err, m.H(), m.Unacked())
		}
	}
	for range 5 {
		m.Sent()
	}
	if n, err := m.AckTo(3); n != 0 || err != nil || m.Unacked() != 5 {
		t.Fatalf("the same again: %d, %v", n, err)
	}
	if n, err := m.AckTo(7); n != 4 || err != nil || m.Unacked() != 1 {
		t.Fatalf("four of five: %d, %v", n, err)
	}
}

// TestManagementWraps: "in the unlikely case that the number of stanzas handled during a stream management session exceeds the number of
// digits that can be represented by the unsignedInt datatype ... the value of 'h' SHALL be reset from 2^32-1 back to zero" (XEP-0198 §4).
func TestManagementWraps(t *testing.T) {
	m := stream.ManagementAt(math.MaxUint32-1, math.MaxUint32-1)
	for range 4 {
		m.Sent()
		m.Handled()
	}
	if m.H() != 2 || m.Unacked() != 4 {
		t.Fatalf("h=%d, %d not acknowledged", m.H(), m.Unacked())
	}
	if n, err := m.AckTo(math.MaxUint32); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := m.AckTo(1); n != 2 || err != nil || m.Unacked() != 1 {
		t.Fatalf("%d, %v", n, err)
	}
}

// TestManagementWrongHTFI25: "When a remote entity acknowledges that it has handled a number of stanzas that is higher than the amount of
// stanzas that it was sent (by sending an 'h' value that is too high), the local entity SHOULD generate an undefined-condition stream
// error that includes a <handled-count-too-high/> element" (XEP-0198 §6). Nothing counts as acknowledged by it.
func TestManagementWrongHTFI25(t *testing.T) {
	m := stream.ManagementAt(0, 0)
	for range 8 {
		m.Sent()
	}
	if _, err := m.AckTo(3); err != nil {
		t.Fatal(err)
	}
	for h, app := range map[uint32]string{
		10: "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='10' send-count='8'/>", 9: "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='9' send-count='8'/>",
		2: "", 0: "", math.MaxUint32: "", 1 << 30: "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='1073741824' send-count='8'/>",
	} {
		n, err := m.AckTo(h)
		var f *stream.Fault
		if n != 0 || !errors.As(err, &f) || f.Condition != stream.UndefinedCondition || f.App != app || m.Unacked() != 5 {
			t.Errorf("h=%d: %d, %v, %d not acknowledged", h, n, err, m.Unacked())
			continue
		}
		want := "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" + app + "</stream:error></stream:stream>"
		if got := string(stream.AppendFault(nil, f)); got != want {
			t.Errorf("h=%d: %s", h, got)
		}
	}
	if n, err := m.AckTo(8); n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestManagementElements: the elements of the examples of XEP-0198, read and written.
func TestManagementElements(t *testing.T) {
	for raw, want := range map[string]stream.ManagementElement{
		"<enable xmlns='urn:xmpp:sm:3'/>":                                                                            {Kind: stream.Enable},
		"<enable xmlns='urn:xmpp:sm:3' resume='true'/>":                                                              {Kind: stream.Enable, Resumable: true},
		"<enable xmlns='urn:xmpp:sm:3' resume='1' max='600'/>":                                                       {Kind: stream.Enable, Resumable: true, Max: 10 * time.Minute},
		"<enabled xmlns='urn:xmpp:sm:3'/>":                                                                           {Kind: stream.Enabled},
		"<enabled xmlns='urn:xmpp:sm:3' id='some-long-sm-id' resume='true'/>":                                        {Kind: stream.Enabled, ID: "some-long-sm-id", Resumable: true},
		"<enabled xmlns='urn:xmpp:sm:3' id='x' location='[2001:41D0:1:A49b::1]:9222' resume='true'/>":                {Kind: stream.Enabled, ID: "x", Resumable: true, Location: "[2001:41D0:1:A49b::1]:9222"},
		"<enabled xmlns='urn:xmpp:sm:3' resume='true'/>":                                                             {Kind: stream.Enabled},
		"<enabled xmlns='urn:xmpp:sm:3' id='x' resume='false'/>":                                                     {Kind: stream.Enabled, ID: "x"},
		"<r xmlns='urn:xmpp:sm:3'/>":                                                                                 {Kind: stream.Ask},
		"<a xmlns='urn:xmpp:sm:3' h='0'/>":                                                                           {Kind: stream.Answer, HasH: true},
		"<a xmlns='urn:xmpp:sm:3' h='4294967295'/>":                                                                  {Kind: stream.Answer, HasH: true, H: math.MaxUint32},
		"<resume xmlns='urn:xmpp:sm:3' h='7' previd='some-long-sm-id'/>":                                             {Kind: stream.Resume, HasH: true, H: 7, ID: "some-long-sm-id"},
		"<resumed xmlns='urn:xmpp:sm:3' h='9' previd='some-long-sm-id'/>":                                            {Kind: stream.Resumed, HasH: true, H: 9, ID: "some-long-sm-id"},
		"<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>":   {Kind: stream.Failed, Condition: "unexpected-request"},
		"<failed xmlns='urn:xmpp:sm:3' h='8'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>": {Kind: stream.Failed, HasH: true, H: 8, Condition: "item-not-found"},
		"<failed xmlns='urn:xmpp:sm:3'/>":                                                                            {Kind: stream.Failed, Condition: "undefined-condition"},
	} {
		got, ok, err := stream.ReadManagement([]byte(raw), serverScope(), strictxml.Limits{})
		if !ok || err != nil || got != want {
			t.Errorf("%s: %+v, %v, %v", raw, got, ok, err)
			continue
		}
		printed := stream.AppendManagement(nil, &got)
		if again, ok, err := stream.ReadManagement(printed, nil, strictxml.Limits{}); !ok || err != nil || again != got {
			t.Errorf("%s: printed %s, read %+v, %v", raw, printed, again, err)
		}
	}
	for name, raw := range map[string]string{
		"no h": "<a xmlns='urn:xmpp:sm:3'/>", "h of letters": "<a xmlns='urn:xmpp:sm:3' h='x'/>", "negative h": "<a xmlns='urn:xmpp:sm:3' h='-1'/>",
		"h with a sign": "<a xmlns='urn:xmpp:sm:3' h='+1'/>", "h too large": "<a xmlns='urn:xmpp:sm:3' h='4294967296'/>", "empty h": "<a xmlns='urn:xmpp:sm:3' h=''/>",
		"no previd": "<resume xmlns='urn:xmpp:sm:3' h='1'/>", "resumed without h": "<resumed xmlns='urn:xmpp:sm:3' previd='1'/>",
		"resume of letters": "<enable xmlns='urn:xmpp:sm:3' resume='yes'/>", "max of letters": "<enable xmlns='urn:xmpp:sm:3' max='soon'/>",
		"a long id": "<enabled xmlns='urn:xmpp:sm:3' id='" + strings.Repeat("x", 4097) + "'/>",
		"unknown":   "<b xmlns='urn:xmpp:sm:3'/>",
	} {
		_, ok, err := stream.ReadManagement([]byte(raw), serverScope(), strictxml.Limits{})
		if c := stream.ConditionOf(err); !ok || c != stream.BadFormat && c != stream.UnsupportedStanzaType {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	for _, raw := range []string{"<message/>", "<a h='1'/>", "<a xmlns='urn:xmpp:sm:2' h='1'/>"} {
		if _, ok, err := stream.ReadManagement([]byte(raw), serverScope(), strictxml.Limits{}); ok || err != nil {
			t.Errorf("%s: %v, %v", raw, ok, err)
		}
	}
}

// FuzzManagement: what is read prints, and reads as the same; and what is acknowledged is never more than was sent.
func FuzzManagement(f *testing.F) {
	for _, s := range []string{
		"<a xmlns='urn:xmpp:sm:3' h='7'/>", "<resume xmlns='urn:xmpp:sm:3' h='0' previd='&lt;'/>", "<enabled xmlns='urn:xmpp:sm:3' id='1' resume='1' max='5' location='a:1'/>",
		"<failed xmlns='urn:xmpp:sm:3' h='1'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>", "<r xmlns='urn:xmpp:sm:3'/>", "<enable xmlns='urn:xmpp:sm:3' max='0'/>",
	} {
		f.Add([]byte(s), uint32(0), uint8(3))
		f.Add([]byte(s), uint32(math.MaxUint32-1), uint8(9))
	}
	f.Fuzz(func(t *testing.T, raw []byte, at uint32, sent uint8) {
		e, ok, err := stream.ReadManagement(raw, serverScope(), strictxml.Limits{})
		if !ok || err != nil {
			return
		}
		printed := stream.AppendManagement(nil, &e)
		again, ok, err := stream.ReadManagement(printed, serverScope(), strictxml.Limits{})
		if e.Kind == stream.Ask || e.Kind == stream.Enable || e.Kind == stream.Enabled {
			e.H, e.HasH = 0, false // it means nothing there
		}
		want := again
		want.Kind, want.H, want.HasH, want.ID, want.Condition = e.Kind, e.H, e.HasH, e.ID, e.Condition
		if !ok || err != nil || again != want {
			t.Fatalf("%q: printed %s, read %+v, %v", raw, printed, again, err)
		}
		m := stream.ManagementAt(0, at)
		for range sent {
			m.Sent()
		}
		n, err := m.AckTo(e.H)
		if n < 0 || n > int(sent) || (err == nil) != (e.H-at <= uint32(sent)) || m.Unacked() != int(sent)-n {
			t.Fatalf("from %d, %d sent, h=%d: %d, %v", at, sent, e.H, n, err)
		}
	})
}

func BenchmarkReadManagement(b *testing.B) {
	raw, scope := []byte("<a xmlns='urn:xmpp:sm:3' h='4711'/>"), serverScope()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := stream.ReadManagement(raw, scope, strictxml.Limits{}); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendManagement(b *testing.B) {
	e := stream.ManagementElement{Kind: stream.Answer, H: 4711}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = stream.AppendManagement(dst[:0], &e)
	}
}
