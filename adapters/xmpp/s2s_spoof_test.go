package xmpp_test

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// TestForbiddenAddressG15: an address that must not be reached is not dialled, whoever brings it: the core, our own look-up, or the claim
// of a stranger that dialback would verify. The dialler is asked too, after every look-up.
func TestForbiddenAddressG15(t *testing.T) {
	forbidden := errors.New("forbidden")
	for _, by := range []string{"AllowAddr", "DialControl"} {
		t.Run(by, func(t *testing.T) {
			f := newFederation(t)
			cfg := f.config("example.net")
			cfg.Servers.Dialback = true
			var asked atomic.Int64
			if by == "AllowAddr" {
				cfg.Servers.AllowAddr = func(netip.Addr) error { asked.Add(1); return forbidden }
			} else {
				cfg.Servers.DialControl = func(string, string, syscall.RawConn) error { asked.Add(1); return forbidden }
			}
			a := start(t, cfg, newRecorder())
			h := f.theatre("example.com", nil)
			reached := make(chan struct{}, 8)
			go func() {
				for {
					c, err := h.l.Accept()
					if err != nil {
						return
					}
					reached <- struct{}{}
					c.Close()
				}
			}()
			for i, hops := range [][]resolver.Target{f.hops("example.com"), nil} {
				st := a.Message(t.Context(), hops, between("romeo@example.net", "juliet@example.com", strconv.Itoa(i), "x"))
				if st.Outcome != adapters.Failure || st.Reason == adapters.ReasonOutcomeUnknown {
					t.Errorf("%+v", st)
				}
			}
			before := asked.Load()
			p := f.mustDial("example.com", "example.net", func(o *stream.Outgoing) { o.External = false })
			p.say("<db:result from='example.com' to='example.net'>0123</db:result>")
			if e := p.hear("result"); attr(e, "type") != "error" {
				t.Errorf("%s", e.Raw)
			}
			if before == 0 || asked.Load() == before {
				t.Error("it was not asked")
			}
			none(t, reached, "it was dialled")
		})
	}
}

// TestSendersTID08: what may come is from the domain that was proven, however that was done and however it is spelt: by a certificate, by
// dialback, on a stream that was resumed, and on one of ours that goes both ways.
func TestSendersTID08(t *testing.T) {
	for _, how := range []string{"certificate", "dialback", "resumed", "both ways"} {
		for _, c := range senders {
			t.Run(how+"/"+c.name, func(t *testing.T) {
				f := newFederation(t)
				cfg := f.config("example.net")
				cfg.Servers.Dialback = how == "dialback"
				core := newRecorder()
				a := start(t, cfg, core)
				var p *player
				switch how {
				case "certificate":
					p = f.mustDial("example.com", "example.net", nil)
				case "dialback":
					h := f.theatre("example.com", nil)
					p = f.mustDial("example.com", "example.net", func(o *stream.Outgoing) { o.External = false })
					p.say("<db:result from='example.com' to='example.net'>0123</db:result>")
					auth, _ := h.accept()
					auth.hear("verify")
					auth.say("<db:verify from='example.com' to='example.net' id='" + p.id + "' type='valid'/>")
					p.hear("result")
				case "resumed":
					old := f.mustDial("example.com", "example.net", nil)
					old.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
					id := attr(old.hear("enabled"), "id")
					p = f.mustDial("example.com", "example.net", nil)
					p.say("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='0'/>")
					p.hear("resumed")
				case "both ways":
					h := f.theatre("example.com", func(in *stream.Incoming) { in.Bidi, in.Management = true, false })
					post(t, a, f.message("romeo@example.net", "juliet@example.com", "1"))
					p, _ = h.accept()
					p.hear("message")
				}
				p.say("<message id='1' from='juliet@" + c.domain + "' to='romeo@example.net'" + hello)
				if !c.same {
					p.refused(stream.InvalidFrom)
					none(t, core.messages, "it was taken")
					return
				}
				if op := next(t, core.messages, "the message"); op.From.Address.String() != "im:juliet@example.com" {
					t.Errorf("from %s", op.From.Address)
				}
			})
		}
	}
}

// TestDialbackVouchTTL09: we vouch for the keys that we made, for the pair and the stream that they were made for, and for no others
// (XEP-0220 §2.2.2).
func TestDialbackVouchTTL09(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net", "example.org")
	cfg.Servers.Dialback = true
	a := start(t, cfg, newRecorder())
	h := f.theatre("example.com", func(in *stream.Incoming) { in.Authorize, in.Management = nil, false })
	post(t, a, f.message("romeo@example.net", "juliet@example.com", "1"))
	s, _ := h.accept()
	key := s.hear("result").Text()
	p := f.mustDial("example.com", "example.net", nil)
	for _, c := range []struct{ name, from, to, id, key, want string }{
		{"ours", "example.com", "example.net", s.id, key, "valid"},
		{"another stream", "example.com", "example.net", p.id, key, "invalid"},
		{"another receiver", "example.edu", "example.net", s.id, key, "invalid"},
		{"another domain of ours", "example.com", "example.org", s.id, key, "invalid"},
		{"upper case", "example.com", "example.net", s.id, strings.ToUpper(key), "invalid"},
		{"a part", "example.com", "example.net", s.id, key[:63], "invalid"},
		{"made up", "example.com", "example.net", s.id, strings.Repeat("0", 64), "invalid"},
		{"no domain of ours", "example.com", "example.edu", s.id, key, "error"},
	} {
		p.say("<db:verify from='" + c.from + "' to='" + c.to + "' id='" + c.id + "'>" + c.key + "</db:verify>")
		if e := p.hear("verify"); attr(e, "type") != c.want || attr(e, "id") != c.id || attr(e, "from") != c.to || attr(e, "to") != c.from {
			t.Errorf("%s: %s", c.name, e.Raw)
		}
	}
}

// TestDialbackOtherStreamTTL09: of two streams of one pair, each with a key of its own, the verdict on the one's proves nothing of the
// other's, and a verdict that one of them brings itself ends it.
func TestDialbackOtherStreamTTL09(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Servers.Dialback = true
	core := newRecorder()
	start(t, cfg, core)
	h := f.theatre("example.com", nil)
	var p [3]*player
	var auth *player
	for i := range p {
		p[i] = f.mustDial("example.com", "example.net", func(o *stream.Outgoing) { o.External = false })
		p[i].say("<db:result from='example.com' to='example.net'>0123</db:result>")
		if i == 0 {
			auth, _ = h.accept()
		}
		if q := auth.hear("verify"); attr(q, "id") != p[i].id {
			t.Fatalf("%s", q.Raw)
		}
	}
	auth.say("<db:verify from='example.com' to='example.net' id='" + p[1].id + "' type='valid'/>")
	if e := p[1].hear("result"); attr(e, "type") != "valid" {
		t.Errorf("%s", e.Raw)
	}
	p[0].say(twelve)
	p[0].refused(stream.NotAuthorized)
	p[2].say("<db:verify from='example.com' to='example.net' id='" + p[2].id + "' type='valid'/>" + twelve)
	p[2].refused(stream.NotAuthorized)
	none(t, core.messages, "it was believed")
	p[1].say(twelve)
	next(t, core.messages, "the message of the stream that is proven")
}
