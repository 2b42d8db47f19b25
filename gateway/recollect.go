package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// recollection is what a process knows of those before it that nothing in the journal tells: which messages they handed over directly, so that
// a copy of one is answered and not delivered again (T-FI-24), and which outcomes they told of messages whose notice was not journaled (I3).
//
// No message waits for it: keys are noted in memory and written behind, together, at most every rememberEvery. What it does not cover is
// the time between: a message that was handed over within the last tenth of a second before a crash may be delivered again, when its
// sender repeats it, with the identifier that it had. It is a ring of slots in the facts, so that it takes bounded room without anybody
// cleaning up.
//
// Safe for use from many goroutines.
type recollection struct {
	journal *journal
	node    string
	until   time.Time // of the copies that were read: SIP does not repeat for longer
	work    chan slotWrite
	done    sync.WaitGroup

	mu         sync.Mutex
	young, old map[recollected]struct{} // two generations, as in origins
	slot       int
	octets     []byte // of the slot that is being filled
	unwritten  bool
	timer      *time.Timer
	stopped    bool
}

// slotWrite is a slot as it is to be written.
type slotWrite struct {
	key    string
	octets []byte
}

// recollected is a record: its kind and a key.
type recollected [17]byte

// The kinds of records.
const (
	recollectAccepted  = 'a' // a message that was answered well
	recollectDoubted   = 'u' // a message whose outcome is not known
	recollectTold      = 't' // a terminal outcome that was told
	recollectDisplayed = 'd' // that a message was displayed was told
	recollectFailed    = 'f' // of a message that was answered well its sender heard later that it failed: it may come again
)

const (
	bucketRecent  = "recent"
	rememberEvery = 50 * time.Millisecond
	// rememberSlots of rememberRecords each, or more, up to rememberTogether, when more come within rememberEvery: 262,144 records in 4.5 MB at
	// least, four times as much at most. A slot that has rememberRecords is not written again: the next one begins.
	rememberSlots, rememberRecords, rememberTogether = 1024, 256, 1024
	// rememberCopies is for how long after a start copies of what was handed over before it are looked for.
	rememberCopies = 10 * time.Minute
)

// openRecollection reads what earlier processes, of all nodes, have noted.
func openRecollection(ctx context.Context, j *journal, node string) (*recollection, error) {
	c := &recollection{journal: j, node: node, young: map[recollected]struct{}{}, until: time.Now().Add(rememberCopies), work: make(chan slotWrite, 64)}
	if store.CheckFact(bucketRecent, node) != nil || strings.Contains(node, "/") {
		sum := sha256.Sum256([]byte(node))
		c.node = hex.EncodeToString(sum[:8])
	}
	newest := uint64(0)
	var all [][]byte
	err := j.disk.Each(ctx, bucketRecent, func(key string, value []byte, _ uint64) error {
		owner, number, _ := strings.Cut(key, "/")
		n, err := strconv.Atoi(number)
		if err != nil || len(value) < 8 {
			return nil // of another version
		}
		if at := binary.BigEndian.Uint64(value); owner == c.node && at > newest {
			newest, c.slot = at, (n+1)%rememberSlots
		}
		all = append(all, value)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b []byte) int { return cmp.Compare(binary.BigEndian.Uint64(a), binary.BigEndian.Uint64(b)) })
	for _, slot := range all {
		for rest := slot[8:]; len(rest) >= len(recollected{}); rest = rest[len(recollected{}):] {
			c.know(recollected(rest[:len(recollected{})]))
		}
	}
	c.done.Go(func() {
		for w := range c.work {
			c.put(w)
		}
	})
	return c, nil
}

// know keeps a record in memory. The caller holds the lock, or nobody else has it yet.
func (c *recollection) know(r recollected) {
	if len(c.young) >= rememberSlots*rememberRecords {
		c.old, c.young = c.young, map[recollected]struct{}{}
	}
	if r[0] == recollectFailed {
		for _, kind := range [...]byte{recollectAccepted, recollectDoubted} {
			r[0] = kind
			delete(c.young, r)
			delete(c.old, r)
		}
		return
	}
	c.young[r] = struct{}{}
}

func (c *recollection) has(r recollected) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.young[r]; ok {
		return true
	}
	_, ok := c.old[r]
	return ok
}

