package pidf

import (
	"strconv"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// UserInput is the usage state of a service, device or person (RFC 4480 §3.14).
type UserInput struct {
	// Idle is false for "active".
	Idle bool
	// IdleThreshold is how long without input makes it idle, in seconds; 0 for not said.
	IdleThreshold int64
	// LastInput is when the last input came; zero for not said, which "Configuration MUST include the option" for.
	LastInput datetime.Value
	// ID is zero for none.
	ID ID
	// Attributes are those of other specifications.
	Attributes []Attribute
}

func (r *reader) userInput(e *strictxml.Element) (*UserInput, error) {
	u := &UserInput{}
	span, err := r.span(e, "no-range", func(local string) error {
		v, _ := e.Attr("", local)
		switch local {
		case "idle-threshold":
			n, ok := parseXMLInteger(collapse(v))
			if !ok || n <= 0 {
				return r.fault(e, "idle-threshold", "RFC 4480 §5.1", "a positive number of seconds")
			}
			u.IdleThreshold = n
			return nil
		case "last-input":
			t, err := r.dateTime(e, v, "last-input", "RFC 4480 §3.14")
			u.LastInput = t
			return err
		}
		return r.strayAttribute(e)
	})
	if err != nil {
		return nil, err
	}
	u.ID, u.Attributes = span.ID, span.Attributes
	for i := range e.Nodes {
		if e.Nodes[i].Element != nil {
			return nil, r.fault(e, "user-input", "RFC 4480 §3.14", "active or idle")
		}
	}
	text := e.Text()
	if r.lenient && text != collapse(text) {
		r.tolerate(LenientBasic, e.Offset)
		text = collapse(text)
	}
	switch text {
	case "active":
	case "idle":
		u.Idle = true
	default:
		return nil, r.fault(e, "user-input", "RFC 4480 §3.14", "active or idle")
	}
	return u, nil
}

func (u *UserInput) append(w *strictxml.Writer) {
	w.Start(strictxml.Name{Space: NamespaceRPID, Local: "user-input"})
	if u.IdleThreshold > 0 {
		w.Attr("idle-threshold", strconv.FormatInt(u.IdleThreshold, 10))
	}
	if !u.LastInput.IsZero() {
		w.Attr("last-input", u.LastInput.String())
	}
	appendIDAndAttributes(w, u.ID, u.Attributes)
	if u.Idle {
		w.Text("idle")
	} else {
		w.Text("active")
	}
	w.End()
}

func (u *UserInput) check(seen *idSet) error {
	if u == nil {
		return nil
	}
	if u.IdleThreshold < 0 {
		return unprintable("idle-threshold", "RFC 4480 §5.1", "a positive number of seconds, or 0 for none")
	}
	return checkIDAndAttributes(u.ID, u.Attributes, seen)
}
