package strictxml

import (
	"bytes"
	"errors"
	"io"
)

// ErrStreamOrder is the error of Stream.Header when it has been read already,
// of Stream.Next when it has not or when Skip has not come to its end, and of
// Stream.Skip when there is nothing to skip. It is a fault of the caller.
var ErrStreamOrder = errors.New("strictxml: the stream's header is read first, and once, and a child is skipped to its end")

// Sizes of a Stream's buffer. It begins small, grows when a read fills it, and
// returns to less when a large element has been consumed, or when little has
// come for some reads, so that an idle connection holds little. Beyond
// bufferSize only what has delivered elements makes it grow.
const (
	bufferSmall = 1 << 10
	bufferSize  = 4 << 10
	bufferKeep  = 16 << 10 // up to this it does not shrink at once
)

// calmReads is how many reads in a row bring less than half a small buffer
// until the Stream returns to it: one allocation for so many reads at most.
const calmReads = 16

// maxEmptyReads is how many reads in a row may return neither octets nor an
// error.
const maxEmptyReads = 100

// Stream reads an XML stream (RFC 6120 §4): it cuts the children of the root
// element out of what a reader delivers, whatever the size of the pieces. It
// never buffers more than Limits.Bytes octets (or 4 KiB, if that is more),
// and nothing of the white space between children.
//
// Next frames: the octets it returns are one element if they are well-formed
// at all, which ParseElement or a Cursor has to tell, given the Scope of the
// header. For each well-formed stream the elements are those of the whole
// document. Offsets in a Stream's errors count from the start of the stream.
//
// A Stream is for one goroutine, the one that reads from the connection.
type Stream struct {
	r       io.Reader
	lim     Limits
	buf     []byte // what has been read is buf[start:end]
	start   int
	end     int
	base    int64 // position in the stream of buf[0]
	phase   streamPhase
	pos     int // in the window, of what the phase has come to
	frame   framer
	root    []byte // qualified name of the root
	large   bool   // err is that of a child that Skip may pass over
	full    bool   // the last read filled the buffer
	busy    bool   // an element has been returned since then
	calm    uint8  // reads in a row that brought little
	err     error  // for good
	readErr error  // came with octets that are still to be looked at
}

// streamPhase is how far a Stream has come.
type streamPhase uint8

const (
	streamStart       streamPhase = iota // at the first octets
	streamDeclaration                    // in the XML declaration
	streamSpace                          // before the root's start tag
	streamTag                            // in the root's start tag
	streamBetween                        // at no child of the root
	streamChild                          // in a child of the root
	streamRootEnd                        // in the root's end tag
)

// NewStream returns a Stream that reads from r. Zero fields of lim stand for
// their defaults.
func NewStream(r io.Reader, lim Limits) *Stream {
	s := &Stream{r: r}
	s.SetLimits(lim)
	return s
}

// SetLimits changes the limits, for example after authentication; for the
// octets of an element that are buffered already too.
func (s *Stream) SetLimits(lim Limits) {
	s.lim = lim.orDefault()
	s.lim.Bytes = min(s.lim.Bytes, maxBytes)
}

// Buffered returns the number of octets that have been read from the reader
// but not been returned by Header or Next. It must be 0 before a security
// layer is started, because octets received outside of that layer must not be
// taken for octets inside of it (RFC 6120 §5.4.3.3).
func (s *Stream) Buffered() int { return s.end - s.start }

// Reset makes the Stream read a new stream from r, such as a connection after
// its TLS handshake. Buffered octets are dropped, and offsets start at 0.
func (s *Stream) Reset(r io.Reader) {
	s.r, s.start, s.end, s.base = r, 0, 0, 0
	s.err, s.readErr = nil, nil
	s.restart()
}

// Restart makes the Stream expect a new header from the same reader (RFC 6120
// §4.3.3), after the octets returned last. Buffered octets are kept, offsets
// go on, and an error stays.
func (s *Stream) Restart() { s.restart() }

