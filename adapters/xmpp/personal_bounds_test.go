package xmpp

import (
	"fmt"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// TestPersonalBounds: what strangers' devices and users can make the adapter keep of them is bounded, and goes when they go.
func TestPersonalBounds(t *testing.T) {
	c := newPersonal()
	pair := func(n int) talkers {
		return talkers{ours: cpim.MustParseAddress("pres:romeo@example.net"), theirs: cpim.MustParseAddress(fmt.Sprintf("pres:u%d@example.com", n))}
	}
	presence := func(n int, resource, kind string) *stanza.Stanza {
		return &stanza.Stanza{
			Kind: stanza.Presence, Type: kind, To: jid.MustParse("romeo@example.net"), From: jid.MustParse(fmt.Sprintf("u%d@example.com/%s", n, resource)),
			Caps: stanza.Caps{Hash: "sha-1", Node: "n", Ver: fmt.Sprint(n)},
		}
	}
	all := wants{true, true}
	for n := range maxPersonal + 10 {
		c.present(nil, presence(n, "a", ""), pair(n), capsHash{"sha-1", fmt.Sprint(n)}, wants{}, false)
	}
	if len(c.pairs) > maxPersonal || c.waits > maxWaiting || len(c.waiting) > maxWaiting {
		t.Errorf("%d pairs, %d waiting", len(c.pairs), c.waits)
	}
	c = newPersonal()
	h := capsHash{"sha-1", "1"}
	for i := range maxPersonalDevices + 5 {
		for range 3 {
			c.present(nil, presence(1, fmt.Sprint(i), ""), pair(1), h, wants{}, false)
		}
	}
	if v := c.pairs[pair(1)]; len(v.devices) != maxPersonalDevices || c.waits != maxPersonalDevices {
		t.Errorf("%d devices, %d waiting", len(v.devices), c.waits)
	}
	c.learnt(h, wants{})
	if len(c.pairs) != 0 || c.waits != 0 {
		t.Errorf("devices that want nothing are kept: %d pairs, %d waiting", len(c.pairs), c.waits)
	}
	// A device whose client is replaced by one that wants nothing, and devices that leave.
	c.present(nil, presence(1, "a", ""), pair(1), h, all, true)
	c.present(nil, presence(1, "b", ""), pair(1), h, all, true)
	c.present(nil, presence(1, "a", ""), pair(1), capsHash{"sha-1", "2"}, wants{}, true)
	if v := c.pairs[pair(1)]; len(v.devices) != 1 || v.devices[0].resource != "b" {
		t.Errorf("%+v", v)
	}
	c.present(nil, presence(1, "b", "unavailable"), pair(1), capsHash{}, wants{}, false)
	if len(c.pairs) != 0 {
		t.Errorf("%d pairs are kept", len(c.pairs))
	}
}
