package load

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Server is an XMPP server that has the gateway as its component (XEP-0114) and all users of XMPPDomain: it takes every message and answers every
// ping. It reads what the gateway writes and no more than that of XML.
type Server struct {
	// Domain is that of the component; set before anything connects.
	Domain   string
	listener net.Listener
	agents   map[string]*Agent
	// Stalled makes it stop to read while true.
	stalled atomic.Bool
	// Received counts stanzas; Errors those of type error.
	Received, Errors atomic.Uint64
	// other takes what is no message with a number, in order; nil: nobody does. It must not keep the octets.
	other func(stanza []byte, reply func(string))

	mu   sync.Mutex
	conn net.Conn // the component's, once it is open
}

// NewServer listens on loopback.
func NewServer(other func(stanza []byte, reply func(string)), agents ...*Agent) (*Server, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	return newServerOn(l, SIPDomain, other, agents...), nil
}

// newServerOn is NewServer on a listener; domain is the component's.
func newServerOn(l net.Listener, domain string, other func(stanza []byte, reply func(string)), agents ...*Agent) *Server {
	s := &Server{Domain: domain, listener: l, agents: map[string]*Agent{}, other: other}
	for _, a := range agents {
		s.agents[a.name] = a
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

// Port is that of its listener.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Close ends it.
func (s *Server) Close() {
	s.listener.Close() //nolint:errcheck // nothing waits in it
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.Close() //nolint:errcheck // its reader notices
	}
}

// Write writes stanzas to the gateway; it waits while the gateway does not read.
func (s *Server) Write(stanzas []byte) error {
	s.mu.Lock()
	c := s.conn
	s.mu.Unlock()
	if c == nil {
		return net.ErrClosed
	}
	_, err := c.Write(stanzas)
	return err
}

// Stall makes it stop to read, or go on.
func (s *Server) Stall(yes bool) { s.stalled.Store(yes) }

func (s *Server) serve(c net.Conn) {
	defer c.Close() //nolint:errcheck // it is over
	r := &splitter{in: bufio.NewReaderSize(c, 256<<10)}
	if _, err := r.tag(); err != nil { // <?xml ?> or the stream's header
		return
	}
	for !bytes.Contains(r.last, []byte("stream:stream")) {
		if _, err := r.tag(); err != nil {
			return
		}
	}
	fmt.Fprintf(c, "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' from='%s' id='load'>", s.Domain) //nolint:errcheck // the next read fails
	if _, err := r.stanza(); err != nil {
		return
	}
	if _, err := io.WriteString(c, "<handshake/>"); err != nil {
		return
	}
	s.mu.Lock()
	s.conn = c
	s.mu.Unlock()
	var replies []byte
	reply := func(x string) { replies = append(replies, x...) }
	arrived := map[*Agent][]uint32{}
	for {
		for s.stalled.Load() {
			time.Sleep(5 * time.Millisecond)
		}
		stanza, err := r.stanza()
		if err != nil {
			return
		}
		s.Received.Add(1)
		if a, number, ok := s.number(stanza); ok {
			arrived[a] = append(arrived[a], number)
		} else {
			s.take(stanza, reply)
		}
		if r.in.Buffered() == 0 || len(arrived) > 64 || len(replies) > 32<<10 {
			for a, numbers := range arrived {
				if len(numbers) > 0 {
					a.Delivered(numbers)
					arrived[a] = numbers[:0]
				}
			}
		}
		if len(replies) > 0 && (r.in.Buffered() == 0 || len(replies) > 32<<10) {
			if _, err := c.Write(replies); err != nil {
				return
			}
			replies = replies[:0]
		}
	}
}

// take handles one stanza.
func (s *Server) take(stanza []byte, reply func(string)) {
	switch {
	case bytes.HasPrefix(stanza, []byte("<iq")):
		if t := attribute(stanza, "type"); t == "get" || t == "set" {
			reply(fmt.Sprintf("<iq type='result' id='%s' from='%s' to='%s'/>", attribute(stanza, "id"), attribute(stanza, "to"), attribute(stanza, "from")))
		}
		return
	case bytes.HasPrefix(stanza, []byte("<message")):
		if attribute(stanza, "type") == "error" {
			s.Errors.Add(1)
		}
	}
	if s.other != nil {
		s.other(stanza, reply)
	}
}

// number finds the agent and the number of a message.
func (s *Server) number(stanza []byte) (a *Agent, number uint32, ok bool) {
	if !bytes.HasPrefix(stanza, []byte("<message")) || bytes.Contains(stanza, []byte(" type='error'")) {
		return nil, 0, false
	}
	_, rest, found := bytes.Cut(stanza, []byte(bodyPrefix))
	if !found {
		return nil, 0, false
	}
	name, rest, _ := bytes.Cut(rest, []byte(" "))
	hex, _, _ := bytes.Cut(rest, []byte("."))
	n, err := strconv.ParseUint(string(hex), 16, 32)
	a = s.agents[string(name)]
	return a, uint32(n), err == nil && a != nil
}

// attribute is the value of an attribute of a stanza's first tag, as it is written.
func attribute(stanza []byte, name string) string {
	end := bytes.IndexByte(stanza, '>')
	head := stanza[:max(end, 0)]
	for {
		i := bytes.Index(head, []byte(name))
		if i < 1 || i+len(name)+2 >= len(head) {
			return ""
		}
		if c := head[i+len(name)]; c != '=' || head[i-1] != ' ' {
			head = head[i+len(name):]
			continue
		}
		quote := head[i+len(name)+1]
		value := head[i+len(name)+2:]
		if n := bytes.IndexByte(value, quote); n >= 0 {
			return string(value[:n])
		}
		return ""
	}
}

// splitter cuts a stream into stanzas by counting tags. It is for what the gateway writes, which has no comments, no CDATA sections and ">" only at
// the end of tags.
type splitter struct {
	in   *bufio.Reader
	last []byte
}

// tag reads up to the end of the next tag, with the text before it.
func (p *splitter) tag() ([]byte, error) {
	b, err := p.in.ReadSlice('>')
	p.last = append(p.last[:0], b...)
	return p.last, err
}

// stanza reads the next whole element; what it returns holds until the next call. Keep-alives between elements are left out.
func (p *splitter) stanza() ([]byte, error) {
	p.last = p.last[:0]
	depth := 0
	for {
		b, err := p.in.ReadSlice('>')
		if err != nil {
			return nil, err
		}
		if depth == 0 {
			b = bytes.TrimLeft(b, " \t\r\n")
		}
		p.last = append(p.last, b...)
		lt := bytes.LastIndexByte(b, '<')
		if lt < 0 {
			continue
		}
		switch tag := b[lt:]; {
		case tag[1] == '/':
			depth--
		case tag[len(tag)-2] == '/':
		default:
			depth++
		}
		if depth <= 0 {
			return p.last, nil
		}
	}
}
