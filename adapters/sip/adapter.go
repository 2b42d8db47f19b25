package sip

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/admission"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Name is the adapter's name in configuration, logs and metrics.
const Name = "sip"

// Adapter speaks SIP SIMPLE. Make it with New, then Start, Wait, Shutdown, each once.
type Adapter struct {
	now       atomic.Pointer[settings]
	sentBy    string
	log       zerolog.Logger
	layer     *transaction.Layer
	admission *admission.Controller
	handler   adapters.Handler // set by Start, before the layer calls Request
	refusals  *refusals
	learned   *learned
	composers *composers
	pending   *onePending
	reached   func(resolver.Target, bool) // may be nil
	nextHops  NextHops                    // may be nil
	keeper    adapters.Keeper             // nil without a store; set before Start
	homes     adapters.Homes              // nil for a gateway alone; set before Start
	wire      wire.Limits
	turns     resumption
	cseq      atomic.Uint32
	// timerN is how long a NOTIFY may take after a SUBSCRIBE: 64*T1 (RFC 6665 §4.1.2.4).
	timerN time.Duration

	auth        *authenticator
	identities  identityCounts
	loopSeed    maphash.Seed
	notifiers   *notifiers
	subscribers *subscribers
	compositor  *compositor
	publishers  *publishers

	// base ends when Shutdown ends; the adapter's own requests live in it.
	base    context.Context
	stop    context.CancelFunc
	closing atomic.Bool
	spawns  sync.Mutex     // orders spawn and the beginning of Shutdown
	own     sync.WaitGroup // goroutines of the adapter's own requests
}

var _ adapters.Adapter = (*Adapter)(nil)

// New checks cfg and makes an adapter; nothing is opened. The error names every fault of cfg.
func New(cfg Config) (*Adapter, error) {
	now, err := cfg.settings(nil)
	if err != nil {
		return nil, err
	}
	publishers, err := newPublishers(nil, cfg.PublishTo, now.peers)
	if err != nil {
		return nil, err
	}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_sip_refused_total",
		Help: "SIP requests answered without reaching the core, by why.",
	}, []string{"why"})
	signed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_sip_identity_total",
		Help: "SIP requests with a signature over whom they are from, or that needed one (RFC 8224), by what it proved.",
	}, []string{"result"})
	a := &Adapter{
		sentBy:    cfg.SentBy,
		admission: cfg.Admission,
		log:       cfg.Logger,
		refusals:  newRefusals(cfg.Logger, refused),
		learned:   newLearned(),
		composers: newComposers(),
		pending:   newOnePending(),
		reached:   cfg.Reached,
		nextHops:  cfg.NextHops,
		wire:      cfg.Wire,
		timerN:    32 * time.Second,
		auth:      newAuthenticator(),
		loopSeed:  maphash.MakeSeed(),
		identities: identityCounts{
			verified: signed.WithLabelValues("verified"), unknown: signed.WithLabelValues("unknown"), refused: signed.WithLabelValues("refused"),
		},
	}
	if cfg.T1 > 0 {
		a.timerN = 64 * cfg.T1
	}
	a.base, a.stop = context.WithCancel(context.Background())
	a.now.Store(now)
	a.notifiers, a.subscribers = newNotifiers(a), newSubscribers(a)
	a.compositor = newCompositor(a)
	a.publishers, publishers.a = publishers, a
	var tap transaction.Tap
	if cfg.Tap != nil {
		tap = func(dir transaction.Direction, octets []byte) {
			d := adapters.Inbound
			if dir == transaction.Outbound {
				d = adapters.Outbound
			}
			cfg.Tap(Name, d, octets)
		}
	}
	layer, err := transaction.New(transaction.Config{
		Admit: a.known, Refused: a.turnedAway, KeepAlive: a.keepAlive, OfferOverload: a.offersOverload, TLS: secure(cfg.Certificates, cfg.SentBy), Load: cfg.Load,
		Admission: cfg.Admission, Flow: a.flow, Waiting: a.waiting,
		Listeners: cfg.Listeners, SentBy: cfg.SentBy, Limits: cfg.Wire, Bounds: cfg.Transactions, T1: cfg.T1,
		Logger: cfg.Logger, Registerer: cfg.Registerer, Tap: tap, DialControl: cfg.DialControl, AllowAddr: cfg.AllowAddr,
	})
	if err != nil {
		return nil, err
	}
	a.layer = layer
	if cfg.Registerer == nil {
		return a, nil
	}
	for _, c := range []prometheus.Collector{
		refused, signed,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "isthmus_sip_dialogs_notifier", Help: "Event dialogs in which SIP watchers are notified.",
		}, func() float64 { return float64(a.notifiers.count()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "isthmus_sip_dialogs_subscriber", Help: "Event dialogs in which SIP presentities are watched.",
		}, func() float64 { return float64(a.subscribers.count()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "isthmus_sip_publications", Help: "Publications of SIP users, by PUBLISH.",
		}, func() float64 { return float64(a.compositor.count()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "isthmus_sip_published_users", Help: "Users of the other network whose presence is published to a presence server.",
		}, func() float64 { return float64(a.publishers.count()) }),
	} {
		if err := cfg.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("sip: register metrics: %w", err)
		}
	}
	return a, nil
}

