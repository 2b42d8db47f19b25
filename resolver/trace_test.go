package resolver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/internal/leaktest"
	"github.com/isthmus-gateway/isthmus/resolver"
	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// `isthmus resolve`: "every question asked, every answer, its TTL and authenticity, and the final targets in order with the reason
// for each place".
func TestExplain(t *testing.T) {
	r, _ := lab(t, "_im._sip SRV 10 3 5061 s\n_im._sip SRV 20 0 5061 s2\n_im._xmpp CNAME _x\n_x 77 SRV 5 0 5269 x\ns A 192.0.2.1\ns2 A 10.0.0.1\nx A 192.0.2.2\nx AAAA 2001:db8::2\n",
		func(_ *resolver.Config, o *resolvertest.Options) { o.Authentic = true })
	tr, err := r.Explain(t.Context(), query(t, "im:romeo@Example.NET"))
	if err != nil {
		t.Fatal(err)
	}
	text := tr.String()
	for _, want := range []string{
		"im:example.net\n", "? _im._sip.example.net SRV: found, TTL 300 s, authenticated, from server 127.0.0.1:", "      10 3 5061 s.example.net.\n",
		"alias of _x.example.net", "? _im._xmpp.example.net SRV: found, TTL 77 s", "? example.net NAPTR: no data", "TLSA: no such name",
		"x s2.example.net 10.0.0.1:5061: resolver: address is not allowed: 10.0.0.1 (private use, 10.0.0.0/8)",
		"1. sip/tls s.example.net 192.0.2.1:5061 as example.net: _im._sip.example.net SRV, priority 10, weight 3",
		"2. xmpp/tcp x.example.net [2001:db8::2]:5269 as example.net: _im._xmpp.example.net SRV, priority 5, weight 0",
		"_im._xmpp.example.net decides for xmpp",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the trace lacks %q:\n%s", want, text)
		}
	}
	raw, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Query   string
		Lookups []struct {
			Name, Type, Outcome, Source string
			TTL                         int
			Authentic                   bool
			Records                     []string
		}
		Targets []struct {
			Protocol, Transport, Host, Addr, Reason string
			ServerName                              string `json:"server_name"`
			Secure                                  bool
			TLSAStatus                              string `json:"tlsa_status"`
		}
	}
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Targets) != 3 || back.Targets[0].Addr != "192.0.2.1:5061" || back.Targets[0].ServerName != "example.net" || !back.Targets[0].Secure ||
		back.Targets[0].TLSAStatus != "none" || back.Targets[0].Reason == "" || len(back.Lookups) < 8 || back.Lookups[0].TTL != 300 || !back.Lookups[0].Authentic {
		t.Errorf("JSON: %s", raw)
	}
	again, err := r.Explain(t.Context(), query(t, "im:romeo@example.net"))
	if err != nil || slices.ContainsFunc(again.Lookups, func(l resolver.Lookup) bool { return l.Source != "cache" }) {
		t.Errorf("the second time not all is from the cache: %v, %v", again, err)
	}
}

// "Exit 1 if there is none, saying which lookup decided it."
func TestExplainFailure(t *testing.T) {
	r, s := lab(t, "_im._sip.denied SRV 0 0 0 .\n_im._xmpp.denied SRV 0 0 0 .\n_im._xmpp.gone SRV 0 0 5269 nowhere\n_im._xmpp.inside SRV 0 0 5269 in\nin A 10.0.0.1\n", nil)
	s.SetFault("_im._xmpp.broken.example.net", resolvertest.Fault{Rcode: resolvertest.ServFail})
	for _, c := range []struct {
		domain, question string
		err              error
	}{
		{"denied.example.net", "_im._sip.denied.example.net SRV", resolver.ErrDenied},
		{"gone.example.net", "nowhere.example.net A", resolver.ErrNotFound},
		{"inside.example.net", "", resolver.ErrForbidden},
		{"broken.example.net", "_im._xmpp.broken.example.net SRV", resolver.ErrTemporary},
		{"nobody.example.net", "nobody.example.net A", resolver.ErrNotFound},
		{"single", "", resolver.ErrName},
		{"a..b", "", resolver.ErrName},
		{"192.0.2.1", "", resolver.ErrName},
	} {
		tr, err := r.Explain(t.Context(), resolver.Query{Service: resolver.IM, Domain: c.domain})
		if !errors.Is(err, c.err) || tr.Failure == nil || tr.Failure.Question != c.question || len(tr.Targets) > 0 {
			t.Errorf("%s: %v, %+v", c.domain, err, tr.Failure)
		}
		if !strings.Contains(tr.String(), "no target: ") {
			t.Errorf("%s: %s", c.domain, tr)
		}
		if _, err2 := r.Resolve(t.Context(), resolver.Query{Service: resolver.IM, Domain: c.domain}); !errors.Is(err2, c.err) || err2.Error() != err.Error() {
			t.Errorf("%s: Resolve says %v, Explain %v", c.domain, err2, err)
		}
	}
}

