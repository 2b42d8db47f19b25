package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// T-OV-08: what has waited for a dead destination is no storm when it is back: ReturnRate a second for ten seconds, more later; in order for each pair,
// each once; another destination never notices.
func TestT_OV_08_ReturnIsNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pairs, each, rate = 300, 20, 100
		disk := &storetest.Memory{}
		s := durable(t, disk, func(c *gateway.Config) {
			c.Limits.ReturnRate = rate
			c.Routes = append(c.Routes, gateway.Route{Domain: "other.example", Adapter: "xmpp", NextHops: hops(t, "component:127.0.0.1:5347")})
		})
		defer s.shutdown()
		var down atomic.Bool
		down.Store(true)
		var mu sync.Mutex
		var arrived []time.Time
		heard := map[string][]string{}
		s.xmpp.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
			if op.To.Address.Domain() != "example.com" {
				return adapters.Accepted()
			}
			if down.Load() {
				return unreachable
			}
			mu.Lock()
			defer mu.Unlock()
			pair, text, _ := strings.Cut(string(op.Content.Octets), " ")
			heard[pair] = append(heard[pair], text)
			arrived = append(arrived, time.Now())
			return adapters.Accepted()
		}
		for n := range each {
			for p := range pairs {
				<-s.send(s.sip, message(user(fmt.Sprintf("im:u%d@example.net", p)), user(fmt.Sprintf("im:v%d@example.com", p)), fmt.Sprintf("%d %d", p, n)))
			}
		}
		if n := disk.Entries(); n != pairs*each {
			t.Fatalf("%d are stored", n)
		}
		time.Sleep(time.Minute)
		down.Store(false)
		began := time.Now()
		for range 240 { // nobody waits for what goes elsewhere
			at := time.Now()
			<-s.send(s.sip, message(romeo, user("im:w@other.example"), at.String()))
			if d := time.Since(at); d > 0 {
				t.Errorf("another destination's message took %v", d)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		empty(t, disk)
		mu.Lock()
		defer mu.Unlock()
		first := arrived[0]
		if first.Sub(began) > 3*time.Minute {
			t.Errorf("the first one arrived after %v", first.Sub(began))
		}
		in := func(from, to time.Duration) (n int) {
			for _, at := range arrived {
				if d := at.Sub(first); d >= from && d < to {
					n++
				}
			}
			return n
		}
		if n := in(0, 10*time.Second); n > 10*rate+rate/20 || n < 9*rate {
			t.Errorf("%d messages in the first ten seconds, and %d a second are the bound", n, rate)
		}
		if n, m := in(10*time.Second, 15*time.Second), in(15*time.Second, 20*time.Second); n > 11*rate || m > 22*rate || n < 9*rate || m < 18*rate {
			t.Errorf("%d and %d messages in the next two times five seconds", n, m)
		}
		for p := range pairs {
			list := heard[fmt.Sprint(p)]
			for n, text := range list {
				if text != fmt.Sprint(n) {
					t.Fatalf("pair %d: %v", p, list)
				}
			}
			if len(list) != each {
				t.Fatalf("pair %d: %d messages", p, len(list))
			}
		}
	})
}

