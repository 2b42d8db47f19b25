package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"
)

// A log that was cut off between two of its records looks like one that was never longer. Beside it, in a file of its own, is how far it has
// come, written with each commit and behind it: what is there is never more than the log had (T-FI-03). It is not synced: after a crash of
// the machine it may be a little behind, and finds a little less.

const highFile = "high"

// high is that file.
type high struct{ f *os.File }

// highState is what is in it.
type highState struct {
	last  uint64 // the sequence of the last pack
	holes uint64 // sequences of the log that are missing, and were missed before
}

func (h highState) octets() []byte {
	b := binary.LittleEndian.AppendUint64(nil, h.last)
	b = binary.LittleEndian.AppendUint64(b, h.holes)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// openHigh opens the file, and says what is in it; zero: nothing that can be read.
func openHigh(dir string) (*high, highState, error) {
	f, err := os.OpenFile(filepath.Join(dir, highFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, highState{}, err
	}
	b := make([]byte, 20)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, highState{}, err
	}
	s := highState{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
	if string(s.octets()) != string(b) {
		s = highState{}
	}
	return &high{f}, s, nil
}

// note writes how far the log has come. What cannot be written is missing when the log is cut off, and nothing else.
func (h *high) note(s highState) {
	if h != nil {
		_, _ = h.f.WriteAt(s.octets(), 0)
	}
}

func (h *high) close() {
	if h != nil {
		h.f.Close()
	}
}

// compare tells of what the log has lost since it was last open.
func (s *Store) compare(e *engine, is jetstream.StreamState) {
	h, was, err := openHigh(s.cfg.Directory)
	if err != nil {
		s.cfg.Logger.Warn().Str("fault", clip(err.Error())).Msg("a log that is cut off would not be seen")
		return
	}
	now := highState{last: is.LastSeq}
	if is.Msgs > 0 {
		now.holes = is.LastSeq + 1 - is.FirstSeq - min(is.Msgs, is.LastSeq+1-is.FirstSeq)
	}
	if was.last > now.last {
		s.cfg.Logger.Error().Uint64("commits", was.last-now.last).Str("directory", s.cfg.Directory).
			Msg("the end of the journal is missing: its last file was cut off; what was in it is lost, and what was removed since may come again")
	}
	if was.last > 0 && now.holes > was.holes {
		s.cfg.Logger.Error().Uint64("commits", now.holes-was.holes).Str("directory", s.cfg.Directory).
			Msg("a part of the journal is missing: one of its files was cut off or is gone; what was in it is lost")
	}
	h.note(now)
	e.high, e.holes = h, now.holes
}
