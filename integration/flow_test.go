package integration_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// A flow is a script of what two users send and receive, one line each, in the order of the figures of RFC 8048, whose numbers stand at the
// end of the lines. Romeo's lines become one SIPp scenario for each part of the flow; parts are divided by a line "---", and each is a SIP dialog
// of its own. The other users are slixmpp clients.
//
//	juliet sends    presence type=subscribe to=romeo@example.net   F1
//	romeo  receives SUBSCRIBE Expires=3600                         F2
//	romeo  sends    200 Expires=3600                               F4
//
// "romeo awaits NOTIFY" answers any number of notifications by itself, and ends with the one that the line is about, where servers differ in how
// many there are: with the one that ends the watch, or whose document has what the line says.
//
// An XMPP user logs in and out too, and "server breaks down" kills the XMPP server with all its clients and starts it again,
// "gateway breaks down" the same of the gateway (kill -9), in two steps where it "dies" and "comes"; before, it "rests" until nothing of
// presence waits for its disk. Whatever a user receives must stand in the script: presence of Romeo that was not read by the end fails.
type flow struct {
	name, script string
	// documents are the bodies that NOTIFY lines name as document=NAME.
	documents map[string]string
}

// line is one of a flow.
type line struct {
	who, verb, what string
	fields          map[string]string
}

var figure = regexp.MustCompile(`\s+(F[0-9]+|Example [0-9]+)(, (F[0-9]+|Example [0-9]+))*$`)

// parse reads the lines of a script, in parts.
func (f flow) parse(t *testing.T) (parts [][]line) {
	t.Helper()
	var part []line
	for text := range strings.Lines(f.script) {
		text = strings.TrimSpace(figure.ReplaceAllString(strings.TrimSpace(text), ""))
		switch {
		case text == "" || strings.HasPrefix(text, "#"):
		case text == "---":
			parts, part = append(parts, part), nil
		default:
			words := splitWords(text)
			if len(words) < 2 {
				t.Fatalf("flow %s: %q", f.name, text)
			}
			l := line{who: words[0], verb: words[1], fields: map[string]string{}}
			for _, w := range words[2:] {
				if k, v, ok := strings.Cut(w, "="); ok {
					l.fields[k] = v
				} else {
					l.what = w
				}
			}
			part = append(part, l)
		}
	}
	return append(parts, part)
}

// splitWords splits at white space that is not between quotation marks, which are taken away.
func splitWords(s string) (words []string) {
	var word strings.Builder
	quoted, any := false, false
	for _, r := range s {
		switch {
		case r == '"':
			quoted, any = !quoted, true
		case r == ' ' && !quoted:
			if any {
				words = append(words, word.String())
			}
			word.Reset()
			any = false
		default:
			word.WriteRune(r)
			any = true
		}
	}
	if any {
		words = append(words, word.String())
	}
	return words
}

const (
	sippAnswer = `<send><![CDATA[

SIP/2.0 CODE Whatever
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:]TAG
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
MOREContent-Length: 0

]]></send>
`
	sippNotifies = `<send retrans="500"><![CDATA[

NOTIFY [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:romeo@example.net>;tag=[pid]s[call_number]
To: <sip:juliet@example.com>[$1]
Call-ID: [call_id]
CSeq: CSEQ NOTIFY
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
Event: presence
MORECONTENT
]]></send>
`
	sippSubscribes = `<send retrans="500"><![CDATA[

SUBSCRIBE TARGET SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:romeo@example.net>;tag=[pid]t[call_number]
To: <sip:juliet@example.com>TAG
Call-ID: [call_id]
CSeq: CSEQ SUBSCRIBE
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
Event: presence
Accept: application/pidf+xml
MOREContent-Length: 0

]]></send>
`
)

// awaitedNotifications bounds how many notifications "awaits" answers.
const awaitedNotifications = 4

// sippAwaits answers a notification, and goes to the label DONE if it is the one that ENDS.
const sippAwaits = `<recv request="NOTIFY"><action>ENDS assign_to="ended"/></action></recv>
ANSWER`

