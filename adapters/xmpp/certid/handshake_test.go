package certid_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/certid"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// T-TL-03, T-TL-05 in real handshakes, with targets from a DNS server: what DNS led to proves nothing unless it is authentic.
func TestDialled_T_TL_05(t *testing.T) {
	ca := certstest.NewCA(t)
	us, err := certs.Open(certs.Config{RootsFile: ca.WriteRoot(t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	self := certstest.SelfSigned(t, certstest.Spec{})
	for _, c := range []struct {
		name      string
		leaf      *certstest.Leaf
		authentic bool
		records   []string
		want      string
	}{
		{"the domain", ca.Issue(certstest.Spec{SRV: []string{"_xmpp-server.example.net"}}), false, nil, ""},
		{"the host", ca.Issue(certstest.Spec{DNS: []string{"host.example.org"}}), false, nil, "identity"},
		{"the host, by authentic DNS", ca.Issue(certstest.Spec{DNS: []string{"host.example.org"}}), true, nil, ""},
		{"a certificate of nobody, by a record", self, true, []string{record(3, 1, 1, self.Certificate)}, ""},
		{"a certificate of nobody, by a record that is not authentic", self, false, []string{record(3, 1, 1, self.Certificate)}, "unknown-authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := lookUp(t, c.authentic, c.records...)
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			for _, conn := range []net.Conn{near, far} {
				if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan error, 1)
			go func() {
				// A pipe has no buffer, so that two ends that both write hang: in TLS 1.2 the server reads after its certificate.
				ts := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{c.leaf.TLS()}, MaxVersion: tls.VersionTLS12})
				done <- ts.Handshake()
			}()
			err := tls.Client(near, us.Client(certs.Client{ServerName: target.ServerName()}, certid.Dialled(us, target))).Handshake()
			near.Close()
			<-done
			if got := ruleOf(t, err); got != c.want {
				t.Errorf("the handshake ended with %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

// What crypto/x509 thinks of a name, and what RFC 6125 says with our choices. They agree but where the row tells why.
func TestAgainstStandard_T_TL_03(t *testing.T) {
	ca := certstest.NewCA(t)
	for _, c := range []struct {
		name    string
		spec    certstest.Spec
		domain  string
		differs string
	}{
		{"the name", certstest.Spec{DNS: []string{"example.net"}}, "example.net", ""},
		{"other letters", certstest.Spec{DNS: []string{"EXAMPLE.net"}}, "example.net", ""},
		{"another", certstest.Spec{DNS: []string{"example.org"}}, "example.net", ""},
		{"CN", certstest.Spec{CommonName: "example.net"}, "example.net", ""},
		{"wildcard", certstest.Spec{DNS: []string{"*.example.net"}}, "a.example.net", ""},
		{"wildcard, two labels", certstest.Spec{DNS: []string{"*.example.net"}}, "a.b.example.net", ""},
		{"wildcard, no label", certstest.Spec{DNS: []string{"*.example.net"}}, "example.net", ""},
		{"wildcard for an A-label", certstest.Spec{DNS: []string{"*.example.net"}}, "xn--bcher-kva.example.net", ""},
		{"part of a label", certstest.Spec{DNS: []string{"a*.example.net"}}, "ab.example.net", ""},
		{"wildcard in the middle", certstest.Spec{DNS: []string{"a.*.example.net"}}, "a.b.example.net", ""},
		{"wildcard above a top-level domain", certstest.Spec{DNS: []string{"*.net"}}, "example.net", "RFC 6125 §6.4.3 allows it, we do not"},
		{"SRVName", certstest.Spec{SRV: []string{"_xmpp-server.example.net"}}, "example.net", "crypto/x509 knows no otherName"},
		{"XmppAddr", certstest.Spec{XMPPAddr: []string{"example.net"}}, "example.net", "crypto/x509 knows no otherName"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf := ca.Issue(c.spec)
			standard := leaf.Certificate.VerifyHostname(c.domain)
			_, ours := proves(leaf.Chain, certid.Server, c.domain, certs.Trust{Roots: ca.Pool()})
			if agree := (standard == nil) == (ours == nil); agree != (c.differs == "") {
				t.Errorf("crypto/x509: %v; we: %v; known difference: %q", standard, ours, c.differs)
			}
		})
	}
}
