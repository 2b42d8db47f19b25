package certs

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of one subjectAltName: names in it, and octets of one name. What is larger spoils the certificate.
const (
	maxNames     = 1024
	maxNameBytes = 2048
)

// Names are the identifiers in a certificate's subjectAltName that can prove a domain, in the order in which they stand there and
// with the letters that they have there. Each is free of NUL, blanks and controls.
type Names struct {
	// DNS are the dNSNames (RFC 5280 §4.2.1.6), wildcards among them: ASCII letters, digits and -._* only.
	DNS []string
	// URI are the uniformResourceIdentifiers: printable ASCII.
	URI []string
	// SRV are the SRVNames (id-on-dnsSRV): "_service.name", of the octets of DNS.
	SRV []string
	// XMPPAddr are the XmppAddrs (RFC 6120 §13.7.1.4): UTF-8.
	XMPPAddr []string
	// Present says that there is a subjectAltName at all, whatever is in it.
	Present bool
}

// ParseNames reads the subjectAltName of c. A certificate without one has no names; that is no error. It fails with *Error.
func ParseNames(c *x509.Certificate) (Names, error) {
	var value []byte
	present := false
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		if present {
			// RFC 5280 §4.2: "A certificate MUST NOT include more than one instance of a particular extension."
			return Names{}, Fault("san-twice", "RFC 5280 §4.2", "there is more than one subjectAltName")
		}
		present, value = true, e.Value
	}
	if !present {
		return Names{}, nil
	}
	return ParseSAN(value)
}

// ParseSAN reads the value of a subjectAltName extension (DER). It fails with *Error for anything but one sequence of well-formed
// names.
func ParseSAN(der []byte) (Names, error) {
	p := sanReader{whole: der}
	all, rest, ok := p.element(der)
	if !ok || len(rest) != 0 || all.Class != asn1.ClassUniversal || all.Tag != asn1.TagSequence || !all.IsCompound {
		return Names{}, p.fault(der, "san-der", sectionSAN, "one SEQUENCE in DER")
	}
	p.names.Present = true
	for n, left := 0, all.Bytes; len(left) > 0; n++ {
		if n == maxNames {
			return Names{}, p.fault(left, "san-count", "", "at most 1024 names")
		}
		name, rest, ok := p.element(left)
		if !ok || name.Class != asn1.ClassContextSpecific {
			return Names{}, p.fault(left, "san-der", sectionSAN, "a GeneralName in DER")
		}
		if err := p.general(name); err != nil {
			return Names{}, err
		}
		left = rest
	}
	return p.names, nil
}

const (
	sectionSAN      = "RFC 5280 §4.2.1.6"
	sectionXMPPAddr = "RFC 6120 §13.7.1.4"
)

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidXMPPAddr       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
	oidSRVName        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}
)

// The tags of GeneralName (RFC 5280 §4.2.1.6).
const (
	tagOtherName = 0
	tagDNS       = 2
	tagX400      = 3
	tagDirectory = 4
	tagEDIParty  = 5
	tagURI       = 6
	tagOID       = 8
)

type sanReader struct {
	whole []byte
	names Names
}

func (p *sanReader) element(b []byte) (v asn1.RawValue, rest []byte, ok bool) {
	rest, err := asn1.Unmarshal(b, &v)
	return v, rest, err == nil
}

// fault places the error at where at begins: at is a part of whole that was cut at its end only by length, so that the capacities
// tell the distance.
func (p *sanReader) fault(at []byte, rule, section, expected string) *Error {
	return &Error{Rule: rule, Section: section, Detail: "expected " + expected, Offset: cap(p.whole) - cap(at)}
}

func (p *sanReader) general(v asn1.RawValue) error {
	compound := v.Tag == tagOtherName || v.Tag == tagX400 || v.Tag == tagDirectory || v.Tag == tagEDIParty
	if v.Tag > tagOID || v.IsCompound != compound {
		return p.fault(v.FullBytes, "san-der", sectionSAN, "a GeneralName in DER")
	}
	switch v.Tag {
	case tagOtherName:
		return p.other(v.Bytes)
	case tagDNS:
		if err := p.hostOctets(v.Bytes); err != nil {
			return err
		}
		p.names.DNS = append(p.names.DNS, string(v.Bytes))
	case tagURI:
		if err := p.octets(v.Bytes, sectionSAN, "printable ASCII", func(c byte) bool { return c > ' ' && c < 0x7f }); err != nil {
			return err
		}
		p.names.URI = append(p.names.URI, string(v.Bytes))
	}
	return nil // the other kinds prove no domain
}

