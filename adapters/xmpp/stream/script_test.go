package stream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// A script is a conversation that a protocol reader can check, one step a line; a line that begins with white space or "<" goes on with the step
// before it. Lines that begin with '#' are comments.
//
//	set:     role=receiving|initiating from= to= certificate=own|other|none and the words cleartext external dialback bidi management
//	         direct notls host-notls
//	peer:    what the peer writes; {id} is the id of our last header
//	raw:     the same, to the last octet
//	we:      what we write: a header, an element, or </stream:stream>; compared as XML, {id} being any id that is new
//	tls      the peer negotiates TLS; "tls NAME" also checks the server name, "tls NAME PROTOCOL" the protocol too
//	gone     we have ended the connection, and written nothing more; the peer closes it too
//	hangs up the peer closes the connection
//	opened:  Open or Accept succeeded, with these words and no other: secured authenticated bidi dialback errors management refused=...
//	failed:  it failed, and the error holds this text
//	next:    the element that Next returns
//	write:   what the caller writes
//	end      the caller closes the stream
//	eof      Next returns io.EOF
type script struct {
	t      *testing.T
	flags  map[string]string
	peer   net.Conn
	reader *strictxml.Stream
	scope  *strictxml.Scope
	ids    []string
	result chan outcome
	got    *outcome
}

// outcome is what Open or Accept returned.
type outcome struct {
	conn  *stream.Conn
	offer *stream.Offer
	claim *stream.Claim
	err   error
}

// play runs a script.
func play(t *testing.T, text string) {
	t.Helper()
	s := &script{t: t, flags: map[string]string{"from": "capulet.example", "to": "montague.example", "certificate": "own"}}
	var steps []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "<"):
			steps[len(steps)-1] += " " + strings.TrimSpace(line)
		default:
			steps = append(steps, line)
		}
	}
	defer func() {
		if s.peer != nil {
			s.peer.Close()
		}
	}()
	for i, step := range steps {
		if err := s.step(step); err != nil {
			t.Fatalf("step %d, %s: %v%s", i+1, step, err, s.because())
		}
	}
	if s.got == nil {
		t.Fatal("the script does not say how it comes out")
	}
	if s.got.conn != nil {
		s.got.conn.Close(0)
	}
}

// because tells what Open or Accept has said by now.
func (s *script) because() string {
	if s.got == nil && s.result != nil {
		select {
		case o := <-s.result:
			s.got = &o
		case <-time.After(100 * time.Millisecond):
			return "; Open or Accept goes on"
		}
	}
	if s.got == nil {
		return ""
	}
	return fmt.Sprintf("; error %v, offer %+v, claim %+v", s.got.err, s.got.offer, s.got.claim)
}

func (s *script) step(step string) error {
	word, rest, _ := strings.Cut(step, " ")
	rest = strings.TrimSpace(rest)
	if word != "set:" && s.peer == nil {
		s.start()
	}
	s.peerDeadline()
	switch word {
	case "set:":
		for _, f := range strings.Fields(rest) {
			k, v, _ := strings.Cut(f, "=")
			s.flags[k] = v
		}
	case "peer:":
		if len(s.ids) > 0 {
			rest = strings.ReplaceAll(rest, "{id}", s.ids[len(s.ids)-1])
		}
		_, err := io.WriteString(s.peer, rest)
		return err
	case "raw:":
		// Together in one segment, and as it stands.
		_, err := io.WriteString(s.peer, strings.TrimPrefix(step, "raw: "))
		return err
	case "we:":
		return s.hear(rest)
	case "tls":
		return s.secure(strings.Fields(rest))
	case "gone":
		if raw, err := s.reader.Next(); err == nil {
			return fmt.Errorf("heard %q", raw)
		}
		return s.peer.Close()
	case "hangs":
		return s.peer.Close()
	case "opened:", "failed:":
		o, err := s.outcome()
		if err != nil {
			return err
		}
		if word == "failed:" {
			if o.err == nil || !strings.Contains(o.err.Error(), rest) {
				return errors.New("did not fail so")
			}
			return nil
		}
		want := strings.Fields(rest)
		slices.Sort(want)
		if have := o.words(); o.err != nil || !slices.Equal(have, want) {
			return fmt.Errorf("opened: %v", have)
		}
	case "next:":
		raw, err := s.got.conn.Next()
		if err != nil {
			return err
		}
		return same(rest, string(raw), s.got.conn.Scope(), s.scopeOfScript())
	case "write:":
		s.got.conn.Established()
		_, err := s.got.conn.Write([]byte(rest), time.Now().Add(40*time.Second))
		return err
	case "end":
		return s.got.conn.End(40 * time.Second)
	case "eof":
		if _, err := s.got.conn.Next(); err != io.EOF {
			return fmt.Errorf("got %v", err)
		}
		return s.got.conn.Close(0)
	default:
		return errors.New("no such step")
	}
	return nil
}

