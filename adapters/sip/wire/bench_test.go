package wire

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// benchMessage is the message of the measurements in LIBRARIES.md A: a MESSAGE of 876 octets with a CPIM body.
func benchMessage() []byte {
	body := "From: Juliet <im:juliet@example.com>\r\nTo: Romeo <im:romeo@example.net>\r\nDateTime: 2026-11-22T12:00:00Z\r\n" +
		"Subject: the balcony\r\n\r\nContent-Type: text/plain;charset=utf-8\r\nContent-ID: <1234567890@example.com>\r\n\r\n"
	head := "MESSAGE sip:romeo@example.net SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP proxy.example.com:5060;branch=z9hG4bK7f3a9c51e0b24d68;rport\r\n" +
		"Max-Forwards: 70\r\n" +
		"From: \"Juliet Capulet\" <sip:juliet@example.com>;tag=49583f0a7c1d\r\n" +
		"To: <sip:romeo@example.net>\r\n" +
		"Call-ID: 3b7e2c9d-5a41-4f0e-9b8c-7d6e5f4a3b2c@proxy.example.com\r\n" +
		"CSeq: 1 MESSAGE\r\n" +
		"User-Agent: Isthmus test\r\n" +
		"Content-Type: message/cpim\r\n" +
		"Content-Length: "
	total := 876
	n := total - len(head) - len("\r\n\r\n") - 3
	body += strings.Repeat("x", n-len(body))
	return []byte(head + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

func benchResponse() []byte {
	m, err := Parse(benchMessage(), Limits{})
	if err != nil {
		panic(err)
	}
	b, err := AppendResponse(nil, m, Response{Code: 200, ToTag: "0123456789abcdef"})
	if err != nil {
		panic(err)
	}
	return b
}

func BenchmarkParseRequest(b *testing.B) {
	raw := benchMessage()
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Parse(raw, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseResponse(b *testing.B) {
	raw := benchResponse()
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Parse(raw, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	m, err := Parse(benchMessage(), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	m.SetSource(netip.MustParseAddrPort("192.0.2.1:5060"))
	dst := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = AppendResponse(dst[:0], m, Response{Code: 200, ToTag: "0123456789abcdef"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendRequest(b *testing.B) {
	m, err := Parse(benchMessage(), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	r := &Request{
		Method: m.Method(), URI: m.RequestURIText(), From: m.From().String(), To: m.To().String(), CallID: m.CallID(), CSeq: 1,
		ContentType: m.ContentType(), Body: m.Body(), Headers: []Header{{"User-Agent", "Isthmus test"}},
	}
	dst := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		via := ViaSpec{Transport: "UDP", SentBy: "proxy.example.com:5060", Branch: "z9hG4bK0123456789abcdef01234567", RPort: true}
		if dst, err = AppendRequest(dst[:0], r, via); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	raw := benchMessage()
	r := NewStreamReader(&repeat{data: raw}, Limits{})
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// repeat is an endless stream of data.
type repeat struct {
	data []byte
	at   int
}

func (r *repeat) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c := copy(p[n:], r.data[r.at:])
		n += c
		r.at = (r.at + c) % len(r.data)
	}
	return n, nil
}

func BenchmarkNewBranch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewBranch("")
	}
}
