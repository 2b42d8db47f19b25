package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// mutant is a message with one fault of the kinds that header smuggling and framing attacks use (THREATS S4, S5).
type mutant struct {
	name   string
	old    string // replaced in the base message
	new    string
	reason string // of the datagram: phrase of the answer; "" means accepted; "silent" means that it cannot be answered
	stream string // of the stream: "close" means that it must be closed; else as reason
}

const mutantBase = "MESSAGE sip:romeo@example.net SIP/2.0\r\n" +
	"Via: SIP/2.0/TCP client.example.com:5060;branch=z9hG4bKnashds8\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: \"Juliet\" <sip:juliet@example.com>;tag=88sja8x\r\n" +
	"To: <sip:romeo@example.net>\r\n" +
	"Call-ID: 987asjd97y7atg@client.example.com\r\n" +
	"CSeq: 986759 MESSAGE\r\n" +
	"Subject: balcony\r\n" +
	"Content-Type: text/plain\r\n" +
	"Content-Length: 5\r\n" +
	"\r\n" +
	"hello"

func mutants() []mutant {
	const bad = "Bad Request: "
	return []mutant{
		{"none", "", "", "", ""},
		{"space before colon is LWS", "Subject:", "Subject :", "", ""},
		{"tabs before colon are LWS", "Subject:", "Subject\t\t:", "", ""},
		{"control in name", "Subject:", "Subject\x01:", bad + "control character", "close"},
		{"space within name", "Subject:", "Sub ject:", bad + "malformed header name", "close"},
		{"fold before colon", "Subject:", "Subject\r\n :", bad + "malformed header name", "close"},
		{"NUL in name", "Subject:", "Sub\x00ject:", bad + "control character", "close"},
		{"high octet in name", "Subject:", "Subj\xc3\xa9ct:", bad + "malformed header name", "close"},
		{"colon first", "Subject:", ":", bad + "malformed header name", "close"},
		{"no colon", "Subject: balcony", "Subject balcony", bad + "malformed header name", "close"},
		{"slash in name", "Subject:", "Sub/ject:", bad + "malformed header name", "close"},
		{"NUL in value", "balcony", "bal\x00cony", bad + "control character", "close"},
		{"DEL in value", "balcony", "bal\x7fcony", bad + "control character", "close"},
		{"escape in value", "balcony", "bal\x1b[31mcony", bad + "control character", "close"},
		{"bare CR in value", "balcony", "bal\rX-Injected: 1", bad + "CR or LF alone", "close"},
		{"bare LF in value", "balcony", "bal\nX-Injected: 1", bad + "CR or LF alone", "close"},
		{"LF ends a line", "balcony\r\n", "balcony\n", bad + "CR or LF alone", "close"},
		{"LF CR ends a line", "balcony\r\n", "balcony\n\r", bad + "CR or LF alone", "close"},
		{"CR CR LF ends a line", "balcony\r\n", "balcony\r\r\n", bad + "CR or LF alone", "close"},
		{"bare LF ends the header", "5\r\n\r\n", "5\r\n\n\r\n\r\n", bad + "CR or LF alone", "close"},
		{"bad UTF-8 in value", "balcony", "bal\xff\xfecony", bad + "header is not UTF-8", bad + "header is not UTF-8"},
		{"overlong UTF-8 line end", "balcony", "bal\xc0\x8dcony", bad + "header is not UTF-8", bad + "header is not UTF-8"},
		{"fold", "balcony", "bal\r\n cony", "", ""},
		{"fold with tab", "balcony", "bal\r\n\tcony", "", ""},
		{"blank continuation", "balcony\r\n", "balcony\r\n \r\n", bad + "misplaced or blank continuation line", "close"},
		{"blank continuation then header", "balcony\r\n", "balcony\r\n \r\nX: 1\r\n", bad + "misplaced or blank continuation line", "close"},
		{"fold of the start line", "Via:", " Via:", "silent", "close"},
		{"hidden header behind a fold", "balcony\r\n", "balcony\r\n X-Injected: 1\r\n", "", ""},
		{"two Content-Length", "Content-Length: 5", "Content-Length: 5\r\nContent-Length: 5", bad + "two Content-Length headers", "close"},
		{"long and compact Content-Length", "Content-Length: 5", "Content-Length: 5\r\nl: 0", bad + "two Content-Length headers", "close"},
		{"no Content-Length", "Content-Length: 5\r\n", "", "", "close"},
		{"Content-Length in another case", "Content-Length:", "cOnTeNt-LeNgTh:", "", ""},
		{"plus sign", ": 5", ": +5", bad + "malformed Content-Length", "close"},
		{"minus sign", ": 5", ": -5", bad + "malformed Content-Length", "close"},
		{"hexadecimal", ": 5", ": 0x5", bad + "malformed Content-Length", "close"},
		{"list", ": 5", ": 5, 5", bad + "malformed Content-Length", "close"},
		{"parameter", ": 5", ": 5;x=1", bad + "malformed Content-Length", "close"},
		{"empty", ": 5", ":", bad + "malformed Content-Length", "close"},
		{"2**32 + 5", ": 5", ": 4294967301", bad + "malformed Content-Length", "close"},
		{"2**64 + 5", ": 5", ": 18446744073709551621", bad + "malformed Content-Length", "close"},
		{"leading zeros", ": 5", ": 0005", "", ""},
		{"larger than allowed", ": 5", ": 61441", bad + "Content-Length larger than the datagram", "close"},
		{"Content-Length name with control", "Content-Length: 5", "Content-Length\x01: 5", bad + "control character", "close"},
		{"Content-Length name with underscore", "Content-Length: 5", "Content_Length: 5", "", "close"},
		{"two Call-ID", "Subject: balcony", "i: other@example.com", bad + "two Call-ID headers", bad + "two Call-ID headers"},
		{"two From", "Subject: balcony", "f: <sip:eve@example.org>;tag=1", bad + "two From headers", bad + "two From headers"},
		{"two To", "Subject: balcony", "t: <sip:eve@example.org>", bad + "two To headers", bad + "two To headers"},
		{"two CSeq", "Subject: balcony", "cseq: 1 MESSAGE", bad + "two CSeq headers", bad + "two CSeq headers"},
		{"two Max-Forwards", "Subject: balcony", "Max-Forwards: 1", bad + "two Max-Forwards headers", bad + "two Max-Forwards headers"},
		{"two Content-Type", "Subject: balcony", "c: text/html", bad + "two Content-Type headers", bad + "two Content-Type headers"},
		{"two values of From", "tag=88sja8x", "tag=88sja8x, <sip:eve@example.org>;tag=2", bad + "text behind the value in From", bad + "text behind the value in From"},
		{"two tags", "tag=88sja8x", "tag=88sja8x;tag=2", bad + "malformed parameter in From", bad + "malformed parameter in From"},
		{"quote does not end", "\"Juliet\"", "\"Juliet", bad + "malformed display name in From", bad + "malformed display name in From"},
		{"bracket does not end", "<sip:juliet@example.com>", "<sip:juliet@example.com", bad + "malformed address in From", bad + "malformed address in From"},
		{"two brackets", "<sip:juliet@example.com>", "<sip:juliet@example.com> <sip:eve@example.org>", bad + "text behind the value in From", bad + "text behind the value in From"},
		{"no Via", "Via: SIP/2.0/TCP client.example.com:5060;branch=z9hG4bKnashds8\r\n", "", "silent", "silent"},
		{"no From", "From:", "X-From:", bad + "no From header", bad + "no From header"},
		{"no CSeq", "CSeq:", "X-CSeq:", bad + "no CSeq header", bad + "no CSeq header"},
		{"method in another case", "986759 MESSAGE", "986759 message", bad + "CSeq method differs", bad + "CSeq method differs"},
		{"port of 17 bits", "client.example.com:5060", "client.example.com:70596", bad + "malformed Via", bad + "malformed Via"},
		{"user with a control escaped", "sip:romeo@", "sip:rom%0d%0aeo@", "", ""}, // Unescape refuses it
		{"quoted Via parameter keeps", "branch=z9hG4bKnashds8", "branch=z9hG4bKnashds8;x=\"a;b=c,d\"", "", ""},
		{"body without a type", "Content-Type: text/plain\r\n", "", bad + "body without Content-Type", bad + "body without Content-Type"},
		{"HTTP", "SIP/2.0\r\nVia", "HTTP/1.1\r\nVia", bad + "malformed Request-Line", bad + "malformed Request-Line"},
		{"CSeq of 2**31", "986759", "2147483648", bad + "malformed CSeq", bad + "malformed CSeq"},
		{"hops of 256", "Max-Forwards: 70", "Max-Forwards: 256", bad + "malformed Max-Forwards", bad + "malformed Max-Forwards"},
	}
}

