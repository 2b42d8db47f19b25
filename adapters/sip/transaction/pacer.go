package transaction

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/admission"
)

const (
	// staleAge is the age from which on a request that would be refused is not worth an answer: what came after it gets one in time then.
	staleAge = 40 * time.Millisecond
	// stampAfter is for how long the socket may not have been read empty until the system is asked when each datagram came.
	stampAfter = 20 * time.Millisecond
	// settleMost is how long the reader waits at most for what it has handed over.
	settleMost = 5 * time.Millisecond
	// fewOwed is up to how many responses that are awaited may stand in the socket behind requests that it is not hurried to read. Each holds back all
	// that its caller has behind it.
	fewOwed = 16
	// keepUpStep is how often it looks.
	keepUpStep = 100 * time.Microsecond
)

// pacer keeps the reader of a UDP socket from being ahead of those who do what it reads, and notes for how long datagrams waited for it: then all that waits
// does so in the socket, where its age is known. It is used by the reader's goroutine.
type pacer struct {
	control *admission.Controller
	waiting func() int
	owed    *atomic.Int64 // requests of ours whose responses are awaited
	queue   *admission.Queue
	raw     syscall.RawConn
	batch   *packetBatch
	drains  bool // the batch tells whether the socket was left empty
	stamped bool
	planted uint64
	reached atomic.Uint64
}

func newPacer(s *udpSocket, batch *packetBatch) *pacer {
	p := &pacer{control: s.layer.cfg.Admission, waiting: s.layer.cfg.Waiting, owed: &s.layer.clients.count, batch: batch, drains: batch.drains()}
	p.queue = p.control.Queue()
	p.raw, _ = s.pc.SyscallConn() // it does not fail: the batch has one, too
	return p
}

func (p *pacer) end() { p.control.Forget(p.queue) }

// read notes a batch of n messages that was read now, and whether that was as many as were asked for, and tells whether they are stale.
func (p *pacer) read(now time.Time, n int, full bool) (stale bool) {
	if p.control == nil || n == 0 || !p.drains {
		return false // how the queue stands is not known then
	}
	age := time.Duration(-1)
	if p.stamped {
		if came := p.batch.came(0); !came.IsZero() {
			age = max(0, now.Sub(came))
		}
	}
	p.queue.Read(now, !full, age)
	active := p.control.Active()
	if on := active || p.queue.Standing(now) > stampAfter; on != p.stamped && p.raw != nil {
		p.stamped = on
		stamp(p.raw, on)
	}
	return active && age > staleAge
}

// settle waits until those who can run have done so, at most settleMost. The scheduler lets a goroutine that yields go on after 61 others, however many there
// are; so one is put behind all of them, which tells when it is its turn.
func (p *pacer) settle() {
	if p.planted == p.reached.Load() {
		p.planted++
		n := p.planted
		go p.reached.Store(n)
		go func() {}() // what was started last runs first: this, and not the one before
	}
	for end := time.Now().Add(settleMost); p.reached.Load() != p.planted && time.Now().Before(end); {
		runtime.Gosched()
	}
	p.keepUp()
}

// keepUp waits while more waits in the application than should, at most settleMost. Most of that waits for what the network brings, which the scheduler
// does not look for while a goroutine can run: so this one sleeps.
func (p *pacer) keepUp() {
	if p.waiting == nil {
		return
	}
	for end := time.Now().Add(settleMost); p.owed.Load() <= fewOwed && p.waiting() > p.control.Ahead() && time.Now().Before(end); {
		time.Sleep(keepUpStep)
	}
}
