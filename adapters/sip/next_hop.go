package sip

import (
	"net/netip"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// dialogHops is where the next request within d goes: first to what the dialog itself names, the topmost Route or the remote target
// (RFC 3261 §12.2.1.1), if that is an address of the peer's own networks; then to the next hops that the core found for the domain.
// A dialog can so not be used to make us send to an address of the far side's choice (RFC 6665 §6.3, SSRF).
//
// given may be empty, for requests that nobody asked for but time: then, if all else fails, a Notifier's request goes where the
// SUBSCRIBE came from.
func (a *Adapter) dialogHops(d *Dialog, peer *Peer, given []resolver.Target) []resolver.Target {
	hops := make([]resolver.Target, 0, len(given)+1)
	if t := transportNamed(d.Transport); t == resolver.WS || t == resolver.WSS {
		// A WebSocket client is behind its own connection and nowhere else: its Contact is a name that does not exist (RFC 7118 §5, and
		// the examples of §8).
		if hops = a.sourceHop(hops, d, peer); len(hops) > 0 && !a.layer.Leads(hops[0], d.Connection) {
			return nil // it has gone; somebody else may be at its address now
		}
		return hops
	}
	if t, ok := a.ownHop(d, peer); ok {
		hops = append(hops, t)
	}
	for _, t := range given {
		if t.Protocol() == resolver.SIP && (len(hops) == 0 || hops[0].Addr() != t.Addr() || hops[0].Transport() != t.Transport()) {
			hops = append(hops, t)
		}
	}
	if len(hops) == 0 {
		hops = a.sourceHop(hops, d, peer)
	}
	return hops
}

// sourceHop appends where a Notifier's SUBSCRIBE came from, if that is known and the peer's: its networks may be others since the dialog
// was stored. Over TLS the far side must prove what the peer's certificate proves.
func (a *Adapter) sourceHop(hops []resolver.Target, d *Dialog, peer *Peer) []resolver.Target {
	addr, err := netip.ParseAddrPort(d.Source)
	if err != nil || peer == nil || !peer.covers(addr.Addr()) {
		return hops
	}
	spec := resolver.TargetSpec{Protocol: resolver.SIP, Transport: transportNamed(d.Transport), Addr: addr}
	if spec.Transport == resolver.TLS {
		if len(peer.Certificates) == 0 {
			return hops
		}
		spec.ServerName = peer.Certificates[0]
	}
	if t, err := resolver.NewTarget(spec); err == nil {
		hops = append(hops, t)
	}
	return hops
}

// ownHop is the address that the dialog itself names, if it is one of the peer's.
func (a *Adapter) ownHop(d *Dialog, peer *Peer) (resolver.Target, bool) {
	text := d.RemoteTarget
	var u wire.URI
	var err error
	if len(d.RouteSet) > 0 {
		var r wire.Addr
		if r, err = wire.ParseAddr(d.RouteSet[0]); err == nil {
			u = r.URI()
		}
	} else {
		u, err = wire.ParseURI(text)
	}
	if err != nil || peer == nil || u.Scheme() != "sip" {
		return resolver.Target{}, false
	}
	ip, err := netip.ParseAddr(strings.Trim(u.Host(), "[]"))
	if err != nil || !peer.covers(ip) {
		return resolver.Target{}, false
	}
	// "if no transport protocol is specified, but the TARGET is a numeric IP address, the client SHOULD use UDP for a SIP URI"
	// (RFC 3263 §4.1), unless the URI says
	// otherwise, or the dialog already runs over a connection and we have no UDP.
	t := resolver.UDP
	if name, ok := u.Param("transport"); ok {
		if t = transportNamed(name); t == 0 {
			return resolver.Target{}, false
		}
	} else if _, _, via, ok := a.contactHost(resolver.UDP); ok && via != resolver.UDP {
		t = via
	}
	spec := resolver.TargetSpec{Protocol: resolver.SIP, Transport: t}
	port := u.Port()
	switch {
	case port != 0:
	case t == resolver.TLS:
		port = 5061
	default:
		port = 5060
	}
	if t == resolver.TLS {
		// An address is no domain that a certificate could prove (RFC 5922 §7.1): it must be the peer's.
		if len(peer.Certificates) == 0 {
			return resolver.Target{}, false
		}
		spec.ServerName = peer.Certificates[0]
	}
	spec.Addr = netip.AddrPortFrom(ip, port)
	target, err := resolver.NewTarget(spec)
	return target, err == nil
}

// transportNamed is the transport of a "transport" parameter (RFC 3261 §19.1.1), zero for one that is not served.
func transportNamed(name string) resolver.Transport {
	switch strings.ToLower(name) {
	case "udp":
		return resolver.UDP
	case "tcp":
		return resolver.TCP
	case "tls":
		return resolver.TLS
	case "ws":
		return resolver.WS
	case "wss":
		return resolver.WSS
	}
	return 0
}

// contact is our Contact URI in a dialog for this user part, towards a peer over transport t: "a SIP or SIPS URI that can be used to
// contact that specific instance of the UA for subsequent requests" (RFC 3261 §8.1.1.8). It names this gateway and not the domain,
// so that the far side's requests within the dialog come to it.
func (a *Adapter) contact(user string, t resolver.Transport) (string, bool) {
	host, port, via, ok := a.contactHost(t)
	if !ok {
		return "", false
	}
	spec := wire.URISpec{User: user, Host: host, Port: port}
	if via != resolver.UDP {
		name := via.String()
		if via == resolver.WSS {
			name = resolver.WS.String() // RFC 7118 §5.2 has one value for both
		}
		spec.Params = []wire.Param{{Name: "transport", Value: name}}
	}
	b, err := wire.AppendURI(nil, spec)
	return string(b), err == nil
}
