package faults

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// kind is one kind of fault.
type kind struct {
	name   string
	weight int // how often it is chosen, beside others
	// down tells that the XMPP side is away around it, so that messages are stored; long that it must last for longer than the gateway waits
	// before it stores (direct_wait).
	down, long bool
	mount      bool // the store is on a small disk of its own, which needs rights
	play       func(p *play) error
}

// kinds are all of them but the failpoints.
func kinds() []kind {
	return []kind{
		{name: "kill", weight: 4, play: killOnce},
		{name: "kill twice", weight: 2, play: killTwice},
		{name: "kill and xmpp down", weight: 4, down: true, play: killOnce},
		{name: "term", weight: 2, play: (*play).restart},
		{name: "term twice", weight: 1, play: termTwice},
		{name: "reload broken", weight: 1, play: func(p *play) error { return p.reloads("refused", p.gateway.broken) }},
		{name: "reload changed", weight: 1, play: func(p *play) error {
			return p.reloads("applied", p.gateway.changed, func() string { return p.gateway.written })
		}},
		{name: "stop", weight: 2, play: stopped},
		{name: "xmpp down", weight: 2, long: true, play: func(p *play) error { p.xmpp.down(true); p.wait(p.fault.last); return nil }},
		{name: "xmpp drop", weight: 2, play: func(p *play) error { p.xmpp.down(false); return nil }},
		{name: "xmpp stall", weight: 2, long: true, play: func(p *play) error { return p.during(p.xmpp.stall()) }},
		{name: "xmpp half-open", weight: 2, play: func(p *play) error { p.xmpp.vanish(); p.wait(p.fault.last); return nil }},
		{name: "xmpp answers lost", weight: 2, long: true, play: func(p *play) error {
			p.xmpp.answers(false)
			return p.during(func() { p.xmpp.answers(true) })
		}},
		{name: "sip stall", weight: 2, long: true, play: func(p *play) error { return p.during(p.sip.stall()) }},
		{name: "sip answers lost", weight: 2, long: true, play: func(p *play) error {
			p.sip.answers(false)
			return p.during(func() { p.sip.answers(true) })
		}},
		{name: "dns dead", weight: 2, long: true, play: func(p *play) error {
			p.names.dead.Store(true)
			return p.during(func() { p.names.dead.Store(false) })
		}},
		{name: "journal full", weight: 2, down: true, play: func(p *play) error { p.wait(p.fault.last + time.Second); return nil }},
		{name: "disk full", weight: 2, down: true, mount: true, play: fullDisk},
	}
}

// points are those of package failpoint. A gateway comes to "replay" at its next start.
var points = []string{
	"append-before", "append-after", "mark-before", "mark-after", "remove-before", "remove-after", "notice-before", "notice-after", "delivered", "replay",
	"answer-before", "answer-after", "settle-before", "settle-after", "tell-before", "tell-after",
}

// failpoints is the kind of the rounds in which the gateway comes to one.
const failpoints = "failpoint"

// fault is what happens in a round.
type fault struct {
	kind
	at    time.Duration // after the load has begun
	last  time.Duration // until it is healed
	point string        // of kind "failpoint"
}

func (f fault) String() string {
	s := fmt.Sprintf("%s %v after %v", f.name, f.last.Round(time.Millisecond), f.at.Round(time.Millisecond))
	if f.point != "" {
		s += " at " + f.point
	}
	if f.down {
		s += ", XMPP side down"
	}
	return s
}

// choose chooses a round's, of Config.Kinds if there are any. Else every second one is a failpoint if there are any, and each point has its turn.
func (c *Config) choose(r *rand.Rand, number int) fault {
	f := fault{at: time.Duration(r.IntN(1500)) * time.Millisecond, last: time.Duration(200+r.IntN(1500)) * time.Millisecond}
	all := slices.DeleteFunc(kinds(), func(k kind) bool {
		return k.mount && !c.mounts || len(c.Kinds) > 0 && !slices.Contains(c.Kinds, k.name)
	})
	if len(all) == 0 { // failpoints alone
		all = kinds()
	}
	sum := 0
	for _, k := range all {
		sum += k.weight
	}
	n := r.IntN(sum)
	for _, k := range all {
		if n -= k.weight; n < 0 {
			f.kind = k
			break
		}
	}
	if c.Failpoints && number%2 == 0 && (len(c.Kinds) == 0 || slices.Contains(c.Kinds, failpoints)) {
		f.kind = kind{name: failpoints, down: true, play: (*play).failpoint}
		f.point = fmt.Sprintf("%s:%d", points[number/2%len(points)], 1+r.IntN(4))
	}
	if f.down || f.long {
		// While there is load, and for longer than the gateway waits before it stores.
		f.at /= 4
		f.last += 1500 * time.Millisecond
	}
	return f
}

func killOnce(p *play) error {
	if p.fault.down {
		p.wait(p.fault.last)
	}
	p.kill()
	p.wait(p.fault.last / 2)
	return p.again()
}

func killTwice(p *play) error {
	if err := killOnce(p); err != nil {
		return err
	}
	p.wait(p.fault.last)
	p.kill()
	return p.again()
}

func termTwice(p *play) error {
	p.ledger.note("the gateway is told to end, twice")
	p.gateway.signal(syscall.SIGTERM)
	p.wait(p.fault.last / 10)
	if err := p.gateway.stop(); err != nil {
		return err
	}
	return p.again() // what was under way is lost to it, as in a crash
}

// reloads has it reload again and again.
func (p *play) reloads(outcome string, texts ...func() string) error {
	bad, err := p.hangups(outcome, texts...)
	p.bad = append(p.bad, bad...)
	return err
}

func stopped(p *play) error {
	p.gateway.signal(syscall.SIGSTOP)
	return p.during(func() { p.gateway.signal(syscall.SIGCONT) })
}

func fullDisk(p *play) error {
	p.wait(p.fault.last / 2)
	free, err := fill(filepath.Join(p.gateway.dir, "store"))
	if err != nil {
		return err
	}
	p.ledger.note("the disk is full")
	return p.during(free)
}
