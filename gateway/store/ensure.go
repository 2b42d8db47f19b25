package store

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// What is there as it should be is left alone: the engine writes a stream's configuration also when nothing of it changes, and a disk
// without room must not keep a store from being opened (T-FI-05).

// ensureStream finds a stream, makes it, or changes it to be as told.
func ensureStream(ctx context.Context, js jetstream.JetStream, c jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, c.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return js.CreateStream(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	is := s.CachedInfo().Config
	if slices.Equal(is.Subjects, c.Subjects) && is.Replicas == c.Replicas && is.MaxMsgSize == c.MaxMsgSize && is.AllowDirect == c.AllowDirect &&
		is.AllowAtomicPublish == c.AllowAtomicPublish && is.MaxMsgsPerSubject == c.MaxMsgsPerSubject && is.Retention == c.Retention && is.SubjectDeleteMarkerTTL == c.SubjectDeleteMarkerTTL {
		return s, nil
	}
	return js.UpdateStream(ctx, c)
}
