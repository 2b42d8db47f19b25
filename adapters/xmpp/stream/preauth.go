package stream

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Strangers bounds what a peer may take before it is authenticated (THREATS.md X4, X6). Zero and negative fields stand for the
// defaults.
type Strangers struct {
	// Octets is how many octets of XML are read from it in all, white space and every stream header included (default 16384). A peer
	// that sends more is told policy-violation.
	Octets int
	// TLSOctets is how many octets are read from the connection for one TLS handshake, its certificates included (default 32768).
	TLSOctets int
	// TLSTime is the time for a TLS handshake, the wait for a place at the gate included (default 10 s).
	TLSTime time.Duration
	// Time is the time from the call of Open or Accept until the peer is authenticated, whichever way (default 30 s). Together with
	// Octets it is also the least rate: who sends an octet in a second and no more does not get through.
	Time time.Duration
	// Tries is how many failed attempts to authenticate are answered, 2 to 5 (default 3; RFC 6120 §6.4.5). One more closes the stream.
	Tries int
}

// Bounds of Strangers.Tries: "at least 2 and no more than 5" (RFC 6120 §6.4.5).
const (
	minTries = 2
	maxTries = 5
)

// DefaultStrangers returns the limits that stand where a field is zero.
func DefaultStrangers() Strangers {
	return Strangers{Octets: preAuthBytes, TLSOctets: 32 << 10, TLSTime: 10 * time.Second, Time: 30 * time.Second, Tries: 3}
}

func (l Strangers) orDefault() Strangers {
	d := DefaultStrangers()
	if l.Octets > 0 {
		d.Octets = l.Octets
	}
	if l.TLSOctets > 0 {
		d.TLSOctets = l.TLSOctets
	}
	if l.TLSTime > 0 {
		d.TLSTime = l.TLSTime
	}
	if l.Time > 0 {
		d.Time = l.Time
	}
	if l.Tries > 0 {
		d.Tries = min(max(l.Tries, minTries), maxTries)
	}
	return d
}

// strict returns the limits of one element of an unauthenticated peer.
func (l Strangers) strict(lim strictxml.Limits) strictxml.Limits {
	if lim.Bytes <= 0 || lim.Bytes > l.Octets {
		lim.Bytes = l.Octets
	}
	return lim
}

// meter counts the octets of XML that an unauthenticated peer sends. It is the reader under Conn.stream, and for its goroutine alone;
// lifted may be set by any.
type meter struct {
	s       *Conn
	left    int  // octets that may still be read; negative: any number
	applied bool // lifted has been seen
	lifted  atomic.Bool
}

// Read reads from the connection. That it sets the stream's limits, when it has waited while the peer was authenticated, is because
// the stream looks at them after each read.
func (m *meter) Read(p []byte) (int, error) {
	if !m.applied && m.left >= 0 {
		if m.left == 0 && !m.lifted.Load() {
			return 0, ErrOctets
		}
		if m.left > 0 && len(p) > m.left {
			p = p[:m.left]
		}
	}
	n, err := m.s.conn.Read(p)
	switch {
	case m.applied:
	case m.lifted.Load():
		m.applied = true
		m.s.stream.SetLimits(m.s.lim)
	case m.left >= 0:
		m.left -= n
	}
	return n, err
}

// wire is the connection below TLS. It counts the octets of a TLS handshake, and closes the connection once, though crypto/tls closes it
// too when a handshake is cut off.
type wire struct {
	net.Conn
	left   int          // octets that may still be read; negative: any number
	turn   *turn        // of the handshake, nil if none is under way or nothing bounds it
	end    atomic.Int64 // when the connection's last words must be written, in nanoseconds of Unix time; 0: not yet
	once   sync.Once
	closed error
}

func (w *wire) Read(p []byte) (int, error) {
	if w.left < 0 {
		return w.Conn.Read(p)
	}
	if w.left == 0 {
		return 0, ErrOctets
	}
	w.turn.give() // who waits for the peer computes nothing
	n, err := w.Conn.Read(p[:min(len(p), w.left)])
	w.left -= n
	if late := w.turn.take(); late != nil && err == nil {
		err = late
	}
	return n, err
}

// SetWriteDeadline sets the deadline of writes, not later than the end of the last words: crypto/tls would give its own last word five
// seconds.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if end := w.end.Load(); end != 0 && (t.IsZero() || t.UnixNano() > end) {
		t = time.Unix(0, end)
	}
	return w.Conn.SetWriteDeadline(t)
}

func (w *wire) Close() error {
	w.once.Do(func() { w.closed = w.Conn.Close() })
	return w.closed
}

// CloseWrite ends our side of a TCP connection, if it is one.
func (w *wire) CloseWrite() error {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return io.ErrClosedPipe
}
