package gateway

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway/store"
)

// tokens lets a late outcome find its message's sender after a restart, at no cost to a message that needs none: the identifier that a
// message has on the far side carries, sealed, what its sender must be told. The table of origins is the faster way to the same while
// the process lives.
type tokens struct {
	seal   cipher.AEAD
	nonces keyedHash // what nonces are
}

// The fact that holds the key.
const (
	bucketKeys = "keys"
	keyOrigins = "origins"
)

// The patience with a fact that another gateway is just making.
const (
	sharedWait  = 10 * time.Second
	sharedPause = 50 * time.Millisecond
)

// sharedFact reads a fact that all gateways on the store share, and makes it fresh if there is none. Of several that make it at the same time one
// does; until its write is done, the fact is neither there nor can it be made. A store that takes nothing now has none until the next start: the
// fresh one is good for as long as the process lives. Not so where others share it, who may have another one: there it is waited for until ctx ends,
// and only what the store has for certain is used.
func sharedFact(ctx context.Context, facts store.Facts, key string, fresh []byte, others bool) ([]byte, error) {
	if !others {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, sharedWait)
		defer cancel()
	}
	for {
		once, cancel := context.WithTimeout(ctx, sharedWait)
		value, _, err := facts.Get(once, bucketKeys, key)
		if errors.Is(err, store.ErrNotFound) {
			value = fresh
			if err = facts.Create(once, bucketKeys, key, fresh, 0); refuses(err) && !others {
				err = nil
			}
		} else if !others {
			cancel()
			return value, err
		}
		cancel()
		if !errors.Is(err, store.ErrExists) && (!others || !refuses(err)) {
			return value, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, errors.Join(ctx.Err(), err))
		case <-time.After(sharedPause):
		}
	}
}

// openTokens reads the key, or makes one. Gateways that share a store share it: others tells that there are some. Without a store that takes it, what is told of the messages until
// the next start finds them until then.
func openTokens(ctx context.Context, facts store.Facts, others bool) (*tokens, error) {
	fresh := make([]byte, 32)
	rand.Read(fresh) //nolint:errcheck // it never fails
	key, err := sharedFact(ctx, facts, keyOrigins, fresh, others)
	if err != nil {
		return nil, fmt.Errorf("gateway: the key of origins: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("gateway: the key of origins: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("nonces of origins"))
	t := &tokens{nonces: newKeyedHash(mac.Sum(nil))}
	t.seal, err = cipher.NewGCM(block)
	return t, err
}

// tokenMark stands between the beginning of a sender's own identifier, for those who look for it in logs, and the token.
const (
	tokenMark   = "."
	tokenPrefix = 48   // octets of the sender's identifier that are shown
	tokenPart   = 1024 // the longest part that is sealed; a message with a longer one has an identifier without a token
)

// appendBound appends what a token belongs to: it opens for no other pair and no other adapter.
func appendBound(b []byte, to *side, sender, recipient cpim.Address) []byte {
	b = append(b, to.name...)
	for _, s := range [...]string{sender.Local(), sender.Domain(), recipient.Local(), recipient.Domain()} {
		b = append(append(b, 0), s...)
	}
	return b
}

// make makes the identifier for a message from side from to side to, which its sender calls given.
func (t *tokens) make(now time.Time, from, to *side, op *adapters.MessageOp, given string) string {
	sent := op.Sent
	if sent.IsZero() {
		// About now: who asks for a notice of delivery says when (RFC 5438 §7.1.1), for the rest it is the token's age. A copy that comes
		// after a restart has the same.
		sent = now.Truncate(time.Hour)
	}
	room := takeHashRoom()
	defer room.free()
	// What is hashed for a nonce: a block of the hash's own, and then a length, what the token belongs to and what is in it.
	const lengthAt, aadAt = sha256.BlockSize, sha256.BlockSize + 8
	b := appendBound(slices.Grow(room.octets[:0], aadAt)[:aadAt], to, op.From.Address, op.To.Address)
	plainAt := len(b)
	b = append(b, 1, byte(op.Wants)) // version
	b = binary.BigEndian.AppendUint64(b, uint64(sent.Unix()))
	for _, part := range [...]string{from.name, given, op.Thread, op.From.Instance, op.To.Instance} {
		if len(part) > tokenPart {
			return cmp.Or(given, rand.Text())
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(part)))
		b = append(b, part...)
	}
	end := len(b)
	sealed := slices.Grow(room.sealed[:0], t.seal.NonceSize()+end-plainAt+t.seal.Overhead())
	nonce := sealed[:t.seal.NonceSize()]
	if given == "" {
		rand.Read(nonce) //nolint:errcheck // it never fails
	} else {
		// The same for the same message: one that its sender repeats after a crash of the gateway has the identifier that the first copy
		// had, and whoever got both can tell (I2). A nonce that is a keyed hash of what it is for repeats with the whole of it alone.
		binary.BigEndian.PutUint64(b[lengthAt:], uint64(plainAt-aadAt))
		b = append(b, op.Content.Octets...)
		copy(nonce, t.nonces.sum(room, b))
	}
	room.octets = b
	aad, plain := b[aadAt:plainAt], b[plainAt:end]
	sealed = t.seal.Seal(nonce, nonce, plain, aad)
	room.sealed = sealed
	shown := given[:min(len(given), tokenPrefix)]
	for i := range len(shown) {
		if c := shown[i]; c <= ' ' || c >= 0x7F {
			shown = ""
			break
		}
	}
	id := make([]byte, 0, len(shown)+len(tokenMark)+base64.RawURLEncoding.EncodedLen(len(sealed)))
	id = base64.RawURLEncoding.AppendEncode(append(append(id, shown...), tokenMark...), sealed)
	return string(id)
}

