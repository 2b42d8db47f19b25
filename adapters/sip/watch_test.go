package sip

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

func pres(s string) cpim.Address { return cpim.MustParseAddress("pres:" + s) }

// fields compares header fields of a request with those that an RFC prints; the ones not named are not compared.
func fields(t *testing.T, got *wire.Message, want map[string]string) {
	t.Helper()
	for name, value := range want {
		switch v, has := got.Header(name); {
		case value == "-" && has:
			t.Errorf("%s: %s, want none", name, v)
		case value != "-" && v != value:
			t.Errorf("%s: %s, want %s", name, v, value)
		}
	}
}

// julietWatchesRomeo is the dialog of RFC 8048 §5.2.
func julietWatchesRomeo(t *testing.T) *Dialog {
	t.Helper()
	d, err := NewWatch(adapters.WatchID{Watcher: pres("juliet@example.com"), Presentity: pres("romeo@example.net")}, "sip:juliet@x2s.example.com")
	if err != nil {
		t.Fatal(err)
	}
	d.CallID, d.LocalTag = "5BCF940D-793D-43F8-8972-218F7F4EAA8C", "j89d"
	return &d
}

func TestRFC8048Example2And8(t *testing.T) {
	d := julietWatchesRomeo(t)
	req, err := WriteSubscribe(d, time.Hour, 70)
	if err != nil {
		t.Fatal(err)
	}
	m := parsed(t, req)
	if m.RequestURIText() != "sip:romeo@example.net" {
		t.Errorf("Request-URI %s", m.RequestURIText())
	}
	// The example has no To, which every request must have (RFC 3261 §8.1.1), and "gr" outside of the Contact's brackets.
	fields(t, m, map[string]string{
		"From": "<sip:juliet@example.com>;tag=j89d", "To": "<sip:romeo@example.net>", "Call-ID": d.CallID, "Event": "presence",
		"Max-Forwards": "70", "CSeq": "1 SUBSCRIBE", "Contact": "<sip:juliet@x2s.example.com>", "Accept": "application/pidf+xml",
		"Expires": "3600", "Content-Length": "0",
	})

	// Example 3 answers, and Example 8 unsubscribes within the dialog. It prints another To domain, and skips to CSeq 42: "strictly
	// monotonically increasing and contiguous" (RFC 3261 §12.2.1.1) gives 2.
	d.RemoteTag = "ffd2"
	if req, err = WriteSubscribe(d, 0, 70); err != nil {
		t.Fatal(err)
	}
	fields(t, parsed(t, req), map[string]string{
		"From": "<sip:juliet@example.com>;tag=j89d", "To": "<sip:romeo@example.net>;tag=ffd2", "Call-ID": d.CallID,
		"Event": "presence", "CSeq": "2 SUBSCRIBE", "Expires": "0", "Accept": "application/pidf+xml",
	})
}

func TestRFC8048Example23(t *testing.T) {
	d := julietWatchesRomeo(t)
	req, err := WriteSubscribe(d, 0, 70)
	if err != nil {
		t.Fatal(err)
	}
	fields(t, parsed(t, req), map[string]string{"Expires": "0", "CSeq": "1 SUBSCRIBE", "To": "<sip:romeo@example.net>", "Event": "presence"})
}

// romeoWatchesJuliet is the dialog of RFC 8048 §5.3, at the notifier.
func romeoWatchesJuliet() *Dialog {
	return &Dialog{
		Role: Notifier, CallID: "AA5A8BE5-CBB7-42B9-8181-6230012B1E11", LocalTag: "ur93", RemoteTag: "xfg9",
		LocalURI: "sip:juliet@example.com", RemoteURI: "sip:romeo@example.net", LocalCSeq: 1,
		RemoteTarget: "sip:romeo@192.0.2.7", Contact: "sip:juliet@s2x.example.com", Event: "presence", Expires: now.Add(10 * time.Minute),
		State: adapters.WatchPending, Watcher: pres("romeo@example.net"), Presentity: pres("juliet@example.com"), Session: "ur93",
	}
}

