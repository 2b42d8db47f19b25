package markup

import (
	"bytes"
	"strings"

	"golang.org/x/net/html"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Result is what became of an HTML text.
type Result struct {
	// Text is the plain text: UTF-8, lines end with LF, no control characters but TAB and LF. What was a link has
	// its address behind it in angle brackets, a list its bullets, a quotation "> ".
	Text string
	// XHTML holds the children of XHTML-IM's <body/> (XEP-0071 §5): well-formed elements without a prefix or a namespace
	// declaration, which stand in the namespace http://www.w3.org/1999/xhtml. "" if the text has no markup, or too much.
	XHTML string
	// Unsaid tells that the source has something that Text does not say: the content of a script, a title or a comment, or an image without
	// words or an address. It says nothing against a Text that has other words.
	Unsaid bool
}

// Convert makes plain text and XHTML-IM of an HTML text, which need not be well-formed. The error is a *SyntaxError, and then there
// is no Result.
//
// The elements of the profile that XEP-0071 §7 recommends come out: a, blockquote, br, em, li, ol, p, span, strong, ul; of the
// attributes href and style. Others are written as the nearest of those (b as strong, h1 as a strong paragraph, an image as a link to
// it, because a client that fetches an image tells its reader's address to a stranger) or are passed over and their content kept;
// scripts, styles and the like go with their content. Addresses are taken in the schemes of safeURL, styles by safeStyle.
func Convert(source string, lim Limits) (Result, error) {
	lim = lim.orDefault()
	if len(source) > lim.Source {
		return Result{}, &SyntaxError{Offset: lim.Source, Rule: "source-size", Expected: "a text within the limit"}
	}
	c := converter{text: textWriter{limit: lim.Text}, xhtml: xhtmlWriter{limit: lim.XHTML, depth: lim.Depth}, depth: lim.Depth}
	z := html.NewTokenizer(strings.NewReader(source))
	for at := 0; ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			break // the end: reading a string has no other error
		}
		at += len(z.Raw())
		c.token(z, kind)
		if c.text.over {
			return Result{}, &SyntaxError{Offset: at, Rule: "text-size", Expected: "a plain text within the limit"}
		}
	}
	for len(c.anchors) > 0 {
		c.endAnchor()
	}
	r := Result{Text: c.text.finish(), Unsaid: c.unsaid}
	if x := c.xhtml.finish(); c.marked && !c.xhtml.over && r.Text != "" {
		r.XHTML = x
	}
	if c.text.over {
		return Result{}, &SyntaxError{Offset: len(source), Rule: "text-size", Expected: "a plain text within the limit"}
	}
	return r, nil
}

// converter is the state of one conversion.
type converter struct {
	text    textWriter
	xhtml   xhtmlWriter
	depth   int
	skip    string // the element whose content is passed over, "" for none
	skipped int    // how many of it are open
	lists   []int  // of each open list the number of its last item; -1 for one without numbers
	anchors []anchor
	unsaid  bool
	marked  bool // there is something that plain text does not say as well
}

// anchor is an open <a/>.
type anchor struct {
	url   string
	start int // of its text in the plain text
}

func (c *converter) token(z *html.Tokenizer, kind html.TokenType) {
	switch kind {
	case html.TextToken:
		if c.skip != "" {
			c.unsaid = c.unsaid || len(bytes.TrimSpace(z.Raw())) > 0
			return
		}
		s := clean(string(z.Text()))
		c.text.write(s)
		c.xhtml.text(s)
	case html.CommentToken:
		c.unsaid = c.unsaid || len(bytes.TrimSpace(z.Text())) > 0
	case html.StartTagToken, html.SelfClosingTagToken:
		name, more := z.TagName()
		c.start(string(name), attributes(z, more))
	case html.EndTagToken:
		name, _ := z.TagName()
		c.end(string(name))
	}
}

// tagAttributes are the attributes that are looked at; each is the first of its name.
type tagAttributes struct{ href, src, alt, style string }

func attributes(z *html.Tokenizer, more bool) (a tagAttributes) {
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		var to *string
		switch string(key) {
		case "href":
			to = &a.href
		case "src":
			to = &a.src
		case "alt":
			to = &a.alt
		case "style":
			to = &a.style
		default:
			continue
		}
		if *to == "" {
			*to = string(value)
		}
	}
	return a
}

// hidden tells whether an element's content is no text.
func hidden(name string) bool {
	switch name {
	case "script", "style", "title", "template", "iframe", "noembed", "noframes", "noscript":
		return true
	}
	return false
}

