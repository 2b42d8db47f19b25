package rules

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// Citations checks that every section cited as "RFC 3860 §3.4.2" exists in that RFC. specs holds the texts, as rfc3860.txt.
func Citations(specs fs.FS) Rule {
	c := citations{specs: specs, known: make(map[string]map[string]bool)}
	return Rule{"citations", c.check}
}

type citations struct {
	specs fs.FS
	known map[string]map[string]bool // RFC number: sections; nil if there is no such text
}

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

func (c *citations) check(t *Tree, r *report) {
	for _, f := range t.Files {
		if f.in("integration/rules") { // its tests plant wrong ones
			continue
		}
		for _, m := range citation.FindAllStringSubmatchIndex(f.Text, -1) {
			number := f.Text[m[2]:m[3]]
			for _, s := range section.FindAllStringSubmatchIndex(f.Text[m[4]:m[5]], -1) {
				cited := strings.TrimRight(f.Text[m[4]+s[2]:m[4]+s[3]], ".")
				if fault := c.fault(number, cited); fault != "" {
					r.add(f, f.lineOf(m[4]+s[0]), "%s", fault)
				}
			}
		}
	}
}

func (c *citations) fault(number, cited string) string {
	sections, done := c.known[number]
	if !done {
		text, err := fs.ReadFile(c.specs, "rfc"+number+".txt")
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Sprintf("RFC %s cannot be read: %v", number, err)
		default:
			sections = sectionsOf(string(text))
		}
		c.known[number] = sections
	}
	switch {
	case sections == nil:
		return "there is no text of RFC " + number + " to compare with"
	case !sections[cited]:
		return "RFC " + number + " has no section " + cited
	}
	return ""
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
