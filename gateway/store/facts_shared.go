package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// codeWrongSequence is JSStreamWrongLastSequenceConstantErr, of a leader that has other writes of the same key under way.
const codeWrongSequence = 10164

// factKey is the key of a fact on the engine.
func factKey(bucket, key string) (string, error) { return bucket + "." + key, CheckFact(bucket, key) }

// put writes a value on a cluster, over the engine's publish, because its key-value calls know no life of a single value.
func (s *Store) put(ctx context.Context, bucket, key string, value []byte, life time.Duration, opts ...jetstream.PublishOpt) error {
	k, err := factKey(bucket, key)
	if err != nil {
		return err
	}
	m := nats.NewMsg(s.at.fact(k))
	m.Data = value
	if life > 0 {
		opts = append(opts, jetstream.WithMsgTTL(max(life.Round(time.Second), time.Second)))
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	// It does not answer when the disk refuses a write.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.failed, cancel)()
	if err := s.ready(); err != nil {
		return err
	}
	_, err = e.js.PublishMsg(ctx, m, opts...)
	if err != nil && e.failed.Err() != nil {
		err = errWrite
		s.suspect(err)
		return err
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == codeWrongSequence) {
		return fmt.Errorf("%w: %s", ErrExists, k)
	}
	err = fault(err)
	s.suspect(err)
	return err
}

// createShared is Create on a cluster.
func (s *Store) createShared(ctx context.Context, bucket, key string, value []byte, life time.Duration) error {
	k, err := factKey(bucket, key)
	if err != nil {
		return err
	}
	// A marker that a value has been forgotten counts as the last message of its key, as long as it is there: it may go between two steps.
	marker := uint64(0)
	for range createTries {
		err = s.put(ctx, bucket, key, value, life, jetstream.WithExpectLastSequencePerSubject(marker))
		if !errors.Is(err, ErrExists) {
			return err
		}
		e, lerr := s.engine()
		if lerr != nil {
			return err
		}
		last, lerr := e.facts.Get(ctx, k)
		if lerr == nil || !errors.Is(lerr, jetstream.ErrKeyNotFound) || last != nil {
			return err
		}
		switch marker, lerr = e.lastOf(ctx, s.at.fact(k)); {
		case errors.Is(lerr, jetstream.ErrMsgNotFound):
			marker = 0
		case lerr != nil:
			return err
		}
	}
	return err
}

// createTries is how often a fact is created where a marker comes and goes.
const createTries = 4

// lastOf is the sequence of the last message of a subject of the facts, marker or not.
func (e *engine) lastOf(ctx context.Context, subject string) (uint64, error) {
	m, err := e.factsLog.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// getShared is Get on a cluster.
func (s *Store) getShared(ctx context.Context, bucket, key string) ([]byte, uint64, error) {
	k, err := factKey(bucket, key)
	if err != nil {
		return nil, 0, err
	}
	e, err := s.engine()
	if err != nil {
		return nil, 0, err
	}
	var v jetstream.KeyValueEntry
	err = s.asked(ctx, func(ctx context.Context) (err error) {
		v, err = e.facts.Get(ctx, k)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, ErrNotFound
	}
	if err != nil {
		return nil, 0, unread(err)
	}
	return v.Value(), v.Revision(), nil
}

// deleteShared is Delete on a cluster.
func (s *Store) deleteShared(ctx context.Context, bucket, key string) error {
	k, err := factKey(bucket, key)
	if err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	if err := s.ready(); err != nil {
		return err
	}
	if err := e.facts.Purge(ctx, k, jetstream.PurgeTTL(time.Second)); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return fault(err)
	}
	return nil
}
