package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// FullConfig is what a run that fills the memory of a gateway is made from; Config.Memory is its cap.
type FullConfig struct {
	Config
	// Rate is how many messages a second come while the XMPP server does not read, Body how many octets each has.
	Rate float64
	Body int
}

// FullReport is what came of it.
type FullReport struct {
	Memory int64 `json:"memory_cap"`
	// Anonymous is the most that the gateway had of the system but for files, its program above all; RSS is with them.
	Anonymous int64 `json:"anonymous_rss"`
	RSS       int64 `json:"rss"`
	// Held is how many messages it had taken in and not answered when it refused the first one, Refused how many it refused (503).
	Held    int    `json:"held"`
	Refused uint64 `json:"refused"`
	Other   uint64 `json:"other_answers"`
	// Full is how long after the reader stopped it refused the first one, Back how long after the reader went on all was taken again.
	Full time.Duration `json:"full_after_ns"`
	Back time.Duration `json:"back_after_ns"`
	Lost int           `json:"lost"`
	// Missed names each goal that was not reached.
	Missed []string `json:"missed"`
}

// fullLimits takes away the bounds that would keep a gateway from having its memory full in this way, and no others.
const (
	fullMessages = ", total: 1000000, lane: 100000"
	fullLimits   = ", xmpp: {queue: 1000000, queue_size: 1GiB, queue_all: 4GiB, write: 5m}"
)

// The patience of a run: until the memory is full, and until all is taken again.
const (
	fullWithin = 2 * time.Minute
	roomWithin = 90 * time.Second
)

// Full has the XMPP server of a gateway with little memory read no more while messages come, until the gateway is full of them and for a while longer, and then
// read again (THREATS T-OV-02: memory under the configured cap).
func Full(ctx context.Context, c FullConfig) (r FullReport, err error) {
	r.Memory = c.Memory
	b, err := newBedFor(c.Config, plan{messages: fullMessages, limits: fullLimits, ready: func(b *bed) { b.agents[0].Body = c.Body }}, nil, nil)
	if err != nil {
		return r, err
	}
	defer b.close()
	a := b.agents[0]
	var all Counts
	look := func() error {
		u := b.gateway.Usage()
		r.RSS, r.Anonymous = max(r.RSS, u.RSS), max(r.Anonymous, u.Anonymous)
		n := a.Take()
		all.Refused, all.OtherAnswers, all.Taken = all.Refused+n.Refused, all.OtherAnswers+n.OtherAnswers+n.Unanswered, all.Taken+n.Taken
		if b.gateway.Dead() {
			return errors.New("the gateway ended: see its log")
		}
		return ctx.Err()
	}
	b.server.Stall(true)
	a.Rate(c.Rate)
	began := time.Now()
	for all.Refused == 0 {
		if err := look(); err != nil {
			return r, err
		}
		if time.Since(began) > fullWithin {
			return r, fmt.Errorf("nothing was refused within %v; %d MiB resident", fullWithin, r.RSS>>20)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.Full, r.Held = time.Since(began), a.Pending()
	fmt.Fprintf(c.Log, "full after %v, with %d messages; %d MiB resident, %d without files\n", r.Full.Round(time.Millisecond), r.Held, r.RSS>>20, r.Anonymous>>20)
	for end := time.Now().Add(c.Time); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := look(); err != nil {
			return r, err
		}
	}
	a.Rate(0)
	b.server.Stall(false)
	r.Refused, r.Other = all.Refused, all.OtherAnswers
	if r.Back, err = b.room(ctx, c.Rate/10, look); err != nil {
		return r, err
	}
	fmt.Fprintf(c.Log, "takes again %v after it is read from\n", r.Back.Round(time.Millisecond))
	a.Rate(0)
	r.Lost = b.missing(time.Now().Add(30 * time.Second))
	r.judge()
	return r, look()
}

// room is how long it takes until a second has passed in which all was taken.
func (b *bed) room(ctx context.Context, rate float64, look func() error) (time.Duration, error) {
	began := time.Now()
	for {
		for _, a := range b.agents {
			a.Anew()
		}
		at := time.Now()
		v, err := b.play([]float64{rate}, 0, time.Second)
		if err != nil {
			return 0, err
		}
		c := v.sum()
		if c.Taken > 0 && c.Refused+c.OtherAnswers == 0 && 10*c.Taken >= 9*c.Offered {
			return at.Sub(began), nil
		}
		if time.Since(began) > roomWithin {
			return 0, fmt.Errorf("%v after its messages could leave the gateway refuses %d of %d", roomWithin, c.Refused+c.OtherAnswers, c.Offered)
		}
		if err := errors.Join(look(), ctx.Err()); err != nil {
			return 0, err
		}
	}
}

// judge compares with what limits.memory promises.
func (r *FullReport) judge() {
	goal := func(ok bool, format string, args ...any) {
		if !ok {
			r.Missed = append(r.Missed, fmt.Sprintf(format, args...))
		}
	}
	goal(r.Anonymous <= r.Memory, "%d MiB resident without files, and %d MiB is the cap", r.Anonymous>>20, r.Memory>>20)
	goal(2*r.Anonymous >= r.Memory, "it refused with %d MiB resident, and %d MiB is the cap", r.Anonymous>>20, r.Memory>>20)
	goal(r.Back <= 10*time.Second, "takes again after %v, and 10s is the goal", r.Back)
	goal(r.Lost == 0, "%d were lost", r.Lost)
}

// Print writes it.
func (r *FullReport) Print(w io.Writer) {
	fmt.Fprintf(w, "cap %d MiB: full after %v with %d messages held, %d refused with 503, %d answered otherwise\n", r.Memory>>20, r.Full.Round(time.Millisecond), r.Held, r.Refused, r.Other)
	fmt.Fprintf(w, "at most %d MiB resident without files, %d MiB with the program; takes again after %v; %d lost\n", r.Anonymous>>20, r.RSS>>20, r.Back.Round(time.Millisecond), r.Lost)
	printMissed(w, r.Missed)
}
