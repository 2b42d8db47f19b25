package load

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// phone is a SIP element over UDP that sends requests of any kind, again until they are answered (RFC 3261 §17.1.2.2), and answers those of the gateway.
// Safe for use from several goroutines.
type phone struct {
	gateway *net.UDPAddr
	conn    *net.UDPConn
	heard   func(request []byte) (more []string) // what the answer has besides
	stop    chan struct{}
	tasks   sync.WaitGroup

	mu    sync.Mutex
	next  uint32
	calls map[uint32]*request
}

// request is one that has no final answer yet.
type request struct {
	octets      []byte
	sent, again time.Time
	pause       time.Duration
	end         func(code int, answer []byte) // code 0: there was none
}

func newPhone(gateway int, heard func([]byte) []string) (*phone, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(8 << 20) // the kernel may give less
	p := &phone{gateway: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: gateway}, conn: conn, heard: heard, stop: make(chan struct{}), calls: map[uint32]*request{}}
	p.tasks.Go(p.receive)
	p.tasks.Go(p.repeat)
	return p, nil
}

func (p *phone) close() {
	close(p.stop)
	p.conn.Close() //nolint:errcheck // nothing waits in it
	p.tasks.Wait()
}

func (p *phone) local() string { return p.conn.LocalAddr().String() }

const phoneBranch = "z9hG4bKphone"

// send sends a request that write makes for its topmost Via; end is called once, from any goroutine.
func (p *phone) send(write func(via string) []byte, end func(code int, answer []byte)) {
	now := time.Now()
	p.mu.Lock()
	number := p.next
	p.next++
	r := &request{octets: write(fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=%s%08x;rport", p.local(), phoneBranch, number)), sent: now, again: now, pause: timerT1, end: end}
	p.calls[number] = r
	p.mu.Unlock()
	_, _ = p.conn.WriteToUDP(r.octets, p.gateway)
}

// pending is how many have no answer yet.
func (p *phone) pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// repeat is the goroutine that sends again.
func (p *phone) repeat() {
	clock := time.NewTicker(timerT1 / 5)
	defer clock.Stop()
	for {
		var now time.Time
		select {
		case <-p.stop:
			return
		case now = <-clock.C:
		}
		var over []*request
		p.mu.Lock()
		for number, r := range p.calls {
			switch {
			case now.Sub(r.sent) >= 64*timerT1:
				delete(p.calls, number)
				over = append(over, r)
			case now.Sub(r.again) >= r.pause:
				r.again, r.pause = now, min(2*r.pause, timerT2)
				_, _ = p.conn.WriteToUDP(r.octets, p.gateway)
			}
		}
		p.mu.Unlock()
		for _, r := range over {
			r.end(0, nil)
		}
	}
}

// receive is the goroutine that reads.
func (p *phone) receive() {
	b := make([]byte, 64<<10)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			select {
			case <-p.stop:
				return
			default:
				continue // an ICMP message of a gateway that is not there
			}
		}
		switch m := b[:n]; {
		case bytes.HasPrefix(m, statusLine):
			p.answered(m)
		case bytes.HasPrefix(m, []byte("ACK ")):
		default:
			_, _ = p.conn.WriteToUDPAddrPort(appendOK(nil, m, p.heard(m)...), from)
		}
	}
}

func (p *phone) answered(m []byte) {
	if len(m) < 12 {
		return
	}
	code, err := strconv.Atoi(string(m[8:11]))
	_, rest, ok := bytes.Cut(m, []byte("branch="+phoneBranch))
	number, known := parseNumber(rest)
	if err != nil || code < 200 || !ok || !known {
		return
	}
	p.mu.Lock()
	r := p.calls[number]
	delete(p.calls, number)
	p.mu.Unlock()
	if r != nil {
		r.end(code, m)
	}
}

// field is the value of the first header field of a name, as it is written in full.
func field(message []byte, name string) string {
	head, _, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	_, rest, ok := bytes.Cut(head, []byte("\r\n"+name+":"))
	if !ok {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return string(bytes.TrimSpace(value))
}

// target is the URI of a Contact.
func target(contact string) string {
	value := []byte(contact)
	if _, rest, ok := bytes.Cut(value, []byte("<")); ok {
		value, _, _ = bytes.Cut(rest, []byte(">"))
	} else {
		value, _, _ = bytes.Cut(value, []byte(";"))
	}
	return string(value)
}
