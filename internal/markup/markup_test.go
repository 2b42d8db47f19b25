package markup_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/internal/markup"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// TestConvert: what people and mail programs write.
func TestConvert(t *testing.T) {
	for _, c := range []struct{ name, in, text, xhtml string }{
		{"empty", "", "", ""},
		{"no markup", "Wherefore art thou?", "Wherefore art thou?", ""},
		{"white space", " <html>\n<body>\n Neither, \t fair\n saint </body>\n", "Neither, fair saint", ""},
		{"paragraphs", "<p>one</p>\n<p>two<p>three", "one\n\ntwo\n\nthree", ""},
		{"emphasis", "<p>a <b>bold</b> and <i>weak</i> word</p>", "a bold and weak word", "<p>a <strong>bold</strong> and <em>weak</em> word</p>"},
		{"tags that cross", "<b>a<i>b</b>c</i>", "abc", "<p><strong>a<em>b</em></strong><em>c</em></p>"},
		{"paragraph in emphasis", "<b>a<p>b</p></b>c", "a\n\nb\n\nc", "<p><strong>a</strong></p><p><strong>b</strong></p><p>c</p>"},
		{"line breaks", "a<br>b<br/><br>c<br>", "a\nb\n\nc", ""},
		{"heading", "<h1>Act <em>I</em></h1>text", "Act I\n\ntext", "<p><strong>Act <em>I</em></strong></p><p>text</p>"},
		{"list", "<ul><li>a<li>b<ol><li>c</li><li>d</ol></ul>e", "- a\n- b\n  1. c\n  2. d\ne", "<ul><li>a</li><li>b<ol><li>c</li><li>d</li></ol></li></ul><p>e</p>"},
		{"empty list", "a<ul></ul>", "a", "<p>a</p><ul><li></li></ul>"},
		{"text in a list", "<ul>a</ul>", "a", "<ul><li>a</li></ul>"},
		{"quotation", "<blockquote>a<p>b</blockquote>c", "> a\n>\n> b\nc", "<blockquote><p>a</p><p>b</p></blockquote><p>c</p>"},
		{"link", "see <a href='https://example.com/x?a=1&amp;b=2'>this</a>.", "see this <https://example.com/x?a=1&b=2>.", "<p>see <a href='https://example.com/x?a=1&amp;b=2'>this</a>.</p>"},
		{"link that says itself", "<a href='https://example.com/'>example.com</a>", "example.com", "<p><a href='https://example.com/'>example.com</a></p>"},
		{"link that lies", "<a href='https://evil.example/'>bank.example</a>", "bank.example <https://evil.example/>", "<p><a href='https://evil.example/'>bank.example</a></p>"},
		{"link without text", "<a href='https://example.com/x'></a>", "https://example.com/x", "<p><a href='https://example.com/x'>https://example.com/x</a></p>"},
		{"image", "<img src='https://example.com/a.png' alt='a cat'>", "a cat <https://example.com/a.png>", "<p><a href='https://example.com/a.png'>a cat</a></p>"},
		{"image of the message", "<img src='cid:x' alt='a cat'>", "a cat", ""},
		{"style", "<span style='color: RED; position:fixed; font-size:12pt'>x</span>", "x", "<p><span style='color: red; font-size: 12pt'>x</span></p>"},
		{"style of a paragraph", "<p style='text-align:center'>x</p>", "x", "<p style='text-align: center'>x</p>"},
		{"preformatted", "<pre>a  b\nc</pre>", "a  b\nc", ""},
		{"table", "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc", ""},
		{"references", "&lt;b&gt; &amp;amp; &eacute;&#x1F339;", "<b> &amp; \u00e9\U0001F339", ""},
		{"unknown elements", "<x-y><blink>a</blink></x-y>", "a", ""},
		{"not closed", "<p><b>a", "a", "<p><strong>a</strong></p>"},
		{"not opened", "a</b></p></ul></blockquote></a>", "a", ""},
		{"comment", "a<!-- <b>x</b> -->b<!DOCTYPE x>", "ab", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := markup.Convert(c.in, markup.Limits{})
			if err != nil || r.Text != c.text || r.XHTML != c.xhtml {
				t.Fatalf("%v\ntext  %q\nwant  %q\nxhtml %s\nwant  %s", err, r.Text, c.text, r.XHTML, c.xhtml)
			}
			check(t, r)
		})
	}
}

