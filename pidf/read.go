package pidf

import (
	"bytes"
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// schemaInstance is the namespace whose attributes XML Schema allows on every element; they are not kept.
const schemaInstance = "http://www.w3.org/2001/XMLSchema-instance"

// Parse reads a presence document strictly: RFC 3863 and the schemas of the extensions that the package knows, in UTF-8, at most
// 256 KiB and 32 elements deep with 1000 children each. The error is a *SyntaxError. The document does not alias doc.
//
// Two rules are wider than the schema, because the text is: elements that nobody defined in a known namespace are ignored ("MUST
// ignore any XML element with an unrecognized name", RFC 3863 §4.2.3), and xml:lang may stand on any element (§4.1.6).
func Parse(doc []byte) (*Presence, error) {
	var r reader
	return r.read(doc, rootPresence)
}

// rootKind is the root element that a document may have.
type rootKind uint8

const (
	rootPresence rootKind = iota
	rootFull              // <pidf-full> of RFC 5262
)

// reader reads one document. The core of PIDF is read token by token; elements of the extensions are read as trees.
type reader struct {
	cursor  strictxml.Cursor
	lenient bool
	found   []Leniency
	ids     idSet
	space   string // the namespace that stands for PIDF's
	lang    string // xml:lang around the current element
	src     string // the document, for strings that are parts of it

	full       bool   // the root is <pidf-full>
	version    uint32 // of <pidf-full>
	hasVersion bool
}

func (r *reader) read(doc []byte, kind rootKind) (*Presence, error) {
	p := &Presence{raw: string(doc)}
	if r.lenient {
		doc = r.fromLatin1(doc)
	}
	if !bytes.HasPrefix(bytes.TrimPrefix(doc, []byte("\uFEFF")), []byte("<?xml")) && !r.tolerate(LenientDeclaration, 0) {
		return nil, &SyntaxError{Offset: 0, Rule: "xml-declaration", Section: "RFC 3863 §4.1", Expected: "an XML declaration"}
	}
	if r.src = p.raw; len(r.found) > 0 && r.found[0].Kind == LenientEncoding {
		r.src = string(doc)
	}
	r.cursor.ResetDocument(doc, strictxml.Limits{})
	if _, err := r.cursor.Next(); err != nil {
		return nil, xmlFault(err, 0)
	}
	r.space, r.full = NamespacePIDF, kind == rootFull
	switch {
	case kind == rootFull:
		if !r.cursor.Is(NamespaceDiff, "pidf-full") {
			return nil, r.faultHere("root", "RFC 5262 §3", "a <pidf-full> element")
		}
	case r.cursor.Is(NamespacePIDF, "presence"):
	case r.cursor.Is("", "presence") && r.tolerate(LenientNamespace, r.cursor.Offset()):
		r.space = ""
	case r.cursor.Is(draftNamespace, "presence") && r.tolerate(LenientNamespace, r.cursor.Offset()):
		r.space = draftNamespace
	default:
		return nil, r.faultHere("root", "RFC 3863 §4.1.1", "a <presence> element of the namespace urn:ietf:params:xml:ns:pidf")
	}
	if err := r.presence(p); err != nil {
		return nil, err
	}
	return p, nil
}

// draftNamespace is that of the drafts of RFC 3863.
const draftNamespace = "urn:ietf:params:xml:ns:cpim-pidf"

// fromLatin1 gives a document that declares ISO-8859-1 in UTF-8, with the declaration of Append.
func (r *reader) fromLatin1(doc []byte) []byte {
	end := bytes.Index(doc, []byte("?>"))
	if end < 0 || end > 128 || !bytes.HasPrefix(doc, []byte("<?xml")) || !bytes.Contains(bytes.ToUpper(doc[:end]), []byte("ISO-8859-1")) {
		return doc
	}
	r.tolerate(LenientEncoding, 0)
	b := make([]byte, 0, len(doc)+len(xmlDeclaration))
	b = append(b, xmlDeclaration...)
	for _, c := range doc[end+2:] {
		b = append(b, string(rune(c))...)
	}
	return b
}

// tolerate says whether the reader may go on in spite of a fault, and notes it.
func (r *reader) tolerate(kind LeniencyKind, offset int) bool {
	if !r.lenient {
		return false
	}
	if len(r.found) < MaxLeniencies {
		r.found = append(r.found, Leniency{kind, int64(offset)})
	}
	return true
}

func (r *reader) faultAt(offset int, rule, section, expected string) error {
	return &SyntaxError{Offset: int64(offset), Rule: rule, Section: section, Expected: expected}
}

func (r *reader) faultHere(rule, section, expected string) error {
	return r.faultAt(r.cursor.Offset(), rule, section, expected)
}

// next moves to the next tag; white space between tags is passed over, and other text is a fault.
func (r *reader) next() (strictxml.Kind, error) {
	for {
		kind, err := r.cursor.Next()
		if err != nil {
			return kind, xmlFault(err, 0)
		}
		if kind != strictxml.Text {
			return kind, nil
		}
		if !r.cursor.IsSpace() && !r.tolerate(LenientText, r.cursor.Offset()) {
			return kind, r.faultHere("character-data", "RFC 3863 §4.4", "elements only")
		}
	}
}

// skip passes over the current element.
func (r *reader) skip() error {
	if _, err := r.cursor.Skip(); err != nil {
		return xmlFault(err, 0)
	}
	return nil
}

// element reads the current element as a tree.
func (r *reader) element() (*strictxml.Element, error) {
	e, err := r.cursor.Element()
	if err != nil {
		return nil, xmlFault(err, 0)
	}
	return e, nil
}

// coreAttributes reads the attributes of a core element: the value of the one in no namespace that it may have, "" for none such,
// and the xml:lang in force. Any other is a fault, but for xml:* and those of XML Schema.
func (r *reader) coreAttributes(local string) (value string, has bool, lang string, err error) {
	lang = r.lang
	count := r.cursor.AttrCount()
	if count == 0 {
		return "", false, lang, nil
	}
	if local != "" {
		if value, has = r.cursor.Attr("", local); has && count == 1 {
			return value, has, lang, nil
		}
	}
	for i := range count {
		a := r.cursor.AttrAt(i)
		switch a.Name.Space {
		case "":
			if has && a.Name.Local == local || r.full && a.Name.Local == "version" && r.cursor.Depth() == 1 {
				continue
			}
		case strictxml.XMLNamespace:
			if a.Name.Local == "lang" {
				if !validLang(a.Value) {
					return value, has, lang, r.faultHere("note-lang", "RFC 3863 §4.1.6", "a language tag")
				}
				lang = a.Value
			}
			continue
		case schemaInstance:
			continue
		case NamespacePIDF:
			if a.Name.Local == "mustUnderstand" {
				if r.tolerate(LenientMustUnderstand, r.cursor.Offset()) {
					continue
				}
				return value, has, lang, r.faultHere("must-understand-place", "RFC 3863 §4.2.3", "mustUnderstand only on elements within an extension of a status")
			}
		}
		if !r.tolerate(LenientAttribute, r.cursor.Offset()) {
			return value, has, lang, r.faultHere("attribute", "RFC 3863 §4.4", "only the attributes that the schema gives this element")
		}
	}
	return value, has, lang, nil
}

// The places of a child in its parent, in the order of the schema.
const (
	stageTuples = iota
	stageNotes
	stageExtensions
)

func (r *reader) presence(p *Presence) error {
	start := r.cursor.Offset()
	entity, hasEntity, lang, err := r.coreAttributes("entity")
	if err != nil {
		return err
	}
	if hasEntity {
		if p.Entity, err = r.uri(entity, "entity-uri", "RFC 3863 §4.1.1"); err != nil {
			return err
		}
	} else if !r.tolerate(LenientEntityMissing, start) {
		return r.faultAt(start, "entity-missing", "RFC 3863 §4.1.1", "an 'entity' attribute")
	}
	if version, ok := r.cursor.Attr("", "version"); ok && r.full {
		r.hasVersion = true
		if r.version, err = parseVersion(version, start); err != nil {
			return err
		}
	}
	r.lang = lang
	stage := stageTuples
	inOrder := func(s int) error {
		if s < stage && !r.tolerate(LenientOrder, r.cursor.Offset()) {
			return r.faultHere("presence-order", "RFC 3863 §4.1.1", "tuples, then notes, then extension elements")
		}
		stage = max(stage, s)
		return nil
	}
	for {
		token, err := r.next()
		if err != nil {
			return err
		}
		if token == strictxml.EndElement {
			return r.end()
		}
		switch {
		case r.cursor.Is(r.space, "tuple"):
			err = inOrder(stageTuples)
			if err == nil {
				// Room for a few: a tuple is large, and most documents have one or two.
				if p.Tuples == nil {
					p.Tuples = make([]Tuple, 0, 2)
				}
				p.Tuples = append(p.Tuples, Tuple{})
				err = r.tuple(&p.Tuples[len(p.Tuples)-1], len(p.Tuples))
				r.lang = lang
			}
		case r.cursor.Is(r.space, "note"):
			if err = inOrder(stageNotes); err == nil {
				p.Notes, err = r.note(p.Notes)
			}
		case r.cursor.InSpace(r.space):
			// RFC 3863 §4.2.3: an unrecognized local name is ignored.
			err = r.skip()
		default:
			if err = inOrder(stageExtensions); err == nil {
				err = r.component(p)
			}
		}
		if err != nil {
			return err
		}
	}
}

// end goes past the root's end tag, which checks that nothing follows it.
func (r *reader) end() error {
	if _, err := r.cursor.Next(); err != nil {
		return xmlFault(err, 0)
	}
	return nil
}

// component reads a child of the document of another namespace.
func (r *reader) component(p *Presence) error {
	e, err := r.element()
	if err != nil {
		return err
	}
	switch nameOf(e.Name) {
	case Name{NamespaceDataModel, "person"}:
		person, err := r.person(e, len(p.Persons)+1)
		if keep, err := r.whole(e, err); !keep {
			return err
		}
		p.Persons = append(p.Persons, person)
		return nil
	case Name{NamespaceDataModel, "device"}:
		device, err := r.device(e, len(p.Devices)+1)
		if keep, err := r.whole(e, err); !keep {
			return err
		}
		p.Devices = append(p.Devices, device)
		return nil
	}
	if placesOf(nameOf(e.Name)) != 0 {
		if r.tolerate(LenientPlace, e.Offset) {
			return nil
		}
		return r.fault(e, "rich-place", sectionOf(nameOf(e.Name)), "this element in a tuple, person or device")
	}
	x, err := r.extensionOutsideStatus(e)
	if err != nil {
		return err
	}
	p.Extensions = append(p.Extensions, x)
	return nil
}

// whole decides about an element of an extension that has a fault: in the lenient reader it is left out.
func (r *reader) whole(e *strictxml.Element, err error) (keep bool, _ error) {
	if err == nil {
		return true, nil
	}
	if r.tolerate(LenientRich, e.Offset) {
		return false, nil
	}
	return false, err
}

// text reads the character data of the current element, which must have no children, up to its end tag.
func (r *reader) text(rule, section string) (string, error) {
	text := ""
	for {
		kind, err := r.cursor.Next()
		if err != nil {
			return "", xmlFault(err, 0)
		}
		switch kind {
		case strictxml.Text:
			// Text without references is a part of the document, which is kept anyway.
			b, literal := r.cursor.TextBytes(), r.src[r.cursor.Offset():r.cursor.EndOffset()]
			if string(b) != literal {
				literal = string(b)
			}
			text += literal
		case strictxml.EndElement:
			return text, nil
		default:
			return "", r.faultHere(rule, section, "text only")
		}
	}
}

func (r *reader) note(notes []Note) ([]Note, error) {
	_, _, lang, err := r.coreAttributes("")
	if err != nil {
		return notes, err
	}
	text, err := r.text("note-content", "RFC 3863 §4.1.6")
	return append(notes, Note{Text: text, Lang: lang}), err
}

// uri reads the value of an attribute or element that is a URI.
func (r *reader) uri(s, rule, section string) (URI, error) {
	s = collapse(s)
	u, err := ParseURI(s)
	if err == nil {
		return u, nil
	}
	if open := strings.LastIndexByte(s, '<'); r.lenient && open >= 0 && strings.HasSuffix(s, ">") {
		if u, err := ParseURI(s[open+1 : len(s)-1]); err == nil && r.tolerate(LenientURI, r.cursor.Offset()) {
			return u, nil
		}
	}
	return URI{}, r.faultHere(rule, section, "an absolute URI")
}

// timestamp reads a timestamp: "The value of this element MUST follow the IMPP datetime format [RFC3339]. Timestamps that contain
// 'T' or 'Z' MUST use the capitalized forms." (RFC 3863 §4.1.7)
func (r *reader) timestamp(s string, offset int) (datetime.Value, error) {
	s = collapse(s)
	v, err := datetime.Parse(s, datetime.PIDF)
	if err == nil {
		return v, nil
	}
	if !r.tolerate(LenientTimestamp, offset) {
		return v, r.faultAt(offset, "timestamp", "RFC 3863 §4.1.7", "YYYY-MM-DDThh:mm:ssZ, with a fraction or another offset if need be")
	}
	s = strings.ToUpper(s)
	for _, form := range [...]string{s, s + "Z"} {
		if v, err := datetime.Parse(form, datetime.PIDF); err == nil {
			return v, nil
		}
	}
	return datetime.Value{}, nil
}

// basic reads the value of a <basic>.
func (r *reader) basic(s string, offset int) (Basic, error) {
	switch s {
	case "open":
		return BasicOpen, nil
	case "closed":
		return BasicClosed, nil
	}
	if r.lenient {
		switch strings.ToLower(collapse(s)) {
		case "open":
			r.tolerate(LenientBasic, offset)
			return BasicOpen, nil
		case "closed":
			r.tolerate(LenientBasic, offset)
			return BasicClosed, nil
		case "unknown":
			r.tolerate(LenientBasic, offset)
			return BasicAbsent, nil
		}
	}
	return BasicAbsent, r.faultAt(offset, "basic-value", "RFC 3863 §4.1.4", `"open" or "closed"`)
}
