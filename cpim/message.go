package cpim

import (
	"bytes"
	"iter"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
)

// Message is one Message/CPIM object (RFC 3862): message headers and an
// encapsulated MIME entity. It is made by ParseMessage or a Builder and never
// changes. It keeps the octets it was made from, so that a relay prints
// exactly what it read: "an intermediate gateway MUST NOT change the
// Message/CPIM content in any way" (RFC 3862 §6).
//
// A Message may be read by several goroutines at once.
type Message struct {
	raw      []byte
	headers  []headerSpan
	content  Entity
	declared bool // an NS header was seen

	headerBuf [12]headerSpan
}

// Bytes returns the octets of the object as they came. They must not be
// changed.
func (m *Message) Bytes() []byte { return m.raw }

// Append appends the octets of the object as they came.
func (m *Message) Append(dst []byte) []byte { return append(dst, m.raw...) }

// Content returns the encapsulated MIME entity.
func (m *Message) Content() *Entity { return &m.content }

// HeaderCount returns the number of message headers.
func (m *Message) HeaderCount() int { return len(m.headers) }

// Header returns message header i, counted from 0 in the order of the object.
// It panics if there is none.
func (m *Message) Header(i int) Header {
	s := &m.headers[i]
	h := Header{
		Name:      m.raw[s.start:s.colon],
		Local:     m.raw[s.start:s.colon],
		Value:     m.raw[s.value:s.end],
		Namespace: m.namespace(s.ns),
	}
	if s.dot >= 0 {
		h.Local = m.raw[s.dot+1 : s.colon]
	}
	h.params = bytes.TrimRight(m.raw[s.colon+1:s.value], " ")
	return h
}

// Headers ranges over the message headers in order.
func (m *Message) Headers() iter.Seq[Header] {
	return func(yield func(Header) bool) {
		for i := range m.headers {
			if !yield(m.Header(i)) {
				return
			}
		}
	}
}

// Lookup ranges over the headers of a name in a namespace, whatever prefix
// they have.
func (m *Message) Lookup(namespace, local string) iter.Seq[Header] {
	return func(yield func(Header) bool) {
		for h := range m.Headers() {
			if string(h.Local) == local && string(h.Namespace) == namespace && !yield(h) {
				return
			}
		}
	}
}

// Header is one message header. Its slices are parts of the object and must
// not be changed.
type Header struct {
	// Name is the name as written, with its prefix.
	Name []byte
	// Local is the name without its prefix.
	Local []byte
	// Namespace is the URI of the namespace that the prefix, or its absence,
	// stands for.
	Namespace []byte
	// Value is the value as written, escapes included.
	Value []byte

	params []byte
}

// Text returns the value unescaped, for use on one line (see UnescapeLine).
func (h Header) Text() string { return UnescapeLine(string(h.Value)) }

// ExactText returns the value unescaped; it may hold control characters (see
// Unescape).
func (h Header) ExactText() string { return Unescape(string(h.Value)) }

// Params returns the parameters as written, each with its ";", or nothing.
func (h Header) Params() []byte { return h.params }

// Param is one parameter of a header.
type Param struct {
	// Name is the parameter's name as written.
	Name string
	// Value is its value: the text of a quoted string is without its quotes
	// and unescaped for use on one line.
	Value string
}

// ParamList returns the parameters in order.
func (h Header) ParamList() []Param {
	var list []Param
	for p := h.params; len(p) > 0; {
		end, err := headerParameter(p, 1)
		if err != nil {
			return list // not reached: the parameters were checked when parsed
		}
		name, value, _ := bytes.Cut(p[1:end], []byte("="))
		param := Param{Name: string(name), Value: string(value)}
		if value[0] == '"' {
			param.Value = UnescapeLine(string(value[1 : len(value)-1]))
		}
		list = append(list, param)
		p = p[end:]
	}
	return list
}

