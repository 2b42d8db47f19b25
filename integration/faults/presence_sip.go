package faults

import (
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// presenceAgents is the user agents of the couples' romeos, over one UDP socket: each is a notifier (RFC 6665 §4.2) and a subscriber (RFC
// 6665 §4.1), and retransmits as RFC 3261 §17.1.2.2 says, also while the gateway is dead.
type presenceAgents struct {
	host    net.IP
	conn    *net.UDPConn
	couples map[string]*couple // by romeo's address
	ended   chan struct{}

	mu       sync.Mutex
	gateways []*net.UDPAddr
	refusing map[int]bool           // the ports of those whose machine says that nobody listens
	waiting  map[string]chan string // responses, by branch
	answers  map[string]string      // to requests, by branch
	next     int
	life     int  // how often they have been restarted
	down     bool // they neither hear nor speak
}

// served is a dialog in which romeo is watched. The couple's mu guards it.
type served struct {
	callID, tag, remoteTag string
	target                 target
	cseq, remote           int
	expires                time.Time
	dirty, sending, over   bool
	taken                  bool   // the gateway has acknowledged a NOTIFY: there is a dialog for it too (RFC 6665 §4.4.1)
	end                    string // why it ends with the next NOTIFY; "" if it does not
}

// target is the gateway's Contact in a dialog, and when it became that.
type target struct {
	uri   string
	since time.Time
}

// refresh follows a target refresh (RFC 6665 §3.1), and tells whether the target is another one now.
func (t *target) refresh(uri string) (moved bool) {
	if uri == "" || uri == t.uri {
		return false
	}
	moved = t.uri != ""
	t.uri, t.since = uri, time.Now()
	return moved
}

var portPart = regexp.MustCompile(`:(\d+)(?:;|$)`)

// port is that of the gateway; 0 for a URI that names none.
func (t *target) port() int {
	n, _ := strconv.Atoi(part(portPart, t.uri)) // 0: none
	return n
}

// The durations of watches. Those of the gateway's are short, because a romeo who has started again is found out by a refresh alone.
const (
	servedFor  = 40 * time.Second
	watchedFor = 60 * time.Second
)

func newPresenceAgents(host net.IP, couples []*couple) (*presenceAgents, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: host})
	if err != nil {
		return nil, err
	}
	u := &presenceAgents{
		host: host, conn: conn, couples: map[string]*couple{}, ended: make(chan struct{}), refusing: map[int]bool{},
		waiting: map[string]chan string{}, answers: map[string]string{},
	}
	for _, c := range couples {
		u.couples[c.romeo] = c
		go u.live(c)
	}
	go u.read()
	return u, nil
}

// toward has them speak to gateways at these ports, to any of them where a dialog does not say to which.
func (u *presenceAgents) toward(ports ...int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gateways = nil
	for _, port := range ports {
		u.gateways = append(u.gateways, &net.UDPAddr{IP: u.host, Port: port})
	}
}

// refuses tells whether nobody listens at a gateway's port, as its machine would say (ICMP): what is sent there fails at once (RFC 3261 §8.1.3.1).
func (u *presenceAgents) refuses(port int, yes bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refusing[port] = yes
}

// gatewayOf is where a request goes: where its dialog leads, or to one that listens.
func (u *presenceAgents) gatewayOf(port int) *net.UDPAddr {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.gateways) == 0 { // there are none yet
		return &net.UDPAddr{IP: u.host, Port: 9}
	}
	first := rand.IntN(len(u.gateways))
	for i := range u.gateways {
		g := u.gateways[(first+i)%len(u.gateways)]
		if g.Port == port || port == 0 && !u.refusing[g.Port] {
			return g
		}
	}
	return u.gateways[first]
}

func (u *presenceAgents) isRefused(port int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.refusing[port]
}

func (u *presenceAgents) port() int { return u.conn.LocalAddr().(*net.UDPAddr).Port }

func (u *presenceAgents) close() {
	close(u.ended)
	u.conn.Close()
}

// restart has all user agents end, for so long, and start again without any of their dialogs. What their users decided and want they know.
func (u *presenceAgents) restart(wait func()) {
	u.mu.Lock()
	u.down = true
	u.life++
	clear(u.answers)
	u.mu.Unlock()
	for _, c := range u.couples {
		c.mu.Lock()
		c.note("romeo's agent ends")
		clear(c.served)
		c.watch, c.seen = nil, ""
		c.mu.Unlock()
	}
	wait()
	u.mu.Lock()
	u.down = false
	u.mu.Unlock()
}

func (u *presenceAgents) state() (life int, down bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.life, u.down
}

