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
)

// mix is a bed whose users do all that users do: they write to each other both ways, tell each other both ways how they are, and begin, refresh and end
// watches. Of all operations 70 percent are messages, 25 presence, 5 SUBSCRIBE (THREATS T-OV-01).
type mix struct {
	*bed
	talker  *talker
	phone   *phone
	fanout  *fanout // one XMPP user whom many SIP users watch
	pending *pendings
	stop    chan struct{}
	tasks   sync.WaitGroup

	mu      sync.Mutex
	rate    float64  // operations a second of presence and SUBSCRIBE
	pairs   []couple // SIP users, each watched by one XMPP user
	circles []circle // SIP users who begin and end watches
	at      [3]int   // whose turn it is of each kind
	told    tally    // of pairs
	asked   tally    // of circles
	fanned  uint64   // changes that watchers of fanout are to hear of
	shown   int      // pairs whose first presence has arrived
}

// The shares of a mix.
const (
	shareMessages  = 0.70
	sharePresence  = 0.25
	shareSubscribe = 0.05
)

// tally is what was counted of one kind of operation.
type tally struct {
	offered, done, refused, twice uint64
	in                            Histogram
}

func (t *tally) add(o *tally) {
	t.offered, t.done, t.refused, t.twice = t.offered+o.offered, t.done+o.done, t.refused+o.refused, t.twice+o.twice
	t.in.Merge(&o.in)
}

// couple is a SIP user and the XMPP user who watches.
type couple struct {
	callID, ours, theirs, target string // of the dialog that the gateway has opened
	sequence                     int
	said, shown                  uint32 // rounds
	sent                         time.Time
	busy                         bool // a NOTIFY has no answer
}

// circle is a SIP user who begins a watch, refreshes it and ends it, again and again.
type circle struct {
	generation, sequence int
	to, target           string // of the dialog; "": there is none
	busy                 bool
}

// circleLength is how many SUBSCRIBE requests one watch has: the first one, refreshes, and its end.
const circleLength = 5

// The names of those who take part, beside those of fanout: SIP users who are watched and the XMPP users who watch them, SIP users who watch, whom they
// watch, and who writes.
const (
	couplePrefix  = "p"
	circlePrefix  = "c"
	circleFor     = "moon"
	coupleWatcher = "y"
)

// newMix starts all of it. users is how many there are of each kind; of the MESSAGE requests that arrive one of every is answered after hold.
func newMix(c Config, users, every int, hold time.Duration) (m *mix, err error) {
	m = &mix{stop: make(chan struct{}), pairs: make([]couple, users), circles: make([]circle, users)}
	for i := range m.pairs {
		m.pairs[i].said = 1
	}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	fault := error(nil)
	ready := func(b *bed) {
		a := b.agents[0]
		a.Users, a.Recipients = users, users
		m.fanout = newFanout(users, b.gateway.SIP)
		m.fanout.between(SIPDomain, XMPPDomain)
		m.pending = newPendings(a.conn, every, hold)
		m.talker = newTalker(b.server, XMPPDomain, SIPDomain, users, 0)
		m.talker.scattered = true
		m.talker.run(a)
		a.Flushed = func() {
			m.pending.flush()
			m.talker.flush()
		}
		m.phone, fault = newPhone(b.gateway.SIP, m.request)
	}
	b, err := newBedFor(c, plan{ready: ready}, m.served, m.stanza)
	if err != nil {
		return m, err // it has closed what it had opened
	}
	if m.bed = b; fault != nil {
		return m, fault
	}
	m.tasks.Go(m.pace)
	return m, nil
}

func (m *mix) close() {
	close(m.stop)
	m.tasks.Wait()
	if m.talker != nil {
		m.talker.close()
	}
	if m.bed != nil {
		m.bed.close()
	}
	if m.phone != nil {
		m.phone.close()
	}
}

