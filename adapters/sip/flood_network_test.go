package sip

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// T-OV-03, THREATS S12: a flood of requests from strangers, each with a source, a branch and a Call-ID of its own (CVE-2021-41145), holds no
// memory, and who may send is served while it goes on.
func TestT_OV_03_AFloodOfStrangers(t *testing.T) {
	const flood, sources = 120_000, 4
	a, c := start(t, func(cfg *Config) {
		cfg.Peers = []Peer{{Name: "trunk", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Domains: []string{"example.net"}}}
		cfg.Logger = zerolog.Nop()
	})
	c.answer(adapters.Accepted())
	g := tcpAgent(t, a) // the kernel drops datagrams of everybody when the socket's queue is full
	held := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapInuse + m.StackInuse)
	}
	served := func(n int) {
		t.Helper()
		m := g.ask(strings.NewReplacer("TAG", fmt.Sprint("t", n), "9E97FB43", fmt.Sprint("c", n)).Replace(hello))
		if m.StatusCode() != 202 {
			t.Fatalf("request %d of the peer: %d %s", n, m.StatusCode(), m.ReasonPhrase())
		}
		next(t, c.messages, "message")
	}
	served(0)
	before := held()
	var floods sync.WaitGroup
	var enough atomic.Bool // of the peer's requests were answered
	for i := range sources {
		u, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, byte(2+i))}, net.UDPAddrFromAddrPort(a.Addrs()[0].Address))
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		floods.Go(func() {
			for n := 0; n < flood/sources || !enough.Load(); n++ {
				_, err := fmt.Fprintf(u, "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.%d;branch=z9hG4bK%d-%d\r\nMax-Forwards: 70\r\n"+
					"From: <sip:x%d@example.net>;tag=%d\r\nTo: <sip:juliet@example.com>\r\nCall-ID: %d-%d@example.net\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n", 2+i, i, n, n, n, i, n)
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		floods.Wait()
		close(done)
	}()
	n := 1
	for going := true; going; n++ {
		select {
		case <-done:
			going = false
		default:
		}
		served(n)
		enough.Store(n >= 10)
	}
	if grown := held() - before; grown > 64<<20 {
		t.Errorf("%d octets more are held after %d requests of strangers", grown, flood)
	}
	t.Logf("%d requests of the peer were answered during the flood", n)
}
