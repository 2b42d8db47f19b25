package sip

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

func TestContentOut(t *testing.T) {
	for _, c := range []struct {
		name, kind, octets string
		want, body         string // "" for refused
	}{
		{"plain", "text/plain", "é", plainText, "é"},
		{"T-CP-09 another charset goes out in UTF-8", "text/plain;charset=iso-8859-2;format=flowed", "\xec", "text/plain; charset=UTF-8; format=flowed", "ě"},
		{"T-CP-09 HTML of another charset", "text/html; charset=windows-1252", "\x80", "text/html; charset=UTF-8", "€"},
		{"T-CP-09 octets that are no text", "text/plain", "\xff", "", ""},
		{"T-CP-09 a charset that nobody knows", "text/plain;charset=x-klingon", "x", "", ""},
		{"anything else as it is", "application/pkcs7-mime; smime-type=signed-data", "\x00\xff", "application/pkcs7-mime; smime-type=signed-data", "\x00\xff"},
		{"an object whose identities nobody compared (T-ID-02)", "message/cpim", "x", "", ""},
		{"a type that is none", "text", "x", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := outgoing(func(op *adapters.MessageOp) { op.Content = adapters.Content{Type: c.kind, Octets: []byte(c.octets)} })
			req, err := WriteMessage(op, WriteOptions{FromTag: "t", CSeq: 1, Now: now})
			switch {
			case c.want == "" && err != ErrContent:
				t.Errorf("%v, want ErrContent", err)
			case c.want != "" && (err != nil || req.ContentType != c.want || string(req.Body) != c.body):
				t.Errorf("%+v %v", req, err)
			}
		})
	}
}

// S6: what a person may write ends no line of a header, in SIP and in Message/CPIM, whatever escapes it has.
func TestNothingIsInjected(t *testing.T) {
	for _, text := range []string{
		"a\r\nRoute: <sip:evil.example>", "a\nb", "a\x00b", "a\u0085b\u2028c", `a\r\nRoute: x`, `\u000d\u000aRoute: x`, `"> <sip:evil@evil.example>;tag=1`,
		`\`, `"`, "%0d%0aRoute: x", "a\x7f", strings.Repeat("\"", 400), "\xff\xfe",
	} {
		t.Run(fmt.Sprintf("%.20q", text), func(t *testing.T) {
			op := outgoing(func(op *adapters.MessageOp) {
				op.SenderName, op.Subjects, op.Wants = text, []adapters.LangText{{Text: text}}, adapters.WantDelivered
			})
			for _, o := range []WriteOptions{{Now: now}, {Now: now, CPIM: true}} {
				m := written(t, op, o)
				for _, name := range headerNames(t, m.Raw()) {
					if !whiteList[name] {
						t.Errorf("header field %q in\n%s", name, m.Raw())
					}
				}
				if m.From().URI().String() != "sip:juliet@example.com;gr=balcony" || m.From().Tag() != "tag-1" {
					t.Errorf("From %s", m.From())
				}
				if !o.CPIM {
					continue
				}
				object, err := cpim.ParseMessage(m.Body(), cpim.Limits{})
				if err != nil {
					t.Fatalf("%v in\n%s", err, m.Body())
				}
				var names []string
				for h := range object.Headers() {
					names = append(names, string(h.Name))
				}
				if got := strings.Join(names, " "); got != "From To DateTime Subject NS imdn.Message-ID imdn.Disposition-Notification" {
					t.Errorf("headers %s in\n%s", got, m.Body())
				}
			}
		})
	}
}

