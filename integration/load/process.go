package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Gateway is the program under load, in a process of its own.
type Gateway struct {
	// SIP and Admin are its ports on 127.0.0.1.
	SIP, Admin int

	binary, dir string
	environment []string
	cmd         *exec.Cmd
	done        chan struct{}
	logs        *os.File
}

// NewGateway finds ports for the gateway that binary is; dir takes its configuration, its log and its store. procs bounds its GOMAXPROCS; 0
// leaves that to the Go runtime.
func NewGateway(binary, dir string, procs int) (*Gateway, error) {
	g := &Gateway{binary: binary, dir: dir, environment: os.Environ()}
	if procs > 0 {
		g.environment = append(g.environment, "GOMAXPROCS="+strconv.Itoa(procs))
	}
	for _, port := range []*int{&g.SIP, &g.Admin} {
		l, err := listen()
		if err != nil {
			return nil, err
		}
		*port = l.Addr().(*net.TCPAddr).Port
		defer l.Close() //nolint:errcheck // it was open to hold the port
	}
	return g, nil
}

// listen listens on a port that no outgoing connection takes: the kernel gives those ports from 32768 on, where it was not told otherwise.
// Nor do the servers of tests, whose ports are from 12000 on: some are taken a while after they were found free, and so is the gateway's.
func listen() (net.Listener, error) {
	var last error
	for range 200 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(2000)))
		if err == nil {
			return l, nil
		}
		last = err
	}
	return nil, last
}

// secret is what the component and its server share.
const secret = "overload"

// Start writes the configuration and starts the process. It waits until the gateway is ready, at most for patience.
func (g *Gateway) Start(configuration string, patience time.Duration) error {
	file := filepath.Join(g.dir, "isthmus.yaml")
	if err := errors.Join(os.WriteFile(file, []byte(configuration), 0o600), os.WriteFile(filepath.Join(g.dir, "secret"), []byte(secret+"\n"), 0o600)); err != nil {
		return err
	}
	logs, err := os.Create(filepath.Join(g.dir, "log"))
	if err != nil {
		return err
	}
	g.logs = logs
	g.cmd = exec.Command(g.binary, "serve", "-c", file)
	g.cmd.Stdout, g.cmd.Stderr, g.cmd.Env = logs, logs, g.environment
	if err := g.cmd.Start(); err != nil {
		return errors.Join(err, logs.Close())
	}
	done, cmd := make(chan struct{}), g.cmd
	g.done = done
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	client := http.Client{Timeout: time.Second}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if g.Dead() {
			return fmt.Errorf("the gateway ended while it started: see %s", logs.Name())
		}
		if r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", g.Admin)); err == nil {
			r.Body.Close() //nolint:errcheck // nothing of it is read
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
	}
	return fmt.Errorf("the gateway is not ready within %s: see %s", patience, logs.Name())
}

// Dead tells whether the process has ended.
func (g *Gateway) Dead() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// Stop ends the process.
func (g *Gateway) Stop() {
	if g.cmd == nil || g.done == nil {
		return
	}
	_ = g.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-g.done:
	case <-time.After(3 * time.Second):
		_ = g.cmd.Process.Kill() // it may have ended
		<-g.done
	}
	g.logs.Close() //nolint:errcheck // the process has written it
}

// Usage is what the process has taken of the machine.
type Usage struct {
	// RSS is its resident memory now, in octets; 0 where the system does not tell (it is read from /proc).
	RSS int64
	// Anonymous is what of that is not of a file, its program above all.
	Anonymous int64
	// CPU is the processor's time that it has used.
	CPU time.Duration
}

// Usage reads it.
func (g *Gateway) Usage() (u Usage) {
	pid := g.cmd.Process.Pid
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)); err == nil {
		if f := strings.Fields(string(b)); len(f) > 2 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			shared, _ := strconv.ParseInt(f[2], 10, 64)
			u.RSS, u.Anonymous = pages*int64(os.Getpagesize()), (pages-shared)*int64(os.Getpagesize())
		}
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		// Behind the name, which is in parentheses, utime and stime are the 12th and 13th field, in hundredths of a second.
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 12 {
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			u.CPU = time.Duration(user+system) * 10 * time.Millisecond
		}
	}
	return u
}

// Dropped is how many datagrams the system has thrown away because this UDP port of ours, or of the gateway, was not read soon enough; 0 where
// the system does not tell.
func Dropped(port int) (n uint64) {
	b, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 12 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			drops, _ := strconv.ParseUint(f[12], 10, 64)
			n += drops
		}
	}
	return n
}
