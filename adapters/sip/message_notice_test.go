package sip

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

const cpimNotice = `
From: <im:romeo@example.net>
To: <im:juliet@example.com>
NS: imdn <urn:ietf:params:imdn>
imdn.Message-ID: d834jied93rf

Content-Type: message/imdn+xml
Content-Disposition: notification

<?xml version="1.0" encoding="UTF-8"?>
<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>34jk324j</message-id><datetime>2008-04-04T12:16:49-05:00</datetime>
<recipient-uri>im:romeo@example.net</recipient-uri>KIND</imdn>`

// only is the one report that there must be.
func only(t testing.TB, reports []*adapters.Report) *adapters.Report {
	t.Helper()
	if len(reports) != 1 {
		t.Fatalf("%d reports, want 1", len(reports))
	}
	return reports[0]
}

func TestReadNotice(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		want       adapters.ReportKind // 0: nothing is said
	}{
		{"delivered", "<delivery-notification><status><delivered/></status></delivery-notification>", adapters.ReportDelivered},
		{"failed", "<delivery-notification><status><failed/></status></delivery-notification>", adapters.ReportFailed},
		{"forbidden", "<delivery-notification><status><forbidden/></status></delivery-notification>", adapters.ReportFailed},
		{"displayed", "<display-notification><status><displayed/></status></display-notification>", adapters.ReportDisplayed},
		{"display refused", "<display-notification><status><forbidden/></status></display-notification>", 0},
		{"stored", "<processing-notification><status><stored/></status></processing-notification>", adapters.ReportDelayed},
		{"processed", "<processing-notification><status><processed/></status></processing-notification>", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ref := ReadMessage(request(t, cpimMessage(strings.Replace(cpimNotice, "KIND", c.kind, 1))), ReadOptions{Now: now})
			if ref != nil {
				t.Fatal(ref)
			}
			if got.Message != nil {
				t.Fatal("a notice became a message")
			}
			if c.want == 0 {
				if len(got.Reports) > 0 {
					t.Fatalf("%+v, want nothing", got.Reports)
				}
				return
			}
			r := only(t, got.Reports)
			if r.Kind != c.want || r.TransID != "34jk324j" || r.Sender.Address != im("juliet@example.com") || r.Recipient.Address != im("romeo@example.net") {
				t.Errorf("%+v", r)
			}
			if (r.Kind == adapters.ReportFailed) != (r.Status.Outcome == adapters.Failure) {
				t.Errorf("status %+v", r.Status)
			}
		})
	}
}

