// Package policy decides who may send what to whom through the gateway: peers, the domains and addresses of both ends, and the operation,
// in rules of which the first that fits counts; tenants that see nothing of each other; and lists of who is blocked. A Policy never
// changes; a Meter counts what its rules bound. Neither knows a wire format or a clock.
//
// That a peer may speak for the sender's domain at all is proven before by the adapter that the operation came through; a policy can only
// take away from that.
package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// Operations is a set of what a rule is about.
type Operations uint8

// The operations. Reports follow the messages that they tell of, notifications the watches that they are for, and are not asked for by
// themselves; only that neither end is blocked, and that both are not of different tenants, holds for them too: see Follow.
const (
	Messages Operations = 1 << iota
	Presence
	// Everything is what a rule without operations is about.
	Everything = Messages | Presence
)

// String names the set as the configuration does.
func (o Operations) String() string {
	switch o & Everything {
	case Messages:
		return "messages"
	case Presence:
		return "presence"
	case Everything:
		return "messages and presence"
	}
	return "nothing"
}

// Bounds are what a rule lets each sender do at most. A zero field is no bound.
type Bounds struct {
	// MaxContent is the largest content of a message, in octets.
	MaxContent int
	// SenderRate is how many messages one sender may send in a minute in the long run, and SenderBurst how many at once (default the
	// rate).
	SenderRate, SenderBurst int
	// NewContacts is how many recipients that it did not write to or hear from before one sender may write to in an hour.
	NewContacts int
	// Signature is what becomes of signatures of messages (S/MIME).
	Signature SignaturePolicy
	// NoFallback refuses what is only the text beside an encrypted message that cannot be carried (OMEMO, OpenPGP).
	NoFallback bool
}

// SignaturePolicy is what a rule asks of signatures.
type SignaturePolicy uint8

// The policies.
const (
	SignaturesIgnored  SignaturePolicy = iota // nothing is looked at
	SignaturesMarked                          // what is found goes along with the message
	SignaturesRequired                        // a message without a good signature of its sender is refused
)

// Rule is one line of a policy.
type Rule struct {
	// Name is for logs, metrics and people; unique.
	Name string
	// Peers it is for; none: all.
	Peers []string
	// From and To are the parties at both ends, the sender or watcher and the recipient or presentity; none: everybody.
	From, To []Party
	// Operations it is for; 0: Everything.
	Operations Operations
	// Refuse has it refuse what fits. Otherwise that is allowed, within Bounds.
	Refuse bool
	Bounds
}

// Tenant is a set of domains that belongs to one customer. What is between domains of different tenants is refused, whatever the rules
// say; what is between a tenant's domain and one of nobody's is for the rules.
type Tenant struct {
	// Name is for logs, metrics and people; unique.
	Name string
	// Domains are whole domains, or "*.DOMAIN"; each belongs to one tenant.
	Domains []Party
	// MessagesUnderWay is how many messages from and to its domains may be under way at once, so that what one tenant's slow peers hold
	// leaves room for the others; MessagesPerSecond how many may come in the long run, and at once a second's worth. 0: no bound.
	MessagesUnderWay, MessagesPerSecond int
}

// Config is what New needs.
type Config struct {
	Rules   []Rule
	Tenants []Tenant
	// Blocked are parties that nothing is taken from and nothing is given to, whatever the rules say.
	Blocked []Party
}

// Policy is rules ready for use. It never changes; any number of goroutines may use it. The nil Policy and that of an empty Config allow
// what the routes join.
type Policy struct {
	rules   []rule
	first   index // of rules by their From
	tenants []Tenant
	owners  parties // the index of a tenant by its domains
	blocked parties
	open    bool // there are no rules
	// signatures tells whether any rule asks for signatures.
	signatures bool
	// contacts tells whether any rule asks who knows whom: otherwise nobody is remembered.
	contacts bool
}

// rule is a Rule made for asking.
type rule struct {
	Rule
	peers    map[string]struct{}
	from, to parties
}

