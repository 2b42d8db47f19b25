package stanza_test

import (
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
)

// failed wraps what is in an <error/> in a stanza.
func failed(attrs, children string) string {
	return "<message from='juliet@example.com/x' to='romeo@example.net' id='m1' type='error'><body>x</body><error" + attrs + ">" + children + "</error></message>"
}

const conditions = "urn:ietf:params:xml:ns:xmpp-stanzas"

// TestErrorsBothWays: each of the 22 conditions of RFC 6120 §8.3.3 is written and read as itself, with the type that goes with it, its text,
// the text's language and, where it may have one, its address.
func TestErrorsBothWays(t *testing.T) {
	from, to := jid.MustParse("romeo@example.net"), jid.MustParse("juliet@example.com/x")
	n := 0
	for c := stanza.BadRequest; c.String() != ""; c++ {
		n++
		e := &stanza.Error{Condition: c, Text: "why <&>", Lang: "de"}
		if c == stanza.Gone || c == stanza.Redirect {
			e.NewAddress = "xmpp:romeo@afterlife.example.net"
		}
		for _, kind := range []stanza.Kind{stanza.Message, stanza.Presence, stanza.IQ} {
			raw := stanza.AppendError(nil, stanza.ErrorReply{Kind: kind, From: from, To: to, ID: "i'1", Error: e})
			s := read(t, string(raw))
			if s.Kind != kind || s.Type != "error" || s.ID != "i'1" || s.From != from || s.To != to || s.Error == nil || s.Fault != nil {
				t.Fatalf("%s: %+v", raw, s)
			}
			if got := s.Error; got.Condition != c || got.Type != c.Type() || got.Text != e.Text || got.Lang != "de" || got.NewAddress != e.NewAddress {
				t.Errorf("%s: %+v", raw, got)
			}
		}
	}
	if n != 22 {
		t.Errorf("%d conditions", n)
	}
}

// TestErrorsIn: what others send, and what of it is used.
func TestErrorsIn(t *testing.T) {
	for _, c := range []struct {
		name, attrs, in string
		want            stanza.Error
	}{
		{"all there is", " type='wait' by='example.com'", "<recipient-unavailable xmlns='" + conditions + "'/><text xmlns='" + conditions + "' xml:lang='en'>asleep</text>", stanza.Error{Condition: stanza.RecipientUnavailable, Type: "wait", Text: "asleep", Lang: "en"}},
		{"text before the condition", " type='cancel'", "<text xmlns='" + conditions + "'>x</text><item-not-found xmlns='" + conditions + "'/>", stanza.Error{Condition: stanza.ItemNotFound, Type: "cancel", Text: "x"}},
		// "if an entity receives a stanza error condition that it does not understand then it MUST treat the unknown condition as equivalent to
		// <undefined-condition/>" (RFC 6120 §8.3.2).
		{"unknown condition", " type='cancel'", "<payment-required xmlns='" + conditions + "'/>", stanza.Error{Condition: stanza.UndefinedCondition, Type: "cancel"}},
		{"no condition", " type='cancel'", "", stanza.Error{Condition: stanza.UndefinedCondition, Type: "cancel"}},
		{"two conditions", "", "<conflict xmlns='" + conditions + "'/><gone xmlns='" + conditions + "'/>", stanza.Error{Condition: stanza.Conflict}},
		{"condition of another namespace", "", "<conflict xmlns='urn:x'/>", stanza.Error{Condition: stanza.UndefinedCondition, Application: "conflict"}},
		// "whose semantics have been replaced by the defined condition elements" (RFC 6120 §8.3.2).
		{"legacy code", " code='404' type='cancel'", "", stanza.Error{Condition: stanza.UndefinedCondition, Type: "cancel"}},
		{"code and condition", " code='404'", "<forbidden xmlns='" + conditions + "'/>", stanza.Error{Condition: stanza.Forbidden}},
		{"unknown type", " type='panic'", "<forbidden xmlns='" + conditions + "'/>", stanza.Error{Condition: stanza.Forbidden}},
		{"continue", " type='continue'", "<undefined-condition xmlns='" + conditions + "'/>", stanza.Error{Condition: stanza.UndefinedCondition, Type: "continue"}},
		{"application-specific", " type='modify'", "<bad-request xmlns='" + conditions + "'/><too-many-parameters xmlns='http://example.org/ns'><a/></too-many-parameters><second xmlns='urn:x'/>", stanza.Error{Condition: stanza.BadRequest, Type: "modify", Application: "too-many-parameters"}},
		{"languages", "", "<forbidden xmlns='" + conditions + "'/><text xmlns='" + conditions + "' xml:lang='de'>nein</text><text xmlns='" + conditions + "' xml:lang='en-GB'>no</text><text xmlns='" + conditions + "' xml:lang='en'>never</text>", stanza.Error{Condition: stanza.Forbidden, Text: "no", Lang: "en-GB"}},
		{"gone to an address", "", "<gone xmlns='" + conditions + "'>\n  xmpp:romeo@afterlife.example.net\n</gone>", stanza.Error{Condition: stanza.Gone, NewAddress: "xmpp:romeo@afterlife.example.net"}},
		{"gone to no URI", "", "<gone xmlns='" + conditions + "'>romeo@afterlife.example.net</gone>", stanza.Error{Condition: stanza.Gone}},
		{"redirect to an IRI", "", "<redirect xmlns='" + conditions + "'>xmpp:\u00e9@b\u00fccher.example</redirect>", stanza.Error{Condition: stanza.Redirect, NewAddress: "xmpp:\u00e9@b\u00fccher.example"}},
		{"redirect too far", "", "<redirect xmlns='" + conditions + "'>xmpp:" + strings.Repeat("x", 300) + "</redirect>", stanza.Error{Condition: stanza.Redirect}},
		{"redirect to two", "", "<redirect xmlns='" + conditions + "'>xmpp:a@b xmpp:c@d</redirect>", stanza.Error{Condition: stanza.Redirect}},
		{"text too long", "", "<forbidden xmlns='" + conditions + "'/><text xmlns='" + conditions + "'>" + strings.Repeat("x", 300) + "</text>", stanza.Error{Condition: stanza.Forbidden, Text: strings.Repeat("x", 256)}},
	} {
		s := read(t, failed(c.attrs, c.in))
		if s.Error == nil || *s.Error != c.want {
			t.Errorf("%s: %+v", c.name, s.Error)
		}
	}
	if s := read(t, "<message from='juliet@example.com/x' to='romeo@example.net' type='error'/>"); s.Error == nil || s.Error.Condition != stanza.UndefinedCondition {
		t.Errorf("an error without <error/>: %+v", s.Error)
	}
}

