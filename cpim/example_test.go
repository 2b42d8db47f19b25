package cpim_test

import (
	"fmt"
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
)

func ExampleParseMessage() {
	m, err := cpim.ParseMessage([]byte("From: MR SANDERS <im:piglet@100akerwood.com>\r\n"+
		"Subject:;lang=fr beau temps prevu pour aujourd'hui\r\n"+
		"\r\n"+
		"Content-type: text/plain; charset=utf-8\r\n"+
		"\r\n"+
		"Here is the text of my message.\r\n"), cpim.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	from, _ := m.From()
	fmt.Println(from.Name(), from.URI())
	for s := range m.Subjects() {
		fmt.Println(s.Lang, s.Text)
	}
	fmt.Printf("%s %s", m.Content().ContentType().Media(), m.Content().Body())
	// Output:
	// MR SANDERS im:piglet@100akerwood.com
	// fr beau temps prevu pour aujourd'hui
	// text/plain Here is the text of my message.
}

func ExampleParseMessage_error() {
	_, err := cpim.ParseMessage([]byte("from : <im:piglet@100akerwood.com>\r\n\r\n"), cpim.Limits{})
	fmt.Println(err)
	// Output:
	// header-name at octet 4 (RFC 3862 §3.6): expected a header name and ':', found " : <im:piglet@10"
}

func ExampleBuilder() {
	var b cpim.Builder
	m, err := b.
		From(cpim.MailboxOf("Pooh, Winnie", cpim.MustParseAddress("im:pooh@100akerwood.com"))).
		To(cpim.MailboxOf("", cpim.MustParseAddress("im:eeyore@100akerwood.com"))).
		CC(cpim.MailboxOf("Tigger", cpim.MustParseAddress("im:tigger@100akerwood.com"))).
		DateTime(datetime.MustParse("2001-02-01T12:16:49-05:00", datetime.CPIM)).
		Subject(cpim.Subject{Lang: "en", Text: "no\r\nX-Evil: header"}).
		Namespace("acme", "http://id.acme.widgets/wily-headers/").
		Require("acme.runner-trap").
		Header("acme.runner-trap", "set").
		MailboxHeader("acme.owner", cpim.MailboxOf("Owl", cpim.MustParseAddress("im:owl@100akerwood.com"))).
		Build(cpim.MustParseContentType("text/plain"), []cpim.MIMEHeader{{Name: "Content-ID", Value: "<1@100akerwood.com>"}}, []byte("Hello"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.ReplaceAll(string(m.Bytes()), "\r\n", "\n"))
	b.Reset()
	_, err = b.To(cpim.Mailbox{}).Build(cpim.MustParseContentType("text/plain"), nil, nil)
	fmt.Println(err)
	// Output:
	// From: "Pooh, Winnie"<im:pooh@100akerwood.com>
	// To: <im:eeyore@100akerwood.com>
	// cc: Tigger <im:tigger@100akerwood.com>
	// DateTime: 2001-02-01T12:16:49-05:00
	// Subject:;lang=en no\r\nX-Evil: header
	// NS: acme <http://id.acme.widgets/wily-headers/>
	// Require: acme.runner-trap
	// acme.runner-trap: set
	// acme.owner: Owl <im:owl@100akerwood.com>
	//
	// Content-Type: text/plain
	// Content-ID: <1@100akerwood.com>
	//
	// Hello
	// mailbox-uri at octet 0 (RFC 3862 §4.1): expected a mailbox
}

func ExampleAddressFromSIPURI() {
	u := cpim.MustParseSIPURI("sip:o'malley@sip.example;gr=bar")
	id, err := cpim.AddressFromSIPURI(u, cpim.IM)
	fmt.Println(id.Address, id.Address.Local(), id.Instance, err)
	fmt.Println(id.Address.SIPURI().WithInstance(id.Instance))
	_, err = cpim.AddressFromSIPURI(cpim.MustParseSIPURI("sip:Alice@sip.example"), cpim.IM)
	fmt.Println(err)
	// Output:
	// im:o'malley@sip.example o'malley bar <nil>
	// sip:o'malley@sip.example;gr=bar
	// local-case at octet 4 (RFC 8265 §3.3): expected a local part that is its own case-mapped, normalized form, found "Alice"
}
