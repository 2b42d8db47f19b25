package main

import (
	"errors"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// watchedFor is how long a watch lasts that does not say it: "an hour" (RFC 3856 §6.4).
const watchedFor = time.Hour

// write makes what crosses of the operation; nothing if there is none.
func (t *translation) write(op operation) ([]byte, error) {
	switch t.To {
	case "sip":
		return t.writeSIP(op)
	case "xmpp":
		return t.writeStanzas(op)
	}
	return t.writeCPIM(op)
}

// via is a Via whose values say that they are none of the wire.
func (t *translation) via(id string) wire.ViaSpec {
	branch := "z9hG4bK" + t.derived("branch")
	if isPlainToken(id) {
		branch += "-" + id
	}
	return wire.ViaSpec{Transport: "TCP", SentBy: "translate.invalid", Branch: branch}
}

// isPlainToken tells whether an id can be seen in a branch.
func isPlainToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c-'0' >= 10 && (c|0x20)-'a' >= 26 && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func (t *translation) writeOptions() sip.WriteOptions {
	return sip.WriteOptions{CPIM: t.CPIM, CallID: t.derived("call"), FromTag: t.derived("tag"), NoticeID: t.derived("notice"), CSeq: 1, Now: t.now}
}

func (t *translation) writeSIP(op operation) (out []byte, err error) {
	switch {
	case op.message != nil:
		req, err := sip.WriteMessage(op.message, t.writeOptions())
		if err != nil {
			return nil, err
		}
		return wire.AppendRequest(nil, req, t.via(op.message.TransID))
	case op.reports != nil:
		for i, r := range op.reports {
			o := t.writeOptions()
			o.CSeq += uint32(i)
			req, err := sip.WriteReport(asked(r), o)
			if errors.Is(err, sip.ErrNoNotice) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if out, err = wire.AppendRequest(out, req, t.via(r.TransID)); err != nil {
				return nil, err
			}
		}
		return out, nil
	case op.watch != nil:
		return t.writeSubscribe(op.watch)
	case op.notify != nil:
		return t.writeNotify(op.notify)
	}
	return nil, nil
}

// asked is a report to a sender who asked for it: the gateway knows, and here nobody does.
func asked(r *adapters.Report) *adapters.Report {
	if r.Wants != 0 {
		return r
	}
	c := *r
	c.Wants = adapters.WantDelivered | adapters.WantFailed | adapters.WantDisplayed
	return &c
}

// dialog is the dialog that a request of the watch would be in.
func (t *translation) dialog(id adapters.WatchID, contact adapters.Party) (sip.Dialog, error) {
	uri, err := sip.URIOf(contact)
	if err != nil {
		return sip.Dialog{}, err
	}
	d, err := sip.NewWatch(id, uri)
	d.CallID, d.LocalTag = t.derived("call"), t.derived("tag")
	return d, err
}

func (t *translation) writeSubscribe(op *adapters.WatchOp) ([]byte, error) {
	d, err := t.dialog(op.Watch, adapters.Party{Address: op.Watch.Watcher, Instance: op.Instance})
	if err != nil {
		return nil, err
	}
	expires := time.Duration(0)
	switch op.Verb {
	case adapters.WatchAsk, adapters.WatchOpen:
		if expires = op.Duration; expires == 0 {
			expires = watchedFor
		}
	case adapters.WatchClose, adapters.WatchCancel:
		d.RemoteTag = t.derived("theirs")
	}
	req, err := sip.WriteSubscribe(&d, expires, op.Hops)
	if err != nil {
		return nil, err
	}
	return wire.AppendRequest(nil, req, t.via(op.TransID))
}

func (t *translation) writeNotify(op *adapters.NotifyOp) ([]byte, error) {
	// The other end of the dialog: the presentity's.
	d, err := t.dialog(adapters.WatchID{Watcher: op.Watch.Presentity, Presentity: op.Watch.Watcher}, adapters.Party{Address: op.Watch.Presentity, Instance: op.Instance})
	if err != nil {
		return nil, err
	}
	d.Role, d.RemoteTag, d.State, d.Expires = sip.Notifier, t.derived("theirs"), adapters.WatchActive, t.now.Add(watchedFor)
	req, err := sip.WriteNotify(&d, op, t.now)
	if err != nil {
		return nil, err
	}
	return wire.AppendRequest(nil, req, t.via(""))
}

func (t *translation) writeStanzas(op operation) (out []byte, err error) {
	switch {
	case op.message != nil:
		out, err = stanza.AppendMessage(nil, op.message, stanza.Envelope{Now: t.now, Nick: true})
	case op.reports != nil:
		for _, r := range op.reports {
			if out, err = stanza.AppendReport(out, asked(r), t.derived("id")); err != nil {
				return nil, err
			}
		}
	case op.watch != nil:
		out, err = stanza.AppendWatch(nil, op.watch, op.watch.TransID)
	case op.notify != nil:
		out, _, err = stanza.AppendNotify(nil, op.notify, t.now)
	}
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return append(out, '\n'), nil
}

// presenceType is that of presence in an object: "The "Content-type" MUST be set to "application/pidf+xml" and the charset MUST be set to
// "utf-8"" (RFC 3922 §5.1).
var presenceType = cpim.MustParseContentType("application/pidf+xml; charset=utf-8") // never written to

// writeCPIM is the canonical form as octets: a message/cpim object, which bears a PIDF document if it is presence (RFC 3922 §5).
func (t *translation) writeCPIM(op operation) (out []byte, err error) {
	switch {
	case op.message != nil:
		if op.message.Activity != adapters.ActivityNone {
			return t.objectOf(op)
		}
		m, err := op.message.CPIM()
		if err != nil {
			return nil, err
		}
		return m.Append(nil), nil
	case op.reports != nil:
		return t.objectOf(op)
	case op.notify != nil && op.notify.Presence != nil:
		document, err := op.notify.Presence.Append(nil)
		if err != nil {
			return nil, err
		}
		var b cpim.Builder
		b.From(cpim.MailboxOf("", op.notify.Watch.Presentity.WithScheme(cpim.IM))).To(cpim.MailboxOf("", op.notify.Watch.Watcher.WithScheme(cpim.IM)))
		m, err := b.Build(presenceType, nil, document)
		if err != nil {
			return nil, err
		}
		return m.Append(nil), nil
	}
	return nil, nil // RFC 3859 §3.4 has a subscribe operation, and no octets for it
}

// objectOf is what the SIP adapter puts around a notice or an activity.
func (t *translation) objectOf(op operation) (out []byte, err error) {
	if op.message != nil {
		req, err := sip.WriteMessage(op.message, t.writeOptions())
		if err != nil {
			return nil, err
		}
		var b cpim.Builder
		b.From(cpim.MailboxOf(op.message.SenderName, op.message.From.Address)).To(cpim.MailboxOf("", op.message.To.Address))
		m, err := b.Build(cpim.MustParseContentType(req.ContentType), nil, req.Body)
		if err != nil {
			return nil, err
		}
		return m.Append(nil), nil
	}
	for _, r := range op.reports {
		req, err := sip.WriteReport(asked(r), t.writeOptions())
		if errors.Is(err, sip.ErrNoNotice) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if req.ContentType == "message/cpim" {
			out = append(out, req.Body...)
		}
	}
	return out, nil
}
