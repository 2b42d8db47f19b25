package load

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// bed is a gateway under load with both its sides.
type bed struct {
	gateway *Gateway
	server  *Server
	// agents are peers of their own: their addresses on loopback differ. The first one is where messages to SIPDomain go.
	agents []*Agent
	after  []func() // undoes what was done to this process
}

// peerNames are the peers of the gateway's configuration, at 127.0.0.1, 127.0.0.2 and so on.
var peerNames = [...]string{"one", "two", "three"}

const configuration = `log: {level: LEVEL}
sip:
  listeners: [{transport: udp, address: "127.0.0.1:SIP"}]
  peers:
    - {name: one, networks: [127.0.0.1/32], domains: [sip.test]}
    - {name: two, networks: [127.0.0.2/32], domains: [sip.test]}
    - {name: three, networks: [127.0.0.3/32], domains: [sip.test], overload_control: true}
xmpp:
  components: [{name: server, server: "127.0.0.1:XMPP", domain: sip.test, serves: [xmpp.test], secret_file: secret}COMPONENTS]
  backoff_first: 50ms
  backoff_longest: 500ms
routes:
  - {domain: sip.test, via: sip, next_hops: ["sip:127.0.0.1:USER;transport=udp"]}
  - {domain: xmpp.test, via: xmpp, next_hops: ["component:server"]}
ROUTES
STORE
admin: {listen: "127.0.0.1:ADMIN"}
limits: {drain: 1s, messages: {pair_rate: 1000000, pair_burst: 10000000MESSAGES}MEMORY, sip: {notify_interval: 1ms}}
`

// plan is what a bed has besides.
type plan struct {
	routes   string // lines of YAML
	links    string // more of xmpp.components: ", {…}"
	messages string // more of limits.messages: ", key: value"
	limits   string // more of limits, likewise
	// ready is called when both sides are there and nothing has come yet.
	ready func(*bed)
}

// newBed starts all of it. served takes requests of the gateway at each agent, other stanzas that are no message with a number.
func newBed(c Config, served func(a *Agent, request []byte, from net.Addr), other func(stanza []byte, reply func(string))) (b *bed, err error) {
	return newBedFor(c, plan{}, served, other)
}

