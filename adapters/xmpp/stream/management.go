package stream

import (
	"strconv"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Management counts the stanzas of one managed stream, or of several that were resumed (XEP-0198). It is a pure state, for one
// goroutine at a time; the stanzas that are not acknowledged are the caller's to keep. The zero value is that of <enable/>: "The
// sequence values" begin at zero and go round after 2^32-1 (XEP-0198 §4).
type Management struct {
	in, out, acked uint32
}

// ManagementAt returns the state of a stream on which in stanzas of the peer are handled, and acked of ours acknowledged: that of a
// resumption after the process began anew.
func ManagementAt(in, acked uint32) Management { return Management{in: in, out: acked, acked: acked} }

// Handled counts a stanza of the peer as handled: from then on it is acknowledged. Stanzas are counted from when <enable/> or <enabled/>
// was received, and those of Sent from when one of them was written (XEP-0198 §4).
func (m *Management) Handled() { m.in++ }

// Sent counts a stanza that is written.
func (m *Management) Sent() { m.out++ }

// Unsent takes back the last n that were counted as sent: none of their octets left, or they are written once more because the peer, which
// resumes the stream, has not handled them.
func (m *Management) Unsent(n int) { m.out -= uint32(n) } //nolint:gosec // modulo 2^32

// H returns how many stanzas of the peer are handled, for <a/>, <resume/> and <resumed/>.
func (m *Management) H() uint32 { return m.in }

// Unacked returns how many stanzas are written and not acknowledged.
func (m *Management) Unacked() int { return int(m.out - m.acked) }

// AckTo takes an h of the peer, and returns how many more stanzas, the oldest first, it has handled. The error is a *Fault, with which
// the stream is closed, if h is more than was sent, or less than before.
func (m *Management) AckTo(h uint32) (n int, err error) {
	delta := h - m.acked
	if delta > m.out-m.acked {
		// "the local entity SHOULD generate an undefined-condition stream error that includes a <handled-count-too-high/> element" (XEP-0198
		// §6). To go back is to take back what was said, and counts from the other side.
		f := &Fault{UndefinedCondition, "an acknowledgement of more than was sent", "RFC 6120 §4.9.3.21", ""}
		if int32(h-m.acked) < 0 { //nolint:gosec // the sign of a difference modulo 2^32 is the direction
			f.Rule = "an acknowledgement that goes back"
			return 0, f
		}
		app := append([]byte(nil), "<handled-count-too-high xmlns='"+SpaceManagement+"' h='"...)
		app = strconv.AppendUint(app, uint64(h), 10)
		app = append(app, "' send-count='"...)
		app = strconv.AppendUint(app, uint64(m.out), 10)
		f.App = string(append(app, "'/>"...))
		return 0, f
	}
	m.acked = h
	return int(delta), nil
}

// ManagementKind is which element of stream management it is.
type ManagementKind uint8

// The elements (XEP-0198).
const (
	Enable ManagementKind = iota + 1
	Enabled
	Resume
	Resumed
	Failed
	Ask    // <r/>
	Answer // <a/>
	managementEnd
)

var managementNames = [managementEnd]string{"", "enable", "enabled", "resume", "resumed", "failed", "r", "a"}

// ManagementElement is an element of stream management.
type ManagementElement struct {
	Kind ManagementKind
	// H is the count of an Answer, a Resume, a Resumed, and of a Failed if HasH is set.
	H    uint32
	HasH bool
	// Resumable is the 'resume' of an Enable or an Enabled.
	Resumable bool
	// ID is the 'id' of an Enabled, the 'previd' of a Resume or a Resumed.
	ID string
	// Max is the preferred time for a resumption, in whole seconds; 0 if it is not said.
	Max time.Duration
	// Location is where an Enabled wants a resumption to connect: a host, with a port or without; "" if it is not said.
	Location string
	// Condition is the stanza error condition of a Failed, "undefined-condition" if it has none.
	Condition string
}

// maxManagementText bounds an id and a location, in octets; the former is the peer's choice.
const maxManagementText = 4096

// ReadManagement reads an element that may be one of stream management; ok is false for any other. The error is a *Fault: a stream on
// which one is malformed is closed.
func ReadManagement(raw []byte, scope *strictxml.Scope, lim strictxml.Limits) (m ManagementElement, ok bool, err error) {
	e, err := strictxml.ParseElement(raw, scope, lim)
	if err != nil {
		return m, false, err
	}
	if e.Name.Space != SpaceManagement {
		return m, false, nil
	}
	for k := Enable; k < managementEnd; k++ {
		if managementNames[k] == e.Name.Local {
			m.Kind = k
		}
	}
	if m.Kind == 0 {
		return m, true, &Fault{UnsupportedStanzaType, "an unknown element of stream management", "RFC 6120 §4.9.3.24", ""}
	}
	malformed := &Fault{BadFormat, "a malformed element of stream management", "RFC 6120 §4.9.3.1", ""}
	if h, ok := e.Attr("", "h"); ok {
		n, err := strconv.ParseUint(h, 10, 32)
		if err != nil || h[0] == '+' {
			return m, true, malformed
		}
		m.H, m.HasH = uint32(n), true
	}
	if s, ok := e.Attr("", "max"); ok {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return m, true, malformed
		}
		m.Max = time.Duration(n) * time.Second
	}
	switch s, ok := e.Attr("", "resume"); {
	case s == "true" || s == "1":
		m.Resumable = true
	case ok && s != "false" && s != "0":
		return m, true, malformed
	}
	switch m.Kind {
	case Enabled:
		m.ID, _ = e.Attr("", "id")
		m.Location, _ = e.Attr("", "location")
	case Resume, Resumed:
		m.ID, _ = e.Attr("", "previd")
	case Failed:
		if m.Condition, ok = stanzaCondition(e); !ok {
			m.Condition = "undefined-condition"
		}
	}
	switch {
	case len(m.ID) > maxManagementText || len(m.Location) > maxManagementText,
		(m.Kind == Answer || m.Kind == Resume || m.Kind == Resumed) && !m.HasH,
		(m.Kind == Resume || m.Kind == Resumed) && m.ID == "":
		return m, true, malformed
	}
	// COMPAT(Prosody, 0.12.3): it allows resumption between servers without the SM-ID that it MUST give then (XEP-0198 §5), and cannot
	// resume such a stream. Without an SM-ID nothing can be resumed, and nothing is lost by going on without.
	m.Resumable = m.Resumable && (m.Kind != Enabled || m.ID != "")
	return m, true, nil
}

