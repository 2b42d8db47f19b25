package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What must be shown is in these tables: the first two are made from THREATS.md and RFC2779.md where those are, the others say what no
// test can.
const (
	threatRows      = "testdata/threat_rows.tsv"
	requirementRows = "testdata/rfc2779_rows.tsv"
	threatAnswers   = "testdata/threat_answers.txt"
	answers         = "testdata/rfc2779_answers.txt"
)

// Every row of rank A has its tests, every requirement of RFC 2779 a test or a sentence, and the documents say which.
func TestEvidence(t *testing.T) {
	if *update {
		folder := os.Getenv("ISTHMUS_SPEC")
		if folder == "" {
			folder = filepath.Join(root, "..", "shared")
		}
		for name, source := range map[string]string{threatRows: "THREATS.md", requirementRows: "RFC2779.md"} {
			text, err := os.ReadFile(filepath.Join(folder, "design", source))
			if err != nil {
				t.Logf("%s is not made anew: %v", name, err)
				continue
			}
			if err := os.WriteFile(name, []byte(PrintRows(ReadRows(string(text), source == "RFC2779.md"))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	tree, err := Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	shown := Shows(tree)
	threats, requirements := ParseRows(table(t, threatRows)), ParseRows(table(t, requirementRows))
	if len(threats) != 58 || len(requirements) != 93 {
		t.Fatalf("%d threats and %d requirements, where there are 58 and 93", len(threats), len(requirements))
	}
	saidOfThreats, said := Sentences(table(t, threatAnswers)), Sentences(table(t, answers))
	var rankA []Row
	for _, r := range threats {
		if r.Class == "A" {
			rankA = append(rankA, r)
		}
	}
	if len(rankA) < 40 {
		t.Fatalf("only %d rows of rank A", len(rankA))
	}
	for _, open := range append(shown.Open(rankA, saidOfThreats), shown.Open(requirements, said)...) {
		t.Error(open)
	}
	for _, d := range []struct{ name, text string }{
		{"threats.md", shown.ThreatsDocument(threats, saidOfThreats)},
		{"rfc2779.md", shown.RequirementsDocument(requirements, said)},
	} {
		name := filepath.Join(root, "docs", d.name)
		if *update {
			if err := os.WriteFile(name, []byte(d.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != d.text {
			t.Errorf("docs/%s is out of date: run go test ./integration/rules -run TestEvidence -update (%v)", d.name, err)
		}
	}
	// A sentence for what is not asked for would be believed for nothing.
	for id := range said {
		if !strings.Contains("\n"+table(t, requirementRows), "\n"+id+"\t") {
			t.Errorf("%s: a sentence for a requirement that there is not", id)
		}
	}
}

func TestClaims(t *testing.T) {
	for _, c := range []struct{ name, comment, want string }{
		{"TestT_FI_24_ACopyWaits", "", "T-FI-24"},
		{"TestT_TT_S_RFC4475", "", "T-TT-S"},
		{"FuzzSIPToXMPP_TFZ13", "", "T-FZ-13"},
		{"TestHalfOpenTFI27", "", "T-FI-27"},
		{"TestOctetsX4", "", "X4"},
		{"TestOther", "T-CP-05, T-CP-07: both. THREATS X3 and X4, but not X5.", "T-CP-05 T-CP-07 X3 X4"},
		{"TestRFC3261", "T-FI of nothing; X3 alone is the name of a stanza", ""},
	} {
		got := claims(c.name, c.comment)
		want := strings.Fields(c.want)
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		for _, id := range want {
			if !got[id] {
				t.Errorf("%s: %s is missing of %v", c.name, id, got)
			}
		}
	}
}

// A test that is taken away is missed.
func TestEvidenceCanFail(t *testing.T) {
	rows := []Row{{ID: "X1", Class: "A", Tests: []string{"T-FZ-05"}}, {ID: "X2", Class: "A"}, {ID: "X3", Class: "A", Tests: []string{"T-FZ-06", "T-FZ-07"}}}
	e := Evidence{"T-FZ-06": {{"TestA", "a"}}}
	got := strings.Join(e.Open(rows, map[string]string{"X2": "a sentence"}), "; ")
	if want := "X1: no test T-FZ-05; X3: no test T-FZ-07"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTestsNamed(t *testing.T) {
	got := strings.Join(testsNamed("T-FZ-09, -13, -14 property; T-TL-03..06, T-ID-07/08 and T-FI-all, T-TT-S (x), D + T-CP-11: y"), " ")
	if want := "T-FZ-09 T-FZ-13 T-FZ-14 T-TL-03 T-TL-04 T-TL-05 T-TL-06 T-ID-07 T-ID-08 T-FI-01 T-TT-S T-CP-11"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
