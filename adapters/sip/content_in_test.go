package sip

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
)

// carrying is the MESSAGE of RFC 7572 Example 4 with other header fields about its body, and another body. Lines of the body end with
// CR LF.
func carrying(fields, body string) string {
	head, _, _ := strings.Cut(strings.TrimPrefix(rfc7572Example4, "\n"), "\n\n")
	return strings.Replace(head, "Content-Type: text/plain\nContent-Length: 44", fields, 1) + "\n\n" + strings.ReplaceAll(body, "\n", "\r\n")
}

const composing = `<?xml version="1.0" encoding="UTF-8"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing">` +
	`<state>STATE</state><contenttype>text/plain</contenttype></isComposing>`

func TestContentIn(t *testing.T) {
	const rcs = `<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp"><file-info type="file"><file-size>5</file-size><file-name>a.png</file-name>` +
		`<content-type>image/png</content-type><data url="https://ft.example.net/a" until="2026-12-01T00:00:00Z"/></file-info></file>`
	signed := "--b\nContent-Type: text/plain\n\nx \n--b\nContent-Type: application/pkcs7-signature\n\nAA\n--b--"
	for _, c := range []struct {
		name, fields, body string
		kind, octets       string
		check              func(*adapters.MessageOp) bool
	}{
		{"T-CP-09 another charset", "Content-Type: text/plain;charset=koi8-r", "\xd0\xd2", "text/plain; charset=UTF-8", "пр", nil},
		{"T-CP-09 UTF-16", "Content-Type: text/plain;charset=utf-16le;format=flowed", "x\x00\xe9\x00", "text/plain; charset=UTF-8; format=flowed", "xé", nil},
		{"T-CP-12 HTML crosses as its sender wrote it", "Content-Type: text/html", "<b onclick='x()'>é</b>", "text/html", "<b onclick='x()'>é</b>", nil},
		{"T-CP-12 HTML in another charset", "Content-Type: text/html;charset=iso-8859-1", "<b>\xe9</b>", "text/html; charset=UTF-8", "<b>é</b>", nil},
		{
			"alternatives, whole", "Content-Type: multipart/alternative;boundary=b", "--b\n\nx\n--b\nContent-Type: text/html\n\n<b>x</b>\n--b--",
			"multipart/alternative;boundary=b", "--b\r\n\r\nx\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n--b--", nil,
		},
		// "gateway MUST NOT change the Message/CPIM content in any way" (RFC 3862 §6), nor what is signed (G9, T-CP-01).
		{"T-CP-01 signed, octet for octet", "Content-Type: multipart/signed;boundary=b", signed, "multipart/signed;boundary=b", strings.ReplaceAll(signed, "\n", "\r\n"), nil},
		{"T-CP-03 encrypted, octet for octet", "Content-Type: application/pkcs7-mime; smime-type=enveloped-data", "\x30\x80\n", "application/pkcs7-mime; smime-type=enveloped-data", "\x30\x80\r\n", nil},
		{
			"a file of RCS", "Content-Type: " + mimebody.FileTransfer, rcs, mimebody.FileTransfer, rcs, func(op *adapters.MessageOp) bool {
				return len(op.Links) == 1 && op.Links[0].URL == "https://ft.example.net/a" && op.Links[0].Name == "a.png" && op.Links[0].Size == 5
			},
		},
		{"an image in a mixed, which the other side may refuse", "Content-Type: multipart/mixed;boundary=b", "--b\nContent-Type: image/png\n\nx\n--b--", "multipart/mixed;boundary=b", "--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--", nil},
		// "if the parameter has the value 'optional', the UAS ignores the message body" (RFC 5621 §8)
		{"an image that may be ignored", "Content-Type: image/png\nContent-Disposition: render;handling=optional", "x", plainText, "", nil},
		{"a disposition that may be ignored", "Content-Type: text/plain\nContent-Disposition: icon;handling=optional", "x", plainText, "", nil},
		{"identity is no encoding", "Content-Type: text/plain\nContent-Encoding: identity", "x", "text/plain", "x", nil},
		{"a sender's name", "Content-Type: text/plain", "x", "text/plain", "x", func(op *adapters.MessageOp) bool { return op.SenderName == "" }},
		// "The idle state indicates that the sender is not actively composing" (RFC 7573 §6), Table 3.
		{"idle", "Content-Type: application/im-iscomposing+xml", strings.Replace(composing, "STATE", "idle", 1), "", "", func(op *adapters.MessageOp) bool { return op.Activity == adapters.ActivityActive }},
		{"active", "Content-Type: application/im-iscomposing+xml\nSubject: x", strings.Replace(composing, "STATE", "active", 1), "", "", func(op *adapters.MessageOp) bool {
			return op.Activity == adapters.ActivityComposing && op.ActivityRefresh == 0 && len(op.Subjects) == 0
		}},
		{"active with refresh", "Content-Type: application/im-iscomposing+xml", strings.Replace(strings.Replace(composing, "STATE", "active", 1), "</isC", "<refresh>90</refresh></isC", 1), "", "", func(op *adapters.MessageOp) bool {
			return op.Activity == adapters.ActivityComposing && op.ActivityRefresh == 90*time.Second
		}},
		// "Recipients of status messages implementing this specification without extensions MUST treat state tokens other than "idle" and
		// "active" as "idle"" (RFC 3994 §3.5)
		{"a state that nobody knows", "Content-Type: application/im-iscomposing+xml", strings.Replace(composing, "STATE", "dreaming", 1), "", "", func(op *adapters.MessageOp) bool { return op.Activity == adapters.ActivityActive }},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := read(t, carrying(c.fields, c.body))
			if op.Content.Type != c.kind || string(op.Content.Octets) != c.octets {
				t.Errorf("%s %q, want %s %q", op.Content.Type, op.Content.Octets, c.kind, c.octets)
			}
			if c.check != nil && !c.check(op) {
				t.Errorf("%+v", op)
			}
		})
	}
}

