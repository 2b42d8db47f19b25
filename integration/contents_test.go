package integration_test

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// TestContentsFromSIPToXMPP: what else than plain text a SIP user agent sends, as an XMPP client gets it from its server; and what cannot
// be shown, as the SIP user hears it.
func TestContentsFromSIPToXMPP(t *testing.T) {
	s := crossOn(t, way{software: lab.ProsodyServer}, overUDP, lab.GatewayConfig{})
	for _, c := range []struct {
		name, kind, body, answer string
		has, not                 []string // of what Juliet gets; none: she gets nothing
	}{
		// "a gateway MUST transform the "text/html" content into XHTML content that conforms to the XHTML-IM Integration Set" (RFC 7572 §7)
		{
			"T-CP-12 HTML", "text/html", `<p onclick="x()"><b>Žofie</b><script>alert(1)</script></p>`, "202",
			[]string{"<body>Žofie", "http://jabber.org/protocol/xhtml-im", "<strong>Žofie</strong>"},
			[]string{"script", "onclick"},
		},
		{"T-CP-09 another charset", "text/plain;charset=koi8-r", "\xd0\xd2", "202", []string{">пр</body>"}, nil},
		{
			"a file of RCS", "application/vnd.gsma.rcs-ft-http+xml",
			`<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp"><file-info type="file"><file-size>5</file-size><data url="https://ft.example.net/a"/></file-info></file>`,
			"202",
			[]string{">https://ft.example.net/a</body>", "<url>https://ft.example.net/a</url>"},
			nil,
		},
		{"T-CP-01 signed is refused, not stripped", "multipart/signed;boundary=b", "--b\r\n\r\nx\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nAA\r\n--b--", "415", nil, nil},
		{"a picture", "image/png", "x", "415", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := lab.StartSIPp(t, lab.SIPpRun{
				Scenario: strings.NewReplacer("ANSWER", c.answer, "Subject: SUBJECT\n", "", "text/plain;charset=UTF-8", c.kind).Replace(sippSends),
				Body:     []byte(c.body), Port: lab.FreePorts(t, 1)[0], Target: s.gateway.Port, CallID: strings.NewReplacer(" ", "-", ",", "").Replace(c.name),
			})
			if c.has == nil {
				run.Wait(t, patience)
				s.quiet(t)
				return
			}
			got := s.juliet.Expect(t, patience, "the message", func(m lab.Stanza) bool { return m.Event == "message" })
			run.Wait(t, patience)
			raw := strings.ReplaceAll(got.Raw, `"`, "'")
			for _, w := range c.has {
				if !strings.Contains(raw, w) {
					t.Errorf("no %q in\n%s", w, got.Raw)
				}
			}
			for _, w := range c.not {
				if strings.Contains(raw, w) {
					t.Errorf("%q in\n%s", w, got.Raw)
				}
			}
		})
	}
}
