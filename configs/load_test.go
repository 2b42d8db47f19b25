package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// right is a configuration without a fault; the cases below change one line of it.
const right = `sip:
  listeners:
    - {transport: udp, address: "127.0.0.1:5060"}
    - {transport: tcp, address: "127.0.0.1:5060"}
  peers:
    - name: proxy
      networks: [127.0.0.1/32]
      domains: [example.net]
xmpp:
  components:
    - name: prosody
      server: 127.0.0.1:5347
      domain: example.net
      serves: [example.com]
      secret_env: SECRET
routes:
  - {domain: example.net, via: sip, next_hops: ["sip:127.0.0.1:5070;transport=udp"]}
  - {domain: example.com, via: xmpp, next_hops: ["component:prosody"]}
admin: {listen: "unix:/run/isthmus/admin.sock"}
log: {level: warn}
limits: {messages: {direct_wait: 20s}}
`

func noEnvironment(string) (string, bool) { return "", false }

func environment(pairs ...string) Environment {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestParse(t *testing.T) {
	c, err := Parse("right.yaml", []byte(right))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.SIP.Listeners[1].Address.String(); got != "127.0.0.1:5060" {
		t.Errorf("address = %s", got)
	}
	if got := c.SIP.Peers[0].Networks[0].String(); got != "127.0.0.1/32" {
		t.Errorf("network = %s", got)
	}
	if got := c.Routes[1].NextHops[0]; got.Component != "prosody" || got.String() != "component:prosody" {
		t.Errorf("next hop = %v", got)
	}
	if got := c.Routes[0].NextHops[0].Static.String(); got != "sip:127.0.0.1:5070;transport=udp" {
		t.Errorf("next hop = %s", got)
	}
	if got := c.Admin.Listen; got.Network() != "unix" || got.Text() != "/run/isthmus/admin.sock" {
		t.Errorf("admin = %v", got)
	}
	if c.Log.Level != "warn" || c.Limits.Messages.DirectWait.Std() != 20*time.Second {
		t.Errorf("written values: level %q, direct_wait %v", c.Log.Level, c.Limits.Messages.DirectWait)
	}
	if c.SIP.T1.Std() != 500*time.Millisecond || c.Limits.Messages.Total != 20000 || c.Limits.XMPP.Stanza.Octets() != 256<<10 {
		t.Errorf("defaults: t1 %v, total %v, stanza %v", c.SIP.T1, c.Limits.Messages.Total, c.Limits.XMPP.Stanza)
	}
	if c.XMPP.KeepAlive.Std() != 20*time.Second || c.SIP.Peers[0].FoldCase {
		t.Errorf("defaults: keep_alive %v, fold_case %v", c.XMPP.KeepAlive, c.SIP.Peers[0].FoldCase)
	}
}

// Each case changes one place of the right configuration and names every fault that must come of it, whole.
func TestParseFaults(t *testing.T) {
	for _, c := range []struct {
		name, old, text string
		want            []string
	}{
		{"unknown key, near", "level: warn", "levle: warn", []string{`f:20:7: log: unknown key "levle"; did you mean level?`}},
		{"admin port on a SIP listener", `"unix:/run/isthmus/admin.sock"`, `"127.0.0.1:5060"`, []string{
			`f:19:17: admin.listen: the port is that of sip.listeners[1].address on line 4; write another port, or unix:/run/isthmus/admin.sock`,
		}},
		{"unknown key, hyphen", "secret_env: SECRET", "secret-env: SECRET", []string{
			`f:11:7: xmpp.components[0]: no secret is named; write secret_file: and a path, or secret_env: and the name of a variable`,
			`f:15:7: xmpp.components[0]: unknown key "secret-env"; did you mean secret_env?`,
		}},
		{"unknown key, far", "level: warn", "colour: warn", []string{`f:20:7: log: unknown key "colour"; the keys known here are: level`}},
		{"secret in the file", "secret_env: SECRET", "secret_env: SECRET\n      secret: hunter2", []string{
			`f:16:7: xmpp.components[0].secret: a secret may not be written into the configuration; name a file with secret_file, or an environment variable with secret_env, and change the secret: it has been in this file`,
		}},
		{"wrong type: word for a list", "domains: [example.net]", "domains: example.net", []string{
			`f:8:16: sip.peers[0].domains: a list is expected here, not one value; write each entry on a line of its own, after a hyphen`,
		}},
		{"wrong type: list for a word", "level: warn", "level: [warn]", []string{`f:20:14: log.level: one value is expected here, not a list; write level: info`}},
		{"wrong type: list for keys", `log: {level: warn}`, "log: [warn]", []string{
			`f:20:6: log: keys are expected here, not a list; write the keys on lines of their own, indented: level`,
		}},
		{"bad word", "level: warn", "level: warning", []string{`f:20:14: log.level: "warning" is not known here; did you mean warn? write one of: debug, info, warn, error`}},
		{"missing", "name: proxy", "", []string{`f:7:7: sip.peers[0].name: missing; write name: example-net-proxy`}},
		{"no value", "name: proxy", "name:", []string{`f:6:12: sip.peers[0].name: no value; write one, or leave the key out`}},
		{"empty list", "domains: [example.net]", "domains: []", []string{`f:8:16: sip.peers[0].domains: the list is empty; write domains: ["example.net"]`}},
		{"neither network nor certificate", "networks: [127.0.0.1/32]", "certificates: []", []string{"f:6:7: sip.peers[0]: nothing tells its requests from a stranger's; write networks, or certificates"}},
		{"the same certificate twice", "networks: [127.0.0.1/32]", "certificates: [example.net, example.net]", []string{"f:7:35: sip.peers[0].certificates[1]: the same certificate for the same domain again; the first is sip.peers[0].certificates[0] on line 7; a certificate can be that of one peer only for each domain"}},
		{"a listener without its certificate", "transport: tcp", "transport: wss, origins: [https://chat.example.net]", []string{"f:4:19: sip.listeners[1].transport: there is no certificate to show; write tls.certificates"}},
		{"origins of UDP", "transport: udp", "transport: udp, origins: [https://chat.example.net]", []string{"f:3:33: sip.listeners[0].origins: origins of what is no WebSocket; remove it, or write transport: wss"}},
		{"no origin", "transport: tcp", "transport: ws, origins: ['*']", []string{`f:4:33: sip.listeners[1].origins[0]: "*" is no origin; write scheme and host as in "https://chat.example.net"`}},
		{"empty entry", "[127.0.0.1/32]", "[~]", []string{`f:7:18: sip.peers[0].networks[0]: no value; write an entry, or remove the hyphen`}},
		{"key twice", "{level: warn}", "{level: warn, level: info}", []string{`f:20:20: log.level: written a second time; keep one; the first is on line 20`}},
		{"name, not address", "127.0.0.1:5060", "localhost:5060", []string{
			`f:3:33: sip.listeners[0].address: "localhost:5060" is a name; write the address: "127.0.0.1:5060"`,
		}},
		{"address without port", `"127.0.0.1:5060"`, "127.0.0.1", []string{
			`f:3:33: sip.listeners[0].address: "127.0.0.1" has no port; write "127.0.0.1:5060"`,
		}},
		{"port without address", `"127.0.0.1:5060"`, `":5060"`, []string{
			`f:3:33: sip.listeners[0].address: ":5060" has no address; write "127.0.0.1:5060", or "0.0.0.0:5060" for all of them`,
		}},
		{"all addresses", `"127.0.0.1:5060"`, `"0.0.0.0:5060"`, []string{
			`f:3:33: sip.listeners[0].address: bound to all addresses, and sip.advertise does not say which one others reach; write sip.advertise, or one address here`,
		}},
		{"host bits", "127.0.0.1/32", "127.0.0.1/8", []string{
			`f:7:18: sip.peers[0].networks[0]: "127.0.0.1/8" has bits beyond its length; write "127.0.0.0/8" for the network, or "127.0.0.1" for the address`,
		}},
		{"every address", "127.0.0.1/32", "0.0.0.0/0", []string{
			`f:7:18: sip.peers[0].networks[0]: "0.0.0.0/0" is every address there is; name the addresses that the peer sends from, or the users that prove themselves`,
		}},
		{"every address, with users", "networks: [127.0.0.1/32]", "networks: [0.0.0.0/0]\n      users: [{name: a, address: 'sip:a@example.net', password_env: A}]", nil},
		{"users", "networks: [127.0.0.1/32]", "networks: [127.0.0.1/32]\n      users: [{name: a, address: 'sip:a@example.org'}, {name: a, address: 'sip:b@example.net', password_env: A, password_file: b}, {name: c, address: 'sip:Alice@example.net', password_env: A}]", []string{
			`f:8:15: sip.peers[0].users[0]: no secret is named; write password_file: and a path, or password_env: and the name of a variable`,
			`f:8:34: sip.peers[0].users[0].address: example.org is not one of the peer's domains; add it to domains, or write an address of another`,
			`f:8:63: sip.peers[0].users[1].name: the same user again; the first is sip.peers[0].users[0].name on line 8; give each user a name of its own`,
			`f:8:110: sip.peers[0].users[1].password_env: the secret is named twice; keep password_file or password_env`,
			`f:8:151: sip.peers[0].users[2].address: "sip:Alice@example.net" is no address of a SIP user; write as in sip:alice@example.net, in lower case`,
		}},
		{"credentials", "networks: [127.0.0.1/32]", "networks: [127.0.0.1/32]\n      realm: r\n      credentials: {realm: r}", []string{
			`f:8:14: sip.peers[0].realm: a realm without users; write users, or remove it`,
			`f:9:20: sip.peers[0].credentials: credentials without a username; write username: and the name that the peer knows the gateway by`,
		}},
		{"credentials without realm or password", "networks: [127.0.0.1/32]", "networks: [127.0.0.1/32]\n      credentials: {username: u}", []string{
			`f:8:20: sip.peers[0].credentials: no secret is named; write password_file: and a path, or password_env: and the name of a variable`,
			`f:8:20: sip.peers[0].credentials: credentials without a realm; write realm: and what the peer's challenge says`,
		}},
		{"no network", "127.0.0.1/32", "local", []string{
			`f:7:18: sip.peers[0].networks[0]: "local" is no network; write as in 192.0.2.0/24, 2001:db8::/32 or 127.0.0.1`,
		}},
		{"address for a domain", "serves: [example.com]", "serves: [juliet@example.com]", []string{
			`f:14:16: xmpp.components[0].serves[0]: "juliet@example.com" is an address; write the domain alone: "example.com"`,
		}},
		{"no domain", "serves: [example.com]", "serves: [example..com]", []string{
			`f:14:16: xmpp.components[0].serves[0]: "example..com" is no domain name: a label that is not empty; write as in example.net`,
		}},
		{"duration without unit", "direct_wait: 20s", "direct_wait: 20", []string{
			`f:21:34: limits.messages.direct_wait: "20" has no unit; write "20s" for seconds, or ms, m, h`,
		}},
		{"duration too long", "direct_wait: 20s", "direct_wait: 31s", []string{
			`f:21:34: limits.messages.direct_wait: "31s" is more than the most, 30s; write a value from 1s to 30s`,
		}},
		{"duration negative", "direct_wait: 20s", "direct_wait: -1s", []string{
			`f:21:34: limits.messages.direct_wait: "-1s" is negative; write a duration from 0s`,
		}},
		{"size with a decimal unit", "messages: {direct_wait: 20s}", "xmpp: {stanza: 64KB}", []string{
			`f:21:25: limits.xmpp.stanza: "64KB" has no unit that is known; write "64KiB"`,
		}},
		{"size too small", "messages: {direct_wait: 20s}", "xmpp: {stanza: 9999B}", []string{
			`f:21:25: limits.xmpp.stanza: "9999B" is less than the least, 10000B; write a value from 10000B to 16MiB`,
		}},
		{"count", "messages: {direct_wait: 20s}", "xmpp: {depth: 1e3}", []string{
			`f:21:24: limits.xmpp.depth: "1e3" is no whole number; write digits only, as in 1000`,
		}},
		{"unknown component", "component:prosody", "component:prosodi", []string{
			`f:18:50: routes[1].next_hops[0]: there is no component "prosodi"; did you mean component:prosody?`,
		}},
		{"next hop of the other side", `"component:prosody"`, `"sip:127.0.0.1"`, []string{
			`f:18:50: routes[1].next_hops[0]: "sip:127.0.0.1" is not reached via xmpp here; write "component:" and a name under xmpp.components`,
		}},
		{"next hop of no kind", `"component:prosody"`, `"127.0.0.1"`, []string{
			`f:18:50: routes[1].next_hops[0]: "127.0.0.1" is no next hop: expected sip:, sips:, xmpp:, xmpps: or component:; write as in "sip:192.0.2.7:5060;transport=tcp" or "component:prosody"`,
		}},
		{"next hop in a circle", "sip:127.0.0.1:5070;transport=udp", "sip:127.0.0.1:5060;transport=udp", []string{
			`f:17:49: routes[0].next_hops[0]: "sip:127.0.0.1:5060;transport=udp" is a listener of this gateway: every message would go in a circle; write the address of the proxy of example.net`,
		}},
		{"next hop without a listener", "transport=udp", "transport=tls", []string{
			`f:17:49: routes[0].next_hops[0]: no listener has the transport of "sip:127.0.0.1:5070;transport=tls"; write one of the transports of sip.listeners, as in "sip:192.0.2.7:5060;transport=udp"`,
		}},
		{"component routed to itself", "serves: [example.com]", "serves: [example.net]", []string{
			`f:14:16: xmpp.components[0].serves[0]: the route of example.net goes via sip, so nobody here can send as it; change the route to via: xmpp, or remove the domain here`,
		}},
		{"hosted domain without a route", "serves: [example.com]", "serves: [example.com]\n      hosts: [example.org, example.com, example.net]", []string{
			`f:15:15: xmpp.components[0].hosts[0]: no route leads example.org to another side: what the server hands over for it could go nowhere; add {domain: example.org, via: sip, next_hops: […]} to routes`,
			`f:15:28: xmpp.components[0].hosts[1]: example.com is the component's own domain, or one that it serves; write the domains of the other side`,
			`f:15:41: xmpp.components[0].hosts[2]: example.net is the component's own domain, or one that it serves; write the domains of the other side`,
		}},
		{"domain without a route", "domains: [example.net]", "domains: [example.net, example.org]", []string{
			`f:8:30: sip.peers[0].domains[1]: no route for example.org: answers, reports and presence could not go back to it; add {domain: example.org, via: sip, next_hops: […]} to routes`,
		}},
		{"route twice", "  - {domain: example.com, via: xmpp", "  - {domain: EXAMPLE.net., via: sip, next_hops: [\"sip:127.0.0.1:5071\"]}\n  - {domain: example.com, via: xmpp", []string{
			`f:18:14: routes[1].domain: the same domain again; the first is routes[0].domain on line 17; put all next hops into one route`,
		}},
		{"admin on every address", "unix:/run/isthmus/admin.sock", "0.0.0.0:9090", []string{
			`f:19:17: admin.listen: "0.0.0.0:9090" could be reached from other machines, and the admin port has no password; write unix:/run/isthmus/admin.sock or "127.0.0.1:9090"`,
		}},
		{"anchor", "level: warn", "level: &a warn", []string{`f:20:14: log.level: an anchor (&) is not allowed; write the value alone`}},
		{"tag", "level: warn", "level: !x warn", []string{`f:20:14: log.level: a tag (!) is not allowed; write the value alone`}},
		{"unknown alias", "level: warn", "level: *hunter2", []string{"f:1:1: no YAML; see `isthmus config` for the form of the file"}},
		{"second document", "level: warn}\n", "level: warn}\n---\na: b\n", []string{`f:21:1: a second document begins here; keep one document, without ---`}},
		{"no YAML", "level: warn", "level: 'warn", []string{"f:20:1: no YAML: found unexpected end of stream; see `isthmus config` for the form of the file"}},
		{"merge", "{level: warn}", "{level: warn, <<: {}}", []string{`f:20:20: log: a key must be a plain word; write one of: level`}},
		{"secret named twice", "secret_env: SECRET", "secret_env: SECRET\n      secret_file: x", []string{
			`f:15:19: xmpp.components[0].secret_env: the secret is named twice; keep secret_file or secret_env`,
		}},
		{"secret for its variable", "secret_env: SECRET", "secret_env: hunter-2", []string{
			`f:15:19: xmpp.components[0].secret_env: no name of an environment variable; write the variable's name, as in ISTHMUS_SECRET, and the secret into the variable`,
		}},
		{"backoff", "secret_env: SECRET", "secret_env: SECRET\n  backoff_first: 30s\n  backoff_longest: 20s", []string{
			`f:17:20: xmpp.backoff_longest: less than backoff_first; write at least 30s`,
		}},
		{"two components between the same domains", "routes:\n", "    - {name: other, server: \"127.0.0.1:5348\", domain: example.net, serves: [example.com], secret_env: SECRET}\nroutes:\n", []string{
			`f:16:77: xmpp.components[1].serves[0]: the same domain behind the same component again; the first is xmpp.components[0].serves[0] on line 14; one link leads to a domain: remove it from the others`,
		}},
		{"one component of one server twice", "routes:\n  -", "    - {name: other, server: \"127.0.0.1:5347\", domain: example.net, serves: [example.org], secret_env: SECRET}\nroutes:\n  - {domain: example.org, via: xmpp, next_hops: [\"component:other\"]}\n  -", []string{
			`f:16:55: xmpp.components[1].domain: the same component of the same server again; the first is xmpp.components[0].domain on line 13; remove one of them`,
		}},
		{"switch", "domains: [example.net]", "domains: [example.net]\n      fold_case: yes", []string{`f:9:18: sip.peers[0].fold_case: "yes" is neither on nor off; write true or false`}},
		{"peers that cannot be told apart", "xmpp:\n", "    - {name: other, networks: [127.0.0.1], domains: [example.net]}\nxmpp:\n", []string{
			`f:9:32: sip.peers[1].networks[0]: the same network for the same domain again; the first is sip.peers[0].networks[0] on line 7; an address can be one peer only for each domain`,
		}},
		{"nobody publishes", "xmpp:\n", "  published:\n    - {domain: example.com, authorize: everyone}\nxmpp:\n", []string{
			`f:10:16: sip.published[0].domain: no peer may send as example.com, so nobody can publish there; write it under the domains of a peer in sip.peers`,
		}},
		{"published to whom", "xmpp:\n", "  publish_to:\n    - {peer: prox, to: \"xmpp:ps.example.net\", as: presence@example.com, users: [juliet]}\nxmpp:\n", []string{
			`f:10:14: sip.publish_to[0].peer: there is no peer "prox"; write a name under sip.peers`,
			`f:10:24: sip.publish_to[0].to: "xmpp:ps.example.net" is no SIP next hop; write as in "sip:192.0.2.7:5060;transport=tcp" or "sip:ps.example.net"`,
			`f:10:81: sip.publish_to[0].users[0]: "juliet" is no mailbox; write as in presence@example.net`,
		}},
		{"published as whom", "xmpp:\n", "  publish_to:\n    - {peer: proxy, to: \"sip:192.0.2.7\", as: presence@example.com}\nxmpp:\n", []string{
			`f:10:46: sip.publish_to[0].as: example.com is no domain of the peer proxy; write a mailbox in one of its domains`,
		}},
		{"limits that contradict", "messages: {direct_wait: 20s}", "sip: {min_expires: 1h, max_expires: 1m, message: 4KiB}", []string{
			`f:21:15: limits.sip.body: more than limits.sip.message; write at most 4KiB`,
			`f:21:46: limits.sip.max_expires: less than min_expires; write at least 1h`,
		}},
		{"xmpp without a next hop", `, next_hops: ["component:prosody"]`, "", []string{
			`f:18:5: routes[1]: a route via xmpp without next_hops; write next_hops: ["component:NAME"], with a name under xmpp.components, or xmpp.server to reach servers by DNS`,
		}},
		{"any domain", "{domain: example.com, via: xmpp", "{domain: '*', via: xmpp", nil},
		{"a server's next hop without a server", `"component:prosody"`, `"xmpp:192.0.2.8"`, []string{
			`f:18:50: routes[1].next_hops[0]: "xmpp:192.0.2.8" is not reached via xmpp here; write "component:" and a name under xmpp.components`,
		}},
		{"server", "routes:", "  server: {domains: [example.org], listeners: [{address: '0.0.0.0:5269'}], dialback: tls}\nroutes:\n  - {domain: example.org, via: sip}", nil},
		{"server without certificates or route", "routes:", "  server: {domains: [example.org, example.net]}\nroutes:", []string{
			`f:16:11: xmpp.server: there is no certificate to prove its domains by; write tls.certificates, or allow dialback`,
			`f:16:22: xmpp.server.domains[0]: no route leads example.org to another side: what servers send to it could go nowhere; add {domain: example.org, via: sip, next_hops: […]} to routes`,
			`f:16:35: xmpp.server.domains[1]: the component prosody has this domain: its server is the one of it; remove the domain here or the component`,
		}},
		{"server's peers", "routes:", "  server: {domains: [example.org], dialback: tls, peers: [{domain: example.com}, {domain: example.com, authentication: certificate, cleartext: [10.0.0.0/8]}, {domain: example.edu}, {domain: example.net}]}\nroutes:\n  - {domain: example.org, via: sip}", []string{
			`f:16:91: xmpp.server.peers[1].domain: the same domain again; the first is xmpp.server.peers[0].domain on line 16; remove one of them`,
			`f:16:144: xmpp.server.peers[1].cleartext: without TLS only dialback can prove the domain; write authentication: dialback, or remove cleartext`,
			`f:16:168: xmpp.server.peers[2].domain: no route for example.edu: nothing could come from it or go to it; add {domain: example.edu, via: xmpp} to routes`,
			`f:16:191: xmpp.server.peers[3].domain: the route of example.net goes via sip; change the route to via: xmpp, or remove the peer`,
		}},
		{"server with a gateway", "routes:", "  server: {gateway: gw.example.com, hosts: [example.org], dialback: tls}\nroutes:\n  - {domain: example.org, via: sip}", nil},
		{"server with a gateway alone", "routes:", "  server: {domains: [example.org], gateway: example.org, dialback: tls}\nroutes:\n  - {domain: example.org, via: sip}", []string{
			`f:16:11: xmpp.server: gateway and hosts are needed together; write both or neither`,
			`f:16:45: xmpp.server.gateway: the same domain again; the first is xmpp.server.domains[0] on line 16; write a domain that has no users`,
		}},
		{"server without domains", "routes:", "  server: {listeners: [{address: '0.0.0.0:5269'}]}\nroutes:", []string{
			`f:16:11: xmpp.server: a server without domains; write domains: and the SIP domains that it is the server of`,
		}},
		{"no DNS server", "admin:", "dns: {servers: [dns.example.net]}\nadmin:", []string{
			`f:19:17: dns.servers[0]: "dns.example.net" is no DNS server: expected an IP address and perhaps a port; write as in "192.0.2.53" or "tls://192.0.2.53#dns.example.net"`,
		}},
		{"policy", "admin:", "policy: {rules: [{name: a, peers: [prosody], from: [example.com], operations: [messages], sender_rate: 5, sender_burst: 9}], tenants: [{name: t, domains: ['*.example.net', example.net]}]}\nadmin:", nil},
		{"a rule for two peers of one name", "routes:", "  server: {domains: [example.org], dialback: tls, peers: [{domain: prosody, authentication: dialback}]}\npolicy: {rules: [{name: a, peers: [prosody, strangers]}]}\nroutes:\n  - {domain: prosody, via: xmpp}\n  - {domain: example.org, via: sip}", []string{
			`f:17:36: policy.rules[0].peers[0]: "prosody" is the name of several peers, under xmpp.components and xmpp.server.peers; give them names of their own`,
		}},
		{"a policy that cannot be", "admin:", "policy: {rules: [{name: a, peers: [prosodi], from: [b@example.com], operations: [talk]}, {name: a, action: refuse, new_contacts: 5, sender_burst: 3}], tenants: [{name: t, domains: [example.net, 'im:a@example.net']}, {name: u, domains: [EXAMPLE.net]}], blocked_files: [x, x]}\nadmin:", []string{
			`f:19:36: policy.rules[0].peers[0]: there is no peer "prosodi"; did you mean prosody?`,
			`f:19:53: policy.rules[0].from[0]: "b@example.com" is an address without a scheme: write "im:b@example.com"; write "example.net", "*.example.net", "im:romeo@example.net" or "*"`,
			`f:19:82: policy.rules[0].operations[0]: "talk" is neither messages nor presence; write one of them`,
			`f:19:90: policy.rules[1]: bounds of what is refused; remove them, or write action: allow`,
			`f:19:97: policy.rules[1].name: the same name again; the first is policy.rules[0].name on line 19; write another one`,
			`f:19:147: policy.rules[1].sender_burst: a burst without a rate; write sender_rate`,
			`f:19:195: policy.tenants[0].domains[1]: "im:a@example.net" is no domain; write "example.net" or "*.example.net"`,
			`f:19:237: policy.tenants[1].domains[0]: the same domain again; the first is policy.tenants[0].domains[0] on line 19; a domain belongs to one tenant`,
			`f:19:272: policy.blocked_files[1]: the same file again; the first is policy.blocked_files[0] on line 19; remove one of them`,
		}},
		{"rules for signatures", "admin:", "policy: {signature_roots_file: people.pem, rules: [{name: a, signature: require, encrypted: refuse}, {name: b, signature: mark}]}\nadmin:", nil},
		{"rules for signatures that cannot be", "admin:", "policy: {rules: [{name: a, signature: require}, {name: b, action: refuse, encrypted: refuse}, {name: c, signature: demand}]}\nadmin:", []string{
			`f:19:39: policy.rules[0].signature: nobody is known whose certificates count; write policy.signature_roots_file`,
			`f:19:49: policy.rules[1]: what becomes of messages that are refused; remove signature and encrypted, or write action: allow`,
			`f:19:116: policy.rules[2].signature: "demand" is not known here; write one of: ignore, mark, require`,
		}},
		{"two at once", "level: warn}\nlimits:", "lvl: warn}\nlimit:", []string{
			`f:20:7: log: unknown key "lvl"; did you mean level?`,
			`f:21:1: unknown key "limit"; did you mean limits?`,
		}},
		{"empty file", right, "", []string{`f:1:1: routes: missing; write routes: and below it at least one entry, after a hyphen`}},
		{"a word for a file", right, "hello", []string{
			`f:1:1: keys are expected here, not one value; write the keys on lines of their own, indented: sip, xmpp, routes, policy, store, dns, tls, admin, log, limits`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(right, c.old, c.text, 1)
			if text == right {
				t.Fatalf("the case changes nothing: %q", c.old)
			}
			_, err := Parse("f", []byte(text))
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// A file that is wrong everywhere gets all of its faults in one run, in the order of its lines.
func TestParseAllFaultsAtOnce(t *testing.T) {
	const text = `sip:
  listeners: [{transport: sctp, address: nowhere}]
  peers: [{name: "a b", networks: [x], domains: [y..z]}]
xmpp:
  components: [{server: no-port, domain: "-", serves: []}]
routes: [{domain: example.net, via: pigeon, next_hops: [nowhere]}]
admin: {listen: "192.0.2.1:80"}
log: {level: loud}
limits: {drain: forever}
extra: 1
`
	_, err := Parse("f", []byte(text))
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error = %v", err)
	}
	want := []string{
		"sip.listeners[0].transport", "sip.listeners[0].address", "sip.peers[0].name", "sip.peers[0].networks[0]",
		"sip.peers[0].domains[0]", "xmpp.components[0].name", "xmpp.components[0]", "xmpp.components[0].server",
		"xmpp.components[0].domain", "xmpp.components[0].serves", "routes[0].via", "routes[0].next_hops[0]", "admin.listen",
		"log.level", "limits.drain", "",
	}
	var got []string
	for _, f := range faults {
		got = append(got, f.Path)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths of faults (-want +got):\n%s\n%v", diff, err)
	}
}

// A file that is no configuration at all does not become more faults than anybody reads.
func TestParseManyFaults(t *testing.T) {
	_, err := Parse("f", []byte(strings.Repeat("word: x\n", 100_000)))
	var faults Faults
	if !errors.As(err, &faults) || len(faults) > maxFaults+2 || !strings.Contains(err.Error(), "f:1001:1: more than 1000 faults: the rest is not told") {
		t.Errorf("%d faults, %.200v", len(faults), err)
	}
}

// Each example file is right, and each of its keys is in the reference, which is right as well.
func TestExampleFiles(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("example files: %v, %v", files, err)
	}
	known := keys(t, Reference())
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(name, text)
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			continue
		}
		for path := range keys(t, string(text)) {
			if !known[path] {
				t.Errorf("%s: the key %s is not in the reference", name, path)
			}
		}
		_ = c
	}
}

// keys is every path that a text gives a value, the indexes of lists left out. Keys shown as comments count as well.
func keys(t *testing.T, text string) map[string]bool {
	t.Helper()
	text = strings.ReplaceAll(strings.ReplaceAll(text, "# secret_env: I", "secret_env: I"), "# advertise: g", "advertise: g")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "# servers: [", "servers: ["), "# allow: [", "allow: [")
	text = strings.ReplaceAll(text, "# node: a", "node: a")
	root, fault := readDocument([]byte(text))
	if fault != nil {
		t.Fatal(fault)
	}
	d := decoder{origin: origin{at: make(map[string]position)}}
	d.config(root, &Config{})
	set := make(map[string]bool)
	for path := range d.at {
		for {
			before, after, ok := strings.Cut(path, "[")
			if !ok {
				break
			}
			_, after, _ = strings.Cut(after, "]")
			path = before + after
		}
		set[path] = true
	}
	return set
}

