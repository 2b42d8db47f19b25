package main

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// inspectURI reads the URIs that name a user: im:, pres:, sip:, sips: and tel:.
func inspectURI(input []byte, _ inspectOptions) (inspection, error) {
	text := string(input)
	scheme, _, _ := strings.Cut(text, ":")
	switch strings.ToLower(scheme) {
	case "im", "pres":
		a, err := cpim.ParseAddress(text)
		if err != nil {
			return inspection{}, err
		}
		fields := object{
			{"scheme", a.Scheme().String()}, {"local", a.Local()}, {"domain", a.Domain()}, {"uri", a.String()}, {"sip", a.SIPURI().String()},
		}
		if j, err := jid.FromAddress(a, ""); err == nil {
			fields = fields.with(member{"jid", j.String()})
		}
		return inspection{fields, func(dst []byte) ([]byte, error) { return a.Append(dst), nil }}, nil
	case "sip", "sips":
		return inspectSIPURI(text)
	case "tel":
		t, err := cpim.ParseTelURI(text)
		if err != nil {
			return inspection{}, err
		}
		return inspection{
			object{
				{"scheme", "tel"},
				{"global", t.Global()},
				{"number", t.Number()},
				{"phoneContext", t.PhoneContext()},
				{"ext", t.Ext()},
				{"isub", t.ISub()},
				{"uri", t.String()},
			},
			func(dst []byte) ([]byte, error) { return append(dst, t.String()...), nil },
		}, nil
	}
	return inspection{}, syntax.At(text, 0, "scheme", "RFC 3986 §3.1", "im:, pres:, sip:, sips: or tel:")
}

func inspectSIPURI(text string) (inspection, error) {
	u, err := cpim.ParseSIPURI(text)
	if err != nil {
		return inspection{}, err
	}
	scheme := "sip"
	if u.Secure() {
		scheme = "sips"
	}
	params := []object{}
	for _, p := range u.Params() {
		params = append(params, object{{"name", p.Name}, {"value", p.Value}})
	}
	fields := object{
		{"scheme", scheme}, {"user", u.User()}, {"host", u.Host()}, {"port", u.Port()}, {"params", params}, {"phone", u.IsPhone()}, {"uri", u.String()},
	}
	// What it is on the other side: the address, or why it has none.
	if id, err := cpim.AddressFromSIPURI(u, cpim.IM); err == nil {
		mapped, _ := plain(id).(object)
		fields = fields.with(member{"mapped", mapped})
	} else {
		fields = fields.with(member{"notMapped", diagnose(err).String()})
	}
	return inspection{fields, func(dst []byte) ([]byte, error) { return append(dst, u.String()...), nil }}, nil
}

func inspectJID(input []byte, _ inspectOptions) (inspection, error) {
	j, err := jid.Parse(string(input))
	if err != nil {
		return inspection{}, err
	}
	fields := object{
		{"jid", j.String()}, {"local", j.Local()}, {"domain", j.Domain()}, {"resource", j.Resource()}, {"unescapedLocal", jid.Unescape(j.Local())},
	}
	if a, err := jid.ToAddress(j, cpim.IM); err == nil {
		fields = fields.with(member{"im", a.String()}, member{"sip", a.SIPURI().String()})
	} else {
		fields = fields.with(member{"notMapped", diagnose(err).String()})
	}
	return inspection{fields, func(dst []byte) ([]byte, error) { return append(dst, j.String()...), nil }}, nil
}
