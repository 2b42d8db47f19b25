package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// presencePlay is one round of presence: a gateway, users on both sides who watch each other, ask, decide, speak and leave, and faults while
// they do. When it is quiet again each of them shows what the other last said, and knows what the other decided (P1), although nobody did
// anything for it; nobody was shown a request that nobody made (P2), nothing was told of who had not decided (P3), and no sequence number
// came twice or went back (P4).
type presencePlay struct {
	kind, point string
	random      *rand.Rand
	number      int
	gateway     *gateway
	names       *names
	xmpp        *presenceServer
	sip         *presenceAgents
	couples     []*couple
	limit       time.Duration
	ready       []time.Duration
	crashes     int

	lag lag

	mu     sync.Mutex
	events []line

	abandoned chan struct{}
}

// presenceKinds are the faults of rounds of presence.
var presenceKinds = []string{"kill", "kill", "kill", "kill twice", "term", "xmpp restart", "xmpp restart and kill", "sip restart", "sip restart and kill"}

// presencePoints are the failpoints of the presence path.
var presencePoints = []string{
	"watch-store-before", "watch-store-after", "watch-ask-before", "watch-ask-after", "watch-tell-before", "watch-tell-after", "fact-before", "fact-after",
}

const (
	// couplesEach is how many users each side has.
	couplesEach = 10
	// faultsEach is how many faults one after the other a round has, each with a time of quiet after it.
	faultsEach = 2
	// presencePatience is how long it may take until everybody shows what is true: what failed while a side was away is tried again after
	// half a minute, then a minute.
	presencePatience = 150 * time.Second
)

// presenceHost is where all of a round of presence is.
var presenceHost = net.IPv4(127, 0, 0, 1)

const presenceLimits = "limits: {drain: 10s, messages: {direct_wait: 2s}, sip: {min_expires: 1s, notify_interval: 100ms}}\n"

func newPresencePlay(c *Config, dir string, number int) (*presencePlay, error) {
	p := &presencePlay{random: rand.New(rand.NewPCG(c.Seed, uint64(number))), number: number, limit: c.Ready, abandoned: make(chan struct{})}
	of := slices.DeleteFunc(slices.Clone(presenceKinds), func(k string) bool { return len(c.Kinds) > 0 && !slices.Contains(c.Kinds, k) })
	if c.Failpoints && (number%2 == 0 || len(of) == 0) && (len(c.Kinds) == 0 || slices.Contains(c.Kinds, failpoints)) {
		p.kind, p.point = failpoints, presencePoints[number/2%len(presencePoints)]
	} else {
		p.kind = of[p.random.IntN(len(of))]
	}
	for i := range couplesEach {
		p.couples = append(p.couples, newCouple(i, &p.lag))
	}
	var err error
	if p.gateway, err = newGateway(c.Binary, dir, presenceHost); err != nil {
		return nil, err
	}
	if p.names, err = newNames(presenceHost); err != nil {
		return nil, err
	}
	if p.xmpp, err = newPresenceServer(p.couples, p.random.IntN(2) == 0); err != nil {
		p.names.close()
		return nil, err
	}
	if p.sip, err = newPresenceAgents(p.couples, p.gateway.sip); err != nil {
		p.xmpp.down(true)
		p.names.close()
		return nil, err
	}
	go p.lag.measure(p.sip.ended)
	return p, p.gateway.configurePresence(p.xmpp.port, p.sip.port(), p.names.port)
}

// configurePresence is configure with the limits of these rounds.
func (g *gateway) configurePresence(xmpp, user, names int) error {
	return g.configureLimits(xmpp, user, names, "store: {directory: \"DIR/store\"}\n", presenceLimits)
}

func (p *presencePlay) close() {
	if p.gateway.done != nil {
		p.gateway.signal(syscall.SIGCONT)
		p.gateway.kill()
	}
	p.xmpp.down(true)
	p.sip.close()
	p.names.close()
	if p.gateway.logs != nil {
		p.gateway.logs.Close()
	}
}

