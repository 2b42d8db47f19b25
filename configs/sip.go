package configs

// SIP is the SIP side.
type SIP struct {
	// The sockets that SIP is received on, and sent from.
	Listeners []Listener `yaml:"listeners"`
	// Who may send: a request that comes neither from one of these networks nor, over TLS, with one of these certificates is refused
	// with 403. The domain that it is from decides between several peers.
	Peers []Peer `yaml:"peers"`
	// Those whose signatures prove whom a request is from (Identity, RFC 8224). Nothing is fetched: each certificate is a file here. What
	// becomes of signatures, each peer's identity says.
	Signers []Signer `yaml:"signers"`
	// The domains whose users publish their presence to the gateway (PUBLISH, RFC 3903), which then answers watches of them itself.
	// Without it a PUBLISH is answered 405, and watches of SIP users are SUBSCRIBE requests to the domain's next hops.
	Published []Published `yaml:"published"`
	// The presence servers that the presence of XMPP users is published to, for the SIP watchers that they serve.
	PublishTo []PublishTo `yaml:"publish_to" reload:"restart"`
	// The host name or address that others reach the listeners by, written into Via and Contact. Without it: the address
	// of the listener, so it must be set where a listener is bound to all addresses (0.0.0.0 or [::]).
	Advertise Host `yaml:"advertise" reload:"restart" example:"gateway.example.net"`
	// T1 of RFC 3261 §17.1.2.1, the round trip that retransmissions over UDP start from. A transaction ends after 64*T1.
	T1 Duration `yaml:"t1" reload:"restart" default:"500ms" min:"50ms" max:"500ms"`
}

// Published is a SIP domain whose users publish their presence to the gateway.
type Published struct {
	// The domain. It needs to be one that a peer may send as, and a route via sip.
	Domain Domain `yaml:"domain" required:"true" example:"example.net"`
	// Who may watch its users: everyone whom the routes let cross to the domain, or nobody. A user agent that publishes is not
	// asked.
	Authorize string `yaml:"authorize" required:"true" oneof:"everyone nobody" example:"everyone"`
}

// Signer is someone whose signatures prove whom a request is from.
type Signer struct {
	// The URI that the signer writes for its certificate, into "info" and "x5u": compared as text, never fetched.
	Info SignerURI `yaml:"info" required:"true" example:"https://cert.example.net/passport.cer"`
	// The file that holds the certificate in PEM, with an ECDSA key on P-256. The domains in its subjectAltName are those whose users it may
	// sign for. The file is trusted as it is, and good until the certificate ends. A relative path starts at the
	// folder of this file.
	CertificateFile Path `yaml:"certificate_file" required:"true" example:"/etc/isthmus/passport.crt"`
	// Beginnings of the telephone numbers that it may sign for besides, digits alone with the country code.
	Numbers []Digits `yaml:"numbers" example:"1215"`
}

// PublishTo is a SIP presence server that wants the presence of XMPP users by PUBLISH (RFC 3903).
type PublishTo struct {
	// The peer that the server is: a name under sip.peers.
	Peer Name `yaml:"peer" required:"true" example:"example-net-proxy"`
	// Where PUBLISH requests go, as in a route's next hops: an IP address, or a name that is looked up each time.
	To NextHop `yaml:"to" required:"true" example:"sip:127.0.0.1:5070;transport=udp"`
	// The name by which the gateway watches XMPP users for it, in a domain of the peer's. Each user is asked whether this watcher may
	// see the presence, and nothing is published of one who refuses.
	As Mailbox `yaml:"as" required:"true" example:"presence@example.net"`
	// The XMPP users that are asked at the start. Any other joins by adding the watcher as a contact, and leaves by removing it.
	Users []Mailbox `yaml:"users" example:"juliet@example.com"`
}