// TestErrorsOut: a redirect without an address is none: the element's data "MUST be a URI or IRI" (RFC 6120 §8.3.3.14); and what no condition
// says is said beside it (§8.3.4).
func TestErrorsOut(t *testing.T) {
	for _, c := range []struct {
		name    string
		reason  adapters.Reason
		address string
		want    stanza.Error
	}{
		{"moved for now", adapters.ReasonRedirect, "sip:romeo@example.org", stanza.Error{Condition: stanza.Redirect, NewAddress: "sip:romeo@example.org"}},
		{"moved nowhere", adapters.ReasonRedirect, "", stanza.Error{Condition: stanza.RecipientUnavailable}},
		{"moved to no URI", adapters.ReasonRedirect, "romeo@example.org", stanza.Error{Condition: stanza.RecipientUnavailable}},
		{"moved to what is more", adapters.ReasonGone, "sip:x>y", stanza.Error{Condition: stanza.Gone}},
		{"an address that is no matter", adapters.ReasonForbidden, "sip:romeo@example.org", stanza.Error{Condition: stanza.Forbidden}},
		{"too large", adapters.ReasonTooLarge, "", stanza.Error{Condition: stanza.PolicyViolation, Application: "too-large"}},
		{"nobody knows", adapters.ReasonOutcomeUnknown, "", stanza.Error{Condition: stanza.UndefinedCondition, Application: "outcome-unknown"}},
	} {
		st := adapters.Failed(c.reason, "words")
		st.NewAddress = c.address
		got := stanza.ErrorOf(st)
		c.want.Text, c.want.Lang = "words", "en"
		if *got != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
		raw := stanza.AppendError(nil, stanza.ErrorReply{Kind: stanza.Message, From: jid.MustParse("romeo@example.net"), To: jid.MustParse("juliet@example.com"), Error: got})
		if s := read(t, string(raw)); s.Error == nil || s.Error.Application != c.want.Application || s.Error.Condition != c.want.Condition {
			t.Errorf("%s: %s", c.name, raw)
		}
	}
}
