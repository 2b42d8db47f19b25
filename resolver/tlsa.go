package resolver

import (
	"encoding/hex"
	"strconv"
)

// TLSAStatus says what is known about DANE records for a Target. The zero value is that nobody asked.
type TLSAStatus uint8

// The states of the TLSA question. Only TLSASecure carries records, and only TLSAFailed forbids TLS altogether.
const (
	TLSAUnasked  TLSAStatus = iota // DANE is off, or the target does not use TLS
	TLSAInsecure                   // the chain to the target, or the answer, was not authenticated: use PKIX alone
	TLSANone                       // an authenticated answer says that there is none: use PKIX alone
	TLSASecure                     // Target.TLSA has at least one usable authenticated record
	TLSAFailed                     // the question got no authentic answer where one was due: RFC 7673 §3.3 forbids using the target
)

var tlsaStatusNames = [...]string{"unasked", "insecure", "none", "secure", "failed"}

// String is the status in one word.
func (s TLSAStatus) String() string {
	if int(s) < len(tlsaStatusNames) {
		return tlsaStatusNames[s]
	}
	return "unknown"
}

// MarshalText writes String.
func (s TLSAStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// TLSA is one record of RFC 6698 §2.1. Values are as they came; an adapter skips a usage, selector or matching type that it does
// not know (RFC 6698 §4.1).
type TLSA struct {
	Usage        uint8  // RFC 6698 §2.1.1
	Selector     uint8  // RFC 6698 §2.1.2
	MatchingType uint8  // RFC 6698 §2.1.3
	Data         string // octets of the association, at most 4,096
}

// String is the record's presentation form.
func (t TLSA) String() string {
	return strconv.Itoa(int(t.Usage)) + " " + strconv.Itoa(int(t.Selector)) + " " + strconv.Itoa(int(t.MatchingType)) + " " +
		hex.EncodeToString([]byte(t.Data))
}

// maxTLSA is the number of records kept for one target, maxTLSAData the octets of one.
const (
	maxTLSA     = 16
	maxTLSAData = 4096
)

// packTLSA lays records end to end in one string, so that a Target stays comparable: usage, selector, matching type, two octets
// of length, data.
func packTLSA(recs []TLSA) string {
	var b []byte
	for i, t := range recs {
		if i == maxTLSA {
			break
		}
		if len(t.Data) > maxTLSAData {
			continue
		}
		b = append(b, t.Usage, t.Selector, t.MatchingType, byte(len(t.Data)>>8), byte(len(t.Data)))
		b = append(b, t.Data...)
	}
	return string(b)
}

// TLSAStatus is what is known about DANE for this target; see the constants.
func (t Target) TLSAStatus() TLSAStatus { return t.tlsa }

// TLSA are the authenticated records of _port._tcp.host, in the order of the answer. Empty unless TLSAStatus is TLSASecure. The
// slice is the caller's.
func (t Target) TLSA() []TLSA {
	var recs []TLSA
	for s := t.tlsaWire; len(s) >= 5; {
		n := int(s[3])<<8 | int(s[4])
		if len(s) < 5+n {
			break
		}
		recs = append(recs, TLSA{Usage: s[0], Selector: s[1], MatchingType: s[2], Data: s[5 : 5+n]})
		s = s[5+n:]
	}
	return recs
}
