package store

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The log of the facts is cut off at its beginning, up to the first fact that is still there. When it takes far more than they do, old ones are
// written anew at its end.

const (
	// factsFrom is how large the log may be, in octets, beyond factsTimes what the facts take.
	factsFrom, factsTimes = 16 << 20, 4
	// factsMoved are written anew at once.
	factsMoved = packRecords
)

// first is the sequence before which no fact is, the last one that is known, and what the facts take.
func (l *factLog) first() (first, last uint64, octets int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = l.last + 1
	for _, b := range l.buckets {
		for _, f := range b {
			first = min(first, f.seq)
		}
	}
	return first, l.last, l.octets
}

// known is the last sequence that is known.
func (l *factLog) known() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// renew writes the facts anew that are before a sequence. Those that are being written now get behind it anyhow.
func (l *factLog) renew(ctx context.Context, before uint64) error {
	l.mu.Lock()
	var old []*fact
	for _, b := range l.buckets {
		for _, f := range b {
			if f.seq < before {
				old = append(old, f)
			}
		}
	}
	l.mu.Unlock()
	for len(old) > 0 {
		some := old[:fitting(old)]
		old = old[len(some):]
		var names []string
		var all []*nats.Msg
		l.mu.Lock()
		for _, f := range some {
			name := f.bucket + "." + f.key
			if l.busy[name] != nil || l.find(f.bucket, f.key) != f {
				continue
			}
			l.busy[name] = make(chan struct{})
			names, all = append(names, name), append(all, f.message(false))
		}
		l.mu.Unlock()
		if len(all) == 0 {
			continue
		}
		if err := l.commits.write(ctx, func() { l.free(names...) }, all...); err != nil {
			return err
		}
	}
	return nil
}

// fitting is how many facts at the beginning of a list, which has one at least, are written in one pack: the engine takes none that is much larger
// than the largest value.
func fitting(list []*fact) (n int) {
	for size := int64(0); n < min(factsMoved, len(list)); n++ {
		if size += list[n].size(); n > 0 && size > packOctets {
			break
		}
	}
	return n
}

// tidyFacts cuts the log off before its first fact, and moves old facts when the log takes more than from octets and what is allowed beside.
func (s *Store) tidyFacts(ctx context.Context, from uint64) error {
	e, err := s.engine()
	if err != nil {
		return err
	}
	info, err := e.factsLog.Info(ctx)
	if err != nil {
		return unread(err)
	}
	first, last, octets := e.known.first()
	if info.State.Bytes > from+factsTimes*uint64(octets) {
		if err := e.known.renew(ctx, first+(last+1-first)/2+1); err != nil {
			return err
		}
		first, _, _ = e.known.first()
	}
	if info.State.FirstSeq >= first || info.State.Msgs == 0 {
		return nil
	}
	return fault(e.factsLog.Purge(ctx, jetstream.WithPurgeSequence(first)))
}

// tidyAt is when a log was last tidied, and how far it had come.
type tidyAt struct {
	seq uint64
	at  time.Time
}

// due tells whether it is time again, and notes that it is done.
func (t *tidyAt) due(last uint64) bool {
	if last == t.seq || last-min(last, t.seq) < tidyFrom && time.Since(t.at) < tidyAlways {
		return false
	}
	t.seq, t.at = last, time.Now()
	return true
}
