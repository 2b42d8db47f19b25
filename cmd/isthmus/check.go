package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// checkCommand looks at everything that can be known without starting: it opens no listener and speaks to no peer, to DNS servers
// only, and to those only where the configuration has a name for a host.
type checkCommand struct {
	Config  string        `short:"c" required:"" placeholder:"FILE" help:"The configuration."`
	As      string        `placeholder:"PEER" help:"Ask what would become of a message and of a watch of this peer, from the first address to the second."`
	Parties []string      `arg:"" optional:"" name:"address" help:"With --as: who sends or watches, and for whom, as in im:romeo@example.net."`
	JSON    bool          `name:"json" help:"Print one JSON object per line."`
	Timeout time.Duration `default:"10s" help:"Give up looking up names after this time."`
}

// finding is one line of the summary.
type finding struct {
	What   string   `json:"what"` // listener, sender, signer, route, rule, tenant, blocked, certificate, name, admin, ask, fault, result
	OK     bool     `json:"ok"`
	Name   string   `json:"name,omitempty"`
	Via    string   `json:"via,omitempty"`
	From   []string `json:"from,omitempty"` // addresses or servers that a sender sends from
	As     []string `json:"as,omitempty"`   // domains that it may send as; names in a certificate
	To     []string `json:"to,omitempty"`   // domains that it may send to; next hops of a route; addresses of a name
	Detail string   `json:"detail,omitempty"`
	// Of a SIP peer: the users that must prove themselves by a password, with the username; whether it may assert identities; and what
	// becomes of signatures, where there are signers.
	Users    []string `json:"users,omitempty"`
	Trusted  bool     `json:"trusted,omitempty"`
	Identity string   `json:"identity,omitempty"`
}

// String is the finding as a sentence.
func (f finding) String() string {
	list := func(s []string) string { return strings.Join(s, ", ") }
	switch f.What {
	case "listener":
		return "listens on   " + f.Via + " " + f.Name
	case "sender":
		return f.sender()
	case "signer":
		return fmt.Sprintf("signer       %s for %s: %s", f.Name, list(f.As), f.Detail)
	case "route":
		return fmt.Sprintf("route        %s via %s: %s", f.Name, f.Via, list(f.To))
	case "name":
		if f.OK {
			return fmt.Sprintf("name         %s: %s", f.Name, list(f.To))
		}
		return fmt.Sprintf("name         %s: %s", f.Name, f.Detail)
	case "certificate":
		return fmt.Sprintf("certificate  %s for %s: %s", f.Name, list(f.As), f.Detail)
	case "admin":
		return "admin        " + f.Name
	case "rule":
		return fmt.Sprintf("rule         %s: %s", f.Name, f.Detail)
	case "tenant":
		return fmt.Sprintf("tenant       %s, of %s: %s", f.Name, list(f.As), f.Detail)
	case "blocked":
		return fmt.Sprintf("blocked      %s in %s", f.Detail, f.Name)
	case "ask":
		return fmt.Sprintf("%-12s %s to %s by %s: %s", f.Name, list(f.As), list(f.To), list(f.From), f.Detail)
	}
	return f.Detail
}

