package rules

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Logging checks that nobody formats log lines or writes past the logger that came in the constructor.
func Logging() Rule {
	return Rule{"logging", func(t *Tree, r *report) {
		t.goFiles(func(f *File) {
			if f.Test() {
				return
			}
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					if id, ok := call.Fun.(*ast.Ident); ok && (id.Name == "println" || id.Name == "print") {
						r.add(f, f.at(id.Pos()), "%s writes past the logger", id.Name)
					}
					return true
				}
				pkg, _ := sel.X.(*ast.Ident)
				switch name := sel.Sel.Name; {
				case name == "Msgf":
					r.add(f, f.at(sel.Pos()), "Msgf makes a sentence of what should be fields: use Str, Int … and Msg")
				case pkg != nil && pkg.Name == "fmt" && (name == "Print" || name == "Println" || name == "Printf") && !f.in("cmd", "integration"):
					r.add(f, f.at(sel.Pos()), "fmt.%s writes to standard output: that is the command's", name)
				}
				return true
			})
		})
	}}
}

// names that say nothing of what is inside.
var empty = []string{"util", "utils", "common", "helper", "helpers", "misc", "types", "shared", "base", "lib"}

// Names checks that packages and files are named for what they know.
func Names() Rule {
	return Rule{"names", func(t *Tree, r *report) {
		t.goFiles(func(f *File) {
			file := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.Path), ".go"), "_test")
			if slices.Contains(empty, file) {
				r.add(f, 1, "the file's name does not say what it is for")
			}
			if slices.Contains(empty, strings.TrimSuffix(f.Syntax.Name.Name, "_test")) {
				r.add(f, f.at(f.Syntax.Name.Pos()), "the package's name does not say what it knows")
			}
		})
	}}
}

// Inits checks that importing a package does nothing, and that no package keeps state that its users share unseen.
func Inits() Rule {
	return Rule{"inits", func(t *Tree, r *report) {
		t.goFiles(func(f *File) {
			for _, d := range f.Syntax.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil && d.Name.Name == "init" {
						r.add(f, f.at(d.Pos()), "func init works behind its importers' backs: pass it in")
					}
				case *ast.GenDecl:
					if d.Tok == token.VAR && !f.in("integration") { // a laboratory builds its binary once for all tests
						packageState(f, d, r)
					}
				}
			}
		})
	}}
}

func packageState(f *File, d *ast.GenDecl, r *report) {
	for _, s := range d.Specs {
		v := s.(*ast.ValueSpec)
		for _, e := range append([]ast.Expr{v.Type}, v.Values...) {
			if e == nil {
				continue
			}
			ast.Inspect(e, func(n ast.Node) bool {
				if _, ok := n.(*ast.FuncLit); ok {
					return false
				}
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				pkg, ok := sel.X.(*ast.Ident)
				if ok && (pkg.Name == "atomic" || pkg.Name == "sync" && slices.Contains([]string{"Mutex", "RWMutex", "Map", "WaitGroup", "Once", "Cond"}, sel.Sel.Name)) {
					r.add(f, f.at(v.Pos()), "%s is state of the whole package: give it an owner", v.Names[0].Name)
				}
				return true
			})
		}
	}
}

// Comments checks that every exported name has a comment.
func Comments() Rule {
	return Rule{"comments", func(t *Tree, r *report) {
		t.goFiles(func(f *File) {
			if f.Test() || f.Generated() || f.Syntax.Name.Name == "main" {
				return
			}
			for _, d := range f.Syntax.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
						r.add(f, f.at(d.Pos()), "%s has no comment", d.Name.Name)
					}
				case *ast.GenDecl:
					exportedSpecs(f, d, r)
				}
			}
		})
	}}
}

// exportedReceiver reports whether d is a function, or a method that a user of the package can see.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	visible := false
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			visible = id.IsExported()
			return false
		}
		_, index := n.(*ast.IndexExpr)
		_, star := n.(*ast.StarExpr)
		return index || star
	})
	return visible
}

func exportedSpecs(f *File, d *ast.GenDecl, r *report) {
	commented := false
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
				r.add(f, f.at(s.Pos()), "%s has no comment", s.Name.Name)
			}
		case *ast.ValueSpec:
			// The comment of a group is the comment of its members, and that of a constant goes on for those that repeat it.
			repeated := d.Tok == token.CONST && len(s.Values) == 0
			commented = s.Doc != nil || s.Comment != nil || repeated && commented
			if s.Names[0].IsExported() && d.Doc == nil && !commented {
				r.add(f, f.at(s.Pos()), "%s has no comment", s.Names[0].Name)
			}
		}
	}
}

// mostLines is the length of a file that one reads in one go.
const mostLines = 600

// Length checks that a file is one concern; tests and what tools write are let off. long lists files that are longer for a
// reason.
func Length(long map[string]string) Rule {
	return Rule{"length", func(t *Tree, r *report) {
		t.goFiles(func(f *File) {
			if n := strings.Count(f.Text, "\n"); n > mostLines && !f.Test() && !f.Generated() && long[f.Path] == "" {
				r.add(f, 0, "%d lines, more than %d: does it hold one thing?", n, mostLines)
			}
		})
	}}
}

var unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b|(?i)\bnot (yet )?implemented yet\b`)

// Unfinished checks that nothing is left for later in the code: what is left out is said in the README.
func Unfinished() Rule {
	return Rule{"unfinished", func(t *Tree, r *report) {
		t.goFiles(func(f *File) {
			for _, group := range f.Syntax.Comments {
				for _, c := range group.List {
					if word := unfinished.FindString(c.Text); word != "" && !f.in("integration/rules") {
						r.add(f, f.at(c.Pos()), "%q: finish it, or say in the README that it is not done", word)
					}
				}
			}
		})
	}}
}

var (
	theWord = regexp.MustCompile(`(?i)subscription`)
	// Names on the wire, and a sentence of a specification in quotation marks.
	wireName  = regexp.MustCompile("(?i)subscription-state|subscription_state|subscription-response|presence-?subscription|[\"'<`=]subscription|subscription[\"'>`=]|urn:[a-z:.0-9-]*subscription")
	wireWord  = regexp.MustCompile("(?i)subscription(state|required)")
	quotation = regexp.MustCompile(`"[^"]*"|“[^”]*”|` + "`[^`]*`")
)

// Word checks that the word which means a dialog in SIP and a permission in XMPP is only used for the names on the wire: we say
// watch and authorization.
func Word() Rule {
	return Rule{"word", func(t *Tree, r *report) {
		t.goFiles(func(f *File) {
			if f.in("integration/rules") {
				return
			}
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && theWord.MatchString(wireWord.ReplaceAllString(id.Name, "")) {
					r.add(f, f.at(id.Pos()), "%s: say watch or authorization", id.Name)
				}
				return true
			})
			for _, group := range f.Syntax.Comments {
				text := wireName.ReplaceAllString(quotation.ReplaceAllString(group.Text(), ""), "")
				if theWord.MatchString(text) {
					r.add(f, f.at(group.Pos()), "the comment says %q: say watch or authorization, or quote the text that says it", theWord.FindString(text))
				}
			}
		})
	}}
}
