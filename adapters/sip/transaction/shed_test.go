package transaction

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/admission"
)

// fullSensors say that the memory is full, so that no new work is taken.
type fullSensors struct{ memory int64 }

func (*fullSensors) Delay() time.Duration { return 0 }
func (s *fullSensors) Memory() int64      { return s.memory }
func (*fullSensors) Busy() float64        { return 1 }

// T-OV-02: "the overloaded server must bear the cost of rejecting some requests" (RFC 7339 §5.10.2): without state and before they are read in full,
// with a 503 that has no Retry-After and tells a client that obeys overload control what to do. Answers, copies of what was taken and requests
// within a dialog come first.
func TestT_OV_02_RefusedAtFirstSight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sensors := &fullSensors{memory: 10}
		control, err := admission.New(admission.Config{Memory: 1000, Sensors: sensors})
		if err != nil {
			t.Fatal(err)
		}
		handled := 0
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
			handled++
			tx.Respond(202, "", RespondOptions{}) //nolint:errcheck // the packets show it
		}), func(c *Config) {
			c.Admission = control
			c.Flow = func(remote netip.Addr, _ []string) *admission.Flow {
				if remote != theirs.Addr() {
					return nil
				}
				return control.Flow("peer")
			}
			c.Admit = func(s Source) bool { return s.Remote.Addr() == theirs.Addr() }
		})
		say := func(raw []byte, from origin) string {
			before := len(l.socket.packets())
			o := from
			if !l.shed(raw, &o) {
				l.receive(bytes.Clone(raw), o)
			}
			p := l.socket.packets()[before:]
			if len(p) != 1 {
				t.Fatalf("%d answers to %s", len(p), raw)
			}
			if _, err := wire.Parse(bytes.Clone(p[0].octets), wire.Limits{}); err != nil {
				t.Errorf("%v: %s", err, p[0].octets)
			}
			return string(p[0].octets)
		}
		status := func(response string) string { return response[8:11] }

		first := inRequest("MESSAGE", "z9hG4bKfirst", "first", "")
		if got := say(first, l.origin); status(got) != "202" {
			t.Fatalf("before overload: %s", got)
		}
		sensors.memory = 990
		time.Sleep(200 * time.Millisecond)
		say(inRequest("MESSAGE", "z9hG4bKsecond", "second", ""), l.origin) // by which it is noticed
		if !control.Active() {
			t.Fatal("there is no overload")
		}
		handled = 0
		for i := range 100 {
			got := say(inRequest("MESSAGE", fmt.Sprintf("z9hG4bKx%d", i), fmt.Sprintf("x%d", i), ""), l.origin)
			if status(got) != "503" || bytes.Contains([]byte(got), []byte("Retry-After")) {
				t.Fatalf("a new request: %s", got)
			}
		}
		if n := l.servers.count.Load(); n > 2 || handled > 0 {
			t.Errorf("%d transactions, %d handled", n, handled)
		}
		again := say(first, l.origin)
		if status(again) != "202" {
			t.Errorf("a copy of what was taken: %s", again)
		}
		inside := inRequest("NOTIFY", "z9hG4bKinside", "inside", "tag")
		if got := say(inside, l.origin); status(got) != "202" || handled != 1 {
			t.Errorf("within a dialog: %s", got)
		}
		// What has waited for long is not worth an answer, which would come late, unless it belongs to something that was taken.
		stale, before := l.origin, len(l.socket.packets())
		stale.stale = true
		if o := stale; !l.shed(inRequest("MESSAGE", "z9hG4bKstale", "stale", ""), &o) || len(l.socket.packets()) != before {
			t.Error("a request that has waited for long is answered")
		}
		if got := say(inRequest("NOTIFY", "z9hG4bKinside2", "inside2", "tag"), stale); status(got) != "202" || handled != 2 {
			t.Errorf("one within a dialog that has waited for long: %s", got)
		}
		offers := bytes.Replace(inRequest("MESSAGE", "z9hG4bKoffers", "offers", ""), []byte("branch=z9hG4bKoffers"), []byte(`branch=z9hG4bKoffers;oc;oc-algo="loss"`), 1)
		offers = bytes.Replace(offers, []byte("CSeq: "), []byte("Subject: room for what is said in the topmost Via\r\nCSeq: "), 1)
		if got := say(offers, l.origin); status(got) != "503" || !bytes.Contains([]byte(got), []byte(";oc=")) {
			t.Errorf("a client that obeys overload control: %s", got)
		}
		folded := bytes.Replace(inRequest("MESSAGE", "z9hG4bKfolded", "folded", ""), []byte("CSeq: "), []byte("CSeq:\r\n "), 1)
		if got := say(folded, l.origin); status(got) != "503" || handled != 2 {
			t.Errorf("a request that is not read at first sight: %s", got)
		}
		stranger := l.origin
		stranger.remote = netip.MustParseAddrPort("192.0.2.99:5060")
		if got := say(inRequest("MESSAGE", "z9hG4bKstranger", "stranger", ""), stranger); status(got) != "403" {
			t.Errorf("a stranger: %s", got)
		}
		l.stop()
	})
}

