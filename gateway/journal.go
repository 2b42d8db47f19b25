package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/failpoint"
)

// journal keeps what the gateway has answered for and not handed over: it stores, tries again, and tells the sender how it ended.
//
// A message comes here when its direct attempt failed for a reason that passes, or behind one of its lane that did. All work on a
// backlog is done in its lane, so that stored and direct messages keep their order, and there is one attempt at a time.
type journal struct {
	gateway *Gateway
	disk    store.Durable // set by start, before anything comes
	starts  *starts       // likewise
	tokens  *tokens       // likewise

	mu       sync.Mutex
	backlogs map[laneKey]*backlog
	places   map[place]*destination
	dead     map[store.ID]*entry
	// pending are the outcomes that entries tell, by key.
	pending map[string]struct{}
	stock   stock
	// alone is held for reading during an attempt, and for writing during one of an entry that may be what the process died of.
	alone sync.RWMutex
	// held tells that nothing is tried: a crash loop has been seen (T-FI-28).
	held    bool
	stopped bool
	// troubled is how many places there are: a direct message that got through looks here first, without the lock.
	troubled atomic.Int64
	sweeper  *time.Timer
}

func newJournal(g *Gateway) *journal {
	return &journal{
		gateway:  g,
		backlogs: map[laneKey]*backlog{}, places: map[place]*destination{}, dead: map[store.ID]*entry{},
		pending: map[string]struct{}{}, stock: newStock(),
	}
}

// The patience with the disk. A message whose sender waits is refused rather than kept waiting for a disk that hangs.
const (
	appendWait = 4 * time.Second
	markWait   = 10 * time.Second
)

// sweepEvery is how often entries are looked through for those whose life has ended, and for senders to be told of a delay.
const sweepEvery = time.Minute

// passes tells whether a failure may pass by itself and surely delivered nothing: nobody answered (a remote code would say that
// somebody did), or a server said that it cannot now.
func passes(s adapters.Status) bool {
	if s.Outcome != adapters.Failure {
		return false
	}
	switch s.Reason {
	case adapters.ReasonDomainTimeout, adapters.ReasonOverloaded:
		return s.Code == 0 || s.Code == 503
	}
	return s.Code == 503
}

// behind tells whether entries of this lane wait: a message that comes now goes behind them. It is called in the lane.
func (j *journal) behind(key laneKey) bool {
	if j == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.backlogs[key] != nil
}

// keep stores a message that its sender waits for and answers it: accepted, or failed when the journal does not take it. It is called in
// the message's lane.
func (j *journal) keep(d *delivery, key laneKey, given string, failed adapters.Status) adapters.Status {
	op := d.op
	now := time.Now()
	e := &entry{id: j.disk.NewID(), kind: store.KindMessage, accepted: d.began, expires: now.Add(j.gateway.limits().Life)}
	if !op.Expires.IsZero() && op.Expires.Before(e.expires) {
		e.expires = op.Expires
	}
	octets, err := encodeMessage(op, d.from.name, given)
	if err == nil {
		j.mu.Lock()
		e.held = j.stock.of(op.From.Address, op.To.Address, place{key.side, op.To.Address.Domain()})
		by := j.stock.take(&e.held, j.gateway.limits())
		j.mu.Unlock()
		if by != limitNone {
			j.gateway.metrics.unstored.WithLabelValues(limitNames[by]).Inc()
			return by.refusal()
		}
		err = j.append(e, key, octets)
	}
	if err != nil {
		j.gateway.metrics.unstored.WithLabelValues(limitNames[limitStore]).Inc()
		j.gone(e)
		j.gateway.log.Warn().Str("id", op.ID).Str("fault", clip(err.Error())).Msg("a message could not be stored: it is refused")
		if errors.Is(err, store.ErrUnknown) {
			// The journal gave no answer. It forgets the message as soon as it can, but a crash before that leaves it there.
			return adapters.Failed(adapters.ReasonOutcomeUnknown, "")
		}
		if failed.Outcome != adapters.Failure {
			failed = limitStore.refusal()
		}
		return failed
	}
	e.progress.Next = now
	j.add(key, op.To.Address.Domain(), e, failed)
	return adapters.Accepted()
}

