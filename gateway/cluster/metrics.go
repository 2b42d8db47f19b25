package cluster

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	lost      prometheus.Counter
	takeovers prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, c *Cluster) (*metrics, error) {
	m := &metrics{
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "isthmus_cluster_leases_lost_total", Help: "Times that this node's lease was not renewed in time.",
		}),
		takeovers: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "isthmus_cluster_takeover_seconds", Help: "Time from the last sign of life of a node that died until this one worked for its parts.",
			Buckets: []float64{1, 2, 4, 6, 7, 8, 9, 10, 12, 15, 20, 30, 60},
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, x := range []prometheus.Collector{
		m.lost, m.takeovers,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "isthmus_cluster_parts", Help: "Parts that this node owns."}, func() float64 {
			n := 0
			for i := range c.parts {
				if c.parts[i].state.Load() == held {
					n++
				}
			}
			return float64(n)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "isthmus_cluster_nodes", Help: "Nodes that have a lease, as far as this one knows."}, func() float64 {
			return float64(len(c.Nodes()))
		}),
	} {
		if err := reg.Register(x); err != nil {
			return nil, fmt.Errorf("cluster: register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) fallen()                  { m.lost.Inc() }
func (m *metrics) takeover(d time.Duration) { m.takeovers.Observe(d.Seconds()) }
