package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/failpoint"
)

// What presence keeps over a restart is facts: the watches of the core (bucketWatches) and what adapters keep beside them
// (bucketRecords). Each bucket is cut into store.Parts by the pair of watcher and presentity, so that who takes over a part of the
// watches reads that part alone.
const (
	bucketWatches = "watches"
	bucketRecords = "records"
)

// pairHash is where a pair's facts are: its part, and a name of 128 bits that nobody can make two pairs have.
func pairHash(p pair) (part int, name string) {
	h := sha256.Sum256([]byte(p.watcher.String() + "\x00" + p.presentity.String()))
	return int(h[0]) % store.Parts, hex.EncodeToString(h[:16])
}

// bucketPart is the bucket of one part.
func bucketPart(bucket string, part int) string { return fmt.Sprintf("%s/%02d", bucket, part) }

// bucketParts are the buckets of some parts.
func bucketParts(bucket string, parts []int) (all []string) {
	for _, part := range parts {
		all = append(all, bucketPart(bucket, part))
	}
	return all
}

// factName is one fact.
type factName struct{ bucket, key string }

// part is the part that it is of; -1 for none.
func (f factName) part() int {
	_, text, _ := strings.Cut(f.bucket, "/")
	part, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return part
}

// errNotOwner tells that a fact was not written because its part is another gateway's, or nobody's.
var errNotOwner = errors.New("gateway: the part is not this gateway's")

// keeper writes facts behind the backs of those who want them written: nobody waits, of several values of one fact only the newest is
// written, and what failed is tried again until it is written or replaced. What the writers write at the same time the store of one node syncs
// together; on a cluster each fact is a write of its own, so that more of them than a few hundred a second wait here, and who waits for one waits
// longer. It holds what is not written yet, which is bounded by how many facts there are: a fact for each watch, and the adapters' for each dialog.
type keeper struct {
	facts store.Facts
	// trouble is told of the first failure after a success.
	trouble func(error)
	// mine tells whether the facts of a part may be written by this gateway; nil: all may.
	mine func(part int) bool

	mu      sync.Mutex
	pending map[factName]*unwritten
	queue   []factName // those that wait for a writer, each once
	writers int
	failing int   // pauses since the last success
	fault   error // the last failure
	pauses  int   // pauses that are over
	stopped bool
	idle    chan struct{} // closed when nothing is left; nil while nobody waits for that
	retry   *time.Timer
	ctx     context.Context
	cancel  context.CancelFunc
}

// unwritten is a fact whose newest value has not been written.
type unwritten struct {
	value   []byte // nil: to be forgotten
	done    []func(error)
	final   []func(error)
	newer   bool // value came after the write under way began
	writing bool
	dropped bool   // it is another gateway's to write
	cancel  func() // ends the write under way
}

// The bounds of a keeper.
const (
	// keeperWriters is how many writes are under way at once: enough that the store never waits for one.
	keeperWriters = 64
	// keeperWait is how long one may take.
	keeperWait = 10 * time.Second
	// The waits after a write that failed double from the first to the most.
	keeperRetryFirst = time.Second
	keeperRetryMost  = 30 * time.Second
	// keeperRetryShared is the most on a cluster, whose store is away while its nodes elect a leader: decisions wait for it, and what is behind them.
	keeperRetryShared = 2 * time.Second
)

