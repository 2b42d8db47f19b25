package store

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/minio/highwayhash"
)

// T-FI-03: with any bit turned a record is seen to be damaged, also in those octets that are in no checksum of the engine's: the lengths of the subject
// and of the headers. An octet of the subject that was read as one of the message cost the first entry of a pack, and nobody said so.
func TestT_FI_03_EachBitOfARecordCounts(t *testing.T) {
	key := sha256.Sum256([]byte("JOURNAL-1"))
	sum, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		t.Fatal(err)
	}
	// record makes one as the engine does.
	record := func(subject, headers, message string) []byte {
		size := recordHead + len(subject) + len(message) + recordSum
		flag := uint32(0)
		if headers != "" {
			size, flag = size+4+len(headers), recordHeaders
		}
		b := binary.LittleEndian.AppendUint32(nil, uint32(size)|flag)
		b = binary.LittleEndian.AppendUint64(b, 7)
		b = binary.LittleEndian.AppendUint64(b, 1234567)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(subject)))
		b = append(b, subject...)
		sum.Reset()
		sum.Write(b[4:20])
		sum.Write([]byte(subject))
		if headers != "" {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(headers)))
			b = append(b, headers...)
			sum.Write([]byte(headers))
		}
		b = append(b, message...)
		sum.Write([]byte(message))
		return sum.Sum(b)
	}
	pack := packRecord + strings.Repeat("an entry ", 30)
	for name, whole := range map[string][]byte{
		"a pack of the journal":  record(packPrefix+"Zt3kQp0xVb", "", pack),
		"a pack of facts":        record(factPrefix+"Zt3kQp0xVb", "", pack),
		"a message with headers": record("isthmus.e.07.0123", "NATS/1.0\r\nRevision: 7\r\n\r\n", "text"),
	} {
		t.Run(name, func(t *testing.T) {
			if n := intact(whole, sum); n != len(whole) {
				t.Fatalf("%d octets of %d are intact", n, len(whole))
			}
			for i := range whole {
				for bit := range 8 {
					b := append([]byte(nil), whole...)
					b[i] ^= 1 << bit
					if intact(b, sum) != 0 {
						t.Errorf("octet %d, bit %d: it is not seen", i, bit)
					}
				}
			}
		})
	}
	// What is no pack is not taken for a damaged one: a cluster may be called like a pack.
	for name, whole := range map[string][]byte{
		"a cluster named b": record("b.e.07.0123", "", "text "+packRecord),
		"no subject":        record("", "", "binary\x00"),
	} {
		if n := intact(whole, sum); n != len(whole) {
			t.Errorf("%s: %d octets of %d are intact", name, n, len(whole))
		}
	}
}
