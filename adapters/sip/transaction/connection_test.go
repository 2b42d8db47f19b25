package transaction

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// A client that comes back from the same address and port, before its dead connection was noticed, is reached over the new one; and the
// end of the old one does not take the new one's place.
func TestConnectionInThePlaceOfADeadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t, nil, nil)
		s := &streamListener{layer: l.Layer, transport: resolver.TCP}
		to := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: theirs})
		var ends []net.Conn
		var both []*conn
		for range 2 {
			near, far := net.Pipe()
			ends = append(ends, far)
			l.pool.accept(&piped{Conn: near}, s)
			synctest.Wait()
			c, err := l.pool.get(t.Context(), to, "")
			if err != nil {
				t.Fatal(err)
			}
			both = append(both, c)
		}
		if both[0] == both[1] || !l.Leads(to, both[1].number) || l.Leads(to, both[0].number) {
			t.Error("the dead connection has kept its place")
		}
		ends[0].Close() //nolint:errcheck // a test
		time.Sleep(time.Second)
		if c, err := l.pool.get(t.Context(), to, ""); err != nil || c != both[1] || l.pool.inbound.Load() != 1 {
			t.Errorf("%v, %d connections", err, l.pool.inbound.Load())
		}
		l.stop()
		ends[1].Close() //nolint:errcheck // a test
	})
}
