package adapters

// Way is the two domains that a link of an adapter joins. Comparable; both are A-labels, as cpim.Address has them.
type Way struct {
	// Ours is the domain of the users on this side of the gateway, Theirs that of the users behind the adapter.
	Ours, Theirs string
}

// Outages is a Handler that wants to hear when a way breaks, so that presence which may have changed meanwhile is not taken for true: what
// was said while a way was broken is lost, and only asking again mends that (a "presence probe" of RFC 6121 §4.3). Both methods return
// at once.
//
// An adapter calls them only where nobody else would notice: a stream that the other side closed in good order, because nothing was to
// be said, is no loss. Back may come without Lost, after the first attempts at the start failed; Lost may come twice.
type Outages interface {
	// Lost tells that a way broke.
	Lost(Way)
	// Back tells that it carries again.
	Back(Way)
}
