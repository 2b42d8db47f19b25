package configs

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/gateway/policy"
)

// Policy says who may send what to whom, beyond what peers and routes already say: a peer may speak only for its domains, and a domain
// without a route is not reachable, whatever stands here.
type Policy struct {
	// The rules, of which the first that fits an operation decides. Without any, everything is allowed that peers and routes make
	// possible; with any, what fits none of them is refused (SIP 403, XMPP policy-violation).
	Rules []PolicyRule `yaml:"rules"`
	// Customers that share this gateway. Nothing passes between the domains of two of them, whatever the rules say.
	Tenants []Tenant `yaml:"tenants"`
	// Files that list who is blocked, one to a line: "bad.example", "*.bad.example" or "im:tybalt@example.com", with comments after a #.
	// Nothing is taken from them and nothing is given to them, whatever the rules say. SIGHUP reads the files anew.
	BlockedFiles []Path `yaml:"blocked_files" example:"/etc/isthmus/blocked"`
	// The certificates of the authorities that the certificates of signed messages must lead to, in PEM, for rules with signature. Whoever is named
	// here can vouch for any sender, so it is seldom that of tls. A relative path starts at the folder of this file.
	SignatureRootsFile Path `yaml:"signature_roots_file" example:"/etc/isthmus/people.pem"`
}

// PolicyRule is one rule of a policy.
type PolicyRule struct {
	// Its name, in logs and metrics.
	Name Name `yaml:"name" required:"true" example:"partners"`
	// The peers it is for, by their names under sip.peers, xmpp.components and xmpp.server.peers; "strangers" stands for the XMPP servers that
	// have no entry there. Without it: all.
	Peers []Name `yaml:"peers" shown:"true" example:"prosody"`
	// The senders and watchers it is for: "example.net" (that domain), "*.example.net" (those below it), "im:romeo@example.net", or "*".
	// Without it: all.
	From []Party `yaml:"from" shown:"true" example:"example.com"`
	// The recipients and those who are watched, in the same way.
	To []Party `yaml:"to" shown:"true" example:"example.net"`
	// What it is for. Without it: both.
	Operations []PolicyOperation `yaml:"operations" shown:"true" example:"messages"`
	// Whether what fits is allowed or refused.
	Action string `yaml:"action" default:"allow" oneof:"allow refuse"`
	// The largest content of a message that fits; 0B: what limits say alone. A larger one is refused.
	MaxContent Size `yaml:"max_content" default:"0B" min:"0B" max:"16MiB"`
	// The messages a minute that each sender may send in the long run; 0: no bound of this rule. The next is refused: overloaded (SIP 503,
	// XMPP resource-constraint).
	SenderRate Count `yaml:"sender_rate" default:"0" min:"0" max:"1000000"`
	// How many of them may come at once; 0: as many as in a minute.
	SenderBurst Count `yaml:"sender_burst" default:"0" min:"0" max:"1000000"`
	// The recipients an hour that each sender may write to without having written to them or heard from them before; 0: no bound. The
	// next is refused (SIP 403, XMPP policy-violation). What is known of conversations is in memory, for a week or more, and ends with the process.
	NewContacts Count `yaml:"new_contacts" default:"0" min:"0" max:"1000000"`
	// What becomes of signatures (S/MIME) in messages that fit. ignore: nothing is looked at. mark: what is found is told beside the message,
	// valid or invalid (SIP Isthmus-Signature, XMPP <signature/>), for programs that believe this gateway. require: what is not signed by its
	// sender, by a certificate below signature_roots_file, is refused (SIP 403, XMPP policy-violation). The message itself is never changed.
	Signature string `yaml:"signature" default:"ignore" oneof:"ignore mark require"`
	// What becomes of messages that an XMPP client has encrypted by OMEMO or OpenPGP, and that have a text beside it for programs that cannot
	// decrypt. body: that text crosses alone. refuse: the sender is told that it cannot be carried. What has no text is always refused.
	Encrypted string `yaml:"encrypted" default:"body" oneof:"body refuse"`
}

// Tenant is a customer among others.
type Tenant struct {
	// Its name, in logs and metrics.
	Name Name `yaml:"name" required:"true" example:"capulet"`
	// Its domains: "example.net", or "*.example.net" for all below one. Each belongs to one tenant.
	Domains []Party `yaml:"domains" required:"true" example:"example.net"`
	// The messages from and to its domains that may be under way at once; 0: no bound of its own. The next is refused: overloaded.
	Messages Count `yaml:"messages" default:"0" min:"0" max:"10000000"`
	// The messages a second from and to its domains in the long run; 0: no bound. The next is refused: overloaded.
	Rate Count `yaml:"rate" default:"0" min:"0" max:"10000000"`
}

// Party is who a rule is for.
type Party struct{ policy.Party }

func (p *Party) parse(s string) *valueFault {
	v, err := policy.ParseParty(s)
	if err != nil {
		return &valueFault{err.Error(), `write "example.net", "*.example.net", "im:romeo@example.net" or "*"`}
	}
	p.Party = v
	return nil
}

// PolicyOperation is "messages" or "presence".
type PolicyOperation string

