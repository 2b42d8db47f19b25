package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// A store that was written before there were parts is opened with all that is in it.
func TestAStoreWithoutParts(t *testing.T) {
	ctx := t.Context()
	c := Config{Directory: t.TempDir(), MaxOctets: 1 << 30, MaxEntry: 1 << 20, Logger: zerolog.New(zerolog.NewTestWriter(t))}
	e := newEngine()
	if err := e.start(&c); err != nil {
		t.Fatal(err)
	}
	var err error
	if e.conn, err = nats.Connect("", nats.InProcessServer(e.server)); err != nil {
		t.Fatal(err)
	}
	if e.js, err = jetstream.New(e.conn); err != nil {
		t.Fatal(err)
	}
	_, err = e.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "JOURNAL", Subjects: []string{"e.*", "p.*"}, Storage: jetstream.FileStorage, Replicas: 1,
		Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: 1, MaxMsgSize: 1<<20 + 64<<10, AllowDirect: true, AllowAtomicPublish: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		id := fmt.Sprintf("%016x", 0x17f0000000000000+i)
		m := nats.NewMsg("e." + id)
		m.Header = nats.Header{
			"Kind": {"1"}, "Order": {"old"}, "Accepted": {"2026-01-02T03:04:05.000000006Z"}, "Expires": {"2026-01-03T03:04:05Z"},
		}
		m.Data = fmt.Append(nil, i)
		if _, err := e.js.PublishMsg(ctx, m); err != nil {
			t.Fatal(err)
		}
		if _, err := e.js.Publish(ctx, "p."+id, fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	e.close()

	s, err := Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []ID
	err = s.Replay(ctx, nil, func(e Entry, p Progress) error {
		if got = append(got, e.ID); e.Part != 0 || string(e.Octets) != fmt.Sprint(p.Attempts) || e.Order != "old" || e.Accepted.Nanosecond() != 6 {
			t.Errorf("%+v, %+v", e, p)
		}
		return nil
	}, func(id ID, err error) { t.Errorf("%s: %v", id, err) })
	if err != nil || len(got) != 10 || s.Usage().Entries != 10 {
		t.Fatalf("%d entries, %+v, %v", len(got), s.Usage(), err)
	}
	if err := s.Append(ctx, Entry{ID: s.NewID(), Part: 7, Accepted: time.Now(), Expires: time.Now()}); err != nil {
		t.Error(err)
	}
	if err := s.Remove(ctx, got...); err != nil {
		t.Error(err)
	}
	if n := s.Usage().Entries; n != 1 {
		t.Errorf("%d entries", n)
	}
}

// Facts that an earlier version kept in a bucket of the engine are there, with what is left of their lives, once: what was written since is not
// written over when the bucket is there again.
func TestFactsOfABucket(t *testing.T) {
	ctx := t.Context()
	c := Config{Directory: t.TempDir(), MaxOctets: 1 << 30, MaxEntry: 1 << 20, Logger: zerolog.New(zerolog.NewTestWriter(t))}
	former := func() {
		t.Helper()
		e := newEngine()
		if err := e.start(&c); err != nil {
			t.Fatal(err)
		}
		defer e.close()
		var err error
		if e.conn, err = nats.Connect("", nats.InProcessServer(e.server)); err != nil {
			t.Fatal(err)
		}
		if e.js, err = jetstream.New(e.conn); err != nil {
			t.Fatal(err)
		}
		kv, err := e.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: factsBucket, Storage: jetstream.FileStorage, LimitMarkerTTL: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			if _, err := kv.Put(ctx, fmt.Sprintf("some.dir/%d", i), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := kv.Put(ctx, "some.dir/7", []byte("newer")); err != nil {
			t.Fatal(err)
		}
		if err := kv.Delete(ctx, "some.dir/8"); err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Create(ctx, "some.life", []byte("x"), jetstream.KeyTTL(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Create(ctx, "some.short", []byte("x"), jetstream.KeyTTL(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	opened := func(f func(*Store)) {
		t.Helper()
		s, err := Open(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		f(s)
	}
	former()
	var revision uint64
	opened(func(s *Store) {
		n := 0
		err := s.Each(ctx, "some", func(key string, value []byte, revision uint64) error {
			if key != "short" { // its life may have ended or not
				n++
			}
			return nil
		})
		if err != nil || n != 200 {
			t.Errorf("%d facts, %v", n, err)
		}
		v, r, err := s.Get(ctx, "some", "dir/7")
		if string(v) != "newer" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		revision = r
		if left := time.Until(time.Unix(0, s.now.Load().known.get("some", "life").until)); left < 50*time.Minute || left > time.Hour {
			t.Errorf("%v are left of its life", left)
		}
		if _, _, err := s.Get(ctx, "some", "dir/8"); !errors.Is(err, ErrNotFound) {
			t.Errorf("what was deleted: %v", err)
		}
		if err := s.Put(ctx, "some", "dir/9", []byte("written since"), 0); err != nil {
			t.Error(err)
		}
		if err := s.Delete(ctx, "some", "dir/10"); err != nil {
			t.Error(err)
		}
	})
	former()
	opened(func(s *Store) {
		if v, _, err := s.Get(ctx, "some", "dir/9"); string(v) != "written since" {
			t.Errorf("%q, %v", v, err)
		}
		if _, _, err := s.Get(ctx, "some", "dir/10"); !errors.Is(err, ErrNotFound) {
			t.Errorf("what was deleted since: %v", err)
		}
		if err := s.Replace(ctx, "some", "dir/7", []byte("newest"), revision, 0); err != nil {
			t.Errorf("its revision is another: %v", err)
		}
		if _, err := s.now.Load().js.Stream(ctx, "KV_"+factsBucket); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("the bucket: %v", err)
		}
	})
}
