package store

import (
	"container/heap"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// factLog is the facts of a node that is alone: a log on the disk, of packs as the journal's (see pack.go), and what is valid of it in memory.
// So facts that are written at the same time cost one sync together, and nothing that is forgotten, replaced or at the end of its life
// is there again after a crash: its last record stays in the log for as long as an older one does, because the log is only ever cut off at its
// beginning. Safe for use from many goroutines.
type factLog struct {
	commits *committer
	ended   <-chan struct{} // closed when the engine ends
	most    int             // octets of a value

	mu       sync.Mutex
	buckets  map[string]map[string]*fact
	lives    lives
	busy     map[string]chan struct{} // by name; closed when the write under way has ended
	watchers map[string]map[*factWatcher]struct{}
	revision uint64 // the last that was given
	octets   int64
	last     uint64 // the engine's last sequence that is known
}

// fact is one that is there. But for place and seq it never changes.
type fact struct {
	bucket, key string
	value       []byte
	revision    uint64
	until       int64 // nanoseconds of the Unix epoch; 0: for ever
	place       int   // in the heap of lives, if it has one
	seq         uint64
}

const (
	factPrefix = "f."
	// maxFacts bounds what the values, their names and what is held beside take in memory, in octets. When it is reached a fact that needs more is
	// refused with ErrFull.
	maxFacts = 2 << 30
	// factCost is what a fact takes beside its name and its value.
	factCost = 200

	headerRevision = "Revision"
	headerUntil    = "Until"
)

// lives is a heap of the facts whose life ends.
type lives []*fact

// Len implements heap.Interface.
func (l lives) Len() int { return len(l) }

// Less implements heap.Interface.
func (l lives) Less(i, j int) bool { return l[i].until < l[j].until }

// Swap implements heap.Interface.
func (l lives) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = i, j
}

// Push implements heap.Interface.
func (l *lives) Push(x any) {
	f := x.(*fact)
	f.place = len(*l)
	*l = append(*l, f)
}

// Pop implements heap.Interface.
func (l *lives) Pop() any {
	old := *l
	f := old[len(old)-1]
	old[len(old)-1] = nil
	*l = old[:len(old)-1]
	return f
}

func newFactLog(most int, ended <-chan struct{}) *factLog {
	return &factLog{
		ended: ended, most: most, buckets: map[string]map[string]*fact{}, busy: map[string]chan struct{}{}, watchers: map[string]map[*factWatcher]struct{}{},
	}
}

func (f *fact) size() int64 { return int64(len(f.bucket)+len(f.key)+len(f.value)) + factCost }

// message is a fact's record; of one that is gone the mark of that.
func (f *fact) message(gone bool) *nats.Msg {
	m := nats.NewMsg(f.bucket + "." + f.key)
	m.Header.Set(headerRevision, strconv.FormatUint(f.revision, 10))
	if gone {
		m.Header.Set(headerGone, "1")
		return m
	}
	if m.Data = f.value; f.until != 0 {
		m.Header.Set(headerUntil, strconv.FormatInt(f.until, 10))
	}
	return m
}

// parseFact reads a record. The value is that of data.
func parseFact(subject string, h nats.Header, data []byte) (f *fact, gone bool, err error) {
	f = &fact{value: data[:len(data):len(data)], place: -1}
	var ok bool
	if f.bucket, f.key, ok = strings.Cut(subject, "."); !ok || f.key == "" {
		return nil, false, fmt.Errorf("%w: subject %q", errRecord, clip(subject))
	}
	if f.revision, err = strconv.ParseUint(h.Get(headerRevision), 10, 64); err != nil {
		return nil, false, fmt.Errorf("%w: revision of %s: %w", errRecord, clip(subject), err)
	}
	if text := h.Get(headerUntil); text != "" {
		if f.until, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, false, fmt.Errorf("%w: life of %s: %w", errRecord, clip(subject), err)
		}
	}
	return f, h.Get(headerGone) != "", nil
}

// find is a fact whose life has not ended, or nil. The caller holds the lock.
func (l *factLog) find(bucket, key string) *fact {
	f := l.buckets[bucket][key]
	if f == nil || f.until != 0 && f.until <= time.Now().UnixNano() {
		return nil
	}
	return f
}

// set makes a fact the one of its name. The caller holds the lock.
func (l *factLog) set(f *fact, gone bool) {
	was := l.buckets[f.bucket][f.key]
	if was != nil {
		l.drop(was)
	}
	l.revision = max(l.revision, f.revision)
	if !gone {
		if l.buckets[f.bucket] == nil {
			l.buckets[f.bucket] = map[string]*fact{}
		}
		l.buckets[f.bucket][f.key] = f
		if l.octets += f.size(); f.until != 0 {
			heap.Push(&l.lives, f)
		}
	}
	if was == nil || gone || was.revision != f.revision {
		l.changed(f.bucket, f.key)
	}
}

// drop forgets one. The caller holds the lock.
func (l *factLog) drop(f *fact) {
	l.octets -= f.size()
	if f.until != 0 {
		heap.Remove(&l.lives, f.place)
	}
	if delete(l.buckets[f.bucket], f.key); len(l.buckets[f.bucket]) == 0 {
		delete(l.buckets, f.bucket)
	}
}

// expire forgets those whose life has ended.
func (l *factLog) expire(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.lives) > 0 && l.lives[0].until <= now.UnixNano() {
		f := l.lives[0]
		l.drop(f)
		l.changed(f.bucket, f.key)
	}
}