// note has a record written soon.
func (c *recollection) note(r recollected, know bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	if know {
		c.know(r)
	}
	if len(c.octets) == 0 {
		c.octets = append(c.octets, make([]byte, 8)...) // the time
	}
	c.octets = append(c.octets, r[:]...)
	c.unwritten = true
	if c.records() >= rememberTogether {
		c.write()
	} else if c.timer == nil {
		c.timer = time.AfterFunc(rememberEvery, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.timer = nil; !c.stopped {
				c.write()
			}
		})
	}
}

// records is how many the slot has that is being filled.
func (c *recollection) records() int { return len(c.octets) / len(recollected{}) }

// write writes the slot behind, and begins the next one if it is full. The caller holds the lock.
func (c *recollection) write() {
	if !c.unwritten {
		return
	}
	c.unwritten = false
	binary.BigEndian.PutUint64(c.octets, uint64(time.Now().UnixNano()))
	key, octets := c.node+"/"+strconv.Itoa(c.slot), append([]byte(nil), c.octets...)
	if c.records() >= rememberRecords {
		c.slot, c.octets = (c.slot+1)%rememberSlots, c.octets[:0]
	}
	select {
	case c.work <- slotWrite{key, octets}:
	default: // the disk hangs
		c.failed(store.ErrUnavailable)
	}
}

// put writes a slot.
func (c *recollection) put(w slotWrite) {
	ctx, cancel := context.WithTimeout(context.Background(), appendWait)
	defer cancel()
	if err := c.journal.disk.Put(ctx, bucketRecent, w.key, w.octets, 0); err != nil {
		c.failed(err)
	}
}

func (c *recollection) failed(err error) {
	c.journal.gateway.log.Warn().Str("fault", clip(err.Error())).Msg("what was handed over lately could not be noted: after a crash, copies of it may be delivered")
}

// noted writes what is left, after the last message.
func (j *journal) noted() {
	if j == nil || j.recent == nil {
		return
	}
	c := j.recent
	c.mu.Lock()
	was := c.stopped
	if !was {
		if c.timer != nil {
			c.timer.Stop()
		}
		c.write()
		c.stopped = true
		close(c.work)
	}
	c.mu.Unlock()
	c.done.Wait()
}

// copyRecord names a message and its copies, over restarts: what duplicates.key compares.
func copyRecord(kind byte, from *side, op *adapters.MessageOp) (r recollected) {
	id, by := op.OriginID, byte(1)
	if id == "" {
		id, by = op.Copy, 2
	}
	room := takeHashRoom()
	defer room.free()
	b := append(room.octets[:0], by)
	for _, s := range [...]string{from.name, op.From.Address.Local(), op.From.Address.Domain(), op.To.Address.Local(), op.To.Address.Domain(), id, op.Content.Type} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	for i := range op.Subjects {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(op.Subjects[i].Text))), op.Subjects[i].Text...)
	}
	room.octets = room.appendSum(b, op.Content.Octets)
	r[0] = kind
	copy(r[1:], room.sum(room.octets))
	return r
}

// handedOver notes a message that was answered without the journal. record is its copyRecord of any kind, zero if it was not made yet.
func (c *recollection) handedOver(from *side, op *adapters.MessageOp, record recollected, s adapters.Status) {
	kind := byte(recollectAccepted)
	if s.Outcome == adapters.Failure {
		if s.Reason != adapters.ReasonOutcomeUnknown {
			return
		}
		kind = recollectDoubted
	}
	if record == (recollected{}) {
		record = copyRecord(kind, from, op)
	}
	record[0] = kind
	c.note(record, false)
}

// answerOf is the answer to a message of which an earlier process handed over a copy; its Outcome is 0 if none did. r is the message's record, zero
// if none was made.
func (c *recollection) answerOf(now time.Time, from *side, op *adapters.MessageOp) (s adapters.Status, r recollected) {
	if !now.Before(c.until) {
		return s, r
	}
	r = copyRecord(recollectAccepted, from, op)
	if c.has(r) {
		return adapters.Accepted(), r
	}
	if r[0] = recollectDoubted; c.has(r) {
		return adapters.Failed(adapters.ReasonOutcomeUnknown, ""), r
	}
	return s, r
}

// outcomeRecord is the record of an outcome's key.
func outcomeRecord(key string) (r recollected) {
	r[0] = recollectTold
	if strings.HasSuffix(key, "d") && len(key) == 33 {
		r[0], key = recollectDisplayed, key[:32]
	}
	_, _ = hex.Decode(r[1:], []byte(key[:min(len(key), 32)])) // outcomeKey made it
	return r
}