// start handles a start tag. HTML has no empty-element tags but of void elements, so "<p/>" is "<p>".
func (c *converter) start(name string, a tagAttributes) {
	if c.skip != "" {
		if name == c.skip {
			c.skipped++
		}
		return
	}
	if hidden(name) {
		c.skip, c.skipped = name, 1
		return
	}
	style := safeStyle(a.style)
	switch name {
	case "br":
		c.text.newline()
		c.xhtml.lineBreak()
	case "hr":
		c.text.breakTo(1)
		c.xhtml.endParagraph()
	case "p", "div", "section", "article", "header", "footer", "main", "address", "pre", "center", "form", "dl", "dd", "dt", "table", "tr", "caption", "body":
		c.text.breakTo(breaks(name))
		if name == "pre" {
			c.text.pre++
			c.xhtml.pre++
		}
		c.xhtml.paragraph(style)
		c.marked = c.marked || style != ""
	case "td", "th":
		c.text.space()
		c.xhtml.text(" ")
	case "h1", "h2", "h3", "h4", "h5", "h6":
		c.text.breakTo(2)
		c.xhtml.paragraph(style)
		c.xhtml.open(inline{source: name, tag: "strong"})
		c.marked = true
	case "blockquote":
		c.text.breakTo(1)
		if c.text.quote < c.depth {
			c.text.quote++
		}
		c.xhtml.block("blockquote", style)
		c.marked = true
	case "ul", "ol":
		c.text.breakTo(1)
		if len(c.lists) < c.depth {
			n := 0
			if name == "ul" {
				n = -1
			}
			c.lists = append(c.lists, n)
		}
		c.xhtml.block(name, style)
		c.marked = true
	case "li":
		c.text.breakTo(1)
		c.text.bullet(c.lists)
		c.xhtml.item(style)
	case "b", "strong":
		c.format(name, "strong", "")
	case "i", "em", "cite", "dfn", "var":
		c.format(name, "em", "")
	case "u", "ins":
		c.format(name, "span", "text-decoration: underline")
	case "s", "strike", "del":
		c.format(name, "span", "text-decoration: line-through")
	case "code", "tt", "kbd", "samp":
		c.format(name, "span", "font-family: monospace")
	case "span", "font":
		if style == "" {
			c.xhtml.open(inline{source: name})
			return
		}
		c.format(name, "span", style)
	case "a":
		c.startAnchor(safeURL(a.href))
	case "img":
		c.image(clean(a.alt), safeURL(a.src))
	}
}

func (c *converter) format(source, tag, style string) {
	c.xhtml.open(inline{source: source, tag: tag, style: style})
	c.marked = true
}

// breaks is how many line ends stand before and after a block in plain text.
func breaks(name string) int {
	if name == "p" {
		return 2
	}
	return 1
}

func (c *converter) end(name string) {
	if c.skip != "" {
		if name == c.skip {
			if c.skipped--; c.skipped == 0 {
				c.skip = ""
			}
		}
		return
	}
	switch name {
	case "br": // HTML: an end tag of br is one
		c.text.newline()
		c.xhtml.lineBreak()
	case "p", "div", "section", "article", "header", "footer", "main", "address", "pre", "center", "form", "dl", "dd", "dt", "table", "tr", "caption":
		c.text.breakTo(breaks(name))
		c.xhtml.endParagraph()
		if name == "pre" && c.text.pre > 0 {
			c.text.pre--
			c.xhtml.pre--
		}
	case "h1", "h2", "h3", "h4", "h5", "h6":
		c.text.breakTo(2)
		c.xhtml.close(name)
		c.xhtml.endParagraph()
	case "blockquote":
		c.text.breakTo(1)
		if c.text.quote > 0 {
			c.text.quote--
		}
		c.xhtml.endBlock(name)
	case "ul", "ol":
		c.text.breakTo(1)
		if n := len(c.lists); n > 0 {
			c.lists = c.lists[:n-1]
		}
		c.xhtml.endBlock(name)
	case "li":
		c.text.breakTo(1)
		c.xhtml.endItem()
	case "a":
		c.endAnchor()
	default:
		c.xhtml.close(name)
	}
}

// startAnchor begins a link. Links do not nest: another one ends the first, as in HTML.
func (c *converter) startAnchor(url string) {
	for len(c.anchors) > 0 {
		c.endAnchor()
	}
	if url == "" {
		return
	}
	c.text.settle()
	c.anchors = append(c.anchors, anchor{url: url, start: len(c.text.out)})
	c.xhtml.open(inline{source: "a", tag: "a", href: url})
	c.marked = true
}

// endAnchor writes a link's address behind its text, unless that is the address.
func (c *converter) endAnchor() {
	n := len(c.anchors)
	if n == 0 {
		return
	}
	a := c.anchors[n-1]
	c.anchors = c.anchors[:n-1]
	said := strings.TrimSpace(string(c.text.out[min(a.start, len(c.text.out)):]))
	switch {
	case said == "":
		// Nothing to click on: the address is the text.
		c.text.write(a.url)
		c.xhtml.text(a.url)
	case !sameAddress(said, a.url):
		c.text.write(" <" + a.url + ">")
	}
	c.xhtml.close("a")
}

// sameAddress tells whether a link's text is its address, which then need not be said again. It is if it differs by what people leave
// away and nothing else: a text that names another host is a lie, and both are shown.
func sameAddress(said, url string) bool {
	for _, prefix := range [...]string{"", "https://", "http://", "mailto:", "xmpp:", "tel:", "sip:", "sips:", "im:"} {
		if prefix+said == url || prefix+said+"/" == url {
			return true
		}
	}
	return false
}

// image writes an image's words, and, if it stands in no link, a link to it.
func (c *converter) image(alt, url string) {
	alt = strings.TrimSpace(alt)
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") || len(c.anchors) > 0 {
		c.unsaid = c.unsaid || alt == ""
		c.text.write(alt)
		c.xhtml.text(alt)
		return
	}
	c.startAnchor(url)
	c.text.write(alt)
	c.xhtml.text(alt)
	c.endAnchor()
}

// clean makes text of what HTML may hold: line ends are LF, and what XML cannot carry, or would not show, is U+FFFD.
func clean(s string) string {
	ok := true
	for i := 0; i < len(s) && ok; i++ {
		ok = s[i] >= 0x20 && s[i] < 0x7f || s[i] == '\n' || s[i] == '\t'
	}
	if ok {
		return s
	}
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0xfffe || r == 0xffff {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

func appendText(dst []byte, s string) []byte { return strictxml.AppendText(dst, s) }