func TestContentInRefuses(t *testing.T) {
	for _, c := range []struct {
		name, fields, body string
		code               int
		why                Why
		header             string
	}{
		// "If the request has an encoding that is not supported, ... 415" (RFC 3261 §8.2.3)
		{"two encodings", "Content-Type: text/plain\nContent-Encoding: identity, gzip", "x", 415, WhyContent, "Accept-Encoding: identity"},
		{"a type that is no message", "Content-Type: image/png", "x", 415, WhyContent, "Accept: " + acceptedContent},
		{"a notice outside of message/cpim", "Content-Type: message/imdn+xml", "<imdn/>", 415, WhyContent, "Accept: " + acceptedContent},
		{"T-CP-09 octets that are not of the charset", "Content-Type: text/plain;charset=shift_jis", "\x93", 400, WhyCharset, ""},
		{"T-CP-09 a charset that nobody knows", "Content-Type: text/html;charset=x-klingon", "x", 415, WhyCharset, "Accept: " + acceptedContent},
		{"parts cut off", "Content-Type: multipart/mixed;boundary=b", "--b\n\nx", 400, WhySyntax, ""},
		{"a file that is none", "Content-Type: " + mimebody.FileTransfer, "<x/>", 400, WhySyntax, ""},
		{"isComposing that is none", "Content-Type: application/im-iscomposing+xml", "<x/>", 400, WhySyntax, ""},
		{"X3: isComposing with a document type", "Content-Type: application/im-iscomposing+xml", "<!DOCTYPE x>" + composing, 400, WhySyntax, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, ref := ReadMessage(request(t, carrying(c.fields, c.body)), ReadOptions{Now: now})
			if ref == nil || ref.Code != c.code || ref.Why != c.why {
				t.Fatalf("%v, want %d %v", ref, c.code, c.why)
			}
			found := c.header == ""
			for _, h := range ref.Headers {
				found = found || h.Name+": "+h.Value == c.header
			}
			if !found {
				t.Errorf("headers %v, want %s", ref.Headers, c.header)
			}
		})
	}
}

const cpimHead = "From: Rómeo <im:romeo@example.net>\nTo: <im:juliet@example.com>\n"

