package xmpp

import (
	"crypto/tls"
	"errors"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/certid"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// alpn is the protocol name of direct TLS between servers (XEP-0368 §2).
const alpn = "xmpp-server"

// errOurs is why nobody proves a domain of ours from outside.
var errOurs = errors.New("xmpp: a domain of our own")

// authorized tells whether the certificate of whoever opened a stream to us proves a domain, as JIDs have it, that is not ours.
func (v *servers) authorized(domain string, cs *tls.ConnectionState) error {
	_, err := v.provesClient(domain, cs)
	return err
}

// provesClient is authorized; until is when the proof ends.
func (v *servers) provesClient(domain string, cs *tls.ConnectionState) (until time.Time, err error) {
	if v.a.ours(domain) {
		return until, errOurs
	}
	d, err := resolver.ParseDomain(domain)
	if err != nil {
		return until, err
	}
	peer, err := certid.Examine(cs.PeerCertificates, certid.Client, v.side().Certificates.Trust())
	if err != nil {
		return until, err
	}
	verdict, err := peer.Proves(d)
	return verdict.Until, err
}

// proves tells whether the certificate of a server at t that we connected to proves remote, by PKIX and by what authentic DNS says, and
// until when; zero: for ever.
func (v *servers) proves(cs *tls.ConnectionState, remote *host, t resolver.Target) (until time.Time, err error) {
	verdict, err := certid.Check(cs.PeerCertificates, t.WithServerName(remote.domain), v.side().Certificates.Trust())
	return verdict.Until, err
}

// client returns the TLS side of a stream that we open as local to the server of remote at t. A server that its certificate does not
// prove is taken where dialback is: there its domain's DNS names it.
func (v *servers) client(local, remote *host, t resolver.Target, lax bool) *tls.Config {
	return v.side().Certificates.Client(certs.Client{From: local.domain, ServerName: remote.domain}, func(cs tls.ConnectionState) error {
		if lax {
			return nil
		}
		_, err := v.proves(&cs, remote, t)
		return err
	})
}

// server returns the TLS side of streams that are opened to us, for our domain if it is known.
func (c *serverSide) server(domain string) *tls.Config {
	return c.Certificates.Server(certs.Server{Domain: domain})
}

// direct is server for direct TLS, which says so (XEP-0368 §2).
func (c *serverSide) direct() *tls.Config {
	return c.Certificates.Server(certs.Server{Domain: c.first, ALPN: []string{alpn}})
}
