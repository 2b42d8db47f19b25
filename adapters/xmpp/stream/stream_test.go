package stream_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// TestHandshake: "Concatenate the Stream ID received from the server with the shared secret ... SHA1 ... hexadecimal ... lowercase"
// (XEP-0114 §3).
func TestHandshake(t *testing.T) {
	sum := sha1.Sum([]byte("3BF96D32" + "test"))
	want := hex.EncodeToString(sum[:])
	if got := stream.Handshake("3BF96D32", []byte("test")); got != want || got != strings.ToLower(got) || len(got) != 40 {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// TestCheckHandshakeX14: compared in constant time (crypto/subtle), and whole.
func TestCheckHandshakeX14(t *testing.T) {
	good := stream.Handshake("id", []byte("secret"))
	if !stream.CheckHandshake(good, "id", []byte("secret")) {
		t.Fatal("the right one was refused")
	}
	for _, bad := range []string{"", good[:39], good + "0", strings.ToUpper(good), stream.Handshake("id", []byte("secreu")), stream.Handshake("ie", []byte("secret"))} {
		if stream.CheckHandshake(bad, "id", []byte("secret")) {
			t.Errorf("%q was taken", bad)
		}
	}
}

const header = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' from='a.example' id='1'>"

// TestOpenComponent plays the server's part of XEP-0114 §3, right and wrong.
func TestOpenComponent(t *testing.T) {
	for _, c := range []struct {
		name, first, second string
		check               func(error) bool
		last                string // what the server hears at the end
	}{
		{"welcome", header, "<handshake/>", func(err error) bool { return err == nil }, ""},
		{"declaration", "<?xml version='1.0'?>\n" + header, "\n<handshake></handshake>", func(err error) bool { return err == nil }, ""},
		{"wrong secret", header, "<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>no</text></stream:error></stream:stream>", is(stream.NotAuthorized), ""},
		{"conflict at once", header + "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>", "", is(stream.Conflict), ""},
		{"unknown condition", header, "<stream:error><strange xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", is(stream.UndefinedCondition), ""},
		{"wrong namespace", strings.Replace(header, "component:accept", "client", 1) + "<stream:error><invalid-namespace xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "", is(stream.InvalidNamespace), ""},
		{"no id, but an error", strings.Replace(header, " id='1'", "", 1) + "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "", is(stream.HostUnknown), ""},
		{"no stream", "<html>", "", func(err error) bool { return errors.Is(err, stream.ErrHeader) }, ""},
		{"something else than a handshake", header, "<message/>", func(err error) bool { return errors.Is(err, stream.ErrHandshake) }, ""},
		{"handshake with content", header, "<handshake>x</handshake>", func(err error) bool { return errors.Is(err, stream.ErrHandshake) }, ""},
		{"closed", header, "</stream:stream>", func(err error) bool { return errors.Is(err, io.EOF) }, ""},
		{"document type", "<!DOCTYPE x>", "", syntax, "restricted-xml"},
		{"X15: header without end", "<stream:stream xmlns='" + strings.Repeat("x", 20<<10), "", syntax, "policy-violation"},
		{"X15: UTF-16", "\x00<stream:stream>", "", syntax, "unsupported-encoding"},
		{"X15: NUL", "<stream:str\x00eam>", "", syntax, "not-well-formed"},
		{"X4: large before authentication", header, "<handshake>" + strings.Repeat("x", 20<<10), syntax, "policy-violation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer server.Close()
			heard := make(chan string, 1)
			go func() {
				all, _ := io.ReadAll(server)
				heard <- string(all)
			}()
			go func() {
				io.WriteString(server, c.first)
				io.WriteString(server, c.second)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			s, err := stream.OpenComponent(ctx, client, stream.Component{Domain: "a.example", Secret: []byte("s"), Limits: strictxml.Limits{}})
			if !c.check(err) {
				t.Fatalf("error %v", err)
			}
			if err == nil {
				s.Close(0)
			}
			server.Close()
			got := <-heard
			if !strings.HasPrefix(got, "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='a.example'>") {
				t.Fatalf("the server heard %s", got)
			}
			if c.last != "" && !strings.HasSuffix(got, "<stream:error><"+c.last+" xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>") {
				t.Fatalf("the server heard %s", got)
			}
		})
	}
}

func is(want stream.Condition) func(error) bool {
	return func(err error) bool {
		var se *stream.Error
		return errors.As(err, &se) && se.Condition == want
	}
}

func syntax(err error) bool {
	var se *strictxml.SyntaxError
	return errors.As(err, &se)
}

// TestOpenComponentTimeout: a server that says nothing is left in time (THREATS.md X6).
func TestOpenComponentTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		go io.Copy(io.Discard, server)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := stream.OpenComponent(ctx, client, stream.Component{Domain: "a.example"}); err == nil {
			t.Fatal("opened")
		}
		if d := time.Since(began); d != 10*time.Second {
			t.Fatalf("gave up after %v", d)
		}
		server.Close()
	})
}

// TestConditions: all 25 of RFC 6120 §4.9.3 are read as themselves.
func TestConditions(t *testing.T) {
	scope, _ := strictxml.NewScope(nil, "stream", stream.SpaceStreams)
	n := 0
	for c := stream.BadFormat; c.String() != "none"; c++ {
		n++
		raw := "<stream:error><" + c.String() + " xmlns='" + stream.SpaceErrors + "'/></stream:error>"
		if e, ok := stream.ReadError([]byte(raw), scope, strictxml.Limits{}); !ok || e.Condition != c {
			t.Errorf("%s: %+v", raw, e)
		}
	}
	if n != 25 {
		t.Errorf("%d conditions", n)
	}
}