func TestRFC8048Examples14And16And19(t *testing.T) {
	doc, err := pidf.Parse([]byte(`<?xml version='1.0' encoding='UTF-8'?>
<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:juliet@example.com'>
<tuple id='ID-yn0cl4bnw0yr3vym'><status><basic>open</basic><show xmlns='jabber:client'>away</show></status></tuple>
</presence>`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		op    adapters.NotifyOp
		state string
		body  bool
	}{
		// Example 14 has no "expires", which "the notifier MUST also include" (RFC 6665 §4.2.2).
		{"14, approved", adapters.NotifyOp{State: adapters.WatchActive}, "active;expires=600", false},
		{"16, rejected", adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndRejected}, "terminated;reason=rejected", false},
		{"19, presence", adapters.NotifyOp{State: adapters.WatchActive, Duration: 599 * time.Second, Presence: doc}, "active;expires=599", true},
		{"presence only, while pending", adapters.NotifyOp{Presence: doc}, "pending;expires=600", false},
		{"17, ended by the watcher", adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndTimeout, Presence: doc}, "terminated;reason=timeout", true},
		{"probation", adapters.NotifyOp{State: adapters.WatchTerminated, End: adapters.EndProbation, RetryAfter: time.Minute}, "terminated;reason=probation;retry-after=60", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := romeoWatchesJuliet()
			req, err := WriteNotify(d, &c.op, now)
			if err != nil {
				t.Fatal(err)
			}
			m := parsed(t, req)
			// The examples print From and To exchanged, and the watcher's address of record as the Request-URI: within a
			// dialog From is the notifier and the Request-URI the remote target (RFC 3261 §12.2.1.1).
			if m.RequestURIText() != "sip:romeo@192.0.2.7" {
				t.Errorf("Request-URI %s", m.RequestURIText())
			}
			want := map[string]string{
				"From": "<sip:juliet@example.com>;tag=ur93", "To": "<sip:romeo@example.net>;tag=xfg9", "Call-ID": d.CallID,
				"Event": "presence", "Subscription-State": c.state, "Max-Forwards": "70", "CSeq": "2 NOTIFY",
				"Contact": "<sip:juliet@s2x.example.com>", "Content-Type": "-",
			}
			if c.body {
				want["Content-Type"] = "application/pidf+xml"
			}
			fields(t, m, want)
			if c.body {
				back, err := pidf.Parse(m.Body())
				if err != nil || !back.Equal(doc) {
					t.Errorf("%v %s", err, m.Body())
				}
			} else if len(m.Body()) > 0 {
				t.Errorf("body %s", m.Body())
			}
		})
	}
}

func TestRFC8048Examples11And17And24(t *testing.T) {
	const example11 = `
SUBSCRIBE sip:juliet@example.com SIP/2.0
Via: SIP/2.0/TCP s2x.example.net;branch=z9hG4bKna998sk
From: <sip:romeo@example.net>;tag=xfg9
To: <sip:juliet@example.net>
Call-ID: AA5A8BE5-CBB7-42B9-8181-6230012B1E11
Event: presence
Max-Forwards: 70
CSeq: 1 SUBSCRIBE
Contact: <sip:romeo@example.net>;gr=dr4hcr0st3lup4c
Accept: application/pidf+xml
Content-Length: 0

`
	for _, c := range []struct {
		name, text string
		want       adapters.WatchOp
	}{
		// "the Expires header was not included in the SUBSCRIBE request; this means that the default value of 3600 ... applies"
		{"11", example11, adapters.WatchOp{Verb: adapters.WatchOpen, Duration: time.Hour}},
		{"17", strings.NewReplacer("<sip:juliet@example.net>", "<sip:juliet@example.com>;tag=ur93", "CSeq: 1", "CSeq: 66", "Accept: application/pidf+xml", "Expires: 0").Replace(example11), adapters.WatchOp{Verb: adapters.WatchClose}},
		{"24", strings.Replace(example11, "Accept: application/pidf+xml", "Expires: 0", 1), adapters.WatchOp{Verb: adapters.WatchFetch}},
	} {
		t.Run(c.name, func(t *testing.T) {
			op, ref := ReadSubscribe(request(t, c.text), ReadOptions{Now: now}, Limits{})
			if ref != nil {
				t.Fatal(ref)
			}
			want := adapters.WatchID{Watcher: pres("romeo@example.net"), Presentity: pres("juliet@example.com")}
			if op.Watch != want || op.Verb != c.want.Verb || op.Duration != c.want.Duration || op.TransID != "z9hG4bKna998sk" || op.Hops != 70 {
				t.Errorf("%+v", op)
			}
		})
	}
}

