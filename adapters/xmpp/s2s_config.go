package xmpp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Servers is the server-to-server side: what other domains' servers see of us.
type Servers struct {
	// Domains are ours: their users write to other servers, and other servers write to them. At least one, or Gateway.
	Domains []string
	// Gateway is a domain of ours without users of its own, at which those of Hosts are written, because servers cannot reach their own
	// domains by name: romeo@example.org as romeo\40example.org@GATEWAY, in both directions. Both or neither.
	Gateway string
	Hosts   []string
	// Listeners are where other servers reach us. Without any only what we open ourselves carries stanzas, both ways with XEP-0288.
	Listeners []Listener
	// Dialback says that a server without a certificate for its domain may prove it by dialback (XEP-0220), over TLS only. False:
	// certificates alone do (SASL EXTERNAL). A peer's own entry goes before it.
	Dialback bool
	// DialbackSecret is what dialback keys are made of. The zero value: a random one, which is enough for one process alone.
	DialbackSecret Secret
	// Peers are exceptions for remote domains.
	Peers []ServerPeer
	// Certificates are ours, and whom we trust to say whose another one is. Needed.
	Certificates *certs.Store
	// Resolve finds the servers of a remote domain (an A-label name) when the core has not: to verify a dialback key, and to answer
	// what came over a stream that carries one direction only. Needed. The error's Temporary, if it has one, tells a domain that
	// does not exist from one that is not known now.
	Resolve func(ctx context.Context, domain string) ([]resolver.Target, error)
	// AllowAddr may refuse an address before it is dialled; nil allows all. DialControl is for the dialler itself, see
	// net.Dialer.Control.
	AllowAddr   func(netip.Addr) error
	DialControl func(network, address string, c syscall.RawConn) error
	// Reached is told, after each attempt to open a stream to a target, whether that could be reached. It must not block. nil: nobody
	// is told.
	Reached func(t resolver.Target, ok bool)
	// Limits bounds what servers may hold of us.
	Limits ServerLimits
}

// Listener is one socket that other servers connect to.
type Listener struct {
	// Address is the IP address and port to bind.
	Address string
	// Direct is direct TLS (XEP-0368); otherwise STARTTLS.
	Direct bool
}

// Proof is how a remote domain may be proven.
type Proof uint8

// The proofs. The zero value leaves it to Servers.Dialback.
const (
	ProofDefault     Proof = iota
	ProofCertificate       // by a certificate for the domain alone
	ProofDialback          // by dialback as well
)

// ServerPeer is an exception for one remote domain.
type ServerPeer struct {
	// Domain is the remote domain, in any form that resolver.ParseDomain takes. It also names the peer in metrics and adapters.Peer.
	Domain string
	// Proof is how it may be proven.
	Proof Proof
	// Cleartext are the networks in which its streams may be without TLS, and are then proven by dialback alone: private links that
	// are protected by other means. Empty: none.
	Cleartext []netip.Prefix
}

// ServerLimits bounds the server-to-server side. A zero field stands for its default.
type ServerLimits struct {
	// Pairs is how many pairs of domains are kept (default 20,000). When full, one that is idle is forgotten for the next; if none
	// is, operations of the next are refused with ReasonOverloaded, and a stream that brings it is closed with resource-constraint.
	Pairs int
	// QueueBytes is how many octets may wait to be written to all servers together (default 256 MiB), of which answers to what they ask and
	// errors have at most half. The next message is refused with ReasonOverloaded, the next answer dropped.
	QueueBytes int
	// Streams is how many streams are open at once, in both directions (default 4,000); those that others open are at most three
	// quarters of them. The next one that comes is closed with resource-constraint; the next one of our own fails with ReasonOverloaded.
	Streams int
	// StreamsPerAddress is how many of those that others open may come from one address, or one IPv6 network of 64 bits (default a
	// quarter of Streams, at least 16), StreamsPerPair how many may be for one pair of domains that a certificate has proven (default 8).
	// The next one is closed with resource-constraint.
	StreamsPerAddress, StreamsPerPair int
	// PairsPerStream is how many pairs of domains one stream may carry (default 64). The next is refused with resource-constraint.
	PairsPerStream int
	// Dials is how many streams of our own may be under construction at once (default 256). More wait.
	Dials int
	// Opening bounds the connections that have proven nothing yet: all of them (default 2,000), and those of one address (default
	// 64). The next one is closed when it comes.
	Opening, OpeningPerAddress int
	// OpenTime is how long a stream that is opened to us may take to prove a domain (default 30 s).
	OpenTime time.Duration
	// Idle is how long a stream may carry nothing before it is closed (default 10 min).
	Idle time.Duration
	// Resume is how long a stream that broke may be resumed (XEP-0198 §5; default 2 min, at most 10 min), and how many such are
	// remembered (default 1,000).
	Resume  time.Duration
	Resumes int
	// Verifications is how many dialback verifications may be under way at once (default 256). The next is refused with
	// resource-constraint.
	Verifications int
}

