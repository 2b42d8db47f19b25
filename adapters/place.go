package adapters

import (
	"context"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// Shared is an Adapter with things that may exist once among gateways that act as one: a component's link, which a server gives to one process,
// or the stream between two domains, in which order is kept. Whoever owns such a place carries what goes through it.
type Shared interface {
	Adapter

	// Place names what operations from one address to another go through, for both of its directions; "" if any gateway may carry them. It
	// may be called at any time, also without Share, and depends on the configuration alone.
	Place(from, to cpim.Address) string

	// Share tells the adapter that there are several gateways. It is called before Start, if at all: then each place of Places is closed until it
	// is opened.
	Share()

	// Places returns the places that are opened and closed by name.
	Places() []string

	// Open opens one of Places. It returns at once.
	Open(place string)

	// Close closes one of Places. What waits there is finished as far as ctx allows; what did not leave is answered so that it may be
	// tried elsewhere. It returns when nothing of the place is used any more.
	Close(ctx context.Context, place string)
}
