package rules

import (
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Sections is the section numbers of RFCs, by the RFC's number.
type Sections map[string]map[string]bool

// Citations checks that every section cited as "RFC 3860 §3.4.2" exists in that RFC.
func Citations(known Sections) Rule { return Rule{"citations", known.check} }

var (
	// A comment may break its line anywhere in a citation; (?:\s|//|#)+ is what then stands between two words.
	citation = regexp.MustCompile(`RFC(?:\s|//|#)+([0-9]{1,5})(?:\s|//|#)+((?:(?:,|;|and|or|to)?(?:\s|//|#)*§[0-9A-Za-z.]+)(?:(?:(?:\s|//|#)*(?:,|and|or|to|-|–)(?:\s|//|#)*)§[0-9A-Za-z.]+)*)`)
	section  = regexp.MustCompile(`§([0-9A-Za-z.]+)`)

	numbered  = regexp.MustCompile(`(?m)^ {0,3}([0-9]{1,2})\.? {1,4}\S`)
	deep      = regexp.MustCompile(`(?m)^ {0,9}(?:Section +)?([0-9]{1,2}(?:\.[0-9]{1,3})+)\.?(?:\s|$)`)
	appendix  = regexp.MustCompile(`(?mi)^ {0,9}appendix +([A-Z])\b`)
	lettered  = regexp.MustCompile(`(?m)^ {0,9}(?:Appendix +)?([A-Z](?:\.[0-9]{1,3})*)\.? {1,4}\S`)
	pageBreak = regexp.MustCompile(`\f`)
)

func (known Sections) check(t *Tree, r *report) {
	for _, f := range t.Files {
		if f.in("integration/rules") { // its tests plant wrong ones
			continue
		}
		for _, m := range citation.FindAllStringSubmatchIndex(f.Text, -1) {
			number := f.Text[m[2]:m[3]]
			for _, s := range section.FindAllStringSubmatchIndex(f.Text[m[4]:m[5]], -1) {
				cited := strings.TrimRight(f.Text[m[4]+s[2]:m[4]+s[3]], ".")
				if fault := known.fault(number, cited); fault != "" {
					r.add(f, f.lineOf(m[4]+s[0]), "%s", fault)
				}
			}
		}
	}
}

func (known Sections) fault(number, cited string) string {
	sections, ok := known[number]
	switch {
	case !ok:
		return "there is no text of RFC " + number + " to compare with"
	case !sections[cited]:
		return "RFC " + number + " has no section " + cited
	}
	return ""
}

// ReadSections finds the sections in the texts of texts, which are named rfc3860.txt.
func ReadSections(texts fs.FS) (Sections, error) {
	names, err := fs.Glob(texts, "rfc*.txt")
	if err != nil {
		return nil, err
	}
	known := make(Sections, len(names))
	for _, name := range names {
		text, err := fs.ReadFile(texts, name)
		if err != nil {
			return nil, err
		}
		known[strings.TrimSuffix(strings.TrimPrefix(name, "rfc"), ".txt")] = sectionsOf(string(text))
	}
	return known, nil
}

// String is a table that ParseSections reads: one line for each RFC, its number and its sections.
func (known Sections) String() string {
	var b strings.Builder
	for _, number := range slices.Sorted(maps.Keys(known)) {
		b.WriteString(number)
		for _, s := range slices.Sorted(maps.Keys(known[number])) {
			b.WriteByte(' ')
			b.WriteString(s)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// ParseSections reads what String wrote.
func ParseSections(table string) Sections {
	known := make(Sections)
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		known[words[0]] = make(map[string]bool, len(words)-1)
		for _, s := range words[1:] {
			known[words[0]][s] = true
		}
	}
	return known
}

// sectionsOf finds the headings of an RFC, and the lines of its table of contents, which are the same.
func sectionsOf(text string) map[string]bool {
	text = pageBreak.ReplaceAllString(text, "\n")
	text = strings.ReplaceAll(text, "\r", "")
	sections := make(map[string]bool)
	for _, pattern := range []*regexp.Regexp{numbered, deep, appendix, lettered} {
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			sections[strings.ToUpper(m[1])] = true
		}
	}
	return sections
}
