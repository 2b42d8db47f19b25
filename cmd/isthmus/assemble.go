package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/admin"
	"github.com/isthmus-gateway/isthmus/internal/admission"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// assembly is a gateway with its adapters, as a configuration describes them. A third protocol is a field and a few lines here.
type assembly struct {
	gateway   *gateway.Gateway
	sip       *sip.Adapter                      // nil without listeners
	xmpp      *xmpp.Adapter                     // nil without components
	names     atomic.Pointer[resolver.Resolver] // nil while nothing is looked up
	guard     *resolver.Guard
	certs     *certs.Store                // nil where the configuration says nothing of TLS
	store     atomic.Pointer[store.Store] // nil without one, and before the start
	storeless bool                        // none is configured
	joining   time.Duration               // how long the start may wait for the other gateways; 0: there are none
	started   atomic.Bool
	ready     chan struct{} // closed when it has started
	admission *admission.Controller
	taking    sync.Mutex // held while a configuration is taken on: the gateway does not end half way
	// named is the configuration that names is of: one in which nothing is looked up leaves it as it was. For who reloads alone.
	named *configs.Config

	with    surroundings
	running atomic.Pointer[configs.Config] // what it runs with
	beside  sync.WaitGroup                 // what runs beside the gateway until close
	closing chan struct{}
}

// surroundings is what a gateway is given beside its configuration.
type surroundings struct {
	logger   zerolog.Logger
	registry prometheus.Registerer // nil: no metrics
	// tap and observe see what crosses the sockets and what passes the core; nil: nobody does.
	tap     adapters.Tap
	observe func(gateway.Observation)
}

// assemble joins the configuration, the adapters and the gateway. Nothing is opened. What it refuses is a fault of the configuration
// that only an adapter or the gateway can see.
func assemble(cfg *configs.Config, with surroundings) (*assembly, error) {
	a := &assembly{with: with, guard: newGuard(cfg), ready: make(chan struct{}), closing: make(chan struct{})}
	a.running.Store(cfg)
	if err := a.join(cfg, with); err != nil {
		var faults configs.Faults
		if errors.As(err, &faults) {
			return nil, faults
		}
		return nil, &usageError{"the configuration cannot be used: " + err.Error()}
	}
	return a, nil
}

func (a *assembly) join(cfg *configs.Config, with surroundings) error {
	var sides []adapters.Adapter
	publishedByName := false
	var err error
	if a.admission, err = openAdmission(cfg, with); err != nil {
		return err
	}
	if a.certs, err = openCertificates(cfg, with); err != nil {
		return err
	}
	if len(cfg.SIP.Listeners) > 0 {
		c := sipConfig(cfg, with)
		c.Admission = a.admission
		c.Certificates = a.certs
		if c.Signers, err = openSigners(cfg); err != nil {
			return err
		}
		c.Reached, c.Load, c.DialControl, c.AllowAddr = a.reached, a.load, a.guard.Control, a.guard.AllowAddr
		c.NextHops = a.nextHops
		publishedByName = a.findServers(cfg, &c)
		if a.sip, err = sip.New(c); err != nil {
			return err
		}
		sides = append(sides, a.sip)
	}
	core, byName, err := settingsOf(cfg)
	if err != nil {
		return err
	}
	byName = byName || publishedByName
	if cfg.XMPP.Used() {
		c := xmppConfig(cfg, with)
		c.Admission = a.admission
		if cfg.XMPP.Server.Used() {
			if a.certs == nil {
				if a.certs, err = certs.Open(certs.Config{Logger: with.part("tls"), Registerer: with.registry}); err != nil {
					return err
				}
			}
			for _, d := range unproven(cfg, a.certs) {
				c.Logger.Warn().Str("domain", d).Msg("xmpp: no certificate under tls.certificates is for this domain: other servers will not believe it")
			}
			c.Servers = serverConfig(cfg, a)
		}
		if a.xmpp, err = xmpp.New(c); err != nil {
			return err
		}
		sides = append(sides, a.xmpp)
	}
	g := gateway.Config{
		Adapters: sides, Routes: core.Routes, Limits: core.Limits, NoTrace: core.NoTrace, Policy: core.Policy, Signatures: core.Signatures, Logger: with.part("gateway"), Registerer: with.registry, Observe: with.observe,
	}
	if byName {
		names, err := newResolver(cfg, a.guard, with.part("resolver"))
		if err != nil {
			return err
		}
		a.names.Store(names)
		a.named = cfg
		g.Resolver = names
	}
	if a.storeless = cfg.Store.Directory == "" && !cfg.Store.Cluster.Used(); !a.storeless {
		cluster, err := clusterOf(cfg, with.part("store"))
		if err != nil {
			return err
		}
		g.Cluster = cluster != nil
		if g.Cluster {
			a.joining = cfg.Store.Cluster.Wait.Std() + startTimeout
		}
		g.OpenStore = a.openStore(cfg, cluster, with.part("store"))
		if err := a.measureStore(with.registry); err != nil {
			return err
		}
	}
	if a.gateway, err = gateway.New(g); err != nil {
		return errors.Join(err, a.close())
	}
	return nil
}

