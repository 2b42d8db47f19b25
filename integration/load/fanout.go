package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/configs"
)

// fanout is one user of the XMPP side whom many of the SIP side watch: her server sends a stanza to each of them when her presence changes, and
// the gateway makes a NOTIFY of each. Safe for use from several goroutines.
type fanout struct {
	gateway *net.UDPAddr
	began   time.Time

	mu       sync.Mutex
	sip      string // domains
	xmpp     string
	watchers []watcher
	open     int // that have been told anything
	told     int // of this round
	twice    uint64
	in       Histogram
}

// watcher is one of those who watch.
type watcher struct {
	open    bool
	asked   time.Time     // the last time
	said    uint32        // the round that it is to be told
	round   uint32        // the newest that it was told
	turn    int           // the number in sequence of the NOTIFY that told it
	written time.Duration // since began: when its stanza of this round was written
}

// The names of those who take part.
const (
	presentity    = "star"
	watcherPrefix = "w"
	roundPrefix   = "It is the round " // before the number, in what her presence says
)

func newFanout(watchers, gateway int) *fanout {
	f := &fanout{gateway: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: gateway}, began: time.Now(), watchers: make([]watcher, watchers)}
	for i := range f.watchers {
		f.watchers[i].said = 1
	}
	return f
}

// between sets the domains, before anything comes.
func (f *fanout) between(sip, xmpp string) {
	f.mu.Lock()
	f.sip, f.xmpp = sip, xmpp
	f.mu.Unlock()
}

// appendPresence writes the stanza of a round for one watcher.
func (f *fanout) appendPresence(b []byte, to int) []byte {
	return fmt.Appendf(b, "<presence from='%s@%s/load' to='%s%06d@%s'><status>%s%08x</status></presence>", presentity, f.xmpp, watcherPrefix, to, f.sip, roundPrefix, f.watchers[to].said)
}

// stanza is what her server does with what the gateway sends it: she lets everybody watch.
func (f *fanout) stanza(stanza []byte, reply func(string)) {
	kind := attribute(stanza, "type")
	if !bytes.HasPrefix(stanza, []byte("<presence")) || kind != "subscribe" && kind != "probe" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	local, _, _ := bytes.Cut([]byte(attribute(stanza, "from")), []byte("@"))
	i, ok := f.watcher(local)
	if !ok {
		return
	}
	if kind == "subscribe" {
		reply(fmt.Sprintf("<presence type='subscribed' from='%s@%s' to='%s@%s'/>", presentity, f.xmpp, local, f.sip))
	}
	reply(string(f.appendPresence(nil, i)))
}

// watcher is the index of a local part. The lock is held.
func (f *fanout) watcher(local []byte) (int, bool) {
	digits, ok := bytes.CutPrefix(local, []byte(watcherPrefix))
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(string(digits))
	return i, err == nil && i >= 0 && i < len(f.watchers)
}

// heard takes a request of the gateway, and counts what it tells; it does not answer it.
func (f *fanout) heard(request []byte) {
	rest, ok := bytes.CutPrefix(request, []byte("NOTIFY sip:"))
	if !ok {
		return
	}
	local, _, _ := bytes.Cut(rest, []byte("@"))
	_, turn, _ := bytes.Cut(rest, []byte("\r\nCSeq: "))
	turn, _, _ = bytes.Cut(turn, []byte(" "))
	sequence, err := strconv.Atoi(string(turn))
	at := bytes.LastIndex(rest, []byte(roundPrefix))
	if err != nil || at < 0 {
		return // it says nothing of her presence yet
	}
	round, ok := parseNumber(rest[at+len(roundPrefix):])
	now := time.Since(f.began)
	f.mu.Lock()
	defer f.mu.Unlock()
	i, known := f.watcher(local)
	if !ok || !known {
		return
	}
	w := &f.watchers[i]
	if !w.open {
		w.open, w.round, w.turn = true, round, sequence
		f.open++
		return
	}
	switch {
	case round == w.round:
		if sequence != w.turn { // else it was sent again because our answer came late
			f.twice++
		}
	case round == w.said:
		w.round, w.turn = round, sequence
		f.told++
		f.in.Add(now - w.written)
	}
}

// count is how many watches are open, and how many watchers have been told of this round.
func (f *fanout) count() (open, told int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open, f.told
}

// The pace at which watches are opened: so many may wait for their first NOTIFY, and a SUBSCRIBE is sent again after a while, at most so often.
const (
	askedAtOnce = 500
	askedAgain  = 2 * time.Second
	openWithin  = 60 * time.Second // and a millisecond for each watch
)

