package transaction

import (
	"context"
	"sync/atomic"
)

// callers watches the end of one context for all who wait for a transaction with it. Nearly all have the core's, and to wait for a second channel, which
// hundreds wait for, costs more than all else of the wait.
type callers struct{ watched atomic.Pointer[watched] }

type watched struct{ done <-chan struct{} }

// watch tells whether the end of ctx abandons the transactions of its callers that were in the table before this is called. False: it is not ctx that is
// watched, or it has ended.
func (c *callers) watch(ctx context.Context, table *clientTable) bool {
	done := ctx.Done()
	if done == nil {
		return true // it never ends
	}
	if w := c.watched.Load(); w != nil {
		// Asked second: an end that comes later finds the transaction.
		return w.done == done && ctx.Err() == nil
	}
	if c.watched.CompareAndSwap(nil, &watched{done}) {
		context.AfterFunc(ctx, func() {
			cause := ctx.Err()
			table.each(func(tx *clientTx) {
				if tx.caller == done {
					tx.mu.Lock()
					tx.abandon(cause)
					tx.mu.Unlock()
				}
			})
			c.watched.Store(nil)
		})
	}
	return false // the next ones
}