// Listener is one socket for SIP.
type Listener struct {
	// How octets come. udp, tcp and ws are not encrypted: bind them to loopback or to a network that only trusted proxies
	// share. tls and wss show a certificate of tls.certificates. ws and wss are SIP over WebSocket (RFC 7118), for browsers.
	Transport string `yaml:"transport" required:"true" oneof:"udp tcp tls ws wss" example:"udp"`
	// The IP address and port to bind. Port 0 takes any free one, for tests.
	Address Address `yaml:"address" required:"true" example:"127.0.0.1:5060"`
	// The sites whose pages may open a WebSocket here, for ws and wss: scheme, host and port. A browser on any other page is refused
	// with HTTP 403; a client that is no browser names no site, and is taken.
	Origins []Origin `yaml:"origins" example:"https://chat.example.net"`
}

// Peer is a SIP proxy or server that may send through the gateway. Who it is comes from its address or its certificate, never from a
// header.
type Peer struct {
	// Its name in logs and metrics: letters, digits, dots, hyphens and underscores, at most 63.
	Name Name `yaml:"name" required:"true" example:"example-net-proxy"`
	// The addresses it sends from: networks in CIDR notation, or single addresses. A network of all addresses is
	// refused, but for a peer whose users prove themselves. At least one of networks and certificates is needed.
	Networks []Network `yaml:"networks" shown:"true" example:"127.0.0.1/32"`
	// The domains that its certificate proves: a request over TLS whose client shows a certificate for one of them is this peer's,
	// wherever it comes from (RFC 5922). A name matches itself alone: no wildcards, no names below it.
	Certificates []Domain `yaml:"certificates" example:"example.net"`
	// The domains it may send as: the domain of the From address must be one of them, else 403. Each needs a route, because
	// answers, reports and presence go back to it.
	Domains []Domain `yaml:"domains" required:"true" example:"example.net"`
	// How often a keep-alive is sent on connections to it that the gateway opened, because it answers them (RFC 5626 §4.4.1). A connection
	// on which none is answered within 10s is closed. Without it: only if the peer asks for them (RFC 6223).
	KeepAlive Duration `yaml:"keep_alive" min:"10s" max:"1h" example:"90s"`
	// It understands overload control (RFC 7339): it is told that the gateway does, and when it then asks for fewer requests it gets
	// fewer. Without it nothing is said of that, because some software is confused by it.
	OverloadControl Switch `yaml:"overload_control" default:"false"`
	// What is known of its software. Capitals in the user part of its SIP URIs mean nothing, so they are folded. Without it an
	// address with capitals is refused, because XMPP cannot tell it from the one without (RFC 7622 §3.3).
	FoldCase Switch `yaml:"fold_case" default:"false"`
	// It writes its port into From, where it is no part of the address: the port is left out.
	IgnorePort Switch `yaml:"ignore_port" default:"false"`
	// A MESSAGE of over 1300 octets may be sent to it, over TCP or TLS: all hops behind it are known to be congestion-safe (RFC 3428
	// §8). Without it such a message is refused as too large.
	LargeMessages Switch `yaml:"large_messages" default:"false"`
	// Requests to it have no "gr" parameter in From, because it compares the whole URI. RFC 7572 §4 wants the parameter.
	OmitInstance Switch `yaml:"omit_instance" default:"false"`
	// It understands message/cpim and the notices of RFC 5438: a message whose sender asked for notices is sent to it as
	// message/cpim. Without it all messages are sent as text/plain.
	Dispositions Switch `yaml:"dispositions" default:"false"`
	// Watches of its users ask for partial documents, which tell only what changed (RFC 5263). It makes no difference to a peer
	// that does not make them.
	PartialPresence Switch `yaml:"partial_presence" default:"false"`
	// Presence documents of its user agents may have the faults that deployed ones are known for: elements in another order, numbers
	// as ids, a status of "unknown" and the like. Without it such a document is refused with 400.
	LenientPresence Switch `yaml:"lenient_presence" default:"false"`
	// Its watchers look at one tuple of a presence document, as simple phones do. They are told the best of an XMPP user's resources in place
	// of all: one that is open, of the highest priority, then the most available (chat, online, away, xa, dnd), then the newest; and what is
	// published to it has that tuple alone. What changes in another resource is not told to them. Without it each resource is a tuple.
	SingleTuple Switch `yaml:"single_tuple" default:"false"`
	// Whether its user agents understand isComposing (RFC 3994): they are then told when an XMPP user is composing a message. Without it
	// only those are who send it themselves. One that refuses it with 415 is not sent it again for a day.
	Composing Switch `yaml:"composing" default:"false"`
	// What becomes of messages that are signed or encrypted by S/MIME (RFC 8551), from it and to it. pass: they cross octet for octet, on the
	// XMPP side as RFC 3923 says; a signed one from it must have a Date, or a DateTime inside, of the last five minutes, else 400 (RFC 3428
	// §11.4). late: as pass, but the peer stores messages and forwards them later, so their dates are not looked at. refuse: 415, and an
	// error to the XMPP sender, for networks whose devices cannot open them. They are often over 1300 octets: see large_messages.
	SMIME string `yaml:"smime" default:"pass" oneof:"pass late refuse"`
	// Its P-Asserted-Identity says whom a request is from, and requests to it carry one (RFC 3325): the peer and this gateway are of
	// one trust domain. Without it the header field is not looked at, and not written.
	Trusted Switch `yaml:"trusted" default:"false"`
	// Those whose requests it may send. With users each MESSAGE, SUBSCRIBE and PUBLISH must be proven by digest (RFC 8760), and be
	// from the user that it proves; a request without proof is answered 401. Without users the peer is believed.
	Users []User `yaml:"users"`
	// The realm of users, as their devices show it. Without it: the first of domains.
	Realm Text `yaml:"realm" example:"example.net"`
	// Users may answer with MD5 too, which is weak. SHA-256 is always offered first.
	AllowMD5 Switch `yaml:"allow_md5" default:"false"`
	// What becomes of signatures (Identity, RFC 8224) in its requests. verify: what one of sip.signers is said to have signed must be so,
	// else 437, 438 or 403; unsigned requests, and signatures of others, are as good as the peer's word. require: each MESSAGE, SUBSCRIBE
	// and PUBLISH must be signed by one of them for the user that it is from, else 428, 436, 437, 438 or 403. ignore: none is looked at.
	// A signature lets nobody send as a domain that is not under domains.
	Identity string `yaml:"identity" default:"verify" oneof:"ignore verify require"`
	// What the gateway proves itself with when the peer challenges it. Without it a 401 or 407 is a refusal.
	Credentials Credentials `yaml:"credentials"`
}

