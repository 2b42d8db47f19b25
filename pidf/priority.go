package pidf

import (
	"cmp"
	"strconv"
)

// Priority is the 'priority' of a contact: "a decimal number between 0 and 1 inclusive with at most 3 digits after the decimal
// point" (RFC 3863 §4.1.5), with its spelling, so that "1.00" prints as "1.00". The zero value is no priority, which is the
// lowest. For the order use Compare: == also compares the spelling.
type Priority struct {
	milli uint16
	form  priorityForm
}

// priorityForm is how a priority was written: absent, without a point, or with a point and 0 to 3 digits.
type priorityForm uint8

const (
	noPriority priorityForm = iota
	noPoint
	pointOnly // "1." has a point and no digit; "1.0" is pointOnly+1, and so on
)

// ParsePriority takes the form of the schema's qvalue: 0 or 1, then at most a point and three digits, and those 0 after a 1.
func ParsePriority(s string) (Priority, error) {
	if s == "" || len(s) > 5 || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return Priority{}, priorityFault()
	}
	p := Priority{milli: uint16(s[0]-'0') * 1000, form: noPoint}
	if len(s) > 1 {
		p.form = pointOnly + priorityForm(len(s)-2)
	}
	for i, unit := 2, uint16(100); i < len(s); i, unit = i+1, unit/10 {
		if !isDigit(s[i]) || s[0] == '1' && s[i] != '0' {
			return Priority{}, priorityFault()
		}
		p.milli += uint16(s[i]-'0') * unit
	}
	return p, nil
}

func priorityFault() error {
	return &SyntaxError{Offset: 0, Rule: "contact-priority", Section: "RFC 3863 §4.1.5", Expected: "a decimal number from 0 to 1 with at most 3 digits after the point"}
}

// MustParsePriority is ParsePriority for constants and tests; it panics on a fault.
func MustParsePriority(s string) Priority {
	p, err := ParsePriority(s)
	if err != nil {
		panic(err)
	}
	return p
}

// PriorityFromMilli gives the priority of so many thousandths, in its shortest spelling. ok is false above 1000.
func PriorityFromMilli(milli int) (p Priority, ok bool) {
	if milli < 0 || milli > 1000 {
		return Priority{}, false
	}
	p = Priority{milli: uint16(milli), form: noPoint}
	if milli%1000 != 0 {
		p.form = pointOnly + 3
		for m := milli; m%10 == 0; m /= 10 {
			p.form--
		}
	}
	return p, true
}

// IsSet says whether there is a priority.
func (p Priority) IsSet() bool { return p.form != noPriority }

// Milli gives the priority in thousandths, 0 to 1000; 0 also for no priority.
func (p Priority) Milli() int { return int(p.milli) }

// Compare orders priorities, lowest first: "If the 'priority' attribute is omitted, applications MUST assign the contact address
// the lowest priority" (RFC 3863 §4.1.5), so none comes with 0 and spelling does not count.
func (p Priority) Compare(q Priority) int { return cmp.Compare(p.milli, q.milli) }

// String gives the spelling that was parsed, "" for no priority.
func (p Priority) String() string { return string(p.appendTo(nil)) }

func (p Priority) appendTo(b []byte) []byte {
	if p.form == noPriority {
		return b
	}
	b = append(b, '0'+byte(p.milli/1000))
	if p.form >= pointOnly {
		b = append(b, '.')
		rest := p.milli % 1000
		for unit, n := uint16(100), p.form-pointOnly; n > 0; unit, n = unit/10, n-1 {
			b = append(b, '0'+byte(rest/unit%10))
		}
	}
	return b
}

// PriorityFromXMPP maps an XMPP priority to a contact priority: 0 to 0, 127 to 1, and those between to the thousandth below
// p/127, each a different one (1 to 0.007, 2 to 0.015, 126 to 0.992, the values of RFC 8048 §6.2 note 6). mapped is false for a
// negative value: "If the value of the XMPP <priority/> element is negative, an XMPP-to-SIP gateway MUST NOT map the value."
func PriorityFromXMPP(p int8) (_ Priority, mapped bool) {
	if p < 0 {
		return Priority{}, false
	}
	q, _ := PriorityFromMilli(int(p) * 1000 / 127)
	return q, true
}

// XMPP maps a contact priority to an XMPP priority, from 0 to 127 and never negative (RFC 8048 §6.3 note 2): the smallest one
// whose PriorityFromXMPP is not below p. It gives back what PriorityFromXMPP took. mapped is false for no priority.
func (p Priority) XMPP() (_ int8, mapped bool) {
	if p.form == noPriority {
		return 0, false
	}
	return int8((int(p.milli)*127 + 999) / 1000), true
}

// parseXMLInteger reads an xs:integer of at most 18 digits.
func parseXMLInteger(s string) (int64, bool) {
	if len(s) > 1 && s[0] == '+' && isDigit(s[1]) {
		s = s[1:]
	}
	if len(s) == 0 || len(s) > 19 {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 64)
	return v, err == nil
}