func (u *presenceAgents) read() {
	b := make([]byte, 65535)
	for {
		n, from, err := u.conn.ReadFromUDP(b)
		if err != nil {
			return
		}
		text := string(b[:n])
		u.mu.Lock()
		down, c, answer := u.down, u.waiting[branch(text)], u.answers[branch(text)]
		u.mu.Unlock()
		switch {
		case down:
		case strings.HasPrefix(text, "SIP/2.0 1"):
		case strings.HasPrefix(text, "SIP/2.0 "):
			if c != nil {
				select {
				case c <- text:
				default: // answered already
				}
			}
		default:
			if answer == "" {
				answer = u.serve(text)
				u.mu.Lock()
				u.answers[branch(text)] = answer
				u.mu.Unlock()
			}
			_, _ = u.conn.WriteToUDP([]byte(answer), from) // lost: it comes again
		}
	}
}

var (
	userPart = regexp.MustCompile(`sip:([^@>]+@[^;>:\s]+)`)
	tagPart  = regexp.MustCompile(`;tag=([^;>\s]+)`)
	uriPart  = regexp.MustCompile(`<([^>]+)>`)
	notePart = regexp.MustCompile(`<(?:\w+:)?note[^>]*>([^<]*)<`)
)

// part is what a pattern finds in a header field.
func part(re *regexp.Regexp, value string) string {
	if m := re.FindStringSubmatch(value); m != nil {
		return m[1]
	}
	return ""
}

func cseqOf(text string) int {
	number, _, _ := strings.Cut(header(text, "CSeq"), " ")
	n, _ := strconv.Atoi(number) // 0: none
	return n
}

// serve is a new request of the gateway; it returns the response.
func (u *presenceAgents) serve(text string) string {
	code, tag, more := 481, "", ""
	method, _, _ := strings.Cut(text, " ")
	switch to := part(userPart, header(text, "To")); {
	case u.couples[to] == nil:
		code = 404
	case method == "SUBSCRIBE":
		code, tag, more = u.subscribed(u.couples[to], text)
	case method == "NOTIFY":
		code = u.couples[to].notified(text)
	default:
		code = 501
	}
	var w strings.Builder
	fmt.Fprintf(&w, "SIP/2.0 %d Answer\r\n", code)
	for _, name := range [...]string{"Via", "From", "Call-ID", "CSeq"} {
		fmt.Fprintf(&w, "%s: %s\r\n", name, header(text, name))
	}
	to := header(text, "To")
	if tag != "" && !strings.Contains(to, ";tag=") {
		to += ";tag=" + tag
	}
	fmt.Fprintf(&w, "To: %s\r\n%sContact: <sip:romeo@%s:%d>\r\nContent-Length: 0\r\n\r\n", to, more, u.host, u.port())
	return w.String()
}

// subscribed is a SUBSCRIBE of the gateway's, for juliet.
func (u *presenceAgents) subscribed(c *couple, text string) (code int, tag, more string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, remote := header(text, "Call-ID"), part(tagPart, header(text, "From"))
	expires, _ := strconv.Atoi(header(text, "Expires")) // the gateway always says it
	c.note("romeo hears SUBSCRIBE %d of %s, Expires %d", cseqOf(text), id, expires)
	d := c.served[id]
	if part(tagPart, header(text, "To")) != "" {
		switch {
		case d == nil || d.remoteTag != remote || d.over:
			return 481, "", ""
		case cseqOf(text) <= d.remote:
			c.broke("P4: SUBSCRIBE %d came after %d", cseqOf(text), d.remote)
		}
		if d.target.refresh(part(uriPart, header(text, "Contact"))) {
			c.note("%s has moved to %s", id, d.target.uri)
		}
	} else if expires > 0 {
		d = &served{callID: id, tag: fmt.Sprintf("r%d", rand.Uint64()), remoteTag: remote}
		d.target.refresh(part(uriPart, header(text, "Contact")))
		c.served[id] = d
		c.request()
	} else {
		return 481, "", ""
	}
	d.remote, d.dirty = cseqOf(text), true
	if expires == 0 {
		d.end = "timeout"
	}
	granted := min(servedFor, time.Duration(expires)*time.Second)
	d.expires = time.Now().Add(granted)
	if c.rule == refused {
		d.end = "rejected"
	}
	go u.notify(c, d)
	return 200, d.tag, fmt.Sprintf("Expires: %d\r\n", int(granted/time.Second))
}

// request is a watch of juliet's that begins. c.mu is held.
func (c *couple) request() {
	switch {
	case c.rule == unasked, c.rule == refused && c.wishes > c.ruleFor:
		c.rule, c.acknowledged = asked, false
		if c.asks == unasked && c.lastWish == "unsubscribe" && c.settled(c.asksAt) {
			c.broke("P2: %s is shown a request of %s, who does not ask", c.romeo, c.juliet)
		}
	case c.rule == refused && c.acknowledged && c.asks == unasked && c.settled(c.asksAt):
		c.broke("P2: %s is asked again after the refusal", c.romeo)
	}
}

