package passport

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// Identity is an identity as a PASSporT has it (RFC 8225 §5.2.1): a telephone number or a URI in their canonical forms. It is made by
// Canonical alone and compares with ==.
type Identity struct {
	// Type is the claim's name: "tn" or "uri".
	Type string
	// Value is the number's digits, or the URI.
	Value string
	// Domain is the host of a URI, "" for a number.
	Domain string
}

// Canonical makes the identity of a URI of From or To by RFC 8224 §8.1, §8.3 and §8.5; false if it has none: a scheme that is neither sip,
// sips nor tel, a URI without a user.
func Canonical(u wire.URI) (Identity, bool) {
	if tn, ok := telephoneNumber(u); ok {
		return Identity{Type: "tn", Value: tn}, true
	}
	// "canon-uri = ( "sip" / "sips" ) ":" user "@" host"
	if !u.IsSIP() || u.User() == "" {
		return Identity{}, false
	}
	host := strings.ToLower(u.Host())
	return Identity{Type: "uri", Value: strings.ToLower(u.Scheme()) + ":" + normalUser(u.User()) + "@" + host, Domain: host}, true
}

// telephoneNumber is the number of a URI that says it is one (RFC 8224 §8.3).
func telephoneNumber(u wire.URI) (string, bool) {
	var text string
	switch {
	case u.IsSIP():
		if phone, ok := u.Param("user"); !ok || !strings.EqualFold(phone, "phone") {
			return "", false
		}
		text = u.User()
	case strings.EqualFold(u.Scheme(), "tel"):
		text = u.String()[len("tel:"):]
	default:
		return "", false
	}
	number, params, _ := strings.Cut(text, ";")
	number, err := wire.Unescape(number)
	if err != nil {
		return "", false
	}
	if strings.Contains(strings.ToLower(params), "phone-context") {
		return "", false // a local number, whose country nobody here knows
	}
	// "Implementations MUST drop any "+"s, internal dashes, parentheses, or other non-numeric characters, except for the "#" or "*"
	// keys". What is no visual separator of RFC 3966 §3 makes it no number.
	var tn strings.Builder
	for i := range len(number) {
		switch c := number[i]; {
		case '0' <= c && c <= '9' || c == '#' || c == '*':
			tn.WriteByte(c)
		case c == '+' && i == 0 || c == '-' || c == '.' || c == '(' || c == ')':
		default:
			return "", false
		}
	}
	// ITU-T E.164 has at most 15 digits.
	if n := tn.Len(); n == 0 || n > 15 {
		return "", false
	}
	return tn.String(), true
}

// normalUser is the user in lower case, with percent-encoding only where RFC 3986 §2.3 asks for it, in upper case (RFC 3986 §6.2.2.1).
func normalUser(user string) string {
	var b strings.Builder
	for i := 0; i < len(user); i++ {
		c := user[i]
		if c != '%' || i+2 >= len(user) {
			b.WriteByte(lower(c))
			continue
		}
		octet := unhex(user[i+1])<<4 | unhex(user[i+2])
		if isAlphanumeric(octet) || octet == '-' || octet == '.' || octet == '_' || octet == '~' {
			b.WriteByte(lower(octet))
		} else {
			b.WriteString(strings.ToUpper(user[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func unhex(c byte) byte {
	switch c = lower(c); {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0
}
