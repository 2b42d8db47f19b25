package stanza

import (
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// Stanza is what a Reader found in one stanza: the parts that cross, and no others. Its strings are copies; the struct itself and
// its slices belong to the Reader and are valid until its next Read.
type Stanza struct {
	Kind     Kind
	From, To jid.JID // zero when absent; when malformed, Fault says so
	ID       string
	Type     string
	Lang     string // xml:lang of the stanza

	// Of a message: the first body and its language, the others, the subjects, thread and what was asked for or reported.
	HasBody      bool
	Body         []byte // a copy
	BodyLang     string
	Alternatives []adapters.LangText
	Subjects     []adapters.LangText
	Thread       string
	ParentThread string
	Delay        time.Time // XEP-0203, zero when absent
	WantsReceipt bool      // XEP-0184 <request/>
	WantsMarker  bool      // XEP-0333 <markable/>
	// Report is what the message says of an earlier one, ReportFor that one's id: XEP-0184 <received/>, XEP-0333 <displayed/>.
	Report    adapters.ReportKind
	ReportFor string
	// State is its chat state (XEP-0085).
	State adapters.Activity
	// Corrects is set if it replaces an earlier message (XEP-0308), and Reacts if it is a reaction to one, with Reactions (XEP-0444);
	// Fallback if it says that its body says itself that it is a correction (XEP-0428).
	Corrects, Reacts bool
	Reactions        []string
	Fallback         bool
	Links            []adapters.Link // XEP-0066
	OriginID         string          // XEP-0359
	NoStore          bool            // XEP-0334
	// Way tells that it has our own element (SpaceWay), which says that it may go on for Hops more hops, and passed the gateways of Trace.
	Way   bool
	Hops  int
	Trace []string
	Nick  string // XEP-0172, also of a presence
	// Event is what the sender says of itself (XEP-0163).
	Event PersonalEvent
	// Speechless is set if it has words or a link in a form that cannot cross: XHTML-IM (XEP-0071), which a body should stand beside, or a
	// link that is not of the web.
	Speechless bool
	// Encrypted is set if what the message says is encrypted or signed for its recipient's device (RFC 3923, XEP-0027, XEP-0373,
	// XEP-0384), which no gateway can read.
	Encrypted bool
	// E2E is the character data of <e2e/> (RFC 3923), nil if there is none.
	E2E []byte
	// Reaches is another address than To by which the sender may know the recipient, zero if there is none. Who reads the stanza sets it.
	Reaches cpim.Address

	// Of a presence.
	Show        pidf.Show
	Statuses    []adapters.LangText
	Priority    int8
	HasPriority bool
	Caps        Caps

	// Of an iq: its payload and that one's node attribute (XEP-0030).
	Payload strictxml.Name
	Node    string
	raw     []byte // the octets of an iq, for what is in its payload
	scope   *strictxml.Scope

	// Error is the <error/> of a stanza of type "error"; never nil for one.
	Error *Error
	// Fault is not nil when the stanza breaks a rule and must be refused with it (unless it is an error itself).
	Fault *Error
}

// Reader reads stanzas of one stream. It is for one goroutine.
type Reader struct {
	space   string
	lim     strictxml.Limits
	cur     strictxml.Cursor
	st      Stanza
	lang    string // of the last stanza that had one: most have the same
	buf     []byte // the text being read
	threads int
	states  int
	payload int
}

// NewReader returns a Reader of stanzas in the namespace space, which is the stream's default namespace.
func NewReader(space string, lim strictxml.Limits) *Reader {
	return &Reader{space: space, lim: lim}
}

// Read reads the octets of one element in the scope of its stream's header. The error is a *strictxml.SyntaxError and then the
// stream cannot go on (RFC 6120 §4.9.1.1); a stanza that is well-formed but breaks a rule is returned with its Fault.
//
// Kind is zero for an element that is not a stanza; then nothing else is set.
func (r *Reader) Read(raw []byte, scope *strictxml.Scope) (*Stanza, error) {
	r.reset()
	c, s := &r.cur, &r.st
	c.Reset(raw, scope, r.lim)
	if _, err := c.Next(); err != nil {
		return nil, err
	}
	r.begin()
	if s.Kind == IQ {
		s.raw, s.scope = raw, scope
	}
	for {
		k, err := c.Next()
		if err != nil {
			return nil, err
		}
		switch k {
		case strictxml.StartElement:
			if err := r.child(); err != nil {
				return nil, err
			}
		case strictxml.Text:
			if s.Kind != 0 && !c.IsSpace() {
				r.refuse(BadRequest, "Character data between the elements of a stanza")
			}
		case strictxml.EndElement:
			r.finish()
			return s, nil
		}
	}
}

func (r *Reader) reset() {
	o := &r.st
	r.st = Stanza{
		Alternatives: o.Alternatives[:0], Subjects: o.Subjects[:0], Statuses: o.Statuses[:0], Reactions: o.Reactions[:0], Links: o.Links[:0],
	}
	r.threads, r.payload, r.states = 0, 0, 0
}

// ReadHead reads only the start tag of a stanza that exceeds a limit, of which raw is as much as came: who it is from and for, and
// its Fault, which is policy-violation. RFC 6120 §13.12: the receiver "MUST either return a <policy-violation/> stanza error ...,
// thus allowing the sender to recover, or close the stream", and to close would let any user cut everybody's stream. The error is
// as that of Read, also if the start tag itself exceeds a limit.
func (r *Reader) ReadHead(raw []byte, scope *strictxml.Scope) (*Stanza, error) {
	r.reset()
	c, s := &r.cur, &r.st
	if tag := strictxml.StartTag(raw); tag != nil {
		raw = tag
	}
	c.Reset(raw, scope, r.lim)
	if _, err := c.Next(); err != nil {
		return nil, err
	}
	r.begin()
	if s.Kind == 0 {
		return s, nil
	}
	r.refuse(PolicyViolation, "The stanza exceeds a limit of this gateway")
	if s.Type == "error" {
		s.Error = &Error{Condition: UndefinedCondition}
	}
	return s, nil
}

// begin finds out from the start tag which stanza it is, from and for whom.
func (r *Reader) begin() {
	c, s := &r.cur, &r.st
	switch {
	case c.Is(r.space, "message"):
		s.Kind = Message
	case c.Is(r.space, "presence"):
		s.Kind = Presence
	case c.Is(r.space, "iq"):
		s.Kind = IQ
	}
	if s.Kind != 0 {
		r.header()
	}
}

// refuse keeps the first fault.
func (r *Reader) refuse(c Condition, text string) {
	if r.st.Fault == nil {
		r.st.Fault = fault(c, text)
	}
}

// header reads the attributes. The addresses and the id are copied together, since most often all three are kept.
func (r *Reader) header() {
	c, s := &r.cur, &r.st
	from, hasFrom := c.AttrBytes("", "from")
	to, hasTo := c.AttrBytes("", "to")
	id, _ := c.AttrBytes("", "id")
	if len(id) > maxID {
		id = nil
		r.refuse(PolicyViolation, "The id is longer than 1024 octets")
	}
	if cap(r.buf) > keptText {
		r.buf = nil
	}
	r.buf = append(append(append(r.buf[:0], from...), to...), id...)
	all := string(r.buf)
	if hasFrom {
		s.From = r.address("from", all[:len(from)])
	}
	if hasTo {
		s.To = r.address("to", all[len(from):len(from)+len(to)])
	}
	s.ID = all[len(from)+len(to):]
	if v, ok := c.AttrBytes("", "type"); ok {
		s.Type = typeName(v)
	}
	if v, ok := c.AttrBytes(spaceXML, "lang"); ok {
		s.Lang = r.language(v)
	}
}

// maxID bounds an id in octets: it comes back in every answer, and is kept for late reports. A stanza with a longer one has none.
const maxID = 1024

func (r *Reader) address(name, v string) jid.JID {
	j, err := jid.Parse(v)
	if err != nil {
		r.refuse(JIDMalformed, "The '"+name+"' address is malformed")
	}
	return j
}

// typeName returns the stanza type without allocating for those that exist. An unknown one is kept.
func typeName(v []byte) string {
	switch string(v) {
	case "normal":
		return "normal"
	case "chat":
		return "chat"
	case "headline":
		return "headline"
	case "groupchat":
		return "groupchat"
	case "error":
		return "error"
	case "get":
		return "get"
	case "set":
		return "set"
	case "result":
		return "result"
	case "subscribe":
		return "subscribe"
	case "subscribed":
		return "subscribed"
	case "unsubscribe":
		return "unsubscribe"
	case "unsubscribed":
		return "unsubscribed"
	case "unavailable":
		return "unavailable"
	case "probe":
		return "probe"
	}
	return string(v)
}

// language returns a tag that has the shape of one, else "": what is no tag must not travel as one.
func (r *Reader) language(v []byte) string {
	if string(v) == r.lang {
		return r.lang
	}
	if !isTag(v) {
		return ""
	}
	r.lang = string(v)
	return r.lang
}

// child reads one child of the stanza, from its start tag to its end tag.
func (r *Reader) child() error {
	c, s := &r.cur, &r.st
	own := c.InSpace(r.space)
	switch {
	case s.Kind == 0:
	case own && string(c.Local()) == "error":
		return r.error()
	case s.Kind == Message && own:
		return r.messageChild()
	case s.Kind == Message:
		return r.extension()
	case s.Kind == Presence:
		return r.presenceChild(own)
	case s.Kind == IQ:
		if r.payload++; r.payload == 1 {
			s.Payload = c.Name()
			s.Node, _ = c.Attr("", "node")
		}
	}
	return r.skip()
}

// skip passes the current element.
func (r *Reader) skip() error {
	_, err := r.cur.Skip()
	return err
}

// messageChild reads a child of RFC 6121 §5.2.
func (r *Reader) messageChild() error {
	c, s := &r.cur, &r.st
	switch string(c.Local()) {
	case "body":
		return r.body()
	case "subject":
		lang := r.childLang()
		t, err := r.text()
		if err == nil {
			s.Subjects = r.localized(s.Subjects, adapters.LangText{Lang: lang, Text: string(t)}, "subject")
		}
		return err
	case "thread":
		parent, _ := c.Attr("", "parent")
		t, err := r.text()
		if err != nil {
			return err
		}
		if r.threads++; r.threads > 1 {
			r.refuse(BadRequest, "More than one thread")
			return nil
		}
		s.Thread, s.ParentThread = string(t), parent
		return nil
	}
	return r.skip()
}

// presenceChild reads a child of RFC 6121 §4.7, or an extension that crosses.
func (r *Reader) presenceChild(own bool) error {
	c, s := &r.cur, &r.st
	if !own {
		switch string(c.Local()) {
		case "delay":
			r.delay()
		case "nick":
			return r.nick()
		case "e2e":
			if c.InSpace(spaceE2E) {
				return r.e2e()
			}
		case "c":
			if c.InSpace(SpaceCaps) {
				r.caps()
			}
		}
		return r.skip()
	}
	switch string(c.Local()) {
	case "show":
		t, err := r.text()
		if err == nil {
			s.Show, _ = pidf.ParseShow(string(t)) // an unknown value is no value
		}
		return err
	case "status":
		lang := r.childLang()
		t, err := r.text()
		if err == nil && len(t) > 0 {
			s.Statuses = r.localized(s.Statuses, adapters.LangText{Lang: lang, Text: string(t)}, "")
		}
		return err
	case "priority":
		t, err := r.text()
		if err != nil {
			return err
		}
		// RFC 6121 §4.7.2.3: an integer from -128 to +127. Another value is no value.
		if p, err := strconv.ParseInt(string(t), 10, 8); err == nil && !s.HasPriority {
			s.Priority, s.HasPriority = int8(p), true
		}
		return nil
	}
	return r.skip()
}

// childLang is the language in force on a child: its own, else the stanza's.
func (r *Reader) childLang() string {
	if v, ok := r.cur.AttrBytes(spaceXML, "lang"); ok {
		return r.language(v)
	}
	return r.st.Lang
}

// keptText is the largest text buffer that a Reader keeps for the next stanza, in octets.
const keptText = 64 << 10

// text reads the character data of an element that may hold nothing else. RFC 6121 §5.2.3: a body "MUST NOT contain mixed
// content", and neither may a subject, thread, show, status or priority. The octets are valid until the next call.
func (r *Reader) text() ([]byte, error) { return r.textWith(lineEndsNormalised) }

// lineEnds says what becomes of a carriage return that stands in character data as itself.
type lineEnds bool

const (
	lineEndsNormalised lineEnds = false // to LF (XML 1.0 §2.11)
	// COMPAT(Prosody, 0.12.3): see strictxml's AppendTextKeepingCR. For bodies alone, which are content and cross octet for octet.
	lineEndsKept lineEnds = true
)

func (r *Reader) textWith(ends lineEnds) ([]byte, error) {
	c := &r.cur
	if cap(r.buf) > keptText {
		r.buf = nil
	}
	r.buf = r.buf[:0]
	for {
		k, err := c.Next()
		if err != nil {
			return nil, err
		}
		switch k {
		case strictxml.Text:
			if ends == lineEndsKept {
				r.buf = c.AppendTextKeepingCR(r.buf)
			} else {
				r.buf = append(r.buf, c.TextBytes()...)
			}
		case strictxml.StartElement:
			r.refuse(BadRequest, "An element inside of text")
			return nil, r.skipOpen(k)
		case strictxml.EndElement:
			return r.buf, nil
		}
	}
}

// skipOpen passes the rest of the element whose content has been entered; k is the token reached in it.
func (r *Reader) skipOpen(k strictxml.Kind) error {
	for {
		switch k {
		case strictxml.StartElement:
			if _, err := r.cur.Skip(); err != nil {
				return err
			}
		case strictxml.EndElement:
			return nil
		}
		var err error
		if k, err = r.cur.Next(); err != nil {
			return err
		}
	}
}

// body keeps the first body apart, as the message's content. RFC 6121 §5.2.3 allows more than one only with distinct languages;
// else two clients could show two texts, so such a message is refused.
func (r *Reader) body() error {
	lang := r.childLang()
	t, err := r.textWith(lineEndsKept)
	if err != nil {
		return err
	}
	s := &r.st
	if !s.HasBody {
		s.HasBody, s.BodyLang = true, lang
		s.Body = append(make([]byte, 0, len(t)), t...)
		return nil
	}
	if strings.EqualFold(lang, s.BodyLang) { // RFC 5646 §2.1.1: case has no meaning in a tag
		r.refuse(BadRequest, "Two bodies in one language")
		return nil
	}
	s.Alternatives = r.localized(s.Alternatives, adapters.LangText{Lang: lang, Text: string(t)}, "body")
	return nil
}

// localized adds a text in a language that no other one has. A second one in the same language is a fault of the named element,
// or is dropped if that is "".
func (r *Reader) localized(all []adapters.LangText, t adapters.LangText, element string) []adapters.LangText {
	for i := range all {
		if strings.EqualFold(all[i].Lang, t.Lang) {
			if element != "" {
				r.refuse(BadRequest, "Two elements of one kind in one language: "+element)
			}
			return all
		}
	}
	return append(all, t)
}

// finish applies the rules that need the whole stanza.
func (r *Reader) finish() {
	s := &r.st
	if s.Kind == 0 {
		return
	}
	if s.Type == "error" && s.Error == nil {
		s.Error = &Error{Condition: UndefinedCondition}
	}
	if s.Kind != IQ {
		return
	}
	// RFC 6120 §8.2.3: the id and the type are REQUIRED; a request has exactly one child, a result at most one.
	switch s.Type {
	case "get", "set":
		if r.payload != 1 {
			r.refuse(BadRequest, "A request has exactly one child element")
		}
	case "result", "error":
	default:
		r.refuse(BadRequest, "The type of an iq is get, set, result or error")
	}
	if s.ID == "" {
		r.refuse(BadRequest, "An iq has an id")
	}
}