func (v mutant) octets(t *testing.T) []byte {
	t.Helper()
	if !strings.Contains(mutantBase, v.old) {
		t.Fatalf("%s: base has no %q", v.name, v.old)
	}
	i := strings.LastIndex(mutantBase, v.old)
	if v.old == "" {
		i = 0
	}
	return []byte(mutantBase[:i] + v.new + mutantBase[i+len(v.old):])
}

// outcome is what Parse said, in the terms of mutant.
func outcome(m *Message, err error) string {
	var e *SyntaxError
	switch {
	case err == nil:
		return ""
	case m == nil:
		return "silent"
	case errors.As(err, &e):
		return e.Reason
	default:
		return err.Error()
	}
}

// T-TT-S: header-smuggling and framing mutants in a datagram.
func TestMutantDatagrams(t *testing.T) {
	t.Parallel()
	if n := len(mutants()); n < 40 {
		t.Fatalf("%d mutants, should be at least 40", n)
	}
	for _, v := range mutants() {
		m, err := Parse(v.octets(t), Limits{})
		if got := outcome(m, err); got != v.reason {
			t.Errorf("%s: %q, should be %q (%v)", v.name, got, v.reason, err)
			continue
		}
		if m == nil {
			continue
		}
		checkAnswer(t, v.name, m)
		for name := range m.Names() {
			if err == nil && strings.EqualFold(name, "X-Injected") {
				t.Errorf("%s: the injected header field is seen", v.name)
			}
		}
	}
}

