package pidf

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A vector file has lines "key: value", an empty line, and the document as it is. The keys:
//
//	comment  what is special about it; a sentence of a text in quotation marks
//	expect   "valid", or the rule that Parse names
//	section  the section that Parse names
//	lenient  the leniencies that ParseLenient needs, in order, or "refused"; empty if it reports none
type vector struct {
	comment, expect, section, lenient string
	doc                               []byte
}

func readVector(t *testing.T, file string) vector {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, doc, ok := strings.Cut(string(b), "\n\n")
	if !ok {
		t.Fatal("no empty line after the keys")
	}
	v := vector{doc: []byte(doc)}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "comment":
			v.comment = value
		case "expect":
			v.expect = value
		case "section":
			v.section = value
		case "lenient":
			v.lenient = value
		default:
			t.Fatalf("unknown key %q", key)
		}
	}
	if v.comment == "" || v.expect == "" {
		t.Fatal("a vector has a comment and an expectation")
	}
	return v
}

// T-CP-05, T-CP-07: one vector for each MUST and each rule of the schemas, broken in one way, and the odd valid ones.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/vectors/*.vec")
	if err != nil || len(files) < 150 {
		t.Fatalf("%d vectors, want at least 150 (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".vec"), func(t *testing.T) {
			v := readVector(t, file)
			p, err := Parse(v.doc)
			lenient, found, lenientErr := ParseLenient(v.doc)
			if v.expect == "valid" {
				if err != nil {
					t.Fatal(err)
				}
				checkRoundTrip(t, p)
				if lenientErr != nil || len(found) > 0 || !lenient.Equal(p) {
					t.Errorf("the lenient reader differs on a valid document: %v %v", lenientErr, found)
				}
				return
			}
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("got %v, want rule %s", err, v.expect)
			}
			if syntax.Rule != v.expect || syntax.Section != v.section {
				t.Errorf("got %s (%s), want %s (%s)", syntax.Rule, syntax.Section, v.expect, v.section)
			}
			if syntax.Offset < 0 || syntax.Offset > int64(len(v.doc)) || syntax.Expected == "" {
				t.Errorf("offset %d of %d, expected %q", syntax.Offset, len(v.doc), syntax.Expected)
			}
			if v.lenient == "refused" {
				if lenientErr == nil {
					t.Errorf("read leniently with %v", kindNames(found))
				}
				return
			}
			if lenientErr != nil {
				t.Fatalf("lenient: %v", lenientErr)
			}
			if got := strings.Join(kindNames(found), " "); got != v.lenient {
				t.Errorf("leniencies %q, want %q", got, v.lenient)
			}
			// A leniently read document may lack what printing needs, but what prints is valid.
			if printed, err := lenient.Append(nil); err == nil {
				if _, err := Parse(printed); err != nil {
					t.Errorf("prints what does not parse: %v\n%s", err, printed)
				}
			}
		})
	}
}

func kindNames(found []Leniency) []string {
	var names []string
	for _, l := range found {
		if n := l.Kind.String(); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Every leniency is needed by a vector, and each is named.
func TestEveryLeniencyHasAVector(t *testing.T) {
	files, err := filepath.Glob("testdata/vectors/*.vec")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, file := range files {
		for name := range strings.FieldsSeq(readVector(t, file).lenient) {
			have[name] = true
		}
	}
	for k := LenientEncoding; k <= LenientText; k++ {
		if name := k.String(); !have[name] || strings.HasPrefix(name, "leniency-") {
			t.Errorf("no vector needs %q", name)
		}
	}
}
