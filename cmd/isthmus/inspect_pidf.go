package main

import (
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// inspectPIDF reads a presence document, or a partial one (RFC 5262), which its root element tells apart.
func inspectPIDF(input []byte, o inspectOptions) (inspection, error) {
	if root, err := strictxml.ParseDocument(input, strictxml.Limits{Bytes: maxInspect}); err == nil && root.Name.Space == pidf.NamespaceDiff {
		return inspectPartial(input, root, o)
	}
	var (
		p    *pidf.Presence
		used []pidf.Leniency
		err  error
	)
	if o.lenient {
		p, used, err = pidf.ParseLenient(input)
	} else {
		p, err = pidf.Parse(input)
	}
	if err != nil {
		return inspection{}, err
	}
	fields, _ := plain(p).(object)
	if o.lenient {
		fields = fields.with(pidfLeniencies(used))
	}
	return inspection{fields, p.Append}, nil
}

// inspectPartial shows a full document as the presence that it holds, and a diff as its patches.
func inspectPartial(input []byte, root *strictxml.Element, o inspectOptions) (inspection, error) {
	var (
		p    *pidf.Partial
		used []pidf.Leniency
		err  error
	)
	if o.lenient {
		p, used, err = pidf.ParsePartialLenient(input)
	} else {
		p, err = pidf.ParsePartial(input)
	}
	if err != nil {
		return inspection{}, err
	}
	fields := object{{"document", root.Name.Local}}
	if p.HasVersion {
		fields = fields.with(member{"version", p.Version})
	}
	canonical := func(dst []byte) ([]byte, error) { return root.AppendSelfContained(dst), nil }
	if full := p.Full(); full != nil {
		presence, _ := plain(full).(object)
		fields = fields.with(presence...)
	} else {
		fields = fields.with(member{"entity", p.Entity.String()}, member{"patches", nodesOf(root)})
	}
	if o.lenient {
		fields = fields.with(pidfLeniencies(used))
	}
	return inspection{fields, canonical}, nil
}

func pidfLeniencies(used []pidf.Leniency) member {
	list := make([]object, len(used))
	for i, l := range used {
		list[i] = object{{"name", l.Kind.String()}, {"offset", l.Offset}}
	}
	return member{"leniencies", list}
}