// T-FZ-02: the same mutants on a stream, each split in two at every octet, followed by another message.
func TestMutantStreams(t *testing.T) {
	t.Parallel()
	second := strings.Replace(mutantBase, "987asjd97y7atg", "second", 1)
	for _, v := range mutants() {
		b := append(v.octets(t), second...)
		for split := 0; split <= len(b); split++ {
			r := NewStreamReader(io.MultiReader(bytes.NewReader(b[:split]), iotest.DataErrReader(bytes.NewReader(b[split:]))), Limits{})
			got, rest := readOne(r)
			if got != v.stream {
				t.Fatalf("%s split at %d: %q, should be %q", v.name, split, got, v.stream)
			}
			// RFC 3261 §18.3: nothing behind a message whose end is not known is ever read as a message.
			if v.stream == "close" {
				if rest != nil || r.err == nil {
					t.Fatalf("%s split at %d: the stream goes on", v.name, split)
				}
				continue
			}
			if m, err := Parse(rest, Limits{}); err != nil || m.CallID() != "second@client.example.com" || string(m.Body()) != "hello" {
				t.Fatalf("%s split at %d: second message %v %q", v.name, split, err, rest)
			}
		}
	}
}

// readOne reads a message and the one behind it.
func readOne(r *StreamReader) (outcomeOfFirst string, second []byte) {
	b, _, err := r.Next()
	var e *SyntaxError
	if errors.As(err, &e) && e.Framing {
		if b, _, again := r.Next(); b != nil || again != err {
			return "not sticky", nil
		}
		return "close", nil
	}
	if err != nil {
		return err.Error(), nil
	}
	first := outcome(Parse(b, Limits{}))
	second, _, _ = r.Next()
	return first, second
}

// RFC 5626 §4.4.1: a double CRLF between messages is a ping. RFC 3261 §7.5: "Implementations processing SIP messages over
// stream-oriented transports MUST ignore any CRLF appearing before the start-line".
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	b := []byte("\r\n\r\n\r\n" + mutantBase + "\r\n" + mutantBase + "\r\n\r\n\r\n\r\n")
	for split := 0; split <= len(b); split++ {
		r := NewStreamReader(io.MultiReader(bytes.NewReader(b[:split]), bytes.NewReader(b[split:])), Limits{})
		var got []string
		for {
			m, ping, err := r.Next()
			switch {
			case err == io.EOF:
				got = append(got, "end")
			case err != nil:
				got = append(got, err.Error())
			case ping:
				got = append(got, "ping")
			default:
				got = append(got, string(m[:7]))
				continue
			}
			if err != nil {
				break
			}
		}
		if s := strings.Join(got, " "); s != "ping MESSAGE MESSAGE ping ping end" {
			t.Fatalf("split at %d: %s", split, s)
		}
	}
}

