package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
)

// policyFindings are the rules in the order in which they are asked, what becomes of the rest, the tenants, and how many are blocked.
func policyFindings(cfg *configs.Config, p *policy.Policy) []finding {
	var found []finding
	texts := func(list []policy.Party) string {
		if len(list) == 0 {
			return "anyone"
		}
		var s []string
		for _, x := range list {
			s = append(s, x.String())
		}
		return strings.Join(s, ", ")
	}
	for _, r := range p.Rules() {
		from := "anyone's peer"
		if len(r.Peers) > 0 {
			from = strings.Join(r.Peers, ", ")
		}
		verb := "may send"
		if r.Refuse {
			verb = "may not send"
		}
		found = append(found, finding{What: "rule", OK: true, Name: r.Name, Detail: fmt.Sprintf(
			"by %s: %s %s %s to %s%s", from, texts(r.From), verb, r.Operations, texts(r.To), boundsText(r.Bounds),
		)})
	}
	rest := "there are no rules: everything that peers and routes make possible is allowed"
	if len(found) > 0 {
		rest = "everything else is refused"
	}
	found = append(found, finding{What: "rule", OK: true, Name: "-", Detail: rest})
	for _, t := range p.Tenants() {
		f := finding{What: "tenant", OK: true, Name: t.Name, Detail: "nothing passes to other tenants"}
		for _, d := range t.Domains {
			f.As = append(f.As, d.String())
		}
		if t.MessagesUnderWay > 0 {
			f.Detail += fmt.Sprintf("; at most %d messages under way", t.MessagesUnderWay)
		}
		if t.MessagesPerSecond > 0 {
			f.Detail += fmt.Sprintf("; at most %d messages a second", t.MessagesPerSecond)
		}
		found = append(found, f)
	}
	for _, name := range cfg.Policy.BlockedFiles {
		list, err := readBlocked(string(name))
		f := finding{What: "blocked", OK: err == nil, Name: string(name), Detail: fmt.Sprintf("%d %s", len(list), plural(len(list), "entry", "entries"))}
		if err != nil {
			f.Detail = err.Error()
		}
		found = append(found, f)
	}
	return found
}

func boundsText(b policy.Bounds) string {
	var s string
	if b.MaxContent > 0 {
		s += fmt.Sprintf("; at most %d octets a message", b.MaxContent)
	}
	if b.SenderRate > 0 {
		s += fmt.Sprintf("; each sender %d messages a minute, %d at once", b.SenderRate, b.SenderBurst)
	}
	if b.NewContacts > 0 {
		s += fmt.Sprintf("; each sender %d new recipients an hour", b.NewContacts)
	}
	switch b.Signature {
	case policy.SignaturesMarked:
		s += "; signatures are verified and marked"
	case policy.SignaturesRequired:
		s += "; messages must be signed"
	}
	if b.NoFallback {
		s += "; no text beside an encrypted message"
	}
	return s
}

// ask answers what would become of a message and of a watch of a peer: the same steps as in the gateway, and the reason at the first that
// refuses.
func ask(cfg *configs.Config, p *policy.Policy, peer, from, to string) ([]finding, error) {
	read := cpim.ParseAddressFold
	if slices.ContainsFunc(cfg.SIP.Peers, func(p configs.Peer) bool { return string(p.Name) == peer && !bool(p.FoldCase) }) {
		read = cpim.ParseAddress // capitals of such a peer make another address, which cannot be carried
	}
	parse := func(s string) (cpim.Address, error) {
		if !strings.HasPrefix(s, "im:") && !strings.HasPrefix(s, "pres:") {
			s = "im:" + s
		}
		a, err := read(s)
		if err != nil {
			return a, &usageError{fmt.Sprintf("%q is no address: %v", s, err)}
		}
		return a.WithScheme(cpim.IM), nil
	}
	sender, err := parse(from)
	if err != nil {
		return nil, err
	}
	recipient, err := parse(to)
	if err != nil {
		return nil, err
	}
	side, why := mayBe(cfg, peer, sender)
	if side == "" {
		return nil, &usageError{why}
	}
	if why == "" {
		why = mayReach(cfg, peer, recipient)
	}
	var found []finding
	for _, op := range []policy.Operations{policy.Messages, policy.Presence} {
		f := finding{What: "ask", Name: op.String(), Via: side, From: []string{peer}, As: []string{sender.String()}, To: []string{recipient.String()}}
		home, away := routed(cfg, sender.Domain()), routed(cfg, recipient.Domain())
		a, b := sender, recipient
		if op == policy.Presence {
			a, b = a.WithScheme(cpim.Pres), b.WithScheme(cpim.Pres)
		}
		v := p.Decide(policy.Ask{Peer: peer, Operation: op, From: a, To: b})
		switch {
		case why != "":
			f.Detail = "refused: " + why
		case home == nil || home.Via != side:
			f.Detail = "refused: the sender's domain has no route via " + side
		case away == nil:
			f.Detail = "refused: the recipient's domain has no route"
		case away.Via == side:
			f.Detail = "refused: the recipient's domain is on the sender's own side"
		case !v.Allowed && v.By != "":
			f.Detail = fmt.Sprintf("refused by rule %s", v.By)
		case !v.Allowed:
			f.Detail = map[policy.Cause]string{
				policy.CauseBlocked: "refused: one of them is blocked",
				policy.CauseTenant:  "refused: their domains belong to different tenants",
				policy.CauseNoRule:  "refused: no rule fits",
			}[v.Cause]
		case away.Via == "xmpp" && !leads(cfg, away, sender, recipient):
			f.Detail = fmt.Sprintf("refused: nothing under xmpp leads from %s to %s", sender.Domain(), recipient.Domain())
		default:
			f.OK = true
			f.Detail = "allowed, there are no rules"
			if v.By != "" {
				f.Detail = "allowed by rule " + v.By + boundsText(p.Bounds(v))
			}
			f.Detail += "; route " + string(away.Domain) + " via " + away.Via
		}
		found = append(found, f)
	}
	return found, nil
}

