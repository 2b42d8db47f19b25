package stream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// cutMark is where the octets of a fuzz input are cut into segments.
const cutMark = "\x1e"

// noneStay waits until there are no more goroutines than before.
func noneStay(t *testing.T, before int) {
	t.Helper()
	for began := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(began) > 40*time.Second {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

// readOn reads what a stream brings until it ends, as a caller would.
func readOn(s *stream.Conn, each func(raw []byte)) {
	for range 10_000 {
		raw, err := s.Next()
		if _, ok := errors.AsType[*strictxml.SyntaxError](err); ok && raw != nil {
			err = s.Skip(1 << 12)
			raw = nil
		}
		if err != nil {
			return
		}
		if raw != nil && each != nil {
			each(raw)
		}
	}
}

// FuzzOpenServerTFZ19: whatever a server, or someone on the path, says in the clear: with TLS wanted nothing is opened, and nothing is sent
// but a header, STARTTLS and a stream error; without, nothing is authenticated. The connection is closed, once, and no goroutine stays.
func FuzzOpenServerTFZ19(f *testing.F) {
	for _, s := range []string{
		theirAnswer + "<stream:features/>", theirAnswer + offersTLS + proceed, theirAnswer + offersTLS + proceed + aMessage,
		theirAnswer + tlsRequired + "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>", theirAnswer + offersSASL + success + theirAnswer,
		strings.Replace(theirAnswer, " version='1.0'", " xmlns:db='jabber:server:dialback'", 1) + "<db:result from='a.example' to='b.example' type='valid'/>",
		theirAnswer + streamError("host-unknown") + "</stream:stream>", theirAnswer + "<stream:features><bidi xmlns='urn:xmpp:features:bidi'/></stream:features>",
		"<?xml version='1.0'?>", "\x16\x03\x01", "<!DOCTYPE x>", "",
	} {
		f.Add([]byte(s), uint8(0), false)
		f.Add([]byte(s), uint8(1), true)
	}
	cfg := clientTLS(f, "capulet.example")
	f.Fuzz(func(t *testing.T, say []byte, piece uint8, clear bool) {
		before := runtime.NumGoroutine()
		c := &canned{say: say, piece: int(piece)}
		if piece == 0 {
			c.piece = 1 << 20
		}
		o := stream.Outgoing{From: "capulet.example", To: "montague.example", TLS: cfg, External: true, Dialback: true, Bidi: true, Cleartext: clear}
		s, offer, err := stream.Open(t.Context(), c, o)
		if (s == nil) != (err != nil) || (offer == nil) != (s == nil) {
			t.Fatalf("%v, %v, %v", s, offer, err)
		}
		heard := c.heard.String()
		if i := strings.Index(heard, "\x16\x03"); i >= 0 {
			heard = heard[:i] // the ClientHello
		}
		for _, never := range []string{"<auth", "<db:", "<message"} {
			if strings.Contains(heard, never) {
				t.Fatalf("wrote %q", heard)
			}
		}
		switch {
		case err != nil && c.closed != 1:
			t.Fatalf("%v, and the connection was closed %d times", err, c.closed)
		case err == nil && !clear:
			t.Fatalf("opened in the clear by %q", say)
		case err == nil && (offer.Secured || offer.Authenticated):
			t.Fatalf("%+v by %q", offer, say)
		case err == nil:
			readOn(s, func(raw []byte) {
				stream.ReadDialback(raw, s.Scope(), strictxml.Limits{})
				stream.ReadManagement(raw, s.Scope(), strictxml.Limits{})
			})
			s.Close(0)
			if c.closed != 1 {
				t.Fatalf("closed %d times", c.closed)
			}
		}
		noneStay(t, before)
	})
}

// FuzzAcceptTFZ19: whatever a client says in the clear, it is not authenticated, and without the policy for it not even heard.
func FuzzAcceptTFZ19(f *testing.F) {
	for _, s := range []string{
		theirHeader, theirHeader + wantsTLS, theirHeader + wantsTLS + aMessage, theirHeader + externalEmpty + theirHeader + aMessage,
		theirHeader + "<db:result from='capulet.example' to='montague.example'>k</db:result>" + aMessage, theirHeader + "<bidi xmlns='urn:xmpp:bidi'/><db:verify from='a.example' to='b.example' id='1'>k</db:verify>",
		strings.Replace(theirHeader, " version='1.0'", "", 1) + "<db:result from='capulet.example' to='montague.example'>k</db:result>",
		theirHeader + "</stream:stream>", theirHeader + streamError("reset"), "<stream:stream ", "\xfe\xff", "",
	} {
		f.Add([]byte(s), uint8(0), false)
		f.Add([]byte(s), uint8(1), true)
	}
	in := incoming(f)
	f.Fuzz(func(t *testing.T, say []byte, piece uint8, clear bool) {
		before := runtime.NumGoroutine()
		c := &canned{say: say, piece: int(piece)}
		if piece == 0 {
			c.piece = 1 << 20
		}
		gate := stream.NewGate(stream.GateLimits{})
		mine := in
		mine.Pass, _ = gate.Enter(loopback, nil)
		mine.Dialback, mine.Bidi, mine.Cleartext = true, true, clear
		s, claim, err := stream.Accept(t.Context(), c, mine)
		if (s == nil) != (err != nil) || (claim == nil) != (s == nil) {
			t.Fatalf("%v, %v, %v", s, claim, err)
		}
		switch {
		case err != nil && (c.closed != 1 || gate.Inside() != 0):
			t.Fatalf("%v, and the connection was closed %d times, %d at the gate", err, c.closed, gate.Inside())
		case err == nil && !clear:
			t.Fatalf("taken in the clear: %q", say)
		case err == nil && (claim.Secured || claim.Authenticated || claim.To != "montague.example" || claim.ID == ""):
			t.Fatalf("%+v by %q", claim, say)
		case err == nil:
			raw, err := s.Next()
			if _, ok, _ := stream.ReadDialback(raw, s.Scope(), strictxml.Limits{}); err != nil || !ok {
				t.Fatalf("first came %q, %v", raw, err)
			}
			readOn(s, nil)
			s.Close(0)
			if c.closed != 1 || gate.Inside() != 0 {
				t.Fatalf("closed %d times, %d at the gate", c.closed, gate.Inside())
			}
		}
		noneStay(t, before)
	})
}

// inTLS plays a peer that says its octets inside of TLS, a segment at a time, and returns when the other side is done with it.
func inTLS(t *testing.T, say []byte, server bool, cfg *tls.Config, ours func(net.Conn)) {
	t.Helper()
	end, peer := net.Pipe()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		var conn *tls.Conn
		if server {
			conn = tls.Server(peer, cfg)
		} else {
			conn = tls.Client(peer, cfg)
		}
		defer peer.Close()
		if conn.Handshake() != nil {
			return
		}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			io.Copy(io.Discard, conn)
		}()
		for part := range bytes.SplitSeq(say, []byte(cutMark)) {
			if _, err := conn.Write(part); err != nil {
				break
			}
		}
		conn.CloseWrite()
		<-drained
	}()
	ours(end)
	end.Close()
	<-finished
}

