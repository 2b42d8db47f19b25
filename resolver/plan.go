package resolver

import "time"

// plan is a finished resolution as it is kept in the cache: the targets, and what is needed to draw their order anew for every
// caller. It does not change.
type plan struct {
	targets []Target // by group, then by candidate
	cands   []cand
	groups  []span
	why     []string      // per target, only for a trace
	err     *Error        // set if there are no targets
	until   time.Duration // since Resolver.start; then the plan is made anew
	sips    bool          // NAPTR records offered SIPS (RFC 3263 §7)
}

// cand is one server: its weight, and its targets.
type cand struct{ weight, lo, hi uint16 }

// span are the candidates of one priority of one kind of record.
type span struct{ lo, hi uint16 }

// order puts the indexes of p's targets in the order in which to try them: groups in order, within a group by weight, and those
// that failed lately after all others. failedAt is nil if nothing failed lately. It returns how many indexes it wrote.
func (p *plan) order(out *[maxTargets]uint16, d *drawer, failedAt func(*Target) bool) int {
	n := 0
	for _, g := range p.groups {
		size := int(g.hi - g.lo)
		var order, weights [maxHops]uint16
		for i := range size {
			order[i], weights[i] = uint16(i), p.cands[int(g.lo)+i].weight
		}
		if size > 1 {
			orderByWeight(order[:size], weights[:size], d)
		}
		for _, x := range order[:size] {
			c := p.cands[int(g.lo)+int(x)]
			for i := c.lo; i < c.hi; i++ {
				out[n] = i
				n++
			}
		}
	}
	if failedAt == nil {
		return n
	}
	var last [maxTargets]uint16
	kept, aside := 0, 0
	for _, x := range out[:n] {
		if failedAt(&p.targets[x]) {
			last[aside] = x
			aside++
		} else {
			out[kept] = x
			kept++
		}
	}
	copy(out[kept:n], last[:aside])
	return n
}

// weigh is about how many octets the plan costs in the cache.
func (p *plan) weigh(q Query) uint32 {
	n := 512 + len(q.Domain) + 6*len(p.cands) + 4*len(p.groups)
	for i := range p.targets {
		t := &p.targets[i]
		n += 104 + len(t.tlsaWire)
	}
	for _, c := range p.cands {
		n += len(p.targets[c.lo].host)
	}
	return uint32(n)
}