func TestStreamEnds(t *testing.T) {
	t.Parallel()
	for i := 1; i < len(mutantBase); i++ {
		r := NewStreamReader(strings.NewReader(mutantBase[:i]), Limits{})
		if _, _, err := r.Next(); err != io.ErrUnexpectedEOF {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	r := NewStreamReader(strings.NewReader("\rX"), Limits{})
	if _, _, err := r.Next(); err == nil || err == io.EOF {
		t.Errorf("bare CR: %v", err)
	}
	r = NewStreamReader(&repeat{data: []byte("X-Endless: 1\r\n")}, Limits{})
	if _, _, err := r.Next(); err == nil || err.(*SyntaxError).Rule != "message length" {
		t.Errorf("endless header: %v", err)
	}
	if len(r.buf) > 3*65535 {
		t.Errorf("the buffer grew to %d octets", len(r.buf))
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	header := func(s string) string { return strings.Replace(mutantBase, "Subject: balcony\r\n", s, 1) }
	for _, v := range []struct {
		name, message string
		code          int
		rule          string
	}{
		{"128 header fields", header(strings.Repeat("a:b\r\n", 120)), 0, ""},
		{"129 header fields", header(strings.Repeat("a:b\r\n", 121)), 400, "header count"},
		{"13000 header fields", header(strings.Repeat("a:b\r\n", 13000-9)), 400, "header count"},
		{"line of 8 KiB", header("Subject: " + strings.Repeat("x", 8183) + "\r\n"), 0, ""},
		{"line over 8 KiB", header("Subject: " + strings.Repeat("x", 8184) + "\r\n"), 400, "line length"},
		{"folded line over 8 KiB", header("Subject: " + strings.Repeat("x\r\n ", 2100) + "y\r\n"), 400, "line length"},
		{"70 Vias", header("v: " + strings.Repeat("SIP/2.0/UDP h,", 68) + "SIP/2.0/UDP h\r\n"), 0, ""},
		{"71 Vias", header("v: " + strings.Repeat("SIP/2.0/UDP h,", 69) + "SIP/2.0/UDP h\r\n"), 400, "via count"},
		{"Request-URI over 1 KiB", strings.Replace(mutantBase, "sip:romeo", "sip:"+strings.Repeat("r", 1024), 1), 414, "uri length"},
		{"From URI over 1 KiB", strings.Replace(mutantBase, "sip:juliet", "sip:"+strings.Repeat("r", 1024), 1), 400, "uri length"},
		{"message over 64 KiB", strings.Replace(mutantBase, ": 5\r\n\r\nhello", ": 65535\r\n\r\n"+strings.Repeat("x", 65535), 1), 513, "message length"},
		{"body over 60 KiB", strings.Replace(mutantBase, ": 5\r\n\r\nhello", ": 61441\r\n\r\n"+strings.Repeat("x", 61441), 1), 513, "body length"},
		{"33 parameters", strings.Replace(mutantBase, ";tag=88sja8x", ";tag=1"+manyParams(32), 1), 400, "parameter"},
	} {
		m, err := Parse([]byte(v.message), Limits{})
		var e *SyntaxError
		switch {
		case v.code == 0 && err != nil:
			t.Errorf("%s: %v", v.name, err)
		case v.code == 0:
		case !errors.As(err, &e) || e.Code != v.code || e.Rule != v.rule:
			t.Errorf("%s: %v, should be %d for %s", v.name, err, v.code, v.rule)
		case m == nil:
			t.Errorf("%s: cannot be answered", v.name)
		}
	}
}

func manyParams(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(";p")
		b.Write(appendUint(nil, uint64(i)))
	}
	return b.String()
}

// THREATS S4, RFC 3261 §7.3.1: each header field that is no list stands once; a second one is refused, under whatever name.
func TestDuplicatesOfSingleHeaders(t *testing.T) {
	t.Parallel()
	values := map[headerID]string{
		hCallID: "a@b", hContentDisposition: "render", hContentLength: "5", hContentType: "text/plain", hCSeq: "986759 MESSAGE", hFrom: "<sip:a@b>;tag=1",
		hMaxForwards: "70", hTo: "<sip:a@b>", hExpires: "3600", hDate: "Sat, 13 Nov 2010 23:29:00 GMT",
	}
	n := 0
	for id := hOther + 1; id < hCount; id++ {
		spec := headerSpecs[id]
		if !spec.single {
			continue
		}
		n++
		value := values[id]
		if value == "" {
			value = "presence"
		}
		line := spec.name + ": " + value + "\r\n"
		second := strings.ToUpper(spec.name) + " : " + value + "\r\n"
		if spec.compact != 0 {
			second = string(spec.compact) + ": " + value + "\r\n"
		}
		base := mutantBase
		if !strings.Contains(base, "\r\n"+spec.name+":") {
			base = strings.Replace(base, "Subject: balcony\r\n", line, 1)
		}
		m, err := Parse([]byte(strings.Replace(base, "Max-Forwards:", second+"Max-Forwards:", 1)), Limits{})
		if got, want := outcome(m, err), "Bad Request: two "+spec.name+" headers"; got != want {
			t.Errorf("%s: %q, should be %q", spec.name, got, want)
		}
	}
	if n < 20 {
		t.Errorf("%d header fields that stand once", n)
	}
}