// TestHostileTCP12: "text/html -> allow-list XHTML-IM or plain text only" (THREATS.md G14): whatever stands in the source, no script,
// no handler, no address of an active scheme and nothing that is fetched unasked comes out.
func TestHostileTCP12(t *testing.T) {
	for _, in := range []string{
		"<script>alert(1)</script>", "<SCRIPT SRC=//evil.example/x.js></SCRIPT>", "<scr<script>ipt>alert(1)</scr</script>ipt>", "<script>alert(1)",
		"<img src=x onerror=alert(1)>", "<img src='javascript:alert(1)'>", "<img src='https://evil.example/track.gif'>", "<svg onload=alert(1)><script>alert(1)</script></svg>",
		"<a href='javascript:alert(1)'>x</a>", "<a href='JaVaScRiPt:alert(1)'>x</a>", "<a href='java\tscript:alert(1)'>x</a>", "<a href='\x01javascript:alert(1)'>x</a>",
		"<a href='&#106;avascript:alert(1)'>x</a>", "<a href=' javascript:alert(1)'>x</a>", "<a href='data:text/html,<script>alert(1)</script>'>x</a>", "<a href='vbscript:x'>x</a>",
		"<a href='//evil.example'>x</a>", "<a href='http://user:pass@evil.example/'>x</a>", "<a href='http://bank.example\\@evil.example/'>x</a>", "<a href='https:evil.example'>x</a>",
		"<a href='file:///etc/passwd'>x</a>", "<a href=\"https://x.example/'onclick='alert(1)\">x</a>", "<a href='https://x.example/\" onclick=\"alert(1)'>x</a>",
		"<span style='background-image:url(javascript:alert(1))'>x</span>", "<span style='color:expression(alert(1))'>x</span>", "<span style='color:red;behavior:url(x)'>x</span>",
		"<span style='c\\6flor:red'>x</span>", "<span style='color:/**/red'>x</span>", "<span style='font-size:9999px'>x</span>", "<span style='position:fixed;top:0'>x</span>",
		"<style>@import 'https://evil.example/x.css'</style>", "<iframe src='https://evil.example/'></iframe>", "<object data='x'></object>", "<embed src=x>", "<form action='https://evil.example/'><input name=password><button>x</button></form>",
		"<base href='https://evil.example/'>", "<meta http-equiv=refresh content='0;url=https://evil.example'>", "<link rel=stylesheet href='https://evil.example/'>",
		"<p onclick=alert(1) class=x id=y>x</p>", "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>", "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
		"<!--><img src=x onerror=alert(1)>-->", "<![CDATA[<img src=x onerror=alert(1)>]]>", "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
		"</body></html></message><message to='x@y.example'><body>smuggled", "\x00\xff\xfe<b>\x1b[2J</b>", "<b>\ufffe\U0010ffff",
	} {
		r, err := markup.Convert(in+"<b>after</b>", markup.Limits{})
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		check(t, r)
		for _, bad := range []string{"<script", "<img", "<svg", "<style", "<iframe", "onerror=", "onclick=", "onload=", "javascript:", "vbscript:", "data:", "url(", "expression", "9999", "fixed", "user:pass"} {
			// As text it may be read; as markup it must not be.
			if x := strings.ToLower(r.XHTML); strings.Contains(tags(x), bad) {
				t.Errorf("%q became %s", in, r.XHTML)
			}
		}
	}
}

// tags returns the tags of well-formed XML, without the text between them.
func tags(s string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(s, "<") {
		if tag, _, ok := strings.Cut(part, ">"); ok {
			b.WriteString("<" + tag + ">")
		}
	}
	return b.String()
}

// TestLimits: too large is an error, too much markup is plain text, too deep is not deep, and all of it takes a bounded time.
func TestLimits(t *testing.T) {
	var se *markup.SyntaxError
	if _, err := markup.Convert(strings.Repeat("x", 100), markup.Limits{Source: 99}); !errors.As(err, &se) || se.Rule != "source-size" || se.Offset != 99 {
		t.Error(err)
	}
	if _, err := markup.Convert(strings.Repeat("x", 100), markup.Limits{Text: 99}); !errors.As(err, &se) || se.Rule != "text-size" {
		t.Error(err)
	}
	if _, err := markup.Convert(strings.Repeat("<br>x", 100), markup.Limits{Text: 99}); !errors.As(err, &se) {
		t.Error(err)
	}
	if r, err := markup.Convert("<b>x</b>", markup.Limits{XHTML: 10}); err != nil || r.XHTML != "" || r.Text != "x" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, in := range []string{
		strings.Repeat("<blockquote>", 20000) + "x", strings.Repeat("<b>", 50000) + "x", strings.Repeat("<ul><li>", 20000) + "x", strings.Repeat("<a href='https://x.example/'>", 5000) + "x",
		strings.Repeat("<b><p>x", 20000), strings.Repeat("<", 200000), strings.Repeat("<a ", 80000), strings.Repeat("<pre>\n", 30000) + "x", strings.Repeat("&", 200000), "<b " + strings.Repeat("a ", 100000) + ">x",
	} {
		r, err := markup.Convert(in, markup.Limits{})
		if err == nil {
			check(t, r)
		}
	}
}

