package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// TestSlowX6: a peer that takes its time is left when the time for a TLS handshake, or for authentication in all, has passed; one octet
// a second does not keep it (THREATS.md X6).
func TestSlowX6(t *testing.T) {
	ourSide := func(role string, conn net.Conn, direct bool) error {
		if role == "initiating" {
			o := outgoing(t)
			o.Direct = direct
			_, _, err := stream.Open(context.Background(), conn, o)
			return err
		}
		in := incoming(t)
		if direct {
			in.Direct = serverTLS(t, "montague.example")
		}
		_, _, err := stream.Accept(context.Background(), conn, in)
		return err
	}
	for _, c := range []struct {
		name, role string
		direct     bool
		say        string // what the peer says, an octet a second
		after      time.Duration
		last       string
	}{
		{"silent server", "initiating", false, "", 30 * time.Second, "connection-timeout"},
		{"silent client", "receiving", false, "", 30 * time.Second, "connection-timeout"},
		{"silent server of direct TLS", "initiating", true, "", 10 * time.Second, ""},
		{"silent client of direct TLS", "receiving", true, "", 10 * time.Second, ""},
		{"slow client", "receiving", false, theirHeader, 30 * time.Second, "connection-timeout"},
		{"slow server", "initiating", false, theirAnswer + offersTLS, 30 * time.Second, "connection-timeout"},
		{"slow ClientHello", "receiving", true, "\x16\x03\x01\x00\xff\x01\x00\x00\xfb\x03\x03" + strings.Repeat("x", 200), 10 * time.Second, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, peer := net.Pipe()
				heard := make(chan string, 1)
				go func() {
					all, _ := io.ReadAll(peer)
					heard <- string(all)
				}()
				go func() {
					for i := range len(c.say) {
						time.Sleep(time.Second)
						if _, err := peer.Write([]byte{c.say[i]}); err != nil {
							return
						}
					}
				}()
				began := time.Now()
				err := ourSide(c.role, ours, c.direct)
				if d := time.Since(began); err == nil || d != c.after {
					t.Fatalf("after %v: %v", d, err)
				}
				var te *stream.TLSError
				if c.last == "" && !errors.As(err, &te) || c.last != "" && err != stream.ErrSlow {
					t.Fatal(err)
				}
				got := <-heard
				if c.last != "" && !strings.HasSuffix(got, streamError(c.last)+"</stream:stream>") || c.last == "" && strings.Contains(got, "stream:error") {
					t.Fatalf("the peer heard %q", got)
				}
				peer.Close()
				time.Sleep(time.Second) // the slow peer finds out
			})
		})
	}
}

// TestSlowInsideX6: the time goes on when TLS is up, and after Accept has returned with a dialback element, until Established.
func TestSlowInsideX6(t *testing.T) {
	for _, established := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ours, peer := net.Pipe()
			in := incoming(t)
			in.Dialback, in.Direct = true, serverTLS(t, "montague.example")
			in.Authorize = func(string, *tls.ConnectionState) error { return errors.New("no") }
			go func() {
				cfg := clientTLS(t, "capulet.example")
				cfg.ServerName = "montague.example"
				conn := tls.Client(peer, cfg)
				go io.Copy(io.Discard, conn)
				if conn.Handshake() != nil {
					return
				}
				time.Sleep(20 * time.Second)
				io.WriteString(conn, theirHeader+"<db:result from='capulet.example' to='montague.example'>k</db:result>")
				time.Sleep(time.Hour)
				io.WriteString(conn, aMessage)
			}()
			began := time.Now()
			s, claim, err := stream.Accept(t.Context(), ours, in)
			if err != nil || claim.Authenticated || claim.Refused == nil {
				t.Fatalf("%+v, %v", claim, err)
			}
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
			if established {
				s.Established()
			}
			raw, err := s.Next()
			switch d := time.Since(began); {
			case established && (err != nil || string(raw) != aMessage):
				t.Errorf("established: %v after %v", err, d)
			case !established && (err == nil || d != 30*time.Second):
				t.Errorf("not established: %v after %v", err, d)
			}
			s.Close(stream.ConnectionTimeout)
			peer.Close()
			time.Sleep(time.Hour)
		})
	}
}

// TestContextEnds: the caller's context ends an opening at once, without a word that would keep it.
func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, peer := net.Pipe()
		go io.Copy(io.Discard, peer)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		began := time.Now()
		if _, _, err := stream.Open(ctx, ours, outgoing(t)); !errors.Is(err, context.Canceled) || time.Since(began) != 3*time.Second {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		peer.Close()
	})
}

