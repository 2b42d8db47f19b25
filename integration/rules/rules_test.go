package rules

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// root is this checkout.
const root = "../.."

// longFiles are over the length for a reason.
var longFiles = map[string]string{}

// update writes the tables anew from the texts: go test ./integration/rules -update
var update = flag.Bool("update", false, "write testdata from the specifications")

// The tables stand for the texts where those are not, as on a machine that has the checkout alone.
const (
	sectionTable = "testdata/rfc_sections.txt"
	threatTable  = "testdata/threat_ids.txt"
)

func table(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The tables are what the texts say: those that lie beside the checkout, or where ISTHMUS_SPEC says. Without them there is nothing
// to compare, and the tables are believed.
func TestTablesAreCurrent(t *testing.T) {
	folder := os.Getenv("ISTHMUS_SPEC")
	if folder == "" {
		folder = filepath.Join(root, "..", "shared")
	}
	if _, err := os.Stat(filepath.Join(folder, "spec", "rfc")); err != nil {
		t.Logf("the tables are not compared: %v", err)
		return
	}
	sections, err := ReadSections(os.DirFS(filepath.Join(folder, "spec", "rfc")))
	if err != nil || len(sections) == 0 {
		t.Fatalf("no texts: %v", err)
	}
	catalogue, err := os.ReadFile(filepath.Join(folder, "design", "THREATS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		sectionTable: sections.String(), threatTable: strings.Join(ThreatIDs(string(catalogue)), "\n") + "\n",
	} {
		if *update {
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if table(t, name) != text {
			t.Errorf("%s is out of date: run go test ./integration/rules -update", name)
		}
	}
	if got := ParseSections(sections.String()).String(); got != sections.String() {
		t.Error("a table that is read and printed is another")
	}
}

// The rules hold in this tree.
func TestTree(t *testing.T) {
	tree, err := Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) < 20 {
		t.Fatalf("only %d files found: is %s the checkout?", len(tree.Files), root)
	}
	for _, c := range []struct {
		name string
		rule func(*testing.T) Rule
	}{
		{"imports", func(*testing.T) Rule { return Imports() }},
		{"citations", func(t *testing.T) Rule { return Citations(ParseSections(table(t, sectionTable))) }},
		{"logging", func(*testing.T) Rule { return Logging() }},
		{"names", func(*testing.T) Rule { return Names() }},
		{"inits", func(*testing.T) Rule { return Inits() }},
		{"comments", func(*testing.T) Rule { return Comments() }},
		{"length", func(*testing.T) Rule { return Length(longFiles) }},
		{"unfinished", func(*testing.T) Rule { return Unfinished() }},
		{"word", func(*testing.T) Rule { return Word() }},
		{"sleeps", func(*testing.T) Rule { return Sleeps() }},
		{"skips", func(*testing.T) Rule { return Skips() }},
		{"threats", func(t *testing.T) Rule { return Threats(strings.Fields(table(t, threatTable))) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, v := range c.rule(t).Check(tree) {
				t.Error(v)
			}
		})
	}
}

// Each rule finds a fault that was planted, where it was planted, and nothing beside it.
func TestPlantedFaults(t *testing.T) {
	texts, err := ReadSections(fstest.MapFS{"rfc3860.txt": {Data: []byte(
		"Table of Contents\n\n   1. Introduction ...... 2\n\n3.  Abstract\n\n3.4.2  Looping\n\n   in line 3.9 of it\n\nAppendix A. Mapping\n\nA.1.  More\n",
	)}})
	if err != nil {
		t.Fatal(err)
	}
	ids := ThreatIDs("T-AD-01..03")
	for _, c := range []struct {
		name string
		rule Rule
		path string
		text string
		want string // "" : the rule is kept
	}{
		{"gateway imports an adapter", Imports(), "gateway/x.go", `import _ "` + module + `/adapters/sip"`, "must not import adapters/sip"},
		{"adapter imports the gateway", Imports(), "adapters/sip/x.go", `import _ "` + module + `/gateway"`, "must not import gateway"},
		{"adapter imports the other", Imports(), "adapters/sip/wire/x.go", `import _ "` + module + `/adapters/xmpp/jid"`, "must not import adapters/xmpp/jid"},
		{"adapter's test imports the other", Imports(), "adapters/sip/x_test.go", `import _ "` + module + `/adapters/xmpp"`, "must not import adapters/xmpp"},
		{"the boundary imports an adapter", Imports(), "adapters/x.go", `import _ "` + module + `/adapters/xmpp"`, "must not import adapters/xmpp"},
		{"cpim imports pidf", Imports(), "cpim/x.go", `import _ "` + module + `/pidf"`, "must not import pidf"},
		{"strictxml imports cpim", Imports(), "internal/strictxml/x.go", `import _ "` + module + `/cpim"`, "must not import cpim"},
		{"configs imports the gateway", Imports(), "configs/x.go", `import _ "` + module + `/gateway"`, "must not import gateway"},
		{"a folder of no layer", Imports(), "other/x.go", `import _ "` + module + `/cpim"`, "must not import cpim"},
		{"adapter imports the boundary", Imports(), "adapters/sip/x.go", `import _ "` + module + `/adapters"`, ""},
		{"test imports a package for tests", Imports(), "gateway/x_test.go", `import _ "` + module + `/adapters/adaptertest"`, ""},
		{"code imports a package for tests", Imports(), "gateway/x.go", `import _ "` + module + `/adapters/adaptertest"`, "must not import adapters/adaptertest"},
		{"cmd imports all", Imports(), "cmd/isthmus/x.go", `import _ "` + module + `/adapters/sip"`, ""},
		{"DNS outside the resolver", Imports(), "adapters/sip/x.go", `import _ "github.com/miekg/dns"`, "DNS is the resolver's alone"},
		{"DNS in a test outside the resolver", Imports(), "gateway/x_test.go", `import _ "github.com/miekg/dns"`, "DNS is the resolver's alone"},
		{"DNS in resolvertest", Imports(), "resolver/resolvertest/x.go", `import _ "github.com/miekg/dns"`, ""},
		{"sipgo in the data path", Imports(), "adapters/sip/x.go", `import _ "github.com/emiago/sipgo/sip"`, "independent peer"},
		{"sipgo in a test", Imports(), "adapters/sip/x_test.go", `import _ "github.com/emiago/sipgo/sip"`, ""},
		{"gosrc.io/xmpp in the data path", Imports(), "adapters/xmpp/x.go", `import _ "gosrc.io/xmpp/stanza"`, "independent peer"},
		{"encoding/xml", Imports(), "pidf/x.go", `import _ "encoding/xml"`, "strictxml"},
		{"reflect", Imports(), "cpim/x.go", `import _ "reflect"`, "no reflection"},
		{"reflect in a test", Imports(), "cpim/x_test.go", `import _ "reflect"`, ""},
		{"log", Imports(), "gateway/x.go", `import _ "log"`, "constructor"},
		{"global zerolog", Imports(), "gateway/x.go", `import _ "github.com/rs/zerolog/log"`, "constructor"},
		{"zerolog", Imports(), "gateway/x.go", `import _ "github.com/rs/zerolog"`, ""},
		{"pprof", Imports(), "cmd/isthmus/x.go", `import _ "net/http/pprof"`, "profiles"},
		{"math/rand", Imports(), "resolver/x.go", `import _ "math/rand"`, "math/rand/v2"},
		{"math/rand/v2", Imports(), "resolver/x.go", `import _ "math/rand/v2"`, ""},

		{"section that is there", Citations(texts), "cpim/x.go", "// RFC 3860 §3.4.2.\nvar x int", ""},
		{"section that is not", Citations(texts), "cpim/x.go", "// RFC 3860 §3.4.3.\nvar x int", "RFC 3860 has no section 3.4.3"},
		{"number in the text", Citations(texts), "cpim/x.go", "// RFC 3860 §3.9\nvar x int", "RFC 3860 has no section 3.9"},
		{"appendix", Citations(texts), "cpim/x.go", "// RFC 3860 §A and §A.1\nvar x int", ""},
		{"second of two sections", Citations(texts), "cpim/x.go", "// (RFC 3860 §3, §9)\nvar x int", "has no section 9"},
		{"broken line", Citations(texts), "cpim/x.go", "// so says RFC 3860\n// §9.1, as it does\nvar x int", "has no section 9.1"},
		{"text that is not there", Citations(texts), "cpim/x.go", "// RFC 99999 §1\nvar x int", "no text of RFC 99999"},
		{"document", Citations(texts), "docs/x.md", "See RFC 3860 §3.5.", "has no section 3.5"},

		{"Msgf", Logging(), "gateway/x.go", "func x(l l) { l.Info().Msgf(\"a\") }", "Msgf"},
		{"println", Logging(), "gateway/x.go", "func x() { println(1) }", "past the logger"},
		{"fmt.Println", Logging(), "gateway/x.go", "func x() { fmt.Println(1) }", "standard output"},
		{"fmt.Println of the command", Logging(), "cmd/isthmus/x.go", "func x() { fmt.Println(1) }", ""},

		{"file", Names(), "gateway/util.go", "", "file's name"},
		{"test file", Names(), "gateway/helpers_test.go", "", "file's name"},
		{"package", Names(), "common/x.go", "package common", "package's name"},

		{"init", Inits(), "gateway/x.go", "func init() {}", "func init"},
		{"method named init", Inits(), "gateway/x.go", "type a int\nfunc (a) init() {}", ""},
		{"package state", Inits(), "gateway/x.go", "var mu sync.Mutex", "state of the whole package"},
		{"atomic package state", Inits(), "gateway/x.go", "var n atomic.Int64", "state of the whole package"},
		{"pool", Inits(), "gateway/x.go", "var p = sync.Pool{New: func() any { var mu sync.Mutex; return &mu }}", ""},

		{"function", Comments(), "cpim/x.go", "func X() {}", "X has no comment"},
		{"method", Comments(), "cpim/x.go", "// A is a.\ntype A[T any] int\n\nfunc (a *A[T]) X() {}", "X has no comment"},
		{"method of a hidden type", Comments(), "cpim/x.go", "type a int\n\nfunc (a) X() {}", ""},
		{"type", Comments(), "cpim/x.go", "type X int", "X has no comment"},
		{"constant", Comments(), "cpim/x.go", "const X = 1", "X has no comment"},
		{"group", Comments(), "cpim/x.go", "// All of them.\nconst (\n\tX = 1\n)", ""},
		{"constants that repeat", Comments(), "cpim/x.go", "const (\n\t// X and Y are.\n\tX = iota\n\tY\n)", ""},
		{"constant beside a commented one", Comments(), "cpim/x.go", "const (\n\t// X is.\n\tX = 1\n\tY = 2\n)", "Y has no comment"},
		{"test", Comments(), "cpim/x_test.go", "func X() {}", ""},

		{"long file", Length(nil), "cpim/x.go", strings.Repeat("\n", mostLines), "lines"},
		{"long file with a reason", Length(map[string]string{"cpim/x.go": "a table"}), "cpim/x.go", strings.Repeat("\n", mostLines), ""},
		{"long test", Length(nil), "cpim/x_test.go", strings.Repeat("\n", mostLines), ""},
		{"long generated file", Length(nil), "cpim/x.go", "// Code generated by x. DO NOT EDIT.\n\npackage x\n" + strings.Repeat("\n", mostLines), ""},

		{"unfinished", Unfinished(), "cpim/x.go", "// TODO: more\nvar x int", "TODO"},
		{"unfinished in a string", Unfinished(), "cpim/x.go", "var x = \"XXX\"", ""},

		{"the word in a name", Word(), "gateway/x.go", "var subscriptions int", "watch or authorization"},
		{"the word in a comment", Word(), "gateway/x.go", "// the subscription ends\nvar x int", "watch or authorization"},
		{"the word on the wire", Word(), "gateway/x.go", "// Subscription-State: active\nvar x = subscriptionState", ""},
		{"the word in a quotation", Word(), "gateway/x.go", "// \"a subscription is\" it\nvar x = \"subscription\"", ""},

		{"the word at the end of a quotation", Word(), "gateway/x.go", "// \"it ends the\n// subscription\" so\nvar x int", ""},

		{"sleep", Sleeps(), "gateway/x_test.go", "func x() { time.Sleep(1) }", "by the clock"},
		{"sleep in a bubble", Sleeps(), "gateway/x_test.go", "import \"testing/synctest\"\nfunc x() { time.Sleep(1) }", ""},
		{"sleep in code", Sleeps(), "gateway/x.go", "func x() { time.Sleep(1) }", ""},

		{"skip", Skips(), "gateway/x_test.go", "func x(t *testing.T) { t.Skip(\"not today\") }", "environment variable CI"},
		{"skip with a guard", Skips(), "gateway/x_test.go", "func x(t *testing.T) { if os.Getenv(\"CI\") == \"\" { t.Skip() } }", ""},
		{"skip of an input", Skips(), "gateway/x_test.go", "func FuzzX(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) { t.Skip() }) }", ""},

		{"test id", Threats(ids), "gateway/x_test.go", "// T-AD-04\nfunc x() {}", "T-AD-04 is not in THREATS.md"},
		{"test id in a name", Threats(ids), "gateway/x_test.go", "func Test_T_AX_01() {}", "T-AX-01 is not in THREATS.md"},
		{"test id within a range", Threats(ids), "gateway/x_test.go", "func Test_T_AD_02() {}", ""},
	} {
		t.Run(c.rule.Name+"/"+c.name, func(t *testing.T) {
			text := c.text
			if strings.HasSuffix(c.path, ".go") && !strings.Contains(text, "package ") {
				text = "package x\n\n" + text + "\n"
			}
			tree, err := Load(fstest.MapFS{
				c.path:                  {Data: []byte(text)},
				"testdata/util.go":      {Data: []byte("not Go")},
				".hidden/util.go":       {Data: []byte("not Go")},
				"cpim/clean_in_rule.go": {Data: []byte("// Package x is clean.\npackage x\n")},
			})
			if err != nil {
				t.Fatal(err)
			}
			found := c.rule.Check(tree)
			switch {
			case c.want == "" && len(found) != 0:
				t.Errorf("found what is none: %v", found)
			case c.want != "" && (len(found) != 1 || !strings.Contains(found[0].String(), c.want) || found[0].File != c.path):
				t.Errorf("found %v, want one with %q", found, c.want)
			}
		})
	}
}

func TestLoadFaults(t *testing.T) {
	if _, err := Load(fstest.MapFS{"x.go": {Data: []byte("no Go")}}); err == nil {
		t.Error("a file that is no Go was taken")
	}
}
