package datetime

import "time"

// FromTime returns t as a timestamp with as many digits of a fraction as it
// needs, up to nine. The offset of t's zone is kept if it is a whole number of
// minutes, else the timestamp is in UTC; pass t.UTC() to tell nobody the local
// offset (RFC 3339 §7). A year outside 0000 to 9999 has no RFC 3339 form and
// gives the zero Value.
func FromTime(t time.Time) Value { return FromTimeDigits(t, -1) }

// FromTimeDigits is FromTime with exactly digits (0 to 9) digits of a
// fraction, the rest cut off, never rounded up; a negative number means as many
// as are needed.
func FromTimeDigits(t time.Time, digits int) Value {
	_, off := t.Zone()
	if off%60 != 0 || off <= -24*3600 || off >= 24*3600 {
		t, off = t.UTC(), 0
	}
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return Value{}
	}
	hour, minute, second := t.Clock()
	b := make([]byte, 0, 35)
	b = append(b, byte('0'+year/1000), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10), '-')
	b = append(appendTwo(b, int(month)), '-')
	b = append(appendTwo(b, day), 'T')
	b = append(appendTwo(b, hour), ':')
	b = append(appendTwo(b, minute), ':')
	b = appendTwo(b, second)

	nsec := t.Nanosecond()
	var f [9]byte
	for i := 8; i >= 0; i-- {
		f[i] = byte('0' + nsec%10)
		nsec /= 10
	}
	n := min(digits, 9)
	if digits < 0 {
		for n = 9; n > 0 && f[n-1] == '0'; n-- {
		}
	}
	v := Value{unix: t.Unix(), offset: int16(off / 60)}
	if n > 0 {
		b = append(b, '.')
		v.frac = uint16(len(b))
		b = append(b, f[:n]...)
	}
	switch {
	case off == 0:
		b = append(b, 'Z')
	default:
		sign := byte('+')
		if off < 0 {
			sign, off = '-', -off
		}
		b = append(b, sign)
		b = append(appendTwo(b, off/3600), ':')
		b = appendTwo(b, off/60%60)
	}
	v.text = string(b)
	return v
}

func appendTwo(b []byte, n int) []byte {
	return append(b, byte('0'+n/10%10), byte('0'+n%10))
}
