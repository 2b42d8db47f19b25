package lab

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// ComponentSecret is the secret of the components in a lab's XMPP server.
const ComponentSecret = "lab-component-secret"

// Software is an XMPP server program that the lab can start.
type Software string

// The XMPP servers of the lab.
const (
	ProsodyServer  Software = "Prosody"
	EjabberdServer Software = "ejabberd"
)

// XMPPServers are all that the lab can start: a scenario of the component link or of server-to-server streams is run with each.
func XMPPServers() []Software { return []Software{ProsodyServer, EjabberdServer} }

// XMPPServerConfig is what a scenario chooses of an XMPP server.
type XMPPServerConfig struct {
	Software Software
	// Domain is what it hosts; example.com by default.
	Domain string
	// Users are the names of its users, all with the password "lab"; juliet and nurse by default.
	Users []string
	// Components are the domains that it takes components for; example.net by default, none if Federation is set.
	Components []string
	// Personal makes it keep and tell what its users say of themselves (XEP-0163).
	Personal bool
	// Federation makes it a server among others. Without it the server has no server-to-server streams at all.
	Federation *Federation
}

// Federation is what an XMPP server needs to find others and to be trusted by them.
type Federation struct {
	// DNS is the only name server that it asks.
	DNS *DNS
	// Port is where it takes streams that begin with STARTTLS, DirectTLS where TLS comes first (XEP-0368; 0: it does not).
	Port, DirectTLS int
	// Identity is its certificate, Trust the authority that it believes.
	Identity *certstest.Leaf
	Trust    *certstest.CA
	// Dialback makes it take and use server dialback (XEP-0220), over TLS, with whoever has no certificate that it trusts. Without it
	// only a certificate proves a domain.
	Dialback bool
	// Acknowledged makes it offer and use stream management on these streams (XEP-0198), Bidirectional one stream for both directions
	// (XEP-0288). ejabberd knows neither.
	Acknowledged, Bidirectional bool
}

// XMPPServer is a real XMPP server, a process of its own with its configuration and data in a temporary directory.
type XMPPServer struct {
	Software Software
	Domain   string
	// Client is the port of users, Component that of components (0: none).
	Client, Component int

	dir       string
	command   func() *exec.Cmd
	listeners []int
	log       string // the file it logs to
	ready     string // a file that it makes when it is ready; "": listening is enough
	process   *process
}

// StartXMPPServer starts an XMPP server and waits until it accepts connections.
func StartXMPPServer(t testing.TB, c XMPPServerConfig) *XMPPServer {
	t.Helper()
	if c.Domain == "" {
		c.Domain = "example.com"
	}
	if c.Users == nil {
		c.Users = []string{"juliet", "nurse"}
	}
	if c.Components == nil && c.Federation == nil {
		c.Components = []string{"example.net"}
	}
	ports := FreePorts(t, 2)
	s := &XMPPServer{Software: c.Software, Domain: c.Domain, Client: ports[0], dir: t.TempDir()}
	s.listeners = append(s.listeners, s.Client)
	if len(c.Components) > 0 {
		s.Component = ports[1]
		s.listeners = append(s.listeners, s.Component)
	}
	if f := c.Federation; f != nil {
		s.listeners = append(s.listeners, f.Port)
		if f.DirectTLS != 0 {
			s.listeners = append(s.listeners, f.DirectTLS)
		}
	}
	switch c.Software {
	case ProsodyServer:
		s.prosody(t, c)
	case EjabberdServer:
		s.ejabberd(t, c)
	default:
		t.Fatalf("the lab has no XMPP server %q", c.Software)
	}
	if s.Software == ProsodyServer {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("log of Prosody:\n%s", tail(s.log, 8192))
			}
		})
	}
	s.Start(t)
	return s
}

// Start starts it, again with the same ports and data after Kill.
func (s *XMPPServer) Start(t testing.TB) {
	t.Helper()
	if s.ready != "" {
		if err := os.Remove(s.ready); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	s.process = start(t, s.dir, string(s.Software), s.command())
	Eventually(t, time.Minute, string(s.Software)+" accepts connections", func() bool {
		if s.ready != "" {
			if _, err := os.Stat(s.ready); err != nil {
				return false
			}
		}
		return !slices.ContainsFunc(s.listeners, func(port int) bool { return !listening(port) })
	})
}

// Kill ends it as kill -9 does.
func (s *XMPPServer) Kill() { s.process.kill() }

// Freeze stops its execution with SIGSTOP: its connections stay open, and nothing is read. Thaw, or the end of the test, ends that.
// Freeze returns when it stands still: the signal is dealt with by one of its threads, and on a busy machine the others go on until that one runs.
func (s *XMPPServer) Freeze(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
	Eventually(t, time.Minute, string(s.Software)+" stands still", s.process.stopped)
}

// Thaw lets it go on after Freeze.
func (s *XMPPServer) Thaw(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *XMPPServer) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-s.process.cmd.Process.Pid, sig); err != nil {
		t.Fatalf("%s: %v: %v", s.Software, sig, err)
	}
}

// Log returns what it has logged, as text.
func (s *XMPPServer) Log() string { return tail(s.log, 1<<24) }

// LogInPersonal is LogIn with a client that says by its capabilities that it wants moods and activities (XEP-0107, XEP-0108).
func (s *XMPPServer) LogInPersonal(t testing.TB, user, resource string) *XMPPUser {
	t.Helper()
	return logIn(t, fmt.Sprintf("%s@%s/%s", user, s.Domain, resource), s.Client, "personal")
}

// LogIn logs one of its users in, as user@domain/resource.
func (s *XMPPServer) LogIn(t testing.TB, user, resource string) *XMPPUser {
	t.Helper()
	return LogIn(t, fmt.Sprintf("%s@%s/%s", user, s.Domain, resource), s.Client)
}

func quotedList(words []string) string {
	all := make([]string, 0, len(words))
	for _, w := range words {
		all = append(all, strconv.Quote(w))
	}
	return strings.Join(all, ", ")
}

func number(n int) string { return strconv.Itoa(n) }
