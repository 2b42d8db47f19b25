package stream

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Conn is an open stream. Next, Skip and Scope are for one goroutine, Write for another; Close, Fail, End and Established may be called
// by any.
type Conn struct {
	conn   net.Conn // the TLS connection, if there is one
	wire   *wire    // below it; nil for a component
	stream *strictxml.Stream
	scope  *strictxml.Scope
	lim    strictxml.Limits
	meter  *meter // nil if nothing is left to bound: the peer is authenticated
	pass   *Pass  // nil if no gate was passed
	first  []byte // what Next returns first
	once   sync.Once
	closed error

	mu      sync.Mutex // of the write deadline and the two flags
	closing bool       // the connection is being closed
	ended   bool       // our closing tag is written
}

// Scope returns the namespaces that the header declared, for the elements that Next returns.
func (s *Conn) Scope() *strictxml.Scope { return s.scope }

// Next returns the octets of the next element, valid until the next call. The error is io.EOF if the peer closed the stream, a
// *strictxml.SyntaxError, a *Fault (more octets than an unauthenticated peer may send), or the connection's. With an error the octets
// are nil, but of an element that is too large or too deep they are the beginning, and Skip can pass over the rest.
func (s *Conn) Next() ([]byte, error) {
	if raw := s.first; raw != nil {
		s.first = nil
		return raw, nil
	}
	return s.stream.Next()
}

// Skip passes over the rest of an element that is too large or too deep, at most max octets. Its errors are those of Next.
func (s *Conn) Skip(max int64) error { return s.stream.Skip(max) }

// SetReadDeadline bounds the wait of Next, for example to find an idle stream; after a deadline Next goes on where it was. The zero
// value is no deadline. Until Established has been called it must not be used on a stream of Accept: the time to authenticate is
// bounded by the same deadline.
func (s *Conn) SetReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }

// Established lifts what bounds an unauthenticated peer: the limits of its elements, of its octets and of its time, and its place at
// the gate. The caller of Open or Accept says so when dialback has proven the first pair of domains, before it tells the peer; after
// EXTERNAL it has been done. It may be called again.
func (s *Conn) Established() {
	if s.meter != nil && !s.meter.lifted.Swap(true) {
		s.conn.SetReadDeadline(time.Time{})
	}
	s.pass.Leave()
}

// Write writes octets, at most until the deadline, or closeWait after Close was called. n tells how many left.
func (s *Conn) Write(octets []byte, deadline time.Time) (n int, err error) {
	s.mu.Lock()
	if s.closing || s.ended {
		s.mu.Unlock()
		return 0, net.ErrClosed
	}
	err = s.conn.SetWriteDeadline(deadline)
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return s.conn.Write(octets)
}

// Times and octets of an end.
const (
	// closeWait bounds the writing of a last word to a peer that may not read.
	closeWait = time.Second
	// lingerWait and lingerOctets bound the reading of what a peer had sent before it heard why it was refused: a TCP connection that is
	// closed before that is reset, and the last word may be lost with it.
	lingerWait   = 250 * time.Millisecond
	lingerOctets = 64 << 10
)

const closingTag = "</stream:stream>"

// End closes our side of the stream in an orderly way (RFC 6120 §4.4): it writes the closing tag and lets the other side go on for at
// most wait. The goroutine that reads goes on with Next until io.EOF, or the deadline, and then calls Close. No Write is possible
// after it. What a Write that is under way has not written in closeWait is cut off.
func (s *Conn) End(wait time.Duration) error {
	s.mu.Lock()
	if s.closing || s.ended {
		s.mu.Unlock()
		return nil
	}
	s.ended = true
	now := time.Now()
	s.conn.SetWriteDeadline(now.Add(closeWait))
	s.mu.Unlock()
	_, err := s.conn.Write([]byte(closingTag))
	s.conn.SetReadDeadline(now.Add(wait))
	return err
}

// Close closes the stream, with a stream error if c is not 0 (RFC 6120 §4.4, §4.9.1.1), and the connection. A Write that is under way
// is cut short if the peer does not take it in closeWait. It may be called again.
func (s *Conn) Close(c Condition) error {
	if c == 0 {
		return s.shut(closingTag, false)
	}
	return s.Fail(&Fault{Condition: c})
}

// Fail is Close with a stream error that may have an application-specific condition (RFC 6120 §4.9.4).
func (s *Conn) Fail(f *Fault) error { return s.shut(string(AppendFault(nil, f)), false) }

// shut writes the last word and closes the connection. It lingers if the caller is the reader, so that the last word can arrive.
func (s *Conn) shut(last string, linger bool) error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closing = true
		if s.ended {
			last = "" // the stream is over, even for an error
		}
		end := time.Now().Add(closeWait)
		if s.wire != nil {
			s.wire.end.Store(end.UnixNano())
		}
		s.conn.SetWriteDeadline(end)
		s.mu.Unlock()
		if last != "" {
			_, err := io.WriteString(s.conn, last)
			if half, ok := s.conn.(interface{ CloseWrite() error }); ok && linger && err == nil && half.CloseWrite() == nil {
				s.conn.SetReadDeadline(time.Now().Add(lingerWait))
				io.Copy(io.Discard, io.LimitReader(s.conn, lingerOctets))
			}
		}
		s.closed = s.conn.Close()
		s.pass.Leave()
	})
	return s.closed
}

// drop closes the connection without a word.
func (s *Conn) drop() {
	s.once.Do(func() {
		s.mu.Lock()
		s.closing = true
		s.mu.Unlock()
		s.closed = s.conn.Close()
		s.pass.Leave()
	})
}
