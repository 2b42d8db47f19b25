package main

import (
	"strings"
	"testing"
)

// TestContentCrosses: what else than plain text a message may be, from one adapter through the canonical form to the other.
func TestContentCrosses(t *testing.T) {
	const (
		composing = `<?xml version="1.0" encoding="UTF-8"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>`
		rcs       = `<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp"><file-info type="file"><file-size>5</file-size><file-name>a.png</file-name>` +
			`<content-type>image/png</content-type><data url="https://ft.example.net/a?b&amp;c" until="2026-12-01T00:00:00Z"/></file-info></file>`
		asks = "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\nDateTime: 2026-11-22T12:00:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: n1\r\n" +
			"imdn.Disposition-Notification: positive-delivery, display\r\n\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nx"
	)
	state := func(name string) string {
		return "<message from='juliet@example.com' to='romeo@example.net' type='chat'><" + name + " xmlns='http://jabber.org/protocol/chatstates'/></message>"
	}
	for _, c := range []struct {
		name, from, input string
		has, not          []string
		code              int
	}{
		// "a gateway MUST transform the "text/html" content into XHTML content that conforms to the XHTML-IM Integration Set" (RFC 7572 §7)
		{
			"T-CP-12 HTML", "sip", exampleOf("text/html;charset=iso-8859-1", "<p onclick='x()'><b>Caf\xe9</b><script>alert(1)</script><a href='javascript:x()'>a</a></p>"),
			[]string{"<body>", "Café", "http://jabber.org/protocol/xhtml-im", "<strong>Café</strong>"},
			[]string{"script", "onclick"},
			0,
		},
		{
			"T-CP-12 HTML with text", "sip", exampleOf("multipart/alternative;boundary=b", "--b\r\n\r\nplain\r\n--b\r\nContent-Type: text/html\r\n\r\n<i>rich</i>\r\n--b--"),
			[]string{"<body>plain</body>", "<em>rich</em>"},
			nil, 0,
		},
		{
			"T-CP-09 several languages in other charsets", "sip",
			exampleOf("multipart/alternative;boundary=b", "--b\r\nContent-Language: cs\r\nContent-Type: text/plain;charset=iso-8859-2\r\n\r\n\xecky\r\n--b\r\nContent-Language: ru\r\nContent-Type: text/plain;charset=koi8-r\r\n\r\n\xd0\xd2\r\n--b--"),
			[]string{"ěky</body>", "<body xml:lang='ru'>пр</body>"},
			nil, 0,
		},
		{"a file of RCS is a link (XEP-0066)", "sip", exampleOf("application/vnd.gsma.rcs-ft-http+xml", rcs), []string{"<body>https://ft.example.net/a?b&amp;c</body>", "jabber:x:oob", "<url>https://ft.example.net/a?b&amp;c</url>"}, nil, 0},
		{
			"an external body is a link (XEP-0066)", "sip", exampleOf(`message/external-body; access-type="URL"; URL="https://a.example/x.png"`, "Content-Type: image/png\r\n\r\n"),
			[]string{"<body>https://a.example/x.png</body>", "<url>https://a.example/x.png</url>"},
			nil, 0,
		},
		{"T-CP-03 encrypted by OpenPGP is refused, not broken", "sip", exampleOf(`multipart/encrypted;protocol="application/pgp-encrypted";boundary=b`, "--b\r\n\r\nx\r\n--b--"), nil, nil, 1},
		{"T-CP-01 signed by something else than S/MIME is refused, not stripped", "sip", exampleOf("multipart/signed;boundary=b", "--b\r\n\r\nx\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nAA\r\n--b--"), nil, nil, 1},
		{
			"T-CP-03 encrypted by S/MIME", "sip", exampleOf("application/pkcs7-mime; smime-type=enveloped-data", "\x30\x80"),
			[]string{"<e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'><![CDATA[Content-Type: application/pkcs7-mime; smime-type=enveloped-data\nContent-Transfer-Encoding: base64\n\nMIA=\n]]></e2e>"},
			nil, 0,
		},
		{"a picture that must be shown is refused", "sip", exampleOf("multipart/mixed;boundary=b", "--b\r\n\r\nx\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--"), nil, nil, 1},
		// RFC 7573 §6, Tables 3 and 4.
		{"active is composing", "sip", exampleOf("application/im-iscomposing+xml", composing), []string{"<composing xmlns='http://jabber.org/protocol/chatstates'/>"}, []string{"<body"}, 0},
		{"idle is active", "sip", exampleOf("application/im-iscomposing+xml", strings.Replace(composing, ">active<", ">idle<", 1)), []string{"<active xmlns='http://jabber.org/protocol/chatstates'/>"}, []string{"<body"}, 0},
		{"composing is active", "xmpp", state("composing"), []string{"Content-Type: application/im-iscomposing+xml\r\n", "<state>active</state>"}, nil, 0},
		{"paused is idle", "xmpp", state("paused"), []string{"<state>idle</state>"}, nil, 0},
		{"inactive is idle", "xmpp", state("inactive"), []string{"<state>idle</state>"}, nil, 0},
		// RFC 5438 and XEP-0184, XEP-0333: the identifiers are those of the message.
		{"notices are asked for", "sip", exampleOf("message/cpim", asks), []string{"id='n1'", "<request xmlns='urn:xmpp:receipts'/>", "<markable xmlns='urn:xmpp:chat-markers:0'/>"}, nil, 0},
		{"a receipt is a notice", "xmpp", "<message from='juliet@example.com' to='romeo@example.net' id='r'><received xmlns='urn:xmpp:receipts' id='n1'/></message>", []string{"<message-id>n1</message-id>", "<delivered/>"}, nil, 0},
		{"a marker is a notice", "xmpp", "<message from='juliet@example.com' to='romeo@example.net' id='r'><displayed xmlns='urn:xmpp:chat-markers:0' id='n1'/></message>", []string{"<message-id>n1</message-id>", "<displayed/>"}, nil, 0},
		{
			"a nick is a display name", "xmpp", "<message from='juliet@example.com' to='romeo@example.net'><body>x</body><nick xmlns='http://jabber.org/protocol/nick'>Juliet &quot;C&quot;</nick></message>",
			[]string{`From: "Juliet \"C\"" <sip:juliet@example.com>`},
			nil, 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := map[string]string{"sip": "xmpp", "xmpp": "sip"}[c.from]
			got := isthmus(t, c.input, nil, "translate", "--from", c.from, "--to", to, "--now", atExamples)
			if got.code != c.code {
				t.Fatalf("exit code %d: %s%s", got.code, got.out, got.err)
			}
			if c.code != 0 && !strings.Contains(got.out, `"rule":"unsupported-content"`) {
				t.Errorf("%s", got.out)
			}
			for _, w := range c.has {
				if !strings.Contains(got.out, w) {
					t.Errorf("no %q in\n%s", w, got.out)
				}
			}
			for _, w := range c.not {
				if strings.Contains(got.out, w) {
					t.Errorf("%q in\n%s", w, got.out)
				}
			}
		})
	}
}

