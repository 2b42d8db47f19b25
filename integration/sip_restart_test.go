package integration_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// The SIP peer ends in the middle of a watch and starts again without any of its dialogs: each part of a flow is a SIPp of its own, which knows nothing of the one before.
// It answers what comes in an old dialog with 481, "a transient error" (RFC 8048 §5.2.2). The watch goes on in a dialog of its own, and neither user does
// anything: a line of Juliet's that is not in the script fails.
var restartedFlows = []flow{
	{name: "our refresh is answered 481 (§5.2.2)", script: `
		juliet sends    presence type=subscribe to=romeo@example.net
		romeo  receives SUBSCRIBE Expires=3600
		romeo  sends    200 Expires=10
		romeo  sends    NOTIFY Subscription-State=active;expires=10 document=away
		romeo  receives 200
		juliet receives presence type=subscribed
		juliet receives presence type=none from=romeo@example.net/dr4hcr0st3lup4c show=away
		---
		# The refresh, in the dialog of the one that has ended.
		romeo  receives SUBSCRIBE Expires=3600
		romeo  sends    481
		---
		romeo  receives SUBSCRIBE Expires=3600
		romeo  sends    200 Expires=3600
		romeo  sends    NOTIFY Subscription-State=active;expires=3600 document=rich
		romeo  receives 200
		juliet receives presence type=none from=romeo@example.net/dr4hcr0st3lup4c show=dnd
		juliet sends    presence type=unsubscribe to=romeo@example.net` + isCancelled + `
		juliet receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
	`},
	{name: "our NOTIFY is answered 481, and he watches again (§5.3.2)", script: sheIsAsked + `
		juliet sends    presence type=subscribed to=romeo@example.net
		romeo  awaits   NOTIFY Subscription-State=active has="<basic>open</basic>"
		---
		juliet sends    presence to=romeo@example.net show=away
		romeo  receives NOTIFY Subscription-State=active has="<basic>open</basic>"
		romeo  sends    481
		juliet receives presence type=unavailable from=romeo@example.net
		---
		# She is not asked again.
		romeo  sends    SUBSCRIBE Expires=600
		romeo  receives 200 Expires=600
		romeo  awaits   NOTIFY Subscription-State=active has="<basic>open</basic>"
	`},
}

// T-PR-09: "if it receives a SIP response of ... 423 or 481 ... a transient error" (RFC 8048 §5.2.2) from a SIP peer that has started again.
func TestSIPPeerStartsAgain(t *testing.T) {
	for _, f := range restartedFlows {
		f.documents = romeoDocuments
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, crossOn(t, components()[0], overUDP, lab.GatewayConfig{}))
			s.play(t, f)
		})
	}
}
