package transaction

import (
	"github.com/prometheus/client_golang/prometheus"
)

// methods is the fixed set of method labels; any other method is "other". It is written once, before main.
var methods = [...]string{"MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "OPTIONS", "INVITE", "ACK", "CANCEL", "BYE", "REGISTER", "other"}

func methodIndex(method string) int {
	for i, m := range methods[:len(methods)-1] {
		if m == method {
			return i
		}
	}
	return len(methods) - 1
}

var classes = [...]string{"", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx"}

// metrics holds one counter for each label, looked up once: counting a message costs an addition.
type metrics struct {
	requests  [2][len(methods)]prometheus.Counter // by Direction - 1
	responses [2][len(classes)]prometheus.Counter
	resent    struct{ requestIn, requestOut, responseOut prometheus.Counter }
	dropped   *prometheus.CounterVec
	panics    prometheus.Counter
}

func newMetrics(l *Layer, reg prometheus.Registerer) (*metrics, error) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_sip_requests_total", Help: "SIP requests by direction and method, without retransmissions.",
	}, []string{"direction", "method"})
	responses := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_sip_responses_total", Help: "SIP responses by direction and class, without retransmissions.",
	}, []string{"direction", "class"})
	resent := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "isthmus_sip_retransmissions_total", Help: "Requests received again, requests and responses sent again.",
	}, []string{"kind"})
	m := &metrics{
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isthmus_sip_dropped_total", Help: "Messages and connections that were refused or dropped, by rule.",
		}, []string{"rule"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "isthmus_sip_panics_total", Help: "Messages whose handling ended in a panic that was caught. Any is a bug.",
		}),
	}
	for d, name := range [...]string{"in", "out"} {
		for i, method := range methods {
			m.requests[d][i] = requests.WithLabelValues(name, method)
		}
		for i, class := range classes {
			if i > 0 {
				m.responses[d][i] = responses.WithLabelValues(name, class)
			}
		}
	}
	m.resent.requestIn = resent.WithLabelValues("request_in")
	m.resent.requestOut = resent.WithLabelValues("request_out")
	m.resent.responseOut = resent.WithLabelValues("response_out")
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, labels prometheus.Labels, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, f)
	}
	const transactions, open = "isthmus_sip_transactions", "isthmus_sip_connections"
	for _, c := range []prometheus.Collector{
		requests, responses, resent, m.dropped, m.panics,
		gauge(transactions, "Transactions that are kept.", prometheus.Labels{"role": "server"}, func() float64 { return float64(l.servers.count.Load()) }),
		gauge(transactions, "Transactions that are kept.", prometheus.Labels{"role": "client"}, func() float64 { return float64(l.clients.count.Load()) }),
		gauge(open, "Open connections.", prometheus.Labels{"opened": "there"}, func() float64 { return float64(l.pool.inbound.Load()) }),
		gauge(open, "Open connections.", prometheus.Labels{"opened": "here"}, func() float64 { return float64(l.pool.outbound.Load()) }),
		gauge("isthmus_sip_write_queue_bytes", "Octets that wait for connections.", nil, func() float64 { return float64(l.pool.queued.Load()) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// drop counts one dropped thing. Rules are from a fixed set: those below and the Rule of a wire.SyntaxError.
func (m *metrics) drop(rule string) { m.dropped.WithLabelValues(rule).Inc() }

// The rules of drop that are not syntax.
const (
	dropACK         = "ack"         // no INVITE is ever answered with state here
	dropKeepAlive   = "keep-alive"  // a datagram of CRLF or zeros
	dropStray       = "stray"       // a response that belongs to no transaction, or to one that is over
	dropForeign     = "foreign"     // a response with another sent-by, method or source than its transaction
	dropVias        = "via"         // a response with more than one Via
	dropFull        = "full"        // no room for a server transaction
	dropClosing     = "closing"     // shutting down
	dropMerged      = "merged"      // 482
	dropStranger    = "stranger"    // from an address that Config.Admit refused
	dropAmplify     = "amplify"     // an error response that would be larger than its request allows
	dropConnections = "connections" // too many connections
	dropPerAddress  = "per address" // too many connections from one address
	dropResponse    = "response"    // a response that could not be sent
	dropHandshake   = "tls"         // a TLS handshake that failed, either side's
	dropPong        = "pong"        // a connection whose far side did not answer a keep-alive
	dropAgain       = "again"       // a MESSAGE that was answered before in another transaction
	dropBranch      = "branch"      // a request with the branch of another one that was answered
	dropLoad        = "load"        // refused with 503 because of load
	dropUnheard     = "unheard"     // neither taken nor refused because of load, see shed
	dropThrottled   = "throttled"   // a request of ours that its next hop asked not to send
	dropTrailing    = "trailing"    // octets behind the SIP message in a WebSocket message
	dropUnanswered  = "unanswered"  // a server transaction that expired without a final response
)
