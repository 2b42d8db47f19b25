package mimebody

import (
	"errors"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/cpim"
)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

var mixed = cpim.MustParseContentType(`multipart/mixed; boundary="simple boundary"`)

// The example of RFC 2046 §5.1.1.
const simple = `This is the preamble.  It is to be ignored, though it
is a handy place for composition agents to include an
explanatory note to non-MIME conformant readers.

--simple boundary

This is implicitly typed plain US-ASCII text.
It does NOT end with a linebreak.
--simple boundary
Content-type: text/plain; charset=us-ascii

This is explicitly typed plain US-ASCII text.
It DOES end with a linebreak.

--simple boundary--

This is the epilogue.  It is also to be ignored.
`

func TestSplitRFC2046Example(t *testing.T) {
	// "implementations must ignore anything that appears before the first boundary delimiter line or after the last one" (RFC 2046 §5.1.1)
	parts, err := Split(mixed, []byte(crlf(simple)), Limits{})
	if err != nil || len(parts) != 2 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for i, want := range []string{
		"This is implicitly typed plain US-ASCII text.\nIt does NOT end with a linebreak.",
		"This is explicitly typed plain US-ASCII text.\nIt DOES end with a linebreak.\n",
	} {
		if got := string(parts[i].Raw()); got != crlf(want) {
			t.Errorf("part %d: %q, want %q", i, got, want)
		}
		if !parts[i].Type().Is("text/plain") {
			t.Errorf("part %d is %s", i, parts[i].Type())
		}
		if at := parts[i].Offset; crlf(simple)[at:at+len(parts[i].Bytes())] != string(parts[i].Bytes()) {
			t.Errorf("part %d is not at its offset", i)
		}
	}
}

