package sip

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// reloaded is the configuration of start, changed.
func reloaded(change func(*Config)) Config {
	c := Config{
		Listeners: []transaction.Listener{{Transport: resolver.UDP, Address: "127.0.0.1:0"}, {Transport: resolver.TCP, Address: "127.0.0.1:0"}},
		Peers:     []Peer{loopback}, Limits: Limits{NotifyInterval: time.Millisecond},
	}
	change(&c)
	return c
}

func (c *core) taken(t *testing.T) {
	t.Helper()
	next(t, c.messages, "message")
}

// T-FI-22: who may send is judged by what holds when a request comes, on connections that are up too; a configuration that is wrong, or was not
// committed, changes nothing.
func TestT_FI_22_PeersChange(t *testing.T) {
	a, c := start(t, nil)
	g := tcpAgent(t, a)
	say := func(tag string, want int) {
		t.Helper()
		if m := g.ask(tagged(hello, tag)); m.StatusCode() != want {
			t.Errorf("%s: %d %s", tag, m.StatusCode(), m.ReasonPhrase())
		}
		if want == 202 {
			c.taken(t)
		}
	}
	say("before", 202)
	if _, err := a.Prepare(t.Context(), reloaded(func(c *Config) { c.Peers = append(c.Peers, loopback) })); err == nil {
		t.Error("two peers of a name were taken")
	}
	other := reloaded(func(c *Config) {
		c.Peers = []Peer{{Name: "trunk", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Domains: []string{"example.org"}}}
	})
	change, err := a.Prepare(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	say("prepared", 202)
	change.Discard()
	say("discarded", 202)
	if change, err = a.Prepare(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	change.Commit()
	say("committed", 403)
	if change, err = a.Prepare(t.Context(), reloaded(func(*Config) {})); err != nil {
		t.Fatal(err)
	}
	change.Commit()
	say("back", 202)
}

// T-FI-22: listeners come and go; connections of one that has gone stay, and what was sent to its UDP socket is answered.
func TestT_FI_22_ListenersChange(t *testing.T) {
	a, c := start(t, func(c *Config) { c.Listeners[1].Address = porttest.Address(t) }) // it is looked at when it has gone
	stays, datagrams := tcpAgent(t, a), udpAgent(t, a)
	var old netip.AddrPort
	for _, b := range a.Addrs() {
		if b.Transport == resolver.TCP {
			old = b.Address
		}
	}
	if m := stays.ask(tagged(hello, "before")); m.StatusCode() != 202 {
		t.Fatal(m.StatusCode())
	}
	c.taken(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := a.Prepare(t.Context(), reloaded(func(c *Config) {
		c.Listeners = append(c.Listeners, transaction.Listener{Transport: resolver.TCP, Address: taken.Addr().String()})
	})); err == nil {
		t.Error("an address in use was taken")
	}
	change, err := a.Prepare(t.Context(), reloaded(func(c *Config) {
		c.Listeners = []transaction.Listener{{Transport: resolver.UDP, Address: "127.0.0.2:0"}, {Transport: resolver.TCP, Address: "127.0.0.2:0"}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	if b := a.Addrs(); len(b) != 2 || b[1].Address.Addr() != netip.MustParseAddr("127.0.0.2") {
		t.Fatalf("%v", b)
	}
	for name, g := range map[string]*agent{"the connection that was there": stays, "the socket that has gone": datagrams, "the new one": tcpAgent(t, a)} {
		if m := g.ask(tagged(hello, itoa(int64(len(name))))); m.StatusCode() != 202 {
			t.Errorf("%s: %d %s", name, m.StatusCode(), m.ReasonPhrase())
		}
		c.taken(t)
	}
	if conn, err := net.Dial("tcp", old.String()); err == nil {
		conn.Close()
		t.Error("the listener that has gone takes connections")
	}
}

// T-FI-22: a UDP listener that was taken out by mistake is back with the next reload, though its socket still answers for what came before; a change
// that is discarded leaves it as it was.
func TestT_FI_22_AListenerComesBack(t *testing.T) {
	address := porttest.Address(t)
	a, c := start(t, nil)
	prepare := func(with bool) adapters.Change {
		t.Helper()
		change, err := a.Prepare(t.Context(), reloaded(func(c *Config) {
			if with {
				c.Listeners = append([]transaction.Listener{{Transport: resolver.UDP, Address: address}}, c.Listeners...)
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		return change
	}
	prepare(true).Commit()
	g := udpAgent(t, a)
	for i, step := range []func(){
		func() {}, prepare(false).Discard, func() { prepare(false).Commit() }, func() { prepare(true).Discard() }, func() { prepare(true).Commit() }, func() { prepare(true).Commit() },
	} {
		step()
		if m := g.ask(tagged(hello, itoa(int64(i)))); m.StatusCode() != 202 {
			t.Errorf("step %d: %d %s", i, m.StatusCode(), m.ReasonPhrase())
		}
		c.taken(t)
	}
	if b := a.Addrs(); b[0].Address.String() != address {
		t.Errorf("%v", b)
	}
}

// T-FI-22: a watcher whose password was taken out of the configuration is told nothing any more, neither by the gateway that reloads nor by one that
// is started with the new configuration: nobody could prove to be that watcher. Those who are still there keep their watches.
func TestT_FI_22_AUserIsTakenOut(t *testing.T) {
	a, c := start(t, provenPeer(nil))
	g := udpAgent(t, a)
	for i, name := range []string{"romeo", "tybalt"} {
		text := strings.ReplaceAll(strings.Replace(subscribeText, "sip:romeo@", "sip:"+name+"@", 1), "Call-ID: ", "Call-ID: "+name)
		m := g.ask(text)
		if m.StatusCode() != 401 {
			t.Fatalf("%d %s", m.StatusCode(), m.ReasonPhrase())
		}
		password := []string{"rosaline", "cats"}[i]
		if m = g.ask(authorized(t, strings.Replace(text, ";tag=", ";tag=2", 1), challenges(t, m)[0], name, password, "sip:juliet@example.com", 1, "SUBSCRIBE")); m.StatusCode() != 200 && m.StatusCode() != 202 {
			t.Fatalf("%d %s", m.StatusCode(), m.ReasonPhrase())
		}
		next(t, c.watches, "watch")
	}
	kept := a.notifiers.watched("romeo").d
	without := reloaded(func(c *Config) {
		provenPeer(func(p *Peer) { p.Users = p.Users[1:] })(c)
	})
	change, err := a.Prepare(t.Context(), without)
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	if a.notifiers.watched("romeo") != nil || a.notifiers.watched("tybalt") == nil {
		t.Fatalf("romeo still watches: %v, tybalt does: %v", a.notifiers.watched("romeo") != nil, a.notifiers.watched("tybalt") != nil)
	}
	if op := next(t, c.watches, "end of the watch"); op.Verb != adapters.WatchClose || op.Watch.Watcher.Local() != "romeo" {
		t.Errorf("the core was told %+v", op)
	}
	if _, err := a.resumeNotifier(kept); err == nil {
		t.Error("the watch is gone on with after a restart")
	}
}

// watched is the watch of a user of that name, or nil.
func (t *notifiers) watched(name string) *notifying {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.byTag {
		if n.d.Watcher.Local() == name {
			return n
		}
	}
	return nil
}
