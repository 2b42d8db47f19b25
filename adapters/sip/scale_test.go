package sip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// willing is a far side on a UDP socket that answers each request with 200, as a user agent in its dialog would.
type willing struct {
	conn *net.UDPConn
	mu   sync.Mutex
	got  map[string]int // requests by Call-ID, without their copies
	done sync.WaitGroup
}

func newWilling(tb testing.TB) *willing {
	tb.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		tb.Fatal(err)
	}
	conn.SetReadBuffer(8 << 20) //nolint:errcheck // fewer octets only make copies
	w := &willing{conn: conn, got: make(map[string]int)}
	w.done.Go(w.answer)
	tb.Cleanup(func() {
		conn.Close() //nolint:errcheck // nothing is left to do
		w.done.Wait()
	})
	return w
}

func (w *willing) addr() netip.AddrPort { return w.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (w *willing) answer() {
	seen := make(map[string]bool)
	buf := make([]byte, 65536)
	contact := wire.Header{Name: "Contact", Value: "<sip:romeo@" + w.addr().String() + ">"}
	for {
		n, from, err := w.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m, err := wire.Parse(append([]byte(nil), buf[:n]...), wire.Limits{})
		if err != nil || !m.IsRequest() {
			continue
		}
		if b := m.TopVia().Branch(); !seen[b] {
			seen[b] = true
			w.mu.Lock()
			w.got[m.CallID()]++
			w.mu.Unlock()
		}
		r := wire.Response{Code: 200, ToTag: "agent", Headers: []wire.Header{contact}}
		if m.Method() == "SUBSCRIBE" {
			r.Headers = append(r.Headers, wire.Header{Name: "Expires", Value: "3600"})
		}
		if out, err := wire.AppendResponse(nil, m, r); err == nil {
			w.conn.WriteToUDPAddrPort(out, from) //nolint:errcheck // it comes again
		}
	}
}

// dialogsWith are n dialogs with the far side, in one role.
func dialogsWith(far netip.AddrPort, role Role, n int) []Dialog {
	list := make([]Dialog, n)
	for i := range list {
		user, id := pres(fmt.Sprintf("romeo%d@example.net", i)), fmt.Sprintf("%s%d", wire.NewTag()[:16], i)
		list[i] = Dialog{
			Role: role, CallID: wire.NewCallID(""), LocalTag: id, RemoteTag: "agent", LocalURI: "sip:juliet@example.com", RemoteURI: "sip:" + user.Local() + "@example.net",
			LocalCSeq: 1, RemoteCSeq: 1, HasRemoteCSeq: true, RemoteTarget: "sip:" + user.Local() + "@" + far.String(), Contact: "sip:juliet@192.0.2.1:5060",
			Event: eventPresence, Expires: time.Now().Add(time.Hour), Confirmed: true, State: adapters.WatchActive, Granted: true, Peer: "trunk", Transport: "udp",
			Source: far.String(), Watcher: user, Presentity: pres("juliet@example.com"), Session: id,
		}
		if role == Subscriber {
			list[i].Watcher, list[i].Presentity, list[i].Session, list[i].Source, list[i].Transport = list[i].Presentity, user, "", "", ""
		}
	}
	return list
}

// scaleAdapter is an adapter that took up these dialogs.
func scaleAdapter(tb testing.TB, dialogs []Dialog, h adapters.Handler, l adapters.Keeper) *Adapter {
	tb.Helper()
	a, err := New(Config{
		Listeners: []transaction.Listener{{Transport: resolver.UDP, Address: "127.0.0.1:0"}}, Peers: []Peer{loopback}, Logger: zerolog.Nop(),
		Limits: Limits{Watches: len(dialogs) + 10, WatchesPerWatcher: len(dialogs) + 10},
	})
	if err != nil {
		tb.Fatal(err)
	}
	a.Keep(l)
	for i := range dialogs {
		a.Resume([]adapters.Record{recordOf(tb, &dialogs[i])})
	}
	if err := a.Start(context.Background(), h); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			tb.Error(err)
		}
	})
	return a
}

// nowhere is a Keeper that only counts.
type nowhere struct{ saves int }

func (k *nowhere) Save(_ adapters.WatchID, _ string, _ []byte, done func(error)) {
	k.saves++
	if done != nil {
		done(nil)
	}
}
func (*nowhere) Forget(adapters.WatchID, string, func(error)) {}