// other reads the content of an otherName: SEQUENCE { type-id OBJECT IDENTIFIER, value [0] EXPLICIT ANY }, the SEQUENCE being
// implicit.
func (p *sanReader) other(b []byte) error {
	var id asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(b, &id)
	if err != nil {
		return p.fault(b, "san-other-name", sectionSAN, "an object identifier in DER")
	}
	outer, after, ok := p.element(rest)
	if !ok || len(after) != 0 || outer.Class != asn1.ClassContextSpecific || outer.Tag != 0 || !outer.IsCompound {
		return p.fault(rest, "san-other-name", sectionSAN, "one value in [0] in DER")
	}
	srv, addr := id.Equal(oidSRVName), id.Equal(oidXMPPAddr)
	if !srv && !addr {
		return nil
	}
	v, after, ok := p.element(outer.Bytes)
	if !ok || len(after) != 0 || v.Class != asn1.ClassUniversal || v.IsCompound {
		return p.fault(outer.Bytes, "san-other-name", sectionSAN, "one string in DER")
	}
	if srv {
		if v.Tag != asn1.TagIA5String {
			return p.fault(outer.Bytes, "san-srv-type", "", "an IA5String (RFC 4985)")
		}
		if err := p.hostOctets(v.Bytes); err != nil {
			return err
		}
		// RFC 4985: "_Service.Name".
		service, name, ok := strings.Cut(string(v.Bytes), ".")
		if !ok || len(service) < 2 || service[0] != '_' || name == "" {
			return p.fault(v.Bytes, "san-srv-form", "", "\"_service.name\" (RFC 4985)")
		}
		p.names.SRV = append(p.names.SRV, string(v.Bytes))
		return nil
	}
	if v.Tag != asn1.TagUTF8String {
		return p.fault(outer.Bytes, "san-xmpp-addr-type", sectionXMPPAddr, "a UTF8String")
	}
	if err := p.text(v.Bytes); err != nil {
		return err
	}
	p.names.XMPPAddr = append(p.names.XMPPAddr, string(v.Bytes))
	return nil
}

// hostOctets lets pass what a DNS name in a certificate is written with. The underscore is that of SRVName, and of some hosts.
func (p *sanReader) hostOctets(b []byte) error {
	return p.octets(b, sectionSAN, "letters, digits, '-', '_', '.' and '*'", func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '*'
	})
}

func (p *sanReader) octets(b []byte, section, expected string, fits func(byte) bool) error {
	if len(b) == 0 {
		// RFC 5280 §4.2.1.6: "If the subjectAltName extension is present, the sequence MUST contain at least one entry", and no
		// entry of " ". An empty one is neither a name nor a URI.
		return &Error{Rule: "name-empty", Section: section, Detail: "expected " + expected, Offset: -1}
	}
	if len(b) > maxNameBytes {
		return p.fault(b, "name-length", "", "at most 2048 octets")
	}
	if i := slices.IndexFunc(b, func(c byte) bool { return !fits(c) }); i >= 0 {
		return p.fault(b[i:], "name-octet", section, expected)
	}
	return nil
}

// text checks an XmppAddr's octets; whether it is a JID is seen when it is compared.
func (p *sanReader) text(b []byte) error {
	const expected = "UTF-8 without blanks and controls"
	switch {
	case len(b) == 0:
		return &Error{Rule: "name-empty", Section: sectionXMPPAddr, Detail: "expected " + expected, Offset: -1}
	case len(b) > maxNameBytes:
		return p.fault(b, "name-length", "", "at most 2048 octets")
	case !utf8.Valid(b):
		return p.fault(b, "name-octet", sectionXMPPAddr, expected)
	}
	for i, r := range string(b) {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return p.fault(b[i:], "name-octet", sectionXMPPAddr, expected)
		}
	}
	return nil
}
