package markup

import "strconv"

// Limits bounds a conversion. A zero or negative field stands for its default.
type Limits struct {
	// Source is the largest HTML text in octets (default 256 KiB). A larger one is an error.
	Source int
	// Text is the longest plain text in octets (default 128 KiB). A longer one is an error: text is never cut in silence.
	Text int
	// XHTML is the longest XHTML-IM in octets (default 128 KiB). A longer one is left out, since the plain text says the same.
	XHTML int
	// Depth is how many blocks, and how many inline elements, may be open at once (default 16). What is nested deeper stands as if
	// it were not nested.
	Depth int
}

func (l Limits) orDefault() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.Source, 256<<10)
	set(&l.Text, 128<<10)
	set(&l.XHTML, 128<<10)
	set(&l.Depth, 16)
	return l
}

// SyntaxError says why a text cannot be converted: it exceeds a limit. Offset counts octets of the source.
type SyntaxError struct {
	Offset   int
	Rule     string // "source-size", "text-size"
	Expected string
}

// Error names the rule, the place and what was expected.
func (e *SyntaxError) Error() string {
	return "markup: " + e.Rule + " at " + strconv.Itoa(e.Offset) + ": expected " + e.Expected
}
