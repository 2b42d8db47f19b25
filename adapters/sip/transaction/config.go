package transaction

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters/sip/websocket"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/admission"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Listener is a socket to open.
type Listener struct {
	Transport resolver.Transport // UDP, TCP, TLS, WS or WSS
	Address   string             // IP:port, IPv6 in brackets; port 0 lets the system choose
	// Origins are where the scripts of browsers may come from that open a WebSocket here, as "https://example.net" (RFC 6454 §6.2). A
	// client that names another origin is refused with HTTP 403; one that names none is no browser (RFC 6455 §10.2). For WS and WSS.
	Origins []string
}

// BoundListener is an open socket.
type BoundListener struct {
	Transport resolver.Transport
	Address   netip.AddrPort
}

// boundListener is a Listener that was checked.
type boundListener struct {
	BoundListener
	origins []string
}

// Bounds limits what a Layer keeps. A zero field means the default, which stands behind it.
type Bounds struct {
	// ServerTransactions that are kept at once, answered ones for 64*T1 on UDP among them. When full, a new request is answered with
	// 503 without state, and without Retry-After. Default 2500000; an answered one is about 150 octets, and its response where that says
	// more than a status.
	ServerTransactions int
	// ClientTransactions that wait for a response at once. When full, Do fails with ErrOverloaded. Default 65536.
	ClientTransactions int
	// Connections open at once, both ways. When full, an inbound one is closed at once, an outbound one is ErrOverloaded. Addresses that
	// Config.Admit does not admit may have an eighth of them, so that they cannot keep the others out. Default 4096.
	Connections int
	// ConnectionsPerAddress is how many of them one IP address may have opened to us. Default 64.
	ConnectionsPerAddress int
	// WriteQueueBytes may wait for one connection. When full, requests fail with ErrOverloaded and responses are dropped. Default 1 MiB.
	WriteQueueBytes int
	// IdleTimeout closes a connection over which nothing came or went. Default 3 minutes.
	IdleTimeout time.Duration
	// DialTimeout bounds the opening of a connection. Default 5 s.
	DialTimeout time.Duration
	// WriteTimeout closes a connection that takes no octets for so long. Default 10 s.
	WriteTimeout time.Duration
	// Datagram is the largest request that goes over UDP, in octets; larger ones go over TCP (RFC 3261 §18.1.1). Default 1300.
	Datagram int
	// Handshakes is how many TLS handshakes may be under way at once with those whom Config.Admit does not know by address. More wait for
	// their turn, and for no longer than HandshakeTimeout; one address may have an eighth, its next connection is closed. Default 256.
	Handshakes int
	// HandshakeTimeout bounds a TLS handshake, either side's, with the wait for its turn. Default 10 s.
	HandshakeTimeout time.Duration
	// UpgradeTimeout bounds the HTTP request and answer of a WebSocket. Default 5 s.
	UpgradeTimeout time.Duration
	// Answers is how many final answers to MESSAGE requests are remembered, so that a client which sends one again as a new transaction
	// gets the same answer and no second message comes of it. When full the oldest is forgotten. Default 524288; about 65 octets each.
	Answers int
	// AnswerLife is how long one is remembered. Default 10 minutes. Negative: not at all.
	AnswerLife time.Duration
	// LoadAt is the share of ServerTransactions, in percent, from which on clients are asked to send less (RFC 7339), and the others are
	// refused some of their requests with 503. Both rise from there to all at 100. Default 80.
	LoadAt int
}

func (b Bounds) orDefault() Bounds {
	n := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	d := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	n(&b.ServerTransactions, 2_500_000)
	n(&b.ClientTransactions, 1<<16)
	n(&b.Connections, 4096)
	n(&b.ConnectionsPerAddress, 64)
	n(&b.WriteQueueBytes, 1<<20)
	d(&b.IdleTimeout, 3*time.Minute)
	d(&b.DialTimeout, 5*time.Second)
	d(&b.WriteTimeout, 10*time.Second)
	n(&b.Datagram, 1300)
	n(&b.Handshakes, 256)
	d(&b.HandshakeTimeout, 10*time.Second)
	d(&b.UpgradeTimeout, 5*time.Second)
	n(&b.Answers, 1<<19)
	d(&b.AnswerLife, 10*time.Minute)
	n(&b.LoadAt, 80)
	return b
}

// Direction tells which way octets crossed a socket.
type Direction uint8

// The directions of a Tap.
const (
	Inbound Direction = iota + 1
	Outbound
)

// Tap sees each message that crosses a socket, from any goroutine. It must not keep the octets after it returns, and must not block.
type Tap func(dir Direction, octets []byte)

