package stream

import (
	"encoding/base64"
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// SASLCondition is why an authentication failed (RFC 6120 §6.5). The zero value is none.
type SASLCondition uint8

// The conditions, all 11, in the order of RFC 6120.
const (
	SASLAborted SASLCondition = iota + 1
	SASLAccountDisabled
	SASLCredentialsExpired
	SASLEncryptionRequired
	SASLIncorrectEncoding
	SASLInvalidAuthzid
	SASLInvalidMechanism
	SASLMalformedRequest
	SASLMechanismTooWeak
	SASLNotAuthorized
	SASLTemporaryAuthFailure
	saslEnd
)

var saslNames = [saslEnd]string{
	"", "aborted", "account-disabled", "credentials-expired", "encryption-required", "incorrect-encoding", "invalid-authzid",
	"invalid-mechanism", "malformed-request", "mechanism-too-weak", "not-authorized", "temporary-auth-failure",
}

// String returns the element's name, "none" for the zero value.
func (c SASLCondition) String() string {
	if c == 0 || c >= saslEnd {
		return "none"
	}
	return saslNames[c]
}

// SASLFailure is a failed authentication as the peer told it.
type SASLFailure struct {
	Condition SASLCondition
	// Text is the peer's words, at most 256 octets; for the log only.
	Text string
}

// Error returns the condition; not the text, which is the peer's.
func (f *SASLFailure) Error() string {
	return "xmpp/stream: the peer refuses SASL EXTERNAL: " + f.Condition.String()
}

// readFailure reads a <failure/> element of SASL. "if an entity receives a SASL error condition that it does not understand then it
// MUST treat the unknown condition as a generic authentication failure, i.e., as equivalent to <not-authorized/>" (RFC 6120 §6.5).
func readFailure(e *strictxml.Element) *SASLFailure {
	f := &SASLFailure{Condition: SASLNotAuthorized}
	for c := range e.Children() {
		if c.Name.Space != SpaceSASL {
			continue
		}
		if c.Name.Local == "text" {
			f.Text = cut(c.Text())
			continue
		}
		for i := SASLAborted; i < saslEnd; i++ {
			if saslNames[i] == c.Name.Local {
				f.Condition = i
			}
		}
	}
	return f
}

func appendFailure(dst []byte, c SASLCondition) []byte {
	dst = append(dst, "<failure xmlns='"+SpaceSASL+"'><"...)
	dst = append(dst, c.String()...)
	return append(dst, "/></failure>"...)
}

// appendResponse appends the text of an initial response, or of a response: the authorization identity in base 64, or "=" for an empty
// one (RFC 6120 §6.4.2).
func appendResponse(dst []byte, authzid string) []byte {
	if authzid == "" {
		return append(dst, '=')
	}
	return base64.StdEncoding.AppendEncode(dst, []byte(authzid))
}

// readResponse reads what appendResponse writes. "Any XML character data contained within the XML elements MUST be encoded using base
// 64 ... where the padding bits are set to zero" (RFC 6120 §6.3.5), so nothing is passed over in it, line breaks neither.
func readResponse(text string) (authzid string, c SASLCondition) {
	if text == "=" {
		return "", 0
	}
	if strings.ContainsAny(text, "\r\n") {
		return "", SASLIncorrectEncoding
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", SASLIncorrectEncoding
	}
	return string(b), 0
}

// external decides what a response of the EXTERNAL mechanism is worth: claimed is the domain of the header, proven what the
// certificate says of it. 0 is success.
func external(response, claimed string, proven bool) SASLCondition {
	authzid, c := readResponse(response)
	switch {
	case c != 0:
		return c
	case !proven:
		return SASLNotAuthorized
	case authzid == "":
		// "If Server2 needs to assign an authorization identity during SASL negotiation, it SHOULD use the value of the 'from' attribute
		// of the stream header sent by Server1" (XEP-0178 §3).
		return 0
	}
	// "In the case of server-to-server communication, the value of an authorization identity MUST be a domainpart only" (RFC 6120
	// §6.3.8). Another one than that of the header would be a stream whose header says something else (RFC 6120 §6.4.6).
	if d, ok := domain(authzid); !ok || d != claimed {
		return SASLInvalidAuthzid
	}
	return 0
}

// cut returns at most maxText octets of a peer's words, whole characters.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}
