package rules

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// module is the path that imports of our own begin with.
const module = "github.com/isthmus-gateway/isthmus"

// Violation is one place that breaks a rule.
type Violation struct {
	Rule string // the rule's name: "imports", "citations" …
	File string // path from the root of the tree, with slashes
	Line int    // from 1; 0 when the file as a whole is meant
	Text string // what is wrong, and what the rule wants
}

// String is "file:line: rule: text".
func (v Violation) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", v.File, v.Line, v.Rule, v.Text)
}

// Tree is a checkout, read once.
type Tree struct {
	Files []*File
}

// File is one text file of the tree.
type File struct {
	Path   string // from the root, with slashes
	Text   string
	Syntax *ast.File // nil if it is no Go file
	set    *token.FileSet
}

// Load reads the Go files, the documents (.md) and the examples (.yaml) below root. What testdata, .git and other hidden folders
// hold is not ours to judge. A Go file that does not parse is an error.
func Load(root fs.FS) (*Tree, error) {
	t := &Tree{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		switch path.Ext(name) {
		case ".go", ".md", ".yaml":
		default:
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f := &File{Path: name, Text: string(text)}
		if path.Ext(name) == ".go" {
			f.set = token.NewFileSet()
			if f.Syntax, err = parser.ParseFile(f.set, name, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
				return err
			}
		}
		t.Files = append(t.Files, f)
		return nil
	})
	return t, err
}

// Folder is the file's folder from the root of the tree: the package's path within the module. "." is the root.
func (f *File) Folder() string { return path.Dir(f.Path) }

// Test reports whether f is a Go test.
func (f *File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Generated reports whether a tool wrote the Go file.
func (f *File) Generated() bool { return f.Syntax != nil && ast.IsGenerated(f.Syntax) }

// in reports whether the file is in one of the folders, or below it.
func (f *File) in(folders ...string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return below(f.Folder(), folder) })
}

// below reports whether the path p is folder or something in it.
func below(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

func (f *File) at(pos token.Pos) int { return f.set.Position(pos).Line }

// lineOf is the line of an offset into Text.
func (f *File) lineOf(offset int) int { return 1 + strings.Count(f.Text[:offset], "\n") }

// report collects violations.
type report struct {
	rule  string
	found []Violation
}

func (r *report) add(f *File, line int, format string, args ...any) {
	r.found = append(r.found, Violation{Rule: r.rule, File: f.Path, Line: line, Text: fmt.Sprintf(format, args...)})
}

// Rule looks at a tree.
type Rule struct {
	// Name is one word.
	Name string
	// Check returns what breaks the rule.
	check func(*Tree, *report)
}

// Check returns what in t breaks the rule, in the order of files and lines.
func (r Rule) Check(t *Tree) []Violation {
	rep := &report{rule: r.Name}
	r.check(t, rep)
	slices.SortStableFunc(rep.found, func(a, b Violation) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return rep.found
}

// goFiles calls visit for every Go file.
func (t *Tree) goFiles(visit func(*File)) {
	for _, f := range t.Files {
		if f.Syntax != nil {
			visit(f)
		}
	}
}