// append writes one entry.
func (j *journal) append(e *entry, key laneKey, octets []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), appendWait)
	defer cancel()
	failpoint.Hit("append-before")
	err := j.disk.Append(ctx, j.stored(e, key, octets))
	failpoint.Hit("append-after")
	return err
}

// stored is an entry as the journal takes it.
func (j *journal) stored(e *entry, key laneKey, octets []byte) store.Entry {
	return store.Entry{ID: e.id, Kind: e.kind, Order: j.order(key), Accepted: e.accepted, Expires: e.expires, Octets: octets}
}

// order is the text of a lane's key, for store.Entry.Order.
func (j *journal) order(key laneKey) string {
	return fmt.Sprintf("%d %s %s %s", key.kind, j.gateway.order[key.side].name, key.from.String(), key.to.String())
}

// add puts an entry that has just been stored behind the others of its lane. failed is how its direct attempt ended; its Outcome is 0 if
// there was none.
func (j *journal) add(key laneKey, domain string, e *entry, failed adapters.Status) {
	j.mu.Lock()
	b, first := j.enlist(key, domain, e)
	switch {
	case !first || failed.Outcome == 0:
	case failed.Code != 0: // somebody answered: the place is there
		b.failures++
		b.next = time.Now().Add(retryAfter(b.failures))
	default:
		b.at.silent(time.Now())
	}
	j.mu.Unlock()
	if first { // else it is under way already, or waits for its time
		j.release(b.at)
	}
}

// release gives the backlogs of a place that may be tried to their lanes.
func (j *journal) release(at *destination) {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopped || j.held {
		return
	}
	take, again := at.due(now)
	for _, b := range take {
		if !j.gateway.lanes.add(b.key, &retry{journal: j, backlog: b}) {
			at.back(b)
			again = now.Add(time.Second) // the lanes are full, or draining
		}
	}
	if at.timer != nil {
		at.timer.Stop()
		at.timer = nil
	}
	if !again.IsZero() && len(at.waiting) > 0 {
		at.timer = time.AfterFunc(max(again.Sub(now), time.Millisecond), func() { j.release(at) })
	}
}

// done returns a backlog from its lane.
func (j *journal) done(b *backlog) {
	j.mu.Lock()
	b.at.back(b)
	if len(b.entries) == 0 {
		j.forget(b)
	}
	j.mu.Unlock()
	j.release(b.at)
}

// forget ends a backlog without entries, and its place with the last one. The caller holds the lock.
func (j *journal) forget(b *backlog) {
	delete(j.backlogs, b.key)
	at := b.at
	at.waiting = slices.DeleteFunc(at.waiting, func(w *backlog) bool { return w == b })
	if at.out > 0 || len(at.waiting) > 0 {
		return
	}
	if at.timer != nil {
		at.timer.Stop()
		at.timer = nil
	}
	if j.places[at.place] == at {
		delete(j.places, at.place)
		j.troubled.Store(int64(len(j.places)))
	}
}

// mark writes an entry's progress. A failure is logged: the disk is at fault, and the entry is tried all the same.
func (j *journal) mark(e *entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	failpoint.Hit("mark-before")
	err := j.disk.Mark(ctx, e.id, e.progress)
	failpoint.Hit("mark-after")
	if err != nil {
		j.gateway.log.Error().Str("entry", string(e.id)).Str("fault", clip(err.Error())).Msg("the journal does not take what became of an entry")
	}
	return err
}

// gone counts an entry no more among those that wait.
func (j *journal) gone(e *entry) {
	j.mu.Lock()
	j.stock.give(&e.held)
	j.mu.Unlock()
}

// remove forgets an entry that has come to its end.
func (j *journal) remove(e *entry) {
	j.settle(e)
	j.gone(e)
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	failpoint.Hit("remove-before")
	err := j.disk.Remove(ctx, e.id)
	failpoint.Hit("remove-after")
	if e.settles != "" {
		j.mu.Lock()
		delete(j.pending, e.settles)
		j.mu.Unlock()
	}
	if err != nil {
		j.gateway.log.Error().Str("entry", string(e.id)).Str("fault", clip(err.Error())).Msg("the journal does not forget an entry: after a restart it is tried again")
	}
}

// drop takes an entry out of its backlog, after it has come to its end.
func (j *journal) drop(b *backlog, e *entry) {
	j.mu.Lock()
	b.drop(e)
	j.mu.Unlock()
}

