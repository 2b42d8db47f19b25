package faults

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// The kinds of faults of a round with several gateways. "owner" is the one that has the XMPP side's link, "other" one of the rest.
// "leader" the one that leads the writing of leases.
var clusterKinds = []string{
	"kill owner", "kill owner", "kill owner and xmpp down", "kill owner and xmpp down", "kill other", "kill leader", "term owner", "stop owner", "xmpp down",
}

// clusterPlay is one round with several gateways on one store.
type clusterPlay struct {
	*fleet
	kind     string
	at       time.Duration
	random   *rand.Rand
	sip      *sipSide
	names    *names
	ledger   *ledger
	number   int
	crashes  int
	takeover time.Duration // 0: nobody took over
	led      bool          // the gateway that was ended led the writing of leases
	fenced   int           // leases that the others lost in their turn
}

func newClusterPlay(c *Config, dir string, number int) (*clusterPlay, error) {
	p := &clusterPlay{random: rand.New(rand.NewPCG(c.Seed, uint64(number))), ledger: newLedger(), number: number}
	of := clusterKinds
	if len(c.Kinds) > 0 {
		of = c.Kinds
	}
	p.kind, p.at = of[p.random.IntN(len(of))], time.Duration(p.random.IntN(1500))*time.Millisecond
	host := ownHost()
	xmpp, err := newXMPPSide(host)
	if err != nil {
		return nil, err
	}
	if p.names, err = newNames(host); err != nil {
		return nil, err
	}
	if p.fleet, err = newFleet(c, dir, host, xmpp); err != nil {
		return nil, err
	}
	if p.sip, err = newSIPSide(host, p.gateways[0].sip); err != nil {
		return nil, err
	}
	for _, g := range p.gateways[1:] {
		p.sip.gateways = append(p.sip.gateways, &net.UDPAddr{IP: host, Port: g.sip})
	}
	if err := p.configure(p.sip.port(), p.names.port, messageLimits); err != nil {
		return nil, err
	}
	p.xmpp.begin(p.ledger)
	p.sip.begin(p.ledger)
	return p, nil
}

func (p *clusterPlay) close() {
	p.fleet.close()
	p.names.close()
	p.sip.close()
}

// play plays it and returns what was broken.
func (p *clusterPlay) play() (bad []string, err error) {
	if err := p.begin(); err != nil {
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
	bad = append(bad, p.ended()...)
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
	victim := p.victim(p.kind)
	p.ledger.note("fault: %s", p.kind)
	switch p.kind {
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
	bad, p.takeover, p.fenced = p.taken(victim, ended)
	if len(bad) == 0 {
		p.ledger.note("the others have taken over")
	}
	return bad, p.back(victim)
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
