package gateway_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
)

// T-FI-22, T-AD-03: while one configuration follows another without a pause, every message has one answer, what all of them refuse never passes,
// what all of them allow always does, and no tenant's room is lost.
func TestT_FI_22_TrafficWhileItChanges(t *testing.T) {
	s := newStrait(t, nil)
	defer s.shutdown()
	tenant := policy.Tenant{Name: "verona", Domains: parties(t, "example.net", "example.com"), MessagesUnderWay: 1 << 20}
	never := policy.Rule{Name: "never", Peers: []string{"never"}, Refuse: true}
	policies := []*policy.Policy{
		ruled(t, policy.Config{Tenants: []policy.Tenant{tenant}, Rules: []policy.Rule{never, {Name: "a", From: parties(t, "example.net"), Bounds: policy.Bounds{SenderRate: 1_000_000}}}}),
		ruled(t, policy.Config{Tenants: []policy.Tenant{tenant}, Rules: []policy.Rule{never, {Name: "b"}}}),
		ruled(t, policy.Config{Tenants: []policy.Tenant{tenant}, Rules: []policy.Rule{{Name: "some", Peers: []string{"always"}, Bounds: policy.Bounds{NewContacts: 1_000_000}}}}),
	}
	s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: policies[0]})
	var wrong, passed atomic.Int64
	var senders, changers sync.WaitGroup
	done := make(chan struct{})
	changers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				s.renew(gateway.Settings{Routes: straitRoutes(t), Policy: policies[i%len(policies)], Limits: gateway.Limits{LaneMessages: 100 + i%2, PairRate: i % 2 * 1_000_000}})
			}
		}
	})
	for n := range 4 {
		senders.Go(func() {
			for i := range 300 {
				peer := [...]string{"always", "never"}[i%2]
				op := message(user(fmt.Sprintf("im:u%d@example.net", n)), juliet, fmt.Sprint(n, i))
				op.Peer.Name = peer
				select {
				case st := <-s.send(s.sip, op):
					if (st.Outcome == adapters.Failure) != (peer == "never") {
						wrong.Add(1)
					} else if peer == "always" {
						passed.Add(1)
					}
				case <-time.After(30 * time.Second):
					wrong.Add(1)
				}
			}
		})
	}
	senders.Wait()
	close(done)
	changers.Wait()
	if wrong.Load() != 0 || int(passed.Load()) != len(s.xmpp.Messages()) {
		t.Errorf("%d wrong answers; %d passed, %d crossed", wrong.Load(), passed.Load(), len(s.xmpp.Messages()))
	}
	if n := s.gateway.TenantMessages("verona"); n != 0 {
		t.Errorf("%d under way at the end", n)
	}
}
