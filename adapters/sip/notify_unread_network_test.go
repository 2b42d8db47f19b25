package sip

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// "If this Timer N expires prior to the receipt of a NOTIFY request, the subscriber considers the subscription failed" (RFC 6665 §4.1.2.4): one whose
// document cannot be used was received. Its notifier goes on with the watch, so that to open another would leave one more there each time.
func TestUnreadableNotifyIsOne(t *testing.T) {
	for name, body := range map[string]string{
		"malformed":           "<presence",
		"about somebody else": documentText("tybalt@example.net", "open"),
		"another type":        "text",
	} {
		t.Run(name, func(t *testing.T) {
			a, c := start(t, func(cfg *Config) { cfg.T1 = 20 * time.Millisecond })
			g := udpAgent(t, a)
			seen := map[string]bool{}
			done := watchRomeo(a, g, adapters.WatchOpen)
			sub := g.request("SUBSCRIBE", seen)
			g.answer(sub, wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
			next(t, done, "outcome")
			unreadable := func(cseq, state string) {
				t.Helper()
				text := notifyText(sub, "agent", cseq, state, body)
				if body == "text" {
					text = strings.Replace(text, "application/pidf+xml", "text/plain", 1)
				}
				if r := g.ask(text); r.StatusCode() < 400 {
					t.Fatalf("%d, want a refusal", r.StatusCode())
				}
			}
			unreadable("1", "active;expires=600")
			// "the XMPP-to-SIP gateway needs to consider the state to be "neutral" until it receives a NOTIFY message with a Subscription-State header ...
			// whose value is "active"" (RFC 8048 §5.2.1): it did.
			if op := next(t, c.notices, "the approval"); op.State != adapters.WatchActive || op.Change != adapters.AuthorizationGranted || op.Presence != nil {
				t.Errorf("%+v", op)
			}
			select {
			case op := <-c.notices:
				t.Fatalf("the core was told %+v", op)
			case <-time.After(2 * a.timerN):
			}
			// And of a refresh.
			done = watchRomeo(a, g, adapters.WatchOpen)
			g.answer(g.request("SUBSCRIBE", seen), wire.Response{Code: 200, Headers: []wire.Header{{Name: "Expires", Value: "600"}}})
			next(t, done, "outcome")
			unreadable("2", "active;expires=600")
			if op := next(t, c.notices, "what is not known any more"); op.State != adapters.WatchActive || op.Presence != nil || !op.Whole {
				t.Errorf("%+v", op)
			}
			select {
			case op := <-c.notices:
				t.Fatalf("the core was told %+v", op)
			case <-time.After(2 * a.timerN):
			}
			// "If the "Subscription-State" value is "terminated", the subscriber MUST consider the subscription terminated" (RFC 6665 §4.1.3).
			unreadable("3", "terminated;reason=rejected")
			if op := next(t, c.notices, "the end"); op.State != adapters.WatchTerminated || op.Change != adapters.AuthorizationRefused || op.Presence != nil {
				t.Errorf("%+v", op)
			}
			dialogsEnd(t, a)
		})
	}
}
