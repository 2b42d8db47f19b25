package strictxml

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const wholeStream = benchHeader + "\n" + benchMessage + " \r\n\t" + benchPresence + benchRich +
	"<a b='/>' c=\"'>\"><![CDATA[</a>]]]]><![CDATA[>]]>&gt;></a></stream:stream >"

// Split in two at every octet, and in pieces of one.
func TestStreamSplitAnywhere(t *testing.T) {
	want, err := readStream(strings.NewReader(wholeStream), Limits{})
	if err != nil || len(want) != 5 {
		t.Fatalf("%d trees, %v", len(want), err)
	}
	for at := range len(wholeStream) {
		r := io.MultiReader(strings.NewReader(wholeStream[:at]), strings.NewReader(wholeStream[at:]))
		if got, err := readStream(r, Limits{}); err != nil || !slices.Equal(got, want) {
			t.Fatalf("split at %d: %v, %q", at, err, got)
		}
	}
	if got, err := readStream(oneByte{strings.NewReader(wholeStream)}, Limits{}); err != nil || !slices.Equal(got, want) {
		t.Fatalf("octet by octet: %v, %q", err, got)
	}
}

// Cut off at every octet, it is never an end of the stream.
func TestStreamCutAnywhere(t *testing.T) {
	for at := range len(wholeStream) {
		_, err := readStream(strings.NewReader(wholeStream[:at]), Limits{})
		want := io.ErrUnexpectedEOF
		if at == 0 {
			if err == nil {
				t.Fatal("no octets: no error")
			}
			continue
		}
		if !errors.Is(err, want) {
			t.Fatalf("cut at %d: %v", at, err)
		}
	}
}

func TestStreamHeaderOfNothing(t *testing.T) {
	if _, _, err := NewStream(strings.NewReader(""), Limits{}).Header(); err != io.EOF {
		t.Errorf("got %v, want io.EOF: nothing was begun", err)
	}
}

// endless delivers a start and then one octet for ever, or up to a number.
type endless struct {
	start string
	fill  byte
	left  int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.start != "" {
		n := copy(p, e.start)
		e.start = e.start[n:]
		return n, nil
	}
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	e.left -= n
	for i := range p[:n] {
		p[i] = e.fill
	}
	return n, nil
}

