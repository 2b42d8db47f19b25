package configs

import "slices"

func (k *checker) xmpp() {
	names := make(map[Name]string)
	type link struct {
		domain Domain
		other  string
	}
	links := make(map[link]string)
	if k.XMPP.BackoffLongest < k.XMPP.BackoffFirst {
		k.fault("xmpp.backoff_longest", "less than backoff_first", "write at least "+k.XMPP.BackoffFirst.String())
	}
	for i, m := range k.XMPP.Components {
		at := index("xmpp.components", i)
		unique(k, names, m.Name, at+".name", "the same name", "give each component a name of its own")
		if m.Domain != "" && m.Server != "" {
			unique(k, links, link{m.Domain, "server " + string(m.Server)}, at+".domain", "the same component of the same server", "remove one of them")
		}
		if j := slices.IndexFunc(k.XMPP.Components[:i], func(o Component) bool { return o.Domain == m.Domain }); m.Domain != "" && j >= 0 {
			if o := k.XMPP.Components[j].Hosts; len(o) != len(m.Hosts) || slices.ContainsFunc(o, func(d Domain) bool { return !slices.Contains(m.Hosts, d) }) {
				// What an address at the domain stands for is one thing, whichever server hands it over.
				k.fault(at+".hosts", "not those of "+index("xmpp.components", j)+", which has the same domain", "write the same hosts for both")
			}
		}
		for j, d := range m.Serves {
			if m.Domain != "" && d != "" && !slices.Contains(m.Serves[:j], d) {
				unique(k, links, link{m.Domain, string(d)}, index(at+".serves", j), "the same domain behind the same component",
					"one link leads to a domain: remove it from the others")
			}
		}
		for j, d := range m.Hosts {
			where := index(at+".hosts", j)
			switch r := k.routeOf(d); {
			case d == "":
			case d == m.Domain || slices.Contains(m.Serves, d):
				k.fault(where, string(d)+" is the component's own domain, or one that it serves", "write the domains of the other side")
			case slices.Contains(m.Hosts[:j], d):
				k.fault(where, "the same domain again", "remove one of them")
			case r == nil || r.Via == "xmpp":
				k.fault(where, "no route leads "+string(d)+" to another side: what the server hands over for it could go nowhere",
					"add {domain: "+string(d)+", via: sip, next_hops: […]} to routes")
			}
		}
		if r := k.routeOf(m.Domain); m.Domain != "" && len(m.Hosts) == 0 && (r == nil || r.Via == "xmpp") {
			k.fault(at+".domain", "no route leads "+string(m.Domain)+" to another side: what the server hands over for it could go nowhere",
				"add {domain: "+string(m.Domain)+", via: sip, next_hops: […]} to routes")
		}
		k.senders(at+".serves", m.Serves, "xmpp")
	}
	k.server()
}

// server finds the faults of xmpp.server.
func (k *checker) server() {
	const at = "xmpp.server"
	s := k.XMPP.Server
	if !s.Used() {
		if (len(s.Listeners) > 0 || len(s.Peers) > 0) && !k.written(at+".domains") {
			k.fault(at, "a server without domains", "write domains: and the SIP domains that it is the server of")
		}
		return
	}
	domains := make(map[Domain]string)
	for i, d := range s.Domains {
		path := index(at+".domains", i)
		unique(k, domains, d, path, "the same domain", "remove one of them")
		if r := k.routeOf(d); d != "" && (r == nil || r.Via == "xmpp") {
			k.fault(path, "no route leads "+string(d)+" to another side: what servers send to it could go nowhere",
				"add {domain: "+string(d)+", via: sip, next_hops: […]} to routes")
		}
		for _, m := range k.XMPP.Components {
			if d != "" && m.Domain == d {
				k.fault(path, "the component "+string(m.Name)+" has this domain: its server is the one of it", "remove the domain here or the component")
				break
			}
		}
	}
	if (s.Gateway == "") != (len(s.Hosts) == 0) {
		k.fault(at, "gateway and hosts are needed together", "write both or neither")
	}
	if s.Gateway != "" {
		unique(k, domains, s.Gateway, at+".gateway", "the same domain", "write a domain that has no users")
	}
	for i, d := range s.Hosts {
		path := index(at+".hosts", i)
		unique(k, domains, d, path, "the same domain", "its users are reached at one of the two")
		if r := k.routeOf(d); d != "" && (r == nil || r.Via == "xmpp") {
			k.fault(path, "no route leads "+string(d)+" to another side: what servers send to it could go nowhere",
				"add {domain: "+string(d)+", via: sip, next_hops: […]} to routes")
		}
	}
	listeners := make(map[Address]string)
	for i, l := range s.Listeners {
		if l.Address.Port() != 0 {
			unique(k, listeners, l.Address, index(at+".listeners", i, "address"), "the same address", "remove one of them")
		}
	}
	if len(k.TLS.Certificates) == 0 && s.Dialback == "never" && len(s.Peers) == 0 {
		k.fault(at, "there is no certificate to prove its domains by", "write tls.certificates, or allow dialback")
	}
	peers := make(map[Domain]string)
	for i, p := range s.Peers {
		path := index(at+".peers", i)
		unique(k, peers, p.Domain, path+".domain", "the same domain", "remove one of them")
		k.somewhere(path+".cleartext", p.Cleartext, "name the networks of the private link")
		switch r := k.routeOf(p.Domain); {
		case p.Domain == "":
		case r == nil:
			k.fault(path+".domain", "no route for "+string(p.Domain)+": nothing could come from it or go to it", "add {domain: "+string(p.Domain)+", via: xmpp} to routes")
		case r.Via != "xmpp" && r.Via != "":
			k.fault(path+".domain", "the route of "+string(p.Domain)+" goes via "+r.Via, "change the route to via: xmpp, or remove the peer")
		}
		dialback := p.Authentication == "dialback" || p.Authentication == "default" && s.Dialback == "tls"
		if len(p.Cleartext) > 0 && !dialback {
			k.fault(path+".cleartext", "without TLS only dialback can prove the domain", "write authentication: dialback, or remove cleartext")
		}
	}
}
