package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// translateCommand crosses one message, notification or watch by the adapters' own code.
type translateCommand struct {
	From     string `required:"" enum:"sip,xmpp,cpim" placeholder:"KIND" help:"What the input is: sip, xmpp or cpim (a message/cpim object, or a PIDF document)."`
	To       string `required:"" enum:"sip,xmpp,cpim" placeholder:"KIND" help:"What to make of it: sip, xmpp or cpim."`
	JSON     bool   `name:"json" help:"Print JSON: the canonical operation in the middle, and the output."`
	Now      string `placeholder:"TIME" help:"The time to translate at (RFC 3339), for an output that stays the same. Default: the present."`
	Watcher  string `placeholder:"ADDRESS" help:"Who watches (pres:user@domain), for presence that does not say it: a PIDF document, a broadcast stanza."`
	Granted  bool   `help:"What the core would know: the watcher of a SUBSCRIBE has the authorization, and need not ask for it; an active notification is the first of its watch, and grants it (RFC 8048 §5.2, §5.3)."`
	FoldCase bool   `help:"Capitals in the user part of SIP URIs mean nothing, as fold_case of a peer."`
	CPIM     bool   `name:"cpim" help:"Write SIP with message/cpim, as to a peer with dispositions."`
	File     string `arg:"" optional:"" help:"The file. Default, and -: standard input."`
}

// translation is one input on its way.
type translation struct {
	translateCommand
	now     time.Time
	watcher cpim.Address
	// seed is what names that are random on the wire are derived from: the input.
	seed [sha256.Size]byte
}

// operation is the canonical form between the two sides: one of the fields, or none with the reason why there is nothing to tell.
type operation struct {
	message *adapters.MessageOp
	reports []*adapters.Report
	watch   *adapters.WatchOp
	notify  *adapters.NotifyOp
	nothing string
}

// Run implements the command.
func (c translateCommand) Run(p process) error {
	t := translation{translateCommand: c, now: time.Now().UTC().Truncate(time.Second)}
	if c.Now != "" {
		at, err := time.Parse(time.RFC3339, c.Now)
		if err != nil {
			return &usageError{"--now takes a time like 2026-11-22T12:00:00Z"}
		}
		t.now = at.UTC()
	}
	if c.Watcher != "" {
		a, err := cpim.ParseAddress(c.Watcher)
		if err != nil {
			return &usageError{"--watcher takes an address like pres:juliet@example.com: " + diagnose(err).String()}
		}
		t.watcher = a.WithScheme(cpim.Pres)
	}
	in, name, err := openInput(p, c.File)
	if err != nil {
		return err
	}
	defer in.Close()
	input, err := io.ReadAll(io.LimitReader(in, maxInspect+1))
	switch {
	case err != nil:
		return err
	case len(input) > maxInspect:
		return fmt.Errorf("%s is longer than 16MiB", name)
	}
	t.seed = sha256.Sum256(input)
	op, err := t.read(input)
	if err != nil {
		return t.fault(p, name, "read", err)
	}
	output, err := t.write(op)
	if err != nil {
		return t.fault(p, name, "written", err)
	}
	if c.JSON {
		e := encoder(p.out)
		e.SetIndent("", "  ")
		return e.Encode(t.shown(op, output))
	}
	if len(output) == 0 {
		fmt.Fprintf(p.err, "isthmus: %s: nothing crosses: %s\n", name, op.why())
		return nil
	}
	_, err = p.out.Write(output)
	return err
}

func openInput(p process, file string) (io.ReadCloser, string, error) {
	if file == "" || file == "-" {
		return io.NopCloser(p.in), "standard input", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, "", &usageError{err.Error()}
	}
	return f, file, nil
}

// fault says what is wrong as inspect does: one JSON object, and a sentence.
func (t *translation) fault(p process, name, step string, err error) error {
	var usage *usageError
	if errors.As(err, &usage) {
		return err
	}
	d := diagnoseAnswer(err)
	if e := encoder(p.out).Encode(object{{"ok", false}, {"from", t.From}, {"to", t.To}, {"step", step}}.with(d.fields()...)); e != nil {
		return e
	}
	fmt.Fprintf(p.err, "isthmus: %s cannot be %s: %s\n", name, step, d)
	return silentError{}
}

// diagnoseAnswer is diagnose for what an adapter refuses that parses: the rule is the name of the fault, and what is told is what the
// peer would be.
func diagnoseAnswer(err error) diagnosis {
	var refused *sip.Refusal
	var condition *stanza.Error
	var unwritable *stanza.Refusal
	switch {
	case errors.As(err, &refused):
		return diagnosis{-1, refused.Why.String(), "", fmt.Sprintf("something else: the answer is %d %s", refused.Code, refused.Phrase), ""}
	case errors.As(err, &condition):
		return diagnosis{-1, condition.Condition.String(), "RFC 6120 §8.3.3", "something else: the answer is this stanza error, " + condition.Text, ""}
	case errors.As(err, &unwritable):
		return diagnosis{-1, unwritable.Reason.String(), "", "something else: " + unwritable.Detail, ""}
	case errors.Is(err, sip.ErrContent):
		return diagnosis{-1, adapters.ReasonUnsupportedContent.String(), "", "a content that SIP can carry", ""}
	}
	return diagnose(err)
}

// derived is a name made of the input, where the wire has a random one: it begins with what it is, so that nobody takes it for a real one.
func (t *translation) derived(kind string) string { return kind + "-" + hex.EncodeToString(t.seed[:6]) }

func (o operation) why() string {
	if o.nothing != "" {
		return o.nothing
	}
	return "the other side has no form of this"
}
