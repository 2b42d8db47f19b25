package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// play is one round: a gateway, both its sides, a load and a fault.
type play struct {
	fault   fault
	random  *rand.Rand
	gateway *gateway
	sip     *sipSide
	xmpp    *xmppSide
	ledger  *ledger
	names   *names
	number  int
	crashes int
	ready   []time.Duration // how long its starts took
	limit   time.Duration   // how long one may take (I8)
	before  resources       // before the load
	unmount func()

	bad  []string // what the fault itself found
	kept int      // goroutines of resolvers that reloads have replaced: they answer for two minutes more

	abandoned chan struct{}
}

func newPlay(c *Config, dir string, number int) (*play, error) {
	p := &play{abandoned: make(chan struct{}), random: rand.New(rand.NewPCG(c.Seed, uint64(number))), ledger: newLedger(), number: number}
	p.fault, p.limit = c.choose(p.random, number), c.Ready
	host := ownHost()
	var err error
	if p.gateway, err = newGateway(c.Binary, dir, host); err != nil {
		return nil, err
	}
	if p.names, err = newNames(host); err != nil {
		return nil, err
	}
	if p.fault.mount {
		if p.unmount, err = smallDisk(filepath.Join(dir, "store")); err != nil {
			p.names.close()
			return nil, err
		}
	}
	if p.xmpp, err = newXMPPSide(host); err != nil {
		return nil, err
	}
	if p.sip, err = newSIPSide(host, p.gateway.sip); err != nil {
		p.xmpp.down(true)
		return nil, err
	}
	p.xmpp.begin(p.ledger)
	p.sip.begin(p.ledger)
	return p, p.gateway.configure(p.xmpp.port, p.sip.port(), p.names.port)
}

func (p *play) close() {
	if p.gateway.done != nil {
		p.gateway.signal(syscall.SIGCONT)
		p.gateway.kill()
	}
	p.xmpp.down(true)
	p.sip.close()
	p.names.close()
	if p.unmount != nil {
		p.unmount()
	}
	if p.gateway.logs != nil {
		p.gateway.logs.Close()
	}
}

// abandon ends a round early: nothing of it waits any longer, and it fails.
func (p *play) abandon() {
	close(p.abandoned)
	p.sip.close()
}

// errAbandoned says that the run was ended.
var errAbandoned = errors.New("ended before its end")

