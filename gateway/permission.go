package gateway

import (
	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
)

// TenantMessages returns how many messages of a tenant are under way.
func (g *Gateway) TenantMessages(name string) int64 { return g.settings().meter.UnderWay(name) }

// permit asks the policy whether a message may be sent at all.
func (g *Gateway) permit(d *delivery) adapters.Status {
	now, op := g.settings(), d.op
	d.meter = now.meter
	d.verdict = now.policy.Decide(policy.Ask{
		Peer: op.Peer.Name, Operation: policy.Messages, From: op.From.Address, To: op.To.Address,
	})
	if !d.verdict.Allowed {
		return g.forbidden(d.verdict)
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
	v := g.settings().policy.Decide(policy.Ask{
		Peer: op.Peer.Name, Operation: policy.Presence, From: op.Watch.Watcher, To: op.Watch.Presentity,
	})
	if !v.Allowed {
		return g.forbidden(v)
	}
	return adapters.Status{}
}

// permitNotify refuses presence of or for somebody who is blocked. Who watches was asked about when the watch was opened. The end of a
// watch and a refusal go through, or the other side would wait for them.
func (g *Gateway) permitNotify(op *adapters.NotifyOp) adapters.Status {
	p := g.settings().policy
	if op.State == adapters.WatchTerminated || !p.Blocked(op.Watch.Watcher) && !p.Blocked(op.Watch.Presentity) {
		return adapters.Status{}
	}
	return g.forbidden(policy.Verdict{Cause: policy.CauseBlocked, Why: "The policy of this gateway forbids it"})
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
