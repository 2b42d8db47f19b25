package cpim

import (
	"errors"
	"strings"
	"testing"
)

func TestParseContentType(t *testing.T) {
	tests := []struct{ name, in, out, charset string }{
		{"plain", "text/plain", "text/plain", "us-ascii"},
		{"charset", "text/plain; charset=UTF-8", "text/plain; charset=UTF-8", "utf-8"},
		{"no spaces", "text/plain;charset=utf-8", "text/plain; charset=utf-8", "utf-8"},
		{"quoted charset", `text/plain;charset="UTF-8"`, "text/plain; charset=UTF-8", "utf-8"},
		{"capitals", "Message/CPIM", "message/cpim", ""},
		{"no charset", "application/im-iscomposing+xml", "application/im-iscomposing+xml", ""},
		// RFC 2045 §5.1
		{"comment", "text/plain; charset=us-ascii (Plain text)", "text/plain; charset=us-ascii", "us-ascii"},
		{"nested comment", `text/plain (a (b) \) c); x=y`, "text/plain; x=y", "us-ascii"},
		{"space everywhere", " text / plain ; a = b ;c=\t\"d e\" ", `text/plain; a=b; c="d e"`, "us-ascii"},
		{"folded", "multipart/mixed;\r\n boundary=\"a b\"", `multipart/mixed; boundary="a b"`, ""},
		{"quoted pairs", `a/b; c="\"\\\d"`, `a/b; c="\"\\d"`, ""},
		{"empty value", `a/b; c=""`, `a/b; c=""`, ""},
		{"semicolon in quotes", `multipart/signed; protocol="a;b=c"; micalg=sha1`, `multipart/signed; protocol="a;b=c"; micalg=sha1`, ""},
		{"utf-8 in quotes", `a/b; name="ä"`, `a/b; name="ä"`, ""},
		{"extended", "a/b; name*=utf-8''%41", "a/b; name*=utf-8''%41", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseContentType(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if c.String() != tt.out || c.Charset() != tt.charset {
				t.Errorf("%q, charset %q", c, c.Charset())
			}
			if d, err := ParseContentType(c.String()); err != nil || c != d {
				t.Errorf("reads back as %q, %v", d, err)
			}
			if err := checkContentType([]byte(tt.in)); err != nil {
				t.Error(err)
			}
			if c.Type()+"/"+c.Subtype() != c.Media() || !c.Is(strings.ToUpper(c.Media())) {
				t.Errorf("%q %q", c.Type(), c.Subtype())
			}
		})
	}
}

func TestParseContentTypeRefuses(t *testing.T) {
	for in, rule := range map[string]string{
		"":                               "content-type-type",
		"text":                           "content-type-slash",
		"text/":                          "content-type-subtype",
		"/plain":                         "content-type-type",
		"text/plain; ":                   "content-type-parameter",
		"text/plain; =b":                 "content-type-parameter",
		"text/plain; a":                  "content-type-parameter",
		"text/plain; a=":                 "content-type-value",
		"text/plain; a=b c":              "content-type-end",
		"text/plain, text/html":          "content-type-end",
		"text/plain; a=\"b":              "content-type-value",
		"text/plain; a=\"b\\":            "content-type-value",
		"text/plain; a=\"b\r\nc\"":       "control-character",
		"text/plain; a=\"\\\x00\"":       "control-character",
		"text/plain; a=\"\xff\"":         "utf-8",
		"text/plain; a=1; A=2":           "content-type-parameter",
		"text/plain (":                   "content-type-comment",
		"text/plain (\\":                 "content-type-comment",
		"text/plain ((((((((( )":         "content-type-comment",
		"text/plain\r\nX: y":             "content-type-end",
		"text/pl\xc3\xa4n":               "content-type-end",
		strings.Repeat("a", 9000) + "/b": "content-type-length",
	} {
		for i, parse := range []func() error{
			func() error { _, err := ParseContentType(in); return err },
			func() error {
				if err := checkContentType([]byte(in)); err != nil {
					return err
				}
				return nil
			},
		} {
			var serr *SyntaxError
			if err := parse(); !errors.As(err, &serr) || serr.Rule != rule {
				t.Errorf("%q, reader %d: got %v, want %s", in, i, err, rule)
			}
		}
	}
}

func TestContentTypeValues(t *testing.T) {
	c := MustParseContentType("text/plain")
	d, err := c.WithParam("Charset", "utf-8")
	if err != nil || d.String() != "text/plain; charset=utf-8" || !d.IsUTF8() {
		t.Errorf("%q, %v", d, err)
	}
	if e, err := d.WithParam("charset", "iso-8859-1"); err != nil || e.String() != "text/plain; charset=iso-8859-1" || e.IsUTF8() {
		t.Errorf("%q, %v", e, err)
	}
	for _, bad := range [][2]string{{"a b", "c"}, {"", "c"}, {"a", "\r\n"}, {"a", "\xff"}, {"a=b;c", "x"}} {
		if e, err := d.WithParam(bad[0], bad[1]); err == nil {
			t.Errorf("%q: %q", bad, e)
		}
	}
	if !(ContentType{}).IsZero() || (ContentType{}).String() != "" {
		t.Error("zero")
	}
	e, err := ParseEntity([]byte("\r\nbody"), Limits{})
	if err != nil || e.ContentType().String() != "text/plain; charset=us-ascii" || string(e.Body()) != "body" {
		t.Errorf("%v, %v", e, err)
	}
}

func FuzzParseContentType(f *testing.F) {
	for _, s := range []string{"text/plain; charset=utf-8", `a/b;c="d\"e"; f*=g (h(i))`, "multipart/mixed;\r\n boundary=\"a b\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseContentType(s)
		quick := checkContentType([]byte(s))
		if err != nil {
			checkSyntaxError(t, err, len(s))
			if quick == nil {
				t.Fatalf("%q: %v, but the quick check accepts it", s, err)
			}
			return
		}
		if quick != nil && len(c.Params()) <= 16 {
			t.Fatalf("%q: the quick check says %v", s, quick)
		}
		if strings.ContainsAny(c.String(), "\r\n\x00") {
			t.Fatalf("%q breaks a line", c)
		}
		if d, err := ParseContentType(c.String()); err != nil && len(c.String()) <= MaxContentTypeOctets || err == nil && c != d {
			t.Fatalf("%q reads back as %q, %v", c, d, err)
		}
	})
}

func BenchmarkParseContentType(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseContentType("text/plain; charset=utf-8"); err != nil {
			b.Fatal(err)
		}
	}
}