// scenario compiles Romeo's lines of a part for SIPp.
func (f flow) scenario(t *testing.T, part []line) string {
	t.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<scenario name=%q>\n", "RFC 8048")
	cseq, watches, last := 0, false, ""
	first, loops := true, 0
	for _, l := range part {
		if l.who != "romeo" {
			continue
		}
		more := ""
		for _, name := range []string{"Expires", "Subscription-State", "Retry-After"} {
			if v, ok := l.fields[name]; ok {
				more += name + ": " + v + "\n"
			}
		}
		isAnswer := l.what != "" && l.what[0] >= '1' && l.what[0] <= '6'
		switch {
		case l.verb == "waits":
			fmt.Fprintf(&out, "<pause milliseconds=%q/>\n", l.fields["ms"])
		case l.verb == "receives" && isAnswer:
			fmt.Fprintf(&out, "<recv response=%q rrs=\"true\"/>\n", l.what)
		case l.verb == "awaits":
			loops++
			done := fmt.Sprint(loops)
			ends := `<ereg regexp="terminated" search_in="hdr" header="Subscription-State:"`
			if has := l.fields["has"]; has != "" {
				ends = `<ereg regexp="` + strings.ReplaceAll(has, "<", "&lt;") + `" search_in="body"`
			}
			answer := strings.NewReplacer("CODE", "200", "TAG", "", "MORE", "", "<send>", `<send next="`+done+`" test="ended">`).Replace(sippAnswer)
			out.WriteString(strings.Repeat(strings.NewReplacer("ENDS", ends, "ANSWER", answer).Replace(sippAwaits), awaitedNotifications))
			out.WriteString("<label id=\"" + done + "\"/>\n")
		case l.verb == "receives":
			last = l.what
			if first {
				out.WriteString("<recv request=\"" + l.what + "\" rrs=\"true\"><action><ereg regexp=\";tag=[^;]*\" search_in=\"hdr\" header=\"From:\" check_it=\"true\" assign_to=\"1\"/></action></recv>\n")
			} else {
				out.WriteString("<recv request=\"" + l.what + "\"/>\n")
			}
		case isAnswer:
			tag := ""
			if last == "MESSAGE" || last == "SUBSCRIBE" && cseq == 0 && l.what != "481" { // a 481 is to a request that has a tag
				tag = ";tag=[pid]s[call_number]"
			}
			out.WriteString(strings.NewReplacer("CODE", l.what, "TAG", tag, "MORE", more).Replace(sippAnswer))
		case l.what == "NOTIFY":
			cseq++
			content := "Content-Length: 0\n"
			if name, ok := l.fields["document"]; ok {
				body, ok := f.documents[name]
				if !ok {
					t.Fatalf("flow %s: no document %q", f.name, name)
				}
				content = "Content-Type: application/pidf+xml\nContent-Length: [len]\n\n" + body
			}
			if v, ok := l.fields["Content-Language"]; ok {
				more += "Content-Language: " + v + "\n"
			}
			out.WriteString(strings.NewReplacer("CSEQ", fmt.Sprint(cseq), "MORE", more, "CONTENT", content).Replace(sippNotifies))
		case l.what == "SUBSCRIBE":
			cseq++
			target, tag := "sip:juliet@example.com", ""
			if watches {
				target, tag = "[next_url]", "[peer_tag_param]"
			}
			watches = true
			out.WriteString(strings.NewReplacer("CSEQ", fmt.Sprint(cseq), "TARGET", target, "TAG", tag, "MORE", more).Replace(sippSubscribes))
		default:
			t.Fatalf("flow %s: Romeo %s %s", f.name, l.verb, l.what)
		}
		first = false
	}
	if strings.Contains(out.String(), `assign_to="1"`) {
		out.WriteString("<Reference variables=\"1\"/>\n") // or SIPp refuses a variable that is not used
	}
	out.WriteString("</scenario>")
	return out.String()
}