func TestSenderNameThereAndBack(t *testing.T) {
	for _, name := range []string{"Juliet", `Juliet "of" Verona\`, "Žofie 😀", "<&>", "a;b,c"} {
		op := outgoing(func(op *adapters.MessageOp) { op.SenderName, op.Wants = name, adapters.WantDelivered })
		for _, o := range []WriteOptions{{Now: now}, {Now: now, CPIM: true}} {
			in, ref := ReadMessage(written(t, op, o), ReadOptions{Now: now})
			if ref != nil || in.Message.SenderName != name {
				t.Errorf("%q: %v %+v", name, ref, in.Message)
			}
		}
	}
}

// outcomeOf sends op to g and answers each MESSAGE that comes by the next of codes; it returns what came, and the outcome.
func outcomeOf(t *testing.T, a *Adapter, g *agent, seen map[string]bool, op *adapters.MessageOp, codes ...int) ([]*wire.Message, adapters.Status) {
	t.Helper()
	done := make(chan adapters.Status, 1)
	go func() { done <- a.Message(context.Background(), []resolver.Target{g.hop()}, op) }()
	var came []*wire.Message
	for _, code := range codes {
		m := g.request("MESSAGE", seen)
		came = append(came, m)
		g.answer(m, wire.Response{Code: code})
	}
	return came, next(t, done, "outcome")
}

// T-CP-11: over a retry in another form the conversation and the name of the message stay, and only what must be another is.
func TestIdentifiersOverRetries(t *testing.T) {
	a, _ := start(t, func(cfg *Config) {
		peer := loopback
		peer.Dispositions = true
		cfg.Peers = []Peer{peer}
	})
	g := udpAgent(t, a)
	op := outgoing(func(op *adapters.MessageOp) { op.Wants = adapters.WantDelivered })
	came, s := outcomeOf(t, a, g, map[string]bool{}, op, 415, 200)
	if s.Outcome != adapters.Success {
		t.Fatalf("%+v", s)
	}
	first, second := came[0], came[1]
	if !strings.Contains(string(first.Body()), "imdn.Message-ID: stanza-1\r\n") {
		t.Errorf("no Message-ID in\n%s", first.Body())
	}
	if first.CallID() != "T-1" || second.CallID() != "T-1" {
		t.Errorf("Call-IDs %s, %s, want the thread", first.CallID(), second.CallID())
	}
	if !strings.HasSuffix(first.TopVia().Branch(), "stanza-1") || !strings.HasSuffix(second.TopVia().Branch(), "stanza-1") {
		t.Errorf("branches %s, %s, want the id in both", first.TopVia().Branch(), second.TopVia().Branch())
	}
	if first.TopVia().Branch() == second.TopVia().Branch() || first.From().Tag() == second.From().Tag() {
		t.Error("a new transaction has the branch or the tag of the old one")
	}
	// A third form does not exist: the second 415 is the outcome.
	op.To = adapters.Party{Address: im("mercutio@example.net")}
	if _, s := outcomeOf(t, a, g, map[string]bool{}, op, 415, 415); s.Reason != adapters.ReasonUnsupportedContent {
		t.Errorf("%+v", s)
	}
}

func TestLearnt(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	op := outgoing(func(op *adapters.MessageOp) { op.Wants = adapters.WantDelivered })
	kindOf := func(to string) string {
		op.To = adapters.Party{Address: im(to)}
		came, _ := outcomeOf(t, a, g, seen, op, 200)
		return came[0].ContentType()
	}
	if kind := kindOf("romeo@example.net"); kind != plainText {
		t.Errorf("%s, before anything is known", kind)
	}
	// Who sends message/cpim takes it; who is behind the same proxy need not.
	text := strings.Replace(cpimMessage(cpimHead+"\nContent-Type: text/plain\n\nx"), "Via: SIP/2.0/TCP s2x.example.net;branch=z9hG4bKeskdgs677\n", "", 1)
	g.ask(text)
	c.answer(adapters.Succeeded())
	if kind := kindOf("romeo@example.net"); kind != "message/cpim" {
		t.Errorf("%s to one who sent message/cpim", kind)
	}
	if kind := kindOf("mercutio@example.net"); kind != plainText {
		t.Errorf("%s to another user of the peer", kind)
	}
}

func TestLearntIsBoundedAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLearned()
		one := userAgent{"p", im("a@b.example"), featureCPIM}
		l.note(one, false)
		if l.takes(one, true) || !l.takes(userAgent{"p", im("c@b.example"), featureCPIM}, true) || !l.takes(userAgent{"p", one.user, featureComposing}, true) {
			t.Error("what one refused is not told apart")
		}
		if l.note(one, true); l.takes(one, true) {
			t.Error("who sends what it refused is sent it again")
		}
		time.Sleep(learnedLife)
		if !l.takes(one, true) {
			t.Error("it is never forgotten")
		}
		for i := range 2 * learnedLimit {
			l.note(userAgent{fmt.Sprint(i), one.user, featureCPIM}, true)
			if len(l.facts) > learnedLimit {
				t.Fatalf("%d facts", len(l.facts))
			}
		}
	})
}

func TestComposingSteps(t *testing.T) {
	who := conversation{im("juliet@example.com"), im("romeo@example.net")}
	const composing, paused, gone = adapters.ActivityComposing, adapters.ActivityPaused, adapters.ActivityGone
	for _, c := range []struct {
		name  string
		steps []any // an activity, then whether it is told; a Duration is waited for; "sent" is a message
	}{
		{"composing and paused", []any{composing, true, 5 * time.Second, paused, true, paused, false}},
		{"composing again and again", []any{composing, true, time.Second, composing, false, 59 * time.Second, composing, true}},
		// "In any event, the message rate is limited to one status message per refresh threshold interval." (RFC 3994 §3.2)
		{"flapping", []any{composing, true, paused, true, composing, false, paused, false, time.Minute, composing, true}},
		{"idle from the start", []any{paused, false, adapters.ActivityActive, false, gone, false}},
		// "If a content message is sent before the idle threshold expires, no "idle" state indication is needed." (RFC 3994 §3.2)
		{"a message ends it", []any{composing, true, "sent", paused, false}},
		{"it lapses by itself", []any{composing, true, 2 * time.Minute, gone, false}},
		{"gone", []any{composing, true, gone, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newComposers()
				for i := 0; i < len(c.steps); i++ {
					switch step := c.steps[i].(type) {
					case time.Duration:
						time.Sleep(step)
					case string:
						s.ended(who)
					case adapters.Activity:
						i++
						if got := s.step(who, step, 0, time.Now()); got != c.steps[i] {
							t.Errorf("step %d, %v: %v", i/2, step, got)
						}
					}
				}
				time.Sleep(time.Hour)
				s.step(who, paused, 0, time.Now())
				if s.count.Load() != 0 {
					t.Error("it is kept for ever")
				}
			})
		})
	}
	s := newComposers()
	for i := range composersLimit + 10 {
		s.step(conversation{who.from, im(fmt.Sprintf("u%d@example.net", i))}, composing, 0, now)
	}
	if len(s.told) != composersLimit {
		t.Errorf("%d conversations", len(s.told))
	}
	if !s.step(who, composing, 0, now.Add(time.Hour)) {
		t.Error("what is over makes no room")
	}
}

func TestComposingOut(t *testing.T) {
	a, c := start(t, func(cfg *Config) {
		peer := loopback
		peer.Composing = true
		cfg.Peers = []Peer{peer}
	})
	g := udpAgent(t, a)
	seen := map[string]bool{}
	op := func(to string, what adapters.Activity) *adapters.MessageOp {
		return outgoing(func(op *adapters.MessageOp) {
			op.To, op.Content, op.Activity = adapters.Party{Address: im(to)}, adapters.Content{}, what
		})
	}
	came, s := outcomeOf(t, a, g, seen, op("romeo@example.net", adapters.ActivityComposing), 200)
	if m := came[0]; s.Outcome != adapters.Success || m.ContentType() != "application/im-iscomposing+xml" || !strings.Contains(string(m.Body()), "<state>active</state>") {
		t.Fatalf("%+v %s", s, came[0].Raw())
	}
	// What we write we read (RFC 7573 §6).
	if in, ref := ReadMessage(came[0], ReadOptions{Now: now}); ref != nil || in.Message.Activity != adapters.ActivityComposing {
		t.Errorf("%+v %v", in.Message, ref)
	}
	came, _ = outcomeOf(t, a, g, seen, op("romeo@example.net", adapters.ActivityGone), 200)
	if !strings.Contains(string(came[0].Body()), "<state>idle</state>") {
		t.Errorf("%s", came[0].Body())
	}
	// "The composer MUST cease transmitting status messages if the receiver returned a 415 status code" (RFC 3994 §4)
	outcomeOf(t, a, g, seen, op("mercutio@example.net", adapters.ActivityComposing), 415)
	if _, s := outcomeOf(t, a, g, seen, op("mercutio@example.net", adapters.ActivityPaused)); s.Reason != adapters.ReasonNotImplemented {
		t.Errorf("%+v", s)
	}
	// And we are one: where nobody is told, the SIP user agent hears 415 and ceases.
	text := strings.Replace(carrying("Content-Type: application/im-iscomposing+xml", strings.Replace(composing, "STATE", "active", 1)),
		"Via: SIP/2.0/TCP s2x.example.net;branch=z9hG4bKeskdgs677\n", "", 1)
	c.answer(adapters.Failed(adapters.ReasonNotImplemented, ""))
	m := g.ask(text)
	if accept, _ := m.Header("Accept"); m.StatusCode() != 415 || !strings.HasPrefix(accept, "text/plain, ") || strings.Contains(accept, "iscomposing") {
		t.Errorf("%d %s, Accept %s", m.StatusCode(), m.ReasonPhrase(), accept)
	}
}

// T-LP-06, G2: a machine that answers our notices by messages is answered by no notice, whatever becomes of its messages.
func TestMachinesAreNotAnswered(t *testing.T) {
	failed := &adapters.Report{
		Kind: adapters.ReportFailed, Sender: adapters.Party{Address: im("romeo@example.net")}, Recipient: adapters.Party{Address: im("juliet@example.com")},
		TransID: "z9hG4bK1", Status: adapters.Failed(adapters.ReasonNotFound, ""), Time: now,
	}
	for _, wants := range []adapters.Dispositions{0, adapters.WantFailed} {
		failed.Wants = wants
		req, err := WriteReport(failed, WriteOptions{CallID: "c", FromTag: "t", CSeq: 1, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		header(t, parsed(t, req), "Auto-Submitted", "auto-generated")
	}
	for value, machine := range map[string]bool{"auto-replied": true, "auto-generated; owner=x": true, "AUTO-REPLIED": true, "no": false, "No ;x=y": false, "": false} {
		text := rfc7572Example4
		if value != "" {
			text = strings.Replace(text, "Content-Type", "Auto-Submitted: "+value+"\nContent-Type", 1)
		}
		op := read(t, text)
		if (op.TransID == "") != machine {
			t.Errorf("%q: TransID %q", value, op.TransID)
		}
		r := *failed
		r.TransID = op.TransID
		if _, err := WriteReport(&r, WriteOptions{CallID: "c", FromTag: "t", CSeq: 1, Now: now}); (err == ErrNoNotice) != machine {
			t.Errorf("%q: %v", value, err)
		}
	}
}
