package digest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

// Nonces makes nonces that prove themselves, so that a challenge costs no memory (RFC 7616 §3.3 suggests it), and remembers those that
// were used well, so that no request is taken twice (RFC 7616 §5.12). Safe for use from many goroutines.
type Nonces struct {
	key  [32]byte
	life time.Duration
	max  int
	// base is what the times in nonces count from. It has a reading of the monotonic clock, so that what was issued before and after is
	// known whatever is done to the clock of the wall.
	base time.Time

	mu sync.Mutex
	// recent and older hold the counts of nonces in use. When recent is full, or as old as a nonce's life, it becomes older.
	recent, older map[string]*counts
	turned        time.Time
	// floor: a nonce issued then or before is stale, unless it is in a table: its counts have been forgotten.
	floor time.Time
}

// counts is the window of nc values of one nonce that were seen: the highest, and the 64 below.
type counts struct {
	highest uint32
	seen    uint64 // bit i: highest-i was seen
}

// NewNonces makes nonces that live for life (at least 1 s) and remembers at least max of those in use, at most twice as many. When there
// are more, the oldest are forgotten and their clients are challenged once more.
func NewNonces(life time.Duration, max int) *Nonces {
	n := &Nonces{life: life, max: max, base: time.Now(), recent: map[string]*counts{}}
	rand.Read(n.key[:]) //nolint:errcheck // it never fails
	return n
}

// The layout of a nonce before base64: time in ns since base, random octets, the first octets of an HMAC over these and the place that it was
// issued to, and those of the HMAC over all of this and the realm.
const (
	nonceTime   = 8
	nonceRandom = 4
	noncePlace  = 4
	nonceMAC    = 12
	nonceHead   = nonceTime + nonceRandom + noncePlace
	nonceLen    = nonceHead + nonceMAC
)

// Issue makes a nonce for a realm at the time now: 38 characters. place is where it goes to, for IssuedTo; the nonce is good from anywhere,
// because the requests of one user may come by different proxies (RFC 7616 §3.3).
func (n *Nonces) Issue(realm, place string, now time.Time) string {
	var b [nonceLen]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.Sub(n.base)))
	rand.Read(b[nonceTime : nonceTime+nonceRandom]) //nolint:errcheck // it never fails
	n.address(b[:], place)
	n.sign(b[:], realm)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// IssuedTo tells whether a nonce that Check does not call Forged was issued to a place.
func (n *Nonces) IssuedTo(nonce, place string) bool {
	var b, want [nonceLen]byte
	if !decode(&b, nonce) {
		return false
	}
	want = b
	n.address(want[:], place)
	return hmac.Equal(want[:nonceHead], b[:nonceHead])
}

func (n *Nonces) address(b []byte, place string) {
	h := hmac.New(sha256.New, n.key[:])
	h.Write([]byte("place\x00"))
	h.Write(b[:nonceTime+nonceRandom])
	h.Write([]byte(place))
	copy(b[nonceTime+nonceRandom:nonceHead], h.Sum(nil))
}

// decode undoes the base64 of a nonce.
func decode(b *[nonceLen]byte, nonce string) bool {
	if len(nonce) != base64.RawURLEncoding.EncodedLen(nonceLen) {
		return false
	}
	got, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(nonce))
	return err == nil && got == nonceLen
}

func (n *Nonces) sign(b []byte, realm string) {
	h := hmac.New(sha256.New, n.key[:])
	h.Write(b[:nonceHead])
	h.Write([]byte(realm))
	copy(b[nonceHead:], h.Sum(nil)[:nonceMAC])
}

// Verdict is what became of a nonce.
type Verdict uint8

// The verdicts.
const (
	Forged Verdict = iota // not one of ours, or of another realm
	Stale                 // too old, or its counts were forgotten: a new challenge with stale=true
	Fresh
)

// Check tells what a nonce is at the time now, without using it.
func (n *Nonces) Check(nonce, realm string, now time.Time) Verdict {
	v, _ := n.issued(nonce, realm, now)
	return v
}

func (n *Nonces) issued(nonce, realm string, now time.Time) (Verdict, time.Time) {
	var b, want [nonceLen]byte
	if !decode(&b, nonce) {
		return Forged, time.Time{}
	}
	copy(want[:], b[:nonceHead])
	n.sign(want[:], realm)
	if !hmac.Equal(want[:], b[:]) {
		return Forged, time.Time{}
	}
	at := n.base.Add(time.Duration(binary.BigEndian.Uint64(b[:])))
	if age := now.Sub(at); age > n.life || age < -n.life {
		return Stale, at
	}
	return Fresh, at
}

// Use takes the count-th request with a nonce: Fresh if it may be served, Stale if the client needs a new nonce, Forged if this count was
// used before. It is to be called after the credentials have been proven: strangers must not fill the table.
func (n *Nonces) Use(nonce, realm string, count uint32, now time.Time) Verdict {
	v, at := n.issued(nonce, realm, now)
	if v != Fresh {
		return v
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.turned) >= n.life {
		n.turn(now)
	}
	c := n.recent[nonce]
	if c == nil {
		if c = n.older[nonce]; c != nil {
			n.keep(nonce, c, now)
		}
	}
	if c == nil {
		if !at.After(n.floor) {
			return Stale
		}
		n.keep(nonce, &counts{highest: count, seen: 1}, now)
		return Fresh
	}
	return c.use(count)
}

// keep puts a nonce's counts into the recent table, which is turned when it is full. The caller holds the lock.
func (n *Nonces) keep(nonce string, c *counts, now time.Time) {
	if len(n.recent) >= n.max {
		n.turn(now)
	}
	n.recent[nonce] = c
}

// turn forgets the older table. Nonces whose counts it held cannot be told from unused ones, so what was issued before it was closed is
// stale. The caller holds the lock.
func (n *Nonces) turn(now time.Time) {
	if len(n.older) > 0 {
		n.floor = n.turned
	}
	n.older, n.recent, n.turned = n.recent, make(map[string]*counts), now
}

func (c *counts) use(count uint32) Verdict {
	if count > c.highest {
		if shift := count - c.highest; shift < 64 {
			c.seen = c.seen<<shift | 1
		} else {
			c.seen = 1
		}
		c.highest = count
		return Fresh
	}
	below := c.highest - count
	if below >= 64 || c.seen&(1<<below) != 0 {
		return Forged
	}
	c.seen |= 1 << below
	return Fresh
}