// T-CP-08: a message/cpim object that crosses SIP is the same object, octet for octet: a gateway "MUST NOT change the Message/CPIM content
// in any way" (RFC 3862 §6).
func TestObjectsCrossWhole(t *testing.T) {
	for name, object := range map[string]string{
		"with headers that nobody knows": "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\nNS: x <urn:x>\r\nx.Odd:;a=b \\u00e9 \\\\ \\x\r\nSubject: \\\"q\\\"\r\n\r\nContent-Type: text/plain; charset=utf-8\r\nX-Odd:  y\r\n\r\nx",
		"with a transfer encoding":       "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\n\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nw6k=\r\n",
		"signed inside":                  "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\n\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx \r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nAA\r\n--b--",
		"with any octets inside":         "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\n\r\nContent-Type: application/octet-stream\r\n\r\n\x00\xff\r\n\r",
	} {
		t.Run(name, func(t *testing.T) {
			for _, from := range []string{"sip", "cpim"} {
				input := object
				if from == "sip" {
					input = exampleOf("message/cpim", object)
				}
				got := isthmus(t, input, nil, "translate", "--from", from, "--to", "cpim")
				if got.code != 0 || got.out != object {
					t.Errorf("from %s: exit code %d, %q; %s", from, got.code, got.out, got.err)
				}
				got = isthmus(t, input, nil, "translate", "--from", from, "--to", "sip")
				if !strings.HasSuffix(got.out, "\r\n\r\n"+object) || !strings.Contains(got.out, "Content-Type: message/cpim\r\n") {
					t.Errorf("from %s to SIP: %q; %s", from, got.out, got.err)
				}
			}
		})
	}
}

// What RFC 3923 §3 shows: Example 3 crosses, its protocol parameter in the quotes that RFC 2045 §5.1 wants; Example 6, which is base64 of
// something that is no CMS, is refused; an encrypted one that is CMS crosses.
func TestExamplesOfRFC3923(t *testing.T) {
	stanza := func(object string) string {
		return "<message from='juliet@example.com/balcony' to='romeo@example.net/orchard' type='chat'>\n  <e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>\n<![CDATA[\n" + object + "]]>\n  </e2e>\n</message>"
	}
	const example3 = `Content-Type: multipart/signed; boundary=next;
              micalg=sha1;
              protocol=application/pkcs7-signature

--next
Content-type: Message/CPIM

From: Juliet Capulet <im:juliet@example.com>
To: Romeo Montague <im:romeo@example.net>
DateTime: 2003-12-09T23:45:36.66Z
Subject: Imploring

Content-type: text/plain; charset=utf-8
Content-ID: <1234567890@example.com>

Wherefore art thou, Romeo?
--next
Content-Type: application/pkcs7-signature
Content-Disposition: attachment;handling=required;\
                                filename=smime.p7s

[signed body part]

--next--
`
	_, body, _ := strings.Cut(example3, "\n\n")
	for _, c := range []struct {
		name, object string
		has          []string
		code         int
	}{
		{
			"Example 3", example3,
			[]string{"Content-Type: multipart/signed;", `protocol="application/pkcs7-signature"`, "Date: Tue, 09 Dec 2003 23:45:36 GMT", "\r\n\r\n" + strings.ReplaceAll(body, "\n", "\r\n")},
			0,
		},
		{"Example 3 with another sender inside", strings.Replace(example3, "im:juliet", "im:nurse", 1), []string{`"rule":"not-acceptable"`}, 1},
		{"Example 6", "U2FsdGVkX19okeKTlLxa/1n1FE/upwn1D20GhPWqhDWlexKMUKYJInTWzERP+vcQ\n/OxFs40uc9Fx81a5/62p/yPb/UWnuG6SR6o3Ed2zwcusDImyyz125HFERdDUMBC9\n", []string{`"rule":"bad-request"`}, 1},
		{"as Example 6, of CMS", "MIAGCSqGSIb3DQEHA6CA\n", []string{"Content-Type: application/pkcs7-mime; smime-type=enveloped-data", "\r\n\r\n\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := isthmus(t, stanza(c.object), nil, "translate", "--from", "xmpp", "--to", "sip", "--now", atExamples)
			if got.code != c.code {
				t.Fatalf("exit code %d: %s%s", got.code, got.out, got.err)
			}
			for _, w := range c.has {
				if !strings.Contains(got.out, w) {
					t.Errorf("no %q in\n%q", w, got.out)
				}
			}
		})
	}
}
