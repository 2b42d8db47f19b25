package integration_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// shore is what several gateways that act as one have on their two sides: a SIP user agent, and the XMPP server that has them as its component.
type shore struct {
	t    *testing.T
	conn *net.UDPConn
	xmpp net.Listener

	mu    sync.Mutex
	links map[net.Conn]bool
	down  bool
	got   map[string]int // bodies that the XMPP server took
	codes map[string]int // final answers to requests, by Call-ID
}

func newShore(t *testing.T) *shore {
	t.Helper()
	s := &shore{t: t, links: map[net.Conn]bool{}, got: map[string]int{}, codes: map[string]int{}}
	var err error
	if s.conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	if s.xmpp, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0])); err != nil {
		t.Fatal(err)
	}
	var busy sync.WaitGroup
	t.Cleanup(func() {
		s.conn.Close()
		s.xmpp.Close()
		s.offline(true)
		busy.Wait()
	})
	busy.Go(s.answers)
	busy.Go(func() {
		for {
			c, err := s.xmpp.Accept()
			if err != nil {
				return
			}
			busy.Go(func() { s.component(c) })
		}
	})
	return s
}

// offline ends the component's links and takes none, or takes them again.
func (s *shore) offline(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down = yes; yes {
		for c := range s.links {
			c.Close()
		}
	}
}

// component serves one link (XEP-0114): it takes every message, and answers pings.
func (s *shore) component(c net.Conn) {
	defer c.Close()
	s.mu.Lock()
	down := s.down
	s.links[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.links, c)
		s.mu.Unlock()
	}()
	if down {
		return
	}
	d := xml.NewDecoder(c)
	next := func() (xml.StartElement, error) {
		for {
			token, err := d.Token()
			if e, ok := token.(xml.StartElement); ok || err != nil {
				return e, err
			}
		}
	}
	if _, err := next(); err != nil { // the stream's header
		return
	}
	fmt.Fprint(c, "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' from='x' id='shore'>")
	for {
		e, err := next()
		if err != nil {
			return
		}
		var stanza struct {
			XMLName xml.Name
			From    string `xml:"from,attr"`
			To      string `xml:"to,attr"`
			Type    string `xml:"type,attr"`
			ID      string `xml:"id,attr"`
			Body    string `xml:"body"`
		}
		if d.DecodeElement(&stanza, &e) != nil {
			return
		}
		switch {
		case stanza.XMLName.Local == "handshake":
			fmt.Fprint(c, "<handshake/>")
		case stanza.XMLName.Local == "message" && stanza.Body != "":
			s.mu.Lock()
			s.got[stanza.Body]++
			s.mu.Unlock()
		case stanza.XMLName.Local == "iq" && stanza.Type == "get":
			fmt.Fprintf(c, "<iq type='result' id='%s' from='%s' to='%s'/>", stanza.ID, stanza.To, stanza.From)
		}
	}
}

// answers reads what comes to the SIP user agent.
func (s *shore) answers() {
	b := make([]byte, 65535)
	for {
		n, _, err := s.conn.ReadFromUDP(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // nobody listens where a request was sent
		}
		text := string(b[:n])
		var code int
		if _, err := fmt.Sscanf(text, "SIP/2.0 %d", &code); err != nil || code < 200 {
			continue
		}
		_, id, _ := strings.Cut(text, "\r\nCall-ID: ")
		id, _, _ = strings.Cut(id, "\r\n")
		s.mu.Lock()
		s.codes[id] = code
		s.mu.Unlock()
	}
}

// says sends a message to a gateway, as often as UDP wants it (RFC 3261 §17.1.2.2), and returns the final answer.
func (s *shore) says(gateway, from, to, text string) int {
	s.t.Helper()
	at, err := net.ResolveUDPAddr("udp", gateway)
	if err != nil {
		s.t.Fatal(err)
	}
	request := fmt.Sprintf("MESSAGE sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s>;tag=f%s\r\nTo: <sip:%s>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s",
		to, s.conn.LocalAddr(), text, from, text, to, text, len(text), text)
	pause, next := 500*time.Millisecond, time.Now()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for end := next.Add(32 * time.Second); time.Now().Before(end); <-look.C {
		s.mu.Lock()
		code := s.codes[text]
		s.mu.Unlock()
		if code != 0 {
			return code
		}
		if now := time.Now(); !now.Before(next) {
			_, _ = s.conn.WriteToUDP([]byte(request), at) // refused while the gateway is dead
			next, pause = now.Add(pause), min(2*pause, 4*time.Second)
		}
	}
	return 0
}

