package gateway

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// operation is what a result is of; a fixed set, for logs and metrics.
type operation uint8

const (
	opMessage operation = iota
	opReport
	opWatch
	opNotify
	operations
)

var operationNames = [operations]string{opMessage: "message", opReport: "report", opWatch: "watch", opNotify: "notify"}

// result is the end of one operation: what its log line and its metrics say.
type result struct {
	operation         operation
	id                string
	from, to          *side // nil when no route was found, or is there any more
	began             time.Time
	status            adapters.Status
	sender, recipient cpim.Address
	transID, peer     string
	verb              adapters.WatchVerb
	state             adapters.WatchState
	report            adapters.ReportKind
}

// finish counts an operation and writes its one line: ids, domains, adapters, outcome, reason, what the far side said,
// milliseconds. Never a local part, a body or a secret: who talks to whom is not the log's business (T-PR-13).
func (g *Gateway) finish(r *result) {
	took := time.Since(r.began)
	g.metrics.ended(r, took)
	e := g.log.Info()
	if e == nil {
		return
	}
	e.Str("operation", operationNames[r.operation]).Str("id", r.id).Str("from", r.from.label())
	if r.to != nil {
		e.Str("to", r.to.name)
	}
	if r.peer != "" {
		e.Str("peer", r.peer)
	}
	e.Str("from_domain", r.sender.Domain()).Str("to_domain", r.recipient.Domain())
	if r.transID != "" {
		e.Str("trans_id", clipTo(r.transID, shownTransID))
	}
	if r.verb != 0 {
		e.Str("verb", r.verb.String())
	}
	if r.operation == opNotify {
		e.Str("state", r.state.String())
	}
	if r.report != 0 {
		e.Str("kind", r.report.String())
	}
	statusFields(e, r.status)
	var room [24]byte
	e.RawJSON("ms", appendMillis(room[:0], took)).Send()
}

// appendMillis writes a time in milliseconds, to the microsecond, as the shortest number.
func appendMillis(b []byte, took time.Duration) []byte {
	us := took.Microseconds()
	if us < 0 { // the clock is the monotonic one; were it not, that is no number to hide
		b, us = append(b, '-'), -us
	}
	b = strconv.AppendInt(b, us/1000, 10)
	if us %= 1000; us != 0 {
		b = append(b, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
		b = bytes.TrimRight(b, "0")
	}
	return b
}

func statusFields(e *zerolog.Event, s adapters.Status) {
	e.Str("outcome", s.Outcome.String())
	if s.Outcome == adapters.Failure {
		e.Str("reason", s.Reason.String())
	}
	if s.Remote != "" {
		e.Str("remote", clip(s.Remote))
	}
}

// shownTransID is how many octets of an identifier are logged: all that its sender gave it, in practice, and enough of the sealed token behind it to find
// the message on the other side. The whole of it would be half of the line.
const shownTransID = 64

// clip cuts what a stranger wrote to 256 octets; see clipTo.
func clip(s string) string { return clipTo(s, 256) }

// clipTo cuts what a stranger wrote to so many octets, at a character's end; zerolog quotes what is left (T-AD-06).
func clipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n > 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s
}

// recovered deals with the value that recover gave: one poisoned operation must not take the others with it (T-FI-23).
// Its octets are not logged, the place is. It returns whether there was a panic.
func (g *Gateway) recovered(id, what string, fault any) bool {
	if fault == nil {
		return false
	}
	g.log.Error().Str("id", id).Str("fault", clip(fmt.Sprint(fault))).Bytes("stack", debug.Stack()).
		Msg(what + " made the gateway panic")
	g.metrics.panics.Inc()
	return true
}
