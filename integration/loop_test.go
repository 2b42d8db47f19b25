package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/adapters/sip"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Several gateways whose networks are wired to each other wrongly. What crosses between them is octets, written and read by the adapters' own
// functions, so that what survives a crossing is what survives one in the field; the sockets alone are missing.

// node is one gateway of a maze.
type node struct {
	gateway   *gateway.Gateway
	sip, xmpp *adaptertest.Fake
}

// maze is the gateways and the networks between them.
type maze struct {
	t     *testing.T
	nodes []*node
	// sipTo and xmppTo are the routing of the two networks: the gateway that a frame of gateway from, for a domain, comes to; -1: the user.
	sipTo, xmppTo func(from int, domain string) int
	// strip takes our own element out of each stanza.
	strip bool

	mu      sync.Mutex
	copies  int         // of the message itself, that a gateway handed to a network
	arrived map[int]int // of the message itself, at each gateway
	told    []string    // what came to users
	wg      sync.WaitGroup
}

const loopText = "round and round"

var ownElement = regexp.MustCompile(`<way [^>]*/>`)

// newMaze starts gateways; crossed[i] says that gateway i takes example.net for XMPP's and example.com for SIP's.
func newMaze(t *testing.T, crossed ...bool) *maze {
	m := &maze{t: t, arrived: map[int]int{}}
	hop := func(s string) []resolver.Static { return []resolver.Static{resolver.MustParseStatic(s)} }
	for i, x := range crossed {
		n := &node{
			sip:  adaptertest.NewFake("sip", adapters.Capabilities{Protocol: resolver.SIP, CarriesHops: true, PositiveAnswer: true, OnePerRecipient: true}),
			xmpp: adaptertest.NewFake("xmpp", adapters.Capabilities{Protocol: resolver.XMPP, AsksExplicitly: true, OneByOne: true}),
		}
		n.sip.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status { return m.overSIP(i, op) }
		n.xmpp.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status { return m.overXMPP(i, op) }
		n.sip.OnReport = func(_ context.Context, r *adapters.Report) adapters.Status {
			m.tell(i, m.sipTo, r)
			return adapters.Succeeded()
		}
		n.xmpp.OnReport = func(_ context.Context, r *adapters.Report) adapters.Status {
			m.tell(i, m.xmppTo, r)
			return adapters.Accepted()
		}
		net, com := "sip", "xmpp"
		if x {
			net, com = com, net
		}
		ways := map[string][]resolver.Static{"sip": hop("sip:127.0.0.1:5060;transport=udp"), "xmpp": hop("component:127.0.0.1:5347")}
		var err error
		n.gateway, err = gateway.New(gateway.Config{
			Adapters: []adapters.Adapter{n.sip, n.xmpp},
			Routes: []gateway.Route{
				{Domain: "example.net", Adapter: net, NextHops: ways[net]},
				{Domain: "example.com", Adapter: com, NextHops: ways[com]},
			},
			Limits: gateway.Limits{Repeats: 3, PairRate: 50}, Logger: zerolog.Nop(),
		})
		if err == nil {
			err = n.gateway.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		m.nodes = append(m.nodes, n)
	}
	return m
}

func (m *maze) shutdown() {
	m.wg.Wait()
	for _, n := range m.nodes {
		if err := n.gateway.Shutdown(context.Background()); err != nil {
			m.t.Error(err)
		}
	}
}

// count notes that gateway from handed a message to gateway to, or to the user.
func (m *maze) count(from, to int, octets []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !bytes.Contains(octets, []byte(loopText)) {
		return
	}
	if from >= 0 {
		m.copies++
	}
	m.arrived[to]++
	if to < 0 {
		m.told = append(m.told, "message")
	}
}

// tell is a notice of gateway i: it is the user's, since a notice is never answered and this one has come to its end.
func (m *maze) tell(_ int, _ func(int, string) int, r *adapters.Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, r.Kind.String()+" "+r.Sender.Address.String())
}

