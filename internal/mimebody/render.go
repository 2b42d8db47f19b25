package mimebody

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// Rendering is what a content is to a person.
type Rendering struct {
	// Texts is the whole content as plain text in UTF-8; more than one only in different languages, the first is the default. It is
	// empty where the content, or a part of it, is only there as HTML: the text of HTML is then that of the content.
	Texts []adapters.LangText
	// HTML is the whole content as HTML in UTF-8, as its sender wrote it: it must pass an allow-list before anybody is shown it (G14). It
	// has as many documents as there were parts, each to be read by itself, since what one leaves open would swallow the next. None if
	// there is no HTML.
	HTML []string
	// Links are the files and pages that the content points to. Texts and HTML name them too.
	Links []adapters.Link
}

// Render says what a content is to a person.
//
// A content that is no text, that a person would not be shown whole, is refused, with an error that wraps ErrUnsupported: a message is
// delivered, or its sender is told. So is a part of a multipart that has no form, unless its sender allows to leave it out
// (handling=optional, RFC 5621 §8), or another part says the same (multipart/alternative). Signed and encrypted contents are
// ErrSecured: their text without their signature would be another content. The other errors are a *SyntaxError, ErrCharset and
// ErrUndecodable.
func Render(c adapters.Content, lim Limits) (Rendering, error) {
	t, err := cpim.ParseContentType(c.Type)
	if err != nil {
		return Rendering{}, err
	}
	r := renderer{lim: lim.orDefault()}
	r.parts, r.octets = r.lim.Parts, r.lim.Octets
	if len(c.Octets) > r.octets {
		return Rendering{}, tooLong(r.octets)
	}
	return r.render(leaf{t: t, language: c.Language, octets: c.Octets}, 0)
}

// Secured tells whether a content of this type is signed or encrypted (RFC 8551 §3, and OpenPGP's of the same multiparts).
func Secured(t cpim.ContentType) bool {
	switch t.Media() {
	case "multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime",
		"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-encrypted", "application/pgp-signature":
		return true
	}
	return false
}

func tooLong(limit int) error {
	return &syntax.Error{Offset: limit, Rule: "content-octets", Section: "RFC 2045 §2.9", Expected: "no more octets than the limit"}
}

// renderer holds what is left of the limits.
type renderer struct {
	lim           Limits
	parts, octets int
}

// leaf is a content with its transfer encoding undone.
type leaf struct {
	t        cpim.ContentType
	language string
	octets   []byte
	offset   int
}

func (r *renderer) render(c leaf, depth int) (Rendering, error) {
	if Secured(c.t) {
		return Rendering{}, fmt.Errorf("%w: %s", ErrSecured, c.t.Media())
	}
	if c.t.Type() == "multipart" {
		if depth++; depth > r.lim.Depth {
			return Rendering{}, &syntax.Error{Offset: c.offset, Rule: "multipart-depth", Section: "RFC 2046 §5.1.1", Expected: "multiparts nested no deeper than the limit"}
		}
		return r.multipart(c, depth)
	}
	switch media := c.t.Media(); media {
	case "text/html", "application/xhtml+xml":
		text, err := r.text(c)
		return Rendering{HTML: []string{text}}, err
	case URIList:
		lines, links, err := uriList(c.octets)
		if err != nil {
			return Rendering{}, err
		}
		return Rendering{Texts: []adapters.LangText{{Lang: c.language, Text: strings.Join(lines, "\n")}}, Links: links}, nil
	case ExternalBody, FileTransfer:
		read := func() (adapters.Link, error) { return externalBody(c.t, c.octets, r.lim) }
		if media == FileTransfer {
			read = func() (adapters.Link, error) { return fileTransfer(c.octets, r.lim) }
		}
		l, err := read()
		if err != nil {
			return Rendering{}, err
		}
		return Rendering{Texts: []adapters.LangText{{Text: l.URL}}, Links: []adapters.Link{l}}, nil
	}
	if c.t.Type() == "text" {
		// "Unrecognized subtypes of "text" should be treated as subtype "plain" as long as the MIME implementation knows how to handle
		// the charset" (RFC 2046 §4.1.4).
		text, err := r.text(c)
		return Rendering{Texts: []adapters.LangText{{Lang: c.language, Text: text}}}, err
	}
	return Rendering{}, fmt.Errorf("%w: %s", ErrUnsupported, c.t.Media())
}

// text is the leaf's text in UTF-8. What it grows by counts against the limit.
func (r *renderer) text(c leaf) (string, error) {
	b, err := Text(c.t, c.octets)
	if err != nil {
		return "", err
	}
	if r.octets -= len(b); r.octets < 0 {
		return "", tooLong(r.lim.Octets)
	}
	return string(b), nil
}

