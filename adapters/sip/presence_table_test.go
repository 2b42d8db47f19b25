package sip

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

var updateMapping = flag.Bool("update-mapping", false, "rewrite testdata/presence-mapping.txt; read what has changed in it")

// notifyStates are values of Subscription-State: RFC 6665 §4.1.3, and what is none of it.
var notifyStates = []string{
	"active", "active;expires=3600", "active;reason=rejected", "active;retry-after=9", "pending", "pending;expires=60", "ACTIVE", "terminated",
	"terminated;reason=deactivated", "terminated;reason=deactivated;retry-after=300", "terminated;reason=probation",
	"terminated;reason=probation;retry-after=300", "terminated;reason=rejected", "terminated;reason=rejected;retry-after=300",
	"terminated;reason=timeout", "terminated;reason=giveup", "terminated;reason=giveup;retry-after=300", "terminated;reason=noresource",
	"terminated;reason=noresource;retry-after=300", "terminated;reason=invariant", "terminated;reason=novel", "terminated;reason=REJECTED",
	"terminated;expires=60", "terminated;retry-after=300", "waiting", "", "active;expires=x",
}

// T-PR-07, RFC 8048 §5.2.2: what each Subscription-State and each final response to SUBSCRIBE means to the core, as a table that a protocol reader can check.
// What the RFCs say of it is asserted beside, whatever the file says.
func TestPresenceMapping(t *testing.T) {
	var b strings.Builder
	b.WriteString("# What the core is told. Written by: go test ./adapters/sip -run TestPresenceMapping -update-mapping\n\n# Subscription-State of a NOTIFY\n")
	for _, text := range notifyStates {
		s, ok := parseWatchState(text)
		line := "malformed: 400"
		if ok {
			line = s.state.String()
			if s.end != adapters.EndNone {
				line += ", end " + s.end.String()
			}
			if s.state == adapters.WatchTerminated && s.end == adapters.EndRejected {
				line += ", the authorization is cancelled"
			}
			if s.retryAfter > 0 {
				line += fmt.Sprint(", not before ", s.retryAfter)
			}
			if s.hasExpires {
				line += fmt.Sprint(", lasts ", s.expires)
			}
		}
		fmt.Fprintf(&b, "%-52s %s\n", text, line)
		if ok {
			mustOfState(t, text, s)
		}
	}
	b.WriteString("\n# Final response to SUBSCRIBE: reason; permanent: the authorization is cancelled; over: the dialog is, else it lasts until it expires\n")
	for code := 300; code < 700; code++ {
		phrase := "permanent"
		if !cancels(code) {
			phrase = ""
		}
		over := ""
		if endsUsage(code) || cancels(code) {
			over = "over"
		}
		if knownCode(code) {
			fmt.Fprintf(&b, "%d %-24s %-10s %s\n", code, ReasonOf(code), phrase, over)
		}
		// "MUST consider the XMPP presence authorization to be permanently cancelled ... if it receives a SIP response of 403, 489, or
		// 603. By contrast, ... 423 or 481 ... a transient error" (RFC 8048 §5.2.2)
		if want := code == 403 || code == 489 || code == 603; cancels(code) != want {
			t.Errorf("%d: permanent is %v", code, cancels(code))
		}
	}
	const file = "testdata/presence-mapping.txt"
	text := strings.ReplaceAll(b.String(), " \n", "\n")
	for strings.Contains(text, " \n") {
		text = strings.ReplaceAll(text, " \n", "\n")
	}
	if *updateMapping {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, kept := strings.Split(text, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(kept)) {
		g, k := "", ""
		if i < len(got) {
			g = got[i]
		}
		if i < len(kept) {
			k = kept[i]
		}
		if g != k {
			t.Fatalf("%s:%d\n got: %s\nwant: %s", file, i+1, g, k)
		}
	}
}

// knownCode tells whether a code is one that has a row: those of RFC 3261 and its extensions that a request may be answered with.
func knownCode(code int) bool {
	switch code {
	case 305, 380, 494, 500, 501, 502, 503, 504, 505, 513, 580, 600, 603, 604, 606, 607:
		return true
	}
	return code >= 300 && code <= 302 || code >= 400 && code <= 440 || code >= 480 && code <= 493
}

func mustOfState(t *testing.T, text string, s watchState) {
	t.Helper()
	lower := strings.ToLower(text)
	is := func(part string) bool { return strings.Contains(lower, part) }
	switch {
	case s.state != adapters.WatchTerminated && (s.end != adapters.EndNone || s.retryAfter != 0):
		t.Errorf("%q: an end of what goes on", text)
	case (s.end == adapters.EndRejected) != (is("terminated") && is("reason=rejected")):
		t.Errorf("%q: rejected is %v", text, s.end)
	case s.hasExpires && is("terminated"):
		// "subscribers MUST ignore any such parameter" (RFC 6665 §4.1.3)
		t.Errorf("%q: it lasts", text)
	case s.retryAfter > 0 && (is("=deactivated") || is("=rejected") || is("=timeout") || is("=noresource")):
		// "retry-after" "has no semantics" for these (RFC 6665 §4.1.3)
		t.Errorf("%q: a wait of %v", text, s.retryAfter)
	case s.retryAfter != 5*time.Minute && (text == "terminated;retry-after=300" || is("probation;retry") || is("giveup;retry")):
		t.Errorf("%q: a wait of %v", text, s.retryAfter)
	case s.state == adapters.WatchActive && !is("active"), s.state == adapters.WatchPending && !is("pending"):
		t.Errorf("%q is %v", text, s.state)
	}
}
