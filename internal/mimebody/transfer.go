package mimebody

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim/syntax"
)

// Decoded is the part's body with its Content-Transfer-Encoding undone.
func (p *Part) Decoded() ([]byte, error) {
	b, err := Decode(p.Header("Content-Transfer-Encoding"), p.Raw())
	if e, ok := err.(*syntax.Error); ok {
		return nil, e.Shift(p.Offset + len(p.Bytes()) - len(p.Raw()))
	}
	return b, err
}

// Decode undoes a transfer encoding (RFC 2045 §6): 7bit, 8bit, binary, "" for none, base64, quoted-printable. The result is never longer
// than b, and is b itself where nothing was encoded. The error is a *SyntaxError for octets that are not of the encoding, and wraps
// ErrUnsupported for an encoding that is not known: "Any entity with an unrecognized Content-Transfer-Encoding must be treated as if it
// has a Content-Type of "application/octet-stream"" (RFC 2045 §6.4).
func Decode(encoding string, b []byte) ([]byte, error) {
	switch strings.ToLower(strings.Trim(encoding, " \t")) {
	case "", "7bit", "8bit", "binary":
		return b, nil
	case "base64":
		return decodeBase64(b)
	case "quoted-printable":
		return decodeQuotedPrintable(b)
	}
	return nil, fmt.Errorf("%w: transfer encoding %.64q", ErrUnsupported, encoding)
}

// decodeBase64 takes line breaks and white space between the characters (RFC 2045 §6.8) and nothing else outside of the alphabet, which
// "must be ignored" there for what mail may have done to it and would let readers differ here.
func decodeBase64(b []byte) ([]byte, error) {
	clean := make([]byte, 0, len(b))
	for i, c := range b {
		switch {
		case c == '\r' || c == '\n' || c == ' ' || c == '\t':
		case c-'0' < 10, (c|0x20)-'a' < 26, c == '+', c == '/', c == '=':
			clean = append(clean, c)
		default:
			return nil, syntax.At(b, i, "base64", "RFC 2045 §6.8", "a character of the base64 alphabet")
		}
	}
	n, err := base64.StdEncoding.Strict().Decode(clean, clean)
	if err != nil {
		return nil, &syntax.Error{Offset: len(b), Rule: "base64", Section: "RFC 2045 §6.8", Expected: "groups of four characters, padded at the end"}
	}
	return clean[:n], nil
}

// decodeQuotedPrintable undoes RFC 2045 §6.7. White space at the end of a line is deleted (rule 3); both cases of hexadecimal digits are
// taken; lines are not measured, since a body in SIP has passed no mail relay.
func decodeQuotedPrintable(b []byte) ([]byte, error) {
	const section = "RFC 2045 §6.7"
	out := make([]byte, 0, len(b))
	for at := 0; at < len(b); {
		end, next, ended := len(b), len(b), false
		if i := bytes.Index(b[at:], []byte("\r\n")); i >= 0 {
			end, next, ended = at+i, at+i+2, true
		}
		line := bytes.TrimRight(b[at:end], " \t")
		soft := len(line) > 0 && line[len(line)-1] == '='
		if soft {
			line = line[:len(line)-1]
		}
		for i := 0; i < len(line); i++ {
			c := line[i]
			switch {
			case c == '=':
				if i+2 >= len(line) {
					return nil, syntax.At(b, at+i, "quoted-printable", section, "two hexadecimal digits after '='")
				}
				hi, lo := hexDigit(line[i+1]), hexDigit(line[i+2])
				if hi < 0 || lo < 0 {
					return nil, syntax.At(b, at+i, "quoted-printable", section, "two hexadecimal digits after '='")
				}
				out = append(out, byte(hi<<4|lo))
				i += 2
			case c == '\t' || c >= ' ' && c < 0x7F:
				out = append(out, c)
			default:
				return nil, syntax.At(b, at+i, "quoted-printable", section, "a printable US-ASCII character")
			}
		}
		if ended && !soft {
			out = append(out, '\r', '\n')
		}
		at = next
	}
	return out, nil
}

func hexDigit(c byte) int {
	switch {
	case c-'0' < 10:
		return int(c - '0')
	case (c|0x20)-'a' < 6:
		return int((c|0x20)-'a') + 10
	}
	return -1
}
