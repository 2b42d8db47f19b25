package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// The nine states of RFC 6121 Appendix A.1, of Juliet's roster, with Romeo as the contact.
var rosterStates = []string{
	"None", "None + Pending Out", "None + Pending In", "None + Pending Out+In", "To", "To + Pending In", "From", "From + Pending Out", "Both",
}

// rosterRule is a row of one of the tables of RFC 6121 Appendix A: whether the stanza goes on (it is routed, or delivered), and the new state.
type rosterRule struct {
	goes string // "MUST", "S.N." (SHOULD NOT) or "M.N." (MUST NOT)
	to   string // "" for no state change
}

// rosterTable has the rows in the order of rosterStates.
type rosterTable [9]rosterRule

// RFC 6121 Appendix A.2: what Juliet sends.
var outboundTables = map[string]rosterTable{
	"subscribe": { // Table 2
		{"MUST", "None + Pending Out"},
		{"MUST", ""},
		{"MUST", "None + Pending Out+In"},
		{"MUST", ""},
		{"MUST", ""},
		{"MUST", ""},
		{"MUST", "From + Pending Out"},
		{"MUST", ""},
		{"MUST", ""},
	},
	"unsubscribe": { // Table 3
		{"MUST", ""},
		{"MUST", "None"},
		{"MUST", ""},
		{"MUST", "None + Pending In"},
		{"MUST", "None"},
		{"MUST", "None + Pending In"},
		{"MUST", ""},
		{"MUST", "From"},
		{"MUST", "From"},
	},
	"subscribed": { // Table 4
		{"M.N.", "pre-approval"},
		{"M.N.", "pre-approval"},
		{"MUST", "From"},
		{"MUST", "From + Pending Out"},
		{"M.N.", "pre-approval"},
		{"MUST", "Both"},
		{"M.N.", ""},
		{"M.N.", ""},
		{"M.N.", ""},
	},
	"unsubscribed": { // Table 5
		{"S.N.", ""},
		{"S.N.", ""},
		{"MUST", "None"},
		{"MUST", "None + Pending Out"},
		{"S.N.", ""},
		{"MUST", "To"},
		{"MUST", "None"},
		{"MUST", "None + Pending Out"},
		{"MUST", "To"},
	},
}

// RFC 6121 Appendix A.3: what Juliet is sent.
var inboundTables = map[string]rosterTable{
	"subscribe": { // Table 6
		{"MUST", "None + Pending In"},
		{"MUST", "None + Pending Out+In"},
		{"S.N.", ""},
		{"S.N.", ""},
		{"MUST", "To + Pending In"},
		{"S.N.", ""},
		{"S.N.", ""},
		{"S.N.", ""},
		{"S.N.", ""},
	},
	"unsubscribe": { // Table 7
		{"S.N.", ""},
		{"S.N.", ""},
		{"MUST", "None"},
		{"MUST", "None + Pending Out"},
		{"S.N.", ""},
		{"MUST", "To"},
		{"MUST", "None"},
		{"MUST", "None + Pending Out"},
		{"MUST", "To"},
	},
	"subscribed": { // Table 8
		{"S.N.", ""},
		{"MUST", "To"},
		{"S.N.", ""},
		{"MUST", "To + Pending In"},
		{"S.N.", ""},
		{"S.N.", ""},
		{"S.N.", ""},
		{"MUST", "Both"},
		{"S.N.", ""},
	},
	"unsubscribed": { // Table 9
		{"S.N.", ""},
		{"MUST", "None"},
		{"S.N.", ""},
		{"MUST", "None + Pending In"},
		{"MUST", "None"},
		{"MUST", "None + Pending In"},
		{"S.N.", ""},
		{"MUST", "From"},
		{"MUST", "From"},
	},
}

// rosterWorld is Juliet's server, as RFC 6121 Appendix A says, and what the gateway holds of the two: Juliet's watch of Romeo and Romeo's
// of Juliet. Between them are stanzas, as octets through the XMPP adapter's reader and writer; on the other side Romeo's SIP user agent, which
// answers every request with 200 and says nothing by itself.
type rosterWorld struct {
	t           *testing.T
	state       string
	preapproved bool
	out, in     *watch.State // Juliet watches Romeo; Romeo watches Juliet
	now         time.Time

	sent      []string // by the gateway to Juliet's server, by type
	delivered []string // to Juliet
	routed    []string // by Juliet's server to the gateway
	told      []string // Romeo, as the state of his watch
}

