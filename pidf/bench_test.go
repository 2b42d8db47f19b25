package pidf

import (
	"os"
	"testing"
	"time"
)

// twoTuples is a document as a presence server sends it for two devices.
const twoTuples = `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf"
    entity="pres:juliet@example.com">
  <tuple id="ID-balcony">
    <status>
      <basic>open</basic>
      <show xmlns="jabber:client">away</show>
    </status>
    <contact priority="0.8">im:juliet@example.com</contact>
    <note xml:lang="en">Gone to the orchard</note>
    <timestamp>2026-10-27T16:49:29.123456Z</timestamp>
  </tuple>
  <tuple id="ID-chamber">
    <status>
      <basic>closed</basic>
    </status>
    <contact priority="0.1">im:juliet@example.com</contact>
    <timestamp>2026-10-27T16:48:00.000001Z</timestamp>
  </tuple>
</presence>
`

func BenchmarkParseTwoTuples(b *testing.B) {
	doc := []byte(twoTuples)
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := Parse(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendTwoTuples(b *testing.B) {
	p, err := Parse([]byte(twoTuples))
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Append(dst); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseRPID(b *testing.B) {
	doc, err := os.ReadFile("testdata/rfc/rfc4480-1.xml")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, _, err := ParseLenient(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApplyDiff(b *testing.B) {
	read := func(file string) *Partial {
		doc, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		p, err := ParsePartial(doc)
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	full, diff := read("testdata/rfc/rfc5262-1.xml"), read("testdata/rfc/rfc5262-2.xml")
	b.ReportAllocs()
	for b.Loop() {
		var c PartialCopy
		if _, err := c.Apply(full); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Apply(diff); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompose(b *testing.B) {
	c, err := NewComposer(MustParseURI("pres:juliet@example.com"), nil)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	sources := []Source{{Resource: "balcony", Basic: BasicOpen}, {Resource: "chamber", Basic: BasicOpen, Show: ShowAway}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sources[0].Show = Show(i % 2)
		if _, changed, err := c.Compose(now, sources); err != nil || !changed {
			b.Fatal(changed, err)
		}
	}
}
