package load

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// Domains of the two sides.
const (
	SIPDomain  = "sip.test"
	XMPPDomain = "xmpp.test"
)

// Timers of the SIP side (RFC 3261 §17.1.2.2): requests go again after T1, 2*T1 and so on up to T2, until 64*T1 have passed.
const (
	timerT1 = 500 * time.Millisecond
	timerT2 = 4 * time.Second
	tick    = 2 * time.Millisecond
	// turn is how many ticks the wheel of retransmissions has; T2 is well inside.
	turn = 2560
	// arrears is the time of whose messages are sent later where they could not be in time. More at once would be a flood that nobody has asked for.
	arrears = 20 * time.Millisecond
)

// Agent is a SIP element over UDP that sends MESSAGE requests as many users, as fast as it is told to and whatever becomes of them: an open
// loop. Safe for use from several goroutines.
type Agent struct {
	name    string
	gateway net.Addr
	conn    *net.UDPConn
	batch   *ipv4.PacketConn
	local   netip.AddrPort
	// Users is how many senders it has, Recipients how many users of the other side they write to.
	Users, Recipients int
	// Domain and OtherDomain are those of its users and of the ones they write to.
	Domain, OtherDomain string
	// Body is how many octets a message's text has at least.
	Body int
	// Flushed is called after each batch of requests that served was told of; nil: nobody is.
	Flushed func()
	// Obeys has it offer and obey overload control (RFC 7339).
	Obeys bool

	began time.Time
	stop  chan struct{}
	tasks sync.WaitGroup

	mu     sync.Mutex
	rate   float64 // messages a second; 0: silence
	calls  []call  // a ring, by number
	next   uint32
	wheel  [turn][]uint32
	loss   int // what overload control asks for, in percent
	lossTo time.Time
	count  Counts
	from   time.Duration                       // answers to what was sent before are not counted
	served func(request []byte, from net.Addr) // takes requests of the gateway
}

// call is one MESSAGE.
type call struct {
	number uint32
	state  callState
	tries  uint8
	last   uint16        // the last retransmission's pause, in ticks
	sent   time.Duration // since began
	again  time.Duration // the last time that it was sent
}

type callState uint8

const (
	callNone callState = iota
	callPending
	callTaken     // 2xx
	callDelivered // before its answer
	callDone      // both
	callRefused
	callOver // 64*T1 have passed
)

// Counts is what an Agent has counted since it was asked last.
type Counts struct {
	Offered       uint64 // new messages sent
	Held          uint64 // not sent, because overload control asked for that
	Again         uint64 // retransmissions
	Taken         uint64 // answered 2xx
	Delivered     uint64 // arrived on the other side, each once
	Twice         uint64 // arrived once more
	Good          uint64 // taken and delivered
	Refused       uint64 // answered 503
	RetryAfter    uint64 // of those: with Retry-After
	OtherAnswers  uint64 // answered otherwise
	Unanswered    uint64 // given up
	Late          uint64 // delivered, and refused or given up
	AcceptedAfter Histogram
	RefusedAfter  Histogram // since it was sent last: one that was dropped is answered when it comes again
	DeliveredIn   Histogram
	Codes         map[int]uint64
}

// NewAgent opens a socket on an address of loopback.
func NewAgent(name, address string, gateway int) (*Agent, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(address)})
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(8 << 20) // the kernel may give less
	_ = conn.SetWriteBuffer(8 << 20)
	a := &Agent{
		name: name, gateway: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: gateway}, conn: conn, batch: ipv4.NewPacketConn(conn), local: conn.LocalAddr().(*net.UDPAddr).AddrPort(),
		Domain: SIPDomain, OtherDomain: XMPPDomain, Users: 1000, Recipients: 1000, began: time.Now(), stop: make(chan struct{}), calls: make([]call, 1<<16), next: rand.Uint32(),
	}
	a.count.Codes = map[int]uint64{}
	stampArrivals(conn)
	return a, nil
}

// Port is that of its socket.
func (a *Agent) Port() int { return int(a.local.Port()) }

