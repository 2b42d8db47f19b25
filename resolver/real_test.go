package resolver_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// The tests of this file ask real servers, started here on loopback ports from a directory of their own: knotd signs and serves the
// zones, unbound resolves and validates them. With CI=true they must be there; elsewhere the tests are skipped without them.
// Debian: apt-get install --no-install-recommends knot unbound.

func program(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and CI=true", name)
	}
	t.Skipf("%s is not installed: the tests with real DNS servers are skipped", name)
	return ""
}

// daemon starts a program and returns how to stop it. It is stopped at the end of the test in any case.
func daemon(t *testing.T, path string, args ...string) (stop func()) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	stop = func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-done
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(path), out.String())
		}
	})
	return stop
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// until asks again until the servers are up; a minute at most.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s did not happen within a minute", what)
		}
	}
}

type realServers struct {
	knot, unbound, dot netip.AddrPort
	pool               *x509.CertPool
	startUnbound       func() (stop func())
	stopUnbound        func()
}

func startReal(t *testing.T) *realServers {
	knotd, keymgr, unbound := program(t, "knotd"), program(t, "keymgr"), program(t, "unbound")
	dir, err := os.MkdirTemp("", "isthmus-dns-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	loop := func() netip.AddrPort { return netip.MustParseAddrPort(porttest.Address(t)) }
	s := &realServers{knot: loop(), unbound: loop(), dot: loop()}

	const head = "$TTL 120\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
	zones := map[string]string{
		"signed.example": "_im._sip SRV 10 1 5061 sip\n_im._xmpp SRV 10 1 5269 x\nsip A 192.0.2.1\nsip AAAA 2001:db8::1\nx A 192.0.2.2\n" +
			"_5269._tcp.x TLSA 3 1 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n" +
			"plain A 192.0.2.3\n_xmpp-server._tcp.away SRV 0 0 5269 x.unsigned.example.\n_xmpp-server._tcp.alias CNAME _xmpp-server._tcp.unsigned.example.\n" +
			"_xmpp-server._tcp.no SRV 0 0 0 .\n@ NAPTR 10 10 \"s\" \"SIPS+D2T\" \"\" _sips._tcp\n_sips._tcp SRV 0 0 5061 sip\n",
		"unsigned.example": "_im._xmpp SRV 10 1 5269 x\n_xmpp-server._tcp SRV 0 0 5269 x\nx A 192.0.2.4\n" + manySRV(120),
		"bogus.example":    "_im._xmpp SRV 10 1 5269 x\nx A 192.0.2.5\n@ A 192.0.2.6\n",
	}
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n  rundir: %s\n  listen: 127.0.0.1@%d\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n", dir, s.knot.Port())
	fmt.Fprintf(&conf, "log:\n  - target: stderr\n    any: warning\ndatabase:\n  storage: %s\npolicy:\n  - id: one\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    nsec3: on\n", dir)
	conf.WriteString("template:\n  - id: default\n    storage: " + dir + "\n    file: \"%s.zone\"\n    zonefile-load: difference-no-serial\n    zonefile-sync: -1\n    journal-content: all\nzone:\n")
	for _, name := range []string{"signed.example", "unsigned.example", "bogus.example"} {
		write(t, dir, name+".zone", "$ORIGIN "+name+".\n"+head+zones[name])
		fmt.Fprintf(&conf, "  - domain: %s\n", name)
		if name != "unsigned.example" {
			conf.WriteString("    dnssec-signing: on\n    dnssec-policy: one\n")
		}
	}
	knotConf := write(t, dir, "knot.conf", conf.String())
	daemon(t, knotd, "-c", knotConf)

	// The trust anchors: the DS of the signed zone, and for the bogus one a DS whose digest is another key's.
	ds := func(zone string) (line string) {
		until(t, "the key of "+zone, func() bool {
			out, err := exec.Command(keymgr, "-c", knotConf, zone, "ds").Output()
			for l := range strings.Lines(string(out)) {
				if f := strings.Fields(l); len(f) >= 6 && f[4] == "2" {
					line = strings.TrimSpace(l)
				}
			}
			return err == nil && line != ""
		})
		return line
	}
	wrong := []byte(ds("bogus.example"))
	for i := len(wrong) - 8; i < len(wrong); i++ {
		if wrong[i] == '0' {
			wrong[i] = '1'
		} else {
			wrong[i] = '0'
		}
	}
	anchors := write(t, dir, "anchors", ds("signed.example")+"\n"+string(wrong)+"\n")

	cert, pool := testCertificate(t, "dns.example")
	s.pool = pool
	key, err := x509.MarshalPKCS8PrivateKey(cert.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	pemFile := write(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificates[0].Certificate[0]})))
	keyFile := write(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))

	conf.Reset()
	fmt.Fprintf(&conf, "server:\n  directory: %q\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  verbosity: 1\n  do-daemonize: no\n  num-threads: 1\n", dir)
	fmt.Fprintf(&conf, "  interface: 127.0.0.1@%d\n  interface: 127.0.0.1@%d\n  tls-port: %d\n  tls-service-pem: %q\n  tls-service-key: %q\n", s.unbound.Port(), s.dot.Port(), s.dot.Port(), pemFile, keyFile)
	fmt.Fprintf(&conf, "  do-ip6: no\n  do-not-query-localhost: no\n  access-control: 127.0.0.0/8 allow\n  module-config: \"validator iterator\"\n  trust-anchor-file: %q\n  ede: yes\n  val-log-level: 1\n", anchors)
	conf.WriteString("  local-zone: \"example.\" transparent\n")
	for name := range zones {
		fmt.Fprintf(&conf, "stub-zone:\n  name: %q\n  stub-addr: 127.0.0.1@%d\n", name, s.knot.Port())
	}
	conf.WriteString("remote-control:\n  control-enable: no\n")
	unboundConf := write(t, dir, "unbound.conf", conf.String())
	s.startUnbound = func() func() { return daemon(t, unbound, "-d", "-c", unboundConf) }
	s.stopUnbound = s.startUnbound()
	up := func() bool {
		r := s.resolver(t, nil, resolver.Server{Addr: s.unbound})
		defer r.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		ts, err := r.Resolve(ctx, query(t, "im:a@signed.example"))
		return err == nil && ts[0].Secure()
	}
	until(t, "an authentic answer", up)
	return s
}