// known tells whether a source is some peer's. A stranger's request is answered before any state is made for it (S11, S12).
func (a *Adapter) known(src transaction.Source) bool { return a.peers().at(src) != nil }

// waiting is how many messages wait behind others in the core.
func (a *Adapter) waiting() int {
	if crowd, ok := a.handler.(adapters.Crowd); ok {
		return crowd.Waiting()
	}
	return 0
}

// turnedAway notes the request of a stranger.
func (a *Adapter) turnedAway(src transaction.Source) {
	a.refusals.note(refuse(WhyStranger, 403, phraseOf(403)), "", "", src.Remote.String())
}

// keepAlive is how often pings are sent on a connection that was opened here.
func (a *Adapter) keepAlive(src transaction.Source) time.Duration {
	if peer := a.peers().at(src); peer != nil {
		return peer.KeepAlive
	}
	return 0
}

// offersOverload tells whether the peer at a target is known to understand RFC 7339.
func (a *Adapter) offersOverload(t resolver.Target) bool {
	for _, peer := range a.peers().list {
		if peer.OverloadControl && peer.reachedBy(t) != noProof {
			return true
		}
	}
	return false
}

// Name implements adapters.Adapter.
func (a *Adapter) Name() string { return Name }

// Capabilities implements adapters.Adapter.
func (a *Adapter) Capabilities() adapters.Capabilities {
	return adapters.Capabilities{
		Protocol: resolver.SIP, MaxContent: a.now.Load().content, CarriesHops: true, PositiveAnswer: true, OnePerRecipient: true,
	}
}

// Start implements adapters.Adapter.
func (a *Adapter) Start(ctx context.Context, h adapters.Handler) error {
	a.handler = h
	if err := a.layer.Start(ctx, (*server)(a)); err != nil {
		return err
	}
	a.publishers.start()
	a.turns.start(a.limits().Resumes)
	return nil
}

// Wait implements adapters.Adapter.
func (a *Adapter) Wait() error { return a.layer.Wait() }

// Shutdown implements adapters.Adapter. Dialogs are left as they are, and go on after a restart if there is a Keeper; else the far side
// notices their end when they expire, or by a 481.
func (a *Adapter) Shutdown(ctx context.Context) error {
	a.spawns.Lock()
	twice := a.closing.Swap(true)
	a.spawns.Unlock()
	if twice {
		return nil
	}
	a.notifiers.stop()
	a.subscribers.stop()
	a.compositor.stop()
	a.publishers.stop(ctx)
	err := a.layer.Shutdown(ctx)
	a.stop()
	done := make(chan struct{})
	go func() {
		a.own.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("sip: requests were still under way: %w", ctx.Err()))
	}
	return err
}

// Addrs returns the open sockets, once Start has returned.
func (a *Adapter) Addrs() []transaction.BoundListener { return a.layer.Addrs() }

// spawn runs f in a goroutine that Shutdown waits for; not at all if the adapter is closing, and then it returns false.
func (a *Adapter) spawn(f func(context.Context)) bool {
	a.spawns.Lock()
	defer a.spawns.Unlock()
	if a.closing.Load() {
		return false
	}
	a.own.Go(func() { f(a.base) })
	return true
}

// nextCSeq is the sequence number of the next request outside of a dialog. It rises from 1 and starts again before 2**31; since each
// of these requests has a From tag of its own, no two can be taken for one (RFC 3261 §8.2.2.2).
func (a *Adapter) nextCSeq() uint32 {
	for {
		if n := a.cseq.Add(1); n < maxCSeq {
			return n
		} else if a.cseq.CompareAndSwap(n, 1) {
			return 1
		}
	}
}

// viaHost is about what will stand in Via, for measuring.
func (a *Adapter) viaHost() string {
	if a.sentBy != "" {
		return a.sentBy + ":65535"
	}
	return "[2001:0db8:0000:0000:0000:0000:0000:0000]:65535"
}

// contactHost is where peers reach us over transport t: its own listener's, or another's if it has none. UDP comes first, which every
// peer has (RFC 3261 §18). ok is false without any listener.
func (a *Adapter) contactHost(t resolver.Transport) (host string, port uint16, via resolver.Transport, ok bool) {
	bound := a.Addrs()
	for _, t := range []resolver.Transport{t, resolver.UDP, resolver.TCP, resolver.TLS} {
		if host, port, ok = hostFor(a.sentBy, bound, t); ok {
			return host, port, t, true
		}
	}
	return "", 0, 0, false
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
