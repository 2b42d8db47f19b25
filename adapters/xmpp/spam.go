package xmpp

import (
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
)

// spam takes note of reports that a server of the other network brings of our users (XEP-0377). They are counted and logged for the operator, who
// decides whom to block; nobody is blocked by a stranger's word, and the request is refused like any other: "Servers that receive a blocking
// command with a report MUST block the JID or return an error".
func (l *path) spam(s *stanza.Stanza) {
	for _, r := range stanza.SpamReports(s) {
		if r.Reported.Domain() != s.To.Domain() || r.Reported.Local() == "" {
			continue // somebody of whom this domain is not the origin
		}
		l.a.m.spam.WithLabelValues(l.name(), string(r.Reason)).Inc()
		l.log.Info().Str("reported", clip(r.Reported.Bare().String())).Str("by", clip(s.From.Domain())).Str("reason", string(r.Reason)).Msg("xmpp: a user was reported")
	}
}
