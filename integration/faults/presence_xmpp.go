package faults

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// presenceServer is the XMPP server of the couples' juliets: their rosters, as RFC 6121 has a server keep them, and their clients. What they
// say while its link to the gateway is down is lost, but for what only they can begin: their wishes, and that they came online, are said again
// when the link is back, as a server does that resumes a stream (XEP-0198).
type presenceServer struct {
	*xmppSide
	couples map[string]*couple // by juliet's bare address
	// hides has it tell the gateway's host nothing of who is online (RFC 6121 §4.3.2).
	hides bool
}

// resumeWindow is how far back, before the link was lost, what was said may not have been read.
const resumeWindow = 15 * time.Second

func newPresenceServer(host net.IP, couples []*couple, hides bool) (*presenceServer, error) {
	side, err := newXMPPSide(host)
	if err != nil {
		return nil, err
	}
	s := &presenceServer{xmppSide: side, couples: map[string]*couple{}, hides: hides}
	for _, c := range couples {
		s.couples[c.juliet] = c
	}
	side.mu.Lock()
	side.presence, side.back = s.take, s.resume
	side.mu.Unlock()
	return s, nil
}

// write writes to the gateway; false if it is not there.
func (s *presenceServer) write(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var conn net.Conn // the newest: one of a gateway that was killed may still be there
	for x := range s.conns {
		if conn == nil || s.number[x] > s.number[conn] {
			conn = x
		}
	}
	if conn == nil {
		return false
	}
	writing := s.conns[conn]
	writing.Lock()
	_, err := io.WriteString(conn, text)
	writing.Unlock()
	return err == nil
}

// say sends presence from juliet to romeo. c.mu is held.
func (s *presenceServer) say(c *couple, kind string) {
	c.spokeAt = time.Now()
	from, inner := c.juliet, ""
	switch kind {
	case "":
		from, inner = from+"/pc", "<status>"+c.status+"</status>"
	case "unavailable":
		from += "/pc"
	}
	attribute := ""
	if kind != "" {
		attribute = " type='" + kind + "'"
	}
	if s.write(fmt.Sprintf("<presence from='%s' to='%s'%s>%s</presence>", from, c.romeo, attribute, inner)) {
		c.note("juliet says %q %s", kind, inner)
	} else {
		c.note("juliet says %q %s, to nobody", kind, inner)
	}
}

// resume says again what a link that was lost may not have carried.
func (s *presenceServer) resume(lost time.Time) {
	for _, c := range s.couples {
		c.mu.Lock()
		switch {
		case lost.Sub(c.wishAt) > resumeWindow:
		case c.lastWish == "subscribe" && c.asks == asked, c.lastWish == "unsubscribe" && c.asks == unasked, c.lastWish == "probe" && c.asks == allowed && c.online:
			c.wishAt = time.Now()
			s.say(c, c.lastWish)
		}
		c.mu.Unlock()
	}
}

// restart has the server end with all its users, for so long; then they come back.
func (s *presenceServer) restart(wait func()) error {
	s.down(true)
	for _, c := range s.couples {
		c.mu.Lock()
		c.note("the XMPP server ends")
		clear(c.shown)
		c.mu.Unlock()
	}
	wait()
	for _, c := range s.couples {
		c.mu.Lock()
		if c.online {
			s.login(c)
		}
		c.mu.Unlock()
	}
	return s.up()
}

// login is juliet's client that comes online (RFC 6121 §4.2.2, §3.1.2). c.mu is held.
func (s *presenceServer) login(c *couple) {
	c.online, c.wishAt = true, time.Now()
	clear(c.shown)
	if c.decided == allowed {
		s.say(c, "")
	}
	switch c.asks {
	case allowed:
		c.lastWish = "probe"
	case asked:
		c.lastWish = "subscribe"
	default:
		return
	}
	s.say(c, c.lastWish)
}

