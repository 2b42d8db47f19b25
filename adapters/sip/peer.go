package sip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/secret"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Peer is a SIP proxy or user agent that may send through this adapter. Its identity is a domain that its certificate proves, over TLS
// (RFC 5922 §7.4), or its address: whoever can send from one of Networks, and be answered there, is believed to be the peer. That is
// enough in a network that is closed by other means (a loopback interface, a private link) and nowhere else.
type Peer struct {
	// Name stands in logs, metrics and adapters.Peer. Not empty, unique.
	Name string
	// Networks hold the source addresses of its requests. Networks of several peers may overlap: the From domain then decides which of
	// them it is, and between those of the same domain the proof, whatever their order: a certificate before an address, and a smaller
	// network before a larger one.
	Networks []netip.Prefix
	// Certificates are domains, in any form that resolver.ParseDomain takes: a request over TLS whose client's certificate proves one of
	// them is this peer's, wherever it comes from. There is at least one of Networks and Certificates.
	Certificates []string
	// KeepAlive is how often a ping is sent on connections to it that we opened: it answers them (RFC 5626 §4.4.1). 0: only where it
	// agrees to that (RFC 6223).
	KeepAlive time.Duration
	// Domains are those that its From may have, in any form that resolver.ParseDomain takes. At least one.
	Domains []string
	// OverloadControl says that this peer understands overload control (RFC 7339): requests to it offer that, and what it then asks for is
	// obeyed. Otherwise the offer is not made, because it is a quoted-string in Via, which some software sends back damaged.
	//
	// COMPAT(sipgo, 1.7.2): quoted Via parameters lose octets, so that its responses match nothing.
	OverloadControl bool
	// FoldCase says that the user parts of SIP URIs that this peer writes are not case-sensitive: capitals are folded.
	// Otherwise an address with capitals is refused (see cpim.Address).
	FoldCase bool
	// IgnorePort says that this peer puts its port into From, where it is no part of the user's identity.
	IgnorePort bool
	// LargeMessages says that a MESSAGE of over 1300 octets may be sent to this peer, over a stream transport: there is
	// "positive knowledge that the message will not traverse a congestion-unsafe link at any hop" (RFC 3428 §8). Otherwise
	// it is refused as too large.
	LargeMessages bool
	// OmitInstance leaves the "gr" parameter out of the From of requests to this peer, for user agents that compare the
	// whole URI. RFC 7572 §4 demands it, so the default is to write it.
	OmitInstance bool
	// PartialPresence says that watches of this peer's users take partial documents (RFC 5263), if it makes them.
	PartialPresence bool
	// LenientPresence says that presence documents of this peer's user agents may have the faults that deployed ones are known for
	// (see pidf.ParseLenient). Otherwise such a document is refused with 400.
	LenientPresence bool
	// SingleTuple says that this peer's watchers look at one tuple of a presence document: they are told, and what is published to it tells, the
	// best of a user's resources in place of all (see pidf.Presence.Single). S/MIME objects go to it as they are. After a reload the next
	// document has the new form.
	SingleTuple bool
	// Dispositions says that this peer understands message/cpim and disposition notifications (RFC 5438): a message whose
	// sender asked for notices is then sent as message/cpim, unless its recipient refused one with 415 within a day. Otherwise
	// every message is sent as text/plain, but to those who sent message/cpim themselves, and notices can come from the
	// gateway's own knowledge only.
	Dispositions bool
	// Composing says that the user agents of this peer take application/im-iscomposing+xml (RFC 3994): they are told when the other side
	// is composing. Otherwise only those are that sent such a message themselves. One that refuses it with 415 is not sent it again for a
	// day.
	Composing bool
	// SMIME is what becomes of messages that are signed or encrypted by S/MIME, from it and to it.
	SMIME SMIMEPolicy
	// Users are those whose requests are taken: each MESSAGE, SUBSCRIBE and PUBLISH must then be proven by digest (RFC 8760) and be from
	// the user that it proves. Empty: the peer is believed.
	Users []User
	// Realm is the protection domain of Users, "" means the first of Domains. AllowMD5 lets them answer with MD5 too, which is
	// weak; SHA-256 is always offered first.
	Realm    string
	AllowMD5 bool
	// Trusted says that the peer and this gateway are of one trust domain (RFC 3325): its P-Asserted-Identity says whom a request is
	// from, and it gets one with each request of ours. Of any other peer the header field is not looked at.
	Trusted bool
	// Identity is what becomes of signatures over whom its requests are from (RFC 8224).
	Identity IdentityPolicy
	// Credentials answer the peer's own challenges. Without a Username a challenge is a refusal.
	Credentials Credentials

	accounts map[string]account    // by username
	users    map[cpim.Address]bool // the addresses of accounts
	decoy    secret.Text           // a password nobody has
	pass     *pass
}

