package integration_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// sippRegisters has Romeo's user agent register for EXPIRES seconds.
const sippRegisters = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="a SIP user registers">
<send retrans="500"><![CDATA[

REGISTER sip:example.net SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:romeo@example.net>;tag=[pid]t[call_number]
To: <sip:romeo@example.net>
Call-ID: [call_id]
CSeq: CSEQ REGISTER
Contact: <sip:romeo@127.0.0.1:5060>
Expires: EXPIRES
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>`

// sippWatchesList opens a watch of Romeo's list of friends (RFC 4662), and answers what comes.
var sippWatchesList = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="a SIP user watches a list">
<send retrans="500"><![CDATA[

SUBSCRIBE sip:friends@example.net SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:romeo@example.net>;tag=[pid]t[call_number]
To: <sip:friends@example.net>
Call-ID: [call_id]
CSeq: 1 SUBSCRIBE
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
Event: presence
Supported: eventlist
Accept: application/pidf+xml, application/rlmi+xml, multipart/related
Expires: 600
Content-Length: 0

]]></send>
<recv response="200" rrs="true"/>
` + strings.Repeat(sippNotified, 20) + `</scenario>`

// domain is a Kamailio with presence as the SIP domain, and Juliet on the XMPP side.
type domain struct {
	*strait
	kamailio *lab.PresenceLists
	cseq     int // of Romeo's last registration
}

// startDomain starts all of it; Kamailio lets others watch for that many seconds at most (0: an hour).
func startDomain(t *testing.T, expires int) *domain {
	t.Helper()
	port := lab.FreePorts(t, 1)[0]
	k := lab.StartPresenceLists(t, lab.PresenceListsConfig{Gateway: port, Expires: expires, Members: []string{"sip:juliet@example.com"}})
	return &domain{kamailio: k, strait: crossWith(t, func(int) string { return k.URI() }, lab.GatewayConfig{Port: port, Peer: ", lenient_presence: true"})}
}

// register has Romeo's user agent register, for no seconds if it goes.
func (d *domain) register(t *testing.T, expires string) {
	t.Helper()
	d.cseq++
	lab.StartSIPp(t, lab.SIPpRun{
		Scenario: strings.NewReplacer("EXPIRES", expires, "CSEQ", strconv.Itoa(d.cseq)).Replace(sippRegisters), CallID: "registration",
		Port: lab.FreePorts(t, 1)[0], Target: d.kamailio.Port,
	}).Wait(t, patience)
}

// asks has Juliet ask for Romeo's presence, and Romeo's rules let her.
func (d *domain) asks(t *testing.T) {
	t.Helper()
	d.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribe")})
	lab.Eventually(t, patience, "Kamailio has told that it is pending", func() bool {
		return metric(t, d.gateway, `isthmus_sip_requests_total{direction="in",method="NOTIFY"}`) > 0
	})
	// "it MUST respond to them on the SIP side but refrain from sending any presence stanzas" (RFC 8048 §5.2.1)
	for _, m := range d.juliet.Received() {
		if m.Event == "presence" && strings.HasPrefix(lab.Text(m.From), "romeo@") {
			t.Errorf("while it is pending she received %v", m)
		}
	}
	d.kamailio.Rules(t, lab.Rule{User: "romeo", Watcher: "sip:juliet@example.com", Action: "allow"})
	d.juliet.Expect(t, patience, "the approval", isPresence("subscribed"))
}

// takenBack is how long presence may stand that nobody says any more: until Kamailio's longest watch is refreshed, and a minute.
const takenBack = 2 * time.Minute

// A SIP domain with a presence server: Juliet watches Romeo there, who publishes for himself, through restarts of the server with and without its
// tables, until he will not have it any more.
func TestXMPPUserWatchesKamailioDomain(t *testing.T) {
	t.Parallel()
	d := startDomain(t, 16)
	d.asks(t)
	etag := publish(t, d.kamailio.Port, publication{who: "romeo@example.net", expires: "600", body: romeoIs("open", "in the orchard")})
	d.juliet.Expect(t, patience, "his presence", says("in the orchard"))

	// An operator restarts Kamailio, which has its dialogs and publications in its tables: the watch goes on, and what he says afterwards is heard.
	d.kamailio.Stop(t)
	d.kamailio.Start(t)
	etag = publish(t, d.kamailio.Port, publication{who: "romeo@example.net", etag: etag, expires: "600", body: romeoIs("open", "after a restart")})
	d.juliet.Expect(t, 2*patience, "his presence after a restart", says("after a restart"))

	// It is killed, and has forgotten who watches and who is there. With the next refresh the watch is opened anew, and Romeo is not shown as there any more.
	d.kamailio.Forget(t)
	d.kamailio.Start(t)
	gone := d.juliet.Expect(t, takenBack, "that he is not known to be there", isPresence("unavailable"))
	if lab.Text(gone.From) != "romeo@example.net/orchard" {
		t.Errorf("gone is %q", lab.Text(gone.From))
	}
	publish(t, d.kamailio.Port, publication{who: "romeo@example.net", etag: etag, expires: "600", answer: "412"})
	publish(t, d.kamailio.Port, publication{who: "romeo@example.net", expires: "600", body: romeoIs("open", "told it all again")})
	d.juliet.Expect(t, 2*patience, "his presence after it was forgotten", says("told it all again"))

	// He decides otherwise later (RFC 8048 §5.2.2).
	d.kamailio.Rules(t, lab.Rule{User: "romeo", Watcher: "sip:juliet@example.com", Action: "block"})
	d.juliet.Expect(t, 2*patience, "that she does not see him any more", isPresence("unavailable"))
	d.juliet.Expect(t, patience, "the refusal", isPresence("unsubscribed"))
	for _, m := range d.juliet.Received() {
		if m.Event == "presence" && lab.Text(m.Type) == "subscribed" {
			t.Errorf("a second approval: %v", m)
		}
	}
}

// A domain whose users are present because they are registered: Kamailio's pua and pua_usrloc publish registrations. Their documents have tuple ids that are no
// xs:ID, and when a registration ends Kamailio tells its watchers what was published last once more, and nothing with the next refresh.
func TestXMPPUserWatchesRegistrations(t *testing.T) {
	t.Parallel()
	d := startDomain(t, 16)
	d.asks(t)
	d.register(t, "600")
	d.juliet.Expect(t, patience, "that he has registered", isPresence(""))
	d.register(t, "0")
	d.juliet.Expect(t, takenBack, "that he has gone", isPresence("unavailable"))
}

// requestsTaken counts the answers 2xx to the gateway's requests.
const requestsTaken = `isthmus_sip_responses_total{class="2xx",direction="in"}`

// list is what a SIP user has been told of the members of a list.
type list struct {
	*lab.SIPp
	seen int
}

func (d *domain) watchList(t *testing.T) *list {
	return &list{SIPp: lab.StartSIPp(t, lab.SIPpRun{Scenario: sippWatchesList, Port: lab.FreePorts(t, 1)[0], Target: d.kamailio.Port})}
}

// expect waits for a notification of the list that has all of these, after the last one that was expected.
func (l *list) expect(t *testing.T, what string, parts ...string) string {
	t.Helper()
	var found string
	lab.Eventually(t, 2*patience, what, func() bool {
		for i, m := range l.Received() {
			if i < l.seen || !strings.HasPrefix(m, "NOTIFY ") {
				continue
			}
			has := true
			for _, part := range parts {
				has = has && strings.Contains(m, part)
			}
			if has {
				l.seen, found = i+1, m
				return true
			}
		}
		return false
	})
	return found
}

// A resource list server of the SIP domain watches Juliet for Romeo, who watches his list of friends: Kamailio's rls and pua send the SUBSCRIBE and take
// the NOTIFY requests of the gateway.
func TestKamailioDomainWatchesXMPPUser(t *testing.T) {
	t.Parallel()
	d := startDomain(t, 0)
	l := d.watchList(t)
	ask := d.juliet.Expect(t, patience, "the request", isPresence("subscribe"))
	if lab.Text(ask.From) != "romeo@example.net" {
		t.Errorf("the request is from %q: a list is watched for its owner", lab.Text(ask.From))
	}
	d.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribed")})
	l.expect(t, "the list shows her", `state="active"`, "<basic>open</basic>", "entity='pres:juliet@example.com'")
	d.juliet.Send(t, lab.Stanza{Stanza: "presence", Show: p("away"), Status: p("on the balcony")})
	l.expect(t, "the list shows that she is away", "away", "on the balcony")

	// An operator restarts Kamailio. Its pua has stored its dialogs, so the watch goes on; its rls has forgotten who watches lists, so Romeo watches his
	// list anew.
	d.kamailio.Stop(t)
	d.kamailio.Start(t)
	taken := metric(t, d.gateway, requestsTaken)
	d.juliet.Send(t, lab.Stanza{Stanza: "presence", Show: p("dnd"), Status: p("after a restart")})
	lab.Eventually(t, 2*patience, "pua knows the dialog", func() bool { return metric(t, d.gateway, requestsTaken) > taken })
	if n := metric(t, d.gateway, "isthmus_sip_dialogs_notifier"); n != 1 {
		t.Errorf("%v dialogs", n)
	}
	l = d.watchList(t)
	l.expect(t, "the list shows her after a restart", "after a restart")

	// It is killed and knows nothing: the gateway's next NOTIFY is for nobody, which ends the watch, not the authorization. Romeo watches his list
	// anew, and sees her without that she is asked.
	d.kamailio.Forget(t)
	d.kamailio.Start(t)
	d.juliet.Send(t, lab.Stanza{Stanza: "presence", Show: p("chat"), Status: p("nobody hears this")})
	lab.Eventually(t, 2*patience, "the watch has ended", func() bool { return metric(t, d.gateway, "isthmus_sip_dialogs_notifier") == 0 })
	l = d.watchList(t)
	l.expect(t, "the new list shows her", "nobody hears this")
	for _, m := range d.juliet.Received() {
		if m.Event == "presence" && lab.Text(m.Type) == "subscribe" {
			t.Errorf("she was asked again: %v", m)
		}
	}
	// She takes it back. A resource list server goes on showing what it was told last, until a document says something else.
	d.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("unsubscribed")})
	if last := l.expect(t, "the list says that the watch is over", " reason="); strings.Contains(last, "<basic>open") {
		t.Errorf("the list still shows her: %s", last)
	}
}

