package transaction

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// TLS is what the layer needs for TLS and WSS. Its functions are called from many goroutines and must not block on a network.
type TLS struct {
	// Server is the configuration of a connection that a peer opens, over TLS or WSS. It may ask for a certificate and need not demand
	// one; a handshake with a bad one may fail or go on as without.
	Server func(resolver.Transport) *tls.Config
	// Client is the configuration of a connection that is opened here, on behalf of the domain local (a From domain, or ""), to what
	// must prove the domain remote: then alone may its handshake succeed (RFC 5922 §7.3). It fails if there is no such configuration.
	Client func(local, remote string) (*tls.Config, error)
	// Local names the certificate that Client would present for a domain, the same text for all domains that share one: "P1 MUST NOT
	// open a connection on behalf of one domain and reuse it to send a new request on behalf of another domain" (RFC 5923 §9.3). nil:
	// there is one for all.
	Local func(domain string) string
	// Domains are the domains that the far side's certificate proves (RFC 5922 §7.1), as A-labels in lower case, and until when; none if
	// it has no certificate or a bad one. Inbound means that the far side opened the connection.
	Domains func(opened Direction, state tls.ConnectionState) (domains []string, until time.Time)
}

// maxDomains bounds how many domains of one certificate are remembered with its connection.
const maxDomains = 256

// local is TLS.Local where it is set.
func (t *TLS) local(domain string) string {
	if t == nil || t.Local == nil {
		return ""
	}
	return t.Local(domain)
}

// handshake is the TLS handshake of either side: within Bounds.HandshakeTimeout, and for connections that strangers open to us not more
// of them at once than Bounds.Handshakes, because each costs the processor far more than it costs who asks for it (THREATS X6). Who is
// known by address does not wait behind them.
func (c *conn) handshake(ctx context.Context) error {
	nc, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	l := c.layer
	ctx, cancel := context.WithTimeout(ctx, l.bounds().HandshakeTimeout)
	defer cancel()
	if c.shaking {
		select {
		case l.handshakes <- struct{}{}:
			defer func() { <-l.handshakes }()
		case <-ctx.Done():
			l.metrics.drop(dropHandshake)
			return fmt.Errorf("%w: no turn for the TLS handshake of %s: %w", ErrTransport, c.remote, ctx.Err())
		}
	}
	if err := nc.HandshakeContext(ctx); err != nil {
		l.metrics.drop(dropHandshake)
		return fmt.Errorf("%w: TLS handshake with %s: %w", ErrTransport, c.remote, err)
	}
	state := nc.ConnectionState()
	if c.inbound {
		c.localName = l.cfg.TLS.local(state.ServerName)
	}
	c.state = state
	c.judge()
	return nil
}

// proof is what a certificate was found to prove.
type proof struct {
	domains []string
	until   time.Time // they hold
	judged  time.Time
}

// judgedFor is how long a judgement of a certificate stands: an authority that is no longer trusted may have issued it.
const judgedFor = time.Minute

// judge asks what the far side's certificate proves now.
func (c *conn) judge() *proof {
	p := &proof{judged: time.Now()}
	if domains := c.layer.cfg.TLS.Domains; domains != nil {
		var all []string
		all, p.until = domains(c.opened(), c.state)
		p.domains = slices.Clone(all[:min(len(all), maxDomains)])
		if c.key.name != "" && slices.Contains(all, c.key.name) && !slices.Contains(p.domains, c.key.name) {
			p.domains[0] = c.key.name // the one that the connection was opened for
		}
	}
	c.proof.Store(p)
	return p
}

// opened tells which side opened the connection.
func (c *conn) opened() Direction {
	if c.inbound {
		return Inbound
	}
	return Outbound
}

// identities are the domains that the far side's certificate proves: none when it has ended (THREATS T-FI-17), or when its authority is
// not trusted any more.
func (c *conn) identities() []string {
	p := c.proof.Load()
	if p == nil || len(p.domains) == 0 {
		return nil
	}
	now := time.Now()
	if now.Sub(p.judged) >= judgedFor {
		p = c.judge()
	}
	if now.After(p.until) {
		return nil
	}
	return p.domains
}

// proves reports whether the far side's certificate is good for a domain.
func (c *conn) proves(domain string) bool { return slices.Contains(c.identities(), domain) }

// dial opens a connection and completes its TLS handshake.
func (p *pool) dial(key poolKey, local string) (*conn, error) {
	l := p.layer
	var cfg *tls.Config
	if key.transport == resolver.TLS {
		if l.cfg.TLS == nil || l.cfg.TLS.Client == nil {
			return nil, errors.New("TLS is not configured")
		}
		if key.name == "" {
			return nil, errors.New("no domain is known that the certificate of the next hop could prove")
		}
		var err error
		if cfg, err = l.cfg.TLS.Client(local, key.name); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(l.life, l.bounds().DialTimeout)
	defer cancel()
	d := net.Dialer{Control: l.cfg.DialControl, LocalAddr: l.dialFrom(key.addr.Addr()), KeepAlive: 30 * time.Second}
	nc, err := d.DialContext(ctx, "tcp", key.addr.String())
	if err != nil {
		return nil, err
	}
	if cfg != nil {
		nc = tls.Client(nc, cfg)
	}
	c := newConn(l, nc, key.transport, key, false)
	c.localName = key.local
	if err := c.handshake(l.life); err != nil {
		nc.Close() //nolint:errcheck // the first fault counts
		return nil, err
	}
	return c, nil
}