// peers finds the peer of a source address. Immutable but for what flows remembers.
type peers struct {
	list  []*Peer
	flows flows
}

// newPeers checks peers. One that old has by the same name, with the same credentials, keeps what it
// has learnt of the peer's challenges.
func newPeers(list []Peer, old *peers) (*peers, error) {
	p := &peers{}
	var errs []error
	for _, given := range list {
		peer := given
		peer.Networks = slices.Clone(given.Networks)
		peer.Domains = nil
		if peer.Name == "" {
			errs = append(errs, errors.New("sip: a peer has no name"))
		}
		if slices.ContainsFunc(p.list, func(q *Peer) bool { return q.Name == peer.Name }) {
			errs = append(errs, fmt.Errorf("sip: two peers are named %q", peer.Name))
		}
		if len(peer.Networks) == 0 && len(given.Certificates) == 0 {
			errs = append(errs, fmt.Errorf("sip: peer %q has no network and no certificate", peer.Name))
		}
		if peer.KeepAlive < 0 || peer.KeepAlive > 0 && peer.KeepAlive < time.Second {
			errs = append(errs, fmt.Errorf("sip: peer %q: a keep-alive every %s", peer.Name, peer.KeepAlive))
		}
		peer.Certificates = nil
		for _, c := range given.Certificates {
			name, err := resolver.ParseDomain(c)
			if err != nil {
				errs = append(errs, fmt.Errorf("sip: peer %q: certificate: %w", peer.Name, err))
				continue
			}
			peer.Certificates = append(peer.Certificates, name)
		}
		for i, n := range peer.Networks {
			if !n.IsValid() {
				errs = append(errs, fmt.Errorf("sip: peer %q has a network that is none", peer.Name))
				continue
			}
			peer.Networks[i] = n.Masked()
		}
		if len(given.Domains) == 0 {
			errs = append(errs, fmt.Errorf("sip: peer %q has no domain", peer.Name))
		}
		for _, d := range given.Domains {
			name, err := resolver.ParseDomain(d)
			if err != nil {
				errs = append(errs, fmt.Errorf("sip: peer %q: %w", peer.Name, err))
				continue
			}
			peer.Domains = append(peer.Domains, name)
		}
		errs = append(errs, peer.enroll()...)
		if peer.Identity > RequireIdentity {
			errs = append(errs, fmt.Errorf("sip: peer %q: no policy for Identity", peer.Name))
		}
		if before := old.named(peer.Name); before != nil && before.Credentials == peer.Credentials {
			peer.pass = before.pass
		}
		p.list = append(p.list, &peer)
	}
	return p, errors.Join(errs...)
}

// enroll checks the users and the credentials, once Domains are known.
func (p *Peer) enroll() (errs []error) {
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("sip: peer %q: "+format, append([]any{p.Name}, args...)...))
	}
	p.pass, p.decoy = &pass{}, secret.New(wire.NewTag())
	if p.Realm == "" && len(p.Domains) > 0 {
		p.Realm = p.Domains[0]
	}
	if !isQuotable(p.Realm) || !isQuotable(p.Credentials.Realm) || !isQuotable(p.Credentials.Username) {
		bad("a realm or username with a control character")
	}
	if p.Credentials.Username != "" && slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Bits() == 0 }) {
		bad("credentials for every address there is") // whoever is told to be a next hop would get a hash of the password (THREATS S7)
	}
	if p.Credentials.Username != "" && (p.Credentials.Realm == "" || p.Credentials.Password.IsZero()) {
		bad("credentials without realm or password")
	}
	p.accounts, p.users = make(map[string]account, len(p.Users)), make(map[cpim.Address]bool, len(p.Users))
	for _, u := range p.Users {
		if _, twice := p.accounts[u.Name]; twice || u.Name == "" || u.Password.IsZero() {
			bad("a user without name or password, or twice")
			continue
		}
		uri, err := wire.ParseURI(u.Address)
		if err != nil {
			bad("user %q: %w", u.Name, err)
			continue
		}
		party, ref := AddressOf(uri, cpim.SIPMapping{Scheme: cpim.IM, FoldCase: p.FoldCase, IgnorePort: p.IgnorePort})
		if ref != nil || !slices.Contains(p.Domains, party.Address.Domain()) {
			bad("user %q: the address cannot be carried, or its domain is not one of the peer's", u.Name)
			continue
		}
		p.accounts[u.Name] = account{name: u.Name, password: u.Password, address: party.Address}
		p.users[party.Address] = true
	}
	return errs
}

