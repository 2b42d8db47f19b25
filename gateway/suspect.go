package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// What crashes the gateway must not do so for ever (T-FI-23, T-FI-28).
//
// A panic is the fault of the message that was translated, so the second one makes a dead letter of it. The death of the process is not: kill -9,
// an exhausted machine or a power failure hit whatever was under way. What was under way is therefore suspected, no more: an attempt is marked
// before it begins and when it has ended, and an entry whose mark says "begun" at a start is tried soon and alone, with no other stored
// entry under way. If the process dies in such an attempt, it is counted; if the attempt ends, in whatever way, the suspicion does. Three
// deaths in a row that each found the same entry alone make a dead letter of it.
//
// Chance may do that too, if the process is killed three times in a row in the second in which the same entry is tried alone. Nothing is lost
// by it: the sender is told that the outcome is not known, and an operator may have it tried again. What is delivered directly is not in
// the journal, and kills the process as often as its sender repeats it.

const (
	// maxPanics in a row make a dead letter, maxDeaths of the process likewise.
	maxPanics = 2
	maxDeaths = 3
)

// suspected tells whether the process before this one died while an entry was tried, and counts it if nothing else was.
func (e *entry) suspected() bool {
	switch e.progress.Trying {
	case store.TryingAlone:
		e.progress.Crashes++
		e.suspect = true
	case store.TryingAmong:
		e.suspect = true
	}
	// Written with the next attempt: until then the next start counts the same.
	return e.suspect
}

// condemn makes a dead letter of an entry that crashes the gateway, and has the sender of a message told that its outcome is not known. False if
// the journal does not take that now.
func (j *journal) condemn(b *backlog, e *entry, why string) bool {
	if e.kind == store.KindMessage {
		if err := j.tellDoubt(e); err != nil {
			j.gateway.log.Error().Str("entry", string(e.id)).Str("fault", clip(err.Error())).Msg("the sender of a dead letter cannot be told")
			if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrFull) || errors.Is(err, context.DeadlineExceeded) {
				j.refused(b)
				return false
			}
		}
	}
	j.bury(b, e, why)
	return true
}

// tellDoubt stores the notice that the outcome of a message is not known, and has it tried.
func (j *journal) tellDoubt(e *entry) (err error) {
	defer func() {
		if fault := recover(); fault != nil { // it may be its form that is the poison
			err = fmt.Errorf("gateway: it cannot be read: %v", fault)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	se, _, err := j.disk.Read(ctx, e.id)
	if err != nil {
		return err
	}
	m, op, err := decodeMessage(se.Octets)
	if err != nil {
		return err
	}
	from := j.gateway.sides[m.Side]
	if from == nil {
		return errors.New("gateway: there is no adapter for its sender any more")
	}
	n, r := j.endOf(e, m, op, adapters.Failed(adapters.ReasonOutcomeUnknown, ""))
	if yes, _ := j.told(ctx, n.settles); yes {
		return nil
	}
	octets, err := encodeNotice(r, op.ID, from.name, n.settles)
	if err != nil {
		return err
	}
	key := reportLane(from, r)
	if err := j.append(n, key, octets); err != nil {
		return err
	}
	if !j.ours(n) {
		j.gateway.node.nudge(n.part, n.id)
		return nil
	}
	j.await(n)
	j.added(n, key, r)
	return nil
}
