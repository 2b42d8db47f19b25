package resolver

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseStatic(t *testing.T) {
	for _, c := range []struct{ name, in, out, rule string }{
		{"sip tcp", "sip:127.0.0.1:5060;transport=tcp", "sip:127.0.0.1:5060;transport=tcp", ""},
		{"sip bare name", "sip:Proxy.Example.NET", "sip:proxy.example.net", ""},
		{"sips", "sips:proxy.example.net", "sips:proxy.example.net", ""},
		{"sips tcp is tls", "SIPS:proxy.example.net;Transport=TCP", "sips:proxy.example.net", ""},
		{"sips wss", "sips:proxy.example.net;transport=wss", "sips:proxy.example.net;transport=wss", ""},
		{"IPv6", "xmpp:[2001:DB8::1]:5269", "xmpp:[2001:db8::1]:5269", ""},
		{"mapped IPv4", "sip:[::ffff:192.0.2.1]", "sip:192.0.2.1", ""},
		{"direct TLS", "xmpps:x.example.net:5270;name=example.net", "xmpps:x.example.net:5270;name=example.net", ""},
		{"component", "component:[::1]:5347", "component:[::1]:5347", ""},
		{"U-label", "xmpp:bücher.example", "xmpp:xn--bcher-kva.example", ""},
		{"empty", "", "", "scheme"},
		{"no scheme", "proxy.example.net", "", "scheme"},
		{"unknown scheme", "http:proxy.example.net", "", "scheme"},
		{"no host", "sip:", "", "domain"},
		{"port 0", "sip:a.example:0", "", "port"},
		{"port with sign", "sip:a.example:+5060", "", "port"},
		{"port too large", "sip:a.example:65536", "", "port"},
		{"port empty", "sip:a.example:", "", "port"},
		{"component without port", "component:a.example", "", "port"},
		{"direct TLS without port", "xmpps:a.example", "", "port"},
		{"bare IPv6", "sip:2001:db8::1", "", "address"},
		{"zone", "sip:[fe80::1%25eth0]", "", "address"},
		{"transport on xmpp", "xmpp:a.example;transport=tcp", "", "transport"},
		{"sips udp", "sips:a.example;transport=udp", "", "transport"},
		{"sctp", "sip:a.example;transport=sctp", "", "transport"},
		{"component transport", "sip:a.example;transport=component", "", "transport"},
		{"transport twice", "sip:a.example;transport=tcp;transport=udp", "", "transport"},
		{"unknown parameter", "sip:a.example;lr", "", "parameter"},
		{"space", "sip:a b.example", "", "character"},
		{"newline", "sip:a.example\r\n", "", "character"},
		{"number as host", "sip:1.2.3", "", "address"},
		{"too long", "sip:" + strings.Repeat("a", 1100), "", "length"},
		{"label too long", "sip:" + strings.Repeat("a", 64) + ".example", "", "label"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, err := ParseStatic(c.in)
			if c.rule != "" {
				var se *SyntaxError
				if !errors.As(err, &se) || se.Rule != c.rule {
					t.Fatalf("ParseStatic(%q) = %v, %v, want rule %q", c.in, st, err, c.rule)
				}
				return
			}
			if err != nil || st.String() != c.out {
				t.Fatalf("ParseStatic(%q) = %q, %v, want %q", c.in, st, err, c.out)
			}
			if again := MustParseStatic(c.out); again != st {
				t.Errorf("printed form reads as %#v, not %#v", again, st)
			}
		})
	}
}

func TestStaticTarget(t *testing.T) {
	tg, ok := MustParseStatic("sip:192.0.2.7").Target("example.net")
	want := netip.MustParseAddrPort("192.0.2.7:5060")
	if !ok || tg.Addr() != want || tg.Transport() != UDP || tg.ServerName() != "example.net" {
		t.Errorf("sip by address: %v %v", tg, ok)
	}
	if tg, ok := MustParseStatic("sips:192.0.2.7;name=proxy.example.net").Target("example.net"); !ok || tg.ServerName() != "proxy.example.net" ||
		tg.Addr().Port() != 5061 || tg.Transport() != TLS {
		t.Errorf("sips by address with name: %v %v", tg, ok)
	}
	if _, ok := MustParseStatic("sips:proxy.example.net").Target("example.net"); ok {
		t.Error("a name needs DNS")
	}
	if n := MustParseStatic("sips:proxy.example.net").ServerName("example.net"); n != "proxy.example.net" {
		t.Errorf("SIP's AUS is the proxy's name, got %q", n)
	}
	if n := MustParseStatic("xmpp:x.example.net").ServerName("example.net"); n != "example.net" {
		t.Errorf("XMPP's reference identity is the 'to' domain, got %q", n)
	}
}

