package policy

import (
	"fmt"
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// Party is who a rule is for: everybody, a domain, all domains below one, or one address.
type Party struct {
	kind    kind
	domain  string
	address cpim.Address // scheme im
}

type kind uint8

const (
	everybody kind = iota
	wholeDomain
	belowDomain
	oneAddress
)

// Everybody is "*".
func Everybody() Party { return Party{} }

// ParseParty reads "*", "example.net" (that domain alone), "*.example.net" (every domain below it, not itself), or an address as in
// "im:romeo@example.net", which stands for what its user is in presence too. A domain may be in any form that one may be written in; in an
// address, which is a URI, it is in A-labels.
func ParseParty(s string) (Party, error) {
	switch {
	case s == "*":
		return Party{}, nil
	case strings.HasPrefix(s, "im:"), strings.HasPrefix(s, "pres:"):
		a, err := cpim.ParseAddressFold(s)
		if err != nil {
			return Party{}, fmt.Errorf("%q is no address: %w", s, err)
		}
		return Party{kind: oneAddress, address: a.WithScheme(cpim.IM), domain: a.Domain()}, nil
	case strings.Contains(s, "@"):
		return Party{}, fmt.Errorf("%q is an address without a scheme: write \"im:%s\"", s, s)
	}
	k, name := wholeDomain, s
	if below, ok := strings.CutPrefix(s, "*."); ok {
		k, name = belowDomain, below
	}
	// An address of the domain reads it by the one set of rules that there is.
	a, err := cpim.NewAddress(cpim.IM, "x", name)
	if err != nil {
		return Party{}, fmt.Errorf("%q is no domain: %w", s, err)
	}
	return Party{kind: k, domain: a.Domain()}, nil
}

// String is the party as ParseParty reads it.
func (p Party) String() string {
	switch p.kind {
	case wholeDomain:
		return p.domain
	case belowDomain:
		return "*." + p.domain
	case oneAddress:
		return p.address.String()
	}
	return "*"
}

// Domain returns the domain that p is about, "" for everybody, and whether it is that domain as a whole.
func (p Party) Domain() (name string, whole bool) { return p.domain, p.kind == wholeDomain }

// Has tells whether a is of p.
func (p Party) Has(a cpim.Address) bool {
	switch p.kind {
	case wholeDomain:
		return a.Domain() == p.domain
	case belowDomain:
		return strings.HasSuffix(a.Domain(), "."+p.domain)
	case oneAddress:
		return a.WithScheme(cpim.IM) == p.address
	}
	return true
}

// parties is a set of them, with a number for each.
type parties struct {
	all     bool
	whole   map[string]int
	below   map[string]int
	address map[cpim.Address]int
}

// newParties makes a set of list; an empty list is everybody.
func newParties(list []Party) parties {
	s := parties{all: len(list) == 0}
	for _, p := range list {
		if p.kind == everybody {
			s.all = true
			continue
		}
		s.give(p, 0)
	}
	return s
}

// give puts p into the set with a number, unless it is there with another one, which it returns.
func (s *parties) give(p Party, n int) (other int, ok bool) {
	switch p.kind {
	case wholeDomain:
		return put(&s.whole, p.domain, n)
	case belowDomain:
		return put(&s.below, p.domain, n)
	default:
		return put(&s.address, p.address, n)
	}
}

func put[K comparable](m *map[K]int, k K, n int) (int, bool) {
	if *m == nil {
		*m = make(map[K]int)
	}
	if other, there := (*m)[k]; there && other != n {
		return other, false
	}
	(*m)[k] = n
	return n, true
}

// have tells whether a is of the set.
func (s *parties) have(a cpim.Address) bool { return s.all || s.value(a) >= 0 }

// value is the number that a has: by its address, its domain, or the nearest domain that it lies below; -1: none.
func (s *parties) value(a cpim.Address) int {
	if s.address != nil {
		if n, ok := s.address[a.WithScheme(cpim.IM)]; ok {
			return n
		}
	}
	if n, ok := s.whole[a.Domain()]; ok {
		return n
	}
	found := -1
	if s.below != nil {
		parents(a.Domain(), func(above string) bool {
			n, ok := s.below[above]
			if ok {
				found = n
			}
			return ok
		})
	}
	return found
}

// index finds the rules that may be for a sender, in their order, without a look at those for other domains.
type index struct {
	whole, below map[string][]int32
	all          []int32
}

func (x *index) init() {
	x.whole, x.below = make(map[string][]int32), make(map[string][]int32)
}

// add puts rule i, whose number is above those before, under each of its parties' domains.
func (x *index) add(i int, from []Party) {
	if len(from) == 0 {
		x.all = append(x.all, int32(i))
		return
	}
	for _, p := range from {
		list := x.all
		switch p.kind {
		case wholeDomain, oneAddress:
			list = x.whole[p.domain]
		case belowDomain:
			list = x.below[p.domain]
		}
		if n := len(list); n > 0 && list[n-1] == int32(i) {
			continue
		}
		list = append(list, int32(i))
		switch p.kind {
		case wholeDomain, oneAddress:
			x.whole[p.domain] = list
		case belowDomain:
			x.below[p.domain] = list
		default:
			x.all = list
		}
	}
}

// search returns the first rule that may be for a and fits, -1 if there is none.
func (x *index) search(a cpim.Address, fits func(int) bool) int {
	var room [8][]int32
	lists := room[:0]
	if len(x.all) > 0 {
		lists = append(lists, x.all)
	}
	if l := x.whole[a.Domain()]; len(l) > 0 {
		lists = append(lists, l)
	}
	if len(x.below) > 0 {
		parents(a.Domain(), func(above string) bool {
			if l := x.below[above]; len(l) > 0 {
				lists = append(lists, l)
			}
			return false
		})
	}
	for {
		next, from := int32(-1), -1
		for i, l := range lists {
			if len(l) > 0 && (next < 0 || l[0] < next) {
				next, from = l[0], i
			}
		}
		if from < 0 {
			return -1
		}
		lists[from] = lists[from][1:]
		if fits(int(next)) {
			return int(next)
		}
	}
}
