package rules

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Evidence is which tests show what: by the ids of THREATS.md that a test's name or the comment above it names. A name carries an id as
// TestT_FI_24_ACopyWaits, TestHalfOpenTFI27 or TestOctetsX4; a comment as T-FI-24, or as "THREATS X4" for a row of the catalogue; the name of a case begins with it.
type Evidence map[string][]Shown

// Shown is a test that shows something.
type Shown struct {
	Name   string // "TestT_FI_24_ACopyWaits"
	Folder string // "gateway"
}

var (
	idInName    = regexp.MustCompile(`(?:^Test|^Fuzz|_)T_([A-Z]{2})_([0-9]{2}|S|X|C)(?:_|$)|T(FZ|FI|OV|SK|TT|ID|TL|PR|CP|LP|AD)([0-9]{2})$`)
	rowInName   = regexp.MustCompile(`[a-z](X|S|G|O)([0-9]{1,2})$`)
	idInComment = regexp.MustCompile(`T-([A-Z]{2})-([0-9]{2}|S|X|C)\b`)
	caseName    = regexp.MustCompile("^[\"`](T-[A-Z]{2}-(?:[0-9]{2}|S|X|C))[ ,:]")
	rowsComment = regexp.MustCompile(`THREATS(?:\.md)? ((?:[XSGO][0-9]{1,2}(?:, | and )?)+)`)
	rowID       = regexp.MustCompile(`[XSGO][0-9]{1,2}`)
)

// Shows finds the evidence in a tree: its tests and fuzz targets. What a benchmark measures is no evidence of behaviour.
func Shows(t *Tree) Evidence {
	e := make(Evidence)
	t.goFiles(func(f *File) {
		if !f.Test() || f.in("integration/rules") {
			return // the tests of these rules show no behaviour of the gateway, whatever their examples name
		}
		for _, d := range f.Syntax.Decls {
			if table, ok := d.(*ast.GenDecl); ok {
				// A table of cases beside the test that plays them.
				for id, name := range cases(table) {
					e[id] = append(e[id], Shown{name, f.Folder()})
				}
				continue
			}
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") && !strings.HasPrefix(fn.Name.Name, "Fuzz") {
				continue
			}
			ids := claims(fn.Name.Name, fn.Doc.Text())
			for id := range cases(fn) {
				ids[id] = true
			}
			for id := range ids {
				e[id] = append(e[id], Shown{fn.Name.Name, f.Folder()})
			}
		}
	})
	for _, tests := range e {
		slices.SortFunc(tests, func(a, b Shown) int {
			return strings.Compare(a.Folder+"\x00"+a.Name, b.Folder+"\x00"+b.Name)
		})
	}
	return e
}

// cases are the ids that names of cases begin with, and one such name for each.
func cases(in ast.Node) map[string]string {
	names := make(map[string]string)
	ast.Inspect(in, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if m := caseName.FindStringSubmatch(lit.Value); m != nil {
				names[m[1]] = strings.Trim(lit.Value, "\"`")
			}
		}
		return true
	})
	return names
}

func claims(name, comment string) map[string]bool {
	ids := make(map[string]bool)
	for _, m := range idInName.FindAllStringSubmatch(name, -1) {
		ids["T-"+m[1]+m[3]+"-"+m[2]+m[4]] = true
	}
	if m := rowInName.FindStringSubmatch(name); m != nil {
		ids[m[1]+m[2]] = true
	}
	for _, m := range idInComment.FindAllStringSubmatch(comment, -1) {
		ids["T-"+m[1]+"-"+m[2]] = true
	}
	for _, m := range rowsComment.FindAllStringSubmatch(strings.Join(strings.Fields(comment), " "), -1) {
		for _, id := range rowID.FindAllString(m[1], -1) {
			ids[id] = true
		}
	}
	return ids
}

// Row is one thing that has to be shown: a row of THREATS.md section 2, or a requirement of RFC 2779.
type Row struct {
	ID    string // "X1", "2.1.1"
	Text  string // the attack, or the requirement in one line
	Class string // the rank, or the level
	Who   string // RFC 2779: whose duty it is
	Tests []string
}

var tableRow = regexp.MustCompile(`(?m)^\| ([XSGO][0-9]+|[2-5]\.[0-9]+\.[0-9]+) \|(.*)\|$`)

