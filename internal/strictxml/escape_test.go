package strictxml_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// What is looked at eight octets at a time must be what is looked at one by one: each octet, at each place, in strings of each length up to three words.
func TestEachOctetIsEscapedAtEachPlace(t *testing.T) {
	for length := 1; length <= 24; length++ {
		for at := range length {
			for c := range 256 {
				b := bytes.Repeat([]byte{'a'}, length)
				b[at] = byte(c)
				s := string(b)
				alone := strings.Repeat("a", at) + string(strictxml.AppendAttrValue(nil, string([]byte{byte(c)}))) + strings.Repeat("a", length-at-1)
				if got := string(strictxml.AppendAttrValue(nil, s)); got != alone {
					t.Fatalf("AppendAttrValue(%q) = %q, want %q", s, got, alone)
				}
				text := string(strictxml.AppendText(nil, s))
				if got := string(strictxml.AppendTextOctets(nil, b)); got != text {
					t.Fatalf("AppendTextOctets(%q) = %q, AppendText says %q", s, got, text)
				}
				changed := alone != s
				if c < utf8.RuneSelf && strictxml.Plain(s) == changed {
					t.Fatalf("Plain(%q) = %v", s, !changed)
				}
				if c >= utf8.RuneSelf && strictxml.Plain(s) {
					t.Fatalf("Plain(%q), which is not ASCII", s)
				}
			}
		}
	}
}

func BenchmarkAppendAttrValue(b *testing.B) {
	id := "branch-0123456789." + strings.Repeat("eyJhbGciOiJIUzI1", 13)
	dst := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		dst = strictxml.AppendAttrValue(dst[:0], id)
	}
}
