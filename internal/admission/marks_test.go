package admission

import "testing"

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