// User is someone who proves by a password who they are.
type User struct {
	// The username of the digest.
	Name Text `yaml:"name" required:"true" example:"alice"`
	// The address that the user's From must be. Its domain is one of the peer's.
	Address SIPAddress `yaml:"address" required:"true" example:"sip:alice@example.net"`
	// The file that holds the password, as secret_file of a component. Exactly one of password_file and password_env is needed.
	PasswordFile Path `yaml:"password_file" shown:"true" example:"/etc/isthmus/alice.secret"`
	// The environment variable that holds the password instead.
	PasswordEnv EnvName `yaml:"password_env" example:"ISTHMUS_ALICE_SECRET"`
	// The password, once ReadSecrets has read it; not a key.
	Password Secret `yaml:"-"`
}

// Credentials are what the gateway proves itself with to a peer.
type Credentials struct {
	// The username that the peer knows the gateway by. Without it the gateway has no credentials.
	Username Text `yaml:"username" example:"isthmus"`
	// The peer's realm. A challenge of any other realm is not answered.
	Realm Text `yaml:"realm" example:"example.net"`
	// The file that holds the password. Exactly one of password_file and password_env is needed.
	PasswordFile Path `yaml:"password_file" example:"/etc/isthmus/trunk.secret"`
	// The environment variable that holds the password instead.
	PasswordEnv EnvName `yaml:"password_env" example:"ISTHMUS_TRUNK_SECRET"`
	// A challenge with MD5 is answered too, which is weak.
	AllowMD5 Switch `yaml:"allow_md5" default:"false"`
	// The password, once ReadSecrets has read it; not a key.
	Password Secret `yaml:"-"`
}
