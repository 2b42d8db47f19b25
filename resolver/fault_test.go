package resolver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/resolver"
	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

const xmppRecords = "_xmpp-server._tcp SRV 0 0 5269 x\nx A 192.0.2.1\n"

// T-FI-15: DNS that lies, is slow, cut, lame or full, over real sockets.
func TestTFI15Faults(t *testing.T) {
	good := []string{"xmpp/tcp 192.0.2.1:5269"}
	for _, c := range []struct {
		name  string
		zone  string
		fault resolvertest.Fault
		at    string // the name that the fault is for; empty: all
		want  []string
		err   error
		cfg   func(*resolver.Config, *resolvertest.Options)
		check func(t *testing.T, s *resolvertest.Server)
	}{
		{
			name: "truncated: asked again over TCP", fault: resolvertest.Fault{Truncate: true}, want: good,
			check: func(t *testing.T, s *resolvertest.Server) {
				if !slices.ContainsFunc(s.Log(), func(a resolvertest.Asked) bool { return a.TCP }) {
					t.Error("no question over TCP")
				}
			},
		},
		{name: "SERVFAIL", fault: resolvertest.Fault{Rcode: resolvertest.ServFail}, err: resolver.ErrTemporary},
		{name: "REFUSED", fault: resolvertest.Fault{Rcode: resolvertest.Refused}, err: resolver.ErrTemporary},
		{name: "a server without EDNS0", fault: resolvertest.Fault{NoEDNS: true}, want: good},
		{name: "lame", fault: resolvertest.Fault{Lame: true}, err: resolver.ErrTemporary},
		{name: "NXDOMAIN", fault: resolvertest.Fault{Rcode: resolvertest.NXDomain}, err: resolver.ErrNotFound},
		{name: "SERVFAIL for the addresses alone", at: "x.example.net", fault: resolvertest.Fault{Rcode: resolvertest.ServFail}, err: resolver.ErrTemporary},
		{name: "slow but in time", fault: resolvertest.Fault{Delay: 300 * time.Millisecond}, want: good},
		{name: "forged ids before the answer", fault: resolvertest.Fault{Spoofs: 5, SpoofKind: resolvertest.WrongID}, want: good},
		{name: "forged questions before the answer", fault: resolvertest.Fault{Spoofs: 5, SpoofKind: resolvertest.WrongQuestion}, want: good},
		{name: "questions in place of answers", fault: resolvertest.Fault{Spoofs: 5, SpoofKind: resolvertest.NotResponse}, want: good},
		{
			name: "0x20 finds forged letters", fault: resolvertest.Fault{Spoofs: 5, SpoofKind: resolvertest.WrongCase}, want: good,
			cfg: func(c *resolver.Config, _ *resolvertest.Options) { c.CaseRandom = true },
		},
		{
			name: "a flood of forgeries: TCP instead (RFC 5452 §9.3)", fault: resolvertest.Fault{Spoofs: 100, SpoofKind: resolvertest.WrongID, OnlySpoofs: false}, want: good,
		},
		{name: "TTL 0", fault: resolvertest.Fault{TTL: 0}, zone: "$TTL 0\n" + xmppRecords, want: good},
		{
			name: "CNAME chain of 8", want: good,
			zone: "_xmpp-server._tcp CNAME c1\nc1 CNAME c2\nc2 CNAME c3\nc3 CNAME c4\nc4 CNAME c5\nc5 CNAME c6\nc6 CNAME c7\nc7 CNAME c8\nc8 SRV 0 0 5269 x\nx A 192.0.2.1\n",
		},
		{
			name: "CNAME chain of 9", err: resolver.ErrTemporary,
			zone: "_xmpp-server._tcp CNAME c1\nc1 CNAME c2\nc2 CNAME c3\nc3 CNAME c4\nc4 CNAME c5\nc5 CNAME c6\nc6 CNAME c7\nc7 CNAME c8\nc8 CNAME c9\nc9 SRV 0 0 5269 x\nx A 192.0.2.1\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			zone := c.zone
			if zone == "" {
				zone = xmppRecords
			}
			r, s := lab(t, zone, c.cfg)
			s.SetFault(c.at, c.fault)
			ts, err := r.Resolve(t.Context(), query(t, "xmpp:example.net"))
			if !slices.Equal(short(ts), c.want) || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("got %v, %v, want %v, %v", short(ts), err, c.want, c.err)
			}
			if c.check != nil {
				c.check(t, s)
			}
		})
	}
}

