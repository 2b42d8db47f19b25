package certid_test

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/certid"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// ruleOf is the rule that err names, "" for nil.
func ruleOf(t *testing.T, err error) string {
	t.Helper()
	var e *certs.Error
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &e):
		t.Fatalf("the error is %T, not *certs.Error: %v", err, err)
	}
	return e.Rule
}

func proves(chain []*x509.Certificate, side certid.Side, domain string, trust certs.Trust) (certid.Verdict, error) {
	peer, err := certid.Examine(chain, side, trust)
	if err != nil {
		return certid.Verdict{}, err
	}
	return peer.Proves(domain)
}

// RFC 6120 §13.7.2: "For both server certificates and client certificates, the validating entity MUST do the following"; RFC 6125 §6.4:
// "The client MUST match the DNS domain name portion of a reference identifier according to the following rules".
func TestServerCertificates_T_TL_03(t *testing.T) {
	ca := certstest.NewCA(t)
	now := time.Now()
	const domain = "im.example.com"
	dns := func(names ...string) certstest.Spec { return certstest.Spec{DNS: names} }
	other := func(oid asn1.ObjectIdentifier, tag int, text string) certstest.Spec {
		return certstest.Spec{Raw: [][]byte{certstest.OtherName(oid, certstest.Element(asn1.ClassUniversal, tag, false, []byte(text)))}}
	}
	for _, c := range []struct {
		name string
		leaf *certstest.Leaf
		by   certid.Method
		rule string
	}{
		{"DNS-ID", ca.Issue(dns(domain)), certid.DNSID, ""},
		{"DNS-ID in other letters", ca.Issue(dns("IM.Example.COM")), certid.DNSID, ""},
		{"SRV-ID", ca.Issue(certstest.Spec{SRV: []string{"_xmpp-server." + domain}}), certid.SRVID, ""},
		{"SRV-ID in other letters", ca.Issue(certstest.Spec{SRV: []string{"_XMPP-Server.IM.example.com"}}), certid.SRVID, ""},
		{"SRV-ID of the client service", ca.Issue(certstest.Spec{SRV: []string{"_xmpp-client." + domain}}), 0, "identity"},
		{"SRV-ID of another protocol", ca.Issue(certstest.Spec{SRV: []string{"_sip." + domain}}), 0, "identity"},
		{"SRV-ID with a wildcard", ca.Issue(certstest.Spec{SRV: []string{"_xmpp-server.*.example.com"}}), 0, "identity"},
		{"SRV-ID without service", ca.Issue(certstest.Spec{SRV: []string{domain}}), 0, "san-srv-form"},
		{"SRV-ID as UTF8String", ca.Issue(other(certstest.SRVName, asn1.TagUTF8String, "_xmpp-server."+domain)), 0, "san-srv-type"},
		{"XmppAddr", ca.Issue(certstest.Spec{XMPPAddr: []string{domain}}), certid.XMPPAddrID, ""},
		{"XmppAddr of a user", ca.Issue(certstest.Spec{XMPPAddr: []string{"juliet@" + domain}}), 0, "identity"},
		{"XmppAddr with a resource", ca.Issue(certstest.Spec{XMPPAddr: []string{domain + "/x"}}), 0, "identity"},
		{"XmppAddr with a wildcard", ca.Issue(certstest.Spec{XMPPAddr: []string{"*.example.com"}}), 0, "identity"},
		{"XmppAddr as IA5String", ca.Issue(other(certstest.XMPPAddr, asn1.TagIA5String, domain)), 0, "san-xmpp-addr-type"},
		{"XmppAddr's text under another OID", ca.Issue(other(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, asn1.TagUTF8String, domain)), 0, "identity"},
		{"wildcard", ca.Issue(dns("*.example.com")), certid.WildcardID, ""},
		{"wildcard and the name itself", ca.Issue(dns("*.example.com", domain)), certid.DNSID, ""},
		{"wildcard, two labels below", ca.Issue(dns("*.com")), 0, "identity"},
		{"wildcard that is not the left-most label", ca.Issue(dns("im.*.com")), 0, "identity"},
		{"wildcard as part of a label", ca.Issue(dns("i*.example.com", "*m.example.com", "i*m.example.com")), 0, "identity"},
		{"two wildcards", ca.Issue(dns("*.*.com")), 0, "identity"},
		{"wildcard alone", ca.Issue(dns("*")), 0, "identity"},
		{"the name above", ca.Issue(dns("example.com")), 0, "identity"},
		{"a name below", ca.Issue(dns("a.im.example.com")), 0, "identity"},
		{"a name that ends the same", ca.Issue(dns("spim.example.com")), 0, "identity"},
		{"final dot", ca.Issue(dns(domain + ".")), 0, "identity"},
		{"CN only", ca.Issue(certstest.Spec{CommonName: domain}), 0, "identity"},
		{"CN beside another DNS-ID", ca.Issue(certstest.Spec{CommonName: domain, DNS: []string{"example.org"}}), 0, "identity"},
		{"URI-ID", ca.Issue(certstest.Spec{URI: []string{"xmpp:" + domain}}), 0, "identity"},
		{"NUL in the DNS-ID", ca.Issue(dns(domain + "\x00.example.org")), 0, "name-octet"},
		{"blank in the DNS-ID", ca.Issue(dns(" " + domain)), 0, "name-octet"},
		{"NUL in the XmppAddr", ca.Issue(certstest.Spec{XMPPAddr: []string{domain + "\x00"}, DNS: []string{domain}}), 0, "name-octet"},
		{"line break in the XmppAddr", ca.Issue(certstest.Spec{XMPPAddr: []string{domain + "\n"}}), 0, "name-octet"},
		{"XmppAddr that is no UTF-8", ca.Issue(certstest.Spec{XMPPAddr: []string{domain + "\xff"}}), 0, "name-octet"},
		{"expired", ca.Issue(certstest.Spec{DNS: []string{domain}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-time.Minute)}), 0, "expired"},
		{"not yet valid", ca.Issue(certstest.Spec{DNS: []string{domain}, NotBefore: now.Add(time.Hour)}), 0, "not-yet-valid"},
		{"self-signed", certstest.SelfSigned(t, dns(domain)), 0, "unknown-authority"},
		{"issued by a stranger", certstest.NewCA(t).Issue(dns(domain)), 0, "unknown-authority"},
		{"a CA's own", ca.Issue(certstest.Spec{DNS: []string{domain}, CA: true}), 0, "ca-as-end"},
		{"intermediate", ca.Intermediate(certstest.Authority{}).Issue(dns(domain)), certid.DNSID, ""},
		{"intermediate that is not sent", without(ca.Intermediate(certstest.Authority{}).Issue(dns(domain))), 0, "unknown-authority"},
		{"RSA of 8192 bits", ca.Issue(certstest.Spec{DNS: []string{domain}, Key: certstest.RSA8192(t)}), certid.DNSID, ""},
		{"too many certificates", ca.Issue(dns(domain)).With(repeat(ca.Certificate, 16)...), 0, "too-many"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.leaf.Refused != nil {
				t.Fatalf("crypto/x509 does not read it, so that this row shows nothing: %v", c.leaf.Refused)
			}
			v, err := proves(c.leaf.Chain, certid.Server, domain, certs.Trust{Roots: ca.Pool()})
			if got := ruleOf(t, err); got != c.rule || v.By != c.by {
				t.Errorf("the verdict is %v %q (%v), want %v %q", v.By, got, err, c.by, c.rule)
			}
			if err == nil && (v.Domain != domain || v.Identifier == "" || !v.Until.Equal(c.leaf.Certificate.NotAfter)) {
				t.Errorf("the verdict is %+v", v)
			}
		})
	}
}

