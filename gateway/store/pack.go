package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/nats-io/nats.go"
)

// What comes together is written as one message of the engine, a pack: it is there as a whole or not at all, it costs one sync, and the log
// has no holes, so that a file of it that was cut off is seen (T-FI-03). The engine's own batches cost a folder with files each.
//
// A pack is a series of records. Each is found and checked by itself: of a pack that is damaged, what is intact is used.
//
//	mark, 4 octets | length of what follows, 4 octets | CRC-32C of it, 4 octets | subject, headers, data
//
// Subject, number of headers, each header's name and value, and data are unsigned varints with octets behind the lengths.
const (
	packPrefix  = "b."
	packRecord  = "\x9eIs1"
	packHead    = 12
	packRecords = 64        // who reads one of them reads the others too
	packOctets  = 256 << 10 // likewise; a larger record is alone
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errRecord = errors.New("store: a record of the journal that cannot be read")

// record is a message in a pack.
type record struct {
	subject string
	header  nats.Header
	data    []byte
}

// appendRecord writes a message behind b.
func appendRecord(b []byte, m *nats.Msg) []byte {
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	begin := len(b)
	b = append(b, packRecord...)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	text(m.Subject)
	b = binary.AppendUvarint(b, uint64(len(m.Header)))
	for k, v := range m.Header {
		text(k)
		text(v[0])
	}
	b = binary.AppendUvarint(b, uint64(len(m.Data)))
	b = append(b, m.Data...)
	binary.LittleEndian.PutUint32(b[begin+4:], uint32(len(b)-begin-packHead))
	binary.LittleEndian.PutUint32(b[begin+8:], crc32.Checksum(b[begin+packHead:], castagnoli))
	return b
}

// cutRecord is the intact record at the beginning of b, without its head, and what is behind it; nil: there is none.
func cutRecord(b []byte) (octets, rest []byte) {
	if len(b) < packHead || string(b[:4]) != packRecord {
		return nil, nil
	}
	size := int64(binary.LittleEndian.Uint32(b[4:])) + packHead
	if size > int64(len(b)) || crc32.Checksum(b[packHead:size], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return nil, nil
	}
	return b[packHead:size:size], b[size:]
}

// parseRecord reads a record; its parts are those of b.
func parseRecord(b []byte) (r record, err error) {
	octets := func() []byte {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			err, b = errRecord, nil
			return nil
		}
		part := b[size : size+int(n) : size+int(n)]
		b = b[size+int(n):]
		return part
	}
	r.subject = string(octets())
	headers, size := binary.Uvarint(b)
	if size <= 0 || headers > 16 {
		return r, errRecord
	}
	b = b[size:]
	r.header = make(nats.Header, headers)
	for range headers {
		name := string(octets())
		r.header[name] = []string{string(octets())}
	}
	r.data = octets()
	if err == nil && (len(b) != 0 || r.subject == "") {
		err = errRecord
	}
	return r, err
}

// unpack calls f for each record of a pack, with its place in it.
func unpack(b []byte, f func(slot int, r record) error) error {
	for slot := 0; len(b) > 0; slot++ {
		octets, rest := cutRecord(b)
		if octets == nil {
			return fmt.Errorf("%w: in a pack, %d octets before its end", errRecord, len(b))
		}
		r, err := parseRecord(octets)
		if err != nil {
			return err
		}
		if err := f(slot, r); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// of returns one record of a pack.
func unpackOne(b []byte, slot int) (record, error) {
	for range slot {
		octets, rest := cutRecord(b)
		if octets == nil {
			return record{}, errRecord
		}
		b = rest
	}
	octets, _ := cutRecord(b)
	if octets == nil {
		return record{}, errRecord
	}
	return parseRecord(octets)
}
