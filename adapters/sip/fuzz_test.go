package sip

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// written headers: nothing else may ever be in a MESSAGE that we send.
var whiteList = map[string]bool{
	"via": true, "max-forwards": true, "from": true, "to": true, "call-id": true, "cseq": true, "subject": true, "date": true,
	"expires": true, "content-language": true, "content-type": true, "content-length": true,
}

// headerNames are the names of the header fields as they stand in the octets, whatever a parser makes of them.
func headerNames(t *testing.T, b []byte) []string {
	head, _, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("no end of the header: %q", b)
	}
	lines := strings.Split(string(head), "\r\n")
	var names []string
	for _, l := range lines[1:] {
		name, _, ok := strings.Cut(l, ":")
		if !ok {
			t.Fatalf("a line that is no header field: %q", l)
		}
		names = append(names, strings.ToLower(name))
	}
	return names
}

// FuzzWriteMessage is T-FZ-14, S6: whatever a message holds, what goes out is exactly one request with header fields of the white list, and
// two parsers that know nothing of each other read the same from it.
func FuzzWriteMessage(f *testing.F) {
	f.Add("juliet", "romeo", "balcony", "T-1", "id-1", "Subject", "en", "text/plain", []byte("hello"), uint8(0))
	f.Add("o'malley", "a b", "x;gr=y", "a\r\nVia: x", "a@b", "a\r\nRoute: <sip:evil>\r\n\r\nMESSAGE sip:a@b SIP/2.0", "x\r\ny", "text/plain;charset=\"\r\n\"", []byte("\r\n\r\n"), uint8(1))
	f.Add("\"<>", "%0d%0a", "ü", "x-b64u-YQ", "\x00", "\xff\xfe", "i-klingon", "message/cpim", []byte{0}, uint8(2))
	f.Add("a", "b", "", "", "", "", "", "", []byte(nil), uint8(3))
	f.Fuzz(func(t *testing.T, from, to, instance, thread, id, subject, lang, contentType string, body []byte, flags uint8) {
		sender, err := cpim.NewAddress(cpim.IM, from, "example.com")
		if err != nil {
			t.Skip()
		}
		recipient, err := cpim.NewAddress(cpim.IM, to, "example.net")
		if err != nil {
			t.Skip()
		}
		op := &adapters.MessageOp{
			From: adapters.Party{Address: sender, Instance: instance}, To: adapters.Party{Address: recipient, Instance: instance},
			Thread: thread, TransID: id, Hops: 70, SenderName: subject, Subjects: []adapters.LangText{{Lang: lang, Text: subject}},
			Content: adapters.Content{Type: contentType, Language: lang, Octets: body},
		}
		if flags&2 != 0 {
			op.Wants = adapters.WantDelivered | adapters.WantFailed
		}
		if flags&4 != 0 {
			op.Expires = now.Add(1)
		}
		req, err := WriteMessage(op, WriteOptions{CPIM: flags&2 != 0, CallID: "c", FromTag: "t", CSeq: 1, Now: now, OmitInstance: flags&1 != 0})
		if err != nil {
			return
		}
		b, err := wire.AppendRequest(nil, req, wire.ViaSpec{Transport: "UDP", SentBy: "gw.example:5060", Branch: wire.NewBranch(id)})
		if err != nil {
			return
		}
		for _, name := range headerNames(t, b) {
			if !whiteList[name] {
				t.Fatalf("header field %q in\n%s", name, b)
			}
		}
		frames := wire.NewStreamReader(bytes.NewReader(b), wire.Limits{})
		frame, _, err := frames.Next()
		if err != nil || !bytes.Equal(frame, b) {
			t.Fatalf("%v: not one message on a stream:\n%q", err, b)
		}
		if _, _, err := frames.Next(); err != io.EOF {
			t.Fatalf("%v after the message:\n%q", err, b)
		}
		m, err := wire.Parse(bytes.Clone(b), wire.Limits{})
		if err != nil {
			t.Fatalf("%v in what we wrote:\n%q", err, b)
		}
		in, ref := ReadMessage(m, ReadOptions{Now: now})
		if kind, _ := cpim.ParseContentType(m.ContentType()); ref != nil && ref.Code != 415 && kind.Type() == "text" {
			t.Fatalf("%v for what we wrote:\n%q", ref, b)
		}
		if ref == nil {
			if in.Message == nil || in.Message.Activity != adapters.ActivityNone && m.ContentType() == plainText {
				t.Fatalf("a message became a notice:\n%q", b)
			}
			got := in.Message
			if got.To != op.To || got.From.Address != op.From.Address || flags&1 == 0 && got.From.Instance != op.From.Instance {
				t.Fatalf("from %v to %v became from %v to %v", op.From, op.To, got.From, got.To)
			}
			if callIDOf(thread) != "" && got.Thread != thread {
				t.Fatalf("thread %q became %q", thread, got.Thread)
			}
			if utf8.Valid(body) && !bytes.Equal(got.Content.Octets, body) && isPlainUTF8(contentType) {
				t.Fatalf("body %q became %q", body, got.Content.Octets)
			}
		}
		other, err := sipgo.ParseMessage(b)
		if err != nil {
			return // it knows less of the grammar
		}
		if !bytes.Equal(other.Body(), m.Body()) || other.CallID() == nil || other.CallID().Value() != m.CallID() {
			t.Fatalf("another parser reads another message:\n%q", b)
		}
	})
}

