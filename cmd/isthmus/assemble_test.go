package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/resolver"
	"github.com/isthmus-gateway/isthmus/resolver/resolvertest"
)

// A server that does not answer is set aside in the resolver's memory (RFC 3263 §4.3): the next message asks the other one first.
func TestFailedTargetIsSetAside(t *testing.T) {
	dead := int(porttest.Refused(t).Port())
	spare, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer spare.Close()
	alive := spare.Addr().(*net.TCPAddr).Port
	names, err := resolvertest.Start("$TTL 300\n$ORIGIN example.net.\n@ SOA ns hostmaster 1 3600 600 86400 60\nhost A 127.0.0.1\n"+
		"_sip._tcp SRV 1 0 "+strconv.Itoa(dead)+" host\n_sip._tcp SRV 2 0 "+strconv.Itoa(alive)+" host\n", resolvertest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "sip:\n  listeners: [{transport: tcp, address: \"127.0.0.1:0\"}]\nroutes: [{domain: example.net, via: sip}]\n" +
		"dns:\n  servers: [\"" + names.Addr().String() + "\"]\n  allow: [127.0.0.0/8]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(file, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	a, err := assemble(cfg, surroundings{logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.close() //nolint:errcheck // a test
	if err := a.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ports := func() []uint16 {
		t.Helper()
		hops, err := a.names.Load().Resolve(t.Context(), resolver.Query{Service: resolver.SIPService, Domain: "example.net"})
		if err != nil || len(hops) != 2 {
			t.Fatalf("%v %v", hops, err)
		}
		return []uint16{hops[0].Addr().Port(), hops[1].Addr().Port()}
	}
	if p := ports(); int(p[0]) != dead {
		t.Fatalf("%v, want %d first", p, dead)
	}
	hops, err := a.names.Load().Resolve(t.Context(), resolver.Query{Service: resolver.SIPService, Domain: "example.net"})
	if err != nil {
		t.Fatal(err)
	}
	a.sip.Message(t.Context(), hops[:1], &adapters.MessageOp{
		From: adapters.Party{Address: cpim.MustParseAddress("im:juliet@example.com")}, To: adapters.Party{Address: cpim.MustParseAddress("im:romeo@example.net")},
		Content: adapters.Content{Type: "text/plain", Octets: []byte("hello")}, Hops: 70,
	})
	if p := ports(); int(p[0]) != alive {
		t.Errorf("%v, want %d first, since %d failed", p, alive, dead)
	}
	if err := a.shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