func TestContentInCPIM(t *testing.T) {
	for _, c := range []struct {
		name, object string
		code         int
		check        func(*adapters.MessageOp) bool
	}{
		{"a transfer encoding is undone, the object kept", cpimHead + "\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nw6k=", 0, func(op *adapters.MessageOp) bool {
			return string(op.Content.Octets) == "é" && strings.Contains(string(op.Object), "w6k=")
		}},
		{"a transfer encoding that nobody knows", cpimHead + "\nContent-Type: text/plain\nContent-Transfer-Encoding: x-gzip\n\nx", 415, nil},
		{"a transfer encoding that it is not", cpimHead + "\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n!", 400, nil},
		{"a type that nobody knows crosses in its object", cpimHead + "\nContent-Type: image/png\n\nx", 0, func(op *adapters.MessageOp) bool {
			return op.Content.Type == "image/png" && op.Object != nil
		}},
		{"the sender's name", cpimHead + "\nContent-Type: text/plain\n\nx", 0, func(op *adapters.MessageOp) bool { return op.SenderName == "Rómeo" }},
		{"the identifier of its device", cpimHead + "NS: imdn <urn:ietf:params:imdn>\nimdn.Message-ID: 34jk\n\nContent-Type: text/plain\n\nx", 0, func(op *adapters.MessageOp) bool {
			return op.OriginID == "34jk" && op.Wants == 0 && op.TransID == "z9hG4bKeskdgs677"
		}},
		{"composing", cpimHead + "\nContent-Type: application/im-iscomposing+xml\n\n" + strings.Replace(composing, "STATE", "active", 1), 0, func(op *adapters.MessageOp) bool {
			return op.Activity == adapters.ActivityComposing && op.Object == nil && op.Content.Type == ""
		}},
		// "The Require header ... If the specified header is not understood, the recipient must not process it as if it were" (T-CP-10).
		{"T-CP-10 a required header that nobody knows", cpimHead + "NS: x <http://x.example/>\nRequire: x.VitalHeader\nx.VitalHeader: y\n\nContent-Type: text/plain\n\nx", 415, nil},
		{"T-CP-10 a required header of IMDN, by another prefix", cpimHead + "NS: i <urn:ietf:params:imdn>\nRequire: i.Message-ID\ni.Message-ID: 1\n\nContent-Type: text/plain\n\nx", 0, func(op *adapters.MessageOp) bool {
			return op.OriginID == "1"
		}},
		{"T-CP-10 a prefix that was not declared", cpimHead + "x.Header: y\n\nContent-Type: text/plain\n\nx", 400, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, ref := ReadMessage(request(t, cpimMessage(c.object)), ReadOptions{Now: now})
			switch {
			case c.code == 0 && ref != nil, c.code != 0 && (ref == nil || ref.Code != c.code):
				t.Fatalf("%v, want %d", ref, c.code)
			case c.check != nil && !c.check(in.Message):
				t.Errorf("%+v", in.Message)
			}
		})
	}
	// What a machine sent is answered by no other (G2).
	asks := cpimHead + "NS: imdn <urn:ietf:params:imdn>\nimdn.Message-ID: 34jk\nDateTime: 2026-11-22T12:00:00Z\nimdn.Disposition-Notification: positive-delivery\n\nContent-Type: text/plain\n\nx"
	for marked, want := range map[string]adapters.Dispositions{"": adapters.WantDelivered, "Auto-Submitted: no\n": adapters.WantDelivered, "Auto-Submitted: auto-replied\n": 0} {
		op := read(t, strings.Replace(cpimMessage(asks), "Content-Type", marked+"Content-Type", 1))
		if op.Wants != want {
			t.Errorf("%q wants %b", marked, op.Wants)
		}
	}
}

// The example of RFC 5438 §8.3, with the closing delimiter that it lacks in print.
const aggregated = `
From: <im:romeo@example.net>
To: <im:juliet@example.com>
NS: imdn <urn:ietf:params:imdn>
imdn.Message-ID: d834jied93rf

Content-type: multipart/mixed; boundary="imdn-boundary"
Content-Disposition: notification

--imdn-boundary
Content-type: message/imdn+xml

<?xml version="1.0" encoding="UTF-8"?>
<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>34jk324j</message-id><datetime>2008-04-04T12:16:49-05:00</datetime>
<delivery-notification><status><delivered/></status></delivery-notification></imdn>
--imdn-boundary
Content-type: message/imdn+xml

<?xml version="1.0" encoding="UTF-8"?>
<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>34jk324j</message-id><datetime>2008-04-04T12:16:49-05:00</datetime>
<display-notification><status><displayed/></status></display-notification></imdn>
--imdn-boundary--`

