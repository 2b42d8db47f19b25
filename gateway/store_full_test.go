package gateway_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// noRoom is a store on a disk that is full: what becomes of its entries is written, and nothing else is.
type noRoom struct{ *storetest.Memory }

func (noRoom) Append(context.Context, ...store.Entry) error { return store.ErrFull }

func (noRoom) Put(context.Context, string, string, []byte, time.Duration) error {
	return store.ErrUnavailable
}

func (noRoom) Create(context.Context, string, string, []byte, time.Duration) error {
	return store.ErrUnavailable
}

// T-FI-05: a gateway whose disk is full starts, hands over what it holds and what can be handed over at once, and refuses what it would have
// to store.
func TestT_FI_05_AGatewayStartsOnAFullDisk(t *testing.T) {
	for _, first := range []bool{false, true} { // before it has written anything, its keys among them
		synctest.Test(t, func(t *testing.T) {
			disk := &storetest.Memory{}
			held := 0
			if !first {
				s := durable(t, disk, nil)
				s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable }
				if a := <-s.send(s.sip, message(romeo, juliet, "stored")); a.Outcome != adapters.Indeterminate {
					t.Fatalf("%+v", a)
				}
				s.shutdown()
				held = 1
			}
			s := durable(t, disk, func(c *gateway.Config) {
				c.OpenStore = func(context.Context) (store.Durable, error) { return noRoom{disk}, nil }
			})
			defer s.shutdown()
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := len(s.xmpp.Messages()); n != held {
				t.Errorf("%d messages were handed over, %d were held", n, held)
			}
			if a := <-s.send(s.sip, message(romeo, juliet, "direct")); a.Outcome == adapters.Failure {
				t.Errorf("%+v", a)
			}
			s.xmpp.Answer(func(context.Context, *adapters.MessageOp) adapters.Status { return unreachable })
			if a := <-s.send(s.sip, message(romeo, juliet, "to be stored")); a.Outcome != adapters.Failure {
				t.Errorf("%+v", a)
			}
		})
	}
}