// Lang returns the language tag of the value, "" for none, which means
// "i-default" (RFC 3862 §3.3).
func (h Header) Lang() string {
	if p, ok := bytes.CutPrefix(h.params, []byte(";lang=")); ok && bytes.IndexByte(p, ';') < 0 {
		return string(p)
	}
	for _, p := range h.ParamList() {
		if p.Name == "lang" {
			return p.Value
		}
	}
	return ""
}

// From returns the sender, and whether there is one.
func (m *Message) From() (Mailbox, bool) {
	for mb := range m.mailboxes(kindFrom) {
		return mb, true
	}
	return Mailbox{}, false
}

// TwoFaced tells whether a header could be taken for the sender that is not From's: one that is called From in other letters, or in
// another default namespace. It says nothing by RFC 3862 §4.1, where "From" is case-sensitive; but who reads names as mail has them, or knows no
// namespaces, sees a sender there whom nobody has compared with anything.
func (m *Message) TwoFaced() bool {
	for i := range m.headers {
		h := &m.headers[i]
		if h.kind != kindFrom && h.dot < 0 && bytes.EqualFold(m.raw[h.start:h.colon], []byte("From")) {
			return true
		}
	}
	return false
}

// To ranges over the recipients in order.
func (m *Message) To() iter.Seq[Mailbox] { return m.mailboxes(kindTo) }

// CC ranges over the courtesy copy recipients in order.
func (m *Message) CC() iter.Seq[Mailbox] { return m.mailboxes(kindCC) }

func (m *Message) mailboxes(k headerKind) iter.Seq[Mailbox] {
	return func(yield func(Mailbox) bool) {
		for i := range m.headers {
			h := &m.headers[i]
			if h.kind != k {
				continue
			}
			v := m.raw[h.value:h.end]
			// What was forgiven once is forgiven again.
			p, err := scanMailbox(v, &leniencies{allowed: AllLeniencies})
			if err == nil && !yield(p.mailbox(v)) {
				return
			}
		}
	}
}

// DateTime returns when the message was sent, and whether it says so.
func (m *Message) DateTime() (datetime.Value, bool) {
	for i := range m.headers {
		if h := &m.headers[i]; h.kind == kindDateTime {
			v, err := datetime.Parse(string(m.raw[h.value:h.end]), datetime.CPIM)
			return v, err == nil
		}
	}
	return datetime.Value{}, false
}

// Subject is a text with its language.
type Subject struct {
	// Lang is a language tag, or "" for "i-default".
	Lang string
	// Text is the unescaped text, for use on one line (see UnescapeLine).
	Text string
}

// Subjects ranges over the subjects in order, one for each language.
func (m *Message) Subjects() iter.Seq[Subject] {
	return func(yield func(Subject) bool) {
		for i := range m.headers {
			if m.headers[i].kind != kindSubject {
				continue
			}
			h := m.Header(i)
			if !yield(Subject{Lang: h.Lang(), Text: h.Text()}) {
				return
			}
		}
	}
}

// Feature is a header name, or the name of some other thing, that a Require
// header demands the recipient to know.
type Feature struct {
	// Namespace is the URI of its namespace.
	Namespace string
	// Local is the name without its prefix.
	Local string
}

// Requires ranges over all that the Require headers name. A recipient that does
// not know one of them cannot understand the message (RFC 3862 §3.5).
func (m *Message) Requires() iter.Seq[Feature] {
	return func(yield func(Feature) bool) {
		for i := range m.headers {
			h := &m.headers[i]
			if h.kind != kindRequire {
				continue
			}
			// A prefix means what it meant at the Require header.
			before := Message{raw: m.raw, headers: m.headers[:i], declared: m.declared}
			for name := range bytes.SplitSeq(m.raw[h.value:h.end], []byte(",")) {
				prefix, local, ok := bytes.Cut(name, []byte("."))
				if !ok {
					prefix, local = nil, name
				}
				ns, _ := before.lookupPrefix(prefix, &leniencies{allowed: AllLeniencies})
				if !yield(Feature{Namespace: string(before.namespace(ns)), Local: string(local)}) {
					return
				}
			}
		}
	}
}