// has tells whether a request of this peer may be from a user: of one of its domains, and one of its users where it has any.
func (p *Peer) has(user cpim.Address) bool {
	return slices.Contains(p.Domains, user.Domain()) && (len(p.accounts) == 0 || p.users[user.WithScheme(cpim.IM)])
}

// isQuotable tells whether s can stand in a quoted-string.
func isQuotable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7F {
			return false
		}
	}
	return true
}

// at returns the peer that sends from src with the strongest proof, or nil for a stranger.
func (p *peers) at(src transaction.Source) (found *Peer) {
	best := noProof
	for _, peer := range p.list {
		if s := peer.sends(src); s > best {
			found, best = peer, s
		}
	}
	return found
}

// behind returns the peer that a target leads to: one that serves domain there, else any that is there; of several the one that is known
// best to be, as in sends; nil for a stranger.
func (p *peers) behind(t resolver.Target, domain string) (found *Peer) {
	best, serves := noProof, false
	for _, peer := range p.list {
		s := peer.reachedBy(t)
		if s == noProof {
			continue
		}
		if right := slices.Contains(peer.Domains, domain); right && !serves || right == serves && s > best {
			found, best, serves = peer, s, right
		}
	}
	return found
}

// behindFor is behind for the domain of a Request-URI, which is only looked at where more than one peer is behind the target.
func (p *peers) behindFor(t resolver.Target, uri string) (found *Peer) {
	for _, peer := range p.list {
		if peer.reachedBy(t) == noProof {
			continue
		}
		if found != nil {
			return p.behind(t, hostDomain(uri))
		}
		found = peer
	}
	return found
}

// named returns the peer of this name, or nil.
func (p *peers) named(name string) *Peer {
	if p == nil {
		return nil
	}
	for _, peer := range p.list {
		if peer.Name == name {
			return peer
		}
	}
	return nil
}

// toward returns the peer whose settings hold for what is sent to a target about a user of domain: the one that is there (see behind),
// else one that serves the domain elsewhere; nil if there is neither.
func (p *peers) toward(t resolver.Target, domain string) *Peer {
	if peer := p.behind(t, domain); peer != nil {
		return peer
	}
	for _, peer := range p.list {
		if slices.Contains(peer.Domains, domain) {
			return peer
		}
	}
	return nil
}

// proof is how well a source proves to be a peer: 0 not at all; by its address, one more than the bits that its network fixes; best by a
// certificate.
type proof uint8

const (
	noProof     proof = 0
	byAddress   proof = 1
	byCertified proof = 255
)

// sends tells whether a request from src is this peer's, and how well that is proven: by the address it came from, or by a domain that its
// certificate proves.
func (p *Peer) sends(src transaction.Source) proof {
	for _, name := range src.Domains {
		if slices.Contains(p.Certificates, name) {
			return byCertified
		}
	}
	return p.located(src.Remote.Addr())
}

// located tells whether addr is in the peer's networks, and how small the network is.
func (p *Peer) located(addr netip.Addr) (best proof) {
	addr = addr.Unmap()
	for _, n := range p.Networks {
		if n.Contains(addr) {
			best = max(best, byAddress+proof(n.Bits()))
		}
	}
	return best
}

// reachedBy tells whether a target leads to this peer: its address is the peer's, or only with a certificate of the peer's can one answer there.
func (p *Peer) reachedBy(t resolver.Target) proof {
	if t.Transport() == resolver.TLS && slices.Contains(p.Certificates, t.ServerName()) {
		return byCertified
	}
	return p.located(t.Addr().Addr())
}

// covers tells whether addr is in the peer's networks.
func (p *Peer) covers(addr netip.Addr) bool { return p.located(addr) != noProof }
