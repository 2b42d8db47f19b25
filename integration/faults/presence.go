package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// presencePlay is one round of presence: a gateway, users on both sides who watch each other, ask, decide, speak and leave, and faults while
// they do. When it is quiet again each of them shows what the other last said, and knows what the other decided (P1), although nobody did
// anything for it; nobody was shown a request that nobody made (P2), nothing was told of who had not decided (P3), and no sequence number
// came twice or went back (P4).
type presencePlay struct {
	*presenceStage
	point   string
	gateway *gateway
	limit   time.Duration
	ready   []time.Duration
}

// presenceKinds are the faults of rounds of presence.
var presenceKinds = []string{"kill", "kill", "kill", "kill twice", "term", "xmpp restart", "xmpp restart and kill", "sip restart", "sip restart and kill"}

// presencePoints are the failpoints of the presence path.
var presencePoints = []string{
	"watch-store-before", "watch-store-after", "watch-ask-before", "watch-ask-after", "watch-tell-before", "watch-tell-after", "fact-before", "fact-after",
}

// faultsEach is how many faults one after the other a round has, each with a time of quiet after it.
const faultsEach = 2

const presenceLimits = "limits: {drain: 10s, messages: {direct_wait: 2s}, sip: {min_expires: 1s, notify_interval: 100ms}}\n"

func newPresencePlay(c *Config, dir string, number int) (*presencePlay, error) {
	p := &presencePlay{presenceStage: newPresenceStage(c, number), limit: c.Ready}
	of := slices.DeleteFunc(slices.Clone(presenceKinds), func(k string) bool { return len(c.Kinds) > 0 && !slices.Contains(c.Kinds, k) })
	if c.Failpoints && (number%2 == 0 || len(of) == 0) && (len(c.Kinds) == 0 || slices.Contains(c.Kinds, failpoints)) {
		p.kind, p.point = failpoints, presencePoints[number/2%len(presencePoints)]
	} else {
		p.kind = of[p.random.IntN(len(of))]
	}
	host := ownHost()
	var err error
	if p.gateway, err = newGateway(c.Binary, dir, host); err != nil {
		return nil, err
	}
	if err := p.open(host); err != nil {
		return nil, err
	}
	p.sip.toward(p.gateway.sip)
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
	p.presenceStage.close()
	if p.gateway.logs != nil {
		p.gateway.logs.Close()
	}
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
		ports, err := freePorts(p.gateway.host, 2)
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
		end := p.load()
		p.wait(time.Duration(300+p.random.IntN(2000)) * time.Millisecond)
		err := p.breakAndHeal()
		p.wait(time.Duration(p.random.IntN(600)) * time.Millisecond)
		end()
		if err != nil {
			return nil, err
		}
		more, err := p.quiet(p.mended)
		if err != nil {
			return nil, err
		}
		if bad = append(bad, more...); len(bad) > 0 {
			break
		}
	}
	return append(bad, p.broken()...), nil
}

// mended starts the gateway again if it has come to its failpoint after the others.
func (p *presencePlay) mended() (again bool, err error) {
	if !p.gateway.dead() {
		return false, nil
	}
	p.note("the gateway has come to its failpoint")
	return true, p.again()
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
	bad, err = p.round(ctx, p.play, o)
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
