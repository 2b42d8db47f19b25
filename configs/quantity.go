package configs

import (
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, never negative. In the file it is a number with a unit, or several: 500ms, 30s, 1h30m.
type Duration time.Duration

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the duration as the file has it.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (d *Duration) parse(s string) *valueFault {
	v, err := time.ParseDuration(s)
	switch {
	case isNumber(s):
		return &valueFault{quoted(s) + " has no unit", "write " + quoted(s+"s") + " for seconds, or ms, m, h"}
	case err != nil:
		return &valueFault{quoted(s) + " is no duration", "write a number and ms, s, m or h, as in 500ms, 30s, 24h"}
	case v < 0:
		return &valueFault{quoted(s) + " is negative", "write a duration from 0s"}
	}
	*d = Duration(v)
	return nil
}

func (d Duration) quantity() int64 { return int64(d) }

// Size is a number of octets, never negative. In the file it is a whole number with a unit: 1300B, 64KiB, 16MiB, 1GiB.
type Size int64

// Octets is the size as an int.
func (z Size) Octets() int { return int(z) }

var sizeUnits = []struct {
	unit  string
	shift int
}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"B", 0}}

// String is the size as the file has it, in the largest unit that divides it.
func (z Size) String() string {
	for _, u := range sizeUnits {
		if z != 0 && z%(1<<u.shift) == 0 {
			return strconv.FormatInt(int64(z)>>u.shift, 10) + u.unit
		}
	}
	return strconv.FormatInt(int64(z), 10) + "B"
}

func (z *Size) parse(s string) *valueFault {
	if isNumber(s) {
		return &valueFault{quoted(s) + " has no unit", "write " + quoted(s+"B") + " for octets, or KiB, MiB, GiB"}
	}
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 62-u.shift)
		if err != nil || digits[0] == '+' {
			break
		}
		*z = Size(n << u.shift)
		return nil
	}
	for _, decimal := range []string{"kB", "KB", "MB", "GB", "K", "M", "G", "k", "Ki", "Mi", "Gi"} {
		if digits, ok := strings.CutSuffix(s, decimal); ok && isNumber(digits) {
			return &valueFault{quoted(s) + " has no unit that is known", "write " + quoted(digits+strings.ToUpper(decimal[:1])+"iB")}
		}
	}
	return &valueFault{quoted(s) + " is no size", "write a whole number and B, KiB, MiB or GiB, as in 64KiB"}
}

func (z Size) quantity() int64 { return int64(z) }

// Count is a number of things. In the file it is a plain whole number.
type Count int64

// Int is the count as an int.
func (c Count) Int() int { return int(c) }

// String is the count as the file has it.
func (c Count) String() string { return strconv.FormatInt(int64(c), 10) }

func (c *Count) parse(s string) *valueFault {
	n, err := strconv.ParseInt(s, 10, 48)
	if err != nil || s[0] == '+' {
		return &valueFault{quoted(s) + " is no whole number", "write digits only, as in 1000"}
	}
	*c = Count(n)
	return nil
}

func (c Count) quantity() int64 { return int64(c) }

// Switch is on or off: true or false in the file.
type Switch bool

func (w *Switch) parse(s string) *valueFault {
	switch s {
	case "true", "false":
		*w = s == "true"
		return nil
	}
	return &valueFault{quoted(s) + " is neither on nor off", "write true or false"}
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}
