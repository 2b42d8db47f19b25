package xmpp_test

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// dialFrom is dial from another address of loopback.
func (f *federation) dialFrom(ip, from, to string, cfg *tls.Config) (*stream.Conn, net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", f.addrs[to].Addr().String())
	if err != nil {
		return nil, nil, err
	}
	conn, _, err := stream.Open(ctx, c, stream.Outgoing{From: from, To: to, TLS: cfg, External: true})
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return conn, c, nil
}

func (f *federation) clientTLS(from, to string) *tls.Config {
	return f.store(from).Client(certs.Client{From: from, ServerName: to}, func(tls.ConnectionState) error { return nil })
}

// TestStreamsOfOnePeer: neither one peer nor one address can have all streams, whatever it proves; others get through, and so do we.
func TestStreamsOfOnePeer(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Servers.Limits.Streams, cfg.Servers.Limits.StreamsPerPair, cfg.Servers.Limits.StreamsPerAddress = 12, 2, 5
	core := newRecorder()
	a := start(t, cfg, core)
	stores := map[string]*tls.Config{}
	open := func(ip, from string) *player {
		t.Helper()
		if stores[from] == nil {
			stores[from] = f.clientTLS(from, "example.net")
		}
		conn, raw, err := f.dialFrom(ip, from, "example.net", stores[from])
		if err != nil {
			t.Fatal(err)
		}
		return f.play(conn, raw, "")
	}
	works := func(p *player, from string) {
		t.Helper()
		p.say("<message id='1' from='juliet@" + from + "' to='romeo@example.net'" + hello)
		next(t, core.messages, "the message of "+from)
	}
	var held []*player
	for range 2 {
		p := open("127.0.0.1", "example.com")
		works(p, "example.com")
		held = append(held, p)
	}
	open("127.0.0.1", "example.com").refused(stream.ResourceConstraint)
	open("127.0.0.2", "example.com").refused(stream.ResourceConstraint) // it is the same pair
	for _, sub := range []string{"a.example.com", "b.example.com", "c.example.com"} {
		works(open("127.0.0.1", sub), sub)
	}
	open("127.0.0.1", "d.example.com").refused(stream.ResourceConstraint)
	works(open("127.0.0.2", "example.edu"), "example.edu")
	for i := range 3 {
		sub := strconv.Itoa(i) + ".example.edu"
		works(open("127.0.0.2", sub), sub)
	}
	open("127.0.0.3", "example.org").refused(stream.ResourceConstraint) // three quarters of 12 are taken
	h := f.theatre("example.org", func(in *stream.Incoming) { in.Management = false })
	post(t, a, f.message("romeo@example.net", "nurse@example.org", "1"))
	p, _ := h.accept()
	p.hear("message")
	held[0].conn.Close(0)
	await(t, "its place is free", func() bool {
		return counted(t, cfg.Registerer, "isthmus_xmpp_server_streams", "direction=in") == 8
	})
	works(open("127.0.0.1", "example.com"), "example.com")
	for _, p := range held[1:] {
		works(p, "example.com")
	}
}