// stored notes what has been written in a pack of this sequence.
func (l *factLog) stored(seq uint64, written []*nats.Msg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = max(l.last, seq)
	for _, m := range written {
		f, gone, err := parseFact(m.Subject, m.Header, m.Data)
		if err != nil {
			continue // it was made by message
		}
		f.seq = seq
		l.set(f, gone)
	}
}

// write writes a fact, or the mark that it is gone, if may says so of the one that is there, nil: there is none. Those of one name are written
// one after the other.
func (l *factLog) write(ctx context.Context, f *fact, life time.Duration, gone bool, may func(is *fact) bool) error {
	name := f.bucket + "." + f.key
	if len(f.value) > l.most {
		return fmt.Errorf("%w: a fact of %d octets", ErrFull, len(f.value))
	}
	l.mu.Lock()
	for {
		is := l.find(f.bucket, f.key)
		under := l.busy[name]
		if under == nil {
			if !may(is) {
				l.mu.Unlock()
				return fmt.Errorf("%w: %s", ErrExists, name)
			}
			break
		}
		l.mu.Unlock()
		select {
		case <-under:
		case <-l.ended:
			return ErrUnavailable
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
		l.mu.Lock()
	}
	if !gone && l.octets+f.size() > maxFacts {
		l.mu.Unlock()
		return fmt.Errorf("%w: the facts take %d octets", ErrFull, l.octets)
	}
	l.revision++
	if f.revision = l.revision; life > 0 {
		f.until = time.Now().Add(life).UnixNano()
	}
	l.busy[name] = make(chan struct{})
	l.mu.Unlock()
	return l.commits.write(ctx, func() { l.free(name) }, f.message(gone))
}

// free ends the writing of some names.
func (l *factLog) free(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		close(l.busy[name])
		delete(l.busy, name)
	}
}

// get is a fact that is there, or nil.
func (l *factLog) get(bucket, key string) *fact {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.find(bucket, key)
}

// all are the facts of a bucket. The caller holds the lock.
func (l *factLog) all(bucket string) (list []*fact) {
	for key := range l.buckets[bucket] {
		if f := l.find(bucket, key); f != nil {
			list = append(list, f)
		}
	}
	return list
}

// each is Each.
func (l *factLog) each(bucket string, f func(key string, value []byte, revision uint64) error) error {
	l.mu.Lock()
	list := l.all(bucket)
	l.mu.Unlock()
	for _, is := range list {
		if err := f(is.key, is.value, is.revision); err != nil {
			return err
		}
	}
	return nil
}

// factWatcher is somebody who is told of changes. Its fields are guarded by the log's lock.
type factWatcher struct {
	keys   []string // that changed, in their order
	listed map[string]bool
	wake   chan struct{} // has room for one
}

// changed wakes those who watch a bucket. The caller holds the lock.
func (l *factLog) changed(bucket, key string) {
	for w := range l.watchers[bucket] {
		if w.listed[key] {
			continue
		}
		w.listed[key] = true
		w.keys = append(w.keys, key)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// watch is Watch. It holds no more of a bucket than its keys, however slow f is.
func (l *factLog) watch(ctx context.Context, bucket string, f func(Change)) error {
	w := &factWatcher{listed: map[string]bool{}, wake: make(chan struct{}, 1)}
	l.mu.Lock()
	if l.watchers[bucket] == nil {
		l.watchers[bucket] = map[*factWatcher]struct{}{}
	}
	l.watchers[bucket][w] = struct{}{}
	list := l.all(bucket)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if delete(l.watchers[bucket], w); len(l.watchers[bucket]) == 0 {
			delete(l.watchers, bucket)
		}
	}()
	told := map[string]uint64{}
	for _, is := range list {
		told[is.key] = is.revision
		f(Change{Key: is.key, Value: is.value, Revision: is.revision})
	}
	f(Change{Through: true})
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ended:
			return ErrUnavailable
		}
		l.mu.Lock()
		var changes []Change
		for _, key := range w.keys {
			is := l.find(bucket, key)
			revision, was := told[key]
			switch {
			case is == nil && was:
				delete(told, key)
				changes = append(changes, Change{Key: key, Gone: true})
			case is != nil && (!was || revision != is.revision):
				told[key] = is.revision
				changes = append(changes, Change{Key: key, Value: is.value, Revision: is.revision})
			}
		}
		w.keys = nil
		clear(w.listed)
		l.mu.Unlock()
		for _, c := range changes {
			f(c)
		}
	}
}

// learnFacts reads the log.
func (s *Store) learnFacts(ctx context.Context, l *factLog, stream jetstream.Stream) error {
	info, err := stream.Info(ctx)
	if err != nil {
		return unread(err)
	}
	l.mu.Lock()
	l.last = info.State.LastSeq
	l.mu.Unlock()
	return messages(ctx, stream, nil, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		err := unpack(m.Data(), func(_ int, r record) error {
			// A record is not to keep its pack in memory.
			f, gone, err := parseFact(r.subject, r.header, append([]byte(nil), r.data...))
			if err != nil {
				s.unreadable(err)
				return nil
			}
			f.seq = meta.Sequence.Stream
			l.mu.Lock()
			l.set(f, gone)
			l.mu.Unlock()
			return nil
		})
		if err != nil {
			s.unreadable(fmt.Errorf("%w: message %d of the log", err, meta.Sequence.Stream))
		}
		return nil
	})
}

// unreadable tells of a fact that is kept and not known.
func (s *Store) unreadable(err error) {
	s.cfg.Logger.Error().Str("fault", clip(err.Error())).Msg("a fact of the store cannot be read")
}
