package integration_test

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// The gateway is killed in the middle of the flows of RFC 8048, with a store: every watch goes on without either user doing anything, no
// request is shown twice (a line of Juliet's that is not in the script fails), and no CSeq goes back (every flow is checked for that).
var killedFlows = []flow{
	{name: "while she sees him (§5.2.2, §6.3)", script: sheWatchesHim + `
		gateway breaks   down
		romeo   receives SUBSCRIBE Expires=3600
		romeo   sends    200 Expires=3600
		romeo   sends    NOTIFY Subscription-State=active;expires=3600 document=rich
		romeo   receives 200
		juliet  receives presence type=none from=romeo@example.net/dr4hcr0st3lup4c show=dnd
	`},
	{name: "and he takes it back when it is there again (§5.2.2)", script: sheWatchesHim + `
		gateway breaks   down
		romeo   receives SUBSCRIBE Expires=3600
		romeo   sends    200 Expires=3600
		romeo   sends    NOTIFY Subscription-State=terminated;reason=rejected
		romeo   receives 200
		juliet  receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
		juliet  receives presence type=unsubscribed from=romeo@example.net
	`},
	{name: "while Romeo has not decided, and when she has left (§5.2.1, §5.2.3)", script: `
		juliet  sends    presence type=subscribe to=romeo@example.net
		romeo   receives SUBSCRIBE Expires=3600
		romeo   sends    200 Expires=3600
		romeo   sends    NOTIFY Subscription-State=pending;expires=3600 document=away
		romeo   receives 200
		gateway breaks   down
		romeo   receives SUBSCRIBE Expires=3600
		romeo   sends    200 Expires=3600
		romeo   sends    NOTIFY Subscription-State=pending;expires=3600 document=away
		romeo   receives 200
		romeo   sends    NOTIFY Subscription-State=active;expires=3600 document=away
		romeo   receives 200
		juliet  receives presence type=subscribed
		juliet  receives presence type=none show=away
		juliet  sends    presence type=unsubscribe to=romeo@example.net` + isCancelled + `
		juliet  receives presence type=unavailable from=romeo@example.net/dr4hcr0st3lup4c
		gateway rests    watches=0
		gateway breaks   down
		---
		# It says nothing more of that, and the next request is one.` + sheWatchesHim},
	{name: "T-PR-07 when Romeo has refused (§5.2.1)", script: `
		juliet  sends    presence type=subscribe to=romeo@example.net
		romeo   receives SUBSCRIBE Expires=3600
		romeo   sends    200 Expires=3600
		romeo   sends    NOTIFY Subscription-State=pending;expires=3600
		romeo   receives 200
		romeo   sends    NOTIFY Subscription-State=terminated;reason=rejected
		romeo   receives 200
		gateway breaks   down
		juliet  receives presence type=unsubscribed from=romeo@example.net
		---` + sheWatchesHim},
	{name: "T-PR-07 when Juliet has refused (§5.3.1)", script: sheIsAsked + `
		juliet  sends    presence type=unsubscribed to=romeo@example.net
		romeo   receives NOTIFY Subscription-State=terminated;reason=rejected body=none
		romeo   sends    200
		gateway breaks   down
		---
		# She is shown no second request, but that of his next watch.` + sheIsAsked},
	{name: "Juliet decides while it is away (§5.3.1)", script: sheIsAsked + `
		gateway dies
		juliet  sends    presence type=subscribed to=romeo@example.net
		# Her server says of both that, and of her presence, that they came to nobody.
		juliet  receives presence type=error
		juliet  receives presence type=error
		gateway comes
		romeo   receives NOTIFY Subscription-State=active body=none
		romeo   sends    200
		romeo   receives NOTIFY Subscription-State=active has="<basic>open</basic>"
		romeo   sends    200
	`},
	{name: "while Juliet has not decided (§5.3.1)", script: sheIsAsked + `
		gateway breaks   down` + sheApproves + `
		gateway breaks   down
		# Whose presence is known again is told again, and the dialog goes on.
		romeo   receives NOTIFY Subscription-State=active has="<basic>open</basic>"
		romeo   sends    200` + heCancels},
	{name: "while he sees her, and she takes it back (§5.3.1)", script: sheIsAsked + sheApproves + `
		gateway breaks   down
		romeo   receives NOTIFY Subscription-State=active has="<basic>open</basic>"
		romeo   sends    200
		juliet  sends    presence type=unsubscribed to=romeo@example.net
		romeo   awaits   NOTIFY Subscription-State=terminated;reason=rejected not="<basic>open</basic>"
	`},
}

// T-FI-01, T-PR-08: kill -9 of the real binary in the middle of each flow. Each has a server and a gateway of its own.
func TestT_PR_08_KilledInTheMiddle(t *testing.T) {
	w := components()[0]
	for _, f := range killedFlows {
		f.documents = romeoDocuments
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			c := lab.GatewayConfig{Extra: "store: {directory: \"" + t.TempDir() + "\"}\n"}
			s := newStage(t, crossOn(t, w, overUDP, c))
			s.play(t, f)
		})
	}
}
