package sip

import (
	"net/netip"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Where a request within a dialog goes, by what the dialog names and how it came about (RFC 3261 §12.2.1.1, RFC 7118 §5).
func TestDialogHops(t *testing.T) {
	ca := certstest.NewCA(t)
	a, _ := start(t, func(c *Config) {
		c.Certificates = storeFor(t, ca, []string{"gateway.example.net"})
		c.Listeners = append(c.Listeners, transaction.Listener{Transport: resolver.TLS, Address: "127.0.0.1:0"},
			transaction.Listener{Transport: resolver.WSS, Address: "127.0.0.1:0"})
	})
	plain := &Peer{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}}
	proven := &Peer{Networks: plain.Networks, Certificates: []string{"proxy.example.net"}}
	given := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: netip.MustParseAddrPort("198.51.100.1:5060")})
	for _, v := range []struct {
		name   string
		peer   *Peer
		dialog Dialog
		given  bool
		want   []string
	}{
		{"UDP by default", plain, Dialog{RemoteTarget: "sip:u@192.0.2.7"}, false, []string{"sip/udp 192.0.2.7 192.0.2.7:5060"}},
		{"IPv6", plain, Dialog{RemoteTarget: "sip:u@[2001:db8::7]:5070;transport=tcp"}, true, []string{"sip/tcp 2001:db8::7 [2001:db8::7]:5070", given.String()}},
		{"another's address", plain, Dialog{RemoteTarget: "sip:u@203.0.113.7"}, true, []string{given.String()}},
		{"TLS to an address of a peer with a certificate", proven, Dialog{RemoteTarget: "sip:u@192.0.2.7;transport=tls"}, false, []string{"sip/tls 192.0.2.7 192.0.2.7:5061 as proxy.example.net"}},
		{"TLS to an address that nothing could prove", plain, Dialog{RemoteTarget: "sip:u@192.0.2.7;transport=tls"}, true, []string{given.String()}},
		{"WebSocket that has gone", plain, Dialog{RemoteTarget: "sip:u@df7jal23ls0d.invalid;transport=ws", Source: "192.0.2.7:49152", Transport: "wss", Connection: 7}, true, nil},
		{"the source, when there is nothing else", proven, Dialog{RemoteTarget: "sip:u@host.example", Source: "192.0.2.7:49152", Transport: "tls"}, false, []string{"sip/tls 192.0.2.7 192.0.2.7:49152 as proxy.example.net"}},
	} {
		var hops []resolver.Target
		if v.given {
			hops = append(hops, given)
		}
		hops = a.dialogHops(&v.dialog, v.peer, hops)
		if len(hops) != len(v.want) {
			t.Errorf("%s: %v, should be %v", v.name, hops, v.want)
			continue
		}
		for i := range hops {
			if hops[i].String() != v.want[i] {
				t.Errorf("%s: %s, should be %s", v.name, hops[i], v.want[i])
			}
		}
	}
	if c, ok := a.contact("romeo", resolver.WSS); !ok || c[len(c)-len(";transport=ws"):] != ";transport=ws" {
		t.Errorf("contact over WSS %q", c)
	}
}