// New makes a policy of c, or says what is wrong with it.
func New(c Config) (*Policy, error) {
	p := &Policy{open: len(c.Rules) == 0, tenants: append([]Tenant(nil), c.Tenants...)}
	var faults []error
	names := make(map[string]bool)
	p.first.init()
	for i, r := range c.Rules {
		switch {
		case r.Name == "":
			faults = append(faults, fmt.Errorf("rule %d has no name", i+1))
		case names[r.Name]:
			faults = append(faults, fmt.Errorf("two rules are named %q", r.Name))
		case r.SenderRate < 0 || r.SenderBurst < 0 || r.NewContacts < 0 || r.MaxContent < 0:
			faults = append(faults, fmt.Errorf("rule %q has a negative bound", r.Name))
		case r.Refuse && r.Bounds != Bounds{}:
			faults = append(faults, fmt.Errorf("rule %q refuses, and has bounds for what it would allow", r.Name))
		}
		names[r.Name] = true
		if r.Operations&Everything == 0 {
			r.Operations = Everything
		}
		if r.SenderBurst == 0 {
			r.SenderBurst = r.SenderRate
		}
		x := rule{Rule: r, from: newParties(r.From), to: newParties(r.To)}
		if len(r.Peers) > 0 {
			x.peers = make(map[string]struct{}, len(r.Peers))
			for _, n := range r.Peers {
				x.peers[n] = struct{}{}
			}
		}
		p.rules = append(p.rules, x)
		p.contacts = p.contacts || r.NewContacts > 0
		p.signatures = p.signatures || r.Signature != SignaturesIgnored
		p.first.add(i, r.From)
	}
	p.owners, p.blocked = newParties(nil), newParties(c.Blocked)
	p.owners.all = false
	if len(c.Blocked) == 0 {
		p.blocked.all = false
	}
	names = make(map[string]bool)
	for i, t := range c.Tenants {
		switch {
		case t.Name == "":
			faults = append(faults, fmt.Errorf("tenant %d has no name", i+1))
		case names[t.Name]:
			faults = append(faults, fmt.Errorf("two tenants are named %q", t.Name))
		case t.MessagesUnderWay < 0 || t.MessagesPerSecond < 0:
			faults = append(faults, fmt.Errorf("tenant %q has a negative bound", t.Name))
		}
		names[t.Name] = true
		for _, d := range t.Domains {
			if d.kind != wholeDomain && d.kind != belowDomain {
				faults = append(faults, fmt.Errorf("tenant %q: %s is no domain", t.Name, d))
			} else if other, ok := p.owners.give(d, i); !ok {
				faults = append(faults, fmt.Errorf("%s belongs to tenant %q and to %q", d, c.Tenants[other].Name, t.Name))
			}
		}
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("policy: %w", errors.Join(faults...))
	}
	return p, nil
}

// Ask is what somebody wants to do.
type Ask struct {
	// Peer is the configured name of the peer that the operation came from.
	Peer string
	// Operation is Messages or Presence.
	Operation Operations
	// From is the sender or the watcher, To the recipient or the presentity.
	From, To cpim.Address
}

// Verdict is what a policy says of an Ask.
type Verdict struct {
	// Allowed says yes.
	Allowed bool
	// By is the name of the rule that decided; "" where none did: nobody's rule fits, or there are none.
	By string
	// Why is a sentence for whoever was refused. It tells nothing of the rules.
	Why string
	// Cause is why it was refused, from a fixed set: CauseRule, CauseNoRule, CauseTenant, CauseBlocked; "" if it was not.
	Cause Cause

	rule               int // -1: none
	tenant, tenantOfTo int // -1: none
}

// Cause is why something was refused.
type Cause string

// The causes.
const (
	CauseBlocked     Cause = "blocked"
	CauseTenant      Cause = "tenant"
	CauseRule        Cause = "rule"
	CauseNoRule      Cause = "no-rule"
	CauseSize        Cause = "size"
	CauseSenderRate  Cause = "sender-rate"
	CauseNewContacts Cause = "new-contacts"
	CauseTenantRate  Cause = "tenant-rate"
	CauseTenantRoom  Cause = "tenant-room"
	CauseSignature   Cause = "signature"
	CauseEncrypted   Cause = "encrypted"
)

