package main

import (
	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/sip/passport"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

func sipConfig(cfg *configs.Config, with surroundings) sip.Config {
	l := cfg.Limits.SIP
	c := sip.Config{
		SentBy: string(cfg.SIP.Advertise),
		Limits: sip.Limits{
			Watches: l.Watches.Int(), WatchesPerWatcher: l.WatchesPerWatcher.Int(), Refreshes: l.Refreshes.Int(), Resumes: l.Resumes.Int(),
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
		Logger:     with.part(sip.Name),
		Registerer: with.registry,
		Tap:        with.tap,
		T1:         cfg.SIP.T1.Std(),
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
		to.Hop, _ = p.To.Static.Target(string(p.As.Domain())) // a name is looked up: see findServers
		for _, u := range p.Users {
			to.Users = append(to.Users, string(u))
		}
		c.PublishTo = append(c.PublishTo, to)
	}
	for _, p := range cfg.SIP.Peers {
		peer := sip.Peer{
			Name: string(p.Name), FoldCase: bool(p.FoldCase), IgnorePort: bool(p.IgnorePort), LargeMessages: bool(p.LargeMessages),
			OmitInstance: bool(p.OmitInstance), Dispositions: bool(p.Dispositions), Composing: bool(p.Composing),
			PartialPresence: bool(p.PartialPresence), LenientPresence: bool(p.LenientPresence), SingleTuple: bool(p.SingleTuple),
		}
		switch p.Identity {
		case "ignore":
			peer.Identity = sip.IgnoreIdentity
		case "require":
			peer.Identity = sip.RequireIdentity
		}
		switch p.SMIME {
		case "late":
			peer.SMIME = sip.SMIMELate
		case "refuse":
			peer.SMIME = sip.SMIMERefuse
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

// openSigners reads the certificates of those whose signatures are believed (RFC 8224). Each file that cannot be used is a fault of the
// configuration, at the key that names it.
func openSigners(cfg *configs.Config) (passport.KeySet, error) {
	var all []passport.Credential
	var faults configs.Faults
	for _, s := range cfg.SIP.Signers {
		chain, err := certs.ReadChain(string(s.Info), "certificate_file", string(s.CertificateFile))
		if err != nil {
			found := certs.FileFaults(err)
			if len(found) == 0 {
				return passport.KeySet{}, err
			}
			for _, f := range found {
				faults = append(faults, cfg.SignerFault(string(s.Info), "the file "+certs.Quote(f.File)+" "+f.Problem, f.Instead))
			}
			continue
		}
		one := passport.Credential{Info: string(s.Info), Certificate: chain[0]}
		for _, n := range s.Numbers {
			one.Numbers = append(one.Numbers, string(n))
		}
		if _, err := passport.NewKeySet([]passport.Credential{one}); err != nil {
			faults = append(faults, cfg.SignerFault(string(s.Info), err.Error(), "name the signer's certificate"))
			continue
		}
		if !one.Signs() {
			faults = append(faults, cfg.SignerFault(string(s.Info), "the certificate's key is not ECDSA on P-256, or it has no name that it could sign for",
				"name the certificate that the signer signs with, or write numbers"))
		}
		all = append(all, one)
	}
	if len(faults) > 0 {
		return passport.KeySet{}, faults
	}
	return passport.NewKeySet(all)
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
