package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

const resolveZone = `
$ORIGIN example.net.
$TTL 60
@          IN SOA   ns hostmaster 1 3600 600 86400 60
@          IN NS    ns
ns         IN A     127.0.0.1
_im._sip   IN SRV   10 0 5062 second
_im._sip   IN SRV   5 0 5062 first
first      IN A     192.0.2.1
second     IN A     192.0.2.2
none       IN SRV   0 0 0 .
_im._sip.inside IN SRV 0 0 5062 loop
loop       IN A     127.0.0.1
`

// resolve asks the server, and no other; it prints every question and the targets in order, and exits 1 if there is none.
func TestResolve(t *testing.T) {
	dns, err := resolvertest.Start(resolveZone, resolvertest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	server := dns.Addr().String()
	for _, c := range []struct {
		name string
		args []string
		code int
		out  []string // in this order
	}{
		{"targets in order", []string{"im:romeo@example.net"}, 0, []string{"? _im._sip.example.net SRV", "1. sip/", "first.example.net 192.0.2.1:5062", "2. sip/", "second.example.net 192.0.2.2:5062"}},
		{"no such domain", []string{"im:romeo@nowhere.example.net"}, 1, []string{"? _im._sip.nowhere.example.net SRV", "no target"}},
		{"an address that must not be reached", []string{"im:romeo@inside.example.net"}, 1, []string{"x loop.example.net 127.0.0.1", "no target"}},
		{"allowed for a laboratory", []string{"--allow", "127.0.0.0/8", "im:romeo@inside.example.net"}, 0, []string{"1. sip/", "127.0.0.1:5062"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The documentation networks are reserved as well (RFC 5737), so the test allows them.
			args := append([]string{"resolve", "--server", server, "--allow", "192.0.2.0/24"}, c.args...)
			got := isthmus(t, "", nil, args...)
			rest := got.out
			for _, part := range c.out {
				_, after, found := strings.Cut(rest, part)
				if !found {
					t.Errorf("%q is not in its place:\n%s", part, got.out)
				}
				rest = after
			}
			if got.code != c.code || (got.err == "") != (c.code == 0) {
				t.Errorf("exit code %d, %s\n%s", got.code, got.err, got.out)
			}
			got = isthmus(t, "", nil, append([]string{"resolve", "--json", "--server", server, "--allow", "192.0.2.0/24"}, c.args...)...)
			var trace struct {
				Query   string           `json:"query"`
				Lookups []map[string]any `json:"lookups"`
				Targets []map[string]any `json:"targets"`
				Failure map[string]any   `json:"failure"`
			}
			if err := json.Unmarshal([]byte(got.out), &trace); err != nil || strings.Count(got.out, "\n") != 1 {
				t.Fatalf("%v: %s", err, got.out)
			}
			if len(trace.Lookups) == 0 || (len(trace.Targets) > 0) != (c.code == 0) || (trace.Failure != nil) != (c.code != 0) {
				t.Errorf("JSON: %s", got.out)
			}
		})
	}
}
