package store

import (
	"bytes"
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// openFacts learns what the facts are of a node that is alone.
func (s *Store) openFacts(ctx context.Context, e *engine) error {
	e.known = newFactLog(s.cfg.MaxEntry, e.ended)
	if err := s.learnFacts(ctx, e.known, e.factsLog); err != nil {
		return err
	}
	e.factCommits = newCommitter(e.js, factPrefix, e.failed.Done(), e.known.stored)
	e.known.commits = e.factCommits
	return s.takeFormer(ctx, e)
}

// change writes a fact of a node that is alone, if may says so of the one that is there, nil: there is none.
func (s *Store) change(ctx context.Context, bucket, key string, value []byte, life time.Duration, gone bool, may func(is *fact) bool) error {
	if err := CheckFact(bucket, key); err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	if s.broken.Load() {
		return errBroken
	}
	f := &fact{bucket: bucket, key: key, value: bytes.Clone(value), place: -1}
	err = e.known.write(ctx, f, life, gone, may)
	s.suspect(err)
	return err
}

func always(*fact) bool { return true }

// Put implements Facts.
func (s *Store) Put(ctx context.Context, bucket, key string, value []byte, life time.Duration) error {
	if s.clustered() {
		return written(ctx, func(ctx context.Context) error { return s.put(ctx, bucket, key, value, life) })
	}
	return s.change(ctx, bucket, key, value, life, false, always)
}

// Create implements Facts.
func (s *Store) Create(ctx context.Context, bucket, key string, value []byte, life time.Duration) error {
	if s.clustered() {
		return s.createShared(ctx, bucket, key, value, life)
	}
	return s.change(ctx, bucket, key, value, life, false, func(is *fact) bool { return is == nil })
}

// Replace implements Facts.
func (s *Store) Replace(ctx context.Context, bucket, key string, value []byte, revision uint64, life time.Duration) error {
	if s.clustered() {
		return s.put(ctx, bucket, key, value, life, jetstream.WithExpectLastSequencePerSubject(revision))
	}
	return s.change(ctx, bucket, key, value, life, false, func(is *fact) bool { return is != nil && is.revision == revision })
}

// Get implements Facts.
func (s *Store) Get(ctx context.Context, bucket, key string) ([]byte, uint64, error) {
	if s.clustered() {
		return s.getShared(ctx, bucket, key)
	}
	if err := CheckFact(bucket, key); err != nil {
		return nil, 0, err
	}
	e, err := s.engine()
	if err != nil {
		return nil, 0, err
	}
	f := e.known.get(bucket, key)
	if f == nil {
		return nil, 0, ErrNotFound
	}
	return bytes.Clone(f.value), f.revision, nil
}

// Delete implements Facts.
func (s *Store) Delete(ctx context.Context, bucket, key string) error {
	if s.clustered() {
		return written(ctx, func(ctx context.Context) error { return s.deleteShared(ctx, bucket, key) })
	}
	return s.change(ctx, bucket, key, nil, 0, true, always)
}

// Each implements Facts. On a cluster it comes behind everything that was acknowledged before.
func (s *Store) Each(ctx context.Context, bucket string, f func(key string, value []byte, revision uint64) error) error {
	if s.clustered() {
		return s.eachShared(ctx, bucket, f)
	}
	if err := CheckFact(bucket, "x"); err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	return e.known.each(bucket, f)
}

// EachOf implements Facts. On a cluster it comes behind everything that was acknowledged before.
func (s *Store) EachOf(ctx context.Context, buckets []string, f func(bucket, key string, value []byte, revision uint64) error) error {
	if len(buckets) == 0 {
		return nil
	}
	if s.clustered() {
		return s.eachOfShared(ctx, buckets, f)
	}
	for _, b := range buckets {
		if err := s.Each(ctx, b, func(key string, value []byte, revision uint64) error { return f(b, key, value, revision) }); err != nil {
			return err
		}
	}
	return nil
}

// Watch implements Facts. When the engine's node that told of changes goes away, another one is asked.
func (s *Store) Watch(ctx context.Context, bucket string, f func(Change)) error {
	if s.clustered() {
		return s.watchShared(ctx, bucket, f)
	}
	if err := CheckFact(bucket, "x"); err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	return e.known.watch(ctx, bucket, f)
}
