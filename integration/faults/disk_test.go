package faults

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
)

// nbdClient speaks to a disk as QEMU does.
type nbdClient struct {
	t    *testing.T
	conn net.Conn
}

func (c nbdClient) send(values ...any) {
	c.t.Helper()
	for _, v := range values {
		if err := binary.Write(c.conn, binary.BigEndian, v); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c nbdClient) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c.conn, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

// ask sends a request and returns the error of its answer.
func (c nbdClient) ask(kind uint16, at uint64, length int, data []byte) uint32 {
	c.t.Helper()
	c.send(uint32(nbdRequest), uint16(0), kind, uint64(7), at, uint32(length))
	if len(data) > 0 { // a pipe waits for somebody who reads nothing
		c.send(data)
	}
	head := c.read(16)
	if binary.BigEndian.Uint32(head) != nbdReply || binary.BigEndian.Uint64(head[8:]) != 7 {
		c.t.Fatalf("%x", head)
	}
	return binary.BigEndian.Uint32(head[4:])
}

func blankDisk(t *testing.T) *disk {
	t.Helper()
	d, err := newDisk(filepath.Join(t.TempDir(), "disk"), func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

// T-FI-02: the disk of the virtual machine keeps what was flushed, and of what was not it loses a part.
func TestT_FI_02_ADiskKeepsWhatWasFlushed(t *testing.T) {
	d := blankDisk(t)
	near, far := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- d.serve(far) }()
	c := nbdClient{t, near}
	if got := c.read(18); binary.BigEndian.Uint64(got) != nbdMagic {
		t.Fatalf("%x", got)
	}
	c.send(uint32(1), uint64(nbdOption), uint32(8), uint32(0)) // structured replies, which it has not
	if got := c.read(20); binary.BigEndian.Uint32(got[12:]) != nbdUnsupported {
		t.Fatalf("%x", got)
	}
	c.send(uint64(nbdOption), uint32(nbdOptionGo), uint32(6), uint32(0), uint16(0))
	if got := c.read(32); binary.BigEndian.Uint64(got[22:]) != diskSize {
		t.Fatalf("%x", got)
	}
	if got := c.read(20); binary.BigEndian.Uint32(got[12:]) != nbdAcknowledged {
		t.Fatalf("%x", got)
	}
	old, fresh := bytes.Repeat([]byte{1}, 1<<20), bytes.Repeat([]byte{2}, 1<<20)
	for _, write := range []struct {
		octets []byte
		flush  bool
	}{{old, true}, {fresh, false}} {
		if e := c.ask(nbdWrite, 4096, len(write.octets), write.octets); e != 0 {
			t.Fatal(e)
		}
		if write.flush {
			if e := c.ask(nbdFlush, 0, 0, nil); e != 0 {
				t.Fatal(e)
			}
		}
	}
	read := func() []byte {
		t.Helper()
		if e := c.ask(nbdRead, 4096, len(old), nil); e != 0 {
			t.Fatal(e)
		}
		return c.read(len(old))
	}
	if !bytes.Equal(read(), fresh) {
		t.Error("what was written is not read")
	}
	had, lost, err := d.powerFails(rand.New(rand.NewPCG(1, 1)))
	if err != nil || had != len(fresh) || lost == 0 || lost == had {
		t.Errorf("%d of %d octets are lost, %v", lost, had, err)
	}
	got := read()
	if n := bytes.Count(got, []byte{1}); n != lost || n+bytes.Count(got, []byte{2}) != len(got) {
		t.Errorf("%d octets are the old ones, %d are lost", n, lost)
	}
	d.refuse(true)
	if c.ask(nbdWrite, 0, 512, make([]byte, 512)) != nbdFailed || c.ask(nbdFlush, 0, 0, nil) != nbdFailed {
		t.Error("a disk that refuses takes something")
	}
	if !bytes.Equal(read(), got) {
		t.Error("a write that was refused is read")
	}
	if e := c.ask(nbdRead, diskSize-1, 2, nil); e != nbdInvalid {
		t.Errorf("behind its end: %d", e)
	}
	c.send(uint32(nbdRequest), uint16(0), uint16(nbdDisconnect), uint64(1), uint64(0), uint32(0))
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