// FuzzReadMessage: any octets that are a MESSAGE are refused with a code that a MESSAGE may get, or give a message that can be written.
func FuzzReadMessage(f *testing.F) {
	for _, s := range []string{
		rfc7572Example4, cpimMessage("From: <im:romeo@example.net>\nTo: <im:juliet@example.com>\n\nContent-Type: text/plain\n\nHello"),
		cpimMessage(strings.Replace(cpimNotice, "KIND", "<display-notification><status><displayed/></status></display-notification>", 1)),
		cpimMessage(aggregated), carrying("Content-Type: multipart/alternative;boundary=b", "--b\n\nx\n--b\nContent-Type: text/html;charset=koi8-r\n\n<b>x</b>\n--b--"),
		carrying("Content-Type: application/im-iscomposing+xml", strings.Replace(composing, "STATE", "active", 1)),
		carrying("Content-Type: text/plain;charset=utf-16\nContent-Disposition: render;handling=optional\nExpires: 0", "\xfe\xff\x00x"),
	} {
		f.Add([]byte(strings.ReplaceAll(strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "\r\n", "\n"), "\n", "\r\n")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.Parse(b, wire.Limits{})
		if err != nil || !m.IsRequest() {
			return
		}
		in, ref := ReadMessage(m, ReadOptions{Now: now})
		if ref != nil {
			if ref.Code < 400 || ref.Code == 408 || ref.Code == 503 || ref.Why >= whyEnd {
				t.Fatalf("%+v", ref)
			}
			return
		}
		op := in.Message
		if op == nil {
			return
		}
		if op.From.Address.IsZero() || op.To.Address.IsZero() || op.Content.Type == "" && op.Activity == adapters.ActivityNone {
			t.Fatalf("%+v", op)
		}
		op.Hops = 70
		req, err := WriteMessage(op, WriteOptions{CallID: "c", FromTag: "t", CSeq: 1, Now: now})
		if err != nil {
			return
		}
		if _, err := wire.AppendRequest(nil, req, wire.ViaSpec{Transport: "TCP", SentBy: "gw.example", Branch: "z9hG4bKx"}); err != nil {
			t.Fatalf("%v: what was read cannot be written: %+v", err, op)
		}
	})
}

// FuzzReadNotify: a NOTIFY gives presence of the presentity that was asked for, or none.
func FuzzReadNotify(f *testing.F) {
	head, body, _ := strings.Cut(strings.TrimPrefix(rfc8048Example20, "\n"), "\n\n")
	f.Add("active;expires=499", []byte(body))
	f.Add("terminated;reason=rejected", []byte(documentText("romeo@example.net", "open")))
	f.Add("pending", []byte("<presence"))
	head = strings.ReplaceAll(head, "\n", "\r\n")
	id := adapters.WatchID{Watcher: pres("juliet@example.com"), Presentity: pres("romeo@example.net")}
	f.Fuzz(func(t *testing.T, state string, body []byte) {
		text := strings.Replace(head, "active;expires=499", state, 1) + "\r\nContent-Length: " + itoa(int64(len(body))) + "\r\n\r\n"
		m, err := wire.Parse(append([]byte(text), body...), wire.Limits{})
		if err != nil {
			return
		}
		op, ref := ReadNotify(m, id, ReadOptions{Now: now})
		if ref != nil {
			if ref.Code < 400 || endsUsage(ref.Code) {
				t.Fatalf("%+v would end the watch", ref)
			}
			return
		}
		if op.Presence != nil && op.State == adapters.WatchPending {
			t.Fatal("presence while pending")
		}
		if op.Presence != nil {
			if ref := checkEntity(op.Presence, id.Presentity, ReadOptions{}); ref != nil {
				t.Fatalf("presence of %s", op.Presence.Entity)
			}
		}
	})
}
