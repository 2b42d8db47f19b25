package stream_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

// acceptedInTLS returns a stream on which a peer has authenticated over direct TLS and a pipe, and the peer's end.
func acceptedInTLS(t *testing.T) (*stream.Conn, *tls.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	in := incoming(t)
	in.Direct = serverTLS(t, "montague.example")
	in.Direct.SessionTicketsDisabled = true
	cfg := clientTLS(t, "capulet.example")
	cfg.ServerName = "montague.example"
	peer := tls.Client(theirs, cfg)
	ready := make(chan error, 1)
	go func() {
		buf := make([]byte, 4096)
		for _, say := range []string{theirHeader, externalEmpty, theirHeader} {
			if _, err := io.WriteString(peer, say); err != nil {
				ready <- err
				return
			}
			if _, err := peer.Read(buf); err != nil {
				ready <- err
				return
			}
		}
		ready <- nil
	}()
	s, claim, err := stream.Accept(t.Context(), ours, in)
	if err != nil || !claim.Authenticated {
		t.Fatal(err)
	}
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	return s, peer
}

// TestCloseBlocked: a peer that reads no more holds up neither a Close, in the clear or in TLS, nor who waits in Write.
func TestCloseBlocked(t *testing.T) {
	for _, end := range []struct {
		name  string
		close func(*stream.Conn)
		most  time.Duration
	}{
		{"Close", func(s *stream.Conn) { s.Close(0) }, time.Second},
		{"Close with a condition", func(s *stream.Conn) { s.Close(stream.SystemShutdown) }, time.Second},
		{"End and Close", func(s *stream.Conn) {
			if err := s.End(time.Minute); err == nil {
				t.Error("End has written to a peer that does not read")
			}
			s.Close(0)
		}, 2 * time.Second},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel() // real time: crypto/tls holds a lock while it writes, which stops the time of synctest
			s, peer := acceptedInTLS(t)
			wrote := make(chan error, 1)
			go func() {
				_, err := s.Write(bytesOf(' ', 1<<20), time.Now().Add(time.Hour))
				wrote <- err
			}()
			if _, err := peer.NetConn().Read(make([]byte, 1)); err != nil { // the Write has begun
				t.Fatal(err)
			}
			began := time.Now()
			end.close(s)
			if d := time.Since(began); d > end.most+10*time.Second {
				t.Errorf("took %v", d)
			}
			if err := <-wrote; err == nil {
				t.Error("a Write that nobody read succeeded")
			}
			if n, err := s.Write([]byte(" "), time.Now().Add(time.Second)); n != 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("after the end: %d, %v", n, err)
			}
			peer.NetConn().Close()
		})
	}
}

// TestCloseNotify: "the party that is closing the stream MUST send a TLS close_notify alert ... before terminating the underlying TCP
// connection(s)" (RFC 6120 §4.4): the end is no truncation.
func TestCloseNotify(t *testing.T) {
	s, peer := acceptedInTLS(t)
	heard := make(chan string, 1)
	go func() {
		all, err := io.ReadAll(peer) // an error unless close_notify comes
		if err != nil {
			all = []byte(err.Error())
		}
		heard <- string(all)
	}()
	s.Fail(&stream.Fault{Condition: stream.UndefinedCondition, App: "<too-many xmlns='urn:example'/>"})
	want := "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><too-many xmlns='urn:example'/></stream:error></stream:stream>"
	if got := <-heard; got != want {
		t.Errorf("heard %q", got)
	}
}

// TestEnd: "Refrain from sending any further data over its outbound stream to the other entity, but continue to process data received
// from the other entity" (RFC 6120 §4.4), and then wait no longer than a bounded time.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peer := acceptedInTLS(t)
		heard := make(chan string, 1)
		go func() {
			all, _ := io.ReadAll(peer)
			heard <- string(all)
		}()
		if err := s.End(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		if err := s.End(time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write([]byte(aMessage), time.Now().Add(time.Second)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after End: %v", err)
		}
		go io.WriteString(peer, aMessage)
		if raw, err := s.Next(); err != nil || string(raw) != aMessage {
			t.Errorf("%q, %v", raw, err)
		}
		began := time.Now()
		if _, err := s.Next(); err == nil || time.Since(began) != 5*time.Second {
			t.Errorf("a peer that does not close: %v after %v", err, time.Since(began))
		}
		s.Close(stream.ConnectionTimeout) // the stream is over, even for an error
		s.Close(0)
		if got := <-heard; got != "</stream:stream>" || strings.Contains(got, "error") {
			t.Errorf("heard %q", got)
		}
		peer.NetConn().Close()
	})
}