// TestOctetsX4: an unauthenticated peer's octets are counted over the whole negotiation, restarts included; an authenticated peer's are
// not.
func TestOctetsX4(t *testing.T) {
	in := incoming(t)
	in.Strangers.Octets = 2000
	in.Dialback = true
	in.Authorize = func(string, *tls.ConnectionState) error { return errors.New("no") }
	o := outgoing(t)
	o.Dialback = true
	r := join(t, o, in)
	if r.outErr != nil || r.inErr != nil {
		t.Fatal(r.outErr, r.inErr)
	}
	if _, err := r.in.Next(); err != nil {
		t.Fatal(err)
	}
	verify := stream.AppendDialback(nil, &stream.Dialback{Kind: stream.DialbackVerify, From: "capulet.example", To: "montague.example", ID: "1", Key: strings.Repeat("k", 64)})
	go func() {
		for range 100 {
			if _, err := r.out.Write(verify, time.Now().Add(40*time.Second)); err != nil {
				return
			}
		}
	}()
	n := 0
	var err error
	for err == nil {
		if _, err = r.in.Next(); err == nil {
			n++
		}
	}
	if err != stream.ErrOctets || n == 0 || n > 2000/len(verify) || stream.ConditionOf(err) != stream.PolicyViolation {
		t.Fatalf("%d elements, %v", n, err)
	}
	r.in.Close(stream.ConditionOf(err))
}

