package stanza

import (
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Bounds of what is read of extensions. What is beyond them is passed over.
const (
	maxLinks     = 16   // of XEP-0066 in one message
	maxURL       = 2048 // of one, in octets
	maxReactions = 16   // of XEP-0444 in one message
	maxReaction  = 64   // of one, in octets: the longest emoji sequences of Unicode have less
	maxNick      = 256  // of XEP-0172, in octets
)

// extension reads a child of a message in another namespace: what crosses is kept, the rest is passed over. That includes wrappers
// around other people's messages (XEP-0280, XEP-0297, XEP-0313): what somebody sends us in one was said by nobody else (THREATS.md X13).
func (r *Reader) extension() error {
	c, s := &r.cur, &r.st
	switch string(c.Local()) {
	case "request":
		s.WantsReceipt = s.WantsReceipt || c.InSpace(SpaceReceipts)
	case "received":
		// XEP-0184; and of XEP-0333 what its earlier drafts had.
		if c.InSpace(SpaceReceipts) || c.InSpace(SpaceMarkers) {
			r.report(adapters.ReportDelivered)
		}
	case "displayed":
		if c.InSpace(SpaceMarkers) {
			r.report(adapters.ReportDisplayed)
		}
	case "markable":
		s.WantsMarker = s.WantsMarker || c.InSpace(SpaceMarkers)
	case "active", "composing", "paused", "inactive", "gone":
		if c.InSpace(SpaceStates) {
			r.state()
		}
	case "delay":
		r.delay()
	case "replace":
		s.Corrects = s.Corrects || c.InSpace(SpaceCorrection)
	case "reactions":
		if c.InSpace(SpaceReactions) {
			return r.reactions()
		}
	case "fallback":
		return r.fallback()
	case "x":
		if c.InSpace(SpaceLink) {
			return r.link()
		}
		s.Encrypted = s.Encrypted || c.InSpace(spacePGP)
	case "encrypted":
		s.Encrypted = s.Encrypted || c.InSpace(spaceAxolotl) || c.InSpace(spaceOMEMO1) || c.InSpace(spaceOMEMO2)
	case "openpgp":
		s.Encrypted = s.Encrypted || c.InSpace(spaceOpenPGP)
	case "e2e":
		if c.InSpace(spaceE2E) {
			return r.e2e()
		}
	case "encryption":
		s.Encrypted = s.Encrypted || c.InSpace(spaceEME)
	case "no-store", "no-permanent-store":
		s.NoStore = s.NoStore || c.InSpace(SpaceHints)
	case "origin-id":
		// Not stanza-id: that is another server's word, and only for its own users (XEP-0359 §6).
		if c.InSpace(SpaceIDs) && s.OriginID == "" {
			if v, ok := c.AttrBytes("", "id"); ok && len(v) <= maxID {
				s.OriginID = string(v)
			}
		}
	case "nick":
		return r.nick()
	case "event":
		return r.event()
	case "way":
		if c.InSpace(SpaceWay) && !s.Way {
			r.way()
		}
	case "html":
		s.Speechless = s.Speechless || c.InSpace(SpaceXHTMLIM)
	}
	return r.skip()
}

// report reads what a message says of an earlier one. Of several the first counts.
func (r *Reader) report(kind adapters.ReportKind) {
	if v, ok := r.cur.AttrBytes("", "id"); ok && len(v) > 0 && len(v) <= maxID && r.st.ReportFor == "" {
		r.st.Report, r.st.ReportFor = kind, string(v)
	}
}

// state reads a chat state. "A message stanza MUST NOT contain more than one child element qualified by the ... namespace" (XEP-0085
// §5.6); such a message tells no state, and is not refused for it, since what else it says may matter to somebody.
func (r *Reader) state() {
	s := &r.st
	if r.states++; r.states > 1 {
		s.State = adapters.ActivityNone
		return
	}
	switch string(r.cur.Local()) {
	case "active":
		s.State = adapters.ActivityActive
	case "composing":
		s.State = adapters.ActivityComposing
	case "paused":
		s.State = adapters.ActivityPaused
	case "inactive":
		s.State = adapters.ActivityInactive
	case "gone":
		s.State = adapters.ActivityGone
	}
}

// delay reads when the stanza was first sent (XEP-0203). Its time is as in XEP-0082.
func (r *Reader) delay() {
	s := &r.st
	if !s.Delay.IsZero() || !r.cur.InSpace(SpaceDelay) {
		return
	}
	if v, ok := r.cur.Attr("", "stamp"); ok {
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			s.Delay = t
		}
	}
}

