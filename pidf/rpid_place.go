package pidf

import "github.com/isthmus-gateway/isthmus/internal/strictxml"

// PlaceAudio, PlaceVideo and PlaceText are the properties of a place in RFC 4480 §3.6; the string is the element's name, and ""
// is no statement.
type (
	PlaceAudio string
	PlaceVideo string
	PlaceText  string
)

// The values of RFC 4480 §3.6.
const (
	AudioNoisy   PlaceAudio = "noisy"
	AudioOK      PlaceAudio = "ok"
	AudioQuiet   PlaceAudio = "quiet"
	AudioUnknown PlaceAudio = "unknown"

	VideoTooBright PlaceVideo = "toobright"
	VideoOK        PlaceVideo = "ok"
	VideoDark      PlaceVideo = "dark"
	VideoUnknown   PlaceVideo = "unknown"

	TextUncomfortable PlaceText = "uncomfortable"
	TextInappropriate PlaceText = "inappropriate"
	TextOK            PlaceText = "ok"
	TextUnknown       PlaceText = "unknown"
)

// Valid says whether RFC 4480 §3.6 lists the value.
func (p PlaceAudio) Valid() bool {
	return p == AudioNoisy || p == AudioOK || p == AudioQuiet || p == AudioUnknown
}

// Valid says whether RFC 4480 §3.6 lists the value.
func (p PlaceVideo) Valid() bool {
	return p == VideoTooBright || p == VideoOK || p == VideoDark || p == VideoUnknown
}

// Valid says whether RFC 4480 §3.6 lists the value.
func (p PlaceText) Valid() bool {
	return p == TextUncomfortable || p == TextInappropriate || p == TextOK || p == TextUnknown
}

// PlaceIs describes the place where a person is, in one range of time (RFC 4480 §3.6).
type PlaceIs struct {
	Span
	Notes []Note
	Audio PlaceAudio
	Video PlaceVideo
	Text  PlaceText
}

func (r *reader) placeIs(e *strictxml.Element) (PlaceIs, error) {
	span, err := r.span(e, "", nil)
	if err != nil {
		return PlaceIs{}, err
	}
	p := PlaceIs{Span: span}
	position := 0
	for i := range e.Nodes {
		c := e.Nodes[i].Element
		if c == nil {
			if !isSpace(e.Nodes[i].Text) {
				return p, r.fault(e, "character-data", "RFC 4480 §5.1", "elements only")
			}
			continue
		}
		if c.Name.Space != NamespaceRPID {
			return p, r.fault(c, "place-is-child", "RFC 4480 §5.1", "audio, video, text or notes")
		}
		at, ok := 0, true
		switch c.Name.Local {
		case "note":
			n, err := r.noteElement(c)
			if err != nil {
				return p, err
			}
			p.Notes = append(p.Notes, n)
			ok = position == 0
		case "audio":
			at = 1
			err = r.property(c, func(s string) bool { p.Audio = PlaceAudio(s); return p.Audio.Valid() })
		case "video":
			at = 2
			err = r.property(c, func(s string) bool { p.Video = PlaceVideo(s); return p.Video.Valid() })
		case "text":
			at = 3
			err = r.property(c, func(s string) bool { p.Text = PlaceText(s); return p.Text.Valid() })
		default:
			continue
		}
		if err != nil {
			return p, err
		}
		if at > 0 {
			ok = at > position
			position = max(position, at)
		}
		if !ok && !r.tolerate(LenientOrder, c.Offset) {
			return p, r.fault(c, "rpid-order", "RFC 4480 §5.1", "notes, audio, video, text, in this order")
		}
	}
	return p, nil
}

// property reads the one value in <audio>, <video> or <text>.
func (r *reader) property(e *strictxml.Element, set func(string) bool) error {
	v, err := r.values(e, func(string) bool { return true })
	if err != nil {
		return err
	}
	if len(v.names) != 1 || v.count() != 1 || !set(v.names[0]) {
		return r.fault(e, "place-is-value", "RFC 4480 §3.6", "one of the values of this medium")
	}
	return r.attributes(e)
}

func (p *PlaceIs) append(w *strictxml.Writer) {
	w.Start(strictxml.Name{Space: NamespaceRPID, Local: "place-is"})
	p.Span.append(w)
	appendNotes(w, NamespaceRPID, p.Notes)
	for _, m := range [...][2]string{{"audio", string(p.Audio)}, {"video", string(p.Video)}, {"text", string(p.Text)}} {
		if m[1] != "" {
			w.Start(strictxml.Name{Space: NamespaceRPID, Local: m[0]})
			appendEmpty(w, NamespaceRPID, m[1])
			w.End()
		}
	}
	w.End()
}

func (p *PlaceIs) check(seen *idSet) error {
	if p.Audio != "" && !p.Audio.Valid() || p.Video != "" && !p.Video.Valid() || p.Text != "" && !p.Text.Valid() {
		return unprintable("place-is-value", "RFC 4480 §3.6", "one of the values of this medium")
	}
	return firstFault(p.Span.check(seen), checkNotes(p.Notes))
}

// PlaceType is the type of place where a person is, in one range of time (RFC 4480 §3.7): either Other or Extensions, the
// latter of the namespace of RFC 4589 or another.
type PlaceType struct {
	Span
	Notes []Note
	// Other is a free description; nil for none.
	Other *Note
	// Extensions are the types.
	Extensions []Extension
}

func (r *reader) placeType(e *strictxml.Element) (PlaceType, error) {
	span, err := r.span(e, "", nil)
	if err != nil {
		return PlaceType{}, err
	}
	v, err := r.values(e, func(local string) bool { return local == "note" || local == "other" })
	if err != nil {
		return PlaceType{}, err
	}
	p := PlaceType{Span: span, Notes: v.notes, Extensions: v.extensions}
	if len(v.others) > 0 {
		p.Other = &v.others[0]
	}
	if v.count() == 0 || len(v.others) > 1 || len(v.others) == 1 && len(v.extensions) > 0 {
		return p, r.fault(e, "place-type-choice", "RFC 4480 §5.1", "one <other>, or elements of other namespaces")
	}
	return p, nil
}

func (p *PlaceType) append(w *strictxml.Writer) {
	var others []Note
	if p.Other != nil {
		others = []Note{*p.Other}
	}
	appendValues[string](w, "place-type", &p.Span, p.Notes, nil, others, p.Extensions)
}

func (p *PlaceType) check(seen *idSet) error {
	if (p.Other == nil) == (len(p.Extensions) == 0) {
		return unprintable("place-type-choice", "RFC 4480 §5.1", "one <other>, or elements of other namespaces")
	}
	var err error
	if p.Other != nil {
		err = p.Other.check()
	}
	return firstFault(err, p.Span.check(seen), checkNotes(p.Notes), checkExtensions(p.Extensions, NamespaceRPID))
}
