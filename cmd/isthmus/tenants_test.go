package main

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
)

// T-OV-07: ten thousand domains, each a tenant of its own, are less than 20 kB each while they are idle, and no number is compiled in.
func TestT_OV_07_TenThousandTenants(t *testing.T) {
	const tenants = 10_000
	var text strings.Builder
	text.WriteString("sip:\n  listeners: [{transport: udp, address: '127.0.0.1:5060'}]\n  peers:\n")
	for i := range tenants {
		fmt.Fprintf(&text, "    - {name: p%d, networks: [10.%d.%d.%d/32], domains: [d%d.example.net]}\n", i, i>>16&255, i>>8&255, i&255, i)
	}
	text.WriteString("routes:\n")
	for i := range tenants {
		fmt.Fprintf(&text, "  - {domain: d%d.example.net, via: sip, next_hops: ['sip:10.%d.%d.%d:5060;transport=udp']}\n", i, i>>16&255, i>>8&255, i&255)
	}
	text.WriteString("policy:\n  tenants:\n")
	for i := range tenants {
		fmt.Fprintf(&text, "    - {name: t%d, domains: [d%d.example.net], messages: 100, rate: 100}\n", i, i)
	}
	held := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := held()
	cfg, err := configs.Parse("f", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	a, err := assemble(cfg, surroundings{logger: zerolog.Nop(), registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	each := (held() - before) / tenants
	runtime.KeepAlive(a)
	runtime.KeepAlive(cfg)
	t.Logf("%d octets a tenant", each)
	if each > 20_000 {
		t.Errorf("%d octets a tenant", each)
	}
	if err := a.close(); err != nil {
		t.Error(err)
	}
}
