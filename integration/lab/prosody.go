package lab

import (
	"fmt"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// ComponentSecret is the secret of the component in a lab's XMPP server.
const ComponentSecret = "lab-component-secret"

// Prosody is a Prosody XMPP server for example.com with the users juliet and nurse (password "lab"), and the component
// example.net.
type Prosody struct {
	// Client is the port of users, Component that of components.
	Client, Component int

	dir     string
	config  string
	program string
	process *process
}

const prosodyConfig = `
pidfile = "DIR/prosody.pid"
data_path = "DIR/data"
log = { info = "DIR/prosody.log" }
run_as_root = true
interfaces = { "127.0.0.1" }
c2s_ports = { CLIENT }
component_interfaces = { "127.0.0.1" }
component_ports = { COMPONENT }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
modules_enabled = { "roster", "saslauth", "disco", "ping" }
modules_disabled = { "s2s", "offline" }
VirtualHost "example.com"
Component "example.net"
	component_secret = "SECRET"
`

// StartProsody starts a Prosody and waits until it accepts connections.
func StartProsody(t testing.TB) *Prosody {
	t.Helper()
	ports := FreePorts(t, 2)
	p := &Prosody{Client: ports[0], Component: ports[1], dir: t.TempDir(), program: need(t, "prosody", "/usr/bin/prosody")}
	p.config = write(t, p.dir, "prosody.cfg.lua", expand(prosodyConfig, "DIR", p.dir, "SECRET", ComponentSecret,
		"CLIENT", strconv.Itoa(p.Client), "COMPONENT", strconv.Itoa(p.Component)))
	for _, user := range []string{"juliet", "nurse"} {
		write(t, p.dir, fmt.Sprintf("data/example%%2ecom/accounts/%s.dat", user), `return { ["password"] = "lab"; };`)
	}
	p.Start(t)
	return p
}

// Start starts it, again with the same ports and data after Kill.
func (p *Prosody) Start(t testing.TB) {
	t.Helper()
	p.process = start(t, p.dir, "prosody", exec.Command(p.program, "-F", "--config", p.config))
	Eventually(t, 20*time.Second, "Prosody accepts connections", func() bool {
		return listening(p.Client) && listening(p.Component)
	})
}

// Kill ends it as kill -9 does.
func (p *Prosody) Kill() { p.process.kill() }
