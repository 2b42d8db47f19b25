package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// What an operator asks any gateway of a cluster is asked of all of them, where it has to be.

// page is what this node has in memory of its journal, oldest first.
type page struct {
	journal *journal
	views   []view
}

type view struct {
	entry
	next time.Time
}

// page returns what waits, or the dead letters.
func (j *journal) page(dead bool) *page {
	p := &page{journal: j}
	j.mu.Lock()
	if dead {
		for _, e := range j.dead {
			p.views = append(p.views, view{entry: *e})
		}
	} else {
		for _, b := range j.backlogs {
			for i, e := range b.entries {
				v := view{entry: *e}
				if i == 0 && !b.out {
					v.next = later(b.next, b.at.next)
				}
				p.views = append(p.views, v)
			}
		}
	}
	j.mu.Unlock()
	slices.SortFunc(p.views, func(a, b view) int { return cmp.Compare(a.id, b.id) })
	return p
}

// next reads the next one; false at the end.
func (p *page) next(ctx context.Context) (Stored, bool, error) {
	for len(p.views) > 0 {
		v := p.views[0]
		p.views = p.views[1:]
		s, _, err := p.journal.describe(ctx, &v.entry)
		if errors.Is(err, store.ErrNotFound) {
			continue // it has come to its end meanwhile
		}
		s.Next = v.next
		return s, true, err
	}
	return Stored{}, false, nil
}

func (p *page) each(ctx context.Context, f func(Stored) error) error {
	for {
		s, ok, err := p.next(ctx)
		if err != nil || !ok {
			return err
		}
		if err := f(s); err != nil {
			return err
		}
	}
}

// distant is what another node has, asked for piece by piece.
type distant struct {
	node *node
	name string
	dead bool
	have []Stored
	last string
	end  bool
}

func (d *distant) next(ctx context.Context) (Stored, bool, error) {
	if len(d.have) == 0 && !d.end {
		a, err := d.node.askQueue(ctx, d.name, carriedQueue{Do: "list", Dead: d.dead, After: d.last})
		if err != nil {
			return Stored{}, false, err
		}
		d.have, d.end = a.Stored, !a.More
	}
	if len(d.have) == 0 {
		return Stored{}, false, nil
	}
	s := d.have[0]
	d.have, d.last = d.have[1:], s.ID
	return s, true, nil
}

// stored calls f for what all nodes have, oldest first.
func (n *node) stored(ctx context.Context, dead bool, own *page, f func(Stored) error) error {
	type source interface {
		next(ctx context.Context) (Stored, bool, error)
	}
	sources := []source{own}
	for _, name := range n.others() {
		sources = append(sources, &distant{node: n, name: name, dead: dead})
	}
	heads := make([]*Stored, len(sources))
	for {
		first := -1
		for i, s := range sources {
			if heads[i] == nil && s != nil {
				x, ok, err := s.next(ctx)
				if err != nil {
					return err
				}
				if heads[i] = &x; !ok {
					heads[i], sources[i] = nil, nil
				}
			}
			if heads[i] != nil && (first < 0 || heads[i].ID < heads[first].ID) {
				first = i
			}
		}
		if first < 0 {
			return nil
		}
		if err := f(*heads[first]); err != nil {
			return err
		}
		heads[first] = nil
	}
}

// askQueue asks another node.
func (n *node) askQueue(ctx context.Context, name string, q carriedQueue) (*reply, error) {
	a, err := n.call(ctx, name, func() ([]byte, error) { return json.Marshal(&call{Version: forwardVersion, Queue: &q}) })
	if err != nil {
		return nil, fmt.Errorf("gateway: node %s cannot be asked: %w", name, err)
	}
	if a.Fault != "" {
		return nil, fmt.Errorf("gateway: node %s: %s", name, a.Fault)
	}
	return a, nil
}

// elsewhere asks the other nodes until one of them has the entry.
func (n *node) elsewhere(ctx context.Context, q carriedQueue) error {
	fault := ErrNotStored
	for _, name := range n.others() {
		switch a, err := n.askQueue(ctx, name, q); {
		case err != nil:
			fault = err // one of the rest may have it
		case a.Found:
			return nil
		}
	}
	return fault
}

// everywhere asks all other nodes.
func (n *node) everywhere(ctx context.Context, q carriedQueue) error {
	var faults []error
	for _, name := range n.others() {
		_, err := n.askQueue(ctx, name, q)
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// maxPage bounds how many entries one answer lists, some hundred octets each, and pageOctets how much: addresses may be long, and what is larger
// than a call may be does not arrive at all.
const (
	maxPage    = 1000
	pageOctets = 1 << 20
)

var errPageFull = errors.New("gateway: the page is full")

// serveQueue answers another node's operator.
func (n *node) serveQueue(ctx context.Context, q *carriedQueue) (a reply) {
	j := n.gateway.journal
	var err error
	switch q.Do {
	case "list":
		own := j.page(q.Dead)
		i, _ := slices.BinarySearchFunc(own.views, q.After, func(v view, after string) int {
			if string(v.id) <= after {
				return -1
			}
			return 1
		})
		own.views = own.views[i:]
		a.More = len(own.views) > maxPage
		own.views = own.views[:min(len(own.views), maxPage)]
		size := 0
		err = own.each(ctx, func(s Stored) error {
			if size > pageOctets {
				return errPageFull
			}
			octets, err := json.Marshal(&s)
			size += len(octets)
			a.Stored = append(a.Stored, s)
			return err
		})
		if errors.Is(err, errPageFull) {
			a.More, err = true, nil
		}
		if a.More && len(a.Stored) == 0 {
			a.More = false // all of them came to their end meanwhile; the rest is asked for the next time
		}
	case "retry":
		err = j.retryStored(q.ID)
		a.Found = !errors.Is(err, ErrNotStored)
	case "drop":
		err = j.dropStored(ctx, q.ID)
		a.Found = !errors.Is(err, ErrNotStored)
	case "resume":
		j.resume()
	default:
		err = errors.New("it does not know what is asked for")
	}
	if err != nil && !errors.Is(err, ErrNotStored) {
		a.Fault = clip(err.Error())
	}
	return a
}
