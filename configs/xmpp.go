package configs

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
	// all stanzas for this domain to the gateway. Several servers may each have it as their component.
	Domain Domain `yaml:"domain" required:"true" example:"example.net"`
	// The domains that the server speaks for: the domain of a stanza's 'from' must be one of them, else the stanza is refused.
	// Each needs a route. Components of the same domain serve different ones.
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
