package xmpp

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/admission"
)

// path is what one of our domains and the other side exchange stanzas through: what waits to be written, and how what comes is
// handled. Which streams carry it, and who may use it, is for its owner: a component link, or a pair of domains between servers.
type path struct {
	a *Adapter
	// name is what metrics, logs and adapters.Peer call the other side now: of a closed set. A reload may give it another one.
	name func() string
	// self is our host, pinged the other side's.
	self, pinged jid.JID
	box          *outbox
	log          zerolog.Logger

	counted atomic.Pointer[traffic]
	shares  atomic.Pointer[share]

	// unanswered is how many operations of the other side the core has not answered yet.
	unanswered atomic.Int64

	patience patience // where a stream has none of its own
	callers  callers

	// unsaid is how many replies were dropped since the log told of it last, and told when that was, in nanoseconds since 1970.
	unsaid, told atomic.Int64
}

// arrival is which stanza of which stream is being handled, so that a stream with acknowledgement (XEP-0198) counts it as handled
// once the core has answered it.
type arrival struct {
	on   interface{ handled(seq uint32) } // nil: nobody counts
	seq  uint32
	held bool // until the operation it became is answered
	// bidi tells that what we wrote may be on the same stream (XEP-0288), and so is acknowledged behind what comes on it. Pings are, on any stream.
	bidi bool
	// patience is the stream's; nil: the path has it.
	patience *patience
}

// settle counts the stanza as handled.
func (v *arrival) settle() {
	if v.on != nil {
		v.on.handled(v.seq)
	}
}

// traffic counts the stanzas of a path: what its metrics are is looked up once for each of its names.
type traffic struct {
	name    string
	in, out prometheus.Counter
}

func (l *path) traffic() *traffic {
	name := l.name()
	if t := l.counted.Load(); t != nil && t.name == name {
		return t
	}
	t := &traffic{name: name, in: l.a.m.stanzas.WithLabelValues(name, "in"), out: l.a.m.stanzas.WithLabelValues(name, "out")}
	l.counted.Store(t)
	return t
}

// share is a path's share of what can be done; see flows.
type share struct {
	name string
	flow *admission.Flow
}

// flow is the share of the other side, which is looked up once for each of its names; nil: nothing is divided.
func (l *path) flow() *admission.Flow {
	name := l.name()
	if s := l.shares.Load(); s != nil && s.name == name {
		return s.flow
	}
	s := &share{name: name, flow: l.a.flows.of(name)}
	l.shares.Store(s)
	return s.flow
}
