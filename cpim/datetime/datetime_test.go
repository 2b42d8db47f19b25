package datetime

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, in string
		profile  Profile
		utc      string // as time.RFC3339Nano
	}{
		// RFC 3339 §5.8
		{"fraction", "1985-04-12T23:20:50.52Z", RFC3339, "1985-04-12T23:20:50.52Z"},
		{"offset", "1996-12-19T16:39:57-08:00", RFC3339, "1996-12-20T00:39:57Z"},
		{"leap second", "1990-12-31T23:59:60Z", RFC3339, "1991-01-01T00:00:00Z"},
		{"leap second elsewhere", "1990-12-31T15:59:60-08:00", RFC3339, "1991-01-01T00:00:00Z"},
		{"twenty minutes", "1937-01-01T12:00:27.87+00:20", RFC3339, "1937-01-01T11:40:27.87Z"},
		// RFC 3862
		{"CPIM", "2000-12-13T13:40:00-08:00", CPIM, "2000-12-13T21:40:00Z"},
		{"PIDF", "2001-10-27T16:49:29Z", PIDF, "2001-10-27T16:49:29Z"},
		// XEP-0082
		{"moon", "1969-07-21T02:56:15Z", XMPP, "1969-07-21T02:56:15Z"},
		{"moon from Houston", "1969-07-20T21:56:15-05:00", XMPP, "1969-07-21T02:56:15Z"},

		{"lower case", "1985-04-12t23:20:50z", RFC3339, "1985-04-12T23:20:50Z"},
		{"unknown offset", "1985-04-12T23:20:50-00:00", CPIM, "1985-04-12T23:20:50Z"},
		{"zero offset", "1985-04-12T23:20:50+00:00", CPIM, "1985-04-12T23:20:50Z"},
		{"year 0", "0000-01-01T00:00:00Z", RFC3339, "0000-01-01T00:00:00Z"},
		{"year 9999", "9999-12-31T23:59:59.999999999Z", XMPP, "9999-12-31T23:59:59.999999999Z"},
		{"before year 0 in UTC", "0000-01-01T00:00:00+23:59", RFC3339, "-0001-12-31T00:01:00Z"},
		{"leap day", "2000-02-29T00:00:00Z", PIDF, "2000-02-29T00:00:00Z"},
		{"greatest offset", "2001-01-01T00:00:00+23:59", PIDF, "2000-12-31T00:01:00Z"},
		{"fraction cut to nanoseconds", "2001-01-01T00:00:00.1234567899999Z", PIDF, "2001-01-01T00:00:00.123456789Z"},
		{"leap second June", "2015-06-30T23:59:60.5Z", CPIM, "2015-07-01T00:00:00.5Z"},
		{"leap second in Tokyo", "2017-01-01T08:59:60+09:00", CPIM, "2017-01-01T00:00:00Z"},
		{"leap second to come", "2099-06-30T23:59:60Z", CPIM, "2099-07-01T00:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Parse(tt.in, tt.profile)
			if err != nil {
				t.Fatal(err)
			}
			if v.String() != tt.in {
				t.Errorf("prints %q", v)
			}
			if got := v.Time().UTC().Format(time.RFC3339Nano); got != tt.utc {
				t.Errorf("is %s, want %s", got, tt.utc)
			}
			if _, off := v.Time().Zone(); time.Duration(off)*time.Second != v.Offset() {
				t.Errorf("zone %d, offset %v", off, v.Offset())
			}
			if err := Check([]byte(tt.in), tt.profile); err != nil {
				t.Error(err)
			}
			if w := MustParse(tt.in, tt.profile); v != w {
				t.Error("the same text must be ==")
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, in string
		profile  Profile
		rule     string
		offset   int
	}{
		{"empty", "", CPIM, "date-fullyear", 0},
		{"letters", "abcd", CPIM, "date-fullyear", 0},
		{"year alone", "1956", CPIM, "date-month", 4},
		{"date alone", "2001-02-03", CPIM, "date-time", 10},
		{"five-digit year", "12001-02-03T04:05:06Z", CPIM, "date-month", 4},
		{"two-digit year", "01-02-03T04:05:06Z", CPIM, "date-fullyear", 2},
		{"negative year", "-001-02-03T04:05:06Z", CPIM, "date-fullyear", 0},
		{"no hyphens", "20010203T040506Z", CPIM, "date-month", 4},
		{"month 0", "2001-00-03T04:05:06Z", CPIM, "date-month", 5},
		{"month 13", "2001-13-03T04:05:06Z", CPIM, "date-month", 5},
		{"day 0", "2001-02-00T04:05:06Z", CPIM, "date-mday", 8},
		{"29 February", "2001-02-29T04:05:06Z", CPIM, "date-mday", 8},
		{"29 February 1900", "1900-02-29T04:05:06Z", CPIM, "date-mday", 8},
		{"31 April", "2001-04-31T04:05:06Z", CPIM, "date-mday", 8},
		{"32 January", "2001-01-32T04:05:06Z", CPIM, "date-mday", 8},
		{"space for T", "2001-02-03 04:05:06Z", RFC3339, "date-time", 10},
		{"hour 24", "2001-02-03T24:00:00Z", CPIM, "time-hour", 11},
		{"minute 60", "2001-02-03T04:60:06Z", CPIM, "time-minute", 14},
		{"second 61", "2001-02-03T04:05:61Z", CPIM, "time-second", 17},
		{"one-digit hour", "2001-02-03T4:05:06Z", CPIM, "time-hour", 12},
		{"no seconds", "2001-02-03T04:05Z", CPIM, "time-second", 16},
		{"no offset", "2001-02-03T04:05:06", CPIM, "time-offset", 19},
		{"empty fraction", "2001-02-03T04:05:06.Z", CPIM, "time-secfrac", 20},
		{"comma", "2001-02-03T04:05:06,5Z", CPIM, "time-offset", 19},
		{"two points", "2001-02-03T04:05:06.5.5Z", CPIM, "time-offset", 21},
		{"fraction without offset", "2001-02-03T04:05:06.5", CPIM, "time-offset", 21},
		{"offset without colon", "2001-02-03T04:05:06+0100", CPIM, "time-offset", 22},
		{"offset of one digit", "2018-02-16T01:42:50+5:30", CPIM, "time-offset", 21},
		{"offset cut", "2001-02-03T04:05:06+01:0", CPIM, "time-offset", 24},
		{"offset hour 24", "2001-02-03T04:05:06+24:00", CPIM, "time-offset", 20},
		{"offset minute 60", "2001-02-03T04:05:06+01:60", CPIM, "time-offset", 23},
		{"zone name", "2001-02-03T04:05:06UTC", CPIM, "time-offset", 19},
		{"after the end", "2001-02-03T04:05:06Z ", CPIM, "datetime-end", 20},
		{"after the offset", "2001-02-03T04:05:06+01:00x", CPIM, "datetime-end", 25},
		{"before the start", " 2001-02-03T04:05:06Z", CPIM, "date-fullyear", 0},
		{"minus of Unicode", "2001-02-03T04:05:06\u221201:00", CPIM, "time-offset", 19},
		{"digits of Arabic", "2001-02-0\u0663T04:05:06Z", CPIM, "date-mday", 9},
		{"lower t in CPIM", "2001-02-03t04:05:06Z", CPIM, "datetime-case", 10},
		{"lower z in CPIM", "2001-02-03T04:05:06z", CPIM, "datetime-case", 19},
		// "Timestamps that contain 'T' or 'Z' MUST use the capitalized forms."
		{"lower t in PIDF", "2001-02-03t04:05:06Z", PIDF, "datetime-case", 10},
		{"lower z in PIDF", "2001-02-03T04:05:06z", PIDF, "datetime-case", 19},
		{"lower t in XMPP", "2001-02-03t04:05:06Z", XMPP, "datetime-case", 10},
		{"leap second in XMPP", "1990-12-31T23:59:60Z", XMPP, "time-second", 17},
		{"leap second in XML", "1990-12-31T23:59:60Z", XML, "time-second", 17},
		{"year 0 in XMPP", "0000-01-01T00:00:00Z", XMPP, "date-fullyear", 0},
		{"leap second at noon", "1990-12-31T12:59:60Z", CPIM, "leap-second", 17},
		{"leap second a minute early", "1990-12-31T23:58:60Z", CPIM, "leap-second", 17},
		{"leap second not shifted", "1990-12-31T23:59:60-08:00", CPIM, "leap-second", 17},
		{"leap second in a month without", "1990-11-30T23:59:60Z", CPIM, "leap-second", 17},
		{"leap second in a June without", "1990-06-30T23:59:60Z", CPIM, "leap-second", 17},
		{"leap second before 1972", "1971-12-31T23:59:60Z", CPIM, "leap-second", 17},
		{"leap second known not to be", "2020-12-31T23:59:60Z", CPIM, "leap-second", 17},
		{"leap second to come in March", "2099-03-31T23:59:60Z", CPIM, "leap-second", 17},
		{"too long", "2001-02-03T04:05:06." + strings.Repeat("1", 1100) + "Z", CPIM, "datetime-length", 1024},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Parse(tt.in, tt.profile)
			var serr *SyntaxError
			if !errors.As(err, &serr) {
				t.Fatalf("accepted as %v", v)
			}
			if serr.Rule != tt.rule || serr.Offset != tt.offset || serr.Section == "" || serr.Expected == "" || !v.IsZero() {
				t.Errorf("got %v, want %s at %d", serr, tt.rule, tt.offset)
			}
			if err := Check([]byte(tt.in), tt.profile); err == nil || err.Error() != serr.Error() {
				t.Errorf("Check says %v", err)
			}
		})
	}
}

