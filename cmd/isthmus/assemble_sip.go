package main

import (
	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

func sipConfig(cfg *configs.Config, with surroundings) sip.Config {
	l := cfg.Limits.SIP
	guard := newGuard(cfg)
	c := sip.Config{
		SentBy: string(cfg.SIP.Advertise),
		Limits: sip.Limits{
			Watches: l.Watches.Int(), WatchesPerWatcher: l.WatchesPerWatcher.Int(), Refreshes: l.Refreshes.Int(),
			Publications: l.Publications.Int(), PublicationsPerUser: l.PublicationsPerUser.Int(),
			NotifyInterval: l.NotifyInterval.Std(),
			MinExpires:     l.MinExpires.Std(), MaxExpires: l.MaxExpires.Std(), Expires: l.Expires.Std(),
		},
		Wire: wire.Limits{
			Message: l.Message.Octets(), HeaderLine: l.HeaderLine.Octets(), Headers: l.Headers.Int(), Body: l.Body.Octets(), URI: l.URI.Octets(),
			Vias: l.Vias.Int(),
		},
		Transactions: transaction.Bounds{
			ServerTransactions: l.ServerTransactions.Int(), ClientTransactions: l.ClientTransactions.Int(), Connections: l.Connections.Int(),
			ConnectionsPerAddress: l.ConnectionsPerAddress.Int(), WriteQueueBytes: l.WriteQueue.Octets(), IdleTimeout: l.Idle.Std(),
			DialTimeout: l.Dial.Std(), WriteTimeout: l.Write.Std(), Datagram: l.Datagram.Octets(),
			Handshakes: l.Handshakes.Int(), HandshakeTimeout: l.Handshake.Std(), Answers: l.Answers.Int(), AnswerLife: l.AnswerLife.Std(),
			LoadAt: l.LoadAt.Int(),
		},
		Logger:      with.part(sip.Name),
		Registerer:  with.registry,
		Tap:         with.tap,
		DialControl: guard.Control,
		AllowAddr:   guard.AllowAddr,
		T1:          cfg.SIP.T1.Std(),
	}
	for _, s := range cfg.SIP.Listeners {
		one := transaction.Listener{Transport: sipTransport(s.Transport), Address: s.Address.String()}
		for _, o := range s.Origins {
			one.Origins = append(one.Origins, string(o))
		}
		c.Listeners = append(c.Listeners, one)
	}
	for _, p := range cfg.SIP.Published {
		c.Published = append(c.Published, sip.Published{Domain: string(p.Domain), Everyone: p.Authorize == "everyone"})
	}
	for _, p := range cfg.SIP.PublishTo {
		to := sip.PublishTo{Peer: string(p.Peer), Watcher: string(p.As)}
		to.Hop, _ = p.To.Static.Target(string(p.As.Domain())) // checked with the configuration
		for _, u := range p.Users {
			to.Users = append(to.Users, string(u))
		}
		c.PublishTo = append(c.PublishTo, to)
	}
	for _, p := range cfg.SIP.Peers {
		peer := sip.Peer{
			Name: string(p.Name), FoldCase: bool(p.FoldCase), IgnorePort: bool(p.IgnorePort), LargeMessages: bool(p.LargeMessages),
			OmitInstance: bool(p.OmitInstance), Dispositions: bool(p.Dispositions), Composing: bool(p.Composing),
			PartialPresence: bool(p.PartialPresence), LenientPresence: bool(p.LenientPresence),
		}
		peer.Trusted, peer.Realm, peer.AllowMD5 = bool(p.Trusted), string(p.Realm), bool(p.AllowMD5)
		for _, u := range p.Users {
			peer.Users = append(peer.Users, sip.User{Name: string(u.Name), Address: u.Address.String(), Password: u.Password})
		}
		if k := p.Credentials; k.Username != "" {
			peer.Credentials = sip.Credentials{
				Username: string(k.Username), Realm: string(k.Realm), Password: k.Password, AllowMD5: bool(k.AllowMD5),
			}
		}
		for _, n := range p.Networks {
			peer.Networks = append(peer.Networks, n.Prefix)
		}
		peer.KeepAlive, peer.OverloadControl = p.KeepAlive.Std(), bool(p.OverloadControl)
		for _, d := range p.Certificates {
			peer.Certificates = append(peer.Certificates, string(d))
		}
		for _, d := range p.Domains {
			peer.Domains = append(peer.Domains, string(d))
		}
		c.Peers = append(c.Peers, peer)
	}
	return c
}

// sipTransport is a transport as the configuration names it.
func sipTransport(name string) resolver.Transport {
	switch name {
	case "tcp":
		return resolver.TCP
	case "tls":
		return resolver.TLS
	case "ws":
		return resolver.WS
	case "wss":
		return resolver.WSS
	}
	return resolver.UDP
}