// stage is where flows are played: one XMPP server, one gateway, and the users that are logged in.
type stage struct {
	*strait
	t     *testing.T // of the stage: who logs in stays for the next flow
	users map[string]*lab.XMPPUser
	wait  time.Duration // for Romeo to have done his part; 0: as long as flows take
}

// newStage is one where Juliet is logged in.
func newStage(t *testing.T, s *strait) *stage {
	return &stage{strait: s, t: t, users: map[string]*lab.XMPPUser{"juliet": s.juliet}}
}

func (s *stage) user(who string) *lab.XMPPUser {
	if s.users[who] == nil {
		s.logIn(who)
	}
	return s.users[who]
}

func (s *stage) logIn(who string) {
	s.t.Helper()
	name, resource := who, "balcony"
	if who == "chamber" {
		name, resource = "juliet", who // her other device
	}
	s.users[who] = s.server.LogIn(s.t, name, resource)
}

// play plays a flow.
func (s *stage) play(t *testing.T, f flow) {
	for i, part := range f.parse(t) {
		s.playPart(t, f, i, part)
	}
}

func (s *stage) playPart(t *testing.T, f flow, n int, part []line) {
	t.Helper()
	var run *lab.SIPp
	begin := func() {
		if run != nil {
			return
		}
		run = lab.StartSIPp(t, lab.SIPpRun{Scenario: f.scenario(t, part), Port: s.agent, Target: s.target(part)})
	}
	if i := slices.IndexFunc(part, func(l line) bool { return l.who == "romeo" }); i >= 0 && part[i].verb == "receives" {
		begin()
	}
	received := 0 // by Romeo, by the lines so far
	for i, l := range part {
		if l.who != "romeo" && l.verb != "receives" && run != nil {
			// What stands before in the script has happened.
			lab.Eventually(t, patience, fmt.Sprintf("part %d, line %d: Romeo has received %d messages", n+1, i+1, received), func() bool {
				return len(run.Received()) >= received || run.Ended()
			})
		}
		switch {
		case l.who == "romeo":
			begin()
			if l.verb == "receives" {
				received++
			}
		case l.verb == "logs":
			s.user(l.who) // he is there, or comes
			if l.what == "out" {
				s.users[l.who].LogOut()
				delete(s.users, l.who)
			}
		case l.who == "gateway":
			if l.verb == "rests" {
				lab.Eventually(t, patience, "nothing waits for the disk", func() bool {
					_, text := s.gateway.Get("/metrics")
					return strings.Contains(text, "\nisthmus_presence_unwritten 0\n") && strings.Contains(text, "\nisthmus_watches "+l.fields["watches"]+"\n")
				})
			}
			if l.verb == "dies" || l.verb == "breaks" {
				s.gateway.Kill()
			}
			if l.verb == "comes" || l.verb == "breaks" {
				s.gateway.Start(s.t)
				lab.Eventually(t, 2*patience, "the gateway is ready again", s.gateway.Ready)
			}
		case l.verb == "breaks": // the XMPP server is killed, and started again; with it go all its users
			s.server.Kill()
			for who, u := range s.users {
				u.LogOut()
				delete(s.users, who)
			}
			s.server.Start(s.t)
			lab.Eventually(t, 2*patience, "the gateway is connected again", s.gateway.Ready)
		case l.verb == "sends":
			s.user(l.who).Send(t, l.stanza())
		case l.verb == "receives":
			s.user(l.who).Expect(t, patience, fmt.Sprintf("part %d, line %d: %v", n+1, i+1, l.fields), l.matches)
		default:
			t.Fatalf("flow %s: %s %s", f.name, l.who, l.verb)
		}
	}
	if run != nil {
		run.Wait(t, max(s.wait, patience))
		f.check(t, part, run.Received())
	}
	for who, u := range s.users {
		for _, r := range u.Received() {
			if r.Event == "presence" && strings.HasPrefix(lab.Text(r.From), "romeo@") {
				t.Errorf("part %d: %s received %v, which the flow does not have", n+1, who, r)
			}
		}
	}
}

