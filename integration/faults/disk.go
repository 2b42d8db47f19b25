package faults

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
)

// disk is a virtual machine's, with a cache that forgets when the power fails: what was written is on it for certain when the machine has
// flushed it since (a sync ends in a flush), and of everything else a part is there, in pieces as a disk writes them. The machine reaches it
// by NBD (the Network Block Device protocol of github.com/NetworkBlockDevice/nbd, doc/proto.md: fixed newstyle, simple replies), as one of
// QEMU's drivers.
type disk struct {
	mu sync.Mutex
	// seen is what the machine reads, safe what would be left without power; unflushed is what the first has and the second has not.
	seen, safe *os.File
	unflushed  []unflushed
	broken     bool // it refuses every write

	flushes int
}

// unflushed is a write.
type unflushed struct {
	at     int64
	octets []byte
}

const (
	diskSize = 128 << 20
	// diskPiece is what a disk writes as a whole or not at all.
	diskPiece = 4096
	// maxTransfer is the largest request that is taken: what QEMU asks for at most.
	maxTransfer = 32 << 20
)

// newDisk makes one of two files; they hold the same, a file system.
func newDisk(name string, mkfs func(name string) error) (d *disk, err error) {
	d = &disk{}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	for _, f := range [...]struct {
		to   **os.File
		name string
	}{{&d.seen, name}, {&d.safe, name + ".safe"}} {
		if *f.to, err = os.OpenFile(f.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return nil, err
		}
		if err := (*f.to).Truncate(diskSize); err != nil {
			return nil, err
		}
	}
	if err := mkfs(name); err != nil {
		return nil, err
	}
	return d, equal(d.safe, d.seen)
}

// close forgets it.
func (d *disk) close() {
	for _, f := range [...]*os.File{d.seen, d.safe} {
		if f != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}
}

// equal makes to the same as from, and leaves holes where both are empty.
func equal(to, from *os.File) error {
	was, is := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); at < diskSize; at += int64(len(is)) {
		if _, err := from.ReadAt(is, at); err != nil {
			return err
		}
		if _, err := to.ReadAt(was, at); err != nil {
			return err
		}
		if string(was) == string(is) {
			continue
		}
		if _, err := to.WriteAt(is, at); err != nil {
			return err
		}
	}
	return nil
}

// errDisk is what a disk says that refuses writes.
var errDisk = errors.New("the disk refuses")

// refuse has it refuse every write and every flush from now on, or none any more.
func (d *disk) refuse(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = yes
}

// write takes octets into the cache.
func (d *disk) write(at int64, octets []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return errDisk
	}
	d.unflushed = append(d.unflushed, unflushed{at, octets})
	_, err := d.seen.WriteAt(octets, at)
	return err
}

// flush writes the cache down.
func (d *disk) flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return errDisk
	}
	for _, w := range d.unflushed {
		if _, err := d.safe.WriteAt(w.octets, w.at); err != nil {
			return err
		}
	}
	d.unflushed = nil
	d.flushes++
	return nil
}

// powerFails forgets the cache, but for the pieces of it that happened to be written. It returns how many octets it had, and how many of them
// are lost. Nobody may use the disk meanwhile.
func (d *disk) powerFails(r *rand.Rand) (had, lost int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.unflushed {
		for len(w.octets) > 0 {
			n := min(diskPiece-int(w.at%diskPiece), len(w.octets))
			if r.IntN(2) == 0 {
				lost += n
			} else if _, err := d.safe.WriteAt(w.octets[:n], w.at); err != nil {
				return had, lost, err
			}
			had += n
			w.at, w.octets = w.at+int64(n), w.octets[n:]
		}
	}
	d.unflushed = nil
	return had, lost, equal(d.seen, d.safe)
}