// served takes requests of the gateway that come to where messages are routed.
func (m *mix) served(_ *Agent, request []byte, from net.Addr) {
	switch {
	case bytes.HasPrefix(request, []byte("MESSAGE ")):
		m.talker.arrived(request)
		if m.pending.begin(request, from) {
			m.talker.answer(request, from)
		}
	case bytes.HasPrefix(request, []byte("SUBSCRIBE ")):
		if to, ok := from.(*net.UDPAddr); ok {
			_, _ = m.phone.conn.WriteToUDP(appendOK(nil, request, m.request(request)...), to)
		}
	default:
		m.talker.answer(request, from)
	}
}

// request takes a request of the gateway that is no message, and says what its answer has besides.
func (m *mix) request(r []byte) (more []string) {
	switch {
	case bytes.HasPrefix(r, []byte("NOTIFY ")):
		m.fanout.heard(r)
	case bytes.HasPrefix(r, []byte("SUBSCRIBE ")):
		line, _, _ := bytes.Cut(r[len("SUBSCRIBE sip:"):], []byte(" "))
		local, _, _ := bytes.Cut(line, []byte("@"))
		i, ok := index(local, couplePrefix, len(m.pairs))
		if !ok {
			return nil
		}
		m.mu.Lock()
		c := &m.pairs[i]
		c.callID, c.theirs, c.target = field(r, "Call-ID"), field(r, "From"), target(field(r, "Contact"))
		if c.ours = field(r, "To"); !bytes.Contains([]byte(c.ours), []byte(";tag=")) {
			c.ours += ";tag=load" // as appendOK has it
		}
		m.mu.Unlock()
		go m.notify(i) // behind the answer, if the network keeps them so; the gateway takes it in either order (RFC 6665 §4.1.2.4)
		return []string{"Expires: 3600", m.contact(local)}
	}
	return nil
}

func (m *mix) contact(local []byte) string {
	return fmt.Sprintf("Contact: <sip:%s@%s>", local, m.phone.local())
}

// index is the number behind a prefix.
func index(local []byte, prefix string, below int) (int, bool) {
	digits, ok := bytes.CutPrefix(local, []byte(prefix))
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(string(digits))
	return i, err == nil && i >= 0 && i < below
}

// notify tells the watcher of a couple what is true now.
func (m *mix) notify(i int) {
	m.mu.Lock()
	c := &m.pairs[i]
	if c.busy || c.callID == "" {
		m.mu.Unlock()
		return // what is under way is answered soon, and then there is a newer one
	}
	c.busy = true
	c.sequence++
	said, copied := c.said, *c
	m.mu.Unlock()
	local := fmt.Sprintf("%s%06d", couplePrefix, i)
	body := fmt.Sprintf("<?xml version='1.0' encoding='UTF-8'?><presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:%s@%s'><tuple id='load'><status><basic>open</basic></status>"+
		"<note>%s%08x</note></tuple></presence>", local, SIPDomain, roundPrefix, said)
	m.phone.send(func(via string) []byte {
		return fmt.Appendf(nil, "NOTIFY %s SIP/2.0\r\n%s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d NOTIFY\r\n%s\r\nEvent: presence\r\n"+
			"Subscription-State: active;expires=3600\r\nContent-Type: application/pidf+xml\r\nContent-Length: %d\r\n\r\n%s",
			copied.target, via, copied.ours, copied.theirs, copied.callID, copied.sequence, m.contact([]byte(local)), len(body), body)
	}, func(code int, _ []byte) {
		m.mu.Lock()
		c.busy = false
		again := c.said != said
		if code < 200 || code > 299 {
			m.told.refused++
		}
		m.mu.Unlock()
		if again {
			m.notify(i)
		}
	})
}