// lateness measures how much later than it should this process runs, until it is asked for the worst.
func lateness(t *testing.T) (worst func() time.Duration) {
	ended, most := make(chan struct{}), make(chan time.Duration, 1)
	go func() {
		worst := time.Duration(0)
		for {
			began := time.Now()
			select {
			case <-ended:
				most <- worst
				return
			case <-time.After(20 * time.Millisecond):
				worst = max(worst, time.Since(began)-20*time.Millisecond)
			}
		}
	}()
	end := sync.OnceFunc(func() { close(ended) })
	t.Cleanup(end)
	return func() time.Duration {
		end()
		return <-most
	}
}

// T-PR-04: one presentity with 1,000 SIP watchers: all are told within 5 seconds, each once.
func TestT_PR_04_ThousandSIPWatchers(t *testing.T) {
	const watchers = 1000
	far := newWilling(t)
	dialogs := dialogsWith(far.addr(), Notifier, watchers)
	a := scaleAdapter(t, dialogs, newCore(), &nowhere{})
	doc := document(t, "juliet@example.com", "open")
	late := lateness(t)
	begin := time.Now()
	var all sync.WaitGroup
	for i := range dialogs {
		all.Go(func() {
			s := a.Notify(t.Context(), nil, &adapters.NotifyOp{Watch: dialogs[i].watchID(), State: adapters.WatchActive, Whole: true, Presence: doc})
			if s.Outcome != adapters.Success {
				t.Errorf("watcher %d: %+v", i, s)
			}
		})
	}
	all.Wait()
	if took, lost := time.Since(begin), late(); took > 5*time.Second+20*lost {
		t.Errorf("it took %v, on a machine that was late by up to %v", took, lost)
	}
	far.mu.Lock()
	defer far.mu.Unlock()
	for _, d := range dialogs {
		if far.got[d.CallID] != 1 {
			t.Errorf("a watcher was told %d times", far.got[d.CallID])
		}
	}
}

// T-PR-03: what one dialog of each role takes, with its entry in the tables and its alarm, and that none has a goroutine or a timer: at 300,000
// it is 300,000 times this.
func TestT_PR_03_BytesPerDialog(t *testing.T) {
	const count, most = 5_000, 4 << 10
	for role, name := range map[Role]string{Notifier: "notifier", Subscriber: "subscriber"} {
		t.Run(name, func(t *testing.T) {
			far := netip.MustParseAddrPort("127.0.0.1:9")
			dialogs := dialogsWith(far, role, count)
			records := make([]adapters.Record, count)
			for i := range dialogs {
				records[i] = recordOf(t, &dialogs[i])
			}
			a := scaleAdapter(t, nil, newCore(), &nowhere{})
			now := *a.now.Load()
			now.limits.Watches, now.limits.WatchesPerWatcher = count, count
			a.now.Store(&now)
			var before, after runtime.MemStats
			goroutines := runtime.NumGoroutine()
			runtime.GC()
			runtime.ReadMemStats(&before)
			a.Resume(records)
			runtime.GC()
			runtime.ReadMemStats(&after)
			each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / count
			if n := a.notifiers.count() + a.subscribers.count(); n != count {
				t.Fatalf("%d dialogs", n)
			}
			runtime.KeepAlive(records)
			runtime.KeepAlive(dialogs)
			t.Logf("%d octets for each %s", each, name)
			if each > most {
				t.Errorf("%d octets for each", each)
			}
			if more := runtime.NumGoroutine() - goroutines; more > 10 {
				t.Errorf("%d goroutines more", more)
			}
		})
	}
}

// BenchmarkRefresh is a refresh of our own watch from the alarm to the record, over UDP on loopback. The time of the processor is that of both sides.
// At Expires 3600 and 300,000 watches there are about 104 refreshes a second (at 80 percent of the hour): cpu-µs/op times 104 is the load.
func BenchmarkRefresh(b *testing.B) {
	far := newWilling(b)
	dialogs := dialogsWith(far.addr(), Subscriber, 1000)
	k := &nowhere{}
	a := scaleAdapter(b, dialogs, echo{}, k)
	list := a.subscribers.all()
	i := 0
	before := cpuTime(b)
	b.ReportAllocs()
	for b.Loop() {
		list[i%len(list)].refresh(context.Background())
		i++
	}
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(i), "cpu-µs/op")
	if k.saves < i {
		b.Errorf("%d of %d refreshes were kept", k.saves, i)
	}
}
