package sip

import (
	"net/netip"
	"sync"

	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/internal/admission"
)

// maxFlowsKnown bounds the addresses whose peer is remembered. When full all are forgotten.
const maxFlowsKnown = 65536

// flows remembers which peer's share an address counts for. Of peers whose networks overlap that is the one that the address proves best, or the
// first: the domain that a request is from is not read yet. The zero value is ready.
type flows struct {
	mu sync.RWMutex
	by map[netip.Addr]*admission.Flow
}

// flow implements transaction.FlowOf.
func (a *Adapter) flow(remote netip.Addr, domains []string) *admission.Flow {
	p := a.peers()
	if len(domains) == 0 {
		p.flows.mu.RLock()
		f, ok := p.flows.by[remote]
		p.flows.mu.RUnlock()
		if ok {
			return f
		}
	}
	var f *admission.Flow
	if peer := p.at(transaction.Source{Remote: netip.AddrPortFrom(remote, 0), Domains: domains}); peer != nil {
		f = a.admission.Flow(Name + " " + peer.Name)
	}
	if len(domains) == 0 {
		p.flows.mu.Lock()
		if p.flows.by == nil || len(p.flows.by) >= maxFlowsKnown {
			p.flows.by = map[netip.Addr]*admission.Flow{}
		}
		p.flows.by[remote] = f
		p.flows.mu.Unlock()
	}
	return f
}