func TestReadSubscribeRefuses(t *testing.T) {
	good := `
SUBSCRIBE sip:juliet@example.com SIP/2.0
Via: SIP/2.0/TCP s2x.example.net;branch=z9hG4bKna998sk
From: <sip:romeo@example.net>;tag=xfg9
To: <sip:juliet@example.com>
Call-ID: AA5A8BE5
Event: presence
CSeq: 1 SUBSCRIBE
Contact: <sip:romeo@192.0.2.7>
Expires: 600

`
	for _, c := range []struct {
		name, old, with string
		code            int
		header          string
	}{
		{"another event", "Event: presence", "Event: presence.winfo", 489, "Allow-Events: presence"},
		{"another event, by case", "Event: presence", "Event: Presence", 489, ""},
		{"no event", "Event: presence\n", "", 489, ""},
		{"nothing acceptable", "Expires", "Accept: application/xpidf+xml, text/plain\nExpires", 406, ""},
		{"PIDF not acceptable", "Expires", "Accept: application/pidf+xml;q=0\nExpires", 406, ""},
		{"too short", "Expires: 600", "Expires: 59", 423, "Min-Expires: 60"},
		{"no number", "Expires: 600", "Expires: 1h", 400, ""},
		{"no Contact", "Contact: <sip:romeo@192.0.2.7>\n", "", 400, ""},
		{"a SIPS Contact", "<sip:romeo@192", "<sips:romeo@192", 400, ""},
		{"a filter", "600\n\n", "600\nContent-Type: application/simple-filter+xml\n\n<filter-set/>", 415, ""},
		{"T-TL-11 SIPS", "SUBSCRIBE sip:", "SUBSCRIBE sips:", 480, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.with, 1)
			if text == good {
				t.Fatal("nothing was changed")
			}
			_, ref := ReadSubscribe(request(t, text), ReadOptions{Now: now}, Limits{})
			if ref == nil || ref.Code != c.code {
				t.Fatalf("%v, want %d", ref, c.code)
			}
			found := c.header == ""
			for _, h := range ref.Headers {
				found = found || h.Name+": "+h.Value == c.header
			}
			if !found {
				t.Errorf("%v, want %s", ref.Headers, c.header)
			}
		})
	}
	for _, accept := range []string{"application/pidf+xml", "*/*", "application/*;q=0.5", "text/plain, application/PIDF+xml"} {
		text := strings.Replace(good, "Expires", "Accept: "+accept+"\nExpires", 1)
		if _, ref := ReadSubscribe(request(t, text), ReadOptions{Now: now}, Limits{}); ref != nil {
			t.Errorf("Accept: %s: %v", accept, ref)
		}
	}
}

const rfc8048Example20 = `
NOTIFY sip:juliet@x2s.example.com SIP/2.0
Via: SIP/2.0/TCP simple.example.net;branch=z9hG4bKna998sk
From: <sip:romeo@example.net>;tag=yt66
To: <sip:juliet@example.com>;tag=bi54
Contact: <sip:romeo@example.net>;gr=dr4hcr0st3lup4c
Call-ID: C33C6C9D-0F4A-42F9-B95C-7CE86B526B5B
Event: presence
Subscription-State: active;expires=499
Max-Forwards: 70
CSeq: 8 NOTIFY
Content-Type: application/pidf+xml

<?xml version='1.0' encoding='UTF-8'?>
<presence xmlns='urn:ietf:params:xml:ns:pidf'
          entity='pres:romeo@example.net'>
  <tuple id='ID-dr4hcr0st3lup4c'>
    <status>
      <basic>closed</basic>
    </status>
  </tuple>
</presence>`

