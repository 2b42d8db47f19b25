package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// resolveCommand shows a resolution. It speaks to DNS servers and to nobody else: no target is connected to.
type resolveCommand struct {
	JSON    bool          `name:"json" help:"Print one JSON object."`
	Server  []string      `placeholder:"ADDR" help:"Ask this DNS server: 192.0.2.53, [2001:db8::53]:5353 or tls://192.0.2.53#dns.example.net. May be repeated. Default: those of /etc/resolv.conf."`
	Allow   []string      `placeholder:"NETWORK" help:"Take addresses in this network although a registry reserves it, for laboratories. May be repeated."`
	Timeout time.Duration `default:"10s" help:"Give up after this time."`
	Address string        `arg:"" help:"im:user@domain, pres:user@domain, sip:domain, sips:domain or xmpp:domain."`
}

// Run implements the command.
func (c resolveCommand) Run(ctx context.Context, p process) error {
	query, err := resolver.ParseQuery(c.Address)
	if err != nil {
		return &usageError{fmt.Sprintf("%q is no address to resolve: %v", clip(c.Address), err)}
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	r, err := resolver.New(cfg)
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	trace, err := r.Explain(ctx, query)
	if c.JSON {
		if e := json.NewEncoder(p.out).Encode(trace); e != nil {
			return e
		}
	} else if _, e := io.WriteString(p.out, trace.String()); e != nil {
		return e
	}
	return err
}

func (c resolveCommand) config() (resolver.Config, error) {
	var cfg resolver.Config
	for _, s := range c.Server {
		server, err := resolver.ParseServer(s)
		if err != nil {
			return cfg, &usageError{fmt.Sprintf("--server %q: %v", clip(s), err)}
		}
		cfg.Servers = append(cfg.Servers, server)
	}
	var allow []netip.Prefix
	for _, s := range c.Allow {
		n, err := netip.ParsePrefix(s)
		if err != nil {
			return cfg, &usageError{fmt.Sprintf("--allow %q is no network: write as in 127.0.0.0/8", clip(s))}
		}
		allow = append(allow, n)
	}
	if len(allow) > 0 {
		cfg.Guard = resolver.NewGuard(resolver.GuardConfig{Allow: allow})
	}
	return cfg, nil
}

// clip cuts what is repeated of the command line or a file.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
