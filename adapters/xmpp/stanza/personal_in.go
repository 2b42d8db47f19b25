package stanza

import (
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// PersonalEvent is what a user says of herself apart from her devices (XEP-0163): her mood (XEP-0107) or what she is doing (XEP-0108), in the
// terms of RPID. One with a Node and nothing else takes back what was said. The zero value is none.
type PersonalEvent struct {
	// Node is SpaceMood or SpaceActivity.
	Node string
	// Mood is nil unless Node is SpaceMood, Activities unless it is SpaceActivity.
	Mood       *pidf.Mood
	Activities *pidf.Activities
}

// Bounds of what is read of a personal event. What is beyond them is passed over.
const (
	maxPersonalName = 32  // of a mood or an activity that RPID has no name for, in octets
	maxPersonalText = 512 // of what the user wrote along, in octets
)

// event reads an event notification (XEP-0060 §7.1.2): that of one of the two nodes, the first if there are several.
func (r *Reader) event() error {
	c, s := &r.cur, &r.st
	if !c.InSpace(SpaceEvents) {
		return r.skip()
	}
	return r.children(func() error {
		node, _ := c.Attr("", "node")
		whole := c.Is(SpaceEvents, "purge") || c.Is(SpaceEvents, "delete") // of all items, and of the node with them (XEP-0060 §8.5, §8.4)
		if !whole && !c.Is(SpaceEvents, "items") || node != SpaceMood && node != SpaceActivity || s.Event.Node != "" {
			return r.skip()
		}
		if s.Event.Node = strings.Clone(node); whole {
			return r.skip() // nothing is said any more
		}
		return r.children(func() error {
			if !c.Is(SpaceEvents, "item") {
				return r.skip() // <retract/> takes back
			}
			return r.children(func() error {
				switch {
				case node == SpaceMood && c.Is(SpaceMood, "mood"):
					return r.mood()
				case node == SpaceActivity && c.Is(SpaceActivity, "activity"):
					return r.activity()
				}
				return r.skip()
			})
		})
	})
}

// mood reads XEP-0107's <mood/>. What RPID has no name for becomes words; an "undefined" mood is RPID's "unknown".
func (r *Reader) mood() error {
	c := &r.cur
	var m pidf.Mood
	lang := r.childLang()
	err := r.children(func() error {
		name := string(c.Local())
		switch {
		case !c.InSpace(SpaceMood):
		case name == "text":
			return r.personalText(&m.Notes, lang)
		case len(m.Values)+len(m.Others) > 0:
		case name == "undefined":
			m.Values = []pidf.Feeling{pidf.FeelingUnknown}
		case pidf.Feeling(name).Valid():
			m.Values = []pidf.Feeling{pidf.Feeling(name)}
		default:
			m.Others = nameInWords(name)
		}
		return r.skip()
	})
	r.st.Event.Mood = nil
	if len(m.Values)+len(m.Others) > 0 {
		r.st.Event.Mood = &m
	}
	return err
}

// activity reads XEP-0108's <activity/>: a general activity, and in it a specific one.
func (r *Reader) activity() error {
	c := &r.cur
	var a pidf.Activities
	var general, specific string
	lang := r.childLang()
	err := r.children(func() error {
		name := string(c.Local())
		switch {
		case !c.InSpace(SpaceActivity):
		case name == "text":
			return r.personalText(&a.Notes, lang)
		case general == "":
			general = name
			return r.children(func() error {
				if c.InSpace(SpaceActivity) && specific == "" {
					specific = string(c.Local())
				}
				return r.skip()
			})
		}
		return r.skip()
	})
	r.st.Event.Activities = nil
	if v, ok := activityOf(general, specific); ok {
		a.Values = []pidf.Activity{v}
	} else if specific != "" && specific != "other" {
		a.Others = nameInWords(specific)
	} else if general != "" {
		a.Others = nameInWords(general)
	}
	if len(a.Values)+len(a.Others) > 0 {
		r.st.Event.Activities = &a
	}
	return err
}

// personalText reads what the user wrote along. XEP-0107 and XEP-0108 have one text; of several the first counts.
func (r *Reader) personalText(notes *[]pidf.Note, outer string) error {
	lang := outer
	if own := r.childLang(); own != r.st.Lang {
		lang = own
	}
	t, err := r.text()
	if err == nil && len(t) > 0 && len(t) <= maxPersonalText && len(*notes) == 0 {
		*notes = []pidf.Note{{Text: string(t), Lang: lang}}
	}
	return err
}

// nameInWords makes a description of an element's name, which is English.
func nameInWords(name string) []pidf.Note {
	if len(name) > maxPersonalName {
		return nil
	}
	return []pidf.Note{{Text: strings.ReplaceAll(name, "_", " "), Lang: "en"}}
}

// activityOf finds the RPID activity: by the table of XEP-0108 §4 backwards, and where that has none, what RFC 4480 §3.2 describes.
func activityOf(general, specific string) (pidf.Activity, bool) {
	switch specific {
	case "scheduled_holiday":
		return pidf.ActivityHoliday, true
	case "on_vacation":
		return pidf.ActivityVacation, true
	case "sleeping":
		return pidf.ActivitySleeping, true
	case "praying":
		return pidf.ActivityWorship, true
	case "having_breakfast":
		return pidf.ActivityBreakfast, true
	case "having_lunch":
		return pidf.ActivityLunch, true
	case "having_dinner":
		return pidf.ActivityDinner, true
	case "in_a_meeting":
		return pidf.ActivityMeeting, true
	case "on_the_phone", "on_video_phone":
		return pidf.ActivityOnThePhone, true
	case "driving":
		return pidf.ActivitySteering, true
	case "on_a_trip":
		return pidf.ActivityTravel, true
	case "commuting", "in_a_car", "on_a_bus", "on_a_plane", "on_a_train":
		return pidf.ActivityInTransit, true
	case "shopping", "buying_groceries":
		return pidf.ActivityShopping, true
	case "watching_tv":
		return pidf.ActivityTV, true
	case "gaming", "playing_sports":
		return pidf.ActivityPlaying, true
	case "":
	default:
		return "", false // more is known than RPID can say
	}
	switch general {
	case "having_appointment":
		return pidf.ActivityAppointment, true
	case "eating":
		return pidf.ActivityMeal, true
	case "traveling":
		return pidf.ActivityInTransit, true
	case "working":
		return pidf.ActivityWorking, true
	case "undefined":
		return pidf.ActivityUnknown, true
	}
	return "", false
}

// PersonalEvents returns what a document says of its person at a time: a mood and an activity, each with its Node alone if the document has
// none. Of several the first counts whose range of time it is (RFC 4480 §3.1).
func PersonalEvents(p *pidf.Presence, now time.Time) (mood, activity PersonalEvent) {
	mood.Node, activity.Node = SpaceMood, SpaceActivity
	if p == nil {
		return mood, activity
	}
	current := func(s *pidf.Span) bool {
		return (s.From.IsZero() || !now.Before(s.From.Time())) && (s.Until.IsZero() || now.Before(s.Until.Time()))
	}
	for i := range p.Persons {
		rich := p.Persons[i].Rich
		if rich == nil {
			continue
		}
		for j := range rich.Moods {
			if mood.Mood == nil && current(&rich.Moods[j].Span) {
				mood.Mood = &rich.Moods[j]
			}
		}
		for j := range rich.Activities {
			if activity.Activities == nil && current(&rich.Activities[j].Span) {
				activity.Activities = &rich.Activities[j]
			}
		}
	}
	return mood, activity
}

// ToPersonalNotify makes the operation of a personal event: a document with a person and no tuple, whose Rich the caller sets, because an event
// tells of one thing and the operation of all.
func ToPersonalNotify(s *Stanza) (*adapters.NotifyOp, *Error) {
	from, e := party(s.From, cpim.Pres, "from")
	if e != nil {
		return nil, e
	}
	to, e := party(s.To, cpim.Pres, "to")
	if e != nil {
		return nil, e
	}
	entity, err := pidf.ParseURI(from.Address.String())
	if err != nil {
		return nil, fault(JIDMalformed, "The 'from' address cannot be carried to the other network")
	}
	id, err := pidf.ParseID("person") // no tuple's: those begin with "ID-"
	if err != nil {
		return nil, fault(InternalServerError, "")
	}
	return &adapters.NotifyOp{
		Watch:    adapters.WatchID{Watcher: to.Address, Presentity: from.Address},
		Presence: &pidf.Presence{Entity: entity, Persons: []pidf.Person{{ID: id}}},
	}, nil
}
