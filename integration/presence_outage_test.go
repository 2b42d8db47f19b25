package integration_test

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// T-PR-11: Romeo sees Juliet; her server is killed and started again, and she never comes back. He does not see her for ever, whether her
// server answers for who is not there (Prosody), or says nothing (ejabberd).
func TestT_PR_11_NeverBack(t *testing.T) {
	for _, w := range components() {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, crossOn(t, w, overUDP, lab.GatewayConfig{}))
			s.wait = 2 * patience
			s.play(t, flow{name: "never back", script: `
				romeo   sends    SUBSCRIBE Expires=600
				romeo   receives 200 Expires=600
				romeo   receives NOTIFY Subscription-State=pending
				romeo   sends    200
				juliet  receives presence type=subscribe from=romeo@example.net
				juliet  sends    presence type=subscribed to=romeo@example.net
				romeo   receives NOTIFY Subscription-State=active body=none
				romeo   sends    200
				romeo   receives NOTIFY Subscription-State=active has="<tuple id='ID-balcony'><status><basic>open"
				romeo   sends    200
				server  breaks   down
				romeo   receives NOTIFY Subscription-State=active not="<basic>open"
				romeo   sends    200
			`})
			if strings.Contains(s.gateway.RawLog(), "juliet") {
				t.Error("the log tells who is watched (T-PR-13)")
			}
		})
	}
}
