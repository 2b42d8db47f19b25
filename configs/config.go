package configs

import "github.com/isthmus-gateway/isthmus/resolver"

// Config is the configuration of one gateway, a file in YAML.
//
// Everything is closed until it is opened here: nothing listens, nobody may send, and no domain is reachable. A key
// that is not known is a fault, and so are anchors, aliases and a second document. All faults are reported at once.
// Durations are written 500ms, 30s, 5m or 24h, sizes 1300B, 64KiB or 1MiB; the unit is never left out.
type Config struct {
	// The SIP side: SIMPLE, that is MESSAGE, SUBSCRIBE and NOTIFY. Without listeners the gateway speaks no SIP.
	SIP SIP `yaml:"sip"`
	// The XMPP side. Without components the gateway speaks no XMPP.
	XMPP XMPP `yaml:"xmpp"`
	// Which domain is reached through which side. A domain that is not listed cannot be reached: messages to it are
	// refused (SIP 404, XMPP remote-server-not-found).
	Routes []Route `yaml:"routes" required:"true"`
	// How names are looked up. It is used for next hops that are names, and for routes without next hops.
	DNS DNS `yaml:"dns"`
	// The local port for health, readiness and metrics.
	Admin Admin `yaml:"admin"`
	// The log: JSON on standard error, one line at the end of each operation. It never holds message bodies or secrets.
	Log Log `yaml:"log"`
	// What the gateway takes at most, and what happens then. The defaults suit one machine with 1 GiB of memory.
	Limits Limits `yaml:"limits"`

	origin origin
}

// SIP is the SIP side.
type SIP struct {
	// The sockets that SIP is received on, and sent from.
	Listeners []Listener `yaml:"listeners"`
	// Who may send: a request from an address outside all of these networks is refused with 403. The most specific
	// network decides which peer it is.
	Peers []Peer `yaml:"peers"`
	// The host name or address that others reach the listeners by, written into Via and Contact. Without it: the address
	// of the listener, so it must be set where a listener is bound to all addresses (0.0.0.0 or [::]).
	Advertise Host `yaml:"advertise" example:"gateway.example.net"`
	// T1 of RFC 3261 §17.1.2.1, the round trip that retransmissions over UDP start from. A transaction ends after 64*T1.
	T1 Duration `yaml:"t1" default:"500ms" min:"50ms" max:"500ms"`
}

// Listener is one socket for SIP.
type Listener struct {
	// How octets come. udp and tcp are not encrypted: bind them to loopback or to a network that only trusted proxies
	// share.
	Transport string `yaml:"transport" required:"true" oneof:"udp tcp" example:"udp"`
	// The IP address and port to bind. Port 0 takes any free one, for tests.
	Address Address `yaml:"address" required:"true" example:"127.0.0.1:5060"`
}

// Peer is a SIP proxy or server that may send through the gateway. Who it is comes from its address, never from a header.
type Peer struct {
	// Its name in logs and metrics: letters, digits, dots, hyphens and underscores, at most 63.
	Name Name `yaml:"name" required:"true" example:"example-net-proxy"`
	// The addresses it sends from: networks in CIDR notation, or single addresses. A network of all addresses is refused.
	Networks []Network `yaml:"networks" required:"true" example:"127.0.0.1/32"`
	// The domains it may send as: the domain of the From address must be one of them, else 403. Each needs a route, because
	// answers, reports and presence go back to it.
	Domains []Domain `yaml:"domains" required:"true" example:"example.net"`
	// What is known of its software. Capitals in the user part of its SIP URIs mean nothing, so they are folded. Without it an
	// address with capitals is refused, because XMPP cannot tell it from the one without (RFC 7622 §3.3).
	FoldCase Switch `yaml:"fold_case" default:"false"`
	// It writes its port into From, where it is no part of the address: the port is left out.
	IgnorePort Switch `yaml:"ignore_port" default:"false"`
	// A MESSAGE of over 1300 octets may be sent to it, over TCP: all hops behind it are known to be congestion-safe (RFC 3428
	// §8). Without it such a message is refused as too large.
	LargeMessages Switch `yaml:"large_messages" default:"false"`
	// Requests to it have no "gr" parameter in From, because it compares the whole URI. RFC 7572 §4 wants the parameter.
	OmitInstance Switch `yaml:"omit_instance" default:"false"`
	// It understands message/cpim and the notices of RFC 5438: a message whose sender asked for notices is sent to it as
	// message/cpim. Without it all messages are sent as text/plain.
	Dispositions Switch `yaml:"dispositions" default:"false"`
}

