package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// fake is a DNS server in fake time: no socket, one function.
type fake struct {
	mu      sync.Mutex
	answer  func(q question) (*dns.Msg, error) // nil error and nil message: silence
	delay   time.Duration
	log     []fakeAsked
	probeOK bool
}

type fakeAsked struct {
	at time.Time
	q  question
}

func (f *fake) exchange(ctx context.Context, _ *Server, q question) (*dns.Msg, error) {
	f.mu.Lock()
	answer, delay := f.answer, f.delay
	f.log = append(f.log, fakeAsked{time.Now(), q})
	probeOK := f.probeOK
	f.mu.Unlock()
	if q.name == "" && probeOK {
		return reply(q, dns.RcodeSuccess), nil
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m, err := answer(q)
	if m == nil && err == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return m, err
}

func (f *fake) close() {}

func (f *fake) set(delay time.Duration, answer func(q question) (*dns.Msg, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer, f.delay = answer, delay
}

// asked lists when the question was sent, and empties the log.
func (f *fake) asked() (all []fakeAsked) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, f.log = f.log, nil
	return all
}

func silent(question) (*dns.Msg, error) { return nil, nil }

func reply(q question, rcode int, records ...string) *dns.Msg {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, RecursionAvailable: true, Rcode: rcode}}
	m.Question = []dns.Question{{Name: q.name + ".", Qtype: uint16(q.qtype), Qclass: dns.ClassINET}}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		if rr.Header().Rrtype == dns.TypeSOA {
			m.Ns = append(m.Ns, rr)
		} else if qtype(rr.Header().Rrtype) == q.qtype && canonicalName(rr.Header().Name) == q.name || rr.Header().Rrtype == dns.TypeCNAME {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

// zoneOf answers from records, and denies everything else.
func zoneOf(records ...string) func(q question) (*dns.Msg, error) {
	return func(q question) (*dns.Msg, error) {
		m := reply(q, dns.RcodeSuccess, records...)
		if len(m.Answer) == 0 {
			m = reply(q, dns.RcodeNameError, "example.net. 300 SOA ns hm 1 1 1 1 60")
		}
		return m, nil
	}
}

func fakeResolver(t *testing.T, f *fake, c Config) *Resolver {
	t.Helper()
	c.Guard = NewGuard(GuardConfig{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	c.Policy.Families = OnlyIPv4
	r, err := newResolver(c, []Server{{Addr: netip.MustParseAddrPort("127.0.0.1:53")}}, f, func(netip.Addr) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func xmppZone(ttl int) func(q question) (*dns.Msg, error) {
	return zoneOf(fmt.Sprintf("_xmpp-server._tcp.example.net. %d SRV 0 0 5269 x.example.net.", ttl), fmt.Sprintf("x.example.net. %d A 192.0.2.1", ttl))
}

func exampleNet() Query { return Query{Service: XMPPServer, Domain: "example.net"} }

// RFC 2308 §5: "its TTL is taken from the minimum of the SOA.MINIMUM field and SOA's TTL. This TTL decrements in a similar manner to a
// normal cached answer and upon reaching zero (0) indicates the cached negative answer MUST NOT be used again."
func TestCacheTTL(t *testing.T) {
	for _, c := range []struct {
		name   string
		ttls   TTLs
		answer func(q question) (*dns.Msg, error)
		want   time.Duration
	}{
		{"as the record says", TTLs{}, zoneOf("a.example.net. 120 A 192.0.2.1"), 120 * time.Second},
		{"floor", TTLs{}, zoneOf("a.example.net. 0 A 192.0.2.1"), 5 * time.Second},
		{"ceiling", TTLs{}, zoneOf("a.example.net. 2147483647 A 192.0.2.1"), 24 * time.Hour},
		{"high-order bit (RFC 8767 §4)", TTLs{}, zoneOf("a.example.net. 4294967295 A 192.0.2.1"), 24 * time.Hour},
		{"own floor", TTLs{Floor: time.Minute}, zoneOf("a.example.net. 1 A 192.0.2.1"), time.Minute},
		{"smallest of the chain", TTLs{}, zoneOf("a.example.net. 20 CNAME b.example.net.", "a.example.net. 60 A 192.0.2.9"), 20 * time.Second},
		{"negative: MINIMUM", TTLs{}, func(q question) (*dns.Msg, error) {
			return reply(q, dns.RcodeNameError, "example.net. 300 SOA ns hm 1 1 1 1 60"), nil
		}, time.Minute},
		{"negative: TTL of the SOA", TTLs{}, func(q question) (*dns.Msg, error) {
			return reply(q, dns.RcodeSuccess, "example.net. 30 SOA ns hm 1 1 1 1 60"), nil
		}, 30 * time.Second},
		{"negative: ceiling", TTLs{}, func(q question) (*dns.Msg, error) {
			return reply(q, dns.RcodeNameError, "example.net. 999999 SOA ns hm 1 1 1 1 999999"), nil
		}, time.Hour},
		{"negative without SOA is not kept longer than a failure", TTLs{}, func(q question) (*dns.Msg, error) {
			return reply(q, dns.RcodeNameError), nil
		}, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: c.answer}
				r := fakeResolver(t, f, Config{TTLs: c.ttls})
				defer r.Close()
				q := question{"a.example.net", typeA}
				if strings.HasPrefix(c.name, "smallest") {
					f.answer = func(q question) (*dns.Msg, error) {
						m := reply(q, dns.RcodeSuccess, "a.example.net. 20 CNAME b.example.net.")
						rr, _ := dns.NewRR("b.example.net. 60 A 192.0.2.9")
						m.Answer = append(m.Answer, rr)
						return m, nil
					}
				}
				_, left, from := r.records.lookup(t.Context(), q)
				if left != c.want || from != fromNetwork {
					t.Errorf("kept %v from %v, want %v", left, from, c.want)
				}
				time.Sleep(c.want - time.Millisecond)
				if _, _, from := r.records.lookup(t.Context(), q); from != fromCache {
					t.Errorf("just before the end it came from %v", from)
				}
				time.Sleep(2 * time.Millisecond)
				if _, _, from := r.records.lookup(t.Context(), q); from != fromNetwork {
					t.Errorf("after the end it came from %v", from)
				}
			})
		})
	}
}

// "one query in flight per name": a hundred callers, one question each.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(50*time.Millisecond, xmppZone(300))
		r := fakeResolver(t, f, Config{})
		defer r.Close()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if ts, err := r.Resolve(t.Context(), exampleNet()); err != nil || len(ts) != 1 {
					t.Error(ts, err)
				}
			})
		}
		wg.Wait()
		if n := len(f.asked()); n != 3 {
			t.Errorf("%d questions, want 3 (two SRV, one A)", n)
		}
	})
}

