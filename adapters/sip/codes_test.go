package sip

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// tableRows reads the two columns of a table as RFC 7247 prints it.
func tableRows(t *testing.T, file string) [][2]string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][2]string
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.Contains(line, "Response Code") {
			continue
		}
		rows = append(rows, [2]string{strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])})
	}
	return rows
}

var (
	conditionCell = regexp.MustCompile(`^<([a-z-]+)/>`)
	noteCell      = regexp.MustCompile(`\(\d+\)`)
)

// conditionOf is the XMPP condition of each Reason that ReasonOf gives: what the XMPP adapter must write (RFC 6120 §8.3.3).
func conditionOf(r adapters.Reason) string {
	switch r {
	case adapters.ReasonNotImplemented:
		return "feature-not-implemented"
	case adapters.ReasonInternal:
		return "internal-server-error"
	case adapters.ReasonNotFound:
		return "item-not-found"
	case adapters.ReasonNotAuthenticated:
		return "not-authorized"
	case adapters.ReasonDomainNotFound:
		return "remote-server-not-found"
	case adapters.ReasonDomainTimeout:
		return "remote-server-timeout"
	case adapters.ReasonOverloaded:
		return "resource-constraint"
	case adapters.ReasonTooLarge:
		return "policy-violation"
	case adapters.ReasonUnsupportedContent, adapters.ReasonLoop:
		return "not-acceptable"
	}
	return r.String() // the others have the condition's name
}

func TestReasonOfIsRFC7247Table3(t *testing.T) {
	// "The mapping of SIP response codes to XMPP error conditions SHOULD be as described in the following table."
	rows := tableRows(t, "rfc7247-table3.txt")
	if len(rows) != 52 {
		t.Fatalf("%d rows in the table, want 52: the golden file was cut", len(rows))
	}
	listed, class := map[int]bool{}, map[int]string{}
	for _, row := range rows {
		m := conditionCell.FindStringSubmatch(row[1])
		if m == nil {
			t.Fatalf("row %q has no condition", row)
		}
		if d, ok := strings.CutSuffix(row[0], "xx"); ok {
			n, _ := strconv.Atoi(d)
			class[n] = m[1]
			continue
		}
		code, err := strconv.Atoi(row[0])
		if err != nil {
			t.Fatal(err)
		}
		listed[code] = true
		if got := conditionOf(ReasonOf(code)); got != m[1] {
			t.Errorf("%d is <%s/>, RFC 7247 says <%s/>", code, got, m[1])
		}
	}
	// "If a gateway encounters a SIP response code that is not listed below, it SHOULD map a 3xx-series code to <redirect/>, ..."
	for code := 300; code < 700; code++ {
		if !listed[code] {
			if got := conditionOf(ReasonOf(code)); got != class[code/100] {
				t.Errorf("%d, not listed, is <%s/>, its class says <%s/>", code, got, class[code/100])
			}
		}
		if r := ReasonOf(code); r == adapters.ReasonNone || r.String() == "invalid" {
			t.Errorf("%d has no reason", code)
		}
	}
	for _, code := range []int{-1, 0, 99, 100, 200, 299, 700, 1000} {
		if r := ReasonOf(code); r != adapters.ReasonUndefined {
			t.Errorf("ReasonOf(%d) = %v, want undefined for what is no failure", code, r)
		}
	}
}

// departures are the cells of Table 2 that a MUST of another text forbids; see CodeOf.
var departures = map[string]struct {
	code    int
	because string
}{
	"not-authorized":          {403, "RFC 3261 §22.1"},
	"registration-required":   {403, "RFC 3261 §22.1"},
	"remote-server-timeout":   {504, "RFC 4320 §4.2"},
	"remote-server-not-found": {404, "RFC 4320 §4.2"}, // 408 is its other choice
	"service-unavailable":     {403, "RFC 7247 §7.1"}, // note 5 gives no code
}

