package resolver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"
)

// Config is what New takes. The zero value asks the servers of /etc/resolv.conf with every default.
type Config struct {
	// Servers are the recursive servers, asked in this order. nil means those of the file ResolvConf.
	Servers []Server
	// ResolvConf is read once if Servers is nil; empty means /etc/resolv.conf.
	ResolvConf string
	// AD says whose DNSSEC validation is believed. This package does not validate by itself: no maintained library does.
	AD ADTrust
	// CaseRandom adds the "0x20" defence: random letter case in questions, compared in answers. Some old servers break on it.
	CaseRandom bool
	// AttemptTimeout bounds the wait for one server; default 1.5 s, at least 1 s (which is part of the promise of one query per
	// name per second). Attempts is how many rounds over the servers are made; default 2, at most 5. LookupTimeout bounds one
	// question with all its attempts; default 5 s. ResolveTimeout bounds one resolution with all its questions; default 10 s.
	AttemptTimeout, LookupTimeout, ResolveTimeout time.Duration
	Attempts                                      int
	// TTLs bounds how long answers are kept.
	TTLs TTLs
	// CacheBytes bounds the cached answers and, by a second bound of the same size, the cached results; octets, about; default
	// 64 MiB each. When full, what is used least goes.
	CacheBytes uint64
	// MaxInFlight bounds the questions on the wire; default 256. MaxWaiting bounds the callers waiting for an answer; default 16384:
	// above it lookups fail at once as temporary.
	MaxInFlight, MaxWaiting int
	// HoldDownMin and HoldDownMax bound how long a target that failed is tried after all others: it doubles with each failure;
	// default 30 s to 10 min. MaxFailed bounds how many are remembered; default 16384.
	HoldDownMin, HoldDownMax time.Duration
	MaxFailed                int
	// Policy is what the specifications leave open.
	Policy Policy
	// Guard refuses addresses; nil refuses the special-purpose registries whole.
	Guard *Guard
	// Logger gets a line when a domain stops offering SIPS (RFC 3263 §7). The zero Logger is silent.
	Logger zerolog.Logger
}

// Resolver finds the next hops of domains. Made by New, ended by Close; all methods may be used by any goroutine.
type Resolver struct {
	policy  Policy
	guard   *Guard
	records *recordCache
	plans   *otter.Cache[Query, *plan]
	flight  singleflight.Group
	failed  *failureMemory
	route   func(netip.Addr) bool
	timeout time.Duration
	log     zerolog.Logger
	misses  atomic.Uint64
	start   time.Time // zero of plan.until
}

// New makes a Resolver. It fails if resolv.conf cannot be read or the Config makes no sense. It starts no goroutine and asks nothing.
func New(c Config) (*Resolver, error) {
	servers := slices.Clone(c.Servers)
	if c.Servers == nil {
		name := c.ResolvConf
		if name == "" {
			name = "/etc/resolv.conf"
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("resolver: %w", err)
		}
		defer f.Close()
		rc, err := ParseResolvConf(f)
		if err != nil {
			return nil, fmt.Errorf("resolver: %s: %w", name, err)
		}
		servers = rc.Servers
		if c.AttemptTimeout == 0 && rc.Timeout > 0 {
			c.AttemptTimeout = time.Duration(rc.Timeout) * time.Second
		}
		if c.Attempts == 0 {
			c.Attempts = rc.Attempts
		}
	}
	for i := range servers {
		if !servers[i].Addr.Addr().IsValid() {
			return nil, errors.New("resolver: a DNS server without an address")
		}
		servers[i].normalize()
	}
	return newResolver(c, servers, &netExchanger{caseRandom: c.CaseRandom}, canRoute)
}

func newResolver(c Config, servers []Server, ex exchanger, route func(netip.Addr) bool) (*Resolver, error) {
	if len(servers) == 0 {
		return nil, errors.New("resolver: no DNS server")
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	defInt := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&c.AttemptTimeout, 1500*time.Millisecond)
	c.AttemptTimeout = max(c.AttemptTimeout, time.Second)
	def(&c.LookupTimeout, 5*time.Second)
	def(&c.ResolveTimeout, 10*time.Second)
	def(&c.HoldDownMin, 30*time.Second)
	def(&c.HoldDownMax, 10*time.Minute)
	defInt(&c.Attempts, 2)
	c.Attempts = min(c.Attempts, 5)
	defInt(&c.MaxInFlight, 256)
	defInt(&c.MaxWaiting, 16384)
	defInt(&c.MaxFailed, 16384)
	if c.CacheBytes == 0 {
		c.CacheBytes = 64 << 20
	}
	policy := c.Policy.withDefaults()
	if err := policy.check(); err != nil {
		return nil, err
	}
	guard := c.Guard
	if guard == nil {
		guard = NewGuard(GuardConfig{})
	}
	up := &upstream{ex: ex, attempts: c.Attempts, timeout: c.AttemptTimeout, trust: c.AD, slots: make(chan struct{}, c.MaxInFlight)}
	for _, s := range servers {
		up.servers = append(up.servers, newServerState(s))
	}
	r := &Resolver{
		policy: policy, guard: guard, route: route, timeout: c.ResolveTimeout, log: c.Logger, start: time.Now(),
		records: newRecordCache(up, c.TTLs.withDefaults(), c.CacheBytes, c.MaxWaiting, c.LookupTimeout),
		failed:  newFailureMemory(c.HoldDownMin, max(c.HoldDownMax, c.HoldDownMin), c.MaxFailed),
	}
	r.plans = otter.Must(&otter.Options[Query, *plan]{
		MaximumWeight: c.CacheBytes,
		Weigher:       func(q Query, p *plan) uint32 { return p.weigh(q) },
		Executor:      func(fn func()) { fn() },
	})
	return r, nil
}

