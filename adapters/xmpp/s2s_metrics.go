package xmpp

import "github.com/prometheus/client_golang/prometheus"

// addServers makes the counts of server-to-server streams. No label is a remote domain, unless the configuration names it.
func (m *metrics) addServers() {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m.streams = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "isthmus_xmpp_server_streams", Help: "Server-to-server streams that are open, by who opened them (out: we).",
	}, []string{"direction"})
	m.opened = counter("isthmus_xmpp_server_connect_total", "Attempts to open a server-to-server stream, by result; one for each address.", "result")
	m.turnedAway = counter("isthmus_xmpp_server_turned_away_total",
		"Connections of servers that were closed before they had proven anything: no place for strangers (gate), the oldest of too many strangers (oldest), too many streams (streams), refused while the stream was opened (opening).", "cause")
	m.authenticated = counter("isthmus_xmpp_server_authenticated_total", "Streams that were authenticated, by direction and method.", "direction", "method")
	m.dialback = counter("isthmus_xmpp_dialback_total",
		"Dialback keys by our role (presented: ours, judged: another's, vouched: asked whether it is ours) and result.", "role", "result")
	m.streamErrors = counter("isthmus_xmpp_stream_errors_total", "Stream errors by who sent them (us, them) and condition (RFC 6120 4.9.3).", "by", "condition")
	m.acks = counter("isthmus_xmpp_server_acks_total", "Acknowledgements (XEP-0198) that were asked for and got.", "kind")
	m.resumes = counter("isthmus_xmpp_server_resumes_total", "Attempts to resume a broken stream (XEP-0198), by direction and result.", "direction", "result")
	m.piggybacks = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "isthmus_xmpp_server_shared_total", Help: "Pairs of domains that were added to a stream that carried others.",
	})
}

// gauges are what is counted when it is asked for.
func (v *servers) gauges() []prometheus.Collector {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	return []prometheus.Collector{
		gauge("isthmus_xmpp_server_queue_stanzas", "Stanzas that wait to be written to other servers, of all pairs of domains.", func() float64 {
			n := 0
			for _, p := range v.allPairs() {
				k, _ := p.box.depth()
				n += k
			}
			return float64(n)
		}),
		gauge("isthmus_xmpp_server_pairs", "Pairs of domains that are known.", func() float64 {
			v.mu.Lock()
			defer v.mu.Unlock()
			return float64(len(v.pairs))
		}),
		gauge("isthmus_xmpp_server_opening", "Connections of servers that have proven nothing yet.", func() float64 { return float64(v.gate.Inside()) }),
	}
}
