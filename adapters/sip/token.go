package sip

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/cpim/imdn"
)

// The core's identifiers (a thread, a transaction's name) are any text; the SIP and CPIM fields that carry them are not. A
// text that the field can carry stands for itself, which every usual UUID does. Any other is written as codedPrefix and its
// octets in base64url, whose characters are allowed in both fields. A text that is itself such a code is coded again, so the
// mapping is injective and field and text tell each other exactly.
const codedPrefix = "x-b64u-"

// maxIdentifier bounds what is written as an identifier, in octets of the field. XMPP ids and threads are rarely over 64.
const maxIdentifier = 512

// callIDOf is the Call-ID of a thread (RFC 7572 §4, Table 1), or "" for no thread and for one that is too long
// to be carried, or is not UTF-8.
func callIDOf(thread string) string { return codedField(thread, isCallID) }

// threadOf is the thread of a Call-ID (RFC 7572 §5, Table 2).
func threadOf(callID string) string { return decodedField(callID, isCallID) }

// messageIDOf is the imdn.Message-ID of a transaction's name (RFC 5438 §6.3), or "" if it has none or one that is too long. A Message-ID
// that came must go back as it came, so its token is that of RFC 3862 §3.6, which is wider than SIP's.
func messageIDOf(transID string) string { return codedField(transID, imdn.ValidMessageID) }

// transIDOf is the transaction's name of an imdn.Message-ID.
func transIDOf(messageID string) string { return decodedField(messageID, imdn.ValidMessageID) }

func codedField(text string, fits func(string) bool) string {
	switch {
	case text == "":
		return ""
	case len(text) <= maxIdentifier && fits(text) && decodedField(text, fits) == text:
		return text
	case base64.RawURLEncoding.EncodedLen(len(text))+len(codedPrefix) > maxIdentifier, !utf8.ValidString(text):
		return ""
	}
	return codedPrefix + base64.RawURLEncoding.EncodeToString([]byte(text))
}

func decodedField(field string, fits func(string) bool) string {
	coded, ok := strings.CutPrefix(field, codedPrefix)
	if !ok {
		return field
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(coded)
	// What we would not have written so was not written by us: it stands for itself.
	if err != nil || !utf8.Valid(b) || codedField(string(b), fits) != field {
		return field
	}
	return string(b)
}

// isCallID tells whether s is word [ "@" word ] (RFC 3261 §25.1, callid).
func isCallID(s string) bool {
	at := strings.IndexByte(s, '@')
	if at < 0 {
		return isWord(s)
	}
	return isWord(s[:at]) && isWord(s[at+1:])
}

// isWord is RFC 3261's word: token's characters and ( ) < > : \ " / [ ] ? { }.
func isWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isTokenByte(c) && strings.IndexByte("()<>:\\\"/[]?{}", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isToken tells whether s is a token (RFC 3261 §25.1).
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	return c-'0' < 10 || (c|0x20)-'a' < 26 || strings.IndexByte("-.!%*_+`'~", c) >= 0
}
