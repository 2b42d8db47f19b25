package gateway_test

import (
	"context"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
	"github.com/isthmus-gateway/isthmus/pidf"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// crowd is both sides of a gateway with many watches: they take everything, and keep nothing but counts.
type crowd struct {
	*adaptertest.Fake
	asked, told atomic.Int64
	onWatch     func(*adapters.WatchOp) // unless nil
	attendance  atomic.Int32            // an adapters.Attendance
}

func (c *crowd) Watch(_ context.Context, _ []resolver.Target, op *adapters.WatchOp) adapters.WatchStatus {
	c.asked.Add(1)
	if c.onWatch != nil {
		c.onWatch(op)
	}
	return adapters.WatchStatus{Status: adapters.Succeeded(), Duration: op.Duration}
}

func (c *crowd) Notify(context.Context, []resolver.Target, *adapters.NotifyOp) adapters.Status {
	c.told.Add(1)
	return adapters.Succeeded()
}

// Attends implements adapters.Attendant.
func (c *crowd) Attends(context.Context, []resolver.Target, *adapters.AttendOp) adapters.Attendance {
	return adapters.Attendance(c.attendance.Load())
}

// plain is a crowd that cannot be asked who is online.
type plain struct{ adapters.Adapter }

// theater is a gateway between two crowds.
type theater struct {
	gateway   *gateway.Gateway
	sip, xmpp *crowd
}

func newTheater(tb testing.TB, disk store.Durable) *theater { return newTheaterWith(tb, disk, 1<<20) }

// newTheaterWith is newTheater with a WatchRate.
func newTheaterWith(tb testing.TB, disk store.Durable, rate int) *theater {
	tb.Helper()
	th := &theater{
		sip:  &crowd{Fake: adaptertest.NewFake("sip", adapters.Capabilities{Protocol: resolver.SIP, PositiveAnswer: true, OnePerRecipient: true})},
		xmpp: &crowd{Fake: adaptertest.NewFake("xmpp", adapters.Capabilities{Protocol: resolver.XMPP, AsksExplicitly: true, OneByOne: true})},
	}
	hop := func(s string) []resolver.Static { return []resolver.Static{resolver.MustParseStatic(s)} }
	c := gateway.Config{
		Adapters: []adapters.Adapter{plain{th.sip}, th.xmpp},
		Routes: []gateway.Route{
			{Domain: "example.net", Adapter: "sip", NextHops: hop("sip:127.0.0.1:5060;transport=udp")},
			{Domain: "example.com", Adapter: "xmpp", NextHops: hop("component:127.0.0.1:5347")},
		},
		Logger:     zerolog.New(io.Discard).Level(zerolog.InfoLevel),
		Registerer: prometheus.NewRegistry(),
		Limits:     gateway.Limits{Watches: 1 << 20, WatchRate: rate, WatchesPerPresentity: 1 << 20},
	}
	if disk != nil {
		c.OpenStore = func(context.Context) (store.Durable, error) { return disk, nil }
	}
	var err error
	if th.gateway, err = gateway.New(c); err != nil {
		tb.Fatal(err)
	}
	if err := th.gateway.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return th
}

func (th *theater) shutdown(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := th.gateway.Shutdown(ctx); err != nil {
		tb.Error(err)
	}
}

// crowdAddress is one of many users; each has ten contacts on the other side.
func crowdAddress(i int, domain string) cpim.Address {
	return cpim.MustParseAddress("pres:user" + strconv.Itoa(i) + "@" + domain)
}

// crowdWatch is the i-th watch: even ones are of XMPP users, odd ones of SIP users.
func crowdWatch(i int) adapters.WatchID {
	user, contact := i/10, i/10+i%10
	if i%2 == 0 {
		return adapters.WatchID{Watcher: crowdAddress(user, "example.com"), Presentity: crowdAddress(contact, "example.net")}
	}
	return adapters.WatchID{
		Watcher: crowdAddress(user, "example.net"), Presentity: crowdAddress(contact, "example.com"), Session: "4f1c6b6d8e7a49d2a1b3c5d7e9f0" + strconv.Itoa(i),
	}
}

// crowdPresence is what the presentity's side says first, and says again at each refresh.
func crowdPresence(id adapters.WatchID) *adapters.NotifyOp {
	doc := &pidf.Presence{Entity: pidf.MustParseURI(id.Presentity.String()), Tuples: []pidf.Tuple{{
		ID: pidf.TupleID("balcony"), Status: pidf.Status{Basic: pidf.BasicOpen, Show: pidf.ShowAway}, Notes: []pidf.Note{{Lang: "en", Text: "be right back"}},
	}}}
	op := &adapters.NotifyOp{Watch: adapters.WatchID{Watcher: id.Watcher, Presentity: id.Presentity}, Presence: doc, State: adapters.WatchActive}
	if id.Session == "" {
		op.Whole = true
		return op
	}
	op.Instance, op.Change = "balcony", adapters.AuthorizationUnchanged
	op.State = adapters.WatchNeutral
	return op
}

// begin opens watch i and has it granted.
func (th *theater) begin(ctx context.Context, i int, done func(adapters.WatchStatus)) {
	id := crowdWatch(i)
	from, to, verb, d := th.xmpp.Handler(), th.sip.Handler(), adapters.WatchAsk, time.Duration(0)
	if id.Session != "" {
		from, to, verb, d = to, from, adapters.WatchOpen, time.Hour
	}
	from.Watch(ctx, &adapters.WatchOp{Verb: verb, Watch: id, Duration: d, Hops: adapters.DefaultHops}, done)
	if id.Session != "" {
		bare := id
		bare.Session = ""
		to.Notify(ctx, &adapters.NotifyOp{Watch: bare, Change: adapters.AuthorizationGranted, State: adapters.WatchActive})
	}
	to.Notify(ctx, crowdPresence(id))
}

// beginAll opens so many watches, not more than a few hundred at a time, and waits until each has been told.
func (th *theater) beginAll(tb testing.TB, count int) {
	tb.Helper()
	var answered sync.WaitGroup
	slots := make(chan struct{}, 512)
	for i := range count {
		slots <- struct{}{}
		answered.Add(1)
		th.begin(tb.Context(), i, func(s adapters.WatchStatus) {
			if s.Outcome == adapters.Failure {
				tb.Errorf("watch %d: %+v", i, s)
			}
			<-slots
			answered.Done()
		})
	}
	answered.Wait()
	th.settle(tb)
}

// settle waits until nothing is under way: nobody was told anything for a while.
func (th *theater) settle(tb testing.TB) {
	tb.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for last, same := int64(-1), 0; same < 3; <-look.C {
		n := th.sip.told.Load() + th.xmpp.told.Load() + th.sip.asked.Load() + th.xmpp.asked.Load()
		if same++; n != last {
			last, same = n, 0
		}
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// crowdSize is how many watches the benchmarks have: 20,000, or ISTHMUS_WATCHES.
func crowdSize(tb testing.TB) int {
	tb.Helper()
	text := os.Getenv("ISTHMUS_WATCHES")
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// disks are the stores that watches are kept in.
func disks(b *testing.B) map[string]func() store.Durable {
	b.Helper()
	return map[string]func() store.Durable{
		"none":   func() store.Durable { return nil },
		"memory": func() store.Durable { return &storetest.Memory{} },
		"disk":   func() store.Durable { return openDisk(b, b.TempDir()) },
	}
}

func openDisk(b *testing.B, dir string) *store.Store {
	b.Helper()
	d, err := store.Open(b.Context(), store.Config{Directory: dir, Logger: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// BenchmarkWatch is what live watches cost, half of them of XMPP users and half of SIP users, each with one device of a contact who is there:
// to open (one operation is one watch), in the heap (octets/watch; storetest.Memory's own are in it), and to keep: per-refresh is the time of the
// processor for what comes to the core when a watch is refreshed (a re-SUBSCRIBE of a SIP watcher with its NOTIFY and its record; the
// NOTIFY that answers our own re-SUBSCRIBE), and load what 83 of them a second, which 300,000 watches of an hour are, take of one core.
//
//	ISTHMUS_WATCHES=300000 go test ./gateway -run xxx -bench 'BenchmarkWatch$' -benchtime 1x
func BenchmarkWatch(b *testing.B) {
	for name, open := range disks(b) {
		b.Run("store="+name, func(b *testing.B) {
			count := crowdSize(b)
			for b.Loop() {
				disk := open()
				before := heap()
				th := newTheater(b, disk)
				began := time.Now()
				th.beginAll(b, count)
				b.ReportMetric(time.Since(began).Seconds()*1e6/float64(count), "µs/open")
				b.ReportMetric(float64(heap()-before)/float64(count), "octets/watch")

				n := min(count, 10_000)
				cpu, told := cpuTime(b), th.xmpp.told.Load()+th.sip.told.Load()
				var answered sync.WaitGroup
				for i := range n {
					id := crowdWatch(i)
					if id.Session == "" {
						th.sip.Handler().Notify(b.Context(), crowdPresence(id))
						continue
					}
					answered.Add(1)
					op := &adapters.WatchOp{Verb: adapters.WatchOpen, Watch: id, Duration: time.Hour, Hops: adapters.DefaultHops}
					th.sip.Handler().Watch(b.Context(), op, func(adapters.WatchStatus) { answered.Done() })
				}
				answered.Wait()
				th.settle(b)
				each := (cpuTime(b) - cpu).Seconds() / float64(n)
				b.ReportMetric(each*1e6, "cpu-µs/refresh")
				b.ReportMetric(each*83*100, "%core@83/s")
				if got := th.xmpp.told.Load() + th.sip.told.Load() - told; got < int64(n) {
					b.Errorf("%d of %d refreshes were told", got, n)
				}
				th.shutdown(b)
				if c, ok := disk.(interface{ Close() }); ok {
					c.Close()
				}
			}
		})
	}
}

// BenchmarkWatchFanOut is one presentity with 1,000 watchers, whose sides take what they are told at once: one operation is one change
// until all are told.
func BenchmarkWatchFanOut(b *testing.B) {
	for _, toSIP := range []bool{false, true} {
		name := "XMPP-presentity"
		if toSIP {
			name = "SIP-presentity"
		}
		b.Run(name, func(b *testing.B) {
			th := newTheater(b, nil)
			say, told := fanOut(b, th, 1000, toSIP)
			th.settle(b)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				want := told.Load() + 1000
				say(n)
				for told.Load() < want {
					runtime.Gosched()
				}
			}
			th.shutdown(b)
		})
	}
}

// BenchmarkWatchRestart is a start with live watches in the store, until the gateway serves, for as many watches as crowdSize says: ms/store is the
// store's own part. The engine writes about 1,000 facts a second, so that 300,000 watches are made in memory.
//
//	ISTHMUS_WATCHES=300000 go test ./gateway -run xxx -bench WatchRestart/memory -benchtime 1x
//	ISTHMUS_WATCHES=20000 go test ./gateway -run xxx -bench WatchRestart/disk -benchtime 1x
func BenchmarkWatchRestart(b *testing.B) {
	dir, memory := b.TempDir(), &storetest.Memory{}
	for name, open := range map[string]func() store.Durable{
		"memory": func() store.Durable { return memory },
		"disk":   func() store.Durable { return openDisk(b, dir) },
	} {
		b.Run(name, func(b *testing.B) {
			end := func(th *theater, d store.Durable) {
				th.shutdown(b)
				if c, ok := d.(interface{ Close() }); ok {
					c.Close()
				}
			}
			count, disk := crowdSize(b), open()
			th := newTheater(b, disk)
			th.beginAll(b, count)
			end(th, disk)
			for b.Loop() {
				before, began, cpu := heap(), time.Now(), cpuTime(b)
				disk = open()
				opened := time.Since(began)
				th = newTheaterWith(b, disk, 1)
				b.ReportMetric(opened.Seconds()*1e3, "ms/store")
				b.ReportMetric((time.Since(began)-opened).Seconds()*1e3, "ms/serve")
				b.ReportMetric((cpuTime(b)-cpu).Seconds()*1e6/float64(count), "cpu-µs/watch")
				b.ReportMetric(float64(heap()-before)/float64(count), "octets/watch")
				end(th, disk)
			}
		})
	}
}
