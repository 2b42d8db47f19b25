package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/failpoint"
)

// home is where an entry belongs, as the routes and links are now.
type home struct {
	key    laneKey
	domain string
	part   int
	// settles is the key of the outcome that it tells, held what it counts as.
	settles string
	held    held
}

// seen is an entry as it was read.
type seen struct {
	*entry
	home
	stored store.Entry
	fault  error // why it is in no lane
}

// see reads an entry.
func (j *journal) see(se store.Entry, p store.Progress, now time.Time) seen {
	if life := now.Add(max(j.gateway.limits().Life, j.gateway.limits().NoticeLife)); se.Expires.After(life) {
		se.Expires = life // the clock was ahead when it was accepted
	}
	x := seen{entry: &entry{id: se.ID, kind: se.Kind, accepted: se.Accepted, expires: se.Expires, progress: p, part: se.Part}}
	if n := j.gateway.node; n != nil {
		x.epoch, _ = n.parts.Epoch(se.Part)
	}
	if !p.Until.IsZero() {
		x.expires = p.Until
	}
	switch {
	case p.Dead == "":
		x.home, x.fault = j.homeOf(se)
		if j.gateway.node != nil && x.fault == nil && x.home.part != se.Part {
			x.stored = se
		}
	case se.Kind == store.KindNotice:
		if n, _, err := decodeNotice(se.Octets); err == nil {
			x.home.settles = n.Settles
		}
	}
	x.entry.settles, x.entry.held = x.home.settles, x.home.held
	j.await(x.entry)
	return x
}

// homeOf is the lane and the part of an entry that was read.
func (j *journal) homeOf(se store.Entry) (home, error) {
	g := j.gateway
	switch se.Kind {
	case store.KindMessage:
		side, op, ok := headOf(se.Octets)
		if !ok {
			m, whole, err := decodeMessage(se.Octets)
			if err != nil {
				return home{}, err
			}
			side, op = m.Side, whole
		}
		g.duplicates.restore(g.sides[side], op)
		at := home{domain: op.To.Address.Domain(), part: se.Part}
		r := g.routeOf(at.domain)
		to := place{domain: at.domain}
		if r != nil {
			to.side = r.side.index
		}
		at.held = j.stock.of(op.From.Address, op.To.Address, to)
		if from := g.sides[op.Peer.Adapter]; r == nil && from != nil {
			// It is tried there once: that there is no route is what its sender is told.
			at.key = laneKey{kind: laneMessages, side: from.index, from: op.From.Address, to: op.To.Address}
			return at, nil
		}
		if r == nil {
			return home{}, errors.New("no route leads to the recipient's domain any more, nor to its sender")
		}
		at.key, at.part = g.messageLane(r, op), g.partOf(r.side, op.From.Address, op.To.Address)
		return at, nil
	case store.KindNotice:
		n, r, err := decodeNotice(se.Octets)
		if err != nil {
			return home{}, err
		}
		s := g.sides[n.Side]
		if s == nil {
			return home{settles: n.Settles}, errors.New("there is no adapter for the sender any more")
		}
		at := home{key: reportLane(s, r), domain: r.Sender.Address.Domain(), part: g.noticePart(r), settles: n.Settles}
		if at.part < 0 {
			at.part = se.Part
		}
		return at, nil
	case store.KindOutcome:
		n, r, err := decodeNotice(se.Octets)
		if err != nil {
			return home{}, err
		}
		s := g.sides[n.Side]
		if s == nil {
			return home{}, errors.New("there is no adapter that it came through any more")
		}
		return home{key: outcomeLane(s, r), part: g.partOf(s, r.Sender.Address, r.Recipient.Address)}, nil
	}
	return home{}, errVersion // of a kind that only a newer version has
}

