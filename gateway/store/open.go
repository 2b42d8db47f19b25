package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/internal/failpoint"
)

// Config is what Open needs.
type Config struct {
	// Directory holds the store. It is made with mode 0700 if it is missing. One process at a time may use it.
	Directory string
	// MaxEntries and MaxOctets bound the journal. Defaults 1,000,000 and 4 GiB. When either is reached, Append fails with ErrFull.
	MaxEntries int
	MaxOctets  int64
	// MaxEntry is the largest entry, in octets. Default 4 MiB.
	MaxEntry int
	// Logger gets the engine's warnings.
	Logger zerolog.Logger
}

// Store is a Journal and Facts on an engine in this process: a directory on disk, no port, nothing to install. Every write that has
// returned was synced. Make it with Open.
type Store struct {
	cfg  Config
	lock *os.File
	now  atomic.Pointer[engine] // nil while it is opened anew, and after Close
	ids  ids
	room room
	bus  bus
	// moving is held for writing while the janitor writes entries anew, so that nothing else becomes of them meanwhile.
	moving sync.RWMutex

	// trouble is set by a write that failed: the engine may not take another one.
	trouble atomic.Bool
	// broken is set by a write or a sync that the disk refused: nothing more is written before the files have been opened anew (T-FI-04).
	broken atomic.Bool
	looked atomic.Int64 // when the disk's room was last looked at
	full   atomic.Bool  // what was seen

	background sync.WaitGroup
	ending     context.Context // until Close
	end        context.CancelFunc
	closing    sync.Once
}

// engine is the engine while it runs.
type engine struct {
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream

	journal jetstream.Stream
	facts   jetstream.KeyValue
	commits *committer
	ended   chan struct{} // closed when it ends
	// failed ends when the disk has refused it a write; it does not answer who waits for that.
	failed context.Context
	fail   context.CancelFunc
}

// engine returns the engine, or ErrUnavailable.
func (s *Store) engine() (*engine, error) {
	if e := s.now.Load(); e != nil {
		return e, nil
	}
	return nil, ErrUnavailable
}

var _ Durable = (*Store)(nil)

// ErrLocked says that another process uses the directory (T-FI-26).
var ErrLocked = errors.New("store: another process uses the directory")

// The stream of the journal and the bucket of facts on the engine. The journal is a log: an entry and its progress are records of two
// subjects, of which the last counts; what is removed has a mark that it is gone. So everything that happens to entries is written at the
// end, and is synced together with what else happens (see pack.go; earlier versions wrote a message for each record, which are read the
// same way). The janitor cuts off what nothing needs any more.
const (
	journalStream  = "JOURNAL"
	entrySubject   = "e."
	progressPrefix = "p."
	factsBucket    = "facts"
)

// subject is the subject of an entry or of its progress: the prefix, the part and the ID. Part 0 is not written: all entries were of it
// before there were parts.
func subject(prefix string, part int, id ID) string {
	if part == 0 {
		return prefix + string(id)
	}
	return prefix + strconv.Itoa(part) + "." + string(id)
}

// ofSubject is the part and the ID of a subject.
func ofSubject(s string) (part int, id ID) {
	s = s[strings.IndexByte(s, '.')+1:]
	if number, rest, ok := strings.Cut(s, "."); ok {
		part, _ = strconv.Atoi(number) // nothing else is written
		s = rest
	}
	return part, ID(s)
}

// filters are the subjects of a prefix that are those of some parts; nil: of all.
func filters(prefix string, parts []int) (all []string) {
	if parts == nil {
		return []string{prefix + ">"}
	}
	for _, p := range parts {
		all = append(all, subject(prefix, p, "*"))
	}
	return all
}

// openWait bounds how long the engine may take to start, its own recovery included.
const openWait = 2 * time.Minute

// Open opens the store of a directory, and makes it if there is none. ctx bounds it.
func Open(ctx context.Context, c Config) (_ *Store, err error) {
	if c.MaxEntries <= 0 {
		c.MaxEntries = 1_000_000
	}
	if c.MaxOctets <= 0 {
		c.MaxOctets = 4 << 30
	}
	if c.MaxEntry <= 0 {
		c.MaxEntry = 4 << 20
	}
	if !filepath.IsAbs(c.Directory) {
		return nil, fmt.Errorf("store: directory %q is not an absolute path", c.Directory)
	}
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &Store{cfg: c}
	s.ending, s.end = context.WithCancel(context.Background())
	if s.lock, err = lockDirectory(c.Directory); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	s.background.Go(s.tidy)
	return s, nil
}

