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
	conn    *net.UDPConn
	gateway *net.UDPAddr
	couples map[string]*couple // by romeo's address
	ended   chan struct{}

	mu      sync.Mutex
	waiting map[string]chan string // responses, by branch
	answers map[string]string      // to requests, by branch
	next    int
	life    int  // how often they have been restarted
	down    bool // they neither hear nor speak
}

// served is a dialog in which romeo is watched. The couple's mu guards it.
type served struct {
	callID, tag, remoteTag string
	target                 string // the gateway's Contact
	cseq, remote           int
	expires                time.Time
	dirty, sending, over   bool
	end                    string // why it ends with the next NOTIFY; "" if it does not
}

// watchOf is a dialog in which romeo watches juliet. The couple's mu guards it.
type watchOf struct {
	callID, tag, remoteTag string
	target                 string
	cseq, remote           int
	expires, refreshAt     time.Time
	made                   bool
}

// The durations of watches. Those of the gateway's are short, because a romeo who has started again is found out by a refresh alone.
const (
	servedFor  = 40 * time.Second
	watchedFor = 60 * time.Second
)

func newPresenceAgents(couples []*couple, gateway int) (*presenceAgents, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: presenceHost})
	if err != nil {
		return nil, err
	}
	u := &presenceAgents{
		conn: conn, gateway: &net.UDPAddr{IP: presenceHost, Port: gateway}, couples: map[string]*couple{}, ended: make(chan struct{}),
		waiting: map[string]chan string{}, answers: map[string]string{},
	}
	for _, c := range couples {
		u.couples[c.romeo] = c
		go u.live(c)
	}
	go u.read()
	return u, nil
}

