package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"
)

// fault is what happens in a round.
type fault struct {
	kind string
	at   time.Duration // after the load has begun
	last time.Duration // until it is healed
	// down tells that the XMPP side is away around it, so that messages are stored.
	down  bool
	point string // of kind "failpoint"
}

func (f fault) String() string {
	s := fmt.Sprintf("%s %v after %v", f.kind, f.last.Round(time.Millisecond), f.at.Round(time.Millisecond))
	if f.point != "" {
		s += " at " + f.point
	}
	if f.down {
		s += ", XMPP side down"
	}
	return s
}

// The kinds, and the points of package failpoint.
var (
	kinds  = []string{"kill", "kill", "kill twice", "kill and xmpp down", "kill and xmpp down", "term", "term twice", "reload broken", "reload changed", "stop", "xmpp down", "xmpp drop", "xmpp stall", "journal full"}
	points = []string{"append-before", "append-after", "mark-before", "mark-after", "remove-before", "remove-after", "notice-before", "notice-after", "replay"}
)

func choose(r *rand.Rand, failpoints bool, kinds []string) fault {
	f := fault{kind: kinds[r.IntN(len(kinds))], at: time.Duration(r.IntN(1500)) * time.Millisecond, last: time.Duration(200+r.IntN(1500)) * time.Millisecond}
	if failpoints && r.IntN(2) == 0 {
		f.kind = "failpoint"
		f.point = fmt.Sprintf("%s:%d", points[r.IntN(len(points))], 1+r.IntN(4))
		f.down = true
	}
	f.down = f.down || f.kind == "kill and xmpp down" || f.kind == "journal full"
	if f.down || f.kind == "xmpp down" || f.kind == "xmpp stall" {
		// While there is load, and for longer than the gateway waits before it stores (direct_wait).
		f.at /= 4
		f.last += 1500 * time.Millisecond
	}
	return f
}

// play is one round: a gateway, both its sides, a load and a fault.
type play struct {
	fault   fault
	random  *rand.Rand
	gateway *gateway
	sip     *sipSide
	xmpp    *xmppSide
	ledger  *ledger
	number  int
	crashes int
}

func newPlay(c *Config, dir string, number int) (*play, error) {
	p := &play{random: rand.New(rand.NewPCG(c.Seed, uint64(number))), ledger: newLedger(), number: number}
	of := kinds
	if len(c.Kinds) > 0 {
		of = c.Kinds
	}
	p.fault = choose(p.random, c.Failpoints, of)
	var err error
	if p.gateway, err = newGateway(c.Binary, dir); err != nil {
		return nil, err
	}
	if p.xmpp, err = newXMPPSide(); err != nil {
		return nil, err
	}
	if p.sip, err = newSIPSide(p.gateway.sip); err != nil {
		p.xmpp.down(true)
		return nil, err
	}
	p.xmpp.begin(p.ledger)
	p.sip.begin(p.ledger)
	return p, p.gateway.configure(p.xmpp.port, p.sip.port())
}

func (p *play) close() {
	if p.gateway.done != nil {
		p.gateway.signal(syscall.SIGCONT)
		p.gateway.kill()
	}
	p.xmpp.down(true)
	p.sip.close()
	if p.gateway.logs != nil {
		p.gateway.logs.Close()
	}
}

