package certid

import (
	"crypto/x509"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// Matches is matches, for the vectors of RFC 6698 §C.
func Matches(r resolver.TLSA, c *x509.Certificate) bool { return matches(r, c) }
