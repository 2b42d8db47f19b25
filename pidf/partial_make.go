package pidf

import (
	"math"
	"slices"
	"strconv"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// PartialMaker makes the documents of MediaTypeDiff for one watcher: the full state first, then diffs against what was sent last (RFC
// 5263 §4.4). "This version counter is scoped to the subscription", so there is one for each. The zero value is ready, and its first
// version is 1. It is for one goroutine.
type PartialMaker struct {
	version uint32
	last    *Presence // what the watcher has, nil for unknown
}

// ResumePartial is the maker of a watch that is continued, after a restart: version is that of the last document.
func ResumePartial(version uint32) PartialMaker { return PartialMaker{version: version} }

// Version is that of the last document, 0 before the first.
func (m *PartialMaker) Version() uint32 { return m.version }

// Reset makes the next document a full one: after a refresh of the watch, after a document that may not have arrived, and after one of
// another type. The version goes on.
func (m *PartialMaker) Reset() { m.last = nil }

// Append appends the next document to dst. It is a diff where the watcher has the document before and the diff is the shorter of the two:
// "when there are a lot of changes, the full presence document content can then be transported instead" (RFC 5262 §4). p is kept, and
// must not be changed. On an error nothing changes; it is a *SyntaxError as for Presence.Append.
func (m *PartialMaker) Append(dst []byte, p *Presence) ([]byte, error) {
	if err := p.check(); err != nil {
		return dst, err
	}
	if m.version == math.MaxUint32 {
		return dst, unprintable("version", "RFC 5262 §3.1", "a number up to 4294967295")
	}
	full, err := m.begin(dst, "pidf-full", p, p.appendContent)
	if err != nil {
		return dst, err
	}
	out := full
	if m.last != nil && m.last.Entity == p.Entity {
		if ops, ok := operations(m.last, p); ok {
			diff, err := m.begin(full[len(full):], "pidf-diff", p, func(w *strictxml.Writer) {
				for _, op := range ops {
					op.append(w)
				}
			})
			if err == nil && len(diff) < len(full)-len(dst) {
				out = append(dst, diff...)
			}
		}
	}
	m.version++
	m.last = p
	return out, nil
}

// begin prints one document of the next version.
func (m *PartialMaker) begin(dst []byte, root string, p *Presence, content func(*strictxml.Writer)) ([]byte, error) {
	w := strictxml.NewWriter(append(dst, xmlDeclaration...))
	w.StartPrefixed("p", Name{NamespaceDiff, root}.strict())
	w.Declare("", NamespacePIDF)
	w.Declare("d", NamespaceDataModel)
	w.Attr("entity", p.Entity.s)
	w.Attr("version", strconv.FormatUint(uint64(m.version)+1, 10))
	content(w)
	w.End()
	if w.Err() != nil {
		return dst, unprintable("xml", "RFC 5262 §3", "values that XML 1.0 can carry")
	}
	return w.Bytes(), nil
}

func (n Name) strict() strictxml.Name { return strictxml.Name{Space: n.Space, Local: n.Local} }

// operation is a patch operation of RFC 5261 §4.
type operation struct {
	kind, sel, pos string
	content        func(*strictxml.Writer) // nil for a removal
}

func (o operation) append(w *strictxml.Writer) {
	w.StartPrefixed("p", Name{NamespaceDiff, o.kind}.strict())
	w.Attr("sel", o.sel)
	if o.pos != "" {
		w.Attr("pos", o.pos)
	}
	if o.content != nil {
		o.content(w)
	}
	w.End()
}

// part is a component of a document: a tuple, person or device, with its id.
type part struct {
	id    string
	print func(*strictxml.Writer)
}

func (p part) text() string {
	w := strictxml.NewWriter(nil)
	p.print(w)
	return string(w.Bytes())
}

// operations gives what makes next of last. They speak of whole tuples, persons and devices; ok is false where that cannot say it: for
// notes and extensions of the document itself, and for an order that changed.
func operations(last, next *Presence) (ops []operation, ok bool) {
	same := func(a, b Extension) bool { return a.Octets() == b.Octets() }
	if !slices.Equal(last.Notes, next.Notes) || !slices.EqualFunc(last.Extensions, next.Extensions, same) {
		return nil, false
	}
	for _, k := range [...]struct {
		path      string // of one kind, with its prefix
		first     string // where the first of its kind goes, if there is no other: a position in the root
		old, next []part
	}{
		{"*/tuple", "prepend", tupleParts(last), tupleParts(next)},
		{"*/d:person", "", personParts(last), personParts(next)},
		{"*/d:device", "", deviceParts(last), deviceParts(next)},
	} {
		sel := func(id string) string { return k.path + `[@id="` + id + `"]` }
		had := make(map[string]part, len(k.old))
		for _, p := range k.old {
			had[p.id] = p
		}
		has := make(map[string]bool, len(k.next))
		for _, p := range k.next {
			has[p.id] = true
		}
		var stay []string
		for _, p := range k.old {
			if !has[p.id] {
				ops = append(ops, operation{kind: "remove", sel: sel(p.id)})
				continue
			}
			stay = append(stay, p.id)
		}
		at := 0 // how many of those that stay were passed
		for i, p := range k.next {
			old, there := had[p.id]
			switch {
			case there && (at == len(stay) || stay[at] != p.id):
				return nil, false
			case there:
				at++
				if old.text() != p.text() {
					ops = append(ops, operation{kind: "replace", sel: sel(p.id), content: p.print})
				}
			case i > 0:
				ops = append(ops, operation{kind: "add", sel: sel(k.next[i-1].id), pos: "after", content: p.print})
			case len(stay) > 0:
				ops = append(ops, operation{kind: "add", sel: sel(stay[0]), pos: "before", content: p.print})
			default:
				ops = append(ops, operation{kind: "add", sel: "*", pos: k.first, content: p.print})
			}
		}
	}
	return ops, true
}

func tupleParts(p *Presence) []part {
	parts := make([]part, len(p.Tuples))
	for i := range p.Tuples {
		parts[i] = part{p.Tuples[i].ID.s, p.Tuples[i].append}
	}
	return parts
}

func personParts(p *Presence) []part {
	parts := make([]part, len(p.Persons))
	for i := range p.Persons {
		parts[i] = part{p.Persons[i].ID.s, p.Persons[i].append}
	}
	return parts
}

func deviceParts(p *Presence) []part {
	parts := make([]part, len(p.Devices))
	for i := range p.Devices {
		parts[i] = part{p.Devices[i].ID.s, p.Devices[i].append}
	}
	return parts
}
