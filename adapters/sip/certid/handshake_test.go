package certid_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/certid"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// store is a certs.Store with the anchors of ca, a clock, and one certificate for each of leaves.
func store(t *testing.T, ca *certstest.CA, now func() time.Time, leaves ...*certstest.Leaf) *certs.Store {
	t.Helper()
	dir := t.TempDir()
	c := certs.Config{RootsFile: ca.WriteRoot(dir), Now: now}
	for i, l := range leaves {
		f := l.WriteFiles(dir)
		c.Certificates = append(c.Certificates, certs.Source{Name: string(rune('a' + i)), ChainFile: f.Chain, KeyFile: f.Key})
	}
	s, err := certs.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// handshake runs both sides over loopback and returns what each says, and what the server has seen.
func handshake(t *testing.T, client, server *tls.Config) (seen tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	for _, c := range []net.Conn{near, far} {
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	ts := tls.Server(far, server)
	done := make(chan error)
	go func() {
		err := ts.Handshake()
		if err == nil {
			_, err = ts.Write([]byte("x"))
		}
		done <- err
	}()
	tc := tls.Client(near, client)
	var b [1]byte
	if clientErr = tc.Handshake(); clientErr == nil {
		_, clientErr = tc.Read(b[:]) // in TLS 1.3 the client learns so that it was refused
	}
	near.Close()
	serverErr = <-done
	return ts.ConnectionState(), clientErr, serverErr
}

// T-TL-04, T-TL-05 in real handshakes. RFC 5922 §7.3: "the client MUST compare the original domain portion of the SIP AUS used as input to
// the RFC 3263 [8] server location procedures to the SIP domain identities obtained from the certificate."
func TestDialled_T_TL_05(t *testing.T) {
	ca := certstest.NewCA(t)
	us := store(t, ca, time.Now)
	for _, c := range []struct {
		name string
		spec certstest.Spec
		want string
	}{
		{"the domain", certstest.Spec{URI: []string{"sip:example.net"}}, ""},
		{"the host that the attacker's DNS led to", certstest.Spec{DNS: []string{"host.example.org"}}, "identity"},
		{"a wildcard, which crypto/tls would take", certstest.Spec{DNS: []string{"*.net", "*.example.net"}}, "identity"},
		{"the CN, which none takes", certstest.Spec{CommonName: "example.net"}, "identity"},
		{"NUL", certstest.Spec{DNS: []string{"example.net", "example.net\x00.example.org"}}, "name-octet"},
		{"for clients", certstest.Spec{DNS: []string{"example.net"}, Usages: oids(certstest.ClientAuth)}, "usage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := &tls.Config{Certificates: []tls.Certificate{ca.Issue(c.spec).TLS()}}
			// SNI is what the domain is, too (RFC 5922 §7.8).
			_, err, _ := handshake(t, us.Client(certs.Client{ServerName: "example.net"}, certid.Dialled(us, "example.net")), server)
			if got := ruleOf(t, err); got != c.want {
				t.Errorf("the handshake ended with %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

// T-TL-06: mutual TLS in a real handshake. RFC 5922 §7.4: "If the client does not present a certificate, the client MUST NOT be considered
// authenticated."
func TestAccepted_T_TL_06(t *testing.T) {
	ca := certstest.NewCA(t)
	us := store(t, ca, time.Now, ca.Issue(certstest.Spec{DNS: []string{"gw.example"}}))
	for _, c := range []struct {
		name    string
		leaf    *certstest.Leaf
		refused string // a part of what the server says
		domains string
	}{
		{"a peer", ca.Issue(certstest.Spec{URI: []string{"sip:example.net", "sip:example.com"}}), "", "example.net example.com"},
		{"a stranger's", certstest.NewCA(t).Issue(certstest.Spec{DNS: []string{"example.net"}}), "unknown-authority", ""},
		{"for servers", ca.Issue(certstest.Spec{DNS: []string{"example.net"}, Usages: oids(certstest.ServerAuth)}), "usage", ""},
		{"none", nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := &tls.Config{RootCAs: ca.Pool(), ServerName: "gw.example"}
			if c.leaf != nil {
				client.Certificates = []tls.Certificate{c.leaf.TLS()}
			}
			state, clientErr, serverErr := handshake(t, client, us.Server(certs.Server{Verify: certid.Accepted(us)}))
			if c.refused != "" {
				if clientErr == nil || serverErr == nil || !strings.Contains(serverErr.Error(), c.refused) {
					t.Errorf("the server says %v, the client %v, want a refusal by %s", serverErr, clientErr, c.refused)
				}
				return
			}
			if clientErr != nil || serverErr != nil {
				t.Fatal(clientErr, serverErr)
			}
			if len(state.PeerCertificates) == 0 {
				if _, err := certid.Examine(state.PeerCertificates, certid.Client, us.Trust()); ruleOf(t, err) != "no-certificate" {
					t.Errorf("a client without a certificate: %v", err)
				}
				return
			}
			peer, err := certid.Examine(state.PeerCertificates, certid.Client, us.Trust())
			if err != nil || strings.Join(peer.Domains(), " ") != c.domains {
				t.Errorf("%v (%v), want %s", peer, err, c.domains)
			}
		})
	}
}

// T-FI-17: a certificate that expires in the run is refused from that moment on.
func TestExpiresInRun_T_FI_17(t *testing.T) {
	ca := certstest.NewCA(t)
	now := time.Now()
	us := store(t, ca, func() time.Time { return now })
	end := now.Add(time.Hour).Truncate(time.Second)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotAfter: end}).TLS()}}
	for _, c := range []struct {
		at   time.Time
		want string
	}{{now, ""}, {end, ""}, {end.Add(time.Second), "expired"}} {
		now = c.at
		_, err, _ := handshake(t, us.Client(certs.Client{ServerName: "example.net"}, certid.Dialled(us, "example.net")), server)
		if got := ruleOf(t, err); got != c.want {
			t.Errorf("at %v: %q (%v), want %q", c.at.Sub(end), got, err, c.want)
		}
	}
}

// What crypto/x509 thinks of a name, and what RFC 5922 says. They agree but where the row tells the section.
func TestAgainstStandard_T_TL_04(t *testing.T) {
	ca := certstest.NewCA(t)
	for _, c := range []struct {
		name    string
		spec    certstest.Spec
		domain  string
		differs string
	}{
		{"the name", certstest.Spec{DNS: []string{"example.net"}}, "example.net", ""},
		{"other letters", certstest.Spec{DNS: []string{"EXAMPLE.net"}}, "example.net", ""},
		{"one of several", certstest.Spec{DNS: []string{"example.org", "example.net"}}, "example.net", ""},
		{"another", certstest.Spec{DNS: []string{"example.org"}}, "example.net", ""},
		{"a name below", certstest.Spec{DNS: []string{"a.example.net"}}, "example.net", ""},
		{"CN", certstest.Spec{CommonName: "example.net"}, "example.net", ""},
		{"A-labels", certstest.Spec{DNS: []string{"xn--bcher-kva.example"}}, "xn--bcher-kva.example", ""},
		{"wildcard in the middle", certstest.Spec{DNS: []string{"a.*.example.net"}}, "a.b.example.net", ""},
		{"wildcard", certstest.Spec{DNS: []string{"*.example.net"}}, "a.example.net", "RFC 5922 §7.2: no wildcards"},
		{"sip URI", certstest.Spec{URI: []string{"sip:example.net"}}, "example.net", "RFC 5922 §7.1: URIs first"},
		{"dNSName beside a sip URI", certstest.Spec{URI: []string{"sip:example.org"}, DNS: []string{"example.net"}}, "example.net", "RFC 5922 §7.1: no dNSName beside a sip URI"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf := ca.Issue(c.spec)
			standard := leaf.Certificate.VerifyHostname(c.domain)
			peer, err := certid.Examine(leaf.Chain, certid.Server, certs.Trust{Roots: ca.Pool()})
			if err != nil {
				t.Fatal(err)
			}
			ours := peer.Proves(c.domain)
			if agree := (standard == nil) == (ours == nil); agree != (c.differs == "") {
				t.Errorf("crypto/x509: %v; we: %v; known difference: %q", standard, ours, c.differs)
			}
		})
	}
}

// A handshake's error is the verifier's own, so that the adapter can log the rule.
func TestErrorComesThrough(t *testing.T) {
	ca := certstest.NewCA(t)
	us := store(t, ca, time.Now)
	server := &tls.Config{Certificates: []tls.Certificate{certstest.SelfSigned(t, certstest.Spec{DNS: []string{"example.net"}}).TLS()}}
	_, err, _ := handshake(t, us.Client(certs.Client{}, certid.Dialled(us, "example.net")), server)
	var e *certs.Error
	if !errors.As(err, &e) || e.Section == "" {
		t.Errorf("the handshake ended with %v", err)
	}
}
