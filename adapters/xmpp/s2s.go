package xmpp

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// servers is the server-to-server side of an adapter: the pairs of domains, the streams that carry them, and what knows of both.
//
// Locks, in the order in which they may be held: servers.mu, an outbox's or a ledger's, a pair's, a session's.
type servers struct {
	a    *Adapter
	now  atomic.Pointer[serverSide]
	log  zerolog.Logger
	dial dialer
	gate *stream.Gate

	waiting budget // what waits to be written, of all pairs

	dials chan struct{} // streams of our own under construction

	mu        sync.Mutex
	pairs     map[pairKey]*pair
	streams   map[*session]struct{}
	incoming  int                   // of streams
	perPair   map[pairKey]int       // of these, by what their header and their certificate say
	perAddr   map[netip.Prefix]int  // and by where they come from
	opening   map[net.Conn]struct{} // accepted, not yet streams
	resumable map[string]*ledger    // by their id, of streams that were opened to us, and broke
	managed   map[string]*session   // the same of those that are open
	listeners []*serverListener
	verifying int
	draining  bool
	stopped   bool

	running  sync.WaitGroup // every goroutine
	spawning sync.Mutex
	finished bool // nothing is spawned any more
}

// pairKey is two domains as they stand in a JID: ours, and the remote one.
type pairKey struct{ local, remote string }

// closingText is what operations are told when the end has begun.
const closingText = "The gateway is shutting down"

func newServers(a *Adapter, c *serverSide) *servers {
	v := &servers{
		a: a, log: a.log,
		gate:  stream.NewGate(stream.GateLimits{Connections: c.Limits.Opening, PerAddress: c.Limits.OpeningPerAddress}),
		dials: make(chan struct{}, c.Limits.Dials), pairs: map[pairKey]*pair{}, streams: map[*session]struct{}{},
		perPair: map[pairKey]int{}, perAddr: map[netip.Prefix]int{},
		opening: map[net.Conn]struct{}{}, resumable: map[string]*ledger{}, managed: map[string]*session{},
	}
	v.now.Store(c)
	d := &net.Dialer{Control: func(network, address string, raw syscall.RawConn) error {
		if control := v.side().DialControl; control != nil {
			return control(network, address, raw)
		}
		return nil
	}}
	v.dial = d.DialContext
	v.waiting.most.Store(int64(c.Limits.QueueBytes))
	return v
}

// start opens the listeners. It fails if one cannot be opened, and then none is.
func (v *servers) start(ctx context.Context) error {
	open, err := v.listen(ctx, v.side().Listeners)
	if err != nil {
		return err
	}
	v.listeners = open
	for _, n := range open {
		v.running.Go(func() { v.accept(n) })
	}
	v.running.Go(v.watch)
	return nil
}

// route finds the pair by which a user of the domain from writes to the domain to, both A-labels, and makes it if it is not there. It
// returns nil and no status if from is not a domain that speaks to servers, and nil and a refusal if there is no room.
func (v *servers) route(from, to string, hops []resolver.Target) (*pair, adapters.Status) {
	h := v.side().hosts[from]
	if h == nil {
		return nil, adapters.Status{}
	}
	remote, err := newHost(to)
	if err != nil {
		return nil, adapters.Failed(adapters.ReasonAddressMalformed, "")
	}
	if v.a.ours(remote.self.Domain()) {
		return nil, adapters.Failed(adapters.ReasonLoop, "") // never to ourselves
	}
	p := v.pairOf(h, remote)
	if p == nil {
		return nil, adapters.Failed(adapters.ReasonOverloaded, "")
	}
	if len(hops) > 0 {
		p.lead(hops)
	}
	return p, adapters.Status{}
}

// pairOf returns the pair, new if it was not there; nil if there is no room for another.
func (v *servers) pairOf(local, remote *host) *pair {
	k := pairKey{local.self.Domain(), remote.self.Domain()}
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.pairs[k]
	if p != nil {
		p.touch()
		return p
	}
	if v.stopped || len(v.pairs) >= v.lim().Pairs && !v.forgetOne() {
		return nil
	}
	p = newPair(v, local, remote)
	if v.draining {
		p.box.close(closingText)
	}
	v.pairs[k] = p
	return p
}

// use pins the pair that p is, or that took its place: it may have been forgotten between the moment it was found and this one, and one
// that is not known is bounded by nothing and ends with nobody. It returns nil if there is no room.
func (v *servers) use(p *pair) *pair {
	k := pairKey{p.local.self.Domain(), p.remote.self.Domain()}
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.pairs[k]
	if known == nil {
		if v.stopped || len(v.pairs) >= v.lim().Pairs && !v.forgetOne() {
			return nil
		}
		if v.draining {
			p.box.close(closingText)
		}
		known, v.pairs[k] = p, p
	}
	known.pins.Add(1)
	return known
}

// lookedAt is how many pairs are looked at for one that can be forgotten. Which ones is chance: a table of which one in a hundred is idle
// refuses one new pair in thirteen, and one that is all in use costs no walk over all of it, under the lock, for each that is refused.
const lookedAt = 256