// T-FI-15: DNS is dead. "no stampede (<= 1 query per name per 1 s)", "failure reported as such", "recovery by itself".
func TestTFI15DNSDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: silent}
		r := fakeResolver(t, f, Config{TTLs: TTLs{Stale: -1}})
		defer r.Close()
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 40 { // callers that come all the time, for a minute
			wg.Go(func() {
				for time.Since(start) < time.Minute {
					_, err := r.Resolve(t.Context(), exampleNet())
					var e *Error
					if !errors.Is(err, ErrTemporary) || !errors.As(err, &e) || !e.Temporary() || e.Question == "" {
						t.Error(err)
					}
					time.Sleep(time.Duration(50+i) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		last, worst, n := map[question]time.Time{}, time.Hour, 0
		for _, a := range f.asked() {
			if was, ok := last[a.q]; ok {
				worst = min(worst, a.at.Sub(was))
			}
			last[a.q] = a.at
			n++
		}
		if worst < time.Second {
			t.Errorf("one name was asked twice within %v", worst)
		}
		t.Logf("one minute, 40 callers, dead servers: %d messages in all, at least %v between two for one name", n, worst)

		f.set(0, xmppZone(300)) // the servers are back
		back := time.Now()
		for {
			if _, err := r.Resolve(t.Context(), exampleNet()); err == nil {
				break
			}
			if time.Since(back) > time.Minute {
				t.Fatal("no recovery within a minute")
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("recovered %v after the servers", time.Since(back))
	})
}

// A caller that stops waiting does not end the question for the others.
func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(100*time.Millisecond, xmppZone(300))
		r := fakeResolver(t, f, Config{})
		defer r.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.Resolve(ctx, exampleNet()); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		if _, err := r.Resolve(t.Context(), exampleNet()); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

// Names that are slow on purpose must not take the servers out of use: the probe decides.
func TestSlowNamesDoNotKillServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{probeOK: true}
		f.set(0, func(q question) (*dns.Msg, error) {
			if strings.HasSuffix(q.name, "slow.example.net") {
				return nil, nil
			}
			return xmppZone(300)(q)
		})
		r := fakeResolver(t, f, Config{})
		defer r.Close()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				r.Resolve(t.Context(), Query{Service: XMPPServer, Domain: fmt.Sprintf("a%d.slow.example.net", i)})
			})
		}
		wg.Wait()
		if n := r.Stats().ServersDown; n != 0 {
			t.Errorf("%d servers down", n)
		}
		if _, err := r.Resolve(t.Context(), exampleNet()); err != nil {
			t.Error(err)
		}
	})
}

