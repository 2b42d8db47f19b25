package strictxml

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// vector is a record of testdata/vectors.txt.
type vector struct {
	name, as        string
	input           []byte
	rule, condition string // "" if the input is valid
	offset          int64
	limits          Limits
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	text, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	seen := map[string]bool{}
	for record := range strings.SplitSeq(string(text), "\n\n") {
		v := vector{offset: -1}
		for line := range strings.Lines(record) {
			line = strings.TrimSuffix(line, "\n")
			if line == "" || line[0] == '#' {
				continue
			}
			key, value, _ := strings.Cut(line, ": ")
			var err error
			switch key {
			case "name":
				v.name = value
			case "as":
				v.as = value
			case "input":
				var s string
				s, err = strconv.Unquote(value)
				v.input = []byte(s)
			case "rule":
				v.rule = value
			case "condition":
				v.condition = value
			case "offset":
				v.offset, err = strconv.ParseInt(value, 10, 64)
			case "limits":
				v.limits = Limits{Bytes: 100, Depth: 3, Attributes: 3, NameBytes: 8, Children: 3}
			default:
				tb.Fatalf("%s: unknown key %q", v.name, key)
			}
			if err != nil {
				tb.Fatalf("%s: %s: %v", v.name, key, err)
			}
		}
		if v.name == "" {
			continue // the comment at the start
		}
		if seen[v.name] {
			tb.Fatalf("%s is there twice", v.name)
		}
		seen[v.name] = true
		all = append(all, v)
	}
	return all
}

// read reads the vector as it says, whatever the pieces its octets come in.
func (v vector) read(r io.Reader) error {
	switch v.as {
	case "document":
		_, err := ParseDocument(v.input, v.limits)
		return err
	case "element":
		_, err := ParseElement(v.input, nil, v.limits)
		return err
	case "stream":
		_, err := readStream(r, v.limits)
		return err
	}
	return errors.New("not a known way to read")
}

// readStream returns the trees of a whole stream: the header's and the
// children's.
func readStream(r io.Reader, lim Limits) (trees []string, err error) {
	s := NewStream(r, lim)
	root, scope, err := s.Header()
	if err != nil {
		return nil, err
	}
	trees = append(trees, printTree(root))
	for {
		raw, err := s.Next()
		if err == io.EOF {
			return trees, nil
		}
		if err != nil {
			return trees, err
		}
		e, err := ParseElement(raw, scope, lim)
		if err != nil {
			return trees, err
		}
		trees = append(trees, printTree(e))
	}
}

// T-TT-X.
func TestVectors(t *testing.T) {
	refused := 0
	rules := map[string]bool{}
	for _, v := range vectors(t) {
		if v.rule != "" {
			refused++
			rules[v.rule] = true
		}
		t.Run(v.name, func(t *testing.T) {
			err := v.read(bytes.NewReader(v.input))
			if v.rule == "" {
				if err != nil {
					t.Fatalf("%q: %v", v.input, err)
				}
				return
			}
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("%q: want a SyntaxError with rule %s, got %v", v.input, v.rule, err)
			}
			if syntax.Rule != v.rule || syntax.Condition.String() != v.condition || syntax.Offset != v.offset {
				t.Errorf("%q\ngot  %d %s %s\nwant %d %s %s", v.input,
					syntax.Offset, syntax.Rule, syntax.Condition, v.offset, v.rule, v.condition)
			}
			if v.as == "stream" {
				again := v.read(oneByte{bytes.NewReader(v.input)})
				if errors.As(again, &syntax); again == nil || again.Error() != err.Error() {
					t.Errorf("octet by octet: %v, at once: %v", again, err)
				}
			}
		})
	}
	if refused < 60 {
		t.Errorf("%d vectors are refused, want at least 60", refused)
	}
	for i := range faults {
		if rule := faults[i].Rule; !rules[rule] {
			t.Errorf("no vector breaks the rule %s", rule)
		}
	}
}

// Each valid vector, and each that only a limit refuses, with every octet in
// turn lost, doubled or changed, must not make a reader panic or disagree
// with itself.
func TestVectorsMutated(t *testing.T) {
	for _, v := range vectors(t) {
		for at := range v.input {
			for _, b := range []byte("<>&'\"/ \x00\xff!x:]") {
				in := slices.Clone(v.input)
				in[at] = b
				checkConsistent(t, in)
			}
			checkConsistent(t, slices.Delete(slices.Clone(v.input), at, at+1))
		}
	}
}