func without(l *certstest.Leaf) *certstest.Leaf {
	l.Chain, l.DER = l.Chain[:1], l.DER[:1]
	return l
}

func repeat(c *x509.Certificate, n int) []*x509.Certificate {
	all := make([]*x509.Certificate, n)
	for i := range all {
		all[i] = c
	}
	return all
}

// RFC 6125 §6.4.2: "an implementation MUST convert any U-labels [IDNA-DEFS] in the domain name to A-labels before checking the domain
// name."
func TestInternationalDomain_T_TL_03(t *testing.T) {
	ca := certstest.NewCA(t)
	for _, c := range []struct {
		name string
		spec certstest.Spec
		by   certid.Method
	}{
		{"A-label", certstest.Spec{DNS: []string{"xn--bcher-kva.example.com"}}, certid.DNSID},
		{"A-label in SRVName", certstest.Spec{SRV: []string{"_xmpp-server.xn--Bcher-kva.example.com"}}, certid.SRVID},
		{"U-label in XmppAddr", certstest.Spec{XMPPAddr: []string{"bücher.example.com"}}, certid.XMPPAddrID},
		{"U-label in XmppAddr, other letters", certstest.Spec{XMPPAddr: []string{"BÜCHER.example.com"}}, certid.XMPPAddrID},
		{"A-label in XmppAddr", certstest.Spec{XMPPAddr: []string{"xn--bcher-kva.example.com"}}, certid.XMPPAddrID},
		{"wildcard for an A-label", certstest.Spec{DNS: []string{"*.example.com"}}, certid.WildcardID},
		{"wildcard within an A-label", certstest.Spec{DNS: []string{"xn--*.example.com"}}, 0},
		{"the same letters without the mark", certstest.Spec{XMPPAddr: []string{"bucher.example.com"}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf := ca.Issue(c.spec)
			for _, domain := range []string{"bücher.example.com", "xn--bcher-kva.example.com"} {
				v, err := proves(leaf.Chain, certid.Server, domain, certs.Trust{Roots: ca.Pool()})
				if v.By != c.by || (err == nil) != (c.by != 0) {
					t.Errorf("%s: by %v (%v), want by %v", domain, v.By, err, c.by)
				}
			}
		})
	}
}

