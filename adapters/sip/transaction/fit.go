package transaction

import (
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// fits reports whether a response of n octets may go to where a request of size octets came from, over UDP, where nobody has proven
// that this is who sent it: at most 1.2 times as much goes back, in one packet, so that a forged source gains nothing (THREATS S11).
func fits(n, size int) bool { return n*amplifyOf <= size*amplifyMost }

const amplifyMost, amplifyOf = 6, 5

// shortTag is how many characters of a random tag are kept where there is no room for all: 13 of 5 bits each are 65 bits (THREATS S16).
const shortTag = 13

// fit writes a response for UDP to a request of size octets, shortened as far as needed until it fits: first go the header fields that
// are only useful (spare), the last one first, then what RFC 7339 says, the phrase, the long names, much of the tag, and of an error
// response its other header fields, the last one first. ok tells whether it fits then. dst must be empty.
func fit(dst []byte, req *wire.Message, r wire.Response, spare []wire.Header, size int) (b []byte, ok bool, err error) {
	own := r.Headers
	for n := len(spare); n >= 0; n-- {
		if r.Headers = own; n > 0 {
			r.Headers = append(own[:len(own):len(own)], spare[:n]...)
		}
		if b, err = wire.AppendResponse(dst, req, r); err != nil || fits(len(b), size) {
			return b, true, err
		}
		dst = b[:0]
	}
	steps := [...]func(){
		func() { r.Hop.Overload = wire.Overload{} },
		func() { r.Reason = "" },
		func() { r.Compact = true },
		func() {
			if !r.Packed.IsZero() && r.ToTag == "" {
				r.ToTag = wire.UnpackTag(r.Packed)
			}
			r.ToTag = r.ToTag[:min(len(r.ToTag), shortTag)]
		},
	}
	for _, shorten := range steps {
		shorten()
		if b, err = wire.AppendResponse(dst, req, r); err != nil || fits(len(b), size) {
			return b, true, err
		}
		dst = b[:0]
	}
	least := 0
	if r.Code == 401 || r.Code == 407 {
		least = 1 // a challenge that asks nothing would be none; the first one is the strongest (RFC 8760 §2.3)
	}
	for r.Code >= 300 && len(r.Headers) > least {
		r.Headers = r.Headers[:len(r.Headers)-1]
		if b, err = wire.AppendResponse(dst, req, r); err != nil || fits(len(b), size) {
			return b, true, err
		}
		dst = b[:0]
	}
	return b, false, nil
}