// bury makes a dead letter of an entry: it stays in the journal until an operator decides.
func (j *journal) bury(b *backlog, e *entry, why string) {
	e.progress.Dead, e.progress.Since = why, time.Now()
	j.mark(e) //nolint:errcheck // logged; after a restart it is tried, and buried, again
	j.mu.Lock()
	if b != nil {
		b.drop(e)
	}
	j.stock.give(&e.held)
	j.dead[e.id] = e
	j.mu.Unlock()
	j.gateway.log.Error().Str("entry", string(e.id)).Str("why", why).Msg("a dead letter")
}

// start reads the journal and begins to try. Entries that are there before the adapters take anything stay before what comes.
func (j *journal) start(ctx context.Context, disk store.Durable) error {
	j.disk, j.starts = disk, &starts{facts: disk}
	looping, err := j.starts.begin(ctx, time.Now())
	if err != nil {
		return err
	}
	if j.tokens, err = openTokens(ctx, disk); err != nil {
		return err
	}
	if looping {
		j.held = true
		j.gateway.log.Error().Msg("the gateway has died soon after each of its last starts: what is in the journal is kept and not tried; new traffic is served")
	}
	began := time.Now()
	type seen struct {
		*entry
		key    laneKey
		domain string
		fault  error // why it is in no lane
	}
	var all []seen
	ids := map[store.ID]bool{}
	unreadable := 0
	err = j.disk.Replay(ctx, nil, func(se store.Entry, p store.Progress) error {
		if life := began.Add(max(j.gateway.limits().Life, j.gateway.limits().NoticeLife)); se.Expires.After(life) {
			se.Expires = life // the clock was ahead when it was accepted
		}
		x := seen{entry: &entry{id: se.ID, kind: se.Kind, accepted: se.Accepted, expires: se.Expires, progress: p}}
		if !p.Until.IsZero() {
			x.expires = p.Until
		}
		if p.Dead == "" {
			x.key, x.domain, x.fault = j.laneOf(se, x.entry)
		}
		if x.kind == store.KindNotice {
			if n, _, err := decodeNotice(se.Octets); err == nil {
				x.settles = n.Settles
				j.await(x.entry)
			}
		}
		failpoint.Hit("replay")
		ids[se.ID] = true
		all = append(all, x)
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
		case x.progress.Dead != "":
			j.dead[x.id] = x.entry
		case x.kind == store.KindMessage && ids[noticeOf(x.id)]:
			j.remove(x.entry) // its end is being told: the process died between the two
		case errors.Is(x.fault, errVersion):
			unreadable++
			j.gateway.log.Error().Str("entry", string(x.id)).Msg("an entry of another version of the journal: it is kept and not touched")
		case x.fault != nil:
			j.bury(nil, x.entry, clip(x.fault.Error()))
		default:
			waiting++
			pause := longestPause
			if x.suspected() {
				suspects++
				pause = retryAfter(1) // soon, so that it shows soon whether it is what the process died of
			}
			j.mu.Lock()
			if x.kind == store.KindMessage {
				j.stock.add(&x.held)
			}
			if b, first := j.enlist(x.key, x.domain, x.entry); first && x.progress.Attempts > 0 {
				// As it was written before the last attempt: a process that dies again and again does not try without a pause.
				// Not longer than a pause is, whatever the clock said then.
				b.failures, b.next = x.progress.Attempts, earlier(x.progress.Next, began.Add(pause))
			}
			j.mu.Unlock()
		}
	}
	if len(all)+unreadable > 0 {
		j.gateway.log.Info().Int("waiting", waiting).Int("dead", len(j.dead)).Int("unreadable", unreadable).Int("suspects", suspects).
			Float64("ms", float64(time.Since(began).Microseconds())/1000).Msg("the journal was read")
	}
	return nil
}

// enlist puts an entry behind the others of its lane; first tells that there were none. The caller holds the lock.
func (j *journal) enlist(key laneKey, domain string, e *entry) (b *backlog, first bool) {
	if b = j.backlogs[key]; b == nil {
		at := j.places[place{key.side, domain}]
		if at == nil {
			at = &destination{place: place{key.side, domain}}
			j.places[at.place] = at
			j.troubled.Store(int64(len(j.places)))
		}
		b, first = &backlog{key: key, at: at, soonest: time.Now().Add(lookEvery)}, true
		j.backlogs[key] = b
		at.waiting = append(at.waiting, b)
	}
	b.add(e, j.gateway.limits().DelayedAfter)
	return b, first
}

