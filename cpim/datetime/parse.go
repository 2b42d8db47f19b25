package datetime

import "github.com/isthmus-gateway/isthmus/cpim/syntax"

// MaxLength is the longest timestamp that Parse takes, in octets. RFC 3339
// gives none; a fraction longer than this measures nothing.
const MaxLength = 1024

// Parse reads a whole timestamp of the given profile. The error is a
// *SyntaxError.
func Parse(s string, p Profile) (Value, error) {
	v, err := scan(s, p)
	if err != nil {
		return Value{}, err
	}
	v.text = s
	return v, nil
}

// MustParse is Parse for values known to be right; it panics on an error.
// It is for tests and constants only.
func MustParse(s string, p Profile) Value {
	v, err := Parse(s, p)
	if err != nil {
		panic(err)
	}
	return v
}

// Check reports whether b is a whole timestamp of the given profile, without
// keeping or copying it. The error is a *SyntaxError.
func Check(b []byte, p Profile) error {
	if _, err := scan(b, p); err != nil {
		return err
	}
	return nil
}

// scan fills everything of a Value but the text.
//
// The plan: fixed columns up to the seconds, then an optional fraction of any
// length, then the offset, and only then the rules that join fields (day of
// month, leap second), so that an error names the first column that is wrong.
func scan[T ~string | ~[]byte](s T, p Profile) (Value, *syntax.Error) {
	bad := func(off int, rule, section, expected string) (Value, *syntax.Error) {
		return Value{}, syntax.At(s, off, rule, section, expected)
	}
	if len(s) > MaxLength {
		return bad(MaxLength, "datetime-length", "RFC 3339 §5.6", "at most 1024 octets")
	}
	const grammar = "RFC 3339 §5.6"
	const template = "dddd-dd-ddTdd:dd:dd"
	for i := range len(template) {
		if i >= len(s) {
			return bad(len(s), columnRule(i), grammar, "YYYY-MM-DDThh:mm:ss")
		}
		c := s[i]
		switch template[i] {
		case 'd':
			if !isDigit(c) {
				return bad(i, columnRule(i), grammar, "a digit")
			}
		case 'T':
			if c == 't' && p.upperOnly() {
				return bad(i, "datetime-case", p.section(), "capital 'T'")
			}
			if c != 'T' && c != 't' {
				return bad(i, columnRule(i), grammar, "'T'")
			}
		default:
			if c != template[i] {
				return bad(i, columnRule(i), grammar, "'"+template[i:i+1]+"'")
			}
		}
	}
	year := int(s[0]-'0')*1000 + int(s[1]-'0')*100 + two(s, 2)
	month, day := two(s, 5), two(s, 8)
	hour, minute, second := two(s, 11), two(s, 14), two(s, 17)
	if year == 0 && p.schema() {
		return bad(0, "date-fullyear", "XEP-0082 §3.1", "a year from 0001")
	}
	if month < 1 || month > 12 {
		return bad(5, "date-month", grammar, "01 to 12")
	}
	if day < 1 || day > daysIn(year, month) {
		return bad(8, "date-mday", "RFC 3339 §5.7", "a day that the month has")
	}
	if hour > 23 {
		return bad(11, "time-hour", "RFC 3339 §5.7", "00 to 23")
	}
	if minute > 59 {
		return bad(14, "time-minute", grammar, "00 to 59")
	}
	if second > 60 || second == 60 && p.schema() {
		return bad(17, "time-second", "RFC 3339 §5.7", "00 to 59, or 60 in a leap second")
	}

	var v Value
	i := len(template)
	if i < len(s) && s[i] == '.' {
		i++
		v.frac = uint16(i)
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		if i == int(v.frac) {
			return bad(i, "time-secfrac", grammar, "a digit after the point")
		}
	}
	if i == len(s) {
		return bad(i, "time-offset", grammar, "'Z' or an offset")
	}
	switch c := s[i]; c {
	case 'z', 'Z':
		if c == 'z' && p.upperOnly() {
			return bad(i, "datetime-case", p.section(), "capital 'Z'")
		}
		i++
	case '+', '-':
		const num = "sdd:dd"
		for j := 1; j < len(num); j++ {
			if i+j >= len(s) {
				return bad(len(s), "time-offset", grammar, "+hh:mm or -hh:mm")
			}
			if num[j] == 'd' && !isDigit(s[i+j]) || num[j] == ':' && s[i+j] != ':' {
				return bad(i+j, "time-offset", grammar, "+hh:mm or -hh:mm")
			}
		}
		oh, om := two(s, i+1), two(s, i+4)
		if oh > 23 {
			return bad(i+1, "time-offset", grammar, "an hour of 00 to 23")
		}
		if om > 59 {
			return bad(i+4, "time-offset", grammar, "minutes of 00 to 59")
		}
		v.offset = int16(oh*60 + om)
		if c == '-' {
			v.offset = -v.offset
		}
		i += len(num)
	default:
		return bad(i, "time-offset", grammar, "'Z' or an offset")
	}
	if i != len(s) {
		return bad(i, "datetime-end", grammar, "the end of the timestamp")
	}
	if second == 60 {
		v.leap = true
		second = 59
	}
	v.unix = unixDay(year, month, day)*86400 + int64(hour*3600+minute*60+second) - int64(v.offset)*60
	if v.leap && !leapSecondAfter(v.unix) {
		return bad(17, "leap-second", "RFC 3339 §5.7", "second 60 only in a leap second")
	}
	return v, nil
}

// columnRule names the rule of the grammar that column i belongs to.
func columnRule(i int) string {
	switch {
	case i < 4:
		return "date-fullyear"
	case i < 7:
		return "date-month"
	case i < 10:
		return "date-mday"
	case i == 10:
		return "date-time"
	case i < 13:
		return "time-hour"
	case i < 16:
		return "time-minute"
	default:
		return "time-second"
	}
}

func two[T ~string | ~[]byte](s T, i int) int {
	return int(s[i]-'0')*10 + int(s[i+1]-'0')
}
