package stanza_test

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
)

// rows reads a table extracted from the text of RFC 7247.
func rows(t *testing.T, name string) [][2]string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out [][2]string
	for s := bufio.NewScanner(f); s.Scan(); {
		if a, b, ok := strings.Cut(s.Text(), "\t"); ok {
			out = append(out, [2]string{a, b})
		}
	}
	return out
}

// TestConditionsTotal: every condition of RFC 7247 Table 2 has a reason of its own that leads back to it, and every reason has a
// condition.
func TestConditionsTotal(t *testing.T) {
	byName := map[string]stanza.Condition{}
	for c := stanza.BadRequest; c.String() != ""; c++ {
		byName[c.String()] = c
	}
	table := rows(t, "rfc7247-table2.txt")
	if len(table) != 22 || len(byName) != 22 {
		t.Fatalf("%d rows, %d conditions", len(table), len(byName))
	}
	seen := map[adapters.Reason]string{}
	for _, row := range table {
		c, ok := byName[row[0]]
		if !ok {
			t.Errorf("no condition %q", row[0])
			continue
		}
		r := c.Reason()
		if other, taken := seen[r]; taken {
			t.Errorf("%q and %q both are %v", row[0], other, r)
		}
		seen[r] = row[0]
		if stanza.ConditionOf(r) != c {
			t.Errorf("%q -> %v -> %q", row[0], r, stanza.ConditionOf(r))
		}
		if c.Type() == "" {
			t.Errorf("%q has no error type", row[0])
		}
	}
	for _, r := range adapters.Reasons() {
		if stanza.ConditionOf(r) == 0 {
			t.Errorf("%v has no condition", r)
		}
	}
	if stanza.ConditionOf(adapters.ReasonNone) != stanza.UndefinedCondition || stanza.ConditionOf(200) != stanza.UndefinedCondition ||
		stanza.Condition(0).Reason() != adapters.ReasonUndefined || stanza.Condition(99).Reason() != adapters.ReasonUndefined {
		t.Error("values that do not exist")
	}
}

// TestConditionsOfCodes: for the codes of RFC 7247 Table 3 whose meaning is one reason, the condition sent is the table's. The SIP
// adapter owns the codes; this is the other half.
func TestConditionsOfCodes(t *testing.T) {
	reasons := map[string]adapters.Reason{
		"400": adapters.ReasonBadRequest, "401": adapters.ReasonNotAuthenticated, "403": adapters.ReasonForbidden,
		"404": adapters.ReasonNotFound, "405": adapters.ReasonNotImplemented, "406": adapters.ReasonNotAcceptable,
		"407": adapters.ReasonRegistrationRequired, "408": adapters.ReasonDomainTimeout, "410": adapters.ReasonGone, "413": adapters.ReasonTooLarge,
		"415": adapters.ReasonUnsupportedContent, "480": adapters.ReasonRecipientUnavailable, "482": adapters.ReasonLoop, "483": adapters.ReasonLoop,
		"491": adapters.ReasonUnexpectedRequest, "500": adapters.ReasonInternal, "501": adapters.ReasonNotImplemented,
		"502": adapters.ReasonDomainNotFound, "504": adapters.ReasonDomainTimeout, "513": adapters.ReasonTooLarge, "600": adapters.ReasonRecipientUnavailable,
		"604": adapters.ReasonNotFound, "606": adapters.ReasonNotAcceptable,
	}
	n := 0
	for _, row := range rows(t, "rfc7247-table3.txt") {
		r, ok := reasons[row[0]]
		if !ok {
			continue
		}
		n++
		if got := stanza.ConditionOf(r).String(); got != row[1] {
			t.Errorf("%s is %v, told as %q; Table 3 says %q", row[0], r, got, row[1])
		}
	}
	if n != len(reasons) {
		t.Errorf("%d of %d codes are in the table", n, len(reasons))
	}
	// RFC 7247 §7.2 note 1: 301 MUST include the new address, 410 MUST NOT.
	moved := adapters.Failed(adapters.ReasonGone, "")
	moved.NewAddress = "sip:romeo@example.org"
	if e := stanza.ErrorOf(moved); e.Condition != stanza.Gone || e.NewAddress != moved.NewAddress {
		t.Errorf("301: %+v", e)
	}
	if e := stanza.ErrorOf(adapters.Failed(adapters.ReasonGone, "")); e.Condition != stanza.Gone || e.NewAddress != "" {
		t.Errorf("410: %+v", e)
	}
}