// arrived waits until the XMPP server has a message, once.
func (s *shore) arrived(text string) {
	s.t.Helper()
	lab.Eventually(s.t, patience, text+" has arrived", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.got[text] > 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.got[text]; n != 1 {
		s.t.Errorf("%s has arrived %d times", text, n)
	}
}

// linked tells whether a gateway has the component's link.
func (s *shore) linked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.links) > 0
}

// externalCluster is three servers of NATS that are no gateways.
func externalCluster(t *testing.T) (servers []*server.Server, urls []string) {
	t.Helper()
	ports := lab.FreePorts(t, 6)
	var routes []*url.URL
	for _, p := range ports[:3] {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", p)})
	}
	for i := range 3 {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("s%d", i), Host: "127.0.0.1", Port: ports[3+i], JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "outside", Host: "127.0.0.1", Port: ports[i]}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		servers, urls = append(servers, s), append(urls, fmt.Sprintf("%q", "nats://"+fmt.Sprintf("127.0.0.1:%d", ports[3+i])))
	}
	return servers, urls
}

// Two gateways that keep nothing themselves, on a cluster of NATS servers: either takes a message, one of them has the link, another takes over when it
// is killed, what is stored is delivered, also with one of the servers away, and they end when they are told to.
func TestGatewaysOnAnExternalCluster(t *testing.T) {
	servers, urls := externalCluster(t)
	s := newShore(t)
	_, port, _ := net.SplitHostPort(s.xmpp.Addr().String())
	component, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string) *lab.Gateway {
		return lab.RunGateway(t, lab.GatewayConfig{
			Component: component, NextHop: fmt.Sprintf("sip:%s;transport=udp", s.conn.LocalAddr()),
			Extra: fmt.Sprintf("store: {cluster: {node: %s, urls: [%s]}}\nlimits: {drain: 10s, messages: {direct_wait: 2s}}\n", name, strings.Join(urls, ", ")),
		})
	}
	gateways := []*lab.Gateway{start("a"), start("b")}
	parts := func(g *lab.Gateway, line string) bool {
		_, text := g.Get("/metrics")
		return strings.Contains(text, "\n"+line+"\n")
	}
	for _, g := range gateways {
		lab.Eventually(t, 2*patience, "a gateway has parts", func() bool {
			_, text := g.Get("/metrics")
			return strings.Contains(text, "\nisthmus_cluster_parts ") && !parts(g, "isthmus_cluster_parts 0")
		})
	}
	lab.Eventually(t, 2*patience, "one has the link", s.linked)
	at := func(g *lab.Gateway) string { return fmt.Sprintf("127.0.0.1:%d", g.Port) }
	for i, g := range gateways {
		text := fmt.Sprintf("first%d", i)
		if code := s.says(at(g), "romeo@example.net", "juliet@example.com", text); code/100 != 2 {
			t.Fatalf("gateway %d answers %d", i, code)
		}
		s.arrived(text)
	}

	// Stored while the XMPP server is away and a server of the store too; delivered when that is back.
	servers[0].Shutdown()
	s.offline(true)
	lab.Eventually(t, 3*patience, "a message is stored", func() bool {
		return s.says(at(gateways[0]), "romeo@example.net", "juliet@example.com", fmt.Sprintf("stored%d", rand.Uint32())) == 202
	})
	s.offline(false)
	lab.Eventually(t, 2*patience, "it is delivered", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for text := range s.got {
			if strings.HasPrefix(text, "stored") {
				return true
			}
		}
		return false
	})

	// Who has the link dies, and the other one has it.
	other := 0
	lab.Eventually(t, 2*patience, "one of them says that it has the link", func() bool {
		up := func(g *lab.Gateway) bool { return parts(g, `isthmus_xmpp_link_up{component="server"} 1`) }
		if other = 0; up(gateways[0]) {
			other = 1
		}
		return up(gateways[1-other]) && !up(gateways[other])
	})
	gateways[1-other].Kill()
	lab.Eventually(t, 2*patience, "the other gateway has everything", func() bool { return parts(gateways[other], "isthmus_cluster_parts 64") && s.linked() })
	if code := s.says(at(gateways[other]), "romeo@example.net", "juliet@example.com", "second"); code/100 != 2 {
		t.Errorf("it answers %d", code)
	}
	s.arrived("second")
	gateways[other].Stop(t)
}