// toward has them speak to a gateway at this port.
func (u *presenceAgents) toward(port int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gateway = &net.UDPAddr{IP: presenceHost, Port: port}
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
	fmt.Fprintf(&w, "To: %s\r\n%sContact: <sip:romeo@127.0.0.1:%d>\r\nContent-Length: 0\r\n\r\n", to, more, u.port())
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
	} else if expires > 0 {
		d = &served{callID: id, tag: fmt.Sprintf("r%d", rand.Uint64()), remoteTag: remote, target: part(uriPart, header(text, "Contact"))}
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
		c.mu.Unlock()
		answer := u.ask("NOTIFY", d.target, head+body, 32*time.Second)
		c.mu.Lock()
		code := codeOf(answer)
		c.note("the gateway answers %d", code)
		switch now, _ := u.state(); {
		case now != life:
			return
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

func (u *presenceAgents) wish(c *couple, r *rand.Rand) {
	if _, down := u.state(); down {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wants && r.IntN(6) > 0 {
		return
	}
	c.wants, c.wantsAt = !c.wants, time.Now()
	c.counts.Offered++
	c.note("romeo wants to see juliet: %v", c.wants)
}

// live keeps up romeo's watch of juliet, or ends it.
func (u *presenceAgents) live(c *couple) {
	for {
		select {
		case <-u.ended:
			return
		case <-time.After(25 * time.Millisecond):
		}
		life, down := u.state()
		if down {
			continue
		}
		c.mu.Lock()
		w, now := c.watch, time.Now()
		expires := time.Duration(-1)
		switch {
		case w == nil && c.wants:
			w = &watchOf{callID: fmt.Sprintf("c%d-%d", c.number, rand.Uint64()), tag: fmt.Sprintf("w%d", rand.Uint64()), target: "sip:" + c.juliet}
			c.watch, c.seen = w, ""
			expires = watchedFor
		case w == nil:
		case !c.wants:
			expires = 0
		case now.After(w.refreshAt):
			expires = watchedFor
		}
		if expires < 0 {
			c.mu.Unlock()
			continue
		}
		w.cseq++
		to := ""
		if w.remoteTag != "" {
			to = ";tag=" + w.remoteTag
		}
		head := fmt.Sprintf("From: <sip:%s>;tag=%s\r\nTo: <sip:%s>%s\r\nCall-ID: %s\r\nCSeq: %d SUBSCRIBE\r\nEvent: presence\r\nAccept: application/pidf+xml\r\nExpires: %d\r\nContent-Length: 0\r\n\r\n",
			c.romeo, w.tag, c.juliet, to, w.callID, w.cseq, int(expires/time.Second))
		c.note("romeo says SUBSCRIBE %d of %s, Expires %v", w.cseq, w.callID, expires)
		c.mu.Unlock()
		answer := u.ask("SUBSCRIBE", w.target, head, 32*time.Second)
		c.mu.Lock()
		code := codeOf(answer)
		c.note("the gateway answers %d", code)
		now = time.Now()
		again, _ := u.state()
		switch {
		case again != life || c.watch != w:
		case expires == 0 && (code == 0 || code < 500): // 200, and its NOTIFY may still come; or there is none
			c.watch, c.seen = nil, ""
			c.wantsAt = now
		case code == 200:
			if w.remoteTag == "" {
				w.remoteTag = part(tagPart, header(answer, "To"))
			}
			w.target = part(uriPart, header(answer, "Contact"))
			w.made, w.expires, w.refreshAt = true, now.Add(expires), now.Add(expires/2)
		case code == 403 || code == 404 || code == 489 || code == 603:
			c.watch, c.seen, c.wants, c.wantsAt = nil, "", false, now
		case !w.made || code == 481 || now.After(w.expires):
			c.watch, c.seen = nil, "" // another one, soon
		default:
			w.refreshAt = now.Add(time.Second)
		}
		c.mu.Unlock()
	}
}

// notified is a NOTIFY of the gateway's, of juliet; it returns the code of the response.
func (c *couple) notified(text string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, body, _ := strings.Cut(text, "\r\n\r\n")
	state := header(text, "Subscription-State")
	c.note("romeo hears NOTIFY %d of %s: %s %.40q", cseqOf(text), header(text, "Call-ID"), state, part(notePart, body))
	w, remote := c.watch, part(tagPart, header(text, "From"))
	if w == nil || w.callID != header(text, "Call-ID") || w.tag != part(tagPart, header(text, "To")) || w.remoteTag != "" && w.remoteTag != remote {
		return 481
	}
	if cseqOf(text) <= w.remote {
		c.broke("P4: NOTIFY %d came after %d", cseqOf(text), w.remote)
		return 500
	}
	if w.remoteTag == "" { // before the answer to the SUBSCRIBE (RFC 6665 §4.4.1)
		w.remoteTag, w.made = remote, true
		w.target = part(uriPart, header(text, "Contact"))
		w.expires, w.refreshAt = time.Now().Add(watchedFor), time.Now().Add(watchedFor/2)
	}
	w.remote = cseqOf(text)
	c.counts.Notified++
	switch {
	case strings.HasPrefix(state, "terminated"):
		c.watch, c.seen = nil, ""
		if strings.Contains(state, "rejected") || strings.Contains(state, "noresource") {
			c.wants, c.wantsAt = false, time.Now()
		}
	case strings.HasPrefix(state, "pending"):
		if c.seen = ""; body != "" {
			c.broke("P3: presence while %s has not decided", c.juliet)
		}
	case body != "":
		if c.seen = ""; strings.Contains(body, ">open<") {
			c.seen = part(notePart, body)
		}
	}
	return 200
}

// codeOf is the code of a response; 0 for none.
func codeOf(answer string) (code int) {
	if _, err := fmt.Sscanf(answer, "SIP/2.0 %d", &code); err != nil {
		return 0
	}
	return code
}

// ask sends a request, whose header fields from From on are given, and waits for the final response; "": none came.
func (u *presenceAgents) ask(method, target, rest string, patience time.Duration) string {
	u.mu.Lock()
	u.next++
	b := fmt.Sprintf("z9hG4bK%dx%d", u.next, rand.Uint64())
	c, life := make(chan string, 1), u.life
	u.waiting[b] = c
	gateway := u.gateway
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		delete(u.waiting, b)
		u.mu.Unlock()
	}()
	request := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=%s;rport\r\nMax-Forwards: 70\r\nContact: <sip:romeo@127.0.0.1:%d>\r\n%s", method, target, u.port(), b, u.port(), rest)
	end := time.After(patience)
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 4*time.Second) {
		if now, down := u.state(); down || now != life {
			return ""
		}
		_, _ = u.conn.WriteToUDP([]byte(request), gateway) // refused while the gateway is dead
		select {
		case answer := <-c:
			return answer
		case <-end:
			return ""
		case <-u.ended:
			return ""
		case <-time.After(pause):
		}
	}
}
