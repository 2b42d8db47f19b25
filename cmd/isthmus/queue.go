package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway"
)

// queueCommand speaks to a running gateway over its unix socket, as the configuration names it.
type queueCommand struct {
	List   queueList   `cmd:"" help:"What waits, oldest first; with --dead, the dead letters."`
	Show   queueShow   `cmd:"" help:"One entry as JSON; what it says too, if the configuration has store.readable."`
	Retry  queueRetry  `cmd:"" help:"Try an entry now; a dead letter gets another life."`
	Drop   queueDrop   `cmd:"" help:"Forget an entry. The sender of a message that waits is told that it was not delivered."`
	Resume queueResume `cmd:"" help:"Try again what a crash loop held back."`
}

// queueTarget is which gateway.
type queueTarget struct {
	Config  string        `short:"c" required:"" placeholder:"FILE" help:"The configuration of the running gateway."`
	Timeout time.Duration `default:"1m" help:"Give up after this time."`
}

// ask sends one request and returns its answer, which the caller closes.
func (t queueTarget) ask(ctx context.Context, p process, method, path string) (*http.Response, error) {
	cfg, err := load(t.Config, p)
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.Store.Directory == "" && !cfg.Store.Cluster.Used():
		return nil, &usageError{t.Config + " names no store: nothing is stored"}
	case cfg.Admin.Listen.Network() != "unix":
		return nil, &usageError{t.Config + ": the queue is shown over a unix socket alone: write admin: {listen: \"unix:/run/isthmus/admin.sock\"}"}
	}
	r, err := askSocket(ctx, cfg.Admin.Listen.Text(), t.Timeout, method, path)
	if err != nil {
		return nil, err
	}
	if r.StatusCode == http.StatusOK {
		return r, nil
	}
	defer r.Body.Close()
	var refused struct {
		Error string `json:"error"`
	}
	octets, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil || json.Unmarshal(octets, &refused) != nil || refused.Error == "" {
		return nil, fmt.Errorf("the gateway answered %s", r.Status)
	}
	return nil, fmt.Errorf("%s", clip(refused.Error))
}

// change asks for a change.
func (t queueTarget) change(ctx context.Context, p process, path string) error {
	r, err := t.ask(ctx, p, http.MethodPost, path)
	if err != nil {
		return err
	}
	return r.Body.Close()
}

type queueList struct {
	queueTarget
	Dead bool `help:"The dead letters."`
	JSON bool `name:"json" help:"One JSON object a line."`
}

// Run implements the command.
func (c queueList) Run(ctx context.Context, p process) error {
	path := "/queue"
	if c.Dead {
		path += "?dead=1"
	}
	r, err := c.ask(ctx, p, http.MethodGet, path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if c.JSON {
		_, err := io.Copy(p.out, r.Body)
		return err
	}
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tKIND\tFROM\tTO\tACCEPTED\tATTEMPTS\tNEXT, OR WHY IT IS DEAD")
	for lines.Scan() {
		var s gateway.Stored
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return fmt.Errorf("the gateway's answer: %w", err)
		}
		what := s.Dead
		if what == "" && !s.Next.IsZero() {
			what = s.Next.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.ID, s.Kind, clip(s.From), clip(s.To), s.Accepted.Format(time.RFC3339), s.Attempts, what)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return w.Flush()
}

type queueShow struct {
	queueTarget
	ID string `arg:"" help:"As queue list prints it."`
}

// Run implements the command.
func (c queueShow) Run(ctx context.Context, p process) error {
	r, err := c.ask(ctx, p, http.MethodGet, "/queue/"+url.PathEscape(c.ID))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	octets, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, octets, "", "  "); err != nil {
		return fmt.Errorf("the gateway's answer: %w", err)
	}
	_, err = out.WriteTo(p.out)
	return err
}

type queueRetry struct {
	queueTarget
	ID string `arg:"" help:"As queue list prints it."`
}

// Run implements the command.
func (c queueRetry) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, "/queue/"+url.PathEscape(c.ID)+"/retry")
}

type queueDrop struct {
	queueTarget
	ID string `arg:"" help:"As queue list prints it."`
}

// Run implements the command.
func (c queueDrop) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, "/queue/"+url.PathEscape(c.ID)+"/drop")
}

type queueResume struct{ queueTarget }

// Run implements the command.
func (c queueResume) Run(ctx context.Context, p process) error {
	return c.change(ctx, p, "/queue/resume")
}
