package passport

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strconv"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/certs"
)

// Freshness is how far the Date, and iat, may be from now, before or after: RFC 8224 §6.2 step 4, "sixty seconds is RECOMMENDED".
const Freshness = time.Minute

// Input is what a request says.
type Input struct {
	// Identity are the values of its Identity header fields, in order; at most 8 are looked at, of at most 8192 octets.
	Identity []string
	// From and To are the URIs of the header fields of that name, of the request as it came.
	From, To wire.URI
	// Date is its Date header field; zero if there is none.
	Date time.Time
}

// Verdict is that somebody who may speak for the originator has signed the request. It is made by Verify alone.
type Verdict struct {
	// Originator is the identity that is proven: that of From, never what the token says (RFC 8224 §6.2.4).
	Originator Identity
	// Info names the credential.
	Info string
	// Issued is when it was signed.
	Issued time.Time
	// ID is a digest of what was signed: originator, destination and second, never the body (RFC 8224 §12.2). Two requests within one
	// second have the same, and so has one that a token was cut out of and pasted into. Whoever remembers it until Expires and refuses
	// another request with it that is no retransmission (RFC 8224 §12.1) refuses both.
	ID      [sha256.Size]byte
	Expires time.Time
}

// Failure is why a request has no verified identity, and what to answer if policy demands one (RFC 8224 §6.2.2).
type Failure struct {
	// Code and Reason are the response: 428, 436, 437, 438, or 403 "Stale Date".
	Code   int
	Reason string
	// Detail is for logs: what was wrong, with the section, without anything of the request but in quotes.
	Detail string
	// Cause is the *SyntaxError, or nil.
	Cause error
}

// Error is the code, its reason and the detail.
func (f *Failure) Error() string {
	s := "identity: " + strconv.Itoa(f.Code) + " " + f.Reason + ": " + f.Detail
	if f.Cause != nil {
		s += ": " + f.Cause.Error()
	}
	return s
}

// Unwrap is the Cause.
func (f *Failure) Unwrap() error { return f.Cause }

// The reasons of RFC 8224 §6.2.2.
func missing(detail string) *Failure {
	return &Failure{Code: 428, Reason: "Use Identity Header", Detail: detail}
}

func unsupportedPPT() *Failure {
	return &Failure{Code: 428, Reason: "Use Supported PASSporT Format", Detail: "an extension (ppt) that is not supported (RFC 8224 §6.2)"}
}

func badInfo(detail string) *Failure {
	return &Failure{Code: 436, Reason: "Bad Identity Info", Detail: detail}
}

func unsupported(detail string) *Failure {
	return &Failure{Code: 437, Reason: "Unsupported Credential", Detail: detail}
}

func invalid(detail string, cause error) *Failure {
	return &Failure{Code: 438, Reason: "Invalid Identity Header", Detail: detail, Cause: cause}
}

func stale(detail string) *Failure { return &Failure{Code: 403, Reason: "Stale Date", Detail: detail} }

// Verify looks for an Identity header field of in that proves the identity in From. One is enough, whatever the others are (RFC 8224
// §6.2.1). Else it fails with *Failure: the answer to give where policy demands an identity, which is not asked here.
func Verify(in Input, keys KeySet, now time.Time) (Verdict, error) {
	if len(in.Identity) == 0 {
		return Verdict{}, missing("there is no Identity header field")
	}
	// RFC 8224 §12.1: "Implementations of this specification MUST NOT deem valid a request with an outdated Date header field."
	if !in.Date.IsZero() && !fresh(in.Date, now) {
		return Verdict{}, stale("the Date is not within a minute of now (RFC 8224 §6.2)")
	}
	var worst *Failure
	for _, text := range in.Identity[:min(len(in.Identity), maxValues)] {
		v, f := verifyOne(text, in, keys, now)
		if f == nil {
			return v, nil
		}
		if worst == nil || weight(f.Code) > weight(worst.Code) {
			worst = f
		}
	}
	return Verdict{}, worst
}

// Concerns tells whether any of the values of Identity, at most 8 of which are looked at, claims the signature of one of keys, or is so
// malformed that nobody can tell. Where it is false there is nothing to verify here: Verify would fail with 428 or 436, or with a Date
// that matters to nobody.
func Concerns(values []string, keys KeySet) bool {
	for _, text := range values[:min(len(values), maxValues)] {
		h, err := ParseHeader(text)
		if err != nil || h.ppt == "" && keys.byInfo[h.info] != nil {
			return true
		}
	}
	return false
}

// weight orders the failures of several header fields: 428 and 436 are for when all of them are of that kind (RFC 8224 §6.2.2), and
// 438 says the most.
func weight(code int) int {
	return map[int]int{428: 1, 436: 2, 437: 3, 403: 4, 438: 5}[code]
}

func fresh(t, now time.Time) bool {
	d := now.Sub(t)
	return -Freshness <= d && d <= Freshness
}

