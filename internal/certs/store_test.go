package certs_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// open makes a Store of one certificate for each of leaves, named a, b, c, and of the anchors of ca.
func open(t *testing.T, ca *certstest.CA, leaves ...*certstest.Leaf) (*certs.Store, []certs.Source) {
	t.Helper()
	dir := t.TempDir()
	c := certs.Config{RootsFile: ca.WriteRoot(dir)}
	for i, l := range leaves {
		files := l.WriteFiles(dir)
		c.Certificates = append(c.Certificates, certs.Source{Name: string(rune('a' + i)), ChainFile: files.Chain, KeyFile: files.Key})
	}
	s, err := certs.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s, c.Certificates
}

// pair is the two ends of a connection over loopback. A net.Pipe has no buffer, so that two ends that both write hang.
func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// handshake runs both sides of one.
func handshake(t *testing.T, client, server *tls.Config) (c, s tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	near, far := pair(t)
	deadline := time.Now().Add(10 * time.Second)
	for _, conn := range []net.Conn{near, far} {
		if err := conn.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	tc, ts := tls.Client(near, client), tls.Server(far, server)
	done := make(chan error)
	go func() {
		err := ts.Handshake()
		if err == nil {
			// The session tickets of TLS 1.3, if there were any, come with the first octets.
			_, err = ts.Write([]byte("x"))
		}
		done <- err
	}()
	clientErr = tc.Handshake()
	if clientErr == nil {
		var b [1]byte
		_, clientErr = tc.Read(b[:])
	}
	if clientErr != nil {
		near.Close()
	}
	serverErr = <-done
	c, s = tc.ConnectionState(), ts.ConnectionState()
	near.Close()
	far.Close()
	return c, s, clientErr, serverErr
}

// verifier is a Verifier that judges the path alone, and remembers whom it saw.
func verifier(s *certs.Store, seen *[]string) certs.Verifier {
	return func(state tls.ConnectionState) error {
		p, err := certs.Verify(state.PeerCertificates, []certs.Usage{certs.ServerAuth()}, s.Trust())
		if err != nil {
			return err
		}
		*seen = append(*seen, p.Names().DNS...)
		return nil
	}
}

func TestServerChoosesByName(t *testing.T) {
	ca := certstest.NewCA(t)
	s, _ := open(t, ca,
		ca.Issue(certstest.Spec{DNS: []string{"example.net"}}),
		ca.Issue(certstest.Spec{DNS: []string{"*.example.com", "example.com"}}),
		ca.Issue(certstest.Spec{DNS: []string{"other.example"}, URI: []string{"sip:example.org"}, SRV: []string{"_xmpp-server.im.example.com"}}),
	)
	for _, c := range []struct {
		name, sni, domain, want string
	}{
		{"by SNI", "example.com", "", "example.com"},
		{"by SNI, in other letters", "EXAMPLE.com", "", "example.com"},
		{"by a wildcard", "a.example.com", "", "example.com"},
		{"no wildcard for two labels", "a.b.example.com", "", "example.net"},
		{"by a name before a wildcard", "im.example.com", "", "other.example"},
		{"by a URI", "example.org", "", "other.example"},
		{"by the listener's domain", "", "example.com", "example.com"},
		{"SNI goes before the listener's domain", "example.org", "example.com", "other.example"},
		{"an unknown name, and the listener's domain", "nowhere.example", "example.com", "example.com"},
		{"nothing known", "nowhere.example", "neither.example", "example.net"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var seen []string
			_, _, err, _ := handshake(t, s.Client(certs.Client{ServerName: c.sni}, verifier(s, &seen)), s.Server(certs.Server{Domain: c.domain}))
			if err != nil || !slices.Contains(seen, c.want) {
				t.Errorf("the client saw %q (%v), want %q", seen, err, c.want)
			}
		})
	}
}

func TestClientPresentsOurDomainOnly(t *testing.T) {
	ca := certstest.NewCA(t)
	s, _ := open(t, ca, ca.Issue(certstest.Spec{DNS: []string{"example.net"}}), ca.Issue(certstest.Spec{DNS: []string{"example.com"}}))
	for _, c := range []struct{ from, want string }{{"example.net", "example.net"}, {"Example.COM", "example.com"}, {"example.org", ""}, {"", ""}} {
		var seen []string
		_, state, err, serverErr := handshake(t, s.Client(certs.Client{From: c.from, ServerName: "example.net"}, verifier(s, &seen)), s.Server(certs.Server{}))
		if err != nil || serverErr != nil {
			t.Fatal(err, serverErr)
		}
		got := ""
		if len(state.PeerCertificates) > 0 {
			got = state.PeerCertificates[0].DNSNames[0]
		}
		if got != c.want {
			t.Errorf("from %q it presented %q, want %q", c.from, got, c.want)
		}
	}
}