func TestNoticesThereAndBack(t *testing.T) {
	op := &adapters.MessageOp{
		From: adapters.Party{Address: im("juliet@example.com")}, To: adapters.Party{Address: im("romeo@example.net")}, Hops: 70,
		TransID: "an id with spaces", Thread: "T1", Wants: adapters.WantDelivered | adapters.WantDisplayed,
		Subjects: []adapters.LangText{{Text: "Act II"}}, Content: adapters.Content{Type: plainText, Language: "en", Octets: []byte("x")},
	}
	m := written(t, op, WriteOptions{CPIM: true, Now: now})
	if m.ContentType() != "message/cpim" {
		t.Fatal(m.ContentType())
	}
	in, ref := ReadMessage(m, ReadOptions{Now: now})
	if ref != nil {
		t.Fatal(ref)
	}
	if got := in.Message; got.Wants != op.Wants|adapters.WantFailed || got.TransID != op.TransID || string(got.Content.Octets) != "x" || got.Content.Language != "en" {
		t.Errorf("%+v", got)
	}
	report := &adapters.Report{
		Kind: adapters.ReportDelivered, Sender: op.From, Recipient: op.To, TransID: op.TransID, Thread: op.Thread, Time: now,
		Wants: op.Wants, Sent: now.Add(-time.Hour),
	}
	req, err := WriteReport(report, WriteOptions{FromTag: "t", CSeq: 2, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	back, ref := ReadMessage(parsed(t, req), ReadOptions{Now: now})
	if ref != nil {
		t.Fatal(ref)
	}
	if r := only(t, back.Reports); r.Kind != report.Kind || r.TransID != op.TransID || r.Sender != op.From || r.Recipient != op.To || r.Thread != "T1" {
		t.Errorf("%+v", r)
	}
	// "The <datetime> element is mandatory and carries the date and time the IM was sent (not the IMDN)" (RFC 5438 §11.1.2).
	if want := "<datetime>" + now.Add(-time.Hour).Format(time.RFC3339) + "</datetime>"; !bytes.Contains(req.Body, []byte(want)) {
		t.Errorf("no %s in\n%s", want, req.Body)
	}
	// "A Disposition-Notification header field MUST NOT appear in an IMDN" (RFC 5438 §7.2.1)
	if bytes.Contains(req.Body, []byte("Disposition-Notification")) {
		t.Errorf("a notice asks for a notice:\n%s", req.Body)
	}
}

func TestWriteReportWithoutNotice(t *testing.T) {
	r := &adapters.Report{
		Kind: adapters.ReportFailed, Sender: adapters.Party{Address: im("romeo@example.net")}, Recipient: adapters.Party{Address: im("juliet@example.com")},
		TransID: "z9hG4bKeskdgs677", Thread: "T1", Status: adapters.Failed(adapters.ReasonNotFound, ""), Time: now,
	}
	req, err := WriteReport(r, WriteOptions{FromTag: "t", CSeq: 1, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if req.ContentType != plainText || !strings.Contains(string(req.Body), "No such recipient") || req.CallID != "T1" {
		t.Errorf("%+v %s", req, req.Body)
	}
	r.Status = adapters.Failed(adapters.ReasonOutcomeUnknown, "")
	if req, err := WriteReport(r, WriteOptions{FromTag: "t", CSeq: 1, Now: now}); err != nil || !strings.HasPrefix(string(req.Body), "It is not known whether") {
		t.Errorf("%+v %v", req, err)
	}
	// "error" is "to indicate an error in determining the fate of an IM" (RFC 5438 §5.1).
	r.Wants, r.TransID, r.ID = adapters.WantFailed, "34jk324j", "0123456789abcdef0123456789abcdef"
	if req, err := WriteReport(r, WriteOptions{FromTag: "t", CSeq: 1, Now: now, NoticeID: r.ID}); err != nil || !strings.Contains(string(req.Body), "<error/>") ||
		!strings.Contains(string(req.Body), "imdn.Message-ID: "+r.ID) {
		t.Errorf("%+v %v", req, err)
	}
	r.Status = adapters.Failed(adapters.ReasonNotFound, "")
	// Who asked for other notices than that of a failure, or for none, reads a text (RFC 5438 §7.1.1).
	for _, c := range []struct {
		kind  adapters.ReportKind
		wants adapters.Dispositions
		want  string // the content type, "" for ErrNoNotice
	}{
		{adapters.ReportFailed, adapters.WantFailed, "message/cpim"},
		{adapters.ReportFailed, adapters.WantDelivered | adapters.WantDisplayed, plainText},
		{adapters.ReportFailed, 0, plainText},
		{adapters.ReportDelivered, 0, ""},
		{adapters.ReportDelivered, adapters.WantFailed | adapters.WantDisplayed, ""},
		{adapters.ReportDelivered, adapters.WantDelivered, "message/cpim"},
		{adapters.ReportDisplayed, adapters.WantDelivered, ""},
		{adapters.ReportDisplayed, adapters.WantDisplayed, "message/cpim"},
		{adapters.ReportDelayed, 7, ""},
	} {
		r.Kind, r.Wants, r.TransID = c.kind, c.wants, "34jk324j"
		req, err := WriteReport(r, WriteOptions{FromTag: "t", CSeq: 1, Now: now})
		switch {
		case c.want == "" && err != ErrNoNotice:
			t.Errorf("%v, %03b asked for: %v, want ErrNoNotice", c.kind, c.wants, err)
		case c.want != "" && (err != nil || req.ContentType != c.want):
			t.Errorf("%v, %03b asked for: %v %v, want %s", c.kind, c.wants, req, err, c.want)
		}
	}
}

// "The size of MESSAGE requests outside of a media session MUST NOT exceed 1300 bytes" (RFC 3428 §8): a notice is one, too, and what
// the far side says of the failure may be long.
func TestNoticeIsSmall(t *testing.T) {
	a, _ := start(t, nil)
	g := udpAgent(t, a)
	send := func(r *adapters.Report) <-chan adapters.Status {
		done := make(chan adapters.Status, 1)
		go func() { done <- a.Report(t.Context(), []resolver.Target{g.hop()}, r) }()
		return done
	}
	r := &adapters.Report{
		Kind: adapters.ReportFailed, Sender: adapters.Party{Address: im("romeo@example.net")}, Recipient: adapters.Party{Address: im("juliet@example.com")},
		TransID: "z9hG4bK1", Thread: "T1", Status: adapters.Failed(adapters.ReasonNotFound, strings.Repeat("é", 2000)), Time: now,
	}
	done := send(r)
	m := g.request("MESSAGE", map[string]bool{})
	if len(m.Raw()) > 1300 || !utf8.Valid(m.Body()) {
		t.Errorf("a notice of %d octets: %q", len(m.Raw()), m.Body())
	}
	g.answer(m, wire.Response{Code: 200})
	next(t, done, "outcome")

	r.Sender.Instance, r.Thread = strings.Repeat("x", 800), strings.Repeat("y", 500)
	if s := next(t, send(r), "outcome"); s.Reason != adapters.ReasonTooLarge {
		t.Errorf("%+v", s)
	}
}