// notify brings romeo's state to the watcher of a dialog, one NOTIFY at a time, the newest.
func (u *presenceAgents) notify(c *couple, d *served) {
	life, _ := u.state()
	c.mu.Lock()
	if d.sending {
		c.mu.Unlock()
		return
	}
	d.sending = true
	defer func() {
		d.sending = false
		c.mu.Unlock()
	}()
	for d.dirty && !d.over && c.served[d.callID] == d {
		d.dirty = false
		d.cseq++
		state, body := "", ""
		left := max(1, int(time.Until(d.expires)/time.Second))
		switch {
		case d.end != "":
			state = "terminated;reason=" + d.end
		case c.rule == allowed:
			state, body = fmt.Sprintf("active;expires=%d", left), c.document()
		default:
			state = fmt.Sprintf("pending;expires=%d", left)
		}
		end := d.end
		if body != "" {
			body = fmt.Sprintf("Content-Type: application/pidf+xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		} else {
			body = "Content-Length: 0\r\n\r\n"
		}
		c.note("romeo says NOTIFY %d of %s: %s %s", d.cseq, d.callID, state, part(notePart, body))
		head := fmt.Sprintf("From: <sip:%s>;tag=%s\r\nTo: <sip:%s>;tag=%s\r\nCall-ID: %s\r\nCSeq: %d NOTIFY\r\nEvent: presence\r\nSubscription-State: %s\r\n",
			c.romeo, d.tag, c.juliet, d.remoteTag, d.callID, d.cseq, state)
		to := d.target
		c.mu.Unlock()
		answer, sent := u.ask("NOTIFY", to.uri, to.port(), head+body, 32*time.Second)
		c.mu.Lock()
		code := codeOf(answer)
		c.note("the gateway answers %d", code)
		d.taken = d.taken || code == 200
		switch now, _ := u.state(); {
		case now != life:
			return
		case !sent: // nobody listens there, and it may be known soon where the dialog has gone to
			c.mu.Unlock()
			time.Sleep(200 * time.Millisecond)
			c.mu.Lock()
			d.dirty = true
		case end == "rejected" && code == 200:
			c.acknowledged = true
			fallthrough
		case end != "", code == 481, code == 0, code == 404, code == 403:
			d.over = true
			delete(c.served, d.callID)
		case code >= 300: // not taken: it is said again
			c.mu.Unlock()
			time.Sleep(500 * time.Millisecond)
			c.mu.Lock()
			d.dirty = true
		}
	}
}

// document is what romeo says. c.mu is held.
func (c *couple) document() string {
	status := "<basic>closed</basic></status>"
	if c.says != "" {
		status = "<basic>open</basic></status><note>" + c.says + "</note>"
	}
	return `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:` + c.romeo + `"><tuple id="ID-phone"><status>` +
		status + `</tuple></presence>`
}

// tell has all who watch romeo told of what changed. c.mu is held.
func (u *presenceAgents) tell(c *couple) {
	for _, d := range c.served {
		d.dirty = true
		go u.notify(c, d)
	}
}

func (u *presenceAgents) speak(c *couple, r *rand.Rand) {
	if _, down := u.state(); down {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.says = fmt.Sprintf("r%d", r.Uint32()); r.IntN(5) == 0 {
		c.says = ""
	}
	c.counts.Offered++
	u.tell(c)
}

func (u *presenceAgents) decide(c *couple, r *rand.Rand) {
	if _, down := u.state(); down {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.rule == asked && r.IntN(4) > 0:
		c.rule = allowed
		c.counts.Acknowledged++
	case c.rule == asked, c.rule == allowed && r.IntN(8) == 0:
		c.rule, c.ruleFor, c.acknowledged = refused, c.wishes, false
		c.counts.Acknowledged++
		for _, d := range c.served {
			d.end = "rejected"
		}
	default:
		return
	}
	c.note("romeo decides: %s", c.rule)
	u.tell(c)
}

// codeOf is the code of a response; 0 for none.
func codeOf(answer string) (code int) {
	if _, err := fmt.Sscanf(answer, "SIP/2.0 %d", &code); err != nil {
		return 0
	}
	return code
}

// ask sends a request, whose header fields from From on are given, and waits for the final response; "": none came. It goes to the gateway at
// this port, 0: to any; sent is false where nobody listens there.
func (u *presenceAgents) ask(method, uri string, port int, rest string, patience time.Duration) (answer string, sent bool) {
	gateway := u.gatewayOf(port)
	u.mu.Lock()
	u.next++
	b := fmt.Sprintf("z9hG4bK%dx%d", u.next, rand.Uint64())
	c, life := make(chan string, 1), u.life
	u.waiting[b] = c
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		delete(u.waiting, b)
		u.mu.Unlock()
	}()
	request := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s:%[4]d;branch=%[5]s;rport\r\nMax-Forwards: 70\r\nContact: <sip:romeo@%[3]s:%[4]d>\r\n%[6]s",
		method, uri, u.host, u.port(), b, rest)
	end := time.After(patience)
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 4*time.Second) {
		if now, down := u.state(); down || now != life {
			return "", true
		}
		if u.isRefused(gateway.Port) {
			return "", false
		}
		_, _ = u.conn.WriteToUDP([]byte(request), gateway) // refused while the gateway is dead
		select {
		case answer := <-c:
			return answer, true
		case <-end:
			return "", true
		case <-u.ended:
			return "", true
		case <-time.After(pause):
		}
	}
}