// target is where SIPp sends: it answers alone if Romeo sends no request before he has received one.
func (s *stage) target(part []line) int {
	for _, l := range part {
		if l.who == "romeo" {
			if l.verb == "sends" {
				return s.gateway.Port
			}
			return 0
		}
	}
	return 0
}

// fieldsOf are the attributes and children that a line can give a stanza.
func (l line) fieldsOf(s *lab.Stanza) map[string]**string {
	return map[string]**string{
		"to": &s.To, "from": &s.From, "type": &s.Type, "show": &s.Show, "status": &s.Status, "priority": &s.Priority, "lang": &s.Lang,
		"condition": &s.Condition, "id": &s.ID, "text": &s.Body,
	}
}

func (l line) stanza() lab.Stanza {
	s := lab.Stanza{Stanza: l.what, Children: l.fields["children"]}
	for name, to := range l.fieldsOf(&s) {
		if v, ok := l.fields[name]; ok {
			*to = p(v)
		}
	}
	return s
}

// matches tells whether a user's stanza is the one of the line. type=none stands for no type attribute, and so on.
func (l line) matches(s lab.Stanza) bool {
	if s.Event != l.what {
		return false
	}
	for name, has := range l.fieldsOf(&s) {
		want, ok := l.fields[name]
		if ok && (want == "none" && *has != nil || want != "none" && lab.Text(*has) != want) {
			return false
		}
	}
	return strings.Contains(strings.ReplaceAll(s.XML, `"`, "'"), l.fields["contains"])
}

// check compares what SIPp received with Romeo's lines, in order.
func (f flow) check(t *testing.T, part []line, received []string) {
	t.Helper()
	i := 0
	for _, l := range part {
		if l.who != "romeo" || l.verb != "receives" && l.verb != "awaits" {
			continue
		}
		for l.verb == "awaits" && i < len(received)-1 && !(strings.HasPrefix(lab.HeaderOf(received[i], "Subscription-State"), l.fields["Subscription-State"]) &&
			strings.Contains(lab.BodyOf(received[i]), l.fields["has"])) {
			i++
		}
		if i == len(received) {
			t.Errorf("Romeo received no %s", l.what)
			return
		}
		m := received[i]
		i++
		first, _, _ := strings.Cut(m, "\r\n")
		if !strings.HasPrefix(first, l.what+" ") && !strings.HasPrefix(first, "SIP/2.0 "+l.what+" ") {
			t.Errorf("Romeo received %q where the flow has %s", first, l.what)
			continue
		}
		for name, want := range l.fields {
			got := lab.HeaderOf(m, name)
			switch name {
			case "body":
				if got = "some"; lab.BodyOf(m) == "" {
					got = "none"
				}
			case "has", "and":
				if got = want; !strings.Contains(lab.BodyOf(m), want) {
					got = lab.BodyOf(m)
				}
			case "not":
				if got = want; strings.Contains(lab.BodyOf(m), want) {
					got = lab.BodyOf(m)
				}
			case "Subscription-State":
				got, _, _ = strings.Cut(got, ";expires=")
			}
			if got != want {
				t.Errorf("%s: %s is %q, the flow has %q", first, name, got, want)
			}
		}
	}
	// "CSeq" of a dialog never goes back (RFC 3261 §12.2.1.1).
	last := map[string]int{}
	for _, m := range received {
		cseq, method := 0, ""
		if n, _ := fmt.Sscanf(lab.HeaderOf(m, "CSeq"), "%d %s", &cseq, &method); n != 2 || strings.HasPrefix(m, "SIP/2.0 ") {
			continue
		}
		if id := lab.HeaderOf(m, "Call-ID"); cseq < last[id] {
			t.Errorf("%s %d came after %d", method, cseq, last[id])
		} else {
			last[id] = cseq
		}
	}
	if n := len(part); n > 0 && part[n-1].what == "481" && i < len(received) && lab.HeaderOf(received[i], "CSeq") == "1 SUBSCRIBE" {
		return // what follows a 481 may come before SIPp has ended: it comes again, to the next part
	}
	if i < len(received) {
		t.Errorf("Romeo also received %q", received[i:])
	}
}