func TestParseDomain(t *testing.T) {
	for _, c := range []struct{ name, in, out string }{
		{"plain", "example.net", "example.net"},
		{"upper case and last dot", "EXAMPLE.net.", "example.net"},
		{"U-label", "bücher.example", "xn--bcher-kva.example"},
		{"fullwidth", "ｅｘａｍｐｌｅ.net", "example.net"},
		{"ideographic dot", "example。net", "example.net"},
		{"A-label", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"fake A-label", "xn--abc.example", ""},
		{"A-label of ASCII", "xn--abc-.example", ""},
		{"empty", "", ""},
		{"root", ".", ""},
		{"two dots", "a..b", ""},
		{"two last dots", "a.b..", ""},
		{"underscore", "_sip._tcp.example.net", ""},
		{"NUL", "a\x00b.net", ""},
		{"IPv4", "127.0.0.1", ""},
		{"fullwidth IPv4", "１２７.0.0.1", ""},
		{"IPv6", "::1", ""},
		{"hyphen", "-a.net", ""},
		{"bidi", "א1b.example", ""},
		{"invalid UTF-8", "a\xff.net", ""},
		{"254 octets", strings.Repeat("a.", 126) + "ab", ""},
		{"253 octets", strings.Repeat("a.", 126) + "b", strings.Repeat("a.", 126) + "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseDomain(c.in)
			if got != c.out || (err == nil) != (c.out != "") {
				t.Errorf("ParseDomain(%q) = %q, %v, want %q", c.in, got, err, c.out)
			}
		})
	}
}

func TestNewTarget(t *testing.T) {
	ap := netip.MustParseAddrPort("[::ffff:192.0.2.1]:5061")
	tg, err := NewTarget(TargetSpec{Protocol: SIP, Transport: TLS, Host: "A.example", Addr: ap, ServerName: "Example.net"})
	if err != nil || tg.String() != "sip/tls a.example 192.0.2.1:5061 as example.net" {
		t.Errorf("got %v, %v", tg, err)
	}
	if tg != MustTarget(TargetSpec{Protocol: SIP, Transport: TLS, Host: "a.example", Addr: ap, ServerName: "example.net"}) {
		t.Error("equal specs make unequal targets")
	}
	for _, bad := range []TargetSpec{
		{},
		{Protocol: SIP, Transport: Component, Addr: ap},
		{Protocol: XMPP, Transport: UDP, Addr: ap},
		{Protocol: SIP, Transport: UDP},
		{Protocol: SIP, Transport: UDP, Addr: netip.MustParseAddrPort("192.0.2.1:0")},
		{Protocol: SIP, Transport: UDP, Addr: ap, Host: "a b"},
		{Protocol: SIP, Transport: UDP, Addr: ap, ServerName: "192.0.2.1"},
	} {
		if _, err := NewTarget(bad); err == nil {
			t.Errorf("NewTarget(%+v) did not fail", bad)
		}
	}
}

func TestTLSAPacking(t *testing.T) {
	recs := []TLSA{{3, 1, 1, "abc"}, {2, 0, 0, ""}, {3, 1, 2, strings.Repeat("x", 4096)}}
	got := Target{tlsaWire: packTLSA(recs)}.TLSA()
	if len(got) != 3 || got[0] != recs[0] || got[1] != recs[1] || got[2] != recs[2] {
		t.Errorf("got %v", got)
	}
	if got := (Target{tlsaWire: packTLSA([]TLSA{{3, 1, 1, strings.Repeat("x", 4097)}})}).TLSA(); len(got) != 0 {
		t.Error("an oversized record was kept")
	}
}

func FuzzParseStatic(f *testing.F) {
	for _, s := range []string{
		"sip:127.0.0.1:5060;transport=tcp", "sips:a.example;name=b.example", "xmpp:[::1]", "xmpps:bücher.example:5270",
		"component:localhost:5347", "sip:;", "sip:[", "sip:a:b:c", "sip:xn--a.b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		st, err := ParseStatic(s)
		if err != nil {
			var se *SyntaxError
			if !errors.As(err, &se) || se.Offset < 0 || se.Offset > len(s) {
				t.Fatalf("ParseStatic(%q): %#v", s, err)
			}
			return
		}
		again, err := ParseStatic(st.String())
		if err != nil || again != st {
			t.Fatalf("ParseStatic(%q) = %#v prints %q, reads %#v, %v", s, st, st, again, err)
		}
		if tg, ok := st.Target("example.net"); ok && (!tg.Addr().IsValid() || tg.Addr().Port() == 0) {
			t.Fatalf("ParseStatic(%q) gives %v", s, tg)
		}
	})
}
