package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/imdn"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// What may stand inside of a message that came over SIP, written down a second time and by other means than the code that writes it.

// xhtmlElements are the elements of XEP-0071 §7 that we write, with the attributes that each may have.
var xhtmlElements = map[string]string{
	"a": "href style", "blockquote": "style", "br": "", "em": "style", "li": "style", "ol": "style", "p": "style", "span": "style", "strong": "style", "ul": "style",
}

// xhtmlInside are the parents that an element may have: the content models of XEP-0071 §6.
var xhtmlInside = map[string]string{
	"p": "body blockquote", "blockquote": "body blockquote li", "ul": "body blockquote li", "ol": "body blockquote li", "li": "ul ol",
	"a": "p li em strong span", "em": "p li a em strong span", "strong": "p li a em strong span", "span": "p li a em strong span", "br": "p li a em strong span",
}

var (
	// No scheme that a program would run, nobody who looks like a host, and no octet that one reader passes over and another does not.
	harmlessURL   = regexp.MustCompile("^(?:https?://[^\\x00-\\x20\\x7f-\\xff\"'<>\\\\^`{|}@/?#:][^\\x00-\\x20\\x7f-\\xff\"'<>\\\\^`{|}@/?#]*(?:[/?#][^\\x00-\\x20\\x7f-\\xff\"'<>\\\\^`{|}]*)?|(?:mailto|xmpp|sips?|im|pres|tel|geo):[^\\x00-\\x20\\x7f-\\xff\"'<>\\\\^`{|}]+)$")
	harmlessStyle = regexp.MustCompile(`^(?:(?:background-color|color|font-family|font-size|font-style|font-weight|margin-left|margin-right|text-align|text-decoration): [a-z0-9#, -]+(?:; |$))+$`)
	webURL        = regexp.MustCompile(`^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@: ][^/?#@ ]*(?:[/?#]|$)`)
)

// unallowed is what is wrong with a message stanza's children, "" if nothing is.
func unallowed(message *strictxml.Element) string {
	for c := range message.Children() {
		switch c.Name.Space + " " + c.Name.Local {
		case "http://jabber.org/protocol/xhtml-im html":
			bodies := 0
			for b := range c.Children() {
				if bodies++; bodies > 1 || b.Name.Local != "body" || b.Name.Space != "http://www.w3.org/1999/xhtml" || len(attributesOf(b)) > 0 {
					return "XHTML-IM with " + b.Name.Local
				}
				if fault := unallowedXHTML(b, 0); fault != "" {
					return fault
				}
			}
			if bodies == 0 || message.Child("jabber:server", "body").Text() == "" {
				return "XHTML-IM that nothing stands beside"
			}
		case "jabber:x:oob x":
			if u := c.Child("jabber:x:oob", "url"); u == nil || !webURL.MatchString(u.Text()) || strings.ContainsAny(u.Text(), " \r\n\t<>\"\\") {
				return "a link to somewhere else: " + c.Raw
			}
		case "http://jabber.org/protocol/nick nick":
			if t := c.Text(); strings.ContainsAny(t, "\r\n\t") || len(t) > 256 || t == "" {
				return fmt.Sprintf("a name %q", t)
			}
		case "jabber:server body", "jabber:server subject", "jabber:server thread":
			for range c.Children() {
				return "an element in " + c.Name.Local
			}
		}
	}
	return ""
}

func attributesOf(e *strictxml.Element) map[string]string {
	all := map[string]string{}
	for _, a := range e.Attrs {
		if a.Name.Space != "" || a.Name.Local != "xmlns" {
			all[strings.TrimSpace(a.Name.Space+" "+a.Name.Local)] = a.Value
		}
	}
	return all
}

func unallowedXHTML(parent *strictxml.Element, depth int) string {
	if depth > 64 {
		return "XHTML-IM that is too deep"
	}
	for e := range parent.Children() {
		name := e.Name.Local
		names, known := xhtmlElements[name]
		if !known || e.Name.Space != "http://www.w3.org/1999/xhtml" {
			return "an element " + e.Name.Space + " " + name
		}
		if !strings.Contains(" "+xhtmlInside[name]+" ", " "+parent.Name.Local+" ") {
			return name + " in " + parent.Name.Local
		}
		for k, v := range attributesOf(e) {
			switch {
			case !strings.Contains(" "+names+" ", " "+k+" "):
				return "an attribute " + k + " of " + name
			case k == "href" && !harmlessURL.MatchString(v):
				return fmt.Sprintf("a link to %q", v)
			case k == "style" && !harmlessStyle.MatchString(v):
				return fmt.Sprintf("a style %q", v)
			}
		}
		if fault := unallowedXHTML(e, depth+1); fault != "" {
			return fault
		}
	}
	return ""
}

// The oracle finds what it is for.
func TestUnallowedFinds(t *testing.T) {
	for _, in := range []string{
		"<script/>", "<p onclick='x'/>", "<img src='https://example.com'/>", "<p><a href='javascript:x'/></p>", "<p><a href='https://a@b/'/></p>", "<p><a href=' https://b/'/></p>",
		"<p><a href='data:text/html,x'/></p>", "<p style='background-image: url(x)'/>", "<p style='color: expression(x)'/>", "<em>x</em>", "<p><p/></p>", "<ul><p/></ul>",
		"<p xmlns='other'/>", "<p xml:lang='x'/>", "<p style='position: fixed'/>", "<p><a href='HTTPS:/b'/></p>",
	} {
		doc := "<message xmlns='jabber:server'><body>x</body><html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>" + in + "</body></html></message>"
		e, err := strictxml.ParseDocument([]byte(doc), strictxml.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if unallowed(e) == "" {
			t.Errorf("%s passes", in)
		}
	}
	for _, in := range []string{"<x xmlns='jabber:x:oob'><url>ftp://a</url></x>", "<x xmlns='jabber:x:oob'><url>https://a@b</url></x>", "<nick xmlns='http://jabber.org/protocol/nick'>a\nb</nick>", "<body><b/></body>"} {
		e, err := strictxml.ParseDocument([]byte("<message xmlns='jabber:server'>"+in+"</message>"), strictxml.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if unallowed(e) == "" {
			t.Errorf("%s passes", in)
		}
	}
}

// noticed checks that a notice of op names it as its sender did.
func noticed(t *testing.T, req *wire.Message, op *adapters.MessageOp) {
	t.Helper()
	if op.Wants == 0 || op.Object == nil {
		return
	}
	m, err := cpim.ParseMessage(req.Body(), cpim.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := imdn.RequestOf(m)
	if err != nil {
		t.Fatal(err)
	}
	out, err := sip.WriteReport(&adapters.Report{
		Kind: adapters.ReportFailed, Sender: op.From, Recipient: op.To, TransID: op.TransID, Wants: adapters.WantFailed, Sent: op.Sent, Time: instant,
	}, sip.WriteOptions{CallID: "c", FromTag: "t", CSeq: 1, Now: instant, NoticeID: "n"})
	if err != nil {
		return // an address that cannot be written
	}
	back, err := cpim.ParseMessage(out.Body, cpim.Limits{})
	if err != nil {
		t.Fatalf("%v in\n%s", err, out.Body)
	}
	n, err := imdn.Parse(back.Content().Body())
	if err != nil || n.Fields().MessageID != asked.MessageID {
		t.Fatalf("%v: a notice of %q, the message is %q", err, n.Fields().MessageID, asked.MessageID)
	}
}