// A client that was made without a verifier reaches nobody.
func TestNoVerifier(t *testing.T) {
	ca := certstest.NewCA(t)
	s, _ := open(t, ca, ca.Issue(certstest.Spec{DNS: []string{"example.net"}}))
	_, _, err, _ := handshake(t, s.Client(certs.Client{ServerName: "example.net"}, nil), s.Server(certs.Server{}))
	if !errors.Is(err, certs.ErrNoVerifier) {
		t.Errorf("the handshake ended with %v, want ErrNoVerifier", err)
	}
}

// T-FI-18, O6: no resumption, on either side, whatever the other one wishes, so that a policy or an anchor that went is gone.
func TestNoResumption_T_FI_18(t *testing.T) {
	ca := certstest.NewCA(t)
	s, _ := open(t, ca, ca.Issue(certstest.Spec{DNS: []string{"example.net"}}))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		eager := &tls.Config{RootCAs: ca.Pool(), ServerName: "example.net", ClientSessionCache: tls.NewLRUClientSessionCache(8), MaxVersion: version}
		judged := 0
		server := s.Server(certs.Server{Verify: func(tls.ConnectionState) error { judged++; return nil }})
		for range 3 {
			state, _, err, serverErr := handshake(t, eager, server)
			if err != nil || serverErr != nil {
				t.Fatal(err, serverErr)
			}
			if state.DidResume {
				t.Errorf("version %x: our server resumed a session", version)
			}
		}
		if judged != 3 {
			t.Errorf("version %x: our server judged %d of 3 connections", version, judged)
		}
		var seen []string
		willing := &tls.Config{Certificates: []tls.Certificate{ca.Issue(certstest.Spec{DNS: []string{"example.net"}}).TLS()}, MaxVersion: version}
		client := s.Client(certs.Client{ServerName: "example.net"}, verifier(s, &seen))
		for range 2 {
			if state, _, err, _ := handshake(t, client, willing); err != nil || state.DidResume {
				t.Errorf("version %x: our client resumed: %v (%v)", version, state.DidResume, err)
			}
		}
		if len(seen) != 2 {
			t.Errorf("version %x: our client judged %d of 2 connections", version, len(seen))
		}
	}
}

// RFC 8996 §5: "TLS 1.1 MUST NOT be used." And what has no forward secrecy or no AEAD (RFC 7525 §4.2) is not offered.
func TestOldTLS(t *testing.T) {
	ca := certstest.NewCA(t)
	s, _ := open(t, ca, ca.Issue(certstest.Spec{DNS: []string{"example.net"}, Key: certstest.RSA8192(t)}))
	for name, client := range map[string]*tls.Config{
		"TLS 1.1":    {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"static RSA": {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256}},
		"CBC":        {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
	} {
		client.RootCAs, client.ServerName = ca.Pool(), "example.net"
		if _, _, err, serverErr := handshake(t, client, s.Server(certs.Server{})); err == nil || serverErr == nil {
			t.Errorf("%s was negotiated", name)
		}
	}
	if _, _, err, _ := handshake(t, &tls.Config{RootCAs: ca.Pool(), ServerName: "example.net", MaxVersion: tls.VersionTLS12}, s.Server(certs.Server{})); err != nil {
		t.Errorf("TLS 1.2 was refused: %v", err)
	}
}

// T-FI-17: what is renewed on disk is used by the next connection after Reload; what is bad on disk leaves the old in use.
func TestReload_T_FI_17(t *testing.T) {
	ca := certstest.NewCA(t)
	old := ca.Issue(certstest.Spec{DNS: []string{"example.net"}})
	s, sources := open(t, ca, old)
	files := certstest.Files{Chain: sources[0].ChainFile, Key: sources[0].KeyFile}
	serving := func() string {
		t.Helper()
		var serial string
		_, _, err, _ := handshake(t, s.Client(certs.Client{ServerName: "example.net"}, func(state tls.ConnectionState) error {
			serial = state.PeerCertificates[0].SerialNumber.String()
			return nil
		}), s.Server(certs.Server{}))
		if err != nil {
			t.Fatal(err)
		}
		return serial
	}
	first := serving()
	now := time.Now()
	expired := ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)})
	other := ca.Issue(certstest.Spec{DNS: []string{"example.net"}})
	put := func(name string, octets []byte, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(name, octets, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []struct {
		name string
		make func()
		says string
	}{
		{"expired", func() { expired.WriteTo(files) }, "not valid at this time"},
		{"not yet valid", func() {
			ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotBefore: now.Add(time.Hour)}).WriteTo(files)
		}, "not valid at this time"},
		{"key of another certificate", func() { put(files.Chain, other.ChainPEM(), 0o644) }, "does not belong"},
		{"half a file", func() { put(files.Chain, old.ChainPEM()[:300], 0o644) }, "not whole"},
		{"empty file", func() { put(files.Chain, nil, 0o644) }, "holds no certificate"},
		{"no file", func() { os.Remove(files.Chain) }, "does not exist"},
		{"key for everyone", func() { put(files.Key, old.KeyPEM(), 0o640) }, "mode 0640"},
		{"a folder", func() { os.Remove(files.Key); os.Mkdir(files.Key, 0o700) }, "no regular file"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			bad.make()
			err := s.Reload()
			if err == nil || !strings.Contains(err.Error(), bad.says) {
				t.Errorf("Reload says %v, want something with %q", err, bad.says)
			}
			if got := serving(); got != first {
				t.Error("the old certificate is not in use any more")
			}
			os.Remove(files.Key)
			old.WriteTo(files)
		})
	}
	renewed := ca.Issue(certstest.Spec{DNS: []string{"example.net"}})
	renewed.WriteTo(files)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := serving(); got != renewed.Certificate.SerialNumber.String() {
		t.Error("the renewed certificate is not in use")
	}
}

