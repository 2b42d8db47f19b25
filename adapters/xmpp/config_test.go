package xmpp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// TestSecretTAD02: no way to print a configuration prints a secret.
func TestSecretTAD02(t *testing.T) {
	k := Component{Name: "main", Secret: NewSecret("canary")}
	j, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	l := zerolog.New(&log)
	l.Info().Interface("c", k).Stringer("s", k.Secret).Send()
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %s %q %x", k, k, k.Secret, k.Secret, k.Secret), string(j), log.String(), k.Secret.String()} {
		if strings.Contains(s, "canary") || strings.Contains(s, "63616e617279") {
			t.Errorf("printed: %s", s)
		}
	}
}

// TestFaultsAllAtOnce: every fault of a configuration is reported, not only the first.
func TestFaultsAllAtOnce(t *testing.T) {
	_, err := New(Config{Components: []Component{
		{Name: "a", Server: "127.0.0.1", Domain: "bad_domain", Serves: []string{"x..y"}},
		{Name: "a", Server: "127.0.0.1:0", Domain: "b.example", Secret: NewSecret("s")},
		{Name: "c", Server: "127.0.0.1:5347", Domain: "c.example", Serves: []string{"b.example"}, Secret: NewSecret("s")},
	}})
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{"server", "domain", "serves", "secret", "name", "at least one XMPP domain", "component's own domain"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in: %v", want, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("an empty configuration was taken")
	}
}