// TestStrangersTOV05: thousands of connections from many addresses that prove nothing, half of them without a word, half in the middle of
// TLS, do not keep an honest server out: at least 99 of 100 of its streams get through, 99 of 100 in 2 s, and the cap on strangers holds.
func TestStrangersTOV05(t *testing.T) {
	const strangers, honest = 6000, 200
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Servers.Limits.StreamsPerPair = honest
	core := newRecorder()
	start(t, cfg, core)
	addr := f.addrs["example.net"].Addr().String()
	tlsConfig := f.clientTLS("example.com", "example.net")
	half := "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' to='example.net' from='example.edu' version='1.0'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	var mu sync.Mutex
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	var came atomic.Int64
	full := make(chan struct{})
	var attack sync.WaitGroup
	for w := range 8 {
		attack.Go(func() {
			for i := w; i < strangers; i += 8 {
				d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(i%128), 1)}}
				c, err := d.Dial("tcp", addr)
				if err != nil {
					continue
				}
				if i%2 == 0 {
					c.Write([]byte(half))
				}
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
				if came.Add(1) == strangers/2 {
					close(full)
				}
			}
		})
	}
	select {
	case <-full:
	case <-time.After(3 * patience):
		t.Fatal("the strangers did not come")
	}
	var failed, late, most atomic.Int64
	var good sync.WaitGroup
	for w := range 4 {
		good.Go(func() {
			for range honest / 4 {
				began := time.Now()
				conn, _, err := f.dialFrom("127.2.0."+strconv.Itoa(w+1), "example.com", "example.net", tlsConfig)
				if err != nil {
					t.Log(err)
					failed.Add(1)
					continue
				}
				if time.Since(began) > 10*time.Second {
					late.Add(1)
				}
				most.Store(max(most.Load(), int64(counted(t, cfg.Registerer, "isthmus_xmpp_server_opening"))))
				conn.Close(0)
			}
		})
	}
	good.Wait()
	attack.Wait()
	if failed.Load() > honest/100 || late.Load() > honest/100 {
		t.Errorf("of %d honest streams %d failed, %d took longer than 10 s", honest, failed.Load(), late.Load())
	}
	if n := most.Load(); n > 2000 || n < 1000 {
		t.Errorf("%d strangers were inside at once", n)
	}
	if n := counted(t, cfg.Registerer, "isthmus_xmpp_server_turned_away_total", "cause=oldest"); n < strangers/4 {
		t.Errorf("only %v strangers had to go", n)
	}
}

// TestResumedWhileReading: what a stream brings while another takes its place is counted or not handled, never handled without being
// counted: it would come twice.
func TestResumedWhileReading(t *testing.T) {
	f := newFederation(t)
	core := newRecorder()
	start(t, f.config("example.net"), core)
	for range 12 {
		old := f.mustDial("example.com", "example.net", nil)
		old.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
		id := attr(old.hear("enabled"), "id")
		p := f.mustDial("example.com", "example.net", nil)
		var sending sync.WaitGroup
		sending.Go(func() {
			for i := range 400 {
				text := "<message id='" + strconv.Itoa(i) + "' from='juliet@example.com' to='romeo@example.net'" + hello
				if _, err := old.conn.Write([]byte(text), time.Now().Add(patience)); err != nil {
					return
				}
			}
		})
		next(t, core.messages, "a message")
		p.say("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='0'/>")
		h, err := strconv.Atoi(attr(p.hear("resumed"), "h"))
		if err != nil {
			t.Fatal(err)
		}
		sending.Wait()
		old.end()
		// The new stream works on, and its count too.
		p.say("<message id='last' from='juliet@example.com' to='romeo@example.net'" + hello)
		handled := 1
		for next(t, core.messages, "the messages").TransID != "last" {
			handled++
		}
		if handled != h {
			t.Fatalf("%d were handled, and %d told as handled", handled, h)
		}
		p.say("<r xmlns='urn:xmpp:sm:3'/>")
		if e := p.hear("a"); attr(e, "h") != strconv.Itoa(h+1) {
			t.Fatalf("%s after %d", e.Raw, h)
		}
		p.conn.Close(0)
	}
}

// TestLoopG6: a domain whose DNS names our own server gets nowhere: our listener serves no such host, and nothing comes back to us.
func TestLoopG6(t *testing.T) {
	for _, dialback := range []bool{false, true} {
		f := newFederation(t)
		cfg := f.config("example.net")
		cfg.Servers.Dialback = dialback
		core := newRecorder()
		a := start(t, cfg, core)
		f.addrs["example.com"] = f.addrs["example.net"].WithServerName("example.com")
		st := next(t, post(t, a, f.message("romeo@example.net", "juliet@example.com", "1")), "the outcome")
		if st.Outcome != adapters.Failure || st.Reason == adapters.ReasonOutcomeUnknown {
			t.Errorf("dialback %v: %+v", dialback, st)
		}
		st = next(t, post(t, a, outgoing{between("romeo@example.net", "tybalt@example.net", "2", "x"), f.hops("example.net")}), "the outcome")
		if st.Outcome != adapters.Failure {
			t.Errorf("to our own domain: %+v", st)
		}
		none(t, core.messages, "it came back")
	}
}

