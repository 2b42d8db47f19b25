package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// BacklogSummary is what a run with a backlog found.
type BacklogSummary struct {
	Queued   int     `json:"queued"`
	Fill     float64 `json:"fill"` // seconds that it took to queue them
	Restarts []Start `json:"restarts"`
	Drain    float64 `json:"drain"` // seconds until all of them had left, when the other side was back
	Counts
	Violations []string `json:"violations,omitempty"`
}

// Start is a start after a kill -9, in seconds from the start of the process.
type Start struct {
	Serves  float64 `json:"serves"`  // until its admin port answered, which it does from the first
	Accepts float64 `json:"accepts"` // until it had answered a new message well
	Memory  int64   `json:"memory"`  // resident then, in octets
}

// Print writes the summary.
func (s *BacklogSummary) Print(w io.Writer) {
	fmt.Fprintf(w, "%d messages queued in %.1f s\n", s.Queued, s.Fill)
	for i, r := range s.Restarts {
		fmt.Fprintf(w, "kill -9 and start %d: there after %.2f s, has accepted a message after %.2f s, %d MiB\n", i+1, r.Serves, r.Accepts, r.Memory>>20)
	}
	fmt.Fprintf(w, "all delivered %.1f s after the other side was back: %d offered, %d acknowledged, %d delivered, %d copies\n", s.Drain, s.Offered, s.Acknowledged, s.Delivered, s.Copies)
	for _, v := range s.Violations[:min(len(s.Violations), 10)] {
		fmt.Fprintln(w, v)
	}
}

// The load of a backlog: so many pairs of users, which speak at once, each message after the answer to the former one.
const backlogPairs = 200

// backlogStore has room for any backlog.
const backlogStore = "store: {directory: \"DIR/store\"}\n"

// Backlog queues so many messages in a gateway of its own, kills and starts it c.Rounds times, and measures when it accepts messages again (I8). Then
// everything must be delivered. c.Kinds, Nodes and Workers are not looked at.
func Backlog(ctx context.Context, c Config, queued int) (s BacklogSummary, err error) {
	if c.Ready <= 0 {
		c.Ready = 5 * time.Second
	}
	host := ownHost()
	g, err := newGateway(c.Binary, c.Directory, host)
	if err != nil {
		return s, err
	}
	names, err := newNames(host)
	if err != nil {
		return s, err
	}
	defer names.close()
	xmpp, err := newXMPPSide(host)
	if err != nil {
		return s, err
	}
	defer xmpp.down(true)
	sip, err := newSIPSide(host, g.sip)
	if err != nil {
		return s, err
	}
	defer sip.close()
	if err := sip.conn.SetReadBuffer(4 << 20); err != nil {
		return s, err
	}
	if err := g.configureWith(xmpp.port, sip.port(), names.port, backlogStore); err != nil {
		return s, err
	}
	l := newLedger()
	xmpp.begin(l)
	sip.begin(l)
	xmpp.down(true)
	if err := g.start(""); err != nil {
		return s, err
	}
	defer func() {
		if !g.dead() {
			g.signal(syscall.SIGCONT)
			g.kill()
		}
		g.logs.Close()
	}()
	defer context.AfterFunc(ctx, sip.close)()
	if !g.ready(20 * time.Second) {
		return s, errors.New("the gateway does not serve within 20 s of its start")
	}

	began := time.Now()
	var load sync.WaitGroup
	for i := range backlogPairs {
		load.Go(func() {
			for n := i; n < queued && ctx.Err() == nil; n += backlogPairs {
				sip.say(fmt.Sprintf("romeo%d@sip.test", i), fmt.Sprintf("juliet%d@xmpp.test", i), fmt.Sprintf("q%dn%d", i, n))
			}
		})
	}
	load.Wait()
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	s.Fill = time.Since(began).Seconds()
	s.Queued, _ = l.open()
	// Some may be refused, by a disk that took too long; a start with far fewer says nothing of one with all.
	if s.Queued < queued*99/100 {
		s.Violations = append(s.Violations, fmt.Sprintf("only %d of %d messages were taken", s.Queued, queued))
	}

	crashes := max(c.Rounds, 1)
	for round := range crashes {
		g.kill()
		start, err := accepts(g, sip, fmt.Sprintf("a%d", round), 4*c.Ready)
		if err != nil {
			return s, err
		}
		s.Restarts = append(s.Restarts, start)
		if start.Accepts > c.Ready.Seconds() {
			s.Violations = append(s.Violations, fmt.Sprintf("I8: it accepted a message %.2f s after its start, with %d queued", start.Accepts, s.Queued))
		}
	}

	began = time.Now()
	if err := xmpp.up(); err != nil {
		return s, err
	}
	for last := time.Now(); ; {
		open, quiet := l.open()
		if open == 0 && quiet > time.Second {
			break
		}
		if quiet < time.Second {
			last = time.Now()
		}
		if time.Since(last) > time.Minute || ctx.Err() != nil || g.dead() {
			break // the ledger says what is missing
		}
		time.Sleep(250 * time.Millisecond)
	}
	s.Drain = time.Since(began).Seconds()
	s.Counts = l.counts()
	s.Violations = slices.Concat(s.Violations, l.check(crashes))
	if err := g.stop(); err != nil {
		s.Violations = append(s.Violations, err.Error())
	}
	if len(s.Violations) > 0 {
		return s, nil
	}
	return s, os.RemoveAll(filepath.Join(c.Directory, "store"))
}

// accepts starts a gateway and waits until it has answered a message well. One is sent each 50 ms, by somebody else to somebody else each time.
func accepts(g *gateway, sip *sipSide, prefix string, patience time.Duration) (s Start, err error) {
	began := time.Now()
	if err := g.start(""); err != nil {
		return s, err
	}
	well := make(chan time.Duration, 1)
	var asked sync.WaitGroup
	done := make(chan struct{})
	asked.Go(func() {
		for n := 0; ; n++ {
			asked.Go(func() {
				if code := sip.say(fmt.Sprintf("new%d@sip.test", n), fmt.Sprintf("new%d@xmpp.test", n), fmt.Sprintf("%sn%d", prefix, n)); code >= 200 && code < 300 {
					select {
					case well <- time.Since(began):
					default: // not the first
					}
				}
			})
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	defer asked.Wait() // each of them is in the ledger with its answer
	defer close(done)
	if !g.ready(patience) {
		return s, fmt.Errorf("the gateway does not serve within %v of its start", patience)
	}
	s.Serves = time.Since(began).Seconds()
	select {
	case took := <-well:
		s.Accepts = took.Seconds()
	case <-time.After(patience):
		return s, fmt.Errorf("the gateway accepts no message within %v of its start", patience)
	}
	r, err := g.resources()
	s.Memory = r.memory
	return s, err
}