// part is the logger of one part of the gateway.
func (s surroundings) part(name string) zerolog.Logger {
	return s.logger.With().Str("part", name).Logger()
}

func (a *assembly) start(ctx context.Context) error {
	err := a.gateway.Start(ctx)
	if err == nil {
		a.started.Store(true)
		close(a.ready)
		if a.certs != nil {
			a.beside.Go(func() { a.certs.Watch(a.closing) })
		}
	}
	return err
}

// patience is how long the start may take: with several gateways it waits for the others.
func (a *assembly) patience() time.Duration { return a.joining }

func (a *assembly) wait() error { return a.gateway.Wait() }

func (a *assembly) shutdown(ctx context.Context) error {
	a.taking.Lock()
	a.started.Store(false)
	a.taking.Unlock()
	err := a.gateway.Shutdown(ctx)
	if s := a.store.Load(); s != nil {
		s.Close()
	}
	return err
}

func (a *assembly) close() error {
	close(a.closing)
	a.beside.Wait()
	if names := a.names.Load(); names != nil {
		return names.Close()
	}
	return nil
}

// links is the state of everything that traffic needs.
func (a *assembly) links() []admin.Link {
	cfg, up := a.running.Load(), a.started.Load()
	var links []admin.Link
	for _, l := range cfg.SIP.Listeners {
		links = append(links, admin.Link{Adapter: sip.Name, Name: l.Transport + " " + l.Address.String(), Up: up})
	}
	for _, l := range cfg.XMPP.Server.Listeners {
		links = append(links, admin.Link{Adapter: xmpp.Name, Name: "server " + l.TLS + " " + l.Address.String(), Up: up})
	}
	if !a.storeless {
		l := admin.Link{Adapter: "store", Name: "store", Up: a.storeUp()}
		if !l.Up {
			l.Detail = "takes nothing now, see the log"
		}
		links = append(links, l)
	}
	if a.xmpp == nil {
		return links
	}
	for _, l := range a.xmpp.Links() {
		// What another gateway has is as it should be.
		link := admin.Link{Adapter: xmpp.Name, Name: l.Component, Up: l.Phase == xmpp.LinkUp || l.Phase == xmpp.LinkElsewhere}
		if l.Phase != xmpp.LinkUp {
			link.Detail = l.Phase.String()
			if l.Fault != "" {
				link.Detail += ": " + l.Fault
			}
		}
		links = append(links, link)
	}
	return links
}

// reached keeps the resolver's memory of targets that failed (RFC 3263 §4.3). The resolver, if there is one, was made before the adapter
// was started.
func (a *assembly) reached(t resolver.Target, ok bool) {
	switch names := a.names.Load(); {
	case names == nil:
	case ok:
		names.Succeeded(t)
	default:
		names.Failed(t)
	}
}

