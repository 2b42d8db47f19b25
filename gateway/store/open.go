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
	// Cluster makes this node one of several that share what is stored; nil: it is alone. The bounds are those of the cluster then.
	Cluster *Cluster
	// Logger gets the engine's warnings.
	Logger zerolog.Logger
}

// Store is a Journal, Facts and a Bus on an engine in this process: a directory on disk, no port but that of a cluster, nothing to install.
// Every write that has returned was synced. Make it with Open.
type Store struct {
	cfg  Config
	at   layout
	lock *os.File
	home string
	now  atomic.Pointer[engine] // nil while it is opened anew, and after Close
	ids  ids
	room room
	bus  bus
	// node is the journal of one of several nodes, nil without a cluster; peers are the others, nil before it was joined.
	node  *node
	peers atomic.Pointer[peers]
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

	journal  jetstream.Stream
	factsLog jetstream.Stream   // of the facts
	facts    jetstream.KeyValue // on a cluster
	commits  *committer
	copies   *replicator // on a cluster, instead of commits
	// known is what the facts are without a cluster, and factCommits writes them.
	known       *factLog
	factCommits *committer
	// twice tells that the engine has met another node of this one's name, fatal that it cannot run.
	twice, fatal atomic.Bool
	ended        chan struct{} // closed when it ends
	high         *high         // how far the journal has come
	holes        uint64
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
	factsBucket    = "facts" // on a cluster, and of earlier versions
	factsStream    = "FACTS"
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
	s := &Store{cfg: c, at: alone}
	s.ending, s.end = context.WithCancel(context.Background())
	if c.Cluster != nil {
		// What is given is not changed.
		own := *c.Cluster
		s.cfg.Cluster = &own
		if err := own.complete(); err != nil {
			return nil, err
		}
		s.at, s.ids.node, s.node = of(own.Name), idSuffix(own.Node), newNode(s)
	}
	if s.local() {
		if !filepath.IsAbs(c.Directory) {
			return nil, fmt.Errorf("store: directory %q is not an absolute path", c.Directory)
		}
		if err := os.MkdirAll(c.Directory, 0o700); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		if s.lock, err = lockDirectory(c.Directory); err != nil {
			return nil, err
		}
		s.home = homeOf(s.lock)
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.former(ctx); err != nil {
		return nil, err
	}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	s.background.Go(s.tidy)
	return s, nil
}

// local tells whether the engine is in this process, with a directory of its own.
func (s *Store) local() bool { return s.cfg.Cluster == nil || len(s.cfg.Cluster.URLs) == 0 }

// run starts the engine and learns what it holds.
func (s *Store) run(ctx context.Context) (err error) {
	wait := openWait
	if s.clustered() {
		wait = s.cfg.Cluster.Wait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	e := newEngine()
	defer func() {
		if err != nil {
			s.leave(e)
			e.close()
		}
	}()
	if s.local() {
		s.dropBallast()
		if err := s.inspect(); err != nil {
			return err
		}
		if s.clustered() && s.cfg.Cluster.nameTaken(ctx) {
			return fmt.Errorf("%w: %s", ErrSameName, s.cfg.Cluster.Node)
		}
		if err := e.start(&s.cfg); err != nil {
			return err
		}
		// A connection in this process ends too: a process that was stopped for a while finds it timed out.
		e.conn, err = nats.Connect("", nats.InProcessServer(e.server), nats.Name("isthmus"), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
	} else if err := s.dial(ctx, e); err != nil {
		return err
	}
	if e.js, err = jetstream.New(e.conn); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if s.clustered() {
		if err := s.join(ctx, e); err != nil {
			return err
		}
		e.copies = newReplicator(e.conn, e.js, s.ready, clusterCommitWait)
	} else {
		if err := s.openStreams(ctx, e, newMaker(ctx, nil)); err != nil {
			return err
		}
		if err := s.learn(ctx, e); err != nil {
			return err
		}
		if err := s.openFacts(ctx, e); err != nil {
			return err
		}
		e.commits = newCommitter(e.js, packPrefix, e.failed.Done(), func(seq uint64, written []*nats.Msg) {
			s.room.stored(seq, written)
			e.high.note(highState{seq, e.holes})
		})
	}
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
	if c.Cluster != nil {
		if err := c.Cluster.route(opts, c.Directory); err != nil {
			return err
		}
		elect()
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.SetLoggerV2(newEngineLog(c.Logger, e), false, false, false)
	e.server = s
	go s.Start()
	if c.Cluster != nil {
		return e.routed(c)
	}
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

// endWrites ends what writes.
func (e *engine) endWrites() {
	for _, c := range [...]*committer{e.commits, e.factCommits} {
		if c != nil {
			c.close()
		}
	}
	if e.copies != nil {
		e.copies.close()
	}
}

// close ends the engine.
func (e *engine) close() {
	close(e.ended)
	defer e.fail()
	e.endWrites()
	e.high.close()
	if e.conn != nil {
		e.conn.Close()
	}
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
}

// openStreams makes the streams, or finds them.
func (s *Store) openStreams(ctx context.Context, e *engine, m *maker) (err error) {
	replicas, subjects := 1, []string{s.at.entry + ">", s.at.progress + ">"}
	if s.clustered() {
		replicas = s.cfg.Cluster.Replicas
	} else {
		subjects = append(subjects, packPrefix+"*")
	}
	// Config.MaxEntries and MaxOctets are kept here, not by the engine: a journal that is full must still take what becomes of its entries.
	e.journal, err = m.stream(ctx, e.js, jetstream.StreamConfig{
		Name: s.at.journal, Subjects: subjects, Storage: jetstream.FileStorage, Replicas: replicas,
		Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: 1, MaxMsgSize: int32(s.cfg.MaxEntry + 64<<10),
		// Reading from whichever node answers is reading what was there a while ago.
		AllowDirect: !s.clustered(), AllowAtomicPublish: s.clustered(),
	})
	if err != nil {
		return fmt.Errorf("store: the journal: %w", err)
	}
	if !s.clustered() {
		e.factsLog, err = m.stream(ctx, e.js, jetstream.StreamConfig{
			Name: factsStream, Subjects: []string{factPrefix + "*"}, Storage: jetstream.FileStorage, Replicas: 1, Retention: jetstream.LimitsPolicy,
			MaxMsgsPerSubject: 1, MaxMsgSize: int32(s.cfg.MaxEntry + 64<<10), AllowDirect: true,
		})
		if err != nil {
			return fmt.Errorf("store: the facts: %w", err)
		}
		return nil
	}
	// A bucket as the engine's own key-value calls make it, but for AllowDirect.
	e.factsLog, err = m.stream(ctx, e.js, jetstream.StreamConfig{
		Name: "KV_" + s.at.facts, Subjects: []string{"$KV." + s.at.facts + ".>"}, Storage: jetstream.FileStorage, Replicas: replicas,
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute,
		AllowRollup: true, DenyDelete: true, AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Second,
	})
	if err != nil {
		return fmt.Errorf("store: the facts: %w", err)
	}
	if e.facts, err = e.js.KeyValue(ctx, s.at.facts); err != nil {
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
			s.leave(e)
			e.endWrites()
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

// clip bounds what goes into a log line.
func clip(s string) string { return s[:min(len(s), 256)] }
