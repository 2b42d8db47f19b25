package adapters

// Keeper keeps what an adapter wants back after a crash or a restart: opaque records that belong to a watch (a SIP dialog with its
// sequence numbers). It is given to adapters that are Keeping. Safe for use from many goroutines; no call waits for a disk, or for
// anything else.
type Keeper interface {
	// Save keeps octets under the pair of a watch and a name, in place of what was there under both. The octets are the keeper's from
	// the call on, at most MaxRecord of them. Names are letters, digits, "-" and "_", at most 64; the Session of the watch does not
	// count. Of several waiting under one name only the newest is written.
	//
	// done, unless it is nil, is called once and from any goroutine: with nil when these octets, or newer ones of that name, survive a
	// crash; with an error when they could not be written. They are tried again by themselves then, until they are written or
	// replaced. What must not be said twice, or not be taken back, is said after done.
	Save(of WatchID, name string, octets []byte, done func(error))

	// Forget drops what is kept under the pair and the name. A crash before done, which is called as Save's is, may bring it back, so what
	// is given to Resume may be over.
	Forget(of WatchID, name string, done func(error))
}

// MaxRecord bounds a record of a Keeper, in octets.
const MaxRecord = 32 << 10

// Record is what a Keeper kept.
type Record struct {
	// Of has no Session.
	Of     WatchID
	Name   string
	Octets []byte
	// Sessions are the watches of the pair that the gateway knows of: those that are open, and those of whose end the watcher's side must
	// still be told. A record of another one is of a watch that is over, or that nobody was answered for.
	Sessions []string
}

// Keeping is an Adapter with a state of its own that must outlive the process. The gateway calls Keep before Start, when it has a store;
// without one it calls neither.
type Keeping interface {
	Adapter

	// Keep gives the adapter its keeper. Called once, before Start and before Resume.
	Keep(k Keeper)

	// Resume gives back records that were saved, in no order: those of earlier processes before Start, in several calls; and, with
	// several gateways on one store, later those of a gateway that is gone. What is resumed before Start counts from the first request
	// that comes; what has to be sent or told for it waits until Start has returned, and is spread over time. A record that cannot be
	// read is left out and logged; it is never a reason not to start. The gateway itself knows of the watches already: an adapter
	// tells it nothing but what changed.
	Resume(records []Record)
}