// configs/cluster.sh is what a reader tries first: it starts three gateways, a message crosses, also when the one that has the link was killed, the
// script starts that one again, and ends all of them when it is told to.
func TestClusterScript(t *testing.T) {
	s := newShore(t)
	dir, err := os.MkdirTemp("", "isthmus-script-") // t.TempDir has names too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// Its ports are fixed. Other addresses are taken, so that nothing that runs on this machine is met.
	net := fmt.Sprintf("127.%d.%d.", 1+rand.IntN(250), rand.IntN(250))
	for _, name := range []string{"cluster.sh", "cluster.yaml"} {
		b, err := os.ReadFile(filepath.Join("..", "configs", name))
		if err != nil {
			t.Fatal(err)
		}
		own := strings.NewReplacer(
			"127.0.7.", net, `127\.0\.7\.`, strings.ReplaceAll(net, ".", `\.`), "127.0.0.1:5347", s.xmpp.Addr().String(), "127.0.0.1:5070", s.conn.LocalAddr().String(),
		).Replace(string(b))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said sync.Mutex
	script := func() (*exec.Cmd, <-chan error) {
		cmd := exec.Command("bash", filepath.Join(dir, "cluster.sh"), filepath.Join(dir, "run"))
		cmd.Env = append(os.Environ(), "ISTHMUS="+lab.Binary(t), "ISTHMUS_COMPONENT_SECRET=a secret of the shore")
		out := t.Output()
		cmd.Stdout = writerFunc(func(b []byte) (int, error) {
			said.Lock()
			defer said.Unlock()
			return out.Write(b)
		})
		cmd.Stderr = cmd.Stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		return cmd, ended
	}
	pid := func(n int) int {
		b, _ := os.ReadFile(filepath.Join(dir, "run", strconv.Itoa(n), "pid")) // not there yet
		p, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return p
	}
	lives := func(p int) bool { return p != 0 && syscall.Kill(p, 0) == nil }
	first, firstEnded := script()
	t.Cleanup(func() { // of a test that has failed
		for n := range 3 {
			if p := pid(n + 1); lives(p) {
				_ = syscall.Kill(p, syscall.SIGKILL)
			}
		}
	})
	logs := func() {
		for n := range 3 {
			b, _ := os.ReadFile(filepath.Join(dir, "run", strconv.Itoa(n+1), "log"))
			var own strings.Builder
			for line := range strings.Lines(string(b)) {
				if !strings.Contains(line, `"engine"`) {
					own.WriteString(line)
				}
			}
			t.Logf("log of %d:\n%s", n+1, own.String())
		}
	}
	defer func() {
		if t.Failed() {
			logs()
		}
	}()
	log := func(n int) string {
		b, _ := os.ReadFile(filepath.Join(dir, "run", strconv.Itoa(n), "log")) // not there yet
		return string(b)
	}
	lab.Eventually(t, 2*patience, "all have parts, and one the link", func() bool {
		for n := range 3 {
			if !strings.Contains(log(n+1), "this node owns parts") {
				return false
			}
		}
		return s.linked()
	})
	if code := s.says(net+"2:5060", "romeo@sip.test", "juliet@xmpp.test", "one"); code/100 != 2 {
		t.Fatalf("it answers %d", code)
	}
	s.arrived("one")

	// The one whose log tells last that the link is up is killed.
	victim, last := 0, ""
	for n := range 3 {
		for line := range strings.Lines(log(n + 1)) {
			if _, at, ok := strings.Cut(line, `"time":"`); ok && strings.Contains(line, "component link is up") && at > last {
				victim, last = n+1, at
			}
		}
	}
	if victim == 0 {
		t.Fatal("no log tells of the link")
	}
	killed := pid(victim)
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// What was handed to the dead one while nobody knew that it is dead has an outcome that is not known (504): its sender says it anew.
	text := ""
	lab.Eventually(t, 3*patience, "another message is taken", func() bool {
		text = fmt.Sprintf("two%d", rand.Uint32())
		return s.says(fmt.Sprintf("%s%d:5060", net, victim%3+1), "romeo@sip.test", "juliet@xmpp.test", text)/100 == 2
	})
	s.arrived(text)

	second, secondEnded := script() // it starts the one that does not run
	lab.Eventually(t, patience, "the killed one is started again", func() bool { p := pid(victim); return p != killed && lives(p) })
	pids := []int{pid(1), pid(2), pid(3)}
	for i, cmd := range []*exec.Cmd{second, first} {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-[]<-chan error{secondEnded, firstEnded}[i]:
			if err != nil {
				t.Errorf("the script ends with %v", err)
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("the script does not end")
		}
	}
	for _, p := range pids {
		if lives(p) {
			t.Errorf("process %d is left", p)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var _ io.Writer = writerFunc(nil)
