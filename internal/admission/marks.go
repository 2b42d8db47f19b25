package admission

const (
	// The table of marks: 16 MiB while something is refused, room for four million.
	rowBits = 18
	rowRoom = 16
	// marksSize is what it needs of the memory, in octets, with the room for garbage that is counted for it (see Sensors).
	marksSize = rowRoom << rowBits * 4 * 9 / 8
	// ticks is how many intervals can be told apart, with one more that stands for none: some seven hours of them.
	ticks = 1<<rowBits - 1
	// lately is for how many intervals a mark is known after it came: for 64*T1 it may come again (RFC 3261 §17.1.2.2).
	lately = 330
)

// memory knows which marks came lately, and so what is a copy and what is new. An entry has in its upper bits those of the mark that its row does not tell, and in
// the lower ones the interval in which it came last.
type memory struct {
	rows [][rowRoom]uint32
	none bool // there is no room for them: nothing is known
}

// note remembers a mark that comes in this interval, and tells whether it came lately. Where a row has no room the one goes that came first. Mark 0 is never known.
func (m *memory) note(mark, interval uint32) (known bool) {
	if mark == 0 || m.none {
		return false
	}
	if m.rows == nil {
		m.rows = make([][rowRoom]uint32, 1<<rowBits)
	}
	now := interval%ticks + 1 // so that no entry is 0
	entry := mark&^ticks | now
	row := &m.rows[mark&ticks]
	for i, e := range row {
		switch {
		case e == 0:
			row[i] = entry
			return false
		case (e^mark)&^ticks == 0:
			row[i] = entry
			return age(e, now) <= lately
		}
	}
	oldest := 0
	for i, e := range row {
		if age(e, now) > age(row[oldest], now) {
			oldest = i
		}
	}
	row[oldest] = entry
	return false
}

// age is how many intervals ago an entry came.
func age(entry, now uint32) uint32 {
	at := entry & ticks
	if at > now {
		now += ticks
	}
	return now - at
}

// forget gives the memory back.
func (m *memory) forget() { m.rows = nil }

// within keeps to the cap of the memory, of which so much is used. New work is worth more than to know what came: where the memory is full the marks go, and they
// do not come again until there is room for them as well, or they alone would keep it full.
func (m *memory) within(limit, used float64, brimful bool) {
	if brimful {
		m.forget()
	}
	m.none = m.rows == nil && limit > 0 && used+marksSize >= roomy*limit
}
