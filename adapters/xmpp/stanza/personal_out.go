package stanza

import (
	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// AppendEvent appends the message that tells one device of a personal event: payload is what AppendPayload made of it. The from address is bare:
// "The server MUST set the 'from' address on the notification to the bare JID ... of the account owner" (XEP-0163 §4.3.1).
func AppendEvent(dst []byte, from, to jid.JID, node string, payload []byte) []byte {
	dst = appendHead(dst, "message", from.Bare(), to, "")
	dst = append(dst, " type='headline'><event xmlns='"+SpaceEvents+"'><items"...)
	dst = appendAttr(dst, "node", node)
	dst = append(dst, "><item id='current'>"...) // the one item of the node (XEP-0060 §12.20)
	dst = append(dst, payload...)
	return append(dst, "</item></items></event></message>"...)
}

// AppendPayload appends the <mood/> or <activity/> of an event, an empty one if it takes back what was said, or if XMPP has no form for it.
func (e *PersonalEvent) AppendPayload(dst []byte) []byte {
	switch {
	case e.Mood != nil:
		name, text := moodOut(e.Mood)
		if name == "" {
			break
		}
		dst = append(dst, "<mood xmlns='"+SpaceMood+"'>"...)
		dst = append(append(append(dst, '<'), name...), '/', '>')
		dst = appendPersonalText(dst, text)
		return append(dst, "</mood>"...)
	case e.Activities != nil:
		general, specific, text := activityOut(e.Activities)
		if general == "" {
			break
		}
		dst = append(dst, "<activity xmlns='"+SpaceActivity+"'>"...)
		dst = append(append(dst, '<'), general...)
		if specific == "" {
			dst = append(dst, '/', '>')
		} else {
			dst = append(append(append(dst, "><"...), specific...), "/></"...)
			dst = append(append(dst, general...), '>')
		}
		dst = appendPersonalText(dst, text)
		return append(dst, "</activity>"...)
	}
	if e.Node == SpaceMood {
		return append(dst, "<mood xmlns='"+SpaceMood+"'/>"...)
	}
	return append(dst, "<activity xmlns='"+SpaceActivity+"'/>"...)
}

// IsEmpty tells whether the event says nothing that XMPP has a form for.
func (e *PersonalEvent) IsEmpty() bool {
	if e.Mood != nil {
		name, _ := moodOut(e.Mood)
		return name == ""
	}
	if e.Activities != nil {
		general, _, _ := activityOut(e.Activities)
		return general == ""
	}
	return true
}

func appendPersonalText(dst []byte, n pidf.Note) []byte {
	if n.Text == "" || !carries(n.Text) {
		return dst
	}
	if len(n.Text) > maxPersonalText {
		return dst
	}
	return appendText(dst, "text", adapters.LangText{Lang: n.Lang, Text: n.Text}, "")
}

// moodOut finds the name of a mood in XEP-0107, which has all of RPID's but "unknown": that, and a mood in words, is "undefined" with a text.
func moodOut(m *pidf.Mood) (name string, text pidf.Note) {
	if len(m.Notes) > 0 {
		text = m.Notes[0]
	}
	for _, v := range m.Values {
		if v != pidf.FeelingUnknown && v.Valid() {
			return string(v), text
		}
	}
	if text.Text == "" && len(m.Others) > 0 {
		text = m.Others[0]
	}
	if len(m.Values)+len(m.Others) == 0 {
		return "", text
	}
	return "undefined", text
}

// activityOut finds an activity's name in XEP-0108: the first of a person's that has one. By the table of its §4, "away", "busy" and "permanent-absence"
// have none: they show as availability.
func activityOut(a *pidf.Activities) (general, specific string, text pidf.Note) {
	if len(a.Notes) > 0 {
		text = a.Notes[0]
	}
	for _, v := range a.Values {
		if general, specific = activityName(v); general != "" && general != "undefined" {
			return general, specific, text
		}
	}
	if len(a.Others) > 0 {
		if text.Text == "" {
			text = a.Others[0]
		}
		return "undefined", "other", text
	}
	return general, specific, text
}

func activityName(v pidf.Activity) (general, specific string) {
	switch v {
	case pidf.ActivityAppointment:
		return "having_appointment", ""
	case pidf.ActivityBreakfast:
		return "eating", "having_breakfast"
	case pidf.ActivityLunch:
		return "eating", "having_lunch"
	case pidf.ActivityDinner:
		return "eating", "having_dinner"
	case pidf.ActivityMeal:
		return "eating", ""
	case pidf.ActivityHoliday:
		return "inactive", "scheduled_holiday"
	case pidf.ActivitySleeping:
		return "inactive", "sleeping"
	case pidf.ActivityVacation:
		return "inactive", "on_vacation"
	case pidf.ActivityWorship:
		return "inactive", "praying"
	case pidf.ActivityInTransit:
		return "traveling", ""
	case pidf.ActivitySteering:
		return "traveling", "driving"
	case pidf.ActivityTravel:
		return "traveling", "on_a_trip"
	case pidf.ActivityMeeting:
		return "working", "in_a_meeting"
	case pidf.ActivityWorking, pidf.ActivityPresentation, pidf.ActivityLookingForWork:
		return "working", ""
	case pidf.ActivityOnThePhone:
		return "talking", "on_the_phone"
	case pidf.ActivityShopping:
		return "relaxing", "shopping"
	case pidf.ActivityTV:
		return "relaxing", "watching_tv"
	case pidf.ActivityPerformance:
		return "relaxing", "going_out"
	case pidf.ActivityPlaying, pidf.ActivitySpectator:
		return "relaxing", ""
	case pidf.ActivityUnknown:
		return "undefined", ""
	}
	return "", ""
}