// nextHops is gateway.NextHops of the gateway, which was made after the adapter.
func (a *assembly) nextHops(ctx context.Context, to cpim.Address) ([]resolver.Target, error) {
	return a.gateway.NextHops(ctx, to)
}

// findServers has the presence servers that are named by a domain looked up each time; it tells whether there are any. The resolver is made
// after the adapter, and before anything is published.
func (a *assembly) findServers(cfg *configs.Config, c *sip.Config) (byName bool) {
	for i, p := range cfg.SIP.PublishTo {
		domain := string(p.As.Domain())
		if _, ok := p.To.Static.Target(domain); ok {
			continue
		}
		byName = true
		c.PublishTo[i].Lookup = func(ctx context.Context) ([]resolver.Target, error) {
			return a.names.Load().Static(ctx, p.To.Static, domain)
		}
	}
	return byName
}

// load is how much of what comes in is too much for the gateway, which was made after the adapter.
func (a *assembly) load() int {
	if !a.started.Load() {
		return 0
	}
	return a.gateway.Load()
}

// settingsOf is what a configuration says of the core, but for its resolver; byName tells whether it needs one. The start and a reload take the
// same.
func settingsOf(cfg *configs.Config) (s gateway.Settings, byName bool, err error) {
	s = gateway.Settings{Limits: gatewayLimits(cfg), NoTrace: !bool(cfg.Limits.Messages.Trace)}
	if s.Routes, byName, err = routesOf(cfg); err != nil {
		return s, false, err
	}
	if s.Policy, err = openPolicy(cfg); err != nil {
		return s, false, err
	}
	s.Signatures, err = openSignatures(cfg)
	return s, byName || cfg.XMPP.Server.Used(), err // a dialback key may be of any domain
}

// routesOf converts the routes; byName tells whether any of them needs a resolver.
func routesOf(cfg *configs.Config) (routes []gateway.Route, byName bool, err error) {
	components := make(map[configs.Name]resolver.Static, len(cfg.XMPP.Components))
	for _, m := range cfg.XMPP.Components {
		if components[m.Name], err = componentHop(m); err != nil {
			return nil, false, err
		}
	}
	for _, r := range cfg.Routes {
		route := gateway.Route{Domain: string(r.Domain), Adapter: r.Via}
		byName = byName || len(r.NextHops) == 0
		for _, h := range r.NextHops {
			static := h.Static
			if h.Component != "" {
				static = components[h.Component]
			}
			byName = byName || named(static)
			route.NextHops = append(route.NextHops, static)
		}
		routes = append(routes, route)
	}
	return routes, byName, nil
}

func gatewayLimits(cfg *configs.Config) gateway.Limits {
	m, w := cfg.Limits.Messages, cfg.Limits.Watches
	return gateway.Limits{
		DirectWait: m.DirectWait.Std(), Life: m.Life.Std(), DelayedAfter: m.DelayedAfter.Std(), NoticeLife: m.NoticeLife.Std(), DeadLife: m.DeadLife.Std(),
		StoredPerSender: m.StoredPerSender.Int(), StoredPerRecipient: m.StoredPerRecipient.Int(), StoredPerDomain: m.StoredPerDomain.Int(), ReturnRate: m.ReturnRate.Int(),
		LaneMessages: m.Lane.Int(), Messages: m.Total.Int(), Origins: m.Origins.Int(), OriginLife: m.OriginLife.Std(),
		Duplicates: m.Duplicates.Int(), DuplicateLife: m.DuplicateLife.Std(), Repeats: m.Repeats.Int(), PairRate: m.PairRate.Int(), PairBurst: m.PairBurst.Int(),
		Watches: w.Pairs.Int(), WatchesPerWatcher: w.PerWatcher.Int(), WatchesPerPresentity: w.PerPresentity.Int(), WatchesPerDomain: w.PerDomain.Int(), WatchRate: w.OpenRate.Int(),
		WatchSessions: w.Sessions.Int(), Devices: w.Devices.Int(), WatchDuration: w.Duration.Std(), FetchWait: w.FetchWait.Std(),
	}
}
