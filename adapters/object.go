package adapters

import (
	"time"

	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
)

// CPIM returns the message as the canonical object of RFC 3862: the one that is relayed, if that is what came, octet for
// octet; else one made from the envelope. It is what a gateway to a third protocol, an archive or a person sees; the two
// adapters translate from the operation, which holds the same values and more.
//
// The date is the sender's; without one the object has none, because "DateTime" is when the sender wrote it (RFC 3862
// §4.4) and the gateway does not know. The error is a *cpim.SyntaxError.
func (op *MessageOp) CPIM() (*cpim.Message, error) {
	if op.Object != nil {
		return cpim.ParseMessage(op.Object, cpim.Limits{})
	}
	var b cpim.Builder
	b.From(cpim.MailboxOf("", op.From.Address)).To(cpim.MailboxOf("", op.To.Address))
	if !op.Sent.IsZero() {
		b.DateTime(datetime.FromTimeDigits(op.Sent.Truncate(time.Second), 0))
	}
	for _, s := range op.Subjects {
		b.Subject(cpim.Subject{Lang: s.Lang, Text: s.Text})
	}
	t, err := cpim.ParseContentType(op.Content.Type)
	if err != nil {
		return nil, err
	}
	var headers []cpim.MIMEHeader
	if op.Content.Language != "" {
		headers = append(headers, cpim.MIMEHeader{Name: "Content-Language", Value: op.Content.Language})
	}
	return b.Build(t, headers, op.Content.Octets)
}
