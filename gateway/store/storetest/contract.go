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
		err := s.Replay(ctx, nil, func(e store.Entry, p store.Progress) error {
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
	if err := s.Replay(ctx, nil, func(store.Entry, store.Progress) error { n++; return stop }, nil); !errors.Is(err, stop) || n != 1 {
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
	parts(t, open)
	facts(t, open)
	watches(t, open)
	bus(t, open())
}

// parts tests that entries are in parts.
func parts(t *testing.T, open func() store.Durable) {
	t.Helper()
	ctx := t.Context()
	s := open()
	before := s.Usage().Entries
	of := func(parts []int) (list []string) {
		t.Helper()
		err := s.Replay(ctx, parts, func(e store.Entry, p store.Progress) error {
			if e.Order == "parts" {
				list = append(list, fmt.Sprintf("%d:%s/%d", e.Part, e.Octets, p.Attempts))
			}
			return nil
		}, func(id store.ID, err error) { t.Errorf("%s cannot be read: %v", id, err) })
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(list)
		return list
	}
	ids := map[string]store.ID{}
	put := func(part int, text string) {
		t.Helper()
		e := store.Entry{ID: s.NewID(), Kind: store.KindMessage, Part: part, Order: "parts", Accepted: time.Now(), Expires: time.Now(), Octets: []byte(text)}
		ids[text] = e.ID
		if err := s.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	put(0, "a")
	put(1, "b")
	put(10, "c")
	put(10, "d")
	put(store.Parts-1, "e")
	if err := s.Mark(ctx, ids["d"], store.Progress{Attempts: 2}); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		for _, c := range []struct {
			parts []int
			want  string
		}{
			{nil, "[0:a/0 10:c/0 10:d/2 1:b/0 63:e/0]"},
			{[]int{}, "[]"},
			{[]int{10}, "[10:c/0 10:d/2]"},
			{[]int{0, 1, 2}, "[0:a/0 1:b/0]"},
			{[]int{2}, "[]"},
		} {
			if got := fmt.Sprint(of(c.parts)); got != c.want {
				t.Errorf("round %d: parts %v: %s, want %s", round, c.parts, got, c.want)
			}
		}
		s = open()
	}
	// An entry is found, marked, exchanged and removed whatever part it is in.
	if e, p, err := s.Read(ctx, ids["d"]); err != nil || e.Part != 10 || p.Attempts != 2 {
		t.Errorf("%+v, %+v, %v", e, p, err)
	}
	moved := store.Entry{ID: ids["d"], Kind: store.KindMessage, Part: 11, Order: "parts", Octets: []byte("d")}
	if err := s.Exchange(ctx, moved.ID, moved); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(of([]int{10}), of([]int{11})); got != "[10:c/0] [11:d/2]" {
		t.Errorf("after an entry was moved: %s", got)
	}
	if u := s.Usage(); u.Entries != before+5 {
		t.Errorf("%+v, want %d entries more than %d", u, 5, before)
	}
	for _, id := range ids {
		if err := s.Remove(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	s = open()
	if got := of(nil); len(got) != 0 {
		t.Errorf("%s after the removal", got)
	}
	for _, part := range []int{-1, store.Parts} {
		if err := s.Append(ctx, store.Entry{ID: s.NewID(), Part: part}); err == nil {
			t.Errorf("part %d was taken", part)
		}
	}
}

// watches tests Facts.Watch.
func watches(t *testing.T, open func() store.Durable) {
	t.Helper()
	s := open()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, k := range []string{"x", "y", "gone"} {
		if err := s.Put(ctx, "watched", k, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(ctx, "watched", "gone"); err != nil {
		t.Fatal(err)
	}
	changes := make(chan store.Change, 100)
	ended := make(chan error, 1)
	go func() { ended <- s.Watch(ctx, "watched", func(c store.Change) { changes <- c }) }()
	next := func() store.Change {
		t.Helper()
		select {
		case c := <-changes:
			return c
		case <-time.After(10 * time.Second):
			t.Fatal("no change was told")
		}
		return store.Change{}
	}
	present := []string{next().Key, next().Key}
	slices.Sort(present)
	if c := next(); !slices.Equal(present, []string{"x", "y"}) || !c.Through {
		t.Fatalf("%q, then %+v", present, c)
	}
	if err := s.Put(ctx, "other", "x", []byte("2"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "watched", "x", []byte("2"), 0); err != nil {
		t.Fatal(err)
	}
	_, revision, err := s.Get(ctx, "watched", "x")
	if c := next(); err != nil || c.Key != "x" || string(c.Value) != "2" || c.Revision != revision || c.Gone {
		t.Errorf("%+v, %v", c, err)
	}
	if err := s.Delete(ctx, "watched", "y"); err != nil {
		t.Fatal(err)
	}
	if c := next(); c.Key != "y" || !c.Gone {
		t.Errorf("%+v", c)
	}
	// The end of a life is told. It is the life that was given last.
	if err := s.Create(ctx, "watched", "life", []byte("3"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if c := next(); c.Key != "life" || c.Gone {
		t.Errorf("%+v", c)
	}
	if _, revision, err = s.Get(ctx, "watched", "life"); err != nil {
		t.Fatal(err)
	}
	if err := s.Replace(ctx, "watched", "life", []byte("4"), revision, time.Second); err != nil {
		t.Fatal(err)
	}
	if c := next(); c.Key != "life" || string(c.Value) != "4" {
		t.Errorf("%+v", c)
	}
	if c := next(); c.Key != "life" || !c.Gone {
		t.Errorf("%+v", c)
	}
	// What has ended can be created at once.
	if err := s.Create(ctx, "watched", "life", []byte("5"), 0); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
}

// bus tests the bus of one node.
func bus(t *testing.T, s store.Durable) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	name := s.Node()
	if err := store.CheckFact("nodes", name); err != nil {
		t.Errorf("the node's name is no key: %v", err)
	}
	if _, err := s.Call(ctx, name, []byte("x")); !errors.Is(err, store.ErrNoNode) {
		t.Errorf("a call before anybody serves: %v", err)
	}
	hang, given := make(chan struct{}), make(chan struct{})
	s.Serve(func(ctx context.Context, from string, octets []byte) []byte {
		if string(octets) == "hang" {
			close(hang)
			<-ctx.Done()
			<-given // no answer comes at the same time as the end
		}
		return append([]byte(from+" said "), octets...)
	})
	if a, err := s.Call(ctx, name, []byte("x\x00")); err != nil || string(a) != name+" said x\x00" {
		t.Errorf("%q, %v", a, err)
	}
	if _, err := s.Call(ctx, "nobody", []byte("x")); !errors.Is(err, store.ErrNoNode) {
		t.Errorf("a call to nobody: %v", err)
	}
	short, end := context.WithCancel(ctx)
	go func() { <-hang; end() }()
	if _, err := s.Call(short, name, []byte("hang")); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("a call without an answer: %v", err)
	}
	close(given)
	s.Serve(nil)
	if _, err := s.Call(ctx, name, []byte("x")); !errors.Is(err, store.ErrNoNode) {
		t.Errorf("a call when nobody serves any more: %v", err)
	}
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
	// Several buckets in one go: those alone, and each value with its bucket.
	if err := s.Put(ctx, "b/01", "k", []byte("z"), 0); err != nil {
		t.Fatal(err)
	}
	of := map[string]string{}
	if err := s.EachOf(ctx, []string{"b", "other", "none"}, func(bucket, k string, v []byte, revision uint64) error {
		if of[bucket+" "+k] = string(v); revision == 0 {
			t.Errorf("%s in %s has no revision", k, bucket)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(of) != 3 || of["b k"] != "3" || of["b dir/k.2"] != "x" || of["other k"] != "y" {
		t.Errorf("%q", of)
	}
	enough := errors.New("enough")
	if err := s.EachOf(ctx, []string{"other", "b"}, func(string, string, []byte, uint64) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v, want what the function returned", err)
	}
	if err := s.EachOf(ctx, nil, func(string, string, []byte, uint64) error { return enough }); err != nil {
		t.Error(err)
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
