package certid_test

import (
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/certid"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
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

// RFC 5922 §7.1: "Implementations (both clients and server) MUST determine the validity of a certificate by following the procedures
// described in RFC 5280 [6]", and the rules for identities; RFC 5922 §7.2: "Implementations MUST NOT match suffixes" and "MUST NOT
// match any form of wildcard".
func TestServerCertificates_T_TL_04(t *testing.T) {
	ca := certstest.NewCA(t)
	stranger := certstest.NewCA(t)
	now := time.Now()
	huge := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 16383, 1), E: 65537}
	dns := func(names ...string) certstest.Spec { return certstest.Spec{DNS: names} }
	uri := func(names ...string) certstest.Spec { return certstest.Spec{URI: names} }
	for _, c := range []struct {
		name string
		leaf *certstest.Leaf
		want string // the rule that refuses it; "": taken
	}{
		{"01 sip URI of the domain", ca.Issue(uri("sip:example.net")), ""},
		{"02 sip URI, scheme and host in other letters", ca.Issue(uri("SIP:Example.NET")), ""},
		{"03 sip URI with port and parameter", ca.Issue(uri("sip:example.net:5061;transport=tls")), ""},
		{"04 sip URI with a user", ca.Issue(uri("sip:juliet@example.net")), "identity"},
		{"05 sip URI with a user beside the dNSName", ca.Issue(certstest.Spec{URI: []string{"sip:juliet@example.net"}, DNS: []string{"example.net"}}), ""},
		{"06 dNSName of the domain", ca.Issue(dns("example.net")), ""},
		{"07 dNSName beside a sip URI of another domain", ca.Issue(certstest.Spec{URI: []string{"sip:example.org"}, DNS: []string{"example.net"}}), "identity"},
		{"08 dNSName beside a URI that is not sip", ca.Issue(certstest.Spec{URI: []string{"sips:example.org", "https://example.org/"}, DNS: []string{"example.net"}}), ""},
		{"09 sips URI", ca.Issue(uri("sips:example.net")), "identity"},
		{"10 wildcard above the domain", ca.Issue(dns("*.net")), "identity"},
		{"11 wildcard beside the domain", ca.Issue(dns("*.example.net")), "identity"},
		{"12 leading dot", ca.Issue(dns(".net", ".example.net")), "identity"},
		{"13 a name below the domain", ca.Issue(dns("sip.example.net")), "identity"},
		{"14 a name that ends with the domain", ca.Issue(dns("badexample.net")), "identity"},
		{"15 CN only", ca.Issue(certstest.Spec{CommonName: "example.net"}), "identity"},
		{"16 CN of the domain, SAN of another", ca.Issue(certstest.Spec{CommonName: "example.net", DNS: []string{"example.org"}}), "identity"},
		{"17 NUL in the dNSName", ca.Issue(dns("example.net\x00.example.org")), "name-octet"},
		{"18 blank in the dNSName", ca.Issue(dns("example.net ")), "name-octet"},
		{"19 expired", ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-time.Minute)}), "expired"},
		{"20 not yet valid", ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotBefore: now.Add(time.Hour)}), "not-yet-valid"},
		{"21 for signing code", ca.Issue(certstest.Spec{DNS: []string{"example.net"}, Usages: []asn1.ObjectIdentifier{certstest.CodeSigning}}), "usage"},
		{"22 self-signed", certstest.SelfSigned(t, dns("example.net")), "unknown-authority"},
		{"23 issued by a stranger", stranger.Issue(dns("example.net")), "unknown-authority"},
		{"24 RSA of 8192 bits", ca.Issue(certstest.Spec{DNS: []string{"example.net"}, Key: certstest.RSA8192(t)}), ""},
		{"25 RSA of 16384 bits", ca.Issue(certstest.Spec{DNS: []string{"example.net"}, Public: huge}), "rsa-size"},
		{"26 SRVName only", ca.Issue(certstest.Spec{SRV: []string{"_sips.example.net"}}), "identity"},
		{"27 XmppAddr only", ca.Issue(certstest.Spec{XMPPAddr: []string{"example.net"}}), "identity"},
		{"28 a CA's own", ca.Issue(certstest.Spec{DNS: []string{"example.net"}, CA: true}), "ca-as-end"},
		{"29 a chain of two intermediates", ca.Intermediate(certstest.Authority{}).Intermediate(certstest.Authority{}).Issue(dns("example.net")), ""},
		{"30 an intermediate that is no CA", ca.Intermediate(certstest.Authority{Plain: true}).Issue(dns("example.net")), "unknown-authority"},
		{"31 a critical extension nobody knows", ca.Issue(certstest.Spec{
			DNS: []string{"example.net"}, Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}, Critical: true, Value: []byte{5, 0}}},
		}), "critical-extension"},
		{"32 sip URI with a wildcard, and the dNSName", ca.Issue(certstest.Spec{URI: []string{"sip:*.example.net"}, DNS: []string{"example.net"}}), "identity"},
		{"33 an IP address as sip URI", ca.Issue(uri("sip:192.0.2.1")), "identity"},
		{"34 an IP address", ca.Issue(certstest.Spec{IP: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}), "identity"},
		{"35 '@' behind the host", ca.Issue(uri("sip:example.net?to=romeo@example.org")), "identity"},
		{"36 no name", ca.Issue(certstest.Spec{}), "identity"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.leaf.Refused != nil {
				t.Fatalf("crypto/x509 does not read it, so that this row shows nothing: %v", c.leaf.Refused)
			}
			peer, err := certid.Examine(c.leaf.Chain, certid.Server, certs.Trust{Roots: ca.Pool()})
			if err == nil {
				err = peer.Proves("example.net")
			}
			if got := ruleOf(t, err); got != c.want {
				t.Errorf("the verdict is %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

// RFC 5922 §7.2: "Implementations MUST handle Internationalized Domain Names (IDNs) in accordance with Section 7.2 of RFC 5280".
func TestInternationalDomain_T_TL_04(t *testing.T) {
	ca := certstest.NewCA(t)
	for _, c := range []struct {
		name string
		spec certstest.Spec
		want string
	}{
		{"A-label in a dNSName", certstest.Spec{DNS: []string{"xn--bcher-kva.example"}}, ""},
		{"A-label in a URI, other letters", certstest.Spec{URI: []string{"sip:XN--BCHER-KVA.example"}}, ""},
		{"another A-label", certstest.Spec{DNS: []string{"xn--bcher-kvb.example"}}, "identity"},
		{"U-label in UTF-8", certstest.Spec{DNS: []string{"bücher.example"}}, "unread"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf := ca.Issue(c.spec)
			if leaf.Refused != nil {
				if c.want != "unread" {
					t.Fatal(leaf.Refused)
				}
				return // crypto/tls ends the handshake with it
			}
			peer, err := certid.Examine(leaf.Chain, certid.Server, certs.Trust{Roots: ca.Pool()})
			if err == nil {
				err = peer.Proves("bücher.example")
			}
			if got := ruleOf(t, err); got != c.want {
				t.Errorf("the verdict is %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

// oids is a list that is not nil, also if it is empty.
func oids(o ...asn1.ObjectIdentifier) []asn1.ObjectIdentifier {
	return append([]asn1.ObjectIdentifier{}, o...)
}

// RFC 5922 §7.1: "implementations MUST check for restrictions on certificate usage declared by any extendedKeyUsage extensions in the
// certificate".
func TestUsages_T_TL_06(t *testing.T) {
	ca := certstest.NewCA(t)
	limited := func(usages ...asn1.ObjectIdentifier) *certstest.CA {
		return ca.Intermediate(certstest.Authority{Usages: usages})
	}
	oids := func(o ...asn1.ObjectIdentifier) []asn1.ObjectIdentifier {
		return append([]asn1.ObjectIdentifier{}, o...)
	}
	for _, c := range []struct {
		name           string
		issuer         *certstest.CA
		usages         []asn1.ObjectIdentifier
		server, client string
	}{
		{"none", ca, oids(), "", ""},
		{"any", ca, oids(certstest.AnyUsage), "", ""},
		{"sipDomain", ca, oids(certstest.SIPDomain), "", ""},
		{"serverAuth", ca, oids(certstest.ServerAuth), "", "usage"},
		{"clientAuth", ca, oids(certstest.ClientAuth), "usage", ""},
		{"both", ca, oids(certstest.ServerAuth, certstest.ClientAuth), "", ""},
		{"mail", ca, oids(certstest.EmailProtect), "usage", "usage"},
		{"both, below a CA for servers", limited(certstest.ServerAuth), oids(certstest.ServerAuth, certstest.ClientAuth), "", "usage"},
		{"both, below a CA for mail", limited(certstest.EmailProtect), oids(certstest.ServerAuth, certstest.ClientAuth), "usage", "usage"},
		{"sipDomain, below a CA for both", limited(certstest.ServerAuth, certstest.ClientAuth), oids(certstest.SIPDomain), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf := c.issuer.Issue(certstest.Spec{URI: []string{"sip:example.net"}, Usages: c.usages})
			for side, want := range map[certid.Side]string{certid.Server: c.server, certid.Client: c.client, 0: "usage"} {
				_, err := certid.Examine(leaf.Chain, side, certs.Trust{Roots: ca.Pool()})
				if side == 0 && (c.name == "none" || c.name == "any") {
					continue // what is not limited is not limited
				}
				if got := ruleOf(t, err); got != want {
					t.Errorf("on side %d the verdict is %q (%v), want %q", side, got, err, want)
				}
			}
		})
	}
}

// A CA that may speak for some DNS names only may not prove other domains by URIs, of which its constraint says nothing.
func TestNameConstraints_T_TL_06(t *testing.T) {
	root := certstest.NewCA(t)
	bound := root.Intermediate(certstest.Authority{PermittedDNS: []string{"example.net"}, ExcludedDNS: []string{"secret.example.net"}})
	for _, c := range []struct {
		name   string
		spec   certstest.Spec
		domain string
		want   string
	}{
		{"within", certstest.Spec{DNS: []string{"example.net"}}, "example.net", ""},
		{"below", certstest.Spec{DNS: []string{"im.example.net"}}, "im.example.net", ""},
		{"outside", certstest.Spec{DNS: []string{"example.org"}}, "example.org", "name-constraints"},
		{"excluded", certstest.Spec{DNS: []string{"secret.example.net"}}, "secret.example.net", "name-constraints"},
		{"outside, by URI", certstest.Spec{URI: []string{"sip:example.org"}}, "example.org", "name-constraints"},
		{"excluded, by URI", certstest.Spec{URI: []string{"sip:a.secret.example.net"}}, "a.secret.example.net", "name-constraints"},
		{"within, by URI", certstest.Spec{URI: []string{"sip:example.net"}}, "example.net", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer, err := certid.Examine(bound.Issue(c.spec).Chain, certid.Server, certs.Trust{Roots: root.Pool()})
			if err == nil {
				err = peer.Proves(c.domain)
			}
			if got := ruleOf(t, err); got != c.want {
				t.Errorf("the verdict is %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

// RFC 5922 §7.4: "the server MUST obtain the set of SIP domain identities from the client certificate as described in Section 7.1."
func TestClientDomains_T_TL_06(t *testing.T) {
	root := certstest.NewCA(t)
	ca := root.Intermediate(certstest.Authority{ExcludedDNS: []string{"example.org"}})
	leaf := ca.Issue(certstest.Spec{
		URI: []string{"sip:Example.net", "sip:example.net;lr", "sip:romeo@example.com", "sip:im.example.com"},
		DNS: []string{"host.example.net"},
	})
	peer, err := certid.Examine(leaf.Chain, certid.Client, certs.Trust{Roots: root.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := peer.Domains(), []string{"example.net", "im.example.com"}; !slices.Equal(got, want) {
		t.Errorf("the domains are %q, want %q", got, want)
	}
	if got := ruleOf(t, peer.Proves("host.example.net")); got != "identity" {
		t.Errorf("the dNSName beside the URIs is refused by %q", got)
	}
}

// X12: what a certificate says is never found in an error without quotes.
func TestErrorsQuote_T_TL_04(t *testing.T) {
	ca := certstest.NewCA(t)
	peer, err := certid.Examine(ca.Issue(certstest.Spec{DNS: []string{"example.net"}}).Chain, certid.Server, certs.Trust{Roots: ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	err = peer.Proves("a\r\nb\x1b" + strings.Repeat("ü", 1000))
	if text := err.Error(); len(text) > 512 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' && r != '…' && r != '§' }) {
		t.Errorf("the error is %q", text)
	}
}