// open reads the origin that the identifier of a late outcome carries; nil if it carries none that belongs there.
func (t *tokens) open(g *Gateway, reporter *side, r *adapters.Report) *origin {
	i := strings.LastIndex(r.TransID, tokenMark)
	if i < 0 {
		return nil
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(r.TransID[i+len(tokenMark):])
	if n := t.seal.NonceSize(); err != nil || len(sealed) < n {
		return nil
	}
	n := t.seal.NonceSize()
	plain, err := t.seal.Open(nil, sealed[:n], sealed[n:], appendBound(nil, reporter, r.Sender.Address, r.Recipient.Address))
	if err != nil || len(plain) < 10 || plain[0] != 1 {
		return nil
	}
	o := &origin{wants: adapters.Dispositions(plain[1]), sent: time.Unix(int64(binary.BigEndian.Uint64(plain[2:10])), 0)}
	rest := plain[10:]
	var parts [5]string
	for i := range parts {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil
		}
		n := int(binary.BigEndian.Uint16(rest))
		parts[i], rest = string(rest[2:2+n]), rest[2+n:]
	}
	if o.side = g.sides[parts[0]]; o.side == nil {
		return nil
	}
	o.transID, o.thread = parts[1], parts[2]
	o.sender = adapters.Party{Address: r.Sender.Address, Instance: parts[3]}
	o.recipient = adapters.Party{Address: r.Recipient.Address, Instance: parts[4]}
	return o
}

// asked tells whether the sender of a message is to hear an outcome of this kind.
func (o *origin) asked(k adapters.ReportKind) bool {
	switch k {
	case adapters.ReportDelivered:
		return o.wants&adapters.WantDelivered != 0
	case adapters.ReportDisplayed:
		return o.wants&adapters.WantDisplayed != 0
	}
	return true
}

// recall finds the origin of an outcome that the table does not know any more; nil if there is none, or it is not to be told.
func (j *journal) recall(reporter *side, r *adapters.Report) *origin {
	o := j.tokens.open(j.gateway, reporter, r)
	if o == nil || !o.asked(r.Kind) || time.Since(o.sent) > j.gateway.limits().Life+j.gateway.limits().NoticeLife {
		return nil
	}
	return o
}
