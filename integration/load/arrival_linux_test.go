package load

import (
	"net"
	"testing"
	"time"
)

// The driver counts an answer's time from when it came, however late it is read itself.
func TestArrivalsAreStamped(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stampArrivals(conn)
	if _, err := conn.WriteTo([]byte("x"), conn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	control := make([]byte, stampRoom)
	_, n, _, _, err := conn.ReadMsgUDP(make([]byte, 1), control)
	if err != nil {
		t.Fatal(err)
	}
	if d := waited(control[:n], time.Now().Add(time.Hour)); d < time.Hour || d > 2*time.Hour {
		t.Errorf("a datagram that is read an hour late has waited for %v", d)
	}
	if d := waited(nil, time.Now()); d != 0 {
		t.Errorf("one without a stamp has waited for %v", d)
	}
}