// forgetOne removes a pair that nothing needs. The caller holds the lock.
func (v *servers) forgetOne() bool {
	n := 0
	for k, p := range v.pairs {
		if p.forgettable(time.Time{}) {
			v.forget(k, p)
			return true
		}
		if n++; n == lookedAt {
			break
		}
	}
	return false
}

// forget removes a pair that nothing needs. The core's context, with which nearly all is sent, lives as long as the process: one that still knew the pair
// would keep it for as long, and anybody can have a pair made for each of his domains. The caller holds the lock.
func (v *servers) forget(k pairKey, p *pair) {
	delete(v.pairs, k)
	p.callers.forget()
}

// add takes a stream, unless there are too many or the end has come. One peer, or one address, cannot have all of them, and what others
// open leaves room for our own.
func (v *servers) add(s *session) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stopped || len(v.streams) >= v.lim().Streams {
		return false
	}
	if !s.initiated {
		s.network = stream.Network(s.addr.Addr())
		if s.external {
			s.opened = pairKey{s.local.self.Domain(), s.remote.self.Domain()}
		}
		if v.incoming >= v.lim().Streams-v.lim().Streams/4 || v.perAddr[s.network] >= v.lim().StreamsPerAddress || s.external && v.perPair[s.opened] >= v.lim().StreamsPerPair {
			return false
		}
		v.incoming++
		v.perAddr[s.network]++
		if s.external {
			v.perPair[s.opened]++
		}
	}
	v.streams[s] = struct{}{}
	v.a.m.streams.WithLabelValues(s.direction()).Inc()
	return true
}

func (v *servers) remove(s *session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.streams[s]; !ok {
		return
	}
	delete(v.streams, s)
	v.a.m.streams.WithLabelValues(s.direction()).Dec()
	if s.initiated {
		return
	}
	if v.managed[s.resumable] == s {
		delete(v.managed, s.resumable)
	}
	v.incoming--
	if v.perAddr[s.network]--; v.perAddr[s.network] == 0 {
		delete(v.perAddr, s.network)
	}
	if !s.external {
		return
	}
	if v.perPair[s.opened]--; v.perPair[s.opened] == 0 {
		delete(v.perPair, s.opened)
	}
}

// sessions returns the streams that are open now.
func (v *servers) sessions() []*session {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]*session, 0, len(v.streams))
	for s := range v.streams {
		all = append(all, s)
	}
	return all
}

func (v *servers) allPairs() []*pair {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]*pair, 0, len(v.pairs))
	for _, p := range v.pairs {
		all = append(all, p)
	}
	return all
}

// watch looks at every stream and pair once a second, so that none of them needs a goroutine or a timer of its own.
func (v *servers) watch() {
	every := min(time.Second, v.a.lim().PingTimeout/2, v.a.lim().KeepAlive/2, v.lim().Idle/2, v.lim().Resume/2)
	t := time.NewTicker(max(every, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-v.a.base.Done():
			return
		case now := <-t.C:
			for _, s := range v.sessions() {
				s.tick(now)
			}
			v.expire(now)
		}
	}
}

// expire forgets pairs that nothing needs any more, and streams that can no longer be resumed.
func (v *servers) expire(now time.Time) {
	v.mu.Lock()
	for k, p := range v.pairs {
		if p.forgettable(now) {
			v.forget(k, p)
		}
	}
	var over []*ledger
	for id, g := range v.resumable {
		if g.expired(now) {
			delete(v.resumable, id)
			over = append(over, g)
		}
	}
	v.mu.Unlock()
	for _, g := range over {
		g.abandon()
	}
}

// drain refuses what is new, and tells whether anything is still under way.
func (v *servers) drain() {
	v.mu.Lock()
	v.draining = true
	listeners := v.listeners
	v.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	for _, p := range v.allPairs() {
		p.box.close(closingText)
	}
}

// busy tells whether a stream that is up has something left to do.
func (v *servers) busy() bool {
	for _, p := range v.allPairs() {
		if p.unanswered.Load() > 0 || !p.box.idle() && p.reachable() {
			return true
		}
	}
	return false
}

// stop closes every stream and waits for all goroutines. The adapter's base context has ended.
func (v *servers) stop() {
	v.mu.Lock()
	v.stopped, v.draining = true, true
	listeners := v.listeners
	var conns []net.Conn
	for c := range v.opening {
		conns = append(conns, c)
	}
	var ledgers []*ledger
	for id, g := range v.resumable {
		delete(v.resumable, id)
		ledgers = append(ledgers, g)
	}
	v.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	for _, c := range conns {
		c.Close()
	}
	var closing sync.WaitGroup
	for _, s := range v.sessions() {
		closing.Go(func() { s.end(errStopping) })
	}
	closing.Wait()
	for _, g := range ledgers {
		g.abandon()
	}
	for _, p := range v.allPairs() {
		p.undelivered(p.box.drop())
	}
	v.spawning.Lock()
	v.finished = true
	v.spawning.Unlock()
	v.running.Wait()
}
