package admission

import "github.com/prometheus/client_golang/prometheus"

// measures are the metrics of a controller.
type measures struct {
	refused      prometheus.Counter
	ignored      prometheus.Counter
	active, rate prometheus.Gauge
	delay        prometheus.Gauge
}

func (m *measures) register(reg prometheus.Registerer) error {
	m.refused = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "isthmus_overload_refused_total", Help: "New work that was refused before it was looked at, because more came than can be done.",
	})
	m.ignored = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "isthmus_overload_ignored_total", Help: "New work that was neither taken nor answered, because more was refused than can be answered. What the system drops before it is read is not in it.",
	})
	m.active = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "isthmus_overload", Help: "1 while more comes than can be done, and what is over a rate is refused.",
	})
	m.rate = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "isthmus_overload_rate", Help: "The rate a second up to which new work is taken during overload, 0 while there is none.",
	})
	m.delay = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "isthmus_overload_delay_seconds", Help: "How long half of the goroutines waited at least for a processor, in the last tenth of a second with new work.",
	})
	if reg == nil {
		return nil
	}
	for _, c := range [...]prometheus.Collector{m.refused, m.ignored, m.active, m.rate, m.delay} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}
