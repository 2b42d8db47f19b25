package sip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/passport"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/admission"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Config is what New needs. It is copied; nothing in it may be changed afterwards.
type Config struct {
	// Listeners are the sockets to open: UDP, TCP, TLS, WS, WSS. At least one.
	Listeners []transaction.Listener
	// SentBy is the host that peers reach this adapter under: it stands in Via and Contact. Empty means the address of the
	// listener, which must then be neither 0.0.0.0 nor [::].
	SentBy string
	// Certificates make listeners of TLS and WSS possible, and TLS to targets. nil: neither.
	Certificates *certs.Store
	// Signers are those whose signatures prove whom a request is from (RFC 8224). Empty: none is looked at.
	Signers passport.KeySet
	// Load is how much of what comes in is too much for the application, from 0 to 100 percent: clients are asked to send that much less
	// (RFC 7339), or refused that much. nil: the tables of transactions alone count.
	Load func() int
	// Admission decides which new requests are taken when more come than can be done, an equal share for each peer. nil: all are.
	Admission *admission.Controller
	// Peers may send through this adapter; nobody else may. Empty: nobody.
	Peers []Peer
	// Published are the domains whose users publish their presence to this adapter; PUBLISH for any other is refused. Empty: none.
	Published []Published
	// PublishTo are the presence servers that the presence of users of the other network is published to. Empty: none.
	PublishTo []PublishTo
	// Limits bounds the adapter's own tables.
	Limits Limits
	// Wire and Transactions bound the layers below; see there for units and defaults.
	Wire         wire.Limits
	Transactions transaction.Bounds
	// Logger gets what the gateway cannot see: refused requests and faults.
	Logger zerolog.Logger
	// Registerer takes the adapter's metrics; nil means none are kept.
	Registerer prometheus.Registerer
	// Tap sees every message that crosses a socket; nil costs nothing.
	Tap adapters.Tap
	// DialControl may refuse addresses before an outgoing connection is opened; nil allows all.
	DialControl func(network, address string, c syscall.RawConn) error
	// AllowAddr may refuse addresses before the first datagram of a request is sent to one: nothing is dialled for UDP, so DialControl
	// does not see it. Whatever named the address is asked about: a DNS record, a Contact or Record-Route of the far side, a configured
	// next hop. nil allows all. It must not block.
	AllowAddr func(netip.Addr) error
	// Reached is told, after each attempt to send a request to a target, whether that could be reached: false for "a 503 error response
	// or a transport failure of some sort", and where it "times out without ever having received any response, provisional or final"
	// (RFC 3263 §4.3), true for any other response. It is not called where nothing was learnt: the attempt was cut short, or the fault
	// is our own. Called from many goroutines; it must not block. nil: nobody is told.
	Reached func(t resolver.Target, ok bool)
	// NextHops gives the next hops of an address as they are now, for requests that only time asks for: a refresh, a PUBLISH by name. It
	// may wait for DNS. nil: those that the core gave last.
	NextHops NextHops
	// T1 is the round-trip time estimate of RFC 3261 §17.1.1.1. Zero: 500 ms. Tests shorten it.
	T1 time.Duration
}

// NextHops finds the next hops of an address.
type NextHops func(ctx context.Context, to cpim.Address) ([]resolver.Target, error)

// Limits bounds the tables of watches and the durations that are granted. A zero field means its default; a negative one is
// refused by New.
type Limits struct {
	// Watches is how many dialogs are kept in each role. Default 100,000. The next SUBSCRIBE is answered 503, the next
	// Adapter.Watch fails as overloaded.
	Watches int
	// WatchesPerWatcher is how many dialogs one watcher may have as a subscriber to us. Default 200. The next is answered
	// 480.
	WatchesPerWatcher int
	// Refreshes is how many refreshes of our own watches may be under way at once. Default 64; more wait.
	Refreshes int
	// Resumes is how many dialogs and publications of an earlier process are refreshed, or ended, a second. Default 200.
	Resumes int
	// Publications is how many of SIP users are kept, and of how many users of the other network the presence is published.
	// PublicationsPerUser is how many of one SIP user are kept. Defaults 10,000 and 16. The next is answered 503 and 403.
	Publications, PublicationsPerUser int
	// MinExpires is the shortest watch or publication that is granted, but 0. Default 60 s, at most 1 h (RFC 6665 §4.2.1.1). A shorter
	// one is answered 423.
	MinExpires time.Duration
	// MaxExpires is the longest watch or publication that is granted or asked for. Default 24 h. A longer one is cut to it.
	MaxExpires time.Duration
	// NotifyInterval is the least time between two presence documents to one watcher. Default 5 s (RFC 3856 §6.10). What comes
	// sooner waits, and the newest goes.
	NotifyInterval time.Duration
	// Expires is the duration of a watch or publication that is asked for without one. Default 1 h (RFC 3856 §6.4).
	Expires time.Duration
}

func (l *Limits) setDefaults() error {
	var errs []error
	for _, n := range []struct {
		name  string
		value *int
		def   int
	}{
		{"Watches", &l.Watches, 100_000},
		{"WatchesPerWatcher", &l.WatchesPerWatcher, 200},
		{"Refreshes", &l.Refreshes, 64},
		{"Resumes", &l.Resumes, 200},
		{"Publications", &l.Publications, 10_000},
		{"PublicationsPerUser", &l.PublicationsPerUser, 16},
	} {
		if *n.value < 0 {
			errs = append(errs, fmt.Errorf("sip: limit %s is negative", n.name))
		}
		if *n.value == 0 {
			*n.value = n.def
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"MinExpires", &l.MinExpires, time.Minute},
		{"MaxExpires", &l.MaxExpires, 24 * time.Hour},
		{"Expires", &l.Expires, time.Hour},
		{"NotifyInterval", &l.NotifyInterval, 5 * time.Second},
	} {
		if *d.value < 0 {
			errs = append(errs, fmt.Errorf("sip: limit %s is negative", d.name))
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if l.MinExpires > time.Hour {
		errs = append(errs, errors.New("sip: limit MinExpires is over 1 h, which RFC 6665 §4.2.1.1 does not allow"))
	}
	if l.MaxExpires < l.MinExpires {
		errs = append(errs, errors.New("sip: limit MaxExpires is under MinExpires"))
	}
	return errors.Join(errs...)
}

// maxContent is the largest message content that can fit into a request at all, in octets.
func (c *Config) maxContent() int {
	if c.Wire.Body > 0 {
		return c.Wire.Body
	}
	return wire.DefaultLimits().Body
}

// hostFor is the host and port that a peer reaches this adapter under over transport t; false if there is no such listener.
func hostFor(sentBy string, bound []transaction.BoundListener, t resolver.Transport) (host string, port uint16, ok bool) {
	for _, b := range bound {
		if b.Transport != t {
			continue
		}
		host = sentBy
		if host == "" {
			host = bracketed(b.Address.Addr())
		}
		return host, b.Address.Port(), true
	}
	return "", 0, false
}

// bracketed is an address as a URI's host.
func bracketed(a netip.Addr) string {
	if a = a.Unmap(); a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}