// Bounds returns what the rule that allowed it bounds.
func (p *Policy) Bounds(v Verdict) Bounds {
	if p == nil || v.rule < 0 || v.rule >= len(p.rules) {
		return Bounds{}
	}
	return p.rules[v.rule].Bounds
}

// Signatures tells whether any rule looks at signatures.
func (p *Policy) Signatures() bool { return p != nil && p.signatures }

// Decide says whether an operation may be done at all. It looks at nothing but its arguments, allocates nothing, and its cost does not
// grow with the number of rules that are for other domains.
func (p *Policy) Decide(a Ask) Verdict {
	v := Verdict{rule: -1, tenant: -1, tenantOfTo: -1}
	if p == nil {
		v.Allowed = true
		return v
	}
	if p.apart(&v, a.From, a.To) || p.open {
		v.Allowed = v.Cause == ""
		return v
	}
	i := p.first.search(a.From, func(i int) bool {
		r := &p.rules[i]
		if r.Operations&a.Operation == 0 {
			return false
		}
		if r.peers != nil {
			if _, ok := r.peers[a.Peer]; !ok {
				return false
			}
		}
		return r.from.have(a.From) && r.to.have(a.To)
	})
	switch {
	case i < 0:
		v.Cause, v.Why = CauseNoRule, "The policy of this gateway does not allow it"
	case p.rules[i].Refuse:
		v.By, v.Cause, v.Why = p.rules[i].Name, CauseRule, "The policy of this gateway forbids it"
	default:
		v.Allowed, v.By, v.rule = true, p.rules[i].Name, i
	}
	return v
}

// apart looks whether nothing may pass between two parties, whatever the rules say.
func (p *Policy) apart(v *Verdict, from, to cpim.Address) bool {
	if p.Blocked(from) || p.Blocked(to) {
		v.Cause, v.Why = CauseBlocked, "The policy of this gateway forbids it"
		return true
	}
	v.tenant, v.tenantOfTo = p.owners.value(from), p.owners.value(to)
	if v.tenant >= 0 && v.tenantOfTo >= 0 && v.tenant != v.tenantOfTo {
		v.Cause, v.Why = CauseTenant, "The two domains are not joined by this gateway"
		return true
	}
	return false
}

// Follow says whether what follows something that was allowed may go on between its two ends: presence of a watch that is open, or what became
// of a message. Rules are not asked; that nobody is blocked, and that both ends do not belong to different tenants, must hold now.
func (p *Policy) Follow(from, to cpim.Address) Verdict {
	v := Verdict{rule: -1, tenant: -1, tenantOfTo: -1}
	v.Allowed = p == nil || !p.apart(&v, from, to)
	return v
}

// Blocked tells whether nothing is taken from and nothing given to a.
func (p *Policy) Blocked(a cpim.Address) bool { return p != nil && p.blocked.have(a) }

// Rules returns the rules as they were given, for showing them.
func (p *Policy) Rules() []Rule {
	if p == nil {
		return nil
	}
	list := make([]Rule, len(p.rules))
	for i := range p.rules {
		list[i] = p.rules[i].Rule
	}
	return list
}

// Tenants returns the tenants, for showing them.
func (p *Policy) Tenants() []Tenant {
	if p == nil {
		return nil
	}
	return p.tenants
}

// TenantOf returns the name of the tenant that a domain belongs to, "" if it is nobody's.
func (p *Policy) TenantOf(a cpim.Address) string {
	if p == nil {
		return ""
	}
	if i := p.owners.value(a); i >= 0 {
		return p.tenants[i].Name
	}
	return ""
}

// parents calls f with each domain that domain lies below, the nearest first, until f returns true.
func parents(domain string, f func(string) bool) {
	for {
		_, above, ok := strings.Cut(domain, ".")
		if !ok || f(above) {
			return
		}
		domain = above
	}
}