// load reads the journal of some parts, nil for all, into the lanes.
func (j *journal) load(ctx context.Context, parts []int) error {
	began := time.Now()
	var all []seen
	ids := map[store.ID]bool{}
	unreadable := 0
	err := j.disk.Replay(ctx, parts, func(se store.Entry, p store.Progress) error {
		failpoint.Hit("replay")
		ids[se.ID] = true
		all = append(all, j.see(se, p, began))
		return nil
	}, func(id store.ID, err error) {
		unreadable++
		j.gateway.log.Error().Str("entry", string(id)).Str("fault", clip(err.Error())).Msg("an entry of the journal cannot be read: it is kept and not touched")
	})
	if err != nil {
		return fmt.Errorf("gateway: read the journal: %w", err)
	}
	// The order of acceptance, whatever the engine has done with them meanwhile.
	slices.SortFunc(all, func(a, b seen) int { return cmp.Compare(a.id, b.id) })
	waiting, suspects := 0, 0
	for _, x := range all {
		switch {
		case x.progress.Dead == "" && x.kind == store.KindMessage && ids[noticeOf(x.id)]:
			j.remove(x.entry) // its end is being told: the process died between the two
		case errors.Is(x.fault, errVersion):
			unreadable++
			j.gateway.log.Error().Str("entry", string(x.id)).Msg("an entry of another version of the journal: it is kept and not touched")
		case x.stored.ID != "":
			go j.move(x)
		default:
			waiting += j.keepSeen(x, began)
			if x.suspect {
				suspects++
			}
		}
	}
	if len(all)+unreadable > 0 {
		j.mu.Lock()
		dead := len(j.dead)
		j.mu.Unlock()
		j.gateway.log.Info().Int("waiting", waiting).Int("dead", dead).Int("unreadable", unreadable).Int("suspects", suspects).
			Float64("ms", float64(time.Since(began).Microseconds())/1000).Msg("the journal was read")
	}
	return nil
}

// keepSeen puts an entry that was read where it belongs, and returns 1 if it waits.
func (j *journal) keepSeen(x seen, now time.Time) int {
	if x.progress.Dead == "" && x.fault != nil && j.gateway.node == nil {
		j.bury(nil, x.entry, clip(x.fault.Error()))
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if x.progress.Dead == "" && x.fault != nil {
		// Each owner of its part comes to the same. It is written by the sweep, or its life would begin anew with each owner.
		x.progress.Dead, x.progress.Since, x.unwritten = clip(x.fault.Error()), now, true
	}
	if x.progress.Dead != "" {
		j.dead[x.id] = x.entry
		return 0
	}
	pause := longestPause
	if x.suspected() {
		pause = retryAfter(1) // soon, so that it shows soon whether it is what the process died of
	}
	if x.kind == store.KindMessage {
		j.stock.add(&x.entry.held)
	}
	if b, first := j.enlist(x.key, x.domain, x.entry); first && x.progress.Attempts > 0 {
		// As it was written before the last attempt: a process that dies again and again does not try without a pause.
		// Not longer than a pause is, whatever the clock said then.
		b.failures, b.next = x.progress.Attempts, earlier(x.progress.Next, now.Add(pause))
		b.at.turned(b, now)
	}
	return 1
}

// move gives an entry to the part that it belongs to by now: routes or links have been changed since it was stored. One that cannot be moved
// stays where it is until its part is read the next time.
func (j *journal) move(x seen) {
	j.ended(x.entry) // it is another part's to tell what it tells
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	to := x.stored
	to.Part = x.home.part
	x.entry.part = to.Part
	to.Order = j.order(x.key, x.entry)
	if err := j.disk.Exchange(ctx, x.id, to); err != nil {
		j.gateway.log.Error().Str("entry", string(x.id)).Str("fault", clip(err.Error())).Msg("an entry could not be moved to the part that it belongs to")
		return
	}
	j.gateway.node.nudge(to.Part, x.id)
}

// loadOne reads an entry that another node has written for a part of this one's, unless it is known.
func (j *journal) loadOne(ctx context.Context, id store.ID) {
	se, p, err := j.disk.Read(ctx, id)
	if err != nil {
		return // it has come to its end, or is read when the part is taken again
	}
	j.mu.Lock()
	known, _ := j.find(id)
	j.mu.Unlock()
	if known != nil {
		return
	}
	x := j.see(se, p, time.Now())
	switch {
	case errors.Is(x.fault, errVersion):
		return
	case x.stored.ID != "":
		go j.move(x)
		return
	}
	j.keepSeen(x, time.Now())
	j.releaseAll()
}

// releaseAll has everything tried that may be.
func (j *journal) releaseAll() {
	j.mu.Lock()
	var all []*destination
	for _, at := range j.places {
		all = append(all, at)
	}
	j.mu.Unlock()
	for _, at := range all {
		j.release(at)
	}
}

// forgetParts forgets what belongs to other nodes from now on. In the journal nothing is touched.
func (j *journal) forgetParts(parts []int) {
	gone := func(e *entry) bool {
		if !slices.Contains(parts, e.part) {
			return false
		}
		j.stock.give(&e.held)
		delete(j.pending, e.settles)
		return true
	}
	j.mu.Lock()
	for _, b := range j.backlogs {
		b.entries = slices.DeleteFunc(b.entries, gone)
		if len(b.entries) == 0 && !b.out {
			j.forget(b)
		}
	}
	maps.DeleteFunc(j.dead, func(_ store.ID, e *entry) bool { return gone(e) })
	j.mu.Unlock()
	j.disk.Release(parts...)
}