// TestComponentOfSeveralServers: one domain of ours may be a component of several servers, as long as it is clear which link leads
// where.
func TestComponentOfSeveralServers(t *testing.T) {
	with := func(server string, serves ...string) Config {
		return Config{Components: []Component{
			{Name: "a", Server: "127.0.0.1:5347", Domain: "example.net", Serves: []string{"example.com"}, Secret: NewSecret("s")},
			{Name: "b", Server: server, Domain: "example.net", Serves: serves, Secret: NewSecret("s")},
		}}
	}
	a, err := New(with("127.0.0.1:5348", "example.org"))
	if err != nil {
		t.Fatal(err)
	}
	for to, name := range map[string]string{"example.com": "a", "example.org": "b"} {
		if l, _ := a.route("example.net", to, nil); l == nil || l.(*link).end().Name != name {
			t.Errorf("to %s: %v", to, l)
		}
	}
	for name, c := range map[string]Config{
		"the same server":      with("127.0.0.1:5347", "example.org"),
		"the same other side":  with("127.0.0.1:5348", "example.com"),
		"one that is the same": with("127.0.0.1:5348", "example.org", "example.com"),
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestDelay: exponential with full jitter, within its bounds whatever the count.
func TestDelay(t *testing.T) {
	b := Backoff{}.orDefault()
	for n, want := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 5: 32 * time.Second, 6: time.Minute, 40: time.Minute, 1 << 20: time.Minute} {
		if got := b.delay(n, 0.5); got != want/2 {
			t.Errorf("attempt %d waits %v of at most %v", n, got, want)
		}
		if b.delay(n, 0) != 0 {
			t.Errorf("attempt %d has no full jitter", n)
		}
	}
}

// TestReconnectBackoff: an hour of a server that is down costs about a hundred attempts and not thousands.
func TestReconnectBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := New(Config{Logger: zerolog.Nop(), Registerer: prometheus.NewRegistry(), Components: []Component{
			{Name: "a", Server: "127.0.0.1:5347", Domain: "example.net", Serves: []string{"example.com"}, Secret: NewSecret("s")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		attempts := 0
		a.dial = func(context.Context, string, string) (net.Conn, error) {
			attempts++
			return nil, errors.New("refused")
		}
		if err := a.Start(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // of the bubble
		synctest.Wait()
		if attempts < 60 || attempts > 250 {
			t.Errorf("%d attempts in an hour", attempts)
		}
		if err := a.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := a.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestOutboxReplaces: a newer notification takes an unsent one's place, and the older one's caller is answered.
func TestOutboxReplaces(t *testing.T) {
	b := newOutbox(Limits{}.orDefault(), func() {})
	w := adapters.WatchID{Session: "w"}
	older := &item{octets: []byte("older"), watch: w, replaceable: true, done: make(chan adapters.Status, 1)}
	newer := &item{octets: []byte("newer!"), watch: w, replaceable: true, done: make(chan adapters.Status, 1)}
	b.add(older)
	b.add(&item{octets: []byte("other")})
	b.add(newer)
	if st := <-older.done; st.Outcome != adapters.Indeterminate {
		t.Errorf("%+v", st)
	}
	out, taken, ping := b.take(nil, maxBatch, false, time.Now())
	if string(out) != "newer!other" || len(taken) != 2 || ping == "" {
		t.Errorf("%q %d", out, len(taken))
	}
	b.unsend()
	if n, octets := b.depth(); n != 2 || octets != len("newer!other") {
		t.Errorf("%d items, %d octets after unsend", n, octets)
	}
	if out, _, ping = b.take(nil, maxBatch, false, time.Now()); string(out) != "newer!other" {
		t.Errorf("%q", out)
	}
	if b.acknowledge("not it") || !b.acknowledge(ping) || b.acknowledge(ping) {
		t.Error("acknowledged what was not, or twice")
	}
	if st := <-newer.done; st.Outcome != adapters.Indeterminate || !b.idle() {
		t.Errorf("%+v", st)
	}
}

// TestOutboxOrder: a newer notification does not overtake a change of the same watch that was queued before it, which would leave the
// watcher with the older state for good.
func TestOutboxOrder(t *testing.T) {
	b := newOutbox(Limits{}.orDefault(), func() {})
	w := adapters.WatchID{Session: "w"}
	b.add(&item{octets: []byte("open "), watch: w, replaceable: true})
	b.add(&item{octets: []byte("gone "), watch: w})
	b.add(&item{octets: []byte("other "), watch: adapters.WatchID{Session: "v"}, replaceable: true})
	b.add(&item{octets: []byte("away "), watch: w, replaceable: true})
	b.add(&item{octets: []byte("back "), watch: w, replaceable: true})
	if out, _, _ := b.take(nil, maxBatch, false, time.Now()); string(out) != "open gone other back " {
		t.Errorf("%q", out)
	}
}

// TestOutboxReplaceBound: a replacement is within QueueBytes too.
func TestOutboxReplaceBound(t *testing.T) {
	b := newOutbox(Limits{QueueBytes: 100, QueueStanzas: 100, Window: 10}, func() {})
	for i := range 10 {
		w := adapters.WatchID{Session: string(rune('a' + i))}
		b.add(&item{octets: make([]byte, 1), watch: w, replaceable: true, done: make(chan adapters.Status, 1)})
		b.add(&item{octets: make([]byte, 90), watch: w, replaceable: true, done: make(chan adapters.Status, 1)})
	}
	if _, octets := b.depth(); octets > 100 {
		t.Errorf("%d octets queued of 100", octets)
	}
}

// TestOutboxRoomForNotices: messages cannot take the room of the errors that tell senders of lost messages.
func TestOutboxRoomForNotices(t *testing.T) {
	b := newOutbox(Limits{QueueBytes: 1000, QueueStanzas: 2, Window: 10}, func() {})
	for range 2 {
		b.add(&item{octets: []byte("x"), done: make(chan adapters.Status, 1)})
	}
	if st, ok := b.add(&item{octets: []byte("x"), done: make(chan adapters.Status, 1)}); ok || st.Reason != adapters.ReasonOverloaded {
		t.Errorf("%+v", st)
	}
	if _, ok := b.add(&item{octets: []byte("x"), notice: true}); !ok {
		t.Error("no room for a notice")
	}
	if _, ok := b.add(&item{octets: []byte("x"), notice: true}); ok {
		t.Error("notices have no bound")
	}
}
