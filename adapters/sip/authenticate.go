package sip

import (
	"crypto/sha256"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/digest"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/secret"
)

// User is someone who proves by a password who they are (RFC 3261 §22, RFC 8760).
type User struct {
	// Name is the username of the digest. Unique in its peer.
	Name string
	// Address is what the user's From must be, "sip:alice@example.net"; its domain is one of the peer's.
	Address  string
	Password secret.Text
}

// account is a User that has been checked.
type account struct {
	name     string
	password secret.Text
	address  cpim.Address // im:
}

// The bounds of digest authentication. A nonce lives long enough for a phone to use it for the refreshes of a while; when more than
// maxNonces are in use at once, clients are challenged more often.
const (
	nonceLife = 5 * time.Minute
	maxNonces = 50_000
)

// authenticator proves users by digest.
type authenticator struct {
	nonces *digest.Nonces
	tries  tries
}

func newAuthenticator() *authenticator {
	return &authenticator{nonces: digest.NewNonces(nonceLife, maxNonces), tries: newTries()}
}

// authenticate proves that a request is from one of the peer's users, where it has any, and that it is from whom it says.
//
// A NOTIFY is not challenged: it is proven by the dialog it is in, whose identifiers nobody else knows. OPTIONS tells what everybody may
// know.
func (a *Adapter) authenticate(in *inbound) *Refusal {
	p := in.peer
	if m := in.req.Method(); len(p.accounts) == 0 || m == "NOTIFY" || m == "OPTIONS" {
		return nil
	}
	now := in.opts.Now
	var given digest.Credentials
	found := false
	for v := range in.req.Headers("Authorization") {
		c, err := digest.ParseCredentials(v)
		if err == nil && c.Realm == p.Realm && !found {
			given, found = c, true
		}
	}
	if !found {
		return a.challenge(in, false)
	}
	if a.auth.nonces.Check(given.Nonce, p.Realm, now) == digest.Forged {
		return a.challenge(in, false) // it answers no challenge of ours, so that it is no attempt either
	}
	// Who can write a source address, and read nothing that is sent to it, must not use up somebody's tries: with a challenge that went to
	// another place there are others.
	source := placeOf(in.src.Remote.Addr())
	if !a.auth.nonces.IssuedTo(given.Nonce, source) {
		source = "with another's challenge " + source
	}
	if !a.auth.tries.may(given.Username, source, now) {
		return refuse(WhyCredentials, 403, "Forbidden: too many attempts")
	}
	known, ok := p.accounts[given.Username]
	if !ok {
		known.password = p.decoy // takes as long as a wrong password does
	}
	allowed := given.Algorithm == digest.SHA256 || given.Algorithm == digest.MD5 && p.AllowMD5
	if !allowed || !given.Proves(known.password.Reveal(), digest.Request{Method: in.req.Method(), Body: in.req.Body()}) || !ok {
		a.auth.tries.fail(given.Username, source, now)
		return a.challenge(in, false)
	}
	if !sameTarget(given.URI, in.req.RequestURI()) {
		// Credentials are for one request; those of another prove nothing about this one (RFC 7616 §3.4.6).
		return refuse(WhyCredentials, 400, "Bad Request: the digest's uri is not the Request-URI")
	}
	switch a.auth.nonces.Use(given.Nonce, p.Realm, given.Count, now) {
	case digest.Fresh:
	case digest.Stale:
		return a.challenge(in, true)
	default:
		return a.challenge(in, false) // made by somebody else, or used before: a replay
	}
	from, ref := partyOf(in.identity, in.opts.sender(cpim.IM))
	if ref != nil {
		return ref
	}
	if from.Address != known.address {
		// "From ... must equal the authenticated identity" (THREATS S2).
		return refuse(WhyIdentity, 403, "Forbidden: From is not the authenticated user")
	}
	return nil
}

// challenge is the 401 with what the peer's users may answer, the strongest first: "The UAS MUST add these header fields to the response
// in the order in which it would prefer to see them used" (RFC 8760 §2.3).
func (a *Adapter) challenge(in *inbound, stale bool) *Refusal {
	p := in.peer
	nonce := a.auth.nonces.Issue(p.Realm, placeOf(in.src.Remote.Addr()), in.opts.Now)
	c := digest.Challenge{Realm: p.Realm, Nonce: nonce, Algorithm: digest.SHA256, Stale: stale, Auth: true}
	headers := []wire.Header{{Name: "WWW-Authenticate", Value: c.String()}}
	if p.AllowMD5 {
		c.Algorithm = digest.MD5
		headers = append(headers, wire.Header{Name: "WWW-Authenticate", Value: c.String()})
	}
	return refuse(WhyCredentials, 401, phraseOf(401), headers...)
}

// sameTarget tells whether a digest's uri is the Request-URI: as octets, or as a SIP URI of the same scheme, user, host and port. Hops
// between may have added parameters. Of a URI of another scheme the parts are not known, so that its octets must be the same.
func sameTarget(uri string, target wire.URI) bool {
	if uri == target.String() {
		return true
	}
	u, err := wire.ParseURI(uri)
	return err == nil && u.IsSIP() && u.Scheme() == target.Scheme() && u.User() == target.User() && strings.EqualFold(u.Host(), target.Host()) && u.Port() == target.Port()
}

// placeOf is what one guesser has of the addresses: an IPv6 site has a whole network of 2**64 at least.
func placeOf(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if n, err := a.Prefix(64); err == nil {
			return n.String()
		}
	}
	return a.String()
}

// tries slows down who guesses passwords: after maxTries failures for one user from one place within a window, requests with
// credentials are refused unread until the window ends. The table is bounded: when it is full all is forgotten, so that it has room for more than
// anybody can easily fill in a window.
type tries struct {
	mu     sync.Mutex
	since  time.Time
	failed map[tried]int
}

// tried is a digest of a place and the name of a user, which a stranger may choose as long as a message.
type tried [16]byte

const (
	maxTries    = 10
	triesWindow = time.Minute
	triesLimit  = 200_000
)

func newTries() tries { return tries{failed: map[tried]int{}} }

func triedBy(user, source string) tried {
	h := sha256.Sum256([]byte(source + "\x00" + user)) // no place has a NUL
	return tried(h[:16])
}

func (t *tries) window(now time.Time) {
	if now.Sub(t.since) >= triesWindow || len(t.failed) >= triesLimit {
		t.since, t.failed = now, map[tried]int{}
	}
}

func (t *tries) may(user, source string, now time.Time) bool {
	k := triedBy(user, source)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.window(now)
	return t.failed[k] < maxTries
}

func (t *tries) fail(user, source string, now time.Time) {
	k := triedBy(user, source)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.window(now)
	t.failed[k]++
}
