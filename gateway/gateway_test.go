package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/resolver"
)

var (
	romeo  = adapters.Party{Address: cpim.MustParseAddress("im:romeo@example.net"), Instance: "dr4hcr0st3lup4c"}
	juliet = adapters.Party{Address: cpim.MustParseAddress("im:juliet@example.com"), Instance: "yn0cl4bnw0yr3vym"}
)

func TestMessageCrossesAndItsOutcomeComesBack(t *testing.T) {
	for _, c := range []struct {
		name string
		far  adapters.Status
		want adapters.Status
	}{
		{"taken", adapters.Accepted(), adapters.Accepted()},
		{"refused", adapters.Failed(adapters.ReasonForbidden, "no"), adapters.Failed(adapters.ReasonForbidden, "no")},
		{"an adapter that answers nothing", adapters.Status{}, adapters.Failed(adapters.ReasonInternal, "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return c.far }
				answer := s.send(s.sip, message(romeo, juliet, "hello"))
				synctest.Wait()
				if got := <-answer; got != c.want {
					t.Errorf("answer %+v, want %+v", got, c.want)
				}
				if len(answer) != 0 {
					t.Error("answered twice")
				}
				got := s.xmpp.Messages()
				if len(got) != 1 || string(got[0].Content.Octets) != "hello" || got[0].From != romeo || got[0].To != juliet {
					t.Errorf("handed over: %+v", got)
				}
			})
		})
	}
}

// T-ID-06, T-ID-08: nobody sends as a domain of the other side, and nothing is relayed that no route allows.
func TestT_ID_06_WhoMaySend(t *testing.T) {
	party := func(uri string) adapters.Party { return adapters.Party{Address: cpim.MustParseAddress(uri)} }
	for _, c := range []struct {
		name     string
		from, to adapters.Party
		reason   adapters.Reason
	}{
		{"own to partner", party("im:a@example.net"), party("im:b@example.com"), adapters.ReasonNone},
		{"T-ID-08 the other side's domain", party("im:b@example.com"), party("im:b@example.com"), adapters.ReasonForbidden},
		{"a foreign sender", party("im:a@elsewhere.example"), party("im:b@example.com"), adapters.ReasonForbidden},
		{"a subdomain of ours", party("im:a@sub.example.net"), party("im:b@example.com"), adapters.ReasonForbidden},
		{"to a foreign domain", party("im:a@example.net"), party("im:b@elsewhere.example"), adapters.ReasonDomainNotFound},
		{"back to where it came from", party("im:a@example.net"), party("im:b@example.net"), adapters.ReasonLoop},
		{"no sender", adapters.Party{}, party("im:b@example.com"), adapters.ReasonAddressMalformed},
		{"no recipient", party("im:a@example.net"), adapters.Party{}, adapters.ReasonAddressMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				answer := <-s.send(s.sip, message(c.from, c.to, "x"))
				if answer.Reason != c.reason {
					t.Errorf("reason %v, want %v", answer.Reason, c.reason)
				}
				if n := len(s.xmpp.Messages()); (n == 1) != (c.reason == adapters.ReasonNone) {
					t.Errorf("%d messages crossed", n)
				}
			})
		})
	}
}

// "If a CPIM gateway receives an instant message operation that has a MaxForwards attribute of 0, it discards the message and
// invokes a failure operation." "When a CPIM gateway relays an instant message, it decrements the value of the MaxForwards
// attribute." (RFC 3860 §3.4.2)
func TestT_LP_03_MaxForwards(t *testing.T) {
	for _, c := range []struct{ in, out int }{{0, -1}, {-1, -1}, {1, 0}, {70, 69}, {255, 254}} {
		t.Run(fmt.Sprint(c.in), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				op := message(romeo, juliet, "x")
				op.Hops = c.in
				answer := <-s.send(s.sip, op)
				if c.out < 0 {
					if answer.Reason != adapters.ReasonLoop || len(s.xmpp.Messages()) != 0 {
						t.Errorf("answer %+v, %d crossed", answer, len(s.xmpp.Messages()))
					}
					return
				}
				if got := s.xmpp.Messages()[0].Hops; got != c.out {
					t.Errorf("hops %d, want %d", got, c.out)
				}
			})
		})
	}
}