// RFC 6120 §13.12: "If a connected resource or peer server sends a stanza that
// violates the upper limit, the receiving server MUST either return a
// <policy-violation/> stanza error (Section 8.3.3.12), thus allowing the
// sender to recover, or close the stream with a <policy-violation/> stream
// error". And 16 MiB of it are not buffered before (THREATS X4).
func TestStreamEndlessToken(t *testing.T) {
	for name, start := range map[string]string{
		"attribute":        "<s><a b='",
		"attribute name":   "<s><a ",
		"element name":     "<s><",
		"text":             "<s><a>",
		"CDATA":            "<s><a><![CDATA[",
		"end tag":          "<s><a></",
		"reference":        "<s><a>&#",
		"header attribute": "<s b='",
		"header name":      "<",
		"declaration":      "<?xml version='",
		"root end tag":     "<s></",
	} {
		t.Run(name, func(t *testing.T) {
			fill := byte('x')
			if name == "reference" {
				fill = '0'
			}
			var before, after runtime.MemStats
			s := NewStream(&endless{start: start, fill: fill, left: 16 << 20}, Limits{})
			runtime.GC()
			runtime.ReadMemStats(&before)
			_, _, err := s.Header()
			if err == nil {
				_, err = s.Next()
			}
			runtime.ReadMemStats(&after)
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Condition != PolicyViolation {
				t.Fatalf("got %v, want a policy violation", err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got >= 1<<20 {
				t.Errorf("%d octets allocated, want less than 1 MiB", got)
			}
			if len(s.buf) > DefaultLimits().Bytes {
				t.Errorf("buffer of %d octets", len(s.buf))
			}
		})
	}
}

// THREATS X3: each entry point refuses, with a heap growth below 1 MiB.
func TestRestrictedAtEachEntry(t *testing.T) {
	for _, bad := range []string{"<!DOCTYPE a>", "<?x y?>", "<!-- x -->", "&x;"} {
		doc := "<a>" + bad + "</a>"
		_, docErr := ParseDocument([]byte(doc), Limits{})
		_, elementErr := ParseElement([]byte(doc), nil, Limits{})
		var c Cursor
		c.Reset([]byte(doc), nil, Limits{})
		_, _ = c.Next()
		_, skipErr := c.Skip()
		_, streamErr := readStream(strings.NewReader("<s>"+doc), Limits{})
		var w Writer
		w.Raw([]byte(doc))
		for i, err := range []error{docErr, elementErr, skipErr, streamErr} {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Condition != RestrictedXML {
				t.Errorf("%s, entry %d: got %v, want restricted-xml", bad, i, err)
			}
		}
		if !errors.Is(w.Err(), ErrWriteRaw) || len(w.Bytes()) != 0 {
			t.Errorf("%s: Writer.Raw took it: %v %q", bad, w.Err(), w.Bytes())
		}
	}
}

// RFC 6120 §11.7: "either entity MAY send whitespace as separators between XML
// stanzas". It is not kept, however much it is.
func TestStreamKeepAlives(t *testing.T) {
	s := NewStream(io.MultiReader(
		strings.NewReader("<s>"), &endless{fill: ' ', left: 8 << 20}, strings.NewReader("<a/>\n"),
		&endless{fill: '\n', left: 8 << 20}, strings.NewReader("</s>")), Limits{})
	if _, _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	if raw, err := s.Next(); err != nil || string(raw) != "<a/>" {
		t.Fatalf("%q, %v", raw, err)
	}
	if _, err := s.Next(); err != io.EOF {
		t.Fatalf("got %v, want io.EOF", err)
	}
	if len(s.buf) > bufferSize {
		t.Errorf("buffer of %d octets for white space", len(s.buf))
	}
	if want := int64(len("<s><a/>\n</s>") + 16<<20); s.base+int64(s.start) != want {
		t.Errorf("at offset %d, want %d", s.base+int64(s.start), want)
	}
}

func TestStreamBufferShrinks(t *testing.T) {
	big := "<a>" + strings.Repeat("x", 200_000) + "</a>"
	r, w := io.Pipe()
	go func() {
		for _, part := range []string{"<s>", big, "<b/>", "</s>"} {
			_, _ = w.Write([]byte(part))
		}
		w.Close()
	}()
	s := NewStream(r, Limits{})
	if _, _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	if raw, err := s.Next(); err != nil || string(raw) != big {
		t.Fatal(len(raw), err)
	}
	if raw, err := s.Next(); err != nil || string(raw) != "<b/>" {
		t.Fatal(string(raw), err)
	}
	if len(s.buf) != bufferSize {
		t.Errorf("buffer of %d octets after a large stanza, want %d", len(s.buf), bufferSize)
	}
}

// A stream on which little comes holds little, whatever came before; one on
// which much comes does not read it in small pieces.
func TestStreamBufferFollowsTheFlow(t *testing.T) {
	r, w := io.Pipe()
	write := make(chan string)
	go func() {
		for part := range write {
			_, _ = w.Write([]byte(part))
		}
		w.Close()
	}()
	defer close(write)
	s := NewStream(r, Limits{})
	next := func(part string, want int) {
		t.Helper()
		write <- part
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		if len(s.buf) != want {
			t.Errorf("buffer of %d octets, want %d", len(s.buf), want)
		}
	}
	write <- "<s>"
	if _, _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	next("<a/>", bufferSmall)
	next("<a>"+strings.Repeat("x", 3*bufferSmall)+"</a>", bufferSize)
	for range calmReads {
		next("<a/>", bufferSize)
	}
	next("<a/>", bufferSmall)
	next("<a>"+strings.Repeat("x", 20*bufferSize)+"</a>", 32*bufferSize)
	next("<a/>", bufferSize)
}

// What lives as long as a stream keeps nothing of the header's tree.
func TestStreamScopeIsDetached(t *testing.T) {
	root, scope, err := NewStream(strings.NewReader("<s:s xmlns='' xmlns:s='u' xmlns:t='v'>"), Limits{}).Header()
	if err != nil {
		t.Fatal(err)
	}
	if scope == root.Scope() {
		t.Error("the scope is that of the tree")
	}
	for a, b := scope, root.Scope(); a != nil || b != nil; a, b = a.outer, b.outer {
		if a == nil || b == nil || a.prefix != b.prefix || a.uri != b.uri {
			t.Fatalf("%+v, want %+v", a, b)
		}
	}
	if _, scope, _ := NewStream(strings.NewReader("<s>"), Limits{}).Header(); scope != nil {
		t.Errorf("%+v of no declarations", scope)
	}
}

// failing delivers its parts, with an error after each.
type failing struct {
	parts []string
	err   error
	fail  bool
}

func (f *failing) Read(p []byte) (int, error) {
	if f.fail = !f.fail; !f.fail || len(f.parts) == 0 {
		return 0, f.err
	}
	n := copy(p, f.parts[0])
	f.parts = f.parts[1:]
	return n, nil
}

// A deadline that passes in the middle of anything loses nothing.
func TestStreamGoesOnAfterReadError(t *testing.T) {
	parts := []string{"<?x", "ml version='1.0'?><", "s", "><a b='", "'>&am", "p;</", "a><", "/s>"}
	s := NewStream(&failing{parts: parts, err: os.ErrDeadlineExceeded}, Limits{})
	retry := func(f func() error) error {
		for range 20 {
			if err := f(); !errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
		}
		return errors.New("too many deadlines")
	}
	if err := retry(func() error { _, _, err := s.Header(); return err }); err != nil {
		t.Fatal(err)
	}
	var raw []byte
	if err := retry(func() (err error) { raw, err = s.Next(); return err }); err != nil || string(raw) != "<a b=''>&amp;</a>" {
		t.Fatalf("%q, %v", raw, err)
	}
	if err := retry(func() error { _, err := s.Next(); return err }); err != io.EOF {
		t.Fatal(err)
	}
}

func TestStreamNoProgress(t *testing.T) {
	s := NewStream(&failing{parts: make([]string, 1000)}, Limits{})
	if _, _, err := s.Header(); err != io.ErrNoProgress {
		t.Errorf("got %v, want io.ErrNoProgress", err)
	}
}

// What came together with <proceed/> is seen before TLS starts.
func TestStreamBufferedAndReset(t *testing.T) {
	s := NewStream(strings.NewReader("<s><proceed/><evil/>"), Limits{})
	if _, _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	if s.Buffered() != len("<evil/>") {
		t.Errorf("%d octets buffered", s.Buffered())
	}
	s.Reset(strings.NewReader("<t><a/></t>"))
	if s.Buffered() != 0 {
		t.Errorf("%d octets buffered after Reset", s.Buffered())
	}
	trees := 0
	if _, _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := s.Next(); err != nil {
			if err != io.EOF {
				t.Fatal(err)
			}
			break
		}
		trees++
	}
	if trees != 1 {
		t.Errorf("%d children", trees)
	}
}

func TestStreamRestart(t *testing.T) {
	s := NewStream(strings.NewReader("<?xml version='1.0'?><s xmlns='u'><success/>"+
		"<?xml version='1.0'?><t xmlns='v'><a/></t>"), Limits{})
	if _, err := s.Next(); !errors.Is(err, ErrStreamOrder) {
		t.Errorf("Next first: %v", err)
	}
	if _, _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Header(); !errors.Is(err, ErrStreamOrder) {
		t.Errorf("Header twice: %v", err)
	}
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	root, scope, err := s.Header()
	if err != nil {
		t.Fatal(err)
	}
	if want := (Name{"v", "t"}); root.Name != want {
		t.Errorf("root %v, want %v", root.Name, want)
	}
	if uri, ok := scope.Lookup(""); uri != "v" || !ok {
		t.Errorf("default namespace %q", uri)
	}
	if raw, err := s.Next(); err != nil || string(raw) != "<a/>" {
		t.Errorf("%q, %v", raw, err)
	}
	if _, err := s.Next(); err != io.EOF {
		t.Error(err)
	}
}

func TestStreamSetLimits(t *testing.T) {
	stanza := "<a>" + strings.Repeat("x", 500) + "</a>"
	s := NewStream(strings.NewReader("<s>"+stanza+stanza), Limits{Bytes: 100})
	if _, _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	s.SetLimits(Limits{Bytes: 1000})
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	s.SetLimits(Limits{Bytes: 100})
	_, err := s.Next()
	var syntax *SyntaxError
	if !errors.As(err, &syntax) || syntax.Rule != "limit-bytes" {
		t.Errorf("got %v, want limit-bytes", err)
	}
	if _, again := s.Next(); again != err {
		t.Errorf("the error does not stay: %v", again)
	}
}

func TestStreamHeaderElement(t *testing.T) {
	root, scope, err := NewStream(strings.NewReader(benchHeader), Limits{}).Header()
	if err != nil {
		t.Fatal(err)
	}
	if want := (Name{"http://etherx.jabber.org/streams", "stream"}); root.Name != want || root.Prefix() != "stream" {
		t.Errorf("root %v with prefix %q", root.Name, root.Prefix())
	}
	if id, _ := root.Attr("", "id"); id != "c2s-4711" || root.Lang() != "en" {
		t.Errorf("id %q, lang %q", id, root.Lang())
	}
	for prefix, want := range map[string]string{
		"": "jabber:component:accept", "stream": "http://etherx.jabber.org/streams", "xml": XMLNamespace, "none": "",
	} {
		if got, ok := scope.Lookup(prefix); got != want || ok != (want != "") {
			t.Errorf("prefix %q: %q, %v", prefix, got, ok)
		}
	}
	again, err := ParseElement(root.AppendSelfContained(nil), nil, Limits{})
	if err != nil || printTree(again) != printTree(root) {
		t.Errorf("header stand-alone: %v", err)
	}
}

func TestFramingDoesNotAllocate(t *testing.T) {
	s := NewStream(io.MultiReader(strings.NewReader("<s>"), &repeat{raw: []byte(benchMessage + "\n")}), Limits{})
	if _, _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	var c Cursor
	if n := testing.AllocsPerRun(1000, func() {
		raw, err := s.Next()
		if err != nil || !bytes.Equal(raw, []byte(benchMessage)) {
			t.Fatal(err)
		}
		c.Reset(raw, nil, Limits{})
		if _, err := c.Next(); err != nil || !c.Is("", "message") {
			t.Fatal(err)
		}
		if to, _ := c.AttrBytes("", "to"); string(to) != "romeo@sip.example.org" {
			t.Fatal(string(to))
		}
		if _, err := c.Skip(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a stanza that is skipped", n)
	}
}

// TestStreamReadsMoreAtOnceWhenMoreWaits: fewer reads while many elements come, and less room when few do.
func TestStreamReadsMoreAtOnceWhenMoreWaits(t *testing.T) {
	const elements = 2000
	one := "<a>" + strings.Repeat("x", 93) + "</a>" // 100 octets
	r := &counting{r: strings.NewReader("<s>" + strings.Repeat(one, elements))}
	s := NewStream(r, Limits{})
	if _, _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	for i := range elements {
		if raw, err := s.Next(); err != nil || string(raw) != one {
			t.Fatalf("element %d: %q, %v", i, raw, err)
		}
	}
	if len(s.buf) != bufferKeep {
		t.Errorf("a buffer of %d octets, not %d", len(s.buf), bufferKeep)
	}
	if most := elements*len(one)/bufferKeep + 6; r.reads > most {
		t.Errorf("%d reads, at most %d were awaited", r.reads, most)
	}
	// A limit under it holds for the buffer too.
	s = NewStream(strings.NewReader("<s>"+strings.Repeat(one, elements)), Limits{Bytes: 6 << 10})
	if _, _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	for i := range elements {
		if _, err := s.Next(); err != nil {
			t.Fatalf("element %d: %v", i, err)
		}
		if len(s.buf) > 6<<10 {
			t.Fatalf("a buffer of %d octets", len(s.buf))
		}
	}
}

// counting counts reads.
type counting struct {
	r     io.Reader
	reads int
}

func (c *counting) Read(b []byte) (int, error) {
	c.reads++
	return c.r.Read(b)
}
