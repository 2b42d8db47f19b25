package main

import (
	"time"

	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/cpim/imdn"
	"github.com/isthmus-gateway/isthmus/cpim/iscomposing"
)

func inspectCPIM(input []byte, o inspectOptions) (inspection, error) {
	var (
		m    *cpim.Message
		used cpim.Leniency
		err  error
	)
	limits := cpim.Limits{Octets: maxInspect}
	if o.lenient {
		m, used, err = cpim.ParseMessageLenient(input, limits, cpim.AllLeniencies)
	} else {
		m, err = cpim.ParseMessage(input, limits)
	}
	if err != nil {
		return inspection{}, err
	}
	headers := []object{}
	for h := range m.Headers() {
		params := []object{}
		for _, p := range h.ParamList() {
			params = append(params, object{{"name", p.Name}, {"value", p.Value}})
		}
		headers = append(headers, object{
			{"name", string(h.Name)}, {"params", params}, {"value", string(h.Value)}, {"text", h.ExactText()}, {"namespace", string(h.Namespace)},
		})
	}
	content := []object{}
	for h := range m.Content().Headers() {
		content = append(content, object{{"name", string(h.Name)}, {"value", h.Text()}})
	}
	fields := object{{"headers", headers}, {"contentHeaders", content}}.with(octets("content", m.Content().Body())...)
	fields = fields.with(cpimTyped(m)...)
	if o.lenient {
		fields = fields.with(leniencies(used.Names(), used.Products()))
	}
	return inspection{fields, func(dst []byte) ([]byte, error) { return m.Append(dst), nil }}, nil
}

// cpimTyped is what the headers mean.
func cpimTyped(m *cpim.Message) []member {
	var fields []member
	mailbox := func(b cpim.Mailbox) object { return object{{"name", b.ExactName()}, {"uri", b.URI()}} }
	if from, ok := m.From(); ok {
		fields = append(fields, member{"from", mailbox(from)})
	}
	var to, cc, subjects, required []object
	for b := range m.To() {
		to = append(to, mailbox(b))
	}
	for b := range m.CC() {
		cc = append(cc, mailbox(b))
	}
	for s := range m.Subjects() {
		subjects = append(subjects, plain(s).(object))
	}
	for f := range m.Requires() {
		required = append(required, plain(f).(object))
	}
	for _, l := range []struct {
		name string
		list []object
	}{{"to", to}, {"cc", cc}, {"subjects", subjects}, {"require", required}} {
		if len(l.list) > 0 {
			fields = append(fields, member{l.name, l.list})
		}
	}
	if at, ok := m.DateTime(); ok {
		fields = append(fields, member{"dateTime", at.String()})
	}
	if t := m.Content().ContentType(); !t.IsZero() {
		fields = append(fields, member{"contentType", t.String()})
	}
	if r, err := imdn.RequestOf(m); err == nil && r.MessageID != "" {
		fields = append(fields, member{"imdn", object{{"messageID", r.MessageID}, {"want", append([]string{}, r.Want.Names()...)}}})
	}
	return fields
}

// leniencies is the member that names what was forgiven, with the software known to need it.
func leniencies(names, products []string) member {
	list := make([]object, len(names))
	for i, n := range names {
		list[i] = object{{"name", n}}
		if i < len(products) {
			list[i] = list[i].with(member{"knownFrom", products[i]})
		}
	}
	return member{"leniencies", list}
}

func inspectIMDN(input []byte, o inspectOptions) (inspection, error) {
	var (
		n    *imdn.Notification
		used imdn.Leniency
		err  error
	)
	if o.lenient {
		n, used, err = imdn.ParseLenient(input)
	} else {
		n, err = imdn.Parse(input)
	}
	if err != nil {
		return inspection{}, err
	}
	fields, _ := plain(n.Fields()).(object)
	f := n.Fields()
	fields = fields.without("kind", "status").with(member{"notification", f.Kind.String()}, member{"status", f.Status.String()})
	if o.lenient {
		fields = fields.with(leniencies(used.Names(), nil))
	}
	return inspection{fields, func(dst []byte) ([]byte, error) { return n.Append(dst), nil }}, nil
}

func inspectIsComposing(input []byte, o inspectOptions) (inspection, error) {
	var (
		s    *iscomposing.Status
		used iscomposing.Leniency
		err  error
	)
	if o.lenient {
		s, used, err = iscomposing.ParseLenient(input)
	} else {
		s, err = iscomposing.Parse(input)
	}
	if err != nil {
		return inspection{}, err
	}
	fields, _ := plain(s.Fields()).(object)
	fields = fields.with(member{"active", s.Active()}, member{"expiresSeconds", s.Expires().Seconds()})
	if o.lenient {
		fields = fields.with(leniencies(used.Names(), nil))
	}
	return inspection{fields, func(dst []byte) ([]byte, error) { return s.Append(dst), nil }}, nil
}

func inspectDateTime(input []byte, o inspectOptions) (inspection, error) {
	profiles := map[string]datetime.Profile{
		"rfc3339": datetime.RFC3339, "cpim": datetime.CPIM, "pidf": datetime.PIDF, "xmpp": datetime.XMPP, "xml": datetime.XML,
	}
	v, err := datetime.Parse(string(input), profiles[o.profile])
	if err != nil {
		return inspection{}, err
	}
	return inspection{
		object{
			{"value", v.String()},
			{"utc", v.Time().UTC().Format(time.RFC3339Nano)},
			{"offsetMinutes", int(v.Offset() / time.Minute)},
			{"unknownOffset", v.UnknownOffset()},
			{"leapSecond", v.LeapSecond()},
			{"fraction", v.Fraction()},
		},
		func(dst []byte) ([]byte, error) { return append(dst, v.String()...), nil },
	}, nil
}
