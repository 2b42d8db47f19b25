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
func (a *Adapter) do(ctx context.Context, hop resolver.Target, req *wire.Request) (r transaction.Result) {
	peer := a.peers().behindFor(hop, req.URI)
	// What is written for this hop is for this hop alone: neither what we assert (RFC 3325 §5) nor what proves us (THREATS S7) may go
	// along to the next one that is tried.
	plain := req.Headers
	if peer != nil && peer.Trusted {
		assert(req)
	}
	if peer.provable(req) {
		r = a.proven(ctx, peer, hop, req)
	} else {
		r = a.once(ctx, hop, req)
	}
	req.Headers = plain
	if a.reached != nil {
		a.learn(ctx, &r)
	}
	return r
}

// learn tells what was learnt of the target of a request.
func (a *Adapter) learn(ctx context.Context, r *transaction.Result) {
	switch {
	case r.Response != nil:
		a.reached(r.Target, r.Response.StatusCode() != 503)
	case errors.Is(r.Err, transaction.ErrTransport), errors.Is(r.Err, transaction.ErrTimeout) && !r.Heard && a.patient(ctx, r.Began):
		a.reached(r.Target, false)
	}
}

// patient tells whether silence since then is the target's fault: Timer F has ended, or a caller waited at least half as long.
func (a *Adapter) patient(ctx context.Context, began time.Time) bool {
	return transaction.Err(ctx) == nil || time.Since(began) >= a.timerN/2
}
