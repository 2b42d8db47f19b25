package transaction

import (
	"context"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

type untilKey struct{}

// WithUntil is context.WithDeadline for Do alone, without a timer for each call: Do returns at that time as if ctx had ended then, or up to
// a tenth of T1 later.
func WithUntil(ctx context.Context, t time.Time) context.Context {
	return &untilContext{ctx, t}
}

// untilContext is a context.Context that knows the time of WithUntil, in one piece of memory.
type untilContext struct {
	context.Context
	until time.Time
}

// Value implements context.Context.
func (c *untilContext) Value(key any) any {
	if key == (untilKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// until is the time of WithUntil, zero if there is none.
func until(ctx context.Context) time.Time {
	c, ok := ctx.(*untilContext)
	if !ok {
		if c, ok = ctx.Value(untilKey{}).(*untilContext); !ok {
			return time.Time{}
		}
	}
	return c.until
}

// Err is ctx.Err for a context of WithUntil: context.DeadlineExceeded once its time has come.
func Err(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t := until(ctx); !t.IsZero() && !time.Now().Before(t) {
		return context.DeadlineExceeded
	}
	return nil
}

type lateKey struct{}

// WithLate makes Do go on listening when ctx ends before the request was answered, until Timer F, if the request may have reached the
// peer: Do returns as it would without (ErrTimeout, Sent), the request is not sent again, and late gets the final response that came
// after all. It is called once at most, from a goroutine that reads a socket, perhaps before Do has returned, and must not block.
func WithLate(ctx context.Context, late func(*wire.Message)) context.Context {
	return context.WithValue(ctx, lateKey{}, late)
}
