package main

import (
	"fmt"
	"html"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// crosses translates input from one side to the other and returns what comes out.
func crosses(t *testing.T, from, to, input string) string {
	t.Helper()
	got := isthmus(t, input, nil, "translate", "--from", from, "--to", to, "--now", atExamples)
	if got.code != 0 {
		t.Fatalf("exit code %d: %s\n%s", got.code, got.err, input)
	}
	return got.out
}

// sipRequestOf is a request of the presence package from one user to another.
func sipRequestOf(method, from, to, more, body string) string {
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/TCP a.example;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=1\r\nTo: <%s>\r\nCall-ID: c1\r\nCSeq: 1 %s\r\n"+
		"Contact: <sip:x@192.0.2.1>\r\nEvent: presence\r\n%sContent-Length: %d\r\n\r\n%s", method, to, from, to, method, more, len(body), body)
}

func notifyOf(from, to, entity, tuples string) string {
	return sipRequestOf("NOTIFY", from, to, "Subscription-State: active;expires=300\r\nContent-Type: application/pidf+xml\r\n",
		`<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="`+html.EscapeString(entity)+`">`+tuples+`</presence>`)
}

var (
	stanzaParties  = regexp.MustCompile(`^<presence from='([^']*)' to='([^']*)'`)
	requestParties = regexp.MustCompile(`(?s)^[A-Z]+ (\S+) SIP/2\.0\r\n.*?From: <([^>]*)>;tag=[^\r]*\r\n.*?To: <([^>]*)>`)
)

// partiesOf returns who a stanza is from, and whom it is to.
func partiesOf(t *testing.T, out string) (from, to string) {
	t.Helper()
	m := stanzaParties.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no presence in %q", out)
	}
	return html.UnescapeString(m[1]), html.UnescapeString(m[2])
}

// presenceParties are users of one side and what they are on the other.
var presenceParties = []struct {
	name string
	// sip is how the SIP side writes the user, out how it is written to the SIP side (the same, if ""), jid the bare JID, entity the pres: URI.
	sip, out, jid, entity string
	// gr is the device that sip names; "" for none.
	gr string
}{
	{name: "plain", sip: "sip:romeo@example.net", jid: "romeo@example.net", entity: "pres:romeo@example.net"},
	{name: "GRUU", sip: "sip:romeo@example.net;gr=orchard", out: "sip:romeo@example.net", jid: "romeo@example.net", entity: "pres:romeo@example.net", gr: "orchard"},
	{name: "escaped by XEP-0106", sip: "sip:d'artagnan@example.net", jid: `d\27artagnan@example.net`, entity: "pres:d'artagnan@example.net"},
	{name: "escaped by percent", sip: "sip:romeo%20m@example.net", jid: `romeo\20m@example.net`, entity: "pres:romeo%20m@example.net"},
	{name: "percent as itself", sip: "sip:a%25b@example.net", jid: "a%b@example.net", entity: "pres:a%25b@example.net"},
	{name: "an at sign", sip: "sip:romeo%40example.org@example.net", jid: `romeo\40example.org@example.net`, entity: "pres:romeo%40example.org@example.net"},
	{name: "what looks like an escape", sip: "sip:c%5C3acool@example.net", jid: `c\5c3acool@example.net`, entity: "pres:c%5C3acool@example.net"},
	{name: "a telephone number", sip: "sip:+12125550100@example.net;user=phone", out: "sip:+12125550100@example.net", jid: "+12125550100@example.net", entity: "pres:+12125550100@example.net"},
	{name: "beyond ASCII", sip: "sip:%E4%B8%AD@example.net", jid: "中@example.net", entity: "pres:%E4%B8%AD@example.net"},
	{name: "an internationalised domain", sip: "sip:romeo@xn--bcher-kva.example", jid: "romeo@bücher.example", entity: "pres:romeo@xn--bcher-kva.example"},
	{name: "capitals of the domain", sip: "sip:romeo@EXAMPLE.NET", out: "sip:romeo@example.net", jid: "romeo@example.net", entity: "pres:romeo@example.net"},
}

