package cpim

import (
	"encoding/hex"

	"golang.org/x/text/secure/precis"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// Instance names one device of an address: the value of a "gr" parameter in
// SIP (RFC 5627), a resourcepart in XMPP; RFC 7247 §6.3 maps one to the other.
// It is one to 1023 octets of UTF-8 that the OpaqueString profile of PRECIS
// leaves as they are (RFC 7622 §3.4). The zero Instance is none. Values are
// comparable.
type Instance struct{ s string }

// MaxInstanceOctets bounds an Instance (RFC 7622 §3.4).
const MaxInstanceOctets = 1023

// NewInstance makes an Instance from decoded text. The error is a
// *SyntaxError.
func NewInstance(s string) (Instance, error) {
	const section = "RFC 7622 §3.4"
	if s == "" {
		return Instance{}, syntax.At(s, 0, "instance-empty", section, "a value")
	}
	if len(s) > MaxInstanceOctets {
		return Instance{}, syntax.At(s, MaxInstanceOctets, "instance-length", section, "at most 1023 octets")
	}
	// As for local parts: UTF-8 before normalization (CVE-2026-56852).
	if err := checkText(s, nil); err != nil {
		return Instance{}, err
	}
	for i := range len(s) {
		if s[i] >= 0x80 {
			o, err := precis.OpaqueString.String(s)
			if err != nil || o != s {
				return Instance{}, &syntax.Error{Rule: "instance-precis", Section: section, Expected: "characters that OpaqueString leaves as they are", Cause: err}
			}
			break
		}
	}
	return Instance{s}, nil
}

// InstanceFromHex is a lenient reader of a "gr" value that is the hexadecimal
// digits of the resource's UTF-8 octets, and reports whether it is.
// COMPAT(SylkServer, 5): it writes resources so. A resource of another peer may
// look the same, so use it only for peers known to be SylkServer.
func InstanceFromHex(gr string) (Instance, bool) {
	b, err := hex.DecodeString(gr)
	if err != nil {
		return Instance{}, false
	}
	i, err := NewInstance(string(b))
	return i, err == nil
}

// String returns the text, decoded.
func (i Instance) String() string { return i.s }

// IsZero reports whether i is no instance.
func (i Instance) IsZero() bool { return i.s == "" }
