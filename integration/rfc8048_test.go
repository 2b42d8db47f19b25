package integration_test

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// The documents of Romeo in the flows: RFC 8048 Example 4, its Example 20, and richer ones.
var romeoDocuments = map[string]string{
	"away":   romeoTuple(`<basic>open</basic><show xmlns="jabber:client">away</show>`, ""),
	"closed": romeoTuple(`<basic>closed</basic>`, ""),
	"rich": romeoTuple(`<basic>open</basic><show xmlns="jabber:client">dnd</show>`,
		`<contact priority="0.1">im:romeo@example.net</contact><note>on the balcony</note><note xml:lang="cs">na balkoně</note>`),
	"two": `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:romeo@example.net">` +
		`<tuple id="ID-orchard"><status><basic>open</basic></status></tuple><tuple id="ID-crypt"><status><basic>closed</basic></status></tuple></presence>`,
}

func romeoTuple(status, rest string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:romeo@example.net">` +
		`<tuple id="ID-dr4hcr0st3lup4c"><status>` + status + `</status>` + rest + `</tuple></presence>`
}

// approves is Romeo's side of a request that he approves at once.
const approves = `
	romeo  receives SUBSCRIBE Expires=3600 Event=presence
	romeo  sends    200 Expires=3600
	romeo  sends    NOTIFY Subscription-State=active;expires=3600 document=away
	romeo  receives 200
`

// isCancelled is the end of Juliet's watch, as Romeo sees it.
const isCancelled = `
	romeo  receives SUBSCRIBE Expires=0
	romeo  sends    200 Expires=0
	romeo  sends    NOTIFY Subscription-State=terminated;reason=timeout
	romeo  receives 200
`

// sheWatchesHim is Juliet's request, which Romeo approves at once, and what she is shown then.
const sheWatchesHim = `
	juliet sends    presence type=subscribe to=romeo@example.net` + approves + `
	juliet receives presence type=subscribed
	juliet receives presence type=none show=away
`

// sheIsAsked is a watch of Romeo's that Juliet has not decided about; sheApproves the approval, and what he is shown then.
const (
	sheIsAsked = `
	romeo  sends    SUBSCRIBE Expires=600
	romeo  receives 200 Expires=600
	romeo  receives NOTIFY Subscription-State=pending body=none
	romeo  sends    200
	juliet receives presence type=subscribe from=romeo@example.net
`
	sheApproves = `
	juliet sends    presence type=subscribed to=romeo@example.net
	romeo  receives NOTIFY Subscription-State=active body=none
	romeo  sends    200
	romeo  receives NOTIFY Subscription-State=active has="<basic>open</basic>"
	romeo  sends    200
`
)

// heIsAllowed is a watch of Romeo's for which he has the authorization already.
const heIsAllowed = `
	romeo  sends    SUBSCRIBE Expires=600
	romeo  receives 200 Expires=600
	romeo  receives NOTIFY Subscription-State=active
	romeo  sends    200
	romeo  receives NOTIFY Subscription-State=active has="<basic>open</basic>"
	romeo  sends    200
`

// heCancels is the end of Romeo's watch, which Juliet's server is told of.
const heCancels = `
	romeo  sends    SUBSCRIBE Expires=0
	romeo  receives 200 Expires=0
	romeo  receives NOTIFY Subscription-State=terminated;reason=timeout has="<basic>closed</basic>"
	romeo  sends    200
	juliet receives presence type=unavailable from=romeo@example.net
`

