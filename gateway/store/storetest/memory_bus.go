package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// Loss is what becomes of a call.
type Loss uint8

// What becomes of calls.
const (
	Delivered Loss = iota
	// LostBefore is a call that never comes to the other node, whose caller learns that when its context ends.
	LostBefore
	// LostAfter is a call that the other node takes and answers; the answer is lost.
	LostAfter
	// Refused is a call that this node cannot make: nobody has taken it.
	Refused
)

// LoseCalls has f asked before each call of this node; nil ends it.
func (m *Memory) LoseCalls(f func(to string) Loss) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = f
}

// Partition cuts the node off from the memory and from the other nodes, or ends that. Meanwhile its calls of Journal and Facts fail with
// store.ErrUnavailable, calls from and to it are lost, and its watches are told nothing.
func (m *Memory) Partition(apart bool) {
	s := m.all()
	s.mu.Lock()
	defer s.mu.Unlock()
	m.apart = apart
	s.notify()
}

// Kill ends the node for good: all its calls fail, those that others have made to it fail with store.ErrUnknown, and it does not serve.
// What it is doing meanwhile in f of Serve goes on, and reaches nobody. Idempotent.
func (m *Memory) Kill() {
	s := m.all()
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-m.dead:
		return
	default:
	}
	close(m.dead)
	if s.nodes[m.Node()] == m {
		delete(s.nodes, m.Node())
	}
	s.notify()
}

// Settle has the node say that it is in a directory of this Home.
func (m *Memory) Settle(home string) { m.home = home }

// Home implements store.Housed.
func (m *Memory) Home() string { return m.home }

// Node implements store.Bus.
func (m *Memory) Node() string {
	if m.name == "" {
		return store.SingleNode
	}
	return m.name
}

// Serve implements store.Bus.
func (m *Memory) Serve(f func(ctx context.Context, from string, octets []byte) []byte) {
	m.all()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serve = f
}

// Call implements store.Bus.
func (m *Memory) Call(ctx context.Context, node string, octets []byte) ([]byte, error) {
	s := m.all()
	m.mu.Lock()
	loss := Delivered
	if m.calls != nil {
		loss = m.calls(node)
	}
	m.mu.Unlock()
	s.mu.Lock()
	other := s.nodes[node]
	lost := m.apart || other != nil && other.apart && other != m
	s.mu.Unlock()
	select {
	case <-m.dead:
		return nil, store.ErrUnavailable
	default:
	}
	if loss == Refused {
		return nil, store.ErrUnavailable
	}
	var serve func(context.Context, string, []byte) []byte
	if other != nil {
		other.mu.Lock()
		serve = other.serve
		other.mu.Unlock()
	}
	if lost && other != m || loss == LostBefore {
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	}
	if serve == nil {
		return nil, store.ErrNoNode
	}
	answer := make(chan []byte, 1)
	go func() {
		// The time that is left is told in whole milliseconds, so that who serves gives up before who asks.
		theirs := ctx
		if end, ok := ctx.Deadline(); ok {
			var cancel context.CancelFunc
			theirs, cancel = context.WithDeadline(ctx, end.Add(-time.Millisecond))
			defer cancel()
		}
		answer <- slices.Clone(serve(theirs, m.Node(), slices.Clone(octets)))
	}()
	came := answer
	if loss == LostAfter {
		came = nil
	}
	select {
	case a := <-came:
		if m.cut(other) {
			<-ctx.Done()
			return nil, fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
		}
		return a, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	case <-other.dead:
		return nil, store.ErrUnknown
	case <-m.dead:
		return nil, store.ErrUnknown
	}
}

// cut tells whether there is a partition between two nodes.
func (m *Memory) cut(other *Memory) bool {
	s := m.all()
	s.mu.Lock()
	defer s.mu.Unlock()
	return m != other && (m.apart || other.apart)
}
