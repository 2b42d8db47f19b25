package wire

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
)

// minRead is the smallest buffer of a StreamReader, in octets, and what an idle one keeps.
const minRead = 2 << 10

// StreamReader cuts a stream into messages (RFC 3261 §18.3: "The Content-Length header field MUST be used with stream oriented
// transports"). There must be exactly one Content-Length of digits alone within the limits, no line may have a fault, and only CRLF may
// stand between messages; else the end of the message is not known and the stream must be closed: there is no resynchronisation. What
// it returns does not depend on how the octets were chunked. One goroutine may use it at a time.
type StreamReader struct {
	r          io.Reader
	lim        Limits
	buf        []byte
	start, end int  // buf[start:end] was read and not returned
	scanned    int  // how far behind start the end of the header fields was looked for
	crlf       bool // a CRLF was just taken: another one makes it a ping
	pongs      atomic.Int32
	scratch    *Message
	err        error // sticky
}

// NewStreamReader returns a reader of the messages on r.
func NewStreamReader(r io.Reader, lim Limits) *StreamReader {
	return &StreamReader{r: r, lim: lim.orDefault(), scratch: &Message{}}
}

// Next returns the next message, in a buffer of its own that may be given to Parse, or keepAlive for a double CRLF, which asks for a
// single CRLF as the answer (RFC 5626 §4.4.1); a single CRLF between messages is ignored (RFC 3261 §7.5).
//
// The error is io.EOF if the stream ended between messages, io.ErrUnexpectedEOF if it ended within one, the reader's own, or a
// *SyntaxError, which comes with the start line and header fields in b where these ended, so that Parse and AppendResponse can answer
// before the stream is closed. After an error that is not a timeout every call returns it again.
func (s *StreamReader) Next() (b []byte, keepAlive bool, err error) {
	if s.err != nil {
		return nil, false, s.err
	}
	need := 0 // octets of the message, once its head was read
	for {
		if need == 0 {
			ping, fault := s.skipCRLF()
			if ping {
				return nil, true, nil
			}
			if fault != nil {
				s.err = fault
				return nil, false, fault
			}
			var head int
			if s.scanned > 0 || s.end > s.start && s.buf[s.start] != '\r' {
				head, fault = s.head()
			}
			if fault == nil && head > 0 {
				need, fault = s.length(head)
			}
			if fault != nil {
				s.err = fault
				return bytes.Clone(s.buf[s.start : s.start+head]), false, fault
			}
		}
		if need > 0 && s.end-s.start >= need {
			b = bytes.Clone(s.buf[s.start : s.start+need])
			s.start += need
			s.scanned = 0
			return b, false, nil
		}
		if err = s.fill(need); err != nil {
			return nil, false, err
		}
	}
}

// Buffered is the number of octets that were read and belong to a message that is not complete.
func (s *StreamReader) Buffered() int { return s.end - s.start }

// ExpectPong says that a ping was sent: the next single CRLF between messages is its answer and not half of a ping. Any goroutine may
// call it. Pongs of which more than 16 are missing are not waited for.
func (s *StreamReader) ExpectPong() {
	if s.pongs.Load() < 16 {
		s.pongs.Add(1)
	}
}

// skipCRLF takes line ends between messages and reports whether a double one is complete.
func (s *StreamReader) skipCRLF() (ping bool, fault *SyntaxError) {
	for s.scanned == 0 && s.end-s.start >= 2 && s.buf[s.start] == '\r' && s.buf[s.start+1] == '\n' {
		s.start += 2
		if !s.crlf && s.pongs.Load() > 0 {
			s.pongs.Add(-1)
			continue
		}
		if s.crlf {
			s.crlf = false
			return true, nil
		}
		s.crlf = true
	}
	if s.end > s.start && s.buf[s.start] != '\r' {
		s.crlf = false
	}
	if s.scanned == 0 && s.end-s.start >= 2 && s.buf[s.start] == '\r' {
		fault = faultLineEnd.at(0)
		fault.Framing = true
	}
	return false, fault
}

// head looks for the end of the header fields and returns their length with the empty line, or 0 if more octets are needed.
func (s *StreamReader) head() (n int, fault *SyntaxError) {
	b := s.buf[s.start:s.end]
	from := max(0, s.scanned-3)
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		if n = from + i + 4; n <= s.lim.Message {
			return n, nil
		}
	}
	s.scanned = len(b)
	if len(b) > s.lim.Message {
		fault = faultMessageLength.at(s.lim.Message)
		fault.Framing = true
		return 0, fault
	}
	return 0, nil
}

// length reads Content-Length with the very index that Parse uses, so that the two cannot disagree on where a message ends.
func (s *StreamReader) length(head int) (need int, fault *SyntaxError) {
	m := s.scratch
	m.fields, m.more, m.request = 0, m.more[:0], false
	clear(m.first[:])
	p := parser{m: m, lim: s.lim}
	p.index(s.buf[s.start : s.start+head])
	m.raw, m.text = nil, ""
	if p.err != nil && p.err.Framing {
		return 0, p.err
	}
	f := m.known(hContentLength)
	if f == nil {
		fault = faultNoLength.at(head)
		fault.Framing = true
		return 0, fault
	}
	n, ok := parseUint(text(s.buf[s.start+int(f.at):s.start+int(f.end)]), 1<<31-1)
	switch {
	case !ok:
		fault = faultContentLength.at(int(f.at))
	case int(n) > s.lim.Body:
		fault = faultBodyLength.at(int(f.at))
	case head+int(n) > s.lim.Message:
		fault = faultMessageLength.at(int(f.at))
	default:
		return head + int(n), nil
	}
	fault.Framing = true
	return 0, fault
}

// fill reads more octets. need is the length of the message if it is known.
func (s *StreamReader) fill(need int) error {
	if s.start == s.end {
		s.start, s.end = 0, 0
		if cap(s.buf) > 4*minRead {
			s.buf = nil // an idle stream keeps little
		}
	}
	want := max(need, minRead)
	if free := len(s.buf) - s.end; free == 0 || len(s.buf)-s.start < want {
		size := len(s.buf)
		if used := s.end - s.start; used*2 > size || size < want {
			size = max(want, min(2*max(size, minRead), s.lim.Message+minRead))
		}
		buf := s.buf
		if size != len(buf) {
			buf = make([]byte, size)
		}
		s.end = copy(buf, s.buf[s.start:s.end])
		s.buf, s.start = buf, 0
	}
	n, err := s.r.Read(s.buf[s.end:])
	s.end += n
	if n > 0 || err == nil {
		return nil
	}
	if err == io.EOF && s.end > s.start {
		err = io.ErrUnexpectedEOF
	}
	var timeout interface{ Timeout() bool }
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		s.err = err
	}
	return err
}