// The reference says what an empty file means: its defaults are the defaults.
func TestReferenceTellsDefaults(t *testing.T) {
	c, err := Parse("reference.yaml", []byte(Reference()))
	if err != nil {
		t.Fatal(err)
	}
	d, _ := parse("empty.yaml", nil)
	if diff := cmp.Diff(d.Limits, c.Limits); diff != "" {
		t.Errorf("limits (-default +reference):\n%s", diff)
	}
	if c.Log != d.Log || c.SIP.T1 != d.SIP.T1 {
		t.Error("log level or T1 of the reference are not the defaults")
	}
}

func TestLoad(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "c.yaml")
	if _, err := Load(file, noEnvironment); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(file, []byte(right), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, environment("SECRET", "s3cret"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.XMPP.Components[0].Secret.Reveal(); got != "s3cret" {
		t.Errorf("secret = %q", got)
	}
	// Faults of the file and of the secrets come together.
	if err := os.WriteFile(file, []byte(strings.Replace(right, "level: warn", "level: loud", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(file, noEnvironment)
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != 2 || faults[0].Line != 15 || faults[1].Line != 20 {
		t.Errorf("faults = %v", err)
	}
}

// T-OV-07: ten thousand domains are read in well under the five seconds of a start.
func BenchmarkParseTenThousandRoutes(b *testing.B) {
	var text strings.Builder
	text.WriteString("sip: {listeners: [{transport: udp, address: '127.0.0.1:5060'}]}\nroutes:\n")
	for i := range 10_000 {
		text.WriteString("  - {domain: d")
		text.WriteString(Count(i).String())
		text.WriteString(".example.net, via: sip, next_hops: ['sip:127.0.0.1:5070;transport=udp']}\n")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("f", []byte(text.String())); err != nil {
			b.Fatal(err)
		}
	}
}
