package configs

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
)

// LoopbackPorts are where a gateway and those who play its peers are, on 127.0.0.1.
type LoopbackPorts struct {
	SIP, Admin int // the gateway's
	Agent      int // where the SIP side listens for what the gateway sends, over UDP
	Component  int // where the XMPP side listens for components
}

// LoopbackSides are the domains of those who are played, and what of a configuration is not its author's any more.
type LoopbackSides struct {
	SIP, XMPP string
	Replaced  []string
}

// playedXMPP is the XMPP domain that is played where the configuration routes only those to XMPP that have no route of their own.
const playedXMPP = "xmpp.test"

// plain is what is played where there is no configuration.
const plain = `sip:
  peers: [{name: driver, domains: [sip.test]}]
xmpp:
  components: [{name: driver, domain: sip.test, serves: [` + playedXMPP + `]}]
`

// OnLoopback makes of an operator's configuration one that is the same but for who is on the other side: its first SIP peer and its first component
// (or, where it has none, a component in the place of its XMPP server) are played on 127.0.0.1. What it says of limits, policy, log and of the peer itself
// stays; whether it has a store stays, in directory. The component's secret is to be in a file named
// "secret" beside it. own may be nil; folder is where the files are that it names. It fails if own has no sides that can be played.
func OnLoopback(own []byte, folder, directory string, at LoopbackPorts) (text string, s LoopbackSides, err error) {
	if own == nil {
		own = []byte(plain)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(own, &document); err != nil {
		return "", s, err
	}
	if len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		return "", s, errors.New("the configuration is not a mapping")
	}
	root := document.Content[0]

	sip := child(root, "sip")
	peers := child(sip, "peers")
	if peers == nil || len(peers.Content) == 0 {
		return "", s, errors.New("the configuration has no SIP peer that could be played")
	}
	peer := peers.Content[0]
	if s.SIP = firstOf(child(peer, "domains")); s.SIP == "" {
		return "", s, errors.New("the first SIP peer has no domain")
	}
	for _, proof := range []string{"certificates", "users", "realm", "allow_md5", "credentials", "keep_alive", "identity"} {
		if drop(peer, proof) {
			s.Replaced = append(s.Replaced, "sip.peers[0]."+proof+": the played one proves nothing but its address")
		}
	}
	set(peer, "networks", "[127.0.0.1/32]")
	peers.Content = peers.Content[:1]
	keep(sip, "peers", "t1")
	set(sip, "listeners", fmt.Sprintf("[{transport: udp, address: \"127.0.0.1:%d\"}]", at.SIP))
	s.Replaced = append(s.Replaced, "sip: one listener, UDP on loopback; one peer, the first, over UDP")

	xmpp := child(root, "xmpp")
	component := child(xmpp, "components")
	name, served := "played", s.SIP
	var hosts *yaml.Node
	if component != nil && len(component.Content) > 0 {
		c := component.Content[0]
		name = scalar(child(c, "name"))
		served, hosts = scalar(child(c, "domain")), child(c, "hosts")
		s.XMPP = firstOf(child(c, "serves"))
		s.Replaced = append(s.Replaced, "xmpp: one component, the first, of a server that is played")
	} else {
		s.XMPP = xmppRoute(root)
		s.Replaced = append(s.Replaced, "xmpp: a component link in the place of server-to-server streams")
	}
	if served != s.SIP || hosts != nil {
		s.Replaced = append(s.Replaced, "xmpp: the component is "+s.SIP+", whose users have their own addresses")
	}
	if s.XMPP == "" {
		return "", s, errors.New("the configuration names no XMPP domain that could be played")
	}
	if drop(root, "cluster") {
		s.Replaced = append(s.Replaced, "cluster: one gateway alone")
	}
	set(root, "xmpp", fmt.Sprintf("{components: [{name: %s, server: \"127.0.0.1:%d\", domain: %q, serves: [%q], secret_file: secret}]}", name, at.Component, s.SIP, s.XMPP))
	set(root, "routes", fmt.Sprintf("[{domain: %q, via: sip, next_hops: [\"sip:127.0.0.1:%d;transport=udp\"]}, {domain: %q, via: xmpp, next_hops: [\"component:%s\"]}]", s.SIP, at.Agent, s.XMPP, name))
	set(root, "admin", fmt.Sprintf("{listen: \"127.0.0.1:%d\"}", at.Admin))
	if store := child(root, "store"); store != nil {
		if drop(store, "cluster") {
			s.Replaced = append(s.Replaced, "store.cluster: one gateway alone")
		}
		set(store, "directory", fmt.Sprintf("%q", filepath.Join(directory, "store")))
		s.Replaced = append(s.Replaced, "store.directory: an empty one")
	}
	for _, key := range []string{"dns", "tls"} {
		if drop(root, key) {
			s.Replaced = append(s.Replaced, key+": nothing is looked up, nothing encrypted")
		}
	}
	if policy := child(root, "policy"); policy != nil {
		files := []*yaml.Node{child(policy, "signature_roots_file")}
		if blocked := child(policy, "blocked_files"); blocked != nil {
			files = append(files, blocked.Content...)
		}
		for _, f := range files {
			if f != nil && f.Value != "" && !filepath.IsAbs(f.Value) {
				f.Value = filepath.Join(folder, f.Value)
			}
		}
		trim(policy, scalar(child(peer, "name")), name)
	}
	out, err := yaml.Marshal(&document)
	return string(out), s, err
}

// trim leaves out of rules the peers that are not there, and rules that are for none that is.
func trim(policy *yaml.Node, known ...string) {
	rules := child(policy, "rules")
	if rules == nil {
		return
	}
	rules.Content = slices.DeleteFunc(rules.Content, func(rule *yaml.Node) bool {
		peers := child(rule, "peers")
		if peers == nil {
			return false
		}
		peers.Content = slices.DeleteFunc(peers.Content, func(p *yaml.Node) bool { return !slices.Contains(known, p.Value) })
		return len(peers.Content) == 0
	})
}

// xmppRoute is the first domain that is routed to XMPP; where only those are that have no route of their own, it is one of them.
func xmppRoute(root *yaml.Node) (domain string) {
	routes := child(root, "routes")
	if routes == nil {
		return ""
	}
	for _, r := range routes.Content {
		if scalar(child(r, "via")) != "xmpp" {
			continue
		}
		if d := scalar(child(r, "domain")); d != "*" {
			return d
		}
		domain = playedXMPP
	}
	return domain
}

// child is the value of a key; nil if n is no mapping that has it.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func scalar(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	return n.Value
}

// firstOf is the first entry of a list.
func firstOf(n *yaml.Node) string {
	if n == nil || len(n.Content) == 0 {
		return ""
	}
	return n.Content[0].Value
}

// drop takes a key out, and tells whether it was there.
func drop(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = slices.Delete(n.Content, i, i+2)
			return true
		}
	}
	return false
}

// keep takes all keys out but some.
func keep(n *yaml.Node, keys ...string) {
	for i := 0; i+1 < len(n.Content); {
		if slices.Contains(keys, n.Content[i].Value) {
			i += 2
			continue
		}
		n.Content = slices.Delete(n.Content, i, i+2)
	}
}

// set gives a key a value that is written in YAML.
func set(n *yaml.Node, key, text string) {
	var v yaml.Node
	if err := yaml.Unmarshal([]byte(text), &v); err != nil || len(v.Content) != 1 {
		panic("configs: not YAML: " + text)
	}
	if old := child(n, key); old != nil {
		*old = *v.Content[0]
		return
	}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, v.Content[0])
}
