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
		for j, d := range m.Serves {
			if m.Domain != "" && d != "" && !slices.Contains(m.Serves[:j], d) {
				unique(k, links, link{m.Domain, string(d)}, index(at+".serves", j), "the same domain behind the same component",
					"one link leads to a domain: remove it from the others")
			}
		}
		if r := k.byRoute[m.Domain]; m.Domain != "" && (r == nil || r.Via == "xmpp") {
			k.fault(at+".domain", "no route leads "+string(m.Domain)+" to another side: what the server hands over for it could go nowhere",
				"add {domain: "+string(m.Domain)+", via: sip, next_hops: […]} to routes")
		}
		k.senders(at+".serves", m.Serves, "xmpp")
	}
}
