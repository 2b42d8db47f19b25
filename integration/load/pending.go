package load

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// pendings sees to it, at the receiving side, that "a UAC MUST NOT initiate a new out-of-dialog MESSAGE transaction to a given URI if there is a previous
// out-of-dialog transaction pending for the same URI" (RFC 3428 §8). A transaction is pending from its first request that arrives until its answer is
// sent. Some are answered late, or there would hardly be a time in which a second one could come. Safe for use from several goroutines.
type pendings struct {
	conn  net.PacketConn
	every int           // one request of so many is answered late
	hold  time.Duration // by so much

	mu       sync.Mutex
	pending  map[string]*waiting
	ready    []string // whose answers leave with the next flush
	count    int
	most     int // transactions to one URI at once
	breaches uint64
	held     uint64
}

// waiting are the transactions to one Request-URI that have no answer yet.
type waiting struct {
	branches []string
	late     string // the one that is answered late
	last     string // the last one that was answered: it may come again, sent before its answer was there
}

// end ends them all.
func (w *waiting) end() {
	if n := len(w.branches); n > 0 {
		w.last = w.branches[n-1]
	}
	w.branches, w.late = w.branches[:0], ""
}

func newPendings(conn net.PacketConn, every int, hold time.Duration) *pendings {
	return &pendings{conn: conn, every: every, hold: hold, pending: map[string]*waiting{}}
}

// begin takes a MESSAGE request. It returns whether it is to be answered at once: the others are answered here.
func (p *pendings) begin(request []byte, from net.Addr) bool {
	line, _, _ := bytes.Cut(request, []byte(" SIP/2.0\r\n"))
	_, uri, _ := bytes.Cut(line, []byte(" "))
	_, via, _ := bytes.Cut(request, []byte("branch="))
	branch := string(via[:max(bytes.IndexAny(via, ";\r,"), 0)])
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.pending[string(uri)]
	if w == nil {
		w = &waiting{}
		p.pending[string(uri)] = w
	}
	if branch == w.last {
		return true
	}
	for _, b := range w.branches {
		if b == branch { // sent again
			return w.late != branch
		}
	}
	w.branches = append(w.branches, branch)
	if p.most = max(p.most, len(w.branches)); len(w.branches) > 1 {
		p.breaches++
	}
	if p.count++; p.every > 0 && p.count%p.every == 0 {
		p.held++
		w.late = branch
		answer := appendOK(nil, request)
		time.AfterFunc(p.hold, func() {
			p.mu.Lock()
			w.end() // before the answer leaves: the next request may follow it at once
			p.mu.Unlock()
			_, _ = p.conn.WriteTo(answer, from) // if it is lost, the request comes again, and is answered then
		})
		return false
	}
	p.ready = append(p.ready, string(uri))
	return true
}

// flush notes that what was to be answered at once is answered now.
func (p *pendings) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, uri := range p.ready {
		if w := p.pending[uri]; w != nil && w.late == "" {
			w.end()
		}
	}
	p.ready = p.ready[:0]
}

// seen is what was counted.
func (p *pendings) seen() (most int, breaches, held uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most, p.breaches, p.held
}
