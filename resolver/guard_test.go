package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/resolver"
	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

// forbidden are addresses that a stranger's DNS must not make us dial: at least one of every block of the IANA registries and of
// the forms that hide an IPv4 address.
func forbidden() []string {
	return []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.8", "192.0.0.170", "192.0.2.1", "192.31.196.1", "192.52.193.1",
		"192.88.99.1", "192.168.1.1", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
		"239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1",
		"2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1", "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fd12::1",
		"fe80::1", "fec0::1", "ff02::1", "::ffff:0:127.0.0.1", "4000::1", "2600::200:5efe:7f00:1",
		"2001:0:102:304:0:0:80ff:fffe",
	}
}

func TestGuardRegistry(t *testing.T) {
	g := resolver.NewGuard(resolver.GuardConfig{})
	for _, s := range append(forbidden(), "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "fe80::1%lo", "2600::1%eth0") {
		a := netip.MustParseAddr(s)
		if err := g.AllowAddr(a); !errors.Is(err, resolver.ErrForbidden) {
			t.Errorf("%s: %v", s, err)
		}
		var none *resolver.Guard
		if err := none.AllowAddr(a); !errors.Is(err, resolver.ErrForbidden) {
			t.Errorf("the nil Guard on %s: %v", s, err)
		}
	}
	if g.AllowAddr(netip.Addr{}) == nil {
		t.Error("no address was allowed")
	}
	for _, s := range []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "172.15.255.255",
		"172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:1.1.1.1",
		"2001:200::1", "2600::1", "2a00:1450::1", "2003::1", "2001:db7:ffff::1", "2001:db9::1",
	} {
		if err := g.AllowAddr(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestGuardAllow(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		name  string
		allow []netip.Prefix
		addr  string
		ok    bool
	}{
		{"private network", []netip.Prefix{prefix("10.1.0.0/16")}, "10.1.2.3", true},
		{"its neighbour", []netip.Prefix{prefix("10.1.0.0/16")}, "10.2.2.3", false},
		{"in mapped form", []netip.Prefix{prefix("10.1.0.0/16")}, "::ffff:10.1.2.3", true},
		{"allowed in mapped form", []netip.Prefix{prefix("::ffff:10.1.0.0/112")}, "10.1.2.3", true},
		{"mask not clean", []netip.Prefix{prefix("10.1.2.3/16")}, "10.1.9.9", true},
		{"NAT64 and public", []netip.Prefix{prefix("64:ff9b::/96")}, "64:ff9b::101:101", true},
		{"NAT64 and loopback", []netip.Prefix{prefix("64:ff9b::/96")}, "64:ff9b::7f00:1", false},
		{"NAT64 and private", []netip.Prefix{prefix("64:ff9b::/96"), prefix("10.0.0.0/8")}, "64:ff9b::a00:1", true},
		{"private but not NAT64", []netip.Prefix{prefix("10.0.0.0/8")}, "64:ff9b::a00:1", false},
		{"6to4 and private", []netip.Prefix{prefix("2002::/16")}, "2002:a00:1::1", false},
		{"loopback, for laboratories", []netip.Prefix{prefix("127.0.0.0/8"), prefix("::1/128")}, "::1", true},
		{"ISATAP under an allowed prefix", []netip.Prefix{prefix("fd00::/8")}, "fd00::5efe:7f00:1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := resolver.NewGuard(resolver.GuardConfig{Allow: c.allow}).AllowAddr(netip.MustParseAddr(c.addr))
			if (err == nil) != c.ok {
				t.Errorf("%s with %v: %v", c.addr, c.allow, err)
			}
		})
	}
}

