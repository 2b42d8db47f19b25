package datetime

// isLeapYear is the rule of RFC 3339 Appendix C.
func isLeapYear(year int) bool {
	return year%4 == 0 && (year%100 != 0 || year%400 == 0)
}

// daysIn is the table of RFC 3339 §5.7.
func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if isLeapYear(year) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

// unixDay returns the days from 1970-01-01 to the given day of the proleptic
// Gregorian calendar, which is the one of RFC 3339 §1.
func unixDay(year, month, day int) int64 {
	// Years are taken to begin in March, so that the leap day is the last.
	y, m := int64(year), int64(month)
	if m <= 2 {
		y--
		m += 12
	}
	era := y / 400
	if y < 0 {
		era = (y - 399) / 400
	}
	yoe := y - era*400
	doy := (153*(m-3)+2)/5 + int64(day) - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return era*146097 + doe - 719468
}

// leapSecondAfter reports whether a leap second follows the second unix: the
// last of a day (UTC) at whose end one was inserted.
//
// The days up to 1998 are the table of RFC 3339 Appendix D; the five after it
// were announced in the same bulletins since. leapKnownThrough is the end of
// what the table knows: later on, a leap second may have been announced that
// this table has not heard of, and is then believed at the end of June and
// December, the months of RFC 3339 §5.7.
func leapSecondAfter(unix int64) bool {
	const day = 86400
	mod := unix % day
	if mod < 0 {
		mod += day
	}
	if mod != day-1 {
		return false
	}
	d := (unix - mod) / day
	y, m := yearMonthOfLastDay(d)
	if y == 0 {
		return false
	}
	if y > leapKnownThrough {
		return m == 6 || m == 12
	}
	switch m {
	case 6:
		switch y {
		case 1972, 1981, 1982, 1983, 1985, 1992, 1993, 1994, 1997, 2012, 2015:
			return true
		}
	case 12:
		switch y {
		case 1972, 1973, 1974, 1975, 1976, 1977, 1978, 1979, 1987, 1989, 1990,
			1995, 1998, 2005, 2008, 2016:
			return true
		}
	}
	return false
}

// leapKnownThrough is the last year whose leap seconds the table knows.
const leapKnownThrough = 2025

// yearMonthOfLastDay returns the year and 6 or 12 if day d (counted from
// 1970-01-01) is 30 June or 31 December of a year from 1972 to 9999, else 0.
func yearMonthOfLastDay(d int64) (year, month int) {
	y := 1970 + int(d/365)
	for y > 1971 && unixDay(y, 1, 1) > d {
		y--
	}
	if y < 1972 || y > 9999 {
		return 0, 0
	}
	switch d {
	case unixDay(y, 6, 30):
		return y, 6
	case unixDay(y, 12, 31):
		return y, 12
	}
	return 0, 0
}
