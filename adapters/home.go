package adapters

import (
	"context"
	"errors"
)

// Homes tells an adapter which of several gateways a watch lives at: the core's state of a pair and what the adapter has for it (a SIP
// dialog) are at one of them, the owner of the pair, and go to the next together. Session does not count. Safe for use from many
// goroutines.
type Homes interface {
	// Here tells whether the pair is this gateway's, so that requests of its may be taken here.
	Here(of WatchID) bool

	// Mine tells whether what is under way for the pair may still be done here: also while the pair is handed on. It is asked before each
	// request that an adapter sends of its own accord.
	Mine(of WatchID) bool

	// Carry hands octets to the same adapter of the gateway that the pair is of, and calls done once, from any goroutine, with what its
	// Carried has returned; with ErrHome if this gateway has become the pair's own, and with another error if no gateway has
	// answered: then it is not known whether one has taken it. Those of one pair are handed over in their order. ctx bounds the wait.
	Carry(ctx context.Context, of WatchID, octets []byte, done func(answer []byte, err error))
}

// ErrHome tells that a pair is this gateway's own by now.
var ErrHome = errors.New("adapters: the pair is this gateway's own")

// Homed is an Adapter whose far side may bring what belongs to a watch to any of several gateways, and that hands it to the right one.
// The gateway calls none of this without a cluster. Of a Homed adapter it takes operations of its own pairs alone.
type Homed interface {
	Keeping

	// House gives the adapter its Homes: before Keep and Start.
	House(h Homes)

	// Carried serves what this adapter of another gateway has handed over by Carry, for a pair that is this gateway's. The answer is nil
	// when ctx has ended before there is one.
	Carried(ctx context.Context, octets []byte) []byte

	// Release drops what there is for the pairs that gone names, because they are another gateway's: nothing is sent, and what is kept of
	// them is left as it is.
	Release(gone func(of WatchID) bool)
}