func (o *PolicyOperation) parse(s string) *valueFault {
	if s != "messages" && s != "presence" {
		return &valueFault{quoted(s) + " is neither messages nor presence", "write one of them"}
	}
	*o = PolicyOperation(s)
	return nil
}

// Compiled is the policy without the blocked parties, which stand in files.
func (p *Policy) Compiled(blocked []policy.Party) (*policy.Policy, error) {
	c := policy.Config{Blocked: blocked}
	parties := func(list []Party) []policy.Party {
		out := make([]policy.Party, len(list))
		for i, x := range list {
			out[i] = x.Party
		}
		return out
	}
	for _, r := range p.Rules {
		x := policy.Rule{
			Name: string(r.Name), From: parties(r.From), To: parties(r.To), Refuse: r.Action == "refuse",
			Bounds: policy.Bounds{
				MaxContent: r.MaxContent.Octets(), SenderRate: r.SenderRate.Int(), SenderBurst: r.SenderBurst.Int(), NewContacts: r.NewContacts.Int(),
				NoFallback: r.Encrypted == "refuse",
			},
		}
		switch r.Signature {
		case "mark":
			x.Signature = policy.SignaturesMarked
		case "require":
			x.Signature = policy.SignaturesRequired
		}
		for _, n := range r.Peers {
			x.Peers = append(x.Peers, string(n))
		}
		for _, o := range r.Operations {
			switch o {
			case "messages":
				x.Operations |= policy.Messages
			case "presence":
				x.Operations |= policy.Presence
			}
		}
		c.Rules = append(c.Rules, x)
	}
	for _, t := range p.Tenants {
		c.Tenants = append(c.Tenants, policy.Tenant{
			Name: string(t.Name), Domains: parties(t.Domains), MessagesUnderWay: t.Messages.Int(), MessagesPerSecond: t.Rate.Int(),
		})
	}
	return policy.New(c)
}

// Strangers is the name, in a rule, of XMPP servers that have no entry under xmpp.server.peers.
const Strangers = "strangers"

func (k *checker) policy() {
	peers := make(map[Name][]string) // where the name stands
	for _, p := range k.SIP.Peers {
		peers[p.Name] = []string{"sip.peers"}
	}
	for _, m := range k.XMPP.Components {
		peers[m.Name] = append(peers[m.Name], "xmpp.components")
	}
	for _, p := range k.XMPP.Server.Peers {
		peers[Name(p.Domain)] = append(peers[Name(p.Domain)], "xmpp.server.peers")
	}
	if k.XMPP.Server.Used() {
		peers[Strangers] = append(peers[Strangers], "all other XMPP servers")
	}
	names := make([]string, 0, len(peers))
	for n := range peers {
		names = append(names, string(n))
	}
	named := make(map[Name]string)
	for i, r := range k.Policy.Rules {
		at := index("policy.rules", i)
		unique(k, named, r.Name, at+".name", "the same name", "write another one")
		for j, n := range r.Peers {
			if found := peers[n]; len(found) > 1 {
				// A rule that is meant for one of them would let in what comes from the other.
				k.fault(index(at+".peers", j), quoted(string(n))+" is the name of several peers, under "+strings.Join(found, " and "), "give them names of their own")
			} else if len(found) == 0 {
				instead := "write a name under sip.peers, xmpp.components or xmpp.server.peers, or " + Strangers
				if near := nearest(string(n), names); near != "" {
					instead = "did you mean " + near + "?"
				}
				k.fault(index(at+".peers", j), "there is no peer "+quoted(string(n)), instead)
			}
		}
		if r.Action == "refuse" && (r.MaxContent != 0 || r.SenderRate != 0 || r.SenderBurst != 0 || r.NewContacts != 0) {
			k.fault(at, "bounds of what is refused", "remove them, or write action: allow")
		}
		if r.Action == "refuse" && (r.Signature == "mark" || r.Signature == "require" || r.Encrypted == "refuse") {
			k.fault(at, "what becomes of messages that are refused", "remove signature and encrypted, or write action: allow")
		}
		if (r.Signature == "mark" || r.Signature == "require") && k.Policy.SignatureRootsFile == "" {
			k.fault(at+".signature", "nobody is known whose certificates count", "write policy.signature_roots_file")
		}
		if r.SenderBurst != 0 && r.SenderRate == 0 {
			k.fault(at+".sender_burst", "a burst without a rate", "write sender_rate")
		}
	}
	tenants, owners := make(map[Name]string), make(map[Party]string)
	for i, t := range k.Policy.Tenants {
		at := index("policy.tenants", i)
		unique(k, tenants, t.Name, at+".name", "the same name", "write another one")
		for j, d := range t.Domains {
			path := index(at+".domains", j)
			unique(k, owners, d, path, "the same domain", "a domain belongs to one tenant")
			if name, whole := d.Domain(); name == "" || d.String() != name && !whole && d.String() != "*."+name {
				k.fault(path, quoted(d.String())+" is no domain", `write "example.net" or "*.example.net"`)
			}
		}
	}
	files := make(map[Path]string)
	for i, f := range k.Policy.BlockedFiles {
		unique(k, files, f, index("policy.blocked_files", i), "the same file", "remove one of them")
	}
}
