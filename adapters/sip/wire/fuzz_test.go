package wire

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func seed(f *testing.F) {
	f.Helper()
	f.Add([]byte(mutantBase))
	f.Add(benchMessage())
	f.Add(benchResponse())
	for _, dir := range []string{"rfc4475", "rfc5118"} {
		files, err := os.ReadDir(filepath.Join("testdata", dir))
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range files {
			b, err := os.ReadFile(filepath.Join("testdata", dir, e.Name()))
			if err != nil {
				f.Fatal(err)
			}
			if dir == "rfc5118" {
				b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
			}
			f.Add(b)
		}
	}
}

// checkLines fails if b has a CR or LF that ends no line, or a control, in front of its body.
func checkLines(t *testing.T, b []byte) {
	t.Helper()
	head, _, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("no end of the header fields in %q", b)
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if at, _ := scanText(line); at >= 0 {
			t.Fatalf("control in line %q", line)
		}
	}
}

// T-FZ-01.
// What parses has an answer, and can be written as a request, that parse to the same fields; what does not parse has an answer with no
// stray line ends.
func FuzzParse(f *testing.F) {
	seed(f)
	source := netip.MustParseAddrPort("192.0.2.7:5077")
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(bytes.Clone(b), Limits{})
		var e *SyntaxError
		if err != nil && (!errors.As(err, &e) || e.Rule == "" || e.Section == "" || e.Reason == "" || checkReason(e.Reason) != nil || e.Offset < 0 || e.Offset > len(b)) {
			t.Fatalf("error %+v", e)
		}
		if m == nil {
			return
		}
		for name := range m.Names() {
			for range m.Headers(name) { //nolint:revive // it must not panic
			}
		}
		_, _ = m.From().GR()
		_ = m.To().Display()
		if !m.IsRequest() {
			return
		}
		m.SetSource(source)
		answer, aerr := AppendResponse(nil, m, Response{Code: 200, ToTag: "fuzz", Headers: []Header{{"Server", "x"}}})
		if aerr != nil {
			t.Fatalf("answer: %v", aerr)
		}
		checkLines(t, answer)
		if err != nil {
			return
		}
		r, perr := Parse(answer, Limits{Message: 1 << 20, HeaderLine: 60000, Headers: 1000})
		if perr != nil {
			t.Fatalf("answer does not parse: %v\n%q", perr, answer)
		}
		n, method := m.CSeq()
		rn, rmethod := r.CSeq()
		toTag := m.To().Tag()
		if toTag == "" {
			toTag = "fuzz"
		}
		if r.CallID() != m.CallID() || n != rn || method != rmethod || r.From() != m.From() || r.To().Tag() != toTag || r.ViaCount() != m.ViaCount() ||
			r.TopVia().Branch() != m.TopVia().Branch() || !strings.EqualFold(r.TopVia().SentBy(), m.TopVia().SentBy()) {
			t.Fatalf("answer differs:\n%q\n%q", b, answer)
		}
		checkReceived(t, m, r, source)
		checkRewritten(t, m)
	})
}

// checkReceived: RFC 3261 §18.2.1 and RFC 3581 §4.
func checkReceived(t *testing.T, m, r *Message, source netip.AddrPort) {
	t.Helper()
	_, asked := m.TopVia().RPort()
	port, has := r.TopVia().RPort()
	if asked != has || asked && (port != source.Port() || r.TopVia().Received() != source.Addr()) {
		t.Fatalf("rport: %q became %q", m.TopVia(), r.TopVia())
	}
	if got := r.TopVia().Received(); got.IsValid() && got != source.Addr() || !got.IsValid() && m.TopVia().Host() != source.Addr().String() {
		t.Fatalf("received: %q became %q", m.TopVia(), r.TopVia())
	}
}

// checkRewritten writes the fields of m as another request.
func checkRewritten(t *testing.T, m *Message) {
	t.Helper()
	n, _ := m.CSeq()
	hops, _ := m.MaxForwards()
	req := &Request{
		Method: m.Method(), URI: m.RequestURIText(), From: m.From().String(), To: m.To().String(), CallID: m.CallID(), CSeq: n, MaxForwards: hops,
		ContentType: m.ContentType(), Body: m.Body(),
	}
	b, err := AppendRequest(nil, req, ViaSpec{Transport: "UDP", SentBy: "192.0.2.1:5060", Branch: NewBranch("hint"), RPort: true})
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	checkLines(t, b)
	w, err := Parse(bytes.Clone(b), Limits{Message: 1 << 20})
	if err != nil {
		t.Fatalf("request does not parse: %v\n%q", err, b)
	}
	wn, _ := w.CSeq()
	if w.RequestURI() != m.RequestURI() || w.From() != m.From() || w.To() != m.To() || w.CallID() != m.CallID() || wn != n || !bytes.Equal(w.Body(), m.Body()) ||
		w.ContentType() != m.ContentType() {
		t.Fatalf("request differs:\n%q", b)
	}
}

