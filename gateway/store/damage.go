package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/minio/highwayhash"
)

// The engine cuts a file off at the first record of it whose checksum is wrong, says nothing, and so deletes all that comes after it: one bit
// that has turned costs every entry behind it. Before the engine opens its files they are read here, therefore: what is damaged is
// reported and kept as it is, and the engine gets the intact records before and behind it (T-FI-03).

// The form of a file of the engine: records of the length (with a flag for headers), sequence, time and length of the subject; subject,
// length of the headers and headers if there are some, message, checksum.
const (
	recordHead    = 22
	recordSum     = 8
	recordHeaders = 1 << 31 // flag of the length
	recordLongest = 32 << 20
	damagedFolder = "damaged"
	begunPrefix   = "intact-" // of a file that is written anew
	filesOfEngine = "jetstream/$G/streams/*/msgs/*.blk"
	filesOfLogs   = "jetstream/$SYS/_js_/*/msgs/*.blk" // what the nodes of a cluster have agreed on
)

// intact is the size of the record at the beginning of b; 0: there is none that is intact.
func intact(b []byte, sum hash.Hash) int {
	if len(b) < recordHead+recordSum {
		return 0
	}
	length := binary.LittleEndian.Uint32(b)
	size := int(length &^ recordHeaders)
	subject := recordHead + int(binary.LittleEndian.Uint16(b[20:]))
	begin := subject
	if length&recordHeaders != 0 {
		begin += 4
	}
	if size > recordLongest || size > len(b) || begin+recordSum > size {
		return 0
	}
	sum.Reset()
	sum.Write(b[4:20])
	sum.Write(b[recordHead:subject])
	sum.Write(b[begin : size-recordSum])
	if !bytes.Equal(sum.Sum(nil), b[size-recordSum:size]) || !divided(b[recordHead:size-recordSum], subject-recordHead, begin-recordHead) {
		return 0
	}
	return size
}

// divided tells whether a subject ends where its record says, and the headers behind it. Both lengths are in no checksum of the engine's: with a bit of one
// turned it takes what comes behind the subject for a part of it, or the other way round, and the first record of a pack could not be found any more.
// b is what stands between the head and the checksum, subject the length of the subject; the rest begins at begin, behind the length of the headers if
// there are some.
func divided(b []byte, subject, begin int) bool {
	if begin > subject {
		length, headers := int(binary.LittleEndian.Uint32(b[subject:])), b[begin:]
		return length <= len(headers) && bytes.HasPrefix(headers[:length], []byte(headersBegin)) && bytes.HasSuffix(headers[:length], []byte(headersEnd))
	}
	if !bytes.HasPrefix(b, []byte(packPrefix)) && !bytes.HasPrefix(b, []byte(factPrefix)) {
		return true
	}
	// "b." or "f." and a word without a point: the subject of a pack, if there is one behind it.
	mark := bytes.Index(b[:min(len(b), packSubject)], []byte(packRecord))
	return mark < 0 || bytes.IndexByte(b[len(packPrefix):mark], '.') >= 0 || mark == subject
}

const (
	headersBegin = "NATS/1.0"
	headersEnd   = "\r\n\r\n"
	packSubject  = 128 // no pack's subject is longer
)

// inspect reads the engine's files. Of one that is damaged it reports and keeps a copy, and leaves the engine what is intact. On a cluster
// the others have what is missing: all files of the node are put aside, and it begins anew as a copy of theirs.
func (s *Store) inspect() error {
	c := &s.cfg
	if c.Cluster == nil {
		_, err := inspect(c, c.Directory, filesOfEngine, false)
		return err
	}
	folder := filepath.Join(c.Directory, clusterFolder)
	for _, files := range []string{filesOfEngine, filesOfLogs} {
		damaged, err := inspect(c, folder, files, true)
		if err != nil {
			return err
		}
		if !damaged {
			continue
		}
		kept := filepath.Join(c.Directory, damagedFolder, strconv.FormatInt(time.Now().UnixNano(), 10)+"-"+clusterFolder)
		if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
			return fmt.Errorf("store: keep what is damaged: %w", err)
		}
		if err := os.Rename(folder, kept); err != nil {
			return fmt.Errorf("store: keep what is damaged: %w", err)
		}
		c.Logger.Error().Str("kept", kept).Msg("the files of this node are damaged: they are kept as they are, and the node copies what the others have")
		return nil
	}
	return nil
}

// inspect reads files. It tells whether one is damaged in the middle; of a copy of what others have it only says so.
func inspect(c *Config, directory, files string, copied bool) (damaged bool, _ error) {
	all, err := filepath.Glob(filepath.Join(directory, filepath.FromSlash(files)))
	if err != nil {
		return false, err
	}
	// What a crash or a disk that refuses writes left of our own.
	for _, left := range [...]string{filepath.Join(filepath.Dir(files), begunPrefix+"*"), files + ".intact"} {
		begun, err := filepath.Glob(filepath.Join(directory, filepath.FromSlash(left)))
		if err != nil {
			return false, err
		}
		for _, file := range begun {
			if err := os.Remove(file); err != nil {
				return false, fmt.Errorf("store: %w", err)
			}
		}
	}
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
		folder, number := filepath.Dir(file), strings.TrimSuffix(filepath.Base(file), ".blk")
		name := filepath.Base(filepath.Dir(folder)) + "-" + number // the stream's and the file's
		key := sha256.Sum256([]byte(name))
		sum, err := highwayhash.NewDigest64(key[:])
		if err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
		in := look(b, sum)
		if in.first < 0 {
			continue
		}
		if copied {
			// What a crash of the machine has left unfinished at the end was never acknowledged by this node.
			if in.behind > 0 || in.disorder {
				return true, nil
			}
			continue
		}
		if err := report(c, file, name, b, in); err != nil {
			return false, err
		}
		if in.behind > 0 || in.disorder { // else the engine cuts it off at the same place
			if err := leave(file, in.good()); err != nil {
				return false, fmt.Errorf("store: %w", err)
			}
		}
	}
	return false, nil
}

// leave replaces a file by what is intact of it, synced. The engine's index of the file as it was goes: it is made again.
func leave(file string, good []byte) error {
	if err := os.Remove(filepath.Join(filepath.Dir(file), "index.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Not a name that begins or ends like the file's own: the engine takes that for the file, a second time, and finds nothing in it after the next
	// write.
	begun := filepath.Join(filepath.Dir(file), begunPrefix+filepath.Base(file)+".new")
	f, err := os.OpenFile(begun, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(good)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(begun, file); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// report tells of a damaged file and keeps a copy of it.
func report(c *Config, file, name string, b []byte, in *inspection) error {
	folder := filepath.Join(c.Directory, damagedFolder)
	kept := filepath.Join(folder, strconv.FormatInt(time.Now().UnixNano(), 10)+"-"+name+".blk")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("store: keep what is damaged: %w", err)
	}
	if err := os.WriteFile(kept, b, 0o600); err != nil {
		return fmt.Errorf("store: keep what is damaged: %w", err)
	}
	e := c.Logger.Error()
	if in.behind == 0 && in.first+in.lost == len(b) {
		e = c.Logger.Warn() // as a crash of the machine leaves what it was writing
	}
	e.Str("file", file).Int("at", in.first).Int("octets", in.lost).Int("intact_behind", in.behind).Int("recovered", in.recovered).Str("kept", kept).
		Msg("a file of the store is damaged: what cannot be read is kept as it is, what is intact is used")
	return nil
}