// T-FI-17: a CA that is removed is not trusted by the next connection, and an anchor's own end ends it too.
func TestAnchors_T_FI_17(t *testing.T) {
	ca, next := certstest.NewCA(t), certstest.NewCA(t)
	dir := t.TempDir()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, append(ca.PEM(), next.PEM()...), 0o644); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s, err := certs.Open(certs.Config{RootsFile: roots, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	leaf := ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotAfter: now.Add(365 * 24 * time.Hour)})
	verify := func() string {
		_, err := certs.Verify(leaf.Chain, []certs.Usage{certs.ServerAuth()}, s.Trust())
		var e *certs.Error
		if errors.As(err, &e) {
			return e.Rule
		}
		return ""
	}
	if got := verify(); got != "" {
		t.Errorf("with its anchor: %q", got)
	}
	if err := os.WriteFile(roots, next.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := verify(); got != "unknown-authority" {
		t.Errorf("after its anchor went: %q", got)
	}
	if err := os.WriteFile(roots, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(91 * 24 * time.Hour)
	if got := verify(); got == "" {
		t.Error("it outlived its anchor")
	}
}

// T-FI-17: the alarm comes before the end, and a certificate whose end has come is refused.
func TestWarnings_T_FI_17(t *testing.T) {
	ca := certstest.NewCA(t)
	start := time.Now()
	now := start
	dir := t.TempDir()
	files := ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotAfter: start.Add(60 * 24 * time.Hour)}).WriteFiles(dir)
	bare := ca.Issue(certstest.Spec{CommonName: "example.net", NotBefore: start.Add(24 * time.Hour)}).WriteFiles(dir)
	registry := prometheus.NewRegistry()
	s, err := certs.Open(certs.Config{
		Certificates: []certs.Source{{Name: "main", ChainFile: files.Chain, KeyFile: files.Key}, {Name: "bare", ChainFile: bare.Chain, KeyFile: bare.Key}},
		RootsFile:    ca.WriteRoot(dir), Now: func() time.Time { return now }, Registerer: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds := func() string {
		var all []string
		for _, w := range s.Warnings() {
			all = append(all, w.Name+" "+string(w.Kind))
			if w.String() == "" {
				t.Error("a warning without words")
			}
		}
		return strings.Join(all, ", ")
	}
	for _, c := range []struct {
		days int
		want string
	}{
		{0, "bare not-yet-valid, bare nameless"},
		{38, "bare nameless"},
		{40, "main expires-soon, bare nameless"},
		{61, "main expired, bare nameless"},
	} {
		now = start.Add(time.Duration(c.days) * 24 * time.Hour)
		if got := kinds(); got != c.want {
			t.Errorf("on day %d: %s, want %s", c.days, got, c.want)
		}
	}
	gauges := 0
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range gathered {
		for _, m := range f.Metric {
			if f.GetName() != "isthmus_tls_certificate_expiry_seconds" {
				continue
			}
			gauges++
			if m.Label[0].GetValue() == "main" {
				if left := m.Gauge.GetValue(); left > -23*3600 || left < -25*3600 {
					t.Errorf("%v seconds left, want about -86400", left)
				}
			}
		}
	}
	if gauges != 2 {
		t.Errorf("%d gauges, want one for each certificate", gauges)
	}
}

func TestOpenSaysEverything(t *testing.T) {
	ca := certstest.NewCA(t)
	dir := t.TempDir()
	good := ca.Issue(certstest.Spec{DNS: []string{"example.net"}}).WriteFiles(dir)
	below := ca.Intermediate(certstest.Authority{})
	swapped := below.Issue(certstest.Spec{DNS: []string{"example.net"}}).With(ca.Certificate)
	swapped.DER[1], swapped.DER[2] = swapped.DER[2], swapped.DER[1]
	authority := ca.Issue(certstest.Spec{DNS: []string{"example.net"}, CA: true})
	nul := ca.Issue(certstest.Spec{DNS: []string{"example.net\x00"}})
	write := func(name string, octets []byte) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, octets, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, c := range []struct {
		name   string
		source certs.Source
		key    string
		says   string
	}{
		{"no chain", certs.Source{ChainFile: filepath.Join(dir, "none"), KeyFile: good.Key}, "chain_file", "does not exist"},
		{"no key", certs.Source{ChainFile: good.Chain, KeyFile: filepath.Join(dir, "none")}, "key_file", "does not exist"},
		{"out of order", fromFiles(swapped.WriteFiles(dir)), "chain_file", "certificate 1 is not issued by certificate 2"},
		{"a CA first", fromFiles(authority.WriteFiles(dir)), "chain_file", "certificate of a CA"},
		{"key and chain exchanged", certs.Source{ChainFile: good.Key, KeyFile: good.Key}, "chain_file", "private key"},
		{"a chain as key", certs.Source{ChainFile: good.Chain, KeyFile: write("chain-as-key", must(os.ReadFile(good.Chain)))}, "key_file", "other than a private key"},
		{"two keys", certs.Source{ChainFile: good.Chain, KeyFile: write("two", append(must(os.ReadFile(good.Key)), must(os.ReadFile(good.Key))...))}, "key_file", "more than one"},
		{"encrypted key", certs.Source{ChainFile: good.Chain, KeyFile: write("enc", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))}, "key_file", "encrypted"},
		{"no PEM", certs.Source{ChainFile: write("noise", []byte("\x00\x01")), KeyFile: good.Key}, "chain_file", "no certificate"},
		{"no DER", certs.Source{ChainFile: write("der", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")), KeyFile: good.Key}, "chain_file", "number 1"},
		{"NUL in a name", fromFiles(nul.WriteFiles(dir)), "chain_file", "no peer can read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.source.Name = "one"
			_, err := certs.Open(certs.Config{Certificates: []certs.Source{c.source}, RootsFile: ca.WriteRoot(dir)})
			var f *certs.FileFault
			if !errors.As(err, &f) || f.Key != c.key || f.Name != "one" || !strings.Contains(f.Error(), c.says) || f.Instead == "" {
				t.Errorf("it says %v, want a fault of %s with %q", err, c.key, c.says)
			}
		})
	}
	t.Run("all at once", func(t *testing.T) {
		_, err := certs.Open(certs.Config{
			Certificates: []certs.Source{{Name: "a", ChainFile: "/none/1", KeyFile: "/none/2"}, {Name: "b", ChainFile: "/none/3", KeyFile: good.Key}},
			RootsFile:    "/none/4",
		})
		for _, file := range []string{"/none/1", "/none/2", "/none/3", "/none/4"} {
			if err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("%s is not named in %v", file, err)
			}
		}
	})
	t.Run("the same name twice", func(t *testing.T) {
		one := fromFiles(good)
		one.Name = "one"
		if _, err := certs.Open(certs.Config{Certificates: []certs.Source{one, one}, RootsFile: ca.WriteRoot(dir)}); err == nil {
			t.Error("two certificates of one name were taken")
		}
	})
}

func TestReadChain(t *testing.T) {
	ca := certstest.NewCA(t)
	leaf := ca.Intermediate(certstest.Authority{}).Issue(certstest.Spec{DNS: []string{"example.net"}})
	files := leaf.WriteFiles(t.TempDir())
	chain, err := certs.ReadChain("signer", "certificate_file", files.Chain)
	if err != nil || len(chain) != 2 || !chain[0].Equal(leaf.Certificate) {
		t.Errorf("%d certificates, %v", len(chain), err)
	}
	_, err = certs.ReadChain("signer", "certificate_file", files.Key)
	if found := certs.FileFaults(err); len(found) != 1 || found[0].Name != "signer" || found[0].Key != "certificate_file" {
		t.Errorf("a key as chain: %v", err)
	}
}

func fromFiles(f certstest.Files) certs.Source {
	return certs.Source{ChainFile: f.Chain, KeyFile: f.Key}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
