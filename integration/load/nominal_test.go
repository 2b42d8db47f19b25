package load

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// build builds the program under load.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "isthmus")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/isthmus").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// T-OV-01, of which only what holds on any machine: a real gateway with its store under the mix of messages, presence and SUBSCRIBE refuses nothing and loses
// nothing, and "a UAC MUST NOT initiate a new out-of-dialog MESSAGE transaction to a given URI if there is a previous out-of-dialog transaction pending for
// the same URI" (RFC 3428 §8). How fast it is, `isthmus overload --mode nominal` says.
func TestT_OV_01_NominalLoad(t *testing.T) {
	report, err := Nominal(t.Context(), NominalConfig{
		Config: Config{Binary: build(t), Directory: t.TempDir(), Procs: 1, Store: true, Time: 5 * time.Second, Log: t.Output()},
		Rate:   200, Users: 20, LateEvery: 5, LateBy: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	report.Print(&text)
	t.Log(text.String())
	if len(report.Rows) != len(kinds) {
		t.Fatalf("%d rows", len(report.Rows))
	}
	for _, r := range report.Rows {
		// How many were offered depends on the machine.
		if r.Offered == 0 || r.Done != r.Offered || r.Refused != 0 || r.Lost != 0 || r.Twice != 0 {
			t.Errorf("%+v", r)
		}
	}
	if report.Pending != 1 || report.Late == 0 {
		t.Errorf("%d transactions to one URI at once; %d were answered late", report.Pending, report.Late)
	}
}

// answers is where the receiving side sends.
type answers struct {
	net.PacketConn
	sent chan string
}

func (a answers) WriteTo(b []byte, _ net.Addr) (int, error) {
	a.sent <- string(b)
	return len(b), nil
}

// A second transaction to the same URI is seen, one that is sent again is none.
func TestPendings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, from := answers{sent: make(chan string, 8)}, &net.UDPAddr{}
		p := newPendings(conn, 2, time.Millisecond)
		message := func(to, branch string) []byte {
			return fmt.Appendf(nil, "MESSAGE sip:%s@sip.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=%s;rport\r\nTo: <sip:%s@sip.test>\r\n\r\n", to, branch, to)
		}
		for range 2 {
			if !p.begin(message("a", "1"), from) {
				t.Error("the first one is to be answered at once, and again when it comes again")
			}
		}
		p.flush()
		for range 2 {
			if p.begin(message("a", "2"), from) {
				t.Error("the second one is to be answered late")
			}
		}
		if most, breaches, held := p.seen(); most != 1 || breaches != 0 || held != 1 {
			t.Errorf("%d at once, %d breaches, %d held", most, breaches, held)
		}
		if answer := <-conn.sent; !strings.HasPrefix(answer, "SIP/2.0 200 OK\r\n") {
			t.Errorf("%s", answer)
		}
		p.begin(message("b", "3"), from)
		p.flush()
		p.every = 0
		p.begin(message("b", "3"), from) // again, sent before it was answered
		p.begin(message("b", "4"), from)
		p.begin(message("c", "5"), from)
		p.begin(message("b", "6"), from)
		if most, breaches, _ := p.seen(); most != 2 || breaches != 1 {
			t.Errorf("%d at once, %d breaches", most, breaches)
		}
	})
}
