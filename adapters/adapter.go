// Package adapters is the boundary between the gateway's core and the protocols it joins: one vocabulary of
// operations, spoken in both directions (RFC 3860 §2: a client "should not have to be aware which it is addressing").
//
// It holds types only. The operations are those of the abstract services of RFC 3860 §3 (message) and RFC 3859 §3
// (subscribe, notify), widened to what RFC 7572 and RFC 8048 must carry and CPIM cannot: thread, identifier, subjects
// by language, delay, kind and disposition requests. See docs/architecture.md.
package adapters

import (
	"context"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// Adapter speaks one protocol to the outside and the vocabulary of this package to the gateway.
//
// The gateway calls Message, Watch, Notify and Report from many goroutines at once; each call waits for its outcome and
// returns exactly one. An implementation must not call the Handler from within these calls in a way that needs their
// return, must not keep an operation after it returned, and must not change an operation.
type Adapter interface {
	// Name is the adapter's name in configuration, logs and metrics: "sip", "xmpp". Constant.
	Name() string

	// Capabilities is constant data; it may be called before Start.
	Capabilities() Capabilities

	// Start opens listeners and links and returns when inbound operations can arrive. ctx bounds the start only.
	// Inbound operations go to h until Shutdown has returned. Start is called once.
	Start(ctx context.Context, h Handler) error

	// Wait returns when the adapter has stopped: nil after Shutdown, else the fault that stopped it.
	Wait() error

	// Shutdown refuses new operations, finishes what is under way within ctx, and releases everything. Idempotent.
	Shutdown(ctx context.Context) error

	// Message hands op to the first of hops that takes it and waits until the outcome is known or op.Deadline passed.
	// It goes on to the next hop only while the message cannot have been taken by the last ("No second copy").
	Message(ctx context.Context, hops []resolver.Target, op *MessageOp) Status

	// Watch asks, opens, closes, cancels or fetches on behalf of a watcher whose presentity lives behind this adapter.
	Watch(ctx context.Context, hops []resolver.Target, op *WatchOp) WatchStatus

	// Notify tells a watcher who lives behind this adapter. A newer one for the same watch replaces an unsent one.
	Notify(ctx context.Context, hops []resolver.Target, op *NotifyOp) Status

	// Report tells the sender of an earlier message, who lives behind this adapter, its late outcome.
	Report(ctx context.Context, hops []resolver.Target, r *Report) Status
}

// Handler is what the gateway is to an adapter. Every method takes or refuses at once and never waits for a network:
// an adapter calls it from the goroutine that reads a socket which carries everybody's traffic.
//
// The operation belongs to the gateway from the call on; its octets must not be changed or reused by the adapter.
type Handler interface {
	// Message offers a message. respond is called exactly once, from any goroutine, perhaps before Message returns.
	Message(ctx context.Context, op *MessageOp, respond func(Status))

	// Watch offers a watch operation. respond is called exactly once, from any goroutine, perhaps before Watch returns.
	Watch(ctx context.Context, op *WatchOp, respond func(WatchStatus))

	// Notify tells what a presentity, or its server, said.
	Notify(ctx context.Context, op *NotifyOp)

	// Report tells the late outcome of a message that this adapter was given by Adapter.Message.
	Report(ctx context.Context, r *Report)
}

// Crowd is what a Handler may be besides. Whoever reads what can wait where it is, a stream or a socket, may ask it before reading on.
type Crowd interface {
	// Crowded tells whether messages wait so close together that the next ones may be refused for want of room. It is cheap, and may be called
	// from any goroutine.
	Crowded() bool
	// Waiting is how many messages wait behind others of their pairs, apart from those for the side of the adapter that asks: what those wait for, it must
	// read. It is as cheap.
	Waiting() int
	// Overrun tells whether it is crowded because more comes than can be done, and not because of a few recipients. It is as cheap.
	Overrun() bool
}

// Audience is what a Handler may be besides. An adapter that keeps something of what users say of themselves, or says it once more by itself, asks it. Both
// are cheap, and may be called from any goroutine.
type Audience interface {
	// Watched tells whether there is a watch, or an authorization for one, of this watcher and presentity; in a cluster another gateway may have it.
	Watched(id WatchID) bool
	// Shared tells whether the watcher may be told of the presentity as things are now, whatever it was told before.
	Shared(id WatchID) bool
}

// Capabilities says what an adapter's protocol can carry. Constant data, so the gateway can decide before it calls.
type Capabilities struct {
	// Protocol finds the next hop of a domain (RFC 3861 §4): which SRV labels and fallbacks apply.
	Protocol resolver.Protocol
	// MaxContent is the largest message content in octets that can cross at all; larger ones are refused before they
	// are sent. 0 means no limit of the protocol's own.
	MaxContent int
	// CarriesHops tells whether the protocol carries a hop count (SIP Max-Forwards does; XMPP has none, RFC 7247 §8).
	CarriesHops bool
	// PositiveAnswer tells whether Message can ever return Success: SIP's 200 comes from the recipient's side, an XMPP
	// server never confirms delivery, only that it took the message.
	PositiveAnswer bool
	// OnePerRecipient tells that no second message may be under way to a recipient while one is (RFC 3428 §8).
	OnePerRecipient bool
	// AsksExplicitly tells whether a watcher asks for an authorization by a request of its own (XMPP "subscribe"), which
	// the presentity's user sees; otherwise opening a watch is also the asking (SIP SUBSCRIBE, RFC 8048 §5.1).
	AsksExplicitly bool
	// OneByOne tells that presence is told and shown device by device (an XMPP stanza for each resource), so that a watcher has to be
	// told which of them are gone; otherwise each document replaces the one before (PIDF).
	OneByOne bool
}

// Direction tells which way octets crossed an adapter's socket.
type Direction uint8

// The two directions of a Tap.
const (
	Inbound  Direction = iota + 1 // from the network
	Outbound                      // to the network
)

// String returns "in" or "out".
func (d Direction) String() string {
	switch d {
	case Inbound:
		return "in"
	case Outbound:
		return "out"
	default:
		return "none"
	}
}

// Tap sees the native text of each message, stanza or request that crosses an adapter's socket, for the demo and for
// tracing on an operator's explicit wish. It may be called from any goroutine, must not keep octets after it returns,
// and must not block. A nil Tap costs nothing.
type Tap func(adapter string, dir Direction, octets []byte)
