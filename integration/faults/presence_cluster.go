package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// presenceClusterKinds are the faults of rounds of presence with several gateways, one of which has the XMPP side's link ("owner").
var presenceClusterKinds = []string{"kill owner", "kill owner", "kill other", "kill other", "kill leader", "term owner", "term other"}

// presenceClusterPlay is one round of presence with several gateways on one store, of which one is ended while watches are alive both ways, and comes
// back later. What holds for one gateway holds for them all together (see presencePlay), and the watches of the one that is gone are another's within 15 s (P6).
type presenceClusterPlay struct {
	*presenceStage
	*fleet

	takeover, moved time.Duration // of the parts and the link, and until the last dialog was heard of from elsewhere
	fenced          int
	led             bool
}

const presenceClusterLimits = "limits: {drain: 10s, sip: {min_expires: 1s, notify_interval: 100ms}}\n"

func newPresenceClusterPlay(c *Config, dir string, number int) (*presenceClusterPlay, error) {
	p := &presenceClusterPlay{presenceStage: newPresenceStage(c, number)}
	of := presenceClusterKinds
	if len(c.Kinds) > 0 {
		of = c.Kinds
	}
	p.kind = of[p.random.IntN(len(of))]
	for _, x := range p.couples {
		x.unique = true
	}
	host := ownHost()
	if err := p.open(host); err != nil {
		return nil, err
	}
	var err error
	if p.fleet, err = newFleet(c, dir, host, p.presenceStage.xmpp.xmppSide); err != nil {
		p.presenceStage.close()
		return nil, err
	}
	var ports []int
	for _, g := range p.gateways {
		ports = append(ports, g.sip)
	}
	p.sip.toward(ports...)
	return p, p.configure(p.sip.port(), p.names.port, presenceClusterLimits)
}

func (p *presenceClusterPlay) close() {
	p.fleet.close()
	p.presenceStage.close()
}

// play plays the round and returns what was broken.
func (p *presenceClusterPlay) play() (bad []string, err error) {
	if err := p.begin(); err != nil {
		return nil, err
	}
	end := p.load()
	p.wait(time.Duration(3000+p.random.IntN(3000)) * time.Millisecond)
	victim := p.victim(p.kind)
	p.led = leads(victim)
	theirs := p.dialogsAt(victim)
	p.fault(fmt.Sprintf("%s: that at port %d", p.kind, victim.sip))
	if strings.HasPrefix(p.kind, "term") {
		if err := victim.stop(); err != nil {
			bad = append(bad, err.Error())
		}
	} else {
		victim.kill()
		p.crashes++
	}
	gone := time.Now()
	p.sip.refuses(victim.sip, true)
	p.wait(time.Duration(500+p.random.IntN(2500)) * time.Millisecond)
	end()
	more, takeover, fenced := p.taken(victim, gone)
	p.takeover, p.fenced = takeover, fenced
	p.note("the others have taken over")
	bad = append(bad, more...)
	if more, err = p.quiet(p.whole(victim)); err != nil {
		return nil, err
	}
	bad = append(bad, more...)
	bad = append(bad, p.left(theirs, gone)...)

	p.fault("the gateway comes back")
	if err := p.back(victim); err != nil {
		return nil, err
	}
	p.sip.refuses(victim.sip, false)
	end = p.load()
	p.wait(time.Duration(1000+p.random.IntN(2000)) * time.Millisecond)
	end()
	if more, err = p.quiet(p.whole(nil)); err != nil {
		return nil, err
	}
	return append(append(bad, more...), p.broken()...), nil
}

// fault notes one.
func (p *presenceClusterPlay) fault(what string) {
	p.note(what)
	for _, c := range p.couples {
		c.mu.Lock()
		c.faults = append(c.faults, time.Now())
		c.mu.Unlock()
	}
}

// whole says that a gateway has ended by itself.
func (p *presenceClusterPlay) whole(gone *gateway) func() (again bool, err error) {
	return func() (again bool, err error) {
		for i, g := range p.gateways {
			if g != gone && g.dead() {
				return false, fmt.Errorf("gateway n%d has ended by itself", i+1)
			}
		}
		return false, nil
	}
}

// dialogAt is a dialog that was at a gateway.
type dialogAt struct {
	couple *couple
	callID string
	at     target
	now    func() *target // what it is by now; nil: over. The couple's lock is held.
}

// dialogsAt are those whose gateway this one is. A watch of which no NOTIFY was acknowledged has no dialog yet (RFC 6665 §4.4.1): who dies in the moment in
// between has not written it down, its next owner opens another one, which P1 wants to be there, and this one expires.
func (p *presenceClusterPlay) dialogsAt(g *gateway) (list []dialogAt) {
	for _, c := range p.couples {
		c.mu.Lock()
		if w := c.watch; w != nil && w.made && w.target.port() == g.sip {
			list = append(list, dialogAt{c, w.callID, w.target, func() *target {
				if c.watch != w || !c.wants {
					return nil
				}
				return &w.target
			}})
		}
		for id, d := range c.served {
			if d.taken && d.target.port() == g.sip && d.end == "" && d.expires.After(time.Now()) {
				list = append(list, dialogAt{c, id, d.target, func() *target {
					if c.served[id] != d || d.end != "" || c.asks == unasked || !c.online {
						return nil
					}
					return &d.target
				}})
			}
		}
		c.mu.Unlock()
	}
	return list
}

// stays tells whether it is there and nowhere else.
func (d dialogAt) stays() bool {
	d.couple.mu.Lock()
	defer d.couple.mu.Unlock()
	now := d.now()
	return now != nil && now.uri == d.at.uri
}

// left looks for dialogs that nobody has taken over, and at how long it took for the others.
func (p *presenceClusterPlay) left(dialogs []dialogAt, gone time.Time) (bad []string) {
	bound := takeoverBound + 20*p.lag.worst()
	// Where nothing is new its owner may still be about to say that the dialog is there now.
	for end := gone.Add(2 * bound); time.Now().Before(end) && !p.over() && slices.ContainsFunc(dialogs, dialogAt.stays); {
		p.wait(50 * time.Millisecond)
	}
	for _, d := range dialogs {
		d.couple.mu.Lock()
		switch now := d.now(); {
		case now == nil:
		case now.uri == d.at.uri:
			bad = append(bad, fmt.Sprintf("P6: the dialog %s is at a gateway that is gone%s", d.callID, d.couple.story(p.events)))
		case now.since.After(gone):
			p.moved = max(p.moved, now.since.Sub(gone))
		}
		d.couple.mu.Unlock()
	}
	if p.moved > bound {
		bad = append(bad, fmt.Sprintf("P6: a dialog was heard of from another gateway after %v", p.moved.Round(time.Millisecond)))
	}
	return bad
}

// presenceClusterRound plays one of presence with several gateways.
func (c *Config) presenceClusterRound(ctx context.Context, number int, dir string, o *outcome) (bad []string, what string, err error) {
	p, err := newPresenceClusterPlay(c, dir, number)
	if err != nil {
		return nil, "presence", err
	}
	defer p.close()
	bad, err = p.round(ctx, p.play, o)
	o.led = p.led
	o.counts.Takeovers, o.counts.Slowest, o.counts.Moved, o.counts.Fenced = 1, p.takeover.Seconds(), p.moved.Seconds(), p.fenced
	return bad, p.kind, err
}
