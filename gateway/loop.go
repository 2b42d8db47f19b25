package gateway

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// Against messages that go in a circle there are four nets (THREATS.md G1): the hop count, which the adapters carry across; the trace
// here, by which a gateway knows what it handed on itself; repeats, for when something on the way takes both away; and the brake,
// which bounds what any circle can do.

// tracer makes the gateway's own entries in traces: its name, a dot, and a mark of sender and recipient. A message that comes back with
// this very entry has gone in a circle. One that comes back for another recipient is a spiral, "not an error condition" (RFC 3261 §6); it
// may come back once, since a circle in which each lap changes the addresses (as those of hosted users) looks the same.
type tracer struct {
	name string // random, 13 letters and digits
}

// maxOwnEntries is how often a message may have passed this gateway before.
const maxOwnEntries = 2

// The fact that holds the gateway's name: it is known again after a restart, and gateways that share a store share it.
const keyTrace = "trace"

func newTraceName() string {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// openTracer reads the name, or makes one; others tells that other gateways share it.
func openTracer(ctx context.Context, facts store.Facts, others bool) (tracer, error) {
	name, err := sharedFact(ctx, facts, keyTrace, []byte(newTraceName()), others)
	if err == nil && !adapters.IsTraceEntry(string(name)+".1234567") {
		err = errors.New("it is damaged")
	}
	if err != nil {
		return tracer{}, fmt.Errorf("gateway: its name in traces: %w", err)
	}
	return tracer{string(name)}, nil
}

// appendEntry appends the gateway's entry in the trace of op: 21 characters. The mark is no secret and proves nothing: who wants a message of his own
// refused may have that.
func (t tracer) appendEntry(b []byte, op *adapters.MessageOp) []byte {
	const prime = 1099511628211 // FNV-1a, 64 bits
	h := uint64(14695981039346656037)
	for _, s := range [...]string{op.From.Address.Local(), op.From.Address.Domain(), op.To.Address.Local(), op.To.Address.Domain()} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
		h *= prime // a NUL
	}
	h ^= h >> 32
	b = append(append(b, t.name...), '.')
	for range 7 {
		b = append(b, "0123456789abcdefghijklmnopqrstuv"[h&31])
		h >>= 5
	}
	return b
}

// pass adds the gateway to op's trace, which is in room where it is the first; room belongs to op from then on. It returns false for a message that has
// been here.
func (t tracer) pass(op *adapters.MessageOp, room *[1]string) bool {
	var text [24]byte
	own := string(t.appendEntry(text[:0], op))
	before := 0
	for _, e := range op.Trace {
		if e == own {
			return false
		}
		if len(e) == len(own) && e[:len(t.name)] == t.name {
			before++
		}
	}
	if before >= maxOwnEntries || len(op.Trace) >= adapters.MaxTrace {
		return false
	}
	if len(op.Trace) == 0 {
		room[0] = own
		op.Trace = room[:]
		return true
	}
	// A slice of its own: the source's belongs to the source.
	trace := make([]string, len(op.Trace)+1)
	copy(trace, op.Trace)
	trace[len(op.Trace)] = own
	op.Trace = trace
	return true
}
