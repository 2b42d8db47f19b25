package certs_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// general is one GeneralName with an implicit tag.
func general(tag int, compound bool, content string) []byte {
	return certstest.Element(asn1.ClassContextSpecific, tag, compound, []byte(content))
}

func sequence(elements ...[]byte) []byte {
	return certstest.Element(asn1.ClassUniversal, asn1.TagSequence, true, bytes.Join(elements, nil))
}

func text(tag int, s string) []byte {
	return certstest.Element(asn1.ClassUniversal, tag, false, []byte(s))
}

// X12: RFC 5280 §4.2.1.6, RFC 6120 §13.7.1.4. One row for each way to be wrong.
func TestParseSAN_T_TL_06(t *testing.T) {
	srv := func(s string) []byte { return certstest.OtherName(certstest.SRVName, text(asn1.TagIA5String, s)) }
	addr := func(s string) []byte { return certstest.OtherName(certstest.XMPPAddr, text(asn1.TagUTF8String, s)) }
	oid := must(asn1.Marshal(certstest.XMPPAddr))
	strange := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 9}
	for _, c := range []struct {
		name string
		der  []byte
		rule string // "": well-formed
		want string // the names, joined
	}{
		{"all kinds", sequence(
			general(2, false, "Example.net"), general(6, false, "sip:example.net"), srv("_xmpp-server.example.net"), addr("bücher.example"),
			general(1, false, "romeo@example.net"), general(7, false, "\x7f\x00\x00\x01"), general(8, false, "\x2a\x03"),
			general(4, true, string(sequence())), general(3, true, ""), general(5, true, ""),
		), "", "Example.net sip:example.net _xmpp-server.example.net bücher.example"},
		{"no name", sequence(), "", ""},
		{"an otherName of another kind", sequence(certstest.OtherName(strange, text(asn1.TagBMPString, "\x00\x00"))), "", ""},
		{"an otherName of another kind that holds a sequence", sequence(certstest.OtherName(strange, sequence())), "", ""},
		{"a wildcard", sequence(general(2, false, "*.example.net")), "", "*.example.net"},

		{"nothing", nil, "san-der", ""},
		{"no sequence", text(asn1.TagUTF8String, "x"), "san-der", ""},
		{"octets after the sequence", append(sequence(), 0), "san-der", ""},
		{"length longer than the value", []byte{0x30, 0x05, 0x82, 0x01, 'x'}, "san-der", ""},
		{"length not the shortest", []byte{0x30, 0x81, 0x03, 0x82, 0x01, 'x'}, "san-der", ""},
		{"length without end", []byte{0x30, 0x80, 0x82, 0x01, 'x', 0, 0}, "san-der", ""},
		{"a universal element as name", sequence(text(asn1.TagIA5String, "example.net")), "san-der", ""},
		{"a name cut short", []byte{0x30, 0x03, 0x82, 0x05, 'x'}, "san-der", ""},
		{"a tag that is no name's", sequence(general(9, false, "x")), "san-der", ""},
		{"a dNSName in parts", sequence(general(2, true, string(text(asn1.TagIA5String, "example.net")))), "san-der", ""},
		{"an otherName that is one octet string", sequence(general(0, false, "x")), "san-der", ""},

		{"NUL in a dNSName", sequence(general(2, false, "example.net\x00.example.org")), "name-octet", ""},
		{"blank before a dNSName", sequence(general(2, false, " example.net")), "name-octet", ""},
		{"line break after a dNSName", sequence(general(2, false, "example.net\n")), "name-octet", ""},
		{"UTF-8 in a dNSName", sequence(general(2, false, "bücher.example")), "name-octet", ""},
		{"a URI as dNSName", sequence(general(2, false, "sip:example.net")), "name-octet", ""},
		{"empty dNSName", sequence(general(2, false, "")), "name-empty", ""},
		{"long dNSName", sequence(general(2, false, strings.Repeat("a", 2049))), "name-length", ""},
		{"NUL in a URI", sequence(general(6, false, "sip:example.net\x00")), "name-octet", ""},
		{"blank in a URI", sequence(general(6, false, "sip: example.net")), "name-octet", ""},
		{"DEL in a URI", sequence(general(6, false, "sip:example.net\x7f")), "name-octet", ""},
		{"UTF-8 in a URI", sequence(general(6, false, "sip:bücher.example")), "name-octet", ""},
		{"empty URI", sequence(general(6, false, "")), "name-empty", ""},
		{"a fault after a good name", sequence(general(2, false, "example.net"), general(2, false, "a b")), "name-octet", ""},

		{"SRVName without service", sequence(srv("example.net")), "san-srv-form", ""},
		{"SRVName with an empty service", sequence(srv("_.example.net")), "san-srv-form", ""},
		{"SRVName without name", sequence(srv("_xmpp-server.")), "san-srv-form", ""},
		{"SRVName with NUL", sequence(srv("_xmpp-server.example.net\x00")), "name-octet", ""},
		{"SRVName as UTF8String", sequence(certstest.OtherName(certstest.SRVName, text(asn1.TagUTF8String, "_a.b"))), "san-srv-type", ""},
		{"XmppAddr as IA5String", sequence(certstest.OtherName(certstest.XMPPAddr, text(asn1.TagIA5String, "b"))), "san-xmpp-addr-type", ""},
		{"XmppAddr with a no-break space", sequence(addr("example.net\u00a0")), "name-octet", ""},
		{"XmppAddr with a control", sequence(addr("example.net\u0085")), "name-octet", ""},
		{"XmppAddr not UTF-8", sequence(addr("example.net\xc3")), "name-octet", ""},
		{"XmppAddr empty", sequence(addr("")), "name-empty", ""},
		{"XmppAddr long", sequence(addr(strings.Repeat("a", 2049))), "name-length", ""},
		{"otherName without value", sequence(general(0, true, string(oid))), "san-other-name", ""},
		{"otherName without type", sequence(general(0, true, "")), "san-other-name", ""},
		{"otherName with two values", sequence(general(0, true, string(oid)+string(general(0, true, string(text(12, "a"))+string(text(12, "b")))))), "san-other-name", ""},
		{"otherName with octets after the value", sequence(general(0, true, string(oid)+string(general(0, true, string(text(12, "a"))))+"\x05\x00")), "san-other-name", ""},
		{"otherName whose value is not in [0]", sequence(general(0, true, string(oid)+string(text(12, "a")))), "san-other-name", ""},
		{"otherName whose string is in parts", sequence(certstest.OtherName(certstest.XMPPAddr, certstest.Element(0, 12, true, text(12, "a")))), "san-other-name", ""},
		{"too many names", sequence(bytes.Repeat(general(2, false, "a"), 1025)), "san-count", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := certs.ParseSAN(c.der)
			var e *certs.Error
			switch {
			case c.rule == "" && err != nil:
				t.Fatal(err)
			case c.rule != "" && (!errors.As(err, &e) || e.Rule != c.rule):
				t.Fatalf("it is %v, %v, want the fault %s", n, err, c.rule)
			case c.rule != "" && e.Offset > len(c.der):
				t.Errorf("the fault is at octet %d of %d", e.Offset, len(c.der))
			}
			if got := strings.Join(slices.Concat(n.DNS, n.URI, n.SRV, n.XMPPAddr), " "); got != c.want {
				t.Errorf("the names are %q, want %q", got, c.want)
			}
		})
	}
}