// T-FI-15, 4,000 RRs: they come over TCP, all are read, at most 16 servers with 8 addresses each are used, and each server costs two
// questions, not more. 4,000 A records and 1,700 SRV records are about what one DNS message holds.
func TestTFI15FourThousandRecords(t *testing.T) {
	var zone strings.Builder
	for i := range 1700 {
		fmt.Fprintf(&zone, "_xmpp-server._tcp SRV 10 %d %d h%d\n", i%7, 5000+i, i%200)
	}
	for i := range 200 {
		fmt.Fprintf(&zone, "h%d A 192.0.2.%d\n", i, 1+i)
	}
	for i := range 4000 {
		fmt.Fprintf(&zone, "many A 10.9.%d.%d\n", i/250, 1+i%250)
	}
	zone.WriteString("_xmpp-server._tcp.two SRV 0 0 5269 many\n")
	r, s := lab(t, zone.String(), func(c *resolver.Config, _ *resolvertest.Options) {
		c.Guard = resolver.NewGuard(resolver.GuardConfig{Allow: append(labNetworks(), netip.MustParsePrefix("10.9.0.0/16"))})
	})
	start := time.Now()
	ts, err := r.Resolve(t.Context(), query(t, "xmpp:example.net"))
	if err != nil || len(ts) != 16 {
		t.Errorf("%d targets, %v", len(ts), err)
	}
	if n := s.Queries(); n > 2*2+2*16 {
		t.Errorf("%d questions", n)
	}
	t.Logf("1,700 SRV records: %d questions, %v", s.Queries(), time.Since(start))
	start = time.Now()
	ts, err = r.Resolve(t.Context(), query(t, "xmpp:two.example.net"))
	if err != nil || len(ts) != 8 {
		t.Errorf("%d targets, %v", len(ts), err)
	}
	t.Logf("4,000 A records: %v", time.Since(start))
}

// RFC 6120 §3.2 with a dead server: the second server answers; the first is not waited for again once it is known to be down.
func TestSecondServer(t *testing.T) {
	dead, err := resolvertest.Start(labSOA, resolvertest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	dead.SetFault("", resolvertest.Fault{Rcode: resolvertest.ServFail})
	alive, err := resolvertest.Start(labSOA+xmppRecords, resolvertest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	r, _ := lab(t, "", func(c *resolver.Config, _ *resolvertest.Options) {
		c.Servers = append(dead.Servers(), alive.Servers()...)
	})
	if ts, err := r.Resolve(t.Context(), query(t, "xmpp:example.net")); err != nil || len(ts) != 1 {
		t.Error(ts, err)
	}
	for _, a := range dead.Log() {
		n := 0
		for _, b := range dead.Log() {
			if a.Name == b.Name && a.Type == b.Type {
				n++
			}
		}
		if n > 1 {
			t.Errorf("%s %s was asked %d times of a server that had answered badly", a.Name, a.Type, n)
		}
	}
}

// RFC 5452 §9.2: "Use an unpredictable query ID for outgoing queries, utilizing the full range available"; "Use an unpredictable
// source port for outgoing queries from the range of available ports".
func TestIDsAndPorts(t *testing.T) {
	r, s := lab(t, xmppRecords, func(c *resolver.Config, _ *resolvertest.Options) { c.CaseRandom = true })
	var wg sync.WaitGroup
	for i := range 150 {
		wg.Go(func() {
			r.Resolve(t.Context(), resolver.Query{Service: resolver.XMPPServer, Domain: fmt.Sprintf("d%d.example.net", i)})
		})
	}
	wg.Wait()
	ids, ports, high, mixed := map[uint16]bool{}, map[uint16]bool{}, 0, 0
	log := s.Log()
	for _, a := range log {
		ids[a.ID], ports[a.Port] = true, true
		if a.ID >= 0x8000 {
			high++
		}
		if a.RawName != strings.ToLower(a.RawName) {
			mixed++
		}
		if !a.WantsAD || !a.Recursed || a.UDPSize != 1232 {
			t.Fatalf("question %+v", a)
		}
	}
	n := len(log)
	if n < 600 || len(ids) < n*95/100 || len(ports) < n*95/100 || high < n*4/10 || high > n*6/10 || mixed < n*95/100 {
		t.Errorf("%d questions: %d ids, %d ports, %d ids in the upper half, %d in mixed case", n, len(ids), len(ports), high, mixed)
	}
	t.Logf("%d questions: %d ids, %d ports, %d ids in the upper half, %d in mixed case", n, len(ids), len(ports), high, mixed)
}

// testCertificate is a certificate for name and the pool that trusts it.
func testCertificate(t testing.TB, name string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: k}}, NextProtos: []string{"dot"}}, pool
}

