package main

import (
	"errors"
	"fmt"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// diagnosis is what is wrong with an input, the same for every parser.
type diagnosis struct {
	offset                         int64 // octets before the fault; -1 if it has no place
	rule, section, expected, found string
}

// diagnose reads the error of any parser of this program.
func diagnose(err error) diagnosis {
	var (
		format  *syntax.Error
		doc     *pidf.SyntaxError
		xml     *strictxml.SyntaxError
		message *wire.SyntaxError
		address *jid.SyntaxError
		name    *resolver.SyntaxError
	)
	switch {
	case errors.As(err, &format):
		return diagnosis{int64(format.Offset), format.Rule, format.Section, format.Expected, format.Found}
	case errors.As(err, &xml): // before pidf's: where the reader found the fault it knows best
		return diagnosis{xml.Offset, xml.Rule, xml.Section, xml.Detail, ""}
	case errors.As(err, &doc):
		return diagnosis{doc.Offset, doc.Rule, doc.Section, doc.Expected, ""}
	case errors.As(err, &message):
		return diagnosis{int64(message.Offset), message.Rule, message.Section, message.Expected, ""}
	case errors.As(err, &address):
		return diagnosis{int64(address.Offset), address.Rule, address.Section, address.Expected, ""}
	case errors.As(err, &name):
		return diagnosis{int64(name.Offset), name.Rule, name.Section, name.Expected, ""}
	}
	return diagnosis{offset: -1, rule: "other", expected: err.Error()}
}

func (d diagnosis) fields() []member {
	m := []member{{"offset", d.offset}, {"rule", d.rule}, {"section", d.section}, {"expected", d.expected}}
	if d.found != "" {
		m = append(m, member{"found", d.found})
	}
	return m
}

// String is the diagnosis as a sentence.
func (d diagnosis) String() string {
	s := d.rule
	if d.offset >= 0 {
		s = fmt.Sprintf("offset %d: %s", d.offset, s)
	}
	if d.expected != "" {
		s += ": expected " + d.expected
	}
	if d.found != "" {
		s += ", found " + d.found
	}
	if d.section != "" {
		s += " (" + d.section + ")"
	}
	return s
}