var (
	rosterJuliet = cpim.MustParseAddress("pres:juliet@example.com")
	rosterRomeo  = cpim.MustParseAddress("pres:romeo@example.net")
)

func rosterRules(asks bool) *watch.Rules {
	return &watch.Rules{
		AsksExplicitly: asks, Sessions: 4, Devices: 4, Duration: time.Hour, FetchWait: time.Second, RetryFirst: time.Minute, RetryMost: time.Hour,
	}
}

func newRosterWorld(t *testing.T) *rosterWorld {
	w := &rosterWorld{t: t, state: "None", now: time.Unix(1e9, 0)}
	w.forget()
	return w
}

// forget is a gateway that has lost everything.
func (w *rosterWorld) forget() {
	w.out = watch.New(rosterJuliet, rosterRomeo, rosterRules(false))
	w.in = watch.New(rosterRomeo, rosterJuliet, rosterRules(true))
}

func row(state string) int {
	for i, s := range rosterStates {
		if s == state {
			return i
		}
	}
	panic("no such state: " + state)
}

// juliet sends: her server does what the tables of A.2 say.
func (w *rosterWorld) juliet(kind string) {
	r := outboundTables[kind][row(w.state)]
	switch r.to {
	case "":
	case "pre-approval":
		w.preapproved = true
	default:
		w.state = r.to
	}
	if kind == "unsubscribed" {
		w.preapproved = false // "A client can cancel a pre-approval by sending a presence stanza of type "unsubscribed"" (RFC 6121 §3.4.2)
	}
	if r.goes == "MUST" {
		w.fromServer(kind, "")
	}
}

