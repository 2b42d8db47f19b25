package strictxml_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// COMPAT(Prosody, 0.12.3): a carriage return that stands as itself.
func TestAppendTextKeepingCR(t *testing.T) {
	for _, c := range []struct{ name, raw, normal, keeping string }{
		{"none", "<b>a &amp; b\nc</b>", "a & b\nc", "a & b\nc"},
		{"as itself", "<b>a\r\nb\r\n\r\n</b>", "a\nb\n\n", "a\r\nb\r\n\r\n"},
		{"alone", "<b>\ra\rb\r</b>", "\na\nb\n", "\ra\rb\r"},
		{"as a reference", "<b>a&#13;\nb&#xD;</b>", "a\r\nb\r", "a\r\nb\r"},
		{"both", "<b>a&#13;\r\n&lt;\r&#x1F339;</b>", "a\r\n<\n\U0001F339", "a\r\r\n<\r\U0001F339"},
		{"in CDATA", "<b>a\r\n<![CDATA[b\r\n&amp;]]></b>", "a\nb\n&amp;", "a\nb\n&amp;"},
		{"beside an element", "<b>a\r<i/>b\r\n</b>", "a\nb\n", "a\rb\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cur strictxml.Cursor
			cur.Reset([]byte(c.raw), nil, strictxml.Limits{})
			var normal, keeping []byte
			for {
				k, err := cur.Next()
				if err != nil {
					t.Fatal(err)
				}
				if k == strictxml.End {
					break
				}
				normal = append(normal, cur.TextBytes()...)
				keeping = cur.AppendTextKeepingCR(keeping)
			}
			if string(normal) != c.normal || string(keeping) != c.keeping {
				t.Errorf("normal %q, want %q; keeping %q, want %q", normal, c.normal, keeping, c.keeping)
			}
		})
	}
}