// FuzzOpenTLSTFZ19: whatever a server says inside of TLS: who is authenticated has offered EXTERNAL and told success.
func FuzzOpenTLSTFZ19(f *testing.F) {
	features := theirAnswer + "<stream:features/>"
	for _, s := range []string{
		theirAnswer + offersSASL + cutMark + success + cutMark + features + aMessage,
		theirAnswer + offersSASL + cutMark + "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>" + cutMark + success + cutMark + features,
		theirAnswer + offersSASL + cutMark + success + features,
		theirAnswer + offersSASL + cutMark + "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><aborted/></failure>" + aMessage,
		theirAnswer + offersTLS + cutMark + proceed, theirAnswer + "<stream:features><bidi xmlns='urn:xmpp:features:bidi'/></stream:features>",
	} {
		f.Add([]byte(s))
	}
	o := outgoing(f)
	o.Direct, o.Bidi, o.Dialback = true, true, true
	cfg := serverTLS(f, "montague.example")
	cfg.NextProtos = []string{"xmpp-server"}
	cfg.SessionTicketsDisabled = true
	f.Fuzz(func(t *testing.T, say []byte) {
		before := runtime.NumGoroutine()
		inTLS(t, say, true, cfg, func(conn net.Conn) {
			s, offer, err := stream.Open(context.Background(), conn, o)
			if (s == nil) != (err != nil) {
				t.Fatalf("%v, %v", s, err)
			}
			if err != nil {
				return
			}
			defer s.Close(0)
			if offer.Authenticated && !(bytes.Contains(say, []byte("EXTERNAL")) && bytes.Contains(say, []byte("success")) && bytes.Count(say, []byte(stream.SpaceStreams)) >= 2) {
				t.Errorf("authenticated by %q", say)
			}
			if !offer.Secured || offer.ID == "" {
				t.Errorf("%+v", offer)
			}
			readOn(s, nil)
		})
		noneStay(t, before)
	})
}

// FuzzAcceptTLSTFZ19: whatever a client says inside of TLS: who is authenticated is who its certificate proves.
func FuzzAcceptTLSTFZ19(f *testing.F) {
	for _, s := range []string{
		theirHeader + cutMark + externalEmpty + cutMark + theirHeader + aMessage, theirHeader + cutMark + externalAuth + cutMark + theirHeader + aMessage,
		theirHeader + cutMark + "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>" + cutMark + "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>" + cutMark + theirHeader,
		theirHeader + externalEmpty + theirHeader, strings.Replace(theirHeader, "capulet", "evil", 1) + cutMark + externalEmpty + cutMark + theirHeader,
		theirHeader + "<db:result from='capulet.example' to='montague.example'>k</db:result>" + aMessage, theirHeader + "<bidi xmlns='urn:xmpp:bidi'/>" + cutMark + externalAuth + cutMark + theirHeader,
		theirHeader + "<enable xmlns='urn:xmpp:sm:3'/>" + cutMark + aMessage,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	in := incoming(f)
	in.Dialback, in.Bidi, in.Direct = true, true, serverTLS(f, "montague.example")
	in.Direct.SessionTicketsDisabled = true
	good, bad := clientTLS(f, "capulet.example"), clientTLS(f, "other.example")
	good.ServerName, bad.ServerName = "montague.example", "montague.example"
	f.Fuzz(func(t *testing.T, say []byte, proven bool) {
		before := runtime.NumGoroutine()
		cfg := bad
		if proven {
			cfg = good
		}
		inTLS(t, say, false, cfg, func(conn net.Conn) {
			s, claim, err := stream.Accept(context.Background(), conn, in)
			if (s == nil) != (err != nil) {
				t.Fatalf("%v, %v", s, err)
			}
			if err != nil {
				return
			}
			defer s.Close(0)
			if claim.Authenticated && (!proven && claim.From != "other.example" || proven && claim.From != "capulet.example" || proves(claim.From, claim.TLS) != nil || claim.To != "montague.example") {
				t.Errorf("%+v by %q", claim, say)
			}
			if !claim.Authenticated {
				raw, err := s.Next()
				if _, ok, _ := stream.ReadDialback(raw, s.Scope(), strictxml.Limits{}); err != nil || !ok {
					t.Errorf("first came %q, %v", raw, err)
				}
			}
			readOn(s, nil)
		})
		noneStay(t, before)
	})
}