func (l ServerLimits) orDefault() ServerLimits {
	for _, n := range []struct {
		v *int
		d int
	}{
		{&l.Pairs, 20_000},
		{&l.QueueBytes, 256 << 20},
		{&l.Streams, 4000},
		{&l.StreamsPerPair, 8},
		{&l.PairsPerStream, 64},
		{&l.Dials, 256},
		{&l.Opening, 2000},
		{&l.OpeningPerAddress, 64},
		{&l.Resumes, 1000},
		{&l.Verifications, 256},
	} {
		if *n.v <= 0 {
			*n.v = n.d
		}
	}
	if l.StreamsPerAddress <= 0 {
		l.StreamsPerAddress = max(l.Streams/4, 16)
	}
	for _, n := range []struct {
		v *time.Duration
		d time.Duration
	}{{&l.OpenTime, 30 * time.Second}, {&l.Idle, 10 * time.Minute}, {&l.Resume, 2 * time.Minute}} {
		if *n.v <= 0 {
			*n.v = n.d
		}
	}
	l.Resume = min(l.Resume, 10*time.Minute)
	return l
}

// host is one of our domains: as A-labels, and as it stands in a JID.
type host struct {
	domain string
	self   jid.JID
	tls    *tls.Config // of a domain of ours: for streams that are opened to it
}

// remotePolicy is what is allowed with one remote domain.
type remotePolicy struct {
	label     string // in metrics and as a peer of the core: the configured domain, or strangers
	dialback  bool
	cleartext []netip.Prefix
}

// strangers names every remote domain without an entry of its own: in metrics, and to the core, whose policy has rules for it by this name
// (configs.Strangers).
const strangers = "strangers"

// clear tells whether a connection with addr may be without TLS.
func (p *remotePolicy) clear(addr netip.Addr) bool {
	for _, n := range p.cleartext {
		if n.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// serverSide is a Servers whose names have been checked.
type serverSide struct {
	Servers
	hosts   map[string]*host         // by A-labels
	wire    map[string]*host         // by the domain as it stands in a JID
	remotes map[string]*remotePolicy // by A-labels
	other   *remotePolicy
	secret  []byte
	first   string // of our domains
	gateway *host  // nil without Gateway
	hosted  []string
}

// check validates it and reports every fault. taken are the domains of components.
func (s Servers) check(taken map[string]bool) (*serverSide, error) {
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("xmpp: server: "+format, args...))
	}
	c := &serverSide{
		Servers: s, hosts: map[string]*host{}, wire: map[string]*host{}, remotes: map[string]*remotePolicy{},
		other: &remotePolicy{label: strangers, dialback: s.Dialback}, secret: []byte(s.DialbackSecret.octets),
	}
	c.Limits = s.Limits.orDefault()
	if len(s.Domains) == 0 && s.Gateway == "" {
		bad("at least one domain is needed")
	}
	domains := slices.Clone(s.Domains)
	if s.Gateway != "" {
		domains = append(domains, s.Gateway)
	}
	for _, d := range domains {
		h, err := newHost(d)
		switch {
		case err != nil:
			bad("domain: %w", err)
			continue
		case c.hosts[h.domain] != nil:
			bad("domain %s: is there twice", h.domain)
		case taken[h.domain]:
			bad("domain %s: a component has it", h.domain)
		}
		c.hosts[h.domain], c.wire[h.self.Domain()] = h, h
		if c.first == "" {
			c.first = h.domain
		}
		if s.Certificates != nil {
			h.tls = c.server(h.domain)
		}
	}
	if (s.Gateway == "") != (len(s.Hosts) == 0) {
		bad("gateway and hosts are needed together")
	}
	if h, err := newHost(s.Gateway); err == nil {
		c.gateway = c.hosts[h.domain]
	}
	for _, d := range s.Hosts {
		h, err := newHost(d)
		switch {
		case err != nil:
			bad("hosts: %w", err)
			continue
		case c.hosts[h.domain] != nil:
			bad("hosts: %s is reached by its own name", h.domain)
		}
		c.hosted = append(c.hosted, h.domain)
	}
	for _, l := range s.Listeners {
		if _, err := netip.ParseAddrPort(l.Address); err != nil {
			bad("listener: %w", err)
		}
	}
	for _, p := range s.Peers {
		d, err := resolver.ParseDomain(p.Domain)
		switch {
		case err != nil:
			bad("peer: %w", err)
			continue
		case c.remotes[d] != nil:
			bad("peer %s: is there twice", d)
		case c.hosts[d] != nil || taken[d]:
			bad("peer %s: is a domain of our own", d)
		}
		r := &remotePolicy{label: d, dialback: s.Dialback && p.Proof == ProofDefault || p.Proof == ProofDialback, cleartext: p.Cleartext}
		if len(r.cleartext) > 0 && !r.dialback {
			bad("peer %s: without TLS only dialback can prove it, and that is not allowed", d)
		}
		c.remotes[d] = r
	}
	if s.Certificates == nil {
		bad("certificates are needed")
	}
	if s.Resolve == nil {
		bad("a resolver is needed")
	}
	if len(c.secret) == 0 {
		c.secret = make([]byte, 32)
		rand.Read(c.secret)
	}
	return c, errors.Join(faults...)
}

func newHost(domain string) (*host, error) {
	d, err := resolver.ParseDomain(domain)
	if err != nil {
		return nil, err
	}
	j, err := jid.New(jid.Parts{Domain: d})
	if err != nil {
		return nil, err
	}
	return &host{domain: d, self: j}, nil
}

// policyOf is what is allowed with a remote domain, in A-labels.
func (c *serverSide) policyOf(remote string) *remotePolicy {
	if p := c.remotes[remote]; p != nil {
		return p
	}
	return c.other
}
