package faults

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// The kinds of faults of a round with several gateways. "owner" is the one that has the XMPP side's link, "other" one of the rest.
// "leader" the one that leads the writing of leases.
var clusterKinds = []string{
	"kill owner", "kill owner", "kill owner and xmpp down", "kill owner and xmpp down", "kill other", "kill leader", "term owner", "stop owner", "xmpp down",
}

// takeoverBound is how soon another gateway must do what a dead one did.
const takeoverBound = 15 * time.Second

// joinBound is how soon a gateway must be one of the cluster. It is no promise: the machine may have other work.
const joinBound = 2 * time.Minute

// clusterPlay is one round with several gateways on one store.
type clusterPlay struct {
	kind     string
	at       time.Duration
	random   *rand.Rand
	gateways []*gateway
	sip      *sipSide
	xmpp     *xmppSide
	names    *names
	ledger   *ledger
	number   int
	crashes  int
	takeover time.Duration // 0: nobody took over
	led      bool          // the gateway that was ended led the writing of leases
	fenced   int           // leases that the others lost in their turn
}

const clusterStore = `store:
  directory: "DIR/store"
  cluster:
    node: NODE
    nodes: [PEERS]
`

func newClusterPlay(c *Config, dir string, number int) (*clusterPlay, error) {
	p := &clusterPlay{random: rand.New(rand.NewPCG(c.Seed, uint64(number))), ledger: newLedger(), number: number}
	of := clusterKinds
	if len(c.Kinds) > 0 {
		of = c.Kinds
	}
	p.kind, p.at = of[p.random.IntN(len(of))], time.Duration(p.random.IntN(1500))*time.Millisecond
	host := ownHost()
	var err error
	if p.xmpp, err = newXMPPSide(host); err != nil {
		return nil, err
	}
	if p.names, err = newNames(host); err != nil {
		return nil, err
	}
	ports, err := freePorts(host, c.Nodes)
	if err != nil {
		return nil, err
	}
	var peers []string
	for i, port := range ports {
		peers = append(peers, fmt.Sprintf(`{name: n%d, address: "%s:%d"}`, i+1, host, port))
	}
	for i := range ports {
		folder := filepath.Join(dir, fmt.Sprintf("n%d", i+1))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
		g, err := newGateway(c.Binary, folder, host)
		if err != nil {
			return nil, err
		}
		p.gateways = append(p.gateways, g)
	}
	if p.sip, err = newSIPSide(host, p.gateways[0].sip); err != nil {
		return nil, err
	}
	for _, g := range p.gateways[1:] {
		p.sip.gateways = append(p.sip.gateways, &net.UDPAddr{IP: host, Port: g.sip})
	}
	for i, g := range p.gateways {
		lines := strings.NewReplacer("NODE", fmt.Sprintf("n%d", i+1), "PEERS", strings.Join(peers, ", ")).Replace(clusterStore)
		if err := g.configureWith(p.xmpp.port, p.sip.port(), p.names.port, lines); err != nil {
			return nil, err
		}
	}
	p.xmpp.begin(p.ledger)
	p.sip.begin(p.ledger)
	return p, nil
}

func (p *clusterPlay) close() {
	for _, g := range p.gateways {
		if g.done != nil && !g.dead() {
			g.signal(syscall.SIGCONT)
			g.kill()
		}
		if g.logs != nil {
			g.logs.Close()
		}
	}
	p.xmpp.down(true)
	p.names.close()
	p.sip.close()
}

