package load

import (
	"math/bits"
	"time"
)

// Histogram counts durations: exact below 64 µs, within 1/32 above. The zero value is empty. It is not safe for use from several goroutines.
type Histogram struct {
	buckets [1024]uint64
	count   uint64
	most    time.Duration
}

const subBits = 5

// slotOf is the bucket of a duration in microseconds.
func slotOf(us uint64) int {
	if us < 1<<(subBits+1) {
		return int(us)
	}
	e := bits.Len64(us) - subBits - 1
	return min(e<<subBits+int(us>>e), 1023)
}

// upper is the largest duration that falls into a bucket.
func upper(slot int) time.Duration {
	if slot < 1<<(subBits+1) {
		return time.Duration(slot) * time.Microsecond
	}
	e := slot>>subBits - 1
	us := (uint64(slot-e<<subBits)+1)<<e - 1
	return time.Duration(us) * time.Microsecond
}

// Add counts one duration; a negative one counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.buckets[slotOf(uint64(d/time.Microsecond))]++
	h.count++
	h.most = max(h.most, d)
}

// Merge adds what another one has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.count += o.count
	h.most = max(h.most, o.most)
}

// Count is how many durations were added.
func (h *Histogram) Count() uint64 { return h.count }

// Quantile is the duration that a share q (0 to 1) of all are not over; 0 if there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.count))
	var seen uint64
	for i, n := range h.buckets {
		if seen += n; n > 0 && seen >= max(rank, 1) {
			return min(upper(i), h.most)
		}
	}
	return h.most
}
