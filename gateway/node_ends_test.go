package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// carried are operations as nodes hand them on to each other.
func carried() []string {
	op := `{"v":1,"op":"o","side":"sip","from":{"a":"im:romeo@example.net"},"to":{"a":"im:juliet@example.com"},"type":"text/plain","body":"eA==","hops":5}`
	notice := `{"v":1,"op":"o","side":"xmpp","kind":2,"sender":{"a":"im:romeo@example.net"},"rcpt":{"a":"im:juliet@example.com"},"id":"x.y","reason":"not-found"}`
	watch := `{"side":"sip","watcher":"pres:romeo@example.net","presentity":"pres:juliet@example.com"}`
	return []string{
		`{"v":1,"message":{"op":` + op + `,"waited":1,"activity":1,"refresh":5}}`, `{"v":1,"report":{"op":` + notice + `,"side":"xmpp"}}`,
		`{"v":1,"tell":{"op":` + notice + `,"side":"sip"}}`, `{"v":1,"entry":{"id":"0000000000000001"}}`, `{"v":1,"queue":{"do":"list","after":"x"}}`,
		`{"v":1,"watch":` + watch + `}`, `{"v":1,"notify":` + watch + `}`, `{"v":1,"attend":` + watch + `}`, `{"v":1,"native":{"side":"sip","octets":"eA=="}}`,
		`{"v":1,"way":{"ours":"example.net","theirs":"example.com","back":true}}`,
	}
}

// A forwarded operation that is malformed, as no node of ours makes it, neither makes a gateway panic nor has it keep anything.
func TestMalformedForwardsDoNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b")
		defer f.shutdown()
		stranger := f.memory.Join("x")
		defer stranger.Kill()
		say := func(octets string) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			answer, err := stranger.Call(ctx, "a", []byte(octets))
			if err != nil || len(answer) > 0 && !json.Valid(answer) {
				t.Errorf("%.200q is answered %q, %v", octets, answer, err)
			}
		}
		synctest.Wait()
		before := runtime.NumGoroutine()
		for _, octets := range []string{
			"", "null", "{}", "[]", `"`, "\x00\xff", `{"v":2}`, `{"v":1}`, `{"v":1,"message":null}`, `{"v":1,"message":{}}`, `{"v":1,"message":{"op":null}}`,
			`{"v":1,"message":{"op":{"v":1}}}`, `{"v":1,"report":{}}`, `{"v":1,"tell":{}}`, `{"v":1,"entry":{}}`, `{"v":1,"entry":{"id":"../../x"}}`, `{"v":1,"queue":{}}`,
			`{"v":1,"queue":{"do":"drop","id":"no"}}`, `{"v":1,"queue":{"do":"retry"}}`, `{"v":1,"watch":{}}`, `{"v":1,"watch":{"out":true}}`, `{"v":1,"notify":{}}`, `{"v":1,"notify":{"out":true}}`,
			`{"v":1,"notify":{"leaving":true}}`, `{"v":1,"attend":{}}`, `{"v":1,"native":{}}`, `{"v":1,"native":{"side":"xmpp"}}`, `{"v":1,"way":{}}`, `{"v":-1}`, `{"v":1e99}`,
			`{"v":1,"message":{"waited":-9223372036854775808}}`, strings.Repeat("[", 100_000), `{"v":1,"message":{"op":` + strings.Repeat(`{"a":`, 10_000),
			`{"v":1,"way":{"ours":"` + strings.Repeat("a", 100_000) + `"}}`,
		} {
			say(octets)
		}
		// And what is nearly well formed: octets changed, cut off and said twice.
		r := rand.New(rand.NewPCG(7, 4))
		for range 1500 {
			b := []byte(carried()[r.IntN(len(carried()))])
			for range 1 + r.IntN(4) {
				switch i := r.IntN(len(b)); r.IntN(4) {
				case 0:
					b[i] = byte(r.IntN(256))
				case 1:
					b = b[:i+1]
				case 2:
					b = append(b[:i:i], append([]byte(fmt.Sprint(r.Int64()-1<<62)), b[i:]...)...)
				case 3:
					b = append(b[:i:i], append([]byte(`{["",null]}`)[:1+r.IntN(10)], b[i:]...)...)
				}
			}
			say(string(b))
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for name, m := range f.nodes {
			if text := m.log.String(); strings.Contains(text, "panic") {
				t.Errorf("%s: %.2000s", name, text[strings.Index(text, "panic"):])
			}
		}
		if after := runtime.NumGoroutine(); after > before+20 {
			t.Errorf("%d goroutines, %d before", after, before)
		}
		empty(t, f.memory)
	})
}