// RFC 6120 §13.7.2.1: "The initiating entity sets the source domain of its reference identifiers to the 'to' address it communicates
// in the initial stream header", so that what DNS made of it is nothing, unless the DNS is authentic (RFC 7673 §4.1). The first rows
// are CVE-2022-24968: an attacker's SRV record leads to a host for which he has a good certificate.
func TestSpoofedDNS_T_TL_05(t *testing.T) {
	ca := certstest.NewCA(t)
	attacker := ca.Issue(certstest.Spec{DNS: []string{"host.example.org"}, SRV: []string{"_xmpp-server.host.example.org"}})
	target := resolver.MustTarget(resolver.TargetSpec{
		Protocol: resolver.XMPP, Transport: resolver.TCP, Host: "host.example.org", Addr: netip.MustParseAddrPort("192.0.2.1:5269"), ServerName: "example.com",
	})
	_, err := certid.Check(attacker.Chain, target, certs.Trust{Roots: ca.Pool()})
	if got := ruleOf(t, err); got != "identity" {
		t.Errorf("the host that DNS named proved the domain: %q (%v)", got, err)
	}
	right := ca.Issue(certstest.Spec{DNS: []string{"example.com"}})
	if v, err := certid.Check(right.Chain, target, certs.Trust{Roots: ca.Pool()}); err != nil || v.By != certid.DNSID || v.DANE {
		t.Errorf("the domain's own certificate: %+v (%v)", v, err)
	}
	if _, err := certid.Check(right.Chain, target.WithServerName(""), certs.Trust{Roots: ca.Pool()}); ruleOf(t, err) != "domain" {
		t.Errorf("a target without a domain: %v", err)
	}
	if _, err := certid.Check(nil, target, certs.Trust{Roots: ca.Pool()}); ruleOf(t, err) != "no-certificate" {
		t.Errorf("no certificate: %v", err)
	}
}