// The SIP domain is away: what Juliet asked meanwhile is asked when it is back, what she saw there is not shown for longer than its watch lasted, and she is
// shown it again without doing anything. No authorization ends by it (RFC 8048 §5.2.2).
func TestSIPDomainIsAway(t *testing.T) {
	t.Parallel()
	d := startDomain(t, 16)
	d.kamailio.Rules(t, lab.Rule{User: "romeo", Watcher: "sip:juliet@example.com", Action: "allow"})
	d.kamailio.Stop(t)
	d.juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribe")})
	lab.Eventually(t, 2*patience, "nobody was there to be asked", func() bool {
		return strings.Contains(d.gateway.RawLog(), `"verb":"open","outcome":"failure"`)
	})
	d.kamailio.Start(t)
	d.juliet.Expect(t, takenBack, "the approval", isPresence("subscribed"))
	publish(t, d.kamailio.Port, publication{who: "romeo@example.net", expires: "600", body: romeoIs("open", "in the orchard")})
	d.juliet.Expect(t, patience, "his presence", says("in the orchard"))

	d.kamailio.Stop(t)
	d.juliet.Expect(t, takenBack, "that he is not known to be there", isPresence("unavailable"))
	d.kamailio.Start(t)
	taken := metric(t, d.gateway, requestsTaken)
	lab.Eventually(t, takenBack, "the watch is opened again", func() bool { return metric(t, d.gateway, requestsTaken) > taken })
	publish(t, d.kamailio.Port, publication{who: "romeo@example.net", expires: "600", body: romeoIs("open", "back again")})
	d.juliet.Expect(t, takenBack, "his presence again", says("back again"))
	for _, m := range d.juliet.Received() {
		if k := lab.Text(m.Type); m.Event == "presence" && (k == "unsubscribed" || k == "error" || k == "subscribed") {
			t.Errorf("she received %v", m)
		}
	}
}
