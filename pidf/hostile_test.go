package pidf

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// hostile gives documents near the limit of 256 KiB that look for work out of proportion (THREATS.md X3, X4).
func hostile() map[string]string {
	const head = xmlDeclaration + `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:x="u:x" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" entity="pres:a@b">`
	const open = `<tuple id="t%"><status><basic>open</basic></status>`
	fill := func(unit string, per, size int) string {
		var b strings.Builder
		b.WriteString(head)
		for n := 0; b.Len() < size && n < 990; n++ {
			b.WriteString(strings.Replace(open, "%", strings.Repeat("i", n%7)+"0"+string(rune('a'+n%26))+strings.Repeat("-", n/26), 1))
			for i := 0; i < per && b.Len() < size; i++ {
				b.WriteString(unit)
			}
			b.WriteString("</tuple>")
		}
		b.WriteString("</presence>")
		return b.String()
	}
	return map[string]string{
		"extensions":     fill("<x:y/>", 900, 240_000),
		"colons":         head + `<x:y>` + strings.Repeat("x:", 120_000) + `</x:y></presence>`,
		"names":          head + `<x:y>` + strings.Repeat("a", 240_000) + `</x:y></presence>`,
		"prefixes":       head + `<x:y>` + strings.Repeat("r:x:", 60_000) + `</x:y></presence>`,
		"same ids":       head + strings.Repeat(`<tuple id="t"><status><basic>open</basic></status></tuple>`, 990) + `</presence>`,
		"activities":     head + strings.Repeat(`<dm:person id="p"><r:activities><r:away/><x:y/><r:tv/></r:activities></dm:person>`, 990) + `</presence>`,
		"mustUnderstand": strings.Replace(fill(`<x:y>mustUnderstand</x:y>`, 900, 240_000), "xmlns:x=", `xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns:x=`, 1),
		"notes":          fill("<note/>", 900, 240_000),
		"text":           head + `<tuple id="t"><status><basic>open</basic></status><note>` + strings.Repeat("&amp;", 48_000) + `</note></tuple></presence>`,
	}
}

func TestHostileDocumentsAreCheap(t *testing.T) {
	for name, doc := range hostile() {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			p, _, err := ParseLenient([]byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			parsed := time.Since(start)
			if _, err := p.Append(nil); err != nil {
				t.Log(err)
			}
			t.Logf("%d octets, parsed %v, printed %v", len(doc), parsed, time.Since(start)-parsed)
		})
	}
}

// A diff cannot make the watcher look at its document without end.
func TestHostilePatchesAreCheap(t *testing.T) {
	full := `<?xml version="1.0"?><p:pidf-full xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" xmlns:x="u:x" entity="pres:a@b">` +
		strings.Repeat(`<x:y>`+strings.Repeat(`<x:z/>`, 36)+`</x:y>`, 900) + `</p:pidf-full>`
	for name, op := range map[string]string{
		"ids":        `<p:remove sel="id('nobody')"/>`,
		"steps":      `<p:remove sel="*/*/*[9]/*/*"/>`,
		"predicates": `<p:remove sel="*/*` + strings.Repeat(`[.='']`, 30) + `/*[.='b']"/>`,
		"children":   `<p:remove sel="*/*` + strings.Repeat(`[x='a']`, 30) + `"/>`,
	} {
		t.Run(name, func(t *testing.T) {
			var c PartialCopy
			apply(t, &c, []byte(full))
			// An operation that locates nothing ends the diff, so first come many that do locate one.
			ok := `<p:replace sel="*/@entity">pres:a@b</p:replace>`
			search := `<p:replace sel="*/*[899]/*` + strings.Repeat(`[.='']`, 20) + `[36]"><x:z xmlns:x="u:x"/></p:replace>`
			d, err := ParsePartial(diffOf(strings.Repeat(ok, 100) + strings.Repeat(search, 800) + op))
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, err = c.Apply(d)
			var fault *PatchError
			if !errors.As(err, &fault) || fault.Condition != PatchUnlocatedNode {
				t.Errorf("%v", err)
			}
			t.Logf("%v: %v", time.Since(start), err)
		})
	}
}
