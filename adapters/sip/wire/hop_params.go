package wire

import (
	"strings"
	"time"
)

// HopParams are the parameters that a client adds to its Via, for the next hop alone.
type HopParams struct {
	// Alias offers this connection for requests the other way (RFC 5923 §8.1).
	Alias bool
	// Keep offers to send keep-alives (RFC 6223 §4.3).
	Keep bool
	// Overload offers to obey the loss-based overload control of RFC 7339 §5.1.
	Overload bool
}

// append writes the parameters.
func (p HopParams) append(dst []byte) []byte {
	if p.Alias {
		dst = append(dst, ";alias"...)
	}
	if p.Keep {
		dst = append(dst, ";keep"...)
	}
	if p.Overload {
		dst = append(dst, `;oc;oc-algo="loss"`...)
	}
	return dst
}

// HopAnswer is what a server writes into the topmost Via of a response beside received and rport.
type HopAnswer struct {
	// Keep is how often, in seconds, the client shall send keep-alives, if it has offered to (RFC 6223 §4.4). 0 writes nothing.
	Keep int
	// Overload answers a client that offers overload control. The zero value writes nothing.
	Overload Overload
	// NoReceived leaves received and rport out, as RFC 7118 §5.3 allows over WebSocket, where responses have one way only.
	NoReceived bool
}

// Overload is the state of RFC 7339 that a server tells its client. The zero value is none.
type Overload struct {
	// Loss is the share of requests that must not be sent, from 0 to 100 percent.
	Loss int
	// Validity is how long that holds, in whole milliseconds; 0 ends overload control.
	Validity time.Duration
	// Seq orders the values of one server: units of 10 microseconds, below 10**17 (RFC 7339 §9). 0 means that there is no Overload.
	Seq uint64
}

// IsZero reports whether o is none.
func (o Overload) IsZero() bool { return o.Seq == 0 }

const (
	// defaultValidity is RFC 7339 §4.3: "The default value of the "oc-validity" parameter is 500 (milliseconds)".
	defaultValidity = 500 * time.Millisecond
	// maxValidity bounds what a server may ask for: a faulty or hostile one cannot stop us for longer.
	maxValidity = time.Minute
	seqFraction = 100_000
)

// append writes oc, oc-algo, oc-validity and oc-seq.
func (o Overload) append(dst []byte) []byte {
	dst = appendUint(append(dst, ";oc="...), uint64(max(0, min(o.Loss, 100))))
	dst = appendUint(append(dst, `;oc-algo="loss";oc-validity=`...), uint64(max(0, o.Validity/time.Millisecond)))
	dst = appendUint(append(dst, ";oc-seq="...), o.Seq/seqFraction)
	dst = append(dst, '.')
	fraction := o.Seq % seqFraction
	for unit := uint64(seqFraction / 10); unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+fraction/unit%10))
	}
	return dst
}

// OffersOverload reports whether the sender of a request obeys loss-based overload control (RFC 7339 §5.1): oc and an oc-algo that
// lists "loss".
func (v Via) OffersOverload() bool {
	if v.hop&hopOverload == 0 {
		return false
	}
	list, ok := v.Param("oc-algo")
	for ok && list != "" {
		var algo string
		algo, list, _ = strings.Cut(list, ",")
		if equalFold(trimSpace(algo), "loss") {
			return true
		}
	}
	return false
}

// OffersKeep reports whether the sender of a request offers to send keep-alives (RFC 6223 §4.3).
func (v Via) OffersKeep() bool {
	if v.hop&hopKeep == 0 {
		return false
	}
	value, ok := v.Param("keep")
	return ok && value == ""
}

// OffersAlias reports whether the sender of a request takes requests over the same connection (RFC 5923 §8.2).
func (v Via) OffersAlias() bool { return v.hop&hopAlias != 0 }

// KeepInterval is how often keep-alives are wanted, as a response says it: ok is false if they are not wanted at all, and zero means
// at the sender's discretion (RFC 6223 §5). It is at most a day.
func (v Via) KeepInterval() (interval time.Duration, ok bool) {
	if v.hop&hopKeep == 0 {
		return 0, false
	}
	value, _ := v.Param("keep")
	n, ok := parseUint(value, 86400)
	return time.Duration(n) * time.Second, ok
}

// Overload is what the server that sent a response asks for. ok is false if it asks for nothing that we know: no value of oc, another
// algorithm than "loss" alone, a share over 100, or a malformed value. Without oc-seq, which RFC 7339 §4.4 demands, Seq is 0 and the
// value stands for itself.
func (v Via) Overload() (o Overload, ok bool) {
	if v.hop&hopOverload == 0 {
		return Overload{}, false
	}
	value, _ := v.Param("oc")
	n, ok := parseUint(value, 100)
	if !ok {
		return Overload{}, false
	}
	if algo, given := v.Param("oc-algo"); given && !equalFold(trimSpace(algo), "loss") {
		return Overload{}, false
	}
	o.Loss, o.Validity = int(n), defaultValidity
	if value, given := v.Param("oc-validity"); given && value != "" {
		n, ok := parseUint(value, 1<<40)
		if !ok {
			return Overload{}, false
		}
		o.Validity = min(time.Duration(min(n, uint64(maxValidity/time.Millisecond)))*time.Millisecond, maxValidity)
	}
	if value, given := v.Param("oc-seq"); given {
		if o.Seq, ok = parseSeq(value); !ok {
			return Overload{}, false
		}
	}
	return o, true
}

// parseSeq reads oc-seq = 1*12DIGIT "." 1*5DIGIT as a decimal number of seconds.
func parseSeq(s string) (uint64, bool) {
	whole, fraction, ok := strings.Cut(s, ".")
	if !ok || len(whole) > 12 || fraction == "" || len(fraction) > 5 {
		return 0, false
	}
	seconds, ok := parseUint(whole, 999_999_999_999)
	if !ok {
		return 0, false
	}
	part, ok := parseUint(fraction, 99_999)
	for i := len(fraction); i < 5; i++ {
		part *= 10
	}
	return seconds*seqFraction + part, ok
}

// The parameters that a Via may have for the next hop alone, as far as they are looked for in every message.
const (
	hopOverload uint8 = 1 << iota
	hopKeep
	hopAlias
)

// replaces tells the parameters that a server writes anew when it has an answer for them.
func (h *HopAnswer) replaces(name string) bool {
	switch len(name) {
	case len("oc"), len("oc-seq"), len("oc-algo"), len("oc-validity"):
		return !h.Overload.IsZero() && (equalFold(name, "oc") || equalFold(name, "oc-seq") || equalFold(name, "oc-algo") || equalFold(name, "oc-validity"))
	case len("keep"):
		return h.Keep > 0 && equalFold(name, "keep")
	}
	return false
}