func TestRFC8048Example20(t *testing.T) {
	// The example's Request-URI is the presentity's; a NOTIFY goes to the Contact of the subscriber.
	id := adapters.WatchID{Watcher: pres("juliet@example.com"), Presentity: pres("romeo@example.net")}
	op, ref := ReadNotify(request(t, rfc8048Example20), id, ReadOptions{Now: now})
	if ref != nil {
		t.Fatal(ref)
	}
	if op.Watch != id || op.State != adapters.WatchActive || op.Duration != 499*time.Second || !op.Whole || op.End != adapters.EndNone {
		t.Errorf("%+v", op)
	}
	if op.Presence == nil || len(op.Presence.Tuples) != 1 {
		t.Fatalf("%+v", op.Presence)
	}
	tuple := op.Presence.Tuples[0]
	if r, ok := tuple.ID.Resource(); !ok || r != "dr4hcr0st3lup4c" || tuple.Status.Basic != pidf.BasicClosed {
		t.Errorf("%+v", tuple)
	}
}

func TestReadNotify(t *testing.T) {
	id := adapters.WatchID{Watcher: pres("juliet@example.com"), Presentity: pres("romeo@example.net")}
	for _, c := range []struct {
		name, old, with string
		code            int
		check           func(*adapters.NotifyOp) bool
	}{
		// T-ID-07: a document about somebody else is refused.
		{"T-ID-07 another entity", "pres:romeo@", "pres:tybalt@", 403, nil},
		{"T-ID-07 another domain", "pres:romeo@example.net", "pres:romeo@example.com", 403, nil},
		{"T-ID-07 a SIPS entity", "pres:romeo@", "sips:romeo@", 403, nil},
		{"an entity in another scheme", "pres:romeo@", "sip:romeo@", 0, nil},
		{"no entity", "entity='pres:romeo@example.net'", "", 400, nil},
		{"S14: a document type", "<presence", "<!DOCTYPE presence><presence", 400, nil},
		{"two values of one attribute", "id='ID-dr4hcr0st3lup4c'", "id='a' id='b'", 400, nil},
		{"no Subscription-State", "Subscription-State: active;expires=499\n", "", 400, nil},
		{"a malformed one", "active;expires=499", "active;expires=soon", 400, nil},
		{"another type", "application/pidf+xml", "application/pidf-diff+xml", 415, nil},
		{"no expires", ";expires=499", "", 0, func(op *adapters.NotifyOp) bool { return op.State == adapters.WatchActive && op.Duration == 0 }},
		// "it MUST respond to them on the SIP side but refrain from sending any presence stanzas" (RFC 8048 §5.2.1)
		{"pending", "active", "pending", 0, func(op *adapters.NotifyOp) bool { return op.State == adapters.WatchPending && op.Presence == nil }},
		{"rejected", "active;expires=499", "terminated;reason=rejected;retry-after=5", 0, func(op *adapters.NotifyOp) bool {
			return op.State == adapters.WatchTerminated && op.End == adapters.EndRejected && op.RetryAfter == 0
		}},
		{"probation", "active;expires=499", "terminated;expires=7;reason=probation;retry-after=5", 0, func(op *adapters.NotifyOp) bool {
			return op.End == adapters.EndProbation && op.RetryAfter == 5*time.Second && op.Duration == 0
		}},
		{"an unknown reason", "active;expires=499", "terminated;reason=expired", 0, func(op *adapters.NotifyOp) bool {
			return op.State == adapters.WatchTerminated && op.End == adapters.EndNone
		}},
		{"an unknown state", "active", "waiting", 0, func(op *adapters.NotifyOp) bool { return op.State == adapters.WatchNeutral }},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(rfc8048Example20, c.old, c.with, 1)
			if text == rfc8048Example20 {
				t.Fatal("nothing was changed")
			}
			op, ref := ReadNotify(request(t, text), id, ReadOptions{Now: now})
			switch {
			case c.code != 0 && (ref == nil || ref.Code != c.code):
				t.Fatalf("%v, want %d", ref, c.code)
			case c.code == 0 && ref != nil:
				t.Fatal(ref)
			case c.check != nil && !c.check(op):
				t.Errorf("%+v", op)
			}
		})
	}
}

