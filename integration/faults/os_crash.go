package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// osFault is one round with a virtual machine.
type osFault struct {
	kind string
	up   time.Duration // when the XMPP side comes, after the first message has been acknowledged; 0: not before the crash
	at   time.Duration // when the machine is ended, likewise
	bad  time.Duration // when the disk begins to refuse writes, likewise; 0: it does not
}

func (f osFault) String() string {
	return fmt.Sprintf("%s after %v", f.kind, f.at.Round(time.Millisecond))
}

// chooseOS makes a round's fault. Messages are stored while the XMPP side is away, so that it is away in each, at least at first.
func chooseOS(r *rand.Rand) osFault {
	f := osFault{kind: "os crash, storing", at: time.Duration(r.IntN(6000)) * time.Millisecond}
	switch r.IntN(6) {
	case 0, 1:
		f.kind = "os crash, handing over"
		f.up = time.Duration(500+r.IntN(2000)) * time.Millisecond
		f.at = f.up + time.Duration(r.IntN(8000))*time.Millisecond // the first retry is after 5 s
	case 2:
		f.kind = "disk errors, os crash"
		f.bad = time.Duration(500+r.IntN(4000)) * time.Millisecond
		f.at = f.bad + time.Duration(1000+r.IntN(5000))*time.Millisecond
	}
	return f
}

// What the gateway says of a disk that refuses a write, and how long it may take to find that out on a host that does much else.
var refusedWrite = []string{"the disk refused a write", "the store fails"}

const noticeWait = 2 * time.Minute

// osRound plays one round: the gateway in a virtual machine, both sides outside of it. The machine is ended at a random time, and what it had
// acknowledged must be delivered, or told, after it has started again with the same disk.
func (c *Config) osRound(ctx context.Context, number int, dir string) (counts Counts, kind string, bad []string, fault string, err error) {
	random := rand.New(rand.NewPCG(c.Seed, uint64(number)))
	f := chooseOS(random)
	if c.Unsynced {
		f = osFault{kind: "os crash, not synced", at: time.Duration(2000+random.IntN(3000)) * time.Millisecond}
	}
	m, err := newMachine(c.moment, dir)
	if err != nil {
		return counts, f.kind, nil, f.String(), err
	}
	defer m.close()
	host := net.IPv4(127, 0, 0, 1) // the only one that the machine reaches
	xmpp, err := newXMPPSide(host)
	if err != nil {
		return counts, f.kind, nil, f.String(), err
	}
	defer xmpp.down(true)
	sip, err := newSIPSide(host, m.sip)
	if err != nil {
		return counts, f.kind, nil, f.String(), err
	}
	defer sip.close()
	l := newLedger()
	xmpp.begin(l)
	sip.begin(l)
	xmpp.down(true)
	l.note("the machine starts; the XMPP side is away")
	if err := m.boot(guestOrder{Unsynced: c.Unsynced}, xmpp.port, sip.port()); err != nil {
		return counts, f.kind, nil, f.String(), err
	}
	l.note("the gateway serves")
	var load sync.WaitGroup
	ending := make(chan struct{})
	var end sync.Once
	stop := func() { end.Do(func() { close(ending) }) }
	defer load.Wait()
	defer stop()
	for i := range 12 {
		r := rand.New(rand.NewPCG(random.Uint64(), 1))
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-ending:
					return
				case <-time.After(time.Duration(r.IntN(200)) * time.Millisecond):
				}
				sip.say(fmt.Sprintf("romeo%d@sip.test", i), fmt.Sprintf("juliet%d@xmpp.test", i), fmt.Sprintf("r%dp%dn%d", number, i, n))
			}
		})
	}
	// A host that does much else takes its time.
	for limit := time.Now().Add(bootWait); l.counts().Acknowledged == 0 && time.Now().Before(limit); {
		time.Sleep(5 * time.Millisecond)
	}
	began := time.Now()
	if f.up > 0 {
		time.Sleep(f.up)
		l.note("the XMPP side is there")
		if err := xmpp.up(); err != nil {
			return counts, f.kind, nil, f.String(), err
		}
	}
	if f.bad > 0 {
		time.Sleep(f.bad - time.Since(began))
		l.note("the disk refuses writes")
		m.disk.refuse(true)
		limit := time.Now().Add(noticeWait)
		for !m.console.has(refusedWrite...) && time.Now().Before(limit) {
			time.Sleep(5 * time.Millisecond)
		}
		if !m.console.has(refusedWrite...) {
			bad = append(bad, "the disk failed, and the gateway did not say so")
		}
	}
	time.Sleep(f.at - time.Since(began))
	m.crash()
	m.disk.refuse(false)
	stop()
	had, lost, err := m.disk.powerFails(random)
	if err != nil {
		return counts, f.kind, nil, f.String(), err
	}
	l.note("the power fails: the disk was flushed %d times, had %d octets in its cache, and has lost %d", m.disk.flushes, had, lost)
	before := l.counts()
	if before.Acknowledged == 0 {
		bad = append(bad, "nothing was acknowledged before the crash: the round shows nothing")
	}
	if err := xmpp.up(); err != nil {
		return counts, f.kind, nil, f.String(), err
	}
	l.note("the machine starts; the XMPP side is there")
	if err := m.boot(guestOrder{}, xmpp.port, sip.port()); err != nil {
		return counts, f.kind, nil, f.String(), errors.Join(err, ctx.Err())
	}
	l.note("the gateway serves")
	load.Wait()
	l.note("the load is over")
	since := time.Now() // before, nothing could come
	// Until everything has its outcome. What is still stored is not lost: as long as something comes, more is waited for, and a retry is at most
	// 54 s after the one before it, for as long as this takes.
	patience := 150 * time.Second
	if c.Unsynced {
		patience = 20 * time.Second // what is lost does not come
	}
	for limit := time.Now().Add(10 * time.Minute); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
		open, quiet := l.open()
		quiet = min(quiet, time.Since(since))
		if open == 0 && quiet > 1500*time.Millisecond || quiet > patience {
			break
		}
	}
	l.note("the round is over")
	m.crash()
	counts = l.counts()
	counts.Crashes = 1
	return counts, f.kind, append(bad, l.check(1)...), f.String(), nil
}