func TestCodeOfIsRFC7247Table2(t *testing.T) {
	// "The mapping of specific XMPP error conditions to SIP response codes SHOULD be as described in the following table."
	rows := tableRows(t, "rfc7247-table2.txt")
	if len(rows) != 22 {
		t.Fatalf("%d rows in the table, want 22: the golden file was cut", len(rows))
	}
	reasons := map[string]adapters.Reason{
		"jid-malformed": adapters.ReasonAddressMalformed, "subscription-required": adapters.ReasonAuthorizationRequired,
		"undefined-condition": adapters.ReasonUndefined,
	}
	for _, r := range adapters.Reasons() {
		switch r {
		case adapters.ReasonTooLarge, adapters.ReasonUnsupportedContent, adapters.ReasonLoop:
			continue // have the condition of another
		}
		if _, taken := reasons[conditionOf(r)]; !taken {
			reasons[conditionOf(r)] = r
		}
	}
	for _, row := range rows {
		condition := conditionCell.FindStringSubmatch(row[0])[1]
		r, ok := reasons[condition]
		if !ok {
			t.Errorf("<%s/> is no reason", condition)
			continue
		}
		full, bare := CodeOf(r, true), CodeOf(r, false)
		if d, departs := departures[condition]; departs {
			if full != d.code || bare != d.code {
				t.Errorf("<%s/> is %d for a full JID, %d for a bare one, want %d by %s", condition, full, bare, d.code, d.because)
			}
			continue
		}
		if condition == "gone" {
			gone := adapters.Status{Outcome: adapters.Failure, Reason: r, NewAddress: "im:romeo@example.org"}
			// "If the <gone/> element includes XML character data specifying the new address, the error MUST be mapped to SIP
			// 301; if not, it MUST be mapped to SIP 410."
			if a := answerFor(gone, adapters.Party{}, "MESSAGE"); a.code != 301 {
				t.Errorf("<gone/> with an address is %d, want 301", a.code)
			}
			gone.NewAddress = ""
			if a := answerFor(gone, adapters.Party{}, "MESSAGE"); a.code != 410 {
				t.Errorf("<gone/> without an address is %d, want 410", a.code)
			}
			continue
		}
		cell := noteCell.ReplaceAllString(row[1], "")
		codes := strings.Fields(strings.ReplaceAll(cell, "or", " "))
		switch {
		case len(codes) == 1:
			if want, _ := strconv.Atoi(codes[0]); full != want || bare != want {
				t.Errorf("<%s/> is %d for a full JID, %d for a bare one, want %d", condition, full, bare, want)
			}
		case condition == "unexpected-request": // "491 or 400"; 491 is about INVITE
			if full != 400 || bare != 400 {
				t.Errorf("<%s/> is %d and %d, want 400", condition, full, bare)
			}
		default: // notes 1 and 2
			device, _ := strconv.Atoi(codes[0])
			user, _ := strconv.Atoi(codes[1])
			if full != device || bare != user {
				t.Errorf("<%s/> is %d for a full JID, %d for a bare one, want %d and %d", condition, full, bare, device, user)
			}
		}
	}
}

func TestCodeOfIsTotal(t *testing.T) {
	for _, r := range append(adapters.Reasons(), adapters.ReasonNone, adapters.Reason(255)) {
		for _, instance := range []bool{true, false} {
			code := CodeOf(r, instance)
			if code < 300 || code > 699 {
				t.Errorf("%v is %d, no failure", r, code)
			}
			// "MUST NOT send a response with Status-Code of 408 to a non-INVITE request." (RFC 4320 §4.2)
			if code == 408 {
				t.Errorf("%v is 408, which no non-INVITE may get", r)
			}
			if code == 503 {
				t.Errorf("%v is 503, which condemns the whole server", r)
			}
		}
	}
}

func TestAnswerFor(t *testing.T) {
	user := adapters.Party{}
	device := adapters.Party{Instance: "balcony"}
	failed := func(r adapters.Reason) adapters.Status { return adapters.Failed(r, "") }
	for _, c := range []struct {
		name   string
		status adapters.Status
		to     adapters.Party
		code   int
		header string // "Name: value" that must be there
	}{
		{"success", adapters.Succeeded(), user, 200, ""},
		{"indeterminate", adapters.Accepted(), user, 202, ""},
		{"our own overload", failed(adapters.ReasonOverloaded), user, 503, ""},
		{"their overload", adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonOverloaded, Remote: "resource-constraint"}, user, 500, ""},
		{"service-unavailable is never 503", failed(adapters.ReasonServiceUnavailable), user, 403, ""},
		{"timeout is never 408", failed(adapters.ReasonDomainTimeout), user, 504, ""},
		{"unknown outcome is no success", failed(adapters.ReasonOutcomeUnknown), user, 504, ""},
		{"405 has Allow", failed(adapters.ReasonNotImplemented), device, 405, "Allow: NOTIFY, OPTIONS, SUBSCRIBE"},
		{"415 has Accept", failed(adapters.ReasonUnsupportedContent), user, 415, "Accept: " + acceptedContent},
		{"redirect with an address", adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonRedirect, NewAddress: "im:r@example.org"}, user, 302, "Contact: <sip:r@example.org>"},
		{"redirect with a bare mailbox", adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonRedirect, NewAddress: "r@example.org"}, user, 302, "Contact: <sip:r@example.org>"},
		{"redirect without an address", failed(adapters.ReasonRedirect), device, 480, ""},
		{"gone to what is no URI", adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonGone, NewAddress: "<a>\r\nX: y"}, user, 410, ""},
		{"retry later", adapters.Status{Outcome: adapters.Failure, Reason: adapters.ReasonInternal, RetryAfter: 1500e6}, user, 500, "Retry-After: 2"},
		{"no outcome is a fault of ours", adapters.Status{}, user, 500, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := answerFor(c.status, c.to, "MESSAGE")
			if a.code != c.code {
				t.Errorf("code %d, want %d", a.code, c.code)
			}
			found := c.header == ""
			for _, h := range a.headers {
				found = found || h.Name+": "+h.Value == c.header
				if h.Name == "Retry-After" && a.code == 503 {
					t.Error("a 503 with Retry-After stops all traffic of the upstream (RFC 7339 §5.10.2)")
				}
			}
			if !found {
				t.Errorf("headers %v, want %s", a.headers, c.header)
			}
		})
	}
}

func TestPhraseText(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "Busy, try later", "Busy, try later"},
		{"line ends and quotes", "a\r\nVia: x \"<b>\"", "a Via: x b"},
		{"UTF-8", "nenávidíš-li", "nenávidíš-li"},
		{"not UTF-8", "a\xffb", ""},
		{"a percent sign would begin an escape", "100%41", "100 41"},
		{"long", strings.Repeat("x", 500), strings.Repeat("x", maxPhrase)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := phraseText(c.in); got != c.want {
				t.Errorf("phraseText(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}