// "A UAC MUST NOT initiate a new out-of-dialog MESSAGE transaction to a given URI if there is a previous out-of-dialog
// transaction pending for the same URI." (RFC 3428 §8)
func TestOneMessageToARecipientAtATimeAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		var mu sync.Mutex
		pending := map[cpim.Address]int{}
		var order []string
		s.sip.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
			mu.Lock()
			pending[op.To.Address]++
			if pending[op.To.Address] > 1 {
				t.Errorf("two pending to %v", op.To.Address)
			}
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			pending[op.To.Address]--
			order = append(order, string(op.Content.Octets))
			mu.Unlock()
			return adapters.Succeeded()
		}
		nurse := adapters.Party{Address: cpim.MustParseAddress("im:nurse@example.com")}
		began := time.Now()
		var answers []<-chan adapters.Status
		for i := range 10 {
			from := juliet
			if i%2 == 1 {
				from = nurse
			}
			answers = append(answers, s.send(s.xmpp, message(from, romeo, fmt.Sprint(i))))
		}
		other := s.send(s.xmpp, message(juliet, adapters.Party{Address: cpim.MustParseAddress("im:tybalt@example.net")}, "other"))
		<-other
		if took := time.Since(began); took != time.Second {
			t.Errorf("another recipient waited %v for this one's lane", took)
		}
		for _, a := range answers {
			<-a
		}
		order = append(order[:0:0], order...)
		mu.Lock()
		defer mu.Unlock()
		var mine []string
		for _, o := range order {
			if o != "other" {
				mine = append(mine, o)
			}
		}
		if got := strings.Join(mine, " "); got != "0 1 2 3 4 5 6 7 8 9" {
			t.Errorf("order %s", got)
		}
	})
}

func TestFullLaneRefusesAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) { c.Limits.LaneMessages = 3 })
		defer s.shutdown()
		release := make(chan struct{})
		s.sip.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			<-release
			return adapters.Succeeded()
		}
		var answers []<-chan adapters.Status
		for i := range 6 {
			answers = append(answers, s.send(s.xmpp, message(juliet, romeo, fmt.Sprint(i))))
			synctest.Wait()
		}
		close(release)
		for i, a := range answers {
			want := adapters.Success
			if i > 3 { // one under way and three waiting
				want = adapters.Failure
			}
			if got := <-a; got.Outcome != want {
				t.Errorf("message %d: %+v, want %v", i, got, want)
			}
		}
	})
}

// A message that waits behind a slow one is answered before its sender's transaction ends.
func TestPatienceOfTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.sip.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
			time.Sleep(time.Until(op.Deadline))
			return adapters.Failed(adapters.ReasonDomainTimeout, "")
		}
		began := time.Now()
		first := s.send(s.xmpp, message(juliet, romeo, "1"))
		second := s.send(s.xmpp, message(juliet, romeo, "2"))
		for _, a := range []<-chan adapters.Status{first, second} {
			if got := <-a; got.Reason != adapters.ReasonDomainTimeout {
				t.Errorf("answer %+v", got)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("answered after %v, when a SIP transaction is over", took)
			}
		}
		if n := len(s.sip.Messages()); n != 1 {
			t.Errorf("%d were sent; the second's sender had been answered by then", n)
		}
	})
}

func TestExpiredIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		op := message(juliet, romeo, "late")
		op.Expires = time.Now().Add(-time.Second)
		if got := <-s.send(s.xmpp, op); got.Reason != adapters.ReasonExpired || len(s.sip.Messages()) != 0 {
			t.Errorf("answer %+v, %d sent", got, len(s.sip.Messages()))
		}
	})
}

// T-FI-23: "destination continues" after a message that makes the translator panic.
func TestT_FI_23_Poison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.sip.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
			if string(op.Content.Octets) == "poison" {
				panic("in the translator")
			}
			return adapters.Succeeded()
		}
		poison, next := s.send(s.xmpp, message(juliet, romeo, "poison")), s.send(s.xmpp, message(juliet, romeo, "next"))
		if got := <-poison; got.Reason != adapters.ReasonInternal {
			t.Errorf("poison: %+v", got)
		}
		if got := <-next; got.Outcome != adapters.Success {
			t.Errorf("next: %+v", got)
		}
	})
}