// subscribe has a circle go one step further.
func (m *mix) subscribe(i int) {
	m.mu.Lock()
	c := &m.circles[i]
	c.busy = true
	if c.to == "" {
		c.generation++
		c.sequence = 0
	}
	c.sequence++
	copied := *c
	m.mu.Unlock()
	who, expires := fmt.Sprintf("%s%06d", circlePrefix, i), 3600
	if copied.sequence == circleLength {
		expires = 0
	}
	to, uri := copied.to, copied.target
	if to == "" {
		to, uri = fmt.Sprintf("<sip:%s@%s>", circleFor, XMPPDomain), fmt.Sprintf("sip:%s@%s", circleFor, XMPPDomain)
	}
	sent := time.Now()
	m.phone.send(func(via string) []byte {
		return fmt.Appendf(nil, "SUBSCRIBE %s SIP/2.0\r\n%s\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=%s\r\nTo: %s\r\nCall-ID: circle-%s-%d@%s\r\nCSeq: %d SUBSCRIBE\r\n%s\r\n"+
			"Event: presence\r\nAccept: application/pidf+xml\r\nExpires: %d\r\nContent-Length: 0\r\n\r\n",
			uri, via, who, SIPDomain, who, to, who, copied.generation, SIPDomain, copied.sequence, m.contact([]byte(who)), expires)
	}, func(code int, answer []byte) {
		took := time.Since(sent)
		m.mu.Lock()
		defer m.mu.Unlock()
		c.busy = false
		if code < 200 || code > 299 {
			c.to = ""
			m.asked.refused++
			return
		}
		m.asked.done++
		m.asked.in.Add(took)
		switch {
		case expires == 0:
			c.to = ""
		case c.to == "":
			c.to, c.target = field(answer, "To"), target(field(answer, "Contact"))
		}
	})
}

// stanza takes what the gateway writes to the XMPP side, but for messages with numbers.
func (m *mix) stanza(stanza []byte, reply func(string)) {
	if !bytes.HasPrefix(stanza, []byte("<presence")) {
		return
	}
	local, _, _ := bytes.Cut([]byte(attribute(stanza, "from")), []byte("@"))
	kind := attribute(stanza, "type")
	if _, ok := index(local, circlePrefix, len(m.circles)); ok {
		answer := fmt.Sprintf("from='%s@%s%%s' to='%s@%s'", circleFor, XMPPDomain, local, SIPDomain)
		if kind == "subscribe" {
			reply("<presence type='subscribed' " + fmt.Sprintf(answer, "") + "/>")
		}
		if kind == "subscribe" || kind == "probe" {
			reply("<presence " + fmt.Sprintf(answer, "/load") + "/>")
		}
		return
	}
	i, ok := index(local, couplePrefix, len(m.pairs))
	at := bytes.LastIndex(stanza, []byte(roundPrefix))
	if !ok || at < 0 || kind != "" {
		m.fanout.stanza(stanza, reply)
		return
	}
	round, ok := parseNumber(stanza[at+len(roundPrefix):])
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &m.pairs[i]
	if !ok || round != c.said || c.shown == c.said {
		return // the gateway may say again what is true
	}
	if c.shown == 0 {
		m.shown++
	} else {
		m.told.done++
		m.told.in.Add(time.Since(c.sent))
	}
	c.shown = round
}

// open opens all watches that last.
func (m *mix) open(ctx context.Context) error {
	if err := m.fanout.ask(ctx, m.phone.conn); err != nil {
		return err
	}
	end := time.Now().Add(openWithin + time.Duration(len(m.pairs))*2*time.Millisecond)
	for asked := 0; time.Now().Before(end) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		m.mu.Lock()
		shown := m.shown
		m.mu.Unlock()
		if shown == len(m.pairs) {
			return nil
		}
		for ; asked < len(m.pairs) && asked < shown+askedAtOnce; asked++ {
			if err := m.server.Write(fmt.Appendf(nil, "<presence type='subscribe' from='%s%06d@%s' to='%s%06d@%s'/>", coupleWatcher, asked, XMPPDomain, couplePrefix, asked, SIPDomain)); err != nil {
				return err
			}
		}
	}
	return errors.Join(ctx.Err(), fmt.Errorf("of %d watches of SIP users %d were opened: see the gateway's log", len(m.pairs), m.shown))
}

