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
	// The end: how long SIGTERM (and SIGINT and SIGHUP, for there is no reload) waits for what is under way. After it, what is left is answered as failed. A second signal
	// ends at once.
	Drain Duration `yaml:"drain" default:"32s" min:"0s" max:"5m"`
}

// MessageLimits bounds messages.
type MessageLimits struct {
	// How long a message may wait for its outcome while its sender holds it. Then it is answered as failed: no answer in time
	// (SIP 504, XMPP remote-server-timeout). It must leave time within the 32s of a SIP transaction (RFC 3261 §17.1.2.2).
	DirectWait Duration `yaml:"direct_wait" default:"25s" min:"1s" max:"30s"`
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
}

// WatchLimits bounds presence.
type WatchLimits struct {
	// The pairs of watcher and presentity. When full, an authorization that nobody uses is forgotten for the next one (it is
	// asked for again when it is needed); if there is none, the next is refused: overloaded.
	Pairs Count `yaml:"pairs" default:"100000" min:"1" max:"100000000"`
	// The watches of one pair that may be open at once. The next is refused.
	Sessions Count `yaml:"sessions" default:"10" min:"1" max:"1000"`
	// The devices of one presentity that a watcher is told of. Those that come later are left out, and counted.
	Devices Count `yaml:"devices" default:"20" min:"1" max:"1000"`
	// The duration asked for on behalf of watchers whose protocol has none (RFC 3856 §6.4).
	Duration Duration `yaml:"duration" default:"1h" min:"1m" max:"24h"`
	// How long a single look waits for the presentity's side to answer. Then it is answered without presence.
	FetchWait Duration `yaml:"fetch_wait" default:"2s" min:"100ms" max:"25s"`
}

// SIPLimits bounds SIP.
type SIPLimits struct {
	// One SIP message, headers and body. A larger one is answered 513; on TCP the connection is closed.
	Message Size `yaml:"message" default:"64KiB" min:"4KiB" max:"1MiB"`
	// One header line. A longer one is answered 400.
	HeaderLine Size `yaml:"header_line" default:"8KiB" min:"512B" max:"64KiB"`
	// The header lines of one message. More are answered 400.
	Headers Count `yaml:"headers" default:"128" min:"20" max:"1000"`
	// The body of one message. A larger one is answered 413.
	Body Size `yaml:"body" default:"60KiB" min:"1300B" max:"1MiB"`
	// One URI. A longer one is answered 414.
	URI Size `yaml:"uri" default:"1KiB" min:"128B" max:"8KiB"`
	// The Via header values of one message. More are answered 400.
	Vias Count `yaml:"vias" default:"70" min:"1" max:"255"`
	// The requests being answered at once. The next is answered 503, without Retry-After.
	ServerTransactions Count `yaml:"server_transactions" default:"262144" min:"10" max:"10000000"`
	// The requests of our own waiting for an answer. The next fails: overloaded.
	ClientTransactions Count `yaml:"client_transactions" default:"65536" min:"10" max:"10000000"`
	// The connections (TCP) at once, of which addresses outside of every peer's networks may have an eighth. The next is closed
	// when it comes.
	Connections Count `yaml:"connections" default:"4096" min:"1" max:"1000000"`
	// The connections from one address. The next is closed when it comes.
	ConnectionsPerAddress Count `yaml:"connections_per_address" default:"64" min:"1" max:"1000000"`
	// What may wait to be written on one connection. When full the connection is closed.
	WriteQueue Size `yaml:"write_queue" default:"1MiB" min:"64KiB" max:"64MiB"`
	// A connection on which nothing comes for this long is closed.
	Idle Duration `yaml:"idle" default:"3m" min:"33s" max:"24h"`
	// The time to open a connection. Then the next hop counts as unreachable.
	Dial Duration `yaml:"dial" default:"5s" min:"100ms" max:"30s"`
	// The time for one write. Then the connection is closed.
	Write Duration `yaml:"write" default:"10s" min:"100ms" max:"1m"`
	// The largest request that is sent over UDP; a larger one goes over TCP (RFC 3261 §18.1.1).
	Datagram Size `yaml:"datagram" default:"1300B" min:"500B" max:"60KiB"`
	// The watches, in each role: SIP watchers, and watchers of SIP users. The next SUBSCRIBE is answered 503, the next of our
	// own fails: overloaded.
	Watches Count `yaml:"watches" default:"100000" min:"1" max:"10000000"`
	// The watches of one SIP watcher. The next is answered 403.
	WatchesPerWatcher Count `yaml:"watches_per_watcher" default:"200" min:"1" max:"100000"`
	// The refreshes of our own watches under way at once. More wait.
	Refreshes Count `yaml:"refreshes" default:"64" min:"1" max:"10000"`
	// The shortest watch that is granted. A shorter one is answered 423 (RFC 6665 §4.2.1.1: at most 1h).
	MinExpires Duration `yaml:"min_expires" default:"1m" min:"1s" max:"1h"`
	// The longest watch that is granted or asked for. A longer one is cut to it.
	MaxExpires Duration `yaml:"max_expires" default:"24h" min:"1m" max:"720h"`
	// The length of a watch that is asked for without one (RFC 3856 §6.4).
	Expires Duration `yaml:"expires" default:"1h" min:"1m" max:"24h"`
}

// XMPPLimits bounds XMPP, and with it every other XML.
type XMPPLimits struct {
	// One stanza. A larger one ends the stream with policy-violation, before it is held in memory. RFC 6120 §13.12 forbids
	// less than 10000 octets.
	Stanza Size `yaml:"stanza" default:"256KiB" min:"10000B" max:"16MiB"`
	// The elements open at once. More end the stream with policy-violation, and so do the next three.
	Depth Count `yaml:"depth" default:"32" min:"8" max:"256"`
	// The attributes of one element, namespace declarations included.
	Attributes Count `yaml:"attributes" default:"64" min:"16" max:"512"`
	// The length of one name, prefix included.
	Name Size `yaml:"name" default:"1KiB" min:"128B" max:"8KiB"`
	// The children of one element.
	Children Count `yaml:"children" default:"1000" min:"50" max:"100000"`
	// The largest stanza that is written. A message that would make a larger one is refused as too large.
	Written Size `yaml:"written" default:"256KiB" min:"10000B" max:"16MiB"`
	// The stanzas that may wait to be written on one component's stream. The next message or watch is refused: overloaded.
	Queue Count `yaml:"queue" default:"4096" min:"1" max:"1000000"`
	// The same in octets.
	QueueSize Size `yaml:"queue_size" default:"4MiB" min:"64KiB" max:"1GiB"`
	// The stanzas that may be written and not acknowledged on one stream (by the answer to a ping, because XEP-0114 has no
	// acknowledgement). The next ones wait.
	Window Count `yaml:"window" default:"512" min:"1" max:"100000"`
	// The time for one write. Then the connection counts as lost.
	Write Duration `yaml:"write" default:"30s" min:"1s" max:"5m"`
}
