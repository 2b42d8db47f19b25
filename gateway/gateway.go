// Package gateway routes operations between adapters: it admits or refuses them, keeps them in order, hands them to the
// adapter of the recipient's domain, brings the outcome back, and runs the watches. It knows no socket and no wire format.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/cluster"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/smime"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Resolver finds next hops: *resolver.Resolver, or a fake in tests.
type Resolver interface {
	// Resolve finds the next hops of an address's domain (RFC 3861).
	Resolve(ctx context.Context, q resolver.Query) ([]resolver.Target, error)
	// Static finds the addresses of a configured next hop that is a name.
	Static(ctx context.Context, st resolver.Static, domain string) ([]resolver.Target, error)
}

// Config is what New needs. Everything is copied; nothing may be changed afterwards.
type Config struct {
	// Adapters are joined by the gateway, started in this order and stopped in the reverse order.
	Adapters []adapters.Adapter
	// Routes, Resolver, Limits and NoTrace are as in Settings.
	Routes   []Route
	Resolver Resolver
	Limits   Limits
	NoTrace  bool
	Policy   *policy.Policy
	// Signatures is as in Settings.
	Signatures *smime.Verifier
	// Logger gets one line at the end of each operation.
	Logger zerolog.Logger
	// OpenStore opens what holds the messages that the gateway has answered for and not handed over; Start calls it, once. Who opened
	// it closes it, after Shutdown. nil: there is none, and a message that cannot be handed over while its sender waits is refused.
	OpenStore func(ctx context.Context) (store.Durable, error)
	// Cluster tells that several gateways share the store and act as one: each is a node of the name that the store has, with the same adapters
	// and routes. One without adapters holds the store open for the others, and no more. ClusterTimes are those of their leases; zero ones are the usual ones.
	Cluster      bool
	ClusterTimes cluster.Times
	// Registerer takes the gateway's metrics; nil means none are kept.
	Registerer prometheus.Registerer
	// Observe sees each operation as it is handed on: the canonical form in the middle, for the demo. nil costs nothing.
	// It is called from many goroutines, must not block and must not change what it is given.
	Observe func(Observation)
}

// Observation is one operation on its way through the core; exactly one of the pointers is set.
type Observation struct {
	From, To string // adapters' names
	Message  *adapters.MessageOp
	Watch    *adapters.WatchOp
	Notify   *adapters.NotifyOp
	Report   *adapters.Report
}

