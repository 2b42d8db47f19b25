package stanza

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// maxCaps bounds each attribute of <c/> in octets, and maxEntries how much one disco#info may list: identities, features, fields and
// values together. What is beyond is not looked up, or is ill-formed.
const (
	maxCaps    = 512
	maxEntries = 512
)

// Caps is what a presence says of its sender's capabilities (XEP-0115): the hash of what disco#info would answer. The zero value is
// none. It compares with ==.
type Caps struct{ Hash, Node, Ver string }

// IsZero tells whether there are none.
func (c Caps) IsZero() bool { return c.Ver == "" }

// Checkable tells whether the answer can be checked against the hash; what cannot is not asked for, since it could not be kept.
func (c Caps) Checkable() bool { return hashOf(c.Hash) != nil && !c.IsZero() }

// caps reads <c/>. Without a 'hash' it is of the format before version 1.4 of XEP-0115, which names nothing that can be checked.
func (r *Reader) caps() {
	var c Caps
	for _, a := range [...]struct {
		name string
		to   *string
	}{{"hash", &c.Hash}, {"node", &c.Node}, {"ver", &c.Ver}} {
		v, ok := r.cur.AttrBytes("", a.name)
		if !ok || len(v) == 0 || len(v) > maxCaps {
			return
		}
		*a.to = string(v)
	}
	if r.st.Caps.IsZero() {
		r.st.Caps = c
	}
}

// hashOf returns the hash function of a name in the IANA registry that XEP-0115 §8 refers to; nil if it is none of ours.
func hashOf(name string) hash.Hash {
	switch strings.ToLower(name) {
	case "sha-1":
		return sha1.New()
	case "sha-256":
		return sha256.New()
	case "sha-512":
		return sha512.New()
	}
	return nil
}

// Identity is one of disco#info (XEP-0030 §3.1).
type Identity struct{ Category, Type, Lang, Name string }

// field is one of a form (XEP-0004), form a form of XEP-0128.
type field struct {
	name   string
	hidden bool
	values []string
}

type form struct {
	name   string
	fields []field
}

// Info is an answer to disco#info.
type Info struct {
	Identities []Identity
	Features   []string
	forms      []form
	illFormed  bool
}

// Has tells whether a feature is listed.
func (i *Info) Has(feature string) bool { return slices.Contains(i.Features, feature) }

// Info reads the payload of an answer to disco#info. It is nil for any other stanza, and for one that lists too much.
func (s *Stanza) Info() *Info {
	if s.Kind != IQ || s.Type != "result" || s.Payload.Space != SpaceInfo || s.Payload.Local != "query" || s.Fault != nil {
		return nil
	}
	e, err := strictxml.ParseElement(s.raw, s.scope, strictxml.Limits{})
	if err != nil {
		return nil
	}
	q := e.Child(SpaceInfo, "query")
	if q == nil {
		return nil
	}
	info, left := &Info{}, maxEntries
	for c := range q.Children() {
		if left--; left < 0 {
			return nil
		}
		switch c.Name {
		case strictxml.Name{Space: SpaceInfo, Local: "identity"}:
			lang, _ := c.Attr(spaceXML, "lang")
			category, _ := c.Attr("", "category")
			kind, _ := c.Attr("", "type")
			name, _ := c.Attr("", "name")
			info.Identities = append(info.Identities, Identity{category, kind, lang, name})
		case strictxml.Name{Space: SpaceInfo, Local: "feature"}:
			v, _ := c.Attr("", "var")
			info.Features = append(info.Features, v)
		case strictxml.Name{Space: SpaceForm, Local: "x"}:
			if !info.form(c, &left) {
				return nil
			}
		}
	}
	return info
}

