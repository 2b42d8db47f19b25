package configs

import (
	"path/filepath"
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
		if r := &c.Routes[i]; k.byRoute[Domain(r.Domain)] == nil {
			k.byRoute[Domain(r.Domain)] = r
		}
	}
	k.secretSources()
	k.somewhere("dns.allow", k.DNS.Allow, "name the networks that names may lead to")
	k.sip()
	k.xmpp()
	k.tls()
	k.routes()
	k.policy()
	k.cluster()
	if d := string(k.Store.Directory); d != "" && !filepath.IsAbs(d) {
		k.fault("store.directory", quoted(d)+" is no absolute path", "write as in /var/lib/isthmus")
	}
	if l := c.Limits.SIP; l.MaxExpires < l.MinExpires {
		k.fault("limits.sip.max_expires", "less than min_expires", "write at least "+l.MinExpires.String())
	}
	if l := c.Limits.SIP; l.Body > l.Message {
		k.fault("limits.sip.body", "more than limits.sip.message", "write at most "+l.Message.String())
	}
	return k.faults
}

// somewhere refuses networks of every address there is.
func (k *checker) somewhere(path string, networks []Network, instead string) {
	for i, n := range networks {
		if n.IsValid() && n.Bits() == 0 {
			k.fault(index(path, i), quoted(n.String())+" is every address there is", instead)
		}
	}
}

// routeOf is the route of a domain: its own, else the one of all others.
func (k *checker) routeOf(d Domain) *Route {
	if r := k.byRoute[d]; r != nil || d == "" {
		return r
	}
	return k.byRoute[AnyDomain]
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
		r := k.routeOf(d)
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
