package cpim

import "bytes"

// outerHeaders returns where the message headers begin if b begins with MIME
// headers of the object itself, the Content-Type first, else 0 (see
// OuterHeaders).
func outerHeaders(b []byte, lenient *leniencies) int {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return 0
	}
	line, _, _ := bytes.Cut(b[:end], []byte("\r\n"))
	name, value, _ := bytes.Cut(line, []byte(":"))
	if !bytes.EqualFold(name, []byte("Content-Type")) || !bytes.EqualFold(bytes.TrimSpace(value), []byte("message/cpim")) {
		return 0
	}
	if !lenient.allow(OuterHeaders) {
		return 0
	}
	return end + 4
}

// isContentHeader reports whether a line is a MIME header of the "Content-"
// family.
func isContentHeader(line []byte) bool {
	const name = "content-"
	return len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name))
}
