package main

import (
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// inspectSIP reads one SIP message as it came in a datagram.
func inspectSIP(input []byte, _ inspectOptions) (inspection, error) {
	m, err := wire.Parse(input, wire.Limits{})
	if err != nil {
		return inspection{}, err
	}
	var fields object
	if m.IsRequest() {
		fields = object{{"method", m.Method()}, {"requestURI", m.RequestURIText()}}
	} else {
		fields = object{{"status", m.StatusCode()}, {"reason", m.ReasonPhrase()}}
	}
	seq, method := m.CSeq()
	fields = fields.with(
		member{"from", addrFields(m.From())}, member{"to", addrFields(m.To())}, member{"callID", m.CallID()},
		member{"cseq", object{{"number", seq}, {"method", method}}},
	)
	if hops, ok := m.MaxForwards(); ok {
		fields = fields.with(member{"maxForwards", hops})
	}
	headers, seen := []object{}, make(map[string]bool)
	for name := range m.Names() {
		if seen[name] {
			continue
		}
		seen[name] = true
		values := []string{}
		for v := range m.Headers(name) {
			values = append(values, v)
		}
		headers = append(headers, object{{"name", name}, {"values", values}})
	}
	fields = fields.with(member{"headers", headers}, member{"contentType", m.ContentType()}).with(octets("body", m.Body())...)
	return inspection{fields, func(dst []byte) ([]byte, error) { return append(dst, m.Raw()...), nil }}, nil
}

func addrFields(a wire.Addr) object {
	o := object{{"uri", a.URI().String()}, {"display", a.Display()}, {"tag", a.Tag()}}
	if gr, ok := a.GR(); ok {
		o = o.with(member{"instance", gr})
	}
	return o
}
