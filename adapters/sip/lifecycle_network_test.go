package sip

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/resolver"
)

func TestNextHop(t *testing.T) {
	a, _ := start(t, nil)
	far := resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.SIP, Transport: resolver.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:5060")})
	for _, x := range []struct {
		name string
		d    Dialog
		want string
	}{
		{"the remote target", Dialog{RemoteTarget: "sip:r@127.0.0.9:5070"}, "udp 127.0.0.9:5070, tcp 192.0.2.1:5060"},
		{"with a transport", Dialog{RemoteTarget: "sip:r@127.0.0.9;transport=TCP"}, "tcp 127.0.0.9:5060, tcp 192.0.2.1:5060"},
		{"the topmost Route", Dialog{RemoteTarget: "sip:r@127.0.0.9", RouteSet: []string{"<sip:127.0.0.8;lr>"}}, "udp 127.0.0.8:5060, tcp 192.0.2.1:5060"},
		{"a name", Dialog{RemoteTarget: "sip:r@localhost"}, "tcp 192.0.2.1:5060"},
		{"an address that is not the peer's", Dialog{RemoteTarget: "sip:r@10.0.0.1"}, "tcp 192.0.2.1:5060"},
		{"a transport that we do not serve", Dialog{RemoteTarget: "sip:r@127.0.0.1;transport=sctp"}, "tcp 192.0.2.1:5060"},
	} {
		peer := loopback
		var got []string
		for _, h := range a.dialogHops(&x.d, &peer, []resolver.Target{far}) {
			got = append(got, h.Transport().String()+" "+h.Addr().String())
		}
		if s := strings.Join(got, ", "); s != x.want {
			t.Errorf("%s: %s, want %s", x.name, s, x.want)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"a peer without a name":    func(c *Config) { c.Peers[0].Name = "" },
		"a peer without a network": func(c *Config) { c.Peers[0].Networks = nil },
		"a peer without a domain":  func(c *Config) { c.Peers[0].Domains = nil },
		"a domain that is none":    func(c *Config) { c.Peers[0].Domains = []string{"a..b"} },
		"two peers of one name":    func(c *Config) { c.Peers = append(c.Peers, c.Peers[0]) },
		"a negative limit":         func(c *Config) { c.Limits.Watches = -1 },
		"MinExpires over an hour":  func(c *Config) { c.Limits.MinExpires = 2 * time.Hour },
		"MaxExpires too short":     func(c *Config) { c.Limits.MaxExpires = time.Second },
	} {
		cfg := Config{Peers: []Peer{loopback}}
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestShutdownLeavesNothing(t *testing.T) {
	a, c := start(t, nil)
	g := udpAgent(t, a)
	seen := map[string]bool{}
	establish(t, g, c, seen)
	open(t, a, c, g, seen, "600")
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := a.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Shutdown(ctx); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if s := a.Message(ctx, []resolver.Target{g.hop()}, outgoing(nil)); s.Outcome != adapters.Failure {
		t.Errorf("%+v after Shutdown", s)
	}
	if s := a.Watch(ctx, []resolver.Target{g.hop()}, &adapters.WatchOp{Verb: adapters.WatchFetch, Watch: julietsWatch}); s.Outcome != adapters.Failure {
		t.Errorf("%+v after Shutdown", s)
	}
	a.spawn(func(context.Context) { t.Error("work was begun after Shutdown") })
	for _, n := range a.notifiers.all() {
		n.ring()
	}
	for _, s := range a.subscribers.all() {
		s.ring()
	}
	if n := len(c.notices); n > 0 {
		t.Errorf("the core was told %d things after Shutdown", n)
	}
}
