package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

const policyExample = `
sip:
  listeners: [{transport: udp, address: "127.0.0.1:5060"}]
  peers:
    - {name: trunk, networks: [127.0.0.1/32], domains: [example.net, verona.example]}
xmpp:
  components:
    - {name: prosody, server: "127.0.0.1:5347", domain: example.net, serves: [example.com, a.spam.example], secret_env: SECRET}
    - {name: second, server: "127.0.0.1:5347", domain: verona.example, serves: [example.com], secret_env: SECRET}
routes:
  - {domain: example.net, via: sip, next_hops: ["sip:127.0.0.1:5070;transport=udp"]}
  - {domain: verona.example, via: sip, next_hops: ["sip:127.0.0.1:5070;transport=udp"]}
  - {domain: example.com, via: xmpp, next_hops: ["component:prosody"]}
  - {domain: a.spam.example, via: xmpp, next_hops: ["component:prosody"]}
policy:
  rules:
    - {name: quiet-prince, to: ["im:prince@example.net"], operations: [messages], action: refuse}
    - {name: partners, peers: [prosody], from: [example.com], to: [example.net, "*.example"], max_content: 1KiB, sender_rate: 60, sender_burst: 5, new_contacts: 20}
    - {name: home, from: [example.net], to: [example.com, a.spam.example]}
    - {name: signed, from: ["im:mercutio@other.example"], signature: require, encrypted: refuse}
  tenants:
    - {name: capulet, domains: [example.com], messages: 100, rate: 50}
    - {name: montague, domains: ["*.example", verona.example]}
  blocked_files: [BLOCKED]
  signature_roots_file: ROOTS
`

// Who may do what is shown whole, and asked for one pair of addresses with the same answer as the gateway's.
func TestCheckPolicy(t *testing.T) {
	blocked, err := filepath.Abs("testdata/blocked")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "isthmus.yaml")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("BLOCKED", blocked, "ROOTS", certstest.NewCA(t).WriteRoot(t.TempDir())).Replace(policyExample)), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := map[string]string{"SECRET": "x"}
	got := isthmus(t, "", secret, "check", "-c", file)
	for _, want := range []string{
		"rule         quiet-prince: by anyone's peer: anyone may not send messages to im:prince@example.net\n",
		"rule         partners: by prosody: example.com may send messages and presence to example.net, *.example; at most 1024 octets a message; each sender 60 messages a minute, 5 at once; each sender 20 new recipients an hour\n",
		"rule         signed: by anyone's peer: im:mercutio@other.example may send messages and presence to anyone; messages must be signed; no text beside an encrypted message\n",
		"rule         -: everything else is refused\n",
		"tenant       capulet, of example.com: nothing passes to other tenants; at most 100 messages under way; at most 50 messages a second\n",
		"blocked      2 entries in " + blocked + "\n",
	} {
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("code %d, want %q in\n%s%s", got.code, want, got.out, got.err)
		}
	}
	for _, c := range []struct {
		name, peer, from, to, messages, presence string
		code                                     int
	}{
		{"allowed", "prosody", "juliet@example.com", "im:romeo@example.net", "allowed by rule partners; at most 1024 octets", "allowed by rule partners;", 0},
		{"the other way", "trunk", "im:romeo@example.net", "im:juliet@example.com", "allowed by rule home; route example.com via xmpp", "allowed by rule home", 0},
		{"presence alone", "prosody", "im:juliet@example.com", "im:prince@example.net", "refused by rule quiet-prince", "allowed by rule partners", 1},
		{"blocked", "prosody", "im:tybalt@example.com", "im:romeo@example.net", "refused: one of them is blocked", "refused: one of them is blocked", 1},
		{"blocked below", "trunk", "im:romeo@example.net", "im:x@a.spam.example", "refused: one of them is blocked", "", 1},
		{"two tenants", "second", "im:juliet@example.com", "im:a@verona.example", "refused: their domains belong to different tenants", "", 1},
		{"not by this link", "prosody", "im:juliet@example.com", "im:a@verona.example", "refused: the component prosody does not lead to verona.example", "refused: the component", 1},
		{"capitals", "prosody", "Juliet@example.com", "im:romeo@example.net", "allowed by rule partners", "allowed by rule partners", 0},
		{"no rule", "trunk", "im:a@verona.example", "im:nurse@example.com", "refused: their domains belong", "", 1},
		{"another's domain", "trunk", "im:juliet@example.com", "im:romeo@example.net", "refused: the peer trunk may not send as example.com", "", 1},
		{"no route", "trunk", "im:romeo@example.net", "im:a@nowhere.example", "refused: the recipient's domain has no route", "", 1},
		{"the same side", "trunk", "im:romeo@example.net", "im:a@verona.example", "refused: the recipient's domain is on the sender's own side", "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := isthmus(t, "", secret, "check", "-c", file, "--as", c.peer, c.from, c.to)
			lines := strings.Split(got.out, "\n")
			if got.code != c.code || len(lines) != 3 || !strings.Contains(lines[0], c.messages) || !strings.Contains(lines[1], c.presence) {
				t.Errorf("code %d\n%s%s", got.code, got.out, got.err)
			}
		})
	}
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"one address", "two addresses come with it", []string{"--as", "trunk", "im:a@example.net"}},
		{"addresses alone", "--as takes a peer", []string{"im:a@example.net", "im:b@example.com"}},
		{"no such peer", `there is no peer "trunks"`, []string{"--as", "trunks", "im:a@example.net", "im:b@example.com"}},
		{"no address", `"im:" is no address`, []string{"--as", "trunk", "im:", "im:b@example.com"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := isthmus(t, "", secret, append([]string{"check", "-c", file}, c.args...)...); got.code != 2 || !strings.Contains(got.err, c.want) {
				t.Errorf("code %d, %q, want %q", got.code, got.err, c.want)
			}
		})
	}
}