func newKeeper(facts store.Facts, trouble func(error)) *keeper {
	k := &keeper{facts: facts, trouble: trouble, pending: map[factName]*unwritten{}}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// put has value written, or the fact forgotten if it is nil. done, unless nil, is called when that, or something newer, has survived or
// has failed for the first time.
func (k *keeper) put(name factName, value []byte, done func(error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.pending[name]
	if u == nil {
		u = &unwritten{}
		k.pending[name] = u
		k.enqueue(name)
	}
	u.value, u.newer, u.dropped = value, u.writing, false
	switch {
	case done == nil:
	case k.failsAlone():
		go done(k.fault) // the caller may hold what done takes
	default:
		u.done = append(u.done, done)
	}
}

// failsAlone tells that the store of one node goes on failing. Its pauses become long, and only a few writes are tried between two of them, so that who
// waits for his turn would wait for minutes: he is told at once that it fails, as those are whose turn it was. On a cluster who waits for the election of
// a leader goes on waiting, and a node that is cut off gives up what it has. k.mu is held.
func (k *keeper) failsAlone() bool { return k.failing > 1 && k.mine == nil }

// enqueue gives name to a writer. k.mu is held.
func (k *keeper) enqueue(name factName) {
	k.queue = append(k.queue, name)
	if k.writers < keeperWriters && k.retry == nil {
		k.writers++
		go k.write()
	}
}

// write writes until nothing waits.
func (k *keeper) write() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.queue) > 0 && k.retry == nil && !k.stopped {
		name := k.queue[0]
		k.queue = k.queue[1:]
		u := k.pending[name]
		value, done := u.value, u.done
		ctx, cancel := context.WithTimeout(k.ctx, keeperWait)
		u.done, u.newer, u.writing, u.cancel = nil, false, true, cancel
		began := k.pauses
		dropped := u.dropped || k.mine != nil && !k.mine(name.part())
		k.mu.Unlock()
		err := errNotOwner
		if !dropped {
			err = k.one(ctx, name, value)
		}
		cancel()
		k.mu.Lock()
		if err != nil && u.dropped {
			err = errNotOwner
		}
		k.mu.Unlock()
		for _, f := range done {
			f(err)
		}
		k.mu.Lock()
		u.writing = false
		switch {
		case u.newer && dropped: // it has become this gateway's again meanwhile
			k.queue = append(k.queue, name)
		case dropped, u.dropped:
			u.leave()
			delete(k.pending, name)
		case err != nil:
			k.queue = append(k.queue, name)
			if began == k.pauses { // else it failed for what the others did, which has been waited out
				k.pause(err)
			}
		case u.newer:
			k.failing = 0
			k.queue = append(k.queue, name)
		default:
			k.failing = 0
			delete(k.pending, name)
			for _, f := range u.final {
				go f(nil)
			}
		}
	}
	k.writers--
	if len(k.pending) == 0 && k.idle != nil {
		close(k.idle)
		k.idle = nil
	}
}

// leave tells who waits for u that another gateway writes it. The keeper's lock is held.
func (u *unwritten) leave() {
	for _, f := range u.done {
		go f(errNotOwner)
	}
	for _, f := range u.final {
		go f(errNotOwner)
	}
	u.done, u.final = nil, nil
}

// survived has f called, once, when nothing of a fact waits to be written any more: with nil, or with errNotOwner if it is left to another gateway. A
// failure of the store only takes longer.
func (k *keeper) survived(name factName, f func(error)) {
	k.mu.Lock()
	u := k.pending[name]
	if u != nil && !u.dropped {
		u.final = append(u.final, f)
		k.mu.Unlock()
		return
	}
	k.mu.Unlock()
	if u != nil || k.mine != nil && !k.mine(name.part()) {
		f(errNotOwner)
		return
	}
	f(nil)
}

func (k *keeper) one(ctx context.Context, name factName, value []byte) error {
	failpoint.Hit("fact-before")
	defer failpoint.Hit("fact-after")
	if value == nil {
		return k.facts.Delete(ctx, name.bucket, name.key)
	}
	return k.facts.Put(ctx, name.bucket, name.key, value, 0)
}

// pause has the writers wait after a failure. Many writes that fail for one reason, such as the death of the node that leads a cluster's writing, are
// one failure. k.mu is held.
func (k *keeper) pause(err error) {
	if k.retry != nil || k.stopped {
		return
	}
	k.fault = err
	if k.failing++; k.failing == 1 {
		k.trouble(err)
	}
	if k.failsAlone() {
		for _, u := range k.pending {
			for _, f := range u.done {
				go f(err)
			}
			u.done = nil
		}
	}
	most := keeperRetryMost
	if k.mine != nil {
		most = keeperRetryShared
	}
	wait := min(keeperRetryFirst<<min(k.failing-1, 10), most)
	k.retry = time.AfterFunc(wait, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.retry = nil
		k.pauses++
		for i := 0; i < len(k.queue) && k.writers < keeperWriters; i++ {
			k.writers++
			go k.write()
		}
	})
}

// drop leaves the facts of these parts as they are: another gateway writes them. Who waits for one hears it at once, not only after the pause of a store
// that fails: nothing of the pair is done here any more.
func (k *keeper) drop(parts []int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, u := range k.pending {
		if slices.Contains(parts, name.part()) {
			u.dropped = true
			if u.leave(); u.writing {
				u.cancel()
			}
		}
	}
}