// DNS over TLS: the certificate is checked, connections are kept, nothing goes over UDP, and its AD bit may be believed.
func TestDNSOverTLS(t *testing.T) {
	conf, pool := testCertificate(t, "dns.example")
	s, err := resolvertest.Start(labSOA+xmppRecords, resolvertest.Options{TLS: conf, Authentic: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, _ := lab(t, "", func(c *resolver.Config, _ *resolvertest.Options) {
		c.Servers = []resolver.Server{{Addr: s.Addr(), TLSName: "dns.example", RootCAs: pool}}
	})
	ts, err := r.Resolve(t.Context(), query(t, "xmpp:example.net"))
	if err != nil || len(ts) != 1 || !ts[0].Secure() {
		t.Error(ts, err)
	}
	for _, a := range s.Log() {
		if !a.TCP {
			t.Errorf("%s %s went over UDP", a.Name, a.Type)
		}
	}
	for name, server := range map[string]resolver.Server{
		"another name":      {Addr: s.Addr(), TLSName: "dns2.example", RootCAs: pool},
		"another authority": {Addr: s.Addr(), TLSName: "dns.example", RootCAs: x509.NewCertPool()},
	} {
		r, _ := lab(t, "", func(c *resolver.Config, _ *resolvertest.Options) { c.Servers = []resolver.Server{server} })
		if ts, err := r.Resolve(t.Context(), query(t, "xmpp:example.net")); !errors.Is(err, resolver.ErrTemporary) {
			t.Errorf("%s: %v, %v", name, ts, err)
		}
	}
}

// RFC 4035's AD bit counts only from a server that is trusted, and only if the whole chain has it.
func TestAuthenticity(t *testing.T) {
	signed := func(insecure ...string) func(*resolver.Config, *resolvertest.Options) {
		return func(_ *resolver.Config, o *resolvertest.Options) { o.Authentic, o.Insecure = true, insecure }
	}
	distrust := func(c *resolver.Config, o *resolvertest.Options) { o.Authentic, c.AD = true, resolver.ADNever }
	const tlsa = "_5269._tcp.x TLSA 3 1 1 000102\n_5269._tcp.x TLSA 2 0 1 0a0b\n"
	for _, c := range []struct {
		name   string
		zone   string
		cfg    func(*resolver.Config, *resolvertest.Options)
		secure bool
		status resolver.TLSAStatus
		tlsa   int
	}{
		{"unsigned", xmppRecords + tlsa, nil, false, resolver.TLSAInsecure, 0},
		{"signed", xmppRecords + tlsa, signed(), true, resolver.TLSASecure, 2},
		{"signed without TLSA", xmppRecords, signed(), true, resolver.TLSANone, 0},
		{"distrusted", xmppRecords + tlsa, distrust, false, resolver.TLSAInsecure, 0},
		{"insecure address", xmppRecords + tlsa, signed("x.example.net"), false, resolver.TLSAInsecure, 0},
		{"insecure SRV", xmppRecords + tlsa, signed("_xmpp-server._tcp.example.net"), false, resolver.TLSAInsecure, 0},
		{"insecure alias", "_xmpp-server._tcp CNAME _x.other\n_x.other SRV 0 0 5269 x\nx A 192.0.2.1\n" + tlsa, signed("other.example.net"), false, resolver.TLSAInsecure, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, s := lab(t, c.zone, c.cfg)
			ts, err := r.Resolve(t.Context(), query(t, "xmpp:example.net"))
			if err != nil || len(ts) != 1 {
				t.Fatal(ts, err)
			}
			if g := ts[0]; g.Secure() != c.secure || g.TLSAStatus() != c.status || len(g.TLSA()) != c.tlsa {
				t.Errorf("secure %v, TLSA %v %v", g.Secure(), g.TLSAStatus(), g.TLSA())
			}
			asked := slices.ContainsFunc(s.Log(), func(a resolvertest.Asked) bool { return a.Type == "TLSA" })
			// RFC 7673 §3.2: "If no returned RRsets are "secure", the client MUST NOT perform a TLSA query".
			if asked != c.secure {
				t.Errorf("TLSA asked: %v", asked)
			}
		})
	}
}

// RFC 7673 §3.4: "If the TLSA response is "bogus" or "indeterminate" ..., then the client MUST NOT connect to the target server (the
// client can still use other SRV targets)."
func TestTLSAFails(t *testing.T) {
	r, s := lab(t, "_xmpp-server._tcp SRV 0 0 5269 x\n_xmpp-server._tcp SRV 1 0 5269 y\nx A 192.0.2.1\ny A 192.0.2.2\n",
		func(_ *resolver.Config, o *resolvertest.Options) { o.Authentic = true })
	s.SetFault("_5269._tcp.x.example.net", resolvertest.Fault{Rcode: resolvertest.ServFail})
	ts, err := r.Resolve(t.Context(), query(t, "xmpp:example.net"))
	if err != nil || !slices.Equal(short(ts), []string{"xmpp/tcp 192.0.2.2:5269"}) {
		t.Error(short(ts), err)
	}
}

// T-TL-05: whatever DNS says, the reference identity is the source domain.
func TestTTL05ReferenceIdentity(t *testing.T) {
	r, _ := lab(t, "_im._xmpp CNAME _im._xmpp.evil.example.\n_im._xmpp.evil.example. SRV 0 0 5269 evil.example.\nevil.example. A 192.0.2.66\n"+
		"@ NAPTR 1 1 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.evil.example.\n_sips._tcp.evil.example. SRV 0 0 5061 evil.example.\n", nil)
	for _, q := range []string{"im:a@example.net", "sip:example.net", "sips:example.net"} {
		ts, err := r.Resolve(t.Context(), query(t, q))
		if err != nil || ts[0].ServerName() != "example.net" || ts[0].Host() != "evil.example" || ts[0].Secure() {
			t.Errorf("%s: %v, %v", q, ts, err)
		}
	}
}

func TestStaticByName(t *testing.T) {
	r, _ := lab(t, "proxy A 192.0.2.1\n_sips._tcp.proxy SRV 0 0 5061 p2\np2 A 192.0.2.2\nlow A 192.0.2.3\n", nil)
	for in, want := range map[string]string{
		"sip:proxy.example.net:5070;transport=tcp": "sip/tcp proxy.example.net 192.0.2.1:5070 as proxy.example.net",
		"sips:proxy.example.net":                   "sip/tls p2.example.net 192.0.2.2:5061 as proxy.example.net",
		"xmpp:proxy.example.net":                   "xmpp/tcp proxy.example.net 192.0.2.1:5269 as romeo.example",
		"xmpps:proxy.example.net:443":              "xmpp/tls proxy.example.net 192.0.2.1:443 as romeo.example",
		"component:proxy.example.net:5347":         "xmpp/component proxy.example.net 192.0.2.1:5347 as romeo.example",
		"component:low.example.net:347":            "xmpp/component low.example.net 192.0.2.3:347 as romeo.example",
		"sip:127.0.0.1:5060":                       "sip/udp 127.0.0.1 127.0.0.1:5060 as romeo.example",
	} {
		ts, err := r.Static(t.Context(), resolver.MustParseStatic(in), "romeo.example")
		if err != nil || len(ts) == 0 || ts[0].String() != want {
			t.Errorf("%s gives %v, %v, want %s", in, ts, err, want)
		}
	}
	if as, err := r.Addresses(t.Context(), "proxy.example.net"); err != nil || !slices.Equal(as, []netip.Addr{netip.MustParseAddr("192.0.2.1")}) {
		t.Error(as, err)
	}
}

// RFC 8305 §4 and RFC 6157 §5: families take turns, what has no route goes last.
func TestAddressOrder(t *testing.T) {
	const zone = "_xmpp-server._tcp SRV 0 0 5269 x\nx A 192.0.2.1\nx A 192.0.2.2\nx AAAA 2001:db8::1\nx AAAA 2001:db8::2\nx AAAA 2001:db8::3\n"
	for _, c := range []struct {
		name  string
		route func(netip.Addr) bool
		fam   resolver.Families
		want  string
	}{
		{"both", func(netip.Addr) bool { return true }, resolver.Both, "[2001:db8::1] 192.0.2.1 [2001:db8::2] 192.0.2.2 [2001:db8::3]"},
		{"no IPv6 route", netip.Addr.Is4, resolver.Both, "192.0.2.1 192.0.2.2 [2001:db8::1] [2001:db8::2] [2001:db8::3]"},
		{"no IPv4 route", netip.Addr.Is6, resolver.Both, "[2001:db8::1] [2001:db8::2] [2001:db8::3] 192.0.2.1 192.0.2.2"},
		{"only IPv4", func(netip.Addr) bool { return true }, resolver.OnlyIPv4, "192.0.2.1 192.0.2.2"},
		{"only IPv6", func(netip.Addr) bool { return true }, resolver.OnlyIPv6, "[2001:db8::1] [2001:db8::2] [2001:db8::3]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := lab(t, zone, func(cfg *resolver.Config, _ *resolvertest.Options) { cfg.Policy.Families = c.fam })
			r.SetRoute(c.route)
			ts, err := r.Resolve(t.Context(), query(t, "xmpp:example.net"))
			var got []string
			for _, tg := range ts {
				got = append(got, strings.TrimSuffix(tg.Addr().String(), ":5269"))
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}
