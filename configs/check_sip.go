package configs

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/isthmus-gateway/isthmus/resolver"
)

func (k *checker) sip() {
	type socket struct {
		transport string
		address   netip.AddrPort
	}
	listeners := make(map[socket]string)
	for i, l := range k.SIP.Listeners {
		path := index("sip.listeners", i, "address")
		if !l.Address.IsValid() {
			continue
		}
		if l.Address.Port() != 0 {
			unique(k, listeners, socket{underlying(l.Transport), l.Address.AddrPort}, path, "the same listener", "remove one of them")
		}
		if l.Transport != "udp" && k.Admin.Listen.taken(l.Address.AddrPort) {
			k.fault("admin.listen", "the port is that of "+path+" on line "+strconv.Itoa(k.origin.at[path].line), "write another port, or unix:/run/isthmus/admin.sock")
		}
		if (l.Transport == "tls" || l.Transport == "wss") && len(k.TLS.Certificates) == 0 {
			k.fault(index("sip.listeners", i, "transport"), "there is no certificate to show", "write tls.certificates")
		}
		if len(l.Origins) > 0 && l.Transport != "ws" && l.Transport != "wss" {
			k.fault(index("sip.listeners", i, "origins"), "origins of what is no WebSocket", "remove it, or write transport: wss")
		}
		if l.Address.Addr().IsUnspecified() && k.SIP.Advertise == "" {
			k.fault(path, "bound to all addresses, and sip.advertise does not say which one others reach", "write sip.advertise, or one address here")
		}
	}
	if len(k.SIP.Listeners) == 0 && len(k.SIP.Peers) > 0 {
		k.fault("sip.peers", "there are peers, but nothing listens for them", "write sip.listeners")
	}
	k.published()
	k.publishTo()
	infos := make(map[SignerURI]string)
	for i, s := range k.SIP.Signers {
		unique(k, infos, s.Info, index("sip.signers", i, "info"), "the same certificate", "remove one of them")
	}
	names := make(map[Name]string)
	type identity struct {
		network netip.Prefix
		domain  Domain
	}
	identities := make(map[identity]string)
	type proof struct{ certificate, domain Domain }
	proofs := make(map[proof]string)
	for i, p := range k.SIP.Peers {
		unique(k, names, p.Name, index("sip.peers", i, "name"), "the same name", "give each peer a name of its own")
		for j, n := range p.Networks {
			for _, d := range p.Domains {
				if d != "" && n.IsValid() {
					unique(k, identities, identity{n.Prefix, d}, index(index("sip.peers", i, "networks"), j),
						"the same network for the same domain", "an address can be one peer only for each domain")
				}
			}
		}
		if len(p.Networks) == 0 && len(p.Certificates) == 0 && !k.written(index("sip.peers", i, "networks")) {
			k.fault(index("sip.peers", i), "nothing tells its requests from a stranger's", "write networks, or certificates")
		}
		for j, c := range p.Certificates {
			for _, d := range p.Domains {
				if c != "" && d != "" {
					unique(k, proofs, proof{c, d}, index(index("sip.peers", i, "certificates"), j),
						"the same certificate for the same domain", "a certificate can be that of one peer only for each domain")
				}
			}
		}
		k.senders(index("sip.peers", i, "domains"), p.Domains, "sip")
		k.users(index("sip.peers", i), p)
		if p.Identity == "require" && len(k.SIP.Signers) == 0 {
			k.fault(index("sip.peers", i, "identity"), "nobody is known who could sign", "write sip.signers")
		}
	}
}

// underlying is what two listeners cannot share a port of.
func underlying(transport string) string {
	if transport == "udp" {
		return transport
	}
	return "tcp"
}

func (k *checker) published() {
	domains := make(map[Domain]string)
	for i, p := range k.SIP.Published {
		at := index("sip.published", i, "domain")
		unique(k, domains, p.Domain, at, "the same domain", "remove one of them")
		sends := func(peer Peer) bool { return slices.Contains(peer.Domains, p.Domain) }
		if p.Domain != "" && !slices.ContainsFunc(k.SIP.Peers, sends) {
			k.fault(at, "no peer may send as "+string(p.Domain)+", so nobody can publish there", "write it under the domains of a peer in sip.peers")
		}
	}
}

func (k *checker) publishTo() {
	watchers := make(map[Mailbox]string)
	for i, p := range k.SIP.PublishTo {
		at := index("sip.publish_to", i, "as")
		unique(k, watchers, p.As, at, "the same watcher", "give each server a watcher of its own")
		n := slices.IndexFunc(k.SIP.Peers, func(peer Peer) bool { return peer.Name == p.Peer })
		switch {
		case n < 0 && p.Peer != "":
			k.fault(index("sip.publish_to", i, "peer"), "there is no peer "+quoted(string(p.Peer)), "write a name under sip.peers")
		case n >= 0 && p.As != "" && !slices.Contains(k.SIP.Peers[n].Domains, p.As.Domain()):
			k.fault(at, string(p.As.Domain())+" is no domain of the peer "+string(p.Peer), "write a mailbox in one of its domains")
		}
		if p.To != (NextHop{}) && (p.To.Component != "" || p.To.Static.Protocol() != resolver.SIP) {
			k.fault(index("sip.publish_to", i, "to"), quoted(p.To.String())+" is no SIP next hop", `write as in "sip:192.0.2.7:5060;transport=tcp" or "sip:ps.example.net"`)
		}
	}
}

// users checks who may prove what.
func (k *checker) users(at string, p Peer) {
	if len(p.Users) == 0 {
		k.somewhere(at+".networks", p.Networks, "name the addresses that the peer sends from, or the users that prove themselves")
	}
	names := make(map[Text]string)
	for i, u := range p.Users {
		unique(k, names, u.Name, index(at+".users", i, "name"), "the same user", "give each user a name of its own")
		if d := u.Address.Domain(); d != "" && !slices.Contains(p.Domains, d) {
			k.fault(index(at+".users", i, "address"), string(d)+" is not one of the peer's domains", "add it to domains, or write an address of another")
		}
	}
	if len(p.Users) == 0 && p.Realm != "" {
		k.fault(at+".realm", "a realm without users", "write users, or remove it")
	}
	if p.Credentials.Username != "" && len(p.Users) > 0 {
		k.somewhere(at+".networks", p.Networks, "write the credentials under a peer that names its addresses: whoever is at one gets a hash of the password")
	}
	switch c := p.Credentials; {
	case c.Username != "" && c.Realm == "":
		k.fault(at+".credentials", "credentials without a realm", "write realm: and what the peer's challenge says")
	case c.Username == "" && (c.Realm != "" || c.PasswordFile != "" || c.PasswordEnv != ""):
		k.fault(at+".credentials", "credentials without a username", "write username: and the name that the peer knows the gateway by")
	}
}