// T-PR-02: every form of watcher watches every form of presentity, both ways and through both adapters: the request, and the notification that answers
// it, name the same two users. "The protocols MUST also allow an INSTANT INBOX to be reached via the same IDENTIFIER as the IDENTIFIER of some
// PRESENTITY." (RFC 2779 §2.1.3): the message of the same two does too.
func TestT_PR_02_AddressesOfPresence(t *testing.T) {
	for _, w := range presenceParties {
		for _, p := range presenceParties {
			t.Run(w.name+" watches "+p.name, func(t *testing.T) {
				wOut, pOut := w.sip, p.sip
				if w.out != "" {
					wOut = w.out
				}
				if p.out != "" {
					pOut = p.out
				}
				ask := crosses(t, "sip", "xmpp", sipRequestOf("SUBSCRIBE", w.sip, p.sip, "Expires: 600\r\n", ""))
				if from, to := partiesOf(t, ask); from != w.jid || to != p.jid || !strings.Contains(ask, "type='subscribe'") {
					// RFC 8048 §5.3.1: a request is from the bare address.
					t.Errorf("SUBSCRIBE is %s", ask)
				}
				jid := html.EscapeString
				told := crosses(t, "xmpp", "sip", "<presence from='"+jid(p.jid+"/balcony")+"' to='"+jid(w.jid)+"'/>")
				m := requestParties.FindStringSubmatch(told)
				if m == nil || !strings.HasPrefix(told, "NOTIFY ") || m[1] != wOut || m[2] != pOut || m[3] != wOut ||
					!strings.Contains(html.UnescapeString(told), "entity='"+p.entity+"'") {
					t.Errorf("presence is %s", told)
				}
				asked := crosses(t, "xmpp", "sip", "<presence from='"+jid(w.jid)+"' to='"+jid(p.jid)+"' type='subscribe'/>")
				m = requestParties.FindStringSubmatch(asked)
				if m == nil || !strings.HasPrefix(asked, "SUBSCRIBE ") || m[1] != pOut || m[2] != wOut || m[3] != pOut {
					t.Errorf("subscribe is %s", asked)
				}
				shown := crosses(t, "sip", "xmpp", notifyOf(p.sip, w.sip, p.entity, `<tuple id="ID-orchard"><status><basic>open</basic></status></tuple>`))
				if from, to := partiesOf(t, shown); from != p.jid+"/orchard" || to != w.jid {
					t.Errorf("NOTIFY is %s", shown)
				}
				text := crosses(t, "sip", "xmpp", strings.NewReplacer("MESSAGE sip:juliet@example.com", "MESSAGE "+p.sip, "<sip:romeo@example.net>", "<"+w.sip+">",
					"<sip:juliet@example.com>", "<"+p.sip+">").Replace(exampleOf("text/plain", "x")))
				from, to := w.jid, p.jid
				if w.gr != "" {
					from += "/" + w.gr
				}
				if p.gr != "" {
					to += "/" + p.gr
				}
				if text = html.UnescapeString(text); !strings.Contains(text, "from='"+from+"' to='"+to+"'") {
					t.Errorf("the message between them is %s", text)
				}
			})
		}
	}
}

var priorityOf = regexp.MustCompile(`<priority>(\d+)</priority>|priority='([0-9.]+)'`)

// T-CP-06: the priority of a contact comes back as near as 127 steps allow, and then stays as it is however often it crosses.
func TestT_CP_06_ContactPriority(t *testing.T) {
	for _, priority := range []string{"0", "0.001", "0.1", "0.102", "0.333", "0.5", "0.8", "0.999", "1", "1.0"} {
		t.Run(priority, func(t *testing.T) {
			document := func(priority string) string {
				return notifyOf("sip:romeo@example.net", "sip:juliet@example.com", "pres:romeo@example.net",
					`<tuple id="ID-orchard"><status><basic>open</basic></status><contact priority="`+priority+`">im:romeo@example.net</contact></tuple>`)
			}
			value := func(out string) string {
				m := priorityOf.FindStringSubmatch(out)
				if m == nil {
					return ""
				}
				return m[1] + m[2]
			}
			toXMPP := func(priority string) string { return value(crosses(t, "sip", "xmpp", document(priority))) }
			toSIP := func(priority string) string {
				return value(crosses(t, "xmpp", "sip", "<presence from='romeo@example.net/orchard' to='juliet@example.com'><priority>"+priority+"</priority></presence>"))
			}
			first := toXMPP(priority)
			if first == "" { // RFC 6121 §4.7.2.3: no <priority/> is 0
				first = "0"
			}
			back := toSIP(first)
			given, _ := strconv.ParseFloat(priority, 64)
			if got, err := strconv.ParseFloat(back, 64); err != nil || got < given-1.0/127 || got > given+1.0/127 {
				t.Errorf("%s is %s is %s", priority, first, back)
			}
			again := toXMPP(back)
			if again == "" {
				again = "0"
			}
			if again != first || toSIP(again) != back {
				t.Errorf("%s is %s is %s is %s is %s", priority, first, back, again, toSIP(again))
			}
		})
	}
}

