package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// slow is a stream of which the first answers to each reader come too late: the library has given up by then, and says that there is
// nothing.
type slow struct {
	jetstream.Stream
	late int
}

type slowConsumer struct {
	jetstream.Consumer
	stream *slow
}

type nothingCame struct{ jetstream.MessageBatch }

func (nothingCame) Messages() <-chan jetstream.Msg {
	c := make(chan jetstream.Msg)
	close(c)
	return c
}

func (nothingCame) Error() error { return nil }

func (s *slow) OrderedConsumer(ctx context.Context, c jetstream.OrderedConsumerConfig) (jetstream.Consumer, error) {
	made, err := s.Stream.OrderedConsumer(ctx, c)
	return slowConsumer{made, s}, err
}

func (c slowConsumer) FetchNoWait(n int) (jetstream.MessageBatch, error) {
	batch, err := c.Consumer.FetchNoWait(n)
	if err != nil || c.stream.late == 0 {
		return batch, err
	}
	c.stream.late--
	for range batch.Messages() { // they were sent, and count as delivered
	}
	return nothingCame{batch}, nil
}

// T-FI-01, T-FI-21: a machine that is slow while the journal is read loses nothing of it: what was not read would be cut off as what nobody
// needs.
func TestT_FI_21_ASlowReaderReadsEverything(t *testing.T) {
	s, err := Open(t.Context(), Config{Directory: t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const entries = 5
	for i := range entries {
		now := time.Now()
		if err := s.Append(t.Context(), Entry{ID: s.NewID(), Kind: KindMessage, Order: fmt.Sprint(i), Accepted: now, Expires: now.Add(time.Hour), Octets: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	e, err := s.engine()
	if err != nil {
		t.Fatal(err)
	}
	for _, late := range []int{0, 1, 3} {
		all, err := survey(t.Context(), &slow{e.journal, late}, nil)
		if err != nil || len(all) != entries {
			t.Errorf("%d late answers: %d entries of %d, %v", late, len(all), entries, err)
		}
	}
	// An engine that never sends what it has is no empty journal.
	if all, err := survey(t.Context(), &slow{e.journal, 1 << 30}, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%d entries, %v", len(all), err)
	}
}

// While the engine is opened anew an entry is not said to be nowhere.
func TestWhileTheEngineIsAwayNothingIsMissing(t *testing.T) {
	s, err := Open(t.Context(), Config{Directory: t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e := s.now.Swap(nil)
	defer s.now.Store(e)
	s.room.begin(0)
	id := s.NewID()
	_, _, read := s.Read(t.Context(), id)
	for name, err := range map[string]error{"read": read, "mark": s.Mark(t.Context(), id, Progress{}), "remove": s.Remove(t.Context(), id)} {
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
