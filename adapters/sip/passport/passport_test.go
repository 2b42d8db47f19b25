package passport_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/passport"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

const info = "https://cert.example.net/passport.cer"

// signer signs tokens.
type signer struct {
	t   testing.TB
	key *ecdsa.PrivateKey
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// sign is header.payload.signature of two JSON texts.
func (s signer) sign(header, payload string) string {
	s.t.Helper()
	input := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		s.t.Fatal(err)
	}
	octets := make([]byte, 64)
	r.FillBytes(octets[:32])
	v.FillBytes(octets[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(octets)
}

func compact(token string) string { return ".." + token[strings.LastIndexByte(token, '.')+1:] }

const header = `{"alg":"ES256","typ":"passport","x5u":"` + info + `"}`

// setting is a credential for example.net and numbers under 1215, valid from an hour before now to one after.
type setting struct {
	now  time.Time
	keys passport.KeySet
	signer
}

func newSetting(t testing.TB) *setting {
	t.Helper()
	now := time.Unix(time.Now().Unix(), 0)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := certstest.NewCA(t)
	issue := func(spec certstest.Spec, k crypto.Signer) *x509.Certificate {
		spec.Key = k
		return ca.Issue(spec).Certificate
	}
	names := []string{"example.net"}
	keys, err := passport.NewKeySet([]passport.Credential{
		{Info: info, Certificate: issue(certstest.Spec{DNS: names, NotAfter: now.Add(time.Hour)}, key), Numbers: []string{"1215"}},
		{Info: "https://p384.example/", Certificate: issue(certstest.Spec{DNS: names}, p384)},
		{Info: "https://expired.example/", Certificate: issue(certstest.Spec{DNS: names, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Second)}, key)},
		{Info: "https://other.example/", Certificate: issue(certstest.Spec{DNS: []string{"example.org", "*.example.net"}}, key)},
		{Info: "https://users.example/", Certificate: issue(certstest.Spec{URI: []string{"sip:romeo@example.net"}}, key)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &setting{now: now, keys: keys, signer: signer{t, key}}
}

func payloadAt(at time.Time) string {
	_, p := passport.Compose(info, passport.Identity{Type: "uri", Value: "sip:romeo@example.net"}, passport.Identity{Type: "uri", Value: "sip:juliet@example.com"}, at)
	return string(p)
}

func (s *setting) input(identity ...string) passport.Input {
	return passport.Input{
		Identity: identity, From: wire.MustParseURI("sip:romeo@example.net"), To: wire.MustParseURI("sip:juliet@example.com"), Date: s.now,
	}
}

// codeOf is the response that err asks for; 0 for nil.
func codeOf(t testing.TB, err error) int {
	t.Helper()
	var f *passport.Failure
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &f):
		t.Fatalf("the error is %T: %v", err, err)
	}
	if f.Reason == "" || f.Detail == "" {
		t.Errorf("a failure without words: %v", f)
	}
	return f.Code
}

// RFC 8224 §6.2, a row for each way to fail and the answer of RFC 8224 §6.2.2.
func TestVerify(t *testing.T) {
	s := newSetting(t)
	good := s.sign(header, payloadAt(s.now))
	at := func(d time.Duration) string { return s.sign(header, payloadAt(s.now.Add(d))) }
	payload := func(text string) string {
		return s.sign(header, strings.ReplaceAll(text, "NOW", strings.TrimSuffix(strings.SplitAfter(payloadAt(s.now), "\"iat\":")[1], `,"orig":{"uri":"sip:romeo@example.net"}}`)))
	}
	with := func(change func(*passport.Input)) passport.Input {
		in := s.input(compact(good) + ";info=<" + info + ">")
		change(&in)
		return in
	}
	signature := good[strings.LastIndexByte(good, '.')+1:]
	const dest, orig = `"dest":{"uri":["sip:juliet@example.com"]}`, `"orig":{"uri":"sip:romeo@example.net"}`
	header384 := strings.Replace(header, info, "https://p384.example/", 1)
	tail := ";info=<" + info + ">"
	for _, c := range []struct {
		name string
		in   passport.Input
		code int
	}{
		{"compact", s.input(compact(good) + tail), 0},
		{"full", s.input(good + tail), 0},
		{"with alg", s.input(compact(good) + tail + ";alg=ES256"), 0},
		{"with alg in quotes and an unknown parameter", s.input(good + " ; info = <" + info + "> ; alg=\"ES256\" ; x=\"a\\\"b\";y"), 0},
		{"the second of two", s.input("..AAAA"+tail, compact(good)+tail), 0},
		{"From with port, parameters, capitals and escapes", with(func(in *passport.Input) { in.From = wire.MustParseURI("SIP:R%6fmeo@Example.net:5070;transport=tcp") }), 0},
		{"From with a password", with(func(in *passport.Input) { in.From = wire.MustParseURI("sip:romeo:secret@example.net") }), 0},
		{"full, in other order and with blanks", s.input(payload(`{ `+orig+`, "iat":NOW, `+dest+` }`) + tail), 0},
		{"full, with a claim nobody knows", s.input(payload(`{`+dest+`,"iat":NOW,`+orig+`,"x":[{"y":null}]}`) + tail), 0},
		{"full, several destinations", s.input(payload(`{"dest":{"tn":["1"],"uri":["sip:a@b","sip:juliet@example.com"]},"iat":NOW,`+orig+`}`) + tail), 0},
		{"full, without Date", func() passport.Input { in := s.input(good + tail); in.Date = time.Time{}; return in }(), 0},
		{"full, iat 50 s before", s.input(at(-50*time.Second) + tail), 0},
		{"full, iat 50 s after", s.input(at(50*time.Second) + tail), 0},

		{"none", s.input(), 428},
		{"ppt", s.input(good + tail + ";ppt=shaken"), 428},
		{"ppt twice", s.input(good+tail+";ppt=shaken", good+tail+";ppt=\"div\""), 428},
		{"no such credential", s.input(compact(good) + ";info=<https://evil.example/x>"), 436},
		{"the info in other letters is another", s.input(compact(good) + ";info=<" + strings.ToUpper(info) + ">"), 436},
		{"ppt, and no such credential", s.input(good+tail+";ppt=shaken", compact(good)+";info=<https://evil.example/x>"), 436},
		{"another algorithm", s.input(compact(good) + tail + ";alg=RS256"), 437},
		{"the algorithm none", s.input(compact(good) + tail + ";alg=none"), 437},
		{"a key that is not P-256", s.input(s.sign(header384, payloadAt(s.now)) + ";info=<https://p384.example/>"), 437},
		{"a credential that is over", s.input(compact(good) + ";info=<https://expired.example/>"), 437},
		{"a credential for another domain, and a wildcard", s.input(compact(good) + ";info=<https://other.example/>"), 437},
		{"a credential of a user", s.input(compact(good) + ";info=<https://users.example/>"), 437},
		{"no such credential, and one of another domain", s.input(compact(good)+";info=<https://evil.example/x>", compact(good)+";info=<https://other.example/>"), 437},
		{"a Date of 61 s before", with(func(in *passport.Input) { in.Date = s.now.Add(-61 * time.Second) }), 403},
		{"a Date of 61 s after", with(func(in *passport.Input) { in.Date = s.now.Add(61 * time.Second) }), 403},
		{"iat of 61 s before", s.input(at(-61*time.Second) + tail), 403},
		{"iat of 61 s after", s.input(at(61*time.Second) + tail), 403},
		{"an old Date, and a fresh iat", func() passport.Input { in := s.input(good + tail); in.Date = s.now.Add(-time.Hour); return in }(), 403},

		{"compact without Date", with(func(in *passport.Input) { in.Date = time.Time{} }), 438},
		{"compact, Date changed by a second", with(func(in *passport.Input) { in.Date = s.now.Add(time.Second) }), 438},
		{"From of another user", with(func(in *passport.Input) { in.From = wire.MustParseURI("sip:tybalt@example.net") }), 438},
		{"From by SIPS", with(func(in *passport.Input) { in.From = wire.MustParseURI("sips:romeo@example.net") }), 438},
		{"To of another user", with(func(in *passport.Input) { in.To = wire.MustParseURI("sip:nurse@example.com") }), 438},
		{"full, From of another user", func() passport.Input {
			in := s.input(good + tail)
			in.From = wire.MustParseURI("sip:tybalt@example.net")
			return in
		}(), 438},
		{"full, To of another user", func() passport.Input {
			in := s.input(good + tail)
			in.To = wire.MustParseURI("sip:nurse@example.com")
			return in
		}(), 438},
		{"From without a user", with(func(in *passport.Input) { in.From = wire.MustParseURI("sip:example.net") }), 438},
		{"From of another scheme", with(func(in *passport.Input) { in.From = wire.MustParseURI("im:romeo@example.net") }), 438},
		{"To without a user", with(func(in *passport.Input) { in.To = wire.MustParseURI("sip:example.com") }), 438},
		{"a signature by another", s.input(compact(newSetting(t).sign(header, payloadAt(s.now))) + tail), 438},
		{"a signature cut short", s.input(".." + signature[:84] + tail), 438},
		{"a signature of nothing but zeros", s.input(".." + strings.Repeat("A", 86) + tail), 438},
		{"a signature in ASN.1", s.input("..MEUCIQ" + signature + tail), 438},
		{"a signature with bits left over", s.input(".." + signature[:85] + "B" + tail), 438},
		{"no digest", s.input(tail), 438},
		{"no info", s.input(compact(good)), 438},
		{"info that is not first", s.input(compact(good) + ";alg=ES256" + tail), 438},
		{"info without a scheme", s.input(compact(good) + ";info=<passport.cer>"), 438},
		{"alg twice", s.input(compact(good) + tail + ";alg=ES256;ALG=ES256"), 438},
		{"octets after the end", s.input(compact(good) + tail + " x"), 438},
		{"a quote without end", s.input(compact(good) + tail + `;x="y`), 438},
		{"padding", s.input(compact(good) + "==" + tail), 438},
		{"a header and no payload", s.input(b64(header) + ".." + signature + tail), 438},
		{"long", s.input(compact(good) + tail + ";x=" + strings.Repeat("y", 9000)), 438},
		{"beyond the eighth", s.input(append(strings.Split(strings.Repeat("..AAAA"+tail+"|", 8), "|")[:8], compact(good)+tail)...), 438},

		{"typ", s.input(s.sign(strings.Replace(header, "passport\"", "JWT\"", 1), payloadAt(s.now)) + tail), 438},
		{"x5u of another", s.input(s.sign(strings.Replace(header, "cert.", "cart.", 1), payloadAt(s.now)) + tail), 438},
		{"alg of another in the token", s.input(s.sign(strings.Replace(header, "ES256", "none", 1), payloadAt(s.now)) + tail), 438},
		{"ppt in the token alone", s.input(s.sign(`{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"`+info+`"}`, payloadAt(s.now)) + tail), 438},
		{"crit", s.input(s.sign(`{"alg":"ES256","crit":["x"],"typ":"passport","x5u":"`+info+`"}`, payloadAt(s.now)) + tail), 438},
		{"a header with a member twice", s.input(s.sign(`{"alg":"none","alg":"ES256","typ":"passport","x5u":"`+info+`"}`, payloadAt(s.now)) + tail), 438},
		{"a payload with orig twice", s.input(payload(`{`+dest+`,"iat":NOW,"orig":{"uri":"sip:tybalt@example.net"},`+orig+`}`) + tail), 438},
		{"orig of two", s.input(payload(`{`+dest+`,"iat":NOW,"orig":{"uri":"sip:romeo@example.net","tn":"1"}}`) + tail), 438},
		{"orig as an array", s.input(payload(`{`+dest+`,"iat":NOW,"orig":{"uri":["sip:romeo@example.net"]}}`) + tail), 438},
		{"no orig", s.input(payload(`{`+dest+`,"iat":NOW}`) + tail), 438},
		{"dest that is no array", s.input(payload(`{"dest":{"uri":"sip:juliet@example.com"},"iat":NOW,`+orig+`}`) + tail), 438},
		{"no dest", s.input(payload(`{"iat":NOW,`+orig+`}`) + tail), 438},
		{"iat as a string", s.input(payload(`{`+dest+`,"iat":"NOW",`+orig+`}`) + tail), 438},
		{"iat with a fraction", s.input(payload(`{`+dest+`,"iat":NOW.5,`+orig+`}`) + tail), 438},
		{"no iat", s.input(payload(`{`+dest+`,`+orig+`}`) + tail), 438},
		{"iat without end", s.input(payload(`{`+dest+`,"iat":99999999999999999999,`+orig+`}`) + tail), 438},
		{"a payload that is no object", s.input(payload(`[]`) + tail), 438},
		{"a payload that ends early", s.input(payload(`{`+dest) + tail), 438},
		{"octets after the payload", s.input(payload(payloadAt(s.now)+"{}") + tail), 438},
		{"a deep payload", s.input(payload(`{`+dest+`,"iat":NOW,`+orig+`,"x":[[[[[[[]]]]]]]}`) + tail), 438},
		{"a payload that is not UTF-8", s.input(payload("{"+dest+`,"iat":NOW,`+orig+",\"x\":\"\xff\"}") + tail), 438},
		{"a lone surrogate", s.input(payload(`{`+dest+`,"iat":NOW,`+orig+`,"x":"\ud800"}`) + tail), 438},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := passport.Verify(c.in, s.keys, s.now)
			if got := codeOf(t, err); got != c.code {
				t.Fatalf("the answer is %d (%v), want %d", got, err, c.code)
			}
			if err == nil && (v.Originator.Domain != "example.net" || v.Info != info || v.ID == [sha256.Size]byte{} || !v.Expires.After(v.Issued)) {
				t.Errorf("the verdict is %+v", v)
			}
		})
	}
}

