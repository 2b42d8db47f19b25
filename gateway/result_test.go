package gateway

import (
	"strconv"
	"testing"
	"time"
)

func TestAppendMillis(t *testing.T) {
	for _, us := range []int64{0, 1, 9, 10, 99, 100, 120, 999, 1000, 1001, 1010, 1100, 2000, 10_000, 12_345, 25_000_000, 999_999_999, -1, -1500} {
		d := time.Duration(us) * time.Microsecond
		if got, want := string(appendMillis(nil, d)), strconv.FormatFloat(float64(us)/1000, 'f', -1, 64); got != want {
			t.Errorf("%v: %q, should be %q", d, got, want)
		}
	}
	if got := string(appendMillis([]byte("x"), 1999*time.Nanosecond)); got != "x0.001" {
		t.Errorf("1999 ns: %q", got)
	}
}