// Every leap second of RFC 3339 Appendix D, and those since, and no other day
// of the years it covers.
func TestLeapSeconds(t *testing.T) {
	table := map[string]bool{}
	for _, d := range strings.Fields(`1972-06-30 1972-12-31 1973-12-31 1974-12-31 1975-12-31 1976-12-31 1977-12-31
		1978-12-31 1979-12-31 1981-06-30 1982-06-30 1983-06-30 1985-06-30 1987-12-31 1989-12-31 1990-12-31 1992-06-30
		1993-06-30 1994-06-30 1995-12-31 1997-06-30 1998-12-31 2005-12-31 2008-12-31 2012-06-30 2015-06-30 2016-12-31`) {
		table[d] = true
	}
	for d := time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < 2026; d = d.AddDate(0, 0, 1) {
		day := d.Format(time.DateOnly)
		if _, err := Parse(day+"T23:59:60Z", CPIM); (err == nil) != table[day] {
			t.Errorf("%s: %v", day, err)
		}
	}
}

func TestCompare(t *testing.T) {
	order := []string{
		"1937-01-01T12:00:27.87+00:20",
		"1990-12-31T23:59:59Z",
		"1990-12-31T23:59:59.9999999999999Z",
		"1990-12-31T23:59:60Z",
		"1990-12-31T15:59:60.5-08:00",
		"1991-01-01T00:00:00Z",
		"1991-01-01T00:00:00.00000000000001Z",
		"1991-01-01T00:00:00.00000000000002Z",
		"1991-01-01T00:00:00.1Z",
	}
	for i, a := range order {
		for j, b := range order {
			v, w := MustParse(a, RFC3339), MustParse(b, RFC3339)
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := v.Compare(w); got != want {
				t.Errorf("%s against %s: %d", a, b, got)
			}
			if v.Before(w) != (want < 0) || v.After(w) != (want > 0) || v.Equal(w) != (want == 0) {
				t.Errorf("%s against %s", a, b)
			}
		}
	}
	// RFC 3339 §5.8: equivalent, but not the same text.
	a, b := MustParse("1996-12-19T16:39:57-08:00", RFC3339), MustParse("1996-12-20T00:39:57.000Z", RFC3339)
	if !a.Equal(b) || a == b {
		t.Error("same instant, other text")
	}
	var zero Value
	if !zero.IsZero() || zero.Compare(a) != -1 || a.Compare(zero) != 1 || zero.Compare(zero) != 0 || zero.String() != "" || !zero.Time().IsZero() {
		t.Error("the zero Value is before all")
	}
}

