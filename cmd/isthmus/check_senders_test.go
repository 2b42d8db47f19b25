package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// check says who may send how: by an address, a certificate, a password, an assertion or a signature; and nothing of a password.
func TestCheckSenders(t *testing.T) {
	b, err := os.ReadFile("../../configs/two-domains.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "c.yaml")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := certstest.NewCA(t)
	now := time.Now()
	signer := func(s certstest.Spec) { // into passport.crt
		s.Key = key
		ca.Issue(s).WriteTo(certstest.Files{Chain: filepath.Join(folder, "passport.crt"), Key: filepath.Join(folder, "passport.key")})
	}
	domain := certstest.Spec{DNS: []string{"example.net"}}
	const networks = "networks: [127.0.0.1/32]"
	const signers = "sip:\n  signers: [{info: 'https://cert.example.net/p.cer', certificate_file: passport.crt, numbers: ['1215']}]\n"
	for _, c := range []struct {
		name     string
		peer     string // in place of its networks
		signers  string
		spec     certstest.Spec
		code     int
		out, err string
	}{
		{"by address", networks, "", domain, 0, "example-net-proxy, from 127.0.0.1/32: as anyone at example.net, to anyone at example.com\n", ""},
		{"by certificate", "certificates: [proxy.example.net, example.org]", "", domain, 0, ", from certificate of proxy.example.net, certificate of example.org: as anyone at", ""},
		{"by either", networks + "\n      certificates: [example.org]", "", domain, 0, ", from 127.0.0.1/32, certificate of example.org: as anyone", ""},
		{
			"by password", networks + "\n      users: [{name: rom, address: 'sip:romeo@example.net', password_env: ROMEO}]", "", domain, 0,
			`: as sip:romeo@example.net ("rom"), each by a password, to anyone at example.com` + "\n", "",
		},
		{"by assertion", networks + "\n      trusted: true", "", domain, 0, "at example.com; its P-Asserted-Identity is believed\n", ""},
		{"signed", networks, signers, domain, 0, "at example.com; signatures (RFC 8224) are verified\n", ""},
		{"who signs", networks, signers, domain, 0, "signer       https://cert.example.net/p.cer for example.net, +1215...: until ", ""},
		{"must be signed", networks + "\n      identity: require", signers, domain, 0, "; each request must be signed (RFC 8224)\n", ""},
		{"signatures are ignored", networks + "\n      identity: ignore", signers, domain, 0, "to anyone at example.com\n", ""},
		{"must be signed by nobody", networks + "\n      identity: require", "", domain, 2, "", "identity: nobody is known who could sign"},
		{"a policy that is none", networks + "\n      identity: maybe", signers, domain, 2, "", "identity: "},
		{"no certificate", networks, strings.Replace(signers, "passport.crt", "none.crt", 1), domain, 2, "", "sip.signers[0].certificate_file: the file"},
		{"a key of another kind", networks, strings.Replace(signers, "passport.crt", "p384.crt", 1), domain, 2, "", "is not ECDSA on P-256"},
		{"a certificate that has ended", networks, signers, certstest.Spec{DNS: []string{"example.net"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)}, 1, "signer       https", ""},
		{"an info that is no URI", networks, strings.Replace(signers, "https://cert.example.net/p.cer", "p.cer", 1), domain, 2, "", "is no absolute URI"},
		{"numbers that are none", networks, strings.Replace(signers, "'1215'", "'+1215'", 1), domain, 2, "", "is no beginning of a number"},
		{"two signers with one certificate", networks, signers + "    - {info: 'https://cert.example.net/p.cer', certificate_file: passport.crt}\n", domain, 2, "", ""},
		{
			"credentials for everybody", "networks: [0.0.0.0/0]\n      users: [{name: rom, address: 'sip:romeo@example.net', password_env: ROMEO}]\n      credentials: {username: u, realm: r, password_env: ROMEO}",
			"", domain, 2, "", "is every address there is",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			signer(c.spec)
			p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			ca.Issue(certstest.Spec{DNS: []string{"example.net"}, Key: p384}).WriteTo(certstest.Files{Chain: filepath.Join(folder, "p384.crt"), Key: filepath.Join(folder, "p384.key")})
			text := strings.Replace(string(b), networks, c.peer, 1)
			if c.signers != "" {
				text = strings.Replace(text, "sip:\n", c.signers, 1)
			}
			if text == string(b) && (c.peer != networks || c.signers != "") {
				t.Fatal("nothing was changed")
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			env := map[string]string{"ISTHMUS_PROSODY_SECRET": "x", "ROMEO": "rosaline"}
			got := isthmus(t, "", env, "check", "-c", file)
			if got.code != c.code || !strings.Contains(got.out, c.out) || !strings.Contains(got.err, c.err) {
				t.Errorf("exit code %d, want %d\n%s%s", got.code, c.code, got.out, got.err)
			}
			if got := isthmus(t, "", env, "check", "--json", "-c", file); strings.Contains(got.out+got.err, "rosaline") {
				t.Errorf("the password is shown: %s", got.out)
			}
		})
	}
}