// lateSensors are of a process whose goroutines wait for so long.
type lateSensors struct{ delay time.Duration }

func (s *lateSensors) Delay() time.Duration { return s.delay }
func (*lateSensors) Memory() int64          { return 0 }
func (*lateSensors) Busy() float64          { return 1 }

// What is answered without a transaction is done too. If it were not, a peer that sends what is malformed, or merged (RFC 3261 §8.2.2.2), would have less and less
// be taken of everybody.
func TestWhatIsRefusedIsDone(t *testing.T) {
	for name, request := range map[string]func(i int) []byte{
		"malformed": func(i int) []byte {
			return bytes.Replace(inRequest("MESSAGE", fmt.Sprintf("z9hG4bKm%d", i), fmt.Sprint(i), ""), []byte("Max-Forwards: 70"), []byte("Max-Forwards: x"), 1)
		},
		"merged": func(i int) []byte { return inRequest("MESSAGE", fmt.Sprintf("z9hG4bKm%d", i), "merged", "") },
		"ACK":    func(i int) []byte { return inRequest("ACK", fmt.Sprintf("z9hG4bKm%d", i), fmt.Sprint(i), "") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sensors := &lateSensors{}
				control, err := admission.New(admission.Config{Sensors: sensors})
				if err != nil {
					t.Fatal(err)
				}
				l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
					tx.Respond(202, "", RespondOptions{}) //nolint:errcheck // nobody reads it
				}), func(c *Config) {
					c.Admission = control
					c.Flow = func(netip.Addr, []string) *admission.Flow { return control.Flow("peer") }
				})
				n := 0
				play := func(d time.Duration) (taken int) {
					for end := time.Now().Add(d); time.Now().Before(end); n++ {
						o := l.origin
						raw := request(n)
						if !l.shed(raw, &o) {
							if l.receive(raw, o); !o.over {
								taken++
							}
						}
						time.Sleep(time.Millisecond)
					}
					return taken
				}
				play(time.Second)
				sensors.delay = 60 * time.Millisecond
				play(time.Second)
				if !control.Active() {
					t.Fatal("there is no overload")
				}
				sensors.delay = 5 * time.Millisecond // it keeps up
				play(5 * time.Second)
				if taken := play(5 * time.Second); taken < 2500 {
					t.Errorf("%d of 5,000 were taken in 5 s", taken)
				}
				l.stop()
			})
		})
	}
}

// However many come that are refused, no more are answered than are worth it: a sender may choose the octets by which it would be dropped else.
func TestRefusalsHaveABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		control, err := admission.New(admission.Config{Memory: 1000, Sensors: &fullSensors{memory: 990}})
		if err != nil {
			t.Fatal(err)
		}
		l := newBubble(t, handlerFunc(func(_ *wire.Message, _ Source, tx *ServerTx) {
			tx.Respond(202, "", RespondOptions{}) //nolint:errcheck // nobody reads it
		}), func(c *Config) {
			c.Admission = control
			c.Flow = func(netip.Addr, []string) *admission.Flow { return control.Flow("peer") }
		})
		for i := range 5000 { // in no time
			method := []string{"MESSAGE", "SUBSCRIBE"}[i%2]
			o := l.origin
			if raw := inRequest(method, fmt.Sprintf("z9hG4bKm%d", i), fmt.Sprint(i), ""); !l.shed(raw, &o) {
				l.receive(raw, o)
			}
		}
		if n := len(l.socket.packets()); n == 0 || n > 1000 {
			t.Errorf("of 5,000 requests at once %d were answered", n)
		}
		l.stop()
	})
}
