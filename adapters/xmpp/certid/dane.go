package certid

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"

	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// The certificate usages of RFC 6698 §2.1.1, with the names of RFC 7218.
const (
	pkixTA = 0
	pkixEE = 1
	daneTA = 2
	daneEE = 3
)

// The selectors of RFC 6698 §2.1.2 and the matching types of RFC 6698 §2.1.3.
const (
	selectCert = 0
	selectSPKI = 1
	matchFull  = 0
	match256   = 1
	match512   = 2
)

// usable keeps the records that can be used (RFC 6698 §4.1): known numbers, and data of the length that they ask for. Of the digests
// for one usage and selector only the strongest stay (RFC 7671 §9).
func usable(all []resolver.TLSA) []resolver.TLSA {
	type kind struct{ usage, selector uint8 }
	strong := make(map[kind]bool)
	var known []resolver.TLSA
	for _, r := range all {
		length := map[uint8]int{match256: sha256.Size, match512: sha512.Size}[r.MatchingType]
		if r.Usage > daneEE || r.Selector > selectSPKI || r.MatchingType > match512 || r.Data == "" || length != 0 && len(r.Data) != length {
			continue
		}
		if r.MatchingType == matchFull {
			if _, err := parseFull(r); err != nil {
				continue
			}
		}
		strong[kind{r.Usage, r.Selector}] = strong[kind{r.Usage, r.Selector}] || r.MatchingType == match512
		known = append(known, r)
	}
	kept := known[:0]
	for _, r := range known {
		if r.MatchingType != match256 || !strong[kind{r.Usage, r.Selector}] {
			kept = append(kept, r)
		}
	}
	return kept
}

// parseFull reads the data of a record of matching type Full(0); the certificate is nil for a bare key.
func parseFull(r resolver.TLSA) (*x509.Certificate, error) {
	if r.Selector == selectCert {
		return x509.ParseCertificate([]byte(r.Data))
	}
	_, err := x509.ParsePKIXPublicKey([]byte(r.Data))
	return nil, err
}

// matches compares one certificate with one record (RFC 6698 §2.1.3).
func matches(r resolver.TLSA, c *x509.Certificate) bool {
	selected := c.Raw
	if r.Selector == selectSPKI {
		selected = c.RawSubjectPublicKeyInfo
	}
	switch r.MatchingType {
	case match256:
		sum := sha256.Sum256(selected)
		return string(sum[:]) == r.Data
	case match512:
		sum := sha512.Sum512(selected)
		return string(sum[:]) == r.Data
	}
	return string(selected) == r.Data
}

// checkDANE judges by usable TLSA records: the first that matches decides (RFC 6698 §4.1), and one must.
func checkDANE(presented []*x509.Certificate, want string, target resolver.Target, records []resolver.TLSA, trust certs.Trust) (Verdict, error) {
	for _, r := range records {
		if r.Usage == daneEE && matches(r, presented[0]) {
			// RFC 7673 §4.2: "the client MUST ignore validation checks from [RFC5280] and reference identifier checks from [RFC6125]."
			return Verdict{Domain: want, By: DANEEE, DANE: true}, nil
		}
	}
	// What failed last is what a person is told; that nothing matched, if nothing else failed.
	var failed error = certs.Fault("tlsa", "RFC 6698 §4.1", "no TLSA record matches it")
	if v, err := checkAnchors(presented, want, target, records, trust); err == nil {
		return v, nil
	} else if err != errNoAnchor {
		failed = err
	}
	if v, err := checkPKIX(presented, want, target, records, trust); err == nil {
		return v, nil
	} else if err != errNoRecord {
		failed = err
	}
	return Verdict{}, failed
}

// errNoAnchor and errNoRecord say that the records have nothing of the usage in question that could match.
var (
	errNoAnchor = certs.Fault("tlsa", "RFC 6698 §2.1.1", "no record of usage 2 matches")
	errNoRecord = certs.Fault("tlsa", "RFC 6698 §2.1.1", "no record of usage 0 or 1")
)

// checkAnchors takes the certificates that records of usage DANE-TA(2) name for the only anchors.
func checkAnchors(presented []*x509.Certificate, want string, target resolver.Target, records []resolver.TLSA, trust certs.Trust) (Verdict, error) {
	pool, found := x509.NewCertPool(), false
	for _, r := range records {
		if r.Usage != daneTA {
			continue
		}
		for _, c := range presented[1:] {
			if matches(r, c) {
				pool.AddCert(c)
				found = true
			}
		}
		// RFC 7671 §5.2.2: with "2 0 0" the certificate may be in the DNS alone.
		if r.Selector == selectCert && r.MatchingType == matchFull {
			if c, err := parseFull(r); err == nil {
				pool.AddCert(c)
				found = true
			}
		}
	}
	if !found {
		return Verdict{}, errNoAnchor
	}
	trust.Roots = pool
	peer, err := Examine(presented, Server, trust)
	if err != nil {
		return Verdict{}, err
	}
	v, err := peer.provesAt(want, target)
	v.DANE = err == nil
	return v, err
}

// checkPKIX asks for both: a path to our own anchors, and a record of usage PKIX-TA(0) or PKIX-EE(1) for a certificate in it.
func checkPKIX(presented []*x509.Certificate, want string, target resolver.Target, records []resolver.TLSA, trust certs.Trust) (Verdict, error) {
	any := false
	for _, r := range records {
		any = any || r.Usage == pkixTA || r.Usage == pkixEE
	}
	if !any {
		return Verdict{}, errNoRecord
	}
	peer, err := Examine(presented, Server, trust)
	if err != nil {
		return Verdict{}, err
	}
	for _, r := range records {
		if r.Usage == pkixEE && !matches(r, presented[0]) ||
			r.Usage == pkixTA && !peer.path.Above(func(c *x509.Certificate) bool { return matches(r, c) }) ||
			r.Usage > pkixEE {
			continue
		}
		v, err := peer.provesAt(want, target)
		v.DANE = err == nil
		return v, err
	}
	return Verdict{}, certs.Fault("tlsa", "RFC 6698 §4.1", "no TLSA record matches it")
}