// A message gets exactly one terminal notice, its sender's own identifiers on it, and only what was asked for (T-LP-06).
func TestT_LP_06_LateOutcomes(t *testing.T) {
	const delivered, displayed, failed = adapters.ReportDelivered, adapters.ReportDisplayed, adapters.ReportFailed
	for _, c := range []struct {
		name    string
		wants   adapters.Dispositions
		reports []adapters.ReportKind
		passed  []adapters.ReportKind
	}{
		{"failure is always told", 0, []adapters.ReportKind{failed}, []adapters.ReportKind{failed}},
		{"and once", 0, []adapters.ReportKind{failed, failed, delivered}, []adapters.ReportKind{failed}},
		{"delivery is told if asked for", adapters.WantDelivered, []adapters.ReportKind{delivered, failed, delivered}, []adapters.ReportKind{delivered}},
		{"and not otherwise", 0, []adapters.ReportKind{delivered, displayed}, nil},
		{"display after delivery", adapters.WantDelivered | adapters.WantDisplayed, []adapters.ReportKind{delivered, displayed, displayed}, []adapters.ReportKind{delivered, displayed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				op := message(romeo, juliet, "x")
				sent := time.Now() // for a message that does not say
				if op.Wants = c.wants; c.wants == 0 {
					sent = sent.Add(-time.Hour)
					op.Sent = sent
				}
				<-s.send(s.sip, op)
				for _, k := range c.reports {
					r := report(k, "t-x")
					r.Sender.Instance = ""
					s.xmpp.Handler().Report(t.Context(), r)
					synctest.Wait()
				}
				var got []adapters.ReportKind
				for _, r := range s.sip.Reports() {
					got = append(got, r.Kind)
					if r.Sender != romeo || r.TransID != "t-x" || r.Thread != "thread" {
						t.Errorf("report %+v does not name the message as its sender did", r)
					}
					if r.Wants != c.wants || !r.Sent.Equal(sent) {
						t.Errorf("wants %03b, sent %v: want those of the message, %03b and %v", r.Wants, r.Sent, c.wants, sent)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(c.passed) {
					t.Errorf("passed on %v, want %v", got, c.passed)
				}
			})
		})
	}
}

// T-FI-11: whose sender was told that the outcome is not known may hear of a delivery, once, and of no failure (I3).
func TestT_FI_11_OutcomeUnknownThenDelivered(t *testing.T) {
	const delivered, failed = adapters.ReportDelivered, adapters.ReportFailed
	for _, c := range []struct {
		name    string
		answer  adapters.Status
		reports []adapters.ReportKind
		passed  string
	}{
		{"delivered after all", adapters.Failed(adapters.ReasonOutcomeUnknown, ""), []adapters.ReportKind{delivered, delivered}, "[delivered]"},
		{"failed, which is no news", adapters.Failed(adapters.ReasonOutcomeUnknown, ""), []adapters.ReportKind{failed}, "[]"},
		{"failed and then delivered", adapters.Failed(adapters.ReasonOutcomeUnknown, ""), []adapters.ReportKind{failed, delivered}, "[delivered]"},
		{"a failure that is known stays one", adapters.Failed(adapters.ReasonNotFound, ""), []adapters.ReportKind{delivered}, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, nil)
				defer s.shutdown()
				s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return c.answer }
				op := message(romeo, juliet, "x")
				op.Wants = adapters.WantDelivered
				<-s.send(s.sip, op)
				for _, k := range c.reports {
					r := report(k, "t-x")
					r.Sender.Instance = ""
					s.xmpp.Handler().Report(t.Context(), r)
					synctest.Wait()
				}
				got := []string{}
				for _, r := range s.sip.Reports() {
					got = append(got, r.Kind.String())
				}
				if fmt.Sprint(got) != c.passed {
					t.Errorf("passed on %v, want %s", got, c.passed)
				}
			})
		})
	}
}

