package transaction

import (
	"context"
	"fmt"
	"slices"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// tuning is what a reload may replace of the bounds. Immutable.
type tuning struct {
	limits wire.Limits
	bounds Bounds
}

func (l *Layer) bounds() *Bounds     { return &l.tuning.Load().bounds }
func (l *Layer) limits() wire.Limits { return l.tuning.Load().limits }

// socket is a listener of either kind.
type socket interface {
	at() BoundListener
	serve()  // begins to read
	retire() // when the configuration has it no more: what is under way on it goes on
	discard()
	close()
}

// sockets are the open ones, in the order of the configuration. Immutable.
type sockets struct {
	list []socket
	bind []boundListener // as configured, beside each of list
	udp  []*udpSocket
	tcp  []*streamListener
}

func (s *sockets) add(b boundListener, one socket) {
	s.list, s.bind = append(s.list, one), append(s.bind, b)
	switch one := one.(type) {
	case *udpSocket:
		s.udp = append(s.udp, one)
	case *streamListener:
		s.tcp = append(s.tcp, one)
	}
}

// find returns the open socket of a listener, nil if there is none.
func (s *sockets) find(b boundListener) socket {
	for i, have := range s.bind {
		if have.BoundListener == b.BoundListener {
			return s.list[i]
		}
	}
	return nil
}

func (s *sockets) serve() {
	for _, one := range s.list {
		one.serve()
	}
}

// listen opens what have does not hold. If one cannot be opened, none is.
func (l *Layer) listen(ctx context.Context, have *sockets, bind []boundListener) (*sockets, error) {
	open := &sockets{}
	for _, b := range bind {
		one := have.find(b)
		if one == nil {
			one = l.resumed(b)
		}
		var err error
		if one == nil {
			if b.Transport == resolver.UDP {
				one, err = l.listenUDP(ctx, b.Address)
			} else {
				one, err = l.listenStream(ctx, b)
			}
		}
		if err != nil {
			open.without(have, socket.discard)
			return nil, fmt.Errorf("%w: listen on %s/%s: %w", ErrTransport, b.Transport, b.Address, err)
		}
		open.add(b, one)
	}
	return open, nil
}

// resumed is the UDP socket of a listener that was retired and is still there, nil if there is none: its address is in use until it is closed.
func (l *Layer) resumed(b boundListener) socket {
	l.retiring.Lock()
	defer l.retiring.Unlock()
	for _, s := range l.retired {
		if s.at() == b.BoundListener && s.resume() {
			return s
		}
	}
	return nil
}

// retire retires the sockets of old that open has not.
func (l *Layer) retire(old, open *sockets) {
	l.retiring.Lock()
	defer l.retiring.Unlock()
	l.retired = slices.DeleteFunc(l.retired, func(s *udpSocket) bool { return s.closed.Load() || open.has(s) })
	old.without(open, func(one socket) {
		one.retire()
		if s, ok := one.(*udpSocket); ok {
			l.retired = append(l.retired, s)
		}
	})
}

// has tells whether a socket is one of s.
func (s *sockets) has(one socket) bool { return slices.Contains(s.list, one) }

// without calls f for each socket that other has not.
func (s *sockets) without(other *sockets, f func(socket)) {
	for i, b := range s.bind {
		if other.find(b) == nil {
			f(s.list[i])
		}
	}
}

// Prepare opens the listeners of a new configuration that are not open yet, and returns what takes it on and what closes them again; one of
// the two is to be called. Of cfg only Listeners, Limits and Bounds are looked at, and of these not Handshakes, Answers and AnswerLife. A
// listener that is there no more takes nothing new, but what is under way on it goes on: connections until they end, a socket of UDP for
// 64*T1. One prepared change at a time.
func (l *Layer) Prepare(ctx context.Context, cfg Config) (commit, discard func(), err error) {
	whole := l.cfg
	whole.Listeners, whole.Limits, whole.Bounds = cfg.Listeners, cfg.Limits, cfg.Bounds
	checked, bind, err := whole.check()
	if err != nil {
		return nil, nil, err
	}
	next := &tuning{checked.Limits, checked.Bounds}
	next.bounds.Handshakes, next.bounds.Answers, next.bounds.AnswerLife = l.cfg.Bounds.Handshakes, l.cfg.Bounds.Answers, l.cfg.Bounds.AnswerLife
	old := l.open.Load()
	open, err := l.listen(ctx, old, bind)
	if err != nil {
		return nil, nil, err
	}
	commit = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.closing.Load() || l.ended {
			open.without(old, socket.close)
			return
		}
		l.tuning.Store(next)
		for i, b := range open.bind {
			if s, ok := open.list[i].(*streamListener); ok {
				s.origins.Store(&b.origins)
			}
		}
		l.open.Store(open)
		open.without(old, socket.serve)
		l.retire(old, open)
	}
	return commit, func() { open.without(old, socket.discard) }, nil
}
