package mimebody

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// The types that point elsewhere.
const (
	// ExternalBody is MIME's own (RFC 2046 §5.2.3), with the access-type URL.
	ExternalBody = "message/external-body"
	// FileTransfer is RCS's file transfer over HTTP (GSMA RCC.07).
	FileTransfer = "application/vnd.gsma.rcs-ft-http+xml"
	// URIList is a list of URIs, one on a line.
	URIList = "text/uri-list"
)

// maxURL bounds a link's URL in octets: longer ones are refused by clients and servers alike.
const maxURL = 4096

// maxLinks bounds how many links one content may have; the URIs after them stay text.
const maxLinks = 16

// maxName bounds a link's name in octets. A longer one is left out.
const maxName = 512

// ValidURL tells whether s may be a Link's URL: absolute, http or https, with a host, without the user information that makes one host
// look like another (RFC 9110 §4.2.4: "a recipient
// SHOULD parse for userinfo and treat its presence as an error"), in the characters of RFC 3986 §2, and not
// over 4096 octets.
func ValidURL(s string) bool {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || len(s) > maxURL || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7F || strings.IndexByte("<>\"\\^`{|}", c) >= 0 {
			return false
		}
	}
	host := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;=:[]@"))]
	return host != "" && host[0] != ':' && !strings.Contains(host, "@")
}

// name is a file's name without a path, "" if it is none that can be shown.
func name(s string) string {
	if i := strings.LastIndexAny(s, `/\`); i >= 0 {
		s = s[i+1:]
	}
	if len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7F }) {
		return ""
	}
	return s
}

// externalBody reads message/external-body: where the content is stands in the parameters of its type, and what it is in the headers of
// its body.
func externalBody(t cpim.ContentType, body []byte, lim Limits) (adapters.Link, error) {
	access, _ := t.Param("access-type")
	url, _ := t.Param("url")
	// Long URLs may be broken by white space, which is no part of them.
	url = strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, url)
	if !strings.EqualFold(access, "URL") || !ValidURL(url) {
		return adapters.Link{}, fmt.Errorf("%w: message/external-body that names no page of the web", ErrUnsupported)
	}
	l := adapters.Link{URL: url}
	if v, ok := t.Param("size"); ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return adapters.Link{}, &syntax.Error{Rule: "external-body-size", Section: "RFC 2046 §5.2.3.1", Expected: "a number of octets"}
		}
		l.Size = n
	}
	if v, ok := t.Param("expiration"); ok {
		l.Expires = mailDate(v)
	}
	if len(body) == 0 {
		return l, nil
	}
	e, err := cpim.ParseEntity(body, cpim.Limits{Octets: lim.Octets, ContentHeaders: lim.Headers})
	if err != nil {
		return adapters.Link{}, err
	}
	if h, ok := e.Header("Content-Type"); ok {
		inner, _ := cpim.ParseContentType(string(h.Value))
		l.Type = inner.Media()
		n, _ := inner.Param("name")
		l.Name = name(n)
	}
	if h, ok := e.Header("Content-Description"); ok && len(h.Value) <= maxName {
		l.Description = h.Text()
	}
	if h, ok := e.Header("Content-Disposition"); ok {
		if d, err := cpim.ParseContentType("disposition/" + h.Text()); err == nil {
			if n, ok := d.Param("filename"); ok {
				l.Name = name(n)
			}
		}
	}
	return l, nil
}

// mailDate is a date of RFC 5322 §3.3, zero if it is none: it only refines what is known.
func mailDate(s string) time.Time {
	for _, layout := range []string{
		"Mon, 2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 GMT", "2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 GMT",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// uriList reads text/uri-list: the lines that are no comments. Those that a Link may point to are links too.
func uriList(body []byte) (lines []string, links []adapters.Link, err error) {
	if !utf8.Valid(body) {
		return nil, nil, fmt.Errorf("%w: UTF-8", ErrUndecodable)
	}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n \t")
		if line == "" || line[0] == '#' {
			continue
		}
		lines = append(lines, line)
		if ValidURL(line) && len(links) < maxLinks {
			links = append(links, adapters.Link{URL: line})
		}
	}
	if len(lines) == 0 {
		return nil, nil, &syntax.Error{Rule: "uri-list", Section: "RFC 3986 §3", Expected: "at least one URI"}
	}
	return lines, links, nil
}

const fileTransferSpace = "urn:gsma:params:xml:ns:rcs:rcs:fthttp"

// fileTransfer reads the document of RCS's file transfer over HTTP: the file, and perhaps a picture of it, which is not told.
func fileTransfer(body []byte, lim Limits) (adapters.Link, error) {
	root, err := strictxml.ParseDocument(body, strictxml.Limits{Bytes: min(lim.Octets, 64<<10)})
	if err != nil {
		return adapters.Link{}, xmlFault(err)
	}
	bad := func(offset int, expected string) (adapters.Link, error) {
		return adapters.Link{}, syntax.At(body, offset, "file-transfer", "RCC.07", expected)
	}
	if root.Name.Space != fileTransferSpace || root.Name.Local != "file" {
		return bad(0, "<file> of "+fileTransferSpace)
	}
	var l adapters.Link
	found := false
	for info := range root.Children() {
		kind, _ := info.Attr("", "type")
		if info.Name.Space != fileTransferSpace || info.Name.Local != "file-info" || kind != "file" {
			continue
		}
		if found {
			return bad(info.Offset, "one file")
		}
		found = true
		data := info.Child(fileTransferSpace, "data")
		if data == nil {
			return bad(info.Offset, "<data>")
		}
		l.URL, _ = data.Attr("", "url")
		if l.URL = strings.TrimSpace(l.URL); !ValidURL(l.URL) {
			return bad(data.Offset, "a URL of the web")
		}
		if until, ok := data.Attr("", "until"); ok {
			if v, err := datetime.Parse(strings.TrimSpace(until), datetime.XML); err == nil {
				l.Expires = v.Time().UTC()
			}
		}
		if e := info.Child(fileTransferSpace, "file-size"); e != nil {
			n, err := strconv.ParseInt(strings.TrimSpace(e.Text()), 10, 64)
			if err != nil || n < 0 {
				return bad(e.Offset, "a number of octets")
			}
			l.Size = n
		}
		if e := info.Child(fileTransferSpace, "file-name"); e != nil {
			l.Name = name(strings.TrimSpace(e.Text()))
		}
		if e := info.Child(fileTransferSpace, "content-type"); e != nil {
			if t, err := cpim.ParseContentType(strings.TrimSpace(e.Text())); err == nil {
				l.Type = t.Media()
			}
		}
	}
	if !found {
		return bad(len(body), "a file")
	}
	return l, nil
}

func xmlFault(err error) error {
	if e, ok := err.(*strictxml.SyntaxError); ok {
		return &syntax.Error{Offset: int(e.Offset), Rule: "xml", Section: "RFC 6120 §11.1", Expected: "well-formed XML", Cause: e}
	}
	return err
}
