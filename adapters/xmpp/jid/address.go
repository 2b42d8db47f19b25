package jid

import (
	"errors"

	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// ToAddress returns the im: or pres: address of j's bare form. It fails with a *SyntaxError if j has no localpart, is at an address
// literal, or has a localpart that no canonical address escapes to.
//
// The last is the bijection that RFC 7247 §6.5 alone does not give: two JIDs never have one address, because the address is mapped
// back and must be j again ("\5c41" and "\41" would both read "\41").
func ToAddress(j JID, scheme cpim.Scheme) (cpim.Address, error) {
	if j.local == 0 {
		return cpim.Address{}, &SyntaxError{Rule: "localpart", Section: "RFC 7247 §6.5", Expected: "an address with a localpart"}
	}
	local := Unescape(j.Local())
	if len(local) != int(j.local) { // an escape was undone
		back, err := Escape(local)
		if err != nil {
			return cpim.Address{}, err
		}
		if back != j.Local() {
			return cpim.Address{}, errBijection()
		}
	}
	a, err := cpim.NewAddress(scheme, local, j.Domain())
	if err != nil {
		return cpim.Address{}, fromCPIM(err)
	}
	// Canonical forms of the two packages agree, or the address is refused.
	if a.Local() != local {
		return cpim.Address{}, errBijection()
	}
	return a, nil
}

// FromAddress returns the JID of an im: or pres: address, with the instance as its resourcepart, or a bare JID if that is "". It
// fails with a *SyntaxError if the address or the instance cannot be carried: RFC 7247 §6.4 with all of XEP-0106, and then mapped
// back, which must give a again.
func FromAddress(a cpim.Address, instance string) (JID, error) {
	if a.IsZero() {
		return JID{}, &SyntaxError{Rule: "address", Section: "RFC 7247 §6.4", Expected: "an address"}
	}
	local, err := Escape(a.Local())
	if err != nil {
		return JID{}, err
	}
	j, err := New(Parts{Local: local, Domain: a.Domain(), Resource: instance})
	if err != nil {
		return JID{}, err
	}
	if j.Local() != local || instance != "" && j.Resource() != instance {
		return JID{}, errBijection()
	}
	if len(local) != len(a.Local()) && Unescape(local) != a.Local() {
		return JID{}, errBijection()
	}
	if j.Domain() != a.Domain() { // A-labels there, U-labels here
		back, err := cpim.NewAddress(a.Scheme(), a.Local(), j.Domain())
		if err != nil || back != a {
			return JID{}, errBijection()
		}
	}
	return j, nil
}

func errBijection() error {
	return &SyntaxError{Rule: "bijection", Section: "RFC 7247 §6.2", Expected: "an address that maps back to itself"}
}

// fromCPIM says a fault of package cpim in this package's terms, without the excerpt of the input that it may hold.
func fromCPIM(err error) error {
	var se *syntax.Error
	if errors.As(err, &se) {
		return &SyntaxError{Offset: se.Offset, Rule: se.Rule, Section: se.Section, Expected: se.Expected}
	}
	return errBijection()
}
