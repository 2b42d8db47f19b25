package sip

import (
	"slices"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// maxPublished bounds the document of one publication, in octets: what a user agent says of its user. Limits.Publications times this is
// what all may take.
const maxPublished = 16 << 10

// take serves a PUBLISH by the steps of RFC 3903 §6. Record-Route and Contact are not looked at: "The ESC MUST ignore the Record-Route
// header field" and "the Contact header field if one is present".
func (c *compositor) take(in *inbound) *Refusal {
	x, ref := readPublish(in.req, in.opts, c.a.limits(), c.serves)
	if ref != nil {
		return ref
	}
	done, ref := c.apply(x)
	if ref != nil {
		return ref
	}
	// The answer first: what follows may take its time. And not before the store has it: else a crash would leave what was published
	// before beside what is published then, because the user agent has only the entity-tag of this answer.
	c.a.afterKept(selfWatch(x.presentity), done.record, done.octets, func() {
		c.a.respond(in, answer{code: 200, phrase: phraseOf(200), headers: []wire.Header{
			{Name: "Expires", Value: itoa(seconds(x.expires))}, {Name: "SIP-ETag", Value: done.etag},
		}}, "")
	})
	c.tell()
	return nil
}

// readPublish checks a PUBLISH; serves tells whether the users of a domain publish here.
func readPublish(req *wire.Message, opts ReadOptions, lim *Limits, serves func(domain string) bool) (x change, ref *Refusal) {
	from, to, ref := readParties(req, opts, cpim.Pres)
	switch {
	case ref != nil:
		return x, ref
	case !serves(to.Address.Domain()):
		// Step 1: "If not, the ESC MUST return a 404 (Not Found) response".
		return x, refuse(WhyAddress, 404, "Not Found: nobody of this domain publishes here")
	case from.Address != to.Address:
		// A user publishes for itself and nobody else (T-ID-07).
		return x, refuse(WhyIdentity, 403, "Forbidden: the presence of somebody else")
	}
	x.presentity = to.Address
	if _, within := tagOf(req); within {
		return x, refuse(WhyNoDialog, 481, phraseOf(481)) // PUBLISH makes no dialog, and belongs to none (RFC 3903 §4)
	}
	value, _ := req.Header("Event")
	if e, ok := parseEvent(value); !ok || e.kind != eventPresence { // step 2
		return x, refuse(WhyEvent, 489, phraseOf(489), wire.Header{Name: "Allow-Events", Value: eventPresence})
	}
	tags := slices.Collect(req.Headers("SIP-If-Match")) // step 3
	if len(tags) > 1 || len(tags) == 1 && !isToken(tags[0]) {
		return x, refuse(WhySyntax, 400, "Bad Request: SIP-If-Match is not one entity-tag")
	}
	if len(tags) == 1 {
		x.etag = strings.Clone(tags[0])
	}
	if x.expires, ref = publishedFor(req, lim); ref != nil { // step 4
		return x, ref
	}
	if len(req.Body()) == 0 || x.etag != "" && x.expires == 0 {
		return x, nil // a refresh or a removal; apply refuses an initial publication of nothing
	}
	x.doc, x.sealed, ref = readPublished(req, to, opts) // step 5
	return x, ref
}

// publishedFor is how long a publication lasts: "that value MUST be taken as the requested expiration", "Else, a locally-configured
// default" (RFC 3903 §6 step 4).
func publishedFor(req *wire.Message, lim *Limits) (time.Duration, *Refusal) {
	d := lim.Expires
	if v, given := req.Header("Expires"); given {
		var ok bool
		if d, ok = parseSeconds(v); !ok {
			return 0, refuse(WhySyntax, 400, "Bad Request: Expires is no number of seconds")
		}
	}
	if d > 0 && d < lim.MinExpires {
		return 0, refuse(WhyInterval, 423, phraseOf(423), wire.Header{Name: "Min-Expires", Value: itoa(seconds(lim.MinExpires))})
	}
	return min(d, lim.MaxExpires), nil
}

// readPublished reads the document of a PUBLISH: well-formed, valid, and about its presentity (T-ID-07). One that is signed or encrypted
// is beside it as it came.
func readPublished(req *wire.Message, presentity adapters.Party, opts ReadOptions) (*pidf.Presence, *adapters.Content, *Refusal) {
	t, secured := sealedOf(req, opts)
	if ref := checkPresenceContent(req); ref != nil && !secured {
		return nil, nil, ref
	}
	if len(req.Body()) > maxPublished {
		return nil, nil, refuse(WhyContent, 413, phraseOf(413))
	}
	if secured {
		sealed, doc, ref := readSealed(req, t, presentity.Address, opts)
		return doc, sealed, ref
	}
	doc, err := parsePresence(req.Body(), opts)
	if err != nil {
		return nil, nil, refuse(WhySyntax, 400, "Bad Request: malformed presence document")
	}
	if ref := checkEntity(doc, presentity.Address, opts); ref != nil {
		return nil, nil, ref
	}
	if lang := languageOf(req); lang != "" {
		tagNotes(doc, lang)
	}
	return doc, nil, nil
}
