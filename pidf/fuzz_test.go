package pidf

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// corpus gives the documents of testdata.
func corpus(f testing.TB) [][]byte {
	var docs [][]byte
	files, err := filepath.Glob("testdata/rfc/*.xml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		docs = append(docs, b)
	}
	files, err = filepath.Glob("testdata/vectors/*.vec")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		_, doc, _ := bytes.Cut(b, []byte("\n\n"))
		docs = append(docs, doc)
	}
	return docs
}

// T-FZ-10: what Parse takes prints, and what was printed parses and prints the same; ParseLenient takes it too, needs nothing for
// it, and reads the same; what ParseLenient takes and Append prints, Parse takes. T-CP-05: so does its single form.
func FuzzParse(f *testing.F) {
	for _, doc := range corpus(f) {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := Parse(doc)
		lenient, found, lenientErr := ParseLenient(doc)
		if err == nil {
			if !bytes.Equal(p.Raw(), doc) {
				t.Fatal("Raw differs from what came")
			}
			checkRoundTrip(t, p)
			checkSingle(t, p)
			if lenientErr != nil || len(found) > 0 || !lenient.Equal(p) {
				t.Fatalf("the lenient reader differs: %v %v", lenientErr, found)
			}
		} else {
			checkSyntaxError(t, err, doc)
		}
		if lenientErr != nil {
			checkSyntaxError(t, lenientErr, doc)
			return
		}
		for i := range lenient.Tuples {
			ReadShow(lenient, &lenient.Tuples[i])
		}
		if printed, err := lenient.Append(nil); err == nil {
			q, err := Parse(printed)
			if err != nil {
				t.Fatalf("prints what does not parse: %v\n%s", err, printed)
			}
			checkRoundTrip(t, q)
		}
	})
}

func checkSyntaxError(t *testing.T, err error, doc []byte) {
	t.Helper()
	var syntax *SyntaxError
	if !errors.As(err, &syntax) {
		t.Fatalf("not a SyntaxError: %v", err)
	}
	// A document in ISO-8859-1 grows when it is read.
	if syntax.Offset < 0 || syntax.Offset > int64(2*len(doc)+len(xmlDeclaration)) || syntax.Rule == "" || syntax.Section == "" || syntax.Expected == "" {
		t.Fatalf("offset %d of %d: %v", syntax.Offset, len(doc), err)
	}
}

// A patch gives a document that parses, or an error that changes nothing; the error prints as a document.
func FuzzPatch(f *testing.F) {
	full, err := os.ReadFile("testdata/rfc/rfc5262-1.xml")
	if err != nil {
		f.Fatal(err)
	}
	diff, err := os.ReadFile("testdata/rfc/rfc5262-2.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full, diff)
	for _, c := range patchCases() {
		f.Add(full, diffOf(c.ops))
	}
	f.Fuzz(func(t *testing.T, full, diff []byte) {
		var c PartialCopy
		p, err := ParsePartial(full)
		if err != nil {
			return
		}
		if _, err := c.Apply(p); err != nil {
			return
		}
		before, version := string(c.Document()), c.version
		d, err := ParsePartial(diff)
		if err != nil {
			return
		}
		presence, err := c.Apply(d)
		if err != nil {
			if string(c.Document()) != before || c.version != version {
				t.Fatal("a failed patch changed the copy")
			}
			var patch *PatchError
			if errors.As(err, &patch) {
				checkDocument(t, patch.Document())
			}
			return
		}
		checkDocument(t, c.Document())
		checkRoundTrip(t, presence)
		again, err := ParsePartial(c.Document())
		if err != nil || !again.IsDiff() && !again.Full().Equal(presence) {
			t.Fatalf("the local copy does not read as what was given: %v", err)
		}
	})
}
