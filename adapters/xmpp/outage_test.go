package xmpp_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/xmpptest"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
)

// listener is a core that hears of ways.
type listener struct {
	*recorder
	mu   sync.Mutex
	said []string
}

func (l *listener) add(what string, w adapters.Way) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, what+" "+w.Ours+" "+w.Theirs)
}

func (l *listener) Lost(w adapters.Way) { l.add("lost", w) }
func (l *listener) Back(w adapters.Way) { l.add("back", w) }

func (l *listener) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.said, ", ")
}

// T-PR-11, T-FI-08: the core hears that a component's link broke, however it ended, and that it is back; of the first link nothing is
// said.
func TestT_PR_11_LinkIsLostAndBack(t *testing.T) {
	for _, orderly := range []bool{false, true} {
		core := &listener{recorder: newRecorder()}
		server := listen(t)
		cfg := quick()
		c := component(server.l.Addr().String())
		c.Hosts = []string{"example.org"}
		cfg.Components = []xmpp.Component{c}
		up := make(chan *peer, 1)
		go func() {
			p := server.welcome(t)
			up <- p
		}()
		a := start(t, cfg, core)
		p := next(t, up, "the component's stream")
		await(t, "the link is up", func() bool { return a.Links()[0].Phase == xmpp.LinkUp })
		if got := core.String(); got != "" {
			t.Errorf("at the start: %s", got)
		}
		if orderly {
			p.say("</stream:stream>")
		}
		p.conn.Close()
		const lost = "lost example.net example.com, lost example.org example.com"
		await(t, lost, func() bool { return core.String() == lost })
		server.welcome(t)
		const back = lost + ", back example.net example.com, back example.org example.com"
		await(t, back, func() bool { return core.String() == back })
	}
}

// The first attempts failed, as when both sides' machines start: what was asked meanwhile failed, and the core hears when it may ask.
func TestT_PR_11_LinkIsUpLate(t *testing.T) {
	core := &listener{recorder: newRecorder()}
	addr := porttest.Address(t)
	cfg := quick()
	cfg.Components = []xmpp.Component{component(addr)}
	start(t, cfg, core)
	server, err := xmpptest.StartAt(serverConfig(), addr, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	await(t, "back", func() bool { return core.String() == "back example.net example.com" })
}

// T-PR-11: of a stream between servers that broke the core hears; of one that was closed in good order, because nothing was to be said, it
// does not. That of a domain which was not spoken to for long is back is said once.
func TestT_PR_11_PairIsLostAndBack(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(*player)
		lost bool
	}{
		"closed":                 {func(p *player) { p.say("</stream:stream>") }, false},
		"closed because idle":    {func(p *player) { p.say(streamError("connection-timeout")) }, false},
		"the server shuts down":  {func(p *player) { p.say(streamError("system-shutdown")) }, true},
		"the connection is gone": {func(p *player) { p.raw.Close() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFederation(t)
			core := &listener{recorder: newRecorder()}
			a := start(t, f.config("example.net"), core)
			h := f.theatre("example.com", nil)
			done := post(t, a, f.message("romeo@example.net", "juliet@example.com", "1"))
			p, _ := h.accept()
			p.manage(false)
			p.hear("message")
			p.ack(1)
			next(t, done, "the outcome")
			const first = "back example.net example.com"
			await(t, first, func() bool { return core.String() == first })
			tc.end(p)
			next(t, p.ended, "the end of the stream") // else what follows may be written on it
			want := first
			if tc.lost {
				want += ", lost example.net example.com"
				await(t, want, func() bool { return core.String() == want })
			}
			done = post(t, a, f.message("romeo@example.net", "juliet@example.com", "2"))
			p, _ = h.accept()
			p.manage(false)
			p.hear("message")
			p.ack(1)
			next(t, done, "the outcome")
			if tc.lost {
				want += ", back example.net example.com"
			}
			await(t, want, func() bool { return core.String() == want })
		})
	}
}

func streamError(condition string) string {
	return "<stream:error><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
}

// A stream that is resumed in time lost nothing; one that is not, did.
func TestT_PR_11_ResumedIsNotLost(t *testing.T) {
	for _, resumed := range []bool{true, false} {
		f := newFederation(t)
		core := &listener{recorder: newRecorder()}
		cfg := f.config("example.net")
		cfg.Servers.Limits.Resume = patience
		a := start(t, cfg, core)
		h := f.theatre("example.com", nil)
		done := post(t, a, f.message("romeo@example.net", "juliet@example.com", "1"))
		p, _ := h.accept()
		p.manage(true)
		p.hear("message")
		p.ack(1)
		next(t, done, "the outcome")
		p.raw.Close()
		p, _ = h.accept()
		p.hear("resume")
		want := "back example.net example.com"
		if resumed {
			p.say("<resumed xmlns='urn:xmpp:sm:3' previd='sm-1' h='1'/>")
		} else {
			p.say("<failed xmlns='urn:xmpp:sm:3' h='1'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
			want += ", lost example.net example.com"
		}
		done = post(t, a, f.message("romeo@example.net", "juliet@example.com", "2"))
		if !resumed {
			p, _ = h.accept()
			p.manage(false)
			want += ", back example.net example.com"
		}
		p.hear("message")
		await(t, want, func() bool { return core.String() == want })
		p.ack(map[bool]int{true: 2, false: 1}[resumed])
		next(t, done, "the outcome")
	}
}
