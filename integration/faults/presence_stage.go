package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// presenceStage is what all rounds of presence have: the couples, with the XMPP server and the user agents that they are at, what they do while there is load, and how
// it is found out whether they agree.
type presenceStage struct {
	number  int
	kind    string // of its faults
	random  *rand.Rand
	names   *names
	xmpp    *presenceServer
	sip     *presenceAgents
	couples []*couple
	lag     *lag

	mu     sync.Mutex
	events []line

	crashes   int
	abandoned chan struct{}
}

const (
	// couplesEach is how many users each side has.
	couplesEach = 10
	// presencePatience is how long it may take until everybody shows what is true: what failed while a side was away is tried again after
	// half a minute, then a minute.
	presencePatience = 150 * time.Second
)

func newPresenceStage(c *Config, number int) *presenceStage {
	s := &presenceStage{random: rand.New(rand.NewPCG(c.Seed, uint64(number))), number: number, lag: &lag{}, abandoned: make(chan struct{})}
	for i := range couplesEach {
		s.couples = append(s.couples, newCouple(i, s.lag))
	}
	return s
}

// open has the two sides begin, at this address.
func (p *presenceStage) open(host net.IP) (err error) {
	if p.names, err = newNames(host); err != nil {
		return err
	}
	if p.xmpp, err = newPresenceServer(host, p.couples, p.random.IntN(2) == 0); err != nil {
		p.names.close()
		return err
	}
	if p.sip, err = newPresenceAgents(host, p.couples); err != nil {
		p.xmpp.down(true)
		p.names.close()
		return err
	}
	go p.lag.measure(p.sip.ended)
	return nil
}

func (p *presenceStage) close() {
	p.xmpp.down(true)
	p.sip.close()
	p.names.close()
}

// round is play, unless ctx ends before, and what it has counted.
func (p *presenceStage) round(ctx context.Context, play func() (bad []string, err error), o *outcome) (bad []string, err error) {
	defer context.AfterFunc(ctx, func() { close(p.abandoned) })()
	o.kind = p.kind
	bad, err = play()
	o.counts = p.counts()
	o.counts.Crashes = p.crashes
	return bad, err
}

func (p *presenceStage) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, line{time.Now(), what})
}

func (p *presenceStage) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.abandoned:
	}
}

func (p *presenceStage) over() bool {
	select {
	case <-p.abandoned:
		return true
	default:
		return false
	}
}

// load has the couples do what they feel like, until end is called.
func (p *presenceStage) load() (end func()) {
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
	return func() {
		close(stop)
		load.Wait()
	}
}

// quiet waits until everybody shows what is true, and does so for a moment. mended is asked again and again whether a gateway had to be started anew.
func (p *presenceStage) quiet(mended func() (again bool, err error)) (bad []string, err error) {
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
		again, err := mended()
		switch {
		case p.over():
			return nil, errAbandoned
		case err != nil:
			return nil, err
		case again:
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

// broken is what the couples have seen themselves.
func (p *presenceStage) broken() (bad []string) {
	for _, c := range p.couples {
		c.mu.Lock()
		if len(c.bad) > 0 {
			bad = append(bad, c.bad...)
			bad[len(bad)-1] += c.story(p.events)
		}
		c.mu.Unlock()
	}
	return bad
}

func (p *presenceStage) counts() (sum Counts) {
	for _, c := range p.couples {
		c.mu.Lock()
		sum.add(c.counts)
		c.mu.Unlock()
	}
	return sum
}

// act does one thing that one of the two feels like.
func (p *presenceStage) act(c *couple, r *rand.Rand) {
	switch r.IntN(10) {
	case 0, 1: // juliet and her wish
		p.xmpp.wish(c, r)
	case 2, 3: // romeo and his
		p.sip.wish(c, r)
	case 4, 5: // juliet speaks
		p.xmpp.speak(c, r)
	case 6, 7:
		p.sip.speak(c, r)
	case 8:
		p.xmpp.decide(c, r)
	case 9:
		p.sip.decide(c, r)
	}
}