// Config is what a Layer is made from.
type Config struct {
	Listeners []Listener
	// SentBy is the host that goes into Via: a name or an address, IPv6 in brackets. "" means the address of the listener, which must
	// then be no wildcard.
	SentBy string
	Limits wire.Limits
	Bounds Bounds
	// T1 and T2 are the timers of RFC 3261 §17.1.1.1 and Table 4; 0 means 500 ms and 4 s. There is no T4: Timer K only absorbs
	// responses that come again, and those that belong to no transaction are dropped anyway.
	T1, T2     time.Duration
	Logger     zerolog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Tap        Tap                   // nil: none
	// Admit tells whether requests from a source are served at all: one that is not gets 403 once, without state (THREATS S12), and
	// before its request can be taken for a copy of another's. It is asked about each connection that is opened to us, too: before its
	// TLS handshake, and if it was refused then, once more with the domains that the handshake proved. nil admits all. It must not block.
	Admit func(Source) bool
	// Refused is told of each request whose source Admit refused. nil: nobody is. It must not block.
	Refused func(Source)
	// TLS makes TLS and WSS possible. nil: neither can be listened on, nor TLS be used to a target.
	TLS *TLS
	// KeepAlive is how often pings are sent on a connection that was opened here, because the far side is known to answer them (RFC 5626
	// §4.4: "A configuration option indicating keep-alive support for a specific target is considered an explicit indication"); 0 sends
	// them only where they were agreed upon by RFC 6223. nil is 0 for all. It must not block.
	KeepAlive func(Source) time.Duration
	// OfferOverload tells whether requests to a target carry the parameters of RFC 7339, of which one is a quoted-string in Via: there are
	// servers that send such a Via back damaged. nil: all do. It must not block.
	OfferOverload func(resolver.Target) bool
	// Load is how much of what comes in is too much, from 0 to 100 percent, by what only the application knows; the fuller of it and of
	// the layer's own tables counts. nil is 0. It must not block.
	Load func() int
	// Admission decides which new requests are taken when more come than can be done, and Flow whose share each counts for; without one of
	// the two all are taken.
	Admission *admission.Controller
	Flow      FlowOf
	// Waiting is how much of what was read waits for other things of the application than a processor. While that is more than Admission.Ahead
	// says, and a UDP socket is full of more, that socket is read slowly. nil is 0. It must not block.
	Waiting func() int
	// DialControl is net.Dialer.Control of every outgoing connection: it may refuse an address. nil allows all.
	DialControl func(network, address string, c syscall.RawConn) error
	// AllowAddr is asked before the first datagram of each request, since nothing is dialled then: an error is ErrTransport, and nothing
	// was sent. Responses go back to where their request came from, unasked. nil allows all. It must not block.
	AllowAddr func(netip.Addr) error
}

// Errors of Result.Err, Do, Respond, New and Start; test with errors.Is. Others may be wrapped beside them.
var (
	ErrTimeout    = errors.New("transaction: no final response in time")
	ErrTransport  = errors.New("transaction: transport failed")
	ErrTooLarge   = errors.New("transaction: request too large for UDP, and TCP failed")
	ErrOverloaded = errors.New("transaction: bound reached")
	ErrClosed     = errors.New("transaction: layer closed")
	ErrInvalid    = errors.New("transaction: message cannot be written")
	ErrAnswered   = errors.New("transaction: already answered or expired")
	ErrConfig     = errors.New("transaction: configuration")
)

// check completes the defaults and reports what cannot be.
func (c Config) check() (Config, []boundListener, error) {
	c.Bounds = c.Bounds.orDefault()
	if c.Limits == (wire.Limits{}) {
		c.Limits = wire.DefaultLimits()
	}
	if c.T1 == 0 {
		c.T1 = 500 * time.Millisecond
	}
	if c.T2 == 0 {
		c.T2 = 4 * time.Second
	}
	if c.T1 < time.Millisecond || c.T2 < c.T1 {
		return c, nil, fmt.Errorf("%w: T1 %s, T2 %s: T1 must be at least 1 ms and T2 at least T1", ErrConfig, c.T1, c.T2)
	}
	if b := c.Bounds; b.Handshakes < 1 || b.LoadAt < 1 || b.LoadAt > 99 || b.Answers < shards {
		return c, nil, fmt.Errorf("%w: Handshakes %d, LoadAt %d, Answers %d", ErrConfig, b.Handshakes, b.LoadAt, b.Answers)
	}
	var bound []boundListener
	for _, l := range c.Listeners {
		a, err := netip.ParseAddrPort(l.Address)
		if err != nil {
			return c, nil, fmt.Errorf("%w: listener %q: write IP:port", ErrConfig, l.Address)
		}
		switch l.Transport {
		case resolver.UDP, resolver.TCP, resolver.WS:
		case resolver.TLS, resolver.WSS:
			if c.TLS == nil || c.TLS.Server == nil {
				return c, nil, fmt.Errorf("%w: listener %s/%s: there is no certificate", ErrConfig, l.Transport, l.Address)
			}
		default:
			return c, nil, fmt.Errorf("%w: listener %s/%s: write udp, tcp, tls, ws or wss", ErrConfig, l.Transport, l.Address)
		}
		var origins []string
		for _, o := range l.Origins {
			origin, ok := websocket.ParseOrigin(o)
			if !ok || !isWebSocket(l.Transport) {
				return c, nil, fmt.Errorf("%w: listener %s/%s: origin %q: write as in https://example.net, for ws and wss alone", ErrConfig, l.Transport, l.Address, o)
			}
			origins = append(origins, origin)
		}
		if a.Addr().IsUnspecified() && c.SentBy == "" {
			return c, nil, fmt.Errorf("%w: listener %s/%s: a wildcard needs the host for Via", ErrConfig, l.Transport, l.Address)
		}
		bound = append(bound, boundListener{BoundListener{l.Transport, netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}, origins})
	}
	if c.SentBy != "" {
		if _, err := wire.ParseVia("SIP/2.0/UDP " + c.SentBy + ":5060"); err != nil {
			return c, nil, fmt.Errorf("%w: host for Via %q: write a name or an IP address", ErrConfig, c.SentBy)
		}
	}
	return c, bound, nil
}

// sentBy is host:port for Via.
func (c *Config) sentBy(local netip.AddrPort) string {
	if c.SentBy == "" {
		return local.String()
	}
	return c.SentBy + ":" + strconv.Itoa(int(local.Port()))
}
