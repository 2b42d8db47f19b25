package admission

import (
	"testing"
	"time"
)

func TestMarks(t *testing.T) {
	var m memory
	for _, step := range []struct {
		name           string
		mark, interval uint32
		known          bool
	}{
		{"first", 7, 1, false},
		{"again", 7, 1, true},
		{"another one in its row", 7 + 1<<rowBits, 1, false},
		{"later", 7, 1 + lately, true},
		{"and later, because it came meanwhile", 7, 1 + 2*lately, true},
		{"the other one, which did not", 7 + 1<<rowBits, 2 + 2*lately, false},
		{"no mark", 0, 2 + 2*lately, false},
		{"nor a second time", 0, 2 + 2*lately, false},
		{"all ones", 1<<32 - 1, ticks - 1, false},
		{"when the intervals are counted anew", 1<<32 - 1, ticks, true},
		{"and long after that", 1<<32 - 1, ticks + lately, true},
		{"and too long", 1<<32 - 1, ticks + 2*lately + 1, false},
	} {
		if known := m.note(step.mark, step.interval); known != step.known {
			t.Errorf("%s: known %v", step.name, known)
		}
	}
	m.forget()
	if m.note(7, 1+2*lately) {
		t.Error("what was forgotten is known")
	}
}

// Where a row is full the one goes that has not come for longest.
func TestMarksOfAFullRow(t *testing.T) {
	var m memory
	mark := func(i int) uint32 { return uint32(i+1) << rowBits }
	for i := range rowRoom {
		m.note(mark(i), uint32(10+i))
	}
	m.note(mark(0), 30) // the first one came again
	m.note(mark(rowRoom), 31)
	for i := range rowRoom + 1 {
		if i == 1 {
			continue
		}
		if !m.note(mark(i), 31) {
			t.Errorf("mark %d is not known", i)
		}
	}
	if m.note(mark(1), 31) {
		t.Error("there is room for one more than there is")
	}
}

func BenchmarkMarks(b *testing.B) {
	var m memory
	b.ReportAllocs()
	x := uint32(1)
	for i := range b.N {
		x = x*1664525 + 1013904223
		m.note(x, uint32(i>>15))
	}
}

// hoarder needs memory for marks beside what the process has in use.
type hoarder struct {
	server
	c *Controller
}

func (h *hoarder) Memory() int64 {
	if h.c.marks.rows == nil {
		return h.server.Memory()
	}
	return h.server.Memory() + rowRoom<<rowBits*4*9/8
}

// Marks are in the memory's cap: where there is no room for them work is done without them, and they are never why nothing is taken.
func TestMarksDoNotFillTheMemory(t *testing.T) {
	for _, used := range []int64{50, 120, 138, 150} {
		h := &hoarder{server: server{capacity: 2000, memory: used}}
		c, err := New(Config{Sensors: h, Memory: 160 << 20})
		if err != nil {
			t.Fatal(err)
		}
		h.c = c
		now, x := time.Unix(1_800_000_000, 0), &client{flow: c.Flow("x"), rate: 8000}
		play(c, &h.server, &now, 3*time.Second, x)
		if !c.Active() {
			t.Fatal("there is no overload")
		}
		if known := c.marks.rows != nil; known != (used <= 120) {
			t.Errorf("%d of 160 MiB are in use: marks %v", used, known)
		}
		if play(c, &h.server, &now, 3*time.Second, x); x.taken < 4000 {
			t.Errorf("%d of 160 MiB are in use: %d of 24,000 are taken in 3 s, of 6000 that can be done", used, x.taken)
		}
		h.memory = 153 // it becomes full, and is not any more
		play(c, &h.server, &now, time.Second, x)
		if c.marks.rows != nil {
			t.Errorf("%d of 160 MiB were in use: the memory is full, and has marks", used)
		}
		h.memory, x.rate = 140, 500
		play(c, &h.server, &now, 10*time.Second, x)
		if play(c, &h.server, &now, time.Second, x); x.taken != x.sent {
			t.Errorf("%d of 160 MiB were in use: %d of %d are taken with room again", used, x.taken, x.sent)
		}
	}
}

// The marks go half a minute after the last overload, also where hardly anything comes then.
func TestMarksAreForgotten(t *testing.T) {
	c, s, now := setup(t)
	x := &client{flow: c.Flow("x"), rate: 50_000}
	play(c, s, &now, 3*time.Second, x)
	if c.marks.rows == nil {
		t.Fatal("there are none")
	}
	s.waiting, x.rate = 0, 100
	play(c, s, &now, 10*time.Second, x)
	if c.Active() || c.marks.rows == nil {
		t.Fatal("there is overload, or they went too soon")
	}
	for range 2 {
		now = now.Add(time.Minute)
		x.flow.Admit(now)
	}
	if c.marks.rows != nil {
		t.Error("they are there two minutes later")
	}
}
