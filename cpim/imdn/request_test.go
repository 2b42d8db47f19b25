package imdn

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/cpim"
)

func message(t *testing.T, headers, contentHeaders string) *cpim.Message {
	t.Helper()
	in := "From: <im:alice@example.com>\r\nTo: <im:bob@example.com>\r\n" + headers + "\r\nContent-Type: text/plain\r\n" + contentHeaders + "\r\nHello"
	m, err := cpim.ParseMessage([]byte(in), cpim.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func box(t *testing.T, s string) cpim.Mailbox {
	t.Helper()
	m, err := cpim.ParseMailbox(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const ns = "NS: imdn <urn:ietf:params:imdn>\r\n"

func TestRequestOf(t *testing.T) {
	tests := []struct {
		name, headers, content string
		want                   Request
	}{
		{"none", "", "", Request{}},
		{
			"RFC 5438 §7.1.1.3", ns + "imdn.Message-ID: 34jk324j\r\nimdn.Disposition-Notification: positive-delivery, negative-delivery\r\n", "",
			Request{MessageID: "34jk324j", Want: PositiveDelivery | NegativeDelivery},
		},
		{
			"any prefix", "NS: x <urn:ietf:params:imdn>\r\nx.Message-ID: a\r\nx.Disposition-Notification: processing , display\r\n", "",
			Request{MessageID: "a", Want: WantProcessing | WantDisplay},
		},
		{"another namespace", "NS: imdn <urn:other>\r\nimdn.Message-ID: a\r\n", "", Request{}},
		{"default namespace", "NS: <urn:ietf:params:imdn>\r\nMessage-ID: a\r\n", "", Request{MessageID: "a"}},
		{"case-sensitive name", ns + "imdn.message-id: a\r\n", "", Request{}},
		{"empty request", ns + "imdn.Disposition-Notification: \r\n", "", Request{}},
		{
			"unknown request", ns + "imdn.Disposition-Notification: display,interworking;a=\"b,c\",Display\r\n", "",
			Request{Want: WantDisplay, OtherWants: []string{`interworking;a="b,c"`, "Display"}},
		},
		{
			"parameters", ns + "imdn.Disposition-Notification: display ; x=y\r\n", "",
			Request{Want: WantDisplay, OtherWants: []string{"display ; x=y"}},
		},
		{
			"routes", ns + "imdn.Original-To: Bob <im:bob@example.com>\r\nimdn.IMDN-Record-Route: <im:r1@example.com>\r\nimdn.IMDN-Record-Route: <im:r2@example.com>\r\n", "",
			Request{OriginalTo: box(t, "Bob <im:bob@example.com>"), RecordRoute: []cpim.Mailbox{box(t, "<im:r1@example.com>"), box(t, "<im:r2@example.com>")}},
		},
		// "An IM Sender MUST ignore a delivery notification request in an IMDN
		// if present.", "IMDN Recipients MUST ignore it if present." (§7.2.1)
		{
			"in an IMDN", ns + "imdn.Message-ID: a\r\nimdn.Disposition-Notification: display\r\nimdn.IMDN-Record-Route: <im:r@a.b>\r\nimdn.IMDN-Route: <im:s@a.b>\r\n",
			"Content-Disposition: Notification\r\n",
			Request{MessageID: "a", Route: []cpim.Mailbox{box(t, "<im:s@a.b>")}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := RequestOf(message(t, tt.headers, tt.content))
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestRequestOfRefuses(t *testing.T) {
	for headers, rule := range map[string]string{
		"imdn.Message-ID: a\r\nimdn.Message-ID: b\r\n":                               "imdn-message-id",
		"imdn.Message-ID: a b\r\n":                                                   "imdn-message-id",
		"imdn.Message-ID: \r\n":                                                      "imdn-message-id",
		"imdn.Message-ID: a\\r\\nb\r\n":                                              "imdn-message-id",
		"imdn.Disposition-Notification: display,\r\n":                                "imdn-disposition",
		"imdn.Disposition-Notification: ,\r\n":                                       "imdn-disposition",
		"imdn.Disposition-Notification: a b\r\n":                                     "imdn-disposition",
		"imdn.Disposition-Notification: a\r\nimdn.Disposition-Notification: b\r\n":   "imdn-disposition",
		"imdn.Original-To: im:bob@example.com\r\n":                                   "imdn-route",
		"imdn.IMDN-Route: Bob\r\n":                                                   "imdn-route",
		"imdn.Original-To: <im:a@b.c>\r\nimdn.Original-To: <im:a@b.c>\r\n":           "imdn-original-to",
		"imdn.IMDN-Record-Route: <im:a@b.c>,<im:d@e.f>\r\n":                          "imdn-route",
		"imdn.Disposition-Notification: positive-delivery negative-delivery\r\n":     "imdn-disposition",
		"imdn.Message-ID: <a@b>\r\nimdn.Disposition-Notification: display\r\n":       "imdn-message-id",
		"imdn.Disposition-Notification: display,(comment)\r\nimdn.Message-ID: x\r\n": "imdn-disposition",
	} {
		_, err := RequestOf(message(t, ns+headers, ""))
		var serr *SyntaxError
		if !errors.As(err, &serr) || serr.Rule != rule {
			t.Errorf("%q: got %v, want %s", headers, err, rule)
		}
	}
}

func TestAddRequest(t *testing.T) {
	want := Request{
		MessageID: "34jk324j", Want: PositiveDelivery | WantDisplay, OtherWants: []string{"interworking"},
		OriginalTo:  box(t, "\"Bob, jr\"<im:bob@example.com>"),
		RecordRoute: []cpim.Mailbox{box(t, "<im:r1@example.com>")},
		Route:       []cpim.Mailbox{box(t, "<im:r2@example.com>")},
	}
	var b cpim.Builder
	m, err := AddRequest(b.From(box(t, "<im:a@b.c>")), want).Build(cpim.MustParseContentType("text/plain"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := RequestOf(m)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\n%s", got, err, m.Bytes())
	}
	if !strings.Contains(string(m.Bytes()), "\r\nimdn.Disposition-Notification: positive-delivery, display, interworking\r\n") {
		t.Errorf("%s", m.Bytes())
	}
	if names := (PositiveDelivery | NegativeDelivery | WantProcessing | WantDisplay).Names(); len(names) != 4 {
		t.Errorf("%q", names)
	}
}

func TestIsNotification(t *testing.T) {
	n, err := New(Fields{MessageID: "a", DateTime: sent(), Kind: Display, Status: Displayed})
	if err != nil {
		t.Fatal(err)
	}
	var b cpim.Builder
	m, err := b.From(box(t, "<im:a@b.c>")).Build(cpim.MustParseContentType(MediaType),
		[]cpim.MIMEHeader{{Name: "Content-Disposition", Value: Disposition}}, n.Bytes())
	if err != nil || !IsNotification(m) {
		t.Fatalf("%v", err)
	}
	if back, err := Parse(m.Content().Body()); err != nil || back.Fields().MessageID != "a" {
		t.Errorf("%v", err)
	}
	for content, want := range map[string]bool{
		"Content-Disposition: notification;handling=optional\r\n": true,
		"Content-Disposition: inline\r\n":                         false,
		"":                                                        false,
	} {
		if got := IsNotification(message(t, "", content)); got != want {
			t.Errorf("%q: %v", content, got)
		}
	}
}