func TestGuardControl(t *testing.T) {
	g := resolver.NewGuard(resolver.GuardConfig{})
	for _, c := range []struct{ name, network, addr string }{
		{"unix socket", "unix", "/run/x"},
		{"raw IP", "ip4:icmp", "1.1.1.1"},
		{"no port", "tcp4", "1.1.1.1"},
		{"a name", "tcp4", "example.net:80"},
		{"a zone", "tcp6", "[fe80::1%lo]:80"},
		{"octal that other parsers read as loopback", "tcp4", "0177.0.0.1:80"},
		{"mapped", "tcp6", "[::ffff:127.0.0.1]:80"},
	} {
		if err := g.Control(c.network, c.addr, nil); !errors.Is(err, resolver.ErrForbidden) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := g.Control("tcp4", "1.1.1.1:5060", nil); err != nil {
		t.Error(err)
	}
}

// T-TL-12: 40 addresses and more, by A, AAAA, SRV, CNAME, NAPTR, a numeric URI and rebinding; none is given out, none is dialled.
func TestTTL12SSRF(t *testing.T) {
	open := make(map[string]bool)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			t.Error("somebody reached the listener on the loopback address")
			c.Close()
		}
	}()
	var zone strings.Builder
	addrs := forbidden()
	if len(addrs) < 40 {
		t.Fatalf("only %d addresses", len(addrs))
	}
	for i, s := range addrs {
		kind := "AAAA"
		if netip.MustParseAddr(s).Is4() {
			kind = "A"
		}
		fmt.Fprintf(&zone, "h%d %s %s\nc%d CNAME h%d\n_im._xmpp.s%d SRV 0 0 5269 h%d\n_im._sip.k%d SRV 0 0 5060 c%d\n", i, kind, s, i, i, i, i, i, i)
		fmt.Fprintf(&zone, "n%d NAPTR 1 1 \"s\" \"SIP+D2T\" \"\" _sip._tcp.n%d\n_sip._tcp.n%d SRV 0 0 5060 h%d\n", i, i, i, i)
	}
	r, s := lab(t, zone.String(), func(c *resolver.Config, _ *resolvertest.Options) { c.Guard = nil })
	dialler := net.Dialer{Timeout: 2 * time.Second, Control: r.Guard().Control}
	for i, addr := range addrs {
		lit := addr
		if strings.Contains(lit, ":") {
			lit = "[" + lit + "]"
		}
		for _, uri := range []string{
			fmt.Sprintf("im:a@h%d.example.net", i), fmt.Sprintf("xmpp:h%d.example.net", i), fmt.Sprintf("im:a@c%d.example.net", i),
			fmt.Sprintf("im:a@s%d.example.net", i), fmt.Sprintf("im:a@k%d.example.net", i), fmt.Sprintf("sip:n%d.example.net", i),
			"sip:" + lit, "sips:" + lit,
		} {
			ts, err := r.Resolve(t.Context(), query(t, uri))
			if !errors.Is(err, resolver.ErrForbidden) || len(ts) > 0 {
				t.Errorf("%s (%s) gives %v, %v", uri, addr, ts, err)
			}
		}
		if c, err := dialler.Dial("tcp", lit+":5060"); !errors.Is(err, resolver.ErrForbidden) {
			open[addr] = true
			t.Errorf("dialling %s: %v, %v", addr, c, err)
		}
	}
	// Rebinding: the name was fine when it was looked at, and points to us when it is dialled.
	port := netip.MustParseAddrPort(listener.Addr().String()).Port()
	if err := s.SetZone(labSOA + "re A 127.0.0.1\nre AAAA ::1\n"); err != nil {
		t.Fatal(err)
	}
	dialler.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Addr().String())
	}}
	if c, err := dialler.Dial("tcp", fmt.Sprintf("re.example.net:%d", port)); !errors.Is(err, resolver.ErrForbidden) {
		t.Errorf("rebinding: %v, %v", c, err)
	}
	t.Logf("%d addresses by 8 kinds of address and rebinding: %d dialled", len(addrs), len(open))
}

// An AAAA record with an IPv4 address inside belongs to nobody, whatever the Guard allows.
func TestMappedInAAAA(t *testing.T) {
	r, _ := lab(t, "_im._xmpp SRV 0 0 5269 a\na AAAA ::ffff:192.0.2.1\n", nil)
	if ts, err := r.Resolve(t.Context(), query(t, "im:a@example.net")); err == nil {
		t.Errorf("got %v", ts)
	}
}

func BenchmarkGuardAllowAddr(b *testing.B) {
	b.ReportAllocs()
	g := resolver.NewGuard(resolver.GuardConfig{Allow: labNetworks()})
	a := netip.MustParseAddr("2a00:1450::1")
	for b.Loop() {
		if g.AllowAddr(a) != nil {
			b.Fatal("refused")
		}
	}
}
