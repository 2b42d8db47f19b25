package markup

import (
	"strconv"
	"strings"
)

// textWriter writes plain text. White space is collapsed as HTML does, except in <pre/>.
type textWriter struct {
	out    []byte
	limit  int
	over   bool
	quote  int  // how deep in quotations the next line is
	last   int  // and how deep the last one was
	pre    int  // how many <pre/> are open
	ends   int  // line ends that stand before the next text
	blank  bool // a space stands before the next text
	marker string
}

// write adds text.
func (w *textWriter) write(s string) {
	if w.pre > 0 {
		for i, line := range strings.Split(s, "\n") {
			if i > 0 {
				w.newline()
			}
			w.put(line)
		}
		return
	}
	for len(s) > 0 && !w.over {
		n := 0
		for n < len(s) && !isSpace(s[n]) {
			n++
		}
		if n == 0 {
			w.space()
			s = s[1:]
			continue
		}
		w.put(s[:n])
		s = s[n:]
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

// space has the next text stand apart from the last.
func (w *textWriter) space() { w.blank = true }

// settle writes what stands before the next text.
func (w *textWriter) settle() {
	if w.ends > 0 && len(w.out) > 0 {
		for i := range w.ends {
			if i > 0 { // an empty line is quoted if the lines around it are
				for range min(w.quote, w.last) {
					w.out = append(w.out, '>')
				}
			}
			w.out = append(w.out, '\n')
		}
		w.blank = false
	}
	if n := len(w.out); n == 0 || w.out[n-1] == '\n' {
		w.blank = false
		w.indent()
	}
	w.ends, w.last = 0, w.quote
	if w.blank {
		if w.out[len(w.out)-1] != ' ' {
			w.out = append(w.out, ' ')
		}
		w.blank = false
	}
}

// indent begins a line.
func (w *textWriter) indent() {
	for range w.quote {
		w.out = append(w.out, "> "...)
	}
	w.out = append(w.out, w.marker...)
	w.marker = ""
}

// put adds a run of text on one line.
func (w *textWriter) put(s string) {
	if s == "" {
		return
	}
	w.settle()
	if w.out = append(w.out, s...); len(w.out) > w.limit {
		w.over = true
	}
}

// newline ends the line. Those that nothing follows are not written.
func (w *textWriter) newline() {
	if len(w.out) > 0 && w.ends < w.limit {
		w.ends++
	}
	w.over = w.over || len(w.out)+w.ends*(1+w.quote) > w.limit
}

// breakTo has the next text stand behind at least n line ends.
func (w *textWriter) breakTo(n int) { w.ends = max(w.ends, n) }

// bullet puts the mark of a list's item before the next text.
func (w *textWriter) bullet(lists []int) {
	n := len(lists)
	if n == 0 {
		w.marker = "- "
		return
	}
	w.marker = strings.Repeat("  ", n-1)
	if lists[n-1] < 0 {
		w.marker += "- "
		return
	}
	lists[n-1]++
	w.marker += strconv.Itoa(lists[n-1]) + ". "
}

func (w *textWriter) finish() string { return strings.TrimRight(string(w.out), " \n\t") }
