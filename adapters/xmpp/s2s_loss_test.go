package xmpp_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// managed answers <enable/> as a server that can resume or not.
func (p *player) manage(resume bool) {
	p.t.Helper()
	p.hear("enable")
	if resume {
		p.say("<enabled xmlns='urn:xmpp:sm:3' id='sm-1' resume='true'/>")
	} else {
		p.say("<enabled xmlns='urn:xmpp:sm:3'/>")
	}
}

func (p *player) ack(h int) { p.say("<a xmlns='urn:xmpp:sm:3' h='" + strconv.Itoa(h) + "'/>") }

// impatient makes silence short.
func impatient(cfg *xmpp.Config) {
	cfg.Limits.KeepAlive, cfg.Limits.PingTimeout = 100*time.Millisecond, 200*time.Millisecond
}

// TestWithheldAckTFI25: a peer that takes stanzas and acknowledges none is found out within KeepAlive and PingTimeout, whether it answers
// <r/> with the old count or not at all; the outcome is told as unknown.
func TestWithheldAckTFI25(t *testing.T) {
	for _, answers := range []bool{false, true} {
		t.Run(fmt.Sprintf("answers=%v", answers), func(t *testing.T) {
			f := newFederation(t)
			cfg := f.config("example.net")
			impatient(&cfg)
			a := start(t, cfg, newRecorder())
			h := f.theatre("example.com", nil)
			done := post(t, a, f.message("romeo@example.net", "juliet@example.com", "1"))
			p, _ := h.accept()
			p.manage(false)
			p.hear("message")
			began := time.Now()
			stop := make(chan struct{})
			var playing sync.WaitGroup
			playing.Go(func() {
				for {
					select {
					case e := <-p.in:
						if e.Name.Local == "r" && answers {
							p.conn.Write([]byte("<a xmlns='urn:xmpp:sm:3' h='0'/>"), time.Now().Add(time.Second))
						}
					case <-stop:
						return
					}
				}
			})
			st := next(t, done, "the outcome")
			close(stop)
			playing.Wait()
			if st.Outcome != adapters.Failure || st.Reason != adapters.ReasonOutcomeUnknown {
				t.Errorf("%+v", st)
			}
			if d := time.Since(began); d > patience/2 {
				t.Errorf("after %v", d)
			}
		})
	}
}