// mayBe finds the side of a peer, "" if there is no such peer, and says why it may not speak for the sender, "" if it may.
func mayBe(cfg *configs.Config, peer string, sender cpim.Address) (side, why string) {
	in := func(list []configs.Domain) bool { return slices.Contains(list, configs.Domain(sender.Domain())) }
	for _, p := range cfg.SIP.Peers {
		if string(p.Name) != peer {
			continue
		}
		if !in(p.Domains) {
			return "sip", fmt.Sprintf("the peer %s may not send as %s", peer, sender.Domain())
		}
		if len(p.Users) > 0 && !slices.ContainsFunc(p.Users, func(u configs.User) bool { return u.Address.Is(sender) }) {
			return "sip", fmt.Sprintf("the peer %s has no user %s", peer, sender)
		}
		return "sip", ""
	}
	for _, m := range cfg.XMPP.Components {
		if string(m.Name) == peer {
			if !in(m.Serves) {
				return "xmpp", fmt.Sprintf("the component %s may not send as %s", peer, sender.Domain())
			}
			return "xmpp", ""
		}
	}
	var names []string
	if cfg.XMPP.Server.Used() {
		own := ""
		for _, p := range cfg.XMPP.Server.Peers {
			names = append(names, string(p.Domain))
			if string(p.Domain) == sender.Domain() {
				own = string(p.Domain)
			}
		}
		names = append(names, configs.Strangers)
		if slices.Contains(names, peer) {
			switch {
			case ours(cfg, configs.Domain(sender.Domain())):
				return "xmpp", fmt.Sprintf("%s is the gateway's own, and comes in from no other server", sender.Domain())
			case peer == configs.Strangers && own != "":
				return "xmpp", fmt.Sprintf("%s has an entry under xmpp.server.peers: ask for the peer %s", own, own)
			case peer != configs.Strangers && peer != sender.Domain():
				return "xmpp", fmt.Sprintf("the server of %s may not send as %s", peer, sender.Domain())
			}
			return "xmpp", ""
		}
	}
	for _, p := range cfg.SIP.Peers {
		names = append(names, string(p.Name))
	}
	for _, m := range cfg.XMPP.Components {
		names = append(names, string(m.Name))
	}
	return "", fmt.Sprintf("there is no peer %q; there are: %s", peer, strings.Join(names, ", "))
}

// mayReach says why nothing of an XMPP peer gets to the recipient's domain, "" if it does: a stanza comes for the domain of the component, or for
// one that we are the server of, or for a host that stands for the domain.
func mayReach(cfg *configs.Config, peer string, recipient cpim.Address) string {
	to := configs.Domain(recipient.Domain())
	for _, m := range cfg.XMPP.Components {
		switch {
		case string(m.Name) != peer:
		case len(m.Hosts) == 0 && m.Domain == to, slices.Contains(m.Hosts, to):
			return ""
		default:
			return fmt.Sprintf("the component %s does not lead to %s", peer, to)
		}
	}
	if slices.ContainsFunc(cfg.SIP.Peers, func(p configs.Peer) bool { return string(p.Name) == peer }) {
		return ""
	}
	if s := cfg.XMPP.Server; !slices.Contains(s.Domains, to) && !slices.Contains(s.Hosts, to) {
		return fmt.Sprintf("the gateway is not the XMPP server of %s", to)
	}
	return ""
}

// leads tells whether the XMPP side has a way from the sender's domain to the recipient's, whose route is given: a component that is for the
// sender's, or stands for it, and serves the recipient's; or a stream to the recipient's server, as from a domain of ours.
func leads(cfg *configs.Config, route *configs.Route, sender, recipient cpim.Address) bool {
	from, to := configs.Domain(sender.Domain()), configs.Domain(recipient.Domain())
	for _, m := range cfg.XMPP.Components {
		if slices.Contains(m.Serves, to) && (len(m.Hosts) == 0 && m.Domain == from || slices.Contains(m.Hosts, from)) {
			return true
		}
	}
	if ours(cfg, to) {
		return false
	}
	s := cfg.XMPP.Server
	streams := len(route.NextHops) == 0 || slices.ContainsFunc(route.NextHops, func(h configs.NextHop) bool { return h.Component == "" })
	return streams && (slices.Contains(s.Domains, from) || slices.Contains(s.Hosts, from))
}

// ours tells whether the XMPP side takes a domain for the gateway's own: what comes from it is forged, and what goes to it would come back.
func ours(cfg *configs.Config, domain configs.Domain) bool {
	s := cfg.XMPP.Server
	return slices.Contains(s.All(), domain) || slices.Contains(s.Hosts, domain) || slices.ContainsFunc(cfg.XMPP.Components, func(m configs.Component) bool {
		return m.Domain == domain || slices.Contains(m.Hosts, domain)
	})
}

func routed(cfg *configs.Config, domain string) *configs.Route {
	var any *configs.Route
	for i := range cfg.Routes {
		switch string(cfg.Routes[i].Domain) {
		case domain:
			return &cfg.Routes[i]
		case configs.AnyDomain:
			any = &cfg.Routes[i]
		}
	}
	return any
}
