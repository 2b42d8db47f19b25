package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Each implements Facts. On a cluster it comes behind everything that was acknowledged before.
func (s *Store) Each(ctx context.Context, bucket string, f func(key string, value []byte, revision uint64) error) error {
	if s.clustered() {
		if few, err := s.few(ctx, bucket, f); few || err != nil {
			return err
		}
	}
	all := map[string]Change{}
	through := errors.New("through")
	err := s.follow(ctx, bucket, func(c Change) error {
		switch {
		case c.Through:
			return through
		case c.Gone:
			delete(all, c.Key)
		default:
			all[c.Key] = c
		}
		return nil
	})
	if !errors.Is(err, through) {
		return err
	}
	for key, c := range all {
		if err := f(key, c.Value, c.Revision); err != nil {
			return err
		}
	}
	return nil
}

// eachFew is up to how many values are read one by one: to begin to read a log costs the cluster more than that, and most buckets are empty.
const eachFew = 32

// few is Each for a bucket with few values on a cluster; false: it has more.
func (s *Store) few(ctx context.Context, bucket string, f func(key string, value []byte, revision uint64) error) (few bool, err error) {
	if _, err := factKey(bucket, "x"); err != nil {
		return false, err
	}
	e, err := s.engine()
	if err != nil {
		return false, err
	}
	prefix := s.at.fact(bucket + ".")
	// The leader has seen everything that was acknowledged when it has written this.
	if _, err := s.barrier(ctx, e, prefix+barrierKey); err != nil {
		return false, err
	}
	var info *jetstream.StreamInfo
	err = s.asked(ctx, func(ctx context.Context) (err error) {
		info, err = e.factsLog.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
		return err
	})
	if err != nil {
		return false, unread(err)
	}
	var keys []string
	for subject := range info.State.Subjects {
		if key := strings.TrimPrefix(subject, prefix); !strings.HasPrefix(key, barrierKey) {
			keys = append(keys, key)
		}
	}
	if len(keys) > eachFew {
		return false, nil
	}
	for _, key := range keys {
		switch value, revision, err := s.Get(ctx, bucket, key); {
		case errors.Is(err, ErrNotFound): // the mark of one that is gone, or it has gone meanwhile
		case err != nil:
			return false, err
		default:
			if err := f(key, value, revision); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// Watch implements Facts. When the engine's node that told of changes goes away, another one is asked.
func (s *Store) Watch(ctx context.Context, bucket string, f func(Change)) error {
	told := map[string]uint64{}
	for once := false; ; once = true {
		listed, through := map[string]bool{}, false
		err := s.follow(ctx, bucket, func(c Change) error {
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
		if !s.clustered() || !through || s.ending.Err() != nil {
			return err
		}
	}
}

// barrierKey begins the keys that are written to know that everything before has been read, CheckFact refuses them; barrierLife is how long
// they are there.
const (
	barrierKey  = "=."
	barrierLife = 10 * time.Second
)

// follow calls f for each last message of a bucket that is there, with Through, and for each that comes, until f fails. Keys that are gone
// are among them.
func (s *Store) follow(ctx context.Context, bucket string, f func(Change) error) error {
	if _, err := factKey(bucket, "x"); err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var until uint64
	prefix := s.at.fact(bucket + ".")
	if s.clustered() {
		if until, err = s.barrier(ctx, e, prefix+barrierKey); err != nil {
			return err
		}
	}
	r := reader{
		stream: e.factsLog, config: jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: prefix + ">"},
	}
	through, counted := false, until == 0
	if counted {
		r.none = func() error {
			if through {
				return nil
			}
			through = true
			return f(Change{Through: true})
		}
	}
	// Nothing may come although something was to: there is nothing, it ended meanwhile, or somebody has cleared the barrier away.
	r.idle = func(ctx context.Context) error {
		switch {
		case through:
		case counted:
			through = true
			return f(Change{Through: true})
		default:
			_, err := s.barrier(ctx, e, prefix+barrierKey)
			return err
		}
		return nil
	}
	return r.run(ctx, e, func(m *nats.Msg, seq, left uint64) error {
		key := strings.TrimPrefix(m.Subject, prefix)
		if !strings.HasPrefix(key, barrierKey) {
			if err := f(change(key, seq, m)); err != nil {
				return err
			}
		}
		if !through && (counted && left == 0 || !counted && seq >= until) {
			through = true
			return f(Change{Through: true})
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
