package gateway

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// keyedHash is HMAC-SHA-256 of what lies behind its block, whatever the block held before.
func TestKeyedHashIsHMAC(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	h := newKeyedHash(key)
	room := takeHashRoom()
	defer room.free()
	b := make([]byte, sha256.BlockSize, 1<<10)
	for n := range 300 {
		mac := hmac.New(sha256.New, key)
		mac.Write(b[sha256.BlockSize:])
		if sum := h.sum(room, b); !bytes.Equal(sum, mac.Sum(nil)) {
			t.Fatalf("of %d octets it is %x", n, sum)
		}
		b = append(b, byte(n))
	}
}

// What is on the disk, or with a client, of the version before has to be found: a record is a hash of a hash, and a report's name an HMAC, whatever
// the room held that they were made in.
func TestHashesInUsedRooms(t *testing.T) {
	tokens, err := openTokens(t.Context(), &storetest.Memory{}, false)
	if err != nil {
		t.Fatal(err)
	}
	from, op := &side{name: "sip"}, originOp(1, "")
	for _, n := range []int{0, 5000, 1, maxHashRoom, 200, 3, 2 * maxHashRoom, 0} {
		op.Copy, op.Content = strings.Repeat("c", n/2), adapters.Content{Type: "text/plain", Octets: bytes.Repeat([]byte("x"), n)}
		what := []byte{2}
		for _, s := range []string{from.name, op.From.Address.Local(), op.From.Address.Domain(), op.To.Address.Local(), op.To.Address.Domain(), op.Copy, op.Content.Type} {
			what = append(binary.BigEndian.AppendUint32(what, uint32(len(s))), s...)
		}
		content := sha256.Sum256(op.Content.Octets)
		sum := sha256.Sum256(append(what, content[:]...))
		if r := copyRecord(recollectDoubted, from, op); r[0] != recollectDoubted || !bytes.Equal(r[1:], sum[:len(r)-1]) {
			t.Errorf("a record of %d octets is %x", n, r)
		}
		inner := sha256.Sum256(append(tokens.nonces.inner[:], "report\x00"+op.Copy...))
		outer := sha256.Sum256(append(tokens.nonces.outer[:], inner[:]...))
		if id := tokens.reportID(op.Copy); id != hex.EncodeToString(outer[:16]) {
			t.Errorf("the report of %d octets is %s", n, id)
		}
	}
}
