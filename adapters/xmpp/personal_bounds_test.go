package xmpp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
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
	if v := c.pairs[pair(1)]; len(v.devices) != maxPersonalDevices || c.waits != maxPersonalDevices+5 {
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

// TestANewDeviceTakesThePlaceOfTheOldest: devices that left without a word do not keep their user from being told on the next one; the device that was
// heard of longest ago goes.
func TestANewDeviceTakesThePlaceOfTheOldest(t *testing.T) {
	c, h := newPersonal(), capsHash{"sha-1", "1"}
	p := talkers{ours: cpim.MustParseAddress("pres:romeo@example.net"), theirs: cpim.MustParseAddress("pres:juliet@example.com")}
	c.get(p, true).told[eventMood] = []byte("<mood/>")
	come := func(resource string) (told int) {
		_, told = c.present(nil, &stanza.Stanza{
			Kind: stanza.Presence, To: jid.MustParse("romeo@example.net"), From: jid.MustParse("juliet@example.com/" + resource),
			Caps: stanza.Caps{Hash: "sha-1", Node: "n", Ver: "1"},
		}, p, h, wants{true, true}, true)
		return told
	}
	for i := range maxPersonalDevices {
		come(fmt.Sprint(i))
	}
	if come("0") != 0 {
		t.Error("a device is told twice")
	}
	if come("balcony") != 1 {
		t.Error("a further device is told nothing")
	}
	v := c.pairs[p]
	if len(v.devices) != maxPersonalDevices {
		t.Errorf("%d devices", len(v.devices))
	}
	for _, d := range v.devices {
		if d.resource == "1" {
			t.Error("the one that was heard of longest ago is kept")
		}
	}
	if come("0") != 0 {
		t.Error("one that spoke again has gone")
	}
}

// fakeAudience knows which watches there are, and whether anything may be told.
type fakeAudience struct {
	watched func(adapters.WatchID) bool
	blocked bool
}

func (f *fakeAudience) Watched(id adapters.WatchID) bool { return f.watched(id) }
func (f *fakeAudience) Shared(adapters.WatchID) bool     { return !f.blocked }

// TestStrangersDoNotTakeThePlaceOfThoseWhoAreWatched: what made-up users say, and their devices, take a part of their own of what is kept.
func TestStrangersDoNotTakeThePlaceOfThoseWhoAreWatched(t *testing.T) {
	c, romeo := newPersonal(), cpim.MustParseAddress("pres:romeo@example.net")
	friend := func(n int) cpim.Address { return cpim.MustParseAddress(fmt.Sprintf("pres:friend%d@example.com", n)) }
	c.audience = &fakeAudience{watched: func(id adapters.WatchID) bool {
		return strings.HasPrefix(id.Presentity.Local(), "friend") || strings.HasPrefix(id.Watcher.Local(), "friend")
	}}
	mood := &stanza.PersonalEvent{Node: stanza.SpaceMood, Mood: &pidf.Mood{Values: []pidf.Feeling{pidf.FeelingSad}}}
	const friends = 100
	for n := range friends {
		c.said(talkers{ours: romeo, theirs: friend(n)}, mood)
	}
	from := func(who string) *stanza.Stanza {
		return &stanza.Stanza{
			Kind: stanza.Presence, To: jid.MustParse("romeo@example.net"), From: jid.MustParse(who), Caps: stanza.Caps{Hash: "sha-1", Node: "n", Ver: "1"},
		}
	}
	for n := range maxPersonal + 1000 {
		who := fmt.Sprintf("u%d@example.org", n)
		p := talkers{ours: romeo, theirs: cpim.MustParseAddress("pres:" + who)}
		if n%2 == 0 {
			c.said(p, mood)
		} else {
			c.present(nil, from(who+"/a"), p, capsHash{"sha-1", "1"}, wants{true, true}, true)
		}
	}
	if len(c.pairs) != friends || len(c.strangers) != maxStrangers {
		t.Errorf("%d pairs and %d strangers are kept", len(c.pairs), len(c.strangers))
	}
	// Who comes to be watched is none any more, with what is known.
	for p := range c.strangers {
		c.audience = nil
		devices := len(c.strangers[p].devices)
		c.said(p, mood)
		if v := c.pairs[p]; v == nil || c.strangers[p] != nil || len(v.devices) != devices {
			t.Errorf("a stranger who is watched now: %+v", v)
		}
		break
	}
}

// TestBlockedDevicesAreToldNothing: what was told of a user before its watcher was blocked is not told again to a device that comes after that, nor to one
// whose capabilities come to be known after that; and when it is allowed again, it is told.
func TestBlockedDevicesAreToldNothing(t *testing.T) {
	now := &fakeAudience{watched: func(adapters.WatchID) bool { return true }}
	c, h := newPersonal(), capsHash{"sha-1", "1"}
	c.audience = now
	op := &adapters.NotifyOp{
		Watch: adapters.WatchID{Watcher: cpim.MustParseAddress("pres:juliet@example.com"), Presentity: cpim.MustParseAddress("pres:romeo@example.net")},
		State: adapters.WatchActive, Whole: true,
		Presence: &pidf.Presence{Entity: pidf.MustParseURI("pres:romeo@example.net"), Persons: []pidf.Person{{
			ID: pidf.MustParseID("p"), Rich: &pidf.Rich{Moods: []pidf.Mood{{Values: []pidf.Feeling{pidf.FeelingSad}}}},
		}}},
	}
	c.tell(nil, op, time.Now())
	p := talkers{ours: op.Watch.Presentity, theirs: op.Watch.Watcher}
	come := func(resource string, known bool) int {
		s := &stanza.Stanza{
			Kind: stanza.Presence, To: jid.MustParse("romeo@example.net"), From: jid.MustParse("juliet@example.com/" + resource),
			Caps: stanza.Caps{Hash: "sha-1", Node: "n", Ver: "1"},
		}
		_, n := c.present(nil, s, p, h, wants{true, true}, known)
		return n
	}
	if come("before", true) != 1 {
		t.Error("a device that may be told is not")
	}
	now.blocked = true
	if come("after", true) != 0 {
		t.Error("a device is told of a user who blocked its own")
	}
	come("later", false)
	c.learnt(h, wants{true, true}) // would enqueue on a nil path
	now.blocked = false
	if _, n := c.tell(nil, op, time.Now()); n != 6 { // the mood, and that there is no activity
		t.Errorf("allowed again, %d devices are told", n)
	}
	if _, n := c.tell(nil, op, time.Now()); n != 0 {
		t.Errorf("told again to %d", n)
	}
}