// Limits bounds the gateway. A zero field means its default; a negative one is refused by New.
type Limits struct {
	// DirectWait is how long a message may wait for its outcome while its sender still holds it. Default 25 s, which
	// leaves time to answer within the 32 s of a SIP non-INVITE transaction (RFC 3261 §17.1.2.2). At most 30 s.
	DirectWait time.Duration
	// LaneMessages is how many messages may wait in one lane. Default 100. The next is refused: overloaded. In a cluster, also how much of the presence
	// of one pair may wait for the pair's owner.
	LaneMessages int
	// Messages is how many messages may be under way in all. Default 20,000. The next is refused: overloaded. In a cluster, also how much presence may
	// be on its way to its owners, which is counted apart.
	Messages int
	// Life is how long a stored message is tried, unless its sender set a shorter one (SIP Expires). Default 24 h. Then its sender is told.
	Life time.Duration
	// DelayedAfter is when the sender of a stored message is told that it takes long, if that was asked for. Default 5 min.
	DelayedAfter time.Duration
	// NoticeLife is how long the notice of a message's end is tried. Default 24 h. Then it is a dead letter.
	NoticeLife time.Duration
	// DeadLife is how long a dead letter is kept. Default 30 days. Then it is forgotten, with a line in the log.
	DeadLife time.Duration
	// StoredPerSender, StoredPerRecipient and StoredPerDomain bound the stored messages of one sender, for one recipient, and on their way
	// to one domain. Defaults 10,000, 10,000 and 250,000. The next is refused: overloaded. So is one of a sender who has a third as many for that
	// recipient as are free for it: at most a quarter of StoredPerRecipient is of one sender.
	StoredPerSender, StoredPerRecipient, StoredPerDomain int
	// ReturnRate is how many stored messages a second a domain is given at first at which nothing answered for a while: for 10 s; from then on twice as
	// many every 5 s, as long as it takes them. After an outage of less than 30 s in which no
	// link broke at least as many as came. Default 200.
	ReturnRate int
	// Origins is how many answered messages are remembered, so that a late outcome finds its sender. Default 100,000;
	// when full the oldest are forgotten, and a late outcome of theirs is counted and dropped.
	Origins int
	// OriginLife is how long they are remembered. Default 1 h.
	OriginLife time.Duration
	// Duplicates is how many messages are remembered so that their copies are known. Default 200,000; when full the older half is
	// forgotten, and a copy of one of those is delivered.
	Duplicates int
	// DuplicateLife is how long they are remembered, at most. Default 24 h.
	DuplicateLife time.Duration
	// Repeats is how often the same message may come in 10 s, from the same sender to the same recipient, in the same thread and
	// with the same content; at most 200; in the half second after the first one less, if it is more than 2. The next is refused: it goes in a circle. 0: this is not counted.
	Repeats int
	// PairRate is how many messages a second one sender may send to one recipient, and PairBurst how many at once. The next is refused:
	// overloaded. PairRate 0: no such bound. PairBurst's default is four times the rate.
	PairRate, PairBurst int
	// Watches is how many (watcher, presentity) pairs are kept. Default 100,000. When full, an authorization that nobody uses
	// makes room for the next (it is asked for again when it is needed); without one the next is refused: overloaded.
	Watches int
	// WatchesPerWatcher, WatchesPerPresentity and WatchesPerDomain are how many of them one watcher, one presentity and one domain of
	// watchers may have, without authorizations that nobody uses. Default 5,000, 10,000 and all. The next is refused: overloaded. So is
	// one of a domain whose watchers have seven times as many of a presentity as are free: at most seven eighths are of one domain.
	WatchesPerWatcher, WatchesPerPresentity, WatchesPerDomain int
	// WatchRate is how many watches a second are opened on the presentities' sides, at most. Default 1,000. More wait for their turn:
	// after a restart, or when many watchers come back at once.
	WatchRate int
	// WatchSessions is how many watches of one pair may be open at once. Default 10. The next is refused.
	WatchSessions int
	// Devices is how many devices of one presentity a watcher is told of. Default 20; the ones that come later are
	// left out and counted.
	Devices int
	// WatchDuration is the duration asked for on behalf of watchers whose protocol has none. Default 1 h (RFC 3856
	// §6.4).
	WatchDuration time.Duration
	// FetchWait is how long a fetch waits for the presentity's side to answer. Default 2 s.
	FetchWait time.Duration
}