// TestWrongCountTFI25: an acknowledgement of more than was sent, or of less than before, ends the stream: the two sides do not count the
// same, and nobody knows what was taken. "the local entity SHOULD generate an undefined-condition stream error" (XEP-0198 §6).
func TestWrongCountTFI25(t *testing.T) {
	for name, counts := range map[string][]int{"too high": {2}, "far too high": {1 << 31}, "back": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			f := newFederation(t)
			a := start(t, f.config("example.net"), newRecorder())
			h := f.theatre("example.com", nil)
			done := post(t, a, f.message("romeo@example.net", "juliet@example.com", "1"))
			p, _ := h.accept()
			p.manage(true)
			p.hear("message")
			for _, n := range counts {
				p.ack(n)
			}
			p.refused(stream.UndefinedCondition)
			st := next(t, done, "the outcome")
			if want := len(counts) == 2; (st.Outcome == adapters.Indeterminate) != want {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestResumeTFI25: what is on its way when a stream breaks is written once more if the peer resumes it and has not handled it, or refuses
// and says how much it had handled; it is unknown if it refuses without a word (XEP-0198 §5).
func TestResumeTFI25(t *testing.T) {
	const unknown, accepted = "unknown", "accepted"
	for _, c := range []struct {
		name, answer string
		again        []string // what is written once more
		want         [3]string
		afresh       bool // on a stream of its own
	}{
		{"resumed", "<resumed xmlns='urn:xmpp:sm:3' previd='sm-1' h='1'/>", []string{"m1", "m2"}, [3]string{accepted, accepted, accepted}, false},
		{"resumed, all handled", "<resumed xmlns='urn:xmpp:sm:3' previd='sm-1' h='3'/>", nil, [3]string{accepted, accepted, accepted}, false},
		{"resumed, none handled", "<resumed xmlns='urn:xmpp:sm:3' previd='sm-1' h='0'/>", []string{"m0", "m1", "m2"}, [3]string{accepted, accepted, accepted}, false},
		{"refused", "<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>", nil, [3]string{unknown, unknown, unknown}, false},
		{"refused with a count", "<failed xmlns='urn:xmpp:sm:3' h='2'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>", []string{"m2"}, [3]string{accepted, accepted, accepted}, true},
		{"resumed with a wrong count", "<resumed xmlns='urn:xmpp:sm:3' previd='sm-1' h='7'/>", nil, [3]string{unknown, unknown, unknown}, false},
		{"resumed another", "<resumed xmlns='urn:xmpp:sm:3' previd='sm-2' h='1'/>", nil, [3]string{unknown, unknown, unknown}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFederation(t)
			cfg := f.config("example.net")
			a := start(t, cfg, newRecorder())
			h := f.theatre("example.com", nil)
			var done [3]<-chan adapters.Status
			var p *player
			for i := range done {
				done[i] = post(t, a, f.message("romeo@example.net", "juliet@example.com", "m"+strconv.Itoa(i)))
				if p == nil {
					p, _ = h.accept()
					p.manage(true)
				}
				p.hear("message")
			}
			p.raw.Close()
			p, _ = h.accept()
			r := p.hear("resume")
			if attr(r, "previd") != "sm-1" || attr(r, "h") != "0" {
				t.Fatalf("%s", r.Raw)
			}
			p.say(c.answer)
			if c.afresh {
				p, _ = h.accept()
				p.manage(false)
			}
			for _, id := range c.again {
				if m := p.hear("message"); attr(m, "id") != id {
					t.Errorf("%s instead of %s", m.Raw, id)
				}
			}
			if len(c.again) > 0 {
				p.hear("r")
				if c.afresh {
					p.ack(len(c.again))
				} else {
					p.ack(3)
				}
			}
			for i, d := range done {
				st, got := next(t, d, "an outcome"), accepted
				if st.Outcome == adapters.Failure {
					got = st.Reason.String()
				}
				if want := c.want[i]; got != want && (want != unknown || got != adapters.ReasonOutcomeUnknown.String()) {
					t.Errorf("message %d: %+v", i, st)
				}
			}
		})
	}
}

// TestIncomingResume: a server whose stream to us broke resumes it, and is told exactly what the core has taken.
func TestIncomingResume(t *testing.T) {
	f := newFederation(t)
	core := newRecorder()
	start(t, f.config("example.net"), core)
	say := func(p *player, id string) {
		p.say("<message id='" + id + "' from='juliet@example.com' to='romeo@example.net'" + hello)
		if op := next(t, core.messages, id); op.TransID != id {
			t.Fatalf("%s instead of %s", op.TransID, id)
		}
	}
	p := f.mustDial("example.com", "example.net", nil)
	p.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	e := p.hear("enabled")
	id := attr(e, "id")
	if len(id) < 32 || attr(e, "resume") != "true" {
		t.Fatalf("%s", e.Raw)
	}
	say(p, "1")
	say(p, "2")
	p.say("<r xmlns='urn:xmpp:sm:3'/>")
	if e := p.hear("a"); attr(e, "h") != "2" {
		t.Fatalf("%s", e.Raw)
	}
	say(p, "3")
	p.raw.Close()

	// Another domain cannot have it, and neither can the wrong id.
	thief := f.mustDial("example.edu", "example.net", nil)
	thief.say("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='0'/>")
	if e := thief.hear("failed"); e.Child(stream.SpaceStanzas, "item-not-found") == nil {
		t.Fatalf("%s", e.Raw)
	}
	p = f.mustDial("example.com", "example.net", nil)
	p.say("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "x' h='0'/>")
	p.hear("failed")
	p.say("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='0'/>")
	if e := p.hear("resumed"); attr(e, "h") != "3" || attr(e, "previd") != id {
		t.Fatalf("%s", e.Raw)
	}
	say(p, "4")
	p.say("<r xmlns='urn:xmpp:sm:3'/>")
	if e := p.hear("a"); attr(e, "h") != "4" {
		t.Fatalf("%s", e.Raw)
	}
}

// slowCore answers a message when the test says so.
type slowCore struct {
	*recorder
	pending chan func(adapters.Status)
}

func (c *slowCore) Message(_ context.Context, op *adapters.MessageOp, respond func(adapters.Status)) {
	c.messages <- op
	c.pending <- respond
}

// TestAcknowledgedIsAnswered: what is acknowledged to a peer is what the core has answered, without a gap.
func TestAcknowledgedIsAnswered(t *testing.T) {
	f := newFederation(t)
	core := &slowCore{newRecorder(), make(chan func(adapters.Status), 16)}
	start(t, f.config("example.net"), core)
	p := f.mustDial("example.com", "example.net", nil)
	p.say("<enable xmlns='urn:xmpp:sm:3'/>")
	p.hear("enabled")
	var answers []func(adapters.Status)
	for i := range 3 {
		p.say("<message id='" + strconv.Itoa(i) + "' from='juliet@example.com' to='romeo@example.net'" + hello)
		answers = append(answers, next(t, core.pending, "the message"))
	}
	p.say("<r xmlns='urn:xmpp:sm:3'/>")
	if e := p.hear("a"); attr(e, "h") != "0" {
		t.Fatalf("%s", e.Raw)
	}
	answers[1](adapters.Accepted()) // a gap is before it
	answers[2](adapters.Accepted())
	p.say("<r xmlns='urn:xmpp:sm:3'/>")
	if e := p.hear("a"); attr(e, "h") != "0" {
		t.Fatalf("%s", e.Raw)
	}
	answers[0](adapters.Accepted())
	if e := p.hear("a"); attr(e, "h") != "3" { // unasked: what was asked for can be told now
		t.Fatalf("%s", e.Raw)
	}
}

// TestHalfOpenServerTFI27: a server that reads and says nothing more is found out, with pings as with counts.
func TestHalfOpenServerTFI27(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	impatient(&cfg)
	a := start(t, cfg, newRecorder())
	h := f.theatre("example.com", func(in *stream.Incoming) { in.Management, in.Bidi = false, true })
	done := post(t, a, f.message("romeo@example.net", "juliet@example.com", "1"))
	p, _ := h.accept()
	p.hear("message")
	if st := next(t, done, "the outcome"); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonOutcomeUnknown {
		t.Fatalf("%+v", st)
	}
	p.end()
}

// TestDeafServer: a server that can open no stream to us can answer no ping. What its side of the connection has taken counts as taken,
// and the stream stays.
func TestDeafServer(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	impatient(&cfg)
	a := start(t, cfg, newRecorder())
	h := f.theatre("example.com", func(in *stream.Incoming) { in.Management = false })
	for i := range 3 {
		done := post(t, a, f.message("romeo@example.net", "juliet@example.com", strconv.Itoa(i)))
		if i == 0 {
			p, _ := h.accept()
			defer func() { none(t, p.ended, "the stream ended") }()
		}
		if st := next(t, done, "the outcome"); st.Outcome != adapters.Indeterminate {
			t.Fatalf("message %d: %+v", i, st)
		}
	}
}

// TestServerPingTID04: the answer to a ping counts on whatever stream of the domain it comes, with the right names and id, an error as
// well; nothing else does.
func TestServerPingTID04(t *testing.T) {
	f := newFederation(t)
	a := start(t, f.config("example.net"), newRecorder())
	h := f.theatre("example.com", func(in *stream.Incoming) { in.Management = false })
	done := post(t, a, f.message("romeo@example.net", "juliet@example.com", "1"))
	p, _ := h.accept()
	p.hear("message")
	ping := attr(p.hear("iq"), "id")
	other := f.mustDial("example.edu", "example.net", nil)
	back := f.mustDial("example.com", "example.net", nil)
	other.say("<iq type='result' from='example.edu' to='example.net' id='" + ping + "'/>")
	back.say("<iq type='result' from='juliet@example.com' to='example.net' id='" + ping + "'/>")
	back.say("<iq type='result' from='example.com' to='romeo@example.net' id='" + ping + "'/>")
	back.say("<iq type='result' from='example.com' to='example.net' id='x" + ping + "'/>")
	back.say("<message id='2' from='juliet@example.com' to='romeo@example.net'" + hello)
	none(t, done, "a forged answer was believed")
	back.say("<iq type='error' from='example.com' to='example.net' id='" + ping + "'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	if st := next(t, done, "the outcome"); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
}

// TestSlowServerTFI09: a server that reads nothing is closed after WriteTimeout; what waits for it is bounded, and what is beyond that
// refused; what was written is unknown, the rest is told as not sent, and other domains notice nothing.
func TestSlowServerTFI09(t *testing.T) {
	const all, room = 400, 300
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Limits.WriteTimeout = 300 * time.Millisecond
	cfg.Limits.QueueBytes, cfg.Limits.QueueStanzas, cfg.Limits.Window, cfg.Limits.ConnectTimeout = 40<<20, room, 1000, 10*patience
	a := start(t, cfg, newRecorder())
	start(t, f.config("example.org"), newRecorder())
	h := f.theatre("example.com", nil)
	h.quiet = true
	big := bytes.Repeat([]byte{'x'}, 100<<10)
	outcomes := make(chan adapters.Status, all)
	for i := range all {
		m := f.message("romeo@example.net", "juliet@example.com", strconv.Itoa(i))
		m.op.Content.Octets, m.op.Deadline = big, time.Now().Add(10*patience)
		go func() { outcomes <- a.Message(t.Context(), m.hops, m.op) }()
	}
	// The stream is not open yet: nothing leaves, and all that there is no room for is refused.
	for range all - room {
		if st := next(t, outcomes, "a refusal"); st.Reason != adapters.ReasonOverloaded {
			t.Fatalf("%+v", st)
		}
	}
	if n := counted(t, cfg.Registerer, "isthmus_xmpp_server_queue_stanzas"); n != room {
		t.Errorf("%v wait", n)
	}
	h.accept()
	h.l.Close()
	if st := a.Message(t.Context(), f.hops("example.org"), between("romeo@example.net", "nurse@example.org", "1", "x")); st.Outcome != adapters.Indeterminate {
		t.Errorf("another domain: %+v", st)
	}
	count := map[adapters.Reason]int{}
	for range room {
		count[next(t, outcomes, "an outcome").Reason]++
	}
	unknown, unsent := count[adapters.ReasonOutcomeUnknown], count[adapters.ReasonDomainTimeout]
	if unknown == 0 || unsent == 0 || unknown+unsent != room {
		t.Errorf("%v", count)
	}
}

// TestServerKilledTFI08: a server that dies in the middle of the load, again and again: every message that was told as taken was taken,
// none that was told as not sent was, and none was taken twice; what is not known is told as unknown. The same where streams can be
// resumed, where they only count, and with pings.
func TestServerKilledTFI08(t *testing.T) {
	for _, mode := range []string{"resumed", "counted", "pings"} {
		t.Run(mode, func(t *testing.T) {
			f := newFederation(t)
			cfg := f.config("example.net")
			a := start(t, cfg, newRecorder())
			h := f.theatre("example.com", func(in *stream.Incoming) { in.Management, in.Bidi = mode != "pings", true })
			taken := map[string]int{}
			stop := make(chan struct{})
			var server sync.WaitGroup
			server.Go(func() { h.dieAgain(mode, taken, stop) })
			const load, workers = 1500, 15
			var mu sync.Mutex
			outcome := map[string]adapters.Status{}
			var all sync.WaitGroup
			for w := range workers {
				all.Go(func() {
					for i := range load / workers {
						id := fmt.Sprintf("%d-%d", w, i)
						m := f.message("romeo@example.net", "juliet@example.com", id)
						st := a.Message(t.Context(), m.hops, m.op)
						mu.Lock()
						outcome[id] = st
						mu.Unlock()
					}
				})
			}
			all.Wait()
			close(stop)
			h.l.Close()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			a.Shutdown(ctx)
			server.Wait()
			tally := map[string]int{}
			for id, st := range outcome {
				switch {
				case taken[id] > 1:
					t.Errorf("%s was taken %d times", id, taken[id])
				case st.Outcome == adapters.Indeterminate && taken[id] == 0:
					t.Errorf("%s was told as taken, and was not", id)
				case st.Outcome == adapters.Failure && st.Reason != adapters.ReasonOutcomeUnknown && taken[id] > 0:
					t.Errorf("%s was told as %v, and was taken", id, st.Reason)
				}
				tally[st.Outcome.String()+" "+st.Reason.String()]++
			}
			t.Logf("%v", tally)
			if tally["indeterminate none"] < load/4 {
				t.Errorf("too few went through: %v", tally)
			}
		})
	}
}

// dieAgain plays a server that takes some messages and dies: without a word, and with its memory of what it took only where it can
// resume.
func (h *theatre) dieAgain(mode string, taken map[string]int, stop <-chan struct{}) {
	handled, id := 0, 0
	for round := 0; ; round++ {
		c, err := h.l.Accept()
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(h.f.t.Context(), patience)
		conn, _, err := stream.Accept(ctx, c, h.in)
		cancel()
		if err != nil {
			continue
		}
		write := func(text string) { conn.Write([]byte(text), time.Now().Add(time.Second)) }
		left := 7 + 31*round%97
		select {
		case <-stop:
			left = 1 << 30
		default:
		}
		for left > 0 {
			b, err := conn.Next()
			if err != nil {
				break
			}
			e, err := strictxml.ParseElement(append([]byte(nil), b...), conn.Scope(), strictxml.Limits{})
			if err != nil {
				break
			}
			switch e.Name.Local {
			case "message":
				taken[attr(e, "id")]++
				handled++
				left--
			case "iq":
				write("<iq type='result' from='example.com' to='example.net' id='" + attr(e, "id") + "'/>")
			case "r":
				write("<a xmlns='urn:xmpp:sm:3' h='" + strconv.Itoa(handled) + "'/>")
			case "enable":
				handled = 0
				id++
				write("<enabled xmlns='urn:xmpp:sm:3' id='" + strconv.Itoa(id) + "' resume='" + strconv.FormatBool(mode == "resumed") + "'/>")
			case "resume":
				if mode == "resumed" && attr(e, "previd") == strconv.Itoa(id) && round%3 != 0 {
					write("<resumed xmlns='urn:xmpp:sm:3' previd='" + strconv.Itoa(id) + "' h='" + strconv.Itoa(handled) + "'/>")
				} else {
					write("<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
				}
			}
		}
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}