func (s *presenceServer) wish(c *couple, r *rand.Rand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.online:
	case c.asks == unasked:
		c.asks, c.asksAt, c.wishAt, c.lastWish = asked, time.Now(), time.Now(), "subscribe"
		c.wishes++
		c.counts.Offered++
		s.say(c, "subscribe")
	case r.IntN(6) == 0:
		c.asks, c.asksAt, c.wishAt, c.lastWish = unasked, time.Now(), time.Now(), "unsubscribe"
		clear(c.shown)
		s.say(c, "unsubscribe")
	}
}

func (s *presenceServer) speak(c *couple, r *rand.Rand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = fmt.Sprintf("j%d", r.Uint32())
	switch {
	case !c.online:
		s.login(c)
		return
	case r.IntN(5) == 0:
		if c.decided == allowed {
			s.say(c, "unavailable")
		}
		c.note("juliet is offline")
		c.online = false
		clear(c.shown)
		return
	case c.decided == allowed:
		s.say(c, "")
	}
	c.counts.Offered++
}

func (s *presenceServer) decide(c *couple, r *rand.Rand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.online:
	case c.decided == asked && r.IntN(4) > 0:
		c.decided = allowed
		c.counts.Acknowledged++
		s.say(c, "subscribed")
		s.say(c, "")
	case c.decided == asked:
		c.decided = unasked // her roster has no item any more (RFC 6121 §3.2.1)
		c.counts.Acknowledged++
		s.say(c, "unsubscribed")
	case c.decided == allowed && r.IntN(8) == 0:
		c.decided = unasked
		s.say(c, "unavailable")
		s.say(c, "unsubscribed")
	}
}

// take is a presence stanza of the gateway.
func (s *presenceServer) take(x *stanza) {
	bare, _, _ := strings.Cut(x.To, "/")
	c := s.couples[bare]
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	from, resource, _ := strings.Cut(x.From, "/")
	if from != c.romeo { // the gateway's host asks whether she is there (RFC 8048 §8.1)
		switch {
		case x.Type != "probe" || s.hides:
		case c.online:
			s.write(fmt.Sprintf("<presence from='%s/pc' to='%s'/>", c.juliet, x.From))
		default:
			s.write(fmt.Sprintf("<presence type='unavailable' from='%s' to='%s'/>", c.juliet, x.From))
		}
		return
	}
	c.note("juliet's server hears %q %s", x.Type, x.Status)
	switch x.Type {
	case "subscribe":
		switch c.decided {
		case allowed:
			s.say(c, "subscribed") // RFC 6121 §3.1.3 rule 2
		case unasked:
			if c.abstains() {
				c.broke("P2: %s is shown a request of %s, who does not ask", c.juliet, c.romeo)
			}
			c.decided = asked
		}
	case "unsubscribe":
		if c.decided == allowed && c.online {
			s.say(c, "unavailable")
		}
		c.decided = unasked
	case "subscribed":
		if c.asks == asked {
			c.asks, c.asksAt = allowed, time.Now()
		}
	case "unsubscribed":
		if c.asks != unasked {
			c.asks, c.asksAt = unasked, time.Now()
			clear(c.shown)
		}
	case "probe":
		switch {
		case c.decided != allowed:
			s.say(c, "unsubscribed") // RFC 6121 §4.3.2 rule 1
			if c.decided == asked {
				c.broke("P2: the gateway probes %s, who has not decided", c.juliet)
			}
		case c.online:
			s.say(c, "")
		default:
			c.spokeAt = time.Now()
			s.write(fmt.Sprintf("<presence type='unavailable' from='%s' to='%s'/>", c.juliet, c.romeo))
		}
	case "":
		if c.online && c.asks == allowed {
			c.shown[resource] = x.Status
			c.counts.Delivered++
		}
	case "unavailable":
		if delete(c.shown, resource); resource == "" {
			clear(c.shown)
		}
	}
}
