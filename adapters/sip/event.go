package sip

import (
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// eventPresence is the one event package that is served, both ways (RFC 3856 §6.1).
const eventPresence = "presence"

// splitParams cuts a header value of the form item *(SEMI name [EQUAL value]) (RFC 3261 §25.1, generic-param): the item without
// white space around it, and its parameters with quoted values unquoted. A semicolon within quotes is part of the value.
func splitParams(value string) (item string, params iter.Seq2[string, string]) {
	item, rest, _ := strings.Cut(value, ";")
	return strings.Trim(item, " \t"), func(yield func(string, string) bool) {
		for rest != "" {
			var part string
			part, rest = cutParam(rest)
			name, v, _ := strings.Cut(part, "=")
			if name = strings.Trim(name, " \t"); name == "" {
				continue
			}
			if !yield(strings.ToLower(name), unquote(strings.Trim(v, " \t"))) {
				return
			}
		}
	}
}

// cutParam cuts s at the first semicolon outside of quotes.
func cutParam(s string) (part, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// unquote undoes a quoted-string; any other text stays as it is.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// event is an Event header field (RFC 6665 §8.2.1). Comparable: two are equal exactly when RFC 6665 lets them match, "byte by
// byte" in type and id.
type event struct {
	kind  string
	id    string
	hasID bool
}

// parseEvent reads an Event header field's value; ok is false if there is no event type.
func parseEvent(value string) (e event, ok bool) {
	kind, params := splitParams(value)
	e.kind = kind
	for name, v := range params {
		if name == "id" {
			e.id, e.hasID = v, true
		}
	}
	return e, isToken(kind) && (!e.hasID || isToken(e.id))
}

// String writes the field's value.
func (e event) String() string {
	if e.hasID {
		return e.kind + ";id=" + e.id
	}
	return e.kind
}

// watchState is a Subscription-State header field (RFC 6665 §8.2.3), on the way in or out.
type watchState struct {
	state adapters.WatchState
	end   adapters.EndReason
	// expires is what is left of the watch; hasExpires tells that it was said (RFC 3265 let notifiers leave it out).
	expires    time.Duration
	hasExpires bool
	retryAfter time.Duration
}

// parseWatchState reads the field's value. An unknown state is no state (RFC 6665 §8.4: substate-value may be extended, and
// nothing is known of it then); an unknown reason is none. A number over what fits is cut to maxSeconds.
func parseWatchState(value string) (s watchState, ok bool) {
	word, params := splitParams(value)
	switch strings.ToLower(word) {
	case "active":
		s.state = adapters.WatchActive
	case "pending":
		s.state = adapters.WatchPending
	case "terminated":
		s.state = adapters.WatchTerminated
	default:
		return s, isToken(word)
	}
	for name, v := range params {
		switch name {
		case "expires":
			d, good := parseSeconds(v)
			if !good {
				return watchState{}, false
			}
			if s.state != adapters.WatchTerminated { // "subscribers MUST ignore any such parameter" (RFC 6665 §4.1.3)
				s.expires, s.hasExpires = d, true
			}
		case "retry-after":
			d, good := parseSeconds(v)
			if !good {
				return watchState{}, false
			}
			s.retryAfter = d
		case "reason":
			s.end = endReason(v)
		}
	}
	if s.state != adapters.WatchTerminated {
		s.end, s.retryAfter = adapters.EndNone, 0 // no semantics elsewhere (RFC 6665 §4.1.3)
	}
	switch s.end {
	case adapters.EndProbation, adapters.EndGiveUp, adapters.EndNone, adapters.EndInvariant:
	default:
		s.retryAfter = 0 // "has no semantics" for the others (RFC 6665 §4.1.3)
	}
	return s, true
}

func endReason(s string) adapters.EndReason {
	for r := adapters.EndDeactivated; r <= adapters.EndInvariant; r++ {
		if strings.EqualFold(r.String(), s) {
			return r
		}
	}
	return adapters.EndNone
}

// String writes the field's value: with the time left for a state that has one ("the notifier MUST also include ... an
// "expires" parameter", RFC 6665 §4.2.2), with the reason and retry-after for an end.
func (s watchState) String() string {
	b := make([]byte, 0, 48)
	b = append(b, s.state.String()...)
	if s.state != adapters.WatchTerminated {
		b = append(b, ";expires="...)
		return string(strconv.AppendInt(b, seconds(s.expires), 10))
	}
	if r := s.end.String(); r != "" {
		b = append(append(b, ";reason="...), r...)
	}
	if s.retryAfter > 0 {
		b = append(b, ";retry-after="...)
		b = strconv.AppendInt(b, seconds(s.retryAfter), 10)
	}
	return string(b)
}

// maxSeconds bounds every delta-seconds that is read: 2**32-1 (RFC 3261 §20.19).
const maxSeconds = 1<<32 - 1

// parseSeconds reads delta-seconds: digits only. More than maxSeconds is maxSeconds.
func parseSeconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		if n = n*10 + int64(c); n > maxSeconds {
			n = maxSeconds
		}
	}
	return time.Duration(n) * time.Second, true
}

// seconds is d in whole seconds, rounded up, not under 0.
func seconds(d time.Duration) int64 {
	return max(0, int64((d+time.Second-1)/time.Second))
}

// parseRetryAfter reads a Retry-After header field (RFC 3261 §20.33): delta-seconds [ comment ] *( SEMI retry-param ).
func parseRetryAfter(s string) time.Duration {
	s, _, _ = strings.Cut(s, ";")
	s, _, _ = strings.Cut(s, "(")
	d, _ := parseSeconds(strings.Trim(s, " \t"))
	return d
}

// sipDate is the layout of a SIP-date (RFC 3261 §20.17): "SIP restricts the time zone in SIP-date to "GMT"".
const sipDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// parseDate reads a Date header field; the zero time if it is malformed, because a Date only ever refines what is known.
func parseDate(s string) time.Time {
	t, err := time.Parse(sipDate, s)
	if err != nil {
		return time.Time{}
	}
	return t
}
