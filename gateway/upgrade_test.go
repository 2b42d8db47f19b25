package gateway_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// writeJournal makes TestT_SK_04_Journals write the journal of this very version to testdata/journal: once for each release whose journal has
// another form than the last one's.
var writeJournal = flag.String("write-journal", "", "write testdata/journal/`NAME`.tar.gz")

// century is the life of what is in a journal of testdata, so that it is never too old to be delivered. What reads it cuts that.
const century = 100 * 365 * 24 * time.Hour

// The journal: what each of three SIP users said to each of three XMPP users while the XMPP side was away, with everything that a message
// can have; a notice that could not be brought to a SIP user; and a message that broke the gateway twice.
const (
	journalUsers    = 3
	journalMessages = 5 // of each pair
	journalPoison   = "poison"
	journalDropped  = "dropped"
)

func journalBodies(pair string) (list []string) {
	for n := range journalMessages {
		list = append(list, fmt.Sprintf("%s, message %d, ünïcödé", pair, n))
	}
	return list
}

// richMessage is a message with everything that the journal has a place for.
func richMessage(from, to, text string) *adapters.MessageOp {
	op := message(user("im:"+from+"@example.net"), user("im:"+to+"@example.com"), text)
	op.TransID, op.Thread, op.ParentThread = "id "+text, "thread of "+from, "above"
	op.Subjects = []adapters.LangText{{Lang: "en", Text: "Subject"}, {Lang: "de", Text: "Betreff"}}
	op.Alternatives = []adapters.LangText{{Lang: "de", Text: "auf deutsch"}}
	op.SenderName, op.OriginID, op.Wants = "Sender "+from, "origin "+text, adapters.WantDelivered|adapters.WantFailed
	op.Links = []adapters.Link{{URL: "https://example.net/x", Name: "x", Type: "image/png", Size: 17}}
	op.Sent, op.Kind = time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC), adapters.KindChat
	return op
}

// openJournal has the gateway open the store in dir; opened gets it, since the gateway does not close it.
func openJournal(dir string, opened *atomic.Pointer[store.Store]) func(*gateway.Config) {
	return func(c *gateway.Config) {
		c.OpenStore = func(ctx context.Context) (store.Durable, error) {
			disk, err := store.Open(ctx, store.Config{Directory: dir, Logger: zerolog.Nop()})
			if err != nil {
				return nil, err
			}
			opened.Store(disk)
			return disk, nil
		}
		c.Limits.Life, c.Limits.NoticeLife, c.Limits.DelayedAfter = century, century, century
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute, %s", what)
		}
	}
}

