package pidf

import "github.com/isthmus-gateway/isthmus/internal/strictxml"

// Activity is one of the activities of RFC 4480 §3.2; its string is the name of the element.
type Activity string

// The activities of RFC 4480 §3.2. ActivityLunch is in the text, and was forgotten in the schema of §5.1.
const (
	ActivityAppointment      Activity = "appointment"
	ActivityAway             Activity = "away"
	ActivityBreakfast        Activity = "breakfast"
	ActivityBusy             Activity = "busy"
	ActivityDinner           Activity = "dinner"
	ActivityHoliday          Activity = "holiday"
	ActivityInTransit        Activity = "in-transit"
	ActivityLookingForWork   Activity = "looking-for-work"
	ActivityLunch            Activity = "lunch"
	ActivityMeal             Activity = "meal"
	ActivityMeeting          Activity = "meeting"
	ActivityOnThePhone       Activity = "on-the-phone"
	ActivityPerformance      Activity = "performance"
	ActivityPermanentAbsence Activity = "permanent-absence"
	ActivityPlaying          Activity = "playing"
	ActivityPresentation     Activity = "presentation"
	ActivityShopping         Activity = "shopping"
	ActivitySleeping         Activity = "sleeping"
	ActivitySpectator        Activity = "spectator"
	ActivitySteering         Activity = "steering"
	ActivityTravel           Activity = "travel"
	ActivityTV               Activity = "tv"
	ActivityUnknown          Activity = "unknown"
	ActivityVacation         Activity = "vacation"
	ActivityWorking          Activity = "working"
	ActivityWorship          Activity = "worship"
)

// Valid says whether RFC 4480 §3.2 lists the activity.
func (a Activity) Valid() bool {
	switch a {
	case ActivityAppointment, ActivityAway, ActivityBreakfast, ActivityBusy, ActivityDinner, ActivityHoliday, ActivityInTransit,
		ActivityLookingForWork, ActivityLunch, ActivityMeal, ActivityMeeting, ActivityOnThePhone, ActivityPerformance,
		ActivityPermanentAbsence, ActivityPlaying, ActivityPresentation, ActivityShopping, ActivitySleeping, ActivitySpectator,
		ActivitySteering, ActivityTravel, ActivityTV, ActivityUnknown, ActivityVacation, ActivityWorking, ActivityWorship:
		return true
	}
	return false
}

// Show gives the XMPP availability that an activity amounts to. No RFC has this table; it follows what §3.2 says of each: dnd
// for those in which an interruption is "particularly noticeable" or that discourage communication, xa for long absence, away for
// absence from the devices. ok is false for an activity that says nothing of the kind.
func (a Activity) Show() (show Show, ok bool) {
	switch a {
	case ActivityBusy, ActivityOnThePhone, ActivityMeeting, ActivityPerformance, ActivityPresentation, ActivityWorship, ActivitySteering:
		return ShowDND, true
	case ActivityVacation, ActivityHoliday, ActivityPermanentAbsence, ActivitySleeping, ActivityTravel:
		return ShowXA, true
	case ActivityAway, ActivityAppointment, ActivityBreakfast, ActivityDinner, ActivityLunch, ActivityMeal, ActivityInTransit,
		ActivityPlaying, ActivityShopping, ActivitySpectator, ActivityTV:
		return ShowAway, true
	}
	return ShowNone, false
}

// Activities is what a person is doing in one range of time (RFC 4480 §3.2): at least one of Values, Others and Extensions, or
// else ActivityUnknown alone.
type Activities struct {
	Span
	Notes []Note
	// Values are those that the section lists, in order.
	Values []Activity
	// Others are free descriptions.
	Others []Note
	// Extensions are activities of other namespaces.
	Extensions []Extension
}

func isActivity(local string) bool {
	return local == "note" || local == "other" || Activity(local).Valid()
}

func (r *reader) activities(e *strictxml.Element) (Activities, error) {
	span, err := r.span(e, "", nil)
	if err != nil {
		return Activities{}, err
	}
	v, err := r.values(e, isActivity)
	if err != nil {
		return Activities{}, err
	}
	a := Activities{span, v.notes, convert[Activity](v.names), v.others, v.extensions}
	if fault := unknownAlone(v.names, v.count()); fault != "" && !r.tolerate(LenientChoice, e.Offset) {
		return a, r.fault(e, "rpid-unknown", "RFC 4480 §5.1", fault)
	}
	return a, nil
}

// unknownAlone gives what is wrong with an enumeration that has <unknown/> beside other values: the schemas make it a choice.
func unknownAlone(names []string, count int) string {
	for _, n := range names {
		if n == "unknown" && count > 1 {
			return "<unknown/> without other values"
		}
	}
	return ""
}

func (a *Activities) append(w *strictxml.Writer) {
	appendValues(w, "activities", &a.Span, a.Notes, a.Values, a.Others, a.Extensions)
}

func (a *Activities) check(seen *idSet) error {
	for _, v := range a.Values {
		if v == ActivityUnknown && len(a.Values)+len(a.Others)+len(a.Extensions) > 1 {
			return unprintable("rpid-unknown", "RFC 4480 §5.1", "<unknown/> without other values")
		}
	}
	return firstFault(a.Span.check(seen), checkValues(a.Notes, a.Values, a.Others, a.Extensions, isActivity, "RFC 4480 §3.2"))
}
