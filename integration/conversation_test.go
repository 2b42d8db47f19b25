package integration_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// sipUser is a SIP user over UDP at the gateway's next hop, who answers each MESSAGE with 200 and keeps it, and sends what a test says.
type sipUser struct {
	conn    *net.UDPConn
	gateway *net.UDPAddr
	came    chan string // requests
	answers chan string // final responses
	sent    int
}

func newSIPUser(t *testing.T, s *strait) *sipUser {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.agent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	u := &sipUser{
		conn: conn, gateway: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.gateway.Port}, came: make(chan string, 64), answers: make(chan string, 64),
	}
	go u.read()
	return u
}

func (u *sipUser) read() {
	b := make([]byte, 65535)
	seen := map[string]bool{} // branches: a retransmission is answered, and no second message
	for {
		n, from, err := u.conn.ReadFromUDP(b)
		if err != nil {
			return
		}
		m := string(b[:n])
		if strings.HasPrefix(m, "SIP/2.0 ") {
			if m[8] >= '2' {
				u.answers <- m
			}
			continue
		}
		answer := "SIP/2.0 200 OK\r\n"
		for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
			answer += name + ": " + lab.HeaderOf(m, name)
			if name == "To" {
				answer += ";tag=romeo"
			}
			answer += "\r\n"
		}
		if _, err := u.conn.WriteToUDP([]byte(answer+"Content-Length: 0\r\n\r\n"), from); err != nil {
			return
		}
		if branch := branchOf(m); !seen[branch] {
			seen[branch] = true
			u.came <- m
		}
	}
}

// send sends a MESSAGE from Romeo to Juliet and returns the answer's code.
func (u *sipUser) send(t *testing.T, kind, body string) string {
	t.Helper()
	u.sent++
	branch := fmt.Sprintf("z9hG4bK-said-%d-%d", u.conn.LocalAddr().(*net.UDPAddr).Port, u.sent)
	_, err := fmt.Fprintf(to{u.conn, u.gateway}, "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:romeo@example.net>;tag=t%d\r\nTo: <sip:juliet@example.com>\r\nCall-ID: the-thread\r\nCSeq: %d MESSAGE\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		u.conn.LocalAddr(), branch, u.sent, u.sent, kind, len(body), body)
	if err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case m := <-u.answers:
			if branchOf(m) == branch {
				return m[8:11]
			}
		case <-time.After(patience):
			t.Fatalf("no answer to\n%s", body)
		}
	}
}

// to writes each datagram to one address.
type to struct {
	conn *net.UDPConn
	addr *net.UDPAddr
}

func (w to) Write(b []byte) (int, error) { return w.conn.WriteToUDP(b, w.addr) }

// heard is the next MESSAGE that came.
func (u *sipUser) heard(t *testing.T, what string) string {
	t.Helper()
	select {
	case m := <-u.came:
		return m
	case <-time.After(patience):
		t.Fatalf("Romeo did not get %s", what)
		return ""
	}
}

// silence checks that nothing has come.
func (u *sipUser) silence(t *testing.T) {
	t.Helper()
	select {
	case m := <-u.came:
		t.Fatalf("Romeo got\n%s", m)
	default:
	}
}

// gets is the next message that Juliet got, as her server wrote it, in one form of quotes.
func (s *strait) gets(t *testing.T, what string) string {
	t.Helper()
	got := s.juliet.Expect(t, patience, what, func(m lab.Stanza) bool { return m.Event == "message" })
	return strings.ReplaceAll(got.Raw, `"`, "'")
}

// says has Juliet send a chat message with these children.
func (s *strait) says(t *testing.T, id, children string) {
	t.Helper()
	s.juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Type: p("chat"), ID: p(id), Children: children})
}

func holds(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, one := range all {
		if !strings.Contains(text, one) {
			t.Errorf("no %q in\n%s", one, text)
		}
	}
}

func lacks(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, one := range all {
		if strings.Contains(text, one) {
			t.Errorf("%q in\n%s", one, text)
		}
	}
}

const (
	states  = " xmlns='http://jabber.org/protocol/chatstates'/>"
	markers = "urn:xmpp:chat-markers:0"
)

