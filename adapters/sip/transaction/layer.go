package transaction

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Handler takes requests, in order of arrival on each connection (on each socket of UDP). It is called from the goroutine that reads
// the socket and must not block. It must answer each tx, perhaps later and from another goroutine; what is not answered within 64*T1
// is forgotten without an answer (RFC 4320 §4.2). The memory of a MESSAGE is used again: once it was answered nobody may look at req, but Request
// itself until it returns; what req's methods have returned stays.
type Handler interface {
	Request(req *wire.Message, src Source, tx *ServerTx)
}

// Source is where a request came from.
type Source struct {
	Transport resolver.Transport
	Remote    netip.AddrPort // of the packet or connection, never from a header
	Local     netip.AddrPort // the address it came to
	// Domains are those that the certificate of the far side proves, over TLS and WSS (RFC 5922 §7.4): A-labels in lower case, at most
	// 256. Nobody may write to it.
	Domains []string
	// Connection is a number that no other connection has, not even of another run; 0 for UDP.
	Connection uint64
}

// Layer owns the sockets and the transactions. All its methods may be called from any goroutine.
type Layer struct {
	cfg    Config // its Listeners, Limits and Bounds are those of the start; see tuning and open
	tuning atomic.Pointer[tuning]
	open   atomic.Pointer[sockets]
	// retired are those that a reload took out and that may still be open.
	retiring sync.Mutex
	retired  []*udpSocket
	log      zerolog.Logger
	metrics  *metrics
	wheel    *wheel
	servers  serverTable
	merged   mergeTable
	clients  clientTable
	pool     pool
	answers  answerTable
	told     overloadTable
	pace     overloadServer
	lots     lots
	// handshakes and reopened bound what is under way at once: TLS handshakes of connections to us, and connections that are opened for
	// a response whose own is gone.
	handshakes, reopened chan struct{}
	tagKey               [32]byte  // of the tags that are made without state
	results              sync.Pool // channels of clientTx that nobody uses; they are empty
	handler              Handler

	closing  atomic.Bool
	underway atomic.Int64  // requests that wait for their answer, both ways
	idle     chan struct{} // gets a token when underway comes to 0 while closing

	life    context.Context // ends when everything must end
	callers callers
	end     context.CancelFunc
	tasks   sync.WaitGroup
	done    chan struct{} // closed when everything has ended
	mu      sync.Mutex
	started bool
	ended   bool
	err     error           // why the layer stopped by itself
	bind    []boundListener // to be opened by Start
}

// New checks cfg and makes a Layer that does nothing yet. It fails with ErrConfig, or if a metric is registered already.
func New(cfg Config) (*Layer, error) {
	cfg, bind, err := cfg.check()
	if err != nil {
		return nil, err
	}
	l := &Layer{cfg: cfg, bind: bind, log: cfg.Logger, idle: make(chan struct{}, 1), done: make(chan struct{})}
	l.tuning.Store(&tuning{cfg.Limits, cfg.Bounds})
	l.open.Store(&sockets{})
	l.life, l.end = context.WithCancel(context.Background())
	rand.Read(l.tagKey[:]) //nolint:errcheck // it never fails
	l.servers.init(l.transactionLife())
	l.merged.init(l.transactionLife())
	l.clients.init()
	l.answers.init(cfg.Bounds.Answers, cfg.Bounds.AnswerLife)
	l.told.init()
	l.lots = newLots()
	l.pool.init(l)
	l.handshakes = make(chan struct{}, cfg.Bounds.Handshakes)
	l.reopened = make(chan struct{}, maxReopened)
	if l.metrics, err = newMetrics(l, cfg.Registerer); err != nil {
		return nil, fmt.Errorf("transaction: %w", err)
	}
	return l, nil
}

// Start opens the listeners and begins to read. ctx bounds the start only. It is called once.
func (l *Layer) Start(ctx context.Context, h Handler) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started || l.ended {
		return ErrClosed
	}
	l.started = true
	l.begin(h)
	open, err := l.listen(ctx, &sockets{}, l.bind)
	if err != nil {
		l.end()
		l.tasks.Wait()
		l.ended = true
		close(l.done)
		return err
	}
	l.open.Store(open)
	open.serve()
	return nil
}

// begin starts what needs no socket.
func (l *Layer) begin(h Handler) {
	l.handler = h
	l.wheel = newWheel(max(l.cfg.T1/10, time.Millisecond))
	l.servers.begin(l.wheel)
	l.merged.begin(l.wheel)
	l.tasks.Go(func() { l.wheel.run(l.life.Done()) })
}

// Addrs returns the open listeners in the order of the configuration.
func (l *Layer) Addrs() []BoundListener {
	var addrs []BoundListener
	for _, s := range l.open.Load().list {
		addrs = append(addrs, s.at())
	}
	return addrs
}

// Bound is Addrs without a copy.
func (l *Layer) Bound() iter.Seq[BoundListener] {
	return func(yield func(BoundListener) bool) {
		for _, s := range l.open.Load().list {
			if !yield(s.at()) {
				return
			}
		}
	}
}

// Wait returns when the layer has stopped: nil after Shutdown, else the fault of a listener that stopped it.
func (l *Layer) Wait() error {
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// fail stops the layer because a listener cannot go on.
func (l *Layer) fail(err error) {
	l.mu.Lock()
	if l.err == nil && !l.ended && !l.closing.Load() {
		l.err = fmt.Errorf("%w: %w", ErrTransport, err)
	}
	l.mu.Unlock()
	go func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		l.Shutdown(ctx) //nolint:errcheck // the fault is in err
	}()
}

// Shutdown refuses new requests (503), waits until those under way both ways are answered and written, or ctx ends, and releases
// everything. What still waits then ends with ErrClosed. It returns ctx's error if it had to cut something off. Idempotent.
func (l *Layer) Shutdown(ctx context.Context) error {
	l.mu.Lock()
	if !l.started || l.ended {
		if !l.ended {
			l.ended = true
			close(l.done)
		}
		l.mu.Unlock()
		<-l.done
		return nil
	}
	first := !l.closing.Swap(true)
	l.mu.Unlock()
	if !first {
		select {
		case <-l.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, s := range l.open.Load().tcp {
		s.close()
	}
	var err error
	for l.underway.Load() > 0 && err == nil {
		select {
		case <-l.idle:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if e := l.pool.flush(ctx); err == nil {
		err = e
	}
	l.clients.failAll(ErrClosed)
	l.closeSockets()
	l.pool.close()
	l.end()
	l.clients.failAll(ErrClosed) // those of callers who were on their way
	l.tasks.Wait()
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	close(l.done)
	return err
}

func (l *Layer) closeSockets() {
	for _, s := range l.open.Load().list {
		s.close()
	}
}

// enter counts one request that waits for its answer.
func (l *Layer) enter() { l.underway.Add(1) }

// leave ends what enter began.
func (l *Layer) leave() {
	if l.underway.Add(-1) == 0 && l.closing.Load() {
		select {
		case l.idle <- struct{}{}:
		default:
		}
	}
}

// tap shows octets to the configured Tap.
func (l *Layer) tap(dir Direction, octets []byte) {
	if l.cfg.Tap != nil {
		l.cfg.Tap(dir, octets)
	}
}

// transactionLife is 64*T1: Timers F and J (RFC 3261 §17.1.2.2, §17.2.2).
func (l *Layer) transactionLife() time.Duration { return 64 * l.cfg.T1 }
