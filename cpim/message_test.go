package cpim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
)

// typicalMessage is a Message/CPIM object of about 400 octets.
const typicalMessage = "From: MR SANDERS <im:piglet@100akerwood.com>\r\n" +
	"To: Depressed Donkey <im:eeyore@100akerwood.com>\r\n" +
	"DateTime: 2000-12-13T13:40:00-08:00\r\n" +
	"Subject: the weather will be fine today\r\n" +
	"NS: imdn <urn:ietf:params:imdn>\r\n" +
	"imdn.Message-ID: 34jk324j\r\n" +
	"imdn.Disposition-Notification: positive-delivery, negative-delivery\r\n" +
	"\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n" +
	"\r\n" +
	"Here is the text of my message, long enough."

func TestTypicalMessageSize(t *testing.T) {
	if n := len(typicalMessage); n < 380 || n > 420 {
		t.Errorf("%d octets", n)
	}
}

// "Message processors MUST preserve all octets of all headers (both name and
// value) exactly." and nothing is copied.
func TestMessageAliasesItsInput(t *testing.T) {
	in := []byte(typicalMessage)
	m, err := ParseMessage(in, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if &m.Bytes()[0] != &in[0] || &m.Header(0).Name[0] != &in[0] || &m.Content().Body()[0] != &in[strings.Index(typicalMessage, "Here")] {
		t.Error("octets were copied")
	}
}

func TestMessageLimits(t *testing.T) {
	in := []byte(typicalMessage)
	tests := []struct {
		name string
		lim  Limits
		rule string
	}{
		{"octets", Limits{Octets: len(in) - 1}, "message-octets"},
		{"octets exactly", Limits{Octets: len(in)}, ""},
		{"headers", Limits{Headers: 6}, "header-count"},
		{"headers exactly", Limits{Headers: 7}, ""},
		{"no headers", Limits{Headers: -1}, "header-count"},
		{"no content headers", Limits{ContentHeaders: -1}, "content-header-count"},
		{"content headers exactly", Limits{ContentHeaders: 1}, ""},
		{"defaults", Limits{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseMessage(in, tt.lim)
			var serr *SyntaxError
			if rule := ""; errors.As(err, &serr) {
				rule = serr.Rule
				if rule != tt.rule {
					t.Errorf("got %v", err)
				}
			} else if tt.rule != "" {
				t.Errorf("accepted, want %s", tt.rule)
			}
		})
	}
	// Many headers are linear to read: "Processors SHOULD NOT impose any
	// line-length limitations."
	long := []byte("Subject: " + strings.Repeat("x", 900_000) + "\r\n\r\nContent-Type: text/plain\r\n\r\n")
	if _, err := ParseMessage(long, Limits{}); err != nil {
		t.Error(err)
	}
}

func TestMessageNamespaces(t *testing.T) {
	in := "From: <im:a@example.com>\r\n" +
		"NS: c <urn:ietf:params:cpim-headers:>\r\n" +
		"NS: <urn:x:default>\r\n" +
		"From: not core any more\r\n" +
		"NS: nor this\r\n" +
		"c.To: <im:b@example.com>\r\n" +
		"c.NS: x <urn:x:one>\r\n" +
		"c.Require: x.F,G,c.H\r\n" +
		"c.NS: x <urn:x:two>\r\n" +
		"x.N: v\r\n" +
		"c.NS: <urn:ietf:params:cpim-headers:>\r\n" +
		"cc: <im:c@example.com>\r\n" + plainContent
	m, err := ParseMessage([]byte(in), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for h := range m.Headers() {
		got = append(got, string(h.Namespace)+" "+string(h.Local))
	}
	want := []string{
		CoreNamespace + " From", CoreNamespace + " NS", CoreNamespace + " NS", "urn:x:default From", "urn:x:default NS",
		CoreNamespace + " To", CoreNamespace + " NS", CoreNamespace + " Require", CoreNamespace + " NS", "urn:x:two N",
		CoreNamespace + " NS", CoreNamespace + " cc",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
	var req []string
	for f := range m.Requires() {
		req = append(req, f.Namespace+" "+f.Local)
	}
	if strings.Join(req, ",") != "urn:x:one F,urn:x:default G,"+CoreNamespace+" H" {
		t.Errorf("requires %q", req)
	}
	n := 0
	for mb := range m.CC() {
		n++
		if mb.URI() != "im:c@example.com" {
			t.Errorf("%v", mb)
		}
	}
	if n != 1 {
		t.Errorf("%d cc", n)
	}
}

func TestMessageParameters(t *testing.T) {
	b, err := os.ReadFile("testdata/message/valid/parameters.cpim")
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMessage(b, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	h := m.Header(0)
	list := h.ParamList()
	if len(list) != 3 || list[0] != (Param{"a", "b"}) || list[1] != (Param{"c", `d e"A`}) || h.Lang() != "de-DE" || h.Text() != "value" {
		t.Errorf("%q, %q", list, h.Lang())
	}
}

func TestMessageContentHeaders(t *testing.T) {
	b, err := os.ReadFile("testdata/message/valid/folded-content-header.cpim")
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMessage(b, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c := m.Content()
	h, ok := c.Header("CONTENT-TYPE")
	if !ok || h.Text() != `multipart/mixed; boundary="a b"` || !c.HasBody() {
		t.Errorf("%q, %v", h.Text(), ok)
	}
	if v, _ := c.ContentType().Param("boundary"); v != "a b" {
		t.Errorf("%q", v)
	}
	if _, ok := c.Header("None"); ok {
		t.Error("a header that is not there")
	}
}

func TestMailbox(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"", "<im:a@b.c>"},
		{"Winnie the Pooh", "Winnie the Pooh <im:a@b.c>"},
		{" Winnie ", "Winnie <im:a@b.c>"},
		{"J.R. Möller", "J.R. Möller <im:a@b.c>"},
		{"Pooh, Winnie", `"Pooh, Winnie"<im:a@b.c>`},
		{"two  spaces", `"two  spaces"<im:a@b.c>`},
		{`a "b" \`, `"a \"b\" \\"<im:a@b.c>`},
		{"x\r\nFrom: <im:evil@b.c>", `"x\r\nFrom: <im:evil@b.c>"<im:a@b.c>`},
		{"nul\x00", `"nul\u0000"<im:a@b.c>`},
		{"bad \xff", "bad \uFFFD <im:a@b.c>"},
	} {
		m, err := NewMailbox(tt.name, "im:a@b.c")
		if err != nil || m.String() != tt.want {
			t.Errorf("%q: %s, %v", tt.name, m, err)
		}
		if back, err := ParseMailbox(m.String()); err != nil || back != m {
			t.Errorf("%q: back %q, %v", tt.name, back.ExactName(), err)
		}
	}
	if _, err := NewMailbox("a", "im:a@b.c>\r\nTo: <x"); err == nil {
		t.Error("a URI with a line break")
	}
	if (Mailbox{}).String() != "" || !(Mailbox{}).IsZero() {
		t.Error("the zero Mailbox")
	}
}

// T-FZ-08: what parses prints, octet for octet what was read, and parses to the same.
func FuzzParseMessage(f *testing.F) {
	for _, pattern := range []string{"testdata/message/*/*.cpim", "testdata/rfc/*.cpim"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Add([]byte(typicalMessage))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		lim := Limits{Octets: 1 << 16}
		lm, used, lerr := ParseMessageLenient(b, lim, AllLeniencies)
		m, err := ParseMessage(b, lim)
		if !bytes.Equal(before, b) {
			t.Fatal("the input was changed")
		}
		if lerr == nil {
			if !bytes.Equal(lm.Bytes(), b) {
				t.Fatal("the lenient reader changed octets")
			}
			if used == 0 && err != nil {
				t.Fatalf("no leniency used, but strictly %v", err)
			}
			if f, ok := lm.From(); ok && strings.ContainsAny(f.Name()+f.URI(), "\r\n\x00") {
				t.Fatalf("%q", f)
			}
		}
		if err != nil {
			checkSyntaxError(t, err, len(b))
			return
		}
		if lerr != nil || used != 0 {
			t.Fatalf("strictly right, leniently %v with %v", lerr, used.Names())
		}
		checkMessage(t, b, m)
		rebuild(t, m)
	})
}

// rebuild writes the typed parts of m with a Builder and reads them back.
func rebuild(t *testing.T, m *Message) {
	t.Helper()
	var b Builder
	from, hasFrom := m.From()
	if hasFrom {
		b.From(from)
	}
	n := 0
	for mb := range m.To() {
		b.To(mb)
		n++
	}
	at, hasTime := m.DateTime()
	if hasTime {
		b.DateTime(at)
	}
	var subjects []Subject
	for s := range m.Subjects() {
		s.Text = strings.Trim(s.Text, " ")
		b.Subject(s)
		subjects = append(subjects, s)
	}
	again, err := b.Build(m.Content().ContentType(), nil, m.Content().Body())
	if err != nil {
		t.Fatalf("cannot be built: %v", err)
	}
	if f, ok := again.From(); ok != hasFrom || f != from {
		t.Fatalf("From %q became %q", from, f)
	}
	if v, ok := again.DateTime(); ok != hasTime || v != at {
		t.Fatalf("DateTime %q became %q", at, v)
	}
	for range again.To() {
		n--
	}
	i := 0
	for s := range again.Subjects() {
		if s != subjects[i] {
			t.Fatalf("Subject %q became %q", subjects[i], s)
		}
		i++
	}
	if n != 0 || i != len(subjects) || !bytes.Equal(again.Content().Body(), m.Content().Body()) ||
		again.Content().ContentType() != m.Content().ContentType() {
		t.Fatal("built otherwise")
	}
}

func FuzzParseEntity(f *testing.F) {
	f.Add([]byte("Content-Type: a/b\r\nX: y\r\n z\r\n\r\nbody"))
	f.Add([]byte("\r\nbody"))
	f.Add([]byte("X:y\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEntity(b, Limits{})
		if err != nil {
			checkSyntaxError(t, err, len(b))
			return
		}
		if !bytes.Equal(e.Bytes(), b) || !bytes.HasSuffix(b, e.Body()) {
			t.Fatal("octets changed")
		}
		for h := range e.Headers() {
			if strings.ContainsAny(h.Text(), "\r\n\x00") || len(h.Name) == 0 {
				t.Fatalf("%q", h.Text())
			}
		}
	})
}

func BenchmarkParseMessage(b *testing.B) {
	in := []byte(typicalMessage)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseMessage(in, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRelayMessage is the printing of an object that passes through.
func BenchmarkRelayMessage(b *testing.B) {
	m, err := ParseMessage([]byte(typicalMessage), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = m.Append(buf[:0])
	}
}

// BenchmarkPrintMessage is the printing of a new object from values.
func BenchmarkPrintMessage(b *testing.B) {
	from := MailboxOf("MR SANDERS", MustParseAddress("im:piglet@100akerwood.com"))
	to := MailboxOf("Depressed Donkey", MustParseAddress("im:eeyore@100akerwood.com"))
	at := datetime.MustParse("2000-12-13T13:40:00-08:00", datetime.CPIM)
	ct := MustParseContentType("text/plain; charset=utf-8")
	body := []byte("Here is the text of my message, long enough.")
	var bld Builder
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		bld.Reset()
		var err error
		out, err = bld.From(from).To(to).DateTime(at).
			Subject(Subject{Text: "the weather will be fine today"}).
			Namespace("imdn", imdnNamespace).
			Header("imdn.Message-ID", "34jk324j").
			Header("imdn.Disposition-Notification", "positive-delivery, negative-delivery").
			Append(out[:0], ct, nil, body)
		if err != nil || string(out) != typicalMessage {
			b.Fatalf("%q, %v", out, err)
		}
	}
}

// BenchmarkBuildMessage is the printing of a new object from values, checked by
// reading it back.
func BenchmarkBuildMessage(b *testing.B) {
	from := MailboxOf("MR SANDERS", MustParseAddress("im:piglet@100akerwood.com"))
	to := MailboxOf("Depressed Donkey", MustParseAddress("im:eeyore@100akerwood.com"))
	at := datetime.MustParse("2000-12-13T13:40:00-08:00", datetime.CPIM)
	ct := MustParseContentType("text/plain; charset=utf-8")
	body := []byte("Here is the text of my message, long enough.")
	var bld Builder
	b.ReportAllocs()
	for b.Loop() {
		bld.Reset()
		m, err := bld.From(from).To(to).DateTime(at).
			Subject(Subject{Text: "the weather will be fine today"}).
			Namespace("imdn", imdnNamespace).
			Header("imdn.Message-ID", "34jk324j").
			Header("imdn.Disposition-Notification", "positive-delivery, negative-delivery").
			Build(ct, nil, body)
		if err != nil || len(m.Bytes()) != len(typicalMessage) {
			b.Fatal(m, err)
		}
	}
}
