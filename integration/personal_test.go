package integration_test

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// Moods cross both ways between users who watch each other (XEP-0107 and XEP-0163 on the one side, RPID on the other): Romeo's presence server says it in
// his document, and Juliet's server finds by the capabilities that stand in his presence that she may tell him hers.
func TestMoodsCross(t *testing.T) {
	const mood = "http://jabber.org/protocol/mood"
	for _, software := range lab.XMPPServers() {
		t.Run(string(software), func(t *testing.T) {
			t.Parallel()
			agents := lab.FreePorts(t, 2)
			server := lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: software, Personal: true})
			gateway := lab.StartGateway(t, lab.GatewayConfig{Component: server.Component, NextHop: overUDP(agents[0])})
			juliet := server.LogInPersonal(t, "juliet", "balcony")
			watches := flow{name: "Romeo watches Juliet", script: `
				romeo  sends    SUBSCRIBE Expires=600
				romeo  receives 200
				romeo  receives NOTIFY Subscription-State=pending
				romeo  sends    200
				romeo  receives NOTIFY Subscription-State=active body=none
				romeo  sends    200
				romeo  receives NOTIFY Subscription-State=active has="<basic>open</basic>" not="person"
				romeo  sends    200
				romeo  receives NOTIFY Subscription-State=active has="<sad" and="my nurse"
				romeo  sends    200
			`}
			isWatched := flow{
				name: "Juliet watches Romeo", script: approves,
				documents: map[string]string{"away": strings.Replace(romeoTuple(`<basic>open</basic>`, ""), "</presence>",
					`<dm:person xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" id="p1"><r:mood xmlns:r="urn:ietf:params:xml:ns:pidf:rpid"><r:happy/></r:mood></dm:person></presence>`, 1)},
			}
			watcher := lab.StartSIPp(t, lab.SIPpRun{Scenario: watches.scenario(t, watches.parse(t)[0]), Port: agents[1], Target: gateway.Port})
			juliet.Expect(t, patience, "the request", isPresence("subscribe"))
			approve(t, watcher, juliet, "romeo@example.net")
			lab.Eventually(t, patience, "Romeo sees her", func() bool { return len(watcher.Received()) >= 4 })

			watched := lab.StartSIPp(t, lab.SIPpRun{Scenario: isWatched.scenario(t, isWatched.parse(t)[0]), Port: agents[0]})
			juliet.Send(t, lab.Stanza{Stanza: "presence", To: p("romeo@example.net"), Type: p("subscribe")})
			juliet.Expect(t, patience, "his presence", isPresence(""))
			watched.Wait(t, patience)
			his := juliet.Expect(t, patience, "his mood", func(s lab.Stanza) bool { return s.Event == "message" && strings.Contains(s.XML, mood) })
			if lab.Text(his.From) != "romeo@example.net" || !strings.Contains(his.XML, "<happy") {
				t.Errorf("%s", his.XML)
			}
			juliet.Send(t, lab.Stanza{Stanza: "iq", ID: p("publish"), Type: p("set"), Children: "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='" + mood +
				"'><item id='current'><mood xmlns='" + mood + "'><sad/><text>my nurse</text></mood></item></publish></pubsub>"})
			watcher.Wait(t, 2*patience)
			watches.check(t, watches.parse(t)[0], watcher.Received())
		})
	}
}
