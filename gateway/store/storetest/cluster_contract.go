package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// ClusterContract tests what two nodes of one cluster are to each other. They have different names, and nobody serves yet.
func ClusterContract(t *testing.T, a, b store.Durable) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// What one has appended and marked the other replays, with what became of it, and makes IDs behind it.
	before := a.Usage().Entries
	var last store.ID
	for i := range 20 {
		e := store.Entry{ID: a.NewID(), Kind: store.KindMessage, Part: 5 + i%2, Order: "cluster", Accepted: time.Now(), Expires: time.Now(), Octets: fmt.Append(nil, i)}
		if err := a.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
		if err := a.Mark(ctx, e.ID, store.Progress{Attempts: i}); err != nil {
			t.Fatal(err)
		}
		last = e.ID
	}
	ids := []store.ID{}
	replay := func(s store.Durable, part int) {
		t.Helper()
		ids = ids[:0]
		err := s.Replay(ctx, []int{part}, func(e store.Entry, p store.Progress) error {
			if string(e.Octets) != fmt.Sprint(p.Attempts) || e.Part != part {
				t.Errorf("%+v with %+v", e, p)
			}
			ids = append(ids, e.ID)
			return nil
		}, func(id store.ID, err error) { t.Errorf("%s: %v", id, err) })
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(ids)
	}
	replay(b, 6)
	if len(ids) != 10 || ids[9] != last {
		t.Fatalf("%q were replayed, want 10 until %s", ids, last)
	}
	if id := b.NewID(); id <= last {
		t.Errorf("%s is not behind %s, which was replayed", id, last)
	}
	if u := a.Usage(); u.Entries != before+20 {
		t.Errorf("%+v", u)
	}
	a.Release(6)
	if u := a.Usage(); u.Entries != before+10 {
		t.Errorf("%+v after a release", u)
	}
	// The new owner goes on with them, and each node reads what the other has.
	if err := b.Mark(ctx, last, store.Progress{Attempts: 99}); err != nil {
		t.Fatal(err)
	}
	if e, p, err := a.Read(ctx, last); err != nil || e.Part != 6 || p.Attempts != 99 {
		t.Errorf("%+v, %+v, %v", e, p, err)
	}
	for _, id := range ids {
		if err := b.Remove(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := a.Read(ctx, last); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("read of what the other has removed: %v", err)
	}
	replay(a, 6)
	if len(ids) != 0 {
		t.Errorf("%q are there", ids)
	}
	// An ID is one node's alone.
	made := map[store.ID]bool{}
	for range 100 {
		made[a.NewID()], made[b.NewID()] = true, true
	}
	if len(made) != 200 {
		t.Errorf("%d different IDs of 200", len(made))
	}

	// Of two that compare and set one wins.
	if err := a.Create(ctx, "cluster", "k", []byte("a"), 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Create(ctx, "cluster", "k", []byte("b"), 0); !errors.Is(err, store.ErrExists) {
		t.Errorf("%v", err)
	}
	_, revision, err := b.Get(ctx, "cluster", "k")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Replace(ctx, "cluster", "k", []byte("b"), revision, 0); err != nil {
		t.Fatal(err)
	}
	if err := a.Replace(ctx, "cluster", "k", []byte("a"), revision, 0); !errors.Is(err, store.ErrExists) {
		t.Errorf("%v", err)
	}
	// What one writes the other's watch is told.
	watching, stop := context.WithCancel(ctx)
	changes := make(chan store.Change, 100)
	ended := make(chan error, 1)
	go func() { ended <- a.Watch(watching, "cluster", func(c store.Change) { changes <- c }) }()
	for c := (store.Change{}); !c.Through; c = <-changes {
	}
	if err := b.Put(ctx, "cluster", "new", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if c := <-changes; c.Key != "new" || string(c.Value) != "1" {
		t.Errorf("%+v", c)
	}
	stop()
	<-ended

	// Calls.
	if _, err := a.Call(ctx, b.Node(), []byte("x")); !errors.Is(err, store.ErrNoNode) {
		t.Errorf("a call to a node that does not serve: %v", err)
	}
	hang := make(chan struct{})
	for _, s := range []store.Durable{a, b} {
		s.Serve(func(ctx context.Context, from string, octets []byte) []byte {
			if string(octets) == "hang" {
				close(hang)
				<-ctx.Done()
			}
			return fmt.Appendf(nil, "%s to %s: %s", from, s.Node(), octets)
		})
		defer s.Serve(nil)
	}
	for _, pair := range [][2]store.Durable{{a, b}, {b, a}, {a, a}} {
		want := fmt.Sprintf("%s to %s: x", pair[0].Node(), pair[1].Node())
		if got, err := pair[0].Call(ctx, pair[1].Node(), []byte("x")); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	short, end := context.WithCancel(ctx)
	go func() { <-hang; end() }()
	if _, err := a.Call(short, b.Node(), []byte("hang")); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("a call without an answer: %v", err)
	}
	b.Serve(nil)
	if _, err := a.Call(ctx, b.Node(), []byte("x")); !errors.Is(err, store.ErrNoNode) {
		t.Errorf("a call to a node that does not serve any more: %v", err)
	}
}
