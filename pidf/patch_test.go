package pidf

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

func checkDocument(t *testing.T, doc []byte) {
	t.Helper()
	if _, err := strictxml.ParseDocument(doc, strictxml.Limits{Bytes: 1 << 20}); err != nil {
		t.Fatalf("not a document: %v\n%s", err, doc)
	}
}

// patchAppendixA holds the examples of RFC 5261 Appendix A. Those about comments and processing instructions (A.4, A.9, A.10, A.15,
// A.16) need nodes that no document here can have; A.18 is without its comment.
func TestPatchAppendixA(t *testing.T) {
	const sample = "<doc>\n  <note>This is a sample document</note>\n"
	const foo = "<doc>\n  <foo a=\"1\">This is a sample document</foo>\n</doc>"
	for _, c := range []struct{ name, target, ops, want string }{
		{"A.1", sample + "</doc>", `<add sel="doc"><foo id="ert4773">This is a new child</foo></add>`, sample + `<foo id="ert4773">This is a new child</foo></doc>`},
		{
			"A.2", sample + `<foo id="ert4773">This is a new child</foo></doc>`, `<add sel="doc/foo[@id='ert4773']" type="@user">Bob</add>`,
			sample + `<foo id="ert4773" user="Bob">This is a new child</foo></doc>`,
		},
		{
			"A.3", sample + `<foo id="ert4773">This is a new child</foo></doc>`, `<add sel="doc" type="namespace::pref">urn:ns:xxx</add>`,
			strings.Replace(sample, "<doc>", `<doc xmlns:pref="urn:ns:xxx">`, 1) + `<foo id="ert4773">This is a new child</foo></doc>`,
		},
		{"A.5", sample + "</doc>", "<add sel=\"doc\">\n  <foo id=\"ert4773\">This is a new child</foo></add>", sample + "\n  <foo id=\"ert4773\">This is a new child</foo></doc>"},
		{"A.6", foo, `<replace sel="doc/foo[@a='1']"><bar a="2"/></replace>`, "<doc>\n  <bar a=\"2\"/>\n</doc>"},
		{
			"A.7", strings.Replace(foo, "<doc>", `<doc a="test">`, 1), `<replace sel="doc/@a">new value</replace>`,
			strings.Replace(foo, "<doc>", `<doc a="new value">`, 1),
		},
		{
			"A.8", strings.Replace(foo, "<doc>", `<doc xmlns:pref="urn:test">`, 1), `<replace sel="doc/namespace::pref">urn:new:xxx</replace>`,
			strings.Replace(foo, "<doc>", `<doc xmlns:pref="urn:new:xxx">`, 1),
		},
		{
			"A.11", foo, `<replace sel="doc/foo/text()[1]">This is the new text content</replace>`,
			"<doc>\n  <foo a=\"1\">This is the new text content</foo>\n</doc>",
		},
		{"A.12", foo, `<remove sel="doc/foo[@a='1']" ws="after"/>`, "<doc>\n  </doc>"},
		{"A.13", strings.Replace(foo, "<doc>", `<doc a="foo">`, 1), `<remove sel="doc/@a"/>`, foo},
		{"A.14", strings.Replace(foo, `a="1"`, `a="1" xmlns:pref="urn:test"`, 1), `<remove sel="doc/foo/namespace::pref"/>`, foo},
		{"A.17", foo, `<remove sel="doc/foo/text()[1]"/>`, "<doc>\n  <foo a=\"1\"/>\n</doc>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := applyTo(t, c.target, "<diff>"+c.ops+"</diff>", "")
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestPatchAppendixA18(t *testing.T) {
	target := `<doc xmlns="urn:ietf:params:xml:ns:xxx" xmlns:z="urn:ietf:params:xml:ns:yyy">
  <note>This is a sample document</note>
  <elem a="foo">
    <child/>
  </elem>
  <elem a="bar">
    <z:child/>
  </elem>
</doc>`
	diff := `<p:diff xmlns="urn:ietf:params:xml:ns:xxx" xmlns:y="urn:ietf:params:xml:ns:yyy" xmlns:p="urn:ietf:params:xml:ns:diff">
<p:add sel="doc/elem[@a='foo']">  <child id="ert4773">
      <y:node/>
    </child>
  </p:add>
<p:replace sel="doc/note/text()">Patched doc</p:replace>
<p:remove sel="*/elem[@a='bar']/y:child" ws="both"/>
<p:add sel="*/elem[@a='bar']" type="@b">new attr</p:add>
</p:diff>`
	want := `<doc xmlns="urn:ietf:params:xml:ns:xxx" xmlns:z="urn:ietf:params:xml:ns:yyy">
  <note>Patched doc</note>
  <elem a="foo">
    <child/>
    <child id="ert4773">
      <z:node/>
    </child>
  </elem>
  <elem a="bar" b="new attr"/>
</doc>`
	got, err := applyTo(t, target, diff, "urn:ietf:params:xml:ns:diff")
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	// "If the target XML document had used a prefixed namespace declaration instead of the default one, the XML diff document
	// could still have been the same."
	prefixed := strings.NewReplacer("<doc xmlns=", "<q:doc xmlns:q=", "</doc", "</q:doc", "<note", "<q:note", "</note", "</q:note", "<elem", "<q:elem",
		"</elem", "</q:elem", "<child", "<q:child", "</child", "</q:child")
	got, err = applyTo(t, prefixed.Replace(target), diff, "urn:ietf:params:xml:ns:diff")
	if err != nil || got != prefixed.Replace(want) {
		t.Errorf("prefixed: %v\n%s", err, got)
	}
}

// applyTo patches any document with operations of any namespace.
func applyTo(t *testing.T, target, diff, space string) (string, error) {
	t.Helper()
	doc, err := strictxml.ParseDocument([]byte(target), strictxml.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ops, err := strictxml.ParseDocument([]byte(diff), strictxml.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	tree := patchTree(doc)
	if err := patch(tree, ops, space); err != nil {
		return "", err
	}
	return strings.TrimPrefix(string(tree.append(nil)), xmlDeclaration), nil
}

func TestNamespaceMangling(t *testing.T) {
	diff := func(ops string) string {
		return `<d:diff xmlns:d="urn:d" xmlns:a="foo:" xmlns:xx="foo:" xmlns="foo:">` + ops + `</d:diff>`
	}
	for _, c := range []struct{ name, target, ops, want string }{
		// RFC 5261 §4.2.3: "the namespace reference MUST be changed so that a <b:bar> element will then exist"
		{"other-prefix", `<b:r xmlns:b="foo:"/>`, `<d:add sel="a:r"><a:bar/></d:add>`, `<b:r xmlns:b="foo:"><b:bar/></b:r>`},
		{"to-default", `<r xmlns="foo:"/>`, `<d:add sel="a:r"><a:bar/></d:add>`, `<r xmlns="foo:"><bar/></r>`},
		{"from-default", `<b:r xmlns:b="foo:"/>`, `<d:add sel="r"><bar/></d:add>`, `<b:r xmlns:b="foo:"><b:bar/></b:r>`},
		// "If the diff document happens to use a prefix that is one of the prefixes declared … this prefix MUST be used"
		{"same-prefix", `<b:r xmlns:b="foo:" xmlns:a="foo:"/>`, `<d:add sel="r"><a:bar/></d:add>`, `<b:r xmlns:b="foo:" xmlns:a="foo:"><a:bar/></b:r>`},
		// "Secondly, the prefix (also empty) of the evaluation context node MUST be chosen if the namespace URIs are equal."
		{"context-prefix", `<y:r xmlns:x="foo:" xmlns:y="foo:"/>`, `<d:add sel="r"><xx:bar/></d:add>`, `<y:r xmlns:x="foo:" xmlns:y="foo:"><y:bar/></y:r>`},
		// "if the list … is "x", "y" and the compared prefix … is "xx", then the "x" prefix MUST be chosen. If an "a" prefix were
		// evaluated, the "x" prefix, the first entry MUST be chosen."
		{"alphabet-before", `<r xmlns:x="foo:" xmlns:y="foo:"/>`, `<d:add xmlns="" sel="r"><xx:bar/></d:add>`, `<r xmlns:x="foo:" xmlns:y="foo:"><x:bar/></r>`},
		{"alphabet-first", `<r xmlns:x="foo:" xmlns:y="foo:"/>`, `<d:add xmlns="" sel="r"><a:bar/></d:add>`, `<r xmlns:x="foo:" xmlns:y="foo:"><x:bar/></r>`},
		// "When the new or changed content has elements that declare new namespaces (locally scoped), these declarations are copied
		// unaltered (prefix and everything)"
		{"local", `<b:r xmlns:b="foo:"/>`, `<d:add sel="r"><q:bar xmlns:q="foo:"><w xmlns="urn:w"><a:in/></w></q:bar></d:add>`, `<b:r xmlns:b="foo:"><q:bar xmlns:q="foo:"><w xmlns="urn:w"><b:in/></w></q:bar></b:r>`},
		{"hidden-default", `<r xmlns="foo:"/>`, `<d:add sel="r"><w xmlns="urn:w"><a:in/></w></d:add>`, `<r xmlns="foo:"><w xmlns="urn:w"><a:in xmlns:a="foo:"/></w></r>`},
		{"no-namespace", `<r xmlns="foo:"/>`, `<d:add xmlns="" sel="a:r"><bar><baz/></bar></d:add>`, `<r xmlns="foo:"><bar xmlns=""><baz/></bar></r>`},
		// "the possible default namespace declaration of the context element isn't applicable"
		{"attribute", `<r xmlns="foo:" xmlns:b="foo:"/>`, `<d:add sel="r" type="@a:n">v</d:add>`, `<r xmlns="foo:" xmlns:b="foo:" b:n="v"/>`},
		{"content-attribute", `<r xmlns="foo:"/>`, `<d:add sel="r"><bar a:n="v"/></d:add>`, `<r xmlns="foo:"><bar xmlns:a="foo:" a:n="v"/></r>`},
		{"text-joined", `<r xmlns="foo:">one<x/>two</r>`, `<d:add sel="r/text()[2]" pos="after">new<bar/>elem</d:add>`, `<r xmlns="foo:">one<x/>twonew<bar/>elem</r>`},
		{"text-joined-before", `<r xmlns="foo:">one<x/>two</r>`, `<d:add sel="r/text()[2]" pos="before">new<bar/>elem</d:add>`, `<r xmlns="foo:">one<x/>new<bar/>elemtwo</r>`},
		{"prepend", `<r xmlns="foo:"><x/></r>`, `<d:add sel="r" pos="prepend"><bar/></d:add>`, `<r xmlns="foo:"><bar/><x/></r>`},
		{"remove-joins", `<r xmlns="foo:">a<x/>b</r>`, `<d:remove sel="r/x"/><d:replace sel="r/text()">c</d:replace>`, `<r xmlns="foo:">c</r>`},
		{"empty-replace-text", `<r xmlns="foo:">a</r>`, `<d:replace sel="r/text()"/>`, `<r xmlns="foo:"/>`},
		{"empty-replace-attribute", `<r xmlns="foo:" n="1"/>`, `<d:replace sel="r/@n"/>`, `<r xmlns="foo:" n=""/>`},
		{"position-after-predicate", `<r xmlns="foo:"><x n="1"/><x/><x n="1"/></r>`, `<d:remove sel="r/x[@n='1'][2]"/>`, `<r xmlns="foo:"><x n="1"/><x/></r>`},
		{"value-predicates", `<r xmlns="foo:"><x><y>k</y></x><x><y>l</y></x></r>`, `<d:remove sel="/*/*[y='l']/y[.=&quot;l&quot;]"/>`, `<r xmlns="foo:"><x><y>k</y></x><x/></r>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := applyTo(t, c.target, diff(c.ops), "urn:d")
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if _, err := strictxml.ParseDocument([]byte(got), strictxml.Limits{}); err != nil {
				t.Error(err)
			}
		})
	}
}

type patchCase struct {
	name, ops string
	want      PatchCondition // "" for none
}

// patchCases are operations on the first document of RFC 5262 §6.
func patchCases() []patchCase {
	return []patchCase{
		{"id", `<p:remove sel="id('cg231jcr')"/>`, ""},
		{"id-step", `<p:replace sel="id('p123')/r:activities/r:busy"><r:away/></p:replace>`, ""},
		{"root-alias", `<p:add sel="presence/note" pos="before"><tuple id="n1"><status><basic>open</basic></status></tuple></p:add>`, ""},
		{"root-name", `<p:remove sel="p:pidf-full/tuple[2]"/>`, ""},
		{"namespace", `<p:add sel="*" type="namespace::zz">urn:zz</p:add><p:replace sel="*/namespace::zz">urn:yy</p:replace><p:remove sel="*/namespace::zz"/>`, ""},
		{"no-sel", `<p:remove/>`, PatchInvalidAttributeValue},
		{"bad-sel", `<p:remove sel="tuple["/>`, PatchInvalidAttributeValue},
		{"axis", `<p:remove sel="descendant::tuple"/>`, PatchInvalidAttributeValue},
		{"function", `<p:remove sel="*[last()]"/>`, PatchInvalidAttributeValue},
		{"union", `<p:remove sel="*/tuple|*/note"/>`, PatchInvalidAttributeValue},
		{"descendants", `<p:remove sel="//tuple"/>`, PatchInvalidAttributeValue},
		{"unknown-pos", `<p:add sel="*" pos="inside"/>`, PatchInvalidAttributeValue},
		{"unknown-ws", `<p:remove sel="*/note" ws="all"/>`, PatchInvalidAttributeValue},
		{"type-form", `<p:add sel="*" type="x">1</p:add>`, PatchInvalidAttributeValue},
		{"attribute-content", `<p:add sel="*" type="@x"><a/></p:add>`, PatchInvalidAttributeValue},
		{"add-to-attribute", `<p:add sel="*/@entity">x</p:add>`, PatchInvalidAttributeValue},
		{"prefix", `<p:remove sel="nope:tuple"/>`, PatchInvalidNamespacePrefix},
		{"type-prefix", `<p:add sel="*" type="@nope:x">1</p:add>`, PatchInvalidNamespacePrefix},
		{"prefix-in-use", `<p:remove sel="*/namespace::dm"/>`, PatchInvalidNamespacePrefix},
		{"prefix-taken", `<p:add sel="*/dm:person" type="namespace::r">urn:other</p:add>`, PatchInvalidNamespacePrefix},
		{"uri-unknown", `<p:add sel="*/tuple[1]"><u:x xmlns:u="urn:u"><v/></u:x></p:add><p:add sel="*/tuple[1]" type="@t:x">1</p:add>`, PatchInvalidNamespaceURI},
		{"uri-content", `<p:add sel="*/tuple[1]/status"><t:x/></p:add>`, PatchInvalidNamespaceURI},
		{"uri-xmlns", `<p:add sel="*" type="namespace::q">http://www.w3.org/2000/xmlns/</p:add>`, PatchInvalidNamespaceURI},
		{"node-type", `<p:replace sel="*/note">text</p:replace>`, PatchInvalidNodeTypes},
		{"node-types", `<p:replace sel="*/note"><note>a</note><note>b</note></p:replace>`, PatchInvalidNodeTypes},
		{"text-by-element", `<p:replace sel="*/note/text()"><note/></p:replace>`, PatchInvalidNodeTypes},
		{"directive", `<p:remove sel="*/note" pos="before"/>`, PatchInvalidDirective},
		{"directive-content", `<p:remove sel="*/note">x</p:remove>`, PatchInvalidDirective},
		{"directive-ws", `<p:remove sel="*/note/text()" ws="after"/>`, PatchInvalidDirective},
		{"attribute-there", `<p:add sel="*" type="@entity">pres:a@b</p:add>`, PatchInvalidDirective},
		{"root-remove", `<p:remove sel="*"/>`, PatchInvalidRoot},
		{"root-sibling", `<p:add sel="*" pos="after"><note/></p:add>`, PatchInvalidRoot},
		{"white-space", `<p:remove sel="*/tuple[1]/status/basic/text()"/><p:remove sel="*/tuple[3]/contact" ws="both"/><p:remove sel="*/tuple[2]/contact" ws="before"/><p:remove sel="*/tuple[2]/status" ws="both"/><p:remove sel="*/tuple[2]/status" ws="after"/>`, PatchUnlocatedNode},
		{"white-space-none", `<p:remove sel="*/tuple[1]/status/basic/text()"/><p:add sel="*/note" pos="before"><note/></p:add><p:remove sel="*/note[1]" ws="after"/>`, PatchInvalidWhitespace},
		{"unlocated", `<p:remove sel="*/tuple[@id='nobody']"/>`, PatchUnlocatedNode},
		{"several", `<p:remove sel="*/tuple"/>`, PatchUnlocatedNode},
		{"comment", `<p:remove sel="*/comment()[1]"/>`, PatchUnlocatedNode},
		{"instruction", `<p:remove sel="*/processing-instruction('x')"/>`, PatchUnlocatedNode},
		{"inherited-namespace", `<p:remove sel="*/tuple[1]/namespace::r"/>`, PatchUnlocatedNode},
		{"no-namespace", `<p:remove xmlns="" sel="*/tuple[1]"/>`, PatchUnlocatedNode},
		{"operation", `<p:move sel="*"/>`, PatchInvalidDiffFormat},
		{"operation-text", `x`, PatchInvalidDiffFormat},
	}
}

func diffOf(ops string) []byte {
	return []byte(`<?xml version="1.0"?><p:pidf-diff xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" ` +
		`xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:t="urn:ietf:params:xml:ns:pidf:timed-status" version="568">` + ops + `</p:pidf-diff>`)
}

func TestPatchConditions(t *testing.T) {
	full, err := os.ReadFile("testdata/rfc/rfc5262-1.xml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range patchCases() {
		t.Run(c.name, func(t *testing.T) {
			var local PartialCopy
			apply(t, &local, full)
			before := string(local.Document())
			d, err := ParsePartial(diffOf(c.ops))
			if err != nil {
				t.Fatal(err)
			}
			p, err := local.Apply(d)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				checkRoundTrip(t, p)
				return
			}
			var fault *PatchError
			if !errors.As(err, &fault) || fault.Condition != c.want {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if string(local.Document()) != before {
				t.Error("the copy changed")
			}
			checkDocument(t, fault.Document())
			if !strings.Contains(string(fault.Document()), "<"+string(c.want)) {
				t.Errorf("error document %s", fault.Document())
			}
		})
	}
}

func apply(t *testing.T, c *PartialCopy, doc []byte) *Presence {
	t.Helper()
	d, err := ParsePartial(doc)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Apply(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
