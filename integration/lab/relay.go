package lab

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// Relay carries TCP connections to a port of loopback, and can make them go silent as a peer that vanished does: nothing more is
// carried, and nobody is told.
type Relay struct {
	// Port is where it listens on 127.0.0.1.
	Port int

	target   int
	listener net.Listener

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	silent chan struct{} // closed when the connections of now go silent; replaced by Restore
	cut    bool
	closed bool
}

// StartRelay starts a relay to a port; 0 lets To say it later.
func StartRelay(t testing.TB, target int) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Port: l.Addr().(*net.TCPAddr).Port, target: target, listener: l, conns: map[net.Conn]struct{}{}, silent: make(chan struct{})}
	go r.accept()
	t.Cleanup(r.close)
	return r
}

// To sets the port that connections from now on are carried to.
func (r *Relay) To(target int) {
	r.mu.Lock()
	r.target = target
	r.mu.Unlock()
}

// Cut makes all its connections silent for good, and so those that come until Restore.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.cut {
		r.cut = true
		close(r.silent)
	}
}

// Restore carries the connections that come from now on. Those that were silent are closed, as by a peer that knows nothing of them
// any more.
func (r *Relay) Restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		for c := range r.conns {
			c.Close()
			delete(r.conns, c)
		}
		r.cut = false
		r.silent = make(chan struct{})
	}
}

func (r *Relay) close() {
	r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for c := range r.conns {
		c.Close()
	}
}

// hold keeps a connection until the end, and returns the channel that tells that it must be silent.
func (r *Relay) hold(c net.Conn) (silent chan struct{}, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		c.Close()
		return nil, false
	}
	r.conns[c] = struct{}{}
	return r.silent, true
}

func (r *Relay) drop(c net.Conn) {
	c.Close()
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
}

func (r *Relay) accept() {
	for {
		in, err := r.listener.Accept()
		if err != nil {
			return
		}
		silent, ok := r.hold(in)
		if !ok {
			return
		}
		r.mu.Lock()
		cut, target := r.cut, r.target
		r.mu.Unlock()
		if cut {
			continue // it is open, and nobody is there
		}
		out, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", target))
		if err != nil {
			r.drop(in)
			continue
		}
		if _, ok := r.hold(out); !ok {
			return
		}
		go r.carry(in, out, silent)
		go r.carry(out, in, silent)
	}
}

// carry copies until one end closes, and then closes the other; silence ends it without a word.
func (r *Relay) carry(from, to net.Conn, silent chan struct{}) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		select {
		case <-silent:
			return // what was read is lost, and neither end is told
		default:
		}
		if n > 0 {
			if _, werr := to.Write(b[:n]); werr != nil && err == nil {
				err = io.ErrClosedPipe
			}
		}
		if err != nil {
			r.drop(from)
			r.drop(to)
			return
		}
	}
}
