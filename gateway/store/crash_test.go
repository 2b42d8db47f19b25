package store_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// image is the directory of a store as a process that is killed now leaves it.
func image(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func entry(s *store.Store, text string) store.Entry {
	return store.Entry{ID: s.NewID(), Kind: store.KindMessage, Order: "x", Accepted: time.Now(), Expires: time.Now().Add(time.Hour), Octets: []byte(text)}
}

// held are the texts of what a store holds, in order.
func held(t testing.TB, s *store.Store) (list []string) {
	t.Helper()
	err := s.Replay(t.Context(), nil, func(e store.Entry, _ store.Progress) error {
		list = append(list, string(e.Octets))
		return nil
	}, func(id store.ID, err error) { list = append(list, "corrupt") })
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// T-FI-01: what was removed does not come back when the process is killed later, whether or not its mark has ended.
func TestT_FI_01_WhatIsGoneStaysGone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	var all []store.ID
	for i := range 20 {
		e := entry(s, fmt.Sprint(i))
		if err := s.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if err := s.Mark(t.Context(), e.ID, store.Progress{Attempts: 1}); err != nil {
			t.Fatal(err)
		}
		all = append(all, e.ID)
	}
	for _, id := range all[:15] {
		if err := s.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for _, after := range []time.Duration{0, time.Second, 3 * time.Second} {
		<-time.After(after) // marks that end by the clock would end meanwhile
		r := open(t, image(t, dir), nil)
		got := fmt.Sprint(held(t, r))
		t.Logf("after %v: %s %+v", after, got, r.Usage())
		if got != "[15 16 17 18 19]" {
			t.Errorf("after %v: %s", after, got)
		}
		r.Close()
	}
}
