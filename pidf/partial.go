package pidf

import (
	"errors"
	"slices"
	"strconv"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// What PartialCopy.Apply may return beside a *PatchError and a *SyntaxError.
var (
	// ErrPartialStale: the version is equal to or lower than the last; "the watcher SHOULD discard the document without
	// further processing" (RFC 5263 §4.5).
	ErrPartialStale = errors.New("pidf: partial document is older than the local copy")
	// ErrPartialGap: the version is higher by more than one, so a document was lost. The watcher SHOULD refresh its watch, to
	// get a full document, or end it (RFC 5263 §4.5).
	ErrPartialGap = errors.New("pidf: a partial document before this one is missing")
	// ErrPartialNoFull: a diff came before any full document, or after Discard.
	ErrPartialNoFull = errors.New("pidf: partial document without a full one before it")
)

// Partial is a document of MediaTypeDiff (RFC 5262): the full state, or a diff against it.
type Partial struct {
	// Version is the sequence number; only if HasVersion.
	Version    uint32
	HasVersion bool
	// Entity is zero for a diff that does not name its presentity.
	Entity URI

	full    *Presence          // of <pidf-full>
	diff    *strictxml.Element // of <pidf-diff>
	raw     []byte
	lenient bool
}

// Full gives the presence of a full document, nil for a diff. Its Raw is the <pidf-full>.
func (p *Partial) Full() *Presence { return p.full }

// IsDiff says that the document holds patches.
func (p *Partial) IsDiff() bool { return p.diff != nil }

// ParsePartial reads a <pidf-full> or <pidf-diff> strictly; "although the XML Schema also allows using <presence> as the document
// root element, it is disallowed" (RFC 5262 §3). The error is a *SyntaxError; the selectors of a diff are read when it is applied.
func ParsePartial(doc []byte) (*Partial, error) {
	p, _, err := parsePartial(doc, false)
	return p, err
}

// ParsePartialLenient is ParsePartial with the leniencies of ParseLenient for the presence in a full document; PartialCopy.Apply
// reads what a diff makes of it in the same way.
func ParsePartialLenient(doc []byte) (*Partial, []Leniency, error) { return parsePartial(doc, true) }

func parsePartial(doc []byte, lenient bool) (*Partial, []Leniency, error) {
	doc = slices.Clone(doc)
	root, err := strictxml.ParseDocument(doc, strictxml.Limits{})
	if err != nil {
		return nil, nil, xmlFault(err, 0)
	}
	p := &Partial{raw: doc, lenient: lenient}
	switch nameOf(root.Name) {
	case Name{NamespaceDiff, "pidf-full"}:
		r := reader{lenient: lenient}
		if p.full, err = r.read(doc, rootFull); err != nil {
			return nil, r.found, err
		}
		p.Entity, p.Version, p.HasVersion = p.full.Entity, r.version, r.hasVersion
		return p, r.found, nil
	case Name{NamespaceDiff, "pidf-diff"}:
		p.diff = root
	default:
		return nil, nil, &SyntaxError{Offset: int64(root.Offset), Rule: "root", Section: "RFC 5262 §3", Expected: "a <pidf-full> or <pidf-diff> element"}
	}
	for i := range root.Attrs {
		a := &root.Attrs[i]
		switch {
		case a.Name == strictxml.Name{Local: "version"}:
			p.HasVersion = true
			if p.Version, err = parseVersion(a.Value, root.Offset); err != nil {
				return nil, nil, err
			}
		case a.Name == strictxml.Name{Local: "entity"}:
			if p.Entity, err = ParseURI(collapse(a.Value)); err != nil {
				return nil, nil, &SyntaxError{Offset: int64(root.Offset), Rule: "entity-uri", Section: "RFC 5262 §3.2", Expected: "an absolute URI"}
			}
		}
	}
	return p, nil, nil
}

// parseVersion reads the 'version' attribute, an xs:unsignedInt (RFC 5262 §3.1).
func parseVersion(s string, offset int) (uint32, error) {
	s = collapse(s)
	if len(s) > 1 && s[0] == '+' && isDigit(s[1]) {
		s = s[1:]
	}
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, &SyntaxError{Offset: int64(offset), Rule: "version", Section: "RFC 5262 §3.1", Expected: "a number from 0 to 4294967295"}
	}
	return uint32(v), nil
}

// PartialCopy is a watcher's local copy of one presentity's document (RFC 5263 §4.5), for one notification dialog. The zero
// value is an empty copy. It is for one goroutine.
type PartialCopy struct {
	doc        []byte // the <pidf-full>; nil for none
	entity     URI
	version    uint32
	hasVersion bool
}

// Version gives the version of the last document that was applied; ok is false before the first with a version.
func (c *PartialCopy) Version() (version uint32, ok bool) { return c.version, c.hasVersion }

// Document gives the local copy as a <pidf-full>; nil for none. It must not be changed.
func (c *PartialCopy) Document() []byte { return c.doc }

// Discard forgets the document and keeps the version, as RFC 5263 §4.5 demands when the notifier changes the content type.
func (c *PartialCopy) Discard() { c.doc, c.entity = nil, URI{} }

// Apply takes the next document and gives the presence that results. On an error the copy is as before. A document without a
// version is taken as the next one, since the attribute is optional (RFC 5262 §3.1). The error is ErrPartialStale, ErrPartialGap,
// ErrPartialNoFull, a *PatchError, or a *SyntaxError if the patched document is not PIDF.
func (c *PartialCopy) Apply(p *Partial) (*Presence, error) {
	if p.HasVersion && c.hasVersion {
		if p.Version <= c.version {
			return nil, ErrPartialStale
		}
		if p.IsDiff() && p.Version != c.version+1 {
			return nil, ErrPartialGap
		}
	}
	if !p.IsDiff() {
		c.keep(p, p.raw, p.full)
		return p.full, nil
	}
	if c.doc == nil {
		return nil, ErrPartialNoFull
	}
	if !p.Entity.IsZero() && p.Entity != c.entity {
		return nil, &PatchError{Condition: PatchInvalidAttributeValue, Phrase: "the diff is about another entity", Index: -1}
	}
	target, err := strictxml.ParseDocument(c.doc, strictxml.Limits{})
	if err != nil {
		return nil, xmlFault(err, 0)
	}
	tree := patchTree(target)
	if err := patch(tree, p.diff, NamespaceDiff); err != nil {
		return nil, err
	}
	if p.HasVersion {
		setVersion(tree.children[0], p.Version)
	}
	doc := tree.append(nil)
	r := reader{lenient: p.lenient}
	full, err := r.read(doc, rootFull)
	if err != nil {
		return nil, err
	}
	if full.Entity != c.entity {
		return nil, &PatchError{Condition: PatchInvalidAttributeValue, Phrase: "the diff changes the entity", Index: -1}
	}
	c.keep(p, doc, full)
	return full, nil
}

func (c *PartialCopy) keep(p *Partial, doc []byte, full *Presence) {
	c.doc, c.entity = doc, full.Entity
	if p.HasVersion {
		c.version, c.hasVersion = p.Version, true
	}
}

// setVersion gives the root the version of the diff: "a single version counter is maintained across <pidf-full> and <pidf-diff>"
// (RFC 5262 §3).
func setVersion(root *patchNode, version uint32) {
	v := strconv.FormatUint(uint64(version), 10)
	if at := root.attribute(Name{"", "version"}); at >= 0 {
		root.attrs[at].value = v
		return
	}
	root.attrs = append(root.attrs, patchAttribute{"", "version", v})
}
