package xmpp

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// benchStore holds a certificate for one domain.
func benchStore(b testing.TB, ca *certstest.CA, domain string) *certs.Store {
	dir := b.TempDir()
	files := ca.Issue(certstest.Spec{DNS: []string{domain}}).WriteFiles(dir)
	s, err := certs.Open(certs.Config{
		Certificates: []certs.Source{{Name: "one", ChainFile: files.Chain, KeyFile: files.Key}}, RootsFile: ca.WriteRoot(dir), Logger: zerolog.Nop(),
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// benchSink accepts streams for domain and reads them. It acknowledges (XEP-0198) by counting end tags, which is all it looks at.
func benchSink(b testing.TB, store *certs.Store, domain string) resolver.Target {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	cfg := store.Server(certs.Server{Domain: domain})
	in := stream.Incoming{
		Host: func(to string) (stream.Host, bool) { return stream.Host{Name: to, TLS: cfg}, true }, Management: true,
		Authorize: func(string, *tls.ConnectionState) error { return nil },
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				conn, _, err := stream.Accept(context.Background(), c, in)
				if err != nil {
					return
				}
				n := 0
				for {
					raw, err := conn.Next()
					if err != nil {
						return
					}
					switch {
					case bytes.HasPrefix(raw, []byte("<message")):
						n++
					case bytes.HasPrefix(raw, []byte("<enable")):
						conn.Write([]byte("<enabled xmlns='urn:xmpp:sm:3'/>"), time.Now().Add(time.Second))
					case bytes.HasPrefix(raw, []byte("<r")):
						conn.Write([]byte("<a xmlns='urn:xmpp:sm:3' h='"+strconv.Itoa(n)+"'/>"), time.Now().Add(time.Second))
					}
				}
			}()
		}
	}()
	return resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.XMPP, Transport: resolver.TCP, Addr: netip.MustParseAddrPort(l.Addr().String()), ServerName: domain})
}

// benchServers starts an adapter that is the server of example.net.
func benchServers(b testing.TB, change func(*Config)) (*Adapter, resolver.Target) {
	ca := certstest.NewCA(b.(*testing.B))
	target := benchSink(b, benchStore(b, ca, "example.com"), "example.com")
	cfg := Config{Logger: zerolog.Nop(), Servers: &Servers{
		Domains: []string{"example.net"}, Certificates: benchStore(b, ca, "example.net"),
		Resolve: func(context.Context, string) ([]resolver.Target, error) { return []resolver.Target{target}, nil },
	}}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := a.Start(context.Background(), nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		a.Shutdown(ctx)
	})
	return a, target
}

func benchOp() *adapters.MessageOp {
	return &adapters.MessageOp{
		From: adapters.Party{Address: cpim.MustParseAddress("im:romeo@example.net")}, To: adapters.Party{Address: cpim.MustParseAddress("im:juliet@example.com")},
		TransID: "m", Content: adapters.Content{Type: "text/plain", Octets: []byte("Neither, fair saint, if either thee dislike.")},
	}
}

// BenchmarkServerStream is what one stream between servers, with TLS, writes of stanzas that are ready, and gets acknowledged by
// XEP-0198, to a sink in the same process that reads and counts them.
func BenchmarkServerStream(b *testing.B) {
	a, target := benchServers(b, func(c *Config) { c.Limits.Window, c.Limits.QueueStanzas = 16384, 65536 })
	op := benchOp()
	if st := a.Message(context.Background(), []resolver.Target{target}, op); st.Outcome != adapters.Indeterminate {
		b.Fatal(st)
	}
	p, _ := a.servers.route("example.net", "example.com", nil)
	octets, err := stanza.AppendMessage(nil, op, stanza.Envelope{ID: "m", Now: time.Now()})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(octets)))
	began := time.Now()
	for b.Loop() {
		it := &item{octets: octets, stanzas: 1, kind: stanza.Message}
		for {
			if _, ok := p.box.add(it); ok {
				break
			}
			runtime.Gosched()
		}
	}
	for !p.box.idle() {
		runtime.Gosched()
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "stanzas/s")
}

// BenchmarkServerMessage is Adapter.Message over such a stream from 256 callers, until it is acknowledged.
func BenchmarkServerMessage(b *testing.B) {
	a, target := benchServers(b, nil)
	op, hops := benchOp(), []resolver.Target{target}
	if st := a.Message(context.Background(), hops, op); st.Outcome != adapters.Indeterminate {
		b.Fatal(st)
	}
	b.ReportAllocs()
	b.SetParallelism(128)
	began := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if st := a.Message(context.Background(), hops, op); st.Outcome != adapters.Indeterminate {
				b.Error(st)
			}
		}
	})
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "messages/s")
}

// nowhere takes what comes and answers nothing.
type nowhere struct{}

func (nowhere) Message(_ context.Context, _ *adapters.MessageOp, respond func(adapters.Status)) {
	respond(adapters.Accepted())
}

func (nowhere) Watch(_ context.Context, _ *adapters.WatchOp, respond func(adapters.WatchStatus)) {
	respond(adapters.WatchStatus{Status: adapters.Accepted()})
}
func (nowhere) Notify(context.Context, *adapters.NotifyOp) {}
func (nowhere) Report(context.Context, *adapters.Report)   {}

// BenchmarkIdleServerStreams reports what 2,000 streams that were opened to us, are authenticated by EXTERNAL over TLS and carry nothing
// hold, together with the other side of each in the same process: a bare stream.Conn without a reader.
func BenchmarkIdleServerStreams(b *testing.B) {
	const streams = 2000
	ca := certstest.NewCA(b)
	store := benchStore(b, ca, "example.com")
	held := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse + m.StackInuse)
	}
	for b.Loop() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close()
		a, err := New(Config{Logger: zerolog.Nop(), Servers: &Servers{
			Domains: []string{"example.net"}, Certificates: benchStore(b, ca, "example.net"), Listeners: []Listener{{Address: addr}},
			Resolve: func(context.Context, string) ([]resolver.Target, error) { return nil, errNoTarget },
			// All come from one address and are for one pair of domains, which the defaults would refuse.
			Limits: ServerLimits{StreamsPerAddress: streams, StreamsPerPair: streams},
		}})
		if err != nil {
			b.Fatal(err)
		}
		if err := a.Start(context.Background(), nowhere{}); err != nil {
			b.Fatal(err)
		}
		before := held()
		var conns []*stream.Conn
		for range streams {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			conn, _, err := stream.Open(context.Background(), c, stream.Outgoing{
				From: "example.com", To: "example.net", External: true, Bidi: true,
				TLS: store.Client(certs.Client{From: "example.com", ServerName: "example.net"}, func(tls.ConnectionState) error { return nil }),
			})
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for n, limit := 0, time.Now().Add(10*time.Second); n < streams; n = len(a.servers.sessions()) {
			if time.Now().After(limit) {
				b.Fatalf("%d streams of %d are open", n, streams)
			}
			runtime.Gosched()
		}
		both := held() - before
		b.ReportMetric(both/streams, "B/stream-with-peer")
		b.ReportMetric(float64(runtime.NumGoroutine())/streams, "goroutines/stream")
		for _, c := range conns {
			c.Close(0)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		a.Shutdown(ctx)
		cancel()
	}
}