// overSIP writes op as a request, and has the gateway that it comes to read it. Its answer is the outcome.
func (m *maze) overSIP(from int, op *adapters.MessageOp) adapters.Status {
	req, err := sip.WriteMessage(op, sip.WriteOptions{FromTag: wire.NewTag(), CallID: wire.NewCallID(""), CSeq: 1, Now: time.Now()})
	if err != nil {
		return adapters.Failed(adapters.ReasonLoop, "")
	}
	octets, err := wire.AppendRequest(nil, req, wire.ViaSpec{Transport: "TCP", SentBy: "gw.example.org", Branch: wire.NewBranch(req.BranchHint)})
	if err != nil {
		m.t.Errorf("write: %v", err)
		return adapters.Failed(adapters.ReasonInternal, "")
	}
	to := m.sipTo(from, op.To.Address.Domain())
	m.count(from, to, octets)
	if to < 0 {
		return adapters.Succeeded()
	}
	return m.arriveSIP(to, octets)
}

func (m *maze) arriveSIP(to int, octets []byte) adapters.Status {
	msg, err := wire.Parse(octets, wire.Limits{})
	if err != nil {
		m.t.Errorf("read: %v in\n%s", err, octets)
		return adapters.Failed(adapters.ReasonInternal, "")
	}
	in, ref := sip.ReadMessage(msg, sip.ReadOptions{Now: time.Now()})
	if ref != nil || in.Message == nil {
		m.t.Errorf("read: %v in\n%s", ref, octets)
		return adapters.Failed(adapters.ReasonInternal, "")
	}
	answer := make(chan adapters.Status, 1)
	m.nodes[to].sip.Handler().Message(context.Background(), in.Message, func(s adapters.Status) { answer <- s })
	s := <-answer
	if s.Outcome == adapters.Failure {
		s.Code = sip.CodeOf(s.Reason, false)
	}
	return s
}

// overXMPP writes op as a stanza, and has the gateway that it comes to read it; an error comes back as a stanza of its own.
func (m *maze) overXMPP(from int, op *adapters.MessageOp) adapters.Status {
	octets, err := stanza.AppendMessage(nil, op, stanza.Envelope{Now: time.Now()})
	if err != nil {
		m.t.Errorf("write: %v", err)
		return adapters.Failed(adapters.ReasonInternal, "")
	}
	if m.strip {
		octets = ownElement.ReplaceAll(octets, nil)
	}
	to := m.xmppTo(from, op.To.Address.Domain())
	m.count(from, to, octets)
	if to >= 0 {
		m.wg.Go(func() { m.arriveXMPP(from, to, octets) })
	}
	return adapters.Accepted()
}

func (m *maze) read(octets []byte) *stanza.Stanza {
	scope, _ := strictxml.NewScope(nil, "", stanza.SpaceComponent)
	s, err := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{}).Read(octets, scope)
	if err != nil {
		m.t.Fatalf("read: %v in\n%s", err, octets)
	}
	return s
}

// arriveXMPP gives a stanza to gateway to. from is the gateway that hears of an error, -1: the user.
func (m *maze) arriveXMPP(from, to int, octets []byte) {
	h := m.nodes[to].xmpp.Handler()
	s := m.read(octets)
	if r := stanza.ToReport(s, time.Now()); r != nil {
		h.Report(context.Background(), r)
		if s.Type == "error" || !s.Says() {
			return
		}
	}
	op, e := stanza.ToMessage(s)
	if e != nil || op == nil {
		return
	}
	answer := make(chan adapters.Status, 1)
	h.Message(context.Background(), op, func(st adapters.Status) { answer <- st })
	st := <-answer
	switch {
	case st.Outcome != adapters.Failure:
	case from < 0:
		m.mu.Lock()
		m.told = append(m.told, "failed "+op.From.Address.String())
		m.mu.Unlock()
	default:
		m.arriveXMPP(-1, from, stanza.AppendError(nil, stanza.ErrorReply{Kind: stanza.Message, From: s.To, To: s.From, ID: s.ID, Error: stanza.ErrorOf(st)}))
	}
}

// fromSIP sends a message of a SIP user to gateway 0, fromXMPP one of an XMPP user.
func (m *maze) fromSIP() {
	const lines = "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/TCP s2x.example.net;branch=z9hG4bKeskdgs677\r\nMax-Forwards: 70\r\n" +
		"To: sip:juliet@example.com\r\nFrom: sip:romeo@example.net;tag=vwxyz\r\nCall-ID: 9E97FB43\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n"
	octets := fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", lines, len(loopText), loopText)
	m.count(-1, 0, octets)
	if st := m.arriveSIP(0, octets); st.Outcome == adapters.Failure {
		m.mu.Lock()
		m.told = append(m.told, "failed im:romeo@example.net")
		m.mu.Unlock()
	}
}

