package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What is there as it should be is left alone: the engine writes a stream's configuration also when nothing of it changes, and a disk
// without room must not keep a store from being opened (T-FI-05).

// maker makes streams, or changes them, when it is this node's turn. Each node of a cluster finds at its start what is missing, and the engine takes each request to
// make a stream as another assignment of it, which its servers work on at the same time as the first; that has cost a data race in them. So one node asks at
// first, in the order of their names, and once: the next one does when turnEvery has passed since it has missed something.
type maker struct {
	// before is how many nodes are asked before this one.
	before int
	missed time.Time
	// making bounds a request to make or change a stream, which is not given up as soon as one to find it: asked again it would be another assignment.
	making context.Context
}

const (
	// turnEvery is how long a node is left to make what is missing.
	turnEvery = 10 * time.Second
	// makeMost is how long it may take.
	makeMost = 15 * time.Second
)

// errTurn says that another node makes what is missing.
var errTurn = errors.New("store: another node is to make it")

// newMaker is the maker of this node's streams until ctx ends.
func newMaker(ctx context.Context, c *Cluster) *maker {
	m := &maker{making: ctx}
	if c != nil {
		for _, n := range c.Nodes {
			if n.Name < c.Node {
				m.before++
			}
		}
	}
	return m
}

// turn is errTurn unless it is for this node to make what is missing. It does not wait.
func (m *maker) turn() error {
	if m.missed.IsZero() {
		m.missed = time.Now()
	}
	if time.Since(m.missed) < time.Duration(m.before)*turnEvery {
		return errTurn
	}
	return nil
}

// stream finds a stream, makes it, or changes it to be as told. ctx bounds how long it is looked for.
func (m *maker) stream(ctx context.Context, js jetstream.JetStream, c jetstream.StreamConfig) (jetstream.Stream, error) {
	write := js.UpdateStream
	switch s, err := js.Stream(ctx, c.Name); {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		write = js.CreateStream
	case err != nil:
		return nil, err
	default:
		is := s.CachedInfo().Config
		if slices.Equal(is.Subjects, c.Subjects) && is.Replicas == c.Replicas && is.MaxMsgSize == c.MaxMsgSize && is.AllowDirect == c.AllowDirect &&
			is.AllowAtomicPublish == c.AllowAtomicPublish && is.MaxMsgsPerSubject == c.MaxMsgsPerSubject && is.Retention == c.Retention && is.SubjectDeleteMarkerTTL == c.SubjectDeleteMarkerTTL {
			return s, nil
		}
	}
	if err := m.turn(); err != nil {
		return nil, err
	}
	making, cancel := context.WithTimeout(m.making, makeMost)
	defer cancel()
	return write(making, c)
}
