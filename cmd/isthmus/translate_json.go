package main

import (
	"github.com/isthmus-gateway/isthmus/adapters"
)

// shown is a translation as JSON: the operation in the middle, then what was made of it.
func (t *translation) shown(op operation, output []byte) object {
	o := object{{"ok", true}, {"from", t.From}, {"to", t.To}}
	switch {
	case op.message != nil:
		o = o.with(member{"operation", "message"}, member{"canonical", messageFields(op.message)})
	case op.reports != nil:
		reports := []object{}
		for _, r := range op.reports {
			f, _ := plain(r).(object)
			reports = append(reports, f.without("kind").with(member{"kind", r.Kind.String()}))
		}
		o = o.with(member{"operation", "report"}, member{"canonical", reports})
	case op.watch != nil:
		f, _ := plain(op.watch).(object)
		o = o.with(member{"operation", "watch"}, member{"canonical", f.without("duration").with(member{"durationSeconds", op.watch.Duration.Seconds()})})
	case op.notify != nil:
		f, _ := plain(op.notify).(object)
		f = f.without("duration", "change").with(member{"durationSeconds", op.notify.Duration.Seconds()})
		if change := changeName(op.notify.Change); change != "" {
			f = f.with(member{"authorization", change})
		}
		o = o.with(member{"operation", "notify"}, member{"canonical", f})
	default:
		o = o.with(member{"operation", "none"})
	}
	if len(output) == 0 {
		return o.with(member{"nothing", op.why()})
	}
	return o.with(octets("output", output)...)
}

func changeName(c adapters.AuthorizationChange) string {
	switch c {
	case adapters.AuthorizationGranted:
		return "granted"
	case adapters.AuthorizationRefused:
		return "refused"
	}
	return ""
}

// messageFields shows a message: octets as text where they are, sets by their words.
func messageFields(op *adapters.MessageOp) object {
	o, _ := plain(op).(object)
	o = o.without("content", "object", "wants", "kind", "activity")
	if op.Content.Type != "" {
		c := object{{"type", op.Content.Type}}
		if op.Content.Language != "" {
			c = c.with(member{"language", op.Content.Language})
		}
		o = o.with(member{"content", c.with(octets("text", op.Content.Octets)...)})
	}
	if op.Object != nil {
		o = o.with(octets("object", op.Object)...)
	}
	kinds := map[adapters.MessageKind]string{adapters.KindNormal: "normal", adapters.KindChat: "chat", adapters.KindHeadline: "headline"}
	o = o.with(member{"kind", kinds[op.Kind]})
	if op.Activity != adapters.ActivityNone {
		o = o.with(member{"activity", op.Activity.String()})
	}
	wants := []string{}
	for _, w := range []struct {
		bit  adapters.Dispositions
		name string
	}{{adapters.WantDelivered, "delivered"}, {adapters.WantFailed, "failed"}, {adapters.WantDisplayed, "displayed"}} {
		if op.Wants&w.bit != 0 {
			wants = append(wants, w.name)
		}
	}
	if len(wants) > 0 {
		o = o.with(member{"wants", wants})
	}
	return o
}
