// Package transaction is SIP listeners, connections and non-INVITE transactions (RFC 3261 §17.1.2, §17.2.2, §18; RFC 3581, RFC 4320).
package transaction

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Listener is a socket to open: UDP or TCP, and "IP:port" (port 0: any).
type Listener struct {
	Transport resolver.Transport
	Address   string
}

// BoundListener is an open socket.
type BoundListener struct {
	Transport resolver.Transport
	Address   netip.AddrPort
}

// Bounds limits memory. A zero field means the default.
type Bounds struct {
	ServerTransactions    int           // 262144; full: 503 without state and without Retry-After
	ClientTransactions    int           // 65536; full: ErrOverloaded
	Connections           int           // 4096; full: a new inbound connection is closed, a new outbound one is ErrOverloaded
	ConnectionsPerAddress int           // 64, inbound
	WriteQueueBytes       int           // 1 MiB per connection
	IdleTimeout           time.Duration // 3 min
	DialTimeout           time.Duration // 5 s
	WriteTimeout          time.Duration // 10 s
	Datagram              int           // 1300: larger requests go over TCP (RFC 3261 §18.1.1)
}

// Config is what a Layer is made from.
type Config struct {
	Listeners   []Listener
	SentBy      string // host for Via; "" means the listener's address (not allowed for 0.0.0.0 and [::])
	Limits      wire.Limits
	Bounds      Bounds
	T1, T2, T4  time.Duration // 0: 500 ms, 4 s, 5 s
	Logger      zerolog.Logger
	Registerer  prometheus.Registerer // nil: no metrics
	Tap         Tap                   // nil: none
	DialControl func(network, address string, c syscall.RawConn) error
}

// Direction tells which way octets crossed a socket.
type Direction uint8

// The directions of a Tap.
const (
	Inbound Direction = iota + 1
	Outbound
)

// Tap sees each message that crosses a socket, from any goroutine. It must not keep the octets and must not block.
type Tap func(dir Direction, octets []byte)

// Handler takes requests, in order of arrival per connection (per socket on UDP). It must not block.
type Handler interface {
	Request(req *wire.Message, src Source, tx *ServerTx)
}

// Source is where a request came from.
type Source struct {
	Transport     resolver.Transport
	Remote, Local netip.AddrPort
}

// Layer owns the sockets and the transactions.
type Layer struct{ cfg Config }

func New(cfg Config) (*Layer, error)                        { return &Layer{cfg}, nil }
func (l *Layer) Start(ctx context.Context, h Handler) error { return nil }
func (l *Layer) Wait() error                                { return nil }
func (l *Layer) Shutdown(ctx context.Context) error         { return nil }
func (l *Layer) Addrs() []BoundListener                     { return nil }

// RespondOptions is everything of a response but its code.
type RespondOptions struct {
	ToTag       string // "" makes a random one if To has none
	Headers     []wire.Header
	ContentType string
	Body        []byte
}

// ServerTx is a server transaction.
type ServerTx struct{ x int }

// Respond sends a response; reason "" means the default phrase. The first final one wins. Any goroutine.
func (tx *ServerTx) Respond(code int, reason string, opts RespondOptions) error { return nil }

// Errors of Result.Err and Respond; test with errors.Is.
var (
	ErrTimeout    = errors.New("transaction: no final response in time")
	ErrTransport  = errors.New("transaction: transport failed")
	ErrTooLarge   = errors.New("transaction: request too large for UDP and no TCP")
	ErrOverloaded = errors.New("transaction: bound reached")
	ErrClosed     = errors.New("transaction: layer closed")
	ErrInvalid    = errors.New("transaction: message cannot be written")
	ErrAnswered   = errors.New("transaction: already answered or expired")
)

// Result is the outcome of Do: Response is final (>= 200), or Err says why there is none.
type Result struct {
	Response *wire.Message
	Sent     bool // octets may have reached the peer: send no second copy
	Err      error
	Branch   string
	Target   resolver.Target // where it went in the end (TCP after the 1300-byte rule)
}

// Do sends req and waits for its final response, 64*T1 or the end of ctx.
func (l *Layer) Do(ctx context.Context, target resolver.Target, req *wire.Request) Result {
	return Result{}
}
