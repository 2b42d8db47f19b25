package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// Contract tests an implementation. open returns the store of one place, empty when it is called for the first time; each later call is
// as after a restart, with the former one closed. An implementation that keeps nothing over a restart returns the same value.
func Contract(t *testing.T, open func() store.Durable) {
	ctx := t.Context()
	s := open()
	now := time.Now().UTC().Truncate(time.Microsecond)
	entry := func(order, octets string) store.Entry {
		return store.Entry{
			ID: s.NewID(), Kind: store.KindMessage, Order: order, Accepted: now, Expires: now.Add(time.Hour), Octets: []byte(octets),
		}
	}
	all := func() (list []store.Entry, progress map[store.ID]store.Progress) {
		t.Helper()
		progress = map[store.ID]store.Progress{}
		err := s.Replay(ctx, func(e store.Entry, p store.Progress) error {
			list = append(list, e)
			progress[e.ID] = p
			return nil
		}, func(id store.ID, err error) { t.Errorf("%s cannot be read: %v", id, err) })
		if err != nil {
			t.Fatal(err)
		}
		return list, progress
	}
	same := func(a, b store.Entry) bool {
		return a.ID == b.ID && a.Kind == b.Kind && a.Order == b.Order && a.Accepted.Equal(b.Accepted) && a.Expires.Equal(b.Expires) && bytes.Equal(a.Octets, b.Octets)
	}

	// An empty journal replays nothing.
	if list, _ := all(); len(list) != 0 {
		t.Fatalf("%d entries in a new journal", len(list))
	}
	// What was appended is there, in order, over a restart.
	var want []store.Entry
	for i := range 20 {
		e := entry("1 xmpp im:a@b.example im:ü@d.example", fmt.Sprintf("entry %d \x00\r\n", i))
		if i == 7 {
			e.Kind, e.Octets = store.KindNotice, bytes.Repeat([]byte("large "), 20_000)
		}
		want = append(want, e)
	}
	for _, e := range want[:10] {
		if err := s.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Append(ctx, want[10:]...); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		list, progress := all()
		if !slices.EqualFunc(list, want, same) {
			t.Fatalf("round %d: %d entries, want %d as they were appended", round, len(list), len(want))
		}
		for id, p := range progress {
			if p.Attempts != 0 || p.Dead != "" || !p.Next.Equal(now) {
				t.Errorf("%s: progress %+v of an entry that was never tried", id, p)
			}
		}
		s = open()
	}
	// IDs rise over a restart.
	if id := s.NewID(); id <= want[len(want)-1].ID {
		t.Errorf("a new ID %s is not behind %s", id, want[len(want)-1].ID)
	}
	// What became of an entry is there, over a restart, and only the last of it.
	mark := store.Progress{Attempts: 3, Next: now.Add(time.Minute), Delayed: true, Crashes: 1, Dead: "why", Since: now}
	for n := range 3 {
		p := mark
		p.Attempts = n + 1
		if err := s.Mark(ctx, want[3].ID, p); err != nil {
			t.Fatal(err)
		}
	}
	s = open()
	e, p, err := s.Read(ctx, want[3].ID)
	if err != nil || !same(e, want[3]) || p.Attempts != 3 || !p.Next.Equal(mark.Next) || !p.Delayed || p.Crashes != 1 || p.Dead != "why" || !p.Since.Equal(now) {
		t.Errorf("%+v, %+v, %v", e, p, err)
	}
	// What was removed is gone, with its progress.
	if err := s.Remove(ctx, want[3].ID, want[0].ID, "nosuch"); err != nil {
		t.Fatal(err)
	}
	want = slices.Delete(want, 3, 4)[1:]
	s = open()
	list, progress := all()
	if !slices.EqualFunc(list, want, same) || len(progress) != len(want) {
		t.Errorf("%d entries after the removal, want %d", len(list), len(want))
	}
	// Of an exchange the one is gone and the other is there.
	told := entry("2 sip im:d@d.example im:a@b.example", "told")
	told.ID, told.Kind = want[0].ID+"n", store.KindNotice
	if err := s.Exchange(ctx, want[0].ID, told); err != nil {
		t.Fatal(err)
	}
	s = open()
	if _, _, err := s.Read(ctx, want[0].ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what was exchanged: %v", err)
	}
	if e, _, err := s.Read(ctx, told.ID); err != nil || !same(e, told) {
		t.Errorf("%+v, %v", e, err)
	}
	want = want[1:]
	if err := s.Remove(ctx, told.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Read(ctx, "nosuch"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("read of nothing: %v", err)
	}
	if u := s.Usage(); u.Entries != len(want) || u.Octets == 0 {
		t.Errorf("usage %+v", u)
	}
	// Replay ends where it is told to.
	stop := errors.New("enough")
	n := 0
	if err := s.Replay(ctx, func(store.Entry, store.Progress) error { n++; return stop }, nil); !errors.Is(err, stop) || n != 1 {
		t.Errorf("replay went on: %d, %v", n, err)
	}
	// Many at once: each is told the truth.
	var wait sync.WaitGroup
	errs := make(chan error, 200)
	for i := range 200 {
		e := entry(fmt.Sprint("lane ", i%7), fmt.Sprint(i))
		want = append(want, e)
		wait.Go(func() {
			if err := s.Append(ctx, e); err != nil {
				errs <- err
				return
			}
			errs <- s.Mark(ctx, e.ID, store.Progress{Attempts: 1})
		})
	}
	wait.Wait()
	for range 200 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	s = open()
	if list, _ := all(); len(list) != len(want) {
		t.Errorf("%d entries, want %d", len(list), len(want))
	}
	facts(t, open)
}

// facts tests the store's facts.
func facts(t *testing.T, open func() store.Durable) {
	t.Helper()
	ctx := context.Background()
	s := open()
	if _, _, err := s.Get(ctx, "b", "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	if err := s.Create(ctx, "b", "k", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(ctx, "b", "k", []byte("2"), 0); !errors.Is(err, store.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	s = open()
	v, rev, err := s.Get(ctx, "b", "k")
	if err != nil || string(v) != "1" {
		t.Fatalf("%q, %v", v, err)
	}
	if err := s.Replace(ctx, "b", "k", []byte("3"), rev, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Replace(ctx, "b", "k", []byte("4"), rev, 0); !errors.Is(err, store.ErrExists) {
		t.Errorf("replaced over a change: %v", err)
	}
	if err := s.Put(ctx, "b", "dir/k.2", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "other", "k", []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	each := func() map[string]string {
		t.Helper()
		got := map[string]string{}
		if err := s.Each(ctx, "b", func(k string, v []byte, _ uint64) error { got[k] = string(v); return nil }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := each(); len(got) != 2 || got["k"] != "3" || got["dir/k.2"] != "x" {
		t.Errorf("%q", got)
	}
	if err := s.Delete(ctx, "b", "k"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "b", "k"); err != nil {
		t.Errorf("deleting nothing: %v", err)
	}
	s = open()
	if got := each(); len(got) != 1 {
		t.Errorf("%q after the end of one", got)
	}
	// What was deleted can be created again, at once.
	if err := s.Create(ctx, "b", "k", []byte("5"), 0); err != nil {
		t.Errorf("created again: %v", err)
	}
	// A life ends.
	if err := s.Put(ctx, "b", "short", []byte("z"), time.Second); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(ctx, "b", "short"); err != nil {
		t.Errorf("within its life: %v", err)
	}
	for end := time.Now().Add(5 * time.Second); ; {
		if _, _, err := s.Get(ctx, "b", "short"); errors.Is(err, store.ErrNotFound) {
			break
		}
		if time.Now().After(end) {
			t.Error("it outlived its life")
			break
		}
		tick := time.NewTimer(50 * time.Millisecond)
		<-tick.C
	}
	for _, bad := range [][2]string{{"", "k"}, {"b", ""}, {"b", "a b"}, {"b", "*"}, {"b", ">"}, {"b", "a..b"}, {"b.c", "k"}, {"b", ".k"}} {
		if err := s.Put(ctx, bad[0], bad[1], nil, 0); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
