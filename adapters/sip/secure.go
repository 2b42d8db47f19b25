package sip

import (
	"crypto/tls"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/certid"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// secure is TLS as RFC 5922 has it: whom a connection leads to is judged by the domain that was meant (§7.3), whom one comes from by the
// domains that its certificate proves (§7.4). host is the domain of this gateway itself, "" if it has only an address: its certificate is
// shown where there is none for the domain that a request is from. nil without a store.
func secure(store *certs.Store, host string) *transaction.TLS {
	if store == nil {
		return nil
	}
	if d, err := resolver.ParseDomain(host); err == nil {
		host = d
	} else {
		host = ""
	}
	whose := func(domain string) string {
		if domain != "" && store.Has(domain) {
			return domain
		}
		return host
	}
	return &transaction.TLS{
		Server: func(t resolver.Transport) *tls.Config {
			o := certs.Server{Domain: host}
			if t == resolver.WSS {
				// A browser that is asked for a certificate asks its user, who has none for this.
				o.NoClientCertificate, o.ALPN = true, []string{"http/1.1"}
			}
			// No verifier: who shows a bad certificate has proven nothing, and is a stranger as if it had shown none.
			return store.Server(o)
		},
		Client: func(local, remote string) (*tls.Config, error) {
			return store.Client(certs.Client{From: whose(local), ServerName: remote}, certid.Dialled(store, remote)), nil
		},
		Local: whose,
		Domains: func(opened transaction.Direction, state tls.ConnectionState) ([]string, time.Time) {
			side := certid.Server
			if opened == transaction.Inbound {
				side = certid.Client
			}
			if len(state.PeerCertificates) == 0 {
				return nil, time.Time{}
			}
			peer, err := certid.Examine(state.PeerCertificates, side, store.Trust())
			if err != nil {
				return nil, time.Time{}
			}
			return peer.Domains(), peer.Until()
		},
	}
}