func TestSplitTakes(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []string // the parts, whole
	}{
		{"one part", "--b\r\n\r\nx\r\n--b--", []string{"\r\nx"}},
		// "receivers MUST be able to handle padding added by message transports" (RFC 2046 §5.1.1)
		{"padding", "--b \t\r\n\r\nx\r\n--b\t\r\n\r\ny\r\n--b-- \r\n", []string{"\r\nx", "\r\ny"}},
		{"an empty part", "--b\r\n\r\n--b\r\n\r\n\r\n--b--", []string{"\r\n", "\r\n"}},
		{"headers and no body", "--b\r\nX: y\r\n\r\n--b--", []string{"X: y\r\n"}},
		{"the boundary within a line", "--b\r\n\r\na --b c\r\n--b--", []string{"\r\na --b c"}},
		{"any octets", "--b\r\n\r\n\x00\xff\n\r\r\n--b--", []string{"\r\n\x00\xff\n\r"}},
		{"an epilogue with delimiters", "--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\ny", []string{"\r\nx"}},
		{"a folded header", "--b\r\nContent-Type: text/plain;\r\n charset=utf-8\r\n\r\nx\r\n--b--", []string{"Content-Type: text/plain;\r\n charset=utf-8\r\n\r\nx"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			parts, err := Split(cpim.MustParseContentType("multipart/mixed;boundary=b"), []byte(c.body), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range parts {
				got = append(got, string(parts[i].Bytes()))
			}
			if strings.Join(got, "|") != strings.Join(c.want, "|") || len(got) != len(c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestSplitRefuses(t *testing.T) {
	const kind = "multipart/mixed;boundary=b"
	for _, c := range []struct {
		name, kind, body, rule string
		lim                    Limits
	}{
		{"no boundary", "multipart/mixed", "--b\r\n\r\nx\r\n--b--", "multipart-boundary", Limits{}},
		// "must be no longer than 70 characters, not counting the two leading hyphens" (RFC 2046 §5.1.1)
		{"a long boundary", "multipart/mixed;boundary=" + strings.Repeat("b", 71), "", "multipart-boundary", Limits{}},
		{"a boundary of other characters", `multipart/mixed;boundary="b;"`, "", "multipart-boundary", Limits{}},
		{"a boundary that ends with a space", `multipart/mixed;boundary="b "`, "", "multipart-boundary", Limits{}},
		{"no delimiter", kind, "x", "multipart-delimiter", Limits{}},
		{"nothing", kind, "", "multipart-delimiter", Limits{}},
		{"cut off", kind, "--b\r\n\r\nx\r\n", "multipart-close", Limits{}},
		{"no part", kind, "--b--", "multipart-empty", Limits{}},
		{"the lines end with LF", kind, "--b\n\nx\n--b--", "multipart-delimiter", Limits{}},
		{"a delimiter after LF", kind, "--b\r\n\r\nx\n--b--", "line-end", Limits{}},
		// "Lines in a body-part must not start with the specified dash-boundary" (RFC 2046 §5.1.1)
		{"a line that begins like a delimiter", kind, "--b\r\n\r\n--bc\r\nx\r\n--b--", "multipart-delimiter", Limits{}},
		{"two delimiter lines in a row", kind, "--b\r\n--b\r\n\r\nx\r\n--b--", "multipart-part", Limits{}},
		{"a header that is none", kind, "--b\r\nx\r\n\r\ny\r\n--b--", "content-header-name", Limits{}},
		{"two encodings", kind, "--b\r\nContent-Transfer-Encoding: 8bit\r\ncontent-transfer-encoding: base64\r\n\r\ny\r\n--b--", "part-header-once", Limits{}},
		{"two types", kind, "--b\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n\r\ny\r\n--b--", "content-type-once", Limits{}},
		{"too long", kind, "--b\r\n\r\nx\r\n--b--", "multipart-octets", Limits{Octets: 8}},
		{"too many parts", kind, "--b\r\n\r\nx\r\n--b\r\n\r\nx\r\n--b--", "multipart-parts", Limits{Parts: 1}},
		{"too many headers", kind, "--b\r\nA: b\r\nC: d\r\n\r\nx\r\n--b--", "content-header-count", Limits{Headers: 1}},
		{"long headers", kind, "--b\r\nA: bbbbbbbb\r\n\r\nx\r\n--b--", "part-header-octets", Limits{HeaderOctets: 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Split(cpim.MustParseContentType(c.kind), []byte(c.body), c.lim)
			var e *SyntaxError
			if !errors.As(err, &e) || e.Rule != c.rule {
				t.Errorf("%v, want %s", err, c.rule)
			}
			if e != nil && (e.Offset < 0 || e.Offset > len(c.body) || e.Section == "") {
				t.Errorf("offset %d, section %q", e.Offset, e.Section)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct{ name, encoding, in, want, rule string }{
		{"none", "", "\x00=\xff", "\x00=\xff", ""},
		{"8bit", "8BIT", "é", "é", ""},
		{"binary", "binary", "\x00", "\x00", ""},
		{"base64", "base64", "w6k=\r\n", "é", ""},
		{"base64 in lines", "Base64", "w6\r\nk=", "é", ""},
		{"base64 with another character", "base64", "w6k=!", "", "base64"},
		{"base64 cut off", "base64", "w6k", "", "base64"},
		{"base64 with bits after the end", "base64", "w6l=", "", "base64"},
		// The example of RFC 2045 §6.7.
		{"quoted-printable", "quoted-printable", "Now's the time =\r\nfor all folk to come=\r\n to the aid of their country.", "Now's the time for all folk to come to the aid of their country.", ""},
		// "when decoding a Quoted-Printable body, any trailing white space on a line must be deleted" (RFC 2045 §6.7)
		{"quoted-printable with white space at an end", "quoted-printable", "a \t\r\n=C3=A9", "a\r\né", ""},
		{"quoted-printable soft break with white space", "quoted-printable", "a= \r\nb", "ab", ""},
		{"quoted-printable with half an octet", "quoted-printable", "=C", "", "quoted-printable"},
		{"quoted-printable with no octet", "quoted-printable", "=XY", "", "quoted-printable"},
		{"quoted-printable with an octet over 127", "quoted-printable", "\xc3", "", "quoted-printable"},
		{"another", "x-uuencode", "x", "", "unsupported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode(c.encoding, []byte(c.in))
			var e *SyntaxError
			switch {
			case c.rule == "" && (err != nil || string(got) != c.want):
				t.Errorf("%q, %v, want %q", got, err, c.want)
			case c.rule == "unsupported" && !errors.Is(err, ErrUnsupported), c.rule != "" && c.rule != "unsupported" && (!errors.As(err, &e) || e.Rule != c.rule):
				t.Errorf("%v, want %s", err, c.rule)
			}
		})
	}
}

// T-CP-09: text in other charsets crosses as what it says, or is refused.
func TestCharsets(t *testing.T) {
	for _, c := range []struct {
		name, charset, in, want string
		err                     error
	}{
		{"none given is UTF-8", "", "é", "é", nil},
		{"UTF-8", "UTF-8", "😀 \U0001F1E8", "😀 \U0001F1E8", nil},
		{"not UTF-8", "utf-8", "\xff", "", ErrUndecodable},
		{"surrogates in UTF-8", "utf-8", "\xed\xa0\x80", "", ErrUndecodable},
		{"US-ASCII", "us-ascii", "x", "x", nil},
		{"not US-ASCII", "us-ascii", "é", "", ErrUndecodable},
		{"Latin 1", "ISO-8859-1", "\xe9\x00", "é\x00", nil},
		{"Latin 2", "iso-8859-2", "\xec\xb9", "ěš", nil},
		{"windows-1250", "windows-1250", "\x9a", "š", nil},
		{"windows-1252 with an octet that it has not", "windows-1252", "a\x81", "", ErrUndecodable},
		{"KOI8-R", "koi8-r", "\xd0\xd2", "пр", nil},
		{"Shift_JIS", "Shift_JIS", "\x93\xfa", "日", nil},
		{"Shift_JIS cut off", "Shift_JIS", "\x93", "", ErrUndecodable},
		{"ISO-2022-JP", "iso-2022-jp", "\x1b$BF|\x1b(B", "日", nil},
		{"GB18030", "gb18030", "\xc8\xd5", "日", nil},
		{"Big5", "big5", "\xa4\xe9", "日", nil},
		{"EUC-KR", "euc-kr", "\xec\xed", "日", nil},
		{"UTF-16 with its mark", "utf-16", "\xfe\xff\x00x", "x", nil},
		{"UTF-16LE", "utf-16le", "x\x00", "x", nil},
		{"UTF-16LE with half a pair", "utf-16le", "\x00\xd8", "", ErrUndecodable},
		{"unknown", "x-klingon", "x", "", ErrCharset},
		{"UTF-7, which nobody should read", "utf-7", "+AGEAYg-", "", ErrCharset},
		{"a long name", strings.Repeat("x", 65), "x", "", ErrCharset},
	} {
		t.Run(c.name, func(t *testing.T) {
			kind := textPlain
			if c.charset != "" {
				kind, _ = kind.WithParam("charset", c.charset)
			}
			got, err := Text(kind, []byte(c.in))
			if !errors.Is(err, c.err) || err == nil && string(got) != c.want {
				t.Errorf("%q, %v, want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}