func TestQueryForms(t *testing.T) {
	for in, want := range map[string]string{
		"im:romeo@example.net": "im:example.net", "pres:example.net": "pres:example.net", "IM:a@b@EXAMPLE.net.": "im:example.net",
		"sip:a@example.net:5060;transport=TCP": "sip:example.net:5060;transport=tcp", "sips:example.net": "sips:example.net",
		"xmpp:romeo@example.net/balcony": "xmpp:example.net", "sip:[2001:DB8::1]": "sip:[2001:db8::1]",
	} {
		q, err := resolver.ParseQuery(in)
		if err != nil || q.String() != want {
			t.Errorf("ParseQuery(%q) = %q, %v, want %q", in, q, err, want)
		}
	}
	for _, in := range []string{"", "im", "im:", "im:a@", "mailto:a@b.example", "im:192.0.2.1", "xmpp:a/b/c d", "sip:a;lr", "im:a@b c.example", "sip:a;name=b.example"} {
		if q, err := resolver.ParseQuery(in); err == nil && in != "xmpp:a/b/c d" {
			t.Errorf("ParseQuery(%q) = %v", in, q)
		}
	}
	r, _ := lab(t, "", nil)
	for _, q := range []resolver.Query{
		{},
		{Service: 99, Domain: "example.net"},
		{Service: resolver.IM, Domain: "example.net", Port: 5060},
		{Service: resolver.SIPService, Domain: "example.net", Transport: resolver.Component},
		{Service: resolver.SIPSService, Domain: "example.net", Transport: resolver.UDP},
		{Service: resolver.XMPPServer, Domain: "[::1]"},
	} {
		if _, err := r.Resolve(t.Context(), q); !errors.Is(err, resolver.ErrName) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestOnlyOneProtocol(t *testing.T) {
	r, s := lab(t, "_im._sip SRV 0 0 5061 a\n_im._xmpp SRV 0 0 5269 a\na A 192.0.2.1\n", nil)
	ts, err := r.Resolve(t.Context(), resolver.Query{Service: resolver.IM, Domain: "example.net", Only: resolver.XMPP})
	if err != nil || !slices.Equal(short(ts), []string{"xmpp/tcp 192.0.2.1:5269"}) {
		t.Error(short(ts), err)
	}
	for _, a := range s.Log() {
		if strings.Contains(a.Name, "_sip") || a.Type == "NAPTR" {
			t.Errorf("%s %s was asked", a.Name, a.Type)
		}
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	for _, c := range []resolver.Config{
		{Servers: []resolver.Server{}},
		{Servers: []resolver.Server{{}}},
		{ResolvConf: "/nonexistent/resolv.conf"},
		{Servers: make([]resolver.Server, 1), Policy: resolver.Policy{Order: []resolver.Step{9}}},
	} {
		if r, err := resolver.New(c); err == nil {
			r.Close()
			t.Errorf("%+v was taken", c)
		}
	}
}

func Example() {
	dns, err := resolvertest.Start(`
$ORIGIN example.net.
@           SOA ns hostmaster 1 3600 600 86400 60
_im._xmpp   SRV 0 0 5269 chat
chat        A   192.0.2.1
`, resolvertest.Options{})
	if err != nil {
		panic(err)
	}
	defer dns.Close()
	r, err := resolver.New(resolver.Config{
		Servers: dns.Servers(),
		Guard:   resolver.NewGuard(resolver.GuardConfig{Allow: labNetworks()}),
	})
	if err != nil {
		panic(err)
	}
	defer r.Close()
	tr, err := r.Explain(context.Background(), resolver.Query{Service: resolver.IM, Domain: "example.net"})
	for _, c := range tr.Targets {
		fmt.Println(c.Target, "-", c.Reason)
	}
	fmt.Println(err)
	// Output:
	// xmpp/tcp chat.example.net 192.0.2.1:5269 as example.net - _im._xmpp.example.net SRV, priority 0, weight 0
	// <nil>
}