// A drain in a cluster has an end (T-FI-22): limits.drain, and what the operations under way wait for the disk, at most 20 s, whatever hangs: the store,
// the other nodes, who takes the messages, and late outcomes without an owner.
func TestT_FI_22_ADrainInAClusterIsBounded(t *testing.T) {
	const drain, more = 10 * time.Second, 20 * time.Second
	for _, c := range []struct {
		name   string
		breaks func(m *member)
	}{
		{"nothing hangs", func(*member) {}},
		{"apart from store and nodes", func(m *member) { m.memory.Partition(true) }},
		{"the store refuses", func(m *member) { m.memory.FailWith(func(string) error { return store.ErrUnavailable }) }},
		{"the store hangs", func(m *member) {
			m.memory.FailWith(func(string) error {
				time.Sleep(9 * time.Second)
				return store.ErrUnavailable
			})
		}},
		{"nobody answers", func(m *member) { m.memory.LoseCalls(func(string) storetest.Loss { return storetest.LostBefore }) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, "a", "b", "c")
				defer f.shutdown()
				holder := f.holder(places[0])
				m := f.nodes[holder]
				m.xmpp.before = func(op *adapters.MessageOp) { time.Sleep(time.Until(op.Deadline)) } // nobody takes it in all its time
				answers := []<-chan adapters.Status{}
				for i := range 3 {
					answers = append(answers, m.send(m.sip, message(romeo, juliet, fmt.Sprint(i))))
				}
				for i := range 5 {
					// Outcomes of whatever part.
					m.xmpp.Handler().Report(t.Context(), &adapters.Report{
						Kind: adapters.ReportFailed, Sender: romeo, Recipient: user(fmt.Sprintf("im:j%d@example.com", i)), TransID: "x.y", Status: adapters.Failed(adapters.ReasonNotFound, ""),
					})
				}
				time.Sleep(time.Second)
				c.breaks(m)
				began := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), drain)
				defer cancel()
				_ = m.gateway.Shutdown(ctx) // it says what was not finished
				delete(f.nodes, holder)
				took := time.Since(began)
				t.Logf("%v", took)
				if took > drain+more {
					t.Errorf("the drain took %v", took)
				}
				for i, a := range answers {
					select {
					case <-a:
					default:
						t.Errorf("message %d was not answered", i)
					}
				}
				m.memory.FailWith(nil)
				m.memory.Kill()
			})
		})
	}
}

// What bounds the journal of one gateway bounds that of several: a dead letter ends with its life, wherever its part is by then, also one that nobody
// could say where it belongs.
func TestDeadLettersEndInAClusterToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.shutdown()
		f.limits = gateway.Limits{NoticeLife: 5 * time.Minute, DeadLife: 30 * time.Minute}
		f.report = func(context.Context, *adapters.Report) adapters.Status { return unreachable }
		for _, name := range []string{"a", "b", "c"} {
			f.start(name)
		}
		time.Sleep(10 * time.Second)
		f.server.down = true
		m := f.stranger(places[0])
		// An entry of a side that no gateway has.
		now := time.Now()
		e := store.Entry{
			ID: m.memory.NewID(), Kind: store.KindNotice, Part: 3, Order: "x", Accepted: now, Expires: now.Add(time.Hour),
			Octets: []byte(`{"v":1,"op":"o","side":"gone","kind":2,"sender":{"a":"im:romeo@example.net"},"rcpt":{"a":"im:juliet@example.com"}}`),
		}
		if err := m.memory.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		op := message(romeo, juliet, "x")
		op.Expires = time.Now().Add(time.Minute)
		<-m.send(m.sip, op)
		most := 0
		for range 9 { // each part goes to another node now and then
			time.Sleep(4 * time.Minute)
			for _, name := range []string{"a", "b", "c"} {
				f.nodes[name].shutdown()
				delete(f.nodes, name)
				time.Sleep(12 * time.Second)
				f.start(name)
				time.Sleep(12 * time.Second)
			}
			dead := 0
			if err := f.nodes["a"].gateway.Stored(t.Context(), true, func(gateway.Stored) error { dead++; return nil }); err != nil {
				t.Error(err)
			}
			most = max(most, dead)
		}
		if most != 2 {
			t.Errorf("%d dead letters", most)
		}
		empty(t, f.memory)
	})
}