func TestParts(t *testing.T) {
	v := MustParse("2016-12-31T23:59:60.0420-00:00", CPIM)
	if !v.LeapSecond() || !v.UnknownOffset() || v.Fraction() != "0420" || v.Offset() != 0 {
		t.Errorf("%v %v %q %v", v.LeapSecond(), v.UnknownOffset(), v.Fraction(), v.Offset())
	}
	w := MustParse("2016-12-31T23:59:59+00:00", CPIM)
	if w.LeapSecond() || w.UnknownOffset() || w.Fraction() != "" || v.Offset() != 0 {
		t.Errorf("%v %v %q %v", w.LeapSecond(), w.UnknownOffset(), w.Fraction(), w.Offset())
	}
}

func TestFromTime(t *testing.T) {
	zone := func(sec int) *time.Location { return time.FixedZone("", sec) }
	tests := []struct {
		in     time.Time
		digits int
		want   string
	}{
		{time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC), -1, "2001-02-03T04:05:06Z"},
		{time.Date(2001, 2, 3, 4, 5, 6, 120_000_000, time.UTC), -1, "2001-02-03T04:05:06.12Z"},
		{time.Date(2001, 2, 3, 4, 5, 6, 999_999_999, time.UTC), 3, "2001-02-03T04:05:06.999Z"},
		{time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC), 3, "2001-02-03T04:05:06.000Z"},
		{time.Date(2001, 2, 3, 4, 5, 6, 999_999_999, time.UTC), 0, "2001-02-03T04:05:06Z"},
		{time.Date(2001, 2, 3, 4, 5, 6, 1, time.UTC), 20, "2001-02-03T04:05:06.000000001Z"},
		{time.Date(2001, 2, 3, 4, 5, 6, 0, zone(-8*3600)), -1, "2001-02-03T04:05:06-08:00"},
		{time.Date(2001, 2, 3, 4, 5, 6, 0, zone(20*60)), -1, "2001-02-03T04:05:06+00:20"},
		{time.Date(2001, 2, 3, 4, 5, 6, 0, zone(1172)), -1, "2001-02-03T03:45:34Z"},
		{time.Date(2001, 2, 3, 4, 5, 6, 0, zone(24*3600)), -1, "2001-02-02T04:05:06Z"},
		{time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), -1, "0000-01-01T00:00:00Z"},
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), -1, ""},
		{time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), -1, ""},
	}
	for _, tt := range tests {
		if got := FromTimeDigits(tt.in, tt.digits); got.String() != tt.want {
			t.Errorf("%v, %d digits: %q, want %q", tt.in, tt.digits, got, tt.want)
		}
	}
}