// T-OV-08: a destination at which nothing answers holds few messages up, and few places of Limits.Messages: once that is known, what comes for it is stored
// at once, but for some that find out whether it is back.
func TestT_OV_08_ADeadPlaceHoldsUpFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, func(c *gateway.Config) { c.Limits.Messages = 50 })
		defer s.shutdown()
		var up atomic.Bool
		var now, most, taken atomic.Int64
		s.xmpp.OnMessage = func(ctx context.Context, op *adapters.MessageOp) adapters.Status {
			for n := now.Add(1); ; {
				if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			defer now.Add(-1)
			for !up.Load() {
				if time.Until(op.Deadline) <= 0 {
					return unreachable
				}
				select {
				case <-ctx.Done():
					return unreachable
				case <-time.After(100 * time.Millisecond):
				}
			}
			taken.Add(1)
			return adapters.Accepted()
		}
		from := func(i int) adapters.Party { return user(fmt.Sprintf("im:u%d@example.net", i)) }
		<-s.send(s.sip, message(from(0), juliet, "the first one finds it out"))
		most.Store(0)
		const messages = 500
		var answers []<-chan adapters.Status
		for i := range messages {
			answers = append(answers, s.send(s.sip, message(from(i+1), juliet, "x")))
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		late := 0
		for _, a := range answers {
			select {
			case st := <-a:
				if st.Outcome != adapters.Indeterminate {
					t.Errorf("%+v", st)
				}
			default:
				late++
			}
		}
		if late > 8 {
			t.Errorf("%d senders wait", late)
		}
		// 8 direct ones, and the one that is stored and tried.
		if n := most.Load(); n > 9 {
			t.Errorf("%d attempts at once", n)
		}
		noStore := message(from(1000), juliet, "not to be stored")
		noStore.NoStore = true
		var waiting []<-chan adapters.Status
		for i := range 8 {
			waiting = append(waiting, s.send(s.sip, message(from(2000+i), juliet, "x")))
		}
		synctest.Wait()
		at := time.Now()
		if st := <-s.send(s.sip, noStore); st != unreachable || time.Since(at) > 0 {
			t.Errorf("%+v after %v", st, time.Since(at))
		}
		up.Store(true)
		for _, a := range waiting {
			<-a
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		empty(t, disk)
		if n := taken.Load(); n != messages+1+int64(len(waiting)) {
			t.Errorf("%d were taken", n)
		}
	})
}

// What waits for a domain is tried when its adapter says that the way to it is back, and not only at the next time that was set for it.
func TestAWayThatIsBackIsTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		var up atomic.Bool
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			if !up.Load() {
				return unreachable
			}
			return adapters.Accepted()
		}
		for i := range 50 {
			<-s.send(s.sip, message(romeo, juliet, fmt.Sprint(i)))
		}
		time.Sleep(3 * time.Hour)
		tried := len(s.xmpp.Messages())
		for len(s.xmpp.Messages()) == tried { // then the next time is half an hour away
			time.Sleep(time.Second)
		}
		up.Store(true)
		synctest.Wait()
		tried = len(s.xmpp.Messages())
		h := s.xmpp.Handler().(adapters.Outages)
		h.Back(adapters.Way{Ours: "example.net", Theirs: "other.example"})
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(s.xmpp.Messages()); n != tried {
			t.Errorf("%d attempts when the way to another domain was back", n-tried)
		}
		h.Back(adapters.Way{Ours: "example.net", Theirs: "example.com"})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		empty(t, disk)
	})
}

// T-OV-08: after a short outage, of a place that did not start anew, what waits goes out as fast as it came. Slower, there would be more of it every second.
func TestT_OV_08_AfterAShortOutage(t *testing.T) {
	t.Run("of many pairs", func(t *testing.T) { afterAShortOutage(t, 100) })
	t.Run("of one pair", func(t *testing.T) { afterAShortOutage(t, 1) })
}

func afterAShortOutage(t *testing.T, pairs int) {
	synctest.Test(t, func(t *testing.T) {
		const rate, outage = 1000, 10 * time.Second
		disk := &storetest.Memory{}
		s := durable(t, disk, func(c *gateway.Config) { c.Limits.ReturnRate = 10 })
		defer s.shutdown()
		var down atomic.Bool
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			if down.Load() {
				return unreachable
			}
			return adapters.Accepted()
		}
		send := func(d time.Duration) {
			for n := range int(d.Seconds() * rate) {
				<-s.send(s.sip, message(user(fmt.Sprintf("im:u%d@example.net", n%pairs)), juliet, time.Now().String()))
				time.Sleep(time.Second / rate)
			}
		}
		down.Store(true)
		send(outage)
		down.Store(false)
		send(4 * outage) // each pair has a backlog first, behind which all of this goes
		if n := disk.Entries(); n > rate {
			t.Errorf("%d wait", n)
		}
	})
}

