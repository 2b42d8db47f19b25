package configs

import "github.com/isthmus-gateway/isthmus/resolver"

// Config is the configuration of one gateway, a file in YAML.
//
// Everything is closed until it is opened here: nothing listens, nobody may send, and no domain is reachable. A key
// that is not known is a fault, and so are anchors, aliases and a second document. All faults are reported at once.
//
// SIGHUP and "isthmus reload" have a running gateway read this file, the secrets and the certificates again. If anything is wrong with any
// of them, everything stays as it was and the log says what. "Reload: live" is said of a key that is then taken on without dropping a
// connection or delaying a message that it does not concern, "Reload: restart" of one that keeps its old value until the gateway is started
// again, which the log names; both hold for the keys below it that do not say otherwise.
//
// Durations are written 500ms, 30s, 5m or 24h, sizes 1300B, 64KiB or 1MiB; the unit is never left out.
type Config struct {
	// The SIP side: SIMPLE, that is MESSAGE, SUBSCRIBE and NOTIFY. Without listeners the gateway speaks no SIP.
	SIP SIP `yaml:"sip" reload:"live"`
	// The XMPP side. Without components and server.domains the gateway speaks no XMPP.
	XMPP XMPP `yaml:"xmpp" reload:"live"`
	// Which domain is reached through which side. A domain that is not listed cannot be reached: messages to it are
	// refused (SIP 404, XMPP remote-server-not-found).
	Routes []Route `yaml:"routes" reload:"live" required:"true"`
	// Who may send what to whom, beyond what peers and routes say.
	Policy Policy `yaml:"policy" reload:"live"`
	// What survives a crash: the messages that the gateway has answered for and could not hand over yet.
	Store Store `yaml:"store" reload:"restart"`
	// How names are looked up. It is used for next hops that are names, and for routes without next hops.
	DNS DNS `yaml:"dns" reload:"live"`
	// The gateway's certificates and the authorities that it trusts. A reload reads these files anew too, for the connections that are
	// made from then on.
	TLS TLS `yaml:"tls" reload:"live"`
	// The local port for health, readiness and metrics.
	Admin Admin `yaml:"admin" reload:"restart"`
	// The log: JSON on standard error, one line at the end of each operation. It never holds message bodies or secrets.
	Log Log `yaml:"log" reload:"live"`
	// What the gateway takes at most, and what happens then. The defaults suit one machine with 1 GiB of memory.
	Limits Limits `yaml:"limits" reload:"live"`

	origin origin
}

// Route says how one domain is reached.
type Route struct {
	// The domain after the @ of the recipient, exactly; subdomains are domains of their own. "*" stands for all domains without a
	// route of their own.
	Domain RoutedDomain `yaml:"domain" required:"true" example:"example.net|example.com|example.org|*"`
	// The side that it lives on.
	Via string `yaml:"via" required:"true" oneof:"sip xmpp" example:"sip|xmpp|sip|xmpp"`
	// Where to send, in this order: the next one is tried only while the message cannot have been taken by the one before.
	// "sip:HOST[:PORT][;transport=udp|tcp]" via sip; via xmpp "component:NAME" (a name under xmpp.components), or of a server
	// "xmpp:HOST[:PORT]" (STARTTLS) and "xmpps:HOST:PORT" (direct TLS). Without it DNS tells (RFC 3861, RFC 3263, RFC 6120 §3.2).
	NextHops []NextHop `yaml:"next_hops" shown:"true" example:"sip:127.0.0.1:5070;transport=udp|component:prosody|sip:127.0.0.1:5071;transport=udp|xmpp:192.0.2.8"`
}

// Protocol is the side as the resolver names it.
func (r Route) Protocol() resolver.Protocol {
	if r.Via == "sip" {
		return resolver.SIP
	}
	return resolver.XMPP
}

// Store is what survives a crash.
type Store struct {
	// The directory that holds it, an absolute path, for one process alone; it is made with mode 0700. Without it nothing is stored: a message that
	// cannot be handed over while its sender waits is refused, and its sender told. What is stored has been synced to the disk before
	// its sender is answered.
	Directory Path `yaml:"directory" shown:"true" example:"/var/lib/isthmus"`
	// The messages and notices that it holds at most. The next message is refused as if there were no store.
	Entries Count `yaml:"entries" default:"1000000" min:"100" max:"100000000"`
	// The same in octets.
	Size Size `yaml:"size" default:"4GiB" min:"16MiB" max:"1024GiB"`
	// Several gateways on one store.
	Cluster Cluster `yaml:"cluster"`
	// "isthmus queue show" also shows what a message says. Without it, only from whom, for whom, and what became of it.
	Readable Switch `yaml:"readable" reload:"live" default:"false"`
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