// RFC 8048 §5.2 and §6.3: Juliet watches Romeo. Each flow leaves the two as it found them.
var xmppToSIPFlows = []flow{
	{name: "request, pending, approval, notification and cancellation (§5.2.1, §6.3, §5.2.3)", script: `
		juliet sends    presence type=subscribe to=romeo@example.net                                           F1
		romeo  receives SUBSCRIBE Expires=3600 Event=presence Accept="application/pidf+xml, multipart/signed;q=0.5, application/pkcs7-mime;q=0.5" body=none           F2, F3
		romeo  sends    200 Expires=3600                                                                       F4, F5
		romeo  sends    NOTIFY Subscription-State=pending;expires=3600 document=away                            F6, F7
		romeo  receives 200                                                                                    F8, F9
		romeo  sends    NOTIFY Subscription-State=active;expires=3600 document=away                             F10, F11
		romeo  receives 200                                                                                    F12, F13
		juliet receives presence type=subscribed from=romeo@example.net                                        F14
		juliet receives presence type=none from=romeo@example.net/dr4hcr0st3lup4c show=away                    F15
		romeo  sends    NOTIFY Subscription-State=active;expires=3000 document=closed                           Example 20
		romeo  receives 200
		juliet receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c                       Example 21
		juliet sends    presence type=unsubscribe to=romeo@example.net                                         F16
		romeo  receives SUBSCRIBE Expires=0                                                                    F17, F18
		romeo  sends    200 Expires=0                                                                          F19, F20
		# F21, "unsubscribed", is not shown to her by her server, which has no such item any more (RFC 6121 §3.2.3). F22 to F25 are the wrong way
		# round in the text: the notifier sends the NOTIFY that ends a watch (RFC 6665 §4.4.1).
		romeo  sends    NOTIFY Subscription-State=terminated;reason=timeout
		romeo  receives 200
		juliet receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
	`},
	{name: "T-PR-07 a refusal: terminated, rejected (§5.2.1)", script: `
		juliet sends    presence type=subscribe to=romeo@example.net
		romeo  receives SUBSCRIBE Expires=3600
		romeo  sends    200 Expires=3600
		romeo  sends    NOTIFY Subscription-State=pending;expires=3600
		romeo  receives 200
		romeo  sends    NOTIFY Subscription-State=terminated;reason=rejected
		romeo  receives 200
		juliet receives presence type=unsubscribed from=romeo@example.net
	`},
	{name: "T-PR-07 a refusal: 403 (§5.2.2)", script: refusedBy("403")},
	{name: "T-PR-07 a refusal: 489 (§5.2.2)", script: refusedBy("489")},
	{name: "T-PR-07 a refusal: 603 (§5.2.2)", script: refusedBy("603")},
	{name: "T-PR-01 who may not see him may write to him", script: refusedBy("603") + `
		---
		juliet sends    message to=romeo@example.net text="Wherefore art thou Romeo?"
		romeo  receives MESSAGE has="Wherefore art thou Romeo?"
		romeo  sends    200
	`},
	{name: "T-PR-12 T-PR-16 the authorization is taken back later (§5.2.2)", script: `
		juliet sends    presence type=subscribe to=romeo@example.net` + approves + `
		romeo  waits    ms=300
		romeo  sends    NOTIFY Subscription-State=terminated;reason=rejected
		romeo  receives 200
		juliet receives presence type=subscribed
		juliet receives presence type=none show=away
		juliet receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
		juliet receives presence type=unsubscribed from=romeo@example.net
	`},
	{name: "a new presence session (§5.2.2)", script: `
		nurse  sends    presence type=subscribe to=romeo@example.net` + approves + `
		nurse  receives presence type=subscribed
		nurse  receives presence type=none show=away
		# Romeo may not see her, so her server does not tell that she has gone (RFC 6121 §4.5.2). It does tell that she is back (§4.3.1).
		nurse  logs     out
		nurse  logs     in
		romeo  receives SUBSCRIBE Expires=3600
		romeo  sends    200 Expires=3600
		nurse  receives presence type=none from=romeo@example.net/dr4hcr0st3lup4c show=away
		romeo  waits    ms=300
		romeo  sends    NOTIFY Subscription-State=active;expires=3600 document=closed
		romeo  receives 200
		nurse  receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
		nurse  sends    presence type=unsubscribe to=romeo@example.net` + isCancelled + `
		nurse  receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
	`},
	{name: "T-PR-08 the decision comes while she is offline", script: `
		nurse  sends    presence type=subscribe to=romeo@example.net
		romeo  receives SUBSCRIBE Expires=3600
		romeo  sends    200 Expires=3600
		romeo  sends    NOTIFY Subscription-State=pending;expires=3600
		romeo  receives 200
		nurse  logs     out
		romeo  waits    ms=500
		romeo  sends    NOTIFY Subscription-State=active;expires=3600 document=away
		romeo  receives 200
		# Her server has taken "subscribed" for her, and her roster says so.
		nurse  logs     in
		romeo  receives SUBSCRIBE Expires=3600
		romeo  sends    200 Expires=3600
		nurse  receives presence type=none from=romeo@example.net/dr4hcr0st3lup4c show=away
		nurse  sends    presence type=unsubscribe to=romeo@example.net` + isCancelled + `
		nurse  receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
	`},
	{name: "T-PR-19 polite blocking: active, and closed", script: `
		juliet sends    presence type=subscribe to=romeo@example.net
		romeo  receives SUBSCRIBE Expires=3600
		romeo  sends    200 Expires=3600
		romeo  sends    NOTIFY Subscription-State=active;expires=3600 document=closed
		romeo  receives 200
		juliet receives presence type=subscribed
		juliet receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
		juliet sends    presence type=unsubscribe to=romeo@example.net` + isCancelled + `
		juliet receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
	`},
	{name: "every element of Table 2, and two devices (§6.3)", script: `
		juliet sends    presence type=subscribe to=romeo@example.net
		romeo  receives SUBSCRIBE Expires=3600
		romeo  sends    200 Expires=3600
		romeo  sends    NOTIFY Subscription-State=active;expires=3600 document=rich Content-Language=en
		romeo  receives 200
		juliet receives presence type=subscribed
		juliet receives presence type=none lang=en show=dnd priority=13 status="on the balcony" contains="<status xml:lang='cs'>na balkoně</status>"
		romeo  sends    NOTIFY Subscription-State=active;expires=3600 document=two
		romeo  receives 200
		juliet receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
		juliet receives presence type=none from=romeo@example.net/orchard
		juliet receives presence type=unavailable from=romeo@example.net/crypt
		juliet sends    presence type=unsubscribe to=romeo@example.net` + isCancelled + `
		juliet receives presence type=unavailable from=romeo@example.net/orchard
		juliet receives presence type=unavailable from=romeo@example.net/crypt
	`},
	{name: "T-PR-17 polling (§7.1)", script: `
		# Prosody probes like that when a user comes online (see gateway/watch): of who was approved it opens a watch, of a stranger it asks.
		nurse  sends    presence type=probe to=romeo@example.net                                               Example 22
		romeo  receives SUBSCRIBE Expires=0                                                                    Example 23
		romeo  sends    200 Expires=0
		romeo  sends    NOTIFY Subscription-State=terminated;reason=timeout document=away                       Example 24
		romeo  receives 200
		nurse  receives presence type=none from=romeo@example.net/dr4hcr0st3lup4c show=away                    Example 25
	`},
}

