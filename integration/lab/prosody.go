package lab

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const prosodyConfig = `
pidfile = "DIR/prosody.pid"
data_path = "DIR/data"
certificates = "DIR"
log = { LEVEL = "DIR/prosody.log" }
run_as_root = true
interfaces = { "127.0.0.1" }
c2s_ports = { CLIENT }
component_interfaces = { "127.0.0.1" }
component_ports = { COMPONENT }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
modules_enabled = { ENABLED }
modules_disabled = { DISABLED }
`

// prosodyFederation makes a server of it. It asks the lab's name server through libunbound (Debian's lua-unbound), because its own DNS
// client knows no port but 53. Prosody trusts the authorities of cafile on its own.
const prosodyFederation = `
s2s_ports = { PORT }
s2s_direct_tls_ports = { DIRECT }
s2s_secure_auth = SECURE
s2s_require_encryption = true
s2s_timeout = 10
use_ipv6 = false
unbound = {
	resolvconf = false;
	forward = { "DNS" };
	options = { ["do-not-query-localhost:"] = "no", ["do-ip6:"] = "no" };
}
ssl = {
	certificate = "CHAIN";
	key = "KEY";
	cafile = "TRUST";
}
`

// StartProsody starts a Prosody for example.com with the component example.net and without server-to-server streams.
func StartProsody(t testing.TB) *XMPPServer {
	t.Helper()
	return StartXMPPServer(t, XMPPServerConfig{Software: ProsodyServer})
}

func (s *XMPPServer) prosody(t testing.TB, c XMPPServerConfig) {
	program := need(t, "prosody", "/usr/bin/prosody")
	level, components := "info", ""
	enabled, disabled := []string{"roster", "saslauth", "disco", "ping"}, []string{"offline"}
	if s.Component != 0 {
		components = number(s.Component)
	}
	if c.Personal {
		enabled = append(enabled, "pep")
	}
	federation := ""
	if f := c.Federation; f == nil {
		disabled = append(disabled, "s2s")
	} else {
		need(t, "lunbound.so", find(t, "/usr/lib/*/lua/5.4/lunbound.so")...)
		level = "debug"
		enabled = append(enabled, "s2s", "s2s_auth_certs", "tls")
		for _, m := range []struct {
			name   string
			wanted bool
		}{{"dialback", f.Dialback}, {"smacks", f.Acknowledged}, {"s2s_bidi", f.Bidirectional}} {
			if m.wanted {
				enabled = append(enabled, m.name)
			} else {
				disabled = append(disabled, m.name)
			}
		}
		files, direct := f.Identity.WriteFiles(s.dir), ""
		if f.DirectTLS != 0 {
			direct = number(f.DirectTLS)
		}
		federation = expand(prosodyFederation, "PORT", number(f.Port), "DIRECT", direct, "SECURE", fmt.Sprint(!f.Dialback),
			"DNS", fmt.Sprintf("127.0.0.1@%d", f.DNS.Port), "CHAIN", files.Chain, "KEY", files.Key, "TRUST", f.Trust.WriteRoot(s.dir))
	}
	var text strings.Builder
	text.WriteString(expand(prosodyConfig, "DIR", s.dir, "CLIENT", number(s.Client), "COMPONENT", components,
		"ENABLED", quotedList(enabled), "DISABLED", quotedList(disabled), "LEVEL", level))
	text.WriteString(federation)
	fmt.Fprintf(&text, "VirtualHost %q\n", s.Domain)
	for _, d := range c.Components {
		fmt.Fprintf(&text, "Component %q\n\tcomponent_secret = %q\n", d, ComponentSecret)
	}
	config := write(t, s.dir, "prosody.cfg.lua", text.String())
	for _, user := range c.Users {
		write(t, s.dir, filepath.Join("data", strings.ReplaceAll(s.Domain, ".", "%2e"), "accounts", user+".dat"), `return { ["password"] = "lab"; };`)
	}
	s.log = filepath.Join(s.dir, "prosody.log")
	s.command = func() *exec.Cmd { return exec.Command(program, "-F", "--config", config) }
}

// find returns the paths that the pattern matches.
func find(t testing.TB, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
