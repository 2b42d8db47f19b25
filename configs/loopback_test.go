package configs

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Every example becomes one that the gateway takes, with both sides played and the operator's limits.
func TestLoopbackConfigurations(t *testing.T) {
	for _, name := range []string{"", "two-domains.yaml", "federation.yaml", "cluster.yaml", "bench.yaml"} {
		t.Run(name, func(t *testing.T) {
			var own []byte
			if name != "" {
				var err error
				if own, err = os.ReadFile(name); err != nil {
					t.Fatal(err)
				}
			}
			text, s, err := OnLoopback(own, "/etc/isthmus", "/tmp/x", LoopbackPorts{SIP: 20001, Admin: 20002, Agent: 20003, Component: 20004})
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse("derived", []byte(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if len(c.SIP.Listeners) != 1 || c.SIP.Listeners[0].Address.Port() != 20001 || len(c.SIP.Peers) != 1 || len(c.XMPP.Components) != 1 || c.XMPP.Server.Used() || len(c.Routes) != 2 {
				t.Errorf("not on loopback alone:\n%s", text)
			}
			if string(c.SIP.Peers[0].Domains[0]) != s.SIP || string(c.XMPP.Components[0].Serves[0]) != s.XMPP || string(c.XMPP.Components[0].Domain) != s.SIP {
				t.Errorf("sides %+v:\n%s", s, text)
			}
			if name == "" {
				return
			}
			before, err := Parse(name, own)
			if err != nil {
				t.Fatal(err)
			}
			if c.Limits != before.Limits || c.Log != before.Log {
				t.Error("the limits or the log are not the operator's")
			}
			if (c.Store.Directory == "") != (before.Store.Directory == "") {
				t.Error("whether there is a store is not the operator's choice any more")
			}
		})
	}
}

func TestLoopbackPolicy(t *testing.T) {
	const own = `
sip:
  listeners: [{transport: tls, address: "192.0.2.1:5061"}]
  peers:
    - {name: proxy, certificates: [example.net], domains: [example.net], fold_case: true, identity: require}
    - {name: other, networks: [192.0.2.9], domains: [example.org]}
xmpp:
  server: {domains: [example.net], listeners: [{address: "192.0.2.1:5269"}]}
routes:
  - {domain: example.net, via: sip}
  - {domain: example.org, via: sip}
  - {domain: "*", via: xmpp}
  - {domain: example.com, via: xmpp}
policy:
  blocked_files: [blocked, /etc/blocked]
  signature_roots_file: people.pem
  rules:
    - {name: a, peers: [proxy, other], sender_rate: 60}
    - {name: b, peers: [other], action: refuse}
    - {name: c}
tls: {certificates: [{certificate_file: a, key_file: b}]}
`
	text, s, err := OnLoopback([]byte(own), "/etc/isthmus", "/tmp/x", LoopbackPorts{SIP: 20001, Admin: 20002, Agent: 20003, Component: 20004})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("derived", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if s.XMPP != "example.com" || s.SIP != "example.net" {
		t.Errorf("sides %+v", s)
	}
	p := c.SIP.Peers[0]
	if !bool(p.FoldCase) || len(p.Certificates) != 0 || p.Identity != "verify" {
		t.Errorf("peer %+v", p)
	}
	if r := c.Policy.Rules; len(r) != 2 || r[0].Name != "a" || len(r[0].Peers) != 1 || r[0].SenderRate != 60 || r[1].Name != "c" {
		t.Errorf("rules %+v", r)
	}
	if f := c.Policy.BlockedFiles; len(f) != 2 || f[0] != "/etc/isthmus/blocked" || f[1] != "/etc/blocked" {
		t.Errorf("blocked files %q", f)
	}
	if f := c.Policy.SignatureRootsFile; f != "/etc/isthmus/people.pem" {
		t.Errorf("authorities of people %q", f)
	}
	for _, want := range []string{"certificates", "identity", "tls", "server-to-server"} {
		if !slices.ContainsFunc(s.Replaced, func(x string) bool { return strings.Contains(x, want) }) {
			t.Errorf("%q is not said to be replaced: %q", want, s.Replaced)
		}
	}
}

func TestLoopbackRefused(t *testing.T) {
	for name, own := range map[string]string{
		"no YAML": "a: [", "a list": "[]", "nothing": "", "no peers": "sip: {}", "no domain": "sip: {peers: [{name: x}]}", "no XMPP side": "sip: {peers: [{name: x, domains: [a.example]}]}",
	} {
		t.Run(name, func(t *testing.T) {
			if text, _, err := OnLoopback([]byte(own), "", "", LoopbackPorts{}); err == nil {
				t.Errorf("taken: %s", text)
			}
		})
	}
}
