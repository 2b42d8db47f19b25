package gateway

import (
	"slices"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
	"github.com/isthmus-gateway/isthmus/internal/smime"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// TenantMessages returns how many messages of a tenant are under way.
func (g *Gateway) TenantMessages(name string) int64 { return g.settings().meter.UnderWay(name) }

// permit asks the policy whether a message may be sent at all.
func (g *Gateway) permit(d *delivery) adapters.Status {
	op := d.op
	now, verdict := g.decide(policy.Ask{
		Peer: op.Peer.Name, Operation: policy.Messages, From: op.From.Address, To: op.To.Address,
	})
	d.meter, d.verdict = now.meter, verdict
	if !d.verdict.Allowed {
		return g.forbidden(d.verdict)
	}
	return adapters.Status{}
}

// secured looks at what of a message is signed or encrypted, as the rule that allows it says.
func (g *Gateway) secured(d *delivery) adapters.Status {
	now := g.settings()
	if d.meter != now.meter { // a change was taken on in this moment
		if _, d.verdict = g.decide(policy.Ask{
			Peer: d.op.Peer.Name, Operation: policy.Messages, From: d.op.From.Address, To: d.op.To.Address,
		}); !d.verdict.Allowed {
			return g.forbidden(d.verdict)
		}
		d.meter = now.meter
	}
	b := now.policy.Bounds(d.verdict)
	if d.op.Fallback && b.NoFallback {
		d.verdict.Cause = policy.CauseEncrypted
		g.metrics.refusedByPolicy(d.verdict)
		return adapters.Failed(adapters.ReasonUnsupportedContent, "An encrypted message cannot be carried to the other network. Send it without encryption")
	}
	if b.Signature == policy.SignaturesIgnored || now.verifier == nil || d.op.Activity != adapters.ActivityNone {
		return adapters.Status{}
	}
	err := now.verifier.Check(d.op, d.began)
	switch {
	case err == nil:
		d.op.Signature = adapters.SignatureValid
	case b.Signature == policy.SignaturesRequired:
		d.verdict.Cause = policy.CauseSignature
		g.metrics.refusedByPolicy(d.verdict)
		return adapters.Failed(adapters.ReasonPolicyViolation, "A signature is required here. "+err.Error())
	case err != smime.Unsigned:
		d.op.Signature = adapters.SignatureInvalid
	}
	return adapters.Status{}
}

// charge takes what a message costs of the bounds of the policy. Copies of a message cost nothing.
func (g *Gateway) charge(d *delivery) adapters.Status {
	op := d.op
	release, cause, why := d.meter.Message(d.began, policy.Ask{
		Peer: op.Peer.Name, Operation: policy.Messages, From: op.From.Address, To: op.To.Address,
	}, d.verdict, len(op.Content.Octets))
	if cause == "" {
		d.release = release
		return adapters.Status{}
	}
	d.verdict.Cause = cause
	g.metrics.refusedByPolicy(d.verdict)
	switch cause {
	case policy.CauseSize:
		return adapters.Failed(adapters.ReasonTooLarge, why)
	case policy.CauseNewContacts:
		return adapters.Failed(adapters.ReasonPolicyViolation, why)
	}
	return adapters.Failed(adapters.ReasonOverloaded, why)
}

// permitWatch asks the policy about a watch. To end one, or to give an authorization back, is always allowed.
func (g *Gateway) permitWatch(op *adapters.WatchOp) adapters.Status {
	if op.Verb == adapters.WatchClose || op.Verb == adapters.WatchCancel {
		return adapters.Status{}
	}
	_, v := g.decide(policy.Ask{
		Peer: op.Peer.Name, Operation: policy.Presence, From: op.Watch.Watcher, To: op.Watch.Presentity,
	})
	if !v.Allowed {
		return g.forbidden(v)
	}
	return adapters.Status{}
}

// permitNotify refuses presence of or for somebody who is blocked, and between tenants. Who watches was asked about when the watch was opened.
// The end of a watch and a refusal go through, or the other side would wait for them, but nothing that they carry does. So does that the presentity
// is gone, or who was told before that she is there would believe it for as long as he watches, which a user of XMPP may for months.
func (g *Gateway) permitNotify(op *adapters.NotifyOp) adapters.Status {
	refused := g.follow(op.Watch.Presentity, op.Watch.Watcher)
	if refused.Outcome != 0 && op.State == adapters.WatchTerminated {
		op.Presence, op.Sealed = nil, nil
		return adapters.Status{}
	}
	if refused.Outcome != 0 && gone(op) {
		bare := &pidf.Presence{Entity: op.Presence.Entity}
		for i := range op.Presence.Tuples {
			u := &op.Presence.Tuples[i]
			bare.Tuples = append(bare.Tuples, pidf.Tuple{ID: u.ID, Status: pidf.Status{Basic: pidf.BasicClosed}, Timestamp: u.Timestamp})
		}
		op.Presence, op.Sealed, op.State = bare, nil, adapters.WatchNeutral // that the watch is active could be an approval
		return adapters.Status{}
	}
	return refused
}

// Watched implements adapters.Audience.
func (h *handler) Watched(id adapters.WatchID) bool {
	w, p := h.gateway.watches, pairOf(id)
	s := w.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states[p] != nil
}

// Shared implements adapters.Audience.
func (h *handler) Shared(id adapters.WatchID) bool {
	return h.gateway.follow(id.Presentity, id.Watcher).Outcome == 0
}

// gone tells whether op says that a presentity, or a device of hers, is not there, and nothing of what is.
func gone(op *adapters.NotifyOp) bool {
	return op.Change == adapters.AuthorizationUnchanged && op.State != adapters.WatchPending && op.Presence != nil && (op.Whole || len(op.Presence.Tuples) > 0) &&
		!slices.ContainsFunc(op.Presence.Tuples, func(u pidf.Tuple) bool { return u.Status.Basic != pidf.BasicClosed })
}

// permitReport does the same for what became of a message that was sent before. That it failed goes through: its sender may not think that it
// was read.
func (g *Gateway) permitReport(r *adapters.Report) adapters.Status {
	if r.Kind == adapters.ReportFailed {
		return adapters.Status{}
	}
	return g.follow(r.Recipient.Address, r.Sender.Address)
}

func (g *Gateway) follow(from, to cpim.Address) adapters.Status {
	narrowed := g.narrowed.Load()
	v := g.settings().policy.Follow(from, to)
	if v.Allowed && narrowed != nil {
		v = narrowed.policy.Follow(from, to)
	}
	if !v.Allowed {
		return g.forbidden(v)
	}
	return adapters.Status{}
}

// decide asks the policy, and while a change is being taken on the new one too. It returns what holds now, whose bounds are to be counted.
func (g *Gateway) decide(a policy.Ask) (*settings, policy.Verdict) {
	narrowed := g.narrowed.Load() // before what holds now: what is nil because the change is over finds the new one there
	now := g.settings()
	v := now.policy.Decide(a)
	if v.Allowed && narrowed != nil {
		if next := narrowed.policy.Decide(a); !next.Allowed {
			v = next
		}
	}
	return now, v
}

func (g *Gateway) forbidden(v policy.Verdict) adapters.Status {
	g.metrics.refusedByPolicy(v)
	return adapters.Failed(adapters.ReasonPolicyViolation, v.Why)
}

// refusedByPolicy counts one refusal. Its labels are the names of rules, from the configuration, and the causes.
func (m *metrics) refusedByPolicy(v policy.Verdict) {
	by := v.By
	if by == "" {
		by = "none"
	}
	m.byPolicy.WithLabelValues(by, string(v.Cause)).Inc()
}
