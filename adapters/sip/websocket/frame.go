package websocket

import (
	"encoding/binary"
	"io"
	"strconv"
	"unicode/utf8"
)

// Opcode is the kind of a frame (RFC 6455 §5.2).
type Opcode byte

// The opcodes.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

func (o Opcode) control() bool { return o >= Close }

// The status codes of Close that this side sends (RFC 6455 §7.4.1).
const (
	CloseNormal       = 1000
	CloseGoingAway    = 1001
	CloseProtocol     = 1002
	CloseBadData      = 1007
	CloseTooBig       = 1009
	closeHeader       = 2
	maxControl        = 125
	maxFrameFragments = 1024
)

// Fault is a frame that the rules do not allow: the connection must be closed with Code.
type Fault struct {
	Code int    // for Close
	Rule string // short name, from a fixed set: it may label a metric
}

// Error gives the rule and the code.
func (f *Fault) Error() string {
	return "websocket: " + f.Rule + " (close " + strconv.Itoa(f.Code) + ")"
}

// AppendFrame writes one whole message, or a control frame, as a server does: "A server MUST NOT mask any frames that it sends to the
// client" (RFC 6455 §5.1).
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n <= 125:
		dst = append(dst, byte(n))
	case n <= 0xFFFF:
		dst = append(dst, 126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// AppendMessage writes one SIP message. RFC 7118 §4.2: "If there is at least one non-UTF-8 symbol in the whole SIP message (including
// headers and the body), then the whole message MUST be sent within a WebSocket binary message."
func AppendMessage(dst, message []byte) []byte {
	op := Text
	if !utf8.Valid(message) {
		op = Binary
	}
	return AppendFrame(dst, op, message)
}

// AppendClose writes a Close frame with a status code.
func AppendClose(dst []byte, code int) []byte {
	return AppendFrame(dst, Close, []byte{byte(code >> 8), byte(code)})
}

// Reader reads what a client sends (RFC 6455 §5, §6.2). One goroutine may use it at a time.
type Reader struct {
	r          io.Reader
	limit      int
	buf        []byte // read and not used: buf[start:end]
	start, end int
	header     frameHeader
	inFrame    bool
	payload    []byte // of the frame that is being read
	message    []byte // the fragments of the message that is being read
	kind       Opcode // of that message, 0 for none
	fragments  int
	err        error
}

type frameHeader struct {
	op     Opcode
	fin    bool
	length int
	mask   [4]byte
}

// NewReader returns a reader of the frames on r. limit is the largest message in octets.
func NewReader(r io.Reader, limit int) *Reader { return &Reader{r: r, limit: limit} }

// Next returns the next whole message (Text or Binary, its fragments joined) or control frame, in a buffer of its own. The error is
// io.EOF if the stream ended between frames of no message, io.ErrUnexpectedEOF if it ended elsewhere, the reader's own, or a *Fault.
// After an error that is no timeout every call returns it again.
func (r *Reader) Next() (op Opcode, payload []byte, err error) {
	for {
		if r.err != nil {
			return 0, nil, r.err
		}
		if !r.inFrame {
			done, fault := r.readHeader()
			if fault != nil {
				r.err = fault
				return 0, nil, fault
			}
			if !done {
				if err := r.fill(); err != nil {
					return 0, nil, err
				}
				continue
			}
		}
		if missing := r.header.length - len(r.payload); missing > 0 {
			n := min(missing, r.end-r.start)
			at := len(r.payload)
			r.payload = append(r.payload, r.buf[r.start:r.start+n]...)
			unmask(r.payload[at:], r.header.mask, at)
			r.start += n
			if n < missing {
				if err := r.fill(); err != nil {
					return 0, nil, err
				}
				continue
			}
		}
		op, payload, complete, fault := r.frame()
		if fault != nil {
			r.err = fault
			return 0, nil, fault
		}
		if complete {
			return op, payload, nil
		}
	}
}

// Buffered is the number of octets that were read and belong to something that is not complete.
func (r *Reader) Buffered() int {
	n := r.end - r.start + len(r.payload) + len(r.message)
	if r.inFrame {
		n += 2
	}
	return n
}

// readHeader reads the next frame's header (RFC 6455 §5.2) and reports whether it is there as a whole.
func (r *Reader) readHeader() (done bool, fault *Fault) {
	b := r.buf[r.start:r.end]
	if len(b) < 2 {
		return false, nil
	}
	h := frameHeader{op: Opcode(b[0] & 0xF), fin: b[0]&0x80 != 0}
	switch {
	case b[0]&0x70 != 0:
		return false, &Fault{CloseProtocol, "reserved bits"} // no extension was negotiated
	case b[1]&0x80 == 0:
		// RFC 6455 §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
		return false, &Fault{CloseProtocol, "not masked"}
	}
	switch h.op {
	case Continuation:
		if r.kind == 0 {
			return false, &Fault{CloseProtocol, "continuation of nothing"}
		}
	case Text, Binary:
		if r.kind != 0 {
			return false, &Fault{CloseProtocol, "message within a message"}
		}
	case Close, Ping, Pong:
		// RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
		if !h.fin || b[1]&0x7F > maxControl {
			return false, &Fault{CloseProtocol, "control frame"}
		}
	default:
		return false, &Fault{CloseProtocol, "opcode"}
	}
	n, at := uint64(b[1]&0x7F), 2
	switch n {
	case 126:
		if len(b) < 4 {
			return false, nil
		}
		n, at = uint64(binary.BigEndian.Uint16(b[2:])), 4
		if n < 126 {
			return false, &Fault{CloseProtocol, "length"} // "the minimal number of bytes MUST be used to encode the length"
		}
	case 127:
		if len(b) < 10 {
			return false, nil
		}
		n, at = binary.BigEndian.Uint64(b[2:]), 10
		if n <= 0xFFFF || n>>63 != 0 {
			return false, &Fault{CloseProtocol, "length"}
		}
	}
	if !h.op.control() && n > uint64(r.limit-len(r.message)) {
		return false, &Fault{CloseTooBig, "too big"}
	}
	if len(b) < at+4 {
		return false, nil
	}
	copy(h.mask[:], b[at:])
	h.length = int(n)
	r.header, r.inFrame = h, true
	r.start += at + 4
	// Room for what is announced is made as it comes: a header alone costs its sender more than us.
	r.payload = make([]byte, 0, min(h.length, 4096))
	return true, nil
}

// frame takes a frame that is complete.
func (r *Reader) frame() (op Opcode, payload []byte, complete bool, fault *Fault) {
	h, p := r.header, r.payload
	r.inFrame, r.payload = false, nil
	if h.op.control() {
		if h.op == Close {
			fault = checkClose(p)
		}
		return h.op, p, true, fault
	}
	if h.op != Continuation {
		r.kind, r.fragments = h.op, 0
	}
	if r.fragments++; r.fragments > maxFrameFragments {
		return 0, nil, false, &Fault{CloseTooBig, "fragments"}
	}
	if r.message == nil {
		r.message = p
	} else {
		r.message = append(r.message, p...)
	}
	if !h.fin {
		return 0, nil, false, nil
	}
	op, payload = r.kind, r.message
	r.kind, r.message = 0, nil
	// RFC 6455 §8.1: an endpoint that finds text to be no UTF-8 "MUST _Fail the WebSocket Connection_".
	if op == Text && !utf8.Valid(payload) {
		return 0, nil, false, &Fault{CloseBadData, "text is not utf-8"}
	}
	return op, payload, true, nil
}

// checkClose reads the body of a Close (RFC 6455 §5.5.1, §7.4).
func checkClose(p []byte) *Fault {
	if len(p) == 0 {
		return nil
	}
	if len(p) < closeHeader {
		return &Fault{CloseProtocol, "close body"}
	}
	code := int(p[0])<<8 | int(p[1])
	switch {
	case code < 1000 || code > 4999, code >= 1004 && code <= 1006, code >= 1015 && code < 3000:
		return &Fault{CloseProtocol, "close code"}
	case !utf8.Valid(p[closeHeader:]):
		return &Fault{CloseBadData, "close reason"}
	}
	return nil
}

// unmask is RFC 6455 §5.3. at is where b stands in the payload.
func unmask(b []byte, mask [4]byte, at int) {
	for i := range b {
		b[i] ^= mask[(at+i)&3]
	}
}

// fill reads more octets.
func (r *Reader) fill() error {
	if r.start == r.end {
		r.start, r.end = 0, 0
	}
	if r.buf == nil {
		r.buf = make([]byte, 2048)
	}
	if r.end == len(r.buf) {
		r.end = copy(r.buf, r.buf[r.start:r.end]) // less than a header is left when this is asked for
		r.start = 0
	}
	n, err := r.r.Read(r.buf[r.end:])
	r.end += n
	if n > 0 || err == nil {
		return nil
	}
	if err == io.EOF && (r.end > r.start || r.inFrame || r.kind != 0) {
		err = io.ErrUnexpectedEOF
	}
	if t, ok := err.(interface{ Timeout() bool }); !ok || !t.Timeout() { //nolint:errorlint // net.Conn returns it bare
		r.err = err
	}
	return err
}