func (p *presencePlay) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, line{time.Now(), what})
}

// run starts the gateway.
func (p *presencePlay) run(point string) error {
	began := time.Now()
	patience := max(60*time.Second, p.limit)
	for {
		p.note("the gateway starts")
		if err := p.gateway.start(point); err != nil {
			return err
		}
		if p.gateway.ready(patience) {
			break
		}
		if point != "" && p.gateway.dead() {
			return nil
		}
		if p.taken() && len(p.ready) == 0 {
			return errTaken
		}
		if time.Since(began) > patience || p.over() {
			return fmt.Errorf("the gateway does not serve within %v of its start", patience)
		}
		// It gave up, as on a machine that is too slow for its store's patience, and is started again, as by a supervisor.
		p.wait(time.Second)
	}
	p.ready = append(p.ready, time.Since(began))
	return nil
}

// first starts the gateway for the first time: on other ports if somebody else has taken those that were free.
func (p *presencePlay) first(point string) error {
	for range 10 {
		if err := p.run(point); !errors.Is(err, errTaken) && !(err == nil && p.gateway.dead() && p.taken()) {
			return err
		}
		ports, err := freePorts(presenceHost, 2)
		if err != nil {
			return err
		}
		p.gateway.sip, p.gateway.admin = ports[0], ports[1]
		p.sip.toward(p.gateway.sip)
		if err := errors.Join(p.gateway.logs.Truncate(0), p.gateway.configurePresence(p.xmpp.port, p.sip.port(), p.names.port)); err != nil {
			return err
		}
	}
	return errors.New("there are no free ports")
}

var errTaken = errors.New("somebody else has taken a port of the gateway's")

// taken tells whether the gateway said so.
func (p *presencePlay) taken() bool {
	log, _ := os.ReadFile(p.gateway.logs.Name()) // one that cannot be read says nothing
	return bytes.Contains(log, []byte("address already in use"))
}

func (p *presencePlay) again() error {
	p.crashes++
	return p.run("")
}

func (p *presencePlay) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.abandoned:
	}
}

func (p *presencePlay) over() bool {
	select {
	case <-p.abandoned:
		return true
	default:
		return false
	}
}

// play plays the round and returns what was broken.
func (p *presencePlay) play() (bad []string, err error) {
	point := func() string {
		if p.point == "" {
			return ""
		}
		return fmt.Sprintf("%s:%d", p.point, 1+p.random.IntN(40))
	}
	if err := p.first(point()); err != nil {
		return nil, err
	}
	for n := range faultsEach {
		if n > 0 && p.point != "" { // a process comes to its failpoint in its first life alone
			p.note("the gateway is told to end")
			if err := p.gateway.stop(); err != nil {
				bad = append(bad, err.Error())
			}
			if err := p.run(point()); err != nil {
				return nil, err
			}
		}
		stop := make(chan struct{})
		var load sync.WaitGroup
		for _, c := range p.couples {
			r := rand.New(rand.NewPCG(p.random.Uint64(), 2))
			load.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-p.abandoned:
						return
					case <-time.After(time.Duration(r.IntN(150)) * time.Millisecond):
						p.act(c, r)
					}
				}
			})
		}
		p.wait(time.Duration(300+p.random.IntN(2000)) * time.Millisecond)
		err := p.breakAndHeal()
		p.wait(time.Duration(p.random.IntN(600)) * time.Millisecond)
		close(stop)
		load.Wait()
		if err != nil {
			return nil, err
		}
		more, err := p.quiet()
		if err != nil {
			return nil, err
		}
		if bad = append(bad, more...); len(bad) > 0 {
			break
		}
	}
	for _, c := range p.couples {
		c.mu.Lock()
		if len(c.bad) > 0 {
			bad = append(bad, c.bad...)
			bad[len(bad)-1] += c.story(p.events)
		}
		c.mu.Unlock()
	}
	return bad, nil
}

