package gateway

import (
	"encoding/binary"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// originGeneration holds packed origins one after the other, and where each is.
type originGeneration struct {
	at      map[originKey]uint32
	octets  []byte
	entries int // that came, the forgotten ones too: their octets are there until the generation ends
}

// originOctets is how much the entries of one generation of one shard take: with that it is full, however few they are. 256 MiB in all at
// most, where senders' identifiers have the length that limits allow.
const originOctets = 8 << 20

// originFixed is what has the same length in every entry.
type originFixed struct {
	side    int
	wants   adapters.Dispositions
	sent    time.Time
	copyKey originKey
	record  recollected
	epoch   uint64
}

// packedOrigin is one entry, from its beginning:
//
//	octets  0       what was told, a set of the originEnded, originDisplayed and originDoubted
//	        1       the index of the side that it came from
//	        2       what its sender wants to hear
//	        3-14    when it was sent: seconds of Unix time, nanoseconds
//	        15-18   seconds east of UTC where that was written
//	        19-26   the epoch
//	        27-42   the key among duplicates
//	        43-59   the record among what was handed over
//	        60-     its device, its sender's identifier and the thread, each behind its length in four octets
type packedOrigin []byte

const (
	originEnded     = 1 << iota // a terminal notice was passed on
	originDisplayed             // a notice of display was passed on
	originDoubted               // its sender was told that the outcome is not known
)

const (
	originAtSide    = 1
	originAtSent    = 3
	originAtZone    = 15
	originAtEpoch   = 19
	originAtCopyKey = 27
	originAtRecord  = 43
	originAtStrings = originAtRecord + len(recollected{})
)

// put adds an entry, which replaces one of the same key.
func (g *originGeneration) put(k originKey, f originFixed, texts ...string) {
	if g.at == nil {
		g.at = make(map[originKey]uint32)
	}
	g.at[k] = uint32(len(g.octets)) // originOctets and one entry fit in
	g.entries++
	_, zone := f.sent.Zone()
	b := append(g.octets, 0, byte(f.side), byte(f.wants))
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, uint64(f.sent.Unix())), uint32(f.sent.Nanosecond()))
	b = binary.BigEndian.AppendUint32(b, uint32(int32(zone)))
	b = binary.BigEndian.AppendUint64(b, f.epoch)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, f.copyKey[0]), f.copyKey[1])
	b = append(b, f.record[:]...)
	for _, s := range texts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	g.octets = b
}

// get returns the entry of a key, valid until the next put or clear, nil if there is none.
func (g *originGeneration) get(k originKey) packedOrigin {
	at, ok := g.at[k]
	if !ok {
		return nil
	}
	return packedOrigin(g.octets[at:])
}

// clear forgets all, and keeps the room for as many.
func (g *originGeneration) clear() {
	clear(g.at)
	g.entries, g.octets = 0, g.octets[:0]
}

func (p packedOrigin) has(what byte) bool { return p[0]&what != 0 }

func (p packedOrigin) note(what byte) { p[0] |= what }

// open returns what is in it, in memory of its own; the side and the addresses are for the caller.
func (p packedOrigin) open() *origin {
	zone := int(int32(binary.BigEndian.Uint32(p[originAtZone:])))
	o := &origin{
		wants: adapters.Dispositions(p[2]), sent: time.Unix(int64(binary.BigEndian.Uint64(p[originAtSent:])), int64(binary.BigEndian.Uint32(p[originAtSent+8:]))),
		epoch:   binary.BigEndian.Uint64(p[originAtEpoch:]),
		copyKey: originKey{binary.BigEndian.Uint64(p[originAtCopyKey:]), binary.BigEndian.Uint64(p[originAtCopyKey+8:])},
		record:  recollected(p[originAtRecord:originAtStrings]),
	}
	if _, here := o.sent.Zone(); zone == 0 {
		o.sent = o.sent.UTC()
	} else if zone != here {
		o.sent = o.sent.In(time.FixedZone("", zone))
	}
	rest := p[originAtStrings:]
	for _, s := range [...]*string{&o.sender.Instance, &o.transID, &o.thread} {
		n := binary.BigEndian.Uint32(rest)
		*s, rest = string(rest[4:4+n]), rest[4+n:]
	}
	return o
}