// The compact and the full form of one token are one token.
func TestOneID(t *testing.T) {
	s := newSetting(t)
	token := s.sign(header, payloadAt(s.now))
	full, err := passport.Verify(s.input(token+";info=<"+info+">"), s.keys, s.now)
	if err != nil {
		t.Fatal(err)
	}
	short, err := passport.Verify(s.input(compact(token)+";info=<"+info+">"), s.keys, s.now)
	if err != nil || short != full {
		t.Errorf("%+v and %+v (%v)", full, short, err)
	}
}

// RFC 8224 §8.3: "This MUST result in an ASCII string limited to "#", "*", and digits without whitespace or visual separators." RFC 8224
// §8.5: "Implementations MUST perform case normalization (rendering the scheme, user, and host all lowercase) and percent-encoding
// normalization".
func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"sip:alice@example.com":                             "uri sip:alice@example.com",
		"SIPS:Alice@EXAMPLE.com:5061;lr":                    "uri sips:alice@example.com",
		"sip:%41lice%2d@example.com":                        "uri sip:alice-@example.com",
		"sip:a%2fb%40@example.com":                          "uri sip:a%2Fb%40@example.com",
		"sip:12155551212@example.com;user=phone":            "tn 12155551212",
		"sip:+1-215-555-1212@example.com;user=phone":        "tn 12155551212",
		"sip:+1(215)555.1212@example.com;user=PHONE":        "tn 12155551212",
		"tel:+1-215-555-1212":                               "tn 12155551212",
		"tel:*67%23":                                        "tn *67#",
		"sip:+12155551212@example.com":                      "uri sip:+12155551212@example.com",
		"sip:alice@example.com;user=phone":                  "uri sip:alice@example.com",
		"sip:1234567890123456@example.com;user=phone":       "uri sip:1234567890123456@example.com",
		"sip:7042;phone-context=x.y@example.com;user=phone": "uri sip:7042;phone-context=x.y@example.com",
		"sip:example.com":                                   "",
		"im:alice@example.com":                              "",
		"tel:7042;phone-context=example.com":                "",
		"sip:%2B12155551212@example.com;user=phone":         "tn 12155551212",
		"sip:alice@[2001:DB8::1]":                           "uri sip:alice@[2001:db8::1]",
	} {
		id, ok := passport.Canonical(wire.MustParseURI(in))
		if got := strings.TrimSpace(id.Type + " " + id.Value); got != want || ok != (want != "") {
			t.Errorf("%s is %q (%v), want %q", in, got, ok, want)
		}
	}
}

