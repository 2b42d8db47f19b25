package digest

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"io"
	"strconv"

	upstream "github.com/icholy/digest"
)

// Credentials are what a client answers: the value of Authorization or Proxy-Authorization.
type Credentials struct {
	Username, Realm, Nonce, URI, Response, Cnonce, Opaque string
	Algorithm                                             Algorithm
	// Integrity tells that the body is protected too (qop auth-int); else it is auth.
	Integrity bool
	// Count is nc, the number of requests with this nonce; at least 1.
	Count uint32
}

// ErrIncomplete is in the error of ParseCredentials for credentials that are well-formed but lack what RFC 8760 §2.6 demands: among it
// qop, without which a request could be replayed.
var ErrIncomplete = errors.New("digest: credentials lack a parameter")

// ParseCredentials reads credentials of the Digest scheme. The error is a *SyntaxError or ErrIncomplete.
func ParseCredentials(s string) (Credentials, error) {
	list, err := params(s)
	if err != nil {
		return Credentials{}, err
	}
	var c Credentials
	var have [5]bool
	algorithm, given, quality := "", false, ""
	for _, p := range list {
		switch p.name {
		case "username":
			c.Username, have[0] = p.value, p.quoted
		case "realm":
			c.Realm, have[1] = p.value, p.quoted
		case "nonce":
			c.Nonce, have[2] = p.value, p.quoted
		case "uri":
			c.URI, have[3] = p.value, p.quoted // "MUST be enclosed in quotation marks" (RFC 8760 §2.6)
		case "response":
			c.Response, have[4] = p.value, p.quoted
		case "cnonce":
			c.Cnonce = p.value
		case "opaque":
			c.Opaque = p.value
		case "algorithm":
			algorithm, given = p.value, true
		case "qop":
			quality = p.value
		case "nc":
			n, err := strconv.ParseUint(p.value, 16, 32)
			if err != nil || len(p.value) != 8 || p.quoted {
				return Credentials{}, fault(p.at, "nc is not eight hexadecimal digits")
			}
			c.Count = uint32(n)
		}
	}
	c.Algorithm = parseAlgorithm(algorithm, given)
	c.Integrity = quality == "auth-int"
	for _, ok := range have {
		if !ok {
			return Credentials{}, ErrIncomplete
		}
	}
	if c.Cnonce == "" || c.Count == 0 || quality != "auth" && !c.Integrity {
		return Credentials{}, ErrIncomplete
	}
	return c, nil
}

// String is the value of the header field. The parts of c must be quotable.
func (c Credentials) String() string {
	b := appendQuoted([]byte("Digest username="), c.Username)
	b = appendQuoted(append(b, ",realm="...), c.Realm)
	b = appendQuoted(append(b, ",nonce="...), c.Nonce)
	b = appendQuoted(append(b, ",uri="...), c.URI)
	b = appendQuoted(append(b, ",response="...), c.Response)
	if name := c.Algorithm.String(); name != "" {
		b = append(append(b, ",algorithm="...), name...)
	}
	if c.Opaque != "" {
		b = appendQuoted(append(b, ",opaque="...), c.Opaque)
	}
	if c.Cnonce == "" {
		return string(b) // to a server older than RFC 2617
	}
	b = appendQuoted(append(b, ",cnonce="...), c.Cnonce)
	if c.Integrity {
		b = append(b, ",qop=auth-int"...)
	} else {
		b = append(b, ",qop=auth"...)
	}
	hex := strconv.FormatUint(uint64(c.Count), 16)
	b = append(append(b, ",nc="...), "00000000"[len(hex):]...)
	return string(append(b, hex...))
}

// Request is what the digest covers.
type Request struct {
	Method string
	Body   []byte
}

// ErrUnanswerable says that a challenge has no answer here: the algorithm is not spoken, or a value cannot be written.
var ErrUnanswerable = errors.New("digest: the challenge cannot be answered")

// Answer makes the credentials for the count-th request with a challenge's nonce. cnonce must be fresh and random. URI is the
// Request-URI as it is sent.
func Answer(c Challenge, username, password, uri, cnonce string, count uint32, r Request) (Credentials, error) {
	if c.Algorithm == 0 || !quotable(c.Realm) || !quotable(c.Nonce) || !quotable(c.Opaque) || !quotable(username) || !quotable(uri) {
		return Credentials{}, ErrUnanswerable
	}
	out := Credentials{
		Username: username, Realm: c.Realm, Nonce: c.Nonce, URI: uri, Opaque: c.Opaque, Algorithm: c.Algorithm,
		Cnonce: cnonce, Count: count, Integrity: c.AuthInt && !c.Auth,
	}
	if !c.Auth && !c.AuthInt {
		out.Cnonce, out.Count = "", 0
	}
	var err error
	out.Response, err = response(out, password, r)
	return out, err
}

// Proves tells whether the credentials are those of someone who knows password, for this request. In constant time for a given
// length. The nonce is the caller's to check.
func (c Credentials) Proves(password string, r Request) bool {
	want, err := response(c, password, r)
	return err == nil && len(c.Response) == c.Algorithm.size() && subtle.ConstantTimeCompare([]byte(want), []byte(c.Response)) == 1
}

// response is request-digest (RFC 7616 §3.4.1).
func response(c Credentials, password string, r Request) (string, error) {
	if c.Algorithm == 0 {
		return "", ErrUnanswerable
	}
	chal := upstream.Challenge{Realm: c.Realm, Nonce: c.Nonce, Algorithm: c.Algorithm.String()}
	o := upstream.Options{Method: r.Method, URI: c.URI, Username: c.Username, Password: password, Cnonce: c.Cnonce, Count: int(c.Count)}
	switch {
	case c.Cnonce == "":
	case c.Integrity:
		chal.QOP = []string{"auth-int"}
		o.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil }
	default:
		chal.QOP = []string{"auth"}
	}
	got, err := upstream.Digest(&chal, o)
	if err != nil {
		return "", ErrUnanswerable
	}
	return got.Response, nil
}
