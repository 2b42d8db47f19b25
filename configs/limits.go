package configs

// Limits bounds what the gateway takes. There is no way to say "unlimited".
type Limits struct {
	// Messages on their way through.
	Messages MessageLimits `yaml:"messages"`
	// Presence.
	Watches WatchLimits `yaml:"watches"`
	// SIP as it comes from the network.
	SIP SIPLimits `yaml:"sip"`
	// XMPP as it comes from the network.
	XMPP XMPPLimits `yaml:"xmpp"`
	// The memory that the process may have, but for its program. It is the Go runtime's limit (the environment's GOMEMLIMIT goes before it): near
	// it, garbage is collected more often. When what is in use, and an eighth of it as room for garbage, comes to 95 percent, no new message, watch or
	// publication is taken (SIP 503; XMPP streams are read slowly) until it is under 90 again.
	Memory Size `yaml:"memory" default:"2GiB" min:"128MiB" max:"1024GiB"`
	// The end: how long SIGTERM (and SIGINT) waits for what is under way. After it, what is left is answered as failed. A second signal
	// ends at once.
	Drain Duration `yaml:"drain" default:"32s" min:"0s" max:"5m"`
}

// MessageLimits bounds messages.
type MessageLimits struct {
	// How long a message may wait for its outcome while its sender holds it. Then it is answered as failed: no answer in time
	// (SIP 504, XMPP remote-server-timeout). It must leave time within the 32s of a SIP transaction (RFC 3261 §17.1.2.2).
	DirectWait Duration `yaml:"direct_wait" default:"25s" min:"1s" max:"30s"`
	// How long a stored message is tried, unless its sender set a shorter life (SIP Expires). Then its sender is told that it expired.
	Life Duration `yaml:"life" default:"24h" min:"1m" max:"720h"`
	// When the sender of a stored message is told that it takes long, if it asked to be told.
	DelayedAfter Duration `yaml:"delayed_after" default:"5m" min:"10s" max:"24h"`
	// How long the notice of a message's end is tried. Then it is a dead letter.
	NoticeLife Duration `yaml:"notice_life" default:"24h" min:"1m" max:"720h"`
	// How long a dead letter is kept for an operator (isthmus queue list --dead). Then it is forgotten, with a line in the log.
	DeadLife Duration `yaml:"dead_life" default:"720h" min:"1h" max:"8760h"`
	// The stored messages of one sender. The next is refused: overloaded (SIP 503, XMPP resource-constraint).
	StoredPerSender Count `yaml:"stored_per_sender" default:"10000" min:"1" max:"10000000"`
	// The stored messages for one recipient. The next is refused likewise; and before that the next of a sender who has a third as many of them as
	// are still free, so that nobody takes more than a quarter and others find room.
	StoredPerRecipient Count `yaml:"stored_per_recipient" default:"10000" min:"1" max:"10000000"`
	// The stored messages on their way to one domain. The next is refused likewise.
	StoredPerDomain Count `yaml:"stored_per_domain" default:"250000" min:"1" max:"10000000"`
	// The stored messages a second that a domain is given at which nothing answered for a while, when it is back: so many for 10s, then twice as many
	// every 5s, as long as it takes them; the rest waits. After an outage of less than 30s in which no link broke it is given at least as many as came. What comes new for users without stored messages is not bounded by it.
	ReturnRate Count `yaml:"return_rate" default:"200" min:"1" max:"1000000"`
	// The messages that may wait in one lane, that is behind a slow recipient. The next is refused: overloaded (SIP 503,
	// XMPP resource-constraint).
	Lane Count `yaml:"lane" default:"100" min:"1" max:"100000"`
	// The messages under way in all. The next is refused: overloaded.
	Total Count `yaml:"total" default:"20000" min:"1" max:"10000000"`
	// The answered messages that are remembered, so that a late outcome finds its sender. When full the oldest are forgotten,
	// and a late outcome of theirs is counted and dropped.
	Origins Count `yaml:"origins" default:"100000" min:"1" max:"100000000"`
	// How long they are remembered.
	OriginLife Duration `yaml:"origin_life" default:"1h" min:"1m" max:"168h"`
	// The messages that are remembered so that a copy is answered as the first one was and not delivered again (XMPP: by origin-id, XEP-0359).
	// When full the older half is forgotten, and a copy of one of those is delivered.
	Duplicates Count `yaml:"duplicates" default:"200000" min:"1" max:"100000000"`
	// How long they are remembered, at most.
	DuplicateLife Duration `yaml:"duplicate_life" default:"24h" min:"1m" max:"168h"`
	// How often the same message may come within 10 seconds: from the same sender to the same recipient, in the same thread, with the same
	// content; in the half second after the first one less, if it is more than 2. The next is refused, since it seems to go in a circle (SIP 482,
	// XMPP undefined-condition). It cannot be told from somebody who says the same thing again and again that fast in one conversation; who has such users sets it higher.
	Repeats Count `yaml:"repeats" default:"3" min:"1" max:"200"`
	// The messages a second that one sender may send to one recipient, in the long run. The next is refused: overloaded.
	PairRate Count `yaml:"pair_rate" default:"1000" min:"1" max:"1000000"`
	// How many of them may come at once.
	PairBurst Count `yaml:"pair_burst" default:"5000" min:"1" max:"10000000"`
	// Whether messages carry a trace of the gateways that they passed, by which one that comes back is refused at once: a header field
	// Isthmus-Trace in SIP, an element in XMPP that has the hop count too. Both name a gateway by a random word.
	Trace Switch `yaml:"trace" default:"true"`
}

// WatchLimits bounds presence.
type WatchLimits struct {
	// The pairs of watcher and presentity. When full, an authorization that nobody uses is forgotten for the next one (it is
	// asked for again when it is needed); if there is none, the next is refused: overloaded.
	Pairs Count `yaml:"pairs" default:"100000" min:"1" max:"100000000"`
	// The pairs of one watcher, without authorizations that nobody uses. The next is refused: overloaded.
	PerWatcher Count `yaml:"per_watcher" default:"5000" min:"1" max:"100000000"`
	// The pairs of one presentity, counted alike. The next is refused: overloaded; and before that the next of a domain whose watchers have seven times
	// as many of them as are still free, so that strangers of one domain leave an eighth to others.
	PerPresentity Count `yaml:"per_presentity" default:"10000" min:"1" max:"100000000"`
	// The pairs of all watchers of one domain, counted alike. The next is refused: overloaded.
	PerDomain Count `yaml:"per_domain" default:"100000000" min:"1" max:"100000000"`
	// The watches a second that are opened on the presentities' sides, at most. More wait for their turn, as after a restart or when all
	// users of a server come back; how many is a metric.
	OpenRate Count `yaml:"open_rate" default:"1000" min:"1" max:"1000000"`
	// The watches of one pair that may be open at once. The next is refused.
	Sessions Count `yaml:"sessions" default:"10" min:"1" max:"1000"`
	// The devices of one presentity that a watcher is told of. Those that come later are left out, and counted.
	Devices Count `yaml:"devices" default:"20" min:"1" max:"1000"`
	// The duration asked for on behalf of watchers whose protocol has none (RFC 3856 §6.4).
	Duration Duration `yaml:"duration" default:"1h" min:"1m" max:"24h"`
	// How long a single look waits for the presentity's side to answer. Then it is answered without presence.
	FetchWait Duration `yaml:"fetch_wait" default:"2s" min:"100ms" max:"25s"`
}