// ask opens all watches over this socket.
func (f *fanout) ask(ctx context.Context, conn *net.UDPConn) error {
	local := conn.LocalAddr().String()
	for end := time.Now().Add(openWithin + time.Duration(len(f.watchers))*2*time.Millisecond); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if open, _ := f.count(); open == len(f.watchers) {
			return nil
		}
		for _, i := range f.due(time.Now()) {
			who := fmt.Sprintf("%s%06d", watcherPrefix, i)
			request := fmt.Appendf(nil, "SUBSCRIBE sip:%[1]s@%[2]s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;branch=z9hG4bKfanout%[4]s;rport\r\nMax-Forwards: 70\r\n"+
				"From: <sip:%[4]s@%[5]s>;tag=%[4]s\r\nTo: <sip:%[1]s@%[2]s>\r\nCall-ID: fanout-%[4]s@%[5]s\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:%[4]s@%[3]s>\r\n"+
				"Event: presence\r\nAccept: application/pidf+xml\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n", presentity, f.xmpp, local, who, f.sip)
			if _, err := conn.WriteToUDP(request, f.gateway); errors.Is(err, net.ErrClosed) {
				return err
			}
		}
	}
	open, _ := f.count()
	return errors.Join(ctx.Err(), fmt.Errorf("%d of %d watches were opened: see the gateway's log", open, len(f.watchers)))
}

// due are the watches that are asked for now.
func (f *fanout) due(now time.Time) (list []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := 0
	for i := range f.watchers {
		w := &f.watchers[i]
		if w.open {
			continue
		}
		if waiting++; waiting > askedAtOnce {
			break
		}
		if now.Sub(w.asked) >= askedAgain {
			w.asked = now
			list = append(list, i)
		}
	}
	return list
}

// tell has her presence change, and waits until everybody has heard, at most for patience.
func (f *fanout) tell(ctx context.Context, s *Server, patience time.Duration) (took time.Duration, err error) {
	f.mu.Lock()
	f.told = 0
	for i := range f.watchers {
		f.watchers[i].said++
	}
	began := time.Now()
	f.mu.Unlock()
	var b []byte
	for i := range f.watchers {
		f.mu.Lock()
		f.watchers[i].written = time.Since(f.began)
		b = f.appendPresence(b, i)
		f.mu.Unlock()
		if len(b) >= 16<<10 || i == len(f.watchers)-1 {
			if err := s.Write(b); err != nil {
				return 0, err
			}
			b = b[:0]
		}
	}
	for end := began.Add(patience); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(200 * time.Microsecond) {
		if _, told := f.count(); told == len(f.watchers) {
			break
		}
	}
	return time.Since(began), ctx.Err()
}

// tellOne appends the stanza by which one watcher hears of a new round. False: he has not heard of the last one yet.
func (f *fanout) tellOne(b []byte, to int) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &f.watchers[to]
	if w.round != w.said {
		return b, false
	}
	w.said++
	w.written = time.Since(f.began)
	return f.appendPresence(b, to), true
}

// benchPresence measures a fan-out: the rate of one change of presence, from the first stanza to the last NOTIFY, and what each watcher waited. Between
// two changes there is the pause that the configuration asks for (limits.sip.notify_interval).
func benchPresence(ctx context.Context, c BenchConfig) (row BenchRow, replaced []string, err error) {
	row = BenchRow{Mode: Presence, Watchers: c.Watchers}
	b, replaced, err := newBench(c, Presence)
	if err != nil {
		return row, replaced, err
	}
	defer b.close()
	f := b.fanout
	row.Idle = b.gateway.Usage().RSS
	began := time.Now()
	if err := f.ask(ctx, b.agent.conn); err != nil {
		return row, replaced, err
	}
	row.Opened = float64(c.Watchers) / time.Since(began).Seconds()
	fmt.Fprintf(c.Log, "%s: %d watches opened, %.0f a second\n", Presence, c.Watchers, row.Opened)
	var busy, spent time.Duration
	for end := time.Now().Add(c.Time); time.Now().Before(end); {
		select {
		case <-time.After(b.pause + 100*time.Millisecond):
		case <-ctx.Done():
			return row, replaced, ctx.Err()
		}
		before := b.gateway.Usage()
		took, err := f.tell(ctx, b.server, b.settle+b.pause)
		if err != nil {
			return row, replaced, err
		}
		after := b.gateway.Usage()
		_, told := f.count()
		row.Offered, row.Delivered = row.Offered+uint64(c.Watchers), row.Delivered+uint64(told)
		busy, spent, row.RSS = busy+took, spent+after.CPU-before.CPU, max(row.RSS, after.RSS)
		if b.gateway.Dead() {
			return row, replaced, errors.New("the gateway ended under load: see its log")
		}
	}
	f.mu.Lock()
	row.Twice, row.Latency = f.twice, f.in
	f.mu.Unlock()
	row.Whole = row.Delivered == row.Offered && row.Twice == 0
	if row.Delivered > 0 && busy > 0 {
		row.CPU, row.Rate, row.Cores = spent/time.Duration(row.Delivered), float64(row.Delivered)/busy.Seconds(), spent.Seconds()/busy.Seconds()
	}
	row.quantiles()
	fmt.Fprintf(c.Log, "%s: %d NOTIFYs of %d in %v, p50 %v, p99 %v\n", Presence, row.Delivered, row.Offered, busy, row.P50, row.P99)
	return row, replaced, nil
}

// pauseOf is the least time between two presence documents that a configuration has.
func pauseOf(text string) (time.Duration, error) {
	c, err := configs.Parse("", []byte(text))
	if err != nil {
		return 0, err
	}
	return c.Limits.SIP.NotifyInterval.Std(), nil
}