func (s *Stream) restart() {
	s.phase, s.pos, s.large = streamStart, 0, false
}

// fail makes a fault at a position in the window the Stream's error for good.
func (s *Stream) fail(f fault, at int) error {
	s.err = f.at(s.base + int64(s.start+at))
	return s.err
}

// Header reads an XML declaration, if there is one, and the root's start tag,
// together at most Limits.Bytes octets. It returns the root as an Element
// without content, and the scope its declarations make for the children. The
// error is a *SyntaxError, io.ErrUnexpectedEOF if the reader ended first
// (io.EOF before the first octet), or the reader's; after one of the reader's
// Header may be called again.
func (s *Stream) Header() (*Element, *Scope, error) {
	switch {
	case s.err != nil:
		return nil, nil, s.err
	case s.phase > streamTag:
		return nil, nil, ErrStreamOrder
	}
	for {
		w := s.window()
		switch res, f := s.scanHeader(w); {
		case res == frameFault:
			return nil, nil, s.fail(f, s.pos)
		case res == frameDone:
			return s.endHeader(w)
		case len(w) == s.lim.Bytes:
			return nil, nil, s.fail(faultBytes, len(w))
		}
		if err := s.fill(); err != nil {
			if err == io.EOF && len(w) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, nil, err
		}
	}
}

// scanHeader goes on in the header as far as its octets w have come. A fault
// is at s.pos; when it is done, the start tag is w[s.pos:s.pos+s.frame.pos].
func (s *Stream) scanHeader(w []byte) (frameResult, fault) {
	if s.phase == streamStart {
		switch {
		case len(w) < 2:
			return frameMore, 0
		case otherEncoding(w):
			return frameFault, faultUTF16
		case w[0] == '<' && w[1] == '?' && !isDeclaration(w):
			f := markupFault(w)
			return refusal(f), f
		case w[0] == '<' && w[1] == '?':
			s.phase, s.pos = streamDeclaration, len(declarationStart)
		default:
			s.phase = streamSpace
		}
	}
	if s.phase == streamDeclaration {
		// The first '>' ends the declaration, or else does not belong in it.
		n := bytes.IndexByte(w[s.pos:], '>')
		if n < 0 {
			s.pos = len(w)
			return frameMore, 0
		}
		next, f, ok := scanDeclaration(w[:s.pos+n+1], true)
		s.pos = next
		if !ok {
			return frameFault, f
		}
		s.phase = streamSpace
	}
	if s.phase == streamSpace {
		s.pos = skipSpace(w, s.pos)
		res, f := s.outside(w)
		if res != frameDone {
			return res, f
		}
		if w[s.pos+1] == '/' {
			return frameFault, faultMarkup
		}
		s.phase, s.frame = streamTag, framer{state: frameOpen, pos: 1, tagOnly: true}
	}
	res, f := s.frame.scan(w[s.pos:], 1)
	if res == frameFault {
		s.pos += s.frame.pos
	}
	return res, f
}

// outside looks at what stands at w[s.pos], where no element but the root is
// open: frameDone means a tag of some kind.
func (s *Stream) outside(w []byte) (frameResult, fault) {
	const mark = "\uFEFF"
	rest := w[s.pos:]
	switch {
	case len(rest) == 0:
		return frameMore, 0
	case rest[0] == '&':
		if next, f, ok := s.frame.reference(rest, 0); !ok {
			s.pos += next
			return refusal(f), f
		}
		return frameFault, faultOutside
	case rest[0] == mark[0] && len(rest) < len(mark):
		return frameMore, 0
	case begins(rest, mark):
		return frameFault, faultMark
	case rest[0] != '<':
		return frameFault, faultOutside
	case len(rest) == 1:
		return frameMore, 0
	case begins(rest, cdataStart):
		return frameFault, faultOutside
	case rest[1] == '!' || rest[1] == '?':
		f := markupFault(rest)
		return refusal(f), f
	}
	return frameDone, 0
}