func (s *script) peerDeadline() {
	if s.peer != nil {
		s.peer.SetDeadline(time.Now().Add(40 * time.Second))
	}
}

func (s *script) has(flag string) bool { _, ok := s.flags[flag]; return ok }

// start opens the connection and lets our side begin.
func (s *script) start() {
	s.t.Helper()
	ours, peer := socketPair(s.t)
	s.peer, s.reader = peer, strictxml.NewStream(peer, strictxml.Limits{})
	s.result = make(chan outcome, 1)
	from, to := s.flags["from"], s.flags["to"]
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	s.t.Cleanup(cancel)
	if s.flags["role"] == "initiating" {
		o := stream.Outgoing{
			From: from, To: to, TLS: clientTLS(s.t, from), Direct: s.has("direct"), Cleartext: s.has("cleartext"),
			External: s.has("external"), Dialback: s.has("dialback"), Bidi: s.has("bidi"),
		}
		if s.has("notls") {
			o.TLS = nil
		}
		go func() {
			var r outcome
			r.conn, r.offer, r.err = stream.Open(ctx, ours, o)
			s.result <- r
		}()
		return
	}
	cfg := serverTLS(s.t, to)
	if s.has("host-notls") {
		cfg = nil
	}
	in := stream.Incoming{
		Host:      func(d string) (stream.Host, bool) { return stream.Host{Name: d, TLS: cfg}, d == to },
		DefaultTo: s.flags["default"], Cleartext: s.has("cleartext"), Authorize: proves, Dialback: s.has("dialback"),
		Bidi: s.has("bidi"), Management: s.has("management"),
	}
	if s.has("direct") {
		in.Direct = serverTLS(s.t, to)
		in.Direct.NextProtos = []string{"xmpp-server"}
	}
	go func() {
		var r outcome
		r.conn, r.claim, r.err = stream.Accept(ctx, ours, in)
		s.result <- r
	}()
}

