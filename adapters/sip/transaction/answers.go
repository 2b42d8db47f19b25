package transaction

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// answered is the final answer to a MESSAGE, as far as it can be given again.
type answered struct {
	code  int
	text  string // reason phrase
	toTag string
	until time.Time
}

// answerTable remembers answers by what a request keeps when its client sends it again as a new transaction: Call-ID, From, CSeq,
// Request-URI and the content. One that differs in any of them is another message, however alike its identifiers are. RFC 3261 knows such copies only while the first is under way (§8.2.2.2); a client, or a proxy before it, that gave up
// waiting and tries once more would have its message delivered twice (THREATS T-FI-24). Each part is a ring: the oldest gives way.
type answerTable struct {
	life time.Duration
	part [shards]struct {
		mu   sync.Mutex
		by   map[mergeKey]answered
		ring []mergeKey
		next int // where the oldest stands once the ring is full
		room int
	}
}

func (t *answerTable) init(limit int, life time.Duration) {
	t.life = life
	for i := range t.part {
		t.part[i].by = map[mergeKey]answered{}
		t.part[i].room = limit / shards
	}
}

// worthKeeping tells the answers after which the message is with us, or may be: 2xx, 504 (CodeOf gives it for an outcome that is not
// known) and 6xx, which is for good. After any other it is not, so that to try again is right.
func worthKeeping(code int) bool { return code/100 == 2 || code == 504 || code/100 == 6 }

func (t *answerTable) put(key mergeKey, code int, text, toTag string) {
	if t.life <= 0 || !worthKeeping(code) {
		return
	}
	p := &t.part[key[0]%shards]
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.by[key]; !ok {
		if len(p.ring) < p.room {
			p.ring = append(p.ring, key)
		} else {
			delete(p.by, p.ring[p.next])
			p.ring[p.next] = key
			p.next = (p.next + 1) % len(p.ring)
		}
	}
	p.by[key] = answered{code: code, text: text, toTag: toTag, until: now.Add(t.life)}
}

func (t *answerTable) get(key mergeKey) (answered, bool) {
	p := &t.part[key[0]%shards]
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.by[key]
	return a, ok && time.Now().Before(a.until)
}

// drop forgets what was put.
func (t *answerTable) drop(key mergeKey) {
	p := &t.part[key[0]%shards]
	p.mu.Lock()
	defer p.mu.Unlock()
	if a, ok := p.by[key]; ok {
		a.until = time.Time{} // the place in the ring stays, so the entry does
		p.by[key] = a
	}
}

// messageKey is mergeTable.key with the Request-URI, the sender and the content: two requests with the same are one message sent twice,
// and neither two branches of a fork that came together nor a second message of a client that counts badly. The sender
// is in it because who may send as one user must not be able to answer for another.
func (t *mergeTable) messageKey(m *wire.Message) (key mergeKey) {
	var room [512]byte
	b := t.append(room[:0], m)
	for _, s := range [...]string{m.RequestURIText(), m.From().URI().String(), m.ContentType()} {
		b = append(append(b, s...), 0)
	}
	for i := range key {
		var h maphash.Hash
		h.SetSeed(t.seed[i])
		h.Write(b)        //nolint:errcheck // it never fails
		h.Write(m.Body()) //nolint:errcheck // it never fails
		key[i] = h.Sum64()
	}
	return key
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