func (l *Limits) setDefaults() error {
	for _, n := range []struct {
		name  string
		value *int
		def   int
	}{
		{"LaneMessages", &l.LaneMessages, 100},
		{"Messages", &l.Messages, 20_000},
		{"Origins", &l.Origins, 100_000},
		{"StoredPerSender", &l.StoredPerSender, 10_000},
		{"StoredPerRecipient", &l.StoredPerRecipient, 10_000},
		{"StoredPerDomain", &l.StoredPerDomain, 250_000},
		{"ReturnRate", &l.ReturnRate, 200},
		{"Duplicates", &l.Duplicates, 200_000},
		{"Repeats", &l.Repeats, 0},
		{"PairRate", &l.PairRate, 0},
		{"PairBurst", &l.PairBurst, 4 * max(l.PairRate, 0)},
		{"Watches", &l.Watches, 100_000},
		{"WatchesPerWatcher", &l.WatchesPerWatcher, 5_000},
		{"WatchesPerPresentity", &l.WatchesPerPresentity, 10_000},
		{"WatchesPerDomain", &l.WatchesPerDomain, math.MaxInt32},
		{"WatchRate", &l.WatchRate, 1_000},
		{"WatchSessions", &l.WatchSessions, 10},
		{"Devices", &l.Devices, 20},
	} {
		if *n.value < 0 {
			return fmt.Errorf("gateway: limit %s is negative", n.name)
		}
		if *n.value == 0 {
			*n.value = n.def
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"DirectWait", &l.DirectWait, 25 * time.Second},
		{"OriginLife", &l.OriginLife, time.Hour},
		{"DuplicateLife", &l.DuplicateLife, 24 * time.Hour},
		{"Life", &l.Life, 24 * time.Hour},
		{"DelayedAfter", &l.DelayedAfter, 5 * time.Minute},
		{"NoticeLife", &l.NoticeLife, 24 * time.Hour},
		{"DeadLife", &l.DeadLife, 30 * 24 * time.Hour},
		{"WatchDuration", &l.WatchDuration, time.Hour},
		{"FetchWait", &l.FetchWait, 2 * time.Second},
	} {
		if *d.value < 0 {
			return fmt.Errorf("gateway: limit %s is negative", d.name)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if l.DirectWait > 30*time.Second {
		return errors.New("gateway: limit DirectWait is over 30 s, which a SIP transaction does not wait (RFC 3261 §17.1.2.2)")
	}
	return nil
}

// Gateway is the core. Make it with New, then Start, Wait, Shutdown, each once.
type Gateway struct {
	now atomic.Pointer[settings]
	// narrowed are the settings that a change brings while it is being taken on: what comes then must be allowed by both. nil at all other
	// times.
	narrowed atomic.Pointer[settings]

	order   []*side
	sides   map[string]*side
	log     zerolog.Logger
	metrics *metrics
	observe func(Observation)

	ids     idSource
	lanes   *lanes
	onward  *lanes // of presence on its way to the owners of its pairs: what waits there must not take the places of messages, nor they its own
	origins *origins
	watches *watches
	outages *outages
	journal *journal // nil without one
	keeper  *keeper  // nil without a store; set by Start, before anything comes

	duplicates *duplicates
	repeats    *repeats
	activities *brake // of messages that only tell what their sender does
	tracer     tracer

	openStore func(context.Context) (store.Durable, error)

	clustered    bool
	clusterTimes cluster.Times
	registerer   prometheus.Registerer
	node         *node // nil for a gateway alone; set by Start, before anything comes

	draining atomic.Bool
	stopped  chan struct{}
	fault    error
	once     sync.Once
}

// side is one adapter as the core sees it.
type side struct {
	name    string
	adapter adapters.Adapter
	shared  adapters.Shared // nil if it has nothing that may exist once
	caps    adapters.Capabilities
	index   int
	// attendant is the adapter if it can say whether a watcher is online; nil if not.
	attendant adapters.Attendant
	// homed is the adapter if what it has for a pair of a watch is where the pair is; nil if not.
	homed adapters.Homed
}

// label is the side in logs; a domain whose route was taken away has none.
func (s *side) label() string {
	if s == nil {
		return "none"
	}
	return s.name
}

// New checks cfg and makes a gateway; nothing is started.
func New(cfg Config) (*Gateway, error) {
	g := &Gateway{
		sides:   make(map[string]*side, len(cfg.Adapters)),
		log:     cfg.Logger,
		observe: cfg.Observe,
		stopped: make(chan struct{}),
	}
	for _, a := range cfg.Adapters {
		if _, twice := g.sides[a.Name()]; twice {
			return nil, fmt.Errorf("gateway: two adapters are named %q", a.Name())
		}
		s := &side{name: a.Name(), adapter: a, caps: a.Capabilities(), index: len(g.order)}
		s.shared, _ = a.(adapters.Shared)
		s.attendant, _ = a.(adapters.Attendant)
		s.homed, _ = a.(adapters.Homed)
		g.sides[s.name] = s
		g.order = append(g.order, s)
	}
	now, err := g.newSettings(Settings{Routes: cfg.Routes, Resolver: cfg.Resolver, Limits: cfg.Limits, NoTrace: cfg.NoTrace, Policy: cfg.Policy, Signatures: cfg.Signatures})
	if err != nil {
		return nil, err
	}
	g.now.Store(now)
	limits := &now.limits
	if g.metrics, err = newMetrics(cfg.Registerer, g); err != nil {
		return nil, err
	}
	g.ids = newIDSource()
	g.origins = newOrigins(g.order, limits.Origins, limits.OriginLife)
	g.duplicates = newDuplicates(limits.Duplicates, limits.DuplicateLife)
	g.repeats = newRepeats(limits.Repeats)
	g.activities = newBrake(activityRate, activityBurst)
	g.tracer = tracer{newTraceName()}
	g.lanes = newLanes(limits.LaneMessages, limits.Messages)
	g.onward = newLanes(limits.LaneMessages, limits.Messages)
	g.watches = newWatches(g)
	g.outages = newOutages(g.watches)
	if cfg.OpenStore != nil {
		g.journal, g.openStore = newJournal(g), cfg.OpenStore
	}
	if g.clustered, g.clusterTimes, g.registerer = cfg.Cluster, cfg.ClusterTimes, cfg.Registerer; g.clustered && g.journal == nil {
		return nil, errors.New("gateway: several gateways act as one over a store, and there is none")
	}
	if g.clustered && len(g.order) == 0 {
		g.journal = nil // it takes no part in what they do
	}
	return g, nil
}

// Start starts the adapters in order. If one fails, those already started are shut down again, and the error says which.
func (g *Gateway) Start(ctx context.Context) error {
	if g.journal == nil && g.openStore != nil {
		if _, err := g.openStore(ctx); err != nil { // it keeps copies for the others
			return err
		}
	}
	if g.journal != nil {
		// Before anything comes, so that what comes goes behind what is there.
		disk, err := g.openStore(ctx)
		if err != nil {
			return err
		}
		if g.clustered {
			if g.node, err = newNode(g, disk); err != nil {
				return err
			}
		}
		if err := g.journal.start(ctx, disk); err != nil {
			return err
		}
		if g.tracer, err = openTracer(ctx, disk, g.clustered); err != nil {
			return err
		}
		g.keeper = newKeeper(disk, func(err error) {
			g.log.Warn().Str("fault", clip(err.Error())).Msg("presence could not be stored; it is tried again")
		})
		if g.node != nil {
			g.keeper.mine = g.node.parts.Mine
			g.node.house()
		}
		g.keepFor()
		if g.node == nil { // else with each part that becomes its own
			if err := g.watches.takeUp(ctx, nil); err != nil {
				return err
			}
		}
	}
	g.watches.start()
	for i, s := range g.order {
		if err := s.adapter.Start(ctx, &handler{gateway: g, side: s}); err != nil {
			// What came in meanwhile is answered as in Shutdown.
			g.draining.Store(true)
			g.journal.stop()
			err = errors.Join(err, g.lanes.drain(ctx), g.onward.drain(ctx))
			for j := i - 1; j >= 0; j-- {
				err = errors.Join(err, g.order[j].adapter.Shutdown(ctx))
			}
			g.outages.stop()
			g.watches.stop()
			err = errors.Join(err, g.keeper.stop(ctx))
			return fmt.Errorf("start adapter %s: %w", s.name, err)
		}
	}
	if g.journal != nil {
		g.journal.begin()
	}
	if err := g.node.start(ctx); err != nil {
		return errors.Join(err, g.Shutdown(ctx))
	}
	for _, s := range g.order {
		go func() {
			err := s.adapter.Wait()
			if err != nil {
				err = fmt.Errorf("adapter %s: %w", s.name, err)
			}
			g.stop(err)
		}()
	}
	return nil
}

func (g *Gateway) stop(err error) {
	g.once.Do(func() {
		g.fault = err
		close(g.stopped)
	})
}

// Wait returns when an adapter has stopped by itself, with its fault, or when Shutdown has been called, with nil.
func (g *Gateway) Wait() error {
	<-g.stopped
	return g.fault
}

// Shutdown refuses new operations, lets those under way finish within ctx, and stops the adapters in reverse order.
// Every error is reported.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.draining.Store(true)
	g.stop(nil)
	g.node.leave(ctx)
	g.journal.stop()
	errs := []error{g.lanes.drain(ctx), g.onward.drain(ctx)}
	g.node.stop()
	for i := len(g.order) - 1; i >= 0; i-- {
		if err := g.order[i].adapter.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("adapter %s: %w", g.order[i].name, err))
		}
	}
	g.outages.stop()
	g.watches.stop()
	g.journal.noted()
	errs = append(errs, g.keeper.stop(ctx))
	return errors.Join(errs...)
}
