package lab

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// DNS is a Knot that serves the zones of a test, over UDP and TCP.
type DNS struct {
	// Port is its port on 127.0.0.1.
	Port int
}

// ServerRecords are the records by which the XMPP server of a domain is found: _xmpp-server for a stream that begins with STARTTLS and
// _xmpps-server for one that begins with TLS (XEP-0368), each unless its port is 0. The host is "localhost.", because ejabberd asks the name
// server of the lab for SRV records only, and the system for addresses.
func ServerRecords(port, directTLS int) string {
	text := ""
	if port != 0 {
		text += fmt.Sprintf("_xmpp-server._tcp SRV 10 1 %d localhost.\n", port)
	}
	if directTLS != 0 {
		text += fmt.Sprintf("_xmpps-server._tcp SRV 5 1 %d localhost.\n", directTLS)
	}
	return text
}

// StartDNS starts a name server with the zones, by domain: each is given as its records beside SOA and NS, with names relative to it.
func StartDNS(t testing.TB, zones map[string]string) *DNS {
	t.Helper()
	program := need(t, "knotd", "/usr/sbin/knotd")
	d := &DNS{Port: FreePorts(t, 1)[0]}
	dir := t.TempDir()
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n  rundir: %q\n  listen: 127.0.0.1@%d\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n", dir, d.Port)
	fmt.Fprintf(&conf, "log:\n  - target: stderr\n    any: info\ndatabase:\n  storage: %q\n", dir)
	fmt.Fprintf(&conf, "template:\n  - id: default\n    storage: %q\n    file: \"%%s.zone\"\n    zonefile-sync: -1\n    journal-content: none\nzone:\n", dir)
	zones = maps.Clone(zones)
	zones["localhost"] = "@ A 127.0.0.1\n"
	var names []string
	for name := range zones {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		write(t, dir, name+".zone", "$ORIGIN "+name+".\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\n"+zones[name])
		fmt.Fprintf(&conf, "  - domain: %s\n", name)
	}
	start(t, dir, "knot", exec.Command(program, "-c", write(t, dir, "knot.conf", conf.String())))
	ask := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", d.Port))
	}}
	Eventually(t, time.Minute, "Knot serves its zones", func() bool {
		return !slices.ContainsFunc(names, func(name string) bool {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := ask.LookupNS(ctx, name+".")
			return err != nil
		})
	})
	return d
}