// Run begins to send and to receive; served takes requests of the gateway, nil: they are not answered.
func (a *Agent) Run(served func(request []byte, from net.Addr)) {
	a.served = served
	a.tasks.Go(a.receive)
	a.tasks.Go(a.send)
}

// Close ends it.
func (a *Agent) Close() {
	close(a.stop)
	a.conn.Close() //nolint:errcheck // nothing waits in it
	a.tasks.Wait()
}

// Rate sets how many new messages it sends a second. room is how many of them may be remembered: those of 64*T1 at least, to know copies.
func (a *Agent) Rate(perSecond float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rate = perSecond
	if need := int(perSecond * 40); need > len(a.calls) {
		size := len(a.calls)
		for size < need {
			size *= 2
		}
		calls := make([]call, size)
		for _, c := range a.calls {
			if c.state != callNone {
				calls[int(c.number)&(size-1)] = c
			}
		}
		a.calls = calls
	}
}

// Take returns what was counted, and begins anew.
func (a *Agent) Take() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.count
	a.count = Counts{Codes: map[int]uint64{}}
	return c
}

// Anew begins anew, without what was sent before: answers to that are not counted.
func (a *Agent) Anew() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.from = time.Since(a.began)
	a.count = Counts{Codes: map[int]uint64{}}
}

// Pending is how many messages have no answer yet.
func (a *Agent) Pending() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.calls {
		if s := a.calls[i].state; s == callPending || s == callDelivered {
			n++
		}
	}
	return n
}

// Undelivered is how many messages were answered 2xx and have not arrived.
func (a *Agent) Undelivered() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.calls {
		if a.calls[i].state == callTaken {
			n++
		}
	}
	return n
}

// Open is how many messages since Take are neither refused nor both answered and delivered.
func (a *Agent) Open() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	ended := a.count.Good + a.count.Refused + a.count.OtherAnswers + a.count.Unanswered
	return a.count.Offered - min(ended, a.count.Offered)
}

func (a *Agent) call(number uint32) *call { return &a.calls[int(number)&(len(a.calls)-1)] }

// batchSize is how many datagrams go into one system call, and batchOctets bounds their octets.
const (
	batchSize   = 64
	batchOctets = 60 << 10
)

// send is the goroutine that paces: every millisecond it sends what is due by then.
func (a *Agent) send() {
	t := a.template()
	out := newOutput(a.conn, a.gateway.(*net.UDPAddr).AddrPort(), len(t.octets))
	add := func(number uint32) {
		out.octets = t.append(out.octets, number, a.Users, a.Recipients)
		if out.full() {
			out.flush()
		}
	}
	yielding()
	clock := time.NewTicker(time.Millisecond)
	defer clock.Stop()
	last, owed, at := time.Since(a.began), 0.0, int64(0)
	var due, some []uint32
	for {
		select {
		case <-a.stop:
			return
		case <-clock.C:
		}
		// New messages leave in time and copies between them, as they would from many clients: where it is too much for this one processor, it is the copies that
		// are late. Each batch is noted when it leaves.
		for {
			now := time.Since(a.began)
			a.mu.Lock()
			if owed = min(owed+a.rate*(now-last).Seconds(), max(1, a.rate*arrears.Seconds())); a.rate == 0 {
				owed = 0
			}
			last = now
			for to := int64(now / tick); at <= to; at++ {
				due = a.due(due, at, now)
			}
			a.mu.Unlock()
			if owed < 1 && len(due) == 0 {
				break
			}
			n := min(batchSize, int(owed))
			owed -= float64(n)
			some = a.fresh(some[:0], n)
			n = min(batchSize, len(due))
			some = a.again(some, due[:n])
			due = due[n:]
			for _, number := range some {
				add(number)
			}
			out.flush()
			select {
			case <-a.stop:
				return
			default:
			}
		}
		due = due[:0:0]
	}
}

