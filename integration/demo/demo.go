// Package demo shows the strait being crossed, in one process and with nothing installed: a DNS zone, a SIP user agent over
// real UDP and TCP sockets and an XMPP server over real TCP sockets, all on loopback, talk through the gateway that serve runs.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gosrc.io/xmpp/stanza"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/xmpptest"
	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

// Gateway is a gateway that Options.Assemble made and started.
type Gateway interface {
	// SIPAddress is HOST:PORT of its listener for "udp" or "tcp".
	SIPAddress(transport string) string
	// Ready tells whether all its links are up.
	Ready() bool
	// Shutdown ends it.
	Shutdown(ctx context.Context) error
}

// Watcher is what the demo looks through: the adapters' sockets and the middle.
type Watcher struct {
	Tap     adapters.Tap
	Observe func(gateway.Observation)
}

// Options say how the demo runs.
type Options struct {
	// Assemble makes and starts a gateway from a configuration, with the very code of serve.
	Assemble func(ctx context.Context, cfg *configs.Config, w Watcher) (Gateway, error)
	// Out gets what is shown: JSON objects, one a line, or text, with colour or without.
	Out    io.Writer
	JSON   bool
	Colour bool
}

// ErrNotArrived: something that was sent did not arrive on the other side.
var ErrNotArrived = errors.New("demo: not everything arrived")

// patience bounds each wait of the demo. All of it takes well under a second on an idle machine.
const patience = 10 * time.Second

// The texts that cross.
const (
	romeoSays  = "Neither, fair saint, if either thee dislike. \U0001F339 <&>\"'"
	julietSays = "Art thou not Romeo, and a Montague? \U0001F339 <&>\"'"
	romeoIs    = `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:romeo@example.net">
  <tuple id="ID-orchard">
    <status><basic>open</basic><show xmlns="jabber:client">away</show></status>
    <note>over the wall</note>
  </tuple>
</presence>
`
)

const secret = "demo-secret" // of two ends in one process

const zone = `
$ORIGIN example.net.
$TTL 60
@          IN SOA   ns hostmaster 1 3600 600 86400 60
@          IN NS    ns
ns         IN A     127.0.0.1
_im._sip   IN SRV   0 0 %[1]d romeo ; messages by RFC 3861
_sip._tcp  IN SRV   0 0 %[1]d romeo ; presence falls back to RFC 3263
romeo      IN A     127.0.0.1
`

const configuration = `
sip:
  listeners:
    - {transport: udp, address: "127.0.0.1:0"}
    - {transport: tcp, address: "127.0.0.1:0"}
  peers:
    - {name: romeo, networks: [127.0.0.1/32], domains: [example.net]}
xmpp:
  components:
    - {name: xmpp-server, server: %q, domain: example.net, serves: [example.com], secret_file: secret}
dns:
  servers: [%q]
  allow: [127.0.0.0/8]
routes:
  - {domain: example.net, via: sip} # its next hops are in the DNS zone
  - {domain: example.com, via: xmpp, next_hops: ["component:xmpp-server"]}
log: {level: warn}
limits: {sip: {notify_interval: 1ms}} # a demo is no crowd
`

// Run runs the demo and returns nil only if everything arrived.
func Run(ctx context.Context, o Options) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	s, err := newStage(ctx, o)
	if s != nil {
		defer s.close()
	}
	if err != nil {
		return err
	}
	var show printer = &textPrinter{out: o.Out, colour: o.Colour}
	if o.JSON {
		show = newJSONPrinter(o.Out)
	}
	arrived := 0
	acts := []func(context.Context) (Crossing, error){s.messageFromSIP, s.messageFromXMPP, s.presenceFromXMPP, s.presenceFromSIP}
	for _, act := range acts {
		s.forget()
		start := time.Now()
		c, err := act(ctx)
		c.Milliseconds = milliseconds(time.Since(start))
		if c.Arrived = err == nil; c.Arrived {
			arrived++
		} else {
			c.Fault = err.Error()
		}
		if err := show.crossing(c); err != nil {
			return err
		}
	}
	if err := show.end(arrived, len(acts), time.Since(began)); err != nil {
		return err
	}
	if arrived < len(acts) {
		return ErrNotArrived
	}
	return nil
}

// stage is everybody who takes part, and what was seen since the last forget.
type stage struct {
	folder  string
	dns     *resolvertest.Server
	server  *xmpptest.Server
	gateway Gateway
	romeo   *sipUser
	juliet  *xmppUser

	mu     sync.Mutex
	seen   []sight
	middle []gateway.Observation
}

// sight is native text at an adapter's socket.
type sight struct {
	adapter string
	dir     adapters.Direction
	text    string
}