// fromServer is a stanza from Juliet's server to the gateway.
func (w *rosterWorld) fromServer(kind, resource string) {
	w.routed = append(w.routed, kind)
	at := ""
	if kind != "" {
		at = " type='" + kind + "'"
	}
	s, err := stanza.ReadAlone([]byte("<presence from='juliet@example.com"+resource+"' to='romeo@example.net'"+at+"/>"), strictxml.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	if op, e := stanza.ToWatch(s); e != nil {
		w.t.Fatal(e)
	} else if op != nil {
		w.step(w.out, watch.Event{Asked: op})
		return
	}
	op, e := stanza.ToNotify(s, w.now)
	if e != nil || op == nil {
		w.t.Fatalf("%s: %v, %v", kind, op, e)
	}
	w.step(w.in, watch.Event{Told: op})
}

// toServer is what the gateway writes to Juliet's server, one or more stanzas.
func (w *rosterWorld) toServer(octets []byte) {
	root, err := strictxml.ParseDocument([]byte("<all xmlns='jabber:client'>"+string(octets)+"</all>"), strictxml.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	for c := range root.Children() {
		from, _ := c.Attr("", "from")
		to, _ := c.Attr("", "to")
		kind, _ := c.Attr("", "type")
		if !strings.HasPrefix(from, "romeo@example.net") || to != "juliet@example.com" {
			w.t.Errorf("a stanza from %s to %s", from, to)
		}
		w.receive(kind)
	}
}

// receive is Juliet's server doing what the tables of A.3 say.
func (w *rosterWorld) receive(kind string) {
	w.sent = append(w.sent, kind)
	table, ok := inboundTables[kind]
	if !ok {
		authorized := w.state == "From" || w.state == "From + Pending Out" || w.state == "Both"
		switch {
		case kind != "probe":
		case authorized:
			w.fromServer("", "/balcony") // RFC 6121 §4.3.2: she is there
		default:
			w.fromServer("unsubscribed", "") // rule 1
		}
		return
	}
	was := w.state
	r := table[row(was)]
	if r.to != "" {
		w.state = r.to
	}
	if r.goes == "MUST" {
		w.delivered = append(w.delivered, kind)
	}
	switch {
	case kind == "subscribe" && w.preapproved && r.to != "":
		// note 1 of Table 6: "the server MAY auto-reply with "subscribed" and change the state"
		w.state = outboundTables["subscribed"][row(w.state)].to
		w.fromServer("subscribed", "")
	case kind == "subscribe" && strings.HasPrefix(was, "From") || kind == "subscribe" && was == "Both":
		w.fromServer("subscribed", "") // note 2 of Table 6
	case kind == "unsubscribe" && r.to != "":
		w.fromServer("unsubscribed", "") // note 1 of Table 7
	}
}

// step is one step of one of the two machines, and everything that follows from it.
func (w *rosterWorld) step(s *watch.State, e watch.Event) {
	w.now = w.now.Add(time.Second)
	for _, f := range s.Step(w.now, e) {
		switch {
		case f.Respond != nil && f.Respond.Outcome == adapters.Failure:
			w.t.Errorf("refused: %+v", f.Respond)
		case f.Tell != nil && s == w.out:
			octets, _, err := stanza.AppendNotify(nil, f.Tell, w.now)
			if err != nil {
				w.t.Fatal(err)
			}
			w.toServer(octets)
		case f.Tell != nil:
			said := f.Tell.State.String()
			if f.Tell.End != 0 {
				said += ";" + f.Tell.End.String()
			}
			w.told = append(w.told, said)
		case f.Request != nil:
			a := &watch.Answer{Verb: f.Request.Verb, Serial: f.Request.Serial}
			a.Status.Outcome = adapters.Success
			if s == w.in {
				op := &adapters.WatchOp{Verb: f.Request.Verb, Watch: adapters.WatchID{Watcher: rosterRomeo, Presentity: rosterJuliet}}
				octets, err := stanza.AppendWatch(nil, op, "")
				if err != nil {
					w.t.Fatal(err)
				}
				w.toServer(octets)
			}
			w.step(s, watch.Event{Answered: a})
		}
	}
}

// romeo does something with his SIP user agent, so that the gateway sends Juliet's server this type of presence.
func (w *rosterWorld) romeo(kind string) {
	watching := adapters.WatchOp{Watch: adapters.WatchID{Watcher: rosterRomeo, Presentity: rosterJuliet, Session: "dialog"}, Hops: 1}
	watched := adapters.NotifyOp{Watch: adapters.WatchID{Watcher: rosterJuliet, Presentity: rosterRomeo}, Whole: true}
	switch kind {
	case "subscribe": // a SUBSCRIBE
		watching.Verb, watching.Duration = adapters.WatchOpen, time.Hour
		w.step(w.in, watch.Event{Asked: &watching})
	case "unsubscribe": // the authorization is given back, for which SIP has no request of its own
		watching.Verb = adapters.WatchCancel
		w.step(w.in, watch.Event{Asked: &watching})
	case "subscribed": // a NOTIFY that is active
		watched.State = adapters.WatchActive
		watched.Presence = &pidf.Presence{Entity: pidf.MustParseURI("pres:romeo@example.net"), Tuples: []pidf.Tuple{
			{ID: pidf.TupleID("orchard"), Status: pidf.Status{Basic: pidf.BasicOpen}},
		}}
		w.step(w.out, watch.Event{Told: &watched})
	case "unsubscribed": // a NOTIFY that is terminated;reason=rejected
		watched.State, watched.End = adapters.WatchTerminated, adapters.EndRejected
		w.step(w.out, watch.Event{Told: &watched})
	}
}

// reach brings the world into a state by what the two users do.
func (w *rosterWorld) reach(state string) {
	for _, act := range map[string][]func(){
		"None":                  {},
		"None + Pending Out":    {w.julietAsks},
		"None + Pending In":     {w.romeoAsks},
		"None + Pending Out+In": {w.julietAsks, w.romeoAsks},
		"To":                    {w.julietAsks, w.romeoGrants},
		"To + Pending In":       {w.julietAsks, w.romeoGrants, w.romeoAsks},
		"From":                  {w.romeoAsks, w.julietGrants},
		"From + Pending Out":    {w.romeoAsks, w.julietGrants, w.julietAsks},
		"Both":                  {w.romeoAsks, w.julietGrants, w.julietAsks, w.romeoGrants},
	}[state] {
		act()
	}
	if w.state != state {
		w.t.Fatalf("the way to %q led to %q", state, w.state)
	}
	w.agree()
	w.sent, w.delivered, w.routed, w.told = nil, nil, nil, nil
}

func (w *rosterWorld) julietAsks()   { w.juliet("subscribe") }
func (w *rosterWorld) julietGrants() { w.juliet("subscribed") }
func (w *rosterWorld) romeoAsks()    { w.romeo("subscribe") }
func (w *rosterWorld) romeoGrants()  { w.romeo("subscribed") }

// agree compares what Juliet's server and the gateway hold of the two authorizations.
func (w *rosterWorld) agree() {
	w.t.Helper()
	out, in := watch.None, watch.None
	switch {
	case strings.HasPrefix(w.state, "To") || w.state == "Both":
		out = watch.Granted
	case strings.Contains(w.state, "Pending Out"):
		out = watch.Asked
	}
	switch {
	case strings.HasPrefix(w.state, "From") || w.state == "Both":
		in = watch.Granted
	case strings.Contains(w.state, "In"):
		in = watch.Asked
	}
	if w.out.Authorization() != out || w.in.Authorization() != in {
		w.t.Errorf("the server's state is %q, and the gateway has %v for Juliet's watch, %v for Romeo's", w.state, w.out.Authorization(), w.in.Authorization())
	}
}

// RFC 6121 Appendix A.2, each row: after what Juliet sends, her server and the gateway hold the same of both authorizations, and her server is in
// the state of the table's third column.
func TestRosterStatesOutbound(t *testing.T) {
	for kind, table := range outboundTables {
		for i, state := range rosterStates {
			t.Run(kind+" in "+state, func(t *testing.T) {
				w := newRosterWorld(t)
				w.reach(state)
				w.juliet(kind)
				want := table[i].to
				if want == "" || want == "pre-approval" {
					want = state
				}
				if w.state != want {
					t.Errorf("the new state is %q, the table has %q; the gateway sent %q", w.state, want, w.sent)
				}
				if routed := len(w.routed) > 0 && w.routed[0] == kind; routed != (table[i].goes == "MUST") {
					t.Errorf("routed: %q, the table has %s", w.routed, table[i].goes)
				}
				w.agree()
			})
		}
	}
}

// RFC 6121 Appendix A.3, each row: what Romeo does makes the gateway send what changes the state, and nothing that "SHOULD NOT" be delivered,
// but for what repairs a state that one of the two has lost.
func TestRosterStatesInbound(t *testing.T) {
	for kind, table := range inboundTables {
		for i, state := range rosterStates {
			t.Run(kind+" in "+state, func(t *testing.T) {
				w := newRosterWorld(t)
				w.reach(state)
				w.romeo(kind)
				want := table[i].to
				if want == "" {
					want = state
				}
				if w.state != want {
					t.Errorf("the new state is %q, the table has %q; the gateway sent %q", w.state, want, w.sent)
				}
				delivered := fmt.Sprint(w.delivered)
				if wanted := fmt.Sprint([]string{kind}); table[i].goes == "MUST" && delivered != wanted {
					t.Errorf("Juliet was shown %s", delivered)
				} else if table[i].goes != "MUST" && len(w.delivered) > 0 {
					t.Errorf("Juliet was shown %s, where the table has %s", delivered, table[i].goes)
				}
				w.agree()
			})
		}
	}
}

// A gateway that has lost everything learns both authorizations again from what happens next, and shows Juliet no second request
// (RFC 6121 §3.1.3 rule 2, §4.3.1).
func TestRosterStatesLost(t *testing.T) {
	for _, state := range rosterStates {
		t.Run(state, func(t *testing.T) {
			w := newRosterWorld(t)
			w.reach(state)
			w.forget()
			if strings.HasPrefix(state, "To") || state == "Both" {
				w.fromServer("probe", "") // Juliet comes online
				w.romeo("subscribed")
			} else if strings.Contains(state, "Pending Out") {
				w.fromServer("subscribe", "") // RFC 6121 §3.1.2: "the user's server SHOULD resend the subscription request to the contact"
			}
			asked := strings.HasPrefix(state, "From") || state == "Both" || strings.Contains(state, "In")
			if asked {
				w.romeo("subscribe") // his user agent refreshes
			}
			if w.state != state {
				t.Errorf("the state became %q", w.state)
			}
			if len(w.delivered) > 0 {
				t.Errorf("Juliet was shown %q", w.delivered)
			}
			w.agree()
		})
	}
}

// "the user's server MUST NOT deliver a presence stanza of type "subscribe" from the contact to the user, but instead MUST automatically respond
// to such a stanza" (RFC 6121 §3.4.2): Romeo's watch is active at once, and an approval that came before any request changed nothing.
func TestRosterPreApproval(t *testing.T) {
	for _, state := range []string{"None", "None + Pending Out", "To"} {
		t.Run(state, func(t *testing.T) {
			w := newRosterWorld(t)
			w.reach(state)
			w.juliet("subscribed")
			if len(w.routed) > 0 {
				t.Errorf("routed: %q", w.routed)
			}
			w.romeo("subscribe")
			if last := w.told[len(w.told)-1]; last != "active" {
				t.Errorf("Romeo was told %q", w.told)
			}
			w.agree()
		})
	}
}
