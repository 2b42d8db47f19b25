package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

const handshake = "GET / HTTP/1.1\r\nHost: sip-ws.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://www.example.com\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n"

var listed = []string{"http://www.example.com"}

func readHandshake(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The example of RFC 7118 §4.1, answer included.
func TestHandshakeExample(t *testing.T) {
	accept, err := Accept(readHandshake(t, handshake), listed)
	want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
	if got := string(AppendAccepted(nil, accept)); err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
}

// T-FZ-21, THREATS S19: an Origin that is not listed, no subprotocol and whatever is no handshake are refused, and no extension is
// ever accepted.
func TestHandshakeRefused(t *testing.T) {
	for _, v := range []struct {
		name, old, with string
		status          int
		rule            string
	}{
		{"another origin", "http://www.example.com", "https://evil.example", 403, "origin"},
		{"another scheme", "Origin: http:", "Origin: https:", 403, "origin"},
		{"null origin", "http://www.example.com", "null", 403, "origin"},
		{"origin twice", "Origin:", "Origin: http://www.example.com\r\nOrigin:", 400, "origin"},
		{"no subprotocol", "Sec-WebSocket-Protocol: sip\r\n", "", 400, "subprotocol"},
		{"another subprotocol", "Protocol: sip", "Protocol: xmpp, SIP", 400, "subprotocol"},
		{"POST", "GET", "POST", 405, "method"},
		{"HTTP/1.0", "HTTP/1.1", "HTTP/1.0", 505, "version"},
		{"no upgrade", "Upgrade: websocket\r\n", "", 426, "upgrade"},
		{"no connection", "Connection: Upgrade", "Connection: keep-alive", 426, "upgrade"},
		{"version 8", "Version: 13", "Version: 8", 426, "websocket version"},
		{"two versions", "Version: 13", "Version: 13, 8", 426, "websocket version"},
		{"no key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400, "key"},
		{"short key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub24=", 400, "key"},
		{"key twice", "Sec-WebSocket-Key:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key:", 400, "key"},
		{"a body", "\r\n\r\n", "\r\nContent-Length: 3\r\n\r\nabc", 400, "body"},
	} {
		if !strings.Contains(handshake, v.old) {
			t.Fatalf("%s: nothing to replace", v.name)
		}
		_, err := Accept(readHandshake(t, strings.Replace(handshake, v.old, v.with, 1)), listed)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Status != v.status || refusal.Rule != v.rule {
			t.Errorf("%s: %v, should be %d %s", v.name, err, v.status, v.rule)
			continue
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(AppendRefused(nil, refusal))), nil)
		if err != nil || resp.StatusCode != v.status || !resp.Close {
			t.Errorf("%s: answer %v %+v", v.name, err, resp)
		}
	}
	for _, v := range []struct{ name, old, with string }{
		{"no Origin is no browser", "Origin: http://www.example.com\r\n", ""},
		{"an origin in capitals", "http://www.example.com", "HTTP://WWW.example.com"},
		{"extensions are ignored", "Origin:", "Sec-WebSocket-Extensions: permessage-deflate\r\nOrigin:"},
		{"several subprotocols", "Protocol: sip", "Protocol: xmpp, sip"},
		{"several upgrades", "Connection: Upgrade", "Connection: keep-alive, upgrade"},
	} {
		accept, err := Accept(readHandshake(t, strings.Replace(handshake, v.old, v.with, 1)), listed)
		if err != nil || bytes.Contains(AppendAccepted(nil, accept), []byte("Extensions")) {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

func TestParseOrigin(t *testing.T) {
	for s, want := range map[string]string{
		"https://example.net": "https://example.net", "HTTPS://Example.net:443": "https://example.net", "http://example.net:8080": "http://example.net:8080",
		"http://[2001:db8::1]:8443": "http://[2001:db8::1]:8443",
		"example.net":               "", "*": "", "null": "", "https://*.example.net": "", "https://example.net/": "", "ftp://example.net": "", "https://u@example.net": "",
		"https://example.net?": "", "https://example.net:": "", "": "",
	} {
		if got, ok := ParseOrigin(s); got != want || ok != (want != "") {
			t.Errorf("%q: %q %t, should be %q", s, got, ok, want)
		}
	}
}

// masked writes a frame as a client does.
func masked(first byte, payload string) []byte {
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xFFFF:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	default:
		b = append(b, 0x80|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	b = append(b, mask[:]...)
	body := []byte(payload)
	unmask(body, mask, 0)
	return append(b, body...)
}

// T-FZ-21: the examples of RFC 6455 §5.7 as a client sends them, in one piece and octet by octet.
func TestFrames(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	type got struct {
		op      Opcode
		payload string
	}
	for _, v := range []struct {
		name  string
		input []byte
		want  []got
	}{
		{"masked text", []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, []got{{Text, "Hello"}}},
		{"fragmented", append(masked(0x01, "Hel"), masked(0x80, "lo")...), []got{{Text, "Hello"}}},
		{"a ping between fragments", bytes.Join([][]byte{masked(0x01, "Hel"), masked(0x89, "p"), masked(0x80, "lo")}, nil), []got{{Ping, "p"}, {Text, "Hello"}}},
		{"256 octets, binary", masked(0x82, strings.Repeat("\xFF", 256)), []got{{Binary, strings.Repeat("\xFF", 256)}}},
		{"over 64 KiB", masked(0x82, long), []got{{Binary, long}}},
		{"empty", append(masked(0x81, ""), masked(0x8A, "")...), []got{{Text, ""}, {Pong, ""}}},
		{"a character in two fragments", append(masked(0x01, "\xc3"), masked(0x80, "\xa4")...), []got{{Text, "ä"}}},
		{"close", masked(0x88, "\x03\xe8bye"), []got{{Close, "\x03\xe8bye"}}},
	} {
		for _, in := range []io.Reader{bytes.NewReader(v.input), iotest.OneByteReader(bytes.NewReader(v.input))} {
			r := NewReader(in, 100_000)
			for i, want := range v.want {
				op, payload, err := r.Next()
				if err != nil || op != want.op || string(payload) != want.payload {
					t.Errorf("%s: message %d: %d %.20q %v", v.name, i, op, payload, err)
				}
			}
			if _, _, err := r.Next(); err != io.EOF { //nolint:errorlint // it is returned bare
				t.Errorf("%s: at the end: %v", v.name, err)
			}
		}
	}
}

// T-FZ-21, THREATS S19: what RFC 6455 forbids closes the connection with the code that it names.
func TestFrameFaults(t *testing.T) {
	for _, v := range []struct {
		name  string
		input []byte
		code  int
	}{
		{"not masked", []byte{0x81, 0x05, 'H', 'e', 'l', 'l', 'o'}, CloseProtocol},
		{"RSV1: compressed", masked(0xC1, "x"), CloseProtocol},
		{"RSV3", masked(0x91, "x"), CloseProtocol},
		{"opcode 3", masked(0x83, "x"), CloseProtocol},
		{"opcode 11", masked(0x8B, "x"), CloseProtocol},
		{"continuation of nothing", masked(0x80, "x"), CloseProtocol},
		{"message within a message", append(masked(0x01, "x"), masked(0x81, "y")...), CloseProtocol},
		{"fragmented ping", masked(0x09, "x"), CloseProtocol},
		{"long ping", masked(0x89, strings.Repeat("x", 126)), CloseProtocol},
		{"length not minimal", []byte{0x81, 0x80 | 126, 0, 5}, CloseProtocol},
		{"length not minimal, 64 bits", []byte{0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, CloseProtocol},
		{"length over 2**63", []byte{0x81, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, CloseProtocol},
		{"2**63 - 1 octets, CVE-2020-27813", []byte{0x82, 0x80 | 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, CloseTooBig},
		{"one octet too many", masked(0x82, strings.Repeat("x", 1001)), CloseTooBig},
		{"too many in fragments", append(masked(0x02, strings.Repeat("x", 600)), masked(0x80, strings.Repeat("x", 401))...), CloseTooBig},
		{"endless empty fragments", append(masked(0x01, ""), bytes.Repeat(masked(0x00, ""), maxFrameFragments)...), CloseTooBig},
		{"text is no UTF-8", masked(0x81, "\xff"), CloseBadData},
		{"close of one octet", masked(0x88, "\x03"), CloseProtocol},
		{"close 1005", masked(0x88, "\x03\xed"), CloseProtocol},
		{"close 2999", masked(0x88, "\x0b\xb7"), CloseProtocol},
		{"close reason is no UTF-8", masked(0x88, "\x03\xe8\xff"), CloseBadData},
	} {
		r := NewReader(iotest.OneByteReader(bytes.NewReader(v.input)), 1000)
		var err error
		for err == nil {
			_, _, err = r.Next()
		}
		var fault *Fault
		if !errors.As(err, &fault) || fault.Code != v.code {
			t.Errorf("%s: %v, should close with %d", v.name, err, v.code)
		}
		if _, _, again := r.Next(); !errors.Is(again, err) {
			t.Errorf("%s: then %v", v.name, again)
		}
	}
	r := NewReader(bytes.NewReader(masked(0x81, "Hello")[:8]), 1000)
	if _, _, err := r.Next(); err != io.ErrUnexpectedEOF { //nolint:errorlint // it is returned bare
		t.Errorf("cut off: %v", err)
	}
}

// RFC 7118 §4.2: text where it is UTF-8, binary where it is not.
func TestAppendMessage(t *testing.T) {
	for n, v := range map[int]struct {
		message string
		head    []byte
	}{
		1: {"Hello", []byte{0x81, 5}},
		2: {"\xff", []byte{0x82, 1}},
		3: {strings.Repeat("x", 256), []byte{0x81, 126, 1, 0}},
		4: {strings.Repeat("x", 65536), []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
	} {
		if got := AppendMessage(nil, []byte(v.message)); !bytes.Equal(got, append(v.head, v.message...)) {
			t.Errorf("%d: %.20q", n, got)
		}
	}
	if got := AppendClose(nil, CloseGoingAway); !bytes.Equal(got, []byte{0x88, 2, 3, 0xe9}) {
		t.Errorf("close %q", got)
	}
}

// FuzzFrames (T-FZ-21): the messages do not depend on how the octets were chunked, and none is over the limit.
func FuzzFrames(f *testing.F) {
	f.Add(masked(0x81, "Hello"))
	f.Add(append(masked(0x01, "Hel"), masked(0x80, "lo")...))
	f.Add([]byte{0x82, 0x80 | 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})
	f.Add(masked(0x88, "\x03\xe8"))
	read := func(in io.Reader) (messages []string, last string) {
		r := NewReader(in, 300)
		for {
			op, payload, err := r.Next()
			if err != nil {
				return messages, err.Error()
			}
			messages = append(messages, string(rune(op))+string(payload))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, end := read(bytes.NewReader(b))
		split, splitEnd := read(iotest.OneByteReader(bytes.NewReader(b)))
		if strings.Join(whole, "|") != strings.Join(split, "|") || end != splitEnd {
			t.Errorf("%q then %s; octet by octet %q then %s", whole, end, split, splitEnd)
		}
		for _, m := range whole {
			if len(m) > 302 {
				t.Errorf("%d octets", len(m))
			}
		}
	})
}

// FuzzHandshake: whatever is asked, the answer is one HTTP response, and an accepted one was for "sip" from a listed origin.
func FuzzHandshake(f *testing.F) {
	f.Add(handshake)
	f.Add(strings.Replace(handshake, "sip", "xmpp", 1))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		accept, err := Accept(r, listed)
		var refusal *Refusal
		if errors.As(err, &refusal) {
			if resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(AppendRefused(nil, refusal))), nil); err != nil || resp.StatusCode != refusal.Status {
				t.Errorf("answer %v", err)
			}
			return
		}
		if o := r.Header.Get("Origin"); o != "" && !strings.EqualFold(o, listed[0]) || !strings.Contains(strings.Join(r.Header["Sec-Websocket-Protocol"], ","), "sip") || len(accept) != 28 {
			t.Errorf("accepted %q", text)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	input := masked(0x81, strings.Repeat("x", 700))
	r := NewReader(nil, 65535)
	b.ReportAllocs()
	for b.Loop() {
		r.r = bytes.NewReader(input)
		if _, _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	message := bytes.Repeat([]byte("x"), 700)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		AppendMessage(buf, message)
	}
}
