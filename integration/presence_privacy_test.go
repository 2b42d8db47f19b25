package integration_test

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// sippAsksWho asks for watcher information (RFC 3857) of Juliet, as ASKER.
const sippAsksWho = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="a SIP user asks who watches">
<send retrans="500"><![CDATA[

SUBSCRIBE sip:WHOM SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:ASKER>;tag=[pid]t[call_number]
To: <sip:WHOM>
Call-ID: [call_id]
CSeq: 1 SUBSCRIBE
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
Event: EVENT
Accept: application/watcherinfo+xml
Expires: 600
Content-Length: 0

]]></send>
<recv response="489"/>
</scenario>`

// T-PR-13: "the protocol SHOULD NOT make A's SUBSCRIPTION to B obvious to a third party C." (RFC 2779 §5.1.2): of who watches whom, and of what they say of
// themselves, nothing is in the log at its usual level, nor in what the administration listener tells; and nobody is told who watches: watcher information
// is refused whoever asks, and asks nobody.
func TestT_PR_13_NobodyElseLearnsWhoWatches(t *testing.T) {
	t.Parallel()
	s := newStage(t, cross(t, overUDP))
	for _, f := range []flow{
		{name: "she watches him", documents: romeoDocuments, script: `
			juliet sends    presence type=subscribe to=romeo@example.net
			romeo  receives SUBSCRIBE Expires=3600
			romeo  sends    200 Expires=3600
			romeo  sends    NOTIFY Subscription-State=active;expires=3600 document=rich
			romeo  receives 200
			juliet receives presence type=subscribed
			juliet receives presence type=none show=dnd status="on the balcony"
			juliet sends    presence type=unsubscribe to=romeo@example.net` + isCancelled + `
			juliet receives presence type=unavailable
		`},
		{name: "he may not see her", documents: romeoDocuments, script: refusedBy("403")},
		{name: "it fails", documents: romeoDocuments, script: `
			juliet sends    presence type=subscribe to=romeo@example.net
			romeo  receives SUBSCRIBE Expires=3600
			romeo  sends    404
			juliet receives presence type=error from=romeo@example.net
		`},
		{name: "he watches her, and she takes it back", script: `
			romeo   sends    SUBSCRIBE Expires=600
			romeo   receives 200 Expires=600
			romeo   receives NOTIFY Subscription-State=pending
			romeo   sends    200
			juliet  receives presence type=subscribe from=romeo@example.net
			juliet  sends    presence status="waiting for Romeo"
			juliet  sends    presence type=subscribed to=romeo@example.net
			romeo   awaits   NOTIFY has="waiting for Romeo"
			juliet  sends    presence type=unsubscribed to=romeo@example.net
			romeo   awaits   NOTIFY Subscription-State=terminated;reason=rejected not="<basic>open</basic>"
		`},
	} {
		if !t.Run(f.name, func(t *testing.T) { s.play(t, f) }) {
			return
		}
	}
	for _, c := range []struct{ name, asker, whom, event string }{
		{"of her, by him", "romeo@example.net", "juliet@example.com", "presence.winfo"},
		{"of him, by himself", "romeo@example.net", "romeo@example.net", "presence.winfo"},
		{"of that too", "romeo@example.net", "juliet@example.com", "presence.winfo.winfo"},
		{"in other letters", "romeo@example.net", "juliet@example.com", "Presence.WINFO"},
	} {
		t.Run("watcher information "+c.name, func(t *testing.T) {
			lab.StartSIPp(t, lab.SIPpRun{
				Scenario: strings.NewReplacer("WHOM", c.whom, "ASKER", c.asker, "EVENT", c.event).Replace(sippAsksWho),
				Port:     lab.FreePorts(t, 1)[0], Target: s.gateway.Port,
			}).Wait(t, patience)
		})
	}
	shown := map[string]string{"the log": s.gateway.RawLog()}
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		code, text := s.gateway.Get(path)
		if code != 200 {
			t.Errorf("%s: %d", path, code)
		}
		shown[path] = text
	}
	if n := strings.Count(shown["the log"], `"operation":"watch"`); n < 4 {
		t.Errorf("%d lines of watches in the log: nothing is shown", n)
	}
	for where, text := range shown {
		for _, private := range []string{"juliet", "romeo", "balcony", "orchard", "dr4hcr0st3lup4c", "balkon", "waiting for", "<presence", "dnd"} {
			if strings.Contains(strings.ToLower(text), private) {
				t.Errorf("%s has %q:\n%s", where, private, linesWith(text, private))
			}
		}
	}
	for who, u := range s.users {
		for _, r := range u.Received() {
			if r.Event == "presence" && strings.Contains(lab.Text(r.Type), "subscribe") {
				t.Errorf("%s was asked by a question for watchers: %v", who, r)
			}
		}
	}
}

func linesWith(text, word string) string {
	var all []string
	for line := range strings.Lines(text) {
		if strings.Contains(strings.ToLower(line), word) {
			all = append(all, line)
		}
	}
	return strings.Join(all[:min(len(all), 5)], "")
}
