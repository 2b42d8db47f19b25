package main

import "github.com/isthmus-gateway/isthmus/pidf"

func inspectPIDF(input []byte, o inspectOptions) (inspection, error) {
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
		list := make([]object, len(used))
		for i, l := range used {
			list[i] = object{{"name", l.Kind.String()}, {"offset", l.Offset}}
		}
		fields = fields.with(member{"leniencies", list})
	}
	return inspection{fields, p.Append}, nil
}
