package sip

import (
	"context"
	"errors"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// do sends one request to one target, with all that the peer there wants to see of us, and tells Config.Reached what was learnt of the target.
func (a *Adapter) do(ctx context.Context, hop resolver.Target, req *wire.Request) transaction.Result {
	began := time.Now()
	peer := a.peers().behind(hop, hostDomain(req.URI))
	// What is written for this hop is for this hop alone: neither what we assert (RFC 3325 §5) nor what proves us (THREATS S7) may go
	// along to the next one that is tried.
	plain := req.Headers
	defer func() { req.Headers = plain }()
	if peer != nil && peer.Trusted {
		assert(req)
	}
	r := a.proven(ctx, peer, hop, req)
	if a.reached == nil {
		return r
	}
	switch {
	case r.Response != nil:
		a.reached(r.Target, r.Response.StatusCode() != 503)
	case errors.Is(r.Err, transaction.ErrTransport), errors.Is(r.Err, transaction.ErrTimeout) && !r.Heard && a.patient(ctx, began):
		a.reached(r.Target, false)
	}
	return r
}

// patient tells whether silence since then is the target's fault: Timer F has ended, or a caller waited at least half as long.
func (a *Adapter) patient(ctx context.Context, began time.Time) bool {
	return transaction.Err(ctx) == nil || time.Since(began) >= a.timerN/2
}
