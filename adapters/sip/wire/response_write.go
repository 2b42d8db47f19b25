package wire

import "unicode/utf8"

// Header is a header field to write.
type Header struct {
	Name  string
	Value string
}

// Response is what AppendResponse writes besides the header fields that it copies from the request.
type Response struct {
	Code   int    // 100 to 699
	Reason string // "" means ReasonPhrase(Code)
	ToTag  string // a token; put into To if that has no tag and Code is not 100
	// Packed is ToTag as the octets that it stands for, where that is "". Zero: there is none.
	Packed      PackedTag
	Headers     []Header
	ContentType string // required with a body
	Body        []byte
	Hop         HopAnswer // what the topmost Via tells the hop before
	// Compact writes the short header field names (RFC 3261 §7.3.3), and no Content-Length where there is no body, which a datagram
	// does not need (RFC 3261 §18.3). It is for UDP alone.
	Compact bool
}

// AppendResponse writes the response to req, which must be a request that Parse returned, with or without an error (RFC 3261 §8.2.6):
// the Via lines as they came, with received and rport in the topmost (see Message.SetSource), From, To, Call-ID and CSeq as they came,
// in a response that makes a dialog also Record-Route (RFC 3261 §12.1.1), and Timestamp in a 100. It fails with a *SyntaxError, and
// leaves dst as it was, if a value of r would break a line or has bad UTF-8, or for a header field that is not r.Headers' to write.
// Nothing is allocated if dst has room.
func AppendResponse(dst []byte, req *Message, r Response) ([]byte, error) {
	start := len(dst)
	if r.Code < 100 || r.Code > 699 {
		return dst, faultStatusCode.at(0)
	}
	reason := r.Reason
	if reason == "" {
		reason = ReasonPhrase(r.Code)
	} else if err := checkReason(reason); err != nil {
		return dst, err
	}
	dst = append(dst, "SIP/2.0 "...)
	dst = append(dst, byte('0'+r.Code/100), byte('0'+r.Code/10%10), byte('0'+r.Code%10), ' ')
	dst = append(append(dst, reason...), "\r\n"...)
	names := &longNames
	if r.Compact {
		names = &shortNames
	}
	dst = req.appendVias(dst, names.via, r.Hop)
	if f := req.known(hFrom); f != nil {
		dst = appendLine(dst, names.from, req.value(f))
	}
	if f := req.known(hTo); f != nil {
		dst = append(append(dst, names.to...), req.value(f)...)
		if r.Code != 100 && req.to.tag == "" && !req.to.IsZero() {
			switch {
			case r.ToTag != "":
				if !isToken(r.ToTag) {
					return dst[:start], faultTag.at(0)
				}
				dst = append(append(dst, ";tag="...), r.ToTag...)
			case !r.Packed.IsZero():
				dst = appendPacked(append(dst, ";tag="...), r.Packed)
			}
		}
		dst = append(dst, "\r\n"...)
	}
	if f := req.known(hCallID); f != nil {
		dst = appendLine(dst, names.callID, req.value(f))
	}
	if f := req.known(hCSeq); f != nil {
		dst = appendLine(dst, "CSeq: ", req.value(f))
	}
	if r.Code == 100 {
		if f := req.known(hTimestamp); f != nil {
			dst = appendLine(dst, "Timestamp: ", req.value(f))
		}
	} else if r.Code < 300 && makesDialog(req.method) {
		dst = req.appendAll(dst, hRecordRoute, "Record-Route: ")
	}
	dst, err := appendHeaders(dst, r.Headers)
	switch {
	case err != nil:
	case r.Compact && len(r.Body) == 0 && r.ContentType == "":
		dst = append(dst, "\r\n"...)
	default:
		dst, err = appendBody(dst, r.ContentType, r.Body)
	}
	if err != nil {
		return dst[:start], err
	}
	return dst, nil
}

// prefixes are the header field names of what is copied from the request.
type prefixes struct{ via, from, to, callID string }

