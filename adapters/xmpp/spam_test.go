package xmpp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
)

// "Servers that receive a blocking command with a report MUST block the JID or return an error just as they would if no report were present"
// (XEP-0377, Submitting Reports as Part of Blocking). A report is counted if it may be processed at the origin and is of one of our users, once for each
// who is reported, and never obeyed.
func TestSpamReports(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := listen(t)
	_, p := started(t, s, newRecorder(), func(c *xmpp.Config) { c.Registerer = registry })
	count := func(reason string) (n float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if f.GetName() == "isthmus_xmpp_spam_reports_total" && l.GetName() == "reason" && l.GetValue() == reason {
						n += m.GetCounter().GetValue()
					}
				}
			}
		}
		return n
	}
	report := func(jid, reason, inside string) string {
		return "<item jid='" + jid + "'><report xmlns='urn:xmpp:reporting:1'" + reason + ">" + inside + "</report></item>"
	}
	const spam, abuse, origin = " reason='urn:xmpp:reporting:spam'", " reason='urn:xmpp:reporting:abuse'", "<report-origin/>"
	for _, c := range []struct {
		name, kind, items  string
		spam, abuse, other float64
	}{
		{"spam", "set", report("tybalt@example.net", spam, origin), 1, 0, 0},
		{"with words and messages", "set", report("tybalt@example.net/x", abuse, "<stanza-id xmlns='urn:xmpp:sid:0' by='x' id='y'/><text xml:lang='en'>Never came trouble to my house</text>"+origin+"<third-party/>"), 0, 1, 0},
		{"two of them", "set", report("tybalt@example.net", spam, origin) + report("paris@example.net", " reason='urn:x'", origin), 1, 0, 1},
		// "Servers MUST NOT process a report if the report that do not explicitly include the corresponding processing option"
		{"not for us", "set", report("tybalt@example.net", spam, ""), 0, 0, 0},
		{"for others", "set", report("tybalt@example.net", spam, "<third-party/>"), 0, 0, 0},
		// "Abuse reports MUST include a reason"
		{"without a reason", "set", report("tybalt@example.net", "", origin), 0, 0, 0},
		{"somebody else's user", "set", report("tybalt@example.org", spam, origin), 0, 0, 0},
		{"a domain", "set", report("example.net", spam, origin), 0, 0, 0},
		{"no address", "set", report("@", spam, origin), 0, 0, 0},
		{"a block alone", "set", "<item jid='tybalt@example.net'/>", 0, 0, 0},
		{"a question", "get", report("tybalt@example.net", spam, origin), 0, 0, 0},
		{"very many", "set", strings.Repeat(report("tybalt@example.net", spam, origin), 40), 16, 0, 0},
	} {
		before := [3]float64{count("spam"), count("abuse"), count("other")}
		p.say(fmt.Sprintf("<iq from='juliet@example.com/x' to='example.net' id='q1' type='%s'><block xmlns='urn:xmpp:blocking'>%s</block></iq>", c.kind, c.items))
		if e := p.stanza(); !strings.Contains(e.Raw, "service-unavailable") {
			t.Errorf("%s: %s", c.name, e.Raw)
		}
		after := [3]float64{count("spam"), count("abuse"), count("other")}
		for i, want := range [3]float64{c.spam, c.abuse, c.other} {
			if after[i]-before[i] != want {
				t.Errorf("%s: counted %v after %v", c.name, after, before)
			}
		}
	}
}