// The offset of a fault is where it is.
func TestParseSANOffset(t *testing.T) {
	good := general(2, false, "example.net")
	_, err := certs.ParseSAN(sequence(good, general(2, false, "ab cd")))
	var e *certs.Error
	if want := 2 + len(good) + 2 + 2; !errors.As(err, &e) || e.Offset != want {
		t.Errorf("%v, want it at octet %d", err, want)
	}
}

// RFC 5280 §4.2: "A certificate MUST NOT include more than one instance of a particular extension."
func TestTwoSANs(t *testing.T) {
	ca := certstest.NewCA(t)
	leaf := ca.Issue(certstest.Spec{DNS: []string{"example.net"}})
	twice := *leaf.Certificate
	twice.Extensions = append(slices.Clone(twice.Extensions), twice.Extensions...)
	_, err := certs.ParseNames(&twice)
	var e *certs.Error
	if !errors.As(err, &e) || e.Rule != "san-twice" {
		t.Errorf("it says %v", err)
	}
}

// T-AD-06: what is quoted is one line of ASCII, whole if it is short, and never long.
func TestQuote_T_AD_06(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"empty":            {"", `""`},
		"plain":            {"example.net", `"example.net"`},
		"line break":       {"a\r\nb", `"a\r\nb"`},
		"escape":           {"\x1b[1m\u202e", `"\x1b[1m\u202e"`},
		"254 octets":       {strings.Repeat("a", 254), `"` + strings.Repeat("a", 254) + `"`},
		"too long":         {strings.Repeat("a", 1000), `"` + strings.Repeat("a", 248) + `…"`},
		"not UTF-8":        {"\xff", `"\xff"`},
		"long and strange": {strings.Repeat("\x00", 1000), `"` + strings.Repeat(`\x00`, 56) + `…"`},
	} {
		if got := certs.Quote(c.in); got != c.want || len(got) > 260 {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// FuzzParseSAN: what is read has no octet that a name must not have, is written and read to the same, and is what crypto/x509 sees too
// where that takes it.
func FuzzParseSAN(f *testing.F) {
	ca := certstest.NewCA(f)
	for _, spec := range []certstest.Spec{
		{DNS: []string{"example.net", "*.example.net"}},
		{URI: []string{"sip:example.net", "SIP:romeo@example.net;x=y"}, SRV: []string{"_xmpp-server.example.net"}, XMPPAddr: []string{"bücher.example", "a@b/c"}},
		{DNS: []string{"a\x00b"}, XMPPAddr: []string{"\xff"}},
	} {
		leaf := ca.Issue(spec)
		for _, e := range leaf.Certificate.Extensions {
			if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
				f.Add(e.Value)
			}
		}
	}
	f.Add(sequence())
	f.Add(sequence(certstest.OtherName(certstest.XMPPAddr, sequence())))
	f.Fuzz(func(t *testing.T, der []byte) {
		n, err := certs.ParseSAN(der)
		if err != nil {
			var e *certs.Error
			if !errors.As(err, &e) || e.Offset > len(der) || len(e.Error()) > 1024 {
				t.Fatalf("a fault of the wrong form: %v", err)
			}
			return
		}
		for _, name := range slices.Concat(n.DNS, n.URI, n.SRV, n.XMPPAddr) {
			if name == "" || strings.ContainsAny(name, "\x00 \t\r\n\x7f") {
				t.Fatalf("a name %q", name)
			}
		}
		var again []byte
		for _, name := range n.DNS {
			again = append(again, general(2, false, name)...)
		}
		for _, name := range n.URI {
			again = append(again, general(6, false, name)...)
		}
		for _, name := range n.SRV {
			again = append(again, certstest.OtherName(certstest.SRVName, text(asn1.TagIA5String, name))...)
		}
		for _, name := range n.XMPPAddr {
			again = append(again, certstest.OtherName(certstest.XMPPAddr, text(asn1.TagUTF8String, name))...)
		}
		m, err := certs.ParseSAN(sequence(again))
		if err != nil || !slices.Equal(n.DNS, m.DNS) || !slices.Equal(n.URI, m.URI) || !slices.Equal(n.SRV, m.SRV) || !slices.Equal(n.XMPPAddr, m.XMPPAddr) {
			t.Fatalf("%v is written and read as %v, %v", n, m, err)
		}
		leaf := ca.For(t).Issue(certstest.Spec{SAN: der})
		if leaf.Refused != nil {
			return
		}
		if !slices.Equal(leaf.Certificate.DNSNames, n.DNS) {
			t.Fatalf("crypto/x509 sees %q, we %q", leaf.Certificate.DNSNames, n.DNS)
		}
		if len(leaf.Certificate.URIs) != len(n.URI) {
			t.Fatalf("crypto/x509 sees %d URIs, we %q", len(leaf.Certificate.URIs), n.URI)
		}
	})
}

func BenchmarkParseNames(b *testing.B) {
	c := certstest.NewCA(b).Issue(certstest.Spec{DNS: []string{"example.net", "*.example.net"}, URI: []string{"sip:example.net"}, SRV: []string{"_xmpp-server.example.net"}}).Certificate
	b.ReportAllocs()
	for b.Loop() {
		if _, err := certs.ParseNames(c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	ca := certstest.NewCA(b)
	leaf := ca.Intermediate(certstest.Authority{}).Issue(certstest.Spec{DNS: []string{"example.net"}})
	trust := certs.Trust{Roots: ca.Pool()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := certs.Verify(leaf.Chain, []certs.Usage{certs.ServerAuth()}, trust); err != nil {
			b.Fatal(err)
		}
	}
}

// What Verify and crypto/x509 must agree on: the path itself. Where they differ, the row says so.
func TestPathAgainstStandard(t *testing.T) {
	root := certstest.NewCA(t)
	dns := certstest.Spec{DNS: []string{"example.net"}}
	for _, c := range []struct {
		name    string
		leaf    *certstest.Leaf
		differs string
	}{
		{"plain", root.Issue(dns), ""},
		{"three CAs", root.Intermediate(certstest.Authority{}).Intermediate(certstest.Authority{}).Issue(dns), ""},
		{"a stranger's", certstest.NewCA(t).Issue(dns), ""},
		{"not for servers", root.Issue(certstest.Spec{DNS: dns.DNS, Usages: []asn1.ObjectIdentifier{certstest.ClientAuth}}), ""},
		{"for anything", root.Issue(certstest.Spec{DNS: dns.DNS, Usages: []asn1.ObjectIdentifier{certstest.AnyUsage}}), ""},
		{"without usages", root.Issue(certstest.Spec{DNS: dns.DNS, Usages: []asn1.ObjectIdentifier{}}), ""},
		{"a CA for clients", root.Intermediate(certstest.Authority{Usages: []asn1.ObjectIdentifier{certstest.ClientAuth}}).Issue(dns), ""},
		{"a CA for another name", root.Intermediate(certstest.Authority{PermittedDNS: []string{"example.org"}}).Issue(dns), ""},
		{"a CA that excludes the name", root.Intermediate(certstest.Authority{ExcludedDNS: []string{"net"}}).Issue(dns), ""},
		{"no CA", root.Intermediate(certstest.Authority{Plain: true}).Issue(dns), ""},
		{"otherNames only", root.Issue(certstest.Spec{SRV: []string{"_xmpp-server.example.net"}}), "crypto/x509 knows no otherName, and refuses a critical SAN without others"},
		{"a sip URI below a CA with constraints", root.Intermediate(certstest.Authority{PermittedDNS: []string{"example.net"}}).Issue(certstest.Spec{URI: []string{"sip:example.net"}}), "crypto/x509 wants an authority in each URI"},
		{"a CA's own", root.Issue(certstest.Spec{DNS: dns.DNS, CA: true}), "crypto/x509 takes a CA at the end of a path"},
		{"a blank in a name", root.Issue(certstest.Spec{DNS: []string{"a b", "example.net"}}), "crypto/x509 passes over names that it cannot match"},
	} {
		t.Run(c.name, func(t *testing.T) {
			above := x509.NewCertPool()
			for _, i := range c.leaf.Chain[1:] {
				above.AddCert(i)
			}
			_, standard := c.leaf.Certificate.Verify(x509.VerifyOptions{Roots: root.Pool(), Intermediates: above})
			_, ours := certs.Verify(c.leaf.Chain, []certs.Usage{certs.ServerAuth()}, certs.Trust{Roots: root.Pool()})
			if agree := (standard == nil) == (ours == nil); agree != (c.differs == "") {
				t.Errorf("crypto/x509: %v; we: %v; known difference: %q", standard, ours, c.differs)
			}
		})
	}
}
