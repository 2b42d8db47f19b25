package gateway_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
)

func activity(from, to adapters.Party, what adapters.Activity) *adapters.MessageOp {
	return &adapters.MessageOp{From: from, To: to, Hops: adapters.DefaultHops, Activity: what}
}

// A newer activity takes the place of one that waits, but never overtakes a message, and a message is never replaced.
func TestTheNewestActivityWaitsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		free := make(chan struct{})
		s.sip.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { <-free; return adapters.Succeeded() }
		first := s.send(s.xmpp, message(juliet, romeo, "under way"))
		synctest.Wait()
		replaced := s.send(s.xmpp, activity(juliet, romeo, adapters.ActivityComposing))
		s.send(s.xmpp, activity(juliet, romeo, adapters.ActivityPaused))
		s.send(s.xmpp, message(juliet, romeo, "next"))
		s.send(s.xmpp, activity(juliet, romeo, adapters.ActivityComposing))
		s.send(s.xmpp, activity(juliet, romeo, adapters.ActivityGone))
		if got := <-replaced; got.Outcome != adapters.Indeterminate {
			t.Errorf("the replaced one was answered %+v", got)
		}
		close(free)
		<-first
		synctest.Wait()
		var order []string
		for _, op := range s.sip.Messages() {
			order = append(order, op.Activity.String()+string(op.Content.Octets))
		}
		if got, want := len(order), 4; got != want || order[1] != "paused" || order[2] != "nonenext" || order[3] != "gone" {
			t.Errorf("handed over %q", order)
		}
	})
}

// What somebody does now is not worth telling later: an activity waits 5 s at most.
func TestActivityIsOfTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrait(t, nil)
		defer s.shutdown()
		s.sip.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			time.Sleep(6 * time.Second)
			return adapters.Succeeded()
		}
		s.send(s.xmpp, message(juliet, romeo, "slow"))
		synctest.Wait()
		late := s.send(s.xmpp, activity(juliet, romeo, adapters.ActivityComposing))
		if got := <-late; got.Reason != adapters.ReasonDomainTimeout {
			t.Errorf("answer %+v", got)
		}
		if n := len(s.sip.Messages()); n != 1 {
			t.Errorf("%d handed over", n)
		}
	})
}

// AnyDomain is for the domains without a route of their own, and for no others; a domain of the other side is still refused.
func TestT_ID_06_AnyDomain(t *testing.T) {
	party := func(uri string) adapters.Party { return adapters.Party{Address: cpim.MustParseAddress(uri)} }
	for _, c := range []struct {
		name, from, to string
		reason         adapters.Reason
	}{
		{"a domain without a route", "im:a@example.net", "im:b@anywhere.example", adapters.ReasonNone},
		{"a domain with one", "im:a@example.net", "im:b@example.com", adapters.ReasonNone},
		{"from a domain that is not on that side", "im:a@anywhere.example", "im:b@example.com", adapters.ReasonForbidden},
		{"back to its own side", "im:a@example.net", "im:b@example.net", adapters.ReasonLoop},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, func(cfg *gateway.Config) {
					cfg.Routes = append(cfg.Routes, gateway.Route{
						Domain: gateway.AnyDomain, Adapter: "xmpp", NextHops: hops(t, "component:127.0.0.1:5347"),
					})
				})
				defer s.shutdown()
				if got := <-s.send(s.sip, message(party(c.from), party(c.to), "x")); got.Reason != c.reason {
					t.Errorf("answer %+v, want %v", got, c.reason)
				}
			})
		})
	}
}
