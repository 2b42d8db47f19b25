package transaction

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// stuckConn is a connection whose peer takes octets but whose Write does not return: the system's buffer has some of them.
type stuckConn struct {
	net.Conn
	closed chan struct{}
	ended  chan struct{} // the peer ends the connection
	wrote  chan []byte
	taken  int // what Write says in the end that the system took
}

func newStuckConn() *stuckConn {
	return &stuckConn{closed: make(chan struct{}), ended: make(chan struct{}), wrote: make(chan []byte, 16)}
}

func (c *stuckConn) Read([]byte) (int, error) {
	select {
	case <-c.ended:
		return 0, io.EOF
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *stuckConn) Write(b []byte) (int, error) {
	c.wrote <- append([]byte(nil), b...)
	<-c.closed
	return min(c.taken, len(b)), net.ErrClosed
}

func (c *stuckConn) Close() error                     { close(c.closed); return nil }
func (c *stuckConn) LocalAddr() net.Addr              { return net.TCPAddrFromAddrPort(ours) }
func (c *stuckConn) RemoteAddr() net.Addr             { return net.TCPAddrFromAddrPort(theirs) }
func (c *stuckConn) SetReadDeadline(time.Time) error  { return nil }
func (c *stuckConn) SetWriteDeadline(time.Time) error { return nil }

// connect puts nc into the pool of l, as the connection to theirs.
func (l *bubbleLayer) connect(nc net.Conn) resolver.Target {
	key := poolKey{transport: resolver.TCP, addr: theirs}
	c := newConn(l.Layer, nc, resolver.TCP, key, false)
	ready := make(chan struct{})
	close(ready)
	l.pool.mu.Lock()
	l.pool.all[c] = struct{}{}
	l.pool.by[key] = &pooled{ready: ready, conn: c}
	l.pool.outbound.Add(1)
	l.pool.mu.Unlock()
	c.begun = true
	l.tasks.Go(c.read)
	l.tasks.Go(c.write)
	return resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: theirs})
}

// No second copy: a request that the system was given, or that will still be given to it, may have been taken by the peer, so Do must
// say that it was sent.
func TestSentOnStream(t *testing.T) {
	ask := func(l *bubbleLayer, ctx context.Context, to resolver.Target) <-chan Result {
		done := make(chan Result, 1)
		go func() { done <- l.Do(ctx, to, testRequest("MESSAGE", "")) }()
		return done
	}
	t.Run("the peer ends the connection during the write", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newBubble(t, nil, nil)
			defer l.stop()
			nc := newStuckConn()
			done := ask(l, t.Context(), l.connect(nc))
			<-nc.wrote
			close(nc.ended)
			if r := <-done; !r.Sent || !errors.Is(r.Err, ErrTransport) {
				t.Errorf("Sent %v, %v: the peer may have it", r.Sent, r.Err)
			}
		})
	})
	t.Run("the caller gives up during the write", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newBubble(t, nil, nil)
			defer l.stop()
			nc := newStuckConn()
			ctx, cancel := context.WithCancel(t.Context())
			done := ask(l, ctx, l.connect(nc))
			<-nc.wrote
			cancel()
			if r := <-done; !r.Sent || !errors.Is(r.Err, ErrTimeout) {
				t.Errorf("Sent %v, %v: the peer may have it", r.Sent, r.Err)
			}
		})
	})
	t.Run("the caller gives up while it waits in the queue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newBubble(t, nil, nil)
			defer l.stop()
			nc := newStuckConn()
			to := l.connect(nc)
			first := ask(l, t.Context(), to)
			<-nc.wrote
			ctx, cancel := context.WithCancel(t.Context())
			done := ask(l, ctx, to)
			synctest.Wait()
			cancel()
			if r := <-done; !r.Sent || !errors.Is(r.Err, ErrTimeout) {
				t.Errorf("Sent %v, %v: it will be written when its turn comes", r.Sent, r.Err)
			}
			close(nc.ended)
			<-first
		})
	})
	t.Run("the connection ends while it waits in the queue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newBubble(t, nil, nil)
			defer l.stop()
			nc := newStuckConn()
			to := l.connect(nc)
			first := ask(l, t.Context(), to)
			<-nc.wrote
			done := ask(l, t.Context(), to)
			synctest.Wait()
			close(nc.ended)
			if r := <-done; r.Sent || !errors.Is(r.Err, ErrTransport) {
				t.Errorf("Sent %v, %v: no octet of it ever left", r.Sent, r.Err)
			}
			<-first
		})
	})
}

// Who is no peer cannot take the connections that peers need (THREATS T-OV-05).
func TestStrangersLeaveConnections(t *testing.T) {
	l := startLayer(t, nil, func(c *Config) {
		c.Bounds.Connections, c.Bounds.ConnectionsPerAddress = 32, 32
		c.Admit = nobody
	})
	open := 0
	for range 12 {
		nc := dial(t, l)
		nc.Write([]byte("\r\n\r\n")) //nolint:errcheck // the read shows it
		if _, err := nc.Read(make([]byte, 2)); err == nil {
			open++
		}
	}
	if open != 4 {
		t.Errorf("strangers hold %d of 32 connections, want an eighth", open)
	}
}
func nobody(Source) bool { return false }