// The certificate of a server that dials us (XEP-0178 §3) may be one for servers; one for anything else is refused on both sides.
func TestUsages_T_TL_06(t *testing.T) {
	ca := certstest.NewCA(t)
	oids := func(o ...asn1.ObjectIdentifier) []asn1.ObjectIdentifier {
		return append([]asn1.ObjectIdentifier{}, o...)
	}
	mail := ca.Intermediate(certstest.Authority{Usages: oids(certstest.EmailProtect)})
	for _, c := range []struct {
		name           string
		issuer         *certstest.CA
		usages         []asn1.ObjectIdentifier
		server, client string
	}{
		{"none", ca, oids(), "", ""},
		{"any", ca, oids(certstest.AnyUsage), "", ""},
		{"both", ca, oids(certstest.ServerAuth, certstest.ClientAuth), "", ""},
		{"serverAuth", ca, oids(certstest.ServerAuth), "", ""},
		{"clientAuth", ca, oids(certstest.ClientAuth), "usage", ""},
		{"code", ca, oids(certstest.CodeSigning), "usage", "usage"},
		{"SIP", ca, oids(certstest.SIPDomain), "usage", "usage"},
		{"both, below a CA for mail", mail, oids(certstest.ServerAuth, certstest.ClientAuth), "usage", "usage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf := c.issuer.Issue(certstest.Spec{DNS: []string{"example.com"}, Usages: c.usages})
			for side, want := range map[certid.Side]string{certid.Server: c.server, certid.Client: c.client} {
				_, err := proves(leaf.Chain, side, "example.com", certs.Trust{Roots: ca.Pool()})
				if got := ruleOf(t, err); got != want {
					t.Errorf("on side %d the verdict is %q (%v), want %q", side, got, err, want)
				}
			}
		})
	}
}

// A CA that may speak for some DNS names only may not prove other domains by otherNames, of which its constraint says nothing.
func TestNameConstraints_T_TL_06(t *testing.T) {
	root := certstest.NewCA(t)
	bound := root.Intermediate(certstest.Authority{PermittedDNS: []string{"example.com"}})
	for _, c := range []struct {
		name   string
		spec   certstest.Spec
		domain string
		want   string
	}{
		{"within", certstest.Spec{DNS: []string{"example.com"}}, "example.com", ""},
		{"outside", certstest.Spec{DNS: []string{"example.org"}}, "example.org", "name-constraints"},
		{"within, by SRVName", certstest.Spec{SRV: []string{"_xmpp-server.im.example.com"}}, "im.example.com", ""},
		{"outside, by SRVName", certstest.Spec{SRV: []string{"_xmpp-server.example.org"}}, "example.org", "name-constraints"},
		{"outside, by XmppAddr", certstest.Spec{XMPPAddr: []string{"example.org"}}, "example.org", "name-constraints"},
		{"outside by ending", certstest.Spec{XMPPAddr: []string{"badexample.com"}}, "badexample.com", "name-constraints"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := proves(bound.Issue(c.spec).Chain, certid.Client, c.domain, certs.Trust{Roots: root.Pool()})
			if got := ruleOf(t, err); got != c.want {
				t.Errorf("the verdict is %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

// Many domains over one stream: each is asked for by itself, and none is proven by another.
func TestSeveralDomains_T_TL_03(t *testing.T) {
	ca := certstest.NewCA(t)
	leaf := ca.Issue(certstest.Spec{DNS: []string{"example.com", "chat.example.com"}, XMPPAddr: []string{"example.org"}})
	peer, err := certid.Examine(leaf.Chain, certid.Client, certs.Trust{Roots: ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[string]string{
		"example.com": "", "chat.example.com": "", "example.org": "", "chat.example.org": "identity", "": "domain", "a b": "domain", "192.0.2.1": "domain",
	} {
		_, err := peer.Proves(domain)
		if got := ruleOf(t, err); got != want {
			t.Errorf("%q: %q (%v), want %q", domain, got, err, want)
		}
	}
	if _, err := certid.Examine(leaf.Chain, 0, certs.Trust{Roots: ca.Pool()}); ruleOf(t, err) != "usage" {
		t.Errorf("without a side: %v", err)
	}
}

// X12: what came from outside is quoted in an error, and cut.
func TestErrorsQuote_T_TL_03(t *testing.T) {
	ca := certstest.NewCA(t)
	_, err := proves(ca.Issue(certstest.Spec{DNS: []string{"example.com"}}).Chain, certid.Client, "a\r\nb\x1b"+strings.Repeat("ü", 1000), certs.Trust{Roots: ca.Pool()})
	if text := err.Error(); len(text) > 512 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' && r != '…' && r != '§' }) {
		t.Errorf("the error is %q", text)
	}
}
