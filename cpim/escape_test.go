package cpim

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
)

func TestUnescape(t *testing.T) {
	tests := []struct{ name, in, exact, line string }{
		{"nothing", "plain 'text' \"here\"", "plain 'text' \"here\"", "plain 'text' \"here\""},
		{"special sequences", `\\\"\'`, `\"'`, `\"'`},
		{"white space", `a\tb\rc\nd`, "a\tb\rc\nd", "a b c d"},
		{"controls", `\b\u0000\u001B\u007f`, "\b\x00\x1b\x7f", "\uFFFD\uFFFD\uFFFD\uFFFD"},
		{"C1 and separators", `\u0085\u2028\u2029`, "\u0085\u2028\u2029", "\uFFFD\uFFFD\uFFFD"},
		{"CR LF in code points", `a\u000d\u000Ab`, "a\r\nb", "a  b"},
		{"either case of digits", `\u00e9\u00E9`, "éé", "éé"},
		{"surrogate pair", `\uD83D\ude00`, "😀", "😀"},
		{"lone high surrogate", `\uD83Dx`, "\uFFFDx", "\uFFFDx"},
		{"lone low surrogate", `\uDE00`, "\uFFFD", "\uFFFD"},
		{"two high surrogates", `\uD83D\uD83D\uDE00`, "\uFFFD😀", "\uFFFD😀"},
		{"unrecognised is the character", `\q\é\ `, "qé ", "qé "},
		{"short code point is a u", `\u12g4 \u12`, "u12g4 u12", "u12g4 u12"},
		{"capital U", `\U0041`, "U0041", "U0041"},
		{"isolated backslash at the end", `end\`, "end", "end"},
		{"escaped backslash at the end", `end\\`, `end\`, `end\`},
		{"backslash n from a backslash", `\\n`, `\n`, `\n`},
		{"empty", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Unescape(tt.in); got != tt.exact {
				t.Errorf("Unescape = %q, want %q", got, tt.exact)
			}
			if got := UnescapeLine(tt.in); got != tt.line {
				t.Errorf("UnescapeLine = %q, want %q", got, tt.line)
			}
		})
	}
}

func TestEscape(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`a\b`, `a\\b`},
		{"\b\t\n\r", `\b\t\n\r`},
		{"\x00\x07\x0b\x0c\x0e\x1f\x7f", `\u0000\u0007\u000b\u000c\u000e\u001f\u007f`},
		// "All other characters MUST NOT be represented using an escape
		// sequence."
		{`"it's" é 😀`, `"it's" é 😀`},
		{"\u0085", "\u0085"},
		{"bad \xff", "bad \uFFFD"},
	} {
		if got := Escape(tt.in); got != tt.want {
			t.Errorf("Escape(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// anyText draws text that is rich in what escapes are about.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`([\\"'bturn0-9a-fD83E \r\n\x00-\x1f\x7f]|\\u[0-9a-fA-F]{4}){0,40}`),
		rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "octets")) }),
	)
}

// T-FZ-09: no control character in any output header, whatever was escaped,
// and what is escaped reads back.
func TestEscapesNeverBreakALine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyText().Draw(t, "text")
		e := Escape(s)
		if i := strings.IndexFunc(e, func(r rune) bool { return r < 0x20 || r == 0x7f }); i >= 0 {
			t.Fatalf("Escape(%q) = %q has a control character", s, e)
		}
		if got, want := Unescape(e), strings.ToValidUTF8(s, "\uFFFD"); strings.ToValidUTF8(s, "") == s && got != want {
			t.Fatalf("Unescape(Escape(%q)) = %q", s, got)
		}
		for _, in := range []string{s, e} {
			if l := UnescapeLine(in); strings.ContainsFunc(l, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
				t.Fatalf("UnescapeLine(%q) = %q has a control character", in, l)
			}
		}
	})
}

