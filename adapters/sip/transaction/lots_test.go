package transaction

import (
	"strings"
	"testing"
)

// All bits of a mark tell requests apart, the lowest one too: by those admission finds the place of a mark.
func TestMarksAreSpread(t *testing.T) {
	l := newLots()
	var ones [32]int
	const many = 4000
	b := inRequest("MESSAGE", "z9hG4bKspread", "spread", "")
	for i := range many {
		b[len(b)-1], b[len(b)-2] = byte(i), byte(i>>8)
		for bit, m := 0, l.mark(b); bit < len(ones); bit++ {
			ones[bit] += int(m >> bit & 1)
		}
	}
	for bit, n := range ones {
		if n < many*2/5 || n > many*3/5 {
			t.Errorf("bit %d is set in %d of %d marks", bit, n, many)
		}
	}
}

// However long the Request-URI is, two requests have two marks.
func TestMarksOfLongRequests(t *testing.T) {
	l := newLots()
	long := func(branch string) []byte {
		b := string(inRequest("MESSAGE", branch, branch, ""))
		return []byte(strings.Replace(b, " sip:", " sip:"+strings.Repeat("a", 2000), 1))
	}
	if l.mark(long("z9hG4bK1")) == l.mark(long("z9hG4bK2")) {
		t.Error("a request is taken for a copy of another")
	}
}