// laneOf is the lane of an entry that was read, as the routes are now. It notes in e what the entry counts as.
func (j *journal) laneOf(se store.Entry, e *entry) (laneKey, string, error) {
	g := j.gateway
	switch se.Kind {
	case store.KindMessage:
		m, op, err := decodeMessage(se.Octets)
		if err != nil {
			return laneKey{}, "", err
		}
		g.duplicates.restore(g.sides[m.Side], op)
		r := g.routeOf(op.To.Address.Domain())
		at := place{domain: op.To.Address.Domain()}
		if r != nil {
			at.side = r.side.index
		}
		e.held = j.stock.of(op.From.Address, op.To.Address, at)
		if from := g.sides[op.Peer.Adapter]; r == nil && from != nil {
			// It is tried there once: that there is no route is what its sender is told.
			return laneKey{kind: laneMessages, side: from.index, from: op.From.Address, to: op.To.Address}, op.To.Address.Domain(), nil
		}
		if r == nil {
			return laneKey{}, "", errors.New("no route leads to the recipient's domain any more, nor to its sender")
		}
		return g.messageLane(r, op), op.To.Address.Domain(), nil
	case store.KindNotice:
		n, r, err := decodeNotice(se.Octets)
		if err != nil {
			return laneKey{}, "", err
		}
		s := g.sides[n.Side]
		if s == nil {
			return laneKey{}, "", errors.New("there is no adapter for the sender any more")
		}
		return reportLane(s, r), r.Sender.Address.Domain(), nil
	}
	return laneKey{}, "", errVersion // of a kind that only a newer version has
}

// begin tries what was read, once the adapters are there.
func (j *journal) begin() {
	j.mu.Lock()
	var all []*destination
	for _, at := range j.places {
		all = append(all, at)
	}
	j.sweeper = time.AfterFunc(sweepEvery, j.sweep)
	j.mu.Unlock()
	j.starts.watch(j)
	for _, at := range all {
		j.release(at)
	}
}

// sweep has each lane look through its backlog that has not been tried for a while.
func (j *journal) sweep() {
	now := time.Now()
	j.mu.Lock()
	if j.stopped {
		j.mu.Unlock()
		return
	}
	j.sweeper = time.AfterFunc(sweepEvery, j.sweep)
	var past []*entry
	for id, e := range j.dead {
		if !now.Before(j.ends(e)) {
			past = append(past, e)
			delete(j.dead, id)
			delete(j.pending, e.settles)
		}
	}
	var old []*backlog
	for _, b := range j.backlogs {
		if !b.out && !now.Before(b.soonest) {
			old = append(old, b)
		}
	}
	j.mu.Unlock()
	for _, b := range old {
		j.gateway.lanes.add(b.key, &retry{journal: j, backlog: b, look: true})
	}
	for _, e := range past {
		j.gateway.log.Warn().Str("entry", string(e.id)).Str("why", e.progress.Dead).Time("since", e.progress.Since).Msg("a dead letter has come to its end")
		j.remove(e)
	}
}

// ends is when a dead letter is forgotten.
func (j *journal) ends(e *entry) time.Time { return e.progress.Since.Add(j.gateway.limits().DeadLife) }

// stop ends the timers. What is in the journal stays there.
func (j *journal) stop() {
	if j == nil {
		return
	}
	if j.starts != nil {
		j.starts.stop()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stopped = true
	if j.sweeper != nil {
		j.sweeper.Stop()
	}
	for _, at := range j.places {
		if at.timer != nil {
			at.timer.Stop()
		}
	}
}

// heard notes that something answers at a place, for what waits to go there.
func (j *journal) heard(p place) {
	if j.troubled.Load() == 0 {
		return
	}
	j.mu.Lock()
	at := j.places[p]
	if at == nil || at.failures == 0 {
		j.mu.Unlock()
		return
	}
	at.answered()
	j.mu.Unlock()
	j.release(at)
}
