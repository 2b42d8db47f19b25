package pidf

import "github.com/isthmus-gateway/isthmus/internal/strictxml"

// Feeling is one of the mood values of RFC 4480 §3.5, which are those of XEP-0107 at the time; its string is the element's name.
type Feeling string

// The moods of RFC 4480 §3.5.
const (
	FeelingAfraid       Feeling = "afraid"
	FeelingAmazed       Feeling = "amazed"
	FeelingAngry        Feeling = "angry"
	FeelingAnnoyed      Feeling = "annoyed"
	FeelingAnxious      Feeling = "anxious"
	FeelingAshamed      Feeling = "ashamed"
	FeelingBored        Feeling = "bored"
	FeelingBrave        Feeling = "brave"
	FeelingCalm         Feeling = "calm"
	FeelingCold         Feeling = "cold"
	FeelingConfused     Feeling = "confused"
	FeelingContented    Feeling = "contented"
	FeelingCranky       Feeling = "cranky"
	FeelingCurious      Feeling = "curious"
	FeelingDepressed    Feeling = "depressed"
	FeelingDisappointed Feeling = "disappointed"
	FeelingDisgusted    Feeling = "disgusted"
	FeelingDistracted   Feeling = "distracted"
	FeelingEmbarrassed  Feeling = "embarrassed"
	FeelingExcited      Feeling = "excited"
	FeelingFlirtatious  Feeling = "flirtatious"
	FeelingFrustrated   Feeling = "frustrated"
	FeelingGrumpy       Feeling = "grumpy"
	FeelingGuilty       Feeling = "guilty"
	FeelingHappy        Feeling = "happy"
	FeelingHot          Feeling = "hot"
	FeelingHumbled      Feeling = "humbled"
	FeelingHumiliated   Feeling = "humiliated"
	FeelingHungry       Feeling = "hungry"
	FeelingHurt         Feeling = "hurt"
	FeelingImpressed    Feeling = "impressed"
	FeelingInAwe        Feeling = "in_awe"
	FeelingInLove       Feeling = "in_love"
	FeelingIndignant    Feeling = "indignant"
	FeelingInterested   Feeling = "interested"
	FeelingInvincible   Feeling = "invincible"
	FeelingJealous      Feeling = "jealous"
	FeelingLonely       Feeling = "lonely"
	FeelingMean         Feeling = "mean"
	FeelingMoody        Feeling = "moody"
	FeelingNervous      Feeling = "nervous"
	FeelingNeutral      Feeling = "neutral"
	FeelingOffended     Feeling = "offended"
	FeelingPlayful      Feeling = "playful"
	FeelingProud        Feeling = "proud"
	FeelingRelieved     Feeling = "relieved"
	FeelingRemorseful   Feeling = "remorseful"
	FeelingRestless     Feeling = "restless"
	FeelingSad          Feeling = "sad"
	FeelingSarcastic    Feeling = "sarcastic"
	FeelingSerious      Feeling = "serious"
	FeelingShocked      Feeling = "shocked"
	FeelingShy          Feeling = "shy"
	FeelingSick         Feeling = "sick"
	FeelingSleepy       Feeling = "sleepy"
	FeelingStressed     Feeling = "stressed"
	FeelingSurprised    Feeling = "surprised"
	FeelingThirsty      Feeling = "thirsty"
	FeelingUnknown      Feeling = "unknown"
	FeelingWorried      Feeling = "worried"
)

// Valid says whether RFC 4480 §3.5 lists the mood.
func (f Feeling) Valid() bool {
	switch f {
	case FeelingAfraid, FeelingAmazed, FeelingAngry, FeelingAnnoyed, FeelingAnxious, FeelingAshamed, FeelingBored,
		FeelingBrave, FeelingCalm, FeelingCold, FeelingConfused, FeelingContented, FeelingCranky, FeelingCurious,
		FeelingDepressed, FeelingDisappointed, FeelingDisgusted, FeelingDistracted, FeelingEmbarrassed,
		FeelingExcited, FeelingFlirtatious, FeelingFrustrated, FeelingGrumpy, FeelingGuilty, FeelingHappy, FeelingHot,
		FeelingHumbled, FeelingHumiliated, FeelingHungry, FeelingHurt, FeelingImpressed, FeelingInAwe, FeelingInLove,
		FeelingIndignant, FeelingInterested, FeelingInvincible, FeelingJealous, FeelingLonely, FeelingMean,
		FeelingMoody, FeelingNervous, FeelingNeutral, FeelingOffended, FeelingPlayful, FeelingProud, FeelingRelieved,
		FeelingRemorseful, FeelingRestless, FeelingSad, FeelingSarcastic, FeelingSerious, FeelingShocked, FeelingShy,
		FeelingSick, FeelingSleepy, FeelingStressed, FeelingSurprised, FeelingThirsty, FeelingUnknown, FeelingWorried:
		return true
	}
	return false
}

// Mood is the mood of a person in one range of time (RFC 4480 §3.5): at least one of Values, Others and Extensions ("one such
// child element is REQUIRED"), or else FeelingUnknown alone.
type Mood struct {
	Span
	// Notes are the reason, or the mood in words.
	Notes []Note
	// Values are those that the section lists, in order.
	Values []Feeling
	// Others are free descriptions.
	Others []Note
	// Extensions are moods of other namespaces.
	Extensions []Extension
}

func isFeeling(local string) bool {
	return local == "note" || local == "other" || Feeling(local).Valid()
}

func (r *reader) mood(e *strictxml.Element) (Mood, error) {
	span, err := r.span(e, "", nil)
	if err != nil {
		return Mood{}, err
	}
	v, err := r.values(e, isFeeling)
	if err != nil {
		return Mood{}, err
	}
	m := Mood{span, v.notes, convert[Feeling](v.names), v.others, v.extensions}
	if fault := unknownAlone(v.names, v.count()); fault != "" && !r.tolerate(LenientChoice, e.Offset) {
		return m, r.fault(e, "rpid-unknown", "RFC 4480 §5.1", fault)
	}
	if v.count() == 0 {
		return m, r.fault(e, "mood-empty", "RFC 4480 §3.5", "a mood value")
	}
	return m, nil
}

func (m *Mood) append(w *strictxml.Writer) {
	appendValues(w, "mood", &m.Span, m.Notes, m.Values, m.Others, m.Extensions)
}

func (m *Mood) check(seen *idSet) error {
	count := len(m.Values) + len(m.Others) + len(m.Extensions)
	if count == 0 {
		return unprintable("mood-empty", "RFC 4480 §3.5", "a mood value")
	}
	for _, v := range m.Values {
		if v == FeelingUnknown && count > 1 {
			return unprintable("rpid-unknown", "RFC 4480 §5.1", "<unknown/> without other values")
		}
	}
	return firstFault(m.Span.check(seen), checkValues(m.Notes, m.Values, m.Others, m.Extensions, isFeeling, "RFC 4480 §3.5"))
}