func newBedFor(c Config, p plan, served func(a *Agent, request []byte, from net.Addr), other func(stanza []byte, reply func(string))) (b *bed, err error) {
	b = &bed{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.gateway, err = NewGateway(c.Binary, c.Directory, c.Procs); err != nil {
		return b, err
	}
	for i, name := range peerNames {
		a, err := NewAgent(name, fmt.Sprintf("127.0.0.%d", i+1), b.gateway.SIP)
		if err != nil {
			return b, err
		}
		a.Obeys = name == "three"
		b.agents = append(b.agents, a)
	}
	if b.server, err = NewServer(other, b.agents...); err != nil {
		return b, err
	}
	if p.ready != nil {
		p.ready(b)
	}
	for _, a := range b.agents {
		var take func(request []byte, from net.Addr)
		if served != nil {
			take = func(request []byte, from net.Addr) { served(a, request, from) }
		}
		a.Run(take)
	}
	store := ""
	if c.Store {
		store = fmt.Sprintf("store: {directory: %q}", filepath.Join(c.Directory, "store"))
	}
	memory := ""
	if c.Memory > 0 {
		memory = fmt.Sprintf(", memory: %dMiB", c.Memory>>20)
	}
	level := "info"
	if c.Quiet {
		level = "warn"
	}
	text := strings.NewReplacer("LEVEL", level, "SIP", fmt.Sprint(b.gateway.SIP), "XMPP", fmt.Sprint(b.server.Port()), "USER", fmt.Sprint(b.agents[0].Port()), "ADMIN", fmt.Sprint(b.gateway.Admin), "STORE", store, "MEMORY", memory+p.limits, "ROUTES", p.routes, "COMPONENTS", p.links, "MESSAGES", p.messages).Replace(configuration)
	if err := b.gateway.Start(text, 30*time.Second); err != nil {
		return b, err
	}
	if c.Procs > 0 && c.Procs < runtime.NumCPU() {
		// More than it has processors: a goroutine that sends all the time would keep Go's scheduler from looking for what has arrived, the
		// kernel's does not let one thread do that.
		before := runtime.GOMAXPROCS(4 * (runtime.NumCPU() - c.Procs))
		b.after = append(b.after, func() { runtime.GOMAXPROCS(before) })
	}
	together, err := apart(b.gateway.cmd.Process.Pid, c.Procs)
	b.after = append(b.after, together)
	return b, err
}

func (b *bed) close() {
	for _, undo := range b.after {
		undo()
	}
	if b.gateway != nil {
		b.gateway.Stop()
	}
	for _, a := range b.agents {
		a.Close()
	}
	if b.server != nil {
		b.server.Close()
	}
}

// silence ends all load and waits until nothing is pending, at most for patience.
func (b *bed) silence(patience time.Duration) {
	for _, a := range b.agents {
		a.Rate(0)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		pending := 0
		for _, a := range b.agents {
			pending += a.Pending()
		}
		if pending == 0 {
			break
		}
	}
	for _, a := range b.agents {
		a.Take()
	}
}

// missing waits until all that was accepted has arrived, at most until end, and returns how many messages have not.
func (b *bed) missing(end time.Time) int {
	for {
		lost := 0
		for _, a := range b.agents {
			lost += a.Undelivered()
		}
		if lost == 0 || time.Now().After(end) {
			return lost
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// interval is what was seen while some load was on.
type interval struct {
	counts []Counts // of each agent
	lasted time.Duration
	cpu    time.Duration // of the gateway
	rss    int64         // the most
}

// play puts a load on, one rate for each agent, waits for settle unobserved and then counts for d.
func (b *bed) play(rates []float64, settle, d time.Duration) (v interval, err error) {
	for i, r := range rates {
		b.agents[i].Rate(r)
	}
	watch := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(min(100*time.Millisecond, max(0, time.Until(end)))) {
			v.rss = max(v.rss, b.gateway.Usage().RSS)
		}
	}
	watch(settle)
	for _, a := range b.agents {
		a.Take()
	}
	began, before := time.Now(), b.gateway.Usage()
	watch(d)
	for _, a := range b.agents {
		v.counts = append(v.counts, a.Take())
	}
	v.lasted, v.cpu = time.Since(began), b.gateway.Usage().CPU-before.CPU
	if b.gateway.Dead() {
		err = errors.New("the gateway ended under load")
	}
	return v, err
}

// sum adds up what all agents counted.
func (v *interval) sum() (c Counts) {
	c.Codes = map[int]uint64{}
	for i := range v.counts {
		o := &v.counts[i]
		c.Offered, c.Held, c.Again, c.Taken, c.Delivered = c.Offered+o.Offered, c.Held+o.Held, c.Again+o.Again, c.Taken+o.Taken, c.Delivered+o.Delivered
		c.Twice, c.Good, c.Refused, c.RetryAfter = c.Twice+o.Twice, c.Good+o.Good, c.Refused+o.Refused, c.RetryAfter+o.RetryAfter
		c.OtherAnswers, c.Unanswered, c.Late = c.OtherAnswers+o.OtherAnswers, c.Unanswered+o.Unanswered, c.Late+o.Late
		c.AcceptedAfter.Merge(&o.AcceptedAfter)
		c.RefusedAfter.Merge(&o.RefusedAfter)
		c.DeliveredIn.Merge(&o.DeliveredIn)
		for code, n := range o.Codes {
			c.Codes[code] += n
		}
	}
	return c
}

// perSecond is a count as a rate.
func (v *interval) perSecond(n uint64) float64 { return float64(n) / v.lasted.Seconds() }
