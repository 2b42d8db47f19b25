package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// askSocket sends one request to a running gateway over its unix socket and returns its answer, which the caller closes.
func askSocket(ctx context.Context, socket string, patience time.Duration, method, path string) (*http.Response, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://isthmus"+path, nil)
	if err != nil {
		return nil, err
	}
	r, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no gateway answers at %s: %w", socket, err)
	}
	return r, nil
}

// reloadCommand asks a running gateway to read its configuration again. The configuration is the gateway's own, whatever is given here: that
// tells where its socket is.
type reloadCommand struct {
	Config  string        `short:"c" xor:"where" required:"" placeholder:"FILE" help:"The configuration of the running gateway."`
	Socket  string        `xor:"where" required:"" placeholder:"PATH" help:"Its socket, instead: for a configuration that is not right yet."`
	Timeout time.Duration `default:"1m" help:"Give up after this time."`
	JSON    bool          `name:"json" help:"Print one JSON object."`
}

// Run implements the command.
func (c reloadCommand) Run(ctx context.Context, p process) error {
	if c.Socket == "" {
		cfg, err := load(c.Config, p)
		if err != nil {
			return err
		}
		if cfg.Admin.Listen.Network() != "unix" {
			return &usageError{c.Config + `: the gateway is asked over a unix socket alone: write admin: {listen: "unix:/run/isthmus/admin.sock"}, or send it SIGHUP`}
		}
		c.Socket = cfg.Admin.Listen.Text()
	}
	r, err := askSocket(ctx, c.Socket, c.Timeout, http.MethodPost, "/reload")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	octets, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("the gateway's answer: %w", err)
	}
	var report reloadReport
	if err := json.Unmarshal(octets, &report); err != nil || report.Outcome == "" {
		return fmt.Errorf("the gateway answered %s", r.Status)
	}
	if c.JSON {
		if _, err := p.out.Write(octets); err != nil {
			return err
		}
	} else {
		fmt.Fprint(p.out, report.text())
	}
	if report.Outcome == reloadRefused {
		return silentError{}
	}
	return nil
}

// text is the report for people.
func (r *reloadReport) text() string {
	var b strings.Builder
	switch {
	case r.Outcome == reloadRefused:
		for _, f := range r.Faults {
			b.WriteString(f + "\n")
		}
		b.WriteString("not reloaded: everything stays as it was\n")
		return b.String()
	case len(r.Changed) == 0 && len(r.Pending) == 0:
		return "reloaded: no key has another value\n"
	}
	b.WriteString("reloaded\n")
	for _, k := range r.Changed {
		b.WriteString("  changed " + k + "\n")
	}
	for _, k := range r.Pending {
		b.WriteString("  needs a restart: " + k + "\n")
	}
	return b.String()
}