// way reads our own element, as a gateway wrote it or as somebody forged it: it can shorten a message's way and nothing else. What is no
// number leaves the hop count as it is.
func (r *Reader) way() {
	s := &r.st
	s.Way, s.Hops = true, adapters.DefaultHops
	if v, ok := r.cur.AttrBytes("", "hops"); ok && len(v) > 0 && len(v) <= 3 {
		n, digits := 0, true
		for _, c := range v {
			digits = digits && c-'0' < 10
			n = n*10 + int(c-'0')
		}
		if digits {
			s.Hops = min(n, adapters.DefaultHops)
		}
	}
	if v, ok := r.cur.AttrBytes("", "by"); ok && len(v) <= maxID {
		s.Trace = adapters.ParseTrace(string(v))
	}
}

// nick reads what the sender calls itself.
func (r *Reader) nick() error {
	if !r.cur.InSpace(SpaceNick) || r.st.Nick != "" {
		return r.skip()
	}
	t, err := r.text()
	if err == nil && len(t) <= maxNick {
		r.st.Nick = oneLine(string(t))
	}
	return err
}

// oneLine makes a name of a text: without line ends, control characters, what turns the direction of the text behind it, and white space around
// it.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s))
}

// children walks the child elements of the current element to its end; f reads one from its start tag to its end tag.
func (r *Reader) children(f func() error) error {
	for {
		k, err := r.cur.Next()
		if err != nil {
			return err
		}
		switch k {
		case strictxml.EndElement:
			return nil
		case strictxml.StartElement:
			if err := f(); err != nil {
				return err
			}
		}
	}
}

// reactions reads the emoji of a reaction. "A receiving entity SHOULD ignore duplicate reactions" (XEP-0444 §4).
func (r *Reader) reactions() error {
	s := &r.st
	first := !s.Reacts
	s.Reacts = true
	return r.children(func() error {
		if !first || !r.cur.Is(SpaceReactions, "reaction") {
			return r.skip()
		}
		t, err := r.text()
		if err != nil || len(t) > maxReaction || len(s.Reactions) == maxReactions {
			return err
		}
		word := oneLine(string(t))
		for _, have := range s.Reactions {
			if have == word {
				return nil
			}
		}
		if word != "" {
			s.Reactions = append(s.Reactions, word)
		}
		return nil
	})
}

// fallback reads whether a body is there for those who do not know of corrections or reactions, as SIP does not (XEP-0428).
func (r *Reader) fallback() error {
	c, s := &r.cur, &r.st
	if c.InSpace(SpaceFallback) {
		if v, ok := c.AttrBytes("", "for"); ok && string(v) == SpaceCorrection {
			s.Fallback = true
		}
	}
	return r.skip()
}

// link reads a URL (XEP-0066 §3). Others than of the web are passed over: a body says what they are if it wants them known.
func (r *Reader) link() error {
	s := &r.st
	var l adapters.Link
	err := r.children(func() error {
		switch {
		case r.cur.Is(SpaceLink, "url") && l.URL == "":
			t, err := r.text()
			l.URL = strings.TrimSpace(string(t))
			return err
		case r.cur.Is(SpaceLink, "desc") && l.Description == "":
			t, err := r.text()
			if len(t) <= maxNick {
				l.Description = oneLine(string(t))
			}
			return err
		}
		return r.skip()
	})
	switch {
	case err != nil || l.URL == "":
	case !isWeb(l.URL):
		s.Speechless = true
	case len(s.Links) < maxLinks:
		s.Links = append(s.Links, l)
	}
	return err
}

// isWeb tells whether s is a URL of the web that may be passed on: one that no reader takes for two.
func isWeb(s string) bool {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || len(s) > maxURL || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f || strings.IndexByte("<>\"\\^`{|}", s[i]) >= 0 {
			return false
		}
	}
	host := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host = rest[:i]
	}
	return host != "" && host[0] != ':' && strings.IndexByte(host, '@') < 0
}
