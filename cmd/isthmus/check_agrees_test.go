package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// randomPolicy is a configuration of a few domains, with peers, routes, rules, tenants and blocked parties as chance has them. What it names may be
// refused by configs.Load.
func randomPolicy(r *rand.Rand, folder string) string {
	domains := []string{"a.example", "b.example", "c.a.example", "xn--bcher-kva.example", "e.example"}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var ours, routes []string
	for i, d := range domains {
		switch {
		case i < 2 && i == 0 || i > 1 && r.IntN(2) == 0:
			ours = append(ours, d)
			routes = append(routes, fmt.Sprintf(`{domain: %s, via: sip, next_hops: ["sip:127.0.0.1:5070;transport=udp"]}`, d))
		case i == 1 || r.IntN(3) > 0:
			routes = append(routes, fmt.Sprintf("{domain: %s, via: xmpp}", d))
		}
	}
	if r.IntN(2) == 0 {
		routes = append(routes, `{domain: "*", via: xmpp}`)
	}
	party := func() string {
		d := pick(append([]string{"nowhere.example", "bücher.example"}, domains...)...)
		wire := strings.ReplaceAll(d, "bücher", "xn--bcher-kva") // as URIs have it
		return pick(d, d, "*."+pick("example", "a.example"), "im:u@"+wire, "pres:V@"+wire)
	}
	parties := func() string {
		if r.IntN(3) == 0 {
			return pick("[]", `["*"]`)
		}
		list := []string{`"` + party() + `"`}
		if r.IntN(2) == 0 {
			list = append(list, `"`+party()+`"`)
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	var rules, tenants []string
	for i := range r.IntN(5) {
		rules = append(rules, fmt.Sprintf("{name: r%d, peers: %s, from: %s, to: %s, operations: %s, action: %s}", i,
			pick("[]", "[]", "[one]", "[strangers]", "[b.example, one]", "[two, strangers]"), parties(), parties(),
			pick("[]", "[]", "[messages]", "[presence]"), pick("allow", "allow", "refuse")))
	}
	for i, d := range domains {
		if r.IntN(4) == 0 {
			tenants = append(tenants, fmt.Sprintf("{name: t%d, domains: [%q]}", i, pick(d, "*."+d)))
		}
	}
	var blocked string
	for range r.IntN(2) {
		blocked += party() + "\n"
	}
	file := filepath.Join(folder, "blocked")
	if err := os.WriteFile(file, []byte(blocked), 0o600); err != nil {
		panic(err)
	}
	return fmt.Sprintf(`
sip:
  listeners: [{transport: udp, address: "127.0.0.1:0"}]
  peers:
    - {name: one, networks: [192.0.2.0/24], domains: [%s]}
    - {name: two, networks: [198.51.100.0/24], domains: [%s], fold_case: true}
xmpp:
  server: {domains: [%[1]s], dialback: tls, peers: [{domain: b.example}]}
routes: [%[3]s]
policy: {rules: [%[4]s], tenants: [%[5]s], blocked_files: [%[6]s]}
`, strings.Join(ours, ", "), pick(ours...), strings.Join(routes, ", "), strings.Join(rules, ", "), strings.Join(tenants, ", "), file)
}

// T-ID-06: what check --as says is what a gateway of the same configuration does, for messages and for presence, whatever the configuration is.
func TestT_ID_06_CheckAgreesWithTheGateway(t *testing.T) {
	const rounds, asks = 150, 40
	r := rand.New(rand.NewPCG(7247, 3921))
	folder := t.TempDir()
	file := filepath.Join(folder, "c.yaml")
	verdicts := map[bool]int{}
	for range rounds {
		text := randomPolicy(r, folder)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(file, os.LookupEnv)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		core, _, err := settingsOf(cfg)
		if err != nil {
			t.Fatal(err)
		}
		sides := map[string]*adaptertest.Fake{
			"sip":  adaptertest.NewFake("sip", adapters.Capabilities{Protocol: resolver.SIP, PositiveAnswer: true, OnePerRecipient: true}),
			"xmpp": adaptertest.NewFake("xmpp", adapters.Capabilities{Protocol: resolver.XMPP, AsksExplicitly: true}),
		}
		names, err := newResolver(cfg, newGuard(cfg), zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		for i := range core.Routes { // where they lead is another matter
			st, err := resolver.ParseStatic(map[string]string{"sip": "sip:127.0.0.1:5060;transport=udp", "xmpp": "component:127.0.0.1:5347"}[core.Routes[i].Adapter])
			if err != nil {
				t.Fatal(err)
			}
			core.Routes[i].NextHops = []resolver.Static{st}
		}
		g, err := gateway.New(gateway.Config{
			Adapters: []adapters.Adapter{sides["sip"], sides["xmpp"]}, Routes: core.Routes, Resolver: names, Limits: core.Limits, Policy: core.Policy, Logger: zerolog.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range asks {
			address := func() string {
				return []string{"u", "v", "V"}[r.IntN(3)] + "@" + []string{"a.example", "b.example", "c.a.example", "xn--bcher-kva.example", "e.example", "elsewhere.example"}[r.IntN(6)]
			}
			peer, from, to := []string{"one", "two", "strangers", "b.example"}[r.IntN(4)], address(), address()
			found, err := ask(cfg, core.Policy, peer, from, to)
			if err != nil {
				if peer != "one" || !strings.Contains(from+to, "V@") {
					t.Errorf("%s %s %s: %v in %s", peer, from, to, err, text)
				}
				continue
			}
			for i, f := range found {
				verdicts[f.OK]++
				if strings.Contains(f.Detail, "may not send as") || strings.Contains(f.Detail, "is not the XMPP server") || strings.Contains(f.Detail, "has an entry under") {
					continue // the adapter's own part
				}
				sender, recipient := cpim.MustParseAddress(f.As[0]), cpim.MustParseAddress(f.To[0])
				h, answer := sides[f.Via].Handler(), make(chan adapters.Status, 1)
				by := adapters.Peer{Adapter: f.Via, Name: peer}
				if i == 0 {
					h.Message(t.Context(), &adapters.MessageOp{
						Peer: by, From: adapters.Party{Address: sender}, To: adapters.Party{Address: recipient}, Hops: adapters.DefaultHops,
						Content: adapters.Content{Type: "text/plain", Octets: []byte("x")},
					}, func(s adapters.Status) { answer <- s })
				} else {
					id := adapters.WatchID{Watcher: sender.WithScheme(cpim.Pres), Presentity: recipient.WithScheme(cpim.Pres), Session: fmt.Sprint(r.Uint64())}
					h.Watch(t.Context(), &adapters.WatchOp{Peer: by, Verb: adapters.WatchOpen, Watch: id, Duration: time.Hour, Hops: adapters.DefaultHops},
						func(s adapters.WatchStatus) { answer <- s.Status })
				}
				got := <-answer
				if ok := got.Outcome != adapters.Failure; ok != f.OK {
					t.Fatalf("check says %q, the gateway %+v: as %s %s to %s, %s, in %s", f.Detail, got, peer, from, to, f.Name, text)
				}
			}
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		names.Close() //nolint:errcheck // it never fails
	}
	if verdicts[true] < rounds || verdicts[false] < rounds {
		t.Errorf("the random configurations are of one kind: %v", verdicts)
	}
}