// fresh appends the numbers of n new messages that are sent now, less those that overload control holds back.
func (a *Agent) fresh(list []uint32, n int) []uint32 {
	now := time.Since(a.began)
	a.mu.Lock()
	defer a.mu.Unlock()
	for range n {
		if a.loss > 0 && time.Now().Before(a.lossTo) && rand.IntN(100) < a.loss {
			a.count.Held++
			continue
		}
		number := a.next
		a.next++
		c := a.call(number)
		if c.state == callPending || c.state == callDelivered {
			a.count.Unanswered++
		}
		*c = call{number: number, state: callPending, sent: now, again: now, last: uint16(timerT1 / tick)}
		a.arm(c, now)
		a.count.Offered++
		list = append(list, number)
	}
	return list
}

// again appends those numbers that are still to be sent again, which they are now.
func (a *Agent) again(list, numbers []uint32) []uint32 {
	now := time.Since(a.began)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, number := range numbers {
		if c := a.call(number); c.number == number && (c.state == callPending || c.state == callDelivered) {
			c.again = now
			a.count.Again++
			list = append(list, number)
		}
	}
	return list
}

// arm has the wheel look at a call after its pause. The lock is held.
func (a *Agent) arm(c *call, now time.Duration) {
	slot := (int64(now/tick) + int64(c.last) + 1) % turn
	a.wheel[slot] = append(a.wheel[slot], c.number)
}

// due appends what is to be sent again at a tick. The lock is held.
func (a *Agent) due(list []uint32, at int64, now time.Duration) []uint32 {
	slot := &a.wheel[at%turn]
	for _, number := range *slot {
		c := a.call(number)
		if c.number != number || c.state != callPending && c.state != callDelivered {
			continue
		}
		if now-c.sent >= 64*timerT1 {
			c.state = callOver
			a.count.Unanswered++
			continue
		}
		c.last = min(2*c.last, uint16(timerT2/tick))
		c.tries++
		a.arm(c, now)
		list = append(list, number)
	}
	*slot = (*slot)[:0]
	return list
}

// template is a MESSAGE with zeros where its number stands, and where sender and recipient do.
type template struct {
	octets            []byte
	numbers, from, to []int // where they stand, 8 and 5 characters each
}

func (a *Agent) template() (t template) {
	const number, from, to = "NNNNNNNN", "FFFFF", "TTTTT"
	offer := ""
	if a.Obeys {
		offer = `;oc;oc-algo="loss"`
	}
	body := string(appendPadding([]byte(bodyPrefix+a.name+" "+number+"."), a.Body-len(bodyPrefix)-len(a.name)-len(number)-2))
	t.octets = fmt.Appendf(nil, "MESSAGE sip:x%s@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%s%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:s%s@%s>;tag=%s\r\nTo: <sip:x%s@%s>\r\nCall-ID: %s%s@%s\r\nCSeq: 1 MESSAGE\r\n"+
		"User-Agent: isthmus-load\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
		to, a.OtherDomain, a.local, a.name, number, offer, from, a.Domain, number, to, a.OtherDomain, number, a.name, a.Domain, len(body), body)
	for i := range t.octets {
		switch rest := t.octets[i:]; {
		case bytes.HasPrefix(rest, []byte(number)):
			t.numbers = append(t.numbers, i)
		case bytes.HasPrefix(rest, []byte(from)):
			t.from = append(t.from, i)
		case bytes.HasPrefix(rest, []byte(to)):
			t.to = append(t.to, i)
		}
	}
	return t
}

// append appends the MESSAGE of a number, the same each time.
func (t *template) append(b []byte, number uint32, users, recipients int) []byte {
	all := append(b, t.octets...)
	b = all[len(b):]
	for _, at := range t.numbers {
		for i := range 8 {
			b[at+i] = "0123456789abcdef"[number>>(28-4*i)&15]
		}
	}
	decimal := func(list []int, n int) {
		for _, at := range list {
			for i, n := 4, n; i >= 0; i, n = i-1, n/10 {
				b[at+i] = byte('0' + n%10)
			}
		}
	}
	decimal(t.from, int(number)%users)
	decimal(t.to, int(number/7)%recipients)
	return all
}

