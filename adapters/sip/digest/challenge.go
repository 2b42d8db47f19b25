package digest

import "strings"

// Challenge is what a server asks: the value of WWW-Authenticate or Proxy-Authenticate.
type Challenge struct {
	Realm, Nonce, Opaque string
	Algorithm            Algorithm
	// Stale tells that the credentials were right but for the age of their nonce (RFC 7616 §3.3).
	Stale bool
	// Auth and AuthInt tell which qualities of protection are offered; neither: the server is older than RFC 2617.
	Auth, AuthInt bool
}

// ParseChallenge reads one challenge. A scheme other than Digest is an error, and so is a realm or nonce that is missing: "The client
// MUST ignore any challenge it does not understand" (RFC 8760 §2.4). An algorithm that is not spoken leaves Algorithm zero.
func ParseChallenge(s string) (Challenge, error) {
	list, err := params(s)
	if err != nil {
		return Challenge{}, err
	}
	var c Challenge
	realm, nonce, algorithm := false, false, ""
	given := false
	for _, p := range list {
		switch p.name {
		case "realm":
			c.Realm, realm = p.value, p.quoted
		case "nonce":
			c.Nonce, nonce = p.value, p.quoted
		case "opaque":
			c.Opaque = p.value
		case "stale":
			c.Stale = strings.EqualFold(p.value, "true")
		case "algorithm":
			algorithm, given = p.value, true
		case "qop":
			for q := range strings.SplitSeq(p.value, ",") {
				q = strings.Trim(q, " \t")
				c.Auth = c.Auth || strings.EqualFold(q, "auth")
				c.AuthInt = c.AuthInt || strings.EqualFold(q, "auth-int")
			}
			if !c.Auth && !c.AuthInt {
				return Challenge{}, fault(p.at, "no quality of protection that is known")
			}
		}
	}
	if !realm || !nonce {
		return Challenge{}, fault(len(s), "want realm and nonce in quotes")
	}
	c.Algorithm = parseAlgorithm(algorithm, given)
	return c, nil
}

// String is the value of the header field. The parts of c must be quotable: the server's own are.
func (c Challenge) String() string {
	b := appendQuoted([]byte("Digest realm="), c.Realm)
	b = appendQuoted(append(b, ",nonce="...), c.Nonce)
	if c.Opaque != "" {
		b = appendQuoted(append(b, ",opaque="...), c.Opaque)
	}
	if c.Stale {
		b = append(b, ",stale=true"...)
	}
	if name := c.Algorithm.String(); name != "" {
		b = append(append(b, ",algorithm="...), name...)
	}
	switch {
	case c.Auth && c.AuthInt:
		b = append(b, `,qop="auth,auth-int"`...)
	case c.Auth:
		b = append(b, `,qop="auth"`...)
	case c.AuthInt:
		b = append(b, `,qop="auth-int"`...)
	}
	return string(b)
}

// Choose picks the challenge to answer: the topmost of this realm whose algorithm is allowed (RFC 8760 §2.4). ok is false if there is
// none. Values that cannot be read are passed over.
func Choose(values []string, realm string, allowMD5 bool) (c Challenge, ok bool) {
	for _, v := range values {
		got, err := ParseChallenge(v)
		if err != nil || got.Realm != realm || got.Algorithm == 0 || got.Algorithm == MD5 && !allowMD5 {
			continue
		}
		return got, true
	}
	return Challenge{}, false
}
