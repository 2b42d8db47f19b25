package configs

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/resolver"
)

func (k *checker) routes() {
	domains := make(map[RoutedDomain]string)
	for i, r := range k.Routes {
		at := index("routes", i)
		unique(k, domains, r.Domain, at+".domain", "the same domain", "put all next hops into one route")
		switch {
		case r.Via == "sip" && len(k.SIP.Listeners) == 0:
			k.fault(at+".via", "there is no SIP side", "write sip.listeners")
		case r.Via == "xmpp" && !k.XMPP.Used():
			k.fault(at+".via", "there is no XMPP side", "write xmpp.components")
		}
		if r.Via == "xmpp" && len(r.NextHops) == 0 && !k.XMPP.Server.Used() {
			k.fault(at, "a route via xmpp without next_hops",
				`write next_hops: ["component:NAME"], with a name under xmpp.components, or xmpp.server to reach servers by DNS`)
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
	case r.Via == "xmpp" && h.Static.Protocol() == resolver.XMPP && k.XMPP.Server.Used():
		if k.ownServer(h) {
			k.fault(path, quoted(h.String())+" is a listener of this gateway: every message would go in a circle", "write the address of the server of "+string(r.Domain))
		}
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
		if m.Domain == Domain(r.Domain) {
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

// ownServer tells whether a next hop is a listener of xmpp.server.
func (k *checker) ownServer(h NextHop) bool {
	t, ok := h.Static.Target("example.invalid")
	if !ok {
		return false
	}
	for _, l := range k.XMPP.Server.Listeners {
		if l.Address.AddrPort == t.Addr() {
			return true
		}
	}
	return false
}
