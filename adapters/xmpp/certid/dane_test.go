package certid_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/certid"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/resolver"
	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

// lookUp resolves xmpp:example.net, whose SRV record leads to host.example.org, by a DNS server of the test; authentic says whether its
// answers are believed. The records are TLSA records of the host, as "3 1 1 00ff".
func lookUp(t *testing.T, authentic bool, records ...string) resolver.Target {
	t.Helper()
	zone := "$ORIGIN example.net.\n@ SOA ns hostmaster 1 3600 600 86400 60\n_xmpp-server._tcp SRV 0 0 5269 host.example.org.\n" +
		"$ORIGIN example.org.\n@ SOA ns hostmaster 1 3600 600 86400 60\nhost A 127.0.0.1\n"
	for _, r := range records {
		zone += "_5269._tcp.host TLSA " + r + "\n"
	}
	s, err := resolvertest.Start(zone, resolvertest.Options{Authentic: authentic})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := resolver.New(resolver.Config{
		Servers: s.Servers(), Guard: resolver.NewGuard(resolver.GuardConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	q, err := resolver.ParseQuery("xmpp:example.net")
	if err != nil {
		t.Fatal(err)
	}
	targets, err := r.Resolve(t.Context(), q)
	if err != nil || len(targets) == 0 {
		t.Fatalf("no target: %v", err)
	}
	if targets[0].Secure() != authentic || targets[0].Host() != "host.example.org" {
		t.Fatalf("the target is %v, secure %v", targets[0], targets[0].Secure())
	}
	return targets[0]
}

// record is a TLSA record for c.
func record(usage, selector, matching int, c *x509.Certificate) string {
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return fmt.Sprintf("%d %d %d %s", usage, selector, matching, hex.EncodeToString(data))
}

// RFC 7673 §4, RFC 6698 §2.1.1, RFC 7671 §9.
func TestDANE_T_TL_05(t *testing.T) {
	public, private := certstest.NewCA(t), certstest.NewCA(t)
	below := private.Intermediate(certstest.Authority{})
	now := time.Now()
	ours := public.Issue(certstest.Spec{DNS: []string{"example.net"}})
	hosts := public.Issue(certstest.Spec{DNS: []string{"host.example.org"}})
	wild := public.Issue(certstest.Spec{DNS: []string{"*.example.org"}})
	srvOfHost := public.Issue(certstest.Spec{SRV: []string{"_xmpp-server.host.example.org"}})
	stranger := public.Issue(certstest.Spec{DNS: []string{"other.example"}})
	self := certstest.SelfSigned(t, certstest.Spec{CommonName: "nobody", NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)})
	own := below.Issue(certstest.Spec{DNS: []string{"host.example.org"}}).With(private.Certificate)
	ownOther := below.Issue(certstest.Spec{DNS: []string{"other.example"}}).With(private.Certificate)
	ownExpired := below.Issue(certstest.Spec{DNS: []string{"example.net"}, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}).With(private.Certificate)
	bare := below.Issue(certstest.Spec{DNS: []string{"example.net"}}) // without the root
	wrong256 := "3 1 1 " + strings.Repeat("00", 32)
	for _, c := range []struct {
		name      string
		authentic bool
		records   []string
		leaf      *certstest.Leaf
		by        certid.Method
		dane      bool
		rule      string
	}{
		{"no DNSSEC, the domain", false, nil, ours, certid.DNSID, false, ""},
		{"no DNSSEC, the host", false, nil, hosts, 0, false, "identity"},
		{"no DNSSEC, records that match", false, []string{record(3, 1, 1, self.Certificate)}, self, 0, false, "expired"},
		{"DNSSEC without records, the domain", true, nil, ours, certid.DNSID, false, ""},
		{"DNSSEC without records, the host", true, nil, hosts, certid.HostID, false, ""},
		{"DNSSEC without records, a wildcard for the host", true, nil, wild, certid.HostID, false, ""},
		{"DNSSEC without records, an SRVName of the host", true, nil, srvOfHost, 0, false, "identity"},
		{"DNSSEC without records, another's", true, nil, stranger, 0, false, "identity"},

		{"3 0 0", true, []string{record(3, 0, 0, self.Certificate)}, self, certid.DANEEE, true, ""},
		{"3 0 1", true, []string{record(3, 0, 1, self.Certificate)}, self, certid.DANEEE, true, ""},
		{"3 0 2", true, []string{record(3, 0, 2, self.Certificate)}, self, certid.DANEEE, true, ""},
		{"3 1 0", true, []string{record(3, 1, 0, self.Certificate)}, self, certid.DANEEE, true, ""},
		{"3 1 1", true, []string{record(3, 1, 1, self.Certificate)}, self, certid.DANEEE, true, ""},
		{"3 1 2", true, []string{record(3, 1, 2, self.Certificate)}, self, certid.DANEEE, true, ""},
		{"3 1 1 of another, a good certificate of the domain", true, []string{wrong256}, ours, 0, false, "tlsa"},
		{"3 1 1 of another, then the right one", true, []string{wrong256, record(3, 1, 1, self.Certificate)}, self, certid.DANEEE, true, ""},
		{"3 x 1 of what is above it", true, []string{record(3, 0, 1, private.Certificate)}, own, 0, false, "tlsa"},
		{"the weaker digest matches only", true, []string{record(3, 1, 1, self.Certificate), "3 1 2 " + strings.Repeat("00", 64)}, self, 0, false, "tlsa"},
		{"the stronger digest is for another selector", true, []string{record(3, 1, 1, self.Certificate), "3 0 2 " + strings.Repeat("00", 64)}, self, certid.DANEEE, true, ""},

		{"2 0 1 of the root", true, []string{record(2, 0, 1, private.Certificate)}, own, certid.HostID, true, ""},
		{"2 1 1 of the intermediate", true, []string{record(2, 1, 1, below.Certificate)}, own, certid.HostID, true, ""},
		{"2 0 1 of the root, names of another", true, []string{record(2, 0, 1, private.Certificate)}, ownOther, 0, false, "identity"},
		{"2 0 1 of the root, expired", true, []string{record(2, 0, 1, private.Certificate)}, ownExpired, 0, false, "expired"},
		{"2 0 1 of a root that is not sent", true, []string{record(2, 0, 1, private.Certificate)}, bare, 0, false, "tlsa"},
		{"2 0 0 of a root that is not sent", true, []string{record(2, 0, 0, private.Certificate)}, bare, certid.DNSID, true, ""},
		{"2 0 1 of our own anchor does not open to other anchors", true, []string{record(2, 0, 1, private.Certificate)}, ours, 0, false, "tlsa"},

		{"1 1 1", true, []string{record(1, 1, 1, ours.Certificate)}, ours, certid.DNSID, true, ""},
		{"1 1 1, names of another", true, []string{record(1, 1, 1, stranger.Certificate)}, stranger, 0, false, "identity"},
		{"1 1 1 of another", true, []string{record(1, 1, 1, stranger.Certificate)}, ours, 0, false, "tlsa"},
		{"1 1 1, and no anchor of ours", true, []string{record(1, 1, 1, own.Certificate)}, own, 0, false, "unknown-authority"},
		{"0 0 1", true, []string{record(0, 0, 1, public.Certificate)}, hosts, certid.HostID, true, ""},
		{"0 0 1 of another CA", true, []string{record(0, 0, 1, private.Certificate)}, ours, 0, false, "tlsa"},
		{"0 0 1 of the certificate itself", true, []string{record(0, 0, 1, ours.Certificate)}, ours, 0, false, "tlsa"},

		{"unknown usage", true, []string{"4 1 1 " + strings.Repeat("00", 32)}, ours, certid.DNSID, false, ""},
		{"unknown selector", true, []string{"3 2 1 " + strings.Repeat("00", 32)}, ours, certid.DNSID, false, ""},
		{"unknown matching type", true, []string{"3 1 3 " + strings.Repeat("00", 32)}, ours, certid.DNSID, false, ""},
		{"a digest of the wrong length", true, []string{"3 1 1 0011"}, ours, certid.DNSID, false, ""},
		{"a certificate that is none", true, []string{"3 0 0 0011"}, ours, certid.DNSID, false, ""},
		{"a key that is none", true, []string{"2 1 0 0011"}, ours, certid.DNSID, false, ""},
		{"unusable beside one that does not match", true, []string{"4 1 1 00", wrong256}, ours, 0, false, "tlsa"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := lookUp(t, c.authentic, c.records...)
			v, err := certid.Check(c.leaf.Chain, target, certs.Trust{Roots: public.Pool()})
			if got := ruleOf(t, err); got != c.rule || v.By != c.by || v.DANE != c.dane {
				t.Errorf("the verdict is %v, DANE %v, %q (%v), want %v, DANE %v, %q", v.By, v.DANE, got, err, c.by, c.dane, c.rule)
			}
			if err == nil && v.Domain != "example.net" {
				t.Errorf("it proves %q", v.Domain)
			}
		})
	}
}

// The examples of RFC 6698 §C: one certificate by each selector and matching type.
func TestTLSAExamples(t *testing.T) {
	text, err := os.ReadFile("testdata/rfc6698-appendix-c.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []resolver.TLSA
	for line := range strings.Lines(string(text)) {
		var s, m uint8
		var data string
		if _, err := fmt.Sscanf(line, "%d %d %s", &s, &m, &data); err != nil {
			t.Fatal(err)
		}
		octets, err := hex.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, resolver.TLSA{Usage: 3, Selector: s, MatchingType: m, Data: string(octets)})
	}
	c, err := x509.ParseCertificate([]byte(all[0].Data))
	if err != nil || len(all) != 6 {
		t.Fatal(len(all), err)
	}
	other := certstest.SelfSigned(t, certstest.Spec{}).Certificate
	for _, r := range all {
		if !certid.Matches(r, c) || certid.Matches(r, other) {
			t.Errorf("%d %d: the certificate %v, another %v", r.Selector, r.MatchingType, certid.Matches(r, c), certid.Matches(r, other))
		}
	}
}
