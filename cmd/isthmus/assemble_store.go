package main

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// openStore returns what opens the store when the gateway starts: before that nothing is.
func (a *assembly) openStore(cfg *configs.Config, cluster *store.Cluster, log zerolog.Logger) func(context.Context) (store.Durable, error) {
	return func(ctx context.Context) (store.Durable, error) {
		s, err := store.Open(ctx, store.Config{
			Directory: string(cfg.Store.Directory), MaxEntries: cfg.Store.Entries.Int(), MaxOctets: int64(cfg.Store.Size.Octets()),
			Cluster: cluster, Logger: log,
		})
		if err != nil {
			return nil, err
		}
		a.store.Store(s)
		return s, nil
	}
}

// storeUp tells whether the store takes what it is given.
func (a *assembly) storeUp() bool {
	s := a.store.Load()
	return s != nil && s.Up()
}

// measureStore registers what the store says of itself.
func (a *assembly) measureStore(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	usage := func(f func(store.Usage) float64) func() float64 {
		return func() float64 {
			if s := a.store.Load(); s != nil {
				return f(s.Usage())
			}
			return 0
		}
	}
	for _, g := range [...]struct {
		name, help string
		value      func() float64
	}{
		{"isthmus_store_up", "1 while the store takes what it is given, 0 while its disk refuses writes or too few nodes of its cluster are there.", func() float64 {
			if a.storeUp() {
				return 1
			}
			return 0
		}},
		{"isthmus_store_leads", "1 while this node of a cluster leads the writing of what all agree on, the leases among it.", func() float64 {
			if s := a.store.Load(); s != nil && s.Leads() {
				return 1
			}
			return 0
		}},
		{"isthmus_store_entries", "Messages and notices that are stored.", usage(func(u store.Usage) float64 { return float64(u.Entries) })},
		{"isthmus_store_octets", "What they take, in octets.", usage(func(u store.Usage) float64 { return float64(u.Octets) })},
	} {
		if err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.value)); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}
