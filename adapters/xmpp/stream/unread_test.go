package stream

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// What a peer sends and nobody reads stays with the peer: the system holds a few hundred kilobytes of it.
func TestUnreadStaysWithWhoSends(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	far, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	boundUnread(near)
	// The system gives a connection more room the faster it is read.
	const read = 64 << 20
	go io.CopyN(far, zeros{}, read) //nolint:errcheck // who reads it sees what comes
	if _, err := io.CopyN(io.Discard, near, read); err != nil {
		t.Fatal(err)
	}
	const own = 64 << 10
	if err := far.(*net.TCPConn).SetWriteBuffer(own); err != nil {
		t.Fatal(err)
	}
	far.SetWriteDeadline(time.Now().Add(time.Second)) //nolint:errcheck // then the test shows it
	taken := 0
	for piece := bytes.Repeat([]byte("<message/>"), 1000); ; {
		n, err := far.Write(piece)
		if taken += n; err != nil {
			break
		}
		if taken > 4<<20 {
			t.Fatalf("more than %d octets are taken and not read", taken)
		}
	}
	const most = 1 << 20 // systems count what they hold in ways of their own
	if taken > most {
		t.Errorf("%d octets are taken and not read, want at most %d", taken, most)
	}
}

// zeros is a reader that never ends.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