func TestAggregatedNotices(t *testing.T) {
	// "The aggregated IMDN is constructed using the multipart/mixed MIME type and including as individual payloads all the IMDNS that were
	// received as message/imdn+xml." (RFC 5438 §8.3)
	in, ref := ReadMessage(request(t, cpimMessage(aggregated)), ReadOptions{Now: now})
	if ref != nil || in.Message != nil || len(in.Reports) != 2 {
		t.Fatalf("%+v %v", in, ref)
	}
	for i, want := range []adapters.ReportKind{adapters.ReportDelivered, adapters.ReportDisplayed} {
		if r := in.Reports[i]; r.Kind != want || r.TransID != "34jk324j" || r.Recipient.Address != im("romeo@example.net") {
			t.Errorf("%+v", r)
		}
	}
	for name, c := range map[string]struct {
		old, with string
		code      int
	}{
		"as printed, without the closing delimiter": {"--imdn-boundary--", "--imdn-boundary\r\n", 400},
		"another type among them":                   {"Content-type: message/imdn+xml", "Content-type: text/plain", 415},
		"one that is none":                          {"<displayed/>", "<delivered/>", 400},
	} {
		if _, ref := ReadMessage(request(t, cpimMessage(strings.Replace(aggregated, c.old, c.with, 1))), ReadOptions{Now: now}); ref == nil || ref.Code != c.code {
			t.Errorf("%s: %v, want %d", name, ref, c.code)
		}
	}
}

func TestSenderName(t *testing.T) {
	for from, want := range map[string]string{
		`"Rómeo \"the\" Montague" <sip:romeo@example.net>;tag=x`:             `Rómeo "the" Montague`,
		`Romeo Montague <sip:romeo@example.net>;tag=x`:                       "Romeo Montague",
		`<sip:romeo@example.net>;tag=x`:                                      "",
		`"" <sip:romeo@example.net>;tag=x`:                                   "",
		"\"" + strings.Repeat("é", 300) + "\" <sip:romeo@example.net>;tag=x": strings.Repeat("é", 128),
	} {
		op := read(t, strings.Replace(rfc7572Example4, "sip:romeo@example.net;tag=vwxyz", from, 1))
		if op.SenderName != want || op.From.Address != im("romeo@example.net") {
			t.Errorf("%s: %q", from, op.SenderName)
		}
	}
}

func TestLifeOfAMessage(t *testing.T) {
	for _, c := range []struct {
		name, fields string
		sent, ends   time.Time
	}{
		{"no life", "Date: Sun, 22 Nov 2026 11:59:00 GMT", now.Add(-time.Minute), time.Time{}},
		// "the UAS SHOULD interpret the Expires header field value as delta time from the Date header field value" (RFC 3428 §7)
		{"from Date", "Date: Sun, 22 Nov 2026 11:59:00 GMT\nExpires: 120", now.Add(-time.Minute), now.Add(time.Minute)},
		// "If the request does not contain a Date header field, the UAS SHOULD interpret the Expires header value as delta time from the time
		// the UAS received the request." (RFC 3428 §7)
		{"from now", "Expires: 120", time.Time{}, now.Add(2 * time.Minute)},
		{"now or never", "Expires: 0", time.Time{}, now.Add(immediately)},
		{"now or never, with Date", "Date: Sun, 22 Nov 2026 11:59:00 GMT\nExpires: 0", now.Add(-time.Minute), now.Add(immediately)},
		{"a clock that was never set", "Date: Thu, 01 Jan 1970 00:01:00 GMT\nExpires: 60", time.Time{}, now.Add(time.Minute)},
		{"a clock far ahead", "Date: Tue, 22 Nov 2033 11:59:00 GMT\nExpires: 60", time.Time{}, now.Add(time.Minute)},
		{"over", "Date: Sun, 22 Nov 2026 11:00:00 GMT\nExpires: 60", now.Add(-time.Hour), now.Add(-59 * time.Minute)},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := read(t, strings.Replace(rfc7572Example4, "Content-Type", c.fields+"\nContent-Type", 1))
			if !op.Sent.Equal(c.sent) || !op.Expires.Equal(c.ends) {
				t.Errorf("sent %v, ends %v; want %v, %v", op.Sent, op.Expires, c.sent, c.ends)
			}
		})
	}
}
