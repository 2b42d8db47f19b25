package integration_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// tellingUser is a SIP user over UDP that sends many messages at once and knows each one's answer. It retransmits as RFC 3261
// §17.1.2.2 says. (SIPp ends a call at the first answer it does not expect; here every answer is an outcome.)
type tellingUser struct {
	conn *net.UDPConn

	mu       sync.Mutex
	requests map[string]*pending // by branch
	next     int
}

type pending struct {
	request      []byte
	text, branch string
	answered     chan int
	code         int // the first final answer, 0 before it
	others       int // final answers with another code
}

func newTellingUser(t *testing.T, gateway int) *tellingUser {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: gateway})
	if err != nil {
		t.Fatal(err)
	}
	u := &tellingUser{conn: conn, requests: map[string]*pending{}}
	t.Cleanup(func() { conn.Close() })
	go u.read()
	go u.retransmit()
	return u
}

func (u *tellingUser) read() {
	b := make([]byte, 65535)
	for {
		n, err := u.conn.Read(b)
		if err != nil {
			return
		}
		answer := string(b[:n])
		var code int
		if _, err := fmt.Sscanf(answer, "SIP/2.0 %d", &code); err != nil || code < 200 {
			continue
		}
		u.mu.Lock()
		switch m := u.requests[branchOf(answer)]; {
		case m == nil:
		case m.code == 0:
			m.code = code
			m.answered <- code
		case m.code != code:
			m.others++
		}
		u.mu.Unlock()
	}
}

func (u *tellingUser) retransmit() {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for range tick.C {
		u.mu.Lock()
		for _, m := range u.requests {
			if m.code != 0 {
				continue
			}
			if _, err := u.conn.Write(m.request); err != nil {
				u.mu.Unlock()
				return
			}
		}
		u.mu.Unlock()
	}
}

// send sends a message from Romeo to Juliet.
func (u *tellingUser) send(t *testing.T, text string) *pending {
	t.Helper()
	return u.offer(t, "romeo", "juliet@example.com", text)
}

// offer sends a message from a user of example.net.
func (u *tellingUser) offer(t *testing.T, from, to, text string) *pending {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next++
	branch := fmt.Sprintf("z9hG4bK-telling-%d-%d", u.conn.LocalAddr().(*net.UDPAddr).Port, u.next)
	m := &pending{answered: make(chan int, 1), text: text, branch: branch}
	m.request = fmt.Appendf(nil, "MESSAGE sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s@example.net>;tag=t%d\r\nTo: <sip:%s>\r\nCall-ID: %s\r\nCSeq: 1 MESSAGE\r\n"+
		"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s", to, u.conn.LocalAddr(), branch, from, u.next, to, branch, len(text), text)
	u.requests[branch] = m
	if _, err := u.conn.Write(m.request); err != nil {
		t.Fatal(err)
	}
	return m
}

// wait returns the final answer's code.
func (m *pending) wait(t *testing.T, patience time.Duration) int {
	t.Helper()
	select {
	case code := <-m.answered:
		m.answered <- code // for whoever asks again
		return code
	case <-time.After(patience):
		t.Fatalf("%s: no final answer within %v", m.text, patience)
		return 0
	}
}

// ledger holds what was offered to the gateway from the SIP side, and says of each message whether what its sender was told is true.
type ledger struct {
	user    *tellingUser
	offered []*pending
}

// offer sends a message and waits until no more than the window of them have no answer.
func (l *ledger) offer(t *testing.T, window int, from, to, text string) {
	t.Helper()
	l.offered = append(l.offered, l.user.offer(t, from, to, text))
	if i := len(l.offered) - 1 - window; i >= 0 {
		l.offered[i].wait(t, patience)
	}
}

// settled waits until each message has its outcome, and returns how many got each code.
func (l *ledger) settled(t *testing.T) map[int]int {
	t.Helper()
	codes := map[int]int{}
	for _, m := range l.offered {
		codes[m.wait(t, patience)]++
	}
	return codes
}

// balance compares the outcomes with the copies that arrived, by text: none twice, none that was refused, each that was taken. What
// the gateway's log says of an outcome tells a refusal from one that nobody can know, when the stream died after the octets left. It
// returns how many copies there are of those, and the messages that a server said it has taken and that never arrived.
func (l *ledger) balance(t *testing.T, gateway *lab.Gateway, copies map[string]int) (unknown, arrived int, vanished []string) {
	t.Helper()
	reasons := map[string]string{}
	lab.Eventually(t, patience, "the log tells of each message", func() bool {
		for _, line := range gateway.Log(t) {
			if id, _ := line["trans_id"].(string); id != "" {
				reasons[id], _ = line["reason"].(string)
			}
		}
		return !slices.ContainsFunc(l.offered, func(m *pending) bool { _, told := reasons[m.branch]; return !told })
	})
	l.user.mu.Lock()
	defer l.user.mu.Unlock()
	for _, m := range l.offered {
		n := copies[m.text]
		if m.others > 0 {
			t.Errorf("%s: answered with %d and then with something else", m.text, m.code)
		}
		if n > 1 {
			t.Errorf("%s: answered %d, and %d copies arrived", m.text, m.code, n)
		}
		switch {
		case m.code/100 == 2:
			if n == 0 {
				vanished = append(vanished, m.text)
			}
		case reasons[m.branch] == "outcome-unknown":
			unknown++
			arrived += min(n, 1)
		case n > 0:
			t.Errorf("%s: answered %d (%s), and it arrived", m.text, m.code, reasons[m.branch])
		}
	}
	return unknown, arrived, vanished
}

// copies counts the messages that XMPP users have received, by text, errors aside.
func copies(users ...*lab.XMPPUser) map[string]int {
	n := map[string]int{}
	for _, u := range users {
		for _, s := range u.Received() {
			if s.Event == "message" && lab.Text(s.Type) != "error" {
				n[lab.Text(s.Body)]++
			}
		}
	}
	return n
}

// countingAgent is a SIP user over UDP that answers every request with 200 and counts the messages by text; a retransmission is not
// a copy.
type countingAgent struct {
	mu     sync.Mutex
	seen   map[string]bool // by branch
	copies map[string]int
}

func newCountingAgent(t *testing.T, port int) *countingAgent {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	a := &countingAgent{seen: map[string]bool{}, copies: map[string]int{}}
	go a.serve(conn)
	return a
}

func (a *countingAgent) serve(conn *net.UDPConn) {
	b := make([]byte, 65535)
	for {
		n, from, err := conn.ReadFromUDP(b)
		if err != nil {
			return
		}
		m := string(b[:n])
		if strings.HasPrefix(m, "SIP/2.0") {
			continue
		}
		a.mu.Lock()
		if branch := branchOf(m); !a.seen[branch] {
			a.seen[branch] = true
			a.copies[lab.BodyOf(m)]++
		}
		a.mu.Unlock()
		answer := fmt.Sprintf("SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=counting\r\nCall-ID: %s\r\nCSeq: %s\r\nContent-Length: 0\r\n\r\n",
			lab.HeaderOf(m, "Via"), lab.HeaderOf(m, "From"), lab.HeaderOf(m, "To"), lab.HeaderOf(m, "Call-ID"), lab.HeaderOf(m, "CSeq"))
		if _, err := conn.WriteToUDP([]byte(answer), from); err != nil {
			return
		}
	}
}

// of returns how many copies of a text have come.
func (a *countingAgent) of(text string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.copies[text]
}
