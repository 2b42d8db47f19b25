package xmpptest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Bounds of the server.
const (
	maxSessions = 64               // connections at once, of each kind
	maxQueue    = 1024             // stanzas waiting for one connection; then it is closed
	maxRoster   = 256              // contacts of one user
	ioTimeout   = 30 * time.Second // to log in, and for one write
)

// Config says whom the server knows.
type Config struct {
	// Domain is the server's own XMPP domain.
	Domain string
	// Components maps each component's host to its secret.
	Components map[string]string
	// Users maps each localpart to its password.
	Users map[string]string
}

// Server is a running server. Its methods are for any goroutine.
type Server struct {
	cfg        Config
	self       jid.JID
	components net.Listener
	clients    net.Listener
	wg         sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	conns   map[*session]bool
	byHost  map[string]*session  // bound components
	byJID   map[jid.JID]*session // bound clients, by full JID
	rosters map[jid.JID]*roster  // by bare JID
}

// roster is what a user has agreed with others.
type roster struct {
	from map[jid.JID]bool // who may see the user
	to   map[jid.JID]bool // whom the user may see
}

// Start starts a server on two ports of 127.0.0.1, one for components and one for clients.
func Start(cfg Config) (*Server, error) { return StartAt(cfg, "127.0.0.1:0", "127.0.0.1:0") }

// StartAt is Start on given addresses, to come back where an earlier server was. Both must be on a loopback address.
func StartAt(cfg Config, componentAddr, clientAddr string) (*Server, error) {
	self, err := jid.New(jid.Parts{Domain: cfg.Domain})
	if err != nil {
		return nil, err
	}
	for _, a := range []string{componentAddr, clientAddr} {
		host, _, err := net.SplitHostPort(a)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			return nil, errors.New("xmpptest: only loopback addresses are listened on")
		}
	}
	s := &Server{
		cfg: cfg, self: self, conns: map[*session]bool{}, byHost: map[string]*session{}, byJID: map[jid.JID]*session{},
		rosters: map[jid.JID]*roster{},
	}
	for u := range cfg.Users {
		j, err := jid.New(jid.Parts{Local: u, Domain: cfg.Domain})
		if err != nil {
			return nil, err
		}
		s.rosters[j] = &roster{from: map[jid.JID]bool{}, to: map[jid.JID]bool{}}
	}
	if s.components, err = net.Listen("tcp", componentAddr); err != nil {
		return nil, err
	}
	if s.clients, err = net.Listen("tcp", clientAddr); err != nil {
		s.components.Close()
		return nil, err
	}
	s.wg.Go(func() { s.accept(s.components, (*session).serveComponent) })
	s.wg.Go(func() { s.accept(s.clients, (*session).serveClient) })
	return s, nil
}

// ComponentAddr returns HOST:PORT for components.
func (s *Server) ComponentAddr() string { return s.components.Addr().String() }

// ClientAddr returns HOST:PORT for clients.
func (s *Server) ClientAddr() string { return s.clients.Addr().String() }

// Authorize makes contact see user's presence, as if it had asked and been allowed.
func (s *Server) Authorize(user, contact jid.JID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rosters[user.Bare()]; r != nil && len(r.from) < maxRoster {
		r.from[contact.Bare()] = true
	}
}

// DropComponents closes the connections of all components, as a crash would: without a word.
func (s *Server) DropComponents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.byHost {
		c.conn.Close()
	}
}

// Close stops the server and waits for its goroutines.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.conn.Close()
	}
	s.mu.Unlock()
	s.components.Close()
	s.clients.Close()
	s.wg.Wait()
}

func (s *Server) accept(l net.Listener, serve func(*session)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		c := &session{srv: s, conn: conn, out: make(chan []byte, maxQueue), gone: make(chan struct{})}
		s.mu.Lock()
		if s.closed || len(s.conns) >= 2*maxSessions {
			s.mu.Unlock()
			conn.Close()
			continue
		}
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() { c.write() })
		s.wg.Go(func() {
			serve(c)
			s.leave(c)
		})
	}
}

// leave forgets a session, and tells those who may know that its user is gone.
func (s *Server) leave(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(c.gone)
	delete(s.conns, c)
	if c.host != "" && s.byHost[c.host] == c {
		delete(s.byHost, c.host)
	}
	if !c.jid.IsZero() && s.byJID[c.jid] == c {
		delete(s.byJID, c.jid)
		if c.presence != nil {
			s.broadcast(c, element("presence", "type", "unavailable"))
		}
	}
}

func randomID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// element makes an element in the namespace of its stream, with attributes given by name and value in turn.
func element(local string, attrs ...string) *strictxml.Element {
	e := &strictxml.Element{Name: strictxml.Name{Local: local}}
	for i := 0; i+1 < len(attrs); i += 2 {
		e.Attrs = append(e.Attrs, strictxml.Attr{Name: strictxml.Name{Local: attrs[i]}, Value: attrs[i+1]})
	}
	return e
}
