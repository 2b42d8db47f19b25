package configs

import (
	"net/netip"
	"strconv"
	"strings"
)

// checker looks for faults between values that are each right by themselves.
type checker struct {
	*Config
	faults  Faults
	byRoute map[Domain]*Route
}

func (k *checker) fault(path, problem, instead string) {
	k.faults = append(k.faults, k.origin.fault(path, valueFault{problem, instead}))
}

// index is the path of an entry of a list, and of a key in it if one is given.
func index(list string, i int, key ...string) string {
	return strings.Join(append([]string{list + "[" + strconv.Itoa(i) + "]"}, key...), ".")
}

// unique reports each value that was there before. Empty ones were reported when they were read.
func unique[T comparable](k *checker, seen map[T]string, v T, path, what, instead string) {
	var none T
	if v == none {
		return
	}
	if first, twice := seen[v]; twice {
		k.fault(path, what+" again; the first is "+first+" on line "+strconv.Itoa(k.origin.at[first].line), instead)
		return
	}
	seen[v] = path
}

// check finds the faults between values: names used twice, references to nothing, routes that lead nowhere or in a circle.
func (c *Config) check() Faults {
	k := checker{Config: c, byRoute: make(map[Domain]*Route, len(c.Routes))}
	for i := range c.Routes {
		if r := &c.Routes[i]; k.byRoute[r.Domain] == nil {
			k.byRoute[r.Domain] = r
		}
	}
	k.sip()
	k.xmpp()
	k.routes()
	if l := c.Limits.SIP; l.MaxExpires < l.MinExpires {
		k.fault("limits.sip.max_expires", "less than min_expires", "write at least "+l.MinExpires.String())
	}
	if l := c.Limits.SIP; l.Body > l.Message {
		k.fault("limits.sip.body", "more than limits.sip.message", "write at most "+l.Message.String())
	}
	return k.faults
}

func (k *checker) sip() {
	listeners := make(map[Listener]string)
	for i, l := range k.SIP.Listeners {
		path := index("sip.listeners", i, "address")
		if !l.Address.IsValid() {
			continue
		}
		if l.Address.Port() != 0 {
			unique(k, listeners, l, path, "the same listener", "remove one of them")
		}
		if l.Transport == "tcp" && k.Admin.Listen.taken(l.Address.AddrPort) {
			k.fault("admin.listen", "the port is that of "+path+" on line "+strconv.Itoa(k.origin.at[path].line), "write another port, or unix:/run/isthmus/admin.sock")
		}
		if l.Address.Addr().IsUnspecified() && k.SIP.Advertise == "" {
			k.fault(path, "bound to all addresses, and sip.advertise does not say which one others reach", "write sip.advertise, or one address here")
		}
	}
	if len(k.SIP.Listeners) == 0 && len(k.SIP.Peers) > 0 {
		k.fault("sip.peers", "there are peers, but nothing listens for them", "write sip.listeners")
	}
	names := make(map[Name]string)
	type identity struct {
		network netip.Prefix
		domain  Domain
	}
	identities := make(map[identity]string)
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
		k.senders(index("sip.peers", i, "domains"), p.Domains, "sip")
	}
}

func (k *checker) xmpp() {
	names := make(map[Name]string)
	domains := make(map[Domain]string)
	if k.XMPP.BackoffLongest < k.XMPP.BackoffFirst {
		k.fault("xmpp.backoff_longest", "less than backoff_first", "write at least "+k.XMPP.BackoffFirst.String())
	}
	for i, m := range k.XMPP.Components {
		at := index("xmpp.components", i)
		unique(k, names, m.Name, at+".name", "the same name", "give each component a name of its own")
		unique(k, domains, m.Domain, at+".domain", "the same domain", "one component can be known by it: remove the others")
		switch {
		case m.SecretFile != "" && m.SecretEnv != "":
			k.fault(at+".secret_env", "the secret is named twice", "keep secret_file or secret_env")
		case m.SecretFile == "" && m.SecretEnv == "" && !k.written(at+".secret_file") && !k.written(at+".secret_env"):
			k.fault(at, "no secret is named", "write secret_file: and a path, or secret_env: and the name of a variable")
		}
		if r := k.byRoute[m.Domain]; m.Domain != "" && (r == nil || r.Via == "xmpp") {
			k.fault(at+".domain", "no route leads "+string(m.Domain)+" to another side: what the server hands over for it could go nowhere",
				"add {domain: "+string(m.Domain)+", via: sip, next_hops: […]} to routes")
		}
		k.senders(at+".serves", m.Serves, "xmpp")
	}
}

