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
	b.add(&item{octets: []byte("other"), done: make(chan adapters.Status, 1)})
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
	add := func(octets string, w adapters.WatchID, replaceable bool) {
		b.add(&item{octets: []byte(octets), watch: w, replaceable: replaceable, done: make(chan adapters.Status, 1)})
	}
	add("open ", w, true)
	add("gone ", w, false)
	add("other ", adapters.WatchID{Session: "v"}, true)
	add("away ", w, true)
	add("back ", w, true)
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
	for range 3 {
		if _, ok := b.add(&item{octets: []byte("x"), notice: true}); !ok {
			t.Error("no room for a notice")
		}
	}
	if _, ok := b.add(&item{octets: []byte("x"), notice: true}); ok {
		t.Error("notices have no bound")
	}
	if _, ok := b.add(&item{octets: []byte("x")}); ok {
		t.Error("answers have no bound")
	}
	if b.add(&item{octets: []byte("x"), done: make(chan adapters.Status, 1)}); !b.many.Load() {
		t.Error("there are not many replies")
	}
}

// TestRepliesPassAFullWindow: a server that acknowledges nothing before it has its answers gets them, and their number leaves no less room for messages.
func TestRepliesPassAFullWindow(t *testing.T) {
	for name, take := range map[string]func(*outbox) string{
		"pinged": func(b *outbox) string {
			out, _, _ := b.take(nil, maxBatch, false, time.Now())
			return string(out)
		},
		"counted": func(b *outbox) string {
			out, _, _ := b.takeCounted(nil, maxBatch, time.Now())
			return string(out)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newOutbox(Limits{QueueBytes: 1000, QueueStanzas: 10, Window: 2}, func() {})
			message := func() *item { return &item{octets: []byte("m"), done: make(chan adapters.Status, 1)} }
			for range 3 {
				b.add(message())
			}
			b.add(&item{octets: []byte("r")})
			if out := take(b); out != "rmm" {
				t.Errorf("%q", out)
			}
			if b.late(time.Now(), time.Minute, true) || !b.late(time.Now().Add(time.Minute), time.Minute, true) {
				t.Error("it is late at the wrong time")
			}
			b.add(&item{octets: []byte("e"), notice: true})
			if out := take(b); out != "e" {
				t.Errorf("%q", out)
			}
			b.lost()
			if out := take(b); out != "em" { // the notice once more, and what did not leave
				t.Errorf("%q", out)
			}
			if b.lost(); b.flying != 0 || !b.idle() || b.late(time.Now().Add(time.Hour), time.Minute, true) || b.many.Load() {
				t.Errorf("%d on their way, %v", b.flying, b.idle())
			}
		})
	}
}

// TestRepliesStarveNothing: however many replies there are, what somebody waits for leaves in the same batch, and the largest stanza does.
func TestRepliesStarveNothing(t *testing.T) {
	for _, size := range []int{100, 4 * maxBatch} {
		b := newOutbox(Limits{QueueBytes: 1 << 20, QueueStanzas: 1000, Window: 2}, func() {})
		large := &item{octets: make([]byte, size), done: make(chan adapters.Status, 1)}
		b.add(large)
		for range 300 {
			b.add(&item{octets: make([]byte, 1000)})
		}
		_, taken, _ := b.take(nil, maxBatch, false, time.Now())
		if n := len(taken); n < 20 || taken[n-1] != large {
			t.Errorf("of %d octets: it is not among the first %d", size, n)
		}
	}
}

// TestOutboxCounts: what leaves in many writes, and is acknowledged in parts and all at once, is settled in the order in which it was written.
func TestOutboxCounts(t *testing.T) {
	b := newOutbox(Limits{QueueBytes: 1000, QueueStanzas: 100, Window: 100}, func() {})
	var order []*item
	for i := range 20 {
		it := &item{octets: []byte("m"), stanzas: 1 + i%3, done: make(chan adapters.Status, 1)}
		b.add(&item{octets: []byte("r")})
		b.add(it)
		order = append(order, it)
		b.takeCounted(nil, maxBatch, time.Now())
	}
	settled := func() (n int) {
		for _, it := range order {
			if it.settled {
				n++
			}
		}
		return n
	}
	b.acknowledgeCounted(1 + 1 + 1 + 1) // the second reply, the first message, and one of the second's two stanzas
	if n := settled(); n != 1 || b.flying != 19 || len(b.flights) != 19 || b.kept != 37 {
		t.Errorf("%d are settled, %d on their way in %d flights, %d octets kept", n, b.flying, len(b.flights), b.kept)
	}
	b.acknowledgeCounted(1)
	if n := settled(); n != 2 || len(b.flights) != 18 {
		t.Errorf("%d are settled", n)
	}
	b.acknowledgeCounted(1000)
	if n := settled(); n != 20 || b.flying != 0 || len(b.flights) != 0 || b.kept != 0 || !b.idle() {
		t.Errorf("%d are settled, %d on their way in %d flights, %d octets kept", n, b.flying, len(b.flights), b.kept)
	}
}
