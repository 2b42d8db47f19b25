package gateway

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
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
	recent  *recollection // likewise

	mu       sync.Mutex
	backlogs map[laneKey]*backlog
	places   map[place]*destination
	dead     map[store.ID]*entry
	// pending are the outcomes that entries tell, by key.
	pending map[string]struct{}
	stock   stock
	// alone has an attempt of an entry that may be what the process died of made while there is no other one.
	alone *turns
	// held tells that nothing is tried: a crash loop has been seen (T-FI-28).
	held    bool
	stopped bool
	// troubled is how many places there are, and waiting how many backlogs: a direct message looks here first, without the lock.
	troubled, waiting atomic.Int64
	sweeper           *time.Timer
}

func newJournal(g *Gateway) *journal {
	return &journal{
		gateway: g, alone: newTurns(),
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

// answers tells whether a failure that passes says nothing against the place that it is of: somebody answered there, or it was not asked, because we
// have as much on the way to it as there may be.
func answers(s adapters.Status) bool { return s.Code != 0 || s.Reason == adapters.ReasonOverloaded }

// ownCrowd tells whether a failure that answers allows is of our own crowd: nobody there has said it.
func ownCrowd(s adapters.Status) bool { return s.Code == 0 && s.Remote == "" }

// behind tells whether entries of this lane wait: a message that comes now goes behind them. It is called in the lane.
func (j *journal) behind(key laneKey) bool {
	if j == nil || j.waiting.Load() == 0 {
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
	e := &entry{
		id: j.disk.NewID(), kind: store.KindMessage, accepted: d.began, expires: now.Add(j.gateway.limits().Life),
		part: d.part, epoch: d.epoch,
	}
	if j.gateway.node == nil {
		e.part = j.gateway.partOf(d.route.side, op.From.Address, op.To.Address)
	}
	if !op.Expires.IsZero() && op.Expires.Before(e.expires) {
		e.expires = op.Expires
	}
	octets, err := encodeMessage(op, d.from.name, given)
	if err == nil && !j.ours(e) {
		err = errLost
	}
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
	if err == nil && !j.ours(e) {
		j.gone(e)
		// The part went to another node while this one wrote, for which that one may have read its journal before. Nothing is promised.
		j.gateway.node.nudge(e.part, e.id)
		return adapters.Failed(adapters.ReasonOutcomeUnknown, "")
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
	return store.Entry{ID: e.id, Kind: e.kind, Part: e.part, Order: j.order(key, e), Accepted: e.accepted, Expires: e.expires, Octets: octets}
}

// order is the text of a lane's key, for store.Entry.Order. Notices in one lane may belong to several parts, and are in order within each.
func (j *journal) order(key laneKey, e *entry) string {
	text := fmt.Sprintf("%d %s %s %s", key.kind, j.gateway.order[key.side].name, key.from.String(), key.to.String())
	if e.kind != store.KindMessage {
		text = fmt.Sprintf("%s %d", text, e.part)
	}
	return text
}

// errLost says that an entry's part is not this node's any more.
var errLost = errors.New("gateway: the part is another node's")

// ours tells whether an entry is still this node's to deal with.
func (j *journal) ours(e *entry) bool { return j.gateway.node.still(e.part, e.epoch) }

// enter begins work for an entry. Whoever got true calls exit of its part.
func (j *journal) enter(e *entry) bool {
	epoch, ok := j.gateway.node.enter(e.part)
	if ok && j.gateway.node != nil && epoch != e.epoch {
		j.gateway.node.exit(e.part)
		return false
	}
	return ok
}

// add puts an entry that has just been stored behind the others of its lane. failed is how its direct attempt ended; its Outcome is 0 if
// there was none.
func (j *journal) add(key laneKey, domain string, e *entry, failed adapters.Status) {
	j.mu.Lock()
	b, first := j.enlist(key, domain, e)
	switch {
	case !first || failed.Outcome == 0:
	case answers(failed):
		b.refused(time.Now(), failed)
		b.at.turned(b, time.Now())
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
			at.wait(b, now.Add(time.Second)) // the lanes are full, or draining
			again = now.Add(time.Second)
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
	// Also without entries it waits: it is in the table of backlogs until it is forgotten, and another entry may come first.
	b.at.wait(b, time.Now())
	if len(b.entries) == 0 && j.backlogs[b.key] == b {
		j.forget(b)
	}
	j.mu.Unlock()
	j.release(b.at)
}

// forget ends a backlog without entries, and its place with the last one. The caller holds the lock.
func (j *journal) forget(b *backlog) {
	delete(j.backlogs, b.key)
	j.waiting.Store(int64(len(j.backlogs)))
	at := b.at
	heap.Remove(&at.waiting, b.index)
	if len(at.out) > 0 || len(at.waiting) > 0 {
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
	if !j.ours(e) {
		return errLost
	}
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	failpoint.Hit("mark-before")
	err := j.disk.Mark(ctx, e.id, e.progress)
	failpoint.Hit("mark-after")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
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

// ended counts an entry no more that has come to its end elsewhere.
func (j *journal) ended(e *entry) {
	j.mu.Lock()
	j.stock.give(&e.held)
	delete(j.pending, e.settles)
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
	if !j.ours(e) {
		return
	}
	j.mu.Lock() // who lists the queue reads it meanwhile
	e.progress.Dead, e.progress.Since = why, time.Now()
	j.mu.Unlock()
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

// refuses tells whether the store cannot take anything now.
func refuses(err error) bool {
	return errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnavailable)
}

// start reads the journal and begins to try. Entries that are there before the adapters take anything stay before what comes.
func (j *journal) start(ctx context.Context, disk store.Durable) error {
	j.disk, j.starts = disk, &starts{facts: disk, key: keyStarts}
	if j.gateway.node != nil {
		j.starts.key += "/" + disk.Node() // each dies by itself
	}
	sctx, cancel := context.WithTimeout(ctx, markWait)
	looping, err := j.starts.begin(sctx, time.Now())
	cancel()
	if err != nil && !refuses(err) {
		return err
	}
	if err != nil { // a disk that is full, for example: what it holds can be handed over
		j.gateway.log.Error().Str("fault", clip(err.Error())).Msg("the store takes nothing: the gateway serves, and hands over what is stored")
	}
	if j.tokens, err = openTokens(ctx, disk, j.gateway.node != nil); err != nil {
		return err
	}
	for {
		j.recent, err = openRecollection(ctx, j, disk.Node())
		if err == nil || j.gateway.node == nil || !refuses(err) || ctx.Err() != nil {
			break
		}
		select { // of several gateways most must be there; the others may just be electing who leads
		case <-ctx.Done():
		case <-time.After(sharedWait / 10):
		}
	}
	if err != nil {
		return fmt.Errorf("gateway: what was handed over lately: %w", err)
	}
	if looping {
		j.held = true
		j.gateway.log.Error().Msg("the gateway has died soon after each of its last starts: what is in the journal is kept and not tried; new traffic is served")
	}
	if j.gateway.node != nil {
		return nil // it reads the parts that it owns, when it does
	}
	return j.load(ctx, nil)
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
		j.waiting.Store(int64(len(j.backlogs)))
		at.wait(b, time.Now())
	}
	b.add(e, j.gateway.limits().DelayedAfter)
	return b, first
}

// begin tries what was read, once the adapters are there.
func (j *journal) begin() {
	j.mu.Lock()
	j.sweeper = time.AfterFunc(sweepEvery, j.sweep)
	j.mu.Unlock()
	j.starts.watch(j)
	j.releaseAll()
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
	var past, unwritten []*entry
	for id, e := range j.dead {
		if !now.Before(j.ends(e)) {
			past = append(past, e)
			delete(j.dead, id)
			delete(j.pending, e.settles)
		} else if e.unwritten {
			unwritten = append(unwritten, e)
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
	for _, e := range unwritten {
		if j.mark(e) == nil {
			j.mu.Lock()
			e.unwritten = false
			j.mu.Unlock()
		}
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
	at.answered(time.Now(), j.gateway.limits().ReturnRate, j.gateway.limits().DirectWait)
	j.mu.Unlock()
	j.release(at)
}

// back has what waits for a domain tried now, because an adapter says that a way to it is back.
func (j *journal) back(domain string) {
	if j == nil || j.troubled.Load() == 0 {
		return
	}
	j.mu.Lock()
	var all []*destination
	for side := range j.gateway.order {
		at := j.places[place{side, domain}]
		if at == nil {
			continue
		}
		at.mended = time.Now()
		if at.failures > 0 {
			at.next = time.Time{}
			all = append(all, at)
		}
	}
	j.mu.Unlock()
	for _, at := range all {
		j.release(at)
	}
}

// maxProbes bounds the direct messages under way to a place at which nothing answers. The next ones are stored at once: each of those under way holds
// a place of Limits.Messages for as long as its sender waits, which others need, and some are enough to notice that somebody answers again. But a place
// is a domain, of which some addresses may be silent and others not: so that those do not take all turns, another one is tried each probeEvery.
const (
	maxProbes  = 8
	probeEvery = time.Second
)

// probe tells whether a direct message may be tried at a place, and counts it if nothing answers there; then probed is to be called at its end, else
// it is nil.
func (j *journal) probe(p place) (probed func(), ok bool) {
	if j.troubled.Load() == 0 {
		return nil, true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	at := j.places[p]
	if at == nil || at.failures == 0 {
		return nil, true
	}
	now := time.Now()
	if at.probes >= maxProbes && now.Sub(at.probed) < probeEvery {
		return nil, false
	}
	at.probes++
	at.probed = now
	return func() {
		j.mu.Lock()
		at.probes--
		j.mu.Unlock()
	}, true
}

// pace tells whether the place of a backlog may be given one more entry now.
func (j *journal) pace(b *backlog) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return b.at.ramp.take(time.Now()) == 0
}
