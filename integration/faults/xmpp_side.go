package faults

import (
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// xmppSide is a server that has the gateway as its component (XEP-0114) and all users of xmpp.test: it takes every message, answers pings,
// and sends back what is for a user whose name begins with "gone". It can be down, and it can stop to read.
type xmppSide struct {
	host net.IP
	port int

	mu       sync.Mutex
	ledger   *ledger
	listener net.Listener
	conns    map[net.Conn]*sync.Mutex // with the lock for writing
	number   map[net.Conn]int         // which of the streams it is
	stalled  chan struct{}            // not nil: closed when it reads again
	accepted int
	mute     bool // it answers no ping
	presence func(*stanza)
	back     func(lost time.Time) // called when the gateway is connected again, with when it was lost
	lostAt   time.Time
	lost     []net.Conn // half-open: it has forgotten them, and they are not closed
}

func newXMPPSide(host net.IP) (*xmppSide, error) {
	x := &xmppSide{host: host, ledger: newLedger(), conns: map[net.Conn]*sync.Mutex{}, number: map[net.Conn]int{}, lostAt: time.Now()}
	return x, x.up()
}

// begin gives it the ledger of a round.
func (x *xmppSide) begin(l *ledger) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ledger = l
}

// up makes it listen, again on the same port.
func (x *xmppSide) up() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.listener != nil {
		return nil
	}
	var l net.Listener
	var err error
	if x.port == 0 {
		l, err = listen(x.host)
	} else {
		l, err = net.Listen("tcp", fmt.Sprintf("%s:%d", x.host, x.port))
	}
	if err != nil {
		return err
	}
	x.listener, x.port = l, l.Addr().(*net.TCPAddr).Port
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go x.serve(c)
		}
	}()
	return nil
}

// down ends its connections, and with listen also takes no new ones.
func (x *xmppSide) down(listen bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if listen && x.listener != nil {
		x.listener.Close()
		x.listener = nil
	}
	for c := range x.conns {
		c.Close()
	}
	if listen {
		for _, c := range x.lost {
			c.Close()
		}
		x.lost = nil
	}
}

// stall makes it stop to read until the func is called.
func (x *xmppSide) stall() func() {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := make(chan struct{})
	x.stalled = c
	return func() {
		x.mu.Lock()
		x.stalled = nil
		x.mu.Unlock()
		close(c)
	}
}

// answers has it answer pings or not.
func (x *xmppSide) answers(yes bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mute = !yes
}

// vanish makes it forget its connections without a word, as a machine does that lost its power; it takes new ones.
func (x *xmppSide) vanish() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c := range x.conns {
		x.lost = append(x.lost, c)
		delete(x.conns, c)
	}
}

// connected tells whether the gateway is there.
func (x *xmppSide) connected() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.conns) > 0
}

// opened is how many streams there have been.
func (x *xmppSide) opened() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.accepted
}

type stanza struct {
	XMLName xml.Name
	From    string `xml:"from,attr"`
	To      string `xml:"to,attr"`
	Type    string `xml:"type,attr"`
	ID      string `xml:"id,attr"`
	Body    string `xml:"body"`
	Status  string `xml:"status"`
	Error   struct {
		Inner string `xml:",innerxml"`
	} `xml:"error"`
}

func (x *xmppSide) serve(c net.Conn) {
	defer c.Close()
	d := xml.NewDecoder(c)
	if _, err := start(d); err != nil { // the stream's header
		return
	}
	fmt.Fprint(c, "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' from='sip.test' id='faults'>")
	e, err := start(d)
	if err != nil || e.Name.Local != "handshake" || d.Skip() != nil {
		return
	}
	fmt.Fprint(c, "<handshake/>")
	writing := &sync.Mutex{}
	x.mu.Lock()
	x.conns[c] = writing
	x.accepted++
	x.number[c] = x.accepted
	back, lost := x.back, x.lostAt
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		delete(x.conns, c)
		delete(x.number, c)
		x.lostAt = time.Now()
		x.mu.Unlock()
	}()
	if back != nil {
		back(lost)
	}
	for {
		e, err := start(d)
		if err != nil {
			return
		}
		var s stanza
		if d.DecodeElement(&s, &e) != nil {
			return
		}
		x.mu.Lock()
		stalled, l, mute, presence := x.stalled, x.ledger, x.mute, x.presence
		_, mine := x.conns[c]
		x.mu.Unlock()
		if !mine { // half-open: what comes is read by nobody
			_, _ = io.Copy(io.Discard, c)
			return
		}
		if stalled != nil {
			<-stalled
		}
		answer := ""
		if s.XMLName.Local == "presence" && presence != nil {
			presence(&s)
		}
		if s.XMLName.Local == "message" {
			what := "a message stanza to " + s.To
			if s.Type == "error" {
				what = "an error stanza to " + s.To
			}
			l.frame(s.ID, what)
		}
		switch {
		case mute && s.XMLName.Local == "iq":
		case s.XMLName.Local == "iq" && (s.Type == "get" || s.Type == "set"):
			answer = fmt.Sprintf("<iq type='result' id='%s' from='%s' to='%s'/>", escape(s.ID), escape(s.To), escape(s.From))
		case s.XMLName.Local == "message" && s.Type == "error":
			if strings.Contains(s.Error.Inner, "outcome-unknown") { // the gateway's own condition beside undefined-condition
				l.doubt(s.ID)
			} else {
				l.fail(s.ID)
			}
			// A server that answers errors, which none should (RFC 6120 §8.3.1): nothing may come of it (I7).
			answer = fmt.Sprintf("<message type='error' id='%s' from='%s' to='%s'><error type='cancel'>"+
				"<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>", escape(s.ID), escape(s.To), escape(s.From))
		case s.XMLName.Local == "message" && s.Body == "": // a receipt or the like
		case s.XMLName.Local == "message" && strings.HasPrefix(s.To, "gone"):
			answer = fmt.Sprintf("<message type='error' id='%s' from='%s' to='%s'><error type='cancel'>"+
				"<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>", escape(s.ID), escape(s.To), escape(s.From))
		case s.XMLName.Local == "message":
			l.deliver(s.Body, s.ID)
		}
		if answer != "" {
			writing.Lock()
			_, err = io.WriteString(c, answer)
			writing.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// start reads up to the next element.
func start(d *xml.Decoder) (xml.StartElement, error) {
	for {
		t, err := d.Token()
		if err != nil {
			return xml.StartElement{}, err
		}
		if e, ok := t.(xml.StartElement); ok {
			return e, nil
		}
	}
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}

// say sends one message, if the gateway is connected.
func (x *xmppSide) say(from, to, id string) {
	x.mu.Lock()
	l := x.ledger
	var conn net.Conn
	var writing *sync.Mutex
	stream := 0
	for c, w := range x.conns {
		conn, writing, stream = c, w, x.number[c]
	}
	x.mu.Unlock()
	if conn == nil {
		return
	}
	// What is in order is what comes over one stream (RFC 6120 §10.1): a gateway that was stopped reads what had come to it when it goes on, long after
	// another one has taken its place.
	l.offer(id, fmt.Sprintf("%s to %s over stream %d", from, to, stream), true)
	writing.Lock()
	defer writing.Unlock()
	fmt.Fprintf(conn, "<message type='chat' id='%s' from='%s/pc' to='%s'><body>%s</body></message>", id, from, to, id) //nolint:errcheck // a connection that is gone takes nothing
}
