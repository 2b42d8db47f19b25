package strictxml

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// FuzzParseDocument: a Cursor that steps, one that skips and ParseDocument
// agree, and what parses prints, in three ways, and parses to the same.
func FuzzParseDocument(f *testing.F) {
	for _, s := range differentialSeeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, doc []byte) { checkConsistent(t, doc) })
}

// chunks delivers pieces whose sizes come from a list, over and over.
type chunks struct {
	b     []byte
	sizes []byte
	n     int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	size := 1
	if len(c.sizes) > 0 {
		size = 1 + int(c.sizes[c.n%len(c.sizes)])
		c.n++
	}
	n := copy(p, c.b[:min(size, len(c.b))])
	c.b = c.b[n:]
	if len(c.b) == 0 && size%2 == 0 {
		return n, io.EOF // readers may return the end with the last octets
	}
	return n, nil
}

// checkChunks checks that a stream gives the same trees and error whatever
// the pieces it comes in, and that ParseDocument agrees with it.
func checkChunks(tb testing.TB, doc, sizes []byte) {
	tb.Helper()
	want, wantErr := readStream(bytes.NewReader(doc), Limits{})
	for _, sizes := range [][]byte{nil, sizes} {
		got, err := readStream(&chunks{b: doc, sizes: sizes}, Limits{})
		if !slices.Equal(got, want) || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			tb.Fatalf("%q in pieces %v\ngot  %q %v\nwant %q %v", doc, sizes, got, err, want, wantErr)
		}
	}
	root, err := ParseDocument(doc, Limits{Depth: 33, Children: 1 << 20})
	if err == nil {
		// A document whose root holds only elements and white space is a
		// stream, unless it begins with what only a document may.
		for _, n := range root.Nodes {
			if n.Element == nil && len(bytes.Trim([]byte(n.Text), " \t\r\n")) > 0 {
				return
			}
		}
		var syntax *SyntaxError
		if errors.As(wantErr, &syntax) {
			switch syntax.Rule {
			case "byte-order-mark", "standalone", "outside-root", "limit-bytes", "limit-name", "limit-depth":
				return
			}
		}
		if wantErr != nil {
			tb.Fatalf("%q: a document, but as a stream %v", doc, wantErr)
		}
	}
	if wantErr != nil {
		return
	}
	// What a stream accepts is the start of a document, which what follows
	// the root's end tag may spoil.
	s := NewStream(bytes.NewReader(doc), Limits{})
	if _, _, err := s.Header(); err != nil {
		tb.Fatal(err)
	}
	for err == nil || err != io.EOF {
		_, err = s.Next()
	}
	end := int(s.base) + s.start
	root, err = ParseDocument(doc[:end], Limits{Depth: 33, Children: 1 << 20, Bytes: 1 << 24})
	if err != nil {
		tb.Fatalf("%q: a stream, but as a document %v", doc[:end], err)
	}
	got := []string{}
	for child := range root.Children() {
		got = append(got, printTree(child))
	}
	if !slices.Equal(got, want[1:]) {
		tb.Fatalf("%q\ndocument %q\nstream   %q", doc, got, want[1:])
	}
}

// FuzzStreamChunks: the same trees and errors whatever the pieces.
func FuzzStreamChunks(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.input, []byte{0, 1, 7})
	}
	f.Add([]byte(benchHeader+benchMessage+"\n"+benchRich+" "+benchPresence+"</stream:stream>"), []byte{100, 0, 3})
	f.Add([]byte("<s:s xmlns='a' xmlns:s='b'><a/><b>"+strings.Repeat("x", 300)+"</b><c/><d><d><d><d><d/></d></d></d></d><e/></s:s>"), []byte{9, 0})
	f.Fuzz(func(t *testing.T, doc, sizes []byte) {
		checkChunks(t, doc, sizes)
		checkSkip(t, doc, sizes)
	})
}

// skipLimits are so small that children of any size exceed them.
var skipLimits = Limits{Bytes: 200, Depth: 4}

// readSkipping reads a stream, passing over what exceeds a limit: the children that did not, the rule of each that did, and how it ends.
func readSkipping(tb testing.TB, r io.Reader) (kept, all []string) {
	tb.Helper()
	s := NewStream(r, skipLimits)
	if _, _, err := s.Header(); err != nil {
		return nil, []string{ruleOf(err)}
	}
	for {
		raw, err := s.Next()
		if err == nil {
			kept = append(kept, string(raw))
			all = append(all, string(raw))
			continue
		}
		all = append(all, ruleOf(err))
		if raw == nil {
			return kept, all
		}
		if _, again := s.Next(); again != err {
			tb.Fatalf("%q is not passed over, but Next says %v", raw, again)
		}
		if err := s.Skip(1 << 12); err != nil {
			return kept, append(all, "skipping", ruleOf(err))
		}
		if cap(s.buf) > 64<<10 {
			tb.Fatalf("holds %d octets", cap(s.buf))
		}
	}
}

func ruleOf(err error) string {
	var se *SyntaxError
	if errors.As(err, &se) {
		return se.Rule
	}
	return err.Error()
}

// checkSkip checks that what Skip passes over does not depend on the pieces a stream comes in, and that what is left is what a stream
// without limits holds too, in its order.
func checkSkip(tb testing.TB, doc, sizes []byte) {
	tb.Helper()
	kept, want := readSkipping(tb, bytes.NewReader(doc))
	for _, sizes := range [][]byte{nil, sizes} {
		if _, got := readSkipping(tb, &chunks{b: doc, sizes: sizes}); !slices.Equal(got, want) {
			tb.Fatalf("%q in pieces %v\ngot  %q\nwant %q", doc, sizes, got, want)
		}
	}
	s := NewStream(bytes.NewReader(doc), Limits{Depth: 1 << 12, Bytes: 1 << 24})
	if _, _, err := s.Header(); err != nil {
		return
	}
	for len(kept) > 0 {
		raw, err := s.Next()
		if err == io.EOF {
			tb.Fatalf("%q\nhas no %q where it was read with limits", doc, kept)
		}
		if err != nil {
			// The stream without limits looks at what the other one passed over.
			return
		}
		if string(raw) == kept[0] {
			kept = kept[1:]
		}
	}
}
