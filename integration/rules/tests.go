package rules

import (
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Sleeps checks that no test waits for a state by the clock. In a file that uses testing/synctest the clock is a fake, and
// sleeping is how it is moved.
func Sleeps() Rule {
	return Rule{"sleeps", func(t *Tree, r *report) {
		t.goFiles(func(f *File) {
			if !f.Test() || imports(f, "testing/synctest") {
				return
			}
			calls(f.Syntax, "time", "Sleep", func(c *ast.CallExpr) {
				r.add(f, f.at(c.Pos()), "time.Sleep waits for a state by the clock: wait for the state, or use testing/synctest")
			})
		})
	}}
}

// Skips checks that a test which skips because something is not installed fails in CI instead: the function that skips must ask
// for the environment variable CI.
func Skips() Rule {
	return Rule{"skips", func(t *Tree, r *report) {
		t.goFiles(func(f *File) {
			for _, d := range f.Syntax.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Body == nil {
					continue
				}
				guarded := strings.HasPrefix(fn.Name.Name, "Fuzz") // a fuzz target passes over inputs that say nothing
				ast.Inspect(fn.Body, func(n ast.Node) bool {
					switch n := n.(type) {
					case *ast.BasicLit:
						guarded = guarded || n.Value == `"CI"`
					case *ast.Ident:
						guarded = guarded || n.Name == "Short" // testing.Short: whoever gave -short wished it
					}
					return true
				})
				if guarded {
					continue
				}
				for _, receiver := range []string{"t", "b", "tb", "f"} {
					for _, name := range []string{"Skip", "Skipf", "SkipNow"} {
						calls(fn.Body, receiver, name, func(c *ast.CallExpr) {
							if len(c.Args) == 0 && name == "Skip" && receiver == "f" {
								return
							}
							r.add(f, f.at(c.Pos()), "%s.%s without a look at the environment variable CI: in CI nothing may be left out", receiver, name)
						})
					}
				}
			}
		})
	}}
}

var (
	testID  = regexp.MustCompile(`(?:^|[^A-Za-z0-9])T[-_]([A-Z]{2})[-_]([0-9]{2})`)
	idRange = regexp.MustCompile(`T-([A-Z]{2})-([0-9]{2})(?:\.\.([0-9]{2}))?`)
)

// ThreatIDs finds the test ids in the catalogue of threats, THREATS.md: "T-AD-01" and ranges as "T-AD-01..07".
func ThreatIDs(catalogue string) []string {
	known := make(map[string]bool)
	for _, m := range idRange.FindAllStringSubmatch(catalogue, -1) {
		first, _ := strconv.Atoi(m[2])
		last := first
		if m[3] != "" {
			last, _ = strconv.Atoi(m[3])
		}
		for n := first; n <= last; n++ {
			known[fmt.Sprintf("T-%s-%02d", m[1], n)] = true
		}
	}
	return slices.Sorted(maps.Keys(known))
}

// Threats checks that every test id, T-AD-01 in a comment or T_AD_01 in a name, is one of ids.
func Threats(ids []string) Rule {
	return Rule{"threats", func(t *Tree, r *report) {
		t.goFiles(func(f *File) {
			if f.in("integration/rules") {
				return
			}
			for _, m := range testID.FindAllStringSubmatchIndex(f.Text, -1) {
				if id := "T-" + f.Text[m[2]:m[3]] + "-" + f.Text[m[4]:m[5]]; !slices.Contains(ids, id) {
					r.add(f, f.lineOf(m[2]), "%s is not in THREATS.md", id)
				}
			}
		})
	}}
}

func imports(f *File, name string) bool {
	for _, s := range f.Syntax.Imports {
		if s.Path.Value == strconv.Quote(name) {
			return true
		}
	}
	return false
}

// calls finds the calls x.name(…) where x is a plain identifier.
func calls(in ast.Node, x, name string, visit func(*ast.CallExpr)) {
	ast.Inspect(in, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := c.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == name {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == x {
				visit(c)
			}
		}
		return true
	})
}
