package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
)

const lookedUp = `
sip:
  listeners: [{transport: tcp, address: "127.0.0.1:0"}]
  peers: [{name: p, networks: [192.0.2.0/24], domains: [example.net]}]
routes: [{domain: example.net, via: sip}]
dns: {servers: ["127.0.0.1:1"]}
`

// reloadable is a gateway that has started with a configuration, and how others are read.
func reloadable(t *testing.T, text string) (*assembly, func(string) *configs.Config) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	parse := func(text string) *configs.Config {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := configs.Load(file, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, err := assemble(parse(text), surroundings{logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(a.shutdown(ctx), a.close()); err != nil {
			t.Error(err)
		}
	})
	if err := a.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, parse
}

// T-FI-22: names are looked up at the servers, and within the networks, of the configuration that holds, also when one that looked nothing up
// brought them.
func TestT_FI_22_TheResolverIsOfTheConfiguration(t *testing.T) {
	a, parse := reloadable(t, lookedUp)
	take := func(text string) {
		t.Helper()
		commit, err := a.prepare(t.Context(), parse(text))
		if err == nil {
			err = commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	first := a.names.Load()
	moved := strings.Replace(lookedUp, "127.0.0.1:1", "127.0.0.1:2", 1)
	take(strings.Replace(moved, "via: sip", "via: sip, next_hops: [\"sip:127.0.0.1:5070;transport=tcp\"]", 1))
	take(moved)
	second := a.names.Load()
	if second == first {
		t.Error("names are looked up at the servers of before")
	}
	if take(moved); a.names.Load() != second {
		t.Error("what was remembered of names is forgotten without need")
	}
}

// T-FI-22: a gateway that has begun to end takes nothing on any more, and keeps none of the sockets that were opened for it.
func TestT_FI_22_NothingIsTakenOnAtTheEnd(t *testing.T) {
	address := porttest.Address(t)
	a, parse := reloadable(t, lookedUp)
	before := a.running.Load()
	commit, err := a.prepare(t.Context(), parse(strings.Replace(lookedUp, "listeners: [", "listeners: [{transport: tcp, address: \""+address+"\"}, ", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := commit(); !errors.Is(err, errEnding) || a.running.Load() != before {
		t.Errorf("taken on: %v", err)
	}
	again, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatalf("the listener is open: %v", err)
	}
	again.Close()
	if _, err := a.prepare(t.Context(), before); !errors.Is(err, errEnding) {
		t.Errorf("prepared: %v", err)
	}
}