// A message for which there is no room on the way to a place says nothing against the place: it is stored, and tried again soon, and others are not
// stored unasked.
func TestAFullWayIsNoDeadPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		var full atomic.Bool
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			if full.Load() {
				return adapters.Failed(adapters.ReasonOverloaded, "")
			}
			return adapters.Accepted()
		}
		full.Store(true)
		for i := range 1000 {
			if st := <-s.send(s.sip, message(user(fmt.Sprintf("im:u%d@example.net", i)), juliet, "x")); st.Outcome != adapters.Indeterminate {
				t.Fatalf("%+v", st)
			}
		}
		if n := len(s.xmpp.Messages()); n < 1000 {
			t.Errorf("%d of 1,000 were tried", n)
		}
		full.Store(false)
		tried := len(s.xmpp.Messages())
		<-s.send(s.sip, message(romeo, juliet, "x"))
		if n := len(s.xmpp.Messages()); n != tried+1 || disk.Entries() != 1000 {
			t.Errorf("%d attempts, %d are stored", n-tried, disk.Entries())
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		empty(t, disk)
	})
}

// T-OV-08: however short the outage, a server whose link broke may have started anew.
func TestT_OV_08_AfterABrokenLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages, rate = 1000, 10
		disk := &storetest.Memory{}
		s := durable(t, disk, func(c *gateway.Config) { c.Limits.ReturnRate = rate })
		defer s.shutdown()
		var down atomic.Bool
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			if down.Load() {
				return unreachable
			}
			return adapters.Accepted()
		}
		down.Store(true)
		for n := range messages {
			<-s.send(s.sip, message(user(fmt.Sprintf("im:u%d@example.net", n)), juliet, "x"))
		}
		down.Store(false)
		s.xmpp.Handler().(adapters.Outages).Back(adapters.Way{Ours: "example.net", Theirs: "example.com"})
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if n := messages - disk.Entries(); n < 5*rate || n > 10*rate {
			t.Errorf("%d arrived in 9 s", n)
		}
	})
}

// T-OV-08: the same where what came meanwhile found the queue of the broken link full, and so nothing was held to be silent.
func TestT_OV_08_AfterABrokenLinkWhoseQueueWasFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages, rate = 1000, 10
		disk := &storetest.Memory{}
		s := durable(t, disk, func(c *gateway.Config) { c.Limits.ReturnRate = rate })
		defer s.shutdown()
		var full atomic.Bool
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			if full.Load() {
				return adapters.Failed(adapters.ReasonOverloaded, "")
			}
			return adapters.Accepted()
		}
		full.Store(true)
		for n := range messages {
			<-s.send(s.sip, message(user(fmt.Sprintf("im:u%d@example.net", n)), juliet, "x"))
		}
		s.xmpp.Handler().(adapters.Outages).Back(adapters.Way{Ours: "example.net", Theirs: "example.com"})
		time.Sleep(time.Second) // the queue is written first
		full.Store(false)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if n := messages - disk.Entries(); n < 5*rate || n > 10*rate {
			t.Errorf("%d arrived in 9 s", n)
		}
	})
}

// What waits for room on the way to a place is tried soon, and not all of it one after the other without a pause: each attempt is written to the disk.
func TestAFullWayIsNotTriedAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages = 1000
		disk := &storetest.Memory{}
		s := durable(t, disk, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			return adapters.Failed(adapters.ReasonOverloaded, "")
		}
		for i := range messages {
			<-s.send(s.sip, message(user(fmt.Sprintf("im:u%d@example.net", i)), juliet, "x"))
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(s.xmpp.Messages()) - messages; n < 100 || n > 400 {
			t.Errorf("%d attempts in 10 s", n)
		}
	})
}

// A server that refuses a message for now with a condition has said no: it is not asked four times in the next second, as our own crowd is.
func TestARefusalForNowIsNoCrowdOfOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := durable(t, &storetest.Memory{}, nil)
		defer s.shutdown()
		s.xmpp.OnMessage = func(context.Context, *adapters.MessageOp) adapters.Status {
			st := adapters.Failed(adapters.ReasonOverloaded, "")
			st.Remote = "resource-constraint"
			return st
		}
		<-s.send(s.sip, message(romeo, juliet, "x"))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := len(s.xmpp.Messages()); n < 3 || n > 4 { // the direct one, after 5 s, after 15 more
			t.Errorf("%d attempts in 30 s", n)
		}
	})
}
