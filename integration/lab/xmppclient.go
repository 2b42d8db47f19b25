package lab

import (
	"bufio"
	_ "embed" // the client's program
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"
)

//go:embed xmppclient.py
var xmppClientProgram string

// Stanza is what an XMPPUser sends or received. A nil field is an element or attribute that is not there; an empty one is
// there and empty.
type Stanza struct {
	Stanza    string  `json:"stanza,omitempty"` // "message" or "presence", to send
	Event     string  `json:"event,omitempty"`  // "message", "presence", "online", …, received
	From      *string `json:"from,omitempty"`
	To        *string `json:"to,omitempty"`
	ID        *string `json:"id,omitempty"`
	Type      *string `json:"type,omitempty"`
	Lang      *string `json:"lang,omitempty"`
	Subject   *string `json:"subject,omitempty"`
	Body      *string `json:"body,omitempty"`
	Thread    *string `json:"thread,omitempty"`
	Show      *string `json:"show,omitempty"`
	Status    *string `json:"status,omitempty"`
	Priority  *string `json:"priority,omitempty"`
	Condition *string `json:"condition,omitempty"`
	// Children are further elements to send, as XML in the namespace of a client's stream.
	Children string `json:"children,omitempty"`
	// XML is the stanza received, as slixmpp prints it.
	XML string `json:"xml,omitempty"`
	// Raw is what came over the socket since the last stanza, as it was written by the server.
	Raw string `json:"raw,omitempty"`
}

// Text returns what p points to, "(none)" for nil.
func Text(p *string) string {
	if p == nil {
		return "(none)"
	}
	return *p
}

// String is for messages of failed tests.
func (s Stanza) String() string {
	s.Raw, s.XML = "", ""
	b, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// XMPPUser is a user logged in to an XMPP server with slixmpp, an XMPP library that is none of ours.
type XMPPUser struct {
	in      io.WriteCloser
	process *process

	mu       sync.Mutex
	received []Stanza
	arrived  chan struct{} // closed and replaced with each arrival
}

// LogIn logs a user in and waits until it is online.
func LogIn(t testing.TB, jid string, port int) *XMPPUser {
	t.Helper()
	return logIn(t, jid, port, "plain")
}

// logIn logs in a client of a kind that the program knows.
func logIn(t testing.TB, jid string, port int, kind string) *XMPPUser {
	t.Helper()
	// Debian's own interpreter: it is the one that python3-slixmpp is installed for.
	python := "/usr/bin/python3"
	need(t, python)
	if out, err := exec.Command(python, "-c", "import slixmpp").CombinedOutput(); err != nil {
		need(t, "python3-slixmpp")
		t.Fatalf("slixmpp: %v: %s", err, out)
	}
	dir := t.TempDir()
	program := write(t, dir, "xmppclient.py", xmppClientProgram)
	cmd := exec.Command(python, program, jid, "lab", fmt.Sprint(port), kind)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	u := &XMPPUser{in: in, arrived: make(chan struct{})}
	u.process = start(t, dir, "xmpp-user", cmd)
	go u.read(out)
	u.Expect(t, time.Minute, "online", func(s Stanza) bool { return s.Event == "online" })
	return u
}

func (u *XMPPUser) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var s Stanza
		if json.Unmarshal(lines.Bytes(), &s) != nil {
			s.Event = "not JSON: " + lines.Text()
		}
		u.mu.Lock()
		u.received = append(u.received, s)
		close(u.arrived)
		u.arrived = make(chan struct{})
		u.mu.Unlock()
	}
}

// LogOut ends the user's client as a crash would.
func (u *XMPPUser) LogOut() { u.process.kill() }

// Send sends a stanza.
func (u *XMPPUser) Send(t testing.TB, s Stanza) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.in.Write(append(b, '\n')); err != nil {
		t.Fatalf("XMPP user: %v", err)
	}
}

// Expect takes the first stanza received so far or later that match accepts, and removes it.
func (u *XMPPUser) Expect(t testing.TB, patience time.Duration, what string, match func(Stanza) bool) Stanza {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		u.mu.Lock()
		for i, s := range u.received {
			if match(s) {
				u.received = append(u.received[:i:i], u.received[i+1:]...)
				u.mu.Unlock()
				return s
			}
		}
		arrived, have := u.arrived, fmt.Sprint(u.received)
		u.mu.Unlock()
		select {
		case <-arrived:
		case <-deadline.C:
			t.Fatalf("the XMPP user did not receive %s within %v; received: %s", what, patience, have)
		}
	}
}

// Received returns what was received and not taken by Expect.
func (u *XMPPUser) Received() []Stanza {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]Stanza(nil), u.received...)
}
