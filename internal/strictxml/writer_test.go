package strictxml

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestWriter(t *testing.T) {
	const client = "jabber:client"
	parsed, err := ParseElement([]byte("<p:x y='z'/>"), mustScope(mustScope(nil, "", "d"), "p", "u"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		write func(w *Writer)
		want  string
		err   error
	}{
		{"stanza", func(w *Writer) {
			w.Start(Name{client, "message"})
			w.Attr("to", "a'b")
			w.AttrNS(Name{XMLNamespace, "lang"}, "en")
			w.Start(Name{client, "body"})
			w.Text("1 < 2 & 3]]>")
			w.End()
			w.Start(Name{"u", "x"})
			w.Start(Name{"u", "y"})
			w.End()
			w.End()
			w.Start(Name{"", "z"})
		}, "<message to='a&apos;b' xml:lang='en'><body>1 &lt; 2 &amp; 3]]&gt;</body><x xmlns='u'><y/></x><z xmlns=''/></message>", nil},
		{"two stanzas", func(w *Writer) { w.Start(Name{client, "a"}); w.End(); w.Start(Name{client, "b"}) }, "<a/><b/>", nil},
		{"prefixes", func(w *Writer) {
			w.StartPrefixed("dm", Name{"urn:dm", "person"})
			w.Declare("r", "urn:rpid")
			w.AttrNS(Name{"urn:rpid", "since"}, "x")
			w.StartPrefixed("r", Name{"urn:rpid", "mood"})
			w.End()
			w.StartPrefixed("r", Name{"urn:other", "mood"})
			w.StartPrefixed("r", Name{"urn:rpid", "mood"})
		}, "<dm:person xmlns:dm='urn:dm' xmlns:r='urn:rpid' r:since='x'><r:mood/><r:mood xmlns:r='urn:other'><r:mood xmlns:r='urn:rpid'/></r:mood></dm:person>", nil},
		{"default on a prefixed root", func(w *Writer) {
			w.StartPrefixed("s", Name{"urn:s", "stream"})
			w.Declare("", "urn:d")
			w.Start(Name{"urn:d", "a"})
		}, "<s:stream xmlns:s='urn:s' xmlns='urn:d'><a/></s:stream>", nil},
		{"parsed element", func(w *Writer) { w.Start(Name{client, "a"}); w.Element(parsed) }, "<a><p:x xmlns='d' xmlns:p='u' y='z'/></a>", nil},
		{"parsed element under its own default", func(w *Writer) { w.Start(Name{"d", "a"}); w.Element(parsed) }, "<a xmlns='d'><p:x xmlns:p='u' y='z'/></a>", nil},
		{"raw", func(w *Writer) { w.Start(Name{client, "a"}); w.Raw([]byte("<b xmlns='u'/>")) }, "<a><b xmlns='u'/></a>", nil},
		{"raw captured", func(w *Writer) { w.Start(Name{client, "a"}); w.Raw([]byte("<b/>")) }, "<a/>", ErrWriteRaw},
		{"raw captured below", func(w *Writer) { w.Raw([]byte("<p:b xmlns:p='u'><c/></p:b>")) }, "", ErrWriteRaw},
		{"raw unbound", func(w *Writer) { w.Start(Name{client, "a"}); w.Raw([]byte("<p:b xmlns='u'/>")) }, "<a/>", ErrWriteRaw},
		{"raw two", func(w *Writer) { w.Start(Name{client, "a"}); w.Raw([]byte("<b xmlns='u'/><c xmlns='u'/>")) }, "<a/>", ErrWriteRaw},
		{"characters", func(w *Writer) {
			w.Start(Name{client, "a"})
			w.Attr("b", "\x00\t\r\n\xff\uFFFE\uFFFD\"'<>&")
			w.Text("\x00\t\r\n\xff\uFFFF\U0001F600\"'<>&\xed\xa0\x80")
		}, "<a b='\uFFFD&#9;&#13;&#10;\uFFFD\uFFFD\uFFFD&quot;&apos;&lt;&gt;&amp;'>\uFFFD\t&#13;\n\uFFFD\uFFFD\U0001F600\"'&lt;&gt;&amp;\uFFFD\uFFFD\uFFFD</a>", nil},
		{"names", func(w *Writer) {
			w.Start(Name{client, "1 a:b<\xff\u00e9"})
			w.Attr("", "x")
			w.Attr("onload='x' y", "z")
		}, "<__a_b__\u00e9 _='x' onload__x__y='z'/>", ErrWriteName},
		{"attribute twice", func(w *Writer) { w.Start(Name{client, "a"}); w.Attr("b", " c='d"); w.Attr("c", "1"); w.Attr("b", "2") }, "<a b=' c=&apos;d' c='1'/>", ErrWriteDuplicate},
		{"attribute twice by two prefixes", func(w *Writer) {
			w.Start(Name{client, "a"})
			w.Declare("p", "u")
			w.AttrNS(Name{"u", "b"}, "1")
			w.Declare("q", "u")
			w.AttrNS(Name{"u", "b"}, "2")
		}, "<a xmlns:p='u' p:b='1' xmlns:q='u'/>", ErrWriteDuplicate},
		{"attribute after content", func(w *Writer) { w.Start(Name{client, "a"}); w.Text("x"); w.Attr("b", "c") }, "<a>x</a>", ErrWriteOrder},
		{"attribute without prefix for it", func(w *Writer) { w.Start(Name{client, "a"}); w.AttrNS(Name{"u", "b"}, "c") }, "<a/>", ErrWriteNamespace},
		{"attribute xmlns", func(w *Writer) { w.Start(Name{client, "a"}); w.Attr("xmlns", "u") }, "<a/>", ErrWriteNamespace},
		{"declaration changes what is used", func(w *Writer) { w.StartPrefixed("p", Name{"u", "a"}); w.Declare("p", "v") }, "<p:a xmlns:p='u'/>", ErrWriteDuplicate},
		{"declaration of an outer prefix in use", func(w *Writer) {
			w.StartPrefixed("p", Name{"u", "a"})
			w.StartPrefixed("p", Name{"u", "b"})
			w.Declare("p", "v")
		}, "<p:a xmlns:p='u'><p:b/></p:a>", ErrWriteDuplicate},
		{"default changes the name", func(w *Writer) { w.Start(Name{client, "a"}); w.Declare("", "v") }, "<a/>", ErrWriteDuplicate},
		{"prefix xml", func(w *Writer) { w.Start(Name{client, "a"}); w.Declare("xml", "v") }, "<a/>", ErrWriteNamespace},
		{"prefix not a name", func(w *Writer) { w.StartPrefixed("a b", Name{"u", "a"}) }, "<a xmlns='u'/>", ErrWriteNamespace},
		{"prefix without namespace", func(w *Writer) { w.StartPrefixed("p", Name{"", "a"}) }, "<a xmlns=''/>", ErrWriteNamespace},
		{"namespace not characters", func(w *Writer) { w.Start(Name{"\x00", "a"}) }, "<a xmlns=''/>", ErrWriteNamespace},
		{"element of the XML namespace", func(w *Writer) { w.Start(Name{XMLNamespace, "a"}) }, "<xml:a/>", nil},
		{"text outside", func(w *Writer) { w.Text("x") }, "", ErrWriteOrder},
		{"end outside", func(w *Writer) { w.End() }, "", ErrWriteOrder},
		{"nothing", func(w *Writer) { w.Element(nil); w.Text("") }, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := NewStanzaWriter([]byte("before "), client)
			tt.write(w)
			got, _ := strings.CutPrefix(string(w.Bytes()), "before ")
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if !errors.Is(w.Err(), tt.err) {
				t.Errorf("error %v, want %v", w.Err(), tt.err)
			}
		})
	}
}