// A number is proven by a credential that the operator lets speak for it, and by no other.
func TestNumbers(t *testing.T) {
	s := newSetting(t)
	for number, code := range map[string]int{"12155551212": 0, "13155551212": 437} {
		orig := passport.Identity{Type: "tn", Value: number}
		dest := passport.Identity{Type: "uri", Value: "sip:juliet@example.com"}
		_, payload := passport.Compose(info, orig, dest, s.now)
		in := s.input(compact(s.sign(header, string(payload))) + ";info=<" + info + ">")
		in.From = wire.MustParseURI("sip:+" + number + "@gateway.example;user=phone")
		v, err := passport.Verify(in, s.keys, s.now)
		if got := codeOf(t, err); got != code || err == nil && v.Originator != orig {
			t.Errorf("%s: %d (%v), want %d; %+v", number, got, err, code, v)
		}
	}
}

// The examples in print. RFC 8225 §A gives the serialization; its signature is by neither of the two keys there. The signature of RFC 8225
// §7.1 (and of RFC 8224 §4.1.1, §5.1) is by the key of RFC 8225 §A.2, over an iat that is a string, against RFC 8225 §5.1.1: the full form
// is refused for that, and the compact form, over the number, has another signature.
func TestExamplesInPrint(t *testing.T) {
	const (
		url       = "https://cert.example.org/passport.cer"
		head      = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9"
		bodyA     = "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEyIn19"
		signA     = "VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkba7UWYRM47ZbNFdOJquE35cw"
		body71    = "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6IjE0NDMyMDgzNDUiLCJvcmlnIjp7InRuIjoiMTIxNTU1NTEyMTIifX0"
		sign71    = "rq3pjT1hoRwakEGjHCnWSwUnshd0-zJ6F1VOgFWSjHBr8Qjpjlk-cpFYpFYsojNCpTzO3QfPOlckGaS6hEck7w"
		publicKey = "-----BEGIN PUBLIC KEY-----\n" +
			"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8HNbQd/TmvCKwPKHkMF9fScavGeH\n" +
			"78YTU8qLS8I5HLHSSmlATLcslQMhNC/OhlWBYC626nIlo7XeebYS7Sb37g==\n-----END PUBLIC KEY-----\n"
	)
	orig, dest := passport.Identity{Type: "tn", Value: "12155551212"}, passport.Identity{Type: "uri", Value: "sip:alice@example.com"}
	h, p := passport.Compose(url, orig, dest, time.Unix(1471375418, 0))
	if b64(string(h)) != head || b64(string(p)) != bodyA {
		t.Errorf("the serialization is %s %s", h, p)
	}
	block, _ := pem.Decode([]byte(publicKey))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	// That the key and the signature belong together shows that the input to the signature is understood.
	digest := sha256.Sum256([]byte(head + "." + body71))
	octets, err := base64.RawURLEncoding.DecodeString(sign71)
	if err != nil || !ecdsa.Verify(key.(*ecdsa.PublicKey), digest[:], new(big.Int).SetBytes(octets[:32]), new(big.Int).SetBytes(octets[32:])) {
		t.Errorf("the signature of RFC 8225 §7.1 is not by the key of §A.2: %v", err)
	}
	long := func(t time.Time) certstest.Spec {
		return certstest.Spec{Public: key, NotBefore: t.Add(-time.Hour), NotAfter: t.Add(time.Hour)}
	}
	for _, c := range []struct {
		name, identity string
		at             int64
		detail         string
	}{
		{"RFC 8225 §A, full", head + "." + bodyA + "." + signA, 1471375418, "signature"},
		{"RFC 8225 §7.1, full", head + "." + body71 + "." + sign71, 1443208345, "iat"},
		{"RFC 8224 §5.1, compact", ".." + sign71, 1443208345, "signature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(c.at, 0)
			cert := certstest.NewCA(t).Issue(long(now)).Certificate
			keys, err := passport.NewKeySet([]passport.Credential{{Info: url, Certificate: cert, Numbers: []string{"1"}}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = passport.Verify(passport.Input{
				Identity: []string{c.identity + ";info=<" + url + ">"}, Date: now,
				From: wire.MustParseURI("sip:12155551212@example.com;user=phone"), To: wire.MustParseURI("sip:alice@example.com"),
			}, keys, now)
			if codeOf(t, err) != 438 || !strings.Contains(err.Error(), c.detail) {
				t.Errorf("known to be wrong in print by its %s, and the answer is %v", c.detail, err)
			}
		})
	}
}

func TestNewKeySet(t *testing.T) {
	ca := certstest.NewCA(t)
	good := ca.Issue(certstest.Spec{DNS: []string{"example.net"}}).Certificate
	for name, all := range map[string][]passport.Credential{
		"info that is no URI":       {{Info: "passport.cer", Certificate: good}},
		"info with a quote":         {{Info: `https://a/"`, Certificate: good}},
		"info twice":                {{Info: info, Certificate: good}, {Info: info, Certificate: good}},
		"no certificate":            {{Info: info}},
		"names that cannot be read": {{Info: info, Certificate: ca.Issue(certstest.Spec{DNS: []string{"a b"}}).Certificate}},
		"a number with a plus":      {{Info: info, Certificate: good, Numbers: []string{"+1"}}},
		"an empty number":           {{Info: info, Certificate: good, Numbers: []string{""}}},
	} {
		if _, err := passport.NewKeySet(all); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if k, err := passport.NewKeySet(nil); err != nil || k.Len() != 0 {
		t.Error(k.Len(), err)
	}
}

// FuzzParseHeader: what parses prints, and parses to the same.
func FuzzParseHeader(f *testing.F) {
	s := newSetting(f)
	token := s.sign(header, payloadAt(s.now))
	f.Add(token + ";info=<" + info + ">;alg=ES256")
	f.Add(compact(token) + " ; info = <https://a.example/b> ; ppt=\"x\";y")
	f.Add("..A;info=<a:b>;x=[::1]")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := passport.ParseHeader(text)
		if err != nil {
			var e *passport.SyntaxError
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(text) {
				t.Fatalf("a fault of the wrong form: %v", err)
			}
			return
		}
		again, err := passport.ParseHeader(h.String())
		if err != nil && len(text) < 4096 || err == nil && again != h {
			t.Fatalf("%q gives %v, then %v, %v", text, h, again, err)
		}
	})
}