// TestEstablishedWhileReading: the bounds of a stranger are gone for what comes after Established, though Next had begun to wait before it.
func TestEstablishedWhileReading(t *testing.T) {
	in := incoming(t)
	in.Dialback = true
	in.Authorize = func(string, *tls.ConnectionState) error { return errors.New("no") }
	o := outgoing(t)
	o.Dialback = true
	r := join(t, o, in)
	if r.outErr != nil || r.inErr != nil {
		t.Fatal(r.outErr, r.inErr)
	}
	if _, err := r.in.Next(); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		raw, err := r.in.Next()
		if err == nil && len(raw) < 100_000 {
			err = errors.New("cut off")
		}
		got <- err
	}()
	big := "<message><body>" + strings.Repeat("x", 100_000) + "</body></message>"
	// The first half of an octet's work may be read before, as long as the limits hold.
	if _, err := r.out.Write([]byte(big[:100]), time.Now().Add(40*time.Second)); err != nil {
		t.Fatal(err)
	}
	r.in.Established()
	if _, err := r.out.Write([]byte(big[100:]), time.Now().Add(40*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

// TestTLSOctetsX6: a TLS handshake that brings more octets than it may is ended.
func TestTLSOctetsX6(t *testing.T) {
	ours, peer := socketPair(t)
	in := incoming(t)
	in.Direct, in.Strangers.TLSOctets = serverTLS(t, "montague.example"), 200
	go func() {
		cfg := clientTLS(t, "capulet.example")
		cfg.ServerName = "montague.example"
		tls.Client(peer, cfg).Handshake()
	}()
	_, _, err := stream.Accept(t.Context(), ours, in)
	var te *stream.TLSError
	if !errors.As(err, &te) || !errors.Is(err, stream.ErrOctets) {
		t.Fatal(err)
	}
}

// endlessly is a peer that says one thing and then another for ever.
type endlessly struct {
	start, repeat string
	at            int
	heard         int
	closed        chan struct{}
	once          sync.Once
}

func (e *endlessly) Read(p []byte) (n int, err error) {
	select {
	case <-e.closed:
		return 0, net.ErrClosed
	default:
	}
	for n < len(p) {
		if e.at < len(e.start) {
			c := copy(p[n:], e.start[e.at:])
			n, e.at = n+c, e.at+c
			continue
		}
		n += copy(p[n:], e.repeat)
	}
	return n, nil
}

func (e *endlessly) Write(p []byte) (int, error)      { e.heard += len(p); return len(p), nil }
func (e *endlessly) Close() error                     { e.once.Do(func() { close(e.closed) }); return nil }
func (e *endlessly) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (e *endlessly) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (e *endlessly) SetDeadline(time.Time) error      { return nil }
func (e *endlessly) SetReadDeadline(time.Time) error  { return nil }
func (e *endlessly) SetWriteDeadline(time.Time) error { return nil }

// TestEndlessTOV04: 1,000 connections that send endless attributes, names, text and elements in elements before authentication: the
// heap grows by less than 64 MiB, and each is told policy-violation.
func TestEndlessTOV04(t *testing.T) {
	shapes := []struct{ start, repeat string }{
		{"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' ", "x"},
		{"<stream:stream a='", "x"},
		{"<stream:stream ", "a='b' "},
		{"<", "stream"},
		{"<?xml version='", "1"},
		{"", " "},
		{theirHeader, "<a>"},
		{theirHeader + "<a>", "x"},
		{theirHeader + "<a ", "b='c' "},
		{theirHeader, " "},
	}
	const peers = 1000
	in := incoming(t)
	gate := stream.NewGate(stream.GateLimits{PerAddress: peers})
	before := heap()
	// All of them stand at their limit at once: each is held by its gate until the last has come there.
	var arrived, done sync.WaitGroup
	release := make(chan struct{})
	arrived.Add(peers)
	errs := make(chan error, peers)
	for i := range peers {
		c := &atLimit{endlessly: endlessly{start: shapes[i%len(shapes)].start, repeat: shapes[i%len(shapes)].repeat, closed: make(chan struct{})}}
		c.limit, c.arrived, c.release = 15<<10, &arrived, release
		mine := in
		var ok bool
		if mine.Pass, ok = gate.Enter(loopback, nil); !ok {
			t.Fatal("no place")
		}
		done.Go(func() {
			_, _, err := stream.Accept(t.Context(), c, mine)
			c.arrive() // a fault before the limit
			errs <- err
		})
	}
	arrived.Wait()
	growth := heap() - before
	close(release)
	done.Wait()
	close(errs)
	for err := range errs {
		if stream.ConditionOf(err) != stream.PolicyViolation {
			t.Errorf("ended with %v", err)
		}
	}
	t.Logf("%d strangers hold %d KiB", peers, growth>>10)
	if growth >= 64<<20 {
		t.Errorf("the heap has grown by %d octets", growth)
	}
	if gate.Inside() != 0 {
		t.Errorf("%d are still at the gate", gate.Inside())
	}
}

// heap returns the octets in use after a collection, stacks included.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// atLimit waits where so many octets have been read.
type atLimit struct {
	endlessly
	read, limit int
	arrived     *sync.WaitGroup
	release     chan struct{}
	once        sync.Once
}

func (a *atLimit) arrive() { a.once.Do(a.arrived.Done) }

func (a *atLimit) Read(p []byte) (int, error) {
	n, err := a.endlessly.Read(p)
	if a.read += n; a.read >= a.limit {
		a.arrive()
		<-a.release
	}
	return n, err
}

// TestSlowHandshakesTOV05: many connections that dribble their ClientHello do not keep an honest peer out, though only two handshakes may
// compute at once.
func TestSlowHandshakesTOV05(t *testing.T) {
	gate := stream.NewGate(stream.GateLimits{Handshakes: 2, PerAddress: 64, Connections: 400})
	in := incoming(t)
	in.Direct = serverTLS(t, "montague.example")
	ctx, cancel := context.WithCancel(t.Context())
	var slow sync.WaitGroup
	refused := 0
	for i := range 300 {
		// From four addresses: each may have 64.
		pass, ok := gate.Enter(netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 4)}), nil)
		if !ok {
			refused++
			continue
		}
		ours, peer := net.Pipe()
		mine := in
		mine.Pass = pass
		slow.Go(func() { stream.Accept(ctx, ours, mine) })
		if _, err := io.WriteString(peer, "\x16\x03\x01"); err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
	}
	if refused != 300-4*64 || gate.Inside() != 4*64 {
		t.Errorf("%d refused, %d inside", refused, gate.Inside())
	}
	o := outgoing(t)
	o.Direct = true
	in.Pass, _ = gate.Enter(netip.MustParseAddr("198.51.100.1"), nil)
	began := time.Now()
	r := join(t, o, in)
	if r.outErr != nil || r.inErr != nil || !r.claim.Authenticated {
		t.Errorf("the honest peer: %v, %v", r.outErr, r.inErr)
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("the honest peer waited %v", d)
	}
	cancel()
	slow.Wait()
	if gate.Inside() != 0 {
		t.Errorf("%d are still at the gate", gate.Inside())
	}
}

// TestAuthenticatedLimits: after EXTERNAL the limits are those of Limits, both ways.
func TestAuthenticatedLimits(t *testing.T) {
	o, in := outgoing(t), incoming(t)
	o.Limits, in.Limits = strictxml.Limits{Bytes: 30_000}, strictxml.Limits{Bytes: 30_000}
	r := join(t, o, in)
	if r.outErr != nil || r.inErr != nil {
		t.Fatal(r.outErr, r.inErr)
	}
	for _, way := range [][2]*stream.Conn{{r.out, r.in}, {r.in, r.out}} {
		go way[0].Write([]byte("<message>"+strings.Repeat("x", 40_000)+"</message>"+aMessage), time.Now().Add(40*time.Second))
		raw, err := way[1].Next()
		if stream.ConditionOf(err) != stream.PolicyViolation || len(raw) != 30_000 {
			t.Fatalf("%d octets, %v", len(raw), err)
		}
		if err := way[1].Skip(1 << 20); err != nil {
			t.Fatal(err)
		}
		if raw, err := way[1].Next(); err != nil || string(raw) != aMessage {
			t.Fatalf("%q, %v", raw, err)
		}
	}
}