// write makes a Writer do what the octets say, with anything as arguments.
func write(w *Writer, ops []byte) {
	texts := []string{
		"a", "b", "", "u", "v", "p", "q", "xml", "xmlns", "a b", "1", "<x/>", "'\"&\r\n\t", "]]>", "\x00", "\xff\xfe", "\uFFFF",
		XMLNamespace, xmlnsNamespace, "<p:a xmlns:p='u'><b/></p:a>", "<a xmlns=''/>", "é", "p:a", " a='b", "u'",
	}
	for len(ops) > 2 {
		x, y := texts[int(ops[1])%len(texts)], texts[int(ops[2])%len(texts)]
		switch ops[0] % 10 {
		case 0:
			w.Start(Name{x, y})
		case 1:
			w.StartPrefixed(texts[int(ops[0])%len(texts)], Name{x, y})
		case 2:
			w.Declare(x, y)
		case 3:
			w.Attr(x, y)
		case 4:
			w.AttrNS(Name{x, texts[int(ops[0])%len(texts)]}, y)
		case 5:
			w.Text(x)
		case 6:
			w.End()
		case 7:
			w.Raw([]byte(x))
		case 8:
			w.Element(&Element{Name: Name{x, y}, Attrs: []Attr{{Name{y, x}, y}, {Name{"", y}, x}}, Nodes: []Node{{Text: y}}})
		case 9:
			if e, err := ParseElement([]byte("<p:a b='c'><d/><p:e q:f=''/></p:a>"), mustScope(mustScope(mustScope(nil, "q", "u"), "p", "v"), "", x[:0]), Limits{}); err == nil {
				w.Element(e)
				for c := range e.Children() {
					w.Element(c)
				}
			}
		}
		ops = ops[3:]
	}
}