// bodyPrefix stands before the agent's name and the number in each body.
const bodyPrefix = "What light through yonder window breaks? "

// Delivered is told of messages that arrived on the other side.
func (a *Agent) Delivered(numbers []uint32) {
	now := time.Since(a.began)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, number := range numbers {
		a.delivered(number, now)
	}
}

func (a *Agent) delivered(number uint32, now time.Duration) {
	c := a.call(number)
	if c.number != number {
		return
	}
	switch c.state {
	case callPending:
		c.state = callDelivered
	case callTaken:
		c.state = callDone
		a.count.Good++
	case callRefused, callOver:
		a.count.Late++
		return
	default:
		a.count.Twice++
		return
	}
	a.count.Delivered++
	a.count.DeliveredIn.Add(now - c.sent)
}

// receive is the goroutine that reads.
func (a *Agent) receive() {
	messages := make([]ipv4.Message, batchSize)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 64<<10)}
		messages[i].OOB = make([]byte, stampRoom)
	}
	for {
		n, err := a.batch.ReadBatch(messages, 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		clock := time.Now()
		now := clock.Sub(a.began)
		a.mu.Lock()
		for i := range max(n, 0) {
			if b := messages[i].Buffers[0][:messages[i].N]; bytes.HasPrefix(b, statusLine) {
				a.answer(b, now-waited(messages[i].OOB[:messages[i].NN], clock))
			}
		}
		a.mu.Unlock()
		for i := range max(n, 0) {
			if b := messages[i].Buffers[0][:messages[i].N]; a.served != nil && !bytes.HasPrefix(b, statusLine) {
				a.served(b, messages[i].Addr)
			}
		}
		if a.Flushed != nil {
			a.Flushed()
		}
	}
}

var statusLine = []byte("SIP/2.0 ")

// answer takes a response. The lock is held.
func (a *Agent) answer(b []byte, now time.Duration) {
	if len(b) < 12 {
		return
	}
	code, err := strconv.Atoi(string(b[8:11]))
	if err != nil || code < 200 {
		return
	}
	_, rest, ok := bytes.Cut(b, []byte("branch=z9hG4bK"+a.name))
	if !ok || len(rest) < 8 {
		return
	}
	number, err := strconv.ParseUint(string(rest[:8]), 16, 32)
	if err != nil {
		return
	}
	if a.Obeys {
		a.obey(rest)
	}
	c := a.call(uint32(number))
	if c.number != uint32(number) || c.state != callPending && c.state != callDelivered {
		return // answered before
	}
	if c.sent < a.from {
		c.state = callOver // whatever it was: it is of another load
		return
	}
	a.count.Codes[code]++
	switch {
	case code < 300:
		a.count.Taken++
		a.count.AcceptedAfter.Add(now - c.sent)
		if c.state == callDelivered {
			c.state = callDone
			a.count.Good++
		} else {
			c.state = callTaken
		}
		return
	case code == 503:
		a.count.Refused++
		a.count.RefusedAfter.Add(now - c.again)
		if bytes.Contains(b, []byte("\r\nRetry-After:")) {
			a.count.RetryAfter++
		}
	default:
		a.count.OtherAnswers++
	}
	if c.state == callDelivered {
		a.count.Late++
	}
	c.state = callRefused
}

// obey reads what overload control asks for in the topmost Via. The lock is held.
func (a *Agent) obey(via []byte) {
	via, _, _ = bytes.Cut(via, []byte("\r\n"))
	_, rest, ok := bytes.Cut(via, []byte(";oc="))
	if !ok {
		return
	}
	value, _, _ := bytes.Cut(rest, []byte(";"))
	loss, err := strconv.Atoi(string(value))
	if err != nil {
		return
	}
	validity := 500
	if _, rest, ok := bytes.Cut(via, []byte(";oc-validity=")); ok {
		value, _, _ := bytes.Cut(rest, []byte(";"))
		validity, _ = strconv.Atoi(string(value))
	}
	a.loss, a.lossTo = loss, time.Now().Add(time.Duration(validity)*time.Millisecond)
}