// quiet waits until everybody shows what is true, and does so for a moment.
func (p *presencePlay) quiet() (bad []string, err error) {
	p.note("nobody does anything from here on")
	const steady = 700 * time.Millisecond
	since, waited := time.Time{}, time.Duration(0)
	for {
		wrong := 0
		for _, c := range p.couples {
			if c.wrong() != "" {
				wrong++
			}
		}
		switch {
		case p.over():
			return nil, errAbandoned
		case p.gateway.dead(): // a failpoint that was come to after the others
			p.note("the gateway has come to its failpoint")
			if err := p.again(); err != nil {
				return nil, err
			}
			since, waited = time.Time{}, 0
		case wrong > 0:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > steady:
			return nil, nil
		}
		if waited > presencePatience {
			break
		}
		// Time in which this process does not run is no time in which the gateway could.
		time.Sleep(50 * time.Millisecond)
		waited += 50 * time.Millisecond
	}
	for _, c := range p.couples {
		c.mu.Lock()
		if w := c.wrongLocked(); w != "" {
			bad = append(bad, fmt.Sprintf("%s, after %v of quiet%s", w, presencePatience, c.story(p.events)))
		}
		c.mu.Unlock()
	}
	return bad, nil
}

func (p *presencePlay) kill() {
	p.note("the gateway is killed")
	p.gateway.kill()
}

func (p *presencePlay) breakAndHeal() error {
	away := func() { p.wait(time.Duration(100+p.random.IntN(1500)) * time.Millisecond) }
	kill := func() error {
		p.kill()
		away()
		return p.again()
	}
	if p.point != "" {
		for end := time.Now().Add(4 * time.Second); time.Now().Before(end) && !p.gateway.dead() && !p.over(); {
			time.Sleep(20 * time.Millisecond)
		}
		if !p.gateway.dead() {
			return nil // it did not come to the point so often, or does when it is quiet
		}
		p.note("the gateway has come to its failpoint")
		away()
		return p.again()
	}
	if strings.HasPrefix(p.kind, "xmpp restart") {
		if err := p.xmpp.restart(away); err != nil {
			return err
		}
	}
	if strings.HasPrefix(p.kind, "sip restart") {
		p.sip.restart(away)
	}
	switch p.kind {
	case "term":
		p.note("the gateway is told to end")
		if err := p.gateway.stop(); err != nil {
			return err
		}
		away()
		return p.run("")
	case "kill", "kill twice":
		if err := kill(); err != nil || p.kind == "kill" {
			return err
		}
		p.wait(time.Duration(p.random.IntN(3000)) * time.Millisecond)
		return kill()
	case "xmpp restart and kill", "sip restart and kill":
		p.wait(time.Duration(p.random.IntN(800)) * time.Millisecond)
		return kill()
	}
	return nil
}

// presenceRound plays one of presence.
func (c *Config) presenceRound(ctx context.Context, number int, dir string, o *outcome) (bad []string, what string, err error) {
	p, err := newPresencePlay(c, dir, number)
	if err != nil {
		return nil, "presence", err
	}
	defer p.close()
	defer context.AfterFunc(ctx, func() { close(p.abandoned) })()
	o.kind = p.kind
	bad, err = p.play()
	for _, x := range p.couples {
		x.mu.Lock()
		o.counts.add(x.counts)
		x.mu.Unlock()
	}
	o.counts.Crashes = p.crashes
	for _, d := range p.ready {
		o.slowest = max(o.slowest, d)
		if d > p.limit {
			bad = append(bad, fmt.Sprintf("I8: it served %v after a start", d.Round(time.Millisecond)))
		}
	}
	what = p.kind
	if p.point != "" {
		what += " at " + p.point
	}
	return bad, what, err
}