// owner is the gateway that has the link; nil if none says so.
func (p *clusterPlay) owner() *gateway {
	for _, g := range p.gateways {
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
	client := http.Client{Timeout: time.Second}
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

// play plays it and returns what was broken.
func (p *clusterPlay) play() (bad []string, err error) {
	for _, g := range p.gateways {
		if err := g.start(""); err != nil {
			return nil, err
		}
	}
	for _, g := range p.gateways {
		if !g.ready(joinBound) {
			return nil, fmt.Errorf("a gateway does not serve within %v of its start", joinBound)
		}
	}
	// A fault is of a cluster whose nodes are all members: with fewer than two of them nobody takes over.
	for i, g := range p.gateways {
		if err := await(joinBound, fmt.Sprintf("gateway n%d has no part", i+1), func() bool { return g.says("isthmus_cluster_parts ") && !g.says("isthmus_cluster_parts 0") }); err != nil {
			return nil, err
		}
	}
	if err := await(40*time.Second, "no gateway connects to the XMPP side", func() bool { return p.xmpp.connected() && p.owner() != nil }); err != nil {
		return nil, err
	}
	var load sync.WaitGroup
	for i := range 6 {
		seed := p.random.Uint64()
		load.Go(func() { p.talk(i, rand.New(rand.NewPCG(seed, 1))) })
	}
	time.Sleep(p.at)
	if bad, err = p.breakAndHeal(); err != nil {
		return nil, err
	}
	load.Wait()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if open, quiet := p.ledger.open(); open == 0 && quiet > 1200*time.Millisecond {
			break
		}
	}
	for i, g := range p.gateways {
		if g.dead() {
			bad = append(bad, fmt.Sprintf("gateway n%d has ended by itself", i+1))
		}
	}
	return append(bad, p.ledger.check(p.crashes)...), nil
}

// talk is one pair of users, each message by way of another gateway than the one before.
func (p *clusterPlay) talk(i int, r *rand.Rand) {
	to := fmt.Sprintf("juliet%d@xmpp.test", i)
	if i == 5 {
		to = "gone@xmpp.test"
	}
	for n := range 12 {
		p.sip.say(fmt.Sprintf("romeo%d@sip.test", i), to, fmt.Sprintf("c%dp%dn%d", p.number, i, n))
		if r.IntN(3) == 0 {
			p.xmpp.say(fmt.Sprintf("juliet%d@xmpp.test", i), fmt.Sprintf("romeo%d@sip.test", i), fmt.Sprintf("c%dx%dn%d", p.number, i, n))
		}
		time.Sleep(time.Duration(r.IntN(250)) * time.Millisecond)
	}
}

func (p *clusterPlay) breakAndHeal() (bad []string, err error) {
	victim := p.owner()
	if victim == nil {
		victim = p.gateways[0]
	}
	p.ledger.note("fault: %s", p.kind)
	switch p.kind {
	case "kill other":
		victim = p.gateways[(slices.Index(p.gateways, victim)+1)%len(p.gateways)]
	case "kill leader":
		if i := slices.IndexFunc(p.gateways, leads); i >= 0 {
			victim = p.gateways[i]
		}
	case "stop owner":
		victim.signal(syscall.SIGSTOP)
		p.crashes++ // what was under way may be done by another one too
		time.Sleep(time.Duration(8+p.random.IntN(8)) * time.Second)
		victim.signal(syscall.SIGCONT)
		return nil, nil
	case "xmpp down":
		p.xmpp.down(true)
		time.Sleep(3 * time.Second)
		return nil, p.xmpp.up()
	case "kill owner and xmpp down":
		p.xmpp.down(true)
		time.Sleep(2500 * time.Millisecond) // messages are stored
	}
	if p.led = leads(victim); p.kind == "term owner" {
		p.ledger.note("a gateway is told to end")
		if err := victim.stop(); err != nil {
			return []string{err.Error()}, nil
		}
	} else {
		p.ledger.note("a gateway is killed")
		victim.kill()
		p.crashes++
	}
	ended := time.Now()
	if err := p.xmpp.up(); err != nil {
		return nil, err
	}
	bad = p.taken(victim, ended)
	return bad, p.back(victim)
}

func leads(g *gateway) bool { return g.says("isthmus_store_leads 1") }

// taken waits until the others have everything that the gateway had, the link too if it was its.
func (p *clusterPlay) taken(gone *gateway, since time.Time) (bad []string) {
	all := func() bool {
		parts := 0.0
		for _, g := range p.gateways {
			if n, err := g.metric("isthmus_cluster_parts"); g != gone && err == nil {
				parts += n
			}
		}
		return parts == store.Parts && p.xmpp.connected()
	}
	err := await(2*takeoverBound, "the others have not all parts and the link", all)
	p.takeover = time.Since(since)
	for _, g := range p.gateways {
		if n, err := g.metric("isthmus_cluster_leases_lost_total"); g != gone && err == nil {
			p.fenced += int(n)
		}
	}
	switch {
	case err != nil:
		return []string{err.Error()}
	case p.takeover > takeoverBound:
		bad = append(bad, fmt.Sprintf("parts and link were taken over after %v", p.takeover.Round(time.Millisecond)))
	}
	p.ledger.note("the others have taken over")
	return bad
}

// back starts a gateway again.
func (p *clusterPlay) back(g *gateway) error {
	if err := g.start(""); err != nil {
		return err
	}
	if !g.ready(joinBound) {
		return fmt.Errorf("a gateway does not come back within %v", joinBound)
	}
	return nil
}

// clusterRound plays one with several gateways.
func (c *Config) clusterRound(number int, dir string, o *outcome) (bad []string, what string, err error) {
	p, err := newClusterPlay(c, dir, number)
	if err != nil {
		return nil, "", err
	}
	defer p.close()
	o.kind = p.kind
	bad, err = p.play()
	o.counts = p.ledger.counts()
	o.counts.Crashes = p.crashes
	if p.takeover > 0 {
		o.counts.Takeovers, o.counts.Slowest, o.counts.Fenced, o.led = 1, p.takeover.Seconds(), p.fenced, p.led
	}
	return bad, fmt.Sprintf("%s after %v", p.kind, p.at.Round(time.Millisecond)), err
}
