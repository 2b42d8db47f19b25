package stanza_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// T-PR-07: what each presence stanza means to the core, and what each thing that the core tells is in XMPP, as a table that a protocol reader can
// check (ISTHMUS_UPDATE=1 rewrites it). What RFC 8048 says of it is asserted beside, whatever the file says.
func TestPresenceMapping(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Written by: ISTHMUS_UPDATE=1 go test ./adapters/xmpp/stanza -run TestPresenceMapping\n\n# From XMPP: type, from -> what the core is told\n")
	for _, kind := range []string{"", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error", "novel"} {
		for _, from := range []string{"juliet@example.com", "juliet@example.com/balcony"} {
			attr := ""
			if kind != "" {
				attr = " type='" + kind + "'"
			}
			s := read(t, "<presence from='"+from+"' to='romeo@example.net'"+attr+"/>")
			line := "nothing by itself"
			if op, e := stanza.ToWatch(s); e != nil {
				t.Fatal(e)
			} else if op != nil {
				line = "her wish: " + op.Verb.String()
			} else if n, e := stanza.ToNotify(s, time.Time{}); e != nil {
				t.Fatal(e)
			} else if n != nil {
				line = "told: " + n.State.String()
				if n.End != adapters.EndNone {
					line += ", end " + n.End.String()
				}
				line += [...]string{"", ", granted", ", refused"}[n.Change]
				if n.Presence != nil {
					line += fmt.Sprintf(", device %q %v", n.Instance, n.Presence.Tuples[0].Status.Basic)
				}
				if (n.Change == adapters.AuthorizationGranted) != (kind == "subscribed") || (n.Change == adapters.AuthorizationRefused) != (kind == "unsubscribed") {
					t.Errorf("%q: the change is %v", kind, n.Change)
				}
				if n.Change != adapters.AuthorizationUnchanged && n.Presence != nil {
					t.Errorf("%q speaks of presence", kind)
				}
			}
			fmt.Fprintf(&b, "%-14s %-28s %s\n", kind, from, line)
		}
	}
	b.WriteString("\n# To XMPP: state, change, presence -> stanzas\n")
	tuple := func(basic pidf.Basic) []pidf.Tuple {
		return []pidf.Tuple{{ID: pidf.TupleID("phone"), Status: pidf.Status{Basic: basic}}}
	}
	doc := func(tuples []pidf.Tuple) *pidf.Presence {
		return &pidf.Presence{Entity: pidf.MustParseURI("pres:romeo@example.net"), Tuples: tuples}
	}
	for state := adapters.WatchNeutral; state <= adapters.WatchTerminated; state++ {
		for change := adapters.AuthorizationUnchanged; change <= adapters.AuthorizationRefused; change++ {
			for _, p := range []struct {
				name string
				doc  *pidf.Presence
				gone []pidf.ID
			}{
				{"nothing", nil, nil},
				{"open", doc(tuple(pidf.BasicOpen)), nil},
				{"closed", doc(tuple(pidf.BasicClosed)), nil},
				{"no tuple", doc(nil), nil},
				{"a tuple gone", nil, []pidf.ID{pidf.TupleID("desk")}},
			} {
				op := &adapters.NotifyOp{
					Watch: adapters.WatchID{Watcher: julietP, Presentity: romeoP}, State: state, Change: change, Presence: p.doc, Withdrawn: p.gone, Whole: true,
				}
				got, n, err := stanza.AppendNotify(nil, op, time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				text := strings.NewReplacer(" to='juliet@example.com'", "", "from='romeo@example.net", "from='romeo").Replace(string(got))
				if n == 0 {
					text = "nothing"
				}
				fmt.Fprintf(&b, "%-10s %-9s %-12s %s\n", state, [...]string{"unchanged", "granted", "refused"}[change], p.name, text)
				row := fmt.Sprintf("%v, change %d, %s: %s", state, change, p.name, got)
				// "it MUST respond to them on the SIP side but refrain from sending any presence stanzas" (RFC 8048 §5.2.1)
				if state == adapters.WatchPending && n != 0 {
					t.Error("while pending: " + row)
				}
				if state == adapters.WatchPending {
					continue
				}
				if has := strings.Count(text, "'subscribed'"); (has == 1) != (change == adapters.AuthorizationGranted) || has > 1 {
					t.Error(row)
				}
				if has := strings.HasSuffix(text, "'unsubscribed'/>"); has != (change == adapters.AuthorizationRefused) {
					t.Error(row)
				}
				// Nothing of her presence goes with, or after, the end of the authorization but that she is gone.
				if there := strings.Contains(text, "/phone'/>"); there && (p.name != "open" || change == adapters.AuthorizationRefused) {
					t.Error(row)
				}
				if p.gone != nil && !strings.Contains(text, "/desk' type='unavailable'/>") {
					t.Error(row)
				}
			}
		}
	}
	const file = "testdata/presence-mapping.txt"
	if os.Getenv("ISTHMUS_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	kept := strings.Split(string(want), "\n")
	for i, g := range strings.Split(b.String(), "\n") {
		if i >= len(kept) || g != kept[i] {
			t.Fatalf("%s:%d is not: %s", file, i+1, g)
		}
	}
}
