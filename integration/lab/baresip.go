package lab

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Baresip is a baresip user agent of a SIP user, without sound, driven over its control socket. It registers nowhere, sends everything
// through an outbound proxy, publishes its presence there, and watches its one contact.
type Baresip struct {
	// Port is its SIP port, UDP and TCP.
	Port int

	control net.Conn
	process *process
}

const baresipConfig = `poll_method epoll
sip_listen 127.0.0.1:PORT
module_path MODULES
module stdio.so
module g711.so
module aufile.so
module ausine.so
module_app account.so
module_app contact.so
module_app menu.so
module_app presence.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:CONTROL
audio_source ausine,440
audio_player aufile,/dev/null
audio_alert aufile,/dev/null
`

// StartBaresip starts a user agent of user, whose requests all go to proxy, on a port of loopback, and whose contact is contact. Baresip
// needs some network interface beside loopback, although it does not use it.
func StartBaresip(t testing.TB, user, contact string, port, proxy int) *Baresip {
	t.Helper()
	program := need(t, "baresip")
	modules := "/usr/lib/baresip/modules"
	if _, err := os.Stat(modules); err != nil {
		t.Fatal(err)
	}
	control := FreePorts(t, 1)[0]
	b := &Baresip{Port: port}
	dir := t.TempDir()
	write(t, dir, "config", expand(baresipConfig, "PORT", strconv.Itoa(port), "CONTROL", strconv.Itoa(control), "MODULES", modules))
	write(t, dir, "accounts", fmt.Sprintf("<sip:%s>;regint=0;outbound=\"sip:127.0.0.1:%d;transport=udp\";pubint=600\n", user, proxy))
	write(t, dir, "contacts", fmt.Sprintf("<sip:%s>;presence=p2p\n", contact))
	cmd := exec.Command(program, "-f", dir)
	// Its user interface wants an input that it can wait for, and shows messages only where it has one.
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	b.process = start(t, dir, "baresip", cmd)
	Eventually(t, time.Minute, "baresip takes commands", func() bool {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", control), time.Second)
		b.control = c
		return err == nil
	})
	t.Cleanup(func() { b.control.Close() })
	return b
}

// Command gives it a command of its menu, such as "message" with the text for its contact.
func (b *Baresip) Command(t testing.TB, name, params string) {
	t.Helper()
	text, err := json.Marshal(map[string]string{"command": name, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(b.control, "%d:%s,", len(text), text); err != nil { // a netstring
		t.Fatal(err)
	}
}

// Answers gives it a command again and again until its answers have this text.
func (b *Baresip) Answers(t testing.TB, patience time.Duration, command, text string) {
	t.Helper()
	var all strings.Builder
	some := make([]byte, 4096)
	Eventually(t, patience, fmt.Sprintf("baresip answers %q to %q", text, command), func() bool {
		b.Command(t, command, "")
		if err := b.control.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, _ := b.control.Read(some) // nothing in time is no answer yet
		all.Write(some[:n])
		return strings.Contains(all.String(), text)
	})
}

// Expect waits until it has shown this text.
func (b *Baresip) Expect(t testing.TB, patience time.Duration, text string) {
	t.Helper()
	Eventually(t, patience, fmt.Sprintf("baresip shows %q", text), func() bool { return strings.Contains(tail(b.process.log, 1<<20), text) })
}
