package store

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// askAgain is after how long a question is asked again. It is far more than an answer takes.
const askAgain = time.Second

// askMost is how long it is asked at most, if ctx does not end before.
const askMost = 10 * time.Second

// asked calls f, which asks the nodes of a cluster for what they hold, until there is an answer or ctx ends: while they elect a leader nobody
// answers, and nobody remembers what was asked.
func (s *Store) asked(ctx context.Context, f func(context.Context) error) error {
	if !s.clustered() {
		return f(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, askMost)
	defer cancel()
	for {
		once, cancel := context.WithTimeout(ctx, askAgain)
		err := f(once)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil || s.ending.Err() != nil {
			return err
		}
	}
}

// writeAgain is after how long a write is said again that overwrites whatever is there.
const writeAgain = 3 * time.Second

// written calls f, which writes a fact whatever its revision, until there is an answer or ctx ends: what was on its way to a leader that died is
// lost, and nobody says so. Twice the same is the same.
func written(ctx context.Context, f func(context.Context) error) error {
	for {
		once, cancel := context.WithTimeout(ctx, writeAgain)
		err := f(once)
		late := once.Err() != nil
		cancel()
		if err == nil || !late || ctx.Err() != nil {
			return err
		}
	}
}

// last is the last message of a subject of the journal.
func (s *Store) last(ctx context.Context, e *engine, subject string) (m *jetstream.RawStreamMsg, err error) {
	err = s.asked(ctx, func(ctx context.Context) (err error) {
		m, err = e.journal.GetLastMsgForSubject(ctx, subject)
		return err
	})
	return m, err
}
