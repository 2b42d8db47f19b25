package sip

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// sleeper notes when it was woken.
type sleeper struct {
	alarm alarm
	rung  []time.Duration
	since time.Time
	again func(*sleeper)
}

func (s *sleeper) ring() {
	s.rung = append(s.rung, time.Since(s.since))
	if s.again != nil {
		s.again(s)
	}
}

func TestAlarmsRingInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newAlarms()
		random := rand.New(rand.NewPCG(1, 2))
		begin := time.Now()
		list := make([]*sleeper, 3*alarmBatch)
		want := make([]time.Duration, len(list))
		for i := range list {
			list[i] = &sleeper{since: begin}
			for range 1 + i%3 { // set, and set anew, earlier or later
				want[i] = time.Duration(random.IntN(100)) * time.Second
				q.set(&list[i].alarm, list[i], begin.Add(want[i]))
			}
		}
		for i := range list {
			if i%5 == 0 {
				q.set(&list[i].alarm, list[i], time.Time{})
			}
		}
		time.Sleep(200 * time.Second)
		synctest.Wait()
		for i, s := range list {
			switch {
			case i%5 == 0 && len(s.rung) > 0:
				t.Errorf("%d was cleared and rang at %v", i, s.rung)
			case i%5 != 0 && !slices.Equal(s.rung, []time.Duration{want[i]}):
				t.Errorf("%d rang at %v, want %v", i, s.rung, want[i])
			}
		}

		every := &sleeper{since: time.Now()}
		every.again = func(s *sleeper) { q.set(&s.alarm, s, time.Now().Add(time.Second)) }
		every.again(every)
		past := &sleeper{since: time.Now()}
		q.set(&past.alarm, past, time.Now().Add(-time.Hour))
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		if len(every.rung) != 3 || len(past.rung) != 1 || past.rung[0] != 0 {
			t.Errorf("%v %v", every.rung, past.rung)
		}
		q.stop()
		q.set(&past.alarm, past, time.Now())
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(every.rung) != 3 || len(past.rung) != 1 {
			t.Errorf("%v %v after stop", every.rung, past.rung)
		}
	})
}

func BenchmarkAlarms(b *testing.B) {
	q := newAlarms()
	defer q.stop()
	list := make([]sleeper, 300_000)
	begin := time.Now()
	for i := range list {
		q.set(&list[i].alarm, &list[i], begin.Add(time.Hour+time.Duration(i)*time.Millisecond))
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() { // put off by an hour, as a refresh does
		s := &list[i%len(list)]
		q.set(&s.alarm, s, begin.Add(2*time.Hour+time.Duration(i)*time.Millisecond))
		i++
	}
}
