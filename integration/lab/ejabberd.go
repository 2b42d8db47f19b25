package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const ejabberdConfig = `loglevel: LEVEL
log_rotate_count: 0
hosts: [DOMAIN]
auth_method: [internal]
auth_password_format: plain
acme: {auto: false}
disable_sasl_mechanisms: [X-OAUTH2]
listen:
  - {port: CLIENT, ip: "127.0.0.1", module: ejabberd_c2s}
LISTENERSFEDERATIONmodules:
  mod_disco: {}
  mod_ping: {}
  mod_roster: {}
MODULES`

const ejabberdFederation = `certfiles: ["BOTH"]
ca_file: "TRUST"
s2s_use_starttls: required
outgoing_s2s_families: [ipv4]
s2s_dns_timeout: 5s
s2s_dns_retries: 1
`

// ejabberdNames makes the name server of the lab the only one that Erlang asks.
const ejabberdNames = `{resolv_conf, ""}.
{hosts_file, ""}.
{nameserver, {127,0,0,1}, PORT}.
{lookup, [dns]}.
`

// ejabberd writes its configuration. It runs without Erlang's distribution, so there is no node name and no epmd, and every program
// that it forks ends when it ends.
func (s *XMPPServer) ejabberd(t testing.TB, c XMPPServerConfig) {
	need(t, "ejabberd", "/usr/sbin/ejabberdctl")
	program := need(t, "erl")
	libraries := find(t, "/usr/lib/*/ejabberd-*")
	if len(libraries) == 0 {
		t.Fatal("ejabberd is installed, but not where Debian puts it")
	}
	var listeners, federation, modules strings.Builder
	level := "info"
	for i, d := range c.Components {
		if i == 0 {
			fmt.Fprintf(&listeners, "  - port: %d\n    ip: \"127.0.0.1\"\n    module: ejabberd_service\n    hosts:\n", s.Component)
		}
		fmt.Fprintf(&listeners, "      %s: {password: %s}\n", d, ComponentSecret)
	}
	if c.Personal {
		modules.WriteString("  mod_caps: {}\n  mod_pubsub: {plugins: [flat, pep]}\n")
	}
	names := "PORT"
	if f := c.Federation; f != nil {
		level = "debug"
		fmt.Fprintf(&listeners, "  - {port: %d, ip: \"127.0.0.1\", module: ejabberd_s2s_in}\n", f.Port)
		if f.DirectTLS != 0 {
			fmt.Fprintf(&listeners, "  - {port: %d, ip: \"127.0.0.1\", module: ejabberd_s2s_in, tls: true}\n", f.DirectTLS)
		}
		both := write(t, s.dir, "identity.pem", string(f.Identity.KeyPEM())+string(f.Identity.ChainPEM()))
		federation.WriteString(expand(ejabberdFederation, "BOTH", both, "TRUST", f.Trust.WriteRoot(s.dir)))
		if f.Dialback {
			modules.WriteString("  mod_s2s_dialback: {}\n")
		}
		names = expand(ejabberdNames, "PORT", number(f.DNS.Port))
	} else {
		// Nothing is to leave the machine: no name is found.
		federation.WriteString("s2s_access: none\n")
		names = expand(ejabberdNames, "{nameserver, {127,0,0,1}, PORT}.\n", "")
	}
	config := write(t, s.dir, "ejabberd.yml", expand(ejabberdConfig, "LEVEL", level, "DOMAIN", s.Domain, "CLIENT", number(s.Client),
		"LISTENERS", listeners.String(), "FEDERATION", federation.String(), "MODULES", modules.String()))
	inetrc := write(t, s.dir, "inetrc", names)
	s.log, s.ready = filepath.Join(s.dir, string(s.Software)+".out"), filepath.Join(s.dir, "ready") // the file log is late

	var users strings.Builder
	for _, u := range c.Users {
		fmt.Fprintf(&users, `ejabberd_auth:try_register(<<"%s">>, <<"%s">>, <<"lab">>), `, u, s.Domain)
	}
	s.command = func() *exec.Cmd {
		cmd := exec.Command(program, "-noinput", "-mnesia", "dir", fmt.Sprintf("%q", filepath.Join(s.dir, "mnesia")), "-s", "ejabberd",
			"-eval", users.String()+fmt.Sprintf("ok = file:write_file(%q, <<>>).", s.ready))
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), "HOME="+s.dir, "ERL_LIBS="+filepath.Dir(libraries[0]), "ERL_INETRC="+inetrc,
			"ERL_CRASH_DUMP="+filepath.Join(s.dir, "crash"), "EJABBERD_CONFIG_PATH="+config, "EJABBERD_LOG_PATH="+filepath.Join(s.dir, "ejabberd.log"))
		return cmd
	}
}
