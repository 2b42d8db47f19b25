package resolver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// RFC 8767 §5: "If the answer has not been completely determined by the time the client response timer has elapsed, the resolver
// should then check its cache to see whether there is expired data that would satisfy the request."
func TestServeStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: xmppZone(60)}
		r := fakeResolver(t, f, Config{})
		defer r.Close()
		if _, err := r.Resolve(t.Context(), exampleNet()); err != nil {
			t.Fatal(err)
		}
		f.set(0, silent)
		time.Sleep(2 * time.Minute)
		at := time.Now()
		ts, err := r.Resolve(t.Context(), exampleNet())
		if took := time.Since(at); err != nil || len(ts) != 1 || took > 4*time.Second {
			t.Fatalf("stale: %v, %v after %v", ts, err, took)
		}
		tr, err := r.Explain(t.Context(), exampleNet())
		if err != nil || !slices.ContainsFunc(tr.Lookups, func(l Lookup) bool { return l.Source == "stale cache" }) {
			t.Errorf("the trace does not say that the answer is stale: %v %v", tr, err)
		}
		time.Sleep(25 * time.Hour)
		if _, err := r.Resolve(t.Context(), exampleNet()); !errors.Is(err, ErrTemporary) {
			t.Errorf("after the maximum stale timer: %v", err)
		}
		f.set(0, xmppZone(60))
		time.Sleep(time.Minute)
		if _, err := r.Resolve(t.Context(), exampleNet()); err != nil {
			t.Errorf("after recovery: %v", err)
		}
	})
}

// RFC 8767 §4: "Answers ... that have a DNS response code of either 0 (NoError) or 3 (NXDomain) ... MUST be considered to have
// refreshed the data": NXDOMAIN is not answered with stale data; SERVFAIL is.
func TestStaleNotAgainstNXDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: xmppZone(60)}
		r := fakeResolver(t, f, Config{})
		defer r.Close()
		r.Resolve(t.Context(), exampleNet())
		time.Sleep(2 * time.Minute)
		f.set(0, func(q question) (*dns.Msg, error) { return reply(q, dns.RcodeServerFailure), nil })
		if _, err := r.Resolve(t.Context(), exampleNet()); err != nil {
			t.Errorf("SERVFAIL and stale data: %v", err)
		}
		f.set(0, zoneOf())
		time.Sleep(2 * time.Minute)
		if _, err := r.Resolve(t.Context(), exampleNet()); !errors.Is(err, ErrNotFound) {
			t.Errorf("NXDOMAIN: %v", err)
		}
	})
}

// T-FI-15, NXDOMAIN that flips: each answer counts for its own time and no longer.
func TestFlipping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		r := fakeResolver(t, f, Config{})
		defer r.Close()
		for i := range 10 {
			if i%2 == 0 {
				f.set(0, xmppZone(60))
			} else {
				f.set(0, zoneOf())
			}
			_, err := r.Resolve(t.Context(), exampleNet())
			if (err == nil) != (i%2 == 0) {
				t.Errorf("flip %d: %v", i, err)
			}
			time.Sleep(61 * time.Second)
		}
	})
}

func TestTooManyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: silent}
		r := fakeResolver(t, f, Config{MaxWaiting: 10, MaxInFlight: 4})
		defer r.Close()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { r.Resolve(t.Context(), Query{Service: XMPPServer, Domain: fmt.Sprintf("a%d.example.net", i)}) })
		}
		time.Sleep(time.Millisecond)
		if n := len(f.asked()); n > 4 {
			t.Errorf("%d questions on the wire, want at most 4", n)
		}
		wg.Wait()
	})
}

func TestFailureMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: zoneOf(
			"_xmpp-server._tcp.example.net. 86400 SRV 1 0 5269 a.example.net.", "_xmpp-server._tcp.example.net. 86400 SRV 2 0 5269 b.example.net.",
			"a.example.net. 86400 A 192.0.2.1", "b.example.net. 86400 A 192.0.2.2")}
		r := fakeResolver(t, f, Config{TTLs: TTLs{Floor: 23 * time.Hour}})
		defer r.Close()
		first := func() string {
			ts, err := r.Resolve(t.Context(), exampleNet())
			if err != nil || len(ts) != 2 {
				t.Fatal(ts, err)
			}
			return ts[0].Host()
		}
		a := func() Target {
			ts, _ := r.Resolve(t.Context(), exampleNet())
			for _, tg := range ts {
				if tg.Host() == "a.example.net" {
					return tg
				}
			}
			t.Fatal("RFC 3861 §6: a target that failed must still be tried, after the others")
			return Target{}
		}
		if first() != "a.example.net" {
			t.Fatal("priority 1 is not first")
		}
		for _, hold := range []time.Duration{30, 60, 120, 240, 480, 600, 600} {
			tg := a()
			r.Failed(tg)
			r.Failed(tg) // seen twice, counted once
			if first() != "b.example.net" {
				t.Error("a failed target was not set aside")
			}
			time.Sleep(hold*time.Second - time.Millisecond)
			if first() != "b.example.net" {
				t.Errorf("the target was back before %d s", hold)
			}
			time.Sleep(2 * time.Millisecond)
			if first() != "a.example.net" {
				t.Errorf("the target was not back after %d s", hold)
			}
		}
		r.Failed(a())
		tr, err := r.Explain(t.Context(), exampleNet())
		if err != nil || !strings.Contains(tr.Targets[1].Reason, "set aside after a failure") {
			t.Errorf("%v %v", tr, err)
		}
		r.Succeeded(a())
		if first() != "a.example.net" {
			t.Error("success did not bring the target back")
		}
		r.Failed(a())
		time.Sleep(31 * time.Second)
		if first() != "a.example.net" {
			t.Error("success did not reset the time")
		}
	})
}
