package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// reloader reads the configuration again while the gateway runs. What could fail is tried before anything changes, so that a configuration
// is taken on whole, or not at all.
type reloader struct {
	assembly *assembly
	load     func() (*configs.Config, error)
	level    *levelSampler
	logger   zerolog.Logger

	one      sync.Mutex // one reload at a time
	outcomes *prometheus.CounterVec
	last     prometheus.Gauge
	pending  prometheus.Gauge
}

// The outcomes of a reload.
const (
	reloadApplied = "applied" // everything
	reloadPending = "pending" // but for keys that need a restart
	reloadRefused = "refused" // nothing
)

// reloadReport is what came of a reload.
type reloadReport struct {
	Outcome string   `json:"outcome"`
	Changed []string `json:"changed,omitempty"`
	Pending []string `json:"pending,omitempty"`
	Faults  []string `json:"faults,omitempty"`
}

func newReloader(a *assembly, read func() (*configs.Config, error), level *levelSampler, with surroundings) (*reloader, error) {
	r := &reloader{
		assembly: a, load: read, level: level, logger: with.part("reload"),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_reload_total", Help: "Reloads of the configuration: applied, pending if keys wait for a restart, or refused.",
		}, []string{"outcome"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_reload_last_success_timestamp_seconds", Help: "When a configuration was last taken on, the start included.",
		}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "isthmus_reload_pending_keys", Help: "Keys of the configuration whose new values wait for a restart.",
		}),
	}
	for _, o := range []string{reloadApplied, reloadPending, reloadRefused} {
		r.outcomes.WithLabelValues(o)
	}
	r.last.SetToCurrentTime()
	if with.registry == nil {
		return r, nil
	}
	for _, c := range []prometheus.Collector{r.outcomes, r.last, r.pending} {
		if err := with.registry.Register(c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// reload reads the configuration again and takes it on, or says in the log and the report why not.
func (r *reloader) reload(ctx context.Context) reloadReport {
	r.one.Lock()
	defer r.one.Unlock()
	began := time.Now()
	next, err := r.load()
	var what configs.Renewal
	if err == nil {
		what, err = configs.Renew(r.assembly.running.Load(), next)
	}
	var commit func() error
	if err == nil {
		commit, err = r.assembly.prepare(ctx, what.Config)
	}
	if err == nil {
		err = commit()
	}
	if err != nil {
		report := reloadReport{Outcome: reloadRefused, Faults: faultsOf(err)}
		for _, f := range report.Faults {
			r.logger.Error().Str("fault", clip(f)).Msg("a fault of the new configuration")
		}
		r.logger.Error().Int("faults", len(report.Faults)).Msg("not reloaded: everything stays as it was")
		r.outcomes.WithLabelValues(reloadRefused).Inc()
		return report
	}
	r.level.set(what.Config.Log)
	report := reloadReport{Outcome: reloadApplied, Changed: what.Changed, Pending: what.Pending}
	e, said := r.logger.Info(), "reloaded"
	if len(what.Pending) > 0 {
		report.Outcome = reloadPending
		e, said = r.logger.Warn().Strs("pending", what.Pending), "reloaded, but for keys that need a restart"
	}
	e.Strs("changed", what.Changed).Float64("ms", float64(time.Since(began).Microseconds())/1000).Msg(said)
	r.outcomes.WithLabelValues(report.Outcome).Inc()
	r.last.SetToCurrentTime()
	r.pending.Set(float64(len(what.Pending)))
	return report
}

// faultsOf is every fault in a line of its own.
func faultsOf(err error) (list []string) {
	var faults configs.Faults
	if errors.As(err, &faults) {
		for _, f := range faults {
			list = append(list, f.String())
		}
		return list
	}
	return strings.Split(err.Error(), "\n")
}

// needsRestart is a change that is no key's by itself: a side that was not there is to be, or the other way round.
func needsRestart(key string) error {
	return fmt.Errorf("%s: the gateway runs with none of it, or would have to: this needs a restart", key)
}

// errEnding is why a gateway that has not started, or ends, takes nothing on.
var errEnding = errors.New("the gateway is starting or ending")

// prepare checks cfg, and opens what it needs beside what is open. What it returns takes cfg on, unless the gateway has begun to end meanwhile;
// nothing has changed before.
func (a *assembly) prepare(ctx context.Context, cfg *configs.Config) (commit func() error, err error) {
	if !a.started.Load() {
		return nil, errEnding
	}
	var commits, discards []func()
	discard := func() {
		for _, f := range slices.Backward(discards) {
			f()
		}
	}
	defer func() {
		if err != nil {
			discard()
		}
	}()
	add := func(c adapters.Change) {
		commits, discards = append(commits, c.Commit), append(discards, c.Discard)
	}
	switch {
	case (a.sip != nil) != (len(cfg.SIP.Listeners) > 0):
		return nil, needsRestart("sip.listeners")
	case (a.xmpp != nil) != cfg.XMPP.Used():
		return nil, needsRestart("xmpp")
	case a.xmpp != nil && a.running.Load().XMPP.Server.Used() != cfg.XMPP.Server.Used():
		return nil, needsRestart("xmpp.server.domains")
	case a.certs == nil && cfg.TLS.Used():
		return nil, needsRestart("tls")
	case a.certs != nil:
		take, err := a.certs.Prepare(certsConfig(cfg, a.with))
		if err != nil {
			return nil, tlsFaults(cfg, err)
		}
		commits = append(commits, take)
	}
	guard := newGuard(cfg)
	commits = append(commits, func() { a.guard.Renew(guard) })
	core, byName, err := settingsOf(cfg)
	if err != nil {
		return nil, err
	}
	names := a.names.Load()
	if byName && (names == nil || !sameNames(a.named, cfg)) {
		if names, err = newResolver(cfg, a.guard, a.with.part("resolver")); err != nil {
			return nil, err
		}
		discards = append(discards, func() { names.Close() }) //nolint:errcheck // it never fails
	}
	if names != a.names.Load() {
		commits = append(commits, func() {
			a.rename(names)
			a.named = cfg
		})
	}
	if a.sip != nil {
		c := sipConfig(cfg, a.with)
		if c.Signers, err = openSigners(cfg); err != nil {
			return nil, err
		}
		change, err := a.sip.Prepare(ctx, c)
		if err != nil {
			return nil, err
		}
		add(change)
	}
	if a.xmpp != nil {
		c := xmppConfig(cfg, a.with)
		if cfg.XMPP.Server.Used() {
			c.Servers = serverConfig(cfg, a)
		}
		change, err := a.xmpp.Prepare(ctx, c)
		if err != nil {
			return nil, err
		}
		add(change)
	}
	if names != nil {
		core.Resolver = names
	}
	narrow, change, err := a.gateway.Prepare(core)
	if err != nil {
		return nil, err
	}
	add(change)
	return func() error {
		a.taking.Lock()
		defer a.taking.Unlock()
		if !a.started.Load() {
			discard()
			return errEnding
		}
		narrow()
		for _, f := range commits {
			f()
		}
		a.running.Store(cfg)
		a.admission.SetMemory(memoryOf(cfg))
		limitMemory(cfg)
		return nil
	}, nil
}

// sameNames tells whether a resolver of one configuration, with what it remembers, is right for the other.
func sameNames(a, b *configs.Config) bool {
	return slices.Equal(a.DNS.Servers, b.DNS.Servers) && slices.Equal(a.DNS.Allow, b.DNS.Allow) && slices.Equal(transportsOf(a), transportsOf(b))
}

// nameGrace is how long a resolver that was replaced still answers those who asked it.
const nameGrace = 2 * time.Minute

// rename replaces the resolver.
func (a *assembly) rename(names *resolver.Resolver) {
	old := a.names.Swap(names)
	if old == nil {
		return
	}
	a.beside.Go(func() {
		t := time.NewTimer(nameGrace)
		defer t.Stop()
		select {
		case <-t.C:
		case <-a.closing:
		}
		old.Close() //nolint:errcheck // it never fails
	})
}

// levelSampler keeps the log's level, which a reload may change: it is asked before anything of a line is made.
type levelSampler struct{ least atomic.Int32 }

// Sample implements zerolog.Sampler.
func (s *levelSampler) Sample(l zerolog.Level) bool { return l >= zerolog.Level(s.least.Load()) }

func (s *levelSampler) set(cfg configs.Log) {
	if level, err := zerolog.ParseLevel(cfg.Level); err == nil { // checked with the configuration
		s.least.Store(int32(level))
	}
}

// answer is a reload that was asked for over the administration socket.
func (r *reloader) answer(ctx context.Context) (report json.RawMessage, ok bool, err error) {
	done := r.reload(ctx)
	report, err = json.Marshal(done)
	return report, done.Outcome != reloadRefused, err
}
