package xmpp

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// metrics are the adapter's own counts. Labels come from the configuration and from closed sets only.
type metrics struct {
	up       *prometheus.GaugeVec
	stanzas  *prometheus.CounterVec
	refused  *prometheus.CounterVec
	attempts *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	spam     *prometheus.CounterVec

	// Of server-to-server streams.
	streams       *prometheus.GaugeVec
	opened        *prometheus.CounterVec
	turnedAway    *prometheus.CounterVec
	authenticated *prometheus.CounterVec
	dialback      *prometheus.CounterVec
	streamErrors  *prometheus.CounterVec
	acks          *prometheus.CounterVec
	resumes       *prometheus.CounterVec
	piggybacks    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, a *Adapter) (*metrics, error) {
	m := &metrics{
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "isthmus_xmpp_link_up", Help: "1 while the component link is up.",
		}, []string{"component"}),
		stanzas: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_xmpp_stanzas_total", Help: "Stanzas by direction.",
		}, []string{"component", "direction"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_xmpp_refused_total", Help: "Stanzas refused at the boundary, by cause.",
		}, []string{"component", "cause"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_xmpp_connect_total", Help: "Attempts to open a component stream, by result.",
		}, []string{"component", "result"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_xmpp_replies_dropped_total", Help: "Replies of our own that found the queue full.",
		}, []string{"component"}),
		spam: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_xmpp_spam_reports_total", Help: "Reports of our users by servers of the other network, by reason (XEP-0377).",
		}, []string{"component", "reason"}),
	}
	m.addServers()
	if reg == nil {
		return m, nil
	}
	all := []prometheus.Collector{m.up, m.stanzas, m.refused, m.attempts, m.dropped, m.spam}
	if a.servers != nil {
		all = append(all, m.streams, m.opened, m.turnedAway, m.authenticated, m.dialback, m.streamErrors, m.acks, m.resumes, m.piggybacks)
		all = append(all, a.servers.gauges()...)
	}
	all = append(all, queues{a, prometheus.NewDesc("isthmus_xmpp_queue_stanzas", "Stanzas that wait to be written.", []string{"component"}, nil)})
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (a *Adapter) tapped(d adapters.Direction, octets []byte) {
	if a.tap != nil {
		a.tap(Name, d, octets)
	}
}

// queues tells how much waits on each link that there is now.
type queues struct {
	a    *Adapter
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (q queues) Describe(ch chan<- *prometheus.Desc) { ch <- q.desc }

// Collect implements prometheus.Collector.
func (q queues) Collect(ch chan<- prometheus.Metric) {
	for _, l := range q.a.links() {
		n, _ := l.box.depth()
		ch <- prometheus.MustNewConstMetric(q.desc, prometheus.GaugeValue, float64(n), l.end().Name)
	}
}