// setRate sets how many operations there are a second.
func (m *mix) setRate(rate float64) {
	m.agents[0].Rate(rate * shareMessages / 2)
	m.talker.setRate(rate * shareMessages / 2)
	m.mu.Lock()
	m.rate = rate
	m.mu.Unlock()
}

// pace is the goroutine that has presence change and watches begin and end.
func (m *mix) pace() {
	clock := time.NewTicker(time.Millisecond)
	defer clock.Stop()
	last, presence, subscribe := time.Now(), 0.0, 0.0
	var b []byte
	for {
		select {
		case <-m.stop:
			return
		case <-clock.C:
		}
		m.mu.Lock()
		rate := m.rate
		m.mu.Unlock()
		now := time.Now()
		elapsed := now.Sub(last).Seconds()
		last = now
		// What was missed for longer than a tenth of a second is not made up for.
		presence = min(presence+rate*sharePresence*elapsed, rate*sharePresence/10)
		subscribe = min(subscribe+rate*shareSubscribe*elapsed, rate*shareSubscribe/10)
		b = b[:0]
		for ; presence >= 2; presence -= 2 {
			b = m.change(b, now)
		}
		if len(b) > 0 {
			_ = m.server.Write(b) // what is not taken is missing
		}
		for ; subscribe >= 1; subscribe-- {
			if i, ok := m.next(2, len(m.circles), func(i int) bool { return !m.circles[i].busy }); ok {
				m.mu.Lock()
				m.asked.offered++
				m.mu.Unlock()
				m.subscribe(i)
			}
		}
	}
}

// change has one XMPP user's and one SIP user's presence change: b is what is to be written.
func (m *mix) change(b []byte, now time.Time) []byte {
	for range len(m.fanout.watchers) {
		i := m.at[0]
		m.at[0] = (i + 1) % len(m.fanout.watchers)
		var ok bool
		if b, ok = m.fanout.tellOne(b, i); ok {
			m.mu.Lock()
			m.fanned++
			m.mu.Unlock()
			break
		}
	}
	i, ok := m.next(1, len(m.pairs), func(i int) bool { return !m.pairs[i].busy && m.pairs[i].shown == m.pairs[i].said })
	if ok {
		m.mu.Lock()
		m.pairs[i].said++
		m.pairs[i].sent = now
		m.told.offered++
		m.mu.Unlock()
		m.notify(i)
	}
	return b
}

// next is whose turn it is of those who are free.
func (m *mix) next(kind, of int, free func(int) bool) (int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range of {
		i := m.at[kind]
		m.at[kind] = (i + 1) % of
		if free(i) {
			return i, true
		}
	}
	return 0, false
}

// kinds are the rows of a mix.
var kinds = [...]string{"MESSAGE to XMPP", "message to SIP", "presence to SIP", "NOTIFY to XMPP", "SUBSCRIBE"}

// take returns what was counted of each kind since it was asked last.
func (m *mix) take() (rows [len(kinds)]tally) {
	s, x := m.agents[0].Take(), m.talker.take()
	rows[0] = tally{offered: s.Offered, done: s.Good, refused: s.Refused + s.OtherAnswers + s.Unanswered, twice: s.Twice, in: s.DeliveredIn}
	rows[1] = tally{offered: x.offered, done: x.delivered, refused: m.server.Errors.Swap(0), twice: x.twice, in: x.in}
	f := m.fanout
	f.mu.Lock()
	rows[2] = tally{done: f.in.Count(), twice: f.twice, in: f.in}
	f.in, f.twice = Histogram{}, 0
	f.mu.Unlock()
	m.mu.Lock()
	rows[2].offered, m.fanned = m.fanned, 0
	rows[3], m.told = m.told, tally{}
	rows[4], m.asked = m.asked, tally{}
	m.mu.Unlock()
	return rows
}