// They are written once, before main.
var (
	longNames  = prefixes{"Via: ", "From: ", "To: ", "Call-ID: "}
	shortNames = prefixes{"v:", "f:", "t:", "i:"}
)

// makesDialog knows the methods whose response may establish a dialog (RFC 3261 §12.1, RFC 6665 §4.1.2, RFC 3515 §3).
func makesDialog(method string) bool {
	return method == "SUBSCRIBE" || method == "NOTIFY" || method == "INVITE" || method == "REFER"
}

// appendVias copies all Via values in order.
func (m *Message) appendVias(dst []byte, prefix string, hop HopAnswer) []byte {
	if m.via.IsZero() { // not understood: the request is answered with an error, to where it came from
		return m.appendAll(dst, hVia, prefix)
	}
	for i := int(m.first[hVia]) - 1; i < int(m.fields); i++ {
		f := m.field(i)
		if f.id != hVia {
			continue
		}
		dst = append(dst, prefix...)
		s := m.value(f)
		if i == int(m.first[hVia])-1 {
			dst = m.via.appendTop(dst, m.source, hop)
			s = s[len(m.via.text):]
		}
		dst = append(append(dst, s...), "\r\n"...)
	}
	return dst
}

// appendAll copies all lines of a header field.
func (m *Message) appendAll(dst []byte, id headerID, prefix string) []byte {
	if m.first[id] == 0 {
		return dst
	}
	for i := int(m.first[id]) - 1; i < int(m.fields); i++ {
		if f := m.field(i); f.id == id {
			dst = appendLine(dst, prefix, m.value(f))
		}
	}
	return dst
}

func appendLine(dst []byte, prefix, value string) []byte {
	return append(append(append(dst, prefix...), value...), "\r\n"...)
}

// appendHeaders writes header fields of the caller.
func appendHeaders(dst []byte, headers []Header) ([]byte, error) {
	for i := range headers {
		h := &headers[i]
		if !isToken(h.Name) || structural(headerNamed(h.Name)) {
			return dst, faultWriteName.at(0)
		}
		if err := checkText(h.Value); err != nil {
			return dst, err
		}
		dst = append(append(dst, h.Name...), ": "...)
		dst = append(append(dst, h.Value...), "\r\n"...)
	}
	return dst, nil
}

// structural tells the header fields that the writers write themselves: a second one would make another message of it.
func structural(id headerID) bool {
	switch id {
	case hVia, hFrom, hTo, hCallID, hCSeq, hMaxForwards, hContentLength, hContentType:
		return true
	}
	return false
}

// appendBody writes Content-Type, Content-Length, the empty line and the body.
func appendBody(dst []byte, contentType string, body []byte) ([]byte, error) {
	if contentType != "" || len(body) > 0 {
		if err := checkText(contentType); err != nil {
			return dst, err
		}
		if at, ok := checkMediaType(contentType); !ok {
			return dst, faultContentType.at(at)
		}
		dst = appendLine(dst, "Content-Type: ", contentType)
	}
	dst = appendUint(append(dst, "Content-Length: "...), uint64(len(body)))
	return append(append(dst, "\r\n\r\n"...), body...), nil
}

// checkText refuses controls but HTAB, and what is not UTF-8.
func checkText(s string) error {
	control, high := scanText(octets(s))
	if control >= 0 {
		return faultWriteValue.at(control)
	}
	if high && !utf8.ValidString(s) {
		return faultWriteValue.at(0)
	}
	return nil
}

// checkReason accepts Reason-Phrase = *(reserved / unreserved / escaped / UTF8-NONASCII / UTF8-CONT / SP / HTAB).
func checkReason(s string) error {
	if n := outside(s, inReason); n != len(s) {
		return faultWriteReason.at(n)
	}
	if n := badEscape(s); n >= 0 {
		return faultWriteReason.at(n)
	}
	if !utf8.ValidString(s) {
		return faultWriteReason.at(0)
	}
	return nil
}
