package strictxml

import (
	"testing"
	"unicode/utf8"
)

// The productions as XML 1.0, fifth edition, §2.2 and §2.3 print them, without
// the colon.
var (
	charRanges      = [][2]rune{{0x9, 0xA}, {0xD, 0xD}, {0x20, 0xD7FF}, {0xE000, 0xFFFD}, {0x10000, 0x10FFFF}}
	nameStartRanges = [][2]rune{
		{'A', 'Z'},
		{'_', '_'},
		{'a', 'z'},
		{0xC0, 0xD6},
		{0xD8, 0xF6},
		{0xF8, 0x2FF},
		{0x370, 0x37D},
		{0x37F, 0x1FFF},
		{0x200C, 0x200D},
		{0x2070, 0x218F},
		{0x2C00, 0x2FEF},
		{0x3001, 0xD7FF},
		{0xF900, 0xFDCF},
		{0xFDF0, 0xFFFD},
		{0x10000, 0xEFFFF},
	}
	nameRanges = [][2]rune{{'-', '-'}, {'.', '.'}, {'0', '9'}, {0xB7, 0xB7}, {0x300, 0x36F}, {0x203F, 0x2040}}
)

func in(r rune, ranges [][2]rune) bool {
	for _, p := range ranges {
		if r >= p[0] && r <= p[1] {
			return true
		}
	}
	return false
}

// Every code point, against the productions.
func TestCharacters(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		start := in(r, nameStartRanges)
		name := start || in(r, nameRanges)
		if got := isChar(r); got != in(r, charRanges) {
			t.Fatalf("isChar(%U) = %v", r, got)
		}
		if r >= 0xD800 && r <= 0xDFFF {
			continue // has no UTF-8
		}
		s := string(r)
		if got := isNCName(s); got != start {
			t.Fatalf("isNCName(%U) = %v", r, got)
		}
		if got := isNCName("a" + s); got != name {
			t.Fatalf("isNCName(a %U) = %v", r, got)
		}
		if got := scanNCName([]byte(s), 0) == len(s); got != start {
			t.Fatalf("scanNCName(%U) = %v", r, got)
		}
		if got := scanNCName([]byte("a"+s), 0) == 1+len(s); got != name {
			t.Fatalf("scanNCName(a %U) = %v", r, got)
		}
		for pad := range 9 { // at each place of the word that is looked at
			b := []byte("xxxxxxxx"[:pad] + s + "xxxxxxxx"[pad/2:])
			at, _ := checkChars(b)
			if want := -1; in(r, charRanges) != (at == want) || at >= 0 && at != pad {
				t.Fatalf("checkChars with %U at %d: %d", r, pad, at)
			}
			if r > 0x3000 && r < 0xFFF0 {
				break // enough of these
			}
		}
	}
}
