package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// maxCalls bounds the calls that a node has under way, those that it makes and those that it answers each. Beyond it they are refused.
const maxCalls = 1024

// bus is what a node serves, and the calls under way.
type bus struct {
	serve             atomic.Pointer[func(ctx context.Context, from string, octets []byte) []byte]
	making, answering atomic.Int64
}

// The headers of calls and answers between nodes, and what the one of a call that was not taken says.
const (
	headerFrom    = "From"
	headerWithin  = "Within" // milliseconds that the caller waits
	headerRefused = "Refused"

	refusedNobody = "nobody serves"
	refusedFull   = "too many calls"
)

// Node implements Bus.
func (s *Store) Node() string {
	if s.clustered() {
		return s.cfg.Cluster.Node
	}
	return SingleNode
}

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
	if node != s.Node() && (!s.clustered() || CheckName(node, 64) != nil) {
		return nil, fmt.Errorf("%w: %q", ErrNoNode, clip(node))
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if s.bus.making.Add(1) > maxCalls {
		s.bus.making.Add(-1)
		return nil, fmt.Errorf("%w: too many calls are under way", ErrFull)
	}
	if node == s.Node() {
		return s.callSelf(ctx, octets)
	}
	defer s.bus.making.Add(-1)
	return s.callOther(ctx, node, octets)
}

// callSelf answers a call of this node to itself.
func (s *Store) callSelf(ctx context.Context, octets []byte) ([]byte, error) {
	f := s.bus.serve.Load()
	if f == nil {
		s.bus.making.Add(-1)
		return nil, fmt.Errorf("%w: %q", ErrNoNode, s.Node())
	}
	answer := make(chan []byte, 1)
	s.background.Go(func() {
		defer s.bus.making.Add(-1)
		under, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ending, cancel)()
		answer <- slices.Clone((*f)(under, s.Node(), slices.Clone(octets)))
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

// callOther calls another node.
func (s *Store) callOther(ctx context.Context, node string, octets []byte) ([]byte, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	p := s.peers.Load()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	// A node that goes away does not answer.
	if lost := p.lost(node); lost != nil {
		over := make(chan struct{})
		defer close(over)
		go func() {
			select {
			case <-lost:
				cancel()
			case <-over:
			}
		}()
	}
	m := nats.NewMsg(p.calls + node)
	m.Data = octets
	m.Header.Set(headerFrom, s.Node())
	if end, ok := ctx.Deadline(); ok {
		m.Header.Set(headerWithin, strconv.FormatInt(max(time.Until(end).Milliseconds(), 1), 10))
	}
	answer, err := e.conn.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w: %q", ErrNoNode, node)
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	switch answer.Header.Get(headerRefused) {
	case "":
		return answer.Data, nil
	case refusedNobody:
		return nil, fmt.Errorf("%w: %q", ErrNoNode, node)
	}
	return nil, fmt.Errorf("%w: node %s has too many calls under way", ErrFull, node)
}

// called answers a call of another node.
func (s *Store) called(m *nats.Msg) {
	if m.Reply == "" {
		return
	}
	refuse := func(why string) {
		a := nats.NewMsg(m.Reply)
		a.Header.Set(headerRefused, why)
		m.RespondMsg(a) //nolint:errcheck // who cannot be told finds out
	}
	f := s.bus.serve.Load()
	if f == nil || s.ending.Err() != nil {
		refuse(refusedNobody)
		return
	}
	if s.bus.answering.Add(1) > maxCalls {
		s.bus.answering.Add(-1)
		refuse(refusedFull)
		return
	}
	s.background.Go(func() {
		defer s.bus.answering.Add(-1)
		ctx, cancel := context.WithCancel(s.ending)
		defer cancel()
		if ms, err := strconv.ParseInt(m.Header.Get(headerWithin), 10, 64); err == nil && ms > 0 && ms < 1<<31 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
			defer cancel()
		}
		m.Respond((*f)(ctx, m.Header.Get(headerFrom), m.Data)) //nolint:errcheck // likewise
	})
}