func (m *maze) fromXMPP() {
	octets := []byte("<message from='juliet@example.com/balcony' to='romeo@example.net' id='m1' type='chat'><body>" + loopText + "</body><origin-id xmlns='urn:xmpp:sid:0' id='o1'/></message>")
	m.count(-1, 0, octets)
	m.arriveXMPP(-1, 0, octets)
}

// circle wires the gateways in a ring in both networks: what gateway i hands out comes to the next one. What is for the sender's own
// domain comes to its user.
func (m *maze) circle(sender string) {
	next := func(from int, domain string) int {
		if domain == sender {
			return -1
		}
		return (from + 1) % len(m.nodes)
	}
	m.sipTo, m.xmppTo = next, next
}

// THREATS.md G1: gateways that take each other for the way to the recipient. However many copies there would be, there are 4 at most at
// each of them, and the sender is told once that it failed. With the marks that the gateways leave there is one round; without them
// (T-LP-02) it is the third copy in half a second that shows the circle, or the fourth in ten seconds.
//
// Each gateway counts for itself, and hands on 2 of what comes as fast as a circle turns; the message of an XMPP user counts anew when it has lost
// its origin-id in SIP.
func TestT_LP_01_T_LP_02_T_LP_05_CirclesEnd(t *testing.T) {
	for _, c := range []struct {
		name    string
		crossed []bool
		strip   bool
		copies  int // that gateways hand out, at most
		arrived int // at one gateway, at most
	}{
		{"T-LP-01 two gateways", []bool{false, true}, false, 2, 2},
		{"T-LP-02 with a middlebox that strips our element", []bool{false, true}, true, 5, 3},
		// A ring of three ends where it closes: there the sender's domain is on the wrong side.
		{"T-LP-05 three gateways", []bool{false, true, false}, false, 3, 2},
		{"T-LP-05 four gateways", []bool{false, true, false, true}, false, 4, 2},
	} {
		for _, from := range []string{"sip", "xmpp"} {
			t.Run(c.name+" from "+from, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newMaze(t, c.crossed...)
					defer m.shutdown()
					m.strip = c.strip
					sender, who := "example.net", "im:romeo@example.net"
					if from == "xmpp" {
						sender, who = "example.com", "im:juliet@example.com"
					}
					m.circle(sender)
					if from == "sip" {
						m.fromSIP()
					} else {
						m.fromXMPP()
					}
					synctest.Wait()
					time.Sleep(10 * time.Minute)
					synctest.Wait()
					m.mu.Lock()
					defer m.mu.Unlock()
					most := c.copies
					if c.strip && from == "sip" {
						most-- // it has one name all the time
					}
					if m.copies > most {
						t.Errorf("%d copies were handed out, want %d at most", m.copies, most)
					}
					for i, n := range m.arrived {
						if i >= 0 && n > c.arrived {
							t.Errorf("%d came to gateway %d, want %d at most", n, i, c.arrived)
						}
					}
					t.Logf("%d copies were handed out; arrived %v; told: %s", m.copies, m.arrived, strings.Join(m.told, ", "))
					failures := 0
					for _, s := range m.told {
						if s == "failed "+who {
							failures++
						}
					}
					if failures == 0 || m.arrived[-1] != 0 {
						t.Errorf("the sender was not told: %s", strings.Join(m.told, ", "))
					}
				})
			})
		}
	}
}

