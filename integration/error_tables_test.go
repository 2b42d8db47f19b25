package integration_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
)

// tableRows reads a golden table that was extracted from the text of RFC 7247.
func tableRows(t *testing.T, name string) [][2]string {
	t.Helper()
	b, err := os.ReadFile("../adapters/xmpp/stanza/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][2]string
	for line := range strings.Lines(string(b)) {
		if a, c, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			rows = append(rows, [2]string{a, c})
		}
	}
	return rows
}

// T-ID-10: whom its recipient has blocked hears what a stranger hears: a <service-unavailable/> becomes 403 and never 503.
// TestRFC7247Table2: "The mapping of specific XMPP error conditions to SIP response codes SHOULD be as described in the following table."
// Every row, through both adapters, for a full and for a bare JID. Where another text forbids the cell, that is said.
func TestRFC7247Table2(t *testing.T) {
	conditions := map[string]stanza.Condition{}
	for c := stanza.BadRequest; c.String() != ""; c++ {
		conditions[c.String()] = c
	}
	// Cells that a MUST of another text forbids (see sip.CodeOf), and the one that the table leaves to note 5.
	instead := map[string]int{"not-authorized": 403, "registration-required": 403, "remote-server-timeout": 504, "service-unavailable": 403}
	rows := tableRows(t, "rfc7247-table2.txt")
	if len(rows) != 22 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		c, ok := conditions[row[0]]
		if !ok {
			t.Errorf("no condition %q", row[0])
			continue
		}
		device, user := sip.CodeOf(c.Reason(), true), sip.CodeOf(c.Reason(), false)
		if want, ok := instead[row[0]]; ok {
			if device != want || user != want {
				t.Errorf("%s: %d and %d, want %d", row[0], device, user, want)
			}
			continue
		}
		cell := strings.Fields(strings.ReplaceAll(row[1], " or", "")) // "404 604 (2)"
		wantDevice, wantUser := cell[0], cell[0]
		if len(cell) == 3 {
			switch cell[2] {
			case "(1)", "(2)": // a full JID: the first, a bare JID: the second
				wantUser = cell[1]
			case "(3)": // without a new address, which is no part of the Reason: 410
				wantDevice, wantUser = cell[1], cell[1]
			case "(4)": // 408 is forbidden to a non-INVITE (RFC 4320 §4.2)
			}
		}
		if row[0] == "unexpected-request" { // "491 or 400", without a note: 491 is of INVITE (RFC 3261 §21.4.27)
			wantDevice, wantUser = cell[1], cell[1]
		}
		if strconv.Itoa(device) != wantDevice || strconv.Itoa(user) != wantUser {
			t.Errorf("%s: %d and %d, RFC 7247 says %s", row[0], device, user, row[1])
		}
	}
}

// T-ID-10: 403 and 603 become <forbidden/>.
// TestRFC7247Table3: "The mapping of SIP response codes to XMPP error conditions SHOULD be as described in the following table." Every row,
// and every other code by its class, through both adapters.
func TestRFC7247Table3(t *testing.T) {
	want := map[string]string{}
	for _, row := range tableRows(t, "rfc7247-table3.txt") {
		want[row[0]] = row[1]
	}
	if len(want) != 52 {
		t.Fatalf("%d rows", len(want))
	}
	for code := 300; code < 700; code++ {
		name, listed := want[strconv.Itoa(code)]
		if !listed {
			name = want[strconv.Itoa(code/100)+"xx"]
		}
		if got := stanza.ConditionOf(sip.ReasonOf(code)).String(); got != name {
			t.Errorf("%d is <%s/>, RFC 7247 says <%s/>", code, got, name)
		}
	}
}