// run starts the gateway and waits until it serves and has its link, if the XMPP side is up.
func (p *play) run(failpoint string, link bool) error {
	if p.over() {
		return errAbandoned
	}
	began := time.Now()
	if err := p.gateway.start(failpoint); err != nil {
		return err
	}
	p.ledger.note("the gateway starts")
	patience := max(20*time.Second, p.limit)
	if !p.gateway.ready(patience) {
		if failpoint != "" && p.gateway.dead() {
			return nil // it came to the point before it served
		}
		return fmt.Errorf("the gateway does not serve within %v of its start", patience)
	}
	p.ready = append(p.ready, time.Since(began))
	p.ledger.note("the gateway serves")
	for end := time.Now().Add(patience); link && !p.xmpp.connected() && !p.gateway.dead(); {
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

// quietWait is how long a gateway may take to let go of what the load made it take: a SIP transaction over UDP is remembered for 32 s
// (RFC 3261 §17.2.2, timer J), which costs neither a goroutine nor a file. Goroutines without work are kept for 20 s at most.
const quietWait = 40 * time.Second

// play plays it and returns what was broken.
func (p *play) play() (bad []string, err error) {
	point := p.fault.point
	if strings.HasPrefix(point, "replay:") {
		point = "" // at the second start
	}
	if err := p.run(point, true); err != nil {
		return nil, err
	}
	// A machine with other work may not answer in time: then nothing is compared with it.
	p.before, _ = p.gateway.resources()
	var load sync.WaitGroup
	each, pause := 12, 120
	if p.fault.name == "journal full" {
		each, pause = 40, 20
	}
	for i := range 4 {
		seed := p.random.Uint64()
		load.Go(func() { p.talk(i, each, pause, rand.New(rand.NewPCG(seed, 1))) })
	}
	p.wait(p.fault.at)
	if err := p.breakAndHeal(); err != nil {
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
		if p.over() {
			return nil, errAbandoned
		}
		if p.gateway.dead() {
			if err := p.again(); err != nil {
				return nil, err
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !p.gateway.dead() && p.before.goroutines > 0 {
		now, more := p.gateway.quiet(p.before, p.kept, quietWait)
		p.ledger.note("it is quiet: %s", now)
		bad = append(bad, more...)
	}
	if err := p.gateway.stop(); err != nil {
		bad = append(bad, err.Error())
	}
	if n := p.gateway.storeSize(); n > maxStoreSize {
		bad = append(bad, fmt.Sprintf("I5: the store has %d MiB", n>>20))
	}
	// What it kept would come now.
	if err := p.run("", true); err != nil {
		return nil, err
	}
	p.wait(time.Second)
	for _, d := range p.ready {
		if d > p.limit {
			bad = append(bad, fmt.Sprintf("I8: it served %v after a start", d.Round(time.Millisecond)))
		}
	}
	if strings.HasPrefix(p.fault.name, "reload") {
		bad = append(bad, p.ledger.refused()...)
	}
	return slices.Concat(bad, p.bad, p.ledger.check(p.crashes)), nil
}

// talk is one pair of users that speaks, each message after the answer to the former one (RFC 3428 §8).
func (p *play) talk(i, each, pause int, r *rand.Rand) {
	to := fmt.Sprintf("juliet%d@xmpp.test", i)
	if i == 3 {
		to = "gone@xmpp.test"
	}
	for n := range each {
		if p.over() {
			return
		}
		p.sip.say(fmt.Sprintf("romeo%d@sip.test", i), to, fmt.Sprintf("r%dp%dn%d", p.number, i, n))
		if r.IntN(3) == 0 {
			p.xmpp.say(fmt.Sprintf("juliet%d@xmpp.test", i), fmt.Sprintf("romeo%d@sip.test", i), fmt.Sprintf("r%dx%dn%d", p.number, i, n))
		}
		p.wait(time.Duration(r.IntN(pause)) * time.Millisecond)
	}
}

func (p *play) breakAndHeal() error {
	if p.fault.down {
		p.xmpp.down(true)
		p.ledger.note("the XMPP side is away")
	}
	p.ledger.note("fault: %s", p.fault)
	if err := p.fault.play(p); err != nil {
		return err
	}
	p.ledger.note("the fault is over")
	return p.xmpp.up()
}

// wait waits, unless the run is ended.
func (p *play) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.abandoned:
	}
}

func (p *play) over() bool {
	select {
	case <-p.abandoned:
		return true
	default:
		return false
	}
}

// during lets a fault last, and heals it.
func (p *play) during(heal func()) error {
	p.wait(p.fault.last)
	heal()
	return nil
}

func (p *play) kill() {
	p.ledger.note("the gateway is killed")
	p.gateway.kill()
}

// restart ends it as an operator does, and starts it again.
func (p *play) restart() error {
	p.ledger.note("the gateway is told to end")
	if err := p.gateway.stop(); err != nil {
		return err
	}
	return p.run("", false)
}

// failpoint waits until the gateway has ended itself, with the XMPP side down for the first while, and starts it again.
func (p *play) failpoint() error {
	p.wait(p.fault.last)
	if strings.HasPrefix(p.fault.point, "replay:") {
		p.kill()
		p.crashes++
		if err := p.run(p.fault.point, false); err != nil {
			return err
		}
	}
	if err := p.xmpp.up(); err != nil {
		return err
	}
	for end := time.Now().Add(9 * time.Second); time.Now().Before(end) && !p.gateway.dead() && !p.over(); {
		time.Sleep(20 * time.Millisecond)
	}
	if p.gateway.dead() {
		p.ledger.note("the gateway has come to its failpoint")
		return p.again()
	}
	return nil // it did not come to the point so often
}
