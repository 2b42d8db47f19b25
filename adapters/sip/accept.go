package sip

import (
	"strconv"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// form is how presence is written to a watcher.
type form uint8

const (
	formNone    form = iota // the watcher takes none that is produced
	formWhole               // pidf.MediaType
	formPartial             // pidf.MediaTypeDiff
)

// acceptedForm is what Accept prefers: by its "q" values, "the presence agent SHOULD base the decision on those preferences" (RFC 5263
// §4.3). Partial documents go only to those who name them. Who names both alike wants them, because a watcher that takes them must name
// the other type beside (RFC 3856 §6.5). Without Accept it is the whole (RFC 3856 §6.5).
func acceptedForm(req *wire.Message) form {
	_, given := req.Header("Accept") // an empty one takes nothing (RFC 3261 §20.1)
	whole, rank, partial := 0.0, 0, 0.0
	for v := range req.Headers("Accept") {
		media, q := acceptRange(v)
		// The more a range says, the more it counts (RFC 3261 §20.1, as in HTTP).
		at := 0
		switch media {
		case "*/*":
			at = 1
		case "application/*":
			at = 2
		case acceptedPresence:
			at = 3
		case pidf.MediaTypeDiff:
			partial = q
		}
		if at > rank {
			whole, rank = q, at
		}
	}
	switch {
	case !given:
		return formWhole
	case partial > 0 && partial >= whole:
		return formPartial
	case whole > 0:
		return formWhole
	}
	return formNone
}

// acceptRange is a media range in lower case and its preference, 1 if it says none or none that is a number.
func acceptRange(v string) (media string, q float64) {
	media, params := splitParams(v)
	q = 1
	for name, value := range params {
		if name == "q" {
			if n, err := strconv.ParseFloat(value, 64); err == nil && n >= 0 && n <= 1 {
				q = n
			}
			break // what follows "q" belongs to the range no more
		}
	}
	return strings.ToLower(media), q
}

// optionalBody tells whether the sender says that a body which is not understood can be left aside: "If the handling parameter has the
// value of "optional", the UAS MUST ignore the message body" (RFC 3261 §20.11); without the parameter it is required.
func optionalBody(req *wire.Message) bool {
	v, given := req.Header("Content-Disposition")
	if !given {
		return false
	}
	_, params := splitParams(v)
	for name, value := range params {
		if name == "handling" {
			return strings.EqualFold(value, "optional")
		}
	}
	return false
}