// TestDeadTargets: targets that take a connection and say nothing are tried no longer than somebody waits, who is told in time; the place
// among the streams under construction is then for another domain.
func TestDeadTargets(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Limits.ConnectTimeout = 5 * time.Second
	cfg.Servers.Limits.Dials = 1
	a := start(t, cfg, newRecorder())
	start(t, f.config("example.org"), newRecorder())
	var hops []resolver.Target
	var dead []net.Listener
	for range 8 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dead = append(dead, l)
		f.at("example.com", resolver.TCP, l.Addr().String())
		hops = append(hops, f.hops("example.com")...)
	}
	m := between("romeo@example.net", "juliet@example.com", "1", "x")
	m.Deadline = time.Now().Add(2 * time.Second)
	began := time.Now()
	if st := a.Message(t.Context(), hops, m); st.Reason != adapters.ReasonDomainTimeout {
		t.Errorf("%+v", st)
	}
	if d := time.Since(began); d > patience/2 {
		t.Errorf("told after %v", d)
	}
	if st := a.Message(t.Context(), f.hops("example.org"), between("romeo@example.net", "nurse@example.org", "1", "x")); st.Outcome != adapters.Indeterminate {
		t.Errorf("another domain: %+v", st)
	}
	if n := counted(t, cfg.Registerer, "isthmus_xmpp_server_connect_total", "result=failed"); n != 1 {
		t.Errorf("%v of %d dead targets were tried although nobody waited", n, len(dead))
	}
}

