package transaction

import (
	"bytes"
	"context"
	"net/netip"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// maxReopened bounds the connections that are being opened for responses at once. When it is reached, a response is dropped.
const maxReopened = 32

// elsewhere is where a response goes if the connection of its request is gone: "the server SHOULD open a connection to the IP address in
// the "received" parameter, if present, using the port in the "sent-by" value, or the default port for that transport, if no port is
// specified" (RFC 3261 §18.2.2). Over TLS the far end must prove the name in sent-by, or else a domain that the first connection had
// proven. The zero Target means that there is no such place: a WebSocket has only the one connection (RFC 7118 §5.3), and over TLS
// without any name nobody could be believed.
func (o origin) elsewhere(via wire.Via) resolver.Target {
	if o.conn == nil || o.conn.transport != resolver.TCP && o.conn.transport != resolver.TLS {
		return resolver.Target{}
	}
	port, name := via.Port(), ""
	if port == 0 {
		port = 5060
	}
	if o.conn.transport == resolver.TLS {
		if via.Port() == 0 {
			port = 5061
		}
		if _, err := netip.ParseAddr(strings.Trim(via.Host(), "[]")); err != nil {
			name = strings.TrimSuffix(strings.ToLower(via.Host()), ".")
		} else if d := o.conn.identities(); len(d) > 0 {
			name = d[0]
		} else {
			return resolver.Target{}
		}
	}
	t, err := resolver.NewTarget(resolver.TargetSpec{
		Protocol: resolver.SIP, Transport: o.conn.transport, Addr: netip.AddrPortFrom(o.remote.Addr(), port), ServerName: name,
	})
	if err != nil {
		return resolver.Target{}
	}
	return t
}

// resend gives a response to another connection, which it may open first, and reports whether it tries. The address is that of the
// request's own packets, so nobody can make us connect to a third party; whoever reaches this was admitted.
func (l *Layer) resend(to resolver.Target, local string, response []byte) bool {
	if to.IsZero() {
		return false
	}
	select {
	case l.reopened <- struct{}{}:
	default:
		return false
	}
	b := bytes.Clone(response)
	l.enter()
	if l.closing.Load() { // Shutdown sees what entered before it, or is seen
		l.leave()
		<-l.reopened
		return false
	}
	l.tasks.Go(func() {
		defer func() {
			<-l.reopened
			l.leave()
		}()
		ctx, cancel := context.WithTimeout(l.life, l.bounds().DialTimeout+l.bounds().HandshakeTimeout)
		defer cancel()
		c, err := l.pool.get(ctx, to, local)
		if err == nil {
			err = c.enqueue(b)
		}
		if err != nil {
			l.metrics.drop(dropResponse)
			l.log.Debug().Err(err).Stringer("peer", to.Addr()).Msg("sip response lost with its connection")
		}
	})
	return true
}