// T-ID-04: a late outcome is believed only for a message that went there, with its identifier and both its addresses.
func TestT_ID_04_ForgedOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		<-s.send(s.sip, message(romeo, juliet, "x"))
		other := adapters.Party{Address: cpim.MustParseAddress("im:iago@example.com")}
		wrongID, wrongFrom, wrongTo := report(adapters.ReportFailed, "t-y"), report(adapters.ReportFailed, "t-x"), report(adapters.ReportFailed, "t-x")
		wrongFrom.Recipient, wrongTo.Sender = other, adapters.Party{Address: cpim.MustParseAddress("im:tybalt@example.net")}
		for _, r := range []*adapters.Report{wrongID, wrongFrom, wrongTo} {
			s.xmpp.Handler().Report(t.Context(), r)
		}
		s.sip.Handler().Report(t.Context(), report(adapters.ReportFailed, "t-x")) // from the sender's own side
		synctest.Wait()
		if got := append(s.sip.Reports(), s.xmpp.Reports()...); len(got) != 0 {
			t.Errorf("passed on %+v", got)
		}
		s.xmpp.Handler().Report(t.Context(), report(adapters.ReportFailed, "t-x"))
		synctest.Wait()
		if len(s.sip.Reports()) != 1 {
			t.Error("the true one was not passed on")
		}
	})
}

// A failure that was told while the sender waited is not told again.
func TestFailureIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			return adapters.Failed(adapters.ReasonNotFound, "")
		}
		<-s.send(s.sip, message(romeo, juliet, "x"))
		s.xmpp.Handler().Report(t.Context(), report(adapters.ReportFailed, "t-x"))
		synctest.Wait()
		if got := s.sip.Reports(); len(got) != 0 {
			t.Errorf("told again: %+v", got)
		}
	})
}

func TestOriginsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, func(c *gateway.Config) { c.Limits.Origins = 320 })
		defer s.shutdown()
		for i := range 2000 {
			<-s.send(s.sip, message(romeo, juliet, fmt.Sprint(i)))
		}
		if held := s.metric("isthmus_origins"); held > 320 {
			t.Errorf("%v held, the limit is 320", held)
		}
		s.xmpp.Handler().Report(t.Context(), report(adapters.ReportFailed, "t-1999"))
		synctest.Wait()
		if len(s.sip.Reports()) != 1 {
			t.Error("the newest was forgotten")
		}
		if s.metric("isthmus_origins_forgotten_total") == 0 {
			t.Error("what the limit cost is not counted")
		}
	})
}

// One line at the end of each operation, with what an operator needs and nothing that is private (T-AD-06, T-PR-13).
func TestT_AD_06_OneLineForEachOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			st := adapters.Failed(adapters.ReasonForbidden, "")
			st.Remote = "evil\r\n{\"level\":\"info\"}\x1b[2J\u202e" + strings.Repeat("é", 1<<20)
			return st
		}
		op := message(romeo, juliet, "secret body")
		op.TransID = "id\n\x1b[31m"
		<-s.send(s.sip, op)
		s.shutdown()
		log := s.log.String()
		if n := strings.Count(log, "\n"); n != 1 {
			t.Errorf("%d lines:\n%s", n, log)
		}
		for _, private := range []string{"secret", "romeo", "juliet", "\x1b", "\r"} {
			if strings.Contains(log, private) {
				t.Errorf("the log has %q: %s", private, log)
			}
		}
		for _, public := range []string{`"from":"sip"`, `"to":"xmpp"`, `"from_domain":"example.net"`, `"to_domain":"example.com"`, `"outcome":"failure"`, `"reason":"forbidden"`, `"ms":`} {
			if !strings.Contains(log, public) {
				t.Errorf("the log lacks %s: %s", public, log)
			}
		}
		if len(log) > 1500 {
			t.Errorf("%d octets of log for one operation", len(log))
		}
	})
}

func TestShutdownFinishesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		s.sip.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			time.Sleep(5 * time.Second)
			return adapters.Succeeded()
		}
		answer := s.send(s.xmpp, message(juliet, romeo, "x"))
		synctest.Wait()
		s.shutdown()
		if got := <-answer; got.Outcome != adapters.Success {
			t.Errorf("answer %+v", got)
		}
		if got := <-s.send(s.xmpp, message(juliet, romeo, "y")); got.Reason != adapters.ReasonOverloaded {
			t.Errorf("after shutdown: %+v", got)
		}
		if err := s.gateway.Wait(); err != nil {
			t.Errorf("Wait: %v", err)
		}
	})
}

func TestFaultOfAnAdapterEndsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		fault := errors.New("the server refused the secret")
		s.xmpp.Break(fault)
		if err := s.gateway.Wait(); !errors.Is(err, fault) {
			t.Errorf("Wait: %v", err)
		}
		s.shutdown()
	})
}

func TestNewRefusesNonsense(t *testing.T) {
	sip := adaptertest.NewFake("sip", adapters.Capabilities{})
	for _, c := range []struct {
		name string
		cfg  gateway.Config
	}{
		{"two adapters of a name", gateway.Config{Adapters: []adapters.Adapter{sip, sip}}},
		{"route to nowhere", gateway.Config{Routes: []gateway.Route{{Domain: "d.example", Adapter: "none"}}}},
		{"no next hop and no resolver", gateway.Config{Adapters: []adapters.Adapter{sip}, Routes: []gateway.Route{{Domain: "d.example", Adapter: "sip"}}}},
		{"no domain", gateway.Config{Adapters: []adapters.Adapter{sip}, Routes: []gateway.Route{{Adapter: "sip", NextHops: hops(t, "sip:127.0.0.1:5060")}}}},
		{"twice", gateway.Config{Adapters: []adapters.Adapter{sip}, Routes: []gateway.Route{
			{Domain: "d.example", Adapter: "sip", NextHops: hops(t, "sip:127.0.0.1:5060")},
			{Domain: "D.example.", Adapter: "sip", NextHops: hops(t, "sip:127.0.0.1:5060")},
		}}},
		{"negative limit", gateway.Config{Limits: gateway.Limits{Messages: -1}}},
		{"too patient", gateway.Config{Limits: gateway.Limits{DirectWait: 31 * time.Second}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := gateway.New(c.cfg); err == nil {
				t.Error("taken")
			}
		})
	}
}

// hops is a static next hop of the configuration.
func hops(t *testing.T, text string) []resolver.Static {
	t.Helper()
	st, err := resolver.ParseStatic(text)
	if err != nil {
		t.Fatal(err)
	}
	return []resolver.Static{st}
}

// fakeResolver answers each domain with what the test gives.
type fakeResolver struct {
	targets []resolver.Target
	err     error
}

func (f fakeResolver) Resolve(context.Context, resolver.Query) ([]resolver.Target, error) {
	return f.targets, f.err
}

func (f fakeResolver) Static(context.Context, resolver.Static, string) ([]resolver.Target, error) {
	return f.targets, f.err
}

// Next hops come from the route, from the names in it, or from DNS; what cannot be found is told apart from what does not
// exist (RFC 7247 §7.1 note 4).
func TestNextHops(t *testing.T) {
	sip, _ := resolver.MustParseStatic("sip:192.0.2.1:5060;transport=tcp").Target("example.net")
	xmpp, _ := resolver.MustParseStatic("component:192.0.2.1:5347").Target("example.net")
	for _, c := range []struct {
		name   string
		static []resolver.Static
		lookup fakeResolver
		reason adapters.Reason
	}{
		{"found by DNS", nil, fakeResolver{targets: []resolver.Target{xmpp, sip}}, adapters.ReasonNone},
		{"only for another protocol", nil, fakeResolver{targets: []resolver.Target{xmpp}}, adapters.ReasonDomainNotFound},
		{"a name, found", hops(t, "sip:proxy.example.net:5060;transport=udp"), fakeResolver{targets: []resolver.Target{sip}}, adapters.ReasonNone},
		{"not found", nil, fakeResolver{err: &resolver.Error{Reason: resolver.ErrNotFound}}, adapters.ReasonDomainNotFound},
		{"no answer", nil, fakeResolver{err: &resolver.Error{Reason: resolver.ErrTemporary}}, adapters.ReasonDomainTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, func(cfg *gateway.Config) {
					cfg.Routes[0].NextHops = c.static
					cfg.Resolver = c.lookup
				})
				defer s.shutdown()
				if got := <-s.send(s.xmpp, message(juliet, romeo, "x")); got.Reason != c.reason {
					t.Errorf("%+v, want %v", got, c.reason)
				}
			})
		})
	}
}