// newStage opens everything. On an error the stage may be there in part, to be closed.
func newStage(ctx context.Context, o Options) (*stage, error) {
	s := &stage{}
	var err error
	if s.romeo, err = newSIPUser(); err != nil {
		return s, fmt.Errorf("demo: SIP user: %w", err)
	}
	if s.dns, err = resolvertest.Start(fmt.Sprintf(zone, s.romeo.port), resolvertest.Options{}); err != nil {
		return s, fmt.Errorf("demo: DNS zone: %w", err)
	}
	if s.server, err = xmpptest.Start(xmpptest.Config{
		Domain: "example.com", Components: map[string]string{"example.net": secret}, Users: map[string]string{"juliet": "rose"},
	}); err != nil {
		return s, fmt.Errorf("demo: XMPP server: %w", err)
	}
	// A secret comes from a file or the environment, here too.
	if s.folder, err = os.MkdirTemp("", "isthmus-demo-"); err != nil {
		return s, err
	}
	if err := os.WriteFile(filepath.Join(s.folder, "secret"), []byte(secret), 0o600); err != nil {
		return s, err
	}
	file := filepath.Join(s.folder, "demo.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, configuration, s.server.ComponentAddr(), s.dns.Addr().String()), 0o600); err != nil {
		return s, err
	}
	cfg, err := configs.Load(file, os.LookupEnv)
	if err != nil {
		return s, err
	}
	if s.gateway, err = o.Assemble(ctx, cfg, Watcher{Tap: s.tap, Observe: s.observe}); err != nil {
		return s, fmt.Errorf("demo: gateway: %w", err)
	}
	s.romeo.udp, s.romeo.tcp = s.gateway.SIPAddress("udp"), s.gateway.SIPAddress("tcp")
	if err := await(ctx, "the component link", s.gateway.Ready); err != nil {
		return s, err
	}
	if s.juliet, err = newXMPPUser(ctx, s.server.ClientAddr()); err != nil {
		return s, fmt.Errorf("demo: XMPP user: %w", err)
	}
	return s, nil
}

func (s *stage) close() {
	if s.juliet != nil {
		s.juliet.close()
	}
	if s.gateway != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = s.gateway.Shutdown(ctx) // everything that mattered has arrived by now, or was shown not to have
	}
	if s.romeo != nil {
		s.romeo.close()
	}
	if s.server != nil {
		s.server.Close()
	}
	if s.dns != nil {
		_ = s.dns.Close()
	}
	if s.folder != "" {
		_ = os.RemoveAll(s.folder)
	}
}

func (s *stage) tap(adapter string, dir adapters.Direction, octets []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, sight{adapter, dir, string(octets)})
}

func (s *stage) observe(o gateway.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.middle = append(s.middle, o)
}

func (s *stage) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.middle = nil, nil
}

// native finds the last text seen at a socket that has all of parts; "" while there is none.
func (s *stage) native(adapter string, dir adapters.Direction, parts ...string) func() string {
	return func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
	next:
		for i := len(s.seen) - 1; i >= 0; i-- {
			if s.seen[i].adapter != adapter || s.seen[i].dir != dir {
				continue
			}
			for _, p := range parts {
				if !strings.Contains(s.seen[i].text, p) {
					continue next
				}
			}
			return s.seen[i].text
		}
		return ""
	}
}

// canonical finds the last message in the middle as Message/CPIM, or the last presence as PIDF; "" while there is none.
func (s *stage) canonical(presence bool) func() string {
	return func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := len(s.middle) - 1; i >= 0; i-- {
			switch o := s.middle[i]; {
			case presence && o.Notify != nil && o.Notify.Presence != nil:
				b, err := o.Notify.Presence.Append(nil)
				if err != nil {
					return err.Error()
				}
				return string(b)
			case !presence && o.Message != nil:
				m, err := o.Message.CPIM()
				if err != nil {
					return err.Error()
				}
				return string(m.Bytes())
			}
		}
		return ""
	}
}

// show fills in what was seen of c. The far user may have it before the gateway's own socket reports that it was written, so
// the stages of what has arrived are waited for.
func (s *stage) show(ctx context.Context, c Crossing, err error, in, middle, out func() string) (Crossing, error) {
	if err == nil {
		err = await(ctx, "text of each stage", func() bool { return in() != "" && middle() != "" && out() != "" })
	}
	c.In, c.Middle, c.Out = in(), middle(), out()
	return c, err
}

// await polls a state that has no event.
func await(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("demo: no %s within %v", what, patience)
		}
	}
	return nil
}

// inbox holds what arrived for one user. The users' libraries may hand over in another order than things came, so what is
// waited for is looked for among everything.
type inbox[T any] struct {
	mu      sync.Mutex
	held    []T
	arrived chan struct{} // capacity 1: a token says that held has grown
}

func newInbox[T any]() *inbox[T] { return &inbox[T]{arrived: make(chan struct{}, 1)} }

// most is far more than anybody sends in the demo.
const most = 1000

func (b *inbox[T]) put(v T) {
	b.mu.Lock()
	if len(b.held) < most {
		b.held = append(b.held, v)
	}
	b.mu.Unlock()
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// take removes and returns the first that match accepts, and waits for it.
func (b *inbox[T]) take(ctx context.Context, what string, match func(T) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		b.mu.Lock()
		i := slices.IndexFunc(b.held, match)
		if i >= 0 {
			b.held = slices.Delete(b.held, i, i+1)
		}
		b.mu.Unlock()
		if i >= 0 {
			return nil
		}
		select {
		case <-b.arrived:
		case <-ctx.Done():
			return fmt.Errorf("%s did not arrive within %v", what, patience)
		}
	}
}

func presenceOf(kind stanza.StanzaType) func(stanza.Presence) bool {
	return func(p stanza.Presence) bool { return p.Type == kind }
}
