package stream_test

import (
	"bytes"
	"context"
	"encoding/xml"
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

// canned is a connection on which a server says what was prepared, a few octets at a time, and then ends.
type canned struct {
	say    []byte
	piece  int
	heard  bytes.Buffer
	closed int
}

func (c *canned) Read(p []byte) (int, error) {
	if c.closed > 0 {
		return 0, net.ErrClosed
	}
	if len(c.say) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.say)
	c.say = c.say[n:]
	return n, nil
}

func (c *canned) Write(p []byte) (int, error) {
	if c.closed > 0 {
		return 0, net.ErrClosed
	}
	return c.heard.Write(p)
}

func (c *canned) Close() error                     { c.closed++; return nil }
func (c *canned) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *canned) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

// welcomed tells what encoding/xml thinks of the opening: the id of the stream, and whether the first child is an empty <handshake/> of
// XEP-0114 §3.
func welcomed(say []byte) (id string, ok bool) {
	d := xml.NewDecoder(bytes.NewReader(say))
	depth := 0
	for {
		tok, err := d.Token()
		if err != nil {
			return "", false
		}
		switch e := tok.(type) {
		case xml.StartElement:
			if depth++; depth == 1 {
				if e.Name != (xml.Name{Space: stream.SpaceStreams, Local: "stream"}) {
					return "", false
				}
				for _, a := range e.Attr {
					if a.Name == (xml.Name{Local: "id"}) {
						id = a.Value
					}
				}
				continue
			}
			for _, a := range e.Attr {
				if a.Name.Local != "xmlns" && a.Name.Space != "xmlns" {
					return "", false
				}
			}
			if e.Name != (xml.Name{Space: stream.SpaceComponent, Local: "handshake"}) {
				return "", false
			}
			// Nothing but its end, or CDATA sections and text without a character.
			for {
				tok, err := d.Token()
				if err != nil {
					return "", false
				}
				switch e := tok.(type) {
				case xml.EndElement:
					return id, true
				case xml.CharData:
					if len(e) != 0 {
						return "", false
					}
				default:
					return "", false
				}
			}
		case xml.EndElement:
			return "", false
		}
	}
}

// FuzzOpenTFZ19: whatever a server says, in whatever pieces: no stream is open that the server did not open with an empty <handshake/>
// after ours was written; a failure closes the connection, once; no goroutine stays; and what follows is elements or an error.
func FuzzOpenTFZ19(f *testing.F) {
	for _, s := range []string{
		header + "<handshake/><message/></stream:stream>",
		"<?xml version='1.0'?>\n" + header + "\n<handshake></handshake><message><body>" + strings.Repeat("x", 100) + "</body></message>",
		header + "<handshake>x</handshake>",
		header + "<handshake a='b'/>",
		header + "<handshake xmlns='jabber:client'/>",
		header + "<x:handshake xmlns:x='jabber:component:accept'/>",
		header + "<message><handshake/></message>",
		header + "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
		header + "<stream:features/><handshake/>",
		strings.Replace(header, "id='1'", "id=''", 1) + "<handshake/>",
		strings.Replace(header, "accept", "connect", 1) + "<handshake/>",
		"<stream:stream xmlns:stream='jabber:component:accept' xmlns='http://etherx.jabber.org/streams' id='1'><handshake/>",
		strings.Replace(header, ">", "/>", 1) + "<handshake/>",
		"<handshake/>", "<!DOCTYPE x>", "\ufeff" + header, "",
	} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, say []byte, piece uint8) {
		before := runtime.NumGoroutine()
		c := &canned{say: say, piece: int(piece)}
		if piece == 0 {
			c.piece = 1 << 20
		}
		ctx, cancel := context.WithCancel(context.Background())
		lim := strictxml.Limits{Bytes: 1 << 10, Depth: 8}
		s, err := stream.OpenComponent(ctx, c, stream.Component{Domain: "a.example", Secret: []byte("s"), Limits: lim})
		if (s == nil) == (err == nil) {
			t.Fatalf("stream %v, error %v", s, err)
		}
		if err != nil && c.closed != 1 {
			t.Fatalf("%v, and the connection was closed %d times", err, c.closed)
		}
		if err == nil {
			id, ok := welcomed(say)
			if !ok {
				t.Fatalf("believed %q", say)
			}
			if want := "<handshake>" + stream.Handshake(id, []byte("s")) + "</handshake>"; !strings.HasSuffix(c.heard.String(), want) {
				t.Fatalf("%q was told %q", say, c.heard.String())
			}
			for {
				raw, err := s.Next()
				var se *strictxml.SyntaxError
				if errors.As(err, &se) && raw != nil {
					err = s.Skip(1 << 12)
				}
				if err != nil {
					break
				}
				stream.ReadError(raw, s.Scope(), lim)
			}
			s.Close(0)
			s.Close(stream.PolicyViolation)
			if n, err := s.Write([]byte("x"), time.Time{}); n != 0 || err == nil || c.closed != 1 || !strings.HasSuffix(c.heard.String(), "</stream:stream>") {
				t.Fatalf("after the end: wrote %d, %v; closed %d times; told %q", n, err, c.closed, c.heard.String())
			}
		}
		cancel()
		for began := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
			if time.Since(began) > 40*time.Second {
				t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
			}
		}
	})
}
