// Package lab starts the real parts of the scenarios: Prosody, ejabberd, Kamailio, Knot, SIPp, an XMPP client and Isthmus itself, each as a
// process of its own with its configuration in a temporary directory, on loopback.
//
// Everything that a lab starts is ended, by its own process id, when the test ends.
package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/porttest"
)

// need returns the path of a program. Where it is missing, a test in CI fails: a case that was not run did not pass. On a
// developer's machine it is skipped, and the output says what to install.
func need(t testing.TB, program string, elsewhere ...string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, path := range elsewhere {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed: integration/install.sh installs it", program)
	}
	t.Skipf("%s is not installed: integration/install.sh installs it", program)
	return ""
}

// FreePorts returns n ports of loopback that nobody else gets before the test ends, each free for UDP and TCP. The next one of each is its
// own too.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	return porttest.Free(t, n)
}

// root is the folder of the module.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// process is a program that the lab started.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // file of its output
	done chan struct{}
	err  error
}

// start starts a program with its output in a file of dir, and ends it when the test ends.
func start(t testing.TB, dir, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{name: name, cmd: cmd, log: filepath.Join(dir, name+".out"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Stderr = out
	// A group of its own, so that what it forks ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, tail(p.log, 8192))
		}
	})
	return p
}

// kill ends the process and its group as kill -9 does, and waits until it is gone.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // gone already is fine
	<-p.done
}

// stopped tells whether none of its threads runs, by the kernel's own table.
func (p *process) stopped() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	for _, thread := range threads {
		b, readErr := os.ReadFile(thread)
		text := string(b)
		if readErr != nil || !strings.HasPrefix(text[strings.LastIndexByte(text, ')')+1:], " T ") {
			return false
		}
	}
	return err == nil && len(threads) > 0
}

// stop asks the process to end, and waits.
func (p *process) stop(t testing.TB, patience time.Duration) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Errorf("%s did not end within %v of SIGTERM", p.name, patience)
		p.kill()
	}
}

func tail(file string, n int) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return string(b)
}

// Eventually polls until ok, and fails the test with what after the patience. It is for states of other processes, which
// have no event to wait for.
func Eventually(t testing.TB, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		if ok() {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("after %v still not: %s", patience, what)
		case <-poll.C:
		}
	}
}

// listening tells whether something accepts TCP connections on the port.
func listening(port int) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func expand(text string, values ...string) string {
	return strings.NewReplacer(values...).Replace(text)
}
