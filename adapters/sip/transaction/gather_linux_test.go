package transaction

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// together sends datagrams of size octets each, but the last, which may be shorter, so that they come together (UDP_SEGMENT of udp(7)).
func together(t *testing.T, conn *net.UDPConn, to netip.AddrPort, size int, list ...[]byte) {
	t.Helper()
	control := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(size))
	if _, _, err := conn.WriteMsgUDPAddrPort(slices.Concat(list...), control, to); err != nil {
		t.Fatal(err)
	}
}

// Datagrams that came together are read together, and are those that were sent: none is longer or shorter, none is lost, and those before and behind are alone. While the
// kernel drops by lot each comes alone, because its filter would look at the first one only.
func TestWhatCameTogetherIsReadApart(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			s := outSocket(t, net.JoinHostPort(address, "0"))
			from, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(address)})
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			batch, err := newPacketBatch(s.pc, s.local.Addr().Is4(), true)
			if err != nil {
				t.Fatal(err)
			}
			if !gather(batch.raw, true) {
				t.Fatal("the system cannot")
			}
			s.gathers.Store(true)
			var sent [][]byte
			for i := range 11 {
				sent = append(sent, bytes.Repeat([]byte{byte('a' + i)}, 300))
			}
			sent[10] = sent[10][:120]
			send := func() {
				for _, one := range []string{"before", "behind"} {
					if _, err := from.WriteToUDPAddrPort([]byte(one), s.local); err != nil {
						t.Fatal(err)
					}
					if one == "before" {
						together(t, from, s.local, 300, sent...)
					}
				}
			}
			read := func() (got [][]byte, most int) {
				s.pc.SetReadDeadline(time.Now().Add(40 * time.Second)) //nolint:errcheck // the read fails then
				err := batch.read(func(n int) bool {
					for i := range n {
						whole, _, _ := batch.datagram(i)
						count := 0
						for len(whole) > 0 {
							var one []byte
							one, whole = cut(whole, batch.each(i))
							got, count = append(got, bytes.Clone(one)), count+1
						}
						most = max(most, count)
					}
					if len(got) >= len(sent)+2 {
						s.pc.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // the read fails with it
					}
					return true
				})
				if len(got) < len(sent)+2 {
					t.Fatalf("%d datagrams, %v", len(got), err)
				}
				return got, most
			}
			want := slices.Concat([][]byte{[]byte("before")}, sent, [][]byte{[]byte("behind")})
			send()
			if got, most := read(); !slices.EqualFunc(got, want, bytes.Equal) || most != len(sent) {
				t.Errorf("%q, at most %d at a time", got, most)
			}
			v := newSieve(s)
			defer v.end()
			if err := v.replace(map[netip.Addr]uint32{netip.MustParseAddr(address): 0}, true); err != nil {
				t.Fatal(err)
			}
			v.timer.Stop() // it stays, however slow the test is
			send()
			if got, most := read(); !slices.EqualFunc(got, want, bytes.Equal) || most != 1 {
				t.Errorf("with a filter: %q, at most %d at a time", got, most)
			}
			if err := v.replace(nil, false); err != nil {
				t.Fatal(err)
			}
			send()
			if _, most := read(); most != len(sent) {
				t.Errorf("without a filter again: at most %d at a time", most)
			}
		})
	}
}

// However many come together, each request is handled once and answered.
func TestRequestsThatComeTogether(t *testing.T) {
	handled := make(chan string, 1000)
	l := startLayer(t, handlerFunc(func(req *wire.Message, _ Source, tx *ServerTx) {
		handled <- req.CallID()
		tx.Respond(200, "", RespondOptions{}) //nolint:errcheck // the test sees what comes
	}), nil)
	to := targetOf(t, l, resolver.UDP).Addr()
	from, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	const runs, each = 2, 40 // whose answers have room in the socket
	want := map[string]bool{}
	for i := range runs {
		var list [][]byte
		for j := range each {
			id := fmt.Sprintf("%02d%02d", i, j)
			list, want[id] = append(list, inRequest("MESSAGE", "z9hG4bK"+id, id, "")), true
		}
		together(t, from, to, len(list[0]), list...)
	}
	for range runs * each {
		select {
		case id := <-handled:
			if !want[id] {
				t.Errorf("%s: not sent, or twice", id)
			}
			delete(want, id)
		case <-time.After(40 * time.Second):
			t.Fatalf("%d of %d were not handled", len(want), runs*each)
		}
	}
	room := make([]byte, maxDatagram)
	for i := range runs * each {
		from.SetReadDeadline(time.Now().Add(40 * time.Second)) //nolint:errcheck // the read fails then
		n, err := from.Read(room)
		if err != nil || !bytes.HasPrefix(room[:n], []byte("SIP/2.0 200 ")) {
			t.Fatalf("answer %d: %q, %v", i, room[:n], err)
		}
	}
}
