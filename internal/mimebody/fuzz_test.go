package mimebody

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// FuzzSplit is T-FZ-12: the parts of a multipart, put together again with the same delimiters, are the same parts, octet for octet; a
// signed part is so what its signer saw.
func FuzzSplit(f *testing.F) {
	f.Add("simple boundary", []byte(crlf(simple)))
	f.Add("b", []byte("--b\r\n\r\n\x00\xff\n\r\r\n--b--"))
	f.Add("b", []byte("--b \r\nContent-Type: multipart/mixed;\r\n boundary=c\r\n\r\n--c\r\n\r\n--c--\r\n--b--\r\nepilogue"))
	f.Fuzz(func(t *testing.T, boundary string, body []byte) {
		kind, err := cpim.MustParseContentType("multipart/mixed").WithParam("boundary", boundary)
		if err != nil {
			t.Skip()
		}
		parts, err := Split(kind, body, Limits{})
		if err != nil {
			var e *SyntaxError
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(body) {
				t.Fatalf("fault %v", err)
			}
			return
		}
		var again []byte
		for i := range parts {
			p := &parts[i]
			if len(p.Bytes()) > 2 && !bytes.Equal(p.Bytes(), body[p.Offset:p.Offset+len(p.Bytes())]) {
				t.Fatalf("part %d is not at its offset", i)
			}
			again = append(append(append(again, "--"...), boundary...), "\r\n"...)
			again = append(append(again, p.Bytes()...), "\r\n"...)
		}
		again = append(append(append(again, "--"...), boundary...), "--"...)
		twice, err := Split(kind, again, Limits{Octets: 2 << 20})
		if err != nil || len(twice) != len(parts) {
			t.Fatalf("%d parts, then %d: %v", len(parts), len(twice), err)
		}
		for i := range parts {
			if !bytes.Equal(parts[i].Raw(), twice[i].Raw()) || parts[i].Type() != twice[i].Type() {
				t.Fatalf("part %d changed", i)
			}
		}
	})
}

// FuzzRender: what is shown is UTF-8, within the limits, and every link one that may be followed.
func FuzzRender(f *testing.F) {
	f.Add("text/plain;charset=shift_jis", []byte("\x93\xfa"))
	f.Add("multipart/alternative;boundary=b", []byte("--b\r\n\r\nx\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n--b--"))
	f.Add("multipart/mixed;boundary=b", []byte("--b\r\nContent-Type: multipart/related;boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--"))
	f.Add(FileTransfer, []byte(rcsFile))
	f.Add(URIList, []byte("https://a.example/\r\n"))
	f.Add(`message/external-body;access-type=URL;url="https://a.example/"`, []byte("Content-Type: image/png\r\n\r\n"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r, err := Render(adapters.Content{Type: kind, Octets: body}, Limits{})
		if err != nil {
			return
		}
		if len(r.Texts) == 0 && len(r.HTML) == 0 && len(body) > 0 && len(r.Links) > 0 {
			t.Fatal("links without a text that names them")
		}
		for _, h := range r.HTML {
			if !utf8.ValidString(h) {
				t.Fatal("HTML is not UTF-8")
			}
		}
		for i, s := range r.Texts {
			if !utf8.ValidString(s.Text) {
				t.Fatalf("text %d is not UTF-8", i)
			}
		}
		for _, l := range r.Links {
			if !ValidURL(l.URL) || l.Size < 0 {
				t.Fatalf("link %+v", l)
			}
		}
	})
}

func BenchmarkRender(b *testing.B) {
	for _, c := range []struct{ name, kind, body string }{
		{"plain", "text/plain;charset=UTF-8", "Neither, fair saint, if either thee dislike."},
		{"alternative", "multipart/alternative;boundary=b", "--b\r\n\r\nx\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n--b--"},
	} {
		b.Run(c.name, func(b *testing.B) {
			content := adapters.Content{Type: c.kind, Octets: []byte(c.body)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Render(content, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
