package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/gateway/store"
)

const journalFile = "jetstream/$G/streams/JOURNAL/msgs/1.blk"

// written makes a store with entries that came alone and together, and ends it as a kill does. It returns its directory.
func written(t testing.TB, entries int) string {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, nil)
	var wait sync.WaitGroup
	for i := range entries {
		add := func() {
			if err := s.Append(t.Context(), entry(s, fmt.Sprintf("<%d> %s", i, strings.Repeat("x", i%300)))); err != nil {
				t.Error(err)
			}
		}
		if i < entries/2 {
			add()
		} else {
			wait.Go(add)
		}
	}
	wait.Wait()
	return image(t, dir)
}

// damage changes b as told: a kind, a place and a length for each change.
func damage(b, changes []byte) []byte {
	b = slices.Clone(b)
	for ; len(changes) >= 7 && len(b) > 100; changes = changes[7:] {
		at := int(binary.LittleEndian.Uint32(changes[1:])) % len(b)
		n := min(1+int(binary.LittleEndian.Uint16(changes[5:]))%8192, len(b)-at)
		switch changes[0] % 4 {
		case 0: // a bit flipped
			b[at] ^= 1 << (n % 8)
		case 1: // cut off
			b = b[:at]
		case 2: // a block twice
			b = slices.Concat(b[:at+n], b[at:at+n], b[at+n:])
		case 3: // two blocks swapped
			n = min(n, (len(b)-at)/2)
			b = slices.Concat(b[:at], b[at+n:at+2*n], b[at:at+n], b[at+2*n:])
		}
		b = b[:min(len(b), 1<<20)]
	}
	return b
}

// FuzzJournal_TFZ17: of a journal with flipped bits, a missing end, blocks that are there twice or in another place, no entry whose record is
// whole is lost, none is invented, and the file as it was is kept.
func FuzzJournal_TFZ17(f *testing.F) {
	dir := written(f, 60)
	whole, err := os.ReadFile(filepath.Join(dir, journalFile))
	if err != nil {
		f.Fatal(err)
	}
	// The records of entries: between their marks.
	records := map[string][]byte{}
	for at := 0; ; {
		i := bytes.Index(whole[at:], []byte("\x9eIs1"))
		if i < 0 {
			break
		}
		at += i
		n := 12 + int(binary.LittleEndian.Uint32(whole[at+4:]))
		record := whole[at : at+n]
		records[string(record[bytes.LastIndexByte(record, 60):])] = record
		at += n
	}
	if len(records) != 60 {
		f.Fatalf("%d records", len(records))
	}
	change := func(kind byte, at uint32, n uint16) []byte {
		return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint32([]byte{kind}, at), n)
	}
	f.Add([]byte(nil))
	f.Add(change(0, 5000, 3))
	f.Add(change(0, 2, 3))
	f.Add(change(1, 9000, 0))
	f.Add(change(2, 3000, 4000))
	f.Add(change(3, 3000, 1000))
	f.Add(slices.Concat(change(3, 100, 5000), change(0, 7000, 1), change(2, 0, 300), change(1, 15000, 0)))
	f.Fuzz(func(t *testing.T, changes []byte) {
		changes = changes[:min(len(changes), 7*8)]
		b := damage(whole, changes)
		dir := image(t, dir)
		if err := os.WriteFile(filepath.Join(dir, journalFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), store.Config{Directory: dir, Logger: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		there := map[string]int{}
		err = s.Replay(t.Context(), nil, func(e store.Entry, _ store.Progress) error {
			if records[string(e.Octets)] == nil {
				t.Errorf("%.40q is invented", e.Octets)
			}
			there[string(e.Octets)]++
			return nil
		}, func(store.ID, error) {})
		if err != nil {
			t.Fatal(err)
		}
		for text, record := range records {
			if n := there[text]; n > 1 || n == 0 && bytes.Contains(b, record) {
				t.Errorf("%.20q is there %d times, its record is whole", text, n)
			}
		}
		if bytes.Equal(b, whole) {
			return
		}
		if again, err := os.ReadFile(filepath.Join(dir, journalFile)); err == nil && bytes.HasPrefix(again, b) {
			return // the engine has it as it is
		}
		kept, err := filepath.Glob(filepath.Join(dir, "damaged", "*.blk"))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range kept {
			if o, err := os.ReadFile(k); err == nil && sha256.Sum256(o) == sha256.Sum256(b) {
				return
			}
		}
		t.Errorf("the file as it was is not kept: %q", kept)
	})
}

// T-FI-03: a file that is cut off between two records is told of, though nothing in it is damaged, and once.
func TestT_FI_03_CutOffBetweenTwoRecords(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	file := filepath.Join(dir, journalFile)
	var sizes []int64
	for i := range 20 {
		if err := s.Append(t.Context(), entry(s, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, info.Size())
	}
	killed := image(t, dir)
	s.Close()
	for _, from := range []string{killed, dir} {
		cut := image(t, from)
		if err := os.Truncate(filepath.Join(cut, journalFile), sizes[14]); err != nil {
			t.Fatal(err)
		}
		for again := range 2 {
			log := &lines{}
			s, err := store.Open(t.Context(), store.Config{Directory: cut, Logger: zerolog.New(log)})
			if err != nil {
				t.Fatal(err)
			}
			if n := len(held(t, s)); n != 15 {
				t.Errorf("%d entries", n)
			}
			if told := strings.Contains(log.String(), " is missing"); told != (again == 0) {
				t.Errorf("opened %d times: told %v: %s", again+1, told, log)
			}
			s.Close()
		}
	}
	// What was not cut is not told of.
	log := &lines{}
	s, err := store.Open(t.Context(), store.Config{Directory: killed, Logger: zerolog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if strings.Contains(log.String(), "missing") {
		t.Errorf("%s", log)
	}
	if err := s.Append(t.Context(), store.Entry{ID: s.NewID(), Kind: store.KindMessage, Accepted: time.Now(), Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Error(err)
	}
}