// Close ends lookups that are under way, waits for them and closes kept connections. Resolutions after it fail as temporary, but for
// what is in the cache.
func (r *Resolver) Close() error {
	r.records.close()
	r.plans.StopAllGoroutines()
	r.failed.close()
	return nil
}

// Guard is the Guard of the configuration: for the diallers of the adapters.
func (r *Resolver) Guard() *Guard { return r.guard }

// Resolve returns the next hops for q in the order in which they are to be tried, at least one, at most 64. The order among
// records of one priority is drawn by weight (RFC 2782), anew for each call; targets that failed lately stand last (see Failed).
// The slice is the caller's. The error is an *Error, or the ctx's.
func (r *Resolver) Resolve(ctx context.Context, q Query) ([]Target, error) {
	var d drawer
	return r.resolve(ctx, q, &d)
}

// ResolveSeeded is Resolve with an order that depends on nothing but the answers, the failures and the seed: for a proxy that must
// send every repetition of one transaction to the same server (RFC 3263 §4.4), seeded by the transaction's identity.
func (r *Resolver) ResolveSeeded(ctx context.Context, q Query, seed uint64) ([]Target, error) {
	d := seededDrawer(seed)
	return r.resolve(ctx, q, &d)
}

func (r *Resolver) resolve(ctx context.Context, q Query, d *drawer) ([]Target, error) {
	now := time.Since(r.start) // half the price of time.Now
	p, ok := r.plans.GetIfPresent(q)
	if !ok || now >= p.until {
		var err error
		if p, err = r.load(ctx, q); err != nil {
			return nil, err
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	var order [maxTargets]uint16
	var failedAt func(*Target) bool
	if r.failed.any(now) {
		at := r.start.Add(now)
		failedAt = func(t *Target) bool { return r.failed.held(t, at) }
	}
	n := p.order(&order, d, failedAt)
	out := make([]Target, n)
	for i, x := range order[:n] {
		out[i] = p.targets[x]
	}
	return out, nil
}

// load builds the plan for q, once for all who ask at the same time.
func (r *Resolver) load(ctx context.Context, q Query) (*plan, error) {
	q, literal, err := q.canonical()
	if err != nil {
		return nil, err
	}
	// A canonical name may be in the cache although the name as it was given is not.
	if p, ok := r.plans.GetIfPresent(q); ok && time.Since(r.start) < p.until {
		return p, nil
	}
	if err := r.checkName(q, literal); err != nil {
		return nil, err
	}
	r.misses.Add(1)
	ch := r.flight.DoChan(q.key(), func() (any, error) {
		if p, ok := r.plans.GetIfPresent(q); ok && time.Since(r.start) < p.until {
			return p, nil
		}
		if !r.records.begin() {
			return &plan{err: &Error{Reason: ErrTemporary, Domain: q.Domain, Detail: "the resolver is closed"}}, nil
		}
		defer r.records.work.Done()
		p := r.build(r.records.done, q, literal, nil)
		if r.records.done.Err() == nil {
			r.plans.Set(q, p)
		}
		return p, nil
	})
	select {
	case res := <-ch:
		return res.Val.(*plan), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("resolve %s: %w", quote(q.Domain), context.Cause(ctx))
	}
}

// key tells queries apart where a string is wanted.
func (q Query) key() string {
	return string([]byte{byte(q.Service), byte(q.Transport), byte(q.Only), byte(q.Port >> 8), byte(q.Port), b2i(q.configured)}) + q.Domain
}

func b2i(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// checkName applies the policy on names that need no DNS to be refused.
func (r *Resolver) checkName(q Query, literal netip.Addr) error {
	if literal.IsValid() || r.policy.SingleLabels || q.configured || strings.Contains(q.Domain, ".") {
		return nil
	}
	return &Error{Reason: ErrName, Domain: q.Domain, Detail: "not a fully-qualified domain name"}
}

// build asks and decides. Where others wait for the same plan, ctx is not one caller's.
func (r *Resolver) build(ctx context.Context, q Query, literal netip.Addr, tr *Trace) *plan {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	b := &builder{r: r, ctx: ctx, q: q, tr: tr, life: r.records.ttls.Ceiling}
	var p *plan
	switch q.Service {
	case IM, Presence:
		p = b.impp()
	case SIPService, SIPSService:
		p = b.sipURI(literal)
	case hostService:
		h := hop{
			srvRecord: srvRecord{port: q.Port, target: q.Domain}, protocol: q.Only, transports: []Transport{q.Transport},
			secure: true, trusted: true, literal: literal,
		}
		p = b.plan([]hopGroup{{hops: []hop{h}, why: "configured host and port"}}, &found{})
	default:
		p = b.xmpp()
	}
	b.watchSIPS(p)
	p.until = time.Since(r.start) + b.life
	return p
}

// watchSIPS is RFC 3263 §7: "A client which frequently contacts the same domain SHOULD cache whether or not its NAPTR records contain
// SIPS in the services field. If such records were present, but in later queries cease to appear, it is a sign of a potential
// attack. In this case, the client SHOULD generate some kind of alert or alarm". What is remembered lives as long as the result
// stays in the cache.
func (b *builder) watchSIPS(p *plan) {
	old, ok := b.r.plans.GetIfPresent(b.q)
	if !ok || !old.sips || p.sips || p.err != nil && p.err.Temporary() {
		return
	}
	b.note("the NAPTR records offered SIPS before and no longer do: this may be an attack")
	b.r.log.Warn().Str("domain", b.q.Domain).Msg("resolver: NAPTR records no longer offer SIPS")
}

// Explain resolves q and tells everything about it. It makes the decisions anew, from the same cache of answers that Resolve uses.
// The Trace is complete also if there is no target; then the error, an *Error, is the same as Resolve's.
func (r *Resolver) Explain(ctx context.Context, q Query) (*Trace, error) {
	tr := &Trace{Query: q.String(), Lookups: []Lookup{}}
	fail := func(err error) (*Trace, error) {
		tr.Failure = &Failure{Reason: err.Error()}
		var e *Error
		if errors.As(err, &e) {
			tr.Failure = &Failure{Reason: strings.TrimPrefix(e.Reason.Error(), "resolver: "), Question: e.Question, Detail: e.Detail}
		}
		return tr, err
	}
	q, literal, err := q.canonical()
	if err == nil {
		err = r.checkName(q, literal)
	}
	if err != nil {
		return fail(err)
	}
	tr.Domain = q.Domain
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	p := r.build(ctx, q, literal, tr)
	tr.Expires = r.start.Add(p.until)
	if p.err != nil {
		return fail(p.err)
	}
	now := time.Now()
	held := func(t *Target) bool { return r.failed.held(t, now) }
	var order [maxTargets]uint16
	var d drawer
	n := p.order(&order, &d, held)
	for _, x := range order[:n] {
		c := Chosen{p.targets[x], p.why[x]}
		if held(&c.Target) {
			c.Reason += ", set aside after a failure"
		}
		tr.Targets = append(tr.Targets, c)
	}
	return tr, nil
}

// Static returns the next hops that a configured one stands for, for traffic to domain: the address itself; or its name's
// addresses, with RFC 3263 where neither port nor transport is given. The Guard applies to names. domain is an A-label name.
func (r *Resolver) Static(ctx context.Context, st Static, domain string) ([]Target, error) {
	if st.IsZero() {
		return nil, &Error{Reason: ErrName, Domain: domain, Detail: "no next hop"}
	}
	if t, ok := st.Target(domain); ok {
		return []Target{t}, nil
	}
	q := Query{Service: SIPService, Domain: st.host, Port: st.port, Transport: st.transport, configured: true}
	switch {
	case st.protocol == XMPP || st.transport != 0 && st.port != 0:
		q.Service, q.Only, q.Port = hostService, st.protocol, cmp.Or(st.port, defaultPort(st.protocol, st.transport))
	case st.sips:
		q.Service = SIPSService
	}
	ts, err := r.Resolve(ctx, q)
	if err != nil {
		return nil, err
	}
	for i := range ts {
		ts[i].serverName = st.ServerName(domain)
	}
	return ts, nil
}

// Addresses returns the addresses of a host name that the Guard allows, in the order of RFC 8305 §4; for what is neither SIP nor
// XMPP. The error is an *Error.
func (r *Resolver) Addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	ts, err := r.Resolve(ctx, Query{Service: hostService, Domain: host, Port: 65535, Transport: UDP, Only: SIP, configured: true})
	if err != nil {
		return nil, err
	}
	as := make([]netip.Addr, len(ts))
	for i := range ts {
		as[i] = ts[i].addr.Addr()
	}
	return as, nil
}

// Stats are counters since New, for metrics.
type Stats struct {
	Plans         uint64 // resolutions that were not in the cache
	Lookups       uint64 // questions that were not in the cache
	Messages      uint64 // messages sent to DNS servers
	Stale         uint64 // stale answers used
	CachedAnswers int    // entries, about
	CachedPlans   int    // entries, about
	ServersDown   int    // servers out of use now
}

// Stats reads the counters.
func (r *Resolver) Stats() Stats {
	s := Stats{
		Plans: r.misses.Load(), Lookups: r.records.asked.Load(), Messages: r.records.up.asked.Load(), Stale: r.records.served.Load(),
		CachedAnswers: r.records.entries.EstimatedSize(), CachedPlans: r.plans.EstimatedSize(),
	}
	for _, srv := range r.records.up.servers {
		if srv.down.Load() {
			s.ServersDown++
		}
	}
	return s
}