// XMPP is the XMPP side.
type XMPP struct {
	// The connections to XMPP servers as an external component (XEP-0114). A lost connection is made again with backoff
	// and jitter; a secret that the server refuses ends the gateway with exit code 1, because trying again cannot help.
	Components []Component `yaml:"components"`
	// The time to connect, be greeted and be let in, before an attempt counts as failed.
	ConnectTimeout Duration `yaml:"connect_timeout" default:"10s" min:"1s" max:"2m"`
	// The wait before a lost connection is made again is random, up to a bound that begins here and doubles with each failure.
	BackoffFirst Duration `yaml:"backoff_first" default:"1s" min:"10ms" max:"1m"`
	// Where the doubling ends.
	BackoffLongest Duration `yaml:"backoff_longest" default:"1m" min:"100ms" max:"1h"`
	// How long a connection must have been up for the doubling to begin anew.
	BackoffStable Duration `yaml:"backoff_stable" default:"30s" min:"1s" max:"1h"`
	// After this long without an octet from the server it is pinged (XEP-0199).
	KeepAlive Duration `yaml:"keep_alive" default:"20s" min:"1s" max:"1h"`
	// Without an answer to a ping after this time the connection counts as lost.
	PingTimeout Duration `yaml:"ping_timeout" default:"30s" min:"1s" max:"5m"`
}

// Component is one connection to an XMPP server as a component.
type Component struct {
	// Its name in next_hops, logs and metrics: letters, digits, dots, hyphens and underscores, at most 63.
	Name Name `yaml:"name" required:"true" example:"prosody"`
	// The host and port of the server's component listener. The stream is not encrypted (XEP-0114): use loopback or a
	// network of your own.
	Server Server `yaml:"server" required:"true" example:"127.0.0.1:5347"`
	// The domain that the server knows the component by: the SIP domain whose users the XMPP side writes to. The server hands
	// all stanzas for this domain to the gateway.
	Domain Domain `yaml:"domain" required:"true" example:"example.net"`
	// The domains that the server speaks for: the domain of a stanza's 'from' must be one of them, else the stanza is refused.
	// Each needs a route.
	Serves []Domain `yaml:"serves" required:"true" example:"example.com"`
	// The file that holds the secret shared with the server. Nobody but its owner may read it (mode 0600 or 0400). A relative
	// path starts at the folder of this file. One line break at its end is not part of the secret. Exactly one of secret_file
	// and secret_env is needed; a secret cannot be written into this file.
	SecretFile Path `yaml:"secret_file" shown:"true" example:"/etc/isthmus/prosody.secret"`
	// The environment variable that holds the secret instead.
	SecretEnv EnvName `yaml:"secret_env" example:"ISTHMUS_PROSODY_SECRET"`
	// The secret, once ReadSecrets has read it; not a key.
	Secret Secret `yaml:"-"`
}

// Route says how one domain is reached.
type Route struct {
	// The domain after the @ of the recipient, exactly; subdomains are domains of their own.
	Domain Domain `yaml:"domain" required:"true" example:"example.net|example.com"`
	// The side that it lives on.
	Via string `yaml:"via" required:"true" oneof:"sip xmpp" example:"sip|xmpp"`
	// Where to send, in this order: the next one is tried only while the message cannot have been taken by the one before.
	// "sip:HOST[:PORT][;transport=udp|tcp]" via sip, "component:NAME" (a name under xmpp.components) via xmpp. Without it DNS
	// tells (RFC 3861, RFC 3263), which is for sip alone: a component's link is always named.
	NextHops []NextHop `yaml:"next_hops" shown:"true" example:"sip:127.0.0.1:5070;transport=udp|component:prosody"`
}

// Protocol is the side as the resolver names it.
func (r Route) Protocol() resolver.Protocol {
	if r.Via == "sip" {
		return resolver.SIP
	}
	return resolver.XMPP
}

// DNS says how names are looked up.
type DNS struct {
	// The servers to ask, in this order: "192.0.2.53", "[2001:db8::53]:5353", or "tls://192.0.2.53#dns.example.net" for DNS over
	// TLS with a certificate for that name. Without it: those of /etc/resolv.conf, read at the start. DNSSEC is believed of a
	// server on a loopback address or over TLS that says it has validated.
	Servers []DNSServer `yaml:"servers" example:"tls://192.0.2.53#dns.example.net"`
	// The networks that names may lead to although they are no public addresses: private, loopback and the like are refused
	// otherwise, so that a stranger's DNS cannot make the gateway speak to what it should not. Addresses that this file gives
	// itself are always allowed.
	Allow []Network `yaml:"allow" example:"10.0.0.0/8"`
}

// Admin is the local port for operators: GET /healthz, /readyz and /metrics over HTTP, and nothing else.
type Admin struct {
	// "unix:/path/to/socket" (created with mode 0600) or a loopback address and port. Anything else is refused, because there
	// is no password. Without it nothing listens.
	Listen AdminAddress `yaml:"listen" shown:"true" example:"unix:/run/isthmus/admin.sock"`
}

// Log is the log.
type Log struct {
	// The least level that is written.
	Level string `yaml:"level" default:"info" oneof:"debug info warn error"`
}
