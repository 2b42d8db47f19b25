package resolver

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// probability is what the text of RFC 2782 gives for record i to be chosen first: the zero weights stand first, and a number is
// drawn from 0 to the sum, inclusive. So the first record of a list that begins with a zero gets the draw 0, and each other
// record its weight; a list without zeros gives its first record one draw more than its weight.
func probability(weights []uint16) []float64 {
	order := make([]uint16, 0, len(weights))
	for i, w := range weights {
		if w == 0 {
			order = append(order, uint16(i))
		}
	}
	for i, w := range weights {
		if w != 0 {
			order = append(order, uint16(i))
		}
	}
	sum := 0
	for _, w := range weights {
		sum += int(w)
	}
	p, run := make([]float64, len(weights)), 0
	for r := 0; r <= sum; r++ {
		run = 0
		for _, x := range order {
			if run += int(weights[x]); run >= r {
				p[x] += 1 / float64(sum+1)
				break
			}
		}
	}
	return p
}

// RFC 2782, Weight: "Larger weights SHOULD be given a proportionately higher probability of being selected. ... choose a uniform
// random number between 0 and the sum computed (inclusive), and select the RR whose running sum value is the first in the selected
// order which is greater than or equal to the random number selected."
func TestWeightsChiSquared(t *testing.T) {
	const draws = 100_000
	for _, weights := range [][]uint16{{1, 3}, {10, 20, 70}, {0, 10}, {5, 5, 5, 5}, {0, 0, 100}, {1, 1000}, {60, 20, 10, 10}, {65535, 65535, 1}} {
		t.Run(fmt.Sprint(weights), func(t *testing.T) {
			d := seededDrawer(2782)
			count := make([]float64, len(weights))
			second := 0
			for range draws {
				order := make([]uint16, len(weights))
				for i := range order {
					order[i] = uint16(i)
				}
				orderByWeight(order, weights, &d)
				count[order[0]]++
				seen := slices.Clone(order)
				slices.Sort(seen)
				if len(slices.Compact(seen)) != len(weights) {
					t.Fatalf("order %v is no permutation", order)
				}
				if order[1] == 0 {
					second++
				}
			}
			chi, free := 0.0, -1.0
			for i, p := range probability(weights) {
				if want := p * draws; want > 0 {
					chi += (count[i] - want) * (count[i] - want) / want
					free++
				} else if count[i] > 0 {
					t.Errorf("record %d cannot be first, but was %v times", i, count[i])
				}
			}
			// The 99.9 % quantile of chi-squared, by Wilson and Hilferty.
			bound := free * math.Pow(1-2/(9*free)+3.09*math.Sqrt(2/(9*free)), 3)
			t.Logf("weights %v: first %v of %d, chi-squared %.2f, bound %.2f with %v degrees of freedom", weights, count, draws, chi, bound, free)
			if chi > bound {
				t.Errorf("chi-squared %.2f is over %.2f", chi, bound)
			}
		})
	}
}

// RFC 2782, Weight: "In the presence of records containing weights greater than 0, records with weight 0 should have a very small
// chance of being selected."
func TestWeightZero(t *testing.T) {
	d, first := seededDrawer(1), 0
	for range 100_000 {
		order := []uint16{0, 1}
		orderByWeight(order, []uint16{0, 9999}, &d)
		if order[0] == 0 {
			first++
		}
	}
	if first == 0 || first > 40 {
		t.Errorf("weight 0 beside 9999 was first %d times of 100,000, want about 10", first)
	}
}

// RFC 2782, Weight: "Continue the ordering process until there are no unordered SRV RRs." The second place follows the weights of
// what is left.
func TestWeightSecondPlace(t *testing.T) {
	d, n, b := seededDrawer(3), 0.0, 0.0
	for range 100_000 {
		order := []uint16{0, 1, 2}
		orderByWeight(order, []uint16{5000, 3000, 1000}, &d)
		if order[0] == 0 {
			n++
			if order[1] == 1 {
				b++
			}
		}
	}
	if share := b / n; math.Abs(share-0.75) > 0.01 {
		t.Errorf("after the first, 3000 beside 1000 came second in %.3f of the draws, want 0.75", share)
	}
}

// RFC 3263 §4.4: "The stateless proxy MUST define a deterministic order to the records".
func TestWeightsSameSeedSameOrder(t *testing.T) {
	weights := []uint16{5, 0, 20, 20, 1, 0, 300}
	run := func(seed uint64) (all []uint16) {
		d := seededDrawer(seed)
		for range 50 {
			order := []uint16{0, 1, 2, 3, 4, 5, 6}
			orderByWeight(order, weights, &d)
			all = append(all, order...)
		}
		return all
	}
	if !slices.Equal(run(7), run(7)) {
		t.Error("the same seed gave two orders")
	}
	if slices.Equal(run(7), run(8)) {
		t.Error("another seed gave the same order")
	}
	if got, want := run(2782)[:7], []uint16{6, 2, 3, 0, 1, 5, 4}; !slices.Equal(got, want) {
		t.Errorf("the first order of seed 2782 is %v, and was %v: gateways of two versions would disagree", got, want)
	}
}

// RFC 2782, notes: "A client MUST parse all of the RR's in the reply." Of 4,000 the limit keeps the lowest priorities, and draws by
// weight where it cuts.
func TestGroupSRVLimit(t *testing.T) {
	var recs []srvRecord
	for i := range 4000 {
		recs = append(recs, srvRecord{priority: 10, weight: 1, port: uint16(i + 1), target: "a.example"})
	}
	recs = append(recs, srvRecord{priority: 1, weight: 0, port: 9999, target: "best.example"})
	d := seededDrawer(1)
	groups := groupSRV(recs, 16, &d)
	if len(groups) != 2 || groups[0][0].target != "best.example" || len(groups[1]) != 15 {
		t.Fatalf("got %d groups", len(groups))
	}
	low := 0
	for range 100 {
		for _, r := range groupSRV(recs, 16, &d)[1] {
			if r.port <= 2000 {
				low++
			}
		}
	}
	if low < 650 || low > 850 {
		t.Errorf("of 1,500 records kept, %d came from the first half, want about 750", low)
	}
}

func BenchmarkOrderByWeight(b *testing.B) {
	b.ReportAllocs()
	weights := []uint16{10, 20, 30, 40}
	var d drawer
	for b.Loop() {
		order := [4]uint16{0, 1, 2, 3}
		orderByWeight(order[:], weights, &d)
	}
}
