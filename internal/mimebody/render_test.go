package mimebody

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

func texts(pairs ...string) (list []adapters.LangText) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, adapters.LangText{Lang: pairs[i], Text: pairs[i+1]})
	}
	return list
}

const rcsFile = `<?xml version="1.0" encoding="UTF-8"?>
<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp">
<file-info type="thumbnail"><file-size>7427</file-size><content-type>image/jpeg</content-type><data url="https://ft.example.net/t" until="2026-11-24T10:15:30Z"/></file-info>
<file-info type="file"><file-size>183524</file-size><file-name>../DSC 1.JPG</file-name><content-type>image/jpeg</content-type>
<data url="https://ft.example.net/download?id=abcd" until="2026-11-24T10:15:30Z"/></file-info></file>`

func TestRender(t *testing.T) {
	image := "--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64%s\n\nAAAA\n"
	optional := strings.Replace(image, "%s", "\nContent-Disposition: inline; handling=optional", 1)
	required := strings.Replace(image, "%s", "", 1)
	for _, c := range []struct {
		name, kind, body string
		want             Rendering
		err              error
	}{
		{"plain text", "text/plain", "é", Rendering{Texts: texts("cs", "é")}, nil},
		{"text in another charset", "text/plain;charset=iso-8859-2", "\xec", Rendering{Texts: texts("cs", "ě")}, nil},
		{"text of a subtype that nobody knows", "text/x-poem", "x", Rendering{Texts: texts("cs", "x")}, nil},
		{"HTML", "text/html;charset=iso-8859-1", "<p>\xe9</p>", Rendering{HTML: []string{"<p>é</p>"}}, nil},
		{"an image", "image/png", "x", Rendering{}, ErrUnsupported},
		{
			"text and HTML", "multipart/alternative;boundary=b", "--b\n\nx\n--b\nContent-Type: text/html\n\n<b>x</b>\n--b--",
			Rendering{Texts: texts("cs", "x"), HTML: []string{"<b>x</b>"}},
			nil,
		},
		{
			"languages", "multipart/alternative;boundary=b",
			"--b\nContent-Language: en\n\nhi\n--b\nContent-Language: cs\nContent-Transfer-Encoding: quoted-printable\n\n=C4=8Dau\n--b\nContent-Language: EN\n\nhello\n--b--",
			Rendering{Texts: texts("cs", "čau", "EN", "hello")},
			nil,
		},
		{
			"an alternative that cannot be shown", "multipart/alternative;boundary=b", "--b\n\nx\n" + required + "--b--",
			Rendering{Texts: texts("cs", "x")},
			nil,
		},
		{"only alternatives that cannot be shown", "multipart/alternative;boundary=b", required + "--b--", Rendering{}, ErrUnsupported},
		{"mixed", "multipart/mixed;boundary=b", "--b\n\nx\n--b\n\ny\n--b--", Rendering{Texts: texts("cs", "x\ny")}, nil},
		{"mixed languages", "multipart/mixed;boundary=b", "--b\n\nx\n--b\nContent-Language: en\n\ny\n--b--", Rendering{Texts: texts("", "x\ny")}, nil},
		{"a multipart that nobody knows is mixed", "multipart/x-pair;boundary=b", "--b\n\nx\n--b\n\ny\n--b--", Rendering{Texts: texts("cs", "x\ny")}, nil},
		// "if the parameter has the value 'required', the UAS returns a 415 (Unsupported Media Type) response" (RFC 5621 §8)
		{"an image that must be shown", "multipart/mixed;boundary=b", "--b\n\nx\n" + required + "--b--", Rendering{}, ErrUnsupported},
		{"an image that may be left out", "multipart/mixed;boundary=b", "--b\n\nx\n" + optional + "--b--", Rendering{Texts: texts("cs", "x")}, nil},
		{"an icon that must be shown", "multipart/mixed;boundary=b", "--b\nContent-Disposition: icon\n\nx\n--b--", Rendering{}, ErrUnsupported},
		{
			"text and HTML one after the other", "multipart/mixed;boundary=b", "--b\n\na<b\n--b\nContent-Type: text/html\n\n<i>x</i>\n--b--",
			Rendering{HTML: []string{"<p>a&lt;b</p>", "<i>x</i>"}},
			nil,
		},
		{
			"alternatives in a mixed", "multipart/mixed;boundary=b",
			"--b\nContent-Type: multipart/alternative;boundary=c\n\n--c\n\nx\n--c\nContent-Type: text/html\n\n<b>x</b>\n--c--\n--b\n\ny\n--b--",
			Rendering{Texts: texts("cs", "x\ny"), HTML: []string{"<b>x</b>", "<p>y</p>"}},
			nil,
		},
		{
			"related, with its root named", `multipart/related;boundary=b;start="<r>"`,
			optional + "--b\nContent-ID: <r>\nContent-Type: text/html\n\n<p>x</p>\n--b--",
			Rendering{HTML: []string{"<p>x</p>"}},
			nil,
		},
		{"related, with an image that must be shown", "multipart/related;boundary=b", "--b\nContent-Type: text/html\n\n<p>x</p>\n" + required + "--b--", Rendering{}, ErrUnsupported},
		{"signed", "multipart/signed;boundary=b", "--b\n\nx\n--b\nContent-Type: application/pkcs7-signature\n\nx\n--b--", Rendering{}, ErrSecured},
		{"encrypted", "application/pkcs7-mime", "x", Rendering{}, ErrSecured},
		{"encrypted, as an alternative", "multipart/alternative;boundary=b", "--b\n\nx\n--b\nContent-Type: application/pkcs7-mime\n\nx\n--b--", Rendering{}, ErrSecured},
		{
			"a list of URIs", URIList, "# comment\nhttps://a.example/x\nsip:a@b.example\n",
			Rendering{Texts: texts("cs", "https://a.example/x\nsip:a@b.example"), Links: []adapters.Link{{URL: "https://a.example/x"}}},
			nil,
		},
		{
			"an external body", `message/external-body; access-type="URL"; expiration="Mon, 24 Jun 2002 09:00:00 GMT"; URL="http://www.example.com/the-indirect-content"; size=52723`,
			"Content-Type: image/png\nContent-Disposition: attachment; filename=\"/etc/a b.png\"\nContent-Description: a picture\n\n",
			Rendering{Texts: texts("", "http://www.example.com/the-indirect-content"), Links: []adapters.Link{{
				URL: "http://www.example.com/the-indirect-content", Name: "a b.png", Type: "image/png", Description: "a picture", Size: 52723,
				Expires: time.Date(2002, 6, 24, 9, 0, 0, 0, time.UTC),
			}}},
			nil,
		},
		{"an external body by other means", "message/external-body; access-type=local-file; name=x", "", Rendering{}, ErrUnsupported},
		{
			"a file of RCS", FileTransfer, rcsFile,
			Rendering{Texts: texts("", "https://ft.example.net/download?id=abcd"), Links: []adapters.Link{{
				URL: "https://ft.example.net/download?id=abcd", Name: "DSC 1.JPG", Type: "image/jpeg", Size: 183524,
				Expires: time.Date(2026, 11, 24, 10, 15, 30, 0, time.UTC),
			}}},
			nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Render(adapters.Content{Type: c.kind, Language: "cs", Octets: []byte(crlf(c.body))}, Limits{})
			for i := range got.Texts {
				got.Texts[i].Text = strings.ReplaceAll(got.Texts[i].Text, "\r\n", "\n")
			}
			if !errors.Is(err, c.err) || err == nil && !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, %v\nwant %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestRenderLimits(t *testing.T) {
	nested := "x"
	kind := "text/plain"
	for i := range 3 {
		b := string(rune('a' + i))
		nested = "--" + b + "\r\nContent-Type: " + kind + "\r\n\r\n" + nested + "\r\n--" + b + "--"
		kind = "multipart/mixed; boundary=" + b
	}
	for _, c := range []struct {
		name, kind, body, rule string
		lim                    Limits
	}{
		{"depth", kind, nested, "multipart-depth", Limits{Depth: 2}},
		{"parts on all levels", kind, nested, "multipart-parts", Limits{Parts: 2}},
		{"octets", "text/plain", "xx", "content-octets", Limits{Octets: 1}},
		{"octets after decoding", "text/plain;charset=iso-8859-1", "\xe9\xe9", "content-octets", Limits{Octets: 3}},
		{"a fault within", "multipart/mixed;boundary=b", "--b\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--b--", "base64", Limits{}},
		{"a size that is none", "message/external-body;access-type=url;url=\"http://a.example/\";size=x", "", "external-body-size", Limits{}},
		{"a file that is none", FileTransfer, "<file/>", "file-transfer", Limits{}},
		{"a file without a URL of the web", FileTransfer, strings.Replace(rcsFile, "https://ft.example.net/d", "file:///d", 1), "file-transfer", Limits{}},
		{"X3: a file with a document type", FileTransfer, strings.Replace(rcsFile, "<file ", "<!DOCTYPE file [<!ENTITY x 'y'>]><file ", 1), "xml", Limits{}},
		{"an empty list", URIList, "# nothing", "uri-list", Limits{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Render(adapters.Content{Type: c.kind, Octets: []byte(c.body)}, c.lim)
			var e *SyntaxError
			if !errors.As(err, &e) || e.Rule != c.rule {
				t.Errorf("%v, want %s", err, c.rule)
			}
			if c.rule == "base64" && e != nil && c.body[e.Offset] != '!' {
				t.Errorf("offset %d", e.Offset)
			}
		})
	}
	if _, err := Render(adapters.Content{Type: kind, Octets: []byte(nested)}, Limits{}); err != nil {
		t.Errorf("within the limits: %v", err)
	}
}

func TestValidURL(t *testing.T) {
	for s, want := range map[string]bool{
		"http://a.example": true, "HTTPS://a.example:8443/x?y#z": true, "https://[2001:db8::1]/": true,
		"ftp://a.example": false, "javascript:alert(1)": false, "http://": false, "http:///x": false, "http://:80/": false,
		"https://bank.example@evil.example/": false, "https://a.example/a b": false, "https://a.example/\r\nX: y": false, "https://a.example/<": false,
		"https://a.example/@user": true, "https://ü.example/": false, "https://a.example/" + strings.Repeat("x", maxURL): false,
	} {
		if got := ValidURL(s); got != want {
			t.Errorf("%.80q: %v", s, got)
		}
	}
}