// flush waits until the facts of these parts are written, while they are this gateway's, and no longer than that.
func (k *keeper) flush(parts []int, most time.Duration) {
	left := func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		for name := range k.pending {
			if part := name.part(); slices.Contains(parts, part) && (k.mine == nil || k.mine(part)) {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(most); left() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

// waiting is how many facts are not written yet.
func (k *keeper) waiting() int {
	if k == nil {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.pending)
}

// stop waits until everything is written, or ctx ends: then what is left is not, which is an error.
func (k *keeper) stop(ctx context.Context) error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	idle := make(chan struct{})
	if len(k.pending) == 0 {
		close(idle)
	} else {
		k.idle = idle
	}
	k.mu.Unlock()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("gateway: %d watches and dialogs were not written: %w", k.waiting(), ctx.Err())
	}
	k.mu.Lock()
	k.stopped = true
	if k.retry != nil {
		k.retry.Stop()
	}
	k.mu.Unlock()
	k.cancel()
	return err
}

// records is a keeper as one adapter sees it.
type records struct {
	keeper *keeper
	side   string
}

var _ adapters.Keeper = records{}

var errRecord = errors.New("gateway: a record of an adapter has a name or a size that is not allowed")

// storedRecord is an adapter's record on the disk.
type storedRecord struct {
	Version    int    `json:"v"`
	Watcher    string `json:"w"`
	Presentity string `json:"p"`
	Side       string `json:"s"`
	Name       string `json:"n"`
	Octets     []byte `json:"o"`
}

// name is where a record is: found by its pair and its own name, so that several of one pair lie together.
func (r records) name(of adapters.WatchID, name string) (factName, bool) {
	if name == "" || len(name) > 64 {
		return factName{}, false
	}
	for i := range len(name) {
		if c := name[i]; c-'0' >= 10 && (c|0x20)-'a' >= 26 && c != '-' && c != '_' {
			return factName{}, false
		}
	}
	part, hash := pairHash(pairOf(of))
	return factName{bucketPart(bucketRecords, part), hash + "/" + r.side + "/" + name}, len(r.side) <= 24
}

// Save implements adapters.Keeper.
func (r records) Save(of adapters.WatchID, name string, octets []byte, done func(error)) {
	at, ok := r.name(of, name)
	if !ok || len(octets) > adapters.MaxRecord {
		if done != nil {
			done(errRecord)
		}
		return
	}
	value, err := json.Marshal(&storedRecord{
		Version: watchVersion, Watcher: of.Watcher.String(), Presentity: of.Presentity.String(), Side: r.side, Name: name, Octets: octets,
	})
	if err != nil {
		if done != nil {
			done(err)
		}
		return
	}
	r.keeper.put(at, value, done)
}

// Forget implements adapters.Keeper.
func (r records) Forget(of adapters.WatchID, name string, done func(error)) {
	at, ok := r.name(of, name)
	switch {
	case ok:
		r.keeper.put(at, nil, done)
	case done != nil:
		done(errRecord)
	}
}

// watchVersion is that of what presence stores. What has another one is kept and left alone.
const watchVersion = 1

// keepFor gives the adapters their keeper. It is called before they start.
func (g *Gateway) keepFor() {
	for _, s := range g.order {
		if a, ok := s.adapter.(adapters.Keeping); ok {
			a.Keep(records{keeper: g.keeper, side: s.name})
		}
	}
}

// recordsAtOnce is up to how many records an adapter is given in one go: so many are held twice.
const recordsAtOnce = 4096

// resumeRecords gives the adapters what was kept for them in some parts, in one reading, with the sessions that there are of each pair. What is of an adapter that is not there, or keeps nothing,
// is left alone.
func (g *Gateway) resumeRecords(ctx context.Context, parts []int, sessions func(pair) []string) error {
	all := map[adapters.Keeping][]adapters.Record{}
	err := g.keeper.facts.EachOf(ctx, bucketParts(bucketRecords, parts), func(_, key string, value []byte, _ uint64) error {
		var r storedRecord
		if err := json.Unmarshal(value, &r); err != nil || r.Version != watchVersion {
			g.log.Warn().Str("key", key).Msg("a stored record of an adapter cannot be read and is left alone")
			return nil
		}
		s := g.sides[r.Side]
		if s == nil {
			return nil
		}
		a, ok := s.adapter.(adapters.Keeping)
		if !ok {
			return nil
		}
		watcher, err := cpim.ParseAddress(r.Watcher)
		presentity, err2 := cpim.ParseAddress(r.Presentity)
		if err = errors.Join(err, err2); err != nil {
			g.log.Warn().Str("key", key).Str("fault", clip(err.Error())).Msg("a stored record of an adapter cannot be read and is left alone")
			return nil
		}
		of := adapters.WatchID{Watcher: watcher, Presentity: presentity}
		list := append(all[a], adapters.Record{Of: of, Name: r.Name, Octets: r.Octets, Sessions: sessions(pairOf(of))})
		if len(list) >= recordsAtOnce {
			a.Resume(list)
			list = nil
		}
		all[a] = list
		return nil
	})
	if err != nil {
		return fmt.Errorf("gateway: the adapters' records: %w", err)
	}
	for a, list := range all {
		a.Resume(list)
	}
	return nil
}