// Run implements the command.
func (c checkCommand) Run(ctx context.Context, p process) error {
	if (c.As != "") != (len(c.Parties) == 2) || c.As == "" && len(c.Parties) > 0 {
		return &usageError{"--as takes a peer, and two addresses come with it: isthmus check -c FILE --as PEER im:a@x.example im:b@y.example"}
	}
	cfg, err := load(c.Config, p)
	if err != nil {
		return c.wrong(p.out, err)
	}
	rules, err := openPolicy(cfg)
	if err != nil {
		return c.wrong(p.out, &usageError{"the configuration cannot be used: " + err.Error()})
	}
	if c.As != "" {
		return c.answer(p.out, cfg, rules)
	}
	// The adapters and the gateway have their own word on it. Nothing is opened.
	a, err := assemble(cfg, surroundings{logger: zerolog.Nop()})
	if err != nil {
		return c.wrong(p.out, err)
	}
	if err := a.close(); err != nil {
		return err
	}
	signers, err := signerFindings(cfg, time.Now())
	if err != nil {
		return err
	}
	found := slices.Concat(summary(cfg), policyFindings(cfg, rules), certificateFindings(a.certs), signers)
	for _, d := range unproven(cfg, a.certs) {
		found = append(found, finding{What: "certificate", Name: "none", As: []string{d}, Detail: "other XMPP servers will not believe it"})
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	names, err := lookUpNames(ctx, cfg)
	if err != nil {
		return err
	}
	found = append(found, names...)
	failed, unknown := 0, 0
	for _, f := range found {
		switch {
		case f.OK:
		case f.What == "name":
			unknown++
		default:
			failed++
		}
	}
	result := finding{What: "result", OK: failed+unknown == 0, Detail: c.Config + " is right"}
	if !result.OK {
		var but []string
		if unknown > 0 {
			but = append(but, fmt.Sprintf("%d %s cannot be looked up", unknown, plural(unknown, "name", "names")))
		}
		if failed > 0 {
			but = append(but, fmt.Sprintf("%d %s nothing to a peer", failed, plural(failed, "certificate proves", "certificates prove")))
		}
		result.Detail = c.Config + " is right in itself, but " + strings.Join(but, ", and ")
	}
	if err := printFindings(p.out, append(found, result), c.JSON); err != nil {
		return err
	}
	if !result.OK {
		return silentError{}
	}
	return nil
}

// answer says what would become of what --as asks, and is silentError if any of it would be refused.
func (c checkCommand) answer(w io.Writer, cfg *configs.Config, rules *policy.Policy) error {
	found, err := ask(cfg, rules, c.As, c.Parties[0], c.Parties[1])
	if err != nil {
		return err
	}
	if err := printFindings(w, found, c.JSON); err != nil {
		return err
	}
	if slices.ContainsFunc(found, func(f finding) bool { return !f.OK }) {
		return silentError{}
	}
	return nil
}

// wrong gives a program that reads the output what a person reads on standard error, and returns err or the fault of writing.
func (c checkCommand) wrong(w io.Writer, err error) error {
	if !c.JSON {
		return err
	}
	var found []finding
	result := finding{What: "result", Detail: err.Error()}
	var faults configs.Faults
	if errors.As(err, &faults) {
		for _, f := range faults {
			found = append(found, finding{What: "fault", Name: f.Path, Detail: f.String()})
		}
		result.Detail = fmt.Sprintf("%s has %d %s", c.Config, len(faults), plural(len(faults), "fault", "faults"))
	}
	if e := printFindings(w, append(found, result), true); e != nil {
		return e
	}
	return err
}

func printFindings(w io.Writer, found []finding, asJSON bool) error {
	e := json.NewEncoder(w)
	for _, f := range found {
		var err error
		if asJSON {
			err = e.Encode(f)
		} else {
			_, err = fmt.Fprintln(w, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// summary is who may do what.
func summary(cfg *configs.Config) []finding {
	var found []finding
	for _, l := range cfg.SIP.Listeners {
		found = append(found, finding{What: "listener", OK: true, Via: "sip/" + l.Transport, Name: l.Address.String()})
	}
	for _, peer := range cfg.SIP.Peers {
		found = append(found, sipSender(cfg, peer))
	}
	for _, m := range cfg.XMPP.Components {
		f := finding{
			What: "sender", OK: true, Via: "xmpp component", Name: string(m.Name), From: []string{string(m.Server)}, To: reachable(cfg, "xmpp"),
		}
		for _, d := range m.Serves {
			f.As = append(f.As, string(d))
		}
		found = append(found, f)
	}
	if s := cfg.XMPP.Server; s.Used() {
		for _, l := range s.Listeners {
			found = append(found, finding{What: "listener", OK: true, Via: "xmpp server/" + l.TLS, Name: l.Address.String()})
		}
		proof := "a certificate for it"
		if s.Dialback == "tls" {
			proof += ", or dialback over TLS"
		}
		f := finding{What: "sender", OK: true, Via: "xmpp", Name: configs.Strangers, From: []string{"anywhere with " + proof}, To: reachable(cfg, "xmpp")}
		for _, r := range cfg.Routes {
			if r.Via == "xmpp" && !slices.ContainsFunc(r.NextHops, func(h configs.NextHop) bool { return h.Component != "" }) {
				f.As = append(f.As, string(r.Domain))
			}
		}
		found = append(found, f)
	}
	for _, r := range cfg.Routes {
		f := finding{What: "route", OK: true, Name: string(r.Domain), Via: r.Via}
		for _, h := range r.NextHops {
			f.To = append(f.To, h.String())
		}
		found = append(found, f)
	}
	admin := cfg.Admin.Listen.String()
	if admin == "" {
		admin = "off"
	}
	return append(found, finding{What: "admin", OK: true, Name: admin})
}

// reachable is the domains that one side may send to: those of the other sides, for a message that would go back to where it came
// from is a loop.
func reachable(cfg *configs.Config, from string) []string {
	var domains []string
	for _, r := range cfg.Routes {
		if r.Via != from {
			domains = append(domains, string(r.Domain))
		}
	}
	return domains
}

// lookUpNames resolves every host that the configuration gives by name: next hops as the gateway does it, XMPP servers as the system
// does it, because that is who dials them.
func lookUpNames(ctx context.Context, cfg *configs.Config) ([]finding, error) {
	var found []finding
	for _, m := range cfg.XMPP.Components {
		s, err := m.Server.Static()
		if err != nil {
			return nil, err
		}
		if !named(s) {
			continue
		}
		f := finding{What: "name", Name: string(m.Server)}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.Host())
		if err != nil {
			f.Detail = err.Error()
		}
		f.OK = err == nil
		for _, a := range addrs {
			f.To = append(f.To, netip.AddrPortFrom(a.Unmap(), s.Port()).String())
		}
		found = append(found, f)
	}
	var names *resolver.Resolver
	for _, r := range cfg.Routes {
		for _, h := range r.NextHops {
			if h.Component != "" || !named(h.Static) {
				continue
			}
			if names == nil {
				var err error
				if names, err = newResolver(cfg, newGuard(cfg), zerolog.Nop()); err != nil {
					return nil, err
				}
				defer names.Close()
			}
			f := finding{What: "name", Name: h.Static.String()}
			targets, err := names.Static(ctx, h.Static, string(r.Domain))
			if err != nil {
				f.Detail = err.Error()
			}
			f.OK = err == nil
			for _, t := range targets {
				f.To = append(f.To, t.Transport().String()+" "+t.Addr().String())
			}
			found = append(found, f)
		}
	}
	return found, nil
}

// named reports whether a next hop has a name that must be looked up.
func named(s resolver.Static) bool {
	_, err := netip.ParseAddr(s.Host())
	return err != nil
}
