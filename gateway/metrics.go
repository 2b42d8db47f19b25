package gateway

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// metrics counts operations. Every label comes from a fixed set (T-SK-03): operation, the adapters' names, outcome and
// reason; the series of a combination exists from the first time it happens.
type metrics struct {
	sides   int
	names   []string
	ops     *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	panics  prometheus.Counter
	dropped *prometheus.CounterVec
	// refusedBy counts messages that a bound against circles refused.
	refusedBy *prometheus.CounterVec
	// unstored counts messages that were not stored although their delivery failed for a reason that passes.
	unstored *prometheus.CounterVec
	// byPolicy counts what the policy refused.
	byPolicy *prometheus.CounterVec
	// forwards counts what was handed to the gateway whose part it is.
	forwards *prometheus.CounterVec
	// watchesRefused counts watches that a bound refused, attendances the answers to whether a watcher is online, watchesUnstored the
	// changes of watches that went on without having been stored.
	watchesRefused, attendances *prometheus.CounterVec
	watchesUnstored             prometheus.Counter
	counters                    []atomic.Pointer[prometheus.Counter]
	timers                      []atomic.Pointer[prometheus.Observer]
}

// reasonSlots covers every Reason and ReasonNone.
var reasonSlots = len(adapters.Reasons()) + 1

const outcomeSlots = int(adapters.Indeterminate) + 1

func newMetrics(reg prometheus.Registerer, g *Gateway) (*metrics, error) {
	m := &metrics{
		sides: len(g.order) + 1,
		ops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_operations_total",
			Help: "Operations that ended, by kind, adapters, outcome and reason.",
		}, []string{"operation", "from", "to", "outcome", "reason"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "isthmus_operation_seconds",
			Help:    "Time from an operation's arrival to its answer, by kind and adapters.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25},
		}, []string{"operation", "from", "to"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "isthmus_panics_total",
			Help: "Operations that made the gateway panic; each was answered as an internal fault.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_notifications_dropped_total",
			Help: "Presence that was passed on to nobody, by why.",
		}, []string{"why"}),
	}
	m.refusedBy = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_loops_total",
		Help: "Messages refused because they go in a circle or come too fast, by what showed it: hops, trace, repeats, rate.",
	}, []string{"by"})
	m.unstored = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_store_refused_total",
		Help: "Messages that were refused rather than stored, by the bound that they came to: sender, recipient, pair (of both), domain, or the store's own.",
	}, []string{"bound"})
	m.byPolicy = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_policy_refused_total",
		Help: "What the policy refused, by the rule that decided and the cause.",
	}, []string{"rule", "cause"})
	m.forwards = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_forwards_total",
		Help: "Messages, notices and operations of presence handed to the gateway of the cluster whose part they are, by how that ended.",
	}, []string{"outcome"})
	m.watchesRefused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_watches_refused_total",
		Help: "Watches refused because a bound was met: pairs, watcher, presentity, domain.",
	}, []string{"bound"})
	m.attendances = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_watch_attendance_total",
		Help: "Answers to whether a watcher is online, asked before a watch is refreshed: present, absent, unknown.",
	}, []string{"answer"})
	m.watchesUnstored = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "isthmus_watches_unstored_total",
		Help: "Changes of watches that took effect although the disk failed; they are written when it is back.",
	})
	for _, s := range g.order {
		m.names = append(m.names, s.name)
	}
	m.names = append(m.names, "none")
	m.counters = make([]atomic.Pointer[prometheus.Counter], int(operations)*m.sides*m.sides*outcomeSlots*reasonSlots)
	m.timers = make([]atomic.Pointer[prometheus.Observer], int(operations)*m.sides*m.sides)
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	collectors := append(laneGauges("main", func() *lanes { return g.lanes }), laneGauges("onward", func() *lanes { return g.onward })...)
	for _, c := range append(collectors,
		m.ops, m.seconds, m.panics, m.dropped, m.refusedBy, m.unstored, m.byPolicy, m.forwards, m.watchesRefused, m.attendances, m.watchesUnstored,
		gauge("isthmus_origins", "Answered messages remembered for a late outcome.", func() float64 {
			n, _ := g.origins.count()
			return float64(n)
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "isthmus_origins_forgotten_total",
			Help: "Answered messages forgotten before their time because the table was full.",
		}, func() float64 {
			_, n := g.origins.count()
			return float64(n)
		}),
		gauge("isthmus_duplicates_remembered", "Messages remembered so that their copies are known.", func() float64 {
			n, _ := g.duplicates.count()
			return float64(n)
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "isthmus_duplicates_total",
			Help: "Copies of messages that came before; each was answered as the first one.",
		}, func() float64 {
			_, n := g.duplicates.count()
			return float64(n)
		}),
		gauge("isthmus_watches", "Pairs of watcher and presentity that are kept.", func() float64 {
			return float64(g.watches.pairs())
		}),
		gauge("isthmus_watches_waiting", "Watches that wait for their turn to be opened.", func() float64 {
			return float64(g.watches.pacer.waiting())
		}),
		gauge("isthmus_presence_unwritten", "Watches and dialogs whose newest state is not on the disk yet.", func() float64 {
			return float64(g.keeper.waiting())
		}),
	) {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("gateway: register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) index(s *side) int {
	if s == nil {
		return m.sides - 1
	}
	return s.index
}

// laneGauges are what there is to do in some lanes: those of presence on its way to other gateways, onward, or the main ones, of all else.
func laneGauges(name string, of func() *lanes) []prometheus.Collector {
	gauge := func(metric, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metric, Help: help, ConstLabels: prometheus.Labels{"lanes": name}}, f)
	}
	return []prometheus.Collector{
		gauge("isthmus_lane_tasks", "Operations waiting in lanes or under way; onward is presence on its way to other gateways.", func() float64 {
			n, _ := of().count()
			return float64(n)
		}),
		gauge("isthmus_lanes", "Lanes that have work; onward is presence on its way to other gateways.", func() float64 {
			_, n := of().count()
			return float64(n)
		}),
	}
}

// ended counts one operation. The counter of a combination is looked up by its labels once and kept.
func (m *metrics) ended(r *result, took time.Duration) {
	from, to := m.index(r.from), m.index(r.to)
	pair := (int(r.operation)*m.sides+from)*m.sides + to
	reason := r.status.Reason
	if r.status.Outcome != adapters.Failure {
		reason = adapters.ReasonNone
	}
	slot := &m.counters[(pair*outcomeSlots+int(r.status.Outcome))*reasonSlots+int(reason)]
	c := slot.Load()
	if c == nil {
		made := m.ops.WithLabelValues(operationNames[r.operation], m.names[from], m.names[to],
			r.status.Outcome.String(), reason.String())
		c = &made
		slot.Store(c)
	}
	(*c).Inc()
	t := m.timers[pair].Load()
	if t == nil {
		made := m.seconds.WithLabelValues(operationNames[r.operation], m.names[from], m.names[to])
		t = &made
		m.timers[pair].Store(t)
	}
	(*t).Observe(took.Seconds())
}
