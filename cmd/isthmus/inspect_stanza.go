package main

import (
	"bytes"
	"slices"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// inspectStanza reads one stanza by the rules of an XMPP stream, checks what RFC 6120 §8 says of its attributes, and shows it as a
// tree.
func inspectStanza(input []byte, _ inspectOptions) (inspection, error) {
	e, err := strictxml.ParseDocument(input, strictxml.Limits{Bytes: maxInspect})
	if err != nil {
		return inspection{}, err
	}
	if err := checkStanza(input, e); err != nil {
		return inspection{}, err
	}
	return inspection{object(elementFields(e)), func(dst []byte) ([]byte, error) { return e.AppendSelfContained(dst), nil }}, nil
}

func elementFields(e *strictxml.Element) []member {
	fields := []member{{"name", e.Name.Local}, {"namespace", e.Name.Space}}
	attrs := []object{}
	for _, a := range e.Attrs {
		o := object{{"name", a.Name.Local}, {"value", a.Value}}
		if a.Name.Space != "" {
			o = o.with(member{"namespace", a.Name.Space})
		}
		attrs = append(attrs, o)
	}
	fields = append(fields, member{"attributes", attrs})
	return append(fields, member{"nodes", nodesOf(e)})
}

// nodesOf is what stands in an element: texts and elements, in order.
func nodesOf(e *strictxml.Element) []any {
	nodes := []any{}
	for _, n := range e.Nodes {
		if n.Element != nil {
			nodes = append(nodes, object(elementFields(n.Element)))
			continue
		}
		nodes = append(nodes, object{{"text", n.Text}})
	}
	return nodes
}

// The namespaces of stanzas: clients, servers, components (XEP-0114); and none, for a stanza cut out of its stream.
var stanzaNamespaces = []string{"jabber:client", "jabber:server", "jabber:component:accept", ""}

var stanzaTypes = map[string]struct {
	section string
	types   []string
}{
	"message":  {"RFC 6121 §5.2.2", []string{"chat", "error", "groupchat", "headline", "normal"}},
	"presence": {"RFC 6121 §4.7.1", []string{"error", "probe", "subscribe", "subscribed", "unavailable", "unsubscribe", "unsubscribed"}},
	"iq":       {"RFC 6120 §8.2.3", []string{"get", "set", "result", "error"}},
}

// checkStanza looks at the root element. Its offset is where the element begins: the reader keeps no place of an attribute.
func checkStanza(input []byte, e *strictxml.Element) error {
	at := max(bytes.IndexByte(input, '<'), 0)
	if e.Offset > at {
		at = e.Offset
	}
	kind, ok := stanzaTypes[e.Name.Local]
	if !ok || !slices.Contains(stanzaNamespaces, e.Name.Space) {
		return syntax.At(input, at, "stanza", "RFC 6120 §8", "message, presence or iq in jabber:client, jabber:server or jabber:component:accept")
	}
	for _, name := range []string{"from", "to"} {
		value, there := e.Attr("", name)
		if !there {
			continue
		}
		if _, err := jid.Parse(value); err != nil {
			d := diagnose(err)
			return syntax.At(input, at, name+"-"+d.rule, d.section, "a JID in '"+name+"': "+d.expected)
		}
	}
	value, there := e.Attr("", "type")
	// Other types of message are taken as normal (RFC 6121 §5.2.2), so a linter names them.
	if there && !slices.Contains(kind.types, value) || !there && e.Name.Local == "iq" {
		return syntax.At(input, at, "type", kind.section, "a type that "+e.Name.Local+" has")
	}
	if id, there := e.Attr("", "id"); e.Name.Local == "iq" && (!there || id == "") {
		return syntax.At(input, at, "id", "RFC 6120 §8.1.3", "an id, which an iq must have")
	}
	return nil
}
