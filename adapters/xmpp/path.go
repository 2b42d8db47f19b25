package xmpp

import (
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
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

	// unanswered is how many operations of the other side the core has not answered yet.
	unanswered atomic.Int64
}

// arrival is which stanza of which stream is being handled, so that a stream with acknowledgement (XEP-0198) counts it as handled
// once the core has answered it.
type arrival struct {
	on   interface{ handled(seq uint32) } // nil: nobody counts
	seq  uint32
	held bool // until the operation it became is answered
}

// settle counts the stanza as handled.
func (v *arrival) settle() {
	if v.on != nil {
		v.on.handled(v.seq)
	}
}
