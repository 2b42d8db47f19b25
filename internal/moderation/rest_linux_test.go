package moderation

import (
	"testing"
	"time"
)

func TestARealRest(t *testing.T) {
	r := NewReader()
	defer r.Close()
	if r.rest == nil {
		t.Fatal("the system refuses what it takes")
	}
	r.procs = func() int { return 1 }
	rests := 0
	rest := r.rest
	r.rest = func(d time.Duration) { rests++; rest(d) }
	at := time.Now()
	for begun := at; rests < 20 && time.Since(begun) < time.Minute; at = at.Add(100 * time.Microsecond) {
		r.Read(at, 1)
	}
	if rests < 20 {
		t.Errorf("%d rests in a minute of much work", rests)
	}
	r.Close()
	r.Read(time.Now(), 1000)
	r.Read(time.Now().Add(time.Second), 100_000)
	r.Close()
}
