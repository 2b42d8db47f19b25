package store

import (
	"sync"
	"time"

	_ "github.com/nats-io/nats-server/v2/server" // has the variables below
	_ "unsafe"                                   // for go:linkname
)

// The engine's own times of an election have no option: a node that heard nothing of its leader for 4 to 9 s (a random time, drawn anew for each try)
// asks for votes, and where the first to ask is the one that missed the leader's last record, or both ask at once, the next try takes as long again.
// With the store's leader killed nobody could write for up to 18 s then, and a killed node's parts must be taken over within 15 s. They are variables,
// which the engine's own tests set; so are they set here. With an engine that calls them otherwise nothing is linked to them, and
// TestTwoTriesAtAnElectionEndWithTheLease fails.
//
//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
var minElectionTimeout time.Duration

//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var maxElectionTimeout time.Duration

// hbInterval is how often a leader says that it lives.
//
//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
var hbInterval time.Duration

// elect sets them, once in a process, before its first engine starts: a leader is missed after five of its signs of life at least, and one or two
// tries are over before the lease of a killed node has ended.
var elect = sync.OnceFunc(func() {
	hbInterval, minElectionTimeout, maxElectionTimeout = 500*time.Millisecond, 2500*time.Millisecond, 5*time.Second
})
