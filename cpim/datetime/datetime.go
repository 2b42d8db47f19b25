// Package datetime reads, compares and prints the timestamps of RFC 3339
// (date-time of §5.6, with the restrictions of §5.7), in the profiles of the
// formats that carry them: Message/CPIM, PIDF and XMPP.
//
// A Value keeps the text that came, so it prints exactly as it was written,
// however long its fraction of a second and whatever its offset.
package datetime

import (
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// SyntaxError is the error of every parser in this package.
type SyntaxError = syntax.Error

// Profile names the format a timestamp stands in, and so the letters and
// values that it may have.
type Profile uint8

const (
	// RFC3339 is the bare rule of RFC 3339 §5.6: 'T' and 'Z' in either case.
	RFC3339 Profile = iota
	// CPIM is the DateTime header of RFC 3862 §4.4: 'T' and 'Z' exactly so,
	// because "Specified text values MUST be used as given, using exactly
	// the indicated upper- and lower-case letters" (RFC 3862 §3.6).
	CPIM
	// PIDF is the timestamp element of RFC 3863 §4.1.7: capital 'T' and 'Z'.
	PIDF
	// XMPP is the DateTime profile of XEP-0082: capital 'T' and 'Z'; and no
	// second 60, no year 0000, since it is an xs:dateTime.
	XMPP
	// XML is xs:dateTime with an offset, as the schema of RFC 3994 §6.1 uses
	// it: the same limits as XMPP.
	XML
)

// upperOnly reports whether the letters must be capital.
func (p Profile) upperOnly() bool { return p != RFC3339 }

// schema reports whether the limits of xs:dateTime hold.
func (p Profile) schema() bool { return p == XMPP || p == XML }

// section names the text of the letter rule.
func (p Profile) section() string {
	switch p {
	case CPIM:
		return "RFC 3862 §3.6"
	case PIDF:
		return "RFC 3863 §4.1.7"
	case XMPP:
		return "XEP-0082 §3.2"
	default:
		return "RFC 3339 §5.6"
	}
}

// Value is one timestamp. The zero Value is no timestamp. Values are
// comparable: == means that the text is the same; use Equal or Compare for
// the instant.
type Value struct {
	text string
	// unix counts the seconds since 1970 of the second before the fraction;
	// for a leap second those of 23:59:59 UTC, with leap set.
	unix   int64
	offset int16 // minutes east of UTC
	leap   bool
	frac   uint16 // where the fraction's digits start in text, 0 for none
}

// String returns the text exactly as it came, "" for the zero Value.
func (v Value) String() string { return v.text }

// IsZero reports whether v is no timestamp.
func (v Value) IsZero() bool { return v.text == "" }

// LeapSecond reports whether the second is 60.
func (v Value) LeapSecond() bool { return v.leap }

// UnknownOffset reports whether the offset is "-00:00": the time in UTC is
// known, the local offset is not (RFC 3339 §4.3).
func (v Value) UnknownOffset() bool { return strings.HasSuffix(v.text, "-00:00") }

// Offset returns the offset of local time from UTC; zero for "Z", "+00:00"
// and "-00:00".
func (v Value) Offset() time.Duration { return time.Duration(v.offset) * time.Minute }

// Fraction returns the digits after the point as they were written, "" if
// there was none.
func (v Value) Fraction() string {
	if v.frac == 0 {
		return ""
	}
	i := int(v.frac)
	for i < len(v.text) && isDigit(v.text[i]) {
		i++
	}
	return v.text[v.frac:i]
}

// Time returns the instant, its fraction cut to nanoseconds, in a zone with
// the offset that was written. A leap second gets the POSIX time of the second
// that follows it, as time.Date would; use Compare where that matters. The
// zero Value gives the zero time.Time.
func (v Value) Time() time.Time {
	if v.IsZero() {
		return time.Time{}
	}
	sec := v.unix
	if v.leap {
		sec++
	}
	var nsec int64
	f := v.Fraction()
	for i := range 9 {
		nsec *= 10
		if i < len(f) {
			nsec += int64(f[i] - '0')
		}
	}
	t := time.Unix(sec, nsec).UTC()
	if v.offset != 0 {
		t = t.In(time.FixedZone("", int(v.offset)*60))
	}
	return t
}

// Compare orders by instant, to the last digit of both fractions: -1 if v is
// earlier than w, 0 if both are the same instant, 1 if later. A leap second
// stands between the seconds around it. The zero Value is before all others.
func (v Value) Compare(w Value) int {
	switch {
	case v.IsZero() || w.IsZero():
		return b2i(!v.IsZero()) - b2i(!w.IsZero())
	case v.unix != w.unix:
		if v.unix < w.unix {
			return -1
		}
		return 1
	case v.leap != w.leap:
		return b2i(v.leap) - b2i(w.leap)
	}
	return strings.Compare(strings.TrimRight(v.Fraction(), "0"), strings.TrimRight(w.Fraction(), "0"))
}

// Equal reports whether v and w are the same instant, however written.
func (v Value) Equal(w Value) bool { return v.Compare(w) == 0 }

// Before reports whether v is an earlier instant than w.
func (v Value) Before(w Value) bool { return v.Compare(w) < 0 }

// After reports whether v is a later instant than w.
func (v Value) After(w Value) bool { return v.Compare(w) > 0 }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func isDigit(c byte) bool { return c-'0' < 10 }
