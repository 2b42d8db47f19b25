package transaction

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// T-OV-02, RFC 7339 §5.5: "A SIP client MUST honor overload control values it receives from downstream neighbors."
func TestOverloadIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table overloadTable
		table.init()
		key := overloadKey{resolver.UDP, theirs}
		dropped := func(inDialog bool) (n int) {
			for range 1000 {
				if table.drop(key, inDialog) {
					n++
				}
			}
			return n
		}
		between := func(what string, n, low, high int) {
			t.Helper()
			if n < low || n > high {
				t.Errorf("%s: %d of 1000 dropped, should be %d to %d", what, n, low, high)
			}
		}
		between("nothing was said", dropped(false), 0, 0)
		table.learn(key, wire.Overload{Loss: 40, Validity: time.Second, Seq: 100})
		between("40 % with the default mix, 40/80", dropped(false), 420, 580)
		between("within a dialog", dropped(true), 0, 0)
		table.learn(key, wire.Overload{Loss: 100, Validity: time.Second, Seq: 99})
		between("an older oc-seq is ignored", dropped(true), 0, 0)
		table.learn(key, wire.Overload{Loss: 100, Validity: 10 * time.Second, Seq: 101})
		between("100 %", dropped(false), 1000, 1000)
		between("100 % within a dialog", dropped(true), 1000, 1000)
		time.Sleep(6 * time.Second)
		table.drop(key, false) // the window is over: two of five requests were new
		table.learn(key, wire.Overload{Loss: 25, Validity: time.Second, Seq: 102})
		between("25 % where four of ten are new", dropped(false), 540, 710)
		time.Sleep(1100 * time.Millisecond)
		between("the validity is over", dropped(false), 0, 0)
		table.learn(key, wire.Overload{Loss: 100, Validity: time.Second, Seq: 103})
		table.learn(key, wire.Overload{Loss: 100, Validity: 0, Seq: 104})
		between("oc-validity=0 ends it", dropped(false), 0, 0)
		table.learn(overloadKey{resolver.TCP, theirs}, wire.Overload{Loss: 100, Validity: time.Second, Seq: 1})
		between("another transport is another server", dropped(false), 0, 0)
		table.learn(key, wire.Overload{Loss: 100, Validity: time.Second, Seq: 1 << 40})
		table.learn(key, wire.Overload{Loss: 0, Validity: time.Second, Seq: 5})
		between("a server that began anew is heard", dropped(false), 0, 0)
		for i := range maxThrottled + 100 {
			table.learn(overloadKey{resolver.TCP, resolver.MustTarget(resolver.TargetSpec{
				Protocol: resolver.SIP, Transport: resolver.TCP, Addr: theirs,
			}).Addr()}, wire.Overload{Loss: i % 100, Validity: time.Second})
		}
		if len(table.by) > maxThrottled {
			t.Errorf("%d servers are remembered", len(table.by))
		}
	})
}

// What a server asked for in its response is obeyed by Do: the request is not sent, and the caller may try the next target.
func TestThrottledRequestIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, nil, nil)
		l.socket.peer = func(b []byte) {
			if !bytes.Contains(b, []byte(`;oc;oc-algo="loss"`)) {
				t.Errorf("no offer in %s", b)
			}
			answer := bytes.Replace(answerTo(b, 200), []byte(`;oc;oc-algo="loss"`), []byte(`;oc=100;oc-algo="loss";oc-validity=2000;oc-seq=7.1`), 1)
			go l.receive(answer, l.origin)
		}
		if r := l.ask(t.Context(), "MESSAGE"); r.Err != nil {
			t.Fatal(r.Err)
		}
		n := len(l.socket.packets())
		target := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.UDP, Addr: theirs})
		if r := l.Do(t.Context(), target, testRequest("MESSAGE", "")); !errors.Is(r.Err, ErrOverloaded) || r.Sent || len(l.socket.packets()) != n {
			t.Errorf("result %+v", r)
		}
		l.stop()
	})
}

// RFC 7339 §5.10.2: "A SIP server that is in overload and has started to throttle incoming traffic MUST reject some requests from
// non-participating clients with a 503 (Service Unavailable) response without the Retry-After header." Those that obey are told what to do.
func TestOverloadIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		load := 0
		l := newBubble(t, answerOK, func(c *Config) { c.Load = func() int { return load } })
		ask := func(n int, via, toTag string) string {
			before := len(l.socket.packets())
			raw := inRequest("OPTIONS", fmt.Sprintf("z9hG4bK%d", n), fmt.Sprintf("c%d", n), toTag)
			raw = bytes.Replace(raw, []byte(";rport"), []byte(via+";rport"), 1)
			raw = bytes.Replace(raw, []byte("CSeq"), []byte("Subject: "+strings.Repeat("room ", 30)+".\r\nCSeq"), 1)
			l.receive(raw, l.origin)
			return string(l.socket.packets()[before].octets)
		}
		const offer = `;oc;oc-algo="loss,A"`
		if b := ask(1, offer, ""); !strings.Contains(b, `;oc=0;oc-algo="loss";oc-validity=0;oc-seq=`) {
			t.Errorf("not overloaded: %s", b)
		}
		if b := ask(2, "", ""); strings.Contains(b, "oc=") {
			t.Errorf("to a client that did not ask: %s", b)
		}
		load = 100
		if b := ask(3, offer, ""); !strings.Contains(b, `;oc=100;oc-algo="loss";oc-validity=500;oc-seq=`) || !strings.HasPrefix(b, "SIP/2.0 200") {
			t.Errorf("overloaded, to one that obeys: %s", b)
		}
		if b := ask(4, "", ""); !strings.HasPrefix(b, "SIP/2.0 503") || strings.Contains(b, "Retry-After") {
			t.Errorf("overloaded, to one that does not: %s", b)
		}
		if b := ask(5, "", "in-dialog"); !strings.HasPrefix(b, "SIP/2.0 200") {
			t.Errorf("overloaded, within a dialog: %s", b)
		}
		load = 50
		refused := 0
		for n := range 1000 {
			if strings.HasPrefix(ask(10+n, "", ""), "SIP/2.0 503") {
				refused++
			}
		}
		if refused < 420 || refused > 580 {
			t.Errorf("%d of 1000 refused at 50 %%", refused)
		}
		// RFC 7339 §4.4: values "MUST have an increasing value in the "oc-seq" parameter".
		a, b := l.pace.next(), l.pace.next()
		if b <= a {
			t.Errorf("oc-seq %d, then %d", a, b)
		}
		l.stop()
	})
}

