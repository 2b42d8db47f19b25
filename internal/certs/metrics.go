package certs

import "github.com/prometheus/client_golang/prometheus"

// metrics collects what the Store knows when it is asked.
type metrics struct {
	store   *Store
	expiry  *prometheus.Desc
	reloads *prometheus.CounterVec
}

func newMetrics(s *Store, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		store: s,
		expiry: prometheus.NewDesc("isthmus_tls_certificate_expiry_seconds",
			"Seconds until the first certificate of the chain expires; negative afterwards.", []string{"name"}, nil),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_tls_reloads_total", Help: "Reloads of the certificates, by result: ok, or kept if the old ones stay.",
		}, []string{"result"}),
	}
	for _, result := range []string{"ok", "kept"} {
		m.reloads.WithLabelValues(result)
	}
	if r == nil {
		return m, nil
	}
	return m, r.Register(m)
}

func (m *metrics) reloaded(ok bool) {
	if ok {
		m.reloads.WithLabelValues("ok").Inc()
	} else {
		m.reloads.WithLabelValues("kept").Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.expiry
	m.reloads.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	now := m.store.config.Now()
	for _, c := range m.store.current.Load().all {
		ch <- prometheus.MustNewConstMetric(m.expiry, prometheus.GaugeValue, c.expiry().Sub(now).Seconds(), c.name)
	}
	m.reloads.Collect(ch)
}