// That both domains have routes is not enough: a message leaves to XMPP by a component that is for the sender's domain, or stands for it, and that
// serves the recipient's, or as from a domain of xmpp.server. For any other the adapter finds no way, and check must say so.
func TestCheckKnowsWhichComponentLeadsWhere(t *testing.T) {
	const text = `
sip:
  listeners: [{transport: udp, address: "127.0.0.1:5060"}]
  peers:
    - {name: trunk, networks: [127.0.0.1/32], domains: [example.net, verona.example, mantua.example]}
xmpp:
  components:
    - {name: prosody, server: "127.0.0.1:5347", domain: example.net, serves: [example.com], secret_env: SECRET}
    - {name: hosting, server: "127.0.0.1:5348", domain: gw.example, serves: [chat.example], hosts: [verona.example], secret_env: SECRET}
SERVER
routes:
  - {domain: example.net, via: sip, next_hops: ["sip:127.0.0.1:5070;transport=udp"]}
  - {domain: verona.example, via: sip, next_hops: ["sip:127.0.0.1:5070;transport=udp"]}
  - {domain: mantua.example, via: sip, next_hops: ["sip:127.0.0.1:5070;transport=udp"]}
  - {domain: example.com, via: xmpp, next_hops: ["component:prosody"]}
  - {domain: chat.example, via: xmpp, next_hops: ["component:hosting"]}
  - {domain: far.example, via: xmpp, next_hops: [FAR]}
`
	const server = "  server: {domains: [mantua.example], dialback: tls, gateway: x.mantua.example, hosts: [verona.example]}"
	secret := map[string]string{"SECRET": "x"}
	for _, c := range []struct {
		from, to, server string
		leads            bool
	}{
		{"example.net", "example.com", "", true},
		{"verona.example", "chat.example", "", true},
		{"verona.example", "example.com", "", false},
		{"example.net", "chat.example", "", false},
		{"mantua.example", "example.com", "", false},
		{"mantua.example", "example.com", server, false}, // by that component alone
		{"mantua.example", "far.example", server, true},
		{"verona.example", "far.example", server, true},
		{"example.net", "far.example", server, false},
	} {
		file := filepath.Join(t.TempDir(), "isthmus.yaml")
		if err := os.WriteFile(file, []byte(strings.NewReplacer("SERVER", c.server, "FAR", map[string]string{"": "component:hosting"}[c.server]).Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
		got := isthmus(t, "", secret, "check", "-c", file, "--as", "trunk", "im:a@"+c.from, "im:b@"+c.to)
		if refused := strings.Count(got.out, "refused: nothing under xmpp leads from "+c.from+" to "+c.to); got.code == 0 != c.leads || c.leads && refused != 0 || !c.leads && refused != 2 {
			t.Errorf("%+v: code %d\n%s%s", c, got.code, got.out, got.err)
		}
	}
}

// What is the gateway's own never comes in from other servers, and nothing goes out to it, also where a route is for every domain.
func TestCheckKnowsWhatIsOurOwn(t *testing.T) {
	const text = `
sip:
  listeners: [{transport: udp, address: "127.0.0.1:5060"}]
  peers: [{name: trunk, networks: [127.0.0.1/32], domains: [example.net, verona.example]}]
xmpp:
  components: [{name: prosody, server: "127.0.0.1:5347", domain: gw.example, serves: [example.com], hosts: [verona.example], secret_env: SECRET}]
  server: {domains: [example.net], gateway: x.example, hosts: [verona.example], dialback: tls}
routes:
  - {domain: example.net, via: sip, next_hops: ["sip:127.0.0.1:5070;transport=udp"]}
  - {domain: verona.example, via: sip, next_hops: ["sip:127.0.0.1:5070;transport=udp"]}
  - {domain: "*", via: xmpp}
`
	file := filepath.Join(t.TempDir(), "isthmus.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		peer, from, to string
		code           int
	}{
		{"strangers", "far.example", "example.net", 0},
		{"strangers", "gw.example", "example.net", 1},
		{"strangers", "x.example", "example.net", 1},
		{"trunk", "example.net", "far.example", 0},
		{"trunk", "example.net", "gw.example", 1},
		{"trunk", "example.net", "x.example", 1},
	} {
		got := isthmus(t, "", map[string]string{"SECRET": "x"}, "check", "-c", file, "--as", c.peer, "im:a@"+c.from, "im:b@"+c.to)
		if got.code != c.code || strings.Count(got.out, "refused: ") != 2*c.code {
			t.Errorf("%+v: code %d\n%s%s", c, got.code, got.out, got.err)
		}
	}
}

// Whoever is blocked in a file that cannot be read would be let in: such a configuration is refused.
func TestBlockedFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("fine.example\nnot a domain\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{bad: bad + ":2: ", filepath.Join(dir, "none"): "no such file"} {
		file := filepath.Join(dir, "isthmus.yaml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(policyExample, "BLOCKED", name)), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := isthmus(t, "", map[string]string{"SECRET": "x"}, "check", "-c", file); got.code != 2 || !strings.Contains(got.err, want) {
			t.Errorf("code %d, %q, want %q", got.code, got.err, want)
		}
	}
}
