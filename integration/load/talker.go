package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// talker has the users of the XMPP side write to those of the SIP side: an open loop of stanzas on the component's stream, and the answers to what
// arrives as MESSAGE. Make it with newTalker; heard is for Agent.Run, flush for Agent.Flushed.
type talker struct {
	server             *Server
	from, to           string // domains
	users, body        int
	scattered          bool // no two messages in a row are for one recipient; else several are
	began              time.Time
	stop               chan struct{}
	tasks              sync.WaitGroup
	answers            []ipv4.Message
	conn               *ipv4.PacketConn
	answered           int
	mu                 sync.Mutex
	rate               float64
	sent               []time.Duration // by number, a ring; negative: it has arrived
	branches           []uint32        // of what has arrived, a hash: the same one again was sent again
	next               uint32
	offered, delivered uint64
	twice              uint64
	in                 Histogram
}

// spoken is what a talker has counted.
type spoken struct {
	offered, delivered, twice uint64
	in                        Histogram
}

func newTalker(s *Server, from, to string, users, body int) *talker {
	t := &talker{
		server: s, from: from, to: to, users: users, body: body, began: time.Now(), stop: make(chan struct{}), answers: make([]ipv4.Message, batchSize),
		sent: make([]time.Duration, 1<<21), branches: make([]uint32, 1<<21), next: rand.Uint32(),
	}
	for i := range t.answers {
		t.answers[i].Buffers = [][]byte{make([]byte, 0, 1024)}
	}
	return t
}

// run begins to send; a is the agent at whose socket the gateway's requests arrive.
func (t *talker) run(a *Agent) {
	t.conn = a.batch
	t.tasks.Go(t.send)
}

func (t *talker) close() {
	close(t.stop)
	t.tasks.Wait()
}

func (t *talker) setRate(perSecond float64) {
	t.mu.Lock()
	t.rate = perSecond
	t.mu.Unlock()
}

// take returns what was counted, and begins anew.
func (t *talker) take() spoken {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := spoken{t.offered, t.delivered, t.twice, t.in}
	t.offered, t.delivered, t.twice, t.in = 0, 0, 0, Histogram{}
	return s
}

// missing is how many have not arrived.
func (t *talker) missing() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.offered - min(t.delivered, t.offered)
}

// send is the goroutine that paces.
func (t *talker) send() {
	clock := time.NewTicker(time.Millisecond)
	defer clock.Stop()
	last, owed := time.Since(t.began), 0.0
	var b []byte
	for {
		select {
		case <-t.stop:
			return
		case <-clock.C:
		}
		now := time.Since(t.began)
		b = b[:0]
		t.mu.Lock()
		owed = min(owed+t.rate*(now-last).Seconds(), t.rate/10) // what was missed for longer is not made up for
		for last = now; owed >= 1; owed-- {
			number := t.next
			t.next++
			t.sent[int(number)&(len(t.sent)-1)] = now
			t.offered++
			b = t.appendStanza(b, number)
		}
		t.mu.Unlock()
		if len(b) > 0 {
			_ = t.server.Write(b) // what is not taken is missing
		}
	}
}

// talkerName stands where an agent's name stands in a body.
const talkerName = "talker"

// appendStanza writes the stanza of a number.
func (t *talker) appendStanza(b []byte, number uint32) []byte {
	recipient := int(number/7) % t.users
	if t.scattered {
		recipient = int(number*2654435761>>8) % t.users // as good as at random (Knuth's multiplicative hash)
	}
	b = fmt.Appendf(b, "<message type='chat' id='%08x' from='x%d@%s/load' to='s%d@%s'><body>%s%s %08x.", number, int(number)%t.users, t.from, recipient, t.to, bodyPrefix, talkerName, number)
	return append(appendPadding(b, t.body-len(bodyPrefix)-len(talkerName)-10), "</body></message>"...)
}

// appendPadding appends n octets that are text.
func appendPadding(b []byte, n int) []byte {
	const line = " It is the east, and Juliet is the sun."
	for ; n > 0; n -= len(line) {
		b = append(b, line[:min(n, len(line))]...)
	}
	return b
}

// heard takes a request of the gateway, counts it and answers it.
func (t *talker) heard(request []byte, from net.Addr) {
	if bytes.HasPrefix(request, []byte("ACK ")) {
		return
	}
	t.arrived(request)
	t.answer(request, from)
}

// arrived counts a request of the gateway.
func (t *talker) arrived(request []byte) {
	now := time.Since(t.began)
	if i := bytes.LastIndex(request, []byte(bodyPrefix+talkerName+" ")); i >= 0 {
		rest := request[i+len(bodyPrefix)+len(talkerName)+1:]
		if number, ok := parseNumber(rest); ok {
			t.mu.Lock()
			slot, hash := int(number)&(len(t.sent)-1), branchHash(request)
			switch at := &t.sent[slot]; {
			case *at >= 0:
				t.delivered++
				t.in.Add(now - *at)
				*at, t.branches[slot] = -1, hash
			case t.branches[slot] != hash:
				t.twice++
			}
			t.mu.Unlock()
		}
	}
}

// answer has a request answered with the next flush.
func (t *talker) answer(request []byte, from net.Addr) {
	m := &t.answers[t.answered]
	m.Buffers[0], m.Addr = appendOK(m.Buffers[0][:0], request), from
	if t.answered++; t.answered == len(t.answers) {
		t.flush()
	}
}

// branchHash is a hash (FNV-1a) of the branch of a request.
func branchHash(request []byte) uint32 {
	_, branch, _ := bytes.Cut(request, []byte("branch="))
	hash := uint32(2166136261)
	for _, c := range branch {
		if c == ';' || c == ',' || c == '\r' {
			break
		}
		hash = (hash ^ uint32(c)) * 16777619
	}
	return hash
}

// parseNumber reads the eight hexadecimal digits that b begins with.
func parseNumber(b []byte) (n uint32, ok bool) {
	if len(b) < 8 {
		return 0, false
	}
	for _, c := range b[:8] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint32(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// appendOK writes a 200 to a request, from its own header fields, and those of more.
func appendOK(b, request []byte, more ...string) []byte {
	b = append(b, "SIP/2.0 200 OK\r\n"...)
	head, _, _ := bytes.Cut(request, []byte("\r\n\r\n"))
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "Via", "v", "From", "f", "Call-ID", "i", "CSeq":
			b = append(append(b, line...), "\r\n"...)
		case "To", "t":
			b = append(b, line...)
			if !bytes.Contains(line, []byte(";tag=")) {
				b = append(b, ";tag=load"...)
			}
			b = append(b, "\r\n"...)
		}
	}
	for _, line := range more {
		b = append(append(b, line...), "\r\n"...)
	}
	return append(b, "Content-Length: 0\r\n\r\n"...)
}

// flush sends the answers that are due.
func (t *talker) flush() {
	for at := 0; at < t.answered; {
		n, err := t.conn.WriteBatch(t.answers[at:t.answered], 0)
		if err != nil && n <= 0 {
			n = 1 // what the kernel refuses is lost, as on any network: the gateway asks again
		}
		at += n
	}
	t.answered = 0
}
