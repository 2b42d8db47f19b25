package store

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// eachShared is Each on a cluster.
func (s *Store) eachShared(ctx context.Context, bucket string, f func(key string, value []byte, revision uint64) error) error {
	all := map[string]Change{}
	err := s.eachChange(ctx, []string{bucket}, func(_ string, c Change) error {
		if all[c.Key] = c; c.Gone {
			delete(all, c.Key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key, c := range all {
		if err := f(key, c.Value, c.Revision); err != nil {
			return err
		}
	}
	return nil
}

// eachOfShared is EachOf on a cluster.
func (s *Store) eachOfShared(ctx context.Context, buckets []string, f func(bucket, key string, value []byte, revision uint64) error) error {
	return s.eachChange(ctx, buckets, func(bucket string, c Change) error {
		if c.Gone {
			return nil
		}
		return f(bucket, c.Key, c.Value, c.Revision)
	})
}

// eachChange calls f for each value of some buckets, and for those that go meanwhile, until f fails.
func (s *Store) eachChange(ctx context.Context, buckets []string, f func(bucket string, c Change) error) error {
	some, done, err := s.few(ctx, buckets, f)
	if done || err != nil {
		return err
	}
	through := errors.New("through")
	for _, b := range some {
		err := s.follow(ctx, b, false, func(bucket string, c Change) error {
			if c.Through {
				return through
			}
			return f(bucket, c)
		})
		if !errors.Is(err, through) {
			return err
		}
	}
	return nil
}

const (
	// eachFew is up to how many values are read one by one: to begin to read a log costs the cluster more than that, and most buckets are empty.
	eachFew = 32
	// eachAsked is of how many buckets it is asked at once what they hold.
	eachAsked = 8
)

// few is eachChange for few values; not done: there are more, in the buckets that it returns.
func (s *Store) few(ctx context.Context, buckets []string, f func(bucket string, c Change) error) (some []string, done bool, err error) {
	for _, b := range buckets {
		if _, err := factKey(b, "x"); err != nil {
			return nil, false, err
		}
	}
	e, err := s.engine()
	if err != nil {
		return nil, false, err
	}
	// The leader has seen everything that was acknowledged when it has written this.
	if _, err := s.barrier(ctx, e, s.at.fact(buckets[0]+"."+barrierKey)); err != nil {
		return nil, false, err
	}
	keys, faults := make([][]string, len(buckets)), make([]error, len(buckets))
	var wait sync.WaitGroup
	slots := make(chan struct{}, eachAsked)
	for i, b := range buckets {
		slots <- struct{}{}
		wait.Go(func() {
			keys[i], faults[i] = s.keys(ctx, e, b)
			<-slots
		})
	}
	wait.Wait()
	if err := errors.Join(faults...); err != nil {
		return nil, false, unread(err)
	}
	sum := 0
	for i, list := range keys {
		if sum += len(list); len(list) > 0 {
			some = append(some, buckets[i])
		}
	}
	if sum > eachFew {
		return some, false, nil
	}
	for i, list := range keys {
		for _, key := range list {
			switch value, revision, err := s.Get(ctx, buckets[i], key); {
			case errors.Is(err, ErrNotFound): // the mark of one that is gone, or it has gone meanwhile
			case err != nil:
				return nil, false, err
			default:
				if err := f(buckets[i], Change{Key: key, Value: value, Revision: revision}); err != nil {
					return nil, false, err
				}
			}
		}
	}
	return nil, true, nil
}

// keys are those of a bucket that its leader has, and of some that are gone.
func (s *Store) keys(ctx context.Context, e *engine, bucket string) (list []string, err error) {
	prefix := s.at.fact(bucket + ".")
	var info *jetstream.StreamInfo
	err = s.asked(ctx, func(ctx context.Context) (err error) {
		info, err = e.factsLog.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
		return err
	})
	if err != nil {
		return nil, err
	}
	for subject := range info.State.Subjects {
		if key := strings.TrimPrefix(subject, prefix); !strings.HasPrefix(key, barrierKey) {
			list = append(list, key)
		}
	}
	return list, nil
}

// watchShared is Watch on a cluster. When the engine's node that told of changes goes away, another one is asked for everything that is there: what has
// gone meanwhile is told as gone.
func (s *Store) watchShared(ctx context.Context, bucket string, f func(Change)) error {
	told := map[string]uint64{}
	once := false
	for failures := 0; ; {
		listed, through := map[string]bool{}, false
		err := s.follow(ctx, bucket, true, func(_ string, c Change) error {
			switch {
			case c.Through:
				// What was told before and is not there any more has gone meanwhile.
				for key := range told {
					if !listed[key] {
						delete(told, key)
						f(Change{Key: key, Gone: true})
					}
				}
				if through = true; !once {
					once = true
					f(c)
				}
				return nil
			case c.Gone:
				delete(listed, c.Key)
				if _, ok := told[c.Key]; !ok {
					return nil // what was gone before is no news
				}
				delete(told, c.Key)
			case told[c.Key] == c.Revision:
				listed[c.Key] = true
				return nil
			default:
				told[c.Key], listed[c.Key] = c.Revision, true
			}
			if through {
				clear(listed)
			}
			f(c)
			return nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failures++; through {
			failures = 1
		}
		if !once || s.ending.Err() != nil || failures > watchAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readerPause):
		}
	}
}

// watchAttempts bounds how often in a row a watch is begun anew in vain: for as long as an election takes, and longer.
const watchAttempts = 60

// barrierKey begins the keys that are written to know that everything before has been read, CheckFact refuses them; barrierLife is how long
// they are there.
const (
	barrierKey  = "=."
	barrierLife = 10 * time.Second
)

// follow calls f for each last message of a bucket that is there, with Through, and for each that comes, until f fails. Keys that are gone are among them.
// With anew it fails when it cannot be sure to tell all of them.
func (s *Store) follow(ctx context.Context, bucket string, anew bool, f func(bucket string, c Change) error) error {
	if _, err := factKey(bucket, "x"); err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	prefix := s.at.fact(bucket + ".")
	until, err := s.barrier(ctx, e, prefix+barrierKey)
	if err != nil {
		return err
	}
	r := reader{
		anew: anew, stream: e.factsLog, config: jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: prefix + ">"},
	}
	through := false
	// Nothing may come although something was to: somebody has cleared the barrier away.
	r.idle = func(ctx context.Context) error {
		if through {
			return nil
		}
		_, err := s.barrier(ctx, e, prefix+barrierKey)
		return err
	}
	return r.run(ctx, e, func(m *nats.Msg, seq uint64) error {
		key := strings.TrimPrefix(m.Subject, prefix)
		if !strings.HasPrefix(key, barrierKey) {
			if err := f(bucket, change(key, seq, m)); err != nil {
				return err
			}
		}
		if !through && seq >= until {
			through = true
			return f("", Change{Through: true})
		}
		return nil
	})
}

// change is what a message of the facts tells.
func change(key string, revision uint64, m *nats.Msg) Change {
	h := m.Header
	if h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != "" {
		return Change{Key: key, Gone: true}
	}
	return Change{Key: key, Value: m.Data, Revision: revision}
}

// barrier writes something of no meaning under a prefix and returns its sequence: whoever has read up to it has read everything that was
// acknowledged before, whichever of the engine's nodes it was read from.
func (s *Store) barrier(ctx context.Context, e *engine, prefix string) (uint64, error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	m := nats.NewMsg(prefix + nuid.Next())
	var opts []jetstream.PublishOpt
	if strings.HasSuffix(prefix, barrierKey) {
		m.Header.Set("KV-Operation", "PURGE")
		m.Header.Set("Nats-Rollup", "sub")
		opts = append(opts, jetstream.WithMsgTTL(barrierLife))
	} else {
		m.Header.Set(headerGone, "1")
	}
	ack, err := e.js.PublishMsg(ctx, m, opts...)
	if err != nil {
		return 0, unread(err)
	}
	return ack.Sequence, nil
}
