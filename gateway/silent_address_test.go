package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// A domain of which some addresses answer nothing does not look dead for those that do: eight messages to the silent ones, always under way, kept every
// other message of the domain from being tried.
func TestSilentAddressesDoNotHideTheirDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := durable(t, &storetest.Memory{}, func(c *gateway.Config) { c.Limits.Messages = 50 })
		defer s.shutdown()
		s.xmpp.OnMessage = func(ctx context.Context, op *adapters.MessageOp) adapters.Status {
			if strings.HasPrefix(op.To.Address.String(), "im:silent") {
				select {
				case <-ctx.Done():
				case <-time.After(time.Until(op.Deadline)):
				}
				return unreachable
			}
			return adapters.Succeeded()
		}
		from := func(i int) adapters.Party { return user(fmt.Sprintf("im:u%d@example.net", i)) }
		silent := func(i int) adapters.Party {
			return user(fmt.Sprintf("im:silent%d@%s", i, juliet.Address.Domain()))
		}
		<-s.send(s.sip, message(from(0), silent(0), "the domain looks dead now"))
		for i := range 8 {
			s.send(s.sip, message(from(1+i), silent(1+i), "x"))
		}
		time.Sleep(2 * time.Second)
		for i := range 20 {
			if st := <-s.send(s.sip, message(from(100+i), juliet, "to one who answers")); st.Outcome != adapters.Success {
				t.Fatalf("message %d: %+v", i, st)
			}
		}
	})
}
