package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// SIPp is a run of SIPp, as a SIP user of example.net.
type SIPp struct {
	process *process
	trace   string
	errors  string
	udp     bool
}

// SIPpRun says how SIPp is run.
type SIPpRun struct {
	// Scenario is the text of the scenario. BODYFILE in it is replaced by the path of a file with Body.
	Scenario string
	// Body is the content that the scenario sends.
	Body []byte
	// Port is its own port on loopback, Target where it sends; 0 for a scenario that only answers.
	Port, Target int
	// TCP makes it use one TCP connection instead of UDP.
	TCP bool
	// CallID is the Call-ID of the first call; "" lets SIPp make one.
	CallID string
	// Calls is how many calls it makes or answers before it ends. 0 means 1.
	Calls int
	// Rate is how many calls a second it begins; 0 means SIPp's own 10.
	Rate int
}

// StartSIPp starts SIPp.
func StartSIPp(t testing.TB, r SIPpRun) *SIPp {
	t.Helper()
	program := need(t, "sipp", "/usr/bin/sipp")
	dir := t.TempDir()
	body := write(t, dir, "body", string(r.Body))
	scenario := write(t, dir, "scenario.xml", withTransactions(strings.ReplaceAll(r.Scenario, "BODYFILE", body)))
	s := &SIPp{trace: filepath.Join(dir, "messages"), errors: filepath.Join(dir, "errors"), udp: !r.TCP}
	transport := "u1"
	if r.TCP {
		transport = "t1"
	}
	args := []string{
		"-sf", scenario, "-i", "127.0.0.1", "-p", strconv.Itoa(r.Port), "-t", transport, "-nostdin",
		"-m", strconv.Itoa(max(r.Calls, 1)),
		// Who waits for SIPp has the patience; its own is only that nothing is left for ever.
		"-timeout", "600s", "-timeout_error", "-recv_timeout", "300000", "-max_non_invite_retrans", "30",
		"-default_behaviors", "all,-abortunexp", // see unexpected
		"-trace_msg", "-message_file", s.trace, "-trace_err", "-error_file", s.errors,
	}
	if r.CallID != "" {
		args = append(args, "-cid_str", r.CallID)
	}
	if r.Rate > 0 {
		args = append(args, "-r", strconv.Itoa(r.Rate))
	}
	if r.Target != 0 {
		args = append(args, fmt.Sprintf("127.0.0.1:%d", r.Target))
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	// Without a terminal SIPp's screen goes to its output, which nobody reads.
	cmd.Env = append(os.Environ(), "TERM=dumb")
	s.process = start(t, dir, "sipp", cmd)
	if r.Target == 0 && r.TCP {
		Eventually(t, time.Minute, "SIPp listens", func() bool { return listening(r.Port) })
	} else if r.Target == 0 {
		Eventually(t, time.Minute, "SIPp listens", func() bool { return udpBound(r.Port) })
	}
	return s
}

// udpBound tells whether a UDP socket is bound to the port, by the kernel's own table.
func udpBound(port int) bool {
	b, err := os.ReadFile("/proc/net/udp")
	return err == nil && strings.Contains(string(b), fmt.Sprintf("0100007F:%04X ", port))
}

// Wait waits until the run has ended and fails the test if a call failed, or if a message came that the scenario does not have.
func (s *SIPp) Wait(t testing.TB, patience time.Duration) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	before := ""
	for ended := false; !ended; {
		select {
		case <-s.process.done:
			ended = true
		case <-look.C:
		case <-late.C:
			t.Fatalf("SIPp did not end within %v; messages:\n%s", patience, strings.Join(s.texts(), "\n"))
		}
		// What is being written is whole at the next look.
		m := s.unexpected()
		if m != "" && (ended || m == before) {
			t.Fatalf("SIPp received what the scenario does not have:\n%s\nmessages:\n%s", m, strings.Join(s.texts(), "\n"))
		}
		before = m
	}
	if s.process.err != nil {
		t.Fatalf("SIPp: %v\n%s\nmessages:\n%s", s.process.err, tail(s.errors, 4096), strings.Join(s.texts(), "\n"))
	}
}

// unexpected returns the first message that the scenario had no place for, "" if there is none. A copy of one that came before is none: over UDP
// whoever has no answer in half a second sends again (RFC 3261 §17.1.2.2), and SIPp knows such a copy only until it has sent or received something
// else. By itself it would end the call.
func (s *SIPp) unexpected() string {
	b, err := os.ReadFile(s.errors)
	if err != nil {
		return "" // it has nothing to say
	}
	came := map[string]int{}
	for _, m := range s.messages("received") {
		came[strings.ReplaceAll(m, "\r", "")]++
	}
	for _, text := range strings.Split(strings.ReplaceAll(string(b), "\r", ""), "call on unexpected message for Call-Id ")[1:] {
		_, text, ok := strings.Cut(text, ", received '")
		copied := !ok // it is being written
		for m, n := range came {
			copied = copied || n > 1 && strings.HasPrefix(text, m)
		}
		if !copied {
			return text
		}
	}
	return ""
}

var opensTransaction = regexp.MustCompile(`<send retrans=|<recv response=`)

// withTransactions has SIPp take a response for the request that it was sent to, which is the last one before it in the scenario. Else it goes by the
// method alone, and takes a second copy of the answer to one NOTIFY for the answer to the next.
func withTransactions(scenario string) string {
	n := 0
	return opensTransaction.ReplaceAllStringFunc(scenario, func(at string) string {
		word := "response_txn"
		if strings.HasPrefix(at, "<send") {
			n++
			word = "start_txn"
		}
		return at[:5] + fmt.Sprintf(` %s="t%d"`, word, n) + at[5:]
	})
}

// Ended tells whether the run has ended.
func (s *SIPp) Ended() bool {
	select {
	case <-s.process.done:
		return true
	default:
		return false
	}
}

var traceLine = regexp.MustCompile(`(?m)^(?:UDP|TCP) message (received|sent) [\[(](\d+)`)

// Received returns the messages that SIPp received, octet for octet, each once: the same octets again over UDP are a retransmission and no other
// message.
func (s *SIPp) Received() []string {
	var all []string
	seen := map[string]bool{}
	for _, m := range s.messages("received") {
		if !s.udp || !seen[m] {
			all = append(all, m)
		}
		seen[m] = true
	}
	return all
}

// Sent returns the messages that SIPp sent.
func (s *SIPp) Sent() []string { return s.messages("sent") }

func (s *SIPp) texts() []string { return append(s.Received(), s.Sent()...) }

func (s *SIPp) messages(direction string) []string {
	b, err := os.ReadFile(s.trace)
	if err != nil {
		return nil
	}
	var all []string
	for _, m := range traceLine.FindAllSubmatchIndex(b, -1) {
		n, _ := strconv.Atoi(string(b[m[4]:m[5]])) // digits by the pattern
		begin := bytes.Index(b[m[1]:], []byte("\n\n"))
		if string(b[m[2]:m[3]]) != direction || begin < 0 || m[1]+begin+2+n > len(b) {
			continue
		}
		begin += m[1] + 2
		all = append(all, string(b[begin:begin+n]))
	}
	return all
}

// HeaderOf returns the value of a header field of a SIP message as text, "(none)" if there is none.
func HeaderOf(message, name string) string {
	head, _, _ := strings.Cut(message, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v)
		}
	}
	return "(none)"
}

// BodyOf returns the body of a SIP message as text.
func BodyOf(message string) string {
	_, body, _ := strings.Cut(message, "\r\n\r\n")
	return body
}