// AppendManagement appends the element.
func AppendManagement(dst []byte, m *ManagementElement) []byte {
	name := managementNames[m.Kind]
	dst = append(append(dst, '<'), name...)
	dst = append(dst, " xmlns='"+SpaceManagement+"'"...)
	switch m.Kind {
	case Answer, Resume, Resumed:
		dst = appendCount(dst, "h", uint64(m.H))
	case Failed:
		if m.HasH {
			dst = appendCount(dst, "h", uint64(m.H))
		}
	}
	switch m.Kind {
	case Enable, Enabled:
		if m.ID != "" && m.Kind == Enabled {
			dst = appendAttr(dst, "id", m.ID)
		}
		if m.Resumable {
			dst = append(dst, " resume='true'"...)
		}
		if m.Max >= time.Second {
			dst = appendCount(dst, "max", uint64(m.Max/time.Second))
		}
		if m.Location != "" && m.Kind == Enabled {
			dst = appendAttr(dst, "location", m.Location)
		}
	case Resume, Resumed:
		dst = appendAttr(dst, "previd", m.ID)
	case Failed:
		condition := m.Condition
		if !isStanzaCondition(condition) {
			condition = "undefined-condition"
		}
		dst = append(append(dst, "><"...), condition...)
		return append(dst, " xmlns='"+SpaceStanzas+"'/></failed>"...)
	}
	return append(dst, "/>"...)
}

func appendCount(dst []byte, name string, n uint64) []byte {
	dst = append(append(append(dst, ' '), name...), "='"...)
	return append(strconv.AppendUint(dst, n, 10), '\'')
}