// T-FZ-02: the messages of a stream do not depend on how it was chunked, two bodies never merge, and what is framed adds up to the
// stream.
func FuzzStream(f *testing.F) {
	f.Add([]byte(mutantBase+mutantBase), byte(7))
	f.Add([]byte("\r\n\r\n"+mutantBase+"\r\n"+mutantBase), byte(1))
	for _, v := range mutants() {
		i := strings.LastIndex(mutantBase, v.old)
		if v.old == "" {
			i = 0
		}
		f.Add([]byte(mutantBase[:i]+v.new+mutantBase[i+len(v.old):]+mutantBase), byte(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, step byte) {
		whole := framed(bytes.NewReader(b))
		chunks := framed(&chunked{b: b, step: int(step)})
		if len(whole) != len(chunks) {
			t.Fatalf("%q\n%q", whole, chunks)
		}
		at := 0
		for i := range whole {
			if whole[i] != chunks[i] {
				t.Fatalf("frame %d: %q, in chunks %q", i, whole[i], chunks[i])
			}
			if s, ok := strings.CutPrefix(whole[i], "message "); ok {
				m, err := Parse([]byte(s), Limits{})
				if err == nil && len(m.Raw()) != len(s) {
					t.Fatalf("frame of %d octets, message of %d", len(s), len(m.Raw()))
				}
				at += len(s)
			}
		}
		if at > len(b) {
			t.Fatalf("%d octets of messages out of %d", at, len(b))
		}
	})
}

// chunked gives step octets, then one more each time, over and over.
type chunked struct {
	b       []byte
	step, n int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	c.n++
	n := copy(p, c.b[:min(len(c.b), 1+(c.step*c.n)%61)])
	c.b = c.b[n:]
	return n, nil
}

func framed(r io.Reader) (frames []string) {
	s := NewStreamReader(r, Limits{})
	for {
		b, ping, err := s.Next()
		var e *SyntaxError
		switch {
		case errors.As(err, &e):
			return append(frames, "fault "+e.Rule)
		case err != nil:
			return append(frames, err.Error())
		case ping:
			frames = append(frames, "ping")
		default:
			frames = append(frames, "message "+string(b))
		}
	}
}

// T-FZ-03.
// What parses prints, and parses to the same.
func FuzzAddr(f *testing.F) {
	f.Add(`"a \"b\" c" <sip:u%20x;y@h:5060;p=1;gr=z?a=b>;tag=1;x="y"`, "disp")
	f.Add("sip:a@b;tag=x", `"\`)
	f.Add("tel:+1234", "")
	f.Fuzz(func(t *testing.T, s, display string) {
		a, err := ParseAddr(s)
		if err == nil {
			b, err := ParseAddr(a.String())
			if err != nil || a != b {
				t.Fatalf("%q: %v %+v", s, err, b)
			}
			w, err := FormatAddr(AddrSpec{Display: a.Display(), URI: a.URI().String(), Tag: a.Tag()})
			if err != nil {
				t.Fatalf("%q: %v", s, err)
			}
			c := MustParseAddr(w)
			if c.Display() != a.Display() || c.URI() != a.URI() || c.Tag() != a.Tag() {
				t.Fatalf("%q became %q", s, w)
			}
		}
		w, err := FormatAddr(AddrSpec{Display: display, URI: "sip:a@b", Params: []Param{{"x", display}}})
		if err != nil {
			return
		}
		c, err := ParseAddr(w)
		if err != nil || c.Display() != display || strings.ContainsAny(w, "\r\n\x00") {
			t.Fatalf("display %q: %v %q", display, err, w)
		}
		if u, err := AppendURI(nil, URISpec{User: display, Host: "example.net", Params: []Param{{"gr", display}}}); err == nil {
			p := MustParseURI(string(u))
			user, err := Unescape(p.User())
			if gr, _ := p.Param("gr"); err != nil && !hasControl(display) || err == nil && user != display || gr != "" && display == "" {
				t.Fatalf("user %q became %q", display, u)
			}
		}
	})
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7F {
			return true
		}
	}
	return false
}
