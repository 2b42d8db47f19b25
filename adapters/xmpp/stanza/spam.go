package stanza

import (
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// The namespaces of reports of spam (XEP-0377) and of what they stand in (XEP-0191).
const (
	SpaceBlocking  = "urn:xmpp:blocking"
	SpaceReporting = "urn:xmpp:reporting:1"
)

// SpamReason is why somebody is reported: XEP-0377 has two reasons, and others may be registered.
type SpamReason string

// The reasons, as metrics call them.
const (
	ReasonSpam  SpamReason = "spam"
	ReasonAbuse SpamReason = "abuse"
	ReasonOther SpamReason = "other"
)

// SpamReport is one report.
type SpamReport struct {
	// Reported is who it is about.
	Reported jid.JID
	Reason   SpamReason
}

// maxSpamReports bounds the reports of one request.
const maxSpamReports = 16

// SpamReports are the reports in a request that blocks somebody (XEP-0377, Submitting Reports as Part of Blocking) and that may be processed where
// the reported one is: "Servers MUST NOT process a report if the report that do not explicitly include the corresponding processing option",
// which is <report-origin/> here. What the reporter wrote, and the messages that are named, are not read. nil for any other stanza.
func SpamReports(s *Stanza) []SpamReport {
	if s.Kind != IQ || s.Type != "set" || s.Fault != nil || s.Payload != (strictxml.Name{Space: SpaceBlocking, Local: "block"}) {
		return nil
	}
	e, err := strictxml.ParseElement(s.raw, s.scope, strictxml.Limits{})
	if err != nil {
		return nil
	}
	block := e.Child(SpaceBlocking, "block")
	if block == nil {
		return nil
	}
	var found []SpamReport
	for item := range block.Children() {
		report := item.Child(SpaceReporting, "report")
		if item.Name != (strictxml.Name{Space: SpaceBlocking, Local: "item"}) || report == nil || report.Child(SpaceReporting, "report-origin") == nil {
			continue
		}
		text, _ := item.Attr("", "jid")
		who, err := jid.Parse(text)
		if err != nil {
			continue
		}
		reason := ReasonOther
		switch v, ok := report.Attr("", "reason"); {
		case !ok || v == "": // "Abuse reports MUST include a reason"
			continue
		case v == "urn:xmpp:reporting:spam":
			reason = ReasonSpam
		case v == "urn:xmpp:reporting:abuse":
			reason = ReasonAbuse
		}
		if found = append(found, SpamReport{who, reason}); len(found) == maxSpamReports {
			break
		}
	}
	return found
}
