package xmpp

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/admission"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Secret is a shared secret. It prints as "[redacted]" in every way that fmt, zerolog and encoders know.
type Secret struct{ octets string }

// NewSecret makes a Secret of text.
func NewSecret(s string) Secret { return Secret{octets: s} }

// String returns "[redacted]".
func (Secret) String() string { return "[redacted]" }

// GoString returns "[redacted]", for %#v.
func (Secret) GoString() string { return "[redacted]" }

// Format writes "[redacted]" whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { f.Write([]byte("[redacted]")) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s.octets == "" }

// Component is one component link.
type Component struct {
	// Name is the link's name in logs, metrics and adapters.Peer. It is unique.
	Name string
	// Server is where the server listens for components, HOST:PORT.
	Server string
	// Domain is our host: the domain, not one of XMPP, whose users write through this link. It may be a component of several servers;
	// those serve different domains.
	Domain string
	// Serves are the XMPP domains that are reached through the link, at least one. Stanzas from any other are refused. The first
	// one is also pinged, so it must be a host of this very server.
	Serves []string
	// Hosts are domains whose users the XMPP domains of Serves know as users of Domain: romeo\40example.net@DOMAIN. With any, Domain has
	// no users of its own.
	Hosts []string
	// Secret is shared with the server.
	Secret Secret
}

// Backoff says how reconnecting slows down: the n-th attempt waits a random time from 0 to Base·2ⁿ, but no more than Max.
type Backoff struct {
	Base   time.Duration // default 1 s
	Max    time.Duration // default 60 s
	Stable time.Duration // how long a link must have been up for the count to begin anew; default 30 s
}

// Limits bounds what the adapter holds and waits for. A zero field stands for its default.
type Limits struct {
	// XML bounds each stanza that is read.
	XML strictxml.Limits
	// StanzaBytes is the largest stanza written, in octets (default 256 KiB; a Prosody takes 512 KiB from a component).
	StanzaBytes int
	// QueueBytes and QueueStanzas bound what waits to be written on one link (defaults 4 MiB, 8192). When it is full, messages and
	// watch operations are refused with ReasonOverloaded.
	QueueBytes, QueueStanzas int
	// Window is how many stanzas may be written and not acknowledged on one link (default 8192).
	Window int
	// ConnectTimeout bounds connecting and the handshake together (default 10 s).
	ConnectTimeout time.Duration
	// WriteTimeout closes a link whose server does not read (default 30 s).
	WriteTimeout time.Duration
	// KeepAlive is how long a link may be silent before it is pinged (default 20 s), PingTimeout how long the answer may take
	// before the link is taken for dead (default 30 s). Together they bound the life of a half-open link.
	KeepAlive, PingTimeout time.Duration
	// Deadline is for operations without one (default 30 s).
	Deadline time.Duration
	// StartWait is how long Start waits for the first attempt of each link (default 5 s).
	StartWait time.Duration
}

// Config is what New needs.
type Config struct {
	Components []Component
	// Software is what is told of this program to who asks.
	Software Software
	// Servers is the server-to-server side; nil: there are components only.
	Servers *Servers
	Limits  Limits
	Backoff Backoff
	Logger  zerolog.Logger
	// Admission holds up the reading of streams when more comes than can be done, an equal share for each component and server-to-server pair of
	// domains. nil: nothing is held up.
	Admission *admission.Controller
	// Registerer takes the adapter's metrics; nil: none are registered.
	Registerer prometheus.Registerer
	// Tap sees each stanza; nil: none.
	Tap adapters.Tap
}

func (l Limits) orDefault() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	setTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.StanzaBytes, 256<<10)
	set(&l.QueueBytes, 4<<20)
	set(&l.QueueStanzas, 8192)
	set(&l.Window, 8192)
	setTime(&l.ConnectTimeout, 10*time.Second)
	setTime(&l.WriteTimeout, 30*time.Second)
	setTime(&l.KeepAlive, 20*time.Second)
	setTime(&l.PingTimeout, 30*time.Second)
	setTime(&l.Deadline, 30*time.Second)
	setTime(&l.StartWait, 5*time.Second)
	return l
}

