package faults

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// sipSide is a user agent over UDP that sends messages as many users of sip.test and takes those for them. It retransmits as
// RFC 3261 §17.1.2.2 says, also while the gateway is dead.
type sipSide struct {
	conn *net.UDPConn
	// gateways are sent to in turn.
	gateways []*net.UDPAddr

	mu      sync.Mutex
	ledger  *ledger
	waiting map[string]chan int // by branch
	seen    map[string]string   // requests that were answered, and how
	next    int
	mute    bool          // it answers nothing
	stalled chan struct{} // not nil: it reads nothing until it is closed
}

// patience is how long it waits for an answer.
const patience = 14 * time.Second

func newSIPSide(host net.IP, gateway int) (*sipSide, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: host})
	if err != nil {
		return nil, err
	}
	u := &sipSide{
		conn: conn, gateways: []*net.UDPAddr{{IP: host, Port: gateway}}, ledger: newLedger(),
		waiting: map[string]chan int{}, seen: map[string]string{},
	}
	go u.read()
	return u, nil
}

func (u *sipSide) port() int { return u.conn.LocalAddr().(*net.UDPAddr).Port }

func (u *sipSide) close() { u.conn.Close() }

// begin gives it the ledger of a round.
func (u *sipSide) begin(l *ledger) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ledger, u.seen = l, map[string]string{}
}

// answers has it answer requests or not; those that it left without an answer come again.
func (u *sipSide) answers(yes bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mute = !yes
}

// stall makes it stop to read until the func is called.
func (u *sipSide) stall() func() {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := make(chan struct{})
	u.stalled = c
	return func() {
		u.mu.Lock()
		u.stalled = nil
		u.mu.Unlock()
		close(c)
	}
}

func (u *sipSide) current() *ledger {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ledger
}

// header returns a header's value.
func header(message, name string) string {
	head, _, _ := strings.Cut(message, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func branch(message string) string {
	_, b, _ := strings.Cut(header(message, "Via"), "branch=")
	b, _, _ = strings.Cut(b, ";")
	return b
}

func (u *sipSide) read() {
	b := make([]byte, 65535)
	for {
		n, from, err := u.conn.ReadFromUDP(b)
		if err != nil {
			return
		}
		text := string(b[:n])
		u.mu.Lock()
		stalled := u.stalled
		u.mu.Unlock()
		if stalled != nil {
			<-stalled
		}
		var code int
		if _, err := fmt.Sscanf(text, "SIP/2.0 %d", &code); err == nil {
			if code >= 200 {
				u.mu.Lock()
				if c := u.waiting[branch(text)]; c != nil {
					select {
					case c <- code:
					default: // answered already
					}
				}
				u.mu.Unlock()
			}
			continue
		}
		if method, _, _ := strings.Cut(text, " "); method == "MESSAGE" {
			u.serve(text, from)
		}
	}
}

// serve answers a request of the gateway, and the same one again in the same way.
func (u *sipSide) serve(text string, from *net.UDPAddr) {
	u.mu.Lock()
	answer, again := u.seen[branch(text)]
	if !again {
		var w strings.Builder
		w.WriteString("SIP/2.0 200 OK\r\n")
		for _, name := range [...]string{"Via", "From", "Call-ID", "CSeq"} {
			fmt.Fprintf(&w, "%s: %s\r\n", name, header(text, name))
		}
		fmt.Fprintf(&w, "To: %s;tag=faults\r\nContent-Length: 0\r\n\r\n", header(text, "To"))
		answer = w.String()
		u.seen[branch(text)] = answer
	}
	l, mute := u.ledger, u.mute
	u.mu.Unlock()
	if !again {
		_, body, _ := strings.Cut(text, "\r\n\r\n")
		if _, id, ok := strings.Cut(body, "<message-id>"); ok {
			id, _, _ = strings.Cut(id, "<")
			l.frame(id, "a notice to "+header(text, "To"))
			switch {
			case strings.Contains(body, "<failed"):
				l.fail(id)
			case strings.Contains(body, "<error"):
				l.doubt(id)
			}
		} else {
			l.frame(bodyText(body), "a MESSAGE to "+header(text, "To"))
			l.deliver(bodyText(body), header(text, "Call-ID"))
		}
	}
	if mute {
		return
	}
	_, _ = u.conn.WriteToUDP([]byte(answer), from) // lost: it comes again
}

// bodyText is the text of a body that may be wrapped in message/cpim.
func bodyText(body string) string {
	for strings.Contains(body, "\r\n\r\n") {
		_, body, _ = strings.Cut(body, "\r\n\r\n")
	}
	return strings.TrimSpace(body)
}

// say sends one message and waits for its answer; 0: none came.
func (u *sipSide) say(from, to, id string) int {
	l := u.current()
	u.mu.Lock()
	u.next++
	b, gateway := fmt.Sprintf("z9hG4bK%s%d", id, u.next), u.gateways[u.next%len(u.gateways)]
	c := make(chan int, 1)
	u.waiting[b] = c
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		delete(u.waiting, b)
		u.mu.Unlock()
	}()
	body := fmt.Sprintf("From: <sip:%s>\r\nTo: <sip:%s>\r\nDateTime: %s\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: %s\r\n"+
		"imdn.Disposition-Notification: negative-delivery\r\n\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n%s",
		from, to, time.Now().UTC().Format(time.RFC3339), id, id)
	request := fmt.Sprintf("MESSAGE sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s>;tag=f%s\r\nTo: <sip:%s>\r\nCall-ID: %s\r\nCSeq: 1 MESSAGE\r\nContent-Type: message/cpim\r\nContent-Length: %d\r\n\r\n%s",
		to, u.conn.LocalAddr(), b, from, id, to, id, len(body), body)
	l.offer(id, from+" to "+to, false)
	end := time.After(patience)
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 4*time.Second) {
		if _, err := u.conn.WriteToUDP([]byte(request), gateway); errors.Is(err, net.ErrClosed) { // else refused while the gateway is dead
			return 0
		}
		select {
		case code := <-c:
			l.answer(id, code)
			return code
		case <-end:
			return 0
		case <-time.After(pause):
		}
	}
}
