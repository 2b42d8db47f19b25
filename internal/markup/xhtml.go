package markup

import (
	"bytes"
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// xhtmlWriter writes XHTML-IM that conforms to the content models of the modules that XEP-0071 §6 takes: blocks in the body and in
// quotations, items in lists, text and inline elements in paragraphs and items.
//
// Inline elements are what the source has open; they are written when text comes, and again after each block that cuts them, so that
// whatever the order of the source's tags, those written match.
type xhtmlWriter struct {
	out     []byte
	limit   int
	depth   int
	over    bool
	pre     int
	blocks  []string // open: blockquote, ul, ol, li, p, the innermost last
	style   string   // of the paragraph that the next text opens
	inlines []inline // open in the source
	opened  int      // of which so many are written
	blank   bool     // a space stands before the next text
	begun   bool     // the current paragraph or item has text
}

// inline is an inline element; without a tag it stands for one that is not written.
type inline struct{ source, tag, href, style string }

func (w *xhtmlWriter) top() string {
	if len(w.blocks) == 0 {
		return ""
	}
	return w.blocks[len(w.blocks)-1]
}

func (w *xhtmlWriter) append(s string) {
	if w.over {
		return
	}
	if w.out = append(w.out, s...); len(w.out) > w.limit {
		w.over, w.out = true, nil
	}
}

func (w *xhtmlWriter) startTag(tag, style string) {
	w.append("<" + tag)
	w.attribute("style", style)
	w.append(">")
}

func (w *xhtmlWriter) attribute(name, value string) {
	if value != "" {
		w.append(" " + name + "='" + string(strictxml.AppendAttrValue(nil, value)) + "'")
	}
}

// text writes text, after what has to be open around it.
func (w *xhtmlWriter) text(s string) {
	for i := 0; i < len(s) && !w.over; {
		if w.pre > 0 && s[i] == '\n' {
			w.lineBreak()
			i++
			continue
		}
		if isSpace(s[i]) {
			if w.pre > 0 {
				w.ready()
				w.append("\u00a0")
			} else {
				w.blank = w.begun
			}
			i++
			continue
		}
		n := i
		for n < len(s) && !isSpace(s[n]) {
			n++
		}
		w.ready()
		w.append(string(appendText(nil, s[i:n])))
		i = n
	}
}

// ready opens what the next text stands in.
func (w *xhtmlWriter) ready() {
	switch w.top() {
	case "", "blockquote":
		w.push("p", w.style)
		w.style = ""
	case "ul", "ol":
		w.push("li", "")
	}
	if w.blank {
		w.append(" ")
		w.blank = false
	}
	w.begun = true
	for ; w.opened < len(w.inlines); w.opened++ {
		if e := &w.inlines[w.opened]; e.tag != "" {
			w.append("<" + e.tag)
			w.attribute("href", e.href)
			w.attribute("style", e.style)
			w.append(">")
		}
	}
}

// suspend closes the inline elements that are written, down to the n-th.
func (w *xhtmlWriter) suspend(n int) {
	for ; w.opened > n; w.opened-- {
		if tag := w.inlines[w.opened-1].tag; tag != "" {
			w.append("</" + tag + ">")
		}
	}
}

func (w *xhtmlWriter) open(e inline) {
	if len(w.inlines) < w.depth {
		w.inlines = append(w.inlines, e)
	}
}

// close ends the innermost inline element that the source calls so.
func (w *xhtmlWriter) close(source string) {
	for i := len(w.inlines) - 1; i >= 0; i-- {
		if w.inlines[i].source == source {
			w.suspend(i)
			w.inlines = append(w.inlines[:i], w.inlines[i+1:]...)
			return
		}
	}
}

func (w *xhtmlWriter) lineBreak() {
	w.ready()
	w.append("<br/>")
	w.blank = false
}

func (w *xhtmlWriter) push(tag, style string) {
	w.startTag(tag, style)
	w.blocks = append(w.blocks, tag)
	w.begun, w.blank = false, false
}

// pop closes the innermost block. A list has an item at least (XHTML's content model), so an empty one gets one.
func (w *xhtmlWriter) pop() {
	w.suspend(0)
	if tag := w.top(); (tag == "ul" || tag == "ol") && !bytes.HasSuffix(w.out, []byte("</li>")) {
		w.append("<li></li>")
	}
	w.append("</" + w.top() + ">")
	w.blocks = w.blocks[:len(w.blocks)-1]
	w.begun, w.blank = false, false
}

// endParagraph has the next text stand in another paragraph.
func (w *xhtmlWriter) endParagraph() {
	switch w.top() {
	case "p":
		w.pop()
	case "li":
		if w.begun {
			w.lineBreak()
			w.begun = false
		}
	}
	w.style = ""
}

func (w *xhtmlWriter) paragraph(style string) {
	w.endParagraph()
	w.style = style
}

// block opens a quotation or a list.
func (w *xhtmlWriter) block(tag, style string) {
	if w.top() == "p" {
		w.pop()
	}
	w.suspend(0)
	if len(w.blocks) >= w.depth {
		return
	}
	if w.top() == "ul" || w.top() == "ol" {
		w.push("li", "")
	}
	w.push(tag, style)
}

// item opens an item of the innermost list; outside of a list it is a paragraph.
func (w *xhtmlWriter) item(style string) {
	for i := len(w.blocks) - 1; i >= 0; i-- {
		switch w.blocks[i] {
		case "ul", "ol":
			for len(w.blocks) > i+1 {
				w.pop()
			}
			w.push("li", style)
			return
		case "blockquote":
			i = 0
		}
	}
	w.paragraph(style)
}

// endItem closes the innermost item, and what is open in it, unless that is a list or quotation with no end yet.
func (w *xhtmlWriter) endItem() {
	if w.top() == "p" {
		w.pop()
	}
	if w.top() == "li" {
		w.pop()
	}
}

// endBlock closes the innermost block of this name, and what is open in it.
func (w *xhtmlWriter) endBlock(tag string) {
	for i := len(w.blocks) - 1; i >= 0; i-- {
		if w.blocks[i] == tag {
			for len(w.blocks) > i {
				w.pop()
			}
			return
		}
	}
}

// Paragraph is plain text as one paragraph of XHTML-IM, with its lines.
func Paragraph(text string) string {
	b := []byte("<p>")
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			b = append(b, "<br/>"...)
		}
		b = appendText(b, line)
	}
	return string(append(b, "</p>"...))
}

func (w *xhtmlWriter) finish() string {
	for len(w.blocks) > 0 {
		w.pop()
	}
	return string(w.out)
}