// T-LP-06, THREATS.md G2: a peer that answers every frame by an error, a receipt, a marker, or the message itself. A message makes 3 frames at
// most in each direction, whatever comes back.
func TestT_LP_06_HostileEcho(t *testing.T) {
	for _, c := range []struct {
		name string
		echo func(s *stanza.Stanza) string // the answer to a stanza, "" for none; every frame that comes back gets one too
	}{
		{"an error to everything", func(s *stanza.Stanza) string {
			return fmt.Sprintf("<message from='%s' to='%s' id='%s' type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>", s.To, s.From, s.ID)
		}},
		{"a receipt for everything", func(s *stanza.Stanza) string {
			return fmt.Sprintf("<message from='%s' to='%s' id='r'><received xmlns='urn:xmpp:receipts' id='%s'/></message>", s.To, s.From, s.ID)
		}},
		{"a marker for everything", func(s *stanza.Stanza) string {
			return fmt.Sprintf("<message from='%s' to='%s' id='r'><displayed xmlns='urn:xmpp:chat-markers:0' id='%s'/></message>", s.To, s.From, s.ID)
		}},
		{"the message itself", func(s *stanza.Stanza) string {
			return fmt.Sprintf("<message from='%s' to='%s' id='%s'><body>%s</body><thread>%s</thread></message>", s.To, s.From, s.ID, loopText, s.Thread)
		}},
		{"the message itself as ours", func(s *stanza.Stanza) string {
			return fmt.Sprintf("<message from='%s' to='%s' id='%s'><body>%s</body><thread>%s</thread></message>", s.From, s.To, s.ID, loopText, s.Thread)
		}},
	} {
		for _, userEchoes := range []bool{false, true} { // whether the SIP user is a machine that sends back every message
			t.Run(fmt.Sprintf("%s, SIP echoes %v", c.name, userEchoes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newMaze(t, false)
					defer m.shutdown()
					n, toXMPP, toSIP := m.nodes[0], 0, 0
					var hear func(octets []byte)
					hear = func(octets []byte) {
						m.mu.Lock()
						toXMPP++
						over := toXMPP > 50
						m.mu.Unlock()
						s := m.read(octets)
						answer := c.echo(s)
						if answer == "" || over {
							return
						}
						m.wg.Go(func() {
							back := m.read([]byte(answer))
							if r := stanza.ToReport(back, time.Now()); r != nil {
								n.xmpp.Handler().Report(context.Background(), r)
								return
							}
							op, e := stanza.ToMessage(back)
							if e != nil {
								return
							}
							said := make(chan adapters.Status, 1)
							n.xmpp.Handler().Message(context.Background(), op, func(st adapters.Status) { said <- st })
							if st := <-said; st.Outcome == adapters.Failure {
								hear(stanza.AppendError(nil, stanza.ErrorReply{Kind: stanza.Message, From: back.To, To: back.From, ID: back.ID, Error: stanza.ErrorOf(st)}))
							}
						})
					}
					n.xmpp.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
						octets, err := stanza.AppendMessage(nil, op, stanza.Envelope{Now: time.Now()})
						if err != nil {
							t.Error(err)
						}
						hear(octets)
						return adapters.Accepted()
					}
					n.xmpp.OnReport = func(_ context.Context, r *adapters.Report) adapters.Status {
						octets, err := stanza.AppendReport(nil, r, "own")
						if err != nil {
							t.Error(err)
						}
						hear(octets)
						return adapters.Accepted()
					}
					sipFrame := func() bool {
						m.mu.Lock()
						defer m.mu.Unlock()
						toSIP++
						return toSIP <= 50
					}
					n.sip.OnMessage = func(_ context.Context, op *adapters.MessageOp) adapters.Status {
						if sipFrame() && userEchoes {
							// It answers in the same call; one that makes a new call each time is held up by the brake alone.
							again := &adapters.MessageOp{From: op.To, To: op.From, Thread: "9E97FB43", TransID: op.TransID + "e", Hops: adapters.DefaultHops, Content: op.Content}
							m.wg.Go(func() { n.sip.Handler().Message(context.Background(), again, func(adapters.Status) {}) })
						}
						return adapters.Succeeded()
					}
					n.sip.OnReport = func(context.Context, *adapters.Report) adapters.Status {
						sipFrame()
						return adapters.Succeeded()
					}
					m.fromSIP()
					synctest.Wait()
					time.Sleep(10 * time.Minute)
					synctest.Wait()
					m.mu.Lock()
					defer m.mu.Unlock()
					t.Logf("%d to XMPP, %d to SIP", toXMPP, toSIP)
					most := 3
					if userEchoes {
						most = 6 // two machines that answer each other: 3, and the error for each message of its own that is refused
					}
					if toXMPP > most || toSIP > 3 {
						t.Errorf("%d frames to XMPP, %d to SIP: want %d and 3 at most", toXMPP, toSIP, most)
					}
				})
			})
		}
	}
}
