package faults

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// takeoverBound is how soon another gateway must do what a dead one did.
const takeoverBound = 15 * time.Second

// joinBound is how soon a gateway must be one of the cluster. It is no promise: the machine may have other work.
const joinBound = 2 * time.Minute

// fleet is several gateways on one store.
type fleet struct {
	gateways []*gateway
	xmpp     *xmppSide
	peers    string // all of them, as each one's configuration names them
}

const clusterStore = `store:
  directory: "DIR/store"
  cluster:
    node: NODE
    nodes: [PEERS]
`

func newFleet(c *Config, dir string, host net.IP, xmpp *xmppSide) (*fleet, error) {
	// All at once: two that are asked for one after the other may be the same.
	ports, err := freePorts(host, 3*c.Nodes)
	if err != nil {
		return nil, err
	}
	f := &fleet{xmpp: xmpp}
	var peers []string
	for i := range c.Nodes {
		peers = append(peers, fmt.Sprintf(`{name: n%d, address: "%s:%d"}`, i+1, host, ports[3*i]))
		folder := filepath.Join(dir, fmt.Sprintf("n%d", i+1))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
		f.gateways = append(f.gateways, &gateway{binary: c.Binary, dir: folder, host: host, sip: ports[3*i+1], admin: ports[3*i+2]})
	}
	f.peers = strings.Join(peers, ", ")
	return f, nil
}

// configure writes the configurations.
func (f *fleet) configure(user, names int, limits string) error {
	for i, g := range f.gateways {
		lines := strings.NewReplacer("NODE", fmt.Sprintf("n%d", i+1), "PEERS", f.peers).Replace(clusterStore)
		if err := g.configureLimits(f.xmpp.port, user, names, lines, limits); err != nil {
			return err
		}
	}
	return nil
}

// begin starts them, and waits until all are members of the cluster and one has the link: with fewer than two of them nobody takes over.
func (f *fleet) begin() error {
	for _, g := range f.gateways {
		if err := g.start(""); err != nil {
			return err
		}
	}
	for _, g := range f.gateways {
		if !g.ready(joinBound) {
			return fmt.Errorf("a gateway does not serve within %v of its start", joinBound)
		}
	}
	for i := range f.gateways {
		if err := f.member(i); err != nil {
			return err
		}
	}
	return await(joinBound, "no gateway connects to the XMPP side", func() bool { return f.xmpp.connected() && f.owner() != nil })
}

// member waits until one has its share of the parts.
func (f *fleet) member(i int) error {
	g := f.gateways[i]
	err := await(joinBound, fmt.Sprintf("gateway n%d has no part", i+1), func() bool {
		return g.dead() || g.says("isthmus_cluster_parts ") && !g.says("isthmus_cluster_parts 0")
	})
	if err == nil && g.dead() {
		return fmt.Errorf("gateway n%d has ended by itself before it had a part", i+1)
	}
	return err
}

func (f *fleet) close() {
	for _, g := range f.gateways {
		if g.done != nil && !g.dead() {
			g.signal(syscall.SIGCONT)
			g.kill()
		}
		if g.logs != nil {
			g.logs.Close()
		}
	}
	f.xmpp.down(true)
}

// ended tells which have ended by themselves.
func (f *fleet) ended() (bad []string) {
	for i, g := range f.gateways {
		if g.dead() {
			bad = append(bad, fmt.Sprintf("gateway n%d has ended by itself", i+1))
		}
	}
	return bad
}

// victim is the one that a kind of fault is of: what has the link, where it says nothing else.
func (f *fleet) victim(kind string) *gateway {
	owner := max(0, slices.Index(f.gateways, f.owner()))
	switch {
	case strings.HasSuffix(kind, " other"):
		owner = (owner + 1) % len(f.gateways)
	case strings.HasSuffix(kind, " leader"):
		if i := slices.IndexFunc(f.gateways, leads); i >= 0 {
			owner = i
		}
	}
	return f.gateways[owner]
}

// owner is the gateway that has the link; nil if none says so.
func (f *fleet) owner() *gateway {
	for _, g := range f.gateways {
		if g.says(`isthmus_xmpp_link_up{component="faults"} 1`) {
			return g
		}
	}
	return nil
}

// says tells whether a line of the metrics begins so.
func (g *gateway) says(line string) bool {
	text, _ := g.metrics() // what is missing is not there
	return strings.Contains("\n"+text, "\n"+line)
}

// metric is the value of one without labels.
func (g *gateway) metric(name string) (float64, error) {
	text, err := g.metrics()
	if err != nil {
		return 0, err
	}
	_, line, _ := strings.Cut("\n"+text, "\n"+name+" ")
	line, _, _ = strings.Cut(line, "\n")
	return strconv.ParseFloat(line, 64)
}

// metrics asks a gateway for all of them.
func (g *gateway) metrics() (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	r, err := client.Get(fmt.Sprintf("http://%s:%d/metrics", g.host, g.admin))
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

// await waits for a state of the whole.
func await(patience time.Duration, what string, ok func() bool) error {
	for end := time.Now().Add(patience); !ok(); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%s within %v", what, patience)
		}
	}
	return nil
}

func leads(g *gateway) bool { return g.says("isthmus_store_leads 1") }

// taken waits until the others have everything that the gateway had, the link too if it was its.
func (f *fleet) taken(gone *gateway, since time.Time) (bad []string, takeover time.Duration, fenced int) {
	all := func() bool {
		parts := 0.0
		for _, g := range f.gateways {
			if n, err := g.metric("isthmus_cluster_parts"); g != gone && err == nil {
				parts += n
			}
		}
		return parts == store.Parts && f.xmpp.connected()
	}
	late, ended := &lag{}, make(chan struct{})
	go late.measure(ended)
	err := await(4*takeoverBound, "the others have not all parts and the link", all)
	takeover = time.Since(since)
	close(ended)
	bound := takeoverBound + 20*late.worst()
	for _, g := range f.gateways {
		if n, err := g.metric("isthmus_cluster_leases_lost_total"); g != gone && err == nil {
			fenced += int(n)
		}
	}
	switch {
	case err != nil:
		return []string{err.Error()}, takeover, fenced
	case takeover > bound:
		bad = append(bad, fmt.Sprintf("parts and link were taken over after %v", takeover.Round(time.Millisecond)))
	}
	return bad, takeover, fenced
}

// back starts a gateway again.
func (f *fleet) back(g *gateway) error {
	if err := g.start(""); err != nil {
		return err
	}
	if !g.ready(joinBound) {
		return fmt.Errorf("a gateway does not come back within %v", joinBound)
	}
	return nil
}