// form reads one form. It returns false if there is too much.
func (i *Info) form(x *strictxml.Element, left *int) bool {
	var f form
	var name *field
	for c := range x.Children() {
		if c.Name != (strictxml.Name{Space: SpaceForm, Local: "field"}) {
			continue
		}
		if *left--; *left < 0 {
			return false
		}
		v, _ := c.Attr("", "var")
		kind, _ := c.Attr("", "type")
		d := field{name: v, hidden: kind == "hidden"}
		for w := range c.Children() {
			if w.Name != (strictxml.Name{Space: SpaceForm, Local: "value"}) {
				continue
			}
			if *left--; *left < 0 {
				return false
			}
			d.values = append(d.values, w.Text())
		}
		if v == "FORM_TYPE" {
			if name == nil {
				name = &d
			}
			continue
		}
		f.fields = append(f.fields, d)
	}
	// XEP-0115 §5.4 rule 3.6: "where the FORM_TYPE field is not of type "hidden" or the form does not include a FORM_TYPE field, ignore the
	// form but continue processing".
	if name == nil || !name.hidden || len(name.values) == 0 {
		return true
	}
	f.name = name.values[0]
	for _, v := range name.values[1:] {
		i.illFormed = i.illFormed || v != f.name
	}
	i.forms = append(i.forms, f)
	return true
}

// Verify tells whether i is what c stands for (XEP-0115 §5.4): well-formed by its rules, and with this hash. "If the values of the
// received and reconstructed hashes do not match, the processing application MUST consider the result to be invalid".
func (i *Info) Verify(c Caps) bool {
	h := hashOf(c.Hash)
	if h == nil || i.illFormed {
		return false
	}
	s, ok := i.verification()
	if !ok {
		return false
	}
	h.Write(s)
	return base64.StdEncoding.EncodeToString(h.Sum(nil)) == c.Ver
}

// verification makes the string S of XEP-0115 §5.1. It fails for what rules 3.3 to 3.5 of §5.4 call ill-formed, and where a separator
// inside of a value would make two different answers one string.
func (i *Info) verification() (s []byte, ok bool) {
	ok = true
	add := func(v string) {
		ok = ok && strings.IndexByte(v, '<') < 0 && utf8.ValidString(v)
		s = append(append(s, v...), '<')
	}
	ids := slices.Clone(i.Identities)
	slices.SortFunc(ids, func(a, b Identity) int {
		return strings.Compare(a.Category+"\x00"+a.Type+"\x00"+a.Lang+"\x00"+a.Name, b.Category+"\x00"+b.Type+"\x00"+b.Lang+"\x00"+b.Name)
	})
	for n, d := range ids {
		ok = ok && (n == 0 || ids[n-1] != d) && strings.IndexByte(d.Category+d.Type+d.Lang, '/') < 0
		add(d.Category + "/" + d.Type + "/" + d.Lang + "/" + d.Name)
	}
	features := slices.Sorted(slices.Values(i.Features))
	for n, f := range features {
		ok = ok && (n == 0 || features[n-1] != f)
		add(f)
	}
	forms := slices.Clone(i.forms)
	slices.SortFunc(forms, func(a, b form) int { return strings.Compare(a.name, b.name) })
	for n, f := range forms {
		ok = ok && (n == 0 || forms[n-1].name != f.name)
		add(f.name)
		fields := slices.Clone(f.fields)
		slices.SortStableFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
		for _, d := range fields {
			add(d.name)
			for _, v := range slices.Sorted(slices.Values(d.values)) {
				add(v)
			}
		}
	}
	return s, ok
}

// AppendInfoRequest appends the question for what caps stand for (XEP-0115 §6.2: to the exact address of who said so).
func AppendInfoRequest(dst []byte, from, to jid.JID, id string, c Caps) []byte {
	dst = appendHead(dst, "iq", from, to, id)
	dst = append(dst, " type='get'><query xmlns='"+SpaceInfo+"'"...)
	dst = appendAttr(dst, "node", c.Node+"#"+c.Ver)
	return append(dst, "/></iq>"...)
}