// run starts the engine and learns what it holds.
func (s *Store) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	e := newEngine()
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	s.dropBallast()
	if err := inspect(&s.cfg); err != nil {
		return err
	}
	if err := e.start(&s.cfg); err != nil {
		return err
	}
	// A connection in this process ends too: a process that was stopped for a while finds it timed out.
	e.conn, err = nats.Connect("", nats.InProcessServer(e.server), nats.Name("isthmus"), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if e.js, err = jetstream.New(e.conn); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := e.openStreams(ctx, &s.cfg); err != nil {
		return err
	}
	if err := s.learn(ctx, e); err != nil {
		return err
	}
	e.commits = newCommitter(e.js, e.failed.Done(), s.room.stored)
	s.now.Store(e)
	return nil
}

// start starts the engine in this process, on no port.
func (e *engine) start(c *Config) error {
	opts := &server.Options{
		ServerName: "isthmus", DontListen: true, NoSigs: true, NoLog: false, JetStream: true, DisableJetStreamBanner: true,
		StoreDir: c.Directory,
		// "Acknowledged means synced; there is no faster default" (promise P2). The engine's own default is to sync every two minutes.
		SyncAlways:         !failpoint.Unsynced(),
		JetStreamMaxMemory: 64 << 20,
		// Room for the journal, its progress, what is being forgotten, and the facts.
		JetStreamMaxStore: 2*c.MaxOctets + 1<<30,
		MaxPayload:        int32(c.MaxEntry + 64<<10),
		MaxPending:        256 << 20,
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.SetLoggerV2(&engineLog{c.Logger, e.fail}, false, false, false)
	e.server = s
	go s.Start()
	if !s.ReadyForConnections(openWait) {
		return fmt.Errorf("store: the engine did not start within %v", openWait)
	}
	return nil
}

func newEngine() *engine {
	e := &engine{ended: make(chan struct{})}
	e.failed, e.fail = context.WithCancel(context.Background())
	return e
}

// close ends the engine.
func (e *engine) close() {
	close(e.ended)
	defer e.fail()
	if e.commits != nil {
		e.commits.close()
	}
	if e.conn != nil {
		e.conn.Close()
	}
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
}

func (e *engine) openStreams(ctx context.Context, c *Config) (err error) {
	// Config.MaxEntries and MaxOctets are kept by room, not by the engine: a journal that is full must still take what becomes of its
	// entries.
	e.journal, err = ensureStream(ctx, e.js, jetstream.StreamConfig{
		Name: journalStream, Subjects: []string{entrySubject + ">", progressPrefix + ">", packPrefix + "*"}, Storage: jetstream.FileStorage, Replicas: 1,
		Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: 1, MaxMsgSize: int32(c.MaxEntry + 64<<10), AllowDirect: true,
	})
	if err != nil {
		return fmt.Errorf("store: the journal: %w", err)
	}
	e.facts, err = ensureBucket(ctx, e.js, jetstream.KeyValueConfig{
		Bucket: factsBucket, Storage: jetstream.FileStorage, Replicas: 1, History: 1, LimitMarkerTTL: time.Second,
	})
	if err != nil {
		return fmt.Errorf("store: the facts: %w", err)
	}
	return nil
}

// Close ends the engine. What a call was waiting for is unknown; what has returned is on disk. Idempotent.
func (s *Store) Close() {
	s.closing.Do(func() {
		s.end()
		e := s.now.Swap(nil)
		if e != nil {
			e.commits.close()
		}
		s.background.Wait()
		if e == nil {
			e = s.now.Swap(nil) // it was being opened anew
		}
		if e != nil {
			e.close()
		}
		if s.lock != nil {
			s.lock.Close()
		}
	})
}

// engineLog passes the engine's warnings and errors on; what it tells of itself otherwise is nobody's business.
type engineLog struct {
	log zerolog.Logger
	// failed is called when the engine says that the disk refused a write: it says so nowhere else.
	failed func()
}

// Noticef implements server.Logger.
func (l *engineLog) Noticef(string, ...any) {}

// Warnf implements server.Logger.
func (l *engineLog) Warnf(format string, v ...any) {
	l.log.Warn().Str("engine", clip(fmt.Sprintf(format, v...))).Msg("store")
}

// Fatalf implements server.Logger.
func (l *engineLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }

// Errorf implements server.Logger.
func (l *engineLog) Errorf(format string, v ...any) {
	if strings.Contains(format, "ritical write error") {
		l.failed()
	}
	l.log.Error().Str("engine", clip(fmt.Sprintf(format, v...))).Msg("store")
}

// Debugf implements server.Logger.
func (l *engineLog) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (l *engineLog) Tracef(string, ...any) {}

// clip bounds what goes into a log line.
func clip(s string) string { return s[:min(len(s), 256)] }