// The layer's own load rises with its table of transactions.
func TestLoadOfTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, nil, func(c *Config) { c.Bounds.ServerTransactions = 1000 })
		for count, want := range map[int64]int{0: 0, 800: 0, 900: 50, 1000: 100, 1200: 100} {
			l.servers.count.Store(count)
			if got := l.load(); got != want {
				t.Errorf("%d of 1000: %d %%, should be %d", count, got, want)
			}
		}
		l.servers.count.Store(0)
		l.stop()
	})
}

// T-OV-06, THREATS S11: what comes over UDP is answered with at most 1.2 times its octets and in one packet, whoever it says that it is from:
// a configured peer, too.
func TestAmplification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var many []wire.Header
		for i := range 10 {
			many = append(many, wire.Header{Name: fmt.Sprintf("X-Useful-%d", i), Value: strings.Repeat("x", 20)})
		}
		code := 200
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
			opts := RespondOptions{Spare: many}
			if code >= 300 {
				opts = RespondOptions{Headers: many}
			}
			tx.Respond(code, "A phrase that says a lot about what was wrong", opts) //nolint:errcheck // the packets show it
		}), nil)
		n := 0
		check := func(what string, raw []byte) {
			t.Helper()
			before, size := len(l.socket.packets()), len(raw)
			l.receive(raw, l.origin)
			p := l.socket.packets()[before:]
			if len(p) > 1 || len(p) == 1 && len(p[0].octets)*5 > size*6 {
				t.Errorf("%s: %d octets are answered with %d in %d packets:\n%s", what, size, len(p[0].octets), len(p), p[0].octets)
			}
			if len(p) == 1 && !strings.HasPrefix(what, "malformed") {
				if _, err := wire.Parse(bytes.Clone(p[0].octets), wire.Limits{}); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		for _, code = range []int{200, 202, 400, 403, 405, 415, 480, 503} {
			for _, method := range []string{"OPTIONS", "MESSAGE", "SUBSCRIBE", "INVITE", "CANCEL", "JUGGLE"} {
				n++
				id := fmt.Sprintf("z9hG4bK%d", n)
				check(fmt.Sprintf("%s %d", method, code), inRequest(method, id, id, ""))
				small := "OPTIONS sip:b SIP/2.0\r\nv:SIP/2.0/UDP h;branch=" + id + "\r\nf:sip:a;tag=1\r\nt:sip:b\r\ni:" + id + "\r\nCSeq:1 OPTIONS\r\n\r\n"
				check(fmt.Sprintf("the smallest %s %d", method, code), []byte(strings.ReplaceAll(small, "OPTIONS", method)))
				check(fmt.Sprintf("malformed %s %d", method, code), bytes.Replace(inRequest(method, id+"x", id, ""), []byte("CSeq: 7"), []byte("CSeq: x"), 1))
			}
		}
		// Nothing is left out where there is room.
		raw := inRequest("OPTIONS", "z9hG4bKroom", "room", "")
		code = 200
		before := len(l.socket.packets())
		l.receive(bytes.Replace(raw, []byte("CSeq"), []byte("Subject: "+strings.Repeat("room ", 200)+".\r\nCSeq"), 1), l.origin)
		if b := l.socket.packets()[before].octets; !bytes.Contains(b, []byte("X-Useful-9")) {
			t.Errorf("left out: %s", b)
		}
		l.stop()
	})
}

// RFC 7339 §11: "Another way to conduct an attack is to send a message containing a high overload feedback value through a proxy that does
// not support this extension." What nobody was offered to ask for is not obeyed.
func TestOverloadThatWasNotOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, nil, func(c *Config) { c.OfferOverload = func(resolver.Target) bool { return false } })
		l.socket.peer = func(b []byte) {
			answer := bytes.Replace(answerTo(b, 200), []byte(";branch="), []byte(`;oc=100;oc-algo="loss";oc-validity=60000;oc-seq=7.1;branch=`), 1)
			go l.receive(answer, l.origin)
		}
		for range 3 {
			if r := l.ask(t.Context(), "MESSAGE"); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		if l.told.any.Load() {
			t.Error("a stranger behind the peer has throttled what we send to it")
		}
		l.stop()
	})
}
