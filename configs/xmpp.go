package configs

import "slices"

// XMPP is the XMPP side.
type XMPP struct {
	// The connections to XMPP servers as an external component (XEP-0114). A lost connection is made again with backoff
	// and jitter; a secret that the server refuses ends the gateway with exit code 1, because trying again cannot help.
	Components []Component `yaml:"components"`
	// The gateway as a server among servers: it speaks to any XMPP server directly, and any server finds it by DNS (the SRV records
	// _xmpp-server._tcp and _xmpps-server._tcp of its domains). Without domains in it there is none of this.
	Server XMPPServer `yaml:"server"`
	// The time to connect, be greeted and be let in, before an attempt counts as failed.
	ConnectTimeout Duration `yaml:"connect_timeout" default:"10s" min:"1s" max:"2m"`
	// The wait before a lost connection is made again is random, up to a bound that begins here and doubles with each failure.
	BackoffFirst Duration `yaml:"backoff_first" default:"1s" min:"10ms" max:"1m"`
	// Where the doubling ends.
	BackoffLongest Duration `yaml:"backoff_longest" default:"1m" min:"100ms" max:"1h"`
	// How long a connection must have been up for the doubling to begin anew.
	BackoffStable Duration `yaml:"backoff_stable" default:"30s" min:"1s" max:"1h"`
	// What who asks is told of this program (XEP-0092): nothing, its name and version, or the operating system too.
	Software string `yaml:"software" default:"version" oneof:"nothing version system"`
	// After this long without an octet from the server it is pinged (XEP-0199).
	KeepAlive Duration `yaml:"keep_alive" default:"20s" min:"1s" max:"1h"`
	// Without an answer to a ping after this time the connection counts as lost.
	PingTimeout Duration `yaml:"ping_timeout" default:"30s" min:"1s" max:"5m"`
}

// XMPPServer is the gateway as an XMPP server.
type XMPPServer struct {
	// The domains it is the server of: SIP domains, whose users XMPP servers reach here. Each needs a route via another side, and a
	// certificate under tls.certificates by which other servers know it. No component may have one of them.
	Domains []Domain `yaml:"domains" shown:"true" example:"example.org"`
	// A domain without users of its own, at which the users of "hosts" are written because XMPP servers cannot reach their own domains by
	// name: romeo@example.net as romeo\40example.net@DOMAIN, in both directions. It needs a certificate and no route.
	Gateway Domain `yaml:"gateway" example:"gw.example.com"`
	// The domains whose users are written so. Each needs a route via another side.
	Hosts []Domain `yaml:"hosts" example:"example.edu"`
	// The sockets that other servers connect to. Without any the gateway only opens streams itself: what comes back is heard if the
	// other server can use a stream both ways (XEP-0288).
	Listeners []ServerListener `yaml:"listeners"`
	// Whether a server that has no certificate for its domain may prove it by dialback (XEP-0220), which is as good as the DNS is:
	// never, or over TLS.
	Dialback string `yaml:"dialback" default:"never" oneof:"never tls"`
	// What dialback keys are made of, in a file or a variable as the secret_file of a component. It is needed only where several
	// gateways serve one domain; without it each start makes a random one.
	DialbackSecretFile Path `yaml:"dialback_secret_file" example:"/etc/isthmus/dialback.secret"`
	// The environment variable that holds it instead.
	DialbackSecretEnv EnvName `yaml:"dialback_secret_env" example:"ISTHMUS_DIALBACK_SECRET"`
	// The secret, once ReadSecrets has read it; not a key.
	DialbackSecret Secret `yaml:"-"`
	// Exceptions for remote domains. Their names are labels in the metrics; all other domains are counted together.
	Peers []ServerPeer `yaml:"peers"`
	// A stream that carries nothing for this long is closed. The next stanza opens another.
	Idle Duration `yaml:"idle" default:"10m" min:"10s" max:"24h"`
	// How long a stream that broke can be resumed without loss (XEP-0198).
	Resume Duration `yaml:"resume" default:"2m" min:"1s" max:"10m"`
}

// ServerListener is one socket that XMPP servers connect to.
type ServerListener struct {
	// The IP address and port to bind. 5269 is the port for a domain without SRV records. Port 0 takes any free one, for tests.
	Address Address `yaml:"address" required:"true" example:"0.0.0.0:5269"`
	// When TLS begins: after the stream was opened (starttls, _xmpp-server), or at once (direct, _xmpps-server, XEP-0368). Nothing is
	// taken without it, but from a peer's cleartext networks.
	TLS string `yaml:"tls" default:"starttls" oneof:"starttls direct" shown:"true"`
}

// ServerPeer is an exception for one remote domain.
type ServerPeer struct {
	// The domain.
	Domain Domain `yaml:"domain" required:"true" example:"old.example"`
	// How its server proves it: by a certificate alone, by dialback as well, or as xmpp.server.dialback says.
	Authentication string `yaml:"authentication" default:"default" oneof:"default certificate dialback"`
	// The networks in which its servers may speak without TLS; dialback is then the only proof. For private links alone.
	Cleartext []Network `yaml:"cleartext" example:"192.0.2.0/28"`
}

// Used reports whether the gateway is a server.
func (s XMPPServer) Used() bool { return len(s.Domains) > 0 || s.Gateway != "" }

// All is every domain that it is the server of.
func (s XMPPServer) All() []Domain {
	if s.Gateway == "" {
		return s.Domains
	}
	return append(slices.Clone(s.Domains), s.Gateway)
}

// Used reports whether there is an XMPP side at all.
func (x XMPP) Used() bool { return len(x.Components) > 0 || x.Server.Used() }

// Component is one connection to an XMPP server as a component.
type Component struct {
	// Its name in next_hops, logs and metrics: letters, digits, dots, hyphens and underscores, at most 63.
	Name Name `yaml:"name" required:"true" example:"prosody"`
	// The host and port of the server's component listener. The stream is not encrypted (XEP-0114): use loopback or a
	// network of your own.
	Server Server `yaml:"server" required:"true" example:"127.0.0.1:5347"`
	// The domain that the server knows the component by: the SIP domain whose users the XMPP side writes to. The server hands
	// all stanzas for this domain to the gateway. Several servers may each have it as their component.
	Domain Domain `yaml:"domain" required:"true" example:"example.net"`
	// The domains that the server speaks for: the domain of a stanza's 'from' must be one of them, else the stanza is refused.
	// Each needs a route. Components of the same domain serve different ones.
	Serves []Domain `yaml:"serves" required:"true" example:"example.com"`
	// Domains whose users the XMPP users write to at this component's own domain, because they cannot reach those domains by name:
	// romeo@example.org as romeo\40example.org@DOMAIN, in both directions. Each needs a route. With any, the component's domain has no
	// users of its own, and needs no route. Empty: the component's domain is the one that its users have.
	Hosts []Domain `yaml:"hosts" example:"example.org"`
	// The file that holds the secret shared with the server. Nobody but its owner may read it (mode 0600 or 0400). A relative
	// path starts at the folder of this file. One line break at its end is not part of the secret. Exactly one of secret_file
	// and secret_env is needed; a secret cannot be written into this file.
	SecretFile Path `yaml:"secret_file" shown:"true" example:"/etc/isthmus/prosody.secret"`
	// The environment variable that holds the secret instead.
	SecretEnv EnvName `yaml:"secret_env" example:"ISTHMUS_PROSODY_SECRET"`
	// The secret, once ReadSecrets has read it; not a key.
	Secret Secret `yaml:"-"`
}
