package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// factKey is the key of a fact on the engine.
func factKey(bucket, key string) (string, error) { return bucket + "." + key, CheckFact(bucket, key) }

// put writes a value over the engine's publish, because its key-value calls know no life of a single value.
func (s *Store) put(ctx context.Context, bucket, key string, value []byte, life time.Duration, opts ...jetstream.PublishOpt) error {
	k, err := factKey(bucket, key)
	if err != nil {
		return err
	}
	m := nats.NewMsg("$KV." + factsBucket + "." + k)
	m.Data = value
	if life > 0 {
		opts = append(opts, jetstream.WithMsgTTL(max(life.Round(time.Second), time.Second)))
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	if s.broken.Load() {
		return errBroken
	}
	// It does not answer when the disk refuses a write.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.failed, cancel)()
	_, err = e.js.PublishMsg(ctx, m, opts...)
	if err != nil && e.failed.Err() != nil {
		err = errWrite
		s.suspect(err)
		return err
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return fmt.Errorf("%w: %s", ErrExists, k)
	}
	err = fault(err)
	s.suspect(err)
	return err
}

// Put implements Facts.
func (s *Store) Put(ctx context.Context, bucket, key string, value []byte, life time.Duration) error {
	return s.put(ctx, bucket, key, value, life)
}

// Create implements Facts.
func (s *Store) Create(ctx context.Context, bucket, key string, value []byte, life time.Duration) error {
	err := s.put(ctx, bucket, key, value, life, jetstream.WithExpectLastSequencePerSubject(0))
	if !errors.Is(err, ErrExists) {
		return err
	}
	// A marker that a value has been forgotten counts as the last message of its key.
	k, kerr := factKey(bucket, key)
	if kerr != nil {
		return kerr
	}
	e, lerr := s.engine()
	if lerr != nil {
		return err
	}
	last, lerr := e.facts.Get(ctx, k)
	if lerr == nil || !errors.Is(lerr, jetstream.ErrKeyNotFound) || last != nil {
		return err
	}
	m, lerr := e.lastOf(ctx, k)
	if lerr != nil {
		return err
	}
	return s.put(ctx, bucket, key, value, life, jetstream.WithExpectLastSequencePerSubject(m))
}

// lastOf is the sequence of the last message of a key, marker or not.
func (e *engine) lastOf(ctx context.Context, k string) (uint64, error) {
	stream, err := e.js.Stream(ctx, "KV_"+factsBucket)
	if err != nil {
		return 0, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, "$KV."+factsBucket+"."+k)
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// Replace implements Facts.
func (s *Store) Replace(ctx context.Context, bucket, key string, value []byte, revision uint64, life time.Duration) error {
	return s.put(ctx, bucket, key, value, life, jetstream.WithExpectLastSequencePerSubject(revision))
}

// Get implements Facts.
func (s *Store) Get(ctx context.Context, bucket, key string) ([]byte, uint64, error) {
	k, err := factKey(bucket, key)
	if err != nil {
		return nil, 0, err
	}
	e, err := s.engine()
	if err != nil {
		return nil, 0, err
	}
	v, err := e.facts.Get(ctx, k)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, ErrNotFound
	}
	if err != nil {
		return nil, 0, unread(err)
	}
	return v.Value(), v.Revision(), nil
}

// Delete implements Facts.
func (s *Store) Delete(ctx context.Context, bucket, key string) error {
	k, err := factKey(bucket, key)
	if err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	if err := e.facts.Purge(ctx, k, jetstream.PurgeTTL(time.Second)); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return fault(err)
	}
	return nil
}

// Each implements Facts.
func (s *Store) Each(ctx context.Context, bucket string, f func(key string, value []byte, revision uint64) error) error {
	if _, err := factKey(bucket, "x"); err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	w, err := e.facts.Watch(ctx, bucket+".>", jetstream.IgnoreDeletes())
	if err != nil {
		return unread(err)
	}
	defer w.Stop() //nolint:errcheck // it was only read from
	for {
		select {
		case v, ok := <-w.Updates():
			switch {
			case !ok:
				return ErrUnavailable
			case v == nil:
				return nil // all that there was
			}
			if err := f(strings.TrimPrefix(v.Key(), bucket+"."), v.Value(), v.Revision()); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Watch implements Facts.
func (s *Store) Watch(ctx context.Context, bucket string, f func(Change)) error {
	if _, err := factKey(bucket, "x"); err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	w, err := e.facts.Watch(ctx, bucket+".>")
	if err != nil {
		return unread(err)
	}
	defer w.Stop() //nolint:errcheck // it was only read from
	for through := false; ; {
		select {
		case v, ok := <-w.Updates():
			switch {
			case !ok:
				return ErrUnavailable
			case v == nil:
				through = true
				f(Change{Through: true})
				continue
			}
			key := strings.TrimPrefix(v.Key(), bucket+".")
			switch {
			case v.Operation() == jetstream.KeyValuePut:
				f(Change{Key: key, Value: v.Value(), Revision: v.Revision()})
			case through: // what was gone before is no news
				f(Change{Key: key, Gone: true})
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-e.ended:
			return ErrUnavailable
		}
	}
}
