package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// Quantiles are within 1/32 of the true ones.
func TestHistogram(t *testing.T) {
	var h Histogram
	var all []time.Duration
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		d := time.Duration(r.ExpFloat64() * float64(3*time.Millisecond))
		h.Add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(int(q*10000)-1, 0)]
		if got := h.Quantile(q); got < want-time.Microsecond || got > want+want/16+time.Microsecond {
			t.Errorf("quantile %v is %v, not %v", q, got, want)
		}
	}
	var whole uint64
	for i, o := range h.octaves() {
		whole += o.count
		if list := h.octaves(); i > 0 && o.upTo != 2*list[i-1].upTo {
			t.Errorf("octave %v after %v", o.upTo, list[i-1].upTo)
		}
	}
	if whole != h.Count() {
		t.Errorf("octaves hold %d of %d", whole, h.Count())
	}
}

func TestReportIsReadable(t *testing.T) {
	row := BenchRow{Mode: SIPToXMPP, Highest: 2000, Rate: 1000, Offered: 10, Delivered: 9}
	for i := range 1000 {
		row.Latency.Add(time.Duration(i) * time.Microsecond)
	}
	r := BenchReport{Rows: []BenchRow{row, {Mode: BothWays}}, Replaced: []string{"x"}}
	var text, svg bytes.Buffer
	r.Print(&text)
	if err := r.SVG(&svg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NO", "10 offered, 9 delivered", "not yours: x", "up to", "100.0000%"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if _, err := strictxml.ParseDocument(svg.Bytes(), strictxml.DefaultLimits()); err != nil {
		t.Errorf("the drawing is not XML: %v", err)
	}
}

func TestAnswerHasTheRequestsOwnFields(t *testing.T) {
	const request = "MESSAGE sip:s@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: y\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
	const want = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=load\r\nCall-ID: y\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
	if got := appendOK(nil, []byte(request)); string(got) != want {
		t.Errorf("%q", got)
	}
}

// What arrives twice is counted as that, and what does not arrive is missing.
func TestTalkerCounts(t *testing.T) {
	k := newTalker(nil, XMPPDomain, SIPDomain, 10, 100)
	stanza := k.appendStanza(nil, 7)
	if _, err := strictxml.ParseDocument(stanza, strictxml.DefaultLimits()); err != nil {
		t.Fatalf("%v: %s", err, stanza)
	}
	k.sent[7], k.offered = time.Microsecond, 2
	body := stanza[bytes.Index(stanza, []byte("<body>"))+6:]
	for _, branch := range []string{"1", "1", "2"} { // once, sent again, and once more
		k.heard([]byte("MESSAGE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch="+branch+"\r\n\r\n"+string(body)), &net.UDPAddr{})
	}
	if n := k.missing(); n != 1 {
		t.Errorf("%d are missing", n)
	}
	if s := k.take(); s.delivered != 1 || s.twice != 1 || s.offered != 2 || s.in.Count() != 1 {
		t.Errorf("%+v", s)
	}
	if k.answered != 3 {
		t.Errorf("%d answers", k.answered)
	}
}

// own is an operator's configuration.
const own = `
sip: {peers: [{name: proxy, domains: [example.net]}]}
xmpp: {components: [{name: server, domain: example.net, serves: [example.com]}]}
store: {directory: /var/lib/isthmus}
limits: {sip: {notify_interval: 100ms}}
`

// A real gateway, both ways, and presence: everything arrives once.
func TestBench(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "isthmus")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/isthmus").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	report, err := Bench(t.Context(), BenchConfig{
		Binary: binary, Directory: dir, Own: []byte(own), Modes: []Mode{SIPToXMPP, XMPPToSIP, BothWays, Presence}, Watchers: 50,
		Rate: 100, Step: time.Second, Time: 2 * time.Second, Settle: 40 * time.Second, Users: 100, Body: 200, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Rows {
		// How many were offered depends on the machine; that those arrive does not.
		if r.Offered == 0 || r.Delivered != r.Offered || r.Twice != 0 || r.Refused != 0 || r.Latency.Count() != r.Delivered || r.CPU < 0 || r.RSS == 0 {
			t.Errorf("%+v", r)
		}
	}
	if len(report.Rows) != 4 {
		t.Fatalf("%d rows", len(report.Rows))
	}
	if p := report.Rows[3]; p.Watchers != 50 || p.Opened <= 0 || p.Rate <= 0 || p.Offered%50 != 0 {
		t.Errorf("%+v", p)
	}
}

// Nothing that `isthmus overload` starts listens, or sends, anywhere but on loopback.
func TestOverloadStaysOnLoopback(t *testing.T) {
	for _, at := range regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`).FindAllString(configuration, -1) {
		if a := netip.MustParseAddr(at); !a.IsLoopback() {
			t.Errorf("the gateway's configuration has %s", at)
		}
	}
}

// A fan-out counts a NOTIFY of a round once, and knows one that was sent again from a second one.
func TestFanoutCounts(t *testing.T) {
	f := newFanout(3, 5060)
	f.between(SIPDomain, XMPPDomain)
	notify := func(to, sequence int, round uint32) {
		f.heard(fmt.Appendf(nil, "NOTIFY sip:w%06d@127.0.0.1:5070 SIP/2.0\r\nCSeq: %d NOTIFY\r\n\r\n<note>%s%08x</note>", to, sequence, roundPrefix, round))
	}
	for i := range 3 {
		notify(i, 2, 1)
	}
	for i := range f.watchers {
		f.watchers[i].said = 2
	}
	notify(0, 3, 2)
	notify(0, 3, 2) // again, as its answer was lost
	notify(0, 4, 2)
	notify(1, 3, 1) // of the round before, and not the same request
	notify(7, 1, 2) // of nobody
	if open, told := f.count(); open != 3 || told != 1 || f.twice != 2 || f.in.Count() != 1 {
		t.Errorf("%d open, %d told, %d twice, %d in time", open, told, f.twice, f.in.Count())
	}
	var replies []string
	f.stanza([]byte("<presence type='subscribe' from='w000002@sip.test' to='star@xmpp.test'/>"), func(s string) { replies = append(replies, s) })
	if len(replies) != 2 {
		t.Fatalf("%q", replies)
	}
	for _, r := range replies {
		if _, err := strictxml.ParseDocument([]byte(r), strictxml.DefaultLimits()); err != nil || !strings.Contains(r, "to='w000002@sip.test'") {
			t.Errorf("%s: %v", r, err)
		}
	}
	if due := f.due(time.Now()); len(due) != 0 {
		t.Errorf("due: %v, although all are open", due)
	}
}
