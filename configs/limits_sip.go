package configs

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
	// The requests being answered, and over UDP those answered in the last 32 s, which may come again: 60,000 requests a second
	// need 1,920,000. One that was answered is about 150 octets. When full the next is answered 503, without Retry-After.
	ServerTransactions Count `yaml:"server_transactions" default:"2500000" min:"10" max:"10000000"`
	// The requests of our own waiting for an answer. The next fails: overloaded.
	ClientTransactions Count `yaml:"client_transactions" default:"65536" min:"10" max:"10000000"`
	// The connections at once, of which those of no peer may have an eighth: until its certificate was shown, one from outside of every
	// peer's networks is of no peer. The next is closed when it comes.
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
	// The TLS handshakes under way at once with addresses outside of every peer's networks. More wait for their turn; one address
	// may have an eighth, and its next connection is closed.
	Handshakes Count `yaml:"handshakes" reload:"restart" default:"256" min:"1" max:"10000"`
	// The time for a TLS handshake, the wait for its turn included. Then the connection is closed.
	Handshake Duration `yaml:"handshake" default:"10s" min:"1s" max:"1m"`
	// The answers to MESSAGE requests that are remembered, so that one which is sent again, by a client that gave up waiting, is
	// answered as before and not delivered again: about 65 octets each. When full the oldest is forgotten.
	Answers Count `yaml:"answers" reload:"restart" default:"524288" min:"16" max:"10000000"`
	// How long an answer is remembered.
	AnswerLife Duration `yaml:"answer_life" reload:"restart" default:"10m" min:"33s" max:"24h"`
	// The share of server_transactions, in percent, from which on clients are asked to send less (RFC 7339), or are refused some of
	// their requests with 503 if they cannot be asked: none there, all when it is full.
	LoadAt Count `yaml:"load_at" default:"80" min:"1" max:"99"`
	// The largest request that is sent over UDP; a larger one goes over TCP (RFC 3261 §18.1.1).
	Datagram Size `yaml:"datagram" default:"1300B" min:"500B" max:"60KiB"`
	// The watches, in each role: SIP watchers, and watchers of SIP users. The next SUBSCRIBE is answered 503, the next of our
	// own fails: overloaded.
	Watches Count `yaml:"watches" default:"100000" min:"1" max:"10000000"`
	// The watches of one SIP watcher. The next is answered 480.
	WatchesPerWatcher Count `yaml:"watches_per_watcher" default:"200" min:"1" max:"100000"`
	// The refreshes of our own watches under way at once. More wait.
	Refreshes Count `yaml:"refreshes" default:"64" min:"1" max:"10000"`
	// The watches and publications of before a restart that are refreshed, or ended, a second, those that end first at first. The more, the
	// sooner is what changed meanwhile known; the fewer, the less do the other servers notice of a restart.
	Resumes Count `yaml:"resumes" default:"200" min:"1" max:"10000"`
	// The publications of SIP users, of at most 16 KiB each. The next PUBLISH is answered 503.
	Publications Count `yaml:"publications" default:"10000" min:"1" max:"1000000"`
	// The publications of one SIP user, which has one for each of its devices. The next is answered 403.
	PublicationsPerUser Count `yaml:"publications_per_user" default:"16" min:"1" max:"1000"`
	// The shortest watch or publication that is granted. A shorter one is answered 423 (RFC 6665 §4.2.1.1: at most 1h).
	MinExpires Duration `yaml:"min_expires" default:"1m" min:"1s" max:"1h"`
	// The longest watch or publication that is granted or asked for. A longer one is cut to it.
	MaxExpires Duration `yaml:"max_expires" default:"24h" min:"1m" max:"720h"`
	// The length of a watch or publication that is asked for without one (RFC 3856 §6.4).
	Expires Duration `yaml:"expires" default:"1h" min:"1m" max:"24h"`
	// The least time between two presence documents to one SIP watcher (RFC 3856 §6.10). What comes sooner waits, and the newest
	// goes.
	NotifyInterval Duration `yaml:"notify_interval" default:"5s" min:"1ms" max:"20s"`
}