// FuzzWriter: whatever a Writer is asked for, what it writes is a sequence of
// well-formed elements.
func FuzzWriter(f *testing.F) {
	for i := range byte(100) {
		f.Add([]byte{0, 3, 0, i, i * 7, i * 3, i + 1, i * 5, i * 11, i * 3, i, i + 9, 6, 0, 0, i * 9, i * 13, 2}, i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, ops []byte, stanza bool) {
		ops = ops[:min(len(ops), 300)]
		space := ""
		if stanza {
			space = "jabber:client"
		}
		w := NewStanzaWriter(nil, space)
		write(w, ops)
		doc := fmt.Sprintf("<r xmlns='%s'>%s</r>", space, w.Bytes())
		if _, err := ParseDocument([]byte(doc), Limits{Depth: 1000, Children: 1000, Attributes: 1000}); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
	})
}

func TestAppendTextIsIdempotentOnPlain(t *testing.T) {
	for _, s := range []string{"", "plain", "\u00e9\U0001F600", strings.Repeat("x", 5000)} {
		if got := string(AppendText(nil, s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func ExampleWriter() {
	w := NewStanzaWriter(nil, "jabber:client")
	w.Start(Name{Space: "jabber:client", Local: "message"})
	w.Attr("to", "juliet@im.example.com")
	w.Start(Name{Space: "jabber:client", Local: "body"})
	w.Text("I <3 you & yours")
	w.End()
	w.Start(Name{Space: "urn:xmpp:receipts", Local: "request"})
	fmt.Printf("%s\n", w.Bytes())
	// Output: <message to='juliet@im.example.com'><body>I &lt;3 you &amp; yours</body><request xmlns='urn:xmpp:receipts'/></message>
}

func ExampleStream() {
	s := NewStream(strings.NewReader("<?xml version='1.0'?><s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams'>"+
		"<message to='a@b'><body>hello</body></message> </s:stream>"), Limits{})
	_, scope, err := s.Header()
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		raw, err := s.Next()
		if err != nil {
			fmt.Println(err)
			return
		}
		stanza, err := ParseElement(raw, scope, Limits{})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(stanza.Name.Space, stanza.Name.Local, stanza.Child("jabber:client", "body").Text())
	}
	// Output:
	// jabber:client message hello
	// EOF
}