func storedEntries(t *testing.T, g *gateway.Gateway, dead bool) (list []gateway.Stored) {
	t.Helper()
	if err := g.Stored(t.Context(), dead, func(s gateway.Stored) error { list = append(list, s); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

// makeJournal writes a journal to dir as the gateway does.
func makeJournal(t *testing.T, dir string) {
	var broken atomic.Bool // the poison works
	var opened atomic.Pointer[store.Store]
	s := newStrait(t, openJournal(dir, &opened))
	s.xmpp.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
		if string(op.Content.Octets) == journalPoison && broken.Load() {
			panic("poison")
		}
		return unreachable
	}
	s.sip.OnReport = func(context.Context, *adapters.Report) adapters.Status { return unreachable }
	for _, text := range []string{journalPoison, journalDropped} {
		if st := <-s.send(s.sip, richMessage(text, text, text)); st.Outcome != adapters.Indeterminate {
			t.Fatalf("%v", st)
		}
	}
	broken.Store(true)
	for range 2 {
		before := -1
		var asked time.Time
		eventually(t, "the poison was not tried", func() bool {
			for _, e := range storedEntries(t, s.gateway, false) {
				if !strings.Contains(e.From, journalPoison) {
					continue
				}
				if before < 0 {
					before = e.Attempts
				}
				if e.Attempts == before && time.Since(asked) > 5*time.Second { // again: the attempt before may have been under way still
					asked = time.Now()
					if err := s.gateway.RetryStored(t.Context(), e.ID); err != nil {
						t.Fatal(err)
					}
				}
				return e.Attempts > before
			}
			return true
		})
	}
	eventually(t, "there is no dead letter", func() bool { return len(storedEntries(t, s.gateway, true)) == 1 })
	for _, e := range storedEntries(t, s.gateway, false) {
		if strings.Contains(e.From, journalDropped) {
			if err := s.gateway.DropStored(t.Context(), e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range journalMessages {
		for a := range journalUsers {
			for b := range journalUsers {
				from, to := fmt.Sprintf("romeo%d", a), fmt.Sprintf("juliet%d", b)
				if st := <-s.send(s.sip, richMessage(from, to, journalBodies(from + " to " + to)[n])); st.Outcome != adapters.Indeterminate {
					t.Fatalf("%v", st)
				}
			}
		}
	}
	s.shutdown()
	opened.Load().Close()
}

// T-SK-04: "upgrade N-1 -> N with full journal, and rollback": each journal that an earlier version has written, all of testdata/journal, is
// opened, and all that is in it delivered, in order; the dead letter is kept, and can be tried again.
func TestT_SK_04_Journals(t *testing.T) {
	if *writeJournal != "" {
		dir := t.TempDir()
		makeJournal(t, dir)
		if err := packed(dir, filepath.Join("testdata", "journal", *writeJournal+".tar.gz")); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/journal/*.tar.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no journals: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".tar.gz"), func(t *testing.T) {
			dir := t.TempDir()
			if err := unpacked(file, dir); err != nil {
				t.Fatal(err)
			}
			readJournal(t, dir)
		})
	}
	t.Run("this version", func(t *testing.T) {
		dir := t.TempDir()
		makeJournal(t, dir)
		readJournal(t, dir)
	})
}

func readJournal(t *testing.T, dir string) {
	var opened atomic.Pointer[store.Store]
	s := newStrait(t, openJournal(dir, &opened))
	defer func() {
		s.shutdown()
		opened.Load().Close()
	}()
	want := journalUsers * journalUsers * journalMessages
	eventually(t, "something still waits", func() bool { return len(storedEntries(t, s.gateway, false)) == 0 })
	got := map[string][]string{}
	for _, op := range s.xmpp.Messages() {
		pair := op.From.Address.Local() + " to " + op.To.Address.Local()
		got[pair] = append(got[pair], string(op.Content.Octets))
		w := richMessage(op.From.Address.Local(), op.To.Address.Local(), string(op.Content.Octets))
		if op.From != w.From || op.To != w.To || op.Thread != w.Thread || op.ParentThread != w.ParentThread || op.Kind != w.Kind || op.Wants != w.Wants ||
			op.OriginID != w.OriginID || op.SenderName != w.SenderName || !op.Sent.Equal(w.Sent) || op.Content.Type != w.Content.Type ||
			!slices.Equal(op.Subjects, w.Subjects) || !slices.Equal(op.Alternatives, w.Alternatives) || !slices.Equal(op.Links, w.Links) {
			t.Errorf("read as\n%+v, was\n%+v", op, w)
		}
		want--
	}
	if want != 0 {
		t.Errorf("%d messages too few", want)
	}
	for pair, bodies := range got {
		if !slices.Equal(bodies, journalBodies(pair)) {
			t.Errorf("%s: %q", pair, bodies)
		}
	}
	reports := slices.DeleteFunc(s.sip.Reports(), func(r *adapters.Report) bool { // this version tells the sender of a dead letter
		return r.Sender.Address.Local() == journalPoison && r.Status.Reason == adapters.ReasonOutcomeUnknown
	})
	if len(reports) != 1 || reports[0].Kind != adapters.ReportFailed || reports[0].Sender.Address.Local() != journalDropped || reports[0].TransID != "id "+journalDropped {
		t.Errorf("notices: %+v", reports)
	}
	dead := storedEntries(t, s.gateway, true)
	if len(dead) != 1 || !strings.Contains(dead[0].From, journalPoison) {
		t.Fatalf("dead letters: %+v", dead)
	}
	if err := s.gateway.RetryStored(t.Context(), dead[0].ID); err != nil {
		t.Error(err)
	}
	eventually(t, "the dead letter was not tried again", func() bool {
		return slices.ContainsFunc(s.xmpp.Messages(), func(op *adapters.MessageOp) bool { return string(op.Content.Octets) == journalPoison })
	})
}

// packed writes a directory to a file.
func packed(dir, file string) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		octets, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return errors.Join(w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(octets))}), second(w.Write(octets)))
	})
	if err := errors.Join(err, w.Close(), z.Close(), os.MkdirAll(filepath.Dir(file), 0o755)); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

func second(_ int, err error) error { return err }

func unpacked(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		octets, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, octets, 0o600)); err != nil {
			return err
		}
	}
}

// T-SK-04, rollback: what a newer version has written in a form that this one does not know is refused (not delivered, and nobody is told
// that it failed), kept as it is, reported, and there for the newer version when that comes back.
func TestT_SK_04_NewerEntriesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		now := time.Now()
		newer := store.Entry{
			ID: disk.NewID(), Kind: store.KindMessage, Order: "x", Accepted: now, Expires: now.Add(time.Hour),
			Octets: []byte(`{"v":1000000,"from":{"next":"im:romeo@example.net"},"to":"im:juliet@example.com"}`),
		}
		kind := store.Entry{ID: disk.NewID(), Kind: 100, Order: "x", Accepted: now, Expires: now.Add(time.Hour), Octets: []byte("\x00\x01")}
		if err := disk.Append(t.Context(), newer, kind); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s := durable(t, disk, nil)
			<-s.send(s.sip, message(romeo, juliet, "of this version"))
			time.Sleep(48 * time.Hour)
			if got := bodies(s.xmpp.Messages()); !slices.Equal(got, []string{"of this version"}) || len(s.sip.Reports()) > 0 {
				t.Errorf("delivered %q, reported %v", got, s.sip.Reports())
			}
			s.shutdown()
			for _, e := range []store.Entry{newer, kind} {
				if !strings.Contains(s.log.String(), `"entry":"`+string(e.ID)+`","message":"an entry of another version of the journal: it is kept and not touched"`) {
					t.Errorf("not reported: %s", s.log)
				}
			}
		}
		for _, e := range []store.Entry{newer, kind} {
			kept, p, err := disk.Read(t.Context(), e.ID)
			if err != nil || !slices.Equal(kept.Octets, e.Octets) || p.Dead != "" || p.Attempts != 0 {
				t.Errorf("%+v, %+v, %v", kept, p, err)
			}
		}
	})
}
