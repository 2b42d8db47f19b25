package store

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
)

// maxCalls bounds the calls that a node has under way, those that it makes and those that it answers each. Beyond it they are refused.
const maxCalls = 1024

// bus is what a node serves, and all there is of the bus without a cluster.
type bus struct {
	serve  atomic.Pointer[func(ctx context.Context, from string, octets []byte) []byte]
	making atomic.Int64
}

// Node implements Bus.
func (s *Store) Node() string { return SingleNode }

// Serve implements Bus.
func (s *Store) Serve(f func(ctx context.Context, from string, octets []byte) []byte) {
	if f == nil {
		s.bus.serve.Store(nil)
		return
	}
	s.bus.serve.Store(&f)
}

// Call implements Bus.
func (s *Store) Call(ctx context.Context, node string, octets []byte) ([]byte, error) {
	if len(octets) > s.cfg.MaxEntry {
		return nil, fmt.Errorf("%w: a call of %d octets", ErrFull, len(octets))
	}
	if s.ending.Err() != nil {
		return nil, ErrUnavailable
	}
	f := s.bus.serve.Load()
	if node != s.Node() || f == nil {
		return nil, fmt.Errorf("%w: %q", ErrNoNode, clip(node))
	}
	if s.bus.making.Add(1) > maxCalls {
		s.bus.making.Add(-1)
		return nil, fmt.Errorf("%w: too many calls are under way", ErrFull)
	}
	answer := make(chan []byte, 1)
	s.background.Go(func() {
		defer s.bus.making.Add(-1)
		under, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ending, cancel)()
		answer <- slices.Clone((*f)(under, node, slices.Clone(octets)))
	})
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	case <-s.ending.Done():
		return nil, ErrUnknown
	}
}
