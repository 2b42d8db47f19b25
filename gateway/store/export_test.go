package store

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// Kill cuts a node off from the others at once, as a process that dies does: it hands nothing over.
func Kill(s *Store) {
	if e := s.now.Load(); e != nil {
		e.conn.Close()
		e.server.ShutdownJetStream() //nolint:errcheck // it dies
	}
}

// CaughtUp tells whether a node's copies are those of the others.
func CaughtUp(s *Store) bool {
	e := s.now.Load()
	return e != nil && e.server.JetStreamIsStreamCurrent("$G", s.at.journal) && e.server.JetStreamIsStreamCurrent("$G", "KV_"+s.at.facts)
}

// TidyFacts has the log of the facts tidied as if it were allowed to be so many octets larger than it needs.
func TidyFacts(s *Store, from uint64) error { return s.tidyFacts(context.Background(), from) }

// EndReaders ends what is read of the facts, as the death of a node does that others read from, and tells how many there were.
func EndReaders(ctx context.Context, s *Store) (n int, err error) {
	list := s.now.Load().factsLog.ListConsumers(ctx)
	for c := range list.Info() {
		if err := s.now.Load().factsLog.DeleteConsumer(ctx, c.Name); err != nil {
			return n, err
		}
		n++
	}
	return n, list.Err()
}

// Traces tells whether the engine has anything of a fact: a value, or the mark of one that is gone.
func Traces(ctx context.Context, s *Store, bucket, key string) (bool, error) {
	_, err := s.now.Load().factsLog.GetLastMsgForSubject(ctx, s.at.fact(bucket+"."+key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return true, err
}