func (b Backoff) orDefault() Backoff {
	if b.Base <= 0 {
		b.Base = time.Second
	}
	if b.Max <= 0 {
		b.Max = time.Minute
	}
	b.Max = max(b.Max, b.Base)
	if b.Stable <= 0 {
		b.Stable = 30 * time.Second
	}
	return b
}

// endpoint is a Component whose names have been checked. Domains are A-labels, as in cpim.Address; the sets for JIDs U-labels.
type endpoint struct {
	Component
	self   jid.JID         // our host
	pinged jid.JID         // the first domain that it serves
	domain string          // our host, A-labels
	serves map[string]bool // A-labels
	wire   map[string]bool // U-labels
	hosts  []string        // A-labels
}

// check validates the whole configuration and reports every fault.
func (c *Config) check() ([]*endpoint, error) {
	var faults []error
	if len(c.Components) == 0 && c.Servers == nil {
		faults = append(faults, errors.New("xmpp: neither a component nor a server is configured"))
	}
	names, domains, links := map[string]bool{}, map[string]bool{}, map[[2]string]bool{}
	var out []*endpoint
	for _, k := range c.Components {
		bad := func(what string, err error) {
			faults = append(faults, fmt.Errorf("xmpp: component %q: %s: %w", k.Name, what, err))
		}
		e := &endpoint{Component: k, serves: map[string]bool{}, wire: map[string]bool{}}
		if k.Name == "" || names[k.Name] {
			bad("name", errors.New("is needed, once"))
		}
		names[k.Name] = true
		host, port, err := net.SplitHostPort(k.Server)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || perr != nil || n == 0 {
			bad("server", errors.New("want HOST:PORT"))
		}
		if e.domain, err = resolver.ParseDomain(k.Domain); err != nil {
			bad("domain", err)
		} else if e.self, err = jid.New(jid.Parts{Domain: e.domain}); err != nil {
			bad("domain", err)
		}
		at := [2]string{e.domain, "server " + k.Server}
		if links[at] {
			bad("domain", errors.New("the same server has it as another component"))
		}
		domains[e.domain], links[at] = true, true
		if len(k.Serves) == 0 {
			bad("serves", errors.New("at least one XMPP domain is needed"))
		}
		for i, d := range k.Serves {
			a, err := resolver.ParseDomain(d)
			if err != nil {
				bad("serves", err)
				continue
			}
			j, err := jid.New(jid.Parts{Domain: a})
			if err != nil {
				bad("serves", err)
				continue
			}
			if i == 0 {
				e.pinged = j
			}
			if between := [2]string{e.domain, a}; links[between] {
				bad("serves", fmt.Errorf("%s: another component links it with %s", a, e.domain))
			} else {
				links[between] = true
			}
			e.serves[a], e.wire[j.Domain()] = true, true
		}
		for _, d := range k.Hosts {
			a, err := resolver.ParseDomain(d)
			switch {
			case err != nil:
				bad("hosts", err)
			case a == e.domain || e.serves[a]:
				bad("hosts", errors.New(a+" is the component's own domain, or one that it serves"))
			default:
				e.hosts = append(e.hosts, a)
			}
		}
		if k.Secret.IsZero() {
			bad("secret", errors.New("is needed"))
		}
		out = append(out, e)
	}
	hosted := map[string]bool{}
	for _, e := range out {
		for _, d := range e.hosts {
			hosted[d] = true
		}
	}
	for _, e := range out {
		for d := range e.serves {
			if domains[d] {
				faults = append(faults, fmt.Errorf("xmpp: component %q: serves: %s is a component's own domain", e.Name, d))
			}
			if hosted[d] {
				faults = append(faults, fmt.Errorf("xmpp: component %q: serves: the users of %s are written at a component's domain", e.Name, d))
			}
		}
	}
	return out, errors.Join(faults...)
}