// composingDocument is RFC 3994's, with a state and perhaps a refresh interval.
func composingDocument(state, more string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>` + state + `</state>` + more + `</isComposing>`
}

func bothWays(t *testing.T, scenario func(t *testing.T, s *strait, romeo *sipUser)) {
	withEach(t, func(t *testing.T, w way) {
		s := crossOn(t, w, overUDP, lab.GatewayConfig{Peer: ", dispositions: true, composing: true, large_messages: true"})
		scenario(t, s, newSIPUser(t, s))
	})
}

// RFC 7573 §6, Tables 3 and 4, with the rules of XEP-0085 §5.1 (nobody is told who has not shown support) and RFC 3994 §3.3 (it lapses).
func TestComposingBothWays(t *testing.T) {
	bothWays(t, func(t *testing.T, s *strait, romeo *sipUser) {
		const kind = "application/im-iscomposing+xml"
		say := func(state, more string) {
			t.Helper()
			if code := romeo.send(t, kind, composingDocument(state, more)); code[0] != '2' {
				t.Fatalf("answered %s", code)
			}
		}
		// "until it receives such a message, ... MUST NOT send": to a stranger nothing goes, but the message after it asks for states.
		say("active", "")
		if code := romeo.send(t, "text/plain", "Shall I hear more?"); code[0] != '2' {
			t.Fatalf("answered %s", code)
		}
		got := s.gets(t, "the message")
		holds(t, got, ">Shall I hear more?</body>", "<active xmlns='http://jabber.org/protocol/chatstates'")
		lacks(t, got, "<composing")
		s.says(t, "c1", "<body>What man art thou</body><active"+states)
		holds(t, romeo.heard(t, "the answer"), "What man art thou")

		say("active", "")
		got = s.gets(t, "composing")
		holds(t, got, "<composing xmlns='http://jabber.org/protocol/chatstates'", ">the-thread</thread>", "type='chat'")
		lacks(t, got, "<body")
		say("idle", "")
		lacks(t, s.gets(t, "idle"), "<composing", "<body", "<paused")
		// He says once that he composes, and no more.
		say("active", "<refresh>1</refresh>")
		holds(t, s.gets(t, "composing"), "<composing")
		got = s.gets(t, "that it lapsed")
		holds(t, got, "<active xmlns='http://jabber.org/protocol/chatstates'")
		lacks(t, got, "<body")

		s.says(t, "c2", "<composing"+states)
		got = romeo.heard(t, "that Juliet composes")
		holds(t, got, "Content-Type: "+kind, "<state>active</state>")
		s.says(t, "c3", "<paused"+states)
		holds(t, romeo.heard(t, "that Juliet paused"), "Content-Type: "+kind, "<state>idle</state>")
		s.says(t, "c4", "<gone"+states)
		s.says(t, "c5", "<body>end</body>")
		holds(t, romeo.heard(t, "the end"), "\r\n\r\nend")
		romeo.silence(t)
		s.quiet(t)
	})
}

// notice is an IMDN of Romeo for a message of Juliet.
func notice(id, what string) string {
	return "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\nDateTime: 2026-11-22T12:00:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: n1\r\n\r\n" +
		"Content-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\r\n<?xml version=\"1.0\" encoding=\"UTF-8\"?><imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>" +
		id + "</message-id><datetime>2026-11-22T12:00:00Z</datetime><recipient-uri>im:romeo@example.net</recipient-uri><original-recipient-uri>im:romeo@example.net</original-recipient-uri>" +
		what + "</imdn>"
}

// XEP-0184 and XEP-0333 on one side, RFC 5438 on the other: who asks is told, of the message that it was asked for, and of nothing else.
func TestReceiptsBothWays(t *testing.T) {
	const (
		delivered = "<delivery-notification><status><delivered/></status></delivery-notification>"
		displayed = "<display-notification><status><displayed/></status></display-notification>"
	)
	bothWays(t, func(t *testing.T, s *strait, romeo *sipUser) {
		s.says(t, "id-of-juliet", "<body>Art thou not Romeo?</body><request xmlns='urn:xmpp:receipts'/><markable xmlns='"+markers+"'/>")
		got := romeo.heard(t, "the message")
		holds(t, got, "Content-Type: message/cpim", "imdn.Message-ID: id-of-juliet\r\n", "positive-delivery", "display", "Art thou not Romeo?")
		for _, n := range []string{notice("another", delivered), notice("id-of-juliet", delivered), notice("id-of-juliet", delivered), notice("id-of-juliet", displayed)} {
			if code := romeo.send(t, "message/cpim", n); code != "200" {
				t.Fatalf("a notice is answered %s", code)
			}
		}
		holds(t, s.gets(t, "the receipt"), "<received ", "'urn:xmpp:receipts'", " id='id-of-juliet'", "from='romeo@example.net")
		holds(t, s.gets(t, "the marker"), "<displayed ", "'"+markers+"'", " id='id-of-juliet'")

		const id, sent = "a#|1", "2026-11-22T07:00:00.5-05:00"
		code := romeo.send(t, "message/cpim", "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\nDateTime: "+sent+"\r\nNS: imdn <urn:ietf:params:imdn>\r\n"+
			"imdn.Message-ID: "+id+"\r\nimdn.Disposition-Notification: positive-delivery, display\r\n\r\nContent-Type: text/plain\r\n\r\nNeither, fair saint")
		if code[0] != '2' {
			t.Fatalf("answered %s", code)
		}
		got = s.gets(t, "the message")
		holds(t, got, " id='"+id+"'", ">Neither, fair saint</body>", "<request xmlns='urn:xmpp:receipts'", "<markable xmlns='"+markers+"'")
		s.says(t, "r0", "<received xmlns='urn:xmpp:receipts' id='another'/>")
		s.says(t, "r1", "<received xmlns='urn:xmpp:receipts' id='"+id+"'/>")
		s.says(t, "r2", "<displayed xmlns='"+markers+"' id='"+id+"'/>")
		s.says(t, "r3", "<displayed xmlns='"+markers+"' id='"+id+"'/>")
		for _, what := range []string{"<delivered", "<displayed"} {
			got = romeo.heard(t, what)
			holds(t, got, "Content-Type: message/cpim", "<message-id>"+id+"</message-id>", "<datetime>"+sent+"</datetime>", what, "Auto-Submitted: auto-generated")
			lacks(t, got, "imdn.Disposition-Notification")
		}
		s.says(t, "r4", "<body>end</body>")
		holds(t, romeo.heard(t, "the end"), "\r\n\r\nend")
		romeo.silence(t)
		s.quiet(t)
	})
}

// What SIP has no element for is said in words.
func TestExtensionsFromXMPPToSIP(t *testing.T) {
	bothWays(t, func(t *testing.T, s *strait, romeo *sipUser) {
		for _, c := range []struct{ name, children, want string }{
			{
				"a reply", "<body>&gt; Wherefore?\nFor love</body><reply xmlns='urn:xmpp:reply:0' to='romeo@example.net' id='x'/><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='13'/></fallback>",
				"> Wherefore?\nFor love",
			},
			{"a reaction", "<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>\U0001F339</reaction></reactions><store xmlns='urn:xmpp:hints'/>", "Reacted to an earlier message: \U0001F339"},
			{"a correction", "<body>Montague</body><replace xmlns='urn:xmpp:message-correct:0' id='x'/>", "Correction: Montague"},
			{"a link", "<body>a rose</body><x xmlns='jabber:x:oob'><url>https://example.com/rose?a=1&amp;b=2</url></x>", "a rose\nhttps://example.com/rose?a=1&b=2"},
			{"a link alone", "<x xmlns='jabber:x:oob'><url>https://example.com/rose</url><desc>A rose</desc></x>", "A rose: https://example.com/rose"},
		} {
			t.Run(c.name, func(t *testing.T) {
				s.says(t, "e1", c.children)
				if got := lab.BodyOf(romeo.heard(t, c.name)); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
				s.quiet(t)
			})
		}
		// What has no words that could cross is not taken in silence.
		for _, children := range []string{
			"<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p>x</p></body></html>",
			"<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>",
		} {
			s.says(t, "e2", children)
			got := s.juliet.Expect(t, patience, "the error", func(m lab.Stanza) bool { return lab.Text(m.Type) == "error" })
			if lab.Text(got.Condition) != "not-acceptable" || lab.Text(got.ID) != "e2" {
				t.Errorf("%v", got)
			}
		}
		romeo.silence(t)
	})
}
