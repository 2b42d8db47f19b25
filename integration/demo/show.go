package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// Crossing is one thing that went across, as the two sides and the core saw it.
type Crossing struct {
	// What went which way: "message", "presence"; "SIP", "XMPP".
	What string `json:"crossing"`
	From string `json:"from"`
	To   string `json:"to"`
	// In is the native text that came in, Middle the canonical form, Out the native text that went out.
	In     string `json:"in"`
	Middle string `json:"middle"`
	Form   string `json:"form"` // of the middle: "Message/CPIM", "PIDF"
	Out    string `json:"out"`
	// Arrived tells that the user on the other side has received what was sent, by its own client's account.
	Arrived bool `json:"arrived"`
	// Fault says what went wrong if it has not arrived.
	Fault string `json:"fault,omitempty"`
	// Milliseconds from the sending to the arrival.
	Milliseconds float64 `json:"ms"`
}

// printer shows crossings.
type printer interface {
	crossing(c Crossing) error
	end(arrived, all int, took time.Duration) error
}

// jsonPrinter writes one object a line.
type jsonPrinter struct{ out *json.Encoder }

func newJSONPrinter(w io.Writer) jsonPrinter {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return jsonPrinter{e}
}

func (p jsonPrinter) crossing(c Crossing) error { return p.out.Encode(c) }

func (p jsonPrinter) end(arrived, all int, took time.Duration) error {
	return p.out.Encode(map[string]any{"arrived": arrived, "crossings": all, "ms": milliseconds(took)})
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// textPrinter writes for people: each stage under a heading, the text of a stage indented by a bar.
type textPrinter struct {
	out    io.Writer
	colour bool
	count  int
}

// The colours of a terminal (ECMA-48 SGR).
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (p *textPrinter) paint(code, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *textPrinter) crossing(c Crossing) error {
	p.count++
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", p.paint(bold, fmt.Sprintf("%d. A %s crosses from %s to %s", p.count, c.What, c.From, c.To)))
	p.stage(&b, cyan, c.From+", as it came in", c.In)
	p.stage(&b, yellow, c.Form+", in the middle", c.Middle)
	p.stage(&b, cyan, c.To+", as it went out", c.Out)
	if c.Arrived {
		fmt.Fprintf(&b, "   %s\n\n", p.paint(green, fmt.Sprintf("arrived after %.1f ms", c.Milliseconds)))
	} else {
		fmt.Fprintf(&b, "   %s\n\n", p.paint(red, "did not arrive: "+printable(c.Fault)))
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

func (p *textPrinter) stage(b *strings.Builder, colour, title, text string) {
	fmt.Fprintf(b, "   %s\n", p.paint(colour, title))
	if text == "" {
		text = "(nothing)"
	}
	text = strings.ReplaceAll(strings.TrimRight(text, "\r\n"), "\r\n", "\n")
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintf(b, "   %s %s\n", p.paint(faint, "|"), printable(line))
	}
	b.WriteByte('\n')
}

func (p *textPrinter) end(arrived, all int, took time.Duration) error {
	text, colour := fmt.Sprintf("%d of %d arrived in %.1f s.", arrived, all, took.Seconds()), green
	if arrived < all {
		colour = red
	}
	_, err := fmt.Fprintln(p.out, p.paint(colour, text))
	return err
}

// printable replaces what could steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