// written tells whether the key at path is in the file, be its value right or wrong.
func (k *checker) written(path string) bool {
	_, ok := k.origin.at[path]
	return ok
}

// senders checks the domains that one side may send as: each has a route back to that side.
func (k *checker) senders(path string, domains []Domain, via string) {
	seen := make(map[Domain]string)
	for i, d := range domains {
		at := index(path, i)
		unique(k, seen, d, at, "the same domain", "remove one of them")
		r := k.byRoute[d]
		switch {
		case d == "":
		case r == nil:
			k.fault(at, "no route for "+string(d)+": answers, reports and presence could not go back to it",
				"add {domain: "+string(d)+", via: "+via+", next_hops: […]} to routes")
		case r.Via != via && r.Via != "":
			k.fault(at, "the route of "+string(d)+" goes via "+r.Via+", so nobody here can send as it", "change the route to via: "+via+", or remove the domain here")
		}
	}
}

func (k *checker) routes() {
	domains := make(map[Domain]string)
	for i, r := range k.Routes {
		at := index("routes", i)
		unique(k, domains, r.Domain, at+".domain", "the same domain", "put all next hops into one route")
		switch {
		case r.Via == "sip" && len(k.SIP.Listeners) == 0:
			k.fault(at+".via", "there is no SIP side", "write sip.listeners")
		case r.Via == "xmpp" && len(k.XMPP.Components) == 0:
			k.fault(at+".via", "there is no XMPP side", "write xmpp.components")
		}
		if r.Via == "xmpp" && len(r.NextHops) == 0 {
			k.fault(at, "a route via xmpp without next_hops", `write next_hops: ["component:NAME"], with a name under xmpp.components`)
		}
		seen := make(map[NextHop]string)
		for j, h := range r.NextHops {
			path := index(at+".next_hops", j)
			unique(k, seen, h, path, "the same next hop", "remove one of them")
			k.nextHop(path, r, h)
		}
	}
}

func (k *checker) nextHop(path string, r Route, h NextHop) {
	switch {
	case h == NextHop{} || r.Via == "":
	case h.Component != "":
		k.componentHop(path, r, h.Component)
	case r.Via == "xmpp":
		k.fault(path, quoted(h.String())+" is not reached via xmpp here", `write "component:" and a name under xmpp.components`)
	case h.Static.Protocol() != r.Protocol():
		k.fault(path, quoted(h.String())+" is not spoken via "+r.Via, `write as in "sip:192.0.2.7:5060;transport=tcp"`)
	case !k.listens(h.Static.Transport().String()):
		k.fault(path, "no listener has the transport of "+quoted(h.String()), "write one of the transports of sip.listeners, as in \"sip:192.0.2.7:5060;transport=udp\"")
	case k.ownListener(h):
		k.fault(path, quoted(h.String())+" is a listener of this gateway: every message would go in a circle", "write the address of the proxy of "+string(r.Domain))
	}
}

func (k *checker) componentHop(path string, r Route, name Name) {
	if r.Via == "sip" {
		k.fault(path, quoted("component:"+string(name))+" is no SIP next hop", `write as in "sip:192.0.2.7:5060;transport=tcp", or via: xmpp`)
		return
	}
	names := make([]string, 0, len(k.XMPP.Components))
	for _, m := range k.XMPP.Components {
		if m.Name != name {
			names = append(names, string(m.Name))
			continue
		}
		if m.Domain == r.Domain {
			k.fault(path, "the component "+string(name)+" is "+string(r.Domain)+" itself: the server would hand every message back", "route a domain that the server serves")
		}
		return
	}
	instead := "add it under xmpp.components"
	if len(names) > 0 {
		instead = "the components are: " + strings.Join(names, ", ")
	}
	if n := nearest(string(name), names); n != "" {
		instead = "did you mean component:" + n + "?"
	}
	k.fault(path, "there is no component "+quoted(string(name)), instead)
}

// listens tells whether a listener has the transport; "none" leaves the choice to RFC 3263.
func (k *checker) listens(transport string) bool {
	if transport == "none" {
		return true
	}
	for _, l := range k.SIP.Listeners {
		if l.Transport == transport || l.Transport == "" {
			return true
		}
	}
	return false
}

func (k *checker) ownListener(h NextHop) bool {
	t, ok := h.Static.Target("example.invalid")
	if !ok {
		return false
	}
	for _, l := range k.SIP.Listeners {
		if l.Address.AddrPort == t.Addr() && l.Transport == t.Transport().String() {
			return true
		}
	}
	return false
}