func (r *renderer) multipart(c leaf, depth int) (Rendering, error) {
	parts, err := Split(c.t, c.octets, r.lim)
	if err != nil {
		if e, ok := err.(*syntax.Error); ok {
			return Rendering{}, e.Shift(c.offset)
		}
		return Rendering{}, err
	}
	if r.parts -= len(parts); r.parts < 0 {
		return Rendering{}, &syntax.Error{Offset: c.offset, Rule: "multipart-parts", Section: "RFC 2046 §5.1.1", Expected: "no more parts than the limit"}
	}
	alternative := c.t.Is("multipart/alternative")
	root := -1
	if c.t.Is("multipart/related") {
		if root = rootOf(c.t, parts); root < 0 {
			return Rendering{}, &syntax.Error{Offset: c.offset, Rule: "related-start", Section: "RFC 2046 §5.1", Expected: "the part that the start parameter names"}
		}
	}
	var shown []Rendering
	var lacking error
	for i := range parts {
		p := &parts[i]
		kind, optional := p.Disposition()
		one, err := r.part(p, c, depth, root >= 0 && i != root, kind)
		switch {
		case err == nil:
			shown = append(shown, one)
		case !errors.Is(err, ErrUnsupported) && !(alternative && errors.Is(err, ErrCharset)):
			// A fault of form is one wherever it stands, and what is secured is never left out.
			return Rendering{}, err
		case alternative, optional && i != root:
			lacking = err
		default:
			return Rendering{}, err
		}
	}
	if len(shown) == 0 {
		if lacking == nil {
			lacking = fmt.Errorf("%w: %s", ErrUnsupported, c.t.Media())
		}
		return Rendering{}, lacking
	}
	if alternative {
		return best(shown), nil
	}
	return joined(shown), nil
}

// part renders one part. aside tells that it is no root of a multipart/related: something that the root refers to, which has no place in
// what a person is shown.
func (r *renderer) part(p *Part, outer leaf, depth int, aside bool, disposition string) (Rendering, error) {
	switch {
	case aside:
		return Rendering{}, fmt.Errorf("%w: a part that another one refers to", ErrUnsupported)
	case disposition != "" && disposition != "render" && disposition != "inline" && disposition != "attachment":
		return Rendering{}, fmt.Errorf("%w: disposition %.64q", ErrUnsupported, disposition)
	}
	octets, err := p.Decoded()
	if err != nil {
		if e, ok := err.(*syntax.Error); ok {
			err = e.Shift(outer.offset)
		}
		return Rendering{}, err
	}
	c := leaf{t: p.Type(), language: p.Header("Content-Language"), octets: octets, offset: outer.offset + p.Offset + len(p.Bytes()) - len(p.Raw())}
	if c.language == "" {
		c.language = outer.language
	}
	return r.render(c, depth)
}

// rootOf is the part that multipart/related shows: the one whose Content-ID the start parameter is, else the first.
func rootOf(t cpim.ContentType, parts []Part) int {
	start, given := t.Param("start")
	if !given {
		return 0
	}
	return slices.IndexFunc(parts, func(p Part) bool { return p.Header("Content-ID") == start })
}

// best chooses among alternatives: "the best choice is the LAST part of a type supported by the recipient system's local environment"
// (RFC 2046 §5.1.4). HTML and text are both told, as each receiver shows one of them; texts in several languages are all told.
func best(all []Rendering) (r Rendering) {
	seen := func(lang string) bool {
		return slices.ContainsFunc(r.Texts, func(t adapters.LangText) bool { return strings.EqualFold(t.Lang, lang) })
	}
	for _, one := range slices.Backward(all) {
		if len(r.HTML) == 0 {
			r.HTML = one.HTML
		}
		if len(r.Links) == 0 {
			r.Links = one.Links
		}
		for _, t := range slices.Backward(one.Texts) {
			if !seen(t.Lang) {
				r.Texts = append(r.Texts, t)
			}
		}
	}
	slices.Reverse(r.Texts)
	return r
}

// joined is what parts are that are to be shown one after the other: multipart/mixed (RFC 2046 §5.1.3), and any multipart that is not
// known (§5.1.7).
func joined(all []Rendering) Rendering {
	if len(all) == 1 {
		return all[0]
	}
	var r Rendering
	var text strings.Builder
	var html []string
	hasHTML, hasText := false, true
	lang, first := "", true
	for _, one := range all {
		r.Links = append(r.Links, one.Links...)
		hasHTML = hasHTML || len(one.HTML) > 0
		switch {
		case len(one.HTML) > 0:
			html = append(html, one.HTML...)
		case len(one.Texts) > 0:
			html = append(html, "<p>"+escapeHTML.Replace(one.Texts[0].Text)+"</p>")
		}
		if len(one.Texts) == 0 {
			hasText = hasText && len(one.HTML) == 0
			continue
		}
		if t := one.Texts[0]; t.Text != "" {
			if text.Len() > 0 && !strings.HasSuffix(text.String(), "\n") {
				text.WriteByte('\n')
			}
			text.WriteString(t.Text)
			if first {
				lang, first = t.Lang, false
			} else if t.Lang != lang {
				lang = ""
			}
		}
	}
	if len(r.Links) > maxLinks {
		r.Links = r.Links[:maxLinks]
	}
	if hasHTML {
		r.HTML = html
	}
	if hasText {
		r.Texts = []adapters.LangText{{Lang: lang, Text: text.String()}}
	}
	return r
}

// escapeHTML is text as HTML, with its lines.
var escapeHTML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r\n", "<br/>", "\n", "<br/>") // never written to