// ReadRows reads the rows of THREATS.md section 2, or the requirements of RFC2779.md.
func ReadRows(text string, requirements bool) []Row {
	var rows []Row
	for _, m := range tableRow.FindAllStringSubmatch(text, -1) {
		cells := strings.Split(m[2], "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		r := Row{ID: m[1]}
		switch {
		case strings.Contains(m[1], ".") != requirements:
			continue
		case requirements:
			r.Class, r.Text, r.Who, r.Tests = cells[0], cells[1], cells[2], testsNamed(cells[3])
		default:
			r.Text, r.Class, r.Tests = cells[0], cells[len(cells)-1], testsNamed(cells[len(cells)-2])
		}
		rows = append(rows, r)
	}
	return rows
}

var named = regexp.MustCompile(`T-([A-Z]{2})-([0-9]{2}|S|X|C|all)(?:\.\.([0-9]{2}))?((?:(?:/|, -)[0-9]{2})*)`)

// testsNamed finds the ids in a cell: T-FZ-05, T-TL-03..06, T-ID-07/08, "T-FZ-09, -13". T-FI-all is T-FI-01.
func testsNamed(cell string) []string {
	var ids []string
	add := func(class, number string) {
		if number == "all" {
			number = "01"
		}
		if id := "T-" + class + "-" + number; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, m := range named.FindAllStringSubmatch(cell, -1) {
		add(m[1], m[2])
		var first, last int
		if n, _ := fmt.Sscanf(m[2]+" "+m[3], "%d %d", &first, &last); n == 2 {
			for i := first + 1; i <= last; i++ {
				add(m[1], fmt.Sprintf("%02d", i))
			}
		}
		for _, more := range regexp.MustCompile(`[0-9]{2}`).FindAllString(m[4], -1) {
			add(m[1], more)
		}
	}
	return ids
}

// PrintRows is the rows as a table of tabs, which ParseRows reads.
func PrintRows(rows []Row) string {
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintln(&b, strings.Join([]string{r.ID, r.Class, r.Who, strings.Join(r.Tests, " "), r.Text}, "\t"))
	}
	return b.String()
}

// ParseRows reads what PrintRows printed. A line of another shape is left out.
func ParseRows(table string) []Row {
	var rows []Row
	for line := range strings.Lines(table) {
		if c := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(c) == 5 {
			rows = append(rows, Row{ID: c[0], Class: c[1], Who: c[2], Tests: strings.Fields(c[3]), Text: c[4]})
		}
	}
	return rows
}

// Sentences reads lines "ID: sentence"; those that begin with # are comments.
func Sentences(text string) map[string]string {
	said := make(map[string]string)
	for line := range strings.Lines(text) {
		if id, s, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(id, "#") {
			said[id] = s
		}
	}
	return said
}

// Open returns what of the rows is not shown: the ids of a row without any test, unless a test names the row itself or, where only whole
// rows are asked for, a sentence answers it.
func (e Evidence) Open(rows []Row, said map[string]string) []string {
	var open []string
	for _, r := range rows {
		if len(e[r.ID]) > 0 {
			continue
		}
		if len(r.Tests) == 0 && said[r.ID] == "" {
			open = append(open, r.ID+": neither a test nor a sentence")
		}
		for _, id := range r.Tests {
			if len(e[id]) == 0 && said[r.ID] == "" {
				open = append(open, r.ID+": no test "+id)
			}
		}
	}
	return open
}

// ThreatsDocument is docs/threats.md.
func (e Evidence) ThreatsDocument(rows []Row, said map[string]string) string {
	var b strings.Builder
	b.WriteString(`# Threats and the tests that answer them

Made from the names of the tests and the comments above them by ` + "`go test ./integration/rules -run TestEvidence -update`" + `; do not edit. A row is an
attack or a fault of the project's catalogue; rank A blocks a release. What an id stands for is in the second table.

| row | rank | attack or fault | shown by |
|---|---|---|---|
`)
	for _, r := range rows {
		var by []string
		if len(e[r.ID]) > 0 {
			by = append(by, e.list(r.ID))
		}
		for _, id := range r.Tests {
			if len(e[id]) > 0 {
				by = append(by, id)
			} else if said[r.ID] == "" {
				by = append(by, id+" (none yet)")
			}
		}
		if s := said[r.ID]; s != "" {
			by = append(by, s)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.ID, r.Class, cell(r.Text), strings.Join(by, ", "))
	}
	b.WriteString("\n| id | tests |\n|---|---|\n")
	for _, id := range slices.Sorted(maps.Keys(e)) {
		fmt.Fprintf(&b, "| %s | %s |\n", id, e.list(id))
	}
	return b.String()
}

// RequirementsDocument is docs/rfc2779.md.
func (e Evidence) RequirementsDocument(rows []Row, said map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# RFC 2779, requirement by requirement

Made from the names of the tests and the comments above them, and from integration/rules/testdata/rfc2779_answers.txt, by
`+"`go test ./integration/rules -run TestEvidence -update`"+`; do not edit. All %d numbered requirements are here; "who" is whose duty it is: the gateway's (GW), that of
both sides, which the gateway must not break (PASS), or the working group's (WG).

| requirement | level | who | what it asks | answer |
|---|---|---|---|---|
`, len(rows))
	for _, r := range rows {
		var by []string
		if s := said[r.ID]; s != "" {
			by = append(by, s)
		}
		for _, id := range r.Tests {
			if len(e[id]) > 0 {
				by = append(by, id+": "+e.list(id))
			} else if said[r.ID] == "" {
				by = append(by, id+": none yet")
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.ID, r.Class, r.Who, cell(r.Text), strings.Join(by, "<br>"))
	}
	return b.String()
}

func (e Evidence) list(id string) string {
	var names []string
	for _, s := range e[id] {
		names = append(names, "`"+s.Name+"` ("+path.Clean(s.Folder)+")")
	}
	return strings.Join(names, ", ")
}

func cell(s string) string { return strings.ReplaceAll(s, "\n", " ") }