// When no server answers at all, not even the probe, lookups fail at once, whatever the name: no stampede by many names either.
func TestServersDownFailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: silent}
		r := fakeResolver(t, f, Config{})
		defer r.Close()
		for i := range 5 {
			r.Resolve(t.Context(), Query{Service: XMPPServer, Domain: fmt.Sprintf("a%d.example.net", i)})
		}
		synctest.Wait()
		if n := r.Stats().ServersDown; n != 1 {
			t.Fatalf("%d servers down", n)
		}
		f.asked()
		var wg sync.WaitGroup
		at := time.Now()
		for i := range 1000 {
			wg.Go(func() {
				_, err := r.Resolve(t.Context(), Query{Service: XMPPServer, Domain: fmt.Sprintf("b%d.example.net", i)})
				if !errors.Is(err, ErrTemporary) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := len(f.asked()); n > 3 {
			t.Errorf("1000 names, dead servers: %d messages", n)
		}
		if took := time.Since(at); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
		f.set(0, xmppZone(300))
		time.Sleep(2 * time.Second)
		if _, err := r.Resolve(t.Context(), exampleNet()); err != nil {
			t.Errorf("recovery: %v", err)
		}
	})
}

// RFC 3263 §7: "If such records were present, but in later queries cease to appear, it is a sign of a potential attack."
func TestSIPSCeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: zoneOf(`example.net. 60 NAPTR 1 1 "s" "SIPS+D2T" "" _sips._tcp.example.net.`,
			"_sips._tcp.example.net. 60 SRV 0 0 5061 a.example.net.", "a.example.net. 60 A 192.0.2.1")}
		r := fakeResolver(t, f, Config{})
		defer r.Close()
		q := Query{Service: SIPService, Domain: "example.net"}
		if _, err := r.Resolve(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		f.set(0, zoneOf("_sip._udp.example.net. 60 SRV 0 0 5060 a.example.net.", "a.example.net. 60 A 192.0.2.1"))
		tr, err := r.Explain(t.Context(), q)
		if err != nil || !slices.ContainsFunc(tr.Notes, func(n string) bool { return strings.Contains(n, "attack") }) {
			t.Errorf("%v %v", tr, err)
		}
	})
}

func TestResolveSeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := []string{}
		for i := range 8 {
			records = append(records, fmt.Sprintf("_xmpp-server._tcp.example.net. 300 SRV 0 %d 5269 h%d.example.net.", i+1, i), fmt.Sprintf("h%d.example.net. 300 A 192.0.2.%d", i, i+1))
		}
		f := &fake{answer: zoneOf(records...)}
		r := fakeResolver(t, f, Config{})
		defer r.Close()
		differ := false
		for seed := range uint64(20) {
			a, err := r.ResolveSeeded(t.Context(), exampleNet(), seed)
			b, _ := r.ResolveSeeded(t.Context(), exampleNet(), seed)
			c, _ := r.ResolveSeeded(t.Context(), exampleNet(), seed+1)
			if err != nil || len(a) != 8 || !slices.Equal(a, b) {
				t.Fatalf("seed %d: %v, then %v, %v", seed, a, b, err)
			}
			differ = differ || !slices.Equal(a, c)
		}
		if !differ {
			t.Error("the seed changes nothing")
		}
	})
}

// An answer whose chain of aliases leaves the message is followed by asking on, within the same bound.
func TestAliasesOverMessages(t *testing.T) {
	for _, c := range []struct {
		name    string
		records map[string]string
		want    Outcome
		aliases int
	}{
		{"two messages", map[string]string{"a": "a. 60 CNAME b.", "b": "b. 60 A 192.0.2.1"}, Found, 1},
		{"to nothing", map[string]string{"a": "a. 60 CNAME b."}, NXDomain, 1},
		{"loop", map[string]string{"a": "a. 60 CNAME b.", "b": "b. 60 CNAME c.", "c": "c. 60 CNAME a."}, Failed, 0},
		{"itself", map[string]string{"a": "a. 60 CNAME a."}, Failed, 0},
		{"eight", map[string]string{
			"a": "a. 60 CNAME b.", "b": "b. 60 CNAME c.", "c": "c. 60 CNAME d.", "d": "d. 60 CNAME e.", "e": "e. 60 CNAME f.", "f": "f. 60 CNAME g.",
			"g": "g. 60 CNAME h.", "h": "h. 60 CNAME i.", "i": "i. 30 A 192.0.2.1",
		}, Found, 8},
		{"nine", map[string]string{
			"a": "a. 60 CNAME b.", "b": "b. 60 CNAME c.", "c": "c. 60 CNAME d.", "d": "d. 60 CNAME e.", "e": "e. 60 CNAME f.", "f": "f. 60 CNAME g.",
			"g": "g. 60 CNAME h.", "h": "h. 60 CNAME i.", "i": "i. 60 CNAME j.", "j": "j. 60 A 192.0.2.1",
		}, Failed, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: func(q question) (*dns.Msg, error) {
					if text, ok := c.records[q.name]; ok {
						return reply(q, dns.RcodeSuccess, text), nil
					}
					return reply(q, dns.RcodeNameError, ". 60 SOA ns hm 1 1 1 1 60"), nil
				}}
				r := fakeResolver(t, f, Config{})
				defer r.Close()
				a, _, _ := r.records.lookup(t.Context(), question{"a", typeA})
				if a.outcome != c.want || a.outcome != Failed && len(a.aliases) != c.aliases {
					t.Errorf("%v, %d aliases, %q, want %v, %d", a.outcome, len(a.aliases), a.reason, c.want, c.aliases)
				}
			})
		})
	}
}

// Close ends what is under way and waits for it; after it, nothing is asked.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: silent}
		r := fakeResolver(t, f, Config{})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				_, err := r.Resolve(t.Context(), Query{Service: XMPPServer, Domain: fmt.Sprintf("a%d.example.net", i)})
				if !errors.Is(err, ErrTemporary) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		at := time.Now()
		r.Close()
		wg.Wait()
		if took := time.Since(at); took > 0 {
			t.Errorf("Close waited for %v", took)
		}
		f.asked()
		if _, err := r.Resolve(t.Context(), exampleNet()); !errors.Is(err, ErrTemporary) || len(f.asked()) > 0 {
			t.Errorf("after Close: %v", err)
		}
	})
}