// T-CP-06: "The common presence format MUST include a means to encapsulate contact information" (RFC 2779 §3.1.3), and "The STATUS conditions OPEN and
// CLOSED may also be applied to messaging or communication modes other than INSTANT MESSAGE SERVICES." (RFC 2779 §4.4.3): the canonical document has
// every contact as it came, and what is said of a telephone or a mailbox is never said of instant messages.
func TestT_CP_06_OtherMedia(t *testing.T) {
	const (
		im   = `<tuple id="ID-orchard"><status><basic>%s</basic></status><contact priority="0.8">im:romeo@example.net</contact></tuple>`
		tel  = `<tuple id="tel"><status><basic>%s</basic></status><contact priority="1">tel:+12125550100</contact></tuple>`
		mail = `<tuple id="mail"><status><basic>%s</basic></status><contact>mailto:romeo@example.net</contact><note>by post</note></tuple>`
	)
	for _, basics := range [][3]string{{"open", "closed", "closed"}, {"closed", "open", "open"}, {"open", "open", "closed"}} {
		t.Run(strings.Join(basics[:], ", "), func(t *testing.T) {
			input := notifyOf("sip:romeo@example.net", "sip:juliet@example.com", "pres:romeo@example.net",
				fmt.Sprintf(im, basics[0])+fmt.Sprintf(tel, basics[1])+fmt.Sprintf(mail, basics[2]))
			canonical := crosses(t, "sip", "cpim", input)
			for _, contact := range []string{"priority='0.8'>im:romeo@example.net<", "priority='1'>tel:+12125550100<", ">mailto:romeo@example.net<"} {
				if !strings.Contains(canonical, contact) {
					t.Errorf("no %q in %s", contact, canonical)
				}
			}
			stanzas := strings.SplitAfter(strings.TrimSpace(crosses(t, "sip", "xmpp", input)), "</presence>")
			whole := strings.Join(stanzas, "")
			for i, resource := range []string{"orchard", "tel", "mail"} {
				at := strings.Index(whole, "<presence from='romeo@example.net/"+resource+"'")
				if at < 0 {
					t.Errorf("no stanza of %s in %s", resource, whole)
					continue
				}
				head, _, _ := strings.Cut(whole[at:], ">")
				if gone := strings.Contains(head, "type='unavailable'"); gone != (basics[i] == "closed") {
					t.Errorf("%s is %s: %s", resource, basics[i], whole[at:])
				}
			}
			if n := strings.Count(whole, "<presence "); n != 3 {
				t.Errorf("%d stanzas: %s", n, whole)
			}
		})
	}
}

// T-CP-06: "The common message format SHOULD include standard forms of addresses or contact means for media other than INSTANT MESSAGES" (RFC 2779 §4.1.4)
// is what the headers of Message/CPIM are extended for; what a message has of its own for people, its subject, crosses both ways.
func TestT_CP_06_Subject(t *testing.T) {
	const subject = `Call +1 212 555 0100, "or" <mail> & so on`
	sip := strings.Replace(exampleOf("text/plain", "x"), "Content-Type:", "Subject: "+subject+"\r\nContent-Type:", 1)
	stanza := crosses(t, "sip", "xmpp", sip)
	if !strings.Contains(html.UnescapeString(stanza), "<subject>"+subject+"</subject>") {
		t.Fatalf("to XMPP: %s", stanza)
	}
	swapped := strings.NewReplacer("from='romeo@example.net'", "to='romeo@example.net'", "to='juliet@example.com'", "from='juliet@example.com'").Replace(stanza)
	if back := crosses(t, "xmpp", "sip", swapped); !strings.Contains(back, "\r\nSubject: "+subject+"\r\n") {
		t.Errorf("and back: %s", back)
	}
	object := crosses(t, "sip", "cpim", sip)
	if !strings.Contains(object, "Subject: "+subject+"\r\n") {
		t.Errorf("the object: %s", object)
	}
}
