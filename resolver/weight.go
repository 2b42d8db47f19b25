package resolver

import (
	"math/bits"
	"math/rand/v2"
	"slices"
)

// maxOrder bounds how many records one ordering can hold: more than any answer that fits in a DNS message.
const maxOrder = 8192

// drawer gives uniform random 64-bit numbers. The zero value draws from the runtime's generator (ChaCha8, seeded by the system);
// a seeded one gives the same draws for the same seed.
type drawer struct {
	pcg    rand.PCG
	seeded bool
}

func seededDrawer(seed uint64) drawer {
	var d drawer
	d.pcg.Seed(seed, 0x9e3779b97f4a7c15)
	d.seeded = true
	return d
}

func (d *drawer) next() uint64 {
	if d.seeded {
		return d.pcg.Uint64()
	}
	return rand.Uint64()
}

// upTo is uniform over 0..n, both included, without the bias of a remainder.
func (d *drawer) upTo(n uint32) uint32 {
	span := uint64(n) + 1
	hi, lo := bits.Mul64(d.next(), span)
	if lo < span {
		for limit := -span % span; lo < limit; {
			hi, lo = bits.Mul64(d.next(), span)
		}
	}
	return uint32(hi)
}

// orderByWeight puts the indexes of weights into order, which must have the same length and hold 0..n-1 in any order: RFC 2782,
// "The format of the SRV RR", Weight. All zero weights are placed first, a number between 0 and the sum of the weights
// (inclusive) is drawn, the first record whose running sum reaches it is next; repeated with what is left.
func orderByWeight(order []uint16, weights []uint16, d *drawer) {
	if len(order) < 2 || len(order) > maxOrder {
		return
	}
	var sum uint32 // at most 8192 * 65535
	zeros := 0
	for i, x := range order {
		sum += uint32(weights[x])
		if weights[x] == 0 {
			order[i], order[zeros] = order[zeros], order[i]
			zeros++
		}
	}
	for i := 0; i < len(order)-1; i++ {
		r := d.upTo(sum)
		run := uint32(0)
		for j := i; j < len(order); j++ {
			run += uint32(weights[order[j]])
			if run >= r {
				x := order[j]
				// What is left keeps its order, so the zero weights stay in front.
				copy(order[i+1:j+1], order[i:j])
				order[i] = x
				sum -= uint32(weights[x])
				break
			}
		}
	}
}

// srvRecord is one SRV record, and the transport that its owner name stands for.
type srvRecord struct {
	priority, weight, port uint16
	transport              Transport
	target                 string // canonical, or "." for "decidedly not available"
}

// srvGroup are the records of one priority.
type srvGroup []srvRecord

// groupSRV sorts records by priority (RFC 2782: "lowest number first") and keeps at most limit of them. Where the limit cuts
// through a priority, who stays is drawn by weight, so that over many resolutions the weights hold.
func groupSRV(recs []srvRecord, limit int, d *drawer) []srvGroup {
	recs = slices.Clone(recs)
	if len(recs) > maxOrder {
		recs = recs[:maxOrder]
	}
	slices.SortStableFunc(recs, func(a, b srvRecord) int { return int(a.priority) - int(b.priority) })
	var groups []srvGroup
	for len(recs) > 0 && limit > 0 {
		n := 1
		for n < len(recs) && recs[n].priority == recs[0].priority {
			n++
		}
		g := recs[:n]
		recs = recs[n:]
		if n > limit {
			order, weights := make([]uint16, n), make([]uint16, n)
			for i := range g {
				order[i], weights[i] = uint16(i), g[i].weight
			}
			orderByWeight(order, weights, d)
			kept := make(srvGroup, limit)
			for i := range kept {
				kept[i] = g[order[i]]
			}
			g = kept
		}
		groups = append(groups, g)
		limit -= len(g)
	}
	return groups
}
