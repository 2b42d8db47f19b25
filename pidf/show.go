package pidf

import "strings"

// Show is the XMPP availability that RFC 8048 §6.2 note 7 puts into a status as <show xmlns='jabber:client'/>, with the values of
// RFC 6121 §4.7.2.1.
type Show uint8

const (
	// ShowNone: no element; plainly available if the basic status is open.
	ShowNone Show = iota
	// ShowAway: temporarily away.
	ShowAway
	// ShowChat: actively interested in chatting.
	ShowChat
	// ShowDND: busy; nobody is asked to block traffic (RFC 8048 §6.2 note 7).
	ShowDND
	// ShowXA: away for an extended period.
	ShowXA
)

// String gives the value on the wire, "" for ShowNone.
func (s Show) String() string {
	switch s {
	case ShowAway:
		return "away"
	case ShowChat:
		return "chat"
	case ShowDND:
		return "dnd"
	case ShowXA:
		return "xa"
	}
	return ""
}

// ParseShow takes the four values. ok is false for any other string, also "".
func ParseShow(s string) (show Show, ok bool) {
	switch s {
	case "away":
		return ShowAway, true
	case "chat":
		return ShowChat, true
	case "dnd":
		return ShowDND, true
	case "xa":
		return ShowXA, true
	}
	return ShowNone, false
}

// ShowSource tells where ReadShow found its value.
type ShowSource uint8

const (
	// ShowFromNothing: there was none.
	ShowFromNothing ShowSource = iota
	// ShowFromClient: the element of RFC 8048 §6.2.
	ShowFromClient
	// ShowFromBlink: {urn:ag-projects:xml:ns:pidf}extended, which Blink and SylkServer send.
	ShowFromBlink
	// ShowFromIM: {urn:ietf:params:xml:ns:pidf:im}im, the provisional element of RFC 3922 §5.1.5 and §5.2.10.
	ShowFromIM
	// ShowFromEyebeam: activities in {urn:ietf:params:xml:ns:pidf:person}person, of a draft that became RFC 4480, which
	// Asterisk sends for CounterPath eyeBeam.
	ShowFromEyebeam
	// ShowFromRPID: the activities of RFC 4480 §3.2, of any person or of the tuple itself.
	ShowFromRPID
)

// String gives the source's name for a log line.
func (s ShowSource) String() string {
	switch s {
	case ShowFromClient:
		return "jabber:client"
	case ShowFromBlink:
		return "agp-pidf"
	case ShowFromIM:
		return "pidf:im"
	case ShowFromEyebeam:
		return "pidf:person"
	case ShowFromRPID:
		return "rpid"
	}
	return "none"
}

// ReadShow is the lenient reader of availability: what a tuple of the document would show in XMPP. It looks, in this order, at
// the element of RFC 8048, the vendor element of Blink and SylkServer, the provisional one of RFC 3922, the person of Asterisk, and
// the RPID activities of the persons. A tuple that is closed shows nothing, since unavailable presence has no <show/>
// (RFC 6121 §4.7.2.1). COMPAT(Blink, all), COMPAT(SylkServer, all), COMPAT(Asterisk, chan_sip and res_pjsip_pidf_eyebeam_body_supplement).
func ReadShow(p *Presence, t *Tuple) (Show, ShowSource) {
	if t.Status.Basic == BasicClosed {
		return ShowNone, ShowFromNothing
	}
	if t.Status.Show != ShowNone {
		return t.Status.Show, ShowFromClient
	}
	for _, x := range t.Status.Extensions {
		switch x.name {
		case Name{"urn:ag-projects:xml:ns:pidf", "extended"}:
			if !x.MayProcess(x.isSelf) {
				continue
			}
			switch strings.ToLower(collapse(x.Text())) {
			case "available":
				return ShowNone, ShowFromBlink
			case "away":
				return ShowAway, ShowFromBlink
			case "extended-away":
				return ShowXA, ShowFromBlink
			case "busy":
				return ShowDND, ShowFromBlink
			}
		case Name{"urn:ietf:params:xml:ns:pidf:im", "im"}:
			if !x.MayProcess(x.isSelf) {
				continue
			}
			value := strings.ToLower(collapse(x.Text()))
			if show, ok := ParseShow(value); ok {
				return show, ShowFromIM
			}
			// RFC 3922 §5.2.10 maps <im:im>busy</im:im> to dnd.
			if value == "busy" {
				return ShowDND, ShowFromIM
			}
		}
	}
	for _, x := range p.Extensions {
		if x.name == (Name{"urn:ietf:params:xml:ns:pidf:person", "person"}) {
			if show, ok := eyebeamShow(x); ok {
				return show, ShowFromEyebeam
			}
		}
	}
	show, found := t.Rich.activityShow()
	for i := range p.Persons {
		s, ok := p.Persons[i].Rich.activityShow()
		if ok && (!found || reserve(s) > reserve(show)) {
			show, found = s, true
		}
	}
	if found {
		return show, ShowFromRPID
	}
	return ShowNone, ShowFromNothing
}

func (x Extension) isSelf(n Name) bool { return n == x.name }

// eyebeamShow reads <pp:person><status><ep:activities><ep:away/></ep:activities></status></pp:person>.
func eyebeamShow(x Extension) (Show, bool) {
	e := x.element()
	if e == nil {
		return ShowNone, false
	}
	for status := range e.Children() {
		for activities := range status.Children() {
			if activities.Name.Local != "activities" {
				continue
			}
			for value := range activities.Children() {
				if show, ok := Activity(value.Name.Local).Show(); ok {
					return show, true
				}
			}
			// res_pjsip_pidf_eyebeam_body_supplement writes the element's name as text.
			if _, local, ok := strings.Cut(collapse(activities.Text()), ":"); ok {
				if show, ok := Activity(local).Show(); ok {
					return show, true
				}
			}
		}
	}
	return ShowNone, false
}

// reserve orders shows by how much they discourage.
func reserve(s Show) int {
	switch s {
	case ShowDND:
		return 3
	case ShowXA:
		return 2
	case ShowAway:
		return 1
	}
	return 0
}

// activityShow gives the show that discourages most among the activities.
func (r *Rich) activityShow() (show Show, found bool) {
	if r == nil {
		return ShowNone, false
	}
	for i := range r.Activities {
		for _, v := range r.Activities[i].Values {
			if s, ok := v.Show(); ok && (!found || reserve(s) > reserve(show)) {
				show, found = s, true
			}
		}
	}
	return show, found
}
