package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// Stored is an entry of the journal as an operator sees it.
type Stored struct {
	ID string `json:"id"`
	// Kind is "message", or "notice" for what a sender is told, or "outcome" for what came late and waits for the gateway that tells it.
	Kind string `json:"kind"`
	// From and To are whom it is from and for; Operation is its name in the log.
	From      string `json:"from"`
	To        string `json:"to"`
	Operation string `json:"operation,omitempty"`
	// Accepted is when the gateway answered for it, Expires the end of its life.
	Accepted time.Time `json:"accepted"`
	Expires  time.Time `json:"expires"`
	// Attempts have been made; Next is about when the next one is due, zero while something else is waited for.
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next,omitzero"`
	// Dead is why it is a dead letter, since when; "" while it is alive.
	Dead  string    `json:"dead,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Ends is when a dead letter is forgotten; zero for what is alive.
	Ends time.Time `json:"ends,omitzero"`
	// Octets is the size of what is stored.
	Octets int `json:"octets"`
}

// The errors of what an operator asks for.
var (
	// ErrNoStore says that the gateway has no store.
	ErrNoStore = errors.New("gateway: there is no store")
	// ErrNotStored says that there is no such entry.
	ErrNotStored = errors.New("gateway: there is no such entry")
)

// Stored calls f for each entry that waits, or for each dead letter, oldest first, until f fails. It may be called from any goroutine while
// the gateway runs.
func (g *Gateway) Stored(ctx context.Context, dead bool, f func(Stored) error) error {
	j := g.journal
	if j == nil {
		return ErrNoStore
	}
	own := j.page(dead)
	if g.node == nil {
		return own.each(ctx, f)
	}
	return g.node.stored(ctx, dead, own, f)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// describe reads an entry for an operator.
func (j *journal) describe(ctx context.Context, e *entry) (Stored, store.Entry, error) {
	s := Stored{
		ID: string(e.id), Kind: "message", Accepted: e.accepted, Expires: e.expires, Attempts: e.progress.Attempts, Dead: e.progress.Dead, Since: e.progress.Since,
	}
	if s.Dead != "" {
		s.Ends = j.ends(e)
	}
	se, _, err := j.disk.Read(ctx, e.id)
	if err != nil {
		return s, se, err
	}
	s.Octets = len(se.Octets)
	if e.kind != store.KindMessage {
		s.Kind = "notice"
		if e.kind == store.KindOutcome {
			s.Kind = "outcome"
		}
		if n, r, err := decodeNotice(se.Octets); err == nil {
			s.From, s.To, s.Operation = r.Recipient.Address.String(), r.Sender.Address.String(), n.Op
		}
	} else if m, op, err := decodeMessage(se.Octets); err == nil {
		s.From, s.To, s.Operation = op.From.Address.String(), op.To.Address.String(), m.Op
	}
	return s, se, nil
}

// find returns an entry and its backlog, which is nil for a dead letter. The caller holds the lock.
func (j *journal) find(id store.ID) (*entry, *backlog) {
	if e := j.dead[id]; e != nil {
		return e, nil
	}
	for _, b := range j.backlogs {
		for _, e := range b.entries {
			if e.id == id {
				return e, b
			}
		}
	}
	return nil, nil
}

// ReadStored returns one entry with its octets: the operation as it is stored, the message's body in it.
func (g *Gateway) ReadStored(ctx context.Context, id string) (Stored, []byte, error) {
	j := g.journal
	if j == nil {
		return Stored{}, nil, ErrNoStore
	}
	j.mu.Lock()
	e, _ := j.find(store.ID(id))
	var copied entry
	if e != nil {
		copied = *e
	}
	j.mu.Unlock()
	if e == nil && g.node == nil {
		return Stored{}, nil, ErrNotStored
	}
	if e == nil { // another node's
		se, p, err := j.disk.Read(ctx, store.ID(id))
		if err != nil {
			return Stored{}, nil, notStored(err)
		}
		copied = entry{id: se.ID, kind: se.Kind, accepted: se.Accepted, expires: se.Expires, progress: p}
	}
	s, se, err := j.describe(ctx, &copied)
	return s, se.Octets, notStored(err)
}

// notStored is ErrNotStored for an entry that there is not.
func notStored(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotStored
	}
	return err
}

// RetryStored has an entry tried now; a dead letter gets another life.
func (g *Gateway) RetryStored(ctx context.Context, id string) error {
	j := g.journal
	if j == nil {
		return ErrNoStore
	}
	if err := j.retryStored(id); !errors.Is(err, ErrNotStored) || g.node == nil {
		return err
	}
	return g.node.elsewhere(ctx, carriedQueue{Do: "retry", ID: id})
}

func (j *journal) retryStored(id string) error {
	j.mu.Lock()
	e, b := j.find(store.ID(id))
	if b != nil {
		b.next, b.at.next = time.Time{}, time.Time{}
		b.at.turned(b, time.Time{}) // before all others
	}
	j.mu.Unlock()
	switch {
	case e == nil:
		return ErrNotStored
	case b != nil:
		j.release(b.at)
		return nil
	}
	return j.revive(e)
}

// revive makes a dead letter wait again, behind what its lane has now.
func (j *journal) revive(e *entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	se, _, err := j.disk.Read(ctx, e.id)
	if err != nil {
		return fmt.Errorf("gateway: the entry cannot be read: %w", err)
	}
	at, err := j.homeOf(se)
	if err != nil {
		return err
	}
	now := time.Now()
	life := j.gateway.limits().Life
	if e.kind != store.KindMessage {
		life = j.gateway.limits().NoticeLife
	}
	j.mu.Lock()
	if j.dead[e.id] != e {
		j.mu.Unlock()
		return ErrNotStored
	}
	delete(j.dead, e.id)
	e.expires = later(e.expires, now.Add(life))
	e.progress = store.Progress{Attempts: e.progress.Attempts, Delayed: e.progress.Delayed, Next: now, Until: e.expires}
	if e.kind == store.KindMessage {
		e.held = at.held
		j.stock.add(&e.held)
	}
	b, _ := j.enlist(at.key, at.domain, e)
	b.next, b.at.next = time.Time{}, time.Time{}
	b.at.turned(b, time.Time{}) // before all others
	j.mu.Unlock()
	err = j.mark(e)
	j.release(b.at)
	return err
}

// DropStored forgets an entry. The sender of a message that waits is told that it was not delivered; a dead letter is forgotten in silence,
// because its end was told, or could not be.
func (g *Gateway) DropStored(ctx context.Context, id string) error {
	j := g.journal
	if j == nil {
		return ErrNoStore
	}
	if err := j.dropStored(ctx, id); !errors.Is(err, ErrNotStored) || g.node == nil {
		return err
	}
	return g.node.elsewhere(ctx, carriedQueue{Do: "drop", ID: id})
}

func (j *journal) dropStored(ctx context.Context, id string) error {
	g := j.gateway
	j.mu.Lock()
	e, b := j.find(store.ID(id))
	if e != nil && b == nil {
		delete(j.dead, e.id)
		delete(j.pending, e.settles)
	}
	j.mu.Unlock()
	switch {
	case e == nil:
		return ErrNotStored
	case b == nil:
		g.log.Warn().Str("entry", id).Msg("an operator dropped a dead letter")
		return j.disk.Remove(ctx, e.id)
	}
	t := &dropping{journal: j, backlog: b, entry: e, done: make(chan error, 1)}
	if !g.lanes.add(b.key, t) {
		return errors.New("gateway: its lane is full, or the gateway is shutting down")
	}
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dropping is an operator's wish to drop an entry that waits, in its lane: an attempt that is under way ends first.
type dropping struct {
	journal *journal
	backlog *backlog
	entry   *entry
	done    chan error // has room for one
}

// run implements task.
func (t *dropping) run(ctx context.Context) {
	j, e := t.journal, t.entry
	j.mu.Lock()
	waits := slices.Contains(t.backlog.entries, e)
	j.mu.Unlock()
	if !waits {
		t.done <- ErrNotStored // it has come to its end meanwhile
		return
	}
	j.gateway.log.Warn().Str("entry", string(e.id)).Msg("an operator dropped an entry")
	if e.kind != store.KindMessage {
		j.remove(e)
	} else if !j.giveUp(ctx, e, adapters.Failed(adapters.ReasonUndefined, "The message was dropped by an operator")) {
		t.done <- store.ErrUnavailable
		return
	}
	j.mu.Lock()
	t.backlog.drop(e)
	if len(t.backlog.entries) == 0 && !t.backlog.out && j.backlogs[t.backlog.key] == t.backlog {
		j.forget(t.backlog)
	}
	j.mu.Unlock()
	t.done <- nil
}

// ResumeStored has what a crash loop held back tried again, on all gateways of a cluster.
func (g *Gateway) ResumeStored(ctx context.Context) error {
	if g.journal == nil {
		return ErrNoStore
	}
	g.journal.resume()
	if g.node == nil {
		return nil
	}
	return g.node.everywhere(ctx, carriedQueue{Do: "resume"})
}
