package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

const (
	contactDomains = 300
	deadDomains    = 10 // every other one of them in DNS, the others at their server
)

func contactDomain(i int) string { return fmt.Sprintf("d%03d.example", i) }

func contactOf(i int) cpim.Address { return cpim.MustParseAddress("pres:romeo@" + contactDomain(i)) }

// deadDomain tells whether the domain is dead, and whether its name servers are.
func deadDomain(domain string) (dead, inDNS bool) {
	var i int
	if _, err := fmt.Sscanf(domain, "d%03d.example", &i); err != nil {
		return false, false
	}
	return i%(contactDomains/deadDomains) == 0, i%(2*contactDomains/deadDomains) == 0
}

// slowDNS finds one server for every domain, and does not answer for those whose name servers are dead.
type slowDNS struct{ alive *atomic.Bool }

func (d slowDNS) Resolve(ctx context.Context, q resolver.Query) ([]resolver.Target, error) {
	if _, inDNS := deadDomain(q.Domain); inDNS && !d.alive.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	st, err := resolver.ParseStatic("sip:127.0.0.1:5060;transport=udp")
	if err != nil {
		return nil, err
	}
	target, _ := st.Target(q.Domain)
	return []resolver.Target{target}, nil
}

func (d slowDNS) Static(context.Context, resolver.Static, string) ([]resolver.Target, error) {
	return nil, nil
}

// T-PR-05: one user has contacts in 300 domains, of which ten are dead: neither what she asks of the others nor what they hear of her waits for
// those, and those are there as soon as they live (RFC 2779 §2.2, requirement 2.2.6).
func TestT_PR_05_DeadDomainsDoNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var alive atomic.Bool
		s := newStrait(t, func(c *gateway.Config) {
			c.Routes[0] = gateway.Route{Domain: gateway.AnyDomain, Adapter: "sip"}
			c.Resolver = slowDNS{&alive}
		})
		defer s.shutdown()
		hang := func(ctx context.Context, domain string) bool {
			if dead, _ := deadDomain(domain); !dead || alive.Load() {
				return false
			}
			<-ctx.Done()
			return true
		}
		timeout := adapters.Failed(adapters.ReasonDomainTimeout, "")
		s.sip.OnWatch = func(ctx context.Context, op *adapters.WatchOp) adapters.WatchStatus {
			ctx, cancel := context.WithDeadline(ctx, op.Deadline)
			defer cancel()
			if hang(ctx, op.Watch.Presentity.Domain()) {
				return adapters.WatchStatus{Status: timeout}
			}
			if op.Verb == adapters.WatchOpen {
				s.sip.Handler().Notify(context.Background(), &adapters.NotifyOp{
					Watch: op.Watch, State: adapters.WatchActive, Whole: true, Change: adapters.AuthorizationGranted,
					Presence: &pidf.Presence{
						Entity: pidf.EntityOf(op.Watch.Presentity),
						Tuples: []pidf.Tuple{{ID: pidf.TupleID("orchard"), Status: pidf.Status{Basic: pidf.BasicOpen}}},
					},
				})
			}
			return adapters.WatchStatus{Status: adapters.Succeeded(), State: adapters.WatchActive, Duration: op.Duration}
		}
		s.sip.OnNotify = func(ctx context.Context, op *adapters.NotifyOp) adapters.Status {
			ctx, cancel := context.WithDeadline(ctx, op.Deadline)
			defer cancel()
			if hang(ctx, op.Watch.Watcher.Domain()) {
				return timeout
			}
			return adapters.Succeeded()
		}
		began := time.Now()
		for i := range contactDomains {
			if got := s.watch(s.xmpp, &adapters.WatchOp{
				Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: julietSeen, Presentity: contactOf(i)},
			}); got.Outcome != adapters.Indeterminate {
				t.Fatalf("%v: %+v", contactOf(i), got)
			}
		}
		granted := func() map[string]bool {
			m := map[string]bool{}
			for _, n := range s.xmpp.Notifies() {
				if n.Change == adapters.AuthorizationGranted {
					m[n.Watch.Presentity.Domain()] = true
				}
			}
			return m
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(granted()); n != contactDomains-deadDomains {
			t.Errorf("after %v she has %d approvals of %d", time.Since(began), n, contactDomains-deadDomains)
		}

		// Those domains' users watch her, and hear of a change while the dead ones hang.
		for i := range contactDomains {
			s.watch(s.sip, &adapters.WatchOp{
				Verb: adapters.WatchOpen, Duration: time.Hour,
				Watch: adapters.WatchID{Watcher: contactOf(i), Presentity: julietSeen, Session: contactDomain(i)},
			})
			s.xmpp.Handler().Notify(t.Context(), &adapters.NotifyOp{
				Watch: adapters.WatchID{Watcher: contactOf(i), Presentity: julietSeen}, Change: adapters.AuthorizationGranted,
			})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		s.sip.Forget()
		for i := range contactDomains {
			s.xmpp.Handler().Notify(t.Context(), &adapters.NotifyOp{
				Watch: adapters.WatchID{Watcher: contactOf(i), Presentity: julietSeen}, Instance: "balcony",
				Presence: &pidf.Presence{
					Entity: pidf.EntityOf(julietSeen),
					Tuples: []pidf.Tuple{{ID: pidf.TupleID("balcony"), Status: pidf.Status{Basic: pidf.BasicOpen}}},
				},
			})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		told := map[string]bool{}
		for _, n := range s.sip.Notifies() {
			if n.Presence != nil && n.Presence.Tuple(pidf.TupleID("balcony")) != nil {
				told[n.Watch.Watcher.Domain()] = true
			}
		}
		for i := range contactDomains {
			if dead, _ := deadDomain(contactDomain(i)); !dead && !told[contactDomain(i)] {
				t.Errorf("%s has not heard of her within a second", contactDomain(i))
			}
		}

		// They live again, and nobody has to do anything: after the longest wait between attempts everybody has answered.
		alive.Store(true)
		time.Sleep(time.Hour)
		synctest.Wait()
		if m := granted(); len(m) != contactDomains {
			t.Errorf("an hour later she has %d approvals of %d", len(m), contactDomains)
		}
		if strings.Contains(s.log.String(), "juliet") {
			t.Error("the log tells who watches (T-PR-13)")
		}
	})
}
