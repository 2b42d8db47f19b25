package xmpp_test

import (
	"context"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// poisoned is a core that panics for one message and takes the others.
type poisoned struct{ *recorder }

func (p poisoned) Message(ctx context.Context, op *adapters.MessageOp, respond func(adapters.Status)) {
	if string(op.Content.Octets) == "poison" {
		panic("in the core")
	}
	p.recorder.Message(ctx, op, respond)
}

// T-FI-23: a stanza that makes its handling panic costs its sender an error and nobody else anything: the process lives, the link goes
// on, and shutting down does not wait for an answer that never comes.
func TestT_FI_23_Poison(t *testing.T) {
	core := newRecorder()
	s := listen(t)
	_, p := started(t, s, poisoned{core}, nil)
	p.say("<message from='juliet@example.com/x' to='romeo@example.net' id='poison'><body>poison</body></message>")
	if e := p.hearBut(); attr(e, "id") != "poison" || !strings.Contains(e.Raw, "internal-server-error") {
		t.Errorf("the sender is told %s", e.Raw)
	}
	p.say("<message from='juliet@example.com/x' to='romeo@example.net' id='next'><body>next</body></message>")
	if op := next(t, core.messages, "the next message over the same link"); string(op.Content.Octets) != "next" {
		t.Errorf("%q came", op.Content.Octets)
	}
}
