package timerslack

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// As a child of the test it is a program that widens its slack, and tells what it has then.
func TestMain(m *testing.M) {
	if os.Getenv("TIMERSLACK_CHILD") == "" {
		os.Exit(m.Run())
	}
	Widen()
	runtime.LockOSThread()
	slack, _, _ := syscall.RawSyscall(syscall.SYS_PRCTL, prGetTimerslack, 0, 0)
	_, marked := os.LookupEnv(marker)
	threads, _ := os.ReadDir("/proc/self/task")
	all := []string{}
	for _, t := range threads {
		octets, err := os.ReadFile("/proc/" + t.Name() + "/timerslack_ns")
		if err == nil {
			all = append(all, strings.TrimSpace(string(octets)))
		}
	}
	fmt.Println(slack, marked, os.Getpid(), strings.Join(os.Args[1:], " "), strings.Join(all, ","))
	os.Exit(0)
}

func child(t *testing.T, environment ...string) (fields []string, pid int) {
	t.Helper()
	c := exec.Command(os.Args[0], "an-argument")
	c.Env = append(append(os.Environ(), "TIMERSLACK_CHILD=1"), environment...)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out)), c.Process.Pid
}

func TestWiden(t *testing.T) {
	got, pid := child(t)
	// Its threads' slack can be read by who may set it; who may not sees no list.
	if len(got) < 4 || got[0] != fmt.Sprint(Slack.Nanoseconds()) || got[1] != "false" || got[2] != fmt.Sprint(pid) || got[3] != "an-argument" {
		t.Fatalf("slack, marked, pid, arguments, threads' slack: %v, of process %d", got, pid)
	}
	if len(got) > 4 {
		for _, one := range strings.Split(got[4], ",") {
			if one != got[0] {
				t.Errorf("a thread has a slack of %s", one)
			}
		}
	}
}

// A process that has begun anew does not do so again, whatever the kernel has made of its wish.
func TestWidenOnce(t *testing.T) {
	got, _ := child(t, marker+"=1")
	if len(got) < 2 || got[0] == fmt.Sprint(Slack.Nanoseconds()) || got[1] != "false" {
		t.Fatalf("slack, marked: %v", got)
	}
}