// FuzzVerify: whatever is in a full token, it is taken only if its claims are those of the request, and never without a signature.
func FuzzVerify(f *testing.F) {
	s := newSetting(f)
	f.Add(header, payloadAt(s.now))
	f.Add(`{"alg":"ES256","typ":"passp\u006frt","x5u":"`+info+`"}`, `{"dest":{"uri":[1,null,"x"]},"iat":1e3,"orig":{}}`)
	f.Fuzz(func(t *testing.T, head, payload string) {
		signed := signer{t, s.key}.sign(head, payload)
		tail := ";info=<" + info + ">"
		_, err := passport.Verify(s.input(signed+tail), s.keys, s.now)
		if err == nil && (!strings.Contains(unescaped(payload), "romeo@example.net") || !strings.Contains(unescaped(payload), "juliet@example.com")) {
			t.Fatalf("taken: %q %q", head, payload)
		}
		in := s.input(signed + tail)
		in.From = wire.MustParseURI("sip:nobody@example.net")
		if _, err := passport.Verify(in, s.keys, s.now); err == nil && !strings.Contains(unescaped(payload), "nobody@example.net") {
			t.Fatalf("taken for another: %q", payload)
		}
		if _, err := passport.Verify(s.input(signed[:strings.LastIndexByte(signed, '.')]+"."+strings.Repeat("A", 86)+tail), s.keys, s.now); err == nil {
			t.Fatal("taken without a signature")
		}
	})
}

// unescaped is s, or what makes the check of the fuzz target say nothing where there are escapes in it.
func unescaped(s string) string {
	if strings.Contains(s, `\`) {
		return "romeo@example.net juliet@example.com nobody@example.net"
	}
	return s
}

func BenchmarkVerify(b *testing.B) {
	s := newSetting(b)
	token := s.sign(header, payloadAt(s.now))
	for name, identity := range map[string]string{"compact": compact(token), "full": token} {
		in := s.input(identity + ";info=<" + info + ">")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := passport.Verify(in, s.keys, s.now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
