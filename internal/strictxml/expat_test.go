package strictxml

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/internal/expattest"
)

// printTree prints a tree as the oracle does.
func printTree(e *Element) string {
	var b strings.Builder
	text := func(s string) { fmt.Fprintf(&b, "%d:%s", len(s), s) }
	name := func(n Name) string {
		if n.Space == "" {
			return n.Local
		}
		return n.Space + "\x01" + n.Local
	}
	var walk func(e *Element)
	walk = func(e *Element) {
		b.WriteByte('S')
		text(name(e.Name))
		b.WriteString(strconv.Itoa(len(e.Attrs)) + ";")
		attrs := slices.Clone(e.Attrs)
		slices.SortFunc(attrs, func(x, y Attr) int { return strings.Compare(name(x.Name), name(y.Name)) })
		for _, a := range attrs {
			text(name(a.Name))
			text(a.Value)
		}
		for _, n := range e.Nodes {
			if n.Element != nil {
				walk(n.Element)
			} else {
				b.WriteByte('T')
				text(n.Text)
			}
		}
		b.WriteByte('E')
	}
	walk(e)
	return b.String()
}

// foreignNames replaces each character above ASCII that occurs in a name by
// ASCII, everywhere in the document. Expat knows the names of the fourth
// edition of XML 1.0, we those of the fifth, which permits many more; so only
// where the characters are not in the names can the two be compared.
func foreignNames(doc []byte, e *Element) []byte {
	in := map[rune]bool{}
	var walk func(e *Element)
	walk = func(e *Element) {
		tag := e.Raw[:e.tagBytes]
		for _, r := range tag { // values too; it does no harm
			if r > 0x7F {
				in[r] = true
			}
		}
		for c := range e.Children() {
			walk(c)
		}
	}
	walk(e)
	var out []byte
	for i, r := range string(doc) {
		if in[r] && (i > 0 || r != '\uFEFF') { // a byte order mark at the start is no part of a name
			out = fmt.Appendf(out, "_%X", r)
		} else {
			out = append(out, string(r)...)
		}
	}
	return out
}

// wideLimits do not come into play in comparisons.
func wideLimits() Limits {
	return Limits{Bytes: 1 << 22, Depth: 1000, Attributes: 1000, NameBytes: 1 << 16, Children: 1 << 20}
}

// compare fails unless what we accept expat accepts with the same tree. It
// tells whether we accept.
func compare(o *expattest.Oracle, tb testing.TB, doc []byte) bool {
	tb.Helper()
	e, err := ParseDocument(doc, wideLimits())
	if err != nil {
		return false
	}
	tree, refusal := o.Parse(tb, doc)
	if refusal != "" {
		replaced := foreignNames(doc, e)
		if bytes.Equal(replaced, doc) {
			tb.Fatalf("accepted, but expat says %s: %q", refusal, doc)
		}
		if e, err = ParseDocument(replaced, wideLimits()); err != nil {
			tb.Fatalf("%q: with names in ASCII: %v", doc, err)
		}
		if tree, refusal = o.Parse(tb, replaced); refusal != "" {
			tb.Fatalf("accepted, but expat says %s: %q", refusal, replaced)
		}
	}
	if ours := printTree(e); ours != tree {
		tb.Fatalf("%q\nours  %q\nexpat %q", doc, ours, tree)
	}
	return true
}

// differentialSeeds are documents that exercise what the two could differ in.
func differentialSeeds(tb testing.TB) [][]byte {
	var seeds [][]byte
	for _, v := range vectors(tb) {
		seeds = append(seeds, v.input)
	}
	for _, s := range []string{benchMessage, benchPresence, benchRich} {
		seeds = append(seeds, []byte(s))
	}
	return seeds
}

// T-FZ-05, as a test: the corpus, and 20000 mutations of it that are always the
// same.
func TestExpatAgrees(t *testing.T) {
	o := expattest.Start(t)
	seeds := differentialSeeds(t)
	for _, s := range seeds {
		compare(o, t, s)
	}
	rnd := rand.New(rand.NewPCG(5, 2026))
	const bits = "<>&;/'\"=: \t\r\n!?[]-#xa0.\x00\x7f\u00e9\uFEFF\U0001F600"
	var valid [][]byte
	for _, s := range seeds {
		if _, err := ParseDocument(s, Limits{}); err == nil {
			valid = append(valid, s)
		}
	}
	accepted := 0
	for i := range 20000 {
		doc := slices.Clone(seeds[rnd.IntN(len(seeds))])
		if i%2 == 0 {
			doc = slices.Clone(valid[rnd.IntN(len(valid))])
		}
		for range 1 + rnd.IntN(3) {
			if len(doc) == 0 {
				break
			}
			at := rnd.IntN(len(doc))
			switch rnd.IntN(6) {
			case 0: // one octet is lost
				doc = slices.Delete(doc, at, at+1)
			case 1: // one octet comes in
				doc = slices.Insert(doc, at, bits[rnd.IntN(len(bits))])
			case 2: // one octet changes
				doc[at] = bits[rnd.IntN(len(bits))]
			case 3: // a piece is there twice
				end := min(len(doc), at+rnd.IntN(20))
				doc = slices.Insert(doc, at, slices.Clone(doc[at:end])...)
			case 4: // a piece of another document comes in
				other := seeds[rnd.IntN(len(seeds))]
				if len(other) > 0 {
					from := rnd.IntN(len(other))
					doc = slices.Insert(doc, at, other[from:min(len(other), from+rnd.IntN(30))]...)
				}
			case 5: // one letter changes
				doc[at] = "abpxqy"[rnd.IntN(6)]
			}
		}
		if compare(o, t, doc) {
			accepted++
		}
	}
	t.Logf("%d of 20000 mutations accepted, expat's trees are the same", accepted)
	if accepted < 1000 {
		t.Errorf("%d accepted, too few to mean anything", accepted)
	}
}

// FuzzExpat is T-FZ-05: what we accept, expat accepts with the same tree.
func FuzzExpat(f *testing.F) {
	for _, s := range differentialSeeds(f) {
		f.Add(s)
	}
	o := expattest.Start(f)
	f.Fuzz(func(t *testing.T, doc []byte) { compare(o, t, doc) })
}
