package faults

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The configurations that a gateway is given while it runs: one that is broken in several places, and one that is right and has another value
// of whatever a reload may change: listeners, peers, domains of the component, routes, limits, the log's level.
func (g *gateway) broken() string {
	return strings.NewReplacer("via: xmpp", "via: nowhere", "drain: 10s", "drain: soon").Replace(g.written) + "surprise: true\n"
}

func (g *gateway) changed() string {
	return strings.NewReplacer(
		"{transport: udp, address:", fmt.Sprintf(`{transport: tcp, address: "%s:%d"}, {transport: udp, address:`, g.host, g.sip),
		"peers: [{name: faults,", `peers: [{name: other, networks: [192.0.2.0/24], domains: [other.test]}, {name: renamed, fold_case: true,`,
		"serves: [xmpp.test]", "serves: [xmpp.test, more.test]",
		"routes:", "log: {level: debug}\nroutes:\n  - {domain: other.test, via: sip, next_hops: [\"sip:192.0.2.1\"]}\n"+
			"  - {domain: more.test, via: xmpp, next_hops: [\"component:faults\"]}",
		"drain: 10s", "drain: 11s, sip: {write: 7s, watches: 77}, xmpp: {queue: 999}", "pair_rate: 1000000", "pair_rate: 999999, lane: 99, origins: 5000",
	).Replace(g.written)
}

// reload writes a configuration and has the gateway read it.
func (g *gateway) reload(text string) error {
	name := filepath.Join(g.dir, "isthmus.yaml")
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	g.signal(syscall.SIGHUP)
	return nil
}

// reloads is how many reloads had this outcome.
func (g *gateway) reloads(outcome string) (int, error) {
	client := http.Client{Timeout: 30 * time.Second}
	r, err := client.Get(fmt.Sprintf("http://%s:%d/metrics", g.host, g.admin))
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), `isthmus_reload_total{outcome="`+outcome+`"} `); ok {
			return strconv.Atoi(v)
		}
	}
	return 0, fmt.Errorf("no metric of reloads that were %s: %w", outcome, lines.Err())
}

// hangups sends the gateway SIGHUP again and again for a while, with configurations in turn, and returns what was broken.
func (p *play) hangups(outcome string, texts ...func() string) (bad []string, err error) {
	g := p.gateway
	opened := p.xmpp.opened()
	asked := 0
	for end := time.Now().Add(p.fault.last + time.Second); time.Now().Before(end); asked++ {
		if err := g.reload(texts[asked%len(texts)]()); err != nil {
			return nil, err
		}
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			n, err := g.reloads(outcome)
			if err != nil {
				return nil, err
			}
			if n > asked {
				break
			}
			if time.Now().After(end) {
				return []string{fmt.Sprintf("T-FI-22: reload %d was not %s within 30 s", asked+1, outcome)}, nil
			}
		}
		time.Sleep(time.Duration(p.random.IntN(100)) * time.Millisecond)
	}
	if p.kept = 1; outcome == "applied" {
		p.kept += asked // each configuration has other transports than the one before, and so another resolver
	}
	if n := p.xmpp.opened(); n != opened {
		bad = append(bad, fmt.Sprintf("T-FI-22: the link was opened anew %d times during %d reloads", n-opened, asked))
	}
	return bad, g.reload(g.written)
}
