package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/highwayhash"
	"github.com/rs/zerolog"
)

// T-FZ-17: what is left of a file with any damage is whole, in order, and has every record of a pack that is whole; without the engine, so
// that many are tried.
func TestT_FZ_17_WhatIsLeftOfAFile(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{Directory: dir, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var wait sync.WaitGroup
	for i := range 60 {
		add := func() {
			e := Entry{ID: s.NewID(), Kind: KindMessage, Accepted: time.Now(), Expires: time.Now(), Octets: []byte(strings.Repeat("x", i*5))}
			if err := s.Append(t.Context(), e); err != nil {
				t.Error(err)
			}
		}
		if i < 20 {
			add()
		} else {
			wait.Go(add)
		}
	}
	wait.Wait()
	whole, err := os.ReadFile(filepath.Join(dir, "jetstream/$G/streams/JOURNAL/msgs/1.blk"))
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256([]byte("JOURNAL-1"))
	sum, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		t.Fatal(err)
	}
	if in := look(whole, sum); in.first >= 0 || !bytes.Equal(in.good(), whole) {
		t.Fatalf("a file without damage: %+v", in.first)
	}
	var records [][]byte
	for b := whole; ; {
		i := bytes.Index(b, []byte(packRecord))
		if i < 0 {
			break
		}
		octets, rest := cutRecord(b[i:])
		records = append(records, b[i:i+packHead+len(octets)])
		b = rest
	}
	if len(records) != 60 {
		t.Fatalf("%d records", len(records))
	}
	r := rand.New(rand.NewPCG(17, 3))
	for n := range 3000 {
		b := slices.Clone(whole)
		did := ""
		for range 1 + r.IntN(4) {
			at := r.IntN(len(b))
			size := min(1+r.IntN(4000), len(b)-at)
			switch kind := r.IntN(4); kind {
			case 0:
				b[at] ^= 1 << r.IntN(8)
			case 1:
				b = b[:max(at, 200)]
			case 2:
				b = slices.Concat(b[:at+size], b[at:at+size], b[at+size:])
			case 3:
				size = min(size, (len(b)-at)/2)
				b = slices.Concat(b[:at], b[at+size:at+2*size], b[at:at+size], b[at+2*size:])
			}
			did += fmt.Sprintf(" %d+%d", at, size)
		}
		in := look(b, sum)
		good := in.good()
		last := uint64(0)
		for at := 0; at < len(good); {
			size := intact(good[at:], sum)
			if size == 0 {
				t.Fatalf("%d,%s: what is left is damaged at %d", n, did, at)
			}
			seq := binary.LittleEndian.Uint64(good[at+4:])
			if seq <= last {
				t.Fatalf("%d,%s: %d behind %d", n, did, seq, last)
			}
			last = seq
			at += size
		}
		for i, record := range records {
			if bytes.Contains(b, record) && !bytes.Contains(good, record) {
				t.Fatalf("%d,%s: record %d is lost", n, did, i)
			}
		}
	}
}
