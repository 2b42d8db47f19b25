package transaction

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// serverTable finds the transaction of a request (RFC 3261 §17.2.3): those that wait for their answer as they are, and of those that were
// answered what a copy of the request needs.
type serverTable struct {
	seed  [2]maphash.Seed
	count atomic.Int64 // of both
	live  liveTable
	done  ledger[reply]
}

func (t *serverTable) init(life time.Duration) {
	t.seed = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	t.live.init()
	t.done.init(ledgerParts, 0, life)
}

// begin lets a wheel run Timer J.
func (t *serverTable) begin(w *wheel) {
	t.done.expireBy(w, func(n int) { t.count.Add(int64(-n)) })
}

// find returns the transaction of key that waits for its answer, or nil.
func (t *serverTable) find(key hashKey) *ServerTx {
	p := t.live.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.get(key)
}

// has reports whether there is a transaction of key.
func (t *serverTable) has(at time.Time, key hashKey) bool {
	if t.find(key) != nil {
		return true
	}
	_, _, ok := t.done.get(at, key)
	return ok
}

// add adds tx. known tells that its key was there already, full that there was no room.
func (t *serverTable) add(at time.Time, tx *ServerTx, limit int) (known, full bool) {
	p := t.live.part(tx.key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.get(tx.key) != nil {
		return true, false
	}
	if _, _, known = t.done.get(at, tx.key); known {
		return true, false
	}
	if t.count.Add(1) > int64(limit) {
		t.count.Add(-1)
		return false, true
	}
	tx.stateful = true
	p.put(tx.key, tx)
	return false, false
}

// completed moves tx to those that were answered.
func (t *serverTable) completed(at time.Time, tx *ServerTx, r reply, octets []byte) {
	t.done.put(at, tx.key, r, octets)
	t.live.remove(tx.key, tx)
}

func (t *serverTable) remove(tx *ServerTx) {
	if t.live.remove(tx.key, tx) {
		t.count.Add(-1)
	}
}

// key is what all copies of a request have: branch, sent-by and method; without the magic cookie, or with nothing behind it, Request-URI,
// To tag, From tag, Call-ID, CSeq and top Via (RFC 3261 §17.2.3). Method is not the request's own for CANCEL.
func (t *serverTable) key(m *wire.Message, method string) hashKey {
	var room [256]byte
	b := appendKey(room[:0], m, method)
	return hashKey{maphash.Bytes(t.seed[0], b), maphash.Bytes(t.seed[1], b)}
}

// appendKey writes what key hashes.
func appendKey(dst []byte, m *wire.Message, method string) []byte {
	via := m.TopVia()
	branch := via.Branch()
	add := func(s string) { dst = append(append(dst, s...), 0) }
	if len(branch) > len(wire.MagicCookie) && branch[:len(wire.MagicCookie)] == wire.MagicCookie {
		return appendCookieKey(dst, via, method)
	}
	n, _ := m.CSeq()
	dst = append(dst, 1, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	add(m.RequestURIText())
	add(m.To().Tag())
	add(m.From().Tag())
	add(m.CallID())
	add(method)
	add(via.String())
	return dst
}

// appendCookieKey is appendKey for a request whose branch has the magic cookie.
func appendCookieKey(dst []byte, via wire.Via, method string) []byte {
	dst = append(append(dst, via.Branch()...), 0)
	dst = append(append(dst, via.SentBy()...), 0)
	return append(append(dst, method...), 0)
}

// mergeTable finds merged requests (RFC 3261 §8.2.2.2): what has From tag, Call-ID and CSeq of another request, and came over another
// path. A request counts as ongoing as long as its transaction is there.
type mergeTable struct {
	seed [2]maphash.Seed
	live liveTable
	done ledger[uint64] // a part of the messageKey
}

func (t *mergeTable) init(life time.Duration) {
	t.seed = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	t.live.init()
	t.done.init(ledgerParts, 0, life)
}

// begin lets a wheel end the entries.
func (t *mergeTable) begin(w *wheel) { t.done.expireBy(w, nil) }

// key is From tag, Call-ID and CSeq: what copies of one request that came over different paths have in common.
func (t *mergeTable) key(m *wire.Message) hashKey {
	var room [256]byte
	b := t.append(room[:0], m)
	return hashKey{maphash.Bytes(t.seed[0], b), maphash.Bytes(t.seed[1], b)}
}

// checkOf is a part of a mergeTable.key.
func checkOf(k hashKey) uint32 { return uint32(k[1]) }

func (t *mergeTable) append(b []byte, m *wire.Message) []byte {
	n, method := m.CSeq()
	b = append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	for _, s := range [...]string{method, m.From().Tag(), m.CallID()} {
		b = append(append(b, s...), 0)
	}
	return b
}

// add adds tx, unless there is an ongoing request with its key. known tells that there is: old, or one that was answered. same tells that
// its messageKey is that of tx.
func (t *mergeTable) add(at time.Time, tx *ServerTx) (old *ServerTx, same, known bool) {
	p := t.live.part(tx.merge)
	p.mu.Lock()
	defer p.mu.Unlock()
	if old = p.get(tx.merge); old != nil {
		return old, old.message == tx.message, true
	}
	if message, _, known := t.done.get(at, tx.merge); known {
		return nil, message == tx.message[0], true
	}
	p.put(tx.merge, tx)
	return nil, false, false
}

// replace puts tx in the place of old, which has ended, or of nil. If another one took that place first it is returned: of two copies that
// come at once, one is served.
func (t *mergeTable) replace(old, tx *ServerTx) (now *ServerTx) {
	p := t.live.part(tx.merge)
	p.mu.Lock()
	defer p.mu.Unlock()
	if now = p.get(tx.merge); now != nil && now != old {
		return now
	}
	p.put(tx.merge, tx)
	return nil
}

// completed moves tx to those that were answered.
func (t *mergeTable) completed(at time.Time, tx *ServerTx) {
	t.done.put(at, tx.merge, tx.message[0], nil)
	t.live.remove(tx.merge, tx)
}

func (t *mergeTable) remove(tx *ServerTx) { t.live.remove(tx.merge, tx) }