// What is made from a time.Time is the same value as its text parsed.
func TestFromTimeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-62167219200, 253402300799).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")).
			In(time.FixedZone("", 60*rapid.IntRange(-1439, 1439).Draw(t, "offset")))
		v := FromTime(at)
		if v.IsZero() {
			if y := at.Year(); y >= 0 && y <= 9999 {
				t.Fatalf("%v has no form", at)
			}
			return
		}
		w, err := Parse(v.String(), CPIM)
		if err != nil || v != w {
			t.Fatalf("%v reads back as %#v, %v, not %#v", v, w, err, v)
		}
		if !w.Time().Equal(at) {
			t.Fatalf("%v is %v, not %v", v, w.Time(), at)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"1985-04-12T23:20:50.52Z", "1996-12-19T16:39:57-08:00", "1990-12-31T15:59:60-08:00", "1937-01-01T12:00:27.87+00:20",
		"2001-02-03t04:05:06z", "0000-01-01T00:00:00-00:00", "2016-12-31T23:59:60.000000000000000000001Z",
	} {
		for p := RFC3339; p <= XML; p++ {
			f.Add(s, uint8(p))
		}
	}
	f.Fuzz(func(t *testing.T, s string, profile uint8) {
		p := Profile(profile % 5)
		v, err := Parse(s, p)
		if quick := Check([]byte(s), p); (err == nil) != (quick == nil) {
			t.Fatalf("Parse %v, Check %v", err, quick)
		}
		if err != nil {
			var serr *SyntaxError
			if !errors.As(err, &serr) || serr.Offset < 0 || serr.Offset > len(s) || serr.Rule == "" || serr.Section == "" {
				t.Fatalf("%#v", err)
			}
			return
		}
		if v.String() != s {
			t.Fatalf("prints %q", v)
		}
		// Every profile is a part of the bare rule.
		if w, err := Parse(s, RFC3339); err != nil || v != w {
			t.Fatalf("RFC 3339 says %v, %v", w, err)
		}
		if !v.LeapSecond() {
			g, err := time.Parse(time.RFC3339Nano, strings.ToUpper(s))
			if err != nil || !g.Equal(v.Time()) {
				t.Fatalf("time says %v, %v; we say %v", g, err, v.Time())
			}
		}
		if w := FromTime(v.Time()); len(strings.TrimRight(v.Fraction(), "0")) <= 9 && !v.LeapSecond() && !w.IsZero() && !v.Equal(w) {
			t.Fatalf("%v comes back as %v", v, w)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("2000-12-13T13:40:00.123-08:00", CPIM); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFromTime(b *testing.B) {
	at := time.Date(2001, 2, 3, 4, 5, 6, 123_000_000, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		_ = FromTime(at)
	}
}
