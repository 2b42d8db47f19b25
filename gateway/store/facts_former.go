package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Earlier versions kept the facts of a node that is alone in one of the engine's buckets, a message for each. They are written into the log
// once, and the bucket is deleted.

// formerKey, which nobody else may write, says that this was done: a bucket that is there again after a crash of the machine is deleted again.
const formerKey = "=former"

// takeFormer takes over what is in the bucket.
func (s *Store) takeFormer(ctx context.Context, e *engine) error {
	former, err := e.js.Stream(ctx, "KV_"+s.at.facts)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: the facts: %w", err)
	}
	if e.known.get("store", formerKey) == nil {
		if err := s.copyFormer(ctx, e, former); err != nil {
			return fmt.Errorf("store: the facts: %w", err)
		}
	}
	if err := e.js.DeleteStream(ctx, "KV_"+s.at.facts); err != nil {
		return fmt.Errorf("store: the facts: %w", err)
	}
	return nil
}

func (s *Store) copyFormer(ctx context.Context, e *engine, former jetstream.Stream) error {
	var some []*nats.Msg
	size := int64(0)
	flush := func() error {
		if len(some) == 0 {
			return nil
		}
		err := e.factCommits.write(ctx, nil, some...)
		some, size = nil, 0
		return err
	}
	add := func(f *fact) error {
		if len(some) == packRecords || size+f.size() > packOctets {
			if err := flush(); err != nil {
				return err
			}
		}
		some, size = append(some, f.message(false)), size+f.size()
		return nil
	}
	last := uint64(0)
	prefix := s.at.fact("")
	err := messages(ctx, former, nil, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		h := m.Headers()
		last = max(last, meta.Sequence.Stream)
		name := strings.TrimPrefix(m.Subject(), prefix)
		bucket, key, ok := strings.Cut(name, ".")
		if h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != "" || !ok || CheckFact(bucket, key) != nil {
			return nil
		}
		f := &fact{bucket: bucket, key: key, value: append([]byte(nil), m.Data()...), revision: meta.Sequence.Stream}
		if life := formerLife(h.Get(jetstream.MsgTTLHeader)); life > 0 {
			f.until = meta.Timestamp.Add(life).UnixNano()
		}
		return add(f)
	})
	if err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	done := &fact{bucket: "store", key: formerKey, revision: last + 1}
	some = append(some, done.message(false))
	return flush()
}

// formerLife reads the engine's life of a message: seconds, or a duration; 0: none.
func formerLife(text string) time.Duration {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(n) * time.Second
	}
	d, _ := time.ParseDuration(text) // what is none was never written
	return d
}
