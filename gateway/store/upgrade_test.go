package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// A store that was written before there were parts is opened with all that is in it.
func TestAStoreWithoutParts(t *testing.T) {
	ctx := t.Context()
	c := Config{Directory: t.TempDir(), MaxOctets: 1 << 30, MaxEntry: 1 << 20, Logger: zerolog.New(zerolog.NewTestWriter(t))}
	e := newEngine()
	if err := e.start(&c); err != nil {
		t.Fatal(err)
	}
	var err error
	if e.conn, err = nats.Connect("", nats.InProcessServer(e.server)); err != nil {
		t.Fatal(err)
	}
	if e.js, err = jetstream.New(e.conn); err != nil {
		t.Fatal(err)
	}
	_, err = e.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "JOURNAL", Subjects: []string{"e.*", "p.*"}, Storage: jetstream.FileStorage, Replicas: 1,
		Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: 1, MaxMsgSize: 1<<20 + 64<<10, AllowDirect: true, AllowAtomicPublish: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		id := fmt.Sprintf("%016x", 0x17f0000000000000+i)
		m := nats.NewMsg("e." + id)
		m.Header = nats.Header{
			"Kind": {"1"}, "Order": {"old"}, "Accepted": {"2026-01-02T03:04:05.000000006Z"}, "Expires": {"2026-01-03T03:04:05Z"},
		}
		m.Data = fmt.Append(nil, i)
		if _, err := e.js.PublishMsg(ctx, m); err != nil {
			t.Fatal(err)
		}
		if _, err := e.js.Publish(ctx, "p."+id, fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	e.close()

	s, err := Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []ID
	err = s.Replay(ctx, nil, func(e Entry, p Progress) error {
		if got = append(got, e.ID); e.Part != 0 || string(e.Octets) != fmt.Sprint(p.Attempts) || e.Order != "old" || e.Accepted.Nanosecond() != 6 {
			t.Errorf("%+v, %+v", e, p)
		}
		return nil
	}, func(id ID, err error) { t.Errorf("%s: %v", id, err) })
	if err != nil || len(got) != 10 || s.Usage().Entries != 10 {
		t.Fatalf("%d entries, %+v, %v", len(got), s.Usage(), err)
	}
	if err := s.Append(ctx, Entry{ID: s.NewID(), Part: 7, Accepted: time.Now(), Expires: time.Now()}); err != nil {
		t.Error(err)
	}
	if err := s.Remove(ctx, got...); err != nil {
		t.Error(err)
	}
	if n := s.Usage().Entries; n != 1 {
		t.Errorf("%d entries", n)
	}
}
