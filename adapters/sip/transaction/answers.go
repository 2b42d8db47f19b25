package transaction

import (
	"hash/maphash"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// answerTable remembers answers by what a request keeps when its client sends it again as a new transaction: Call-ID, From, CSeq,
// Request-URI and the content. One that differs in any of them is another message, however alike its identifiers are. RFC 3261 knows such copies only while the first is under way (§8.2.2.2); a client, or a proxy before it, that gave up
// waiting and tries once more would have its message delivered twice (THREATS T-FI-24). When it is full the oldest gives way.
type answerTable struct {
	off   bool
	known ledger[reply]
}

func (t *answerTable) init(limit int, life time.Duration) {
	t.off = life <= 0
	t.known.init(shards, limit, life)
}

// worthKeeping tells the answers after which the message is with us, or may be: 2xx, 504 (CodeOf gives it for an outcome that is not
// known) and 6xx, which is for good. After any other it is not, so that to try again is right.
func worthKeeping(code int) bool { return code/100 == 2 || code == 504 || code/100 == 6 }

// put enters what replyOf made of an answer.
func (t *answerTable) put(at time.Time, key hashKey, r reply, more []byte) {
	if t.off || !worthKeeping(int(r.code)) {
		return
	}
	t.known.put(at, key, r, more)
}

// get finds an answer. Of the Response there are code, phrase and tag.
func (t *answerTable) get(at time.Time, key hashKey) (wire.Response, bool) {
	r, more, ok := t.known.get(at, key)
	if !ok || r.code == 0 {
		return wire.Response{}, false
	}
	return r.said(more), true
}

// drop forgets what was put.
func (t *answerTable) drop(at time.Time, key hashKey) {
	if _, _, ok := t.known.get(at, key); ok {
		t.known.put(at, key, reply{}, nil)
	}
}

// messageKey is mergeTable.key with the Request-URI, the sender and the content: two requests with the same are one message sent twice,
// and neither two branches of a fork that came together nor a second message of a client that counts badly. The sender
// is in it because who may send as one user must not be able to answer for another.
func (t *mergeTable) messageKey(m *wire.Message) (key hashKey) {
	var room [1024]byte
	b := t.append(room[:0], m)
	for _, s := range [...]string{m.RequestURIText(), m.From().URI().String(), m.ContentType()} {
		b = append(append(b, s...), 0)
	}
	b = append(b, m.Body()...)
	return hashKey{maphash.Bytes(t.seed[0], b), maphash.Bytes(t.seed[1], b)}
}

// maxFollowers bounds the copies of one request that wait for its answer.
const maxFollowers = 8

// follow lets a copy of tx's request, which came as another transaction, wait for the answer to tx. It reports false if tx has ended, or
// too many wait.
func (tx *ServerTx) follow(copied *ServerTx) (ok bool) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.state >= serverCompleted || len(tx.followers) >= maxFollowers {
		return false
	}
	tx.followers = append(tx.followers, copied)
	return true
}