func TestDialogRoutes(t *testing.T) {
	// RFC 3261 §12.2.1.1, with its example.
	for _, c := range []struct {
		name   string
		set    []string
		target string
		routes []string
	}{
		{"none", nil, "sip:user@remoteua", nil},
		{"loose", []string{"<sip:proxy1;lr>", "<sip:proxy2>"}, "sip:user@remoteua", []string{"<sip:proxy1;lr>", "<sip:proxy2>"}},
		{"strict", []string{"<sip:proxy1>", "<sip:proxy2>", "<sip:proxy3;lr>", "<sip:proxy4>"}, "sip:proxy1", []string{"<sip:proxy2>", "<sip:proxy3;lr>", "<sip:proxy4>", "<sip:user@remoteua>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := romeoWatchesJuliet()
			d.RemoteTarget, d.RouteSet = "sip:user@remoteua", c.set
			req, err := d.request("NOTIFY")
			if err != nil {
				t.Fatal(err)
			}
			m := parsed(t, req)
			var routes []string
			for v := range m.Headers("Route") {
				routes = append(routes, v)
			}
			if m.RequestURIText() != c.target || strings.Join(routes, ",") != strings.Join(c.routes, ",") {
				t.Errorf("%s with %v, want %s with %v", m.RequestURIText(), routes, c.target, c.routes)
			}
		})
	}
}

func TestDialogSequence(t *testing.T) {
	d := &Dialog{}
	for _, c := range []struct {
		cseq uint32
		ok   bool
	}{{0, true}, {0, false}, {5, true}, {4, false}, {5, false}, {6, true}, {1<<31 - 1, true}} {
		// "If the remote sequence number was not empty, but the sequence number of the request is lower than the remote sequence
		// number, the request is out of order and MUST be rejected with a 500 (Server Internal Error) response." (RFC 3261 §12.2.2)
		if got := d.received(c.cseq); got != c.ok {
			t.Errorf("CSeq %d after %d: %v, want %v", c.cseq, d.RemoteCSeq, got, c.ok)
		}
	}
	d = romeoWatchesJuliet()
	d.LocalCSeq = maxCSeq - 1
	if _, err := d.request("NOTIFY"); err == nil {
		t.Error("a sequence number of 2**31 was used")
	}
}

func TestDialogSurvivesEncoding(t *testing.T) {
	d := *romeoWatchesJuliet()
	d.RouteSet, d.Peer, d.Source, d.Transport = []string{"<sip:p;lr>"}, "trunk", "192.0.2.7:5060", "udp"
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back Dialog
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil || string(again) != string(b) {
		t.Errorf("%v\n%s\n%s", err, b, again)
	}
	if err := back.check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Dialog){
		"role": func(d *Dialog) { d.Role = 0 }, "tag": func(d *Dialog) { d.RemoteTag = "" }, "target": func(d *Dialog) { d.RemoteTarget = "<x>" },
		"contact": func(d *Dialog) { d.Contact = "" }, "watcher": func(d *Dialog) { d.Watcher = cpim.Address{} }, "cseq": func(d *Dialog) { d.LocalCSeq = maxCSeq },
	} {
		bad := back
		spoil(&bad)
		if bad.check() == nil {
			t.Errorf("a dialog with a spoilt %s was taken", name)
		}
	}
}

func TestParams(t *testing.T) {
	for _, c := range []struct {
		in string
		e  event
		ok bool
	}{
		{"presence", event{kind: "presence"}, true},
		{"presence ; id=7", event{kind: "presence", id: "7", hasID: true}, true},
		{`presence;x="a;id=8";id=7`, event{kind: "presence", id: "7", hasID: true}, true},
		{"", event{}, false},
		{"a b", event{kind: "a b"}, false},
		{"presence;id=a b", event{kind: "presence", id: "a b", hasID: true}, false},
	} {
		if e, ok := parseEvent(c.in); e != c.e || ok != c.ok {
			t.Errorf("parseEvent(%q) = %+v %v", c.in, e, ok)
		}
	}
	for in, want := range map[string]time.Duration{"0": 0, "60": time.Minute, "99999999999999999999": maxSeconds * time.Second} {
		if d, ok := parseSeconds(in); !ok || d != want {
			t.Errorf("parseSeconds(%q) = %v %v", in, d, ok)
		}
	}
	for _, in := range []string{"", "-1", "1.5", " 1", "0x1"} {
		if _, ok := parseSeconds(in); ok {
			t.Errorf("parseSeconds(%q) was taken", in)
		}
	}
	for in, want := range map[string]time.Duration{"18000;duration=3600": 5 * time.Hour, "120 (I'm in a meeting)": 2 * time.Minute, "soon": 0} {
		if d := parseRetryAfter(in); d != want {
			t.Errorf("parseRetryAfter(%q) = %v", in, d)
		}
	}
}
