package xmpp

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// blocked starts an adapter whose server has opened the stream and reads no more, on a connection without buffers, and a message that
// waits in a write.
func blocked(t *testing.T) (a *Adapter, server net.Conn, outcome <-chan adapters.Status) {
	t.Helper()
	a, err := New(Config{Logger: zerolog.Nop(), Components: []Component{
		{Name: "a", Server: "127.0.0.1:5347", Domain: "example.net", Serves: []string{"example.com"}, Secret: NewSecret("s")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	servers := make(chan net.Conn, 1)
	a.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case servers <- theirs:
			return ours, nil
		case <-ctx.Done(): // one connection is enough
			return nil, ctx.Err()
		}
	}
	opened := make(chan net.Conn, 1)
	go func() {
		c := <-servers
		in := strictxml.NewStream(c, strictxml.Limits{})
		in.Header()
		c.Write([]byte("<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' id='1'>"))
		in.Next()
		c.Write([]byte("<handshake/>"))
		opened <- c
	}()
	if err := a.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	server = <-opened
	t.Cleanup(func() { server.Close() })
	done := make(chan adapters.Status, 1)
	go func() {
		done <- a.Message(context.Background(), nil, &adapters.MessageOp{
			From: adapters.Party{Address: cpim.MustParseAddress("im:romeo@example.net")}, To: adapters.Party{Address: cpim.MustParseAddress("im:juliet@example.com")},
			Content: adapters.Content{Type: "text/plain", Octets: []byte("x")},
		})
	}()
	until(t, "the writer has taken it", func() bool { return !a.links()[0].box.oldest().IsZero() })
	return a, server, done
}

// TestShutdownOfBlockedWrite: a server that does not read cannot hold Shutdown longer than its context and a last word.
func TestShutdownOfBlockedWrite(t *testing.T) {
	a, _, outcome := blocked(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := a.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Fatalf("Shutdown took %v", d)
	}
	if st := <-outcome; st.Outcome != adapters.Failure {
		t.Fatalf("%+v", st)
	}
}

// TestFaultOfBlockedWrite: what the server says is heard while a write waits for it, and why the stream ended is known.
func TestFaultOfBlockedWrite(t *testing.T) {
	a, server, _ := blocked(t)
	if _, err := server.Write([]byte("<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")); err != nil {
		t.Fatal(err)
	}
	until(t, "the link is down", func() bool { return a.Links()[0].Phase != LinkUp })
	if f := a.Links()[0].Fault; !strings.Contains(f, "conflict") {
		t.Fatalf("fault is %q", f)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	a.Shutdown(ctx)
}

// TestHalfOpenWhileWritingTFI27: the guard sees an unanswered ping although the writer waits for the same server.
func TestHalfOpenWhileWritingTFI27(t *testing.T) {
	a, _, outcome := blocked(t)
	a.links()[0].box.mu.Lock()
	a.links()[0].box.flights[0].at = time.Now().Add(-a.lim().PingTimeout) // as if it had been sent long ago
	a.links()[0].box.mu.Unlock()
	until(t, "the link is down", func() bool { return a.Links()[0].Phase != LinkUp })
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	a.Shutdown(ctx)
	<-outcome
}

// until polls a state that has no event of its own.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !ok(); <-tick.C {
		if time.Since(began) > 40*time.Second {
			t.Fatalf("did not come about: %s", what)
		}
	}
}