// check is what holds of every Result: the XHTML is well-formed for the strict reader and for encoding/xml, holds only elements,
// attributes and nesting of the profile, and the text has no control characters.
func check(t *testing.T, r markup.Result) {
	t.Helper()
	for _, c := range r.Text {
		if c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 {
			t.Fatalf("a control character in %q", r.Text)
		}
	}
	doc := "<body xmlns='http://www.w3.org/1999/xhtml'>" + r.XHTML + "</body>"
	root, err := strictxml.ParseDocument([]byte(doc), strictxml.Limits{Depth: 100, Children: 1 << 20, Bytes: 1 << 22})
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	walk(t, root)
	d := xml.NewDecoder(strings.NewReader(doc))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("encoding/xml: %v\n%s", err, doc)
		}
	}
}

// children is the content model of XEP-0071 §6 for what is written.
var children = map[string]string{
	"body": "p blockquote ul ol", "blockquote": "p blockquote ul ol", "ul": "li", "ol": "li", "li": "text br a em strong span p blockquote ul ol",
	"p": "text br a em strong span", "a": "text br em strong span", "em": "text br a em strong span", "strong": "text br a em strong span", "span": "text br a em strong span", "br": "",
}

func walk(t *testing.T, e *strictxml.Element) {
	t.Helper()
	model, ok := children[e.Name.Local]
	if !ok || e.Name.Space != "http://www.w3.org/1999/xhtml" {
		t.Fatalf("element %v", e.Name)
	}
	for _, a := range e.Attrs {
		switch {
		case a.Name.Local == "style" && a.Name.Space == "" && !strings.ContainsAny(a.Value, `(){}\"'@/<>&`):
		case a.Name.Local == "href" && a.Name.Space == "" && e.Name.Local == "a":
			scheme, _, _ := strings.Cut(a.Value, ":")
			if !strings.Contains(" http https mailto xmpp sip sips im pres tel geo ", " "+scheme+" ") {
				t.Fatalf("href %q", a.Value)
			}
		default:
			t.Fatalf("attribute %v=%q of %s", a.Name, a.Value, e.Name.Local)
		}
	}
	for _, n := range e.Nodes {
		name := "text"
		if n.Element != nil {
			name = n.Element.Name.Local
		}
		if !strings.Contains(" "+model+" ", " "+name+" ") {
			t.Fatalf("%s in %s", name, e.Name.Local)
		}
		if n.Element != nil {
			walk(t, n.Element)
		}
	}
}

// FuzzConvertTCP12: whatever comes, what comes out is of the profile, and within the limits.
func FuzzConvertTCP12(f *testing.F) {
	f.Add("<p>a <b>bold</b> <a href='https://example.com'>x</a></p><ul><li>a<li>b</ul><blockquote>c</blockquote>")
	f.Add("<pre>a\n b</pre><img src=https://x.example/y alt='z'><h1>h</h1><span style='color:red;font-size:12px'>s</span>")
	f.Add("<a href=x><li><ol><b><i></b><p></li></a><script>x</script><!-- -->&amp;&#0;\x00\xff")
	f.Fuzz(func(t *testing.T, source string) {
		lim := markup.Limits{Source: 1 << 16, Text: 1 << 14, XHTML: 1 << 14}
		r, err := markup.Convert(source, lim)
		if err != nil {
			var se *markup.SyntaxError
			if !errors.As(err, &se) || r.Text != "" {
				t.Fatal(err)
			}
			return
		}
		if len(r.Text) > lim.Text || len(r.XHTML) > lim.XHTML {
			t.Fatalf("%d and %d octets", len(r.Text), len(r.XHTML))
		}
		check(t, r)
	})
}

func BenchmarkConvert(b *testing.B) {
	in := "<html><body><p>Neither, <b>fair saint</b>, if <a href='https://example.com/x'>either</a> thee <i>dislike</i>.</p></body></html>"
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, err := markup.Convert(in, markup.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
