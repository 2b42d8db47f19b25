package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/internal/admin"
	"github.com/isthmus-gateway/isthmus/internal/cgroup"
	"github.com/isthmus-gateway/isthmus/internal/heapfloor"
	"github.com/isthmus-gateway/isthmus/internal/logsink"
)

// serveCommand runs the gateway until a signal or a fault ends it. SIGTERM and SIGINT drain: new traffic is refused, what is under way
// is finished, for at most limits.drain; a second signal ends at once. SIGHUP reads the configuration again.
type serveCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration."`
}

// roomy is the memory from which on the heap up to its floor is taken at the start.
const roomy = 8 * heapfloor.Octets

// heapOf is the floor of the heap for a process with so much memory, and whether it is taken at the start: not where the control group has less, which would be the
// end of the process at once, nor where it is not known what it has.
func heapOf(memory uint64, system fs.FS) (floor uint64, touch bool) {
	group, known := cgroup.Memory(system)
	if known {
		memory = min(memory, group)
	}
	return min(heapfloor.Octets, memory/2), known && memory >= roomy
}

// Run implements the command.
func (c serveCommand) Run(ctx context.Context, p process) error {
	cfg, err := load(c.Config, p)
	if err != nil {
		return err
	}
	lines := logsink.New(p.err)
	defer lines.Close()
	logger, level := newLogger(lines, cfg.Log)
	if _, chosen := p.environment("GOGC"); !chosen {
		floor, touch := heapOf(uint64(memoryOf(cfg)), cgroup.System())
		defer heapfloor.Keep(floor, touch)()
	}
	defer profiled(p)()
	signals, stop := p.signals()
	defer stop()
	again := func() (*configs.Config, error) { return load(c.Config, p) }
	if err := serve(ctx, cfg, again, logger, level, signals); err != nil {
		logger.Error().Err(err).Msg("isthmus ends with a fault")
		return silentError{}
	}
	logger.Info().Msg("isthmus ends")
	return nil
}

// startTimeout bounds the opening of listeners and links.
const startTimeout = 30 * time.Second

// serve runs the gateway until ctx or a signal ends it, or an adapter stops by itself, which is the error.
func serve(ctx context.Context, cfg *configs.Config, again func() (*configs.Config, error), logger zerolog.Logger, level *levelSampler, signals <-chan os.Signal) (err error) {
	limitMemory(cfg)
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), versionMetric(),
	} {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	with := surroundings{logger: logger, registry: registry}
	a, err := assemble(cfg, with)
	if err != nil {
		return err
	}
	r, err := newReloader(a, again, level, with)
	if err != nil {
		return errors.Join(err, a.close())
	}
	defer func() { err = errors.Join(err, a.close()) }()

	// The port comes first and goes last, so that a gateway that is slow to start or to end can be seen.
	if !cfg.Admin.Listen.IsZero() {
		port, err := admin.Start(ctx, admin.Config{
			Network: cfg.Admin.Listen.Network(), Address: cfg.Admin.Listen.Text(), Links: a.links, Queue: a.queue(cfg), Reload: r.answer, Gatherer: registry, Logger: logger,
		})
		if err != nil {
			return err
		}
		defer func() {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := port.Shutdown(closing); err != nil {
				logger.Warn().Err(err).Msg("admin port")
			}
		}()
	}
	done := make(chan struct{})
	defer close(done)
	drain := func() time.Duration { return a.running.Load().Limits.Drain.Std() }
	return operate(ctx, a, drain, logger, hangups(done, a.ready, signals, func() { r.reload(ctx) }))
}

// engine is what operate starts and ends: the gateway with its adapters.
type engine interface {
	start(ctx context.Context) error
	wait() error
	shutdown(ctx context.Context) error
}

// errSecondSignal says that what was under way is lost.
var errSecondSignal = errors.New("ended by a second signal before everything was finished")

// operate starts e and ends it in order: by a signal, by ctx, or because it stopped by itself.
func operate(ctx context.Context, e engine, drain func() time.Duration, logger zerolog.Logger, signals <-chan os.Signal) error {
	patience := startTimeout
	if w, ok := e.(interface{ patience() time.Duration }); ok {
		patience = max(patience, w.patience())
	}
	starting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- e.start(starting) }()
	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case s := <-signals:
		// Nothing was taken yet, so there is nothing to finish.
		cancel()
		logger.Info().Str("signal", s.String()).Msg("ended while starting")
		if err := <-started; err == nil {
			return shutdown(ctx, e, drain(), signals)
		}
		return nil
	}
	logger.Info().Str("version", readVersion().Version).Str("revision", readVersion().Revision).Int("pid", os.Getpid()).Msg("isthmus serves")

	stopped := make(chan error, 1)
	go func() { stopped <- e.wait() }()
	select {
	case err := <-stopped:
		// The fault is the news; that the rest could not be ended well comes after it.
		return errors.Join(err, shutdown(ctx, e, drain(), signals))
	case s := <-signals:
		logger.Info().Str("signal", s.String()).Dur("drain", drain()).Msg("draining: new traffic is refused, a second signal ends at once")
	case <-ctx.Done():
		logger.Info().Dur("drain", drain()).Msg("draining")
	}
	err := shutdown(ctx, e, drain(), signals)
	if errors.Is(err, errSecondSignal) {
		return err
	}
	return errors.Join(err, <-stopped)
}

// errOverdue says that something did not end when it was told that its time is over; what was stored is there at the next start.
var errOverdue = errors.New("ended before everything was finished: something hangs")

// drainOverdue is how long after the end of the drain e may still take to end.
const drainOverdue = 30 * time.Second

// shutdown ends e within drain, and what takes e to stop behind that, or at once at a signal.
func shutdown(ctx context.Context, e engine, drain time.Duration, signals <-chan os.Signal) error {
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- e.shutdown(draining) }()
	select {
	case err := <-ended:
		return err
	case <-signals:
		return errSecondSignal
	case <-time.After(drain + drainOverdue):
		return errOverdue
	}
}

// versionMetric is the gauge isthmus_build_info, always 1, with what was built as labels.
func versionMetric() prometheus.Collector {
	v := readVersion()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "isthmus_build_info", Help: "Always 1; the labels tell what this binary was made from.",
		ConstLabels: prometheus.Labels{"version": v.Version, "revision": v.Revision, "go": v.Go},
	})
	g.Set(1)
	return g
}