func manySRV(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "_xmpp-server._tcp.many SRV %d 0 5269 a-rather-long-name-for-a-host-%d\na-rather-long-name-for-a-host-%d A 192.0.2.%d\n", i, i, i, i+1)
	}
	return b.String()
}

func (s *realServers) resolver(t *testing.T, change func(*resolver.Config), servers ...resolver.Server) *resolver.Resolver {
	t.Helper()
	c := resolver.Config{
		Servers: servers, Guard: resolver.NewGuard(resolver.GuardConfig{Allow: labNetworks()}),
		AttemptTimeout: 5 * time.Second, LookupTimeout: 20 * time.Second, ResolveTimeout: 40 * time.Second, // as long as a slow machine takes
	}
	if change != nil {
		change(&c)
	}
	r, err := resolver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.SetRoute(func(netip.Addr) bool { return true })
	return r
}

func TestRealServers(t *testing.T) {
	s := startReal(t)
	for _, via := range []struct {
		name   string
		server resolver.Server
		change func(*resolver.Config)
	}{
		{"unbound over UDP", resolver.Server{Addr: s.unbound}, nil},
		{"unbound over UDP with 0x20", resolver.Server{Addr: s.unbound}, func(c *resolver.Config) { c.CaseRandom = true }},
		{"unbound over TLS", resolver.Server{Addr: s.dot, TLSName: "dns.example", RootCAs: s.pool}, nil},
	} {
		t.Run(via.name, func(t *testing.T) {
			r := s.resolver(t, via.change, via.server)
			defer r.Close()
			resolve := func(q string) ([]resolver.Target, error) { return r.Resolve(t.Context(), query(t, q)) }

			ts, err := resolve("im:romeo@signed.example")
			want := []string{"sip/tls [2001:db8::1]:5061", "sip/tls 192.0.2.1:5061", "xmpp/tcp 192.0.2.2:5269"}
			if err != nil || !slices.Equal(short(ts), want) {
				t.Fatalf("signed: %v, %v", short(ts), err)
			}
			for _, tg := range ts {
				if !tg.Secure() {
					t.Errorf("%v is not secure", tg)
				}
			}
			if tg := ts[2]; tg.TLSAStatus() != resolver.TLSASecure || len(tg.TLSA()) != 1 || tg.TLSA()[0].Usage != 3 {
				t.Errorf("TLSA: %v %v", tg.TLSAStatus(), tg.TLSA())
			}
			if tg := ts[0]; tg.TLSAStatus() != resolver.TLSANone {
				t.Errorf("authenticated absence of TLSA: %v", tg.TLSAStatus())
			}
			tr, err := r.Explain(t.Context(), query(t, "im:romeo@signed.example"))
			if err != nil || len(tr.Lookups) < 6 || slices.ContainsFunc(tr.Lookups, func(l resolver.Lookup) bool { return !l.Authentic || l.TTL <= 0 }) {
				t.Errorf("trace: %v %v", tr, err)
			}

			if ts, err = resolve("im:romeo@unsigned.example"); err != nil || ts[0].Secure() || ts[0].TLSAStatus() != resolver.TLSAInsecure {
				t.Errorf("unsigned: %v, %v", ts, err)
			}
			// RFC 7673 §3.1: "If the SRV lookup fails because the RRset is "bogus" ..., the client MUST abort its attempt".
			var e *resolver.Error
			if ts, err = resolve("im:romeo@bogus.example"); !errors.Is(err, resolver.ErrTemporary) || !errors.As(err, &e) ||
				!strings.Contains(e.Detail, "DNSSEC") && !strings.Contains(e.Detail, "DNSKEY") && !strings.Contains(e.Detail, "Signature") {
				t.Errorf("bogus: %v, %v", ts, err)
			} else {
				t.Logf("bogus: %v", err)
			}
			if ts, err = resolve("xmpp:away.signed.example"); err != nil || ts[0].Secure() {
				t.Errorf("signed SRV to an unsigned host: %v, %v", ts, err)
			}
			if ts, err = resolve("xmpp:alias.signed.example"); err != nil || ts[0].Secure() || ts[0].ServerName() != "alias.signed.example" {
				t.Errorf("signed alias to an unsigned SRV: %v, %v", ts, err)
			}
			if ts, err = resolve("xmpp:plain.signed.example"); err != nil || ts[0].Addr().String() != "192.0.2.3:5269" || !ts[0].Secure() {
				t.Errorf("fallback after an authentic denial: %v, %v", ts, err)
			}
			if _, err = resolve("xmpp:no.signed.example"); !errors.Is(err, resolver.ErrDenied) {
				t.Errorf(`".": %v`, err)
			}
			if _, err = resolve("xmpp:nobody.signed.example"); !errors.Is(err, resolver.ErrNotFound) {
				t.Errorf("NXDOMAIN: %v", err)
			}
			if ts, err = resolve("sip:signed.example"); err != nil || ts[0].Transport() != resolver.TLS || !ts[0].Secure() {
				t.Errorf("NAPTR: %v, %v", ts, err)
			}
			if ts, err = resolve("xmpp:many.unsigned.example"); err != nil || len(ts) != 16 {
				t.Errorf("120 records, more than a datagram: %d targets, %v", len(ts), err)
			}
		})
	}
	t.Run("knot, authoritative", func(t *testing.T) {
		r := s.resolver(t, nil, resolver.Server{Addr: s.knot})
		defer r.Close()
		if ts, err := r.Resolve(t.Context(), query(t, "xmpp:many.unsigned.example")); err != nil || len(ts) != 16 {
			t.Errorf("%d targets, %v", len(ts), err)
		}
		if ts, err := r.Resolve(t.Context(), query(t, "im:a@signed.example")); err != nil || ts[0].Secure() {
			t.Errorf("an authoritative server validates nothing: %v, %v", ts, err)
		}
	})
	// T-FI-15, killed: what is cached stays, a failure is reported as such, recovery needs nobody.
	t.Run("unbound killed and started again", func(t *testing.T) {
		r := s.resolver(t, nil, resolver.Server{Addr: s.unbound})
		defer r.Close()
		known, unknown := query(t, "im:a@signed.example"), query(t, "im:a@unsigned.example")
		if _, err := r.Resolve(t.Context(), known); err != nil {
			t.Fatal(err)
		}
		s.stopUnbound()
		if _, err := r.Resolve(t.Context(), known); err != nil {
			t.Errorf("cached: %v", err)
		}
		if _, err := r.Resolve(t.Context(), unknown); !errors.Is(err, resolver.ErrTemporary) {
			t.Errorf("not cached: %v", err)
		}
		s.stopUnbound = s.startUnbound()
		start := time.Now()
		until(t, "recovery", func() bool {
			_, err := r.Resolve(t.Context(), unknown)
			return err == nil
		})
		t.Logf("recovered %v after the start of unbound", time.Since(start).Round(time.Millisecond))
	})
}
