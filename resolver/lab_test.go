package resolver_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/resolver"
	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

// labNetworks are the documentation networks, in which the tests' servers live.
func labNetworks() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
		netip.MustParsePrefix("2001:db8::/32"),
	}
}

const labSOA = "$TTL 300\n$ORIGIN example.net.\n@ SOA ns hostmaster 1 3600 600 86400 60\n"

// lab is a DNS server with the zone example.net (and whatever the text adds), and a Resolver that asks it.
func lab(t testing.TB, zone string, change func(*resolver.Config, *resolvertest.Options)) (*resolver.Resolver, *resolvertest.Server) {
	t.Helper()
	c := resolver.Config{Guard: resolver.NewGuard(resolver.GuardConfig{Allow: labNetworks()})}
	var o resolvertest.Options
	if change != nil {
		change(&c, &o)
	}
	s, err := resolvertest.Start(labSOA+zone, o)
	if err != nil {
		t.Fatal(err)
	}
	if c.Servers == nil {
		c.Servers = s.Servers()
	}
	r, err := resolver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.SetRoute(func(netip.Addr) bool { return true })
	t.Cleanup(func() {
		r.Close()
		s.Close()
	})
	return r, s
}

func query(t testing.TB, s string) resolver.Query {
	t.Helper()
	q, err := resolver.ParseQuery(s)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// short is a target as the tables write it: "xmpp/tcp 192.0.2.1:5269".
func short(ts []resolver.Target) []string {
	var out []string
	for _, t := range ts {
		out = append(out, t.Protocol().String()+"/"+t.Transport().String()+" "+t.Addr().String())
	}
	return out
}

// rule is one row of a table of rules.
type rule struct {
	name  string
	says  string // the sentence that the row shows, printed when it fails
	zone  string
	query string
	want  []string
	err   error
	asks  []string // questions that must have been asked
	never []string // questions that must not have been asked
	by    string   // the lookup that decided the failure
	cfg   func(*resolver.Config, *resolvertest.Options)
}

func (c *rule) run(t *testing.T) {
	r, s := lab(t, c.zone, c.cfg)
	q := query(t, c.query)
	ts, err := r.Resolve(t.Context(), q)
	if c.err != nil {
		var e *resolver.Error
		if !errors.Is(err, c.err) || !errors.As(err, &e) {
			t.Errorf("%s\n%s gives %v, %v, want error %v", c.says, c.query, short(ts), err, c.err)
		} else if c.by != "" && e.Question != c.by {
			t.Errorf("%s\ndecided by %q, want %q", c.says, e.Question, c.by)
		}
	} else if err != nil || !slices.Equal(short(ts), c.want) {
		t.Errorf("%s\n%s gives\n  %s, %v\nwant\n  %s", c.says, c.query, strings.Join(short(ts), "\n  "), err, strings.Join(c.want, "\n  "))
	}
	var asked []string
	for _, a := range s.Log() {
		asked = append(asked, a.Name+" "+a.Type)
	}
	for _, a := range c.asks {
		if !slices.Contains(asked, a) {
			t.Errorf("%s\n%q was not asked, but %q", c.says, a, asked)
		}
	}
	for _, a := range c.never {
		if slices.Contains(asked, a) {
			t.Errorf("%s\n%q was asked", c.says, a)
		}
	}
	for _, tg := range ts {
		if want := q.Domain; tg.ServerName() != want && tg.ServerName() != "" {
			t.Errorf("reference identity %q, want the source domain %q", tg.ServerName(), want)
		}
	}
}
