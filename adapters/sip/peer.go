package sip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Peer is a SIP proxy or user agent that may send through this adapter. Its identity is its address: whoever can send from one of
// Networks, and be answered there, is believed to be the peer. That is enough in a network that is closed by other means (a
// loopback interface, a private link) and nowhere else.
type Peer struct {
	// Name stands in logs, metrics and adapters.Peer. Not empty, unique.
	Name string
	// Networks hold the source addresses of its requests. At least one. Networks of several peers may overlap: the From
	// domain then decides which of them it is.
	Networks []netip.Prefix
	// Domains are those that its From may have, in any form that resolver.ParseDomain takes. At least one.
	Domains []string
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
	// Dispositions says that this peer understands message/cpim and disposition notifications (RFC 5438): a message whose
	// sender asked for notices is then sent as message/cpim, unless its recipient refused one with 415 within a day. Otherwise
	// every message is sent as text/plain, but to those who sent message/cpim themselves, and notices can come from the
	// gateway's own knowledge only.
	Dispositions bool
	// Composing says that the user agents of this peer take application/im-iscomposing+xml (RFC 3994): they are told when the other side
	// is composing. Otherwise only those are that sent such a message themselves. One that refuses it with 415 is not sent it again for a
	// day.
	Composing bool
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
	// Credentials answer the peer's own challenges. Without a Username a challenge is a refusal.
	Credentials Credentials

	accounts map[string]account // by username
	decoy    string             // a password nobody has
	pass     *pass
}

// peers finds the peer of a source address. Immutable.
type peers struct {
	list []*Peer
}

func newPeers(list []Peer) (*peers, error) {
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
		if len(peer.Networks) == 0 {
			errs = append(errs, fmt.Errorf("sip: peer %q has no network", peer.Name))
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
		p.list = append(p.list, &peer)
	}
	return p, errors.Join(errs...)
}

// enroll checks the users and the credentials, once Domains are known.
func (p *Peer) enroll() (errs []error) {
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("sip: peer %q: "+format, append([]any{p.Name}, args...)...))
	}
	p.pass, p.decoy = &pass{}, wire.NewTag()
	if p.Realm == "" && len(p.Domains) > 0 {
		p.Realm = p.Domains[0]
	}
	if !isQuotable(p.Realm) || !isQuotable(p.Credentials.Realm) || !isQuotable(p.Credentials.Username) {
		bad("a realm or username with a control character")
	}
	if p.Credentials.Username != "" && (p.Credentials.Realm == "" || p.Credentials.Password.IsZero()) {
		bad("credentials without realm or password")
	}
	p.accounts = make(map[string]account, len(p.Users))
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
		p.accounts[u.Name] = account{name: u.Name, password: u.Password.Reveal(), address: party.Address}
	}
	return errs
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

// at returns the first peer that sends from addr, or nil for a stranger.
func (p *peers) at(addr netip.Addr) *Peer {
	for _, peer := range p.list {
		if peer.covers(addr) {
			return peer
		}
	}
	return nil
}

// speaking returns the peer that sends from addr and may use domain in From, or nil.
func (p *peers) speaking(addr netip.Addr, domain string) *Peer {
	for _, peer := range p.list {
		if peer.covers(addr) && slices.Contains(peer.Domains, domain) {
			return peer
		}
	}
	return nil
}

// named returns the peer of this name, or nil.
func (p *peers) named(name string) *Peer {
	for _, peer := range p.list {
		if peer.Name == name {
			return peer
		}
	}
	return nil
}

// toward returns the peer that serves domain at addr, for what is sent to it; one that serves the domain elsewhere if there is
// none; nil if the domain is nobody's.
func (p *peers) toward(addr netip.Addr, domain string) *Peer {
	if peer := p.speaking(addr, domain); peer != nil {
		return peer
	}
	for _, peer := range p.list {
		if slices.Contains(peer.Domains, domain) {
			return peer
		}
	}
	return nil
}

func (p *Peer) covers(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, n := range p.Networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}
