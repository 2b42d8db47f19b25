package stream

import (
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// The namespaces of negotiation.
const (
	SpaceTLS              = "urn:ietf:params:xml:ns:xmpp-tls"
	SpaceSASL             = "urn:ietf:params:xml:ns:xmpp-sasl"
	SpaceStanzas          = "urn:ietf:params:xml:ns:xmpp-stanzas"
	SpaceDialback         = "jabber:server:dialback"
	SpaceDialbackFeature  = "urn:xmpp:features:dialback"
	SpaceBidi             = "urn:xmpp:bidi"
	SpaceBidiFeature      = "urn:xmpp:features:bidi"
	SpaceManagement       = "urn:xmpp:sm:3"
	SpaceLimits           = "urn:xmpp:stream-limits:0"
	externalMechanism     = "EXTERNAL"
	maxIdleSeconds        = 1 << 31
	maxAnnouncedBytes     = 1 << 30
	maxMechanismsLookedAt = 64
)

// Features is what a receiving entity offers (RFC 6120 §4.3.2), as far as it is known here. What else is offered is passed over:
// stream compression (XEP-0138) above all, which is never used (THREATS.md X5).
type Features struct {
	StartTLS, StartTLSRequired bool
	// External is whether SASL EXTERNAL is among the mechanisms, SASL whether there are any.
	SASL, External bool
	// Dialback is whether <dialback/> is there, DialbackErrors whether it has <errors/> (XEP-0220 §2.3.2).
	Dialback, DialbackErrors bool
	Bidi                     bool // XEP-0288
	Management               bool // XEP-0198
	// MaxBytes is the largest element that the peer takes, in octets; IdleAfter how long it lets the stream be silent. Zero: it does not
	// say (XEP-0478).
	MaxBytes  int
	IdleAfter time.Duration
	// Need is whether a feature that is not known here has <required/>.
	Need bool
}

// readFeatures reads a <features/> element.
func readFeatures(e *strictxml.Element) (f Features) {
	for c := range e.Children() {
		switch c.Name {
		case strictxml.Name{Space: SpaceTLS, Local: "starttls"}:
			f.StartTLS, f.StartTLSRequired = true, c.Child(SpaceTLS, "required") != nil
		case strictxml.Name{Space: SpaceSASL, Local: "mechanisms"}:
			n := 0
			for m := range c.Children() {
				if n++; n > maxMechanismsLookedAt {
					break
				}
				if m.Name == (strictxml.Name{Space: SpaceSASL, Local: "mechanism"}) {
					f.SASL = true
					f.External = f.External || m.Text() == externalMechanism
				}
			}
		case strictxml.Name{Space: SpaceDialbackFeature, Local: "dialback"}:
			f.Dialback, f.DialbackErrors = true, c.Child(SpaceDialbackFeature, "errors") != nil
		case strictxml.Name{Space: SpaceBidiFeature, Local: "bidi"}:
			f.Bidi = true
		case strictxml.Name{Space: SpaceManagement, Local: "sm"}:
			f.Management = true
		case strictxml.Name{Space: SpaceLimits, Local: "limits"}:
			f.MaxBytes = number(c.Child(SpaceLimits, "max-bytes"), maxAnnouncedBytes)
			f.IdleAfter = time.Duration(number(c.Child(SpaceLimits, "idle-seconds"), maxIdleSeconds)) * time.Second
		default:
			// "it is RECOMMENDED that stream feature definitions for new mandatory-to-negotiate features do so by including an empty
			// <required/> element" (RFC 6120 §4.3.2).
			f.Need = f.Need || c.Child(c.Name.Space, "required") != nil
		}
	}
	return f
}

// number reads an element that holds a positive number, at most limit; 0 if it does not.
func number(e *strictxml.Element, limit int) int {
	if e == nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(e.Text()), 10, 62)
	if err != nil {
		return 0
	}
	return int(min(n, uint64(limit)))
}

// appendTo appends the <features/> element.
func (f *Features) appendTo(dst []byte) []byte {
	dst = append(dst, "<stream:features>"...)
	if f.StartTLS {
		dst = append(dst, "<starttls xmlns='"+SpaceTLS+"'>"...)
		if f.StartTLSRequired {
			dst = append(dst, "<required/>"...)
		}
		dst = append(dst, "</starttls>"...)
	}
	if f.External {
		dst = append(dst, "<mechanisms xmlns='"+SpaceSASL+"'><mechanism>"+externalMechanism+"</mechanism></mechanisms>"...)
	}
	if f.Dialback {
		dst = append(dst, "<dialback xmlns='"+SpaceDialbackFeature+"'>"...)
		if f.DialbackErrors {
			dst = append(dst, "<errors/>"...)
		}
		dst = append(dst, "</dialback>"...)
	}
	if f.Bidi {
		dst = append(dst, "<bidi xmlns='"+SpaceBidiFeature+"'/>"...)
	}
	if f.Management {
		dst = append(dst, "<sm xmlns='"+SpaceManagement+"'/>"...)
	}
	if f.MaxBytes > 0 || f.IdleAfter > 0 {
		dst = append(dst, "<limits xmlns='"+SpaceLimits+"'>"...)
		if f.MaxBytes > 0 {
			dst = append(strconv.AppendInt(append(dst, "<max-bytes>"...), int64(f.MaxBytes), 10), "</max-bytes>"...)
		}
		if f.IdleAfter > 0 {
			dst = append(strconv.AppendInt(append(dst, "<idle-seconds>"...), int64(f.IdleAfter/time.Second), 10), "</idle-seconds>"...)
		}
		dst = append(dst, "</limits>"...)
	}
	return append(dst, "</stream:features>"...)
}