func refusedBy(code string) string {
	return `
		juliet sends    presence type=subscribe to=romeo@example.net
		romeo  receives SUBSCRIBE Expires=3600
		romeo  sends    ` + code + `
		juliet receives presence type=unsubscribed from=romeo@example.net
	`
}

// RFC 8048 §5.3, §6.2 and §7.2: Romeo watches Juliet, who is on her balcony.
var sipToXMPPFlows = []flow{
	{name: "T-PR-18 request, approval, notification and end (§5.3.1, §6.2, §5.3.3)", script: `
		romeo  sends    SUBSCRIBE Expires=600                                                                  F26, Example 11
		romeo  receives 200 Expires=600                                                                        F27
		romeo  receives NOTIFY Subscription-State=pending body=none
		romeo  sends    200
		juliet receives presence type=subscribe from=romeo@example.net F28, F29, Example 12
		juliet sends    presence type=subscribed to=romeo@example.net                                          F30, F31, Example 13
		romeo  receives NOTIFY Subscription-State=active body=none                                             F32, Example 14
		romeo  sends    200                                                                                    F33
		romeo  receives NOTIFY Subscription-State=active has="<basic>open</basic>" and="<tuple id='ID-balcony'>" Example 19
		romeo  sends    200
		romeo  sends    SUBSCRIBE Expires=0                                                                    Example 17
		romeo  receives 200 Expires=0
		romeo  receives NOTIFY Subscription-State=terminated;reason=timeout has="<basic>closed</basic>"
		romeo  sends    200
		juliet receives presence type=unavailable from=romeo@example.net
	`},
	{name: "a refresh, and a new dialog with the authorization that he has (§5.3.2)", script: heIsAllowed + `
		romeo  sends    SUBSCRIBE Expires=500
		romeo  receives 200 Expires=500
		romeo  receives NOTIFY Subscription-State=active has="<basic>open</basic>"
		romeo  sends    200` + heCancels},
	{name: "T-PR-17 polling (§7.2)", script: `
		romeo  sends    SUBSCRIBE Expires=0                                                                    Example 26
		romeo  receives 200 Expires=0
		romeo  receives NOTIFY Subscription-State=terminated;reason=timeout has="<basic>open</basic>"
		romeo  sends    200
	`},
	{name: "T-PR-12 T-PR-16 the authorization is taken back", script: heIsAllowed + `
		juliet sends    presence type=unsubscribed to=romeo@example.net
		# Her server may say that she has gone before it says this (RFC 6121 §3.2.2).
		romeo  awaits   NOTIFY Subscription-State=terminated;reason=rejected not="<basic>open</basic>"
	`},
	{name: "T-PR-07 a refusal (§5.3.1)", script: sheIsAsked + `
		juliet sends    presence type=unsubscribed to=romeo@example.net                                        Example 15
		romeo  receives NOTIFY Subscription-State=terminated;reason=rejected body=none                          Example 16
		romeo  sends    200
	`},
	{name: "T-PR-09 a request, and polling, while she is offline", script: `
		juliet logs     out
		romeo  sends    SUBSCRIBE Expires=600
		romeo  receives 200 Expires=600
		romeo  receives NOTIFY Subscription-State=pending body=none
		romeo  sends    200
		juliet logs     in
		juliet receives presence type=subscribe from=romeo@example.net` + sheApproves + heCancels + `
		---
		juliet logs     out
		romeo  sends    SUBSCRIBE Expires=0
		romeo  receives 200 Expires=0
		romeo  receives NOTIFY Subscription-State=terminated;reason=timeout not="<basic>open</basic>"
		romeo  sends    200
		juliet logs     in
	`},
	{name: "T-PR-11 a device breaks off, then the server (§5.2, §6.2)", script: `
		romeo        sends    SUBSCRIBE Expires=600
		romeo        receives 200 Expires=600
		romeo        receives NOTIFY Subscription-State=active
		romeo        sends    200
		romeo        receives NOTIFY Subscription-State=active has="<tuple id='ID-balcony'><status><basic>open"
		romeo        sends    200
		chamber      logs     in
		romeo        receives NOTIFY Subscription-State=active has="<tuple id='ID-balcony'><status><basic>open" and="<tuple id='ID-chamber'><status><basic>open"
		romeo        sends    200
		chamber      logs     out
		romeo        receives NOTIFY Subscription-State=active has="<tuple id='ID-balcony'><status><basic>open" and="<tuple id='ID-chamber'><status><basic>closed"
		romeo        sends    200
		server       breaks   down
		# Romeo does nothing, and sees her again. The gateway has asked her server, which may have said before that nobody is there.
		juliet       logs     in
		romeo        awaits   NOTIFY Subscription-State=active has="<tuple id='ID-balcony'><status><basic>open"
	`},
	{name: "T-PR-21 presence and approvals that nobody asked for", script: `
		juliet sends    presence to=romeo@example.net show=chat
		juliet sends    presence type=unavailable to=romeo@example.net
	`},
}

// Every flow of RFC 8048, with each XMPP server. The flows of one server are played in turn, because each is between the same two users; the
// servers at the same time.
func TestRFC8048(t *testing.T) {
	for _, w := range components() {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, crossOn(t, w, overUDP, lab.GatewayConfig{}))
			for _, f := range append(xmppToSIPFlows, sipToXMPPFlows...) {
				f.documents = romeoDocuments
				if !t.Run(f.name, func(t *testing.T) { s.play(t, f) }) {
					break // the next one begins where this one should have ended
				}
			}
			// T-PR-13: nothing of what the users said of themselves is in the log.
			for _, secret := range []string{"balkon", "on the balcony", "<presence"} {
				if strings.Contains(s.gateway.RawLog(), secret) {
					t.Errorf("the log has %q", secret)
				}
			}
		})
	}
}