// run starts the gateway and waits until it serves and has its link, if the XMPP side is up.
func (p *play) run(failpoint string, link bool) error {
	if err := p.gateway.start(failpoint); err != nil {
		return err
	}
	if !p.gateway.ready(20 * time.Second) {
		if failpoint != "" && p.gateway.dead() {
			return nil // it came to the point before it served
		}
		return errors.New("the gateway does not serve within 20 s of its start")
	}
	for end := time.Now().Add(10 * time.Second); link && !p.xmpp.connected() && !p.gateway.dead(); {
		if time.Now().After(end) {
			return errors.New("the gateway does not connect to the XMPP side")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// again starts it after a crash.
func (p *play) again() error {
	p.crashes++
	return p.run("", false)
}

// play plays it and returns what was broken.
func (p *play) play() (bad []string, err error) {
	point := p.fault.point
	if point != "" && point[:3] == "rep" {
		point = "" // at the second start
	}
	if err := p.run(point, true); err != nil {
		return nil, err
	}
	var load sync.WaitGroup
	each, pause := 12, 120
	if p.fault.kind == "journal full" {
		each, pause = 40, 20
	}
	for i := range 4 {
		seed := p.random.Uint64()
		load.Go(func() { p.talk(i, each, pause, rand.New(rand.NewPCG(seed, 1))) })
	}
	time.Sleep(p.fault.at)
	if bad, err = p.breakAndHeal(); err != nil {
		return nil, err
	}
	load.Wait()
	if p.gateway.dead() { // a failpoint that was come to after the others
		if err := p.again(); err != nil {
			return nil, err
		}
	}
	// Until every acknowledged message has its outcome, and nothing has come for a while.
	limit := time.Now().Add(60 * time.Second)
	for {
		open, quiet := p.ledger.open()
		if open == 0 && quiet > 1200*time.Millisecond || time.Now().After(limit) {
			break
		}
		if p.gateway.dead() {
			if err := p.again(); err != nil {
				return nil, err
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := p.gateway.stop(); err != nil {
		bad = append(bad, err.Error())
	}
	// What it kept would come now.
	if err := p.run("", true); err != nil {
		return nil, err
	}
	time.Sleep(time.Second)
	if strings.HasPrefix(p.fault.kind, "reload") {
		bad = append(bad, p.ledger.refused()...)
	}
	return append(bad, p.ledger.check(p.crashes)...), nil
}

// talk is one pair of users that speaks, each message after the answer to the former one (RFC 3428 §8).
func (p *play) talk(i, each, pause int, r *rand.Rand) {
	to := fmt.Sprintf("juliet%d@xmpp.test", i)
	if i == 3 {
		to = "gone@xmpp.test"
	}
	for n := range each {
		p.sip.say(fmt.Sprintf("romeo%d@sip.test", i), to, fmt.Sprintf("r%dp%dn%d", p.number, i, n))
		if r.IntN(3) == 0 {
			p.xmpp.say(fmt.Sprintf("juliet%d@xmpp.test", i), fmt.Sprintf("romeo%d@sip.test", i), fmt.Sprintf("r%dx%dn%d", p.number, i, n))
		}
		time.Sleep(time.Duration(r.IntN(pause)) * time.Millisecond)
	}
}

func (p *play) breakAndHeal() (bad []string, err error) {
	f, g := p.fault, p.gateway
	if f.down {
		p.xmpp.down(true)
	}
	switch f.kind {
	case "kill", "kill and xmpp down", "kill twice":
		if f.down {
			time.Sleep(f.last)
		}
		g.kill()
		time.Sleep(f.last / 2)
		if err := p.again(); err != nil {
			return nil, err
		}
		if f.kind == "kill twice" {
			time.Sleep(f.last)
			g.kill()
			if err := p.again(); err != nil {
				return nil, err
			}
		}
	case "term":
		if err := g.stop(); err != nil {
			return nil, err
		}
		if err := p.run("", false); err != nil {
			return nil, err
		}
	case "term twice":
		g.signal(syscall.SIGTERM)
		time.Sleep(f.last / 10)
		if err := g.stop(); err != nil {
			return nil, err
		}
		if err := p.again(); err != nil { // what was under way is lost to it, as in a crash
			return nil, err
		}
	case "reload broken":
		bad, err = p.hangups("refused", g.broken)
	case "reload changed":
		bad, err = p.hangups("applied", g.changed, func() string { return g.written })
	case "stop":
		g.signal(syscall.SIGSTOP)
		time.Sleep(f.last)
		g.signal(syscall.SIGCONT)
	case "xmpp down":
		p.xmpp.down(true)
		time.Sleep(f.last)
	case "xmpp drop":
		p.xmpp.down(false)
	case "xmpp stall":
		on := p.xmpp.stall()
		time.Sleep(f.last)
		on()
	case "journal full":
		time.Sleep(f.last + time.Second)
	case "failpoint":
		if err := p.failpoint(); err != nil {
			return nil, err
		}
	}
	return bad, errors.Join(err, p.xmpp.up())
}

// failpoint waits until the gateway has ended itself, with the XMPP side down for the first while, and starts it again.
func (p *play) failpoint() error {
	time.Sleep(p.fault.last)
	if p.fault.point[:3] == "rep" {
		p.gateway.kill()
		p.crashes++
		if err := p.run(p.fault.point, false); err != nil {
			return err
		}
	}
	if err := p.xmpp.up(); err != nil {
		return err
	}
	for end := time.Now().Add(9 * time.Second); time.Now().Before(end) && !p.gateway.dead(); {
		time.Sleep(20 * time.Millisecond)
	}
	if p.gateway.dead() {
		return p.again()
	}
	return nil // it did not come to the point so often
}
