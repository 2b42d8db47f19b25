package xmpp_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/xmpptest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/leaktest"
)

// recorder is a core that takes everything and answers what it is told to.
type recorder struct {
	mu       sync.Mutex
	answer   adapters.Status
	messages chan *adapters.MessageOp
	watches  chan *adapters.WatchOp
	notifies chan *adapters.NotifyOp
	reports  chan *adapters.Report
}

func newRecorder() *recorder {
	return &recorder{
		answer: adapters.Accepted(), messages: make(chan *adapters.MessageOp, 1024), watches: make(chan *adapters.WatchOp, 64),
		notifies: make(chan *adapters.NotifyOp, 64), reports: make(chan *adapters.Report, 64),
	}
}

// say sets the answer to everything from now on.
func (r *recorder) say(s adapters.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = s
}

func (r *recorder) said() adapters.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answer
}

func (r *recorder) Message(_ context.Context, op *adapters.MessageOp, respond func(adapters.Status)) {
	st := r.said()
	r.messages <- op
	respond(st)
}

func (r *recorder) Watch(_ context.Context, op *adapters.WatchOp, respond func(adapters.WatchStatus)) {
	st := r.said()
	r.watches <- op
	respond(adapters.WatchStatus{Status: st})
}
func (r *recorder) Notify(_ context.Context, op *adapters.NotifyOp) { r.notifies <- op }
func (r *recorder) Report(_ context.Context, op *adapters.Report)   { r.reports <- op }

const patience = 40 * time.Second

// next takes one value, or fails with what was expected.
func next[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came: %s", what)
		panic("unreachable")
	}
}

// none fails if something is there. Whatever could come must have come already.
func none[T any](t *testing.T, c <-chan T, what string) {
	t.Helper()
	select {
	case v := <-c:
		t.Fatalf("%s: %+v", what, v)
	default:
	}
}

const (
	sipDomain  = "example.net"
	xmppDomain = "example.com"
	secret     = "canary-secret-1"
)

func component(addr string) xmpp.Component {
	return xmpp.Component{Name: "main", Server: addr, Domain: sipDomain, Serves: []string{xmppDomain}, Secret: xmpp.NewSecret(secret)}
}

func serverConfig() xmpptest.Config {
	return xmpptest.Config{Domain: xmppDomain, Components: map[string]string{sipDomain: secret}, Users: map[string]string{"juliet": "r0m30"}}
}

func quick() xmpp.Config {
	return xmpp.Config{
		Logger:  zerolog.Nop(),
		Backoff: xmpp.Backoff{Base: 10 * time.Millisecond, Max: 50 * time.Millisecond},
	}
}

// start starts an adapter and stops it at the end of the test.
func start(t *testing.T, cfg xmpp.Config, h adapters.Handler) *xmpp.Adapter {
	t.Helper()
	a, err := xmpp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return a
}

// await polls a state that has no event of its own, without sleeping between for longer than a scheduler's turn.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("did not come about: %s", what)
		}
	}
}

func up(a *xmpp.Adapter) func() bool {
	return func() bool { return a.Links()[0].Phase == xmpp.LinkUp }
}

func textOp(id, body string) *adapters.MessageOp {
	return &adapters.MessageOp{
		From: adapters.Party{Address: cpim.MustParseAddress("im:romeo@" + sipDomain)}, To: adapters.Party{Address: cpim.MustParseAddress("im:juliet@" + xmppDomain)},
		TransID: id, Thread: "call-" + id, Content: adapters.Content{Type: "text/plain", Octets: []byte(body)},
		Deadline: time.Now().Add(patience),
	}
}

// logged is a place for log lines of many goroutines.
type logged struct {
	mu sync.Mutex
	b  []byte
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	return len(p), nil
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

func TestMain(m *testing.M) {
	// gosrc.io/xmpp leaves its keep-alive and its closing handshake behind.
	leaktest.Main(m, goleak.IgnoreAnyFunction("gosrc.io/xmpp.keepalive"), goleak.IgnoreAnyFunction("gosrc.io/xmpp.(*Client).recv"),
		goleak.IgnoreAnyFunction("gosrc.io/xmpp.(*Client).connect.func1"), goleak.IgnoreAnyFunction("gosrc.io/xmpp.(*XMPPTransport).Close"))
}