// endHeader parses the start tag and makes the Stream ready for children.
func (s *Stream) endHeader(w []byte) (*Element, *Scope, error) {
	end := s.pos + s.frame.pos
	p := newParser()
	p.Reset(w[s.pos:end], nil, s.lim)
	root, closed, ok := p.header()
	if !ok {
		p.err.Offset += s.base + int64(s.start+s.pos)
		s.err = p.err
		return nil, nil, s.err
	}
	s.root = append(s.root[:0], root.qname()...)
	s.start += end
	s.phase, s.pos = streamBetween, 0
	if closed {
		s.err = io.EOF
	}
	return root, root.scope.detached(), nil
}

// Next returns the octets of the next child of the root element, which are
// valid until the next call of a method of the Stream and must not be changed
// before. White space between children is dropped. The error is io.EOF at the
// root's end tag, io.ErrUnexpectedEOF if the reader ended without one, a
// *SyntaxError, which stays, or the reader's, such as a deadline that passed;
// after one of the reader's Next goes on where it was.
//
// With an error raw is nil, but for a child that exceeds Limits.Bytes or
// Limits.Depth: then it is as much of the child as was looked at, and Skip can
// pass over the rest.
func (s *Stream) Next() (raw []byte, err error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case s.phase < streamBetween || s.large:
		return nil, ErrStreamOrder
	}
	for {
		if s.phase == streamBetween {
			s.start = skipSpace(s.buf[:s.end], s.start)
		}
		w := s.window()
		switch res, f := s.scanChild(w); {
		case res == frameFault && f == faultDepth && s.phase == streamChild:
			s.large = true
			return w[:s.pos:s.pos], s.fail(f, s.pos)
		case res == frameFault:
			return nil, s.fail(f, s.pos)
		case res == frameDone && s.phase == streamRootEnd:
			s.start += s.pos
			s.err = io.EOF
			return nil, s.err
		case res == frameDone:
			n := s.frame.pos
			s.start += n
			s.phase = streamBetween
			s.busy = true
			return w[:n:n], nil
		case len(w) == s.lim.Bytes && s.phase == streamChild:
			s.large = true
			return w[:len(w):len(w)], s.fail(faultBytes, len(w))
		case len(w) == s.lim.Bytes:
			return nil, s.fail(faultBytes, len(w))
		}
		if err := s.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// lookBehind is more than the octets before its position that a framer looks
// at again.
const lookBehind = 16

// Skip passes over the rest of the child for whose size or depth Next has just
// failed, keeping none of it, so that Next can go on with the child after it:
// a stream that carries everybody's stanzas need not end for one of them. What
// is prohibited in a stream is refused as ever, all else in that child is not
// looked at. It passes over at most max octets; more is an error of the same
// kind, and stays. Other errors are those of Next; after one of the reader's
// Skip may be called again. Without such a child it fails with the Stream's
// error, or ErrStreamOrder.
func (s *Stream) Skip(max int64) error {
	if !s.large {
		if s.err != nil {
			return s.err
		}
		return ErrStreamOrder
	}
	if s.err != nil {
		if s.frame.state == frameOpen && s.frame.depth > s.lim.Depth {
			// The framer stands at the '<' of the element that was too much.
			s.frame.depth--
			s.frame.pos++
		}
		s.err = nil
	}
	until := s.base + int64(s.start) + max
	for {
		res, f := s.frame.scan(s.buf[s.start:s.end], maxBytes)
		switch res {
		case frameFault:
			s.large = false
			return s.fail(f, s.frame.pos)
		case frameDone:
			s.start += s.frame.pos
			s.phase, s.large = streamBetween, false
			return nil
		}
		if n := s.frame.pos - lookBehind; n > 0 {
			s.start += n
			s.frame.pos -= n
		}
		if s.base+int64(s.start) > until {
			s.large = false
			return s.fail(faultBytes, s.frame.pos)
		}
		if err := s.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
}

// StartTag returns the start tag, or empty-element tag, with which raw begins,
// nil if it does not end in raw. It frames only; a Cursor has to read it.
func StartTag(raw []byte) []byte {
	if len(raw) == 0 || raw[0] != '<' {
		return nil
	}
	f := framer{state: frameOpen, pos: 1, tagOnly: true}
	if res, _ := f.scan(raw, 1); res != frameDone {
		return nil
	}
	return raw[:f.pos:f.pos]
}

// scanChild goes on in a child, or in the root's end tag, as far as its octets
// w have come. A fault is at s.pos; when it is done, the octets are
// w[:s.frame.pos], or of an end tag w[:s.pos].
func (s *Stream) scanChild(w []byte) (frameResult, fault) {
	switch s.phase {
	case streamBetween:
		s.pos = 0
		if res, f := s.outside(w); res != frameDone {
			return res, f
		}
		if w[1] == '/' {
			s.phase, s.pos = streamRootEnd, 2
			return s.scanRootEnd(w)
		}
		s.phase, s.frame = streamChild, framer{state: frameOpen, pos: 1}
	case streamRootEnd:
		return s.scanRootEnd(w)
	}
	res, f := s.frame.scan(w, s.lim.Depth)
	if res == frameFault {
		s.pos = s.frame.pos
	}
	return res, f
}

// scanRootEnd looks for the end of the root's end tag from s.pos on, and
// compares the name in it.
func (s *Stream) scanRootEnd(w []byte) (frameResult, fault) {
	n := bytes.IndexByte(w[s.pos:], '>')
	if n < 0 {
		s.pos = len(w)
		return frameMore, 0
	}
	end := s.pos + n
	s.pos = 2
	if !begins(w[2:end], string(s.root)) {
		return frameFault, faultMismatch
	}
	after := 2 + len(s.root)
	if i := skipSpace(w[:end], after); i < end {
		if i > after {
			s.pos = i
			return frameFault, faultEndTag
		}
		return frameFault, faultMismatch
	}
	s.pos = end + 1
	return frameDone, 0
}

// window returns what has come of the element that is being read, up to the
// limit.
func (s *Stream) window() []byte {
	return s.buf[s.start:min(s.end, s.start+s.lim.Bytes)]
}

// fill reads once, after it has made room in the buffer. The octets of a
// complete window are never moved or dropped, so that s.pos and the framer's
// position stay right.
func (s *Stream) fill() error {
	if err := s.readErr; err != nil {
		s.readErr = nil
		return err
	}
	held := s.end - s.start
	busy := s.busy
	s.busy = false
	switch {
	case s.buf == nil, held == 0 && s.calm >= calmReads && len(s.buf) > bufferSmall:
		s.move(make([]byte, bufferSmall))
	case len(s.buf) > bufferKeep && held <= bufferSize/2, s.full && len(s.buf) < bufferSize:
		s.move(make([]byte, bufferSize))
	case s.full && busy && len(s.buf) < min(s.lim.Bytes, bufferKeep):
		// More waits, so there will be fewer reads.
		s.move(make([]byte, min(2*len(s.buf), s.lim.Bytes, bufferKeep)))
	case held == 0 || s.end == len(s.buf) && s.start > 0:
		s.move(s.buf)
	case s.end == len(s.buf):
		s.move(make([]byte, max(min(2*len(s.buf), s.lim.Bytes), len(s.buf)+1)))
	}
	for range maxEmptyReads {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		s.full = s.end == len(s.buf)
		if n > bufferSmall/2 {
			s.calm = 0
		} else if s.calm < calmReads {
			s.calm++
		}
		if n > 0 {
			s.readErr = err
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// move moves the octets that are held to the start of to, which becomes the
// buffer.
func (s *Stream) move(to []byte) {
	n := copy(to, s.buf[s.start:s.end])
	s.base += int64(s.start)
	s.buf, s.start, s.end = to, 0, n
}