// T-FZ-09: a Builder can put nothing into a message but the headers that it
// was asked for, whatever their text.
func TestBuilderCannotInject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name, subject, lang := anyText().Draw(t, "name"), anyText().Draw(t, "subject"), anyText().Draw(t, "lang")
		ext, uri, mime := anyText().Draw(t, "ext"), anyText().Draw(t, "uri"), anyText().Draw(t, "mime")
		var b Builder
		from, err := NewMailbox(name, "im:a@example.com")
		if err != nil {
			t.Fatal(err)
		}
		b.From(from)
		if to, err := NewMailbox(name, uri); err == nil {
			b.To(to)
		} else {
			b.To(from)
		}
		if rapid.Bool().Draw(t, "free language") {
			b.Subject(Subject{lang, subject})
		} else {
			b.Subject(Subject{"en", subject})
		}
		b.Namespace("x", "urn:x:y").Header("x.Ext", ext)
		if rapid.Bool().Draw(t, "free names") {
			b.Namespace(name, uri).Header(ext, subject).Require(subject)
		}
		m, err := b.Build(MustParseContentType("text/plain"), []MIMEHeader{{"X-Mime", mime}}, []byte(subject))
		if err != nil {
			return // refused, and nothing written
		}
		if out, err := b.Append([]byte("x"), MustParseContentType("text/plain"), []MIMEHeader{{"X-Mime", mime}}, []byte(subject)); err != nil ||
			string(out) != "x"+string(m.Bytes()) {
			t.Fatalf("Append gives %q, %v; Build %q", out, err, m.Bytes())
		}
		if f, ok := m.From(); !ok || f.URI() != "im:a@example.com" || f.ExactName() != from.ExactName() {
			t.Fatalf("From %q of %q", f, m.Bytes())
		}
		n := 0
		for h := range m.Headers() {
			switch n++; n {
			case 3:
				if string(h.Local) != "Subject" {
					t.Fatalf("%q", m.Bytes())
				}
			case 5:
				want := strings.Trim(string([]rune(ext)), " ")
				if string(h.Local) != "Ext" || h.ExactText() != want {
					t.Fatalf("%q, want %q", h.ExactText(), want)
				}
			}
		}
		if string(m.Content().Body()) != subject {
			t.Fatalf("body %q", m.Content().Body())
		}
		k := 0
		for range m.Content().Headers() {
			k++
		}
		if k != 2 || n < 5 || n > 8 {
			t.Fatalf("%d headers, %d content headers: %q", n, k, m.Bytes())
		}
	})
}

func TestBuilderRefuses(t *testing.T) {
	ct := MustParseContentType("text/plain")
	mb := MailboxOf("", MustParseAddress("im:a@example.com"))
	at := datetime.MustParse("2001-02-01T12:16:49Z", datetime.CPIM)
	tests := []struct {
		name, rule string
		build      func(b *Builder) (*Message, error)
	}{
		{"second From", "header-once", func(b *Builder) (*Message, error) { return b.From(mb).From(mb).Build(ct, nil, nil) }},
		{"second DateTime", "header-once", func(b *Builder) (*Message, error) { return b.DateTime(at).DateTime(at).Build(ct, nil, nil) }},
		{"zero mailbox", "mailbox-uri", func(b *Builder) (*Message, error) { return b.To(Mailbox{}).Build(ct, nil, nil) }},
		{"lower-case timestamp", "datetime", func(b *Builder) (*Message, error) {
			return b.DateTime(datetime.MustParse("2001-02-01t12:16:49z", datetime.RFC3339)).Build(ct, nil, nil)
		}},
		{"zero timestamp", "datetime", func(b *Builder) (*Message, error) { return b.DateTime(datetime.Value{}).Build(ct, nil, nil) }},
		{"language", "language-tag", func(b *Builder) (*Message, error) { return b.Subject(Subject{"e n", "x"}).Build(ct, nil, nil) }},
		{"prefix", "ns", func(b *Builder) (*Message, error) { return b.Namespace("a.b", "urn:x:y").Build(ct, nil, nil) }},
		{"namespace", "ns", func(b *Builder) (*Message, error) { return b.Namespace("a", "x").Build(ct, nil, nil) }},
		{"undeclared prefix", "name-prefix", func(b *Builder) (*Message, error) { return b.Header("a.b", "").Build(ct, nil, nil) }},
		{"core header by name", "header-name", func(b *Builder) (*Message, error) { return b.Header("From", "x").Build(ct, nil, nil) }},
		{"header name", "header-name", func(b *Builder) (*Message, error) { return b.Header("a\r\nFrom", "x").Build(ct, nil, nil) }},
		{"core after another default", "ns", func(b *Builder) (*Message, error) { return b.Namespace("", "urn:x:y").From(mb).Build(ct, nil, nil) }},
		{"no content type", "content-type", func(b *Builder) (*Message, error) { return b.Build(ContentType{}, nil, nil) }},
		{"content type twice", "content-type-once", func(b *Builder) (*Message, error) {
			return b.Build(ct, []MIMEHeader{{"content-type", "text/html"}}, nil)
		}},
		{"content header", "content-header-name", func(b *Builder) (*Message, error) {
			return b.Build(ct, []MIMEHeader{{"X", "a\r\nY: b"}}, nil)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b Builder
			m, err := tt.build(&b)
			serr, ok := err.(*SyntaxError)
			if !ok || serr.Rule != tt.rule || m != nil {
				t.Errorf("got %v, want %s", err, tt.rule)
			}
			if out, err := b.Append([]byte("x"), ContentType{}, nil, nil); err == nil || string(out) != "x" {
				t.Errorf("Append gives %q, %v", out, err)
			}
		})
	}
}
