package store

import (
	"context"
	"errors"
)

// Bus carries calls between the nodes of a cluster, and has nothing to do with the disk: what a node was told and what it answers is as
// durable as the node makes it. Safe for use from many goroutines.
type Bus interface {
	// Node is the name of this node. Names are of letters, digits, "-" and "_".
	Node() string
	// Call has a node answer. It may be this one. A call fails with
	//   - ErrNoNode, at once, if no node of that name serves: nobody has taken it;
	//   - ErrFull if it is larger than the largest entry, or there are too many calls under way: nobody has taken it;
	//   - ErrUnknown if there was no answer until ctx ended or the node went away: it may have been taken, or still be;
	//   - ErrUnavailable that is no ErrUnknown if this node cannot call now: nobody has taken it.
	Call(ctx context.Context, node string, octets []byte) ([]byte, error)
	// Serve has f answer the calls to this node, each in a goroutine of its own, from now on. Before Serve, and after Serve(nil), the node is
	// one that does not serve. ctx ends when the caller's has, as far as that is known, or the store is closed.
	Serve(f func(ctx context.Context, from string, octets []byte) []byte)
}

// ErrNoNode says that no node of that name serves now.
var ErrNoNode = errors.New("store: no such node")

// SingleNode is the name of a node without a cluster.
const SingleNode = "isthmus"
