package mimebody

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/ianaindex"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// Text is the text of octets of type t in UTF-8; it is octets itself if they are UTF-8 or US-ASCII already. Without a charset parameter
// they are UTF-8: "media subtypes of the "text" type are defined to have a default charset value of "UTF-8"" (RFC 3261 §7.4.1).
//
// It is strict: octets that are no text of the charset are ErrUndecodable, never replaced by U+FFFD. A charset is known by the names that
// IANA gives it.
func Text(t cpim.ContentType, octets []byte) ([]byte, error) {
	charset, given := t.Param("charset")
	if !given {
		charset = "utf-8"
	}
	switch strings.ToLower(charset) {
	case "utf-8", "utf8":
		if !utf8.Valid(octets) {
			return nil, fmt.Errorf("%w: UTF-8", ErrUndecodable)
		}
		return octets, nil
	case "us-ascii", "ascii":
		for _, c := range octets {
			if c >= utf8.RuneSelf {
				return nil, fmt.Errorf("%w: US-ASCII", ErrUndecodable)
			}
		}
		return octets, nil
	}
	if len(charset) > 64 {
		return nil, ErrCharset
	}
	known, err := ianaindex.IANA.Encoding(charset)
	if err != nil || known == nil {
		return nil, fmt.Errorf("%w: %q", ErrCharset, charset)
	}
	text, err := known.NewDecoder().Bytes(octets)
	if err != nil || !utf8.Valid(text) {
		return nil, fmt.Errorf("%w: %q", ErrUndecodable, charset)
	}
	if bytes.ContainsRune(text, utf8.RuneError) {
		// What cannot be decoded is given as U+FFFD. It may have been written so: then it encodes to what came.
		back, err := known.NewEncoder().Bytes(text)
		if err != nil || !bytes.Equal(back, octets) {
			return nil, fmt.Errorf("%w: %q", ErrUndecodable, charset)
		}
	}
	return text, nil
}