// socketPair returns two ends of a TCP connection over loopback: a pipe holds no octets.
func socketPair(tb testing.TB) (a, b net.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// secure is the peer's TLS handshake.
func (s *script) secure(want []string) error {
	if n := s.reader.Buffered(); n != 0 {
		return fmt.Errorf("%d octets of ours before TLS", n)
	}
	from, to := s.flags["from"], s.flags["to"]
	var conn *tls.Conn
	if s.flags["role"] == "initiating" {
		cfg := serverTLS(s.t, to)
		if s.has("direct") {
			cfg.NextProtos = []string{"xmpp-server"}
		}
		conn = tls.Server(s.peer, cfg)
	} else {
		cfg := clientTLS(s.t, from)
		switch s.flags["certificate"] {
		case "none":
			cfg.Certificates = nil
		case "other":
			cfg = clientTLS(s.t, "other.example")
		}
		cfg.ServerName = to
		if len(want) > 1 {
			cfg.NextProtos = []string{want[1]}
		}
		conn = tls.Client(s.peer, cfg)
	}
	if err := conn.Handshake(); err != nil {
		return err
	}
	cs := conn.ConnectionState()
	if len(want) > 0 && cs.ServerName != want[0] || len(want) > 1 && cs.NegotiatedProtocol != want[1] {
		return fmt.Errorf("server name %q, protocol %q", cs.ServerName, cs.NegotiatedProtocol)
	}
	s.peer, s.reader, s.scope = conn, strictxml.NewStream(conn, strictxml.Limits{}), nil
	return nil
}

func (s *script) outcome() (*outcome, error) {
	if s.got == nil {
		select {
		case o := <-s.result:
			s.got = &o
		case <-time.After(40 * time.Second):
			return nil, errors.New("Open or Accept goes on")
		}
	}
	return s.got, nil
}

// words says what was found, sorted.
func (o *outcome) words() (w []string) {
	add := func(ok bool, word string) {
		if ok {
			w = append(w, word)
		}
	}
	if f := o.offer; f != nil {
		add(f.Secured, "secured")
		add(f.Authenticated, "authenticated")
		add(f.Bidi, "bidi")
		add(f.Dialback, "dialback")
		add(f.DialbackErrors, "errors")
		add(f.Management, "management")
		if f.ExternalRefused != nil {
			w = append(w, "refused="+f.ExternalRefused.Condition.String())
		}
		if f.MaxBytes != 0 {
			w = append(w, fmt.Sprintf("max=%d", f.MaxBytes))
		}
		if f.IdleAfter != 0 {
			w = append(w, "idle="+f.IdleAfter.String())
		}
	}
	if c := o.claim; c != nil {
		add(c.Secured, "secured")
		add(c.Authenticated, "authenticated")
		add(c.Bidi, "bidi")
		add(c.Dialback, "dialback")
		add(c.Refused != nil, "unproven")
	}
	slices.Sort(w)
	return w
}

// scopeOfScript is the scope in which the elements of a script are read.
func (s *script) scopeOfScript() *strictxml.Scope {
	scope, _ := strictxml.NewScope(nil, "stream", stream.SpaceStreams)
	scope, _ = strictxml.NewScope(scope, "db", stream.SpaceDialback)
	scope, _ = strictxml.NewScope(scope, "", stream.SpaceServer)
	return scope
}

// hear reads what we write and compares it.
func (s *script) hear(want string) error {
	switch {
	case want == "</stream:stream>":
		if raw, err := s.reader.Next(); err != io.EOF {
			return fmt.Errorf("heard %q, %v", raw, err)
		}
		return nil
	case strings.HasPrefix(want, "<stream:stream"):
		if s.scope != nil {
			s.reader.Restart()
		}
		got, scope, err := s.reader.Header()
		if err != nil {
			return err
		}
		s.scope = scope
		root, wantScope, err := strictxml.NewStream(strings.NewReader(want), strictxml.Limits{}).Header()
		if err != nil {
			return err
		}
		for _, name := range []string{"from", "to", "version", "id"} {
			a, b := attr(root, name), attr(got, name)
			if a == "{id}" {
				if len(b) < 16 || slices.Contains(s.ids, b) {
					return fmt.Errorf("id %q", b)
				}
				s.ids = append(s.ids, b)
				continue
			}
			if a != b {
				return fmt.Errorf("%s=%q", name, b)
			}
		}
		for _, prefix := range []string{"", "stream", "db"} {
			a, _ := wantScope.Lookup(prefix)
			if b, _ := scope.Lookup(prefix); a != b {
				return fmt.Errorf("prefix %q is bound to %q", prefix, b)
			}
		}
		return nil
	}
	raw, err := s.reader.Next()
	if err != nil {
		return err
	}
	return same(want, string(raw), s.scope, s.scopeOfScript())
}

func attr(e *strictxml.Element, name string) string { v, _ := e.Attr("", name); return v }

// same compares two elements as XML, white space around text left out.
func same(want, got string, gotScope, wantScope *strictxml.Scope) error {
	w, err := strictxml.ParseElement([]byte(want), wantScope, strictxml.Limits{})
	if err != nil {
		return fmt.Errorf("the script: %w", err)
	}
	g, err := strictxml.ParseElement([]byte(got), gotScope, strictxml.Limits{})
	if err != nil {
		return err
	}
	if a, b := canonical(w), canonical(g); a != b {
		return fmt.Errorf("heard %s", got)
	}
	return nil
}

func canonical(e *strictxml.Element) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<{%s}%s", e.Name.Space, e.Name.Local)
	var attrs []string
	for _, a := range e.Attrs {
		attrs = append(attrs, fmt.Sprintf(" {%s}%s=%q", a.Name.Space, a.Name.Local, a.Value))
	}
	slices.Sort(attrs)
	b.WriteString(strings.Join(attrs, "") + ">")
	for _, n := range e.Nodes {
		if n.Element != nil {
			b.WriteString(canonical(n.Element))
		} else {
			b.WriteString(strings.TrimSpace(n.Text))
		}
	}
	return b.String() + "</>"
}

// TestScripts plays every conversation of testdata/scripts: the examples of XEP-0178, XEP-0220, XEP-0288, XEP-0198 and XEP-0368, in both
// roles.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			play(t, string(text))
		})
	}
}