// verifyOne does the steps of RFC 8224 §6.2.
func verifyOne(text string, in Input, keys KeySet, now time.Time) (Verdict, *Failure) {
	h, err := ParseHeader(text)
	if err != nil {
		return Verdict{}, invalid("the Identity header field", err)
	}
	// Step 1.
	if h.ppt != "" {
		return Verdict{}, unsupportedPPT()
	}
	// Step 2. The identity is that of the signalling alone.
	orig, ok := Canonical(in.From)
	if !ok {
		return Verdict{}, invalid("From has no identity that a PASSporT could have (RFC 8224 §8.5)", nil)
	}
	dest, ok := Canonical(in.To)
	if !ok {
		return Verdict{}, invalid("To has no identity that a PASSporT could have (RFC 8224 §8.5)", nil)
	}
	// Step 3.
	c := keys.byInfo[h.info]
	switch {
	case c == nil:
		return Verdict{}, badInfo("there is no credential for the info " + certs.Quote(h.info))
	case h.alg != "ES256":
		return Verdict{}, unsupported("the algorithm is " + certs.Quote(h.alg) + ", not ES256 (RFC 8225 §4.2)")
	case c.key == nil:
		return Verdict{}, unsupported("the credential's key is not ECDSA P-256 (RFC 8225 §4.2)")
	case !c.speaksFor(orig):
		return Verdict{}, unsupported("the credential may not speak for the originator (RFC 8224 §8.4)")
	}
	// Step 4, and the token's own time.
	signed, issued, failure := h.signingInput(orig, dest, in.Date)
	if failure != nil {
		return Verdict{}, failure
	}
	switch {
	case !fresh(issued, now):
		return Verdict{}, stale("iat is not within a minute of now (RFC 8224 §6.2)")
	case !c.validAt(issued) || !c.validAt(now):
		return Verdict{}, unsupported("the credential is not valid at this time (RFC 8224 §6.2)")
	}
	// Step 5.
	digest := sha256.Sum256([]byte(signed))
	signature, err := base64.RawURLEncoding.Strict().DecodeString(h.token[2])
	if err != nil || len(signature) != 64 {
		return Verdict{}, invalid("the signature is not 64 octets in base64url (RFC 8225 §6)", nil)
	}
	// ES256 is r and s of 32 octets each, one after the other.
	if !ecdsa.Verify(c.key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return Verdict{}, invalid("the signature is not the credential's over this request (RFC 8224 §6.2)", nil)
	}
	return Verdict{Originator: orig, Info: h.info, Issued: issued, ID: digest, Expires: issued.Add(Freshness)}, nil
}

// signingInput is what was signed: of the full form what was sent, once it was found to say the same as the request; of the compact form
// what the request says (RFC 8225 §7).
func (h Header) signingInput(orig, dest Identity, date time.Time) (string, time.Time, *Failure) {
	if !h.Compact() {
		issued, failure := h.compare(orig, dest)
		return h.token[0] + "." + h.token[1], issued, failure
	}
	if date.IsZero() {
		return "", time.Time{}, invalid("a compact PASSporT, and no Date that it could be over (RFC 8224 §4.1)", nil)
	}
	header, payload := Compose(h.info, orig, dest, date)
	return base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload), date.Truncate(time.Second), nil
}

// Compose is the JSON of the header and the payload of a PASSporT without extensions, in the form of RFC 8225 §9. info must be a URI; no
// text in it needs an escape then.
func Compose(info string, orig, dest Identity, issued time.Time) (header, payload []byte) {
	header = []byte(`{"alg":"ES256","typ":"passport","x5u":"` + info + `"}`)
	payload = []byte(`{"dest":{"` + dest.Type + `":["` + dest.Value + `"]},"iat":`)
	payload = strconv.AppendInt(payload, issued.Unix(), 10)
	payload = append(payload, `,"orig":{"`+orig.Type+`":"`+orig.Value+`"}}`...)
	return header, payload
}

// compare reads a full token and asks whether it says what the request says (RFC 8224 §4.1, §6.2.4). Claims that are not known are
// passed over, as long as no ppt makes them mandatory (RFC 8225 §8.3).
func (h Header) compare(orig, dest Identity) (issued time.Time, failure *Failure) {
	read := func(part, text string) (value, *Failure) {
		octets, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil {
			return value{}, invalid("the token's "+part+" is no base64url (RFC 8225 §6)", nil)
		}
		v, err := parseJSON("passport-"+part, octets)
		if err != nil {
			return value{}, invalid("the token's "+part, err)
		}
		return v, nil
	}
	header, failure := read("header", h.token[0])
	if failure != nil {
		return time.Time{}, failure
	}
	for name, want := range map[string]string{"typ": "passport", "alg": h.alg, "x5u": h.info} {
		if v, _ := header.get(name); v.kind != kindString || v.text != want {
			return time.Time{}, invalid("the token's "+name+" is not "+certs.Quote(want)+" (RFC 8224 §4.1)", nil)
		}
	}
	// RFC 8225 §8.1: "Relying parties MUST fail to validate PASSporT objects containing an unsupported "ppt"." The same is the meaning of
	// "crit" in a JWS.
	for _, name := range []string{"ppt", "crit"} {
		if _, there := header.get(name); there {
			return time.Time{}, invalid("the token has "+name+" (RFC 8225 §8.1)", nil)
		}
	}
	payload, failure := read("payload", h.token[1])
	if failure != nil {
		return time.Time{}, failure
	}
	iat, _ := payload.get("iat")
	seconds, err := strconv.ParseInt(iat.text, 10, 64)
	if iat.kind != kindNumber || err != nil || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, invalid("the token's iat is no time in seconds (RFC 8225 §5.1.1)", nil)
	}
	// "There MUST be exactly one "orig" claim with exactly one identity claim object in a PASSporT object."
	from, _ := payload.get("orig")
	if v, _ := from.get(orig.Type); len(from.members) != 1 || v.kind != kindString || v.text != orig.Value {
		return time.Time{}, invalid("the token's orig is not From (RFC 8224 §6.2.4)", nil)
	}
	to, _ := payload.get("dest")
	list, _ := to.get(dest.Type)
	found := false
	if list.kind == kindArray {
		for _, m := range list.members {
			found = found || m.value.kind == kindString && m.value.text == dest.Value
		}
	}
	if !found {
		return time.Time{}, invalid("the token's dest is not To (RFC 8224 §4.1)", nil)
	}
	return time.Unix(seconds, 0), nil
}