// What NBD calls things.
const (
	nbdMagic        = 0x4e42444d41474943 // "NBDMAGIC"
	nbdOption       = 0x49484156454f5054 // "IHAVEOPT"
	nbdOptionReply  = 0x3e889045565a9
	nbdRequest      = 0x25609513
	nbdReply        = 0x67446698
	nbdNewStyle     = 1 << 0 // of the handshake
	nbdOptionAbort  = 2
	nbdOptionGo     = 7
	nbdAcknowledged = 1
	nbdInformation  = 3
	nbdUnsupported  = 1<<31 | 1
	nbdHasFlags     = 1 << 0 // of the disk
	nbdSendFlush    = 1 << 2
	nbdRead         = 0
	nbdWrite        = 1
	nbdDisconnect   = 2
	nbdFlush        = 3
	nbdInvalid      = 22 // EINVAL
	nbdFailed       = 5  // EIO
)

// serve serves it to one machine, until that is gone.
func (d *disk) serve(c io.ReadWriter) error {
	in, out := bufio.NewReaderSize(c, 1<<20), bufio.NewWriterSize(c, 1<<20)
	if err := greet(in, out); err != nil {
		return err
	}
	for {
		var head struct {
			Magic       uint32
			Flags, Type uint16
			Cookie, At  uint64
			Length      uint32
		}
		if err := binary.Read(in, binary.BigEndian, &head); err != nil {
			return err
		}
		if head.Magic != nbdRequest || head.Length > maxTransfer {
			return fmt.Errorf("NBD: a request of magic %x and length %d", head.Magic, head.Length)
		}
		var data []byte
		failed := uint32(0)
		outside := head.At > diskSize || head.At+uint64(head.Length) > diskSize
		switch head.Type {
		case nbdRead:
			data = make([]byte, head.Length)
			if outside {
				failed, data = nbdInvalid, nil
			} else if _, err := d.seen.ReadAt(data, int64(head.At)); err != nil {
				failed, data = nbdFailed, nil
			}
		case nbdWrite:
			octets := make([]byte, head.Length)
			if _, err := io.ReadFull(in, octets); err != nil {
				return err
			}
			if outside {
				failed = nbdInvalid
			} else if d.write(int64(head.At), octets) != nil {
				failed = nbdFailed
			}
		case nbdFlush:
			if d.flush() != nil {
				failed = nbdFailed
			}
		case nbdDisconnect:
			return nil
		default:
			failed = nbdInvalid
		}
		if err := binary.Write(out, binary.BigEndian, struct {
			Magic, Error uint32
			Cookie       uint64
		}{nbdReply, failed, head.Cookie}); err != nil {
			return err
		}
		if _, err := out.Write(data); err != nil {
			return err
		}
		if in.Buffered() > 0 {
			continue // it is answered together with the next
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

// greet is the handshake.
func greet(in io.Reader, out *bufio.Writer) error {
	send := func(values ...any) error {
		for _, v := range values {
			if err := binary.Write(out, binary.BigEndian, v); err != nil {
				return err
			}
		}
		return out.Flush()
	}
	if err := send(uint64(nbdMagic), uint64(nbdOption), uint16(nbdNewStyle)); err != nil {
		return err
	}
	var flags uint32
	if err := binary.Read(in, binary.BigEndian, &flags); err != nil {
		return err
	}
	for {
		var o struct {
			Magic          uint64
			Option, Length uint32
		}
		if err := binary.Read(in, binary.BigEndian, &o); err != nil {
			return err
		}
		if o.Magic != nbdOption || o.Length > 64<<10 {
			return fmt.Errorf("NBD: an option of magic %x and length %d", o.Magic, o.Length)
		}
		if _, err := io.CopyN(io.Discard, in, int64(o.Length)); err != nil {
			return err
		}
		reply := func(kind uint32, data ...any) error {
			size := 0
			for _, d := range data {
				size += binary.Size(d)
			}
			return send(append([]any{uint64(nbdOptionReply), o.Option, kind, uint32(size)}, data...)...)
		}
		switch o.Option {
		case nbdOptionGo:
			// NBD_INFO_EXPORT: its number, the size, the flags.
			if err := reply(nbdInformation, uint16(0), uint64(diskSize), uint16(nbdHasFlags|nbdSendFlush)); err != nil {
				return err
			}
			return reply(nbdAcknowledged)
		case nbdOptionAbort:
			return errors.Join(reply(nbdAcknowledged), io.EOF)
		default:
			if err := reply(nbdUnsupported); err != nil {
				return err
			}
		}
	}
}
