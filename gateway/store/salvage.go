package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash"
	"slices"
	"strconv"
)

// The flags of a sequence in the engine's files: what is no message but a note on one that is gone.
const (
	recordErased = 1 << 63
	recordNote   = 1 << 62
)

// piece is an intact record of one of the engine's files.
type piece struct {
	seq    uint64 // 0: a note
	octets []byte
}

// inspection is what a file of the engine holds.
type inspection struct {
	pieces    []piece
	first     int // where the first damage begins; -1: there is none
	lost      int // octets that are damaged
	behind    int // intact records behind the first damage
	last      uint64
	disorder  bool
	sum       hash.Hash
	free      map[uint64]bool // sequences that are used
	recovered int             // records of packs that are damaged
}

// look reads a file. Of a pack that is damaged it takes the records that are not.
func look(b []byte, sum hash.Hash) *inspection {
	in := &inspection{first: -1, sum: sum, free: map[uint64]bool{}}
	type region struct {
		from, to int
		after    uint64
	}
	var damaged []region
	for at := 0; at < len(b); {
		size := intact(b[at:], sum)
		if size == 0 {
			if in.first < 0 {
				in.first = at
			}
			if n := len(damaged); n > 0 && damaged[n-1].to == at {
				damaged[n-1].to++
			} else {
				damaged = append(damaged, region{at, at + 1, in.last})
			}
			in.lost++
			at++
			continue
		}
		if in.first >= 0 {
			in.behind++
		}
		in.take(b[at:at+size:at+size], at)
		at += size
	}
	for _, r := range damaged {
		in.salvage(b[r.from:r.to], r.after)
	}
	return in
}

// take notes an intact record at a place. One that is there twice, or not in its order, is damage too.
func (in *inspection) take(octets []byte, at int) {
	seq := binary.LittleEndian.Uint64(octets[4:])
	if seq&(recordNote|recordErased) != 0 {
		in.pieces = append(in.pieces, piece{octets: octets})
		return
	}
	if seq <= in.last {
		in.disorder = true
		if in.first < 0 {
			in.first = at
		}
	}
	if in.free[seq] {
		in.lost += len(octets)
		return
	}
	in.free[seq] = true
	in.last = max(in.last, seq)
	in.pieces = append(in.pieces, piece{seq, octets})
}

// salvage takes the intact records of packs out of a damaged region behind a sequence, and makes a pack of them in its place.
func (in *inspection) salvage(b []byte, after uint64) {
	var data []byte
	for {
		i := bytes.Index(b, []byte(packRecord))
		if i < 0 {
			break
		}
		b = b[i:]
		octets, rest := cutRecord(b)
		if octets == nil {
			b = b[1:]
			continue
		}
		data = append(data, b[:len(b)-len(rest)]...)
		in.recovered++
		b = rest
	}
	if len(data) == 0 {
		return
	}
	seq := after + 1
	for in.free[seq] {
		seq++
	}
	in.free[seq], in.disorder = true, true
	in.pieces = append(in.pieces, piece{seq, in.message(seq, packPrefix+"salvaged-"+strconv.FormatUint(seq, 10), data)})
}

// message is a record of the engine.
func (in *inspection) message(seq uint64, subject string, data []byte) []byte {
	size := recordHead + len(subject) + len(data) + recordSum
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, size), uint32(size))
	b = binary.LittleEndian.AppendUint64(b, seq)
	stamp := uint64(0)
	for _, p := range in.pieces {
		if p.seq != 0 && p.seq < seq {
			stamp = max(stamp, binary.LittleEndian.Uint64(p.octets[12:]))
		}
	}
	b = binary.LittleEndian.AppendUint64(b, stamp)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(subject)))
	b = append(append(b, subject...), data...)
	in.sum.Reset()
	in.sum.Write(b[4:20])
	in.sum.Write(b[recordHead:])
	return in.sum.Sum(b)
}

// good is what is intact, in order, the notes behind the rest.
func (in *inspection) good() (all []byte) {
	if in.disorder {
		slices.SortStableFunc(in.pieces, func(a, b piece) int { return cmp.Compare(a.seq-1, b.seq-1) })
	}
	for _, p := range in.pieces {
		all = append(all, p.octets...)
	}
	return all
}
