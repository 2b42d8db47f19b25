package stanza

import (
	"errors"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/mimebody"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// wordsSealed are the note of a presence that says nothing to who cannot open it.
const wordsSealed = "This presence is encrypted (S/MIME), and this program cannot open it (RFC 3923)"

// unsealPresence makes op's Sealed of what <e2e/> holds (RFC 3923 §4.1, §8). A document that is signed in clear must be about the sender (T-ID-07),
// and then it, and not what stands beside it unsigned, is what watchers are told who do not take S/MIME. Of what is encrypted they are told what
// the stanza says itself, and that there is more.
func unsealPresence(op *adapters.NotifyOp, s *Stanza) *Error {
	content, t, e := entityContent(s.E2E)
	if e != nil {
		return e
	}
	if !mimebody.SMIME(t) {
		return fault(NotAcceptable, "What <e2e/> holds is neither signed nor encrypted by S/MIME, and cannot be carried to the other network")
	}
	doc, e := signedPresence(content, t, op.Watch.Presentity)
	if e != nil {
		return e
	}
	op.Sealed = &content
	told := &op.Presence.Tuples[0]
	switch {
	case doc != nil && len(doc.Tuples) > 0:
		signed := doc.Tuples[0]
		told.Status, told.Notes, told.Contact = pidf.Status{Basic: signed.Status.Basic}, signed.Notes, nil
		if told.Status.Show, _ = pidf.ReadShow(doc, &signed); told.Status.Basic == pidf.BasicAbsent && told.Status.Show == pidf.ShowNone {
			told.Status.Basic = pidf.BasicClosed // she has not said that she is there
		}
		if len(told.Notes) == 0 {
			told.Notes = doc.Notes
		}
	case len(told.Notes) == 0:
		told.Notes = []pidf.Note{{Text: wordsSealed, Lang: "en"}}
	}
	return nil
}

// entityContent is the content in <e2e/>, with its transfer encoding undone.
func entityContent(text []byte) (adapters.Content, cpim.ContentType, *Error) {
	e, err := entityOf(text)
	if err != nil {
		return adapters.Content{}, cpim.ContentType{}, fault(BadRequest, "What <e2e/> holds is no S/MIME object with its MIME header fields")
	}
	t := e.ContentType()
	kind, _ := e.Header("Content-Type")
	encoding, _ := e.Header("Content-Transfer-Encoding")
	octets, err := mimebody.Decode(encoding.Text(), e.Body())
	composite := t.Type() == "multipart" || t.Type() == "message"
	if err != nil || composite && len(octets) != len(e.Body()) {
		return adapters.Content{}, cpim.ContentType{}, fault(BadRequest, "The transfer encoding in <e2e/> is malformed or unknown")
	}
	return adapters.Content{Type: kind.Text(), Octets: octets}, t, nil
}

// signedPresence is the document that c holds in clear, nil if it shows nothing. Each that there is must be about the presentity, and what is
// signed in clear must be one.
func signedPresence(c adapters.Content, t cpim.ContentType, presentity cpim.Address) (*pidf.Presence, *Error) {
	if !signedInLines(c, t) {
		return nil, fault(BadRequest, "The signed object in <e2e/> is malformed")
	}
	var doc *pidf.Presence
	var bad *Error
	err := mimebody.Readable(c, mimebody.Limits{}, func(t cpim.ContentType, octets []byte) error {
		switch {
		case mimebody.SMIME(t), mimebody.Signature(t):
			return nil
		case !t.Is(pidf.MediaType):
			bad = fault(NotAcceptable, "What is signed is no presence document")
			return errRefused
		}
		d, err := pidf.Parse(octets)
		if err != nil {
			return err
		}
		if about, err := cpim.ParseAddress(d.Entity.String()); err != nil || about.WithScheme(cpim.Pres) != presentity {
			bad = fault(NotAcceptable, "The signed presence document is about somebody else")
			return errRefused
		}
		if doc != nil {
			return errors.New("stanza: two presence documents")
		}
		doc = d
		return nil
	})
	switch {
	case bad != nil:
		return nil, bad
	case err != nil:
		return nil, fault(BadRequest, "The signed object in <e2e/> is malformed")
	}
	return doc, nil
}

// CanSeal tells whether the S/MIME object of op can stand in a stanza and be the same octets behind it. AppendNotify leaves out one that cannot,
// and tells what Presence says.
func CanSeal(op *adapters.NotifyOp) bool {
	if op.Sealed == nil {
		return true
	}
	_, ok := sealedObject(op)
	return ok
}

func sealedObject(op *adapters.NotifyOp) (object, bool) {
	t, err := cpim.ParseContentType(op.Sealed.Type)
	if err != nil || !mimebody.SMIME(t) {
		return object{}, false
	}
	o, err := wrapped(&adapters.MessageOp{Content: *op.Sealed}, t)
	return o, err == nil
}

// toldSealed tells whether the stanza of device, among those of op, has the object: it is the first that is available, or the first of all.
func toldSealed(op *adapters.NotifyOp, i int) bool {
	for j := range op.Presence.Tuples {
		if availableAs(op.Presence, &op.Presence.Tuples[j]) {
			return i == j
		}
	}
	return i == 0
}

// availableAs tells whether a tuple is told as available. A status without <basic> tells of it only through what else it shows.
func availableAs(p *pidf.Presence, t *pidf.Tuple) bool {
	show, _ := pidf.ReadShow(p, t)
	return t.Status.Basic == pidf.BasicOpen || t.Status.Basic == pidf.BasicAbsent && show != pidf.ShowNone
}
