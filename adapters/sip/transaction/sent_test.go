package transaction

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
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

// T-OV-05, THREATS X6: who is no peer is told so and cannot stay, however busy it keeps the connection. A peer stays.
func TestStrangersDoNotStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, known := range []bool{false, true} {
			l := newBubble(t, nil, func(c *Config) { c.Admit = func(Source) bool { return known } })
			near, far := net.Pipe()
			l.pool.accept(&piped{Conn: near}, &streamListener{layer: l.Layer, transport: resolver.TCP})
			began := time.Now()
			for time.Since(began) < 5*time.Minute {
				if _, err := io.WriteString(far, "\r\n\r\n"); err != nil {
					break
				}
				if _, err := io.ReadFull(far, make([]byte, 2)); err != nil {
					break
				}
				time.Sleep(10 * time.Second)
			}
			if d := time.Since(began); known != (d >= 5*time.Minute) || !known && d > time.Minute {
				t.Errorf("peer %v: connected for %s", known, d)
			}
			l.stop()
			far.Close() //nolint:errcheck // a test
		}
	})
}

// THREATS X6: one site of IPv6 has 2**64 addresses, which must not be as many shares of what strangers may have.
func TestStrangersOfOneNetwork(t *testing.T) {
	for _, v := range []struct{ a, b, want string }{
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "same"},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", "other"},
		{"192.0.2.1", "192.0.2.2", "other"},
		{"fe80::1%a", "fe80::2%b", "same"},
	} {
		got := "other"
		if neighbourhood(netip.MustParseAddr(v.a)) == neighbourhood(netip.MustParseAddr(v.b)) {
			got = "same"
		}
		if got != v.want {
			t.Errorf("%s and %s: %s", v.a, v.b, got)
		}
	}
}

// THREATS O6: a connection that is up does not keep for ever what its certificate proved: not when it has ended, and not when its
// authority is trusted no more. Nor is it pinged once another one has taken its place.
func TestIdentityEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trusted, ends := true, time.Now().Add(time.Hour)
		l := newBubble(t, nil, func(c *Config) {
			c.TLS = &TLS{
				Domains: func(Direction, tls.ConnectionState) ([]string, time.Time) {
					if !trusted {
						return nil, time.Time{}
					}
					return []string{"example.net"}, ends
				},
				Client: func(string, string) (*tls.Config, error) { return nil, errors.New("no other one today") },
			}
		})
		p := newPiped(time.Now())
		key := poolKey{transport: resolver.TLS, addr: theirs, name: "example.net"}
		open := func() *conn {
			c := newConn(l.Layer, p, resolver.TLS, key, false)
			c.judge()
			return c
		}
		c := open()
		time.Sleep(59 * time.Minute)
		if !c.proves("example.net") {
			t.Error("nothing is proven within the certificate's time")
		}
		time.Sleep(2 * time.Minute)
		if c.proves("example.net") {
			t.Error("proven when the certificate has ended")
		}
		ends = time.Now().Add(24 * time.Hour)
		c = open()
		trusted = false
		time.Sleep(judgedFor)
		if c.proves("example.net") {
			t.Error("proven by an authority that is not trusted")
		}
		ready := make(chan struct{})
		close(ready)
		l.pool.all[c], l.pool.by[key] = struct{}{}, &pooled{ready: ready, conn: c}
		l.pool.outbound.Add(1)
		c.begun = true
		l.tasks.Go(c.read)
		l.tasks.Go(c.write)
		c.ping.start(time.Minute, 0)
		to := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TLS, Addr: theirs, ServerName: "example.net"})
		if _, err := l.pool.get(t.Context(), to, ""); err == nil {
			t.Error("used although nothing is proven")
		}
		time.Sleep(10 * time.Minute)
		if n := len(p.pings()); n != 0 || !c.ending() {
			t.Errorf("%d pings on a connection that nobody uses; closed %v", n, c.ending())
		}
		l.stop()
		p.far.Close() //nolint:errcheck // a test
	})
}