// TestPairsAreBounded: a user who writes to domain after domain fills no table: those that do not exist are forgotten for the next, and
// those that somebody waits for are not, so that the next is refused, and told so at once.
func TestPairsAreBounded(t *testing.T) {
	const most = 4
	f := newFederation(t)
	cfg := f.config("example.net")
	cfg.Servers.Limits.Pairs = most
	cfg.Limits.ConnectTimeout = 2 * patience
	a := start(t, cfg, newRecorder())
	start(t, f.config("example.org"), newRecorder())
	pairs := func() float64 { return counted(t, cfg.Registerer, "isthmus_xmpp_server_pairs") }
	for i := range 10 * most {
		st := a.Message(t.Context(), nil, between("romeo@example.net", "juliet@d"+strconv.Itoa(i)+".example.com", "1", "x"))
		if st.Reason == adapters.ReasonOverloaded { // the one before has been told, and is just being forgotten
			continue
		}
		if st.Outcome != adapters.Failure || st.Reason != adapters.ReasonDomainNotFound || pairs() > most {
			t.Fatalf("domain %d: %+v, %v pairs", i, st, pairs())
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for i := range most {
		domain := "busy" + strconv.Itoa(i) + ".example.com"
		f.at(domain, resolver.TCP, l.Addr().String())
		hops := f.hops(domain)
		waiting.Go(func() {
			for ctx.Err() == nil {
				if a.Message(ctx, hops, between("romeo@example.net", "juliet@"+domain, "1", "x")).Reason != adapters.ReasonOverloaded {
					return
				}
			}
		})
	}
	await(t, "all places are taken by pairs that somebody waits for", func() bool {
		return counted(t, cfg.Registerer, "isthmus_xmpp_server_queue_stanzas") == most
	})
	if st := a.Message(t.Context(), f.hops("example.org"), between("romeo@example.net", "nurse@example.org", "1", "x")); st.Reason != adapters.ReasonOverloaded {
		t.Errorf("%+v", st)
	}
	if n := pairs(); n != most {
		t.Errorf("%v pairs", n)
	}
	cancel()
	waiting.Wait()
}

// senders are what a 'from' may be on a stream that has proven example.com: the same domain in another spelling, or another one.
var senders = []struct {
	name, domain string
	same         bool
}{
	{"upper case", "EXAMPLE.com", true},
	{"a final dot", "example.com.", true},
	{"full-width letters", "ｅxample.com", true},
	{"an ideographic dot", "example。com", true},
	{"a Cyrillic letter", "ехample.com", false},
	{"another domain", "example.edu", false},
	{"a subdomain", "chat.example.com", false},
	{"a suffix", "example.com.example.edu", false},
	{"our own domain", "EXAMPLE.NET.", false},
}

// TestAsksWithoutReadingX7: a peer that asks for acknowledgements and reads none of the answers is closed; what waits for it is bounded.
func TestAsksWithoutReadingX7(t *testing.T) {
	f := newFederation(t)
	cfg := f.config("example.net")
	start(t, cfg, newRecorder())
	conn, raw, err := f.dialFrom("127.0.0.1", "example.com", "example.net", f.clientTLS("example.com", "example.net"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.(*net.TCPConn).SetReadBuffer(4096)
	if _, err := conn.Write([]byte("<enable xmlns='urn:xmpp:sm:3'/>"), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	flood := []byte(strings.Repeat("<r xmlns='urn:xmpp:sm:3'/>", 1000))
	end := time.Now().Add(3 * patience)
	for err == nil && time.Now().Before(end) {
		_, err = conn.Write(flood, end)
	}
	if err == nil {
		t.Error("it is still there")
	}
	await(t, "the stream is over", func() bool {
		return counted(t, cfg.Registerer, "isthmus_xmpp_server_streams", "direction=in") == 0
	})
}

// TestNoCompressionX5: compression is neither offered nor begun, before authentication and after.
func TestNoCompressionX5(t *testing.T) {
	f := newFederation(t)
	start(t, f.config("example.net"), newRecorder())
	p := f.mustDial("example.com", "example.net", nil)
	p.say("<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>")
	p.refused(stream.UnsupportedStanzaType)
	c := f.connect("example.net")
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.Write([]byte("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' to='example.net' from='example.com' version='1.0'>" +
		"<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>"))
	var all []byte
	for buf := make([]byte, 4096); ; {
		n, err := c.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			break
		}
	}
	if text := string(all); strings.Contains(text, "compress") || !strings.Contains(text, "<unsupported-stanza-type") || !strings.Contains(text, "starttls") {
		t.Errorf("%s", text)
	}
}

// TestRestrictedX3: what is restricted in XML ends the stream at once, with restricted-xml or as not well-formed: "a server MUST close the
// stream" (RFC 6120 §11.1 forbids comments, processing instructions, DTD subsets and entity references).
func TestRestrictedX3(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       stream.Condition
	}{
		{"a comment", "<!-- x -->", stream.RestrictedXML},
		{"an instruction", "<?x y?>", stream.RestrictedXML},
		{"a DTD", "<!DOCTYPE x [<!ENTITY a 'b'>]>", stream.RestrictedXML},
		{"an entity", "<message from='juliet@example.com' to='romeo@example.net'><body>&a;</body></message>", stream.RestrictedXML},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFederation(t)
			core := newRecorder()
			start(t, f.config("example.net"), core)
			p := f.mustDial("example.com", "example.net", nil)
			p.say(c.text)
			p.refused(c.want)
			none(t, core.messages, "it was taken")
		})
	}
}

// TestNoByteStreamsX16: nothing is relayed: a server that looks for a proxy finds none, and one that asks for one is refused.
func TestNoByteStreamsX16(t *testing.T) {
	f := newFederation(t)
	start(t, f.config("example.net"), newRecorder())
	h := f.theatre("example.com", func(in *stream.Incoming) { in.Management = false })
	p := f.mustDial("example.com", "example.net", nil)
	for i, payload := range []string{
		"get'><query xmlns='http://jabber.org/protocol/bytestreams'/></iq>",
		"set'><query xmlns='http://jabber.org/protocol/bytestreams' sid='x'><activate>nurse@example.com/1</activate></query></iq>",
		"set'><si xmlns='http://jabber.org/protocol/si' id='x' profile='http://jabber.org/protocol/si/profile/file-transfer'/></iq>",
		"get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
		"get'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
	} {
		p.say("<iq from='juliet@example.com/1' to='example.net' id='q" + strconv.Itoa(i) + "' type='" + payload)
	}
	back, _ := h.accept()
	for i := range 5 {
		e := back.hear("iq")
		for strings.HasPrefix(attr(e, "to"), "example.com") { // a ping
			e = back.hear("iq")
		}
		refused := strings.Contains(e.Raw, "service-unavailable")
		if attr(e, "id") != "q"+strconv.Itoa(i) || refused != (i < 3) || i >= 3 && (strings.Contains(e.Raw, "bytestreams") || strings.Contains(e.Raw, "proxy")) {
			t.Errorf("%s", e.Raw)
		}
	}
}
